//! Probes: the rare states that a simulator must reach. A sweep that never reaches one is red,
//! because then nothing was tested there.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::event::{ControllerEvent, CoordinatorEvent, Event, LogEvent, ReplicaEvent};
use wyrdlog::base::ids::{LeaderEpoch, SessionId};

use crate::invariants::Seen;
use crate::invariants::model::{Model, Partition, Role};
use crate::observed::Node;

macro_rules! probes {
    ($($(#[$doc:meta])* $name:ident = $id:literal),* $(,)?) => {
        /// A rare state.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Probe { $($(#[$doc])* $name),* }

        impl Probe {
            /// All of them.
            pub const ALL: &'static [Probe] = &[$(Probe::$name),*];

            /// Its name in reports.
            #[must_use]
            pub fn id(self) -> &'static str { match self { $(Probe::$name => $id),* } }
        }
    };
}

probes! {
    /// A follower truncated a log that held something.
    FollowerTruncated = "follower-truncated",
    /// The leader changed while the old one held records that the new one does not.
    LeaderChangedWithTail = "leader-changed-with-unreplicated-tail",
    /// An in-sync set shrank and grew again.
    InSyncShrankAndGrew = "in-sync-shrank-and-grew",
    /// A leader was elected while an in-sync change of the old one was pending.
    InSyncPendingAcrossElection = "in-sync-change-pending-across-election",
    /// A controller was deposed while it was writing.
    ControllerDeposedWriting = "controller-deposed-while-writing",
    /// Recovery cut a torn tail.
    TornTailCut = "torn-tail-cut",
    /// A coordinator server installed another one's snapshot.
    SnapshotInstalled = "snapshot-installed",
    /// A session moved to another coordinator server.
    SessionMoved = "session-moved",
    /// A session that owned ephemerals expired.
    SessionWithEphemeralsExpired = "session-with-ephemerals-expired",
    /// A retried batch was recognised.
    BatchDeduplicated = "retried-batch-deduplicated",
    /// A request of an older epoch was refused.
    RequestFenced = "request-fenced",
    /// Damage was found.
    DamageFound = "damage-found",
}

impl Probe {
    /// Whether a cluster without brokers reaches it, too.
    #[must_use]
    pub fn is_of_coordinators(self) -> bool {
        matches!(self, Probe::SnapshotInstalled | Probe::SessionMoved | Probe::SessionWithEphemeralsExpired)
    }
}

/// How often each probe was reached in a run.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    counts: BTreeMap<Probe, u64>,
    shrunk: BTreeSet<usize>,
    pending: BTreeMap<usize, (Node, LeaderEpoch)>,
    sessions: BTreeMap<SessionId, Node>,
}

impl Probes {
    /// How often `probe` was reached.
    #[must_use]
    pub fn count(&self, probe: Probe) -> u64 {
        self.counts.get(&probe).copied().unwrap_or(0)
    }

    /// Every probe with its count.
    pub fn counts(&self) -> impl Iterator<Item = (Probe, u64)> + '_ {
        Probe::ALL.iter().map(|probe| (*probe, self.count(*probe)))
    }

    /// Takes an event that the model has not taken yet.
    pub fn observe(&mut self, model: &Model, seen: Seen<'_>) {
        if let Some(probe) = self.reached(model, seen) {
            *self.counts.entry(probe).or_default() += 1;
        }
    }

    fn reached(&mut self, model: &Model, seen: Seen<'_>) -> Option<Probe> {
        match (&seen.observed.event, seen.partition) {
            (Event::Log(_, event), _) => of_log(model, seen, event),
            (Event::Replica(_, event), Some(at)) => self.of_replica(model, seen, at, event),
            (Event::Controller(ControllerEvent::Deposed { while_writing: true, .. }), _) => {
                Some(Probe::ControllerDeposedWriting)
            }
            (
                Event::Controller(ControllerEvent::Committed { state, .. } | ControllerEvent::Found { state, .. }),
                Some(at),
            ) => {
                let before = model.partitions[at].state.as_ref().map_or(0, |(_, state)| state.in_sync.len());
                if state.in_sync.len() < before {
                    self.shrunk.insert(at);
                }
                let grew = state.in_sync.len() > before && self.shrunk.remove(&at);
                grew.then_some(Probe::InSyncShrankAndGrew)
            }
            (Event::Coordinator(event), _) => self.of_coordinator(seen.node(), event),
            _ => None,
        }
    }

    fn of_replica(&mut self, model: &Model, seen: Seen<'_>, at: usize, event: &ReplicaEvent) -> Option<Probe> {
        match event {
            ReplicaEvent::BecameLeader { leader_epoch, log_end, .. } => {
                let pending = self.pending.remove(&at).is_some_and(|(_, epoch)| epoch < *leader_epoch);
                if pending {
                    *self.counts.entry(Probe::InSyncPendingAcrossElection).or_default() += 1;
                }
                had_tail(&model.partitions[at], seen.node(), *log_end).then_some(Probe::LeaderChangedWithTail)
            }
            ReplicaEvent::InSync { leader_epoch, proposed, .. } => {
                match proposed {
                    Some(_) => drop(self.pending.insert(at, (seen.node(), *leader_epoch))),
                    None => drop(self.pending.remove(&at)),
                }
                None
            }
            ReplicaEvent::Deduplicated { .. } => Some(Probe::BatchDeduplicated),
            ReplicaEvent::Fenced => Some(Probe::RequestFenced),
            _ => None,
        }
    }

    fn of_coordinator(&mut self, node: Node, event: &CoordinatorEvent) -> Option<Probe> {
        match event {
            CoordinatorEvent::SnapshotInstalled { .. } => Some(Probe::SnapshotInstalled),
            CoordinatorEvent::SessionAttached { session, .. } => {
                let before = self.sessions.insert(*session, node);
                before.is_some_and(|before| before != node).then_some(Probe::SessionMoved)
            }
            CoordinatorEvent::SessionEnded { expired: true, ephemerals, .. } if !ephemerals.is_empty() => {
                Some(Probe::SessionWithEphemeralsExpired)
            }
            _ => None,
        }
    }
}

