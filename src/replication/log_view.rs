//! What the core knows of its log: where it begins and ends, how much of it is written and synced,
//! and where leader epochs begin.
//!
//! `log_end` is decided: it already counts what an effect has told the shell to do. `written_end`
//! and `synced_end` are reported. Each truncation raises `generation`, so that a report about
//! records that have since been cut is recognised and dropped.

use super::input::Recovered;
use super::leader_epochs::{EpochStart, LeaderEpochs};
use crate::base::ids::LeaderEpoch;
use crate::base::partition_state::Durability;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LogView {
    pub(super) generation: u32,
    pub(super) log_start: i64,
    pub(super) log_end: i64,
    pub(super) written_end: i64,
    pub(super) synced_end: i64,
    /// Whether a truncation or reset was ordered and not yet reported.
    pub(super) truncating: bool,
    pub(super) epochs: LeaderEpochs,
}

impl LogView {
    pub(super) fn new(recovered: Recovered) -> Self {
        let Recovered { log_start, log_end, epochs, .. } = recovered;
        assert!(log_start <= log_end, "a log does not end before it begins");
        LogView {
            generation: 0,
            log_start,
            log_end,
            written_end: log_end,
            // Recovery syncs what it keeps before it reports the log as open.
            synced_end: log_end,
            truncating: false,
            epochs,
        }
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.log_start <= self.log_end, "a log does not end before it begins");
        assert!(self.written_end <= self.log_end, "nothing is written that was not decided");
        assert!(self.synced_end <= self.written_end, "nothing is synced that was not written");
    }

    pub(super) fn counted_end(&self, durability: Durability) -> i64 {
        match durability {
            Durability::PageCache => self.written_end,
            Durability::Synced => self.synced_end,
        }
    }

    /// Decides an append of records `[base_offset, end)` of which `epochs` begin there.
    pub(super) fn append(&mut self, end: i64, epochs: impl IntoIterator<Item = EpochStart>) {
        assert!(end > self.log_end, "an append moves the log end forwards");
        epochs.into_iter().for_each(|entry| self.epochs.assign(entry));
        self.log_end = end;
    }

    /// Notes that `leader_epoch` begins at the log end.
    pub(super) fn begin_epoch(&mut self, leader_epoch: LeaderEpoch) -> EpochStart {
        let entry = EpochStart { leader_epoch, start_offset: self.log_end };
        self.epochs.assign(entry);
        entry
    }

    /// Decides that nothing at or after `to` is kept.
    pub(super) fn truncate(&mut self, to: i64) {
        assert!(self.log_start <= to && to < self.log_end, "a truncation removes something and stays in the log");
        self.epochs.truncate_to(to);
        self.log_end = to;
        self.written_end = self.written_end.min(to);
        self.synced_end = self.synced_end.min(to);
        self.begin_generation();
    }

    /// Decides that the whole log goes and begins anew at `to`.
    pub(super) fn reset(&mut self, to: i64) {
        self.epochs = LeaderEpochs::default();
        (self.log_start, self.log_end, self.written_end, self.synced_end) = (to, to, to, to);
        self.begin_generation();
    }

    fn begin_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.truncating = true;
    }

    pub(super) fn truncated(&mut self, generation: u32) {
        if generation == self.generation {
            self.truncating = false;
        }
    }

    pub(super) fn written(&mut self, generation: u32, end: i64) {
        if generation == self.generation {
            self.written_end = self.written_end.max(end.min(self.log_end));
        }
    }

    pub(super) fn synced(&mut self, generation: u32, end: i64) {
        if generation == self.generation {
            self.synced_end = self.synced_end.max(end.min(self.written_end));
        }
    }

    /// Follows retention; what was removed need not be written or synced any more.
    pub(super) fn advance_start(&mut self, log_start: i64) {
        if log_start <= self.log_start || log_start > self.log_end {
            return;
        }
        self.log_start = log_start;
        self.epochs.advance_start(log_start);
        self.written_end = self.written_end.max(log_start);
        self.synced_end = self.synced_end.max(log_start);
    }
}
