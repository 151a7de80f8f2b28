//! *replay_equals_live* of a disk as a whole: one process writes to it, the one that has locked it. Two processes that
//! are started upon one directory make of it what neither has in memory.
//!
//! That a process changed a disk which it had not locked is a fact of the simulated disk.

use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// Judges the nodes' disks, each with whether it was changed by a process that had not locked it.
#[must_use]
pub fn check(disks: impl IntoIterator<Item = (Node, bool)>, time_ns: u64) -> Findings {
    let mut findings = Findings::new(Property::ReplayEqualsLive);
    for (node, was_changed_unlocked) in disks {
        findings.check(!was_changed_unlocked, time_ns, [], || {
            format!("{node} has changed its disk without a lock on it: another process may do the same")
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_was_changed_without_a_lock_is_rejected() {
        assert!(check([(Node(0), false), (Node(1), false)], 1).passed());
        assert_eq!(check([(Node(0), false), (Node(1), true)], 1).violated, 1);
    }
}
