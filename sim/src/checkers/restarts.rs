//! *recovered_prefix* of a coordinator: a server starts from what its disk holds, its vote above all. One that has
//! forgotten for whom it voted may vote again in the same term, and two servers lead it.
//!
//! What the disk held when the process was started is read from the disk; what the server says that it starts from
//! is the claim. A server that refuses to start says nothing.

use serde::{Deserialize, Serialize};

use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// What a server knows when it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The last term.
    pub term: u64,
    /// For whom it voted in it; 0 for nobody.
    pub voted_for: u64,
    /// The last entry of its log.
    pub last: u64,
    /// The last entry that its snapshot covers.
    pub covered: u64,
}

/// What disks held at each start of a server, and what it then said; each with its time, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    /// By the disk.
    pub found: Vec<(u64, Node, Held)>,
    /// By the server: its term, its vote, and the last entry of its log or of its snapshot.
    pub claimed: Vec<(u64, Node, [u64; 3])>,
}

/// Compares what servers say with what their disks held.
#[must_use]
pub fn check(restarts: &Restarts) -> Findings {
    let mut findings = Findings::new(Property::RecoveredPrefix);
    for (time_ns, node, claimed) in &restarts.claimed {
        let of_start = restarts.found.iter().rfind(|(at_ns, at, _)| at == node && at_ns <= time_ns);
        let Some((_, _, held)) = of_start else { continue };
        let is_so = [held.last, held.covered].map(|last| [held.term, held.voted_for, last]).contains(claimed);
        findings.check(is_so, *time_ns, [], || {
            format!("{node} starts from term, vote and last entry {claimed:?}, and its disk held {held:?}")
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_starts_from_something_else_than_its_disk_holds_is_rejected() {
        let held = |term, voted_for| Held { term, voted_for, last: 9, covered: 7 };
        let found = vec![(1, Node(0), Held::default()), (5, Node(0), held(3, 2)), (5, Node(1), held(4, 1))];
        let violated = |claim| {
            let claimed = vec![(2, Node(0), [0, 0, 0]), (6, Node(0), claim)];
            check(&Restarts { found: found.clone(), claimed }).violated
        };
        assert_eq!(
            [[3, 2, 9], [3, 2, 7]].map(violated),
            [0; 2],
            "the log may have been begun anew behind the snapshot"
        );
        assert_eq!([[3, 0, 9], [3, 1, 9], [2, 2, 9], [3, 2, 8], [0, 0, 0]].map(violated), [1; 5]);
    }
}
