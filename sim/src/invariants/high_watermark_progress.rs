//! *high_watermark_progress*: what a leader knows to be on every replica that it has to wait for is
//! committed in the very step in which it learns so. Nobody may be left whose next fetch would do it:
//! that fetch may never come (KAFKA-13091). This is the other side of `high_watermark_safety`.
//!
//! Waited for are the members of the maximal in-sync set, in the incarnation that it names, and
//! followers outside of it that keep up. Below `min.insync.replicas` nothing is owed.
//!
//! A follower whose log begins anew where its leader's begins, above all that it had, knows that everything below is
//! committed: its high watermark is there, too, or no fetch of anybody would be within its log (KAFKA-9491).
//!
//! False positives avoided: one step tells of several changes, and of the high watermark last, so
//! what is owed is asked for at the partition's next event of a later instant; a follower that the
//! controller refused need not be waited for, but may be.

use std::collections::BTreeMap;

use wyrdlog::base::event::{Event, LogEvent, ReplicaEvent};
use wyrdlog::base::ids::{BrokerEpoch, BrokerId};
use wyrdlog::base::partition_state::InSyncReplica;

use super::model::{Partition, Replica};
use super::{Invariant, Seen, World};
use crate::observed::{Incarnation, Node};
use crate::verdict::{Findings, Property};

/// What a leader was told of a follower.
#[derive(Clone, Copy, Debug)]
struct Follower {
    fetched: Option<(BrokerEpoch, i64)>,
    keeps_up: bool,
}

/// What is owed since when.
#[derive(Clone, Copy, Debug)]
struct Owed {
    time_ns: u64,
    ordinal: u64,
    offset: i64,
}

/// A leader, as it tells of itself.
#[derive(Debug)]
struct Leader {
    incarnation: Incarnation,
    member: InSyncReplica,
    committed: Vec<InSyncReplica>,
    /// Everyone whom proposals named since.
    named: Vec<InSyncReplica>,
    followers: BTreeMap<BrokerId, Follower>,
    owed: Option<Owed>,
    /// Up to where it was asked for and found.
    paid: i64,
}

/// Follows what leaders are told.
#[derive(Debug)]
pub struct HighWatermarkProgress {
    findings: Findings,
    leaders: BTreeMap<(usize, Node), Leader>,
    /// Where logs begin anew, above all that they had.
    anew: BTreeMap<(usize, Node), i64>,
}

