//! The in-sync set: whom the leader proposes to admit and to remove, and what an answer means
//! (KIP-497, KIP-903).
//!
//! At most one proposal is outstanding. While its outcome is unknown, everyone whom it names counts
//! as a member for the high watermark. It ends only when the partition epoch moves: then no copy of
//! it that is still on its way can be committed.

use super::Replica;
use super::effect::Effect;
use super::input::{FollowerFetch, InSyncAnswer};
use super::role::{Leading, Pending, Progress, Role};
use crate::base::event::ReplicaEvent;
use crate::base::ids::{BrokerId, LeaderEpoch};
use crate::base::partition_state::InSyncReplica;
use crate::base::plants::Plant;

impl Replica {
    /// Proposes to admit a follower that holds everything a leader must hold.
    pub(super) fn propose_to_admit(&mut self, fetch: &FollowerFetch, effects: &mut Vec<Effect>) {
        let member = InSyncReplica { broker: fetch.replica, broker_epoch: fetch.broker_epoch };
        let Some(leading) = self.leading() else { return };
        let refused = leading.followers.get(&fetch.replica).is_none_or(|progress| progress.refused);
        if refused || leading.pending.is_some() || self.committed_in_sync().contains(&member) {
            return;
        }
        // The high watermark alone is not enough: after an election it may be behind what an earlier
        // leader exposed, the start of the epoch cannot (KAFKA-7128).
        let has_begun = fetch.offset >= leading.epoch_start;
        if fetch.offset < self.high_watermark || !has_begun && !self.plants.is(Plant::Kafka7128) {
            return;
        }
        if !has_begun {
            effects.push(Effect::PlantTaken(Plant::Kafka7128));
        }
        let mut members = self.committed_in_sync().to_vec();
        members.retain(|other| other.broker != fetch.replica);
        members.push(member);
        self.propose(members, effects);
    }

    pub(super) fn on_in_sync_check(&mut self, effects: &mut Vec<Effect>) {
        let log_end = self.log.log_end;
        let lagging = self.lagging();
        let Role::Leader(leading) = &mut self.role else { return };
        for (broker, progress) in &mut leading.followers {
            let keeps_up = progress.has_reached(log_end);
            let kept_up = std::mem::replace(&mut progress.caught_up, keeps_up);
            progress.refused = false;
            if kept_up != keeps_up {
                effects.push(progress.observed(*broker));
            }
        }
        if let Some(proposal) = self.proposal() {
            effects.push(Effect::ProposeInSync(proposal));
        } else if !lagging.is_empty() {
            let committed = self.committed_in_sync().iter();
            let members = committed.filter(|member| !lagging.contains(&member.broker)).copied().collect();
            self.propose(members, effects);
        }
        // A follower outside of the set that stopped is not waited for any longer, and no other's fetch
        // need come that would be news.
        self.advance_high_watermark(effects);
    }

    /// The members that have not reached the log end since the last check.
    fn lagging(&self) -> Vec<BrokerId> {
        let Some(leading) = self.leading() else { return Vec::new() };
        let lags =
            |member: &&InSyncReplica| member.broker != self.config.broker && leading.lags(member, self.log.log_end);
        self.committed_in_sync().iter().filter(lags).map(|member| member.broker).collect()
    }

    fn propose(&mut self, mut members: Vec<InSyncReplica>, effects: &mut Vec<Effect>) {
        members.sort_unstable();
        assert!(members.iter().any(|member| member.broker == self.config.broker), "a leader stays in sync with itself");
        let Role::Leader(leading) = &mut self.role else { return };
        leading.pending = Some(Pending { named: members.clone(), members });
        self.observe_in_sync(effects);
        if let Some(proposal) = self.proposal() {
            effects.push(Effect::ProposeInSync(proposal));
        }
    }

