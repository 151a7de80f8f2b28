//! *high_watermark_safety*: the high watermark never passes the log end (synced end, in that
//! class) of any member of the maximal in-sync set that runs in the incarnation the set names,
//! never moves while the committed set that the leader was last told is smaller than
//! `min.insync.replicas`, never goes back within a leader epoch; no consumer reads past it
//! (Kip320 StrongIsr, KIP-497, KIP-966).
//!
//! The durability class and `min.insync.replicas` are the scenario's, and the maximal set is put
//! together from what the coordinator committed, what the leader was told and whom its proposals
//! named. What the leader says of any of these is a claim.
//!
//! False positives avoided: a member that is down, or runs in another incarnation, is not the
//! replica that is named; a new leader's high watermark may start below the old one's.

use wyrdlog::base::event::{Event, LogEvent, ReplicaEvent};
use wyrdlog::base::ids::LeaderEpoch;
use wyrdlog::base::partition_state::Durability;

use super::model::{Partition, Role};
use super::{Invariant, Seen, World};
use crate::verdict::{Findings, Property};

/// Looks at each move of a high watermark and at each read.
#[derive(Debug)]
pub struct HighWatermarkSafety {
    findings: Findings,
}

/// A leader's announcement. What it says of sets and configuration is not taken for granted.
#[derive(Clone, Copy)]
struct Move {
    leader_epoch: LeaderEpoch,
    high_watermark: i64,
}

impl HighWatermarkSafety {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        HighWatermarkSafety { findings: Findings::new(Property::HighWatermarkSafety) }
    }

    fn moved(&mut self, world: World<'_>, seen: Seen<'_>, partition: &Partition, to: Move) {
        let Some(replica) = world.model.replica(seen) else { return };
        let (node, name, high_watermark) = (seen.node(), &partition.name, to.high_watermark);
        let involved = [seen.ordinal];
        let before = replica.high_watermark;
        if replica.role == Role::Leader && replica.leader_epoch == Some(to.leader_epoch) {
            self.findings.check(high_watermark >= before, seen.time_ns(), involved, || {
                format!("{node} moved the high watermark of {name} back from {before} to {high_watermark}")
            });
        }
        if high_watermark > before {
            let (size, least) = (replica.told_in_sync.len(), partition.min_in_sync);
            self.findings.check(size >= least, seen.time_ns(), involved, || {
                format!(
                    "{node} moved the high watermark of {name} to {high_watermark} while the in-sync set that it was last told has {size} members, fewer than min.insync.replicas={least}",
                )
            });
        }
        let own = replica.counted_end(partition.durability);
        self.findings.check(high_watermark <= own, seen.time_ns(), involved, || {
            format!(
                "the high watermark {high_watermark} of {name} is past the counted log end {own} of its leader, {node}"
            )
        });
        for member in partition.maximal_in_sync(replica) {
            let Some(at) = world.model.runs_as(member.broker, member.broker_epoch) else { continue };
            let Some(follower) = partition.replicas.get(&at).filter(|follower| follower.is_open) else { continue };
            let end = follower.counted_end(partition.durability);
            self.findings.check(high_watermark <= end, seen.time_ns(), involved, || {
                format!(
                    "the high watermark {high_watermark} of {name}, led by {node}, is past the counted log end {end} of broker {} ({at}), which the maximal in-sync set names in its running incarnation {}",
                    member.broker, member.broker_epoch
                )
            });
        }
    }

    /// A log is kept as its topic was configured, whatever the broker takes that to be.
    fn opened(&mut self, seen: Seen<'_>, partition: &Partition, durability: Durability) {
        self.findings.check(durability == partition.durability, seen.time_ns(), [seen.ordinal], || {
            let (node, name, configured) = (seen.node(), &partition.name, partition.durability);
            format!("{node} keeps {name} as {durability:?}, which was configured as {configured:?} (flush.messages)")
        });
    }

    fn served(&mut self, world: World<'_>, seen: Seen<'_>, partition: &Partition, end: i64, claimed: i64) {
        let Some(replica) = world.model.replica(seen) else { return };
        let known = replica.high_watermark.max(claimed.min(partition.exposed));
        self.findings.check(end <= claimed && claimed <= known, seen.time_ns(), [seen.ordinal], || {
            let (node, name) = (seen.node(), &partition.name);
            format!("{node} served {name} up to {end} claiming high watermark {claimed}; the high watermark is {known}")
        });
    }
}

