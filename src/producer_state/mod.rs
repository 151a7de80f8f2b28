//! What a partition remembers of the idempotent producers that wrote to it (KIP-98, KIP-360).
//!
//! Pure. [`ProducerStates::check`] judges a batch that a client wants appended and changes nothing;
//! [`ProducerStates::apply`] takes in a batch that *was* appended and judges nothing. Leaders call
//! both, followers and recovery call only `apply`, so that state is the same wherever the log is.
//!
//! Left to others: where snapshots are kept and when they may be trusted (the log), what a marker
//! means for a transaction's other partitions (the transaction coordinator).

mod entry;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::batch_header::{BatchHeader, sequence_after};
use crate::base::ids::{ProducerEpoch, ProducerId};

pub use entry::{BATCHES_REMEMBERED, KnownBatch, ProducerEntry};
pub use snapshot::{BadSnapshot, decode_snapshot, decode_snapshot_unchecked, encode_snapshot};

/// Who appends, which decides how much of a batch is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client: epoch and sequence are checked.
    Client,
    /// A coordinator (offset commits, transaction markers): the epoch is checked, sequences are
    /// not carried.
    Coordinator,
}

/// A control batch's end-of-transaction marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndMarker {
    /// Whether the transaction was committed; else it was aborted.
    pub committed: bool,
    /// The epoch of the transaction coordinator that wrote it.
    pub coordinator_epoch: i32,
}

/// What [`ProducerStates::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be appended.
    Append,
    /// It was appended before: acknowledge it with these offsets and append nothing.
    Duplicate(KnownBatch),
}

/// Why a producer's batch must not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error("producer {producer_id} sent sequence {found} where {expected} is next: a batch before it is missing")]
    OutOfOrder {
        /// The producer.
        producer_id: ProducerId,
        /// The next sequence in order.
        expected: i32,
        /// The batch's first sequence.
        found: i32,
    },
    /// INVALID_PRODUCER_EPOCH: a newer incarnation of the producer has written here.
    #[error("producer {producer_id} writes with epoch {found}, but epoch {current} has taken over")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The newest epoch seen.
        current: ProducerEpoch,
        /// The batch's epoch.
        found: ProducerEpoch,
    },
    /// INVALID_TXN_STATE: a plain write while the producer's transaction is open here.
    #[error("producer {producer_id} has an open transaction here, and this batch is outside of it")]
    InvalidTransactionState {
        /// The producer.
        producer_id: ProducerId,
    },
    /// TRANSACTION_COORDINATOR_FENCED: a marker of an older coordinator.
    #[error("a marker for producer {producer_id} is of coordinator epoch {found}, but {current} was seen")]
    CoordinatorFenced {
        /// The producer.
        producer_id: ProducerId,
        /// The newest coordinator epoch seen.
        current: i32,
        /// The marker's.
        found: i32,
    },
}

/// The state of every producer that wrote to one partition, up to [`ProducerStates::end_offset`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerStates {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    /// Where the transactions begin that are open here.
    undecided: BTreeSet<(i64, ProducerId)>,
    end_offset: i64,
}

impl ProducerStates {
    /// No producer; the next batch is expected at `end_offset`.
    #[must_use]
    pub fn new(end_offset: i64) -> Self {
        ProducerStates { end_offset, ..ProducerStates::default() }
    }

    /// The state that a snapshot at `end_offset` held.
    #[must_use]
    pub fn from_entries(entries: Vec<(ProducerId, ProducerEntry)>, end_offset: i64) -> Self {
        let producers: BTreeMap<ProducerId, ProducerEntry> = entries.into_iter().collect();
        ProducerStates { undecided: undecided(&producers), producers, end_offset }
    }

    /// The same producers, with the next batch expected at `end_offset`.
    #[must_use]
    pub fn ending_at(self, end_offset: i64) -> Self {
        ProducerStates { end_offset, ..self }
    }

    /// The offset after the last batch that was applied.
    #[must_use]
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// What is known of `producer_id`.
    #[must_use]
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// Every producer, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many producers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// The first offset of the oldest transaction that is open here.
    #[must_use]
    pub fn first_undecided_offset(&self) -> Option<i64> {
        self.undecided.first().map(|(start, _)| *start)
    }

