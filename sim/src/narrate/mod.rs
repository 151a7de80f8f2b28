//! What happened, in words for people: nodes by the names that people know them by, faults with
//! their strike and their end, events as one short sentence each, and a failure's signature.
//!
//! Nothing here is read again by a program, and nothing of it changes a run.

pub mod event;
pub mod fault;
pub mod names;
pub mod signature;
pub mod timeline;

use std::collections::BTreeSet;

pub use names::Names;
pub use signature::signature;
pub use timeline::{Filter, timeline};

use crate::invariants::model::Topology;
use crate::invariants::{Depth, Invariants};
use crate::verdict::{Property, Violation};

/// The properties that are checked after every event: their violations show in the instant in which
/// they come about. Others are dated by the operation that contradicts them, before its cause.
fn checked_after_events() -> BTreeSet<Property> {
    Invariants::new(Topology::default(), Depth::Incremental).findings().iter().map(|one| one.property).collect()
}

/// The first violation of each property, those that are checked after every event before the others, in
/// the order of time.
#[must_use]
pub fn firsts(violations: &[Violation]) -> Vec<&Violation> {
    let after_events = checked_after_events();
    let mut all: Vec<&Violation> = violations.iter().collect();
    all.sort_by_key(|violation| (!after_events.contains(&violation.property), violation.time_ns));
    let mut told = BTreeSet::new();
    all.retain(|violation| told.insert(violation.property));
    all
}

/// When the run went wrong: at the first violation that shows as it comes about, if there is one.
#[must_use]
pub fn went_wrong_ns(violations: &[Violation]) -> Option<u64> {
    let after_events = checked_after_events();
    firsts(violations).first().filter(|first| after_events.contains(&first.property)).map(|first| first.time_ns)
}
