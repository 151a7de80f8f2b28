//! *state_machine_safety*: applied entries of the coordinator are identical at each zxid on all
//! servers, and state digests agree (Raft §5.4.3; Zab's integrity and agreement).
//!
//! The first server to apply an index says what it is; every other one, and every replay after a
//! restart, is compared. A server applies without gaps, in growing zxids.
//!
//! False positives avoided: a new incarnation starts wherever its own snapshot ends; an installed
//! snapshot skips; nothing is promised once a majority of coordinators lost their disks.

use std::collections::BTreeMap;

use wyrdlog::base::event::{CoordinatorEvent, Event};
use wyrdlog::base::ids::Zxid;

use super::{Invariant, Seen, World};
use crate::observed::{Incarnation, Node};
use crate::verdict::{Findings, Property};

/// What the first server to apply an index made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Applied {
    zxid: Zxid,
    entry_digest: u32,
    state_digest: u64,
}

/// Remembers every index.
#[derive(Debug)]
pub struct StateMachineSafety {
    findings: Findings,
    first: BTreeMap<u64, (Applied, Node, u64)>,
    reached: BTreeMap<Node, (Incarnation, u64, Zxid)>,
}

impl StateMachineSafety {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        let findings = Findings::new(Property::StateMachineSafety);
        StateMachineSafety { findings, first: BTreeMap::new(), reached: BTreeMap::new() }
    }

    fn applied(&mut self, seen: Seen<'_>, index: u64, applied: Applied) {
        let (node, incarnation) = (seen.node(), seen.observed.incarnation);
        let before = self.reached.insert(node, (incarnation, index, applied.zxid));
        if let Some((_, last, zxid)) = before.filter(|(life, ..)| *life == incarnation) {
            let holds = index == last + 1 && applied.zxid > zxid;
            self.findings.check(holds, seen.time_ns(), [seen.ordinal], || {
                format!("{node} applied index {index} zxid {:#x} after index {last} zxid {:#x}", applied.zxid.0, zxid.0)
            });
        }
        let (first, other, ordinal) = *self.first.entry(index).or_insert((applied, node, seen.ordinal));
        self.findings.check(first == applied, seen.time_ns(), [ordinal, seen.ordinal], || {
            format!("at index {index}, {other} applied {first:x?} and {node} applied {applied:x?}")
        });
    }

    fn installed(&mut self, seen: Seen<'_>, index: u64, zxid: Zxid, state_digest: u64) {
        let (node, incarnation) = (seen.node(), seen.observed.incarnation);
        self.reached.insert(node, (incarnation, index, zxid));
        let Some((first, other, ordinal)) = self.first.get(&index).copied() else { return };
        let holds = (first.zxid, first.state_digest) == (zxid, state_digest);
        self.findings.check(holds, seen.time_ns(), [ordinal, seen.ordinal], || {
            format!(
                "{node} installed a snapshot at index {index} with zxid {:#x} and digest {state_digest:#x}, where {other} had {first:x?}",
                zxid.0
            )
        });
    }
}

impl Default for StateMachineSafety {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for StateMachineSafety {
    fn after(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        if world.budget.is_coordinator_beyond() {
            return;
        }
        match &seen.observed.event {
            Event::Coordinator(CoordinatorEvent::Applied { index, zxid, entry_digest, state_digest }) => {
                let applied = Applied { zxid: *zxid, entry_digest: *entry_digest, state_digest: *state_digest };
                self.applied(*seen, *index, applied);
            }
            Event::Coordinator(CoordinatorEvent::SnapshotInstalled { index, zxid, state_digest }) => {
                self.installed(*seen, *index, *zxid, *state_digest);
            }
            _ => {}
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::Cluster;
    use super::*;

    fn apply(cluster: &mut Cluster, node: u16, index: u64, entry_digest: u32) {
        let zxid = Zxid(index as i64 * 2);
        let state_digest = u64::from(entry_digest) + index;
        cluster.coordinator(node, CoordinatorEvent::Applied { index, zxid, entry_digest, state_digest });
    }

    #[test]
    fn another_entry_at_an_index_is_rejected() {
        let mut cluster = Cluster::page_cache();
        apply(&mut cluster, 0, 1, 7);
        apply(&mut cluster, 1, 1, 8);
        assert_eq!(cluster.violated(Property::StateMachineSafety), 1);
    }

    #[test]
    fn a_gap_and_a_diverging_snapshot_are_rejected() {
        let mut cluster = Cluster::page_cache();
        apply(&mut cluster, 0, 1, 7);
        apply(&mut cluster, 0, 3, 7);
        assert_eq!(cluster.violated(Property::StateMachineSafety), 1);
        let installed = CoordinatorEvent::SnapshotInstalled { index: 3, zxid: Zxid(6), state_digest: 0 };
        cluster.coordinator(1, installed);
        assert_eq!(cluster.violated(Property::StateMachineSafety), 2);
    }

    #[test]
    fn replays_after_a_restart_and_installed_snapshots_are_accepted() {
        let mut cluster = Cluster::page_cache();
        for index in 1..=4 {
            apply(&mut cluster, 0, index, 7);
        }
        apply(&mut cluster, 1, 1, 7);
        let installed = CoordinatorEvent::SnapshotInstalled { index: 3, zxid: Zxid(6), state_digest: 10 };
        cluster.coordinator(1, installed);
        apply(&mut cluster, 1, 4, 7);
        cluster.lives.insert(Node(0), 2);
        apply(&mut cluster, 0, 3, 7);
        cluster.assert_clean(Property::StateMachineSafety);
    }
}
