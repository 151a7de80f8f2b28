//! The seeded simulator of Wyrd.

pub mod checkers;
pub mod draw;
pub mod engine;
pub mod file_error;
pub mod history;
pub mod invariants;
pub mod observed;
pub mod probes;
pub mod scenario;
pub mod schedule;
pub mod shrink;
pub mod swarm;
pub mod tamper;
pub mod verdict;
