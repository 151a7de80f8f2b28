//! Which part the replica plays, and how a delivered state changes it.

use std::collections::BTreeMap;

use super::Replica;
use super::effect::{Effect, Fault};
use crate::base::event::ReplicaEvent;
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::base::partition_state::{Durability, InSyncReplica, PartitionState};
use crate::base::plants::Plant;

/// What the replica does at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// No leader is known, or this broker has no part in the partition.
    Idle,
    /// It leads.
    Leader(Leading),
    /// It follows.
    Follower(Following),
    /// It is out of service.
    Faulted(Fault),
}

/// What a leader knows of the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leading {
    /// The log end at the election.
    pub(super) epoch_start: i64,
    /// The other replicas.
    pub(super) followers: BTreeMap<BrokerId, Progress>,
    /// The proposal whose outcome is not known.
    pub(super) pending: Option<Pending>,
}

/// How far a follower is known to be, in this leader epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    /// The incarnation that fetched and the offset it fetched from; none before the first fetch.
    pub(super) fetched: Option<(BrokerEpoch, i64)>,
    /// The leader's log end when it last fetched.
    pub(super) end_at_fetch: i64,
    /// Whether it has reached the log end since the last check.
    pub(super) caught_up: bool,
    /// Whether the controller refused to admit it since the last check.
    pub(super) refused: bool,
}

/// A proposed in-sync set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    /// The set that is proposed now.
    pub(super) members: Vec<InSyncReplica>,
    /// Everyone named by any proposal since the committed state: a refused one may still be on its
    /// way in another copy, so that its members count until the partition epoch has moved.
    pub(super) named: Vec<InSyncReplica>,
}

/// How a follower follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Following {
    pub(super) leader: BrokerId,
    pub(super) phase: Phase,
}

/// The two phases of following in one leader epoch (KIP-101).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Finding the point up to which the logs agree.
    Truncating,
    /// Fetching from there.
    Fetching,
}

impl Replica {
    pub(super) fn on_state(&mut self, state: PartitionState, effects: &mut Vec<Effect>) {
        if let Some(known) = &self.state {
            if state.partition_epoch == known.partition_epoch {
                return;
            }
            if state.partition_epoch < known.partition_epoch || state.leader_epoch < known.leader_epoch {
                effects.push(Effect::Observe(ReplicaEvent::Fenced));
                return;
            }
        }
        let same_epoch = self.leader_epoch() == state.leader_epoch;
        let was_in_sync = self.committed_in_sync().len();
        self.state = Some(state.clone());
        if self.fault().is_some() {
            return;
        }
        match state.leader {
            _ if !state.replicas.contains(&self.config.broker) => self.stop(effects),
            Some(leader) if leader == self.config.broker && self.is_named_in(&state) => {
                if self.leads() && same_epoch {
                    self.on_committed(was_in_sync, effects);
                } else {
                    self.become_leader(&state, effects);
                }
            }
            Some(leader) if leader != self.config.broker => {
                if !(same_epoch && self.follows(leader)) {
                    self.become_follower(leader, effects);
                }
            }
            // No leader, or another incarnation of this broker: the controller will notice.
            _ => self.become_idle(effects),
        }
    }

    /// One epoch never holds two histories: a leader leads only in the incarnation that was elected.
    fn is_named_in(&self, state: &PartitionState) -> bool {
        state.in_sync_epoch(self.config.broker) == Some(self.config.broker_epoch)
    }

    fn follows(&self, leader: BrokerId) -> bool {
        matches!(&self.role, Role::Follower(following) if following.leader == leader)
    }

    fn become_leader(&mut self, state: &PartitionState, effects: &mut Vec<Effect>) {
        self.resign(effects);
        // The start of the epoch is noted at the election, not at the first append (KAFKA-7415).
        let begun = self.log.begin_epoch(state.leader_epoch);
        let others = state.replicas.iter().filter(|replica| **replica != self.config.broker);
        let grace = |replica: &BrokerId| Progress { caught_up: state.is_in_sync(*replica), ..Progress::default() };
        let followers = others.map(|replica| (*replica, grace(replica))).collect();
        self.role = Role::Leader(Leading { epoch_start: begun.start_offset, followers, pending: None });
        effects.push(Effect::RecordEpoch(begun));
        effects.push(Effect::Observe(ReplicaEvent::BecameLeader {
            leader_epoch: state.leader_epoch,
            broker_epoch: self.config.broker_epoch,
            log_end: self.log.log_end,
            high_watermark: self.high_watermark,
        }));
        self.observe_in_sync(effects);
        self.advance_high_watermark(effects);
    }

    fn become_follower(&mut self, leader: BrokerId, effects: &mut Vec<Effect>) {
        self.resign(effects);
        self.role = Role::Follower(Following { leader, phase: Phase::Truncating });
        self.observe_following(Some(leader), effects);
        self.begin_truncation(effects);
    }

    fn become_idle(&mut self, effects: &mut Vec<Effect>) {
        self.resign(effects);
        self.role = Role::Idle;
        self.observe_following(None, effects);
    }

    fn observe_following(&self, leader: Option<BrokerId>, effects: &mut Vec<Effect>) {
        effects.push(Effect::Observe(ReplicaEvent::BecameFollower {
            leader_epoch: self.leader_epoch(),
            leader,
            log_end: self.log.log_end,
        }));
    }

    fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.resign(effects);
        self.role = Role::Idle;
        effects.push(Effect::Observe(ReplicaEvent::Stopped));
    }

    /// Ends a leadership, if there is one.
    pub(super) fn resign(&mut self, effects: &mut Vec<Effect>) {
        if self.leads() {
            self.role = Role::Idle;
            effects.push(Effect::Resigned);
        }
    }

    /// The session expired and the broker registered anew: whatever it led, it led as someone else.
    pub(super) fn on_registered(&mut self, broker_epoch: BrokerEpoch, effects: &mut Vec<Effect>) {
        if broker_epoch <= self.config.broker_epoch {
            return;
        }
        self.config.broker_epoch = broker_epoch;
        if self.leads() {
            self.become_idle(effects);
        }
    }

    pub(super) fn on_settings(&mut self, min_in_sync: usize, durability: Durability, effects: &mut Vec<Effect>) {
        self.config.min_in_sync = min_in_sync.max(1);
        self.config.durability = durability;
        self.advance_high_watermark(effects);
    }

    pub(super) fn on_log_start(&mut self, log_start: i64) {
        let is_planted = self.plants.is(Plant::Kafka5634);
        assert!(
            log_start <= self.high_watermark || is_planted,
            "retention never removes what is not committed (KAFKA-5634)"
        );
        self.log.advance_start(log_start);
    }
}