    pub(super) fn on_in_sync_answer(
        &mut self,
        leader_epoch: LeaderEpoch,
        partition_epoch: i32,
        answer: InSyncAnswer,
        effects: &mut Vec<Effect>,
    ) {
        match answer {
            InSyncAnswer::Accepted(state) => self.on_state(state, effects),
            InSyncAnswer::Ineligible(brokers) if self.is_current(leader_epoch, partition_epoch) => {
                self.retract(&brokers, effects);
            }
            InSyncAnswer::Refused if self.plants.is(Plant::Kafka12686) => self.forget_proposal(effects),
            InSyncAnswer::Ineligible(_) | InSyncAnswer::Refused => {}
        }
    }

    /// The planted bug: nobody whom the proposal named counts any more.
    fn forget_proposal(&mut self, effects: &mut Vec<Effect>) {
        let Role::Leader(leading) = &mut self.role else { return };
        if leading.pending.take().is_some() {
            effects.push(Effect::PlantTaken(Plant::Kafka12686));
            self.observe_in_sync(effects);
        }
    }

    fn is_current(&self, leader_epoch: LeaderEpoch, partition_epoch: i32) -> bool {
        self.state
            .as_ref()
            .is_some_and(|state| state.leader_epoch == leader_epoch && state.partition_epoch == partition_epoch)
    }

    /// Proposes the set without those whom the controller does not admit. Even if that is the
    /// committed set, committing it anew moves the partition epoch and so ends the refused proposal.
    /// It is sent at the next check, lest a refusal cause a storm of proposals.
    fn retract(&mut self, ineligible: &[BrokerId], effects: &mut Vec<Effect>) {
        let own = self.config.broker;
        let Role::Leader(Leading { pending: Some(pending), followers, .. }) = &mut self.role else { return };
        pending.members.retain(|member| member.broker == own || !ineligible.contains(&member.broker));
        for broker in ineligible {
            if let Some(progress) = followers.get_mut(broker) {
                progress.refused = true;
            }
        }
        self.observe_in_sync(effects);
    }

    /// A newer state of the same leader epoch was committed, by our proposal or without it.
    pub(super) fn on_committed(&mut self, was_in_sync: usize, effects: &mut Vec<Effect>) {
        let Role::Leader(leading) = &mut self.role else { return };
        // The partition epoch has moved, so the outstanding proposal can no longer be committed.
        leading.pending = None;
        self.observe_in_sync(effects);
        let (min_in_sync, in_sync) = (self.effective_min_in_sync(), self.committed_in_sync().len());
        if in_sync < min_in_sync && was_in_sync >= min_in_sync {
            effects.push(Effect::UnderMinInSync);
        }
        if self.plants.is(Plant::Kafka13091) && in_sync < was_in_sync {
            effects.push(Effect::PlantTaken(Plant::Kafka13091));
            return;
        }
        // Nobody may be left whose next fetch would do it (KAFKA-13091).
        self.advance_high_watermark(effects);
    }

    pub(super) fn observe_in_sync(&self, effects: &mut Vec<Effect>) {
        let Some(leading) = self.leading() else { return };
        effects.push(Effect::Observe(ReplicaEvent::InSync {
            leader_epoch: self.leader_epoch(),
            committed: self.committed_in_sync().to_vec(),
            proposed: leading.pending.as_ref().map(|pending| pending.members.clone()),
        }));
    }
}

impl Leading {
    fn lags(&self, member: &InSyncReplica, log_end: i64) -> bool {
        let Some(progress) = self.followers.get(&member.broker) else { return true };
        let other_incarnation = progress.fetched.is_some_and(|(epoch, _)| epoch != member.broker_epoch);
        other_incarnation || !(progress.caught_up || progress.has_reached(log_end))
    }
}

impl Progress {
    /// Tells observers of it.
    pub(super) fn observed(&self, broker: BrokerId) -> Effect {
        Effect::Observe(ReplicaEvent::FollowerProgress { broker, fetched: self.fetched, keeps_up: self.caught_up })
    }

    fn has_reached(&self, log_end: i64) -> bool {
        self.fetched.is_some_and(|(_, offset)| offset >= log_end)
    }
}
