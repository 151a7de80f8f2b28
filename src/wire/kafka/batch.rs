//! Building record batches, as a producer does: records in, one v2 batch out.
//!
//! The layout of a batch is in [`crate::base::batch_header`]. Offsets in a batch are relative to
//! its base offset, which the leader assigns.

use bytes::Bytes;
use kafka_wire_core::StrBytes;
use kafka_wire_records::{Compression as Codec, Record as WireRecord, RecordBatch, RecordEncodeLimits, TimestampType};

use crate::base::batch_header::HEADER_BYTES;
use crate::base::ids::{LeaderEpoch, ProducerEpoch, ProducerId};

/// More than the lengths, deltas and attributes of one record can take besides its contents.
pub const RECORD_OVERHEAD_BYTES_MAX: usize = 32;
/// More than the two lengths of one record header can take besides its contents.
pub const RECORD_HEADER_OVERHEAD_BYTES_MAX: usize = 10;
/// The most that one batch may hold, in bytes.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy in the framing that Kafka's Java client uses.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    fn codec(self) -> Codec {
        match self {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
        }
    }
}

/// A header of a record: a name and a value, which may be null. Names may repeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The name.
    pub key: StrBytes,
    /// The value.
    pub value: Option<Bytes>,
}

/// A record before it has an offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NewRecord {
    /// Decides the partition and what compaction keeps.
    pub key: Option<Bytes>,
    /// None is a tombstone, which is not the same as empty.
    pub value: Option<Bytes>,
    /// In order.
    pub headers: Vec<Header>,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl NewRecord {
    /// A bound on what the record takes in an uncompressed batch, in bytes.
    #[must_use]
    pub fn encoded_bytes_max(&self) -> usize {
        let optional = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let header = |header: &Header| RECORD_HEADER_OVERHEAD_BYTES_MAX + header.key.len() + optional(&header.value);
        RECORD_OVERHEAD_BYTES_MAX
            + optional(&self.key)
            + optional(&self.value)
            + self.headers.iter().map(header).sum::<usize>()
    }
}

/// Who sends a batch, for idempotence (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer.
    pub id: ProducerId,
    /// Its incarnation.
    pub epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub base_sequence: i32,
}

impl ProducerStamp {
    /// No idempotence.
    pub const NONE: ProducerStamp = ProducerStamp { id: ProducerId(-1), epoch: ProducerEpoch(-1), base_sequence: -1 };
}

/// A batch cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the records cannot be put into a batch: {0}")]
pub struct CannotBuild(String);

/// Collects records for one batch.
#[derive(Clone, Debug, Default)]
pub struct RecordBatchBuilder {
    records: Vec<NewRecord>,
    bytes: usize,
    compression: Compression,
    transactional: bool,
    base_offset: i64,
    leader_epoch: Option<LeaderEpoch>,
}

impl RecordBatchBuilder {
    /// An empty batch, not compressed.
    #[must_use]
    pub fn new() -> Self {
        RecordBatchBuilder { bytes: HEADER_BYTES, ..RecordBatchBuilder::default() }
    }

    /// Compresses the records.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self, transactional: bool) -> Self {
        self.transactional = transactional;
        self
    }

    /// Sets what a leader would assign, to make a batch as it is stored.
    #[must_use]
    pub fn stored_at(mut self, base_offset: i64, leader_epoch: LeaderEpoch) -> Self {
        self.base_offset = base_offset;
        self.leader_epoch = Some(leader_epoch);
        self
    }

    /// Adds a record.
    pub fn push(&mut self, record: NewRecord) {
        self.bytes += record.encoded_bytes_max();
        self.records.push(record);
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A bound on the batch's length before compression, in bytes.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes
    }

    /// The batch. An empty one cannot be built: no broker accepts it.
    pub fn build(self, stamp: ProducerStamp) -> Result<Bytes, CannotBuild> {
        let base_timestamp = self.records.first().ok_or_else(|| CannotBuild("there are none".to_owned()))?.timestamp_ms;
        let max_timestamp = self.records.iter().map(|record| record.timestamp_ms).fold(base_timestamp, i64::max);
        let last_offset_delta =
            i32::try_from(self.records.len() - 1).map_err(|_| CannotBuild("there are too many".to_owned()))?;
        let batch = RecordBatch {
            base_offset: self.base_offset,
            last_offset_delta,
            partition_leader_epoch: self.leader_epoch.map_or(-1, |epoch| epoch.0),
            compression: self.compression.codec(),
            timestamp_type: TimestampType::CreateTime,
            is_transactional: self.transactional,
            is_control: false,
            has_delete_horizon: false,
            base_timestamp,
            max_timestamp,
            producer_id: stamp.id.0,
            producer_epoch: stamp.epoch.0,
            base_sequence: stamp.base_sequence,
            records: (0..=last_offset_delta)
                .zip(self.records)
                .map(|(offset_delta, record)| wire_record(record, offset_delta, base_timestamp))
                .collect(),
        };
        batch
            .encode_to_bytes(RecordEncodeLimits::new(BATCH_BYTES_MAX, BATCH_BYTES_MAX))
            .map_err(|error| CannotBuild(error.to_string()))
    }
}

fn wire_record(record: NewRecord, offset_delta: i32, base_timestamp: i64) -> WireRecord {
    let header = |header: Header| kafka_wire_records::RecordHeader { key: header.key, value: header.value };
    WireRecord {
        attributes: 0,
        timestamp_delta: record.timestamp_ms.wrapping_sub(base_timestamp),
        offset_delta,
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(header).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::batch_header;

    fn record(value: &str, timestamp_ms: i64) -> NewRecord {
        NewRecord { value: Some(Bytes::copy_from_slice(value.as_bytes())), timestamp_ms, ..NewRecord::default() }
    }

    #[test]
    fn a_built_batch_is_one_that_the_header_reader_verifies() {
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let mut builder = RecordBatchBuilder::new().compression(compression).transactional(true);
            for (value, timestamp_ms) in [("a", 1_000), ("b", 900), ("c", 1_100)] {
                builder.push(record(value, timestamp_ms));
            }
            let bound = builder.bytes_max();
            let stamp = ProducerStamp { id: ProducerId(7), epoch: ProducerEpoch(2), base_sequence: 40 };
            let bytes = builder.build(stamp).expect("builds");
            let header = batch_header::verify(&bytes).expect("verifies");
            assert_eq!((header.record_count, header.last_offset_delta), (3, 2));
            assert_eq!((header.base_timestamp, header.max_timestamp), (1_000, 1_100));
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (stamp.id, stamp.epoch, 40));
            assert_eq!(header.compression(), compression as u8);
            assert!(header.is_transactional() && !header.is_control());
            assert!(compression != Compression::None || bytes.len() <= bound);
        }
    }

    #[test]
    fn an_empty_batch_cannot_be_built() {
        assert!(RecordBatchBuilder::new().build(ProducerStamp::NONE).is_err());
    }

    #[test]
    fn a_stored_batch_carries_the_offset_and_epoch_of_its_leader() {
        let mut builder = RecordBatchBuilder::new().stored_at(500, LeaderEpoch(3));
        builder.push(record("x", 0));
        let header = batch_header::verify(&builder.build(ProducerStamp::NONE).expect("builds")).expect("verifies");
        assert_eq!((header.base_offset, header.leader_epoch, header.is_idempotent()), (500, LeaderEpoch(3), false));
    }
}
