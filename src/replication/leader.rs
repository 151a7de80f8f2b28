//! The leader's side: appending, serving followers, telling where epochs end.

use super::effect::{Acknowledge, Effect, EpochEnd, Refusal};
use super::input::{Acks, FollowerFetch};
use super::role::{Progress, Role};
use super::{EpochStart, Replica};
use crate::base::event::ReplicaEvent;
use crate::base::ids::LeaderEpoch;
use crate::base::plants::Plant;

impl Replica {
    pub(super) fn on_produce(&mut self, records: i64, acks: Acks, effects: &mut Vec<Effect>) {
        assert!(records >= 1, "a batch takes at least one offset");
        if let Err(refusal) = self.check_produce(acks) {
            effects.push(Effect::Refused(refusal));
            return;
        }
        let base_offset = self.log.log_end;
        let leader_epoch = self.leader_epoch();
        self.log.append(base_offset + records, [EpochStart { leader_epoch, start_offset: base_offset }]);
        let acknowledge = self.when_to_acknowledge(acks, effects);
        effects.push(Effect::Append { generation: self.log.generation, base_offset, leader_epoch, acknowledge });
    }

    fn check_produce(&self, acks: Acks) -> Result<(), Refusal> {
        self.check_leader_epoch(None)?;
        if acks == Acks::All && self.committed_in_sync().len() < self.effective_min_in_sync() {
            return Err(Refusal::NotEnoughReplicas);
        }
        Ok(())
    }

    fn when_to_acknowledge(&self, acks: Acks, effects: &mut Vec<Effect>) -> Acknowledge {
        if acks != Acks::All {
            return Acknowledge::AtAppend;
        }
        if self.plants.is(Plant::Canary) {
            effects.push(Effect::PlantTaken(Plant::Canary));
            return Acknowledge::AtAppend;
        }
        Acknowledge::AtHighWatermark
    }

    pub(super) fn on_appended(&mut self, generation: u32, end: i64, effects: &mut Vec<Effect>) {
        self.log.written(generation, end);
        self.advance_high_watermark(effects);
    }

    pub(super) fn on_synced(&mut self, generation: u32, end: i64, effects: &mut Vec<Effect>) {
        self.log.synced(generation, end);
        self.advance_high_watermark(effects);
    }

    pub(super) fn on_follower_fetch(&mut self, fetch: FollowerFetch, effects: &mut Vec<Effect>) {
        let log_end = self.log.log_end;
        let is_news = match self.check_follower_fetch(&fetch, effects) {
            Ok(progress) => progress.count_fetch(&fetch, log_end, effects),
            Err(refusal) => return self.refuse_fetch(refusal, effects),
        };
        // Asked at each fetch, news or not: what kept an idle follower out before (another proposal, a
        // refusal) may be over, and its fetches will never tell anything new.
        self.propose_to_admit(&fetch, effects);
        if is_news {
            self.advance_high_watermark(effects);
        }
        effects.push(Effect::ServeFollower {
            offset: fetch.offset,
            end: self.log.written_end,
            high_watermark: self.high_watermark,
            log_start: self.log.log_start,
        });
    }

    fn refuse_fetch(&mut self, refusal: Refusal, effects: &mut Vec<Effect>) {
        if matches!(refusal, Refusal::FencedLeaderEpoch | Refusal::StaleBrokerEpoch) {
            effects.push(Effect::Observe(ReplicaEvent::Fenced));
        }
        if matches!(refusal, Refusal::OffsetOutOfRange { .. }) {
            // Whoever is forgotten is not waited for any longer.
            self.advance_high_watermark(effects);
        }
        effects.push(Effect::Refused(refusal));
    }

    /// How far the follower was so far, if it may fetch.
    fn check_follower_fetch(
        &mut self,
        fetch: &FollowerFetch,
        effects: &mut Vec<Effect>,
    ) -> Result<&mut Progress, Refusal> {
        self.check_follower_epoch(fetch.leader_epoch, effects)?;
        let (log_start, log_end) = (self.log.log_start, self.log.written_end);
        let Role::Leader(leading) = &mut self.role else { return Err(Refusal::NotLeader) };
        let progress = leading.followers.get_mut(&fetch.replica).ok_or(Refusal::NotAReplica)?;
        if progress.fetched.is_some_and(|(broker_epoch, _)| fetch.broker_epoch < broker_epoch) {
            return Err(Refusal::StaleBrokerEpoch);
        }
        if fetch.offset < log_start || fetch.offset > log_end {
            // What it acknowledged before, it is about to drop.
            *progress = Progress::default();
            effects.push(progress.observed(fetch.replica));
            return Err(Refusal::OffsetOutOfRange { log_start, log_end });
        }
        Ok(progress)
    }

    /// A follower of an older epoch has not truncated to match this leader: neither its position nor
    /// its acknowledgement means anything here (KIP-320).
    fn check_follower_epoch(&self, claimed: LeaderEpoch, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        let checked = self.check_leader_epoch(Some(claimed));
        if self.plants.is(Plant::Kip320) && checked == Err(Refusal::FencedLeaderEpoch) {
            effects.push(Effect::PlantTaken(Plant::Kip320));
            return Ok(());
        }
        checked
    }

    pub(super) fn on_epoch_end_query(
        &mut self,
        leader_epoch: Option<LeaderEpoch>,
        requested: LeaderEpoch,
        effects: &mut Vec<Effect>,
    ) {
        let checked = match leader_epoch {
            Some(claimed) => self.check_follower_epoch(claimed, effects),
            None => self.check_leader_epoch(None),
        };
        let effect = match checked {
            Ok(()) => Effect::EpochEnd(self.epoch_end(requested, effects)),
            Err(refusal) => Effect::Refused(refusal),
        };
        effects.push(effect);
    }

    fn epoch_end(&self, requested: LeaderEpoch, effects: &mut Vec<Effect>) -> EpochEnd {
        let log = &self.log;
        if self.plants.is(Plant::Kip279) && !log.epochs.contains(requested) {
            effects.push(Effect::PlantTaken(Plant::Kip279));
            return EpochEnd { leader_epoch: Some(requested), end_offset: log.log_end };
        }
        match log.epochs.end_of_largest_up_to(requested, log.log_end) {
            Some((leader_epoch, end_offset)) => EpochEnd { leader_epoch: Some(leader_epoch), end_offset },
            // Retention has removed every record of that epoch and of those before it.
            None => {
                let first = log.epochs.entries().first().map_or(log.log_start, |entry| entry.start_offset);
                EpochEnd { leader_epoch: None, end_offset: first }
            }
        }
    }
}

impl Progress {
    /// Notes how far the follower is; says whether that is news.
    fn count_fetch(&mut self, fetch: &FollowerFetch, log_end: i64, effects: &mut Vec<Effect>) -> bool {
        let before = self.clone();
        if self.fetched.is_none_or(|(broker_epoch, _)| broker_epoch != fetch.broker_epoch) {
            *self = Progress { caught_up: before.fetched.is_none() && before.caught_up, ..Progress::default() };
        }
        // Reaching what was the log end one fetch ago counts: under constant load a follower never
        // reaches the present one.
        self.caught_up |= fetch.offset >= log_end || (before.fetched.is_some() && fetch.offset >= before.end_at_fetch);
        self.end_at_fetch = log_end;
        self.fetched = Some((fetch.broker_epoch, fetch.offset));
        if (self.fetched, self.caught_up) != (before.fetched, before.caught_up) {
            effects.push(self.observed(fetch.replica));
        }
        *self != before
    }
}
