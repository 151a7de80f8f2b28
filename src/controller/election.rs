//! From a partition's state and the live brokers to its next state: who stays in sync, who stays
//! eligible, who leads.
//!
//! Eligible leader replicas (KIP-966) are those that left the in-sync set while, or so that, it was
//! smaller than `min.insync.replicas`: since nothing is committed in that time, they still hold
//! everything that is. An election takes a live member of the in-sync set, else a live eligible
//! replica, else nobody. There is no unclean election.

use std::collections::{BTreeMap, BTreeSet};

use super::metadata::TopicSettings;
use super::registration::Registration;
use crate::base::ids::{BrokerId, LeaderEpoch};
use crate::base::partition_state::{Durability, InSyncReplica, PartitionState};
use crate::base::plants::{Plant, Plants};

/// Who lives, and what is known of their logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Liveness {
    /// The live brokers.
    pub(super) brokers: BTreeMap<BrokerId, Registration>,
    /// Those of them that asked to leave.
    pub(super) shutting_down: BTreeSet<BrokerId>,
}

impl Liveness {
    /// The incarnation of `broker` that may lead or join, if there is one.
    pub(super) fn available(&self, broker: BrokerId) -> Option<InSyncReplica> {
        let registration = self.brokers.get(&broker).filter(|_| !self.shutting_down.contains(&broker))?;
        Some(InSyncReplica { broker, broker_epoch: registration.broker_epoch })
    }

    /// Whether this very incarnation may lead or join.
    pub(super) fn is_available(&self, member: &InSyncReplica) -> bool {
        self.available(member.broker) == Some(*member)
    }

    /// Whether what left the in-sync set as `member`, now or before, is still whole. Whoever is away is
    /// judged when it returns, and by nothing that it did since: what is committed it has held since
    /// then, and what else it may have registered as tells nothing about this disk.
    fn keeps_member(&self, member: &InSyncReplica, durability: Durability) -> bool {
        let Some(registration) = self.brokers.get(&member.broker) else { return true };
        registration.continues(member.broker_epoch, durability)
    }
}

/// A choice of next state.
pub(super) struct Chosen {
    /// The state.
    pub(super) state: PartitionState,
    /// The planted bug that made it, if one did.
    pub(super) taken: Option<Plant>,
}

/// The rules for one partition.
pub(super) struct Rules<'a> {
    pub(super) live: &'a Liveness,
    pub(super) settings: &'a TopicSettings,
    pub(super) plants: Plants,
}

impl Rules<'_> {
    /// What `old` must become, given who lives; none if it is right as it is.
    pub(super) fn react(&self, old: &PartitionState) -> Option<Chosen> {
        let in_sync = old.in_sync.iter().filter(|member| self.live.is_available(member)).copied().collect();
        let mut chosen = self.with_in_sync(old, in_sync);
        self.elect(old, &mut chosen);
        if chosen.state == *old {
            return None;
        }
        chosen.state.partition_epoch = old.partition_epoch + 1;
        Some(chosen)
    }

    /// What `old` becomes with the in-sync set that its leader proposed. Even an unchanged set is
    /// committed anew, which voids every older proposal.
    pub(super) fn propose(&self, old: &PartitionState, in_sync: Vec<InSyncReplica>) -> Chosen {
        let mut chosen = self.with_in_sync(old, in_sync);
        chosen.state.partition_epoch = old.partition_epoch + 1;
        chosen
    }

    /// `old` with another in-sync set and the eligible set that follows from it.
    fn with_in_sync(&self, old: &PartitionState, mut in_sync: Vec<InSyncReplica>) -> Chosen {
        in_sync.sort_unstable();
        let mut chosen = Chosen { state: PartitionState { in_sync, ..old.clone() }, taken: None };
        if chosen.state.in_sync.len() >= self.min_in_sync(old) {
            chosen.state.eligible_leaders.clear();
            return chosen;
        }
        let durability = self.settings.durability;
        let before_and_left = old.eligible_leaders.iter().chain(&old.in_sync);
        let candidates: BTreeMap<BrokerId, InSyncReplica> =
            before_and_left.map(|member| (member.broker, *member)).collect();
        let mut kept: Vec<InSyncReplica> =
            candidates.into_values().filter(|member| !chosen.state.is_in_sync(member.broker)).collect();
        kept.retain(|member| {
            let whole = self.live.keeps_member(member, durability);
            // KIP-966 undone: a replica that lost its tail stays eligible.
            let keep_unclean = self.plants.is(Plant::Kip966);
            chosen.taken = chosen.taken.or((!whole && keep_unclean).then_some(Plant::Kip966));
            whole || keep_unclean
        });
        chosen.state.eligible_leaders = kept;
        chosen
    }

    /// Keeps the leader if its incarnation stayed in sync, else elects.
    fn elect(&self, old: &PartitionState, chosen: &mut Chosen) {
        let state = &mut chosen.state;
        if old.leader.is_some_and(|leader| state.is_in_sync(leader)) {
            return;
        }
        let in_sync = state.replicas.iter().copied().find(|replica| state.is_in_sync(*replica));
        let taken = &mut chosen.taken;
        match in_sync.or_else(|| self.admit_eligible(state)).or_else(|| self.admit_any(state, taken)) {
            Some(leader) => lead(state, leader),
            None if old.leader.is_some() => {
                state.last_known_leader = old.leader;
                state.leader = None;
                state.leader_epoch = next(old.leader_epoch);
            }
            None => {}
        }
    }

    /// Makes the first live eligible replica the only member of the in-sync set.
    fn admit_eligible(&self, state: &mut PartitionState) -> Option<BrokerId> {
        let eligible = state.replicas.iter().filter(|replica| state.is_eligible(**replica));
        let member = eligible.copied().find_map(|replica| self.live.available(replica))?;
        state.in_sync = vec![member];
        if self.min_in_sync(state) <= 1 {
            state.eligible_leaders.clear();
        } else {
            state.eligible_leaders.retain(|other| other.broker != member.broker);
        }
        Some(member.broker)
    }

    /// The planted bugs: a replica leads that may lack what was committed.
    fn admit_any(&self, state: &mut PartitionState, taken: &mut Option<Plant>) -> Option<BrokerId> {
        let member = if self.plants.is(Plant::Kip106) {
            *taken = Some(Plant::Kip106);
            state.replicas.iter().find_map(|replica| self.live.available(*replica))?
        } else if self.plants.is(Plant::Kafka19522) {
            *taken = Some(Plant::Kafka19522);
            self.live.available(state.last_known_leader?)?
        } else {
            return None;
        };
        state.in_sync = vec![member];
        Some(member.broker)
    }

    fn min_in_sync(&self, state: &PartitionState) -> usize {
        self.settings.min_in_sync.min(state.replicas.len()).max(1)
    }
}

/// `state` led by `leader` in the next epoch.
pub(super) fn lead(state: &mut PartitionState, leader: BrokerId) {
    assert!(state.is_in_sync(leader), "a leader is in sync");
    state.leader = Some(leader);
    state.leader_epoch = next(state.leader_epoch);
    state.last_known_leader = None;
}

fn next(epoch: LeaderEpoch) -> LeaderEpoch {
    LeaderEpoch(epoch.0 + 1)
}
