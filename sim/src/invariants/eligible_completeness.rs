//! *eligible_completeness*: a member of the eligible-leader set holds everything ever exposed while it
//! runs in the incarnation that the set names, and whenever it is elected (KIP-966 TLA+).
//!
//! That is what the set is for: while the in-sync set is too small nothing may be exposed that an
//! eligible replica lacks. Looked at when the set changes, when anything more is exposed, when a
//! running member truncates, and when one takes up leadership.
//!
//! False positives avoided: nothing past the budget; a member that is down or runs in another
//! incarnation is not the replica that is named, but is looked at as a leader.

use wyrdlog::base::event::{ControllerEvent, Event, LogEvent, ReplicaEvent};

use super::model::{Model, Partition, Replica};
use super::replica_log::describe;
use super::{Depth, Invariant, Seen, World};
use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// Looks at the logs of eligible replicas.
#[derive(Debug)]
pub struct EligibleCompleteness {
    findings: Findings,
}

impl EligibleCompleteness {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        EligibleCompleteness { findings: Findings::new(Property::EligibleCompleteness) }
    }

    fn look(&mut self, world: World<'_>, seen: Seen<'_>, partition: &Partition, who: (Node, &Replica), exposed: i64) {
        let (node, replica) = who;
        let end = replica.counted_end(partition.durability);
        let committed = &partition.committed[..partition.committed.partition_point(|one| one.last_offset < exposed)];
        let lacks = |batch: &&_| !replica.log.holds(batch);
        let missing = match world.depth {
            Depth::Incremental => committed.last().filter(lacks),
            Depth::Recomputed => replica.log.first_lacked(committed),
        };
        self.findings.check(end >= exposed && missing.is_none(), seen.time_ns(), [seen.ordinal], || {
            format!(
                "{node} is an eligible leader of {} with its counted log end at {end}, while {exposed} was exposed; missing: {}",
                partition.name,
                missing.map_or("the tail".to_owned(), describe)
            )
        });
    }
}

/// The eligible replicas that run in the incarnation that the set names.
fn running_eligible<'m>(model: &'m Model, partition: &'m Partition) -> impl Iterator<Item = (Node, &'m Replica)> {
    let members = partition.state.iter().flat_map(|(_, state)| &state.eligible_leaders);
    members.filter_map(|member| {
        let node = model.runs_as(member.broker, member.broker_epoch)?;
        partition.replicas.get(&node).filter(|replica| replica.is_open).map(|replica| (node, replica))
    })
}

impl Default for EligibleCompleteness {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for EligibleCompleteness {
    fn after(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let Some(at) = seen.partition.filter(|at| !world.budget.is_beyond(*at)) else { return };
        let (model, partition) = (world.model, &world.model.partitions[at]);
        if partition.unclean || partition.exposed == 0 {
            return;
        }
        let eligible = partition.state.as_ref().is_some_and(|(_, state)| !state.eligible_leaders.is_empty());
        match &seen.observed.event {
            Event::Replica(_, ReplicaEvent::BecameLeader { leader_epoch, .. }) => {
                let exposed = partition.exposed_up_to(*leader_epoch);
                if let Some(replica) = model.replica(*seen).filter(|_| partition.was_eligible(model, seen.node())) {
                    self.look(*world, *seen, partition, (seen.node(), replica), exposed);
                }
            }
            Event::Controller(ControllerEvent::Committed { .. } | ControllerEvent::Found { .. })
            | Event::Replica(_, ReplicaEvent::HighWatermark { leads: true, .. })
            | Event::Log(_, LogEvent::Truncated { .. })
                if eligible =>
            {
                let only = matches!(seen.observed.event, Event::Log(..)).then(|| seen.node());
                for (node, replica) in running_eligible(model, partition) {
                    if only.is_none_or(|only| only == node) {
                        self.look(*world, *seen, partition, (node, replica), partition.exposed);
                    }
                }
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
    use super::super::examples::{Cluster, N3, N4, N5, batch};
    use super::*;

    /// Node 3 is alone in sync, node 4 is eligible; both hold all that was exposed.
    fn node_4_is_eligible() -> Cluster {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.commit_eligible(N3, &[N3], &[N4]);
        cluster.assert_clean(Property::EligibleCompleteness);
        cluster
    }

    #[test]
    fn what_is_exposed_without_an_eligible_replica_is_rejected() {
        let mut cluster = node_4_is_eligible();
        cluster.append(N3, batch(6, 7, 1));
        cluster.expose(N3, 8, &[N3]);
        assert_eq!(cluster.violated(Property::EligibleCompleteness), 1);
    }

    #[test]
    fn an_eligible_replica_that_truncates_is_rejected() {
        let mut cluster = node_4_is_eligible();
        cluster.log(N4, LogEvent::Truncated { from: 6, log_end: 5 });
        assert_eq!(cluster.violated(Property::EligibleCompleteness), 1);
    }

    #[test]
    fn an_eligible_replica_that_lost_its_tail_and_is_elected_is_rejected() {
        let mut cluster = node_4_is_eligible();
        cluster.fault(crate::observed::FaultNote::PowerLost(vec![N4]));
        cluster.restart(N4, 0, 2);
        assert_eq!(cluster.violated(Property::EligibleCompleteness), 0);
        cluster.leader_epoch += 1;
        cluster.commit_eligible(N4, &[N4], &[]);
        cluster.lead(N4);
        assert_eq!(cluster.violated(Property::EligibleCompleteness), 1);
    }

    #[test]
    fn an_unexposed_tail_may_go_and_a_replica_outside_of_the_set_may_lack_anything() {
        let mut cluster = node_4_is_eligible();
        cluster.append(N4, batch(6, 6, 1));
        cluster.log(N4, LogEvent::Truncated { from: 7, log_end: 6 });
        cluster.log(N5, LogEvent::Truncated { from: 6, log_end: 2 });
        cluster.assert_clean(Property::EligibleCompleteness);
    }
}
