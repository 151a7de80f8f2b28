//! *one_leader_per_epoch*: no two incarnations act as leader of a partition in one leader epoch,
//! as controller in one controller epoch, or as leader of the coordinator in one term.
//!
//! "At most one leader can be elected in a given term" (Raft §5.2); "one epoch never holds two
//! histories" (KIP-101). A broker that restarts before its session expired gets a new epoch even
//! if it stays leader.
//!
//! False positive avoided: one incarnation may be told of its own leadership twice.

use std::collections::BTreeMap;

use wyrdlog::base::event::{ControllerEvent, CoordinatorEvent, Event, ReplicaEvent};

use super::{Invariant, Seen, World};
use crate::observed::{Incarnation, Node, seconds};
use crate::verdict::{Findings, Property};

/// Whose office an epoch numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Office {
    Partition(usize),
    Controller,
    Coordinator,
}

/// Remembers who held each epoch first.
#[derive(Debug)]
pub struct OneLeaderPerEpoch {
    findings: Findings,
    holders: BTreeMap<(Office, i64), (Node, Incarnation, u64, u64)>,
}

impl OneLeaderPerEpoch {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        OneLeaderPerEpoch { findings: Findings::new(Property::OneLeaderPerEpoch), holders: BTreeMap::new() }
    }
}

impl Default for OneLeaderPerEpoch {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for OneLeaderPerEpoch {
    fn after(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let (office, epoch) = match (&seen.observed.event, seen.partition) {
            (Event::Replica(_, ReplicaEvent::BecameLeader { leader_epoch, .. }), Some(at)) => {
                (Office::Partition(at), i64::from(leader_epoch.0))
            }
            (Event::Controller(ControllerEvent::Elected { controller_epoch }), _) => {
                (Office::Controller, i64::from(controller_epoch.0))
            }
            (Event::Coordinator(CoordinatorEvent::Elected { term, .. }), _) => (Office::Coordinator, i64::from(term.0)),
            _ => return,
        };
        let (node, incarnation) = (seen.node(), seen.observed.incarnation);
        let first = (node, incarnation, seen.time_ns(), seen.ordinal);
        let holder = *self.holders.entry((office, epoch)).or_insert(first);
        let holds = (holder.0, holder.1) == (node, incarnation);
        self.findings.check(holds, seen.time_ns(), [holder.3, seen.ordinal], || {
            let what = match office {
                Office::Partition(at) => {
                    format!("leader of {} in leader epoch {epoch}", world.model.partitions[at].name)
                }
                Office::Controller => format!("controller in controller epoch {epoch}"),
                Office::Coordinator => format!("leader of the coordinator in term {epoch}"),
            };
            let since = seconds(holder.2);
            format!(
                "{node} (life {incarnation}) became {what}, which {} (life {}) had been since {since}",
                holder.0, holder.1
            )
        });
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Cluster, N3, N4};
    use super::*;
    use wyrdlog::base::ids::{ControllerEpoch, ServerId, Term};

    #[test]
    fn a_second_leader_in_an_epoch_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.elect(N3);
        cluster.lead(N4);
        assert_eq!(cluster.violated(Property::OneLeaderPerEpoch), 1);
    }

    #[test]
    fn a_leader_that_restarts_in_its_old_epoch_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.elect(N3);
        cluster.restart(N3, 0, 0);
        cluster.lead(N3);
        assert_eq!(cluster.violated(Property::OneLeaderPerEpoch), 1);
    }

    #[test]
    fn two_leaders_of_the_coordinator_or_two_controllers_are_rejected() {
        let mut cluster = Cluster::page_cache();
        for node in [0, 1] {
            let server = ServerId(u32::from(node) + 1);
            cluster.coordinator(node, CoordinatorEvent::Elected { server, term: Term(4) });
        }
        for node in [N3, N4] {
            let elected = ControllerEvent::Elected { controller_epoch: ControllerEpoch(2) };
            cluster.see(node, Event::Controller(elected));
        }
        assert_eq!(cluster.violated(Property::OneLeaderPerEpoch), 2);
    }

    #[test]
    fn leaders_of_different_epochs_and_a_leader_told_twice_are_accepted() {
        let mut cluster = Cluster::page_cache();
        cluster.elect(N3);
        cluster.lead(N3);
        cluster.elect(N4);
        cluster.assert_clean(Property::OneLeaderPerEpoch);
    }
}
