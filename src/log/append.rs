//! Appending: verify everything, write once, take it in. No await from the first check to the last
//! change of state, so that a log and its owner cannot be torn apart.

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

use super::Log;
use super::batches::{end_marker, trusted};
use super::error::LogError;
use super::index::BatchPlace;
use super::segment::Segment;
use crate::base::batch_header::{BadBatch, BatchHeader, assign, verify};
use crate::base::event::AppendedBatch;
use crate::base::ids::LeaderEpoch;
use crate::producer_state::{EndMarker, KnownBatch, Origin, Refused, Verdict};
use crate::runtime::{Disk, File};

/// The largest distance of an offset from its segment's base: Kafka reads it as signed.
const RELATIVE_OFFSET_MAX: i64 = i32::MAX as i64;

/// What a leader's append came to.
#[derive(Clone, Debug)]
pub enum Appended {
    /// The batches are in the log.
    New(AppendInfo),
    /// The batch was in the log already: acknowledge it with these offsets.
    Duplicate(KnownBatch),
}

/// What was appended.
#[derive(Clone, Debug)]
pub struct AppendInfo {
    /// The offset of the first record.
    pub base_offset: i64,
    /// The offset after the last record.
    pub log_end: i64,
    /// The batches as written.
    pub bytes: Bytes,
    /// Whether it begins a new segment: the one before was closed.
    pub rolled: bool,
    /// A sync is due: see [`Log::sync_is_due`].
    pub sync_is_due: bool,
}

impl AppendInfo {
    /// The batches, as events carry them, each with the log end after it.
    pub fn batches(&self) -> impl Iterator<Item = (AppendedBatch, i64)> {
        trusted(&self.bytes).map(|(_, header)| (event_of(&header), header.next_offset()))
    }
}

fn event_of(header: &BatchHeader) -> AppendedBatch {
    AppendedBatch {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        leader_epoch: header.leader_epoch,
        crc: header.crc,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    }
}