impl Default for HighWatermarkSafety {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for HighWatermarkSafety {
    fn before(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let Some(at) = seen.partition else { return };
        let partition = &world.model.partitions[at];
        let event = match &seen.observed.event {
            Event::Log(_, LogEvent::Opened { durability, .. }) => return self.opened(*seen, partition, *durability),
            Event::Replica(_, event) => event,
            _ => return,
        };
        match event {
            ReplicaEvent::HighWatermark { leads: true, leader_epoch, high_watermark, .. } => {
                let to = Move { leader_epoch: *leader_epoch, high_watermark: *high_watermark };
                self.moved(*world, *seen, partition, to);
            }
            ReplicaEvent::Served { end, high_watermark } => {
                self.served(*world, *seen, partition, *end, *high_watermark)
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

    fn one_unreplicated_batch() -> Cluster {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.append(N3, batch(6, 7, 1));
        cluster.append(N4, batch(6, 7, 1));
        cluster
    }

    #[test]
    fn a_high_watermark_past_a_running_member_is_rejected() {
        let mut cluster = one_unreplicated_batch();
        cluster.expose(N3, 8, &[N3, N4, N5]);
        assert_eq!(cluster.violated(Property::HighWatermarkSafety), 1);
    }

    #[test]
    fn a_high_watermark_that_moves_under_min_insync_replicas_is_rejected() {
        let mut cluster = one_unreplicated_batch();
        cluster.commit_state(N3, &[N3]);
        cluster.in_sync(N3, &[N3], None);
        cluster.expose(N3, 8, &[N3, N4, N5]);
        assert_eq!(cluster.violated(Property::HighWatermarkSafety), 1, "whatever set the leader claims");
    }

    #[test]
    fn a_member_whom_the_leader_leaves_out_of_its_own_account_is_looked_at() {
        let mut cluster = one_unreplicated_batch();
        cluster.expose(N3, 8, &[N3, N4]);
        assert_eq!(cluster.violated(Property::HighWatermarkSafety), 1);
    }

    #[test]
    fn a_log_that_is_kept_in_another_class_than_configured_is_rejected() {
        let mut cluster = Cluster::synced();
        let durability = Durability::PageCache;
        cluster.log(N3, LogEvent::Opened { log_start: 0, log_end: 0, torn_bytes: 0, durability });
        assert_eq!(cluster.violated(Property::HighWatermarkSafety), 1);
    }

    #[test]
    fn an_unsynced_end_does_not_count_in_the_synced_class() {
        let mut cluster = Cluster::synced();
        cluster.commit_three_batches();
        cluster.append(N3, batch(6, 7, 1));
        cluster.append(N4, batch(6, 7, 1));
        cluster.sync(N3, 8);
        cluster.commit_state(N3, &[N3, N4]);
        cluster.in_sync(N3, &[N3, N4], None);
        cluster.expose(N3, 8, &[N3, N4]);
        assert_eq!(cluster.violated(Property::HighWatermarkSafety), 1);
    }

    #[test]
    fn a_high_watermark_that_goes_back_and_a_read_past_it_are_rejected() {
        let mut cluster = one_unreplicated_batch();
        cluster.expose(N3, 5, &[N3, N4, N5]);
        assert_eq!(cluster.violated(Property::HighWatermarkSafety), 1);
        cluster.replica(N3, ReplicaEvent::Served { end: 8, high_watermark: 6 });
        cluster.replica(N3, ReplicaEvent::Served { end: 8, high_watermark: 8 });
        assert_eq!(cluster.violated(Property::HighWatermarkSafety), 3);
    }

    #[test]
    fn a_member_in_another_incarnation_does_not_hold_the_high_watermark_back() {
        let mut cluster = one_unreplicated_batch();
        let named = cluster.members(&[N3, N4, N5]);
        cluster.restart(N5, 0, 6);
        let leader_epoch = LeaderEpoch(cluster.leader_epoch);
        cluster.replica(
            N3,
            ReplicaEvent::HighWatermark {
                leads: true,
                leader_epoch,
                high_watermark: 8,
                maximal_in_sync: named,
                min_in_sync: 2,
            },
        );
        cluster.replica(N3, ReplicaEvent::Served { end: 8, high_watermark: 8 });
        cluster.assert_clean(Property::HighWatermarkSafety);
    }
}