fn of_log(model: &Model, seen: Seen<'_>, event: &LogEvent) -> Option<Probe> {
    match event {
        LogEvent::Opened { torn_bytes, .. } if *torn_bytes > 0 => Some(Probe::TornTailCut),
        LogEvent::Truncated { from, log_end } if log_end < from => {
            let follows = model.replica(seen).is_some_and(|replica| replica.role == Role::Follower);
            follows.then_some(Probe::FollowerTruncated)
        }
        LogEvent::Damaged { .. } => Some(Probe::DamageFound),
        _ => None,
    }
}

fn had_tail(partition: &Partition, new_leader: Node, log_end: i64) -> bool {
    let old = partition.leading.map(|(_, node)| node).filter(|node| *node != new_leader);
    let old = old.and_then(|node| partition.replicas.get(&node));
    old.is_some_and(|old| old.log.end > log_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::examples::{Cluster, N3, N4, N5, batch};
    use wyrdlog::base::ids::{ControllerEpoch, Zxid};
    use wyrdlog::base::partition_state::Durability;

    #[test]
    fn every_probe_is_reached_by_the_state_it_names_and_by_nothing_calm() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        assert!(cluster.invariants.probes().counts().all(|(_, count)| count == 0));
        reach_in_logs(&mut cluster);
        reach_elsewhere(&mut cluster);
        for (probe, count) in cluster.invariants.probes().counts() {
            assert_eq!(count, 1, "{}", probe.id());
        }
    }

    fn reach_in_logs(cluster: &mut Cluster) {
        let proposed = Some(cluster.members(&[N3, N4]));
        let leader_epoch = LeaderEpoch(cluster.leader_epoch);
        let committed = cluster.members(&[N3, N4, N5]);
        cluster.append(N3, batch(6, 6, 1));
        cluster.replica(N3, ReplicaEvent::InSync { leader_epoch, committed, proposed });
        cluster.elect(N4);
        cluster.log(N3, LogEvent::Truncated { from: 7, log_end: 6 });
        cluster.commit_state(N4, &[N4, N5]);
        cluster.commit_state(N4, &[N3, N4, N5]);
        cluster.replica(N4, ReplicaEvent::Deduplicated { base_offset: 5 });
        cluster.replica(N4, ReplicaEvent::Fenced);
        cluster.log(N5, LogEvent::Damaged { offset: 2 });
        let durability = Durability::PageCache;
        cluster.log(N5, LogEvent::Opened { log_start: 0, log_end: 6, torn_bytes: 9, durability });
    }

    fn reach_elsewhere(cluster: &mut Cluster) {
        let deposed = ControllerEvent::Deposed { controller_epoch: ControllerEpoch(1), while_writing: true };
        cluster.see(N3, Event::Controller(deposed));
        let session = SessionId(4);
        for (node, attachment) in [(0, 1), (1, 2)] {
            cluster.coordinator(node, CoordinatorEvent::SessionAttached { session, attachment });
        }
        let ephemerals = vec!["/e".to_owned()];
        cluster.coordinator(1, CoordinatorEvent::SessionEnded { session, expired: true, ephemerals });
        let installed = CoordinatorEvent::SnapshotInstalled { index: 9, zxid: Zxid(9), state_digest: 1 };
        cluster.coordinator(2, installed);
    }
}
