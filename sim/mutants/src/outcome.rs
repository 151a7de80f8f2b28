//! What the judge of a mutant tells, seed by seed, and what that comes to.

use serde::{Deserialize, Serialize};

/// A property that a seed violated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violated {
    /// Its name.
    pub property: String,
    /// How one sees it, the first time.
    pub evidence: String,
    /// When, in virtual nanoseconds.
    pub time_ns: u64,
}

/// One seed under one mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// The seed.
    pub seed: u64,
    /// Its scenario.
    pub scenario: String,
    /// How often the mutated code was executed.
    pub executed: u64,
    /// The hash of the run.
    pub hash: String,
    /// Every property that was violated, once.
    pub violated: Vec<Violated>,
}

/// How a mutant is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// A property is violated.
    ByProperty,
    /// A node panics.
    ByPanic,
    /// A node does not start.
    ByFailedStart,
    /// A run stands still, or does not end.
    ByHang,
    /// The unit tests fail.
    ByTests,
    /// Nothing sees it.
    NotAtAll,
}

/// A node that stops before this instant of its run, in virtual nanoseconds, has not started.
const STARTED_NS: u64 = 3_000_000_000;

/// The property that says that nodes stay up.
const STAYS_UP: &str = "stays-up";
/// The property whose violation may be no more than what follows from a node that is not up.
const AVAILABILITY: &str = "availability";

/// How what `violated` says is seen; nothing where it says nothing.
#[must_use]
pub fn seen(violated: &[Violated]) -> Option<Seen> {
    if violated.is_empty() {
        return None;
    }
    let by_property = violated.iter().any(|one| one.property != STAYS_UP && one.property != AVAILABILITY);
    let Some(down) = violated.iter().find(|one| one.property == STAYS_UP).filter(|_| !by_property) else {
        return Some(Seen::ByProperty);
    };
    Some(if down.evidence.contains("while the time stood still") {
        Seen::ByHang
    } else if !down.evidence.contains(" stopped: ") {
        Seen::ByPanic
    } else if down.time_ns < STARTED_NS {
        Seen::ByFailedStart
    } else {
        Seen::ByProperty
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violated(property: &str, evidence: &str, time_ns: u64) -> Violated {
        Violated { property: property.to_owned(), evidence: evidence.to_owned(), time_ns }
    }

    #[test]
    fn a_property_counts_before_what_a_node_did() {
        let panic = violated("stays-up", "at 1.0 s, node 2, task main: index out of bounds", 9);
        let unavailable = violated("availability", "t-0 has no leader", 9);
        let lost = violated("lost-write", "t-0@7", 9);
        assert_eq!(seen(&[]), None);
        assert_eq!(seen(&[panic.clone(), unavailable.clone()]), Some(Seen::ByPanic));
        assert_eq!(seen(&[panic, lost]), Some(Seen::ByProperty));
        assert_eq!(seen(&[unavailable]), Some(Seen::ByProperty));
    }

    #[test]
    fn panics_hangs_and_failed_starts_are_told_apart() {
        let of = |evidence: &str, time_ns| seen(&[violated("stays-up", evidence, time_ns)]);
        assert_eq!(of("at 9.0 s, node 2, task x: polled 100 times while the time stood still", 9), Some(Seen::ByHang));
        assert_eq!(of("broker 1 stopped: the log is damaged", 1_000_000), Some(Seen::ByFailedStart));
        assert_eq!(of("broker 1 stopped: the log is damaged", 20_000_000_000), Some(Seen::ByProperty));
    }
}