impl<D: Disk + Clone + 'static> Log<D> {
    /// Appends what a client or coordinator sent, under `leader_epoch`. Sets base offsets and the
    /// epoch in place; verifies checksums, counts and the producer's sequence. Nothing is appended
    /// unless all of it is.
    pub fn append_as_leader(
        &mut self,
        mut batches: BytesMut,
        leader_epoch: LeaderEpoch,
        origin: Origin,
    ) -> Result<Appended, LogError> {
        self.check_online()?;
        self.check_epoch(leader_epoch)?;
        let mut at = 0;
        let mut next_offset = self.log_end;
        while at < batches.len() {
            let header = verify(&batches[at..])?;
            check_counts(&header)?;
            let alone = header.size == batches.len();
            if let Some(known) = self.check_producer(&header, &batches[at..], alone, origin)? {
                return Ok(Appended::Duplicate(known));
            }
            let after = next_offset.checked_add(i64::from(header.last_offset_delta) + 1);
            let after = after.ok_or(BadBatch::Inconsistent("offsets beyond 2^63"))?;
            assign(&mut batches[at..], next_offset, leader_epoch);
            next_offset = after;
            at += header.size;
        }
        self.write(batches.freeze(), next_offset).map(Appended::New)
    }

    /// Appends what the leader sent. Its batches must continue this log without a gap. A last batch
    /// that is cut short is left out, as a fetch may end anywhere (KIP-74).
    pub fn append_as_follower(&mut self, batches: Bytes) -> Result<AppendInfo, LogError> {
        self.check_online()?;
        let mut at = 0;
        let mut expected = self.log_end;
        let mut latest = self.epochs.latest().unwrap_or(LeaderEpoch(-1));
        while at < batches.len() {
            let header = match verify(&batches[at..]) {
                Err(BadBatch::Short { .. }) if at > 0 => break,
                result => result?,
            };
            if header.base_offset != expected {
                return Err(LogError::NotContiguous { expected, found: header.base_offset });
            }
            if header.leader_epoch < latest {
                return Err(LogError::StaleLeaderEpoch { latest, found: header.leader_epoch });
            }
            latest = header.leader_epoch;
            expected = header.next_offset();
            at += header.size;
        }
        self.write(batches.slice(..at), expected)
    }

    /// Whether the owner should sync now, whatever the class: a segment was closed, or the durable
    /// point lags.
    #[must_use]
    pub fn sync_is_due(&self) -> bool {
        self.point_is_due || self.bytes_since_point >= self.config.durable_point_bytes
    }

    fn check_epoch(&self, leader_epoch: LeaderEpoch) -> Result<(), LogError> {
        match self.epochs.latest() {
            Some(latest) if leader_epoch < latest => Err(LogError::StaleLeaderEpoch { latest, found: leader_epoch }),
            _ => Ok(()),
        }
    }

    /// Whether a producer's batch may be appended next, as far as its epoch and sequence tell: what
    /// [`Log::append_as_leader`] goes by too.
    pub fn check_sequence(
        &self,
        header: &BatchHeader,
        marker: Option<EndMarker>,
        origin: Origin,
    ) -> Result<Verdict, Refused> {
        self.check_first_of_producer(header, origin)?;
        self.producers.check(header, marker, origin)
    }

    /// A log from which nothing was ever removed knows every producer that wrote to it. One that it
    /// does not know begins, and begins with sequence 0: anything else overtook its first batch. Where
    /// records were removed their producers' state may be gone with them, and any sequence is taken,
    /// as Kafka does everywhere (KIP-360).
    fn check_first_of_producer(&self, header: &BatchHeader, origin: Origin) -> Result<(), Refused> {
        let (producer_id, found) = (header.producer_id, header.base_sequence);
        let begins = header.is_idempotent() && self.log_start == 0 && self.producers.get(producer_id).is_none();
        if origin == Origin::Client && begins && !header.is_control() && found != 0 {
            return Err(Refused::OutOfOrder { producer_id, expected: 0, found });
        }
        Ok(())
    }

    /// Idempotent batches come one by one (Produce v3 and later), so that each is judged by a
    /// state that has all before it.
    fn check_producer(
        &self,
        header: &BatchHeader,
        batch: &[u8],
        alone: bool,
        origin: Origin,
    ) -> Result<Option<KnownBatch>, LogError> {
        if !header.is_idempotent() {
            return Ok(None);
        }
        if !alone {
            return Err(BadBatch::Inconsistent("an idempotent producer's batch must be alone in its request").into());
        }
        match self.check_sequence(header, end_marker(header, batch), origin)? {
            Verdict::Append => Ok(None),
            Verdict::Duplicate(known) => Ok(Some(known)),
        }
    }

    /// Writes verified batches that continue the log, and takes them in.
    fn write(&mut self, bytes: Bytes, next_offset: i64) -> Result<AppendInfo, LogError> {
        assert!(!self.cut_is_unsynced, "a truncation is synced before anything is appended");
        let (base_offset, mut rolled) = (self.log_end, false);
        if !bytes.is_empty() {
            rolled = self.roll_if_full(bytes.len() as u64, next_offset)?;
            let segment = self.active();
            if let Err(error) = segment.file.write_at(segment.size, &[IoSlice::new(&bytes)]) {
                let directory = self.directory.clone();
                let path = self.active().path(&directory);
                return self.fail(Err(LogError::io(&path, "append to")(error)));
            }
            self.take_in(&bytes);
            assert_eq!(self.log_end, next_offset);
            self.tail.push(base_offset, next_offset, bytes.clone(), self.config.tail_bytes);
        }
        Ok(AppendInfo { base_offset, log_end: self.log_end, bytes, rolled, sync_is_due: self.sync_is_due() })
    }

    fn take_in(&mut self, bytes: &Bytes) {
        for (position, header) in trusted(bytes) {
            let marker = end_marker(&header, &bytes[position..]);
            self.producers.apply(&header, marker);
            if self.epochs.assign(header.leader_epoch, header.base_offset) {
                self.epoch_changes.note();
            }
            let interval_bytes = self.config.index_interval_bytes;
            self.active().note(&header, interval_bytes);
            self.log_end = header.next_offset();
        }
        self.bytes_since_point += bytes.len() as u64;
        self.active().changes.note();
    }

    /// Says whether it did.
    fn roll_if_full(&mut self, bytes: u64, next_offset: i64) -> Result<bool, LogError> {
        let segment_bytes = self.config.segment_bytes();
        if bytes > segment_bytes {
            return Err(LogError::TooLarge { bytes, segment_bytes });
        }
        let active = self.active();
        let full = active.size + bytes > segment_bytes || next_offset - active.base_offset > RELATIVE_OFFSET_MAX;
        let rolls = full && active.size > 0;
        if rolls {
            self.roll()?;
        }
        Ok(rolls)
    }

    /// Closes the active segment and starts one at the log end.
    pub(super) fn roll(&mut self) -> Result<(), LogError> {
        let (disk, directory, base_offset) = (self.disk.clone(), self.directory.clone(), self.log_end);
        let closed = self.active().close(&disk, &directory);
        self.fail(closed)?;
        let snapshot = self.write_producer_snapshot();
        self.fail(snapshot)?;
        let created = self.fail(Segment::create(&disk, &directory, base_offset))?;
        self.segments.push(created);
        self.names.note();
        self.point_is_due = true;
        Ok(())
    }
}

/// Offsets are counted by the last offset delta, records by the count: a client's must agree.
fn check_counts(header: &BatchHeader) -> Result<(), BadBatch> {
    if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        return Err(BadBatch::Inconsistent("the record count is not the last offset delta plus one"));
    }
    if header.is_idempotent() && header.producer_epoch.0 < 0 {
        return Err(BadBatch::Inconsistent("a producer id without a producer epoch"));
    }
    Ok(())
}

impl<F: File> Segment<F> {
    /// Takes note of the batch that follows the segment's last one.
    pub(super) fn note(&mut self, header: &BatchHeader, interval_bytes: u64) {
        let relative = header.last_offset() - self.base_offset;
        let place = BatchPlace {
            last_relative_offset: u32::try_from(relative).expect("a segment is rolled before offsets get that far"),
            position: u32::try_from(self.size).expect("a segment is rolled before it gets that large"),
            size: u32::try_from(header.size).expect("a batch is no larger than a segment"),
            max_timestamp_ms: header.max_timestamp,
        };
        if let Some(index) = &mut self.index {
            index.note(place, interval_bytes);
            self.largest_timestamp = index.largest_timestamp();
        }
        self.size += header.size as u64;
    }
}
