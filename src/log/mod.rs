//! The log of one partition: what a leader or follower appends, reads, truncates and syncs, on a
//! [`Disk`] and in Kafka's file layout (`docs/FORMAT.md`).
//!
//! **Promises.** Batches are stored byte for byte; a leader sets their base offset and leader epoch
//! and nothing else. Every append verifies every checksum before a byte is written, and is one
//! section without an await and one write. What is served was verified: the tail from memory, the
//! rest checked as it is read. What was synced is found again by [`Log::open`] or reported as
//! damaged, never cut. After a failed write or sync the log is offline.
//!
//! **Work that waits for the device** is a future that does not borrow the log: the owner calls
//! [`Log::begin_sync`] (or `begin_truncate`, `begin_retention`…) under its lock, awaits the future
//! without it, and hands the outcome to [`Log::complete`] under the lock again. One such work at a
//! time; appends and reads go on meanwhile. The future must be awaited to its end: if it is dropped,
//! a failed sync could go unnoticed, and the log goes offline.
//!
//! **Left to others.** What the high watermark is, who may append, when to sync, truncate or delete:
//! the broker. Events: it observes what the calls return.

mod append;
mod batches;
pub mod clean_shutdown;
mod config;
pub mod dump;
mod durable_point;
mod epoch_witness;
mod error;
pub mod index;
mod leader_epochs;
mod locate;
pub mod names;
pub mod partition_metadata;
mod producers;
mod read;
mod recovery;
mod retention;
mod segment;
mod sync;
mod tail;
mod timestamps;
mod truncate;
mod unsynced_tail;

#[cfg(test)]
mod model_test;
#[cfg(test)]
mod test_batches;
#[cfg(test)]
pub(crate) mod test_disk;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unsynced_tail_test;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::base::ids::{LeaderEpoch, TopicId};
use crate::base::partition_state::Durability;
use crate::producer_state::ProducerStates;
use crate::runtime::Disk;

pub use append::{AppendInfo, Appended};
pub use config::{DURABLE_POINT_BYTES, LogConfig, SEGMENT_BYTES_MAX};
pub use durable_point::DurablePoint;
pub use error::LogError;
pub use leader_epochs::LeaderEpochs;
pub use recovery::Opened;
pub use sync::{Completed, Outcome};
pub use tail::ReadBatches;
pub use timestamps::TimestampedOffset;

use durable_point::DurablePointFile;
use segment::{Changes, Segment};
use tail::Tail;

/// One partition's log.
#[derive(Debug)]
pub struct Log<D: Disk> {
    disk: D,
    directory: PathBuf,
    config: LogConfig,
    topic_id: Option<TopicId>,
    /// In order of base offset, contiguous; the last one is active.
    segments: Vec<Segment<D::File>>,
    epochs: LeaderEpochs,
    epoch_changes: Changes,
    producers: ProducerStates,
    /// Producer snapshots on disk that belong to this history, and whether they were synced.
    snapshots: BTreeMap<i64, bool>,
    log_start: i64,
    log_end: i64,
    synced_end: i64,
    point: DurablePoint,
    point_file: DurablePointFile<D::File>,
    /// Bytes appended since the durable point was last persisted.
    bytes_since_point: u64,
    /// A segment was closed or the log was opened since the durable point was last persisted.
    point_is_due: bool,
    names: Changes,
    parent_names: Changes,
    tail: Tail,
    /// Records were removed from the end, and no sync has made that durable yet.
    cut_is_unsynced: bool,
    /// Raised by every truncation, so that a read that raced with one is not taken for damage.
    truncations: Arc<AtomicU64>,
    /// Alive while work that was begun goes on; none if none was begun.
    work: Option<std::sync::Weak<()>>,
    offline: Option<String>,
}

impl<D: Disk + Clone + 'static> Log<D> {
    /// The log's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How it is kept.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes how it is kept, from now on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The topic's id, once it was assigned.
    #[must_use]
    pub fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    /// The first offset that is kept.
    #[must_use]
    pub fn log_start(&self) -> i64 {
        self.log_start
    }

    /// The offset after the last record.
    #[must_use]
    pub fn log_end(&self) -> i64 {
        self.log_end
    }

    /// Everything below it is durable.
    #[must_use]
    pub fn synced_end(&self) -> i64 {
        self.synced_end
    }

    /// What counts as written, by the log's class: the log end or the synced end.
    #[must_use]
    pub fn counted_end(&self) -> i64 {
        match self.config.durability {
            Durability::PageCache => self.log_end,
            Durability::Synced => self.synced_end,
        }
    }

    /// The epoch of the last record, or of the last election that was noted.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// The epochs and their start offsets, ascending.
    #[must_use]
    pub fn epochs(&self) -> &[(LeaderEpoch, i64)] {
        self.epochs.entries()
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_at(&self, offset: i64) -> Option<LeaderEpoch> {
        self.epochs.epoch_at(offset)
    }

    /// The largest epoch that is not above `requested` and the offset at which it ends (KIP-279).
    #[must_use]
    pub fn end_offset_for_epoch(&self, requested: LeaderEpoch) -> Option<(LeaderEpoch, i64)> {
        self.epochs.end_offset_for(requested, self.log_end)
    }

    /// Notes that `epoch` starts at the log end: a leader does so when it is elected, before it
    /// appends anything (KAFKA-7415). It is durable with the next sync.
    pub fn start_epoch(&mut self, epoch: LeaderEpoch) {
        if self.epochs.assign(epoch, self.log_end) {
            self.epoch_changes.note();
        }
    }

    /// Forgets epochs that were noted and never had a record. A follower does so before it appends:
    /// what it fetches may be of an epoch before the one in which it led for a moment.
    pub fn forget_empty_epochs(&mut self) {
        if self.epochs.truncate_from_end(self.log_end) {
            self.epoch_changes.note();
        }
    }

    /// The state of the producers up to the log end.
    #[must_use]
    pub fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    /// Forgets producers that have been silent for `expiration_ms`.
    pub fn expire_producers(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.expire(now_ms, expiration_ms);
    }

    /// All bytes of records, in all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// The base offsets of the segments; the last one is active.
    pub fn segment_base_offsets(&self) -> impl Iterator<Item = i64> {
        self.segments.iter().map(|segment| segment.base_offset)
    }

    /// Why it is offline, if it is.
    #[must_use]
    pub fn offline_reason(&self) -> Option<&str> {
        self.offline.as_deref()
    }

    fn check_online(&self) -> Result<(), LogError> {
        match &self.offline {
            None => Ok(()),
            Some(reason) => Err(LogError::Offline { directory: self.directory.clone(), reason: reason.clone() }),
        }
    }

    /// After a failure nothing is appended or synced any more (KAFKA-10778).
    fn fail<T>(&mut self, result: Result<T, LogError>) -> Result<T, LogError> {
        result.inspect_err(|error| {
            self.offline.get_or_insert_with(|| error.to_string());
        })
    }

    fn active(&mut self) -> &mut Segment<D::File> {
        self.segments.last_mut().expect("a log always has an active segment")
    }
}
