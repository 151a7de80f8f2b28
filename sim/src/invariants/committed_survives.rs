//! *committed_survives*: within the budget, a record acknowledged with acks=all and above the log
//! start is in every later clean leader's log (Kafka's design, KIP-966).
//!
//! Also at the acknowledgement itself: acks=all means that the high watermark has passed the
//! record, so an acknowledged offset above everything ever exposed was never committed.
//!
//! False positives avoided: as in `leader_completeness`; an acknowledgement may be sent after its
//! leader was deposed, if the high watermark had passed before.

use wyrdlog::base::event::{Event, ReplicaEvent};
use wyrdlog::base::ids::LeaderEpoch;

use super::replica_log::{ReplicaLog, describe};
use super::{Invariant, Seen, World};
use crate::verdict::{Findings, Property};

/// Follows every acknowledged batch.
#[derive(Debug)]
pub struct CommittedSurvives {
    findings: Findings,
}

impl CommittedSurvives {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        CommittedSurvives { findings: Findings::new(Property::CommittedSurvives) }
    }

    fn acknowledged(&mut self, world: World<'_>, seen: Seen<'_>, at: usize, last_offset: i64) {
        let partition = &world.model.partitions[at];
        if partition.unclean || world.budget.is_beyond(at) {
            return;
        }
        let exposed = partition.exposed;
        self.findings.check(last_offset < exposed, seen.time_ns(), [seen.ordinal], || {
            let (node, name) = (seen.node(), &partition.name);
            format!(
                "{node} acknowledged {name}@{last_offset} with acks=all, but no high watermark ever passed {exposed}"
            )
        });
    }

    fn elected(&mut self, world: World<'_>, seen: Seen<'_>, at: usize, leader_epoch: LeaderEpoch) {
        let partition = &world.model.partitions[at];
        if partition.acknowledged.is_empty() || partition.unclean || world.budget.is_beyond(at) {
            return;
        }
        let empty = ReplicaLog::default();
        let log = world.model.replica(seen).map_or(&empty, |replica| &replica.log);
        let exposed = partition.exposed_up_to(leader_epoch);
        let mut promised = partition.acknowledged.values().take_while(|batch| batch.last_offset < exposed);
        let lost = promised.find(|batch| !log.holds(batch));
        self.findings.check(lost.is_none(), seen.time_ns(), [seen.ordinal], || {
            let what = lost.map(describe).unwrap_or_default();
            let (node, name) = (seen.node(), &partition.name);
            format!("{node} became leader of {name} without {what}, which were acknowledged with acks=all")
        });
    }
}

impl Default for CommittedSurvives {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for CommittedSurvives {
    fn before(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        match (&seen.observed.event, seen.partition) {
            (Event::Replica(_, ReplicaEvent::Acknowledged { last_offset, acks: -1, .. }), Some(at)) => {
                self.acknowledged(*world, *seen, at, *last_offset);
            }
            (Event::Replica(_, ReplicaEvent::BecameLeader { leader_epoch, .. }), Some(at)) => {
                self.elected(*world, *seen, at, *leader_epoch);
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
    use wyrdlog::base::event::LogEvent;

    #[test]
    fn an_acknowledgement_before_replication_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.append(N3, batch(6, 6, 1));
        cluster.acknowledge(N3, 6, 6);
        assert_eq!(cluster.violated(Property::CommittedSurvives), 1);
    }

    #[test]
    fn a_later_leader_without_an_acknowledged_record_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.log(N5, LogEvent::Truncated { from: 6, log_end: 5 });
        cluster.elect(N5);
        assert_eq!(cluster.violated(Property::CommittedSurvives), 1);
    }

    #[test]
    fn acknowledged_records_may_go_with_retention_and_unacknowledged_ones_with_an_election() {
        let mut cluster = Cluster::with_retention(Some(0));
        cluster.commit_three_batches();
        cluster.append(N3, batch(6, 6, 1));
        cluster.log(N4, LogEvent::StartAdvanced { log_start: 5 });
        cluster.elect(N4);
        cluster.acknowledge(N3, 5, 5); // late, from the deposed leader
        cluster.assert_clean(Property::CommittedSurvives);
    }
}