    /// Judges a batch that is to be appended. `marker` is its end marker if it is a control batch.
    pub fn check(&self, batch: &BatchHeader, marker: Option<EndMarker>, origin: Origin) -> Result<Verdict, Refused> {
        if !batch.is_idempotent() {
            return Ok(Verdict::Append);
        }
        let entry = self.producers.get(&batch.producer_id);
        if batch.is_control() {
            return check_marker(batch, marker, entry).map(|()| Verdict::Append);
        }
        if let Some(known) = entry.and_then(|entry| entry.find_duplicate(batch)) {
            return Ok(Verdict::Duplicate(known));
        }
        check_epoch(batch, entry)?;
        if origin == Origin::Client {
            check_sequence(batch, entry)?;
        }
        check_transaction(batch, entry)?;
        Ok(Verdict::Append)
    }

    /// Takes in a batch that was appended. It cannot be refused: the log has it.
    pub fn apply(&mut self, batch: &BatchHeader, marker: Option<EndMarker>) {
        self.end_offset = batch.next_offset();
        if !batch.is_idempotent() {
            return;
        }
        let entry = self.producers.entry(batch.producer_id).or_default();
        let before = entry.transaction_start;
        if batch.is_control() {
            entry.apply_marker(batch, marker);
        } else {
            entry.apply_batch(batch);
        }
        assert!(entry.batches().len() <= BATCHES_REMEMBERED);
        if entry.transaction_start != before {
            if let Some(start) = before {
                self.undecided.remove(&(start, batch.producer_id));
            }
            self.undecided.extend(entry.transaction_start.map(|start| (start, batch.producer_id)));
        }
    }

    /// Forgets producers that have been silent for `expiration_ms` and have no open transaction
    /// (`producer.id.expiration.ms`). The instant is a value: followers and leaders may differ.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, entry| {
            entry.transaction_start.is_some() || now_ms.saturating_sub(entry.last_timestamp_ms) < expiration_ms
        });
    }

    /// Forgets producers whose last record is before `offset`: only a planted bug does (KIP-360).
    pub fn forget_before(&mut self, offset: i64) {
        self.producers.retain(|_, entry| entry.last_batch().is_some_and(|batch| batch.last_offset >= offset));
        self.undecided = undecided(&self.producers);
    }
}

fn undecided(producers: &BTreeMap<ProducerId, ProducerEntry>) -> BTreeSet<(i64, ProducerId)> {
    producers.iter().filter_map(|(id, entry)| Some((entry.transaction_start?, *id))).collect()
}

fn check_epoch(batch: &BatchHeader, entry: Option<&ProducerEntry>) -> Result<(), Refused> {
    match entry {
        Some(entry) if batch.producer_epoch < entry.epoch => Err(Refused::InvalidProducerEpoch {
            producer_id: batch.producer_id,
            current: entry.epoch,
            found: batch.producer_epoch,
        }),
        _ => Ok(()),
    }
}

/// A new epoch starts at 0. A producer without state here may start anywhere: its state may have
/// gone with retention or expiry (KIP-360). So may one of which a marker alone is known.
fn check_sequence(batch: &BatchHeader, entry: Option<&ProducerEntry>) -> Result<(), Refused> {
    let found = batch.base_sequence;
    let expected = match entry {
        None if found < 0 => 0,
        None => return Ok(()),
        Some(entry) if entry.epoch != batch.producer_epoch => 0,
        Some(entry) => entry.last_batch().map_or(0, |last| sequence_after(last.last_sequence, 1)),
    };
    if found == expected {
        Ok(())
    } else {
        Err(Refused::OutOfOrder { producer_id: batch.producer_id, expected, found })
    }
}

fn check_transaction(batch: &BatchHeader, entry: Option<&ProducerEntry>) -> Result<(), Refused> {
    let open = entry.is_some_and(|entry| entry.transaction_start.is_some());
    if open && !batch.is_transactional() {
        return Err(Refused::InvalidTransactionState { producer_id: batch.producer_id });
    }
    Ok(())
}

fn check_marker(batch: &BatchHeader, marker: Option<EndMarker>, entry: Option<&ProducerEntry>) -> Result<(), Refused> {
    check_epoch(batch, entry)?;
    let (Some(entry), Some(marker)) = (entry, marker) else { return Ok(()) };
    if marker.coordinator_epoch < entry.coordinator_epoch {
        return Err(Refused::CoordinatorFenced {
            producer_id: batch.producer_id,
            current: entry.coordinator_epoch,
            found: marker.coordinator_epoch,
        });
    }
    Ok(())
}
