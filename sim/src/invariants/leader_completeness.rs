//! *leader_completeness*: within the budget, a new clean leader holds every record in
//! [log start, highest high watermark ever exposed) (Raft §5.4, KIP-966's specification).
//!
//! Incremental: it holds the *last* exposed batch, and `log_matching` carries that to all below.
//! Recomputed: it holds each of them.
//!
//! False positives avoided: nothing past the budget; nothing after an unclean election that was
//! configured; nothing below the leader's own log start; nothing that was exposed in a later epoch
//! than the leader's, for it may learn of its election only after the next one (seed 14).

use wyrdlog::base::event::{Event, ReplicaEvent};

use super::model::Partition;
use super::replica_log::{ReplicaLog, describe};
use super::{Depth, Invariant, Seen, World};
use crate::verdict::{Findings, Property};

/// Looks at each new leader's log.
#[derive(Debug)]
pub struct LeaderCompleteness {
    findings: Findings,
}

impl LeaderCompleteness {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        LeaderCompleteness { findings: Findings::new(Property::LeaderCompleteness) }
    }
}

impl Default for LeaderCompleteness {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for LeaderCompleteness {
    // Before the model takes the event: past the budget it forgets what the new leader lacks.
    fn before(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let (Event::Replica(_, ReplicaEvent::BecameLeader { leader_epoch, .. }), Some(at)) =
            (&seen.observed.event, seen.partition)
        else {
            return;
        };
        let partition = &world.model.partitions[at];
        if partition.exposed == 0 || partition.unclean || world.budget.is_beyond(at) {
            return;
        }
        let empty = ReplicaLog::default();
        let log = world.model.replica(*seen).map_or(&empty, |replica| &replica.log);
        let exposed = partition.exposed_up_to(*leader_epoch);
        let missing = missing(partition, log, exposed, world.depth);
        let holds = missing.is_none() && log.end >= exposed;
        self.findings.check(holds, seen.time_ns(), [seen.ordinal], || {
            format!(
                "{} became leader of {} in epoch {leader_epoch} with its log ending at {}, while offset {} had been exposed; missing: {}",
                seen.node(),
                partition.name,
                log.end,
                exposed,
                missing.unwrap_or_else(|| "the tail".to_owned())
            )
        });
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

fn missing(partition: &Partition, log: &ReplicaLog, exposed: i64, depth: Depth) -> Option<String> {
    let lacks = |batch: &&_| !log.holds(batch);
    let end = partition.committed.partition_point(|batch| batch.last_offset < exposed);
    let committed = &partition.committed[..end];
    match depth {
        Depth::Incremental => committed.last().filter(lacks).map(describe),
        Depth::Recomputed => log.first_lacked(committed).map(describe),
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Cluster, N3, N4, N5, batch};
    use super::*;
    use crate::observed::FaultNote;
    use wyrdlog::base::event::LogEvent;

    fn without_tail_on_node_4() -> Cluster {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.commit_state(N3, &[N3, N5]);
        cluster.restart(N4, 0, 6);
        cluster.log(N4, LogEvent::Truncated { from: 6, log_end: 2 });
        cluster
    }

    #[test]
    fn a_leader_without_an_exposed_record_is_rejected() {
        let mut cluster = without_tail_on_node_4();
        cluster.elect(N4);
        assert_eq!(cluster.violated(Property::LeaderCompleteness), 1);
    }

    #[test]
    fn a_leader_with_other_records_in_their_place_is_rejected() {
        let mut cluster = without_tail_on_node_4();
        cluster.append(N4, batch(2, 5, 1));
        cluster.elect(N4);
        assert_eq!(cluster.violated(Property::LeaderCompleteness), 1);
    }

    #[test]
    fn a_complete_leader_is_accepted_whatever_tail_it_has() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.append(N4, batch(6, 9, 1));
        cluster.elect(N4);
        cluster.assert_clean(Property::LeaderCompleteness);
    }

    #[test]
    fn nothing_is_promised_past_the_budget() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.fault(FaultNote::PowerLost(vec![N3, N4, N5]));
        cluster.restart(N4, 0, 6);
        cluster.log(N4, LogEvent::Truncated { from: 6, log_end: 2 });
        cluster.elect(N4);
        assert_eq!(cluster.violated(Property::LeaderCompleteness), 0);
        assert!(cluster.invariants.budget().is_anything_beyond());
    }
}
