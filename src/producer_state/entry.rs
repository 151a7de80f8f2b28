//! One producer's state: its epoch, its last batches, its open transaction.

use std::collections::VecDeque;

use super::EndMarker;
use crate::base::batch_header::{BatchHeader, sequence_after};
use crate::base::ids::ProducerEpoch;

/// How many batches are remembered per producer: as many as a client may have in flight
/// (`max.in.flight.requests.per.connection` of an idempotent producer).
pub const BATCHES_REMEMBERED: usize = 5;

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownBatch {
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// The offset of its last record.
    pub last_offset: i64,
    /// Its last offset less its first one.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp_ms: i64,
}

impl KnownBatch {
    /// The sequence of its first record: modulo 2^31, so also before a wrap.
    #[must_use]
    pub fn base_sequence(&self) -> i32 {
        sequence_after(self.last_sequence, self.offset_delta.wrapping_neg())
    }

    /// The offset of its first record.
    #[must_use]
    pub fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// What is known of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The newest epoch that wrote.
    pub epoch: ProducerEpoch,
    /// The newest epoch of a transaction coordinator whose marker was written; -1 for none.
    pub coordinator_epoch: i32,
    /// The timestamp of the last batch or marker; -1 for none.
    pub last_timestamp_ms: i64,
    /// Where the open transaction starts.
    pub transaction_start: Option<i64>,
    batches: VecDeque<KnownBatch>,
}

impl Default for ProducerEntry {
    fn default() -> Self {
        ProducerEntry {
            epoch: ProducerEpoch(-1),
            coordinator_epoch: -1,
            last_timestamp_ms: -1,
            transaction_start: None,
            batches: VecDeque::new(),
        }
    }
}

impl ProducerEntry {
    /// The batches of the present epoch that are remembered, oldest first.
    #[must_use]
    pub fn batches(&self) -> &VecDeque<KnownBatch> {
        &self.batches
    }

    /// The last batch of the present epoch.
    #[must_use]
    pub fn last_batch(&self) -> Option<&KnownBatch> {
        self.batches.back()
    }

    /// The remembered batch with exactly this epoch and range of sequences.
    #[must_use]
    pub fn find_duplicate(&self, batch: &BatchHeader) -> Option<KnownBatch> {
        if batch.producer_epoch != self.epoch {
            return None;
        }
        // A batch without a sequence is none of them: theirs are not negative.
        let last_sequence = batch.last_sequence()?;
        self.batches
            .iter()
            .find(|known| known.base_sequence() == batch.base_sequence && known.last_sequence == last_sequence)
            .copied()
    }

    /// An entry as a snapshot holds it.
    pub(super) fn restored(
        epoch: ProducerEpoch,
        coordinator_epoch: i32,
        last_timestamp_ms: i64,
        transaction_start: Option<i64>,
        batch: Option<KnownBatch>,
    ) -> Self {
        ProducerEntry {
            epoch,
            coordinator_epoch,
            last_timestamp_ms,
            transaction_start,
            batches: batch.into_iter().collect(),
        }
    }

    pub(super) fn apply_batch(&mut self, batch: &BatchHeader) {
        self.enter_epoch(batch.producer_epoch);
        // Offset commits of a transaction carry no sequence; they advance the epoch only.
        if let Some(last_sequence) = batch.last_sequence().filter(|_| batch.base_sequence >= 0) {
            if self.batches.len() == BATCHES_REMEMBERED {
                self.batches.pop_front();
            }
            self.batches.push_back(KnownBatch {
                last_sequence,
                last_offset: batch.last_offset(),
                offset_delta: batch.last_offset_delta,
                timestamp_ms: batch.max_timestamp,
            });
        }
        self.last_timestamp_ms = batch.max_timestamp;
        if batch.is_transactional() && self.transaction_start.is_none() {
            self.transaction_start = Some(batch.base_offset);
        }
    }

    /// A marker ends the transaction and counts as a sign of life (KAFKA-9144).
    pub(super) fn apply_marker(&mut self, batch: &BatchHeader, marker: Option<EndMarker>) {
        let Some(marker) = marker else { return };
        self.enter_epoch(batch.producer_epoch);
        self.transaction_start = None;
        self.coordinator_epoch = self.coordinator_epoch.max(marker.coordinator_epoch);
        self.last_timestamp_ms = batch.max_timestamp;
    }

    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }
}
