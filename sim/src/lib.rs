//! The seeded simulator of Wyrd.

pub mod checkers;
pub mod history;
pub mod invariants;
pub mod observed;
pub mod verdict;
