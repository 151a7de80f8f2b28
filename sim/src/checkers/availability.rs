//! *availability*: within 30 simulated seconds after healing, and without restarting live
//! processes, every client completes at least 20 operations, every partition's in-sync set is
//! full, replicas are equal and coordinator digests agree.

use std::collections::BTreeMap;

use wyrdlog::base::ids::TopicPartition;

use crate::history::Client;
use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// How long a healed cluster has, in virtual nanoseconds.
pub const HEALED_WITHIN_NS: u64 = 30_000_000_000;
/// How many operations each client completes in that time.
pub const OPERATIONS_MIN: u32 = 20;

/// What the liveness phase saw by its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AfterHealing {
    /// When the last fault was healed.
    pub healed_ns: u64,
    /// When all below was looked at, at most [`HEALED_WITHIN_NS`] later.
    pub seen_ns: u64,
    /// How many operations each client completed since healing, without an error.
    pub completed: BTreeMap<Client, u32>,
    /// Each partition's state.
    pub partitions: Vec<PartitionHealth>,
    /// Each coordinator server's last applied index and state digest, once load has ceased.
    pub coordinators: Vec<(Node, u64, u64)>,
    /// Live processes that had to be restarted to get here.
    pub restarted: Vec<Node>,
}

/// One partition after healing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionHealth {
    /// Which.
    pub partition: TopicPartition,
    /// How many replicas it has.
    pub replicas: usize,
    /// How many of them are in the in-sync set.
    pub in_sync: usize,
    /// Whether it has a leader.
    pub has_leader: bool,
    /// Each replica's log end and a digest of its log from the highest log start of all on, once load
    /// has ceased.
    pub logs: Vec<(Node, i64, u64)>,
}

/// Judges the liveness phase.
#[must_use]
pub fn check(seen: &AfterHealing) -> Findings {
    let mut findings = Findings::new(Property::Availability);
    let at = seen.seen_ns;
    for (client, completed) in &seen.completed {
        findings.check(*completed >= OPERATIONS_MIN, at, [], || {
            format!("client {client} completed {completed} operations after healing, fewer than {OPERATIONS_MIN}")
        });
    }
    for partition in &seen.partitions {
        check_partition(&mut findings, at, partition);
    }
    for pair in seen.coordinators.windows(2) {
        findings.check((pair[0].1, pair[0].2) == (pair[1].1, pair[1].2), at, [], || {
            format!("coordinators differ after healing: {:?}", seen.coordinators)
        });
    }
    findings.check(seen.restarted.is_empty(), at, [], || {
        format!("live processes had to be restarted after healing: {:?}", seen.restarted)
    });
    findings
}

fn check_partition(findings: &mut Findings, at: u64, health: &PartitionHealth) {
    let name = &health.partition;
    findings.check(health.has_leader, at, [], || format!("{name} has no leader after healing"));
    findings.check(health.in_sync == health.replicas, at, [], || {
        format!("{name} has {} of {} replicas in sync after healing", health.in_sync, health.replicas)
    });
    let equal = health.logs.windows(2).all(|pair| (pair[0].1, pair[0].2) == (pair[1].1, pair[1].2));
    findings.check(equal, at, [], || format!("replicas of {name} differ after healing: {:?}", health.logs));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> AfterHealing {
        let logs = vec![(Node(3), 10, 77), (Node(4), 10, 77)];
        let partition = TopicPartition::new("t", 0);
        AfterHealing {
            healed_ns: 1,
            seen_ns: 2,
            completed: BTreeMap::from([(0, 20), (1, 90)]),
            partitions: vec![PartitionHealth { partition, replicas: 2, in_sync: 2, has_leader: true, logs }],
            coordinators: vec![(Node(0), 5, 9), (Node(1), 5, 9)],
            restarted: Vec::new(),
        }
    }

    #[test]
    fn a_healthy_cluster_is_accepted() {
        assert!(check(&healthy()).passed());
    }

    #[test]
    fn each_way_to_stay_ill_is_rejected() {
        let ways: [fn(&mut AfterHealing); 6] = [
            |seen| seen.completed.extend([(0, 19)]),
            |seen| seen.partitions[0].in_sync = 1,
            |seen| seen.partitions[0].has_leader = false,
            |seen| seen.partitions[0].logs[1].2 = 78,
            |seen| seen.coordinators[1].2 = 8,
            |seen| seen.restarted.push(Node(2)),
        ];
        for way in ways {
            let mut seen = healthy();
            way(&mut seen);
            assert_eq!(check(&seen).violated, 1, "{seen:?}");
        }
    }
}
