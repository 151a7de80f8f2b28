//! The seeded simulator of Wyrd.

pub mod breaks;
pub mod checkers;
pub mod cli;
pub mod cluster;
pub mod disk_log;
pub mod draw;
pub mod engine;
pub mod faults;
pub mod file_error;
pub mod history;
pub mod invariants;
pub mod links;
pub mod observed;
pub mod probes;
pub mod product;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod shrink;
pub mod swarm;
pub mod sweep;
pub mod tamper;
pub mod verdict;
pub mod watcher;
pub mod workloads;
