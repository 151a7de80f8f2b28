//! The mutation suite: the product is changed one place at a time, and the simulator is asked
//! whether it sees it. `docs/MUTANTS.md` says how, and what was found.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it copies, builds and runs programs, outside of any simulation"
)]

mod operators;

pub mod child;
pub mod cli;
pub mod compile;
pub mod draw;
pub mod judging;
pub mod listed;
pub mod outcome;
pub mod report;
pub mod schemata;
pub mod sites;
pub mod suite;
pub mod switch;
pub mod tree;
