//! *fenced_stays_fenced*: nothing of an older leader epoch, controller epoch or producer epoch
//! takes effect (KIP-320, KIP-631, KIP-890). That nothing of an older broker epoch does is
//! `isr_completeness`, whose sets name incarnations.
//!
//! As events show it: a replica's epoch never falls within an incarnation; a leader appends under
//! its own epoch and a follower never under a later one than it follows; a high watermark is
//! moved under the epoch in which the replica leads; along the coordinator's history, controller,
//! leader and partition epochs never fall; a producer's epoch never falls in the leader's log.
//!
//! False positives avoided: a deposed controller may *learn* late of a write that took its place
//! in time, so writes are compared by zxid, not by the time of the event; a fetched batch keeps
//! its own, older epoch.

use std::collections::BTreeMap;

use wyrdlog::base::event::{AppendedBatch, ControllerEvent, Event, LogEvent, ReplicaEvent};
use wyrdlog::base::ids::{ControllerEpoch, LeaderEpoch, Zxid};
use wyrdlog::base::partition_state::PartitionState;

use super::model::{Partition, Role};
use super::replica_log::describe;
use super::{Invariant, Seen, World};
use crate::verdict::{Findings, Property};

/// A controller's write, in the coordinator's history.
#[derive(Clone, Copy, Debug)]
struct Commit {
    controller_epoch: ControllerEpoch,
    ordinal: u64,
}

/// A partition's epochs, in the coordinator's history.
#[derive(Clone, Copy, Debug)]
struct Epochs {
    leader_epoch: LeaderEpoch,
    partition_epoch: i32,
    ordinal: u64,
}

/// Follows all epochs.
#[derive(Debug)]
pub struct FencedStaysFenced {
    findings: Findings,
    commits: BTreeMap<Zxid, Commit>,
    epochs: BTreeMap<(usize, Zxid), Epochs>,
}

impl FencedStaysFenced {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        let findings = Findings::new(Property::FencedStaysFenced);
        FencedStaysFenced { findings, commits: BTreeMap::new(), epochs: BTreeMap::new() }
    }

    fn appended(&mut self, world: World<'_>, seen: Seen<'_>, partition: &Partition, batch: &AppendedBatch) {
        let Some(replica) = world.model.replica(seen) else { return };
        let (Some(epoch), role) = (replica.leader_epoch, replica.role) else { return };
        let (node, name) = (seen.node(), &partition.name);
        let holds = match role {
            Role::Leader => batch.leader_epoch == epoch,
            Role::Follower => batch.leader_epoch <= epoch,
            Role::None => return,
        };
        self.findings.check(holds, seen.time_ns(), [seen.ordinal], || {
            format!("{node}, {role:?} of {name} in epoch {epoch}, appended {}", describe(batch))
        });
        let tail = partition.is_led_by(node).then(|| partition.producers.get(&batch.producer_id)).flatten();
        if let Some(tail) = tail {
            self.findings.check(batch.producer_epoch >= tail.epoch, seen.time_ns(), [seen.ordinal], || {
                format!(
                    "{node} appended to {name} {} of producer {} in epoch {}, which epoch {} had fenced at offset {}",
                    describe(batch),
                    batch.producer_id,
                    batch.producer_epoch,
                    tail.epoch,
                    tail.base_offset
                )
            });
        }
    }

    fn took_role(&mut self, world: World<'_>, seen: Seen<'_>, partition: &Partition, epoch: LeaderEpoch) {
        if let Some(before) = world.model.replica(seen).and_then(|replica| replica.leader_epoch) {
            self.findings.check(epoch >= before, seen.time_ns(), [seen.ordinal], || {
                format!("{} went back from leader epoch {before} to {epoch} of {}", seen.node(), partition.name)
            });
        }
    }

    fn moved(&mut self, world: World<'_>, seen: Seen<'_>, partition: &Partition, epoch: LeaderEpoch) {
        let Some(replica) = world.model.replica(seen) else { return };
        let holds = replica.role == Role::Leader && replica.leader_epoch == Some(epoch);
        self.findings.check(holds, seen.time_ns(), [seen.ordinal], || {
            let (node, name, role, now) = (seen.node(), &partition.name, replica.role, replica.leader_epoch);
            format!("{node} moved the high watermark of {name} as leader of epoch {epoch}, being {role:?} in {now:?}")
        });
    }

    fn committed(
        &mut self,
        seen: Seen<'_>,
        at: usize,
        partition: &Partition,
        zxid: Zxid,
        write: (ControllerEpoch, &PartitionState),
    ) {
        let (controller_epoch, state) = write;
        let mine = Commit { controller_epoch, ordinal: seen.ordinal };
        let earlier = self.commits.range(..zxid).next_back();
        let later = self.commits.range(zxid..).next();
        let fenced = earlier.filter(|(_, commit)| commit.controller_epoch > controller_epoch);
        let fences = later.filter(|(_, commit)| commit.controller_epoch < controller_epoch);
        let conflict = fenced.or(fences).map(|(zxid, commit)| (*zxid, *commit));
        let other = conflict.map_or(seen.ordinal, |(_, commit)| commit.ordinal);
        self.findings.check(conflict.is_none(), seen.time_ns(), [other, seen.ordinal], || {
            format!(
                "a write of controller epoch {controller_epoch} took effect on {} at zxid {:#x}, in disorder with {conflict:?}",
                partition.name, zxid.0
            )
        });
        self.commits.insert(zxid, mine);
        let mine =
            Epochs { leader_epoch: state.leader_epoch, partition_epoch: state.partition_epoch, ordinal: seen.ordinal };
        let below = self.epochs.range((at, Zxid(i64::MIN))..(at, zxid)).next_back().map(|(_, epochs)| *epochs);
        if let Some(before) = below {
            let holds = mine.leader_epoch >= before.leader_epoch && mine.partition_epoch > before.partition_epoch;
            self.findings.check(holds, seen.time_ns(), [before.ordinal, seen.ordinal], || {
                format!("the state of {} went from {before:?} back to {mine:?} at zxid {:#x}", partition.name, zxid.0)
            });
        }
        self.epochs.insert((at, zxid), mine);
    }
}