impl HighWatermarkProgress {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        let findings = Findings::new(Property::HighWatermarkProgress);
        HighWatermarkProgress { findings, leaders: BTreeMap::new(), anew: BTreeMap::new() }
    }

    fn begins(&mut self, world: World<'_>, seen: Seen<'_>, at: usize, event: &LogEvent) {
        let key = (at, seen.node());
        match event {
            LogEvent::Truncated { from, log_end } if log_end > from => drop(self.anew.insert(key, *log_end)),
            // What it notes and syncs for that goes on for a while, and nothing is appended before it is done.
            LogEvent::Appended { .. } => {
                let Some(log_start) = self.anew.remove(&key) else { return };
                let Some(has) = world.model.replica(seen).map(|replica| replica.high_watermark) else { return };
                self.findings.check(has >= log_start, seen.time_ns(), [seen.ordinal], || {
                    let name = &world.model.partitions[at].name;
                    format!("{} began {name} anew at {log_start} and leaves its high watermark at {has}", seen.node())
                });
            }
            LogEvent::Opened { .. } | LogEvent::Truncated { .. } => drop(self.anew.remove(&key)),
            _ => {}
        }
    }

    /// Asks for what was owed at an earlier instant.
    fn ask(&mut self, world: World<'_>, seen: Seen<'_>, at: usize) {
        let key = (at, seen.node());
        let Some(leader) = self.leaders.get_mut(&key) else { return };
        if leader.incarnation != seen.observed.incarnation {
            self.leaders.remove(&key);
            return;
        }
        let Some(owed) = leader.owed.filter(|owed| owed.time_ns < seen.time_ns()) else { return };
        leader.owed = None;
        if owed.offset <= leader.paid {
            return;
        }
        leader.paid = owed.offset;
        let Some(replica) = world.model.replica(seen) else { return };
        let has = replica.high_watermark;
        self.findings.check(has >= owed.offset, owed.time_ns, [owed.ordinal, seen.ordinal], || {
            format!(
                "{} leads {} with the high watermark at {has}, although all that it waits for was known to reach {} \
                 since {}",
                seen.node(),
                world.model.partitions[at].name,
                owed.offset,
                crate::observed::seconds(owed.time_ns)
            )
        });
    }

    fn told(&mut self, world: World<'_>, seen: Seen<'_>, at: usize, event: &ReplicaEvent) {
        let key = (at, seen.node());
        match event {
            ReplicaEvent::BecameLeader { broker_epoch, .. } => {
                let brokers = &world.model.topology.brokers;
                let Some(broker) = brokers.iter().find(|(_, node)| **node == seen.node()).map(|(broker, _)| *broker)
                else {
                    return;
                };
                let leader = Leader {
                    incarnation: seen.observed.incarnation,
                    member: InSyncReplica { broker, broker_epoch: *broker_epoch },
                    committed: Vec::new(),
                    named: Vec::new(),
                    followers: BTreeMap::new(),
                    owed: None,
                    paid: 0,
                };
                self.leaders.insert(key, leader);
            }
            ReplicaEvent::BecameFollower { .. } | ReplicaEvent::Stopped => drop(self.leaders.remove(&key)),
            ReplicaEvent::InSync { committed, proposed, .. } => {
                let Some(leader) = self.leaders.get_mut(&key) else { return };
                leader.committed.clone_from(committed);
                match proposed {
                    Some(proposed) => leader.named.extend_from_slice(proposed),
                    None => leader.named.clear(),
                }
            }
            ReplicaEvent::FollowerProgress { broker, fetched, keeps_up } => {
                let Some(leader) = self.leaders.get_mut(&key) else { return };
                leader.followers.insert(*broker, Follower { fetched: *fetched, keeps_up: *keeps_up });
            }
            _ => {}
        }
    }
}

impl Leader {
    /// Up to where everything is known to be on all replicas that are waited for.
    fn reach(&self, partition: &Partition, own: &Replica) -> Option<i64> {
        if self.committed.len() < partition.min_in_sync || !self.committed.contains(&self.member) {
            return None;
        }
        let mut lowest = own.counted_end(partition.durability);
        for member in self.committed.iter().chain(&self.named).filter(|member| member.broker != self.member.broker) {
            let (broker_epoch, offset) = self.followers.get(&member.broker)?.fetched?;
            if broker_epoch != member.broker_epoch {
                return None;
            }
            lowest = lowest.min(offset);
        }
        let outside = self.followers.iter().filter_map(|(broker, follower)| {
            let (broker_epoch, offset) = follower.fetched.filter(|_| follower.keeps_up)?;
            let as_member = InSyncReplica { broker: *broker, broker_epoch };
            (!self.committed.contains(&as_member)).then_some(offset)
        });
        Some(outside.fold(lowest, i64::min))
    }
}

impl Default for HighWatermarkProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for HighWatermarkProgress {
    fn before(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        if let (Event::Log(..) | Event::Replica(..), Some(at)) = (&seen.observed.event, seen.partition) {
            self.ask(*world, *seen, at);
        }
    }

