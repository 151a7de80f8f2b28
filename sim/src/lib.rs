//! The seeded simulator of Wyrd.
// What is printed goes through `cli::out`, which survives a reader that goes away.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod breaks;
pub mod broker_disk;
pub mod checkers;
pub mod cli;
pub mod cluster;
pub mod coordinator_disk;
pub mod disk_log;
pub mod draw;
pub mod engine;
pub mod faults;
pub mod file_error;
pub mod fit;
pub mod history;
pub mod invariants;
pub mod links;
pub mod narrate;
pub mod observed;
pub mod occasions;
pub mod probes;
pub mod product;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod session_wire;
pub mod shrink;
pub mod swarm;
pub mod sweep;
pub mod tamper;
pub mod verdict;
pub mod watcher;
pub mod workloads;
