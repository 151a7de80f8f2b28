//! The follower's side: truncate until the logs agree, then fetch.

use super::Replica;
use super::effect::{Effect, EpochEnd, Fault, LeaderRequest};
use super::input::{FetchAnswer, FetchedBatches};
use super::role::{Following, Phase, Role};
use crate::base::ids::LeaderEpoch;
use crate::base::plants::Plant;

impl Replica {
    /// What to send to the leader, if anything. None while an effect on the log is outstanding: a
    /// fetch acknowledges everything below its offset.
    #[must_use]
    pub fn next_request(&self) -> Option<LeaderRequest> {
        let Role::Follower(Following { leader, phase }) = &self.role else { return None };
        if self.log.truncating || self.counted_end() < self.log.log_end {
            return None;
        }
        let (leader, leader_epoch) = (*leader, self.leader_epoch());
        match (phase, self.log.epochs.latest()) {
            (Phase::Truncating, Some(requested)) => Some(LeaderRequest::EpochEnd { leader, leader_epoch, requested }),
            _ => Some(LeaderRequest::Fetch { leader, leader_epoch, offset: self.log.log_end }),
        }
    }

    /// Whether an answer that was asked for in `leader_epoch` still matters.
    fn expects(&self, leader_epoch: LeaderEpoch) -> bool {
        matches!(self.role, Role::Follower(_)) && leader_epoch == self.leader_epoch() && !self.log.truncating
    }

    fn enter(&mut self, next: Phase) {
        if let Role::Follower(Following { phase, .. }) = &mut self.role {
            *phase = next;
        }
    }

    pub(super) fn begin_truncation(&mut self, effects: &mut Vec<Effect>) {
        self.enter(Phase::Truncating);
        if self.plants.is(Plant::Kip101) {
            effects.push(Effect::PlantTaken(Plant::Kip101));
            self.truncate(self.high_watermark, effects);
            self.enter(Phase::Fetching);
        } else if self.log.epochs.latest().is_none() {
            // Records without an epoch cannot be compared with the leader's.
            self.truncate(self.log.log_start, effects);
            self.enter(Phase::Fetching);
        }
    }

    /// Cuts the log where it parts from the leader's. If the leader answered with an epoch that this
    /// log does not know, the logs part earlier: cut what is surely wrong, and ask again (KIP-279). If
    /// all that is here is newer than the answered epoch, nothing is shared.
    pub(super) fn on_epoch_end(
        &mut self,
        leader_epoch: LeaderEpoch,
        requested: LeaderEpoch,
        answer: EpochEnd,
        effects: &mut Vec<Effect>,
    ) {
        let truncating = matches!(&self.role, Role::Follower(Following { phase: Phase::Truncating, .. }));
        if !truncating || !self.expects(leader_epoch) || self.log.epochs.latest() != Some(requested) {
            return;
        }
        let Some(known) = answer.leader_epoch else { return self.begin_anew(answer.end_offset, effects) };
        let largest = self.log.epochs.end_of_largest_up_to(known, self.log.log_end);
        let agreed = largest.is_some_and(|(epoch, _)| epoch == known);
        let end = largest.map_or(self.log.log_start, |(_, end)| end);
        let to = if agreed { end.min(answer.end_offset) } else { end };
        self.truncate(to.clamp(self.log.log_start, self.log.log_end), effects);
        if agreed || self.log.epochs.latest().is_none() {
            self.enter(Phase::Fetching);
        }
    }

    /// The leader's log begins at `to`, with a later epoch than any of this log's: nothing here is known
    /// to be shared. What retention has removed there may differ here, and must not stay below.
    fn begin_anew(&mut self, to: i64, effects: &mut Vec<Effect>) {
        if to <= self.log.log_start {
            self.truncate(self.log.log_start, effects);
        } else if to < self.high_watermark {
            let fault = Fault::TruncationBelowHighWatermark { to, high_watermark: self.high_watermark };
            return self.fail(fault, effects);
        } else {
            self.reset(to, effects);
        }
        self.enter(Phase::Fetching);
    }

    fn truncate(&mut self, to: i64, effects: &mut Vec<Effect>) {
        if to >= self.log.log_end {
            // A leader's own epoch without records has no place in a follower's log.
            self.log.epochs.truncate_to(self.log.log_end);
            return;
        }
        if to < self.high_watermark {
            let fault = Fault::TruncationBelowHighWatermark { to, high_watermark: self.high_watermark };
            return self.fail(fault, effects);
        }
        self.log.truncate(to);
        effects.push(Effect::Truncate { generation: self.log.generation, to });
    }

    pub(super) fn on_fetch(
        &mut self,
        leader_epoch: LeaderEpoch,
        offset: i64,
        answer: FetchAnswer,
        effects: &mut Vec<Effect>,
    ) {
        let fetching = matches!(&self.role, Role::Follower(Following { phase: Phase::Fetching, .. }));
        if !fetching || !self.expects(leader_epoch) || offset != self.log.log_end {
            return;
        }
        match answer {
            FetchAnswer::Accepted { high_watermark, log_start, batches } => {
                if let Some(batches) = batches {
                    self.append_fetched(batches, effects);
                }
                self.follow_leader(high_watermark, log_start, effects);
            }
            FetchAnswer::OutOfRange { log_start } if self.log.log_end < log_start => self.reset(log_start, effects),
            FetchAnswer::OutOfRange { .. } => self.begin_truncation(effects),
        }
    }

    /// Appends what continues the log. Bytes of a peer are not trusted: what does not continue it is
    /// dropped, and fetched again.
    fn append_fetched(&mut self, batches: FetchedBatches, effects: &mut Vec<Effect>) {
        let FetchedBatches { base_offset, end, epochs } = batches;
        let latest = self.log.epochs.latest().unwrap_or(LeaderEpoch(0));
        let rising = epochs.is_sorted_by(|a, b| a.leader_epoch < b.leader_epoch && a.start_offset < b.start_offset);
        let within = epochs.iter().all(|entry| {
            entry.leader_epoch >= latest
                && (entry.leader_epoch <= self.leader_epoch() || self.plants.is(Plant::Kip320))
                && (base_offset..end).contains(&entry.start_offset)
        });
        if base_offset < self.log.log_end || end <= base_offset || !rising || !within || epochs.is_empty() {
            return;
        }
        self.log.append(end, epochs);
        effects.push(Effect::AppendFetched { generation: self.log.generation, base_offset, end });
    }

    /// Takes over the leader's high watermark and log start, as far as this log reaches.
    fn follow_leader(&mut self, high_watermark: i64, log_start: i64, effects: &mut Vec<Effect>) {
        self.raise_high_watermark(high_watermark.min(self.log.log_end), effects);
        let log_start = log_start.min(self.high_watermark);
        if log_start > self.log.log_start {
            self.log.advance_start(log_start);
            effects.push(Effect::AdvanceLogStart { log_start });
        }
    }

    /// Everything here is older than the leader's oldest record.
    fn reset(&mut self, to: i64, effects: &mut Vec<Effect>) {
        self.log.reset(to);
        effects.push(Effect::ResetLog { generation: self.log.generation, to });
        if self.plants.is(Plant::Kafka9491) {
            return effects.push(Effect::PlantTaken(Plant::Kafka9491));
        }
        // Left behind, it would be out of range for ever (KAFKA-9491).
        self.raise_high_watermark(to, effects);
    }
}