    fn after(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let Some(at) = seen.partition else { return };
        match &seen.observed.event {
            Event::Replica(_, event) => self.told(*world, *seen, at, event),
            Event::Log(_, event) => self.begins(*world, *seen, at, event),
            _ => return,
        }
        let Some(leader) = self.leaders.get_mut(&(at, seen.node())) else { return };
        let Some(replica) = world.model.replica(*seen) else { return };
        let (time_ns, ordinal) = (seen.time_ns(), seen.ordinal);
        let reach = leader.reach(&world.model.partitions[at], replica);
        // What was owed and paid in the same instant is asked for, too: that is what is evaluated.
        leader.owed = reach.map(|offset| Owed { time_ns, ordinal, offset });
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use wyrdlog::base::ids::LeaderEpoch;

    use super::super::examples::{Cluster, N3, N4, N5, batch};
    use super::*;

    /// One more batch on nodes 3 and 4, while node 5 lags; all of it is told.
    fn node_5_lags() -> Cluster {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.append(N3, batch(6, 7, 1));
        cluster.append(N4, batch(6, 7, 1));
        cluster.told(N3, N4, 8, true);
        cluster.told(N3, N5, 6, false);
        cluster.replica(N3, ReplicaEvent::Served { end: 6, high_watermark: 6 });
        cluster.assert_clean(Property::HighWatermarkProgress);
        cluster
    }

    #[test]
    fn a_high_watermark_that_is_left_behind_by_a_smaller_set_is_rejected() {
        let mut cluster = node_5_lags();
        cluster.in_sync(N3, &[N3, N4], None);
        cluster.replica(N3, ReplicaEvent::Served { end: 6, high_watermark: 6 });
        assert_eq!(cluster.violated(Property::HighWatermarkProgress), 1);
    }

    #[test]
    fn a_high_watermark_that_moves_in_the_same_step_is_accepted() {
        let mut cluster = node_5_lags();
        cluster.commit_state(N3, &[N3, N4]);
        cluster.in_sync(N3, &[N3, N4], None);
        cluster.in_the_same_instant();
        cluster.expose(N3, 8, &[N3, N4]);
        cluster.replica(N3, ReplicaEvent::Served { end: 8, high_watermark: 8 });
        cluster.assert_clean(Property::HighWatermarkProgress);
    }

    #[test]
    fn whom_a_proposal_names_and_who_keeps_up_outside_is_waited_for_until_it_stops() {
        let mut cluster = node_5_lags();
        cluster.in_sync(N3, &[N3, N4], Some(&[N3, N4, N5]));
        cluster.replica(N3, ReplicaEvent::Served { end: 6, high_watermark: 6 });
        cluster.told(N3, N5, 6, true);
        cluster.in_sync(N3, &[N3, N4], None);
        cluster.replica(N3, ReplicaEvent::Served { end: 6, high_watermark: 6 });
        cluster.assert_clean(Property::HighWatermarkProgress);
        cluster.told(N3, N5, 6, false);
        cluster.replica(N3, ReplicaEvent::Served { end: 6, high_watermark: 6 });
        assert_eq!(cluster.violated(Property::HighWatermarkProgress), 1);
    }

    #[test]
    fn nothing_is_owed_below_min_insync_replicas_or_by_another_incarnation() {
        let mut cluster = node_5_lags();
        cluster.in_sync(N3, &[N3], None);
        cluster.replica(N3, ReplicaEvent::Served { end: 6, high_watermark: 6 });
        let named = cluster.members(&[N3, N4]);
        cluster.restart(N4, 0, 8);
        cluster.told(N3, N4, 8, true);
        cluster.replica(N3, ReplicaEvent::InSync { leader_epoch: LeaderEpoch(1), committed: named, proposed: None });
        cluster.replica(N3, ReplicaEvent::Served { end: 6, high_watermark: 6 });
        cluster.restart(N3, 0, 8);
        cluster.leader_epoch += 1;
        cluster.lead(N3);
        cluster.assert_clean(Property::HighWatermarkProgress);
    }

    #[test]
    fn a_log_that_begins_anew_takes_its_high_watermark_along() {
        let begun_anew = |high_watermark: i64, truncated: bool| {
            let mut cluster = node_5_lags();
            cluster.replica(
                N5,
                ReplicaEvent::HighWatermark {
                    leads: false,
                    leader_epoch: LeaderEpoch(1),
                    high_watermark,
                    maximal_in_sync: Vec::new(),
                    min_in_sync: 2,
                },
            );
            if truncated {
                cluster.log(N5, LogEvent::Truncated { from: 6, log_end: 20 });
            }
            cluster.log(N5, LogEvent::StartAdvanced { log_start: 20 });
            cluster.append(N5, batch(20, 21, 1));
            cluster.violated(Property::HighWatermarkProgress)
        };
        assert_eq!([begun_anew(20, true), begun_anew(6, false)], [0; 2]);
        assert_eq!(begun_anew(6, true), 1);
    }
}
