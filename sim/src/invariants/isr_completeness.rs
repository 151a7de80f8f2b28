//! *isr_completeness*: membership of the in-sync set, in the named incarnation, implies the log
//! up to the high watermark (StrongIsr, KIP-497, KIP-903).
//!
//! Looked at when the set changes, and when a running member truncates. (When the high watermark
//! moves, `high_watermark_safety` looks.) Incremental: the member holds the last exposed batch.
//! Recomputed: all of them.
//!
//! False positives avoided: nothing past the budget; a member that is down or runs in another
//! incarnation is not the replica that is named.

use wyrdlog::base::event::{ControllerEvent, Event, LogEvent};

use super::model::{Partition, Replica};
use super::replica_log::describe;
use super::{Depth, Invariant, Seen, World};
use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// Looks at the members' logs.
#[derive(Debug)]
pub struct IsrCompleteness {
    findings: Findings,
}

impl IsrCompleteness {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        IsrCompleteness { findings: Findings::new(Property::IsrCompleteness) }
    }

    fn look(&mut self, world: World<'_>, seen: Seen<'_>, partition: &Partition, node: Node, replica: &Replica) {
        let end = replica.counted_end(partition.durability);
        let lacks = |batch: &&_| !replica.log.holds(batch);
        let missing = match world.depth {
            Depth::Incremental => partition.committed.last().filter(lacks),
            Depth::Recomputed => replica.log.first_lacked(&partition.committed),
        };
        let holds = end >= partition.exposed && missing.is_none();
        self.findings.check(holds, seen.time_ns(), [seen.ordinal], || {
            format!(
                "{node} is in the in-sync set of {} with its counted log end at {end}, while {} was exposed; missing: {}",
                partition.name,
                partition.exposed,
                missing.map_or("the tail".to_owned(), describe)
            )
        });
    }
}

impl Default for IsrCompleteness {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for IsrCompleteness {
    fn after(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let Some(at) = seen.partition.filter(|at| !world.budget.is_beyond(*at)) else { return };
        let partition = &world.model.partitions[at];
        if partition.unclean || partition.exposed == 0 {
            return;
        }
        let only = match &seen.observed.event {
            Event::Controller(ControllerEvent::Committed { .. } | ControllerEvent::Found { .. }) => None,
            Event::Log(_, LogEvent::Truncated { .. }) => Some(seen.node()),
            _ => return,
        };
        for (node, replica) in partition.running_in_sync(world.model) {
            if only.is_none_or(|only| only == node) {
                self.look(*world, *seen, partition, node, replica);
            }
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

    #[test]
    fn a_rebooted_empty_replica_in_the_set_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.fault(crate::observed::FaultNote::DiskLost(N5));
        cluster.commit_state(N3, &[N3, N4]);
        cluster.restart(N5, 0, 0);
        cluster.commit_state(N3, &[N3, N4, N5]);
        assert_eq!(cluster.violated(Property::IsrCompleteness), 1);
    }

    #[test]
    fn a_member_that_truncates_below_the_high_watermark_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.log(N4, LogEvent::Truncated { from: 6, log_end: 5 });
        assert_eq!(cluster.violated(Property::IsrCompleteness), 1);
    }

    #[test]
    fn a_member_that_truncates_an_unexposed_tail_and_a_caught_up_newcomer_are_accepted() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.append(N4, batch(6, 6, 1));
        cluster.log(N4, LogEvent::Truncated { from: 7, log_end: 6 });
        cluster.commit_state(N3, &[N3, N4]);
        cluster.restart(N5, 0, 6);
        cluster.commit_state(N3, &[N3, N4, N5]);
        cluster.assert_clean(Property::IsrCompleteness);
    }

    #[test]
    fn the_set_may_name_an_incarnation_that_is_gone() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.fault(crate::observed::FaultNote::DiskLost(N5));
        let stale = cluster.lives[&N5];
        cluster.restart(N5, 0, 0);
        cluster.lives.insert(N5, stale); // the controller still knows the old registration
        cluster.commit_state(N3, &[N3, N4, N5]);
        cluster.assert_clean(Property::IsrCompleteness);
    }
}