impl Default for FencedStaysFenced {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for FencedStaysFenced {
    fn before(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let Some(at) = seen.partition else { return };
        let partition = &world.model.partitions[at];
        match &seen.observed.event {
            Event::Log(_, LogEvent::Appended { batch, .. }) => self.appended(*world, *seen, partition, batch),
            Event::Replica(
                _,
                ReplicaEvent::BecameLeader { leader_epoch, .. } | ReplicaEvent::BecameFollower { leader_epoch, .. },
            ) => self.took_role(*world, *seen, partition, *leader_epoch),
            Event::Replica(_, ReplicaEvent::HighWatermark { leads: true, leader_epoch, .. }) => {
                self.moved(*world, *seen, partition, *leader_epoch);
            }
            Event::Controller(ControllerEvent::Committed { state, controller_epoch, zxid, .. }) => {
                self.committed(*seen, at, partition, *zxid, (*controller_epoch, state));
            }
            // A deposed controller's write, of which nobody else may ever tell (KAFKA-6082).
            Event::Controller(ControllerEvent::Found { state, written: Some((controller_epoch, zxid)), .. }) => {
                self.committed(*seen, at, partition, *zxid, (*controller_epoch, state));
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
    use super::super::examples::{Cluster, N3, N4, batch, produced};
    use super::*;

    #[test]
    fn a_leader_or_follower_that_appends_under_a_wrong_epoch_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.elect(N3);
        cluster.elect(N3);
        cluster.append(N3, batch(0, 0, 1));
        cluster.append(N4, batch(0, 0, 3));
        assert_eq!(cluster.violated(Property::FencedStaysFenced), 2);
    }

    #[test]
    fn a_replica_that_goes_back_to_an_older_epoch_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.elect(N3);
        cluster.elect(N4);
        cluster.leader_epoch = 1;
        cluster.follow(N4);
        assert_eq!(cluster.violated(Property::FencedStaysFenced), 1);
    }

    #[test]
    fn a_deposed_controllers_write_is_rejected_and_a_late_report_of_an_earlier_one_is_not() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_state_as(1, N3, &[N3]);
        cluster.zxid = 200;
        cluster.commit_state_as(2, N3, &[N3]);
        cluster.zxid = 150;
        cluster.partition_epoch = 1;
        cluster.commit_state_as(1, N3, &[N3, N4]);
        assert_eq!(cluster.violated(Property::FencedStaysFenced), 0);
        cluster.zxid = 300;
        cluster.partition_epoch = 5;
        cluster.commit_state_as(1, N3, &[N3]);
        assert_eq!(cluster.violated(Property::FencedStaysFenced), 1);
    }

    #[test]
    fn a_fenced_producer_that_appends_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.elect(N3);
        cluster.append(N3, produced(0, 0, 3, 0));
        cluster.append(N3, produced(1, 1, 2, 0));
        assert_eq!(cluster.violated(Property::FencedStaysFenced), 1);
    }

    #[test]
    fn a_follower_that_fetches_older_batches_is_accepted() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.elect(N4);
        cluster.append(N4, batch(6, 6, 2));
        cluster.restart(N3, 0, 6);
        cluster.follow(N3);
        cluster.log(N3, LogEvent::Truncated { from: 6, log_end: 5 });
        cluster.append(N3, batch(5, 5, 1));
        cluster.append(N3, batch(6, 6, 2));
        assert_eq!(cluster.violated(Property::FencedStaysFenced), 0);
        assert!(cluster.findings(Property::FencedStaysFenced).passed());
    }
}
