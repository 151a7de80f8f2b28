//! Reading records out of batches, as a consumer does, within a budget.
//!
//! Every batch's checksum is verified before its records are looked at. A batch that is cut short
//! at the end is no error: brokers cut what they send at a byte limit (KIP-74).

use bytes::Bytes;
use kafka_wire_core::DecodeLimits;
use kafka_wire_records::{RecordBatch, RecordBatchDecode, RecordDecodeLimits, TimestampType};

use super::batch::Header;
use crate::base::batch_header::{self, BadBatch, BatchHeader};
use crate::base::ids::LeaderEpoch;

/// The most bytes that one batch may decompress to.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most records in one batch that are decoded.
pub const BATCH_RECORDS_MAX: usize = 4 * 1024 * 1024;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: i64,
    /// The epoch of the leader that took it.
    pub leader_epoch: LeaderEpoch,
    /// Milliseconds since the Unix epoch, of the producer or of the broker as the topic says.
    pub timestamp_ms: i64,
    /// None is not the same as empty.
    pub key: Option<Bytes>,
    /// None is a tombstone.
    pub value: Option<Bytes>,
    /// In order; names may repeat.
    pub headers: Vec<Header>,
}

/// A batch with its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedBatch {
    /// What its header says.
    pub header: BatchHeader,
    /// Its records by offset. Compaction may have left gaps, or nothing.
    pub records: Vec<Record>,
}

/// Why records cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecords {
    /// The batch itself is damaged.
    #[error(transparent)]
    Batch(#[from] BadBatch),
    /// The records behind an intact header are not as they should be, or exceed the budget.
    #[error("the records of the batch at offset {base_offset} cannot be read: {reason}")]
    Records {
        /// Where the batch begins.
        base_offset: i64,
        /// What is wrong.
        reason: String,
    },
}

/// Takes batch after batch from the front of `bytes`. Ends at the end, at a batch that is cut
/// short, or after an error.
#[derive(Clone, Debug)]
pub struct Batches {
    bytes: Bytes,
    failed: bool,
}

/// The batches in `bytes`, decoded one by one as they are asked for.
#[must_use]
pub fn batches(bytes: Bytes) -> Batches {
    Batches { bytes, failed: false }
}

impl Batches {
    /// The bytes that were not read: a batch that is cut short, or what follows an error.
    #[must_use]
    pub fn rest(&self) -> &Bytes {
        &self.bytes
    }

    fn take(&mut self) -> Result<Option<DecodedBatch>, BadRecords> {
        let header = match BatchHeader::read(&self.bytes) {
            Ok(header) if header.size <= self.bytes.len() => header,
            Ok(_) | Err(BadBatch::Short { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes = self.bytes.slice(..header.size);
        batch_header::verify(&bytes)?;
        let records = decode(header, bytes)?;
        self.bytes = self.bytes.slice(header.size..);
        Ok(Some(DecodedBatch { header, records }))
    }
}

impl Iterator for Batches {
    type Item = Result<DecodedBatch, BadRecords>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.take().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// Decodes the records of one whole batch. `bytes` is that batch, and its header has been read.
pub fn decode(header: BatchHeader, bytes: Bytes) -> Result<Vec<Record>, BadRecords> {
    plain_records(&header, &bytes).map_or_else(|| decode_any(header, bytes), Ok)
}

/// Decodes any batch.
fn decode_any(header: BatchHeader, mut bytes: Bytes) -> Result<Vec<Record>, BadRecords> {
    let bad = |reason: String| BadRecords::Records { base_offset: header.base_offset, reason };
    let mut wire = DecodeLimits::default();
    wire.max_array_elements = BATCH_RECORDS_MAX;
    let limits = RecordDecodeLimits::new(header.size, DECOMPRESSED_BYTES_MAX, wire);
    match RecordBatch::decode_next(&mut bytes, limits, DECOMPRESSED_BYTES_MAX) {
        Ok(RecordBatchDecode::Complete { batch, .. }) => stored_records(header, batch).map_err(bad),
        Ok(_) => Err(bad("the batch is cut short".to_owned())),
        Err(error) => Err(bad(error.to_string())),
    }
}

fn stored_records(header: BatchHeader, batch: RecordBatch) -> Result<Vec<Record>, String> {
    let log_append_time = batch.timestamp_type == TimestampType::LogAppendTime;
    let mut records = Vec::with_capacity(batch.records.len());
    let mut last_delta = -1;
    for record in batch.records {
        if record.offset_delta <= last_delta || record.offset_delta > header.last_offset_delta {
            return Err(format!("offset delta {} after {last_delta}", record.offset_delta));
        }
        last_delta = record.offset_delta;
        let create_time = header.base_timestamp.wrapping_add(record.timestamp_delta);
        records.push(Record {
            offset: header.base_offset + i64::from(record.offset_delta),
            leader_epoch: header.leader_epoch,
            timestamp_ms: if log_append_time { header.max_timestamp } else { create_time },
            key: record.key,
            value: record.value,
            headers: record.headers.into_iter().map(|one| Header { key: one.key, value: one.value }).collect(),
        });
    }
    Ok(records)
}

/// The records of a batch without compression and flags, if none of them has headers: read in one pass over
/// a slice, where the generated decoder takes a shared slice for every byte of a length. What is not so, and
/// what is wrong, is left to that one.
fn plain_records(header: &BatchHeader, batch: &Bytes) -> Option<Vec<Record>> {
    /// A record's length, attributes, deltas, lengths of key and value, and count of headers.
    const RECORD_BYTES_MIN: usize = 7;
    let mut rest = batch.get(batch_header::HEADER_BYTES..)?;
    let count = usize::try_from(header.record_count).ok()?;
    if header.attributes != 0 || count > BATCH_RECORDS_MAX || count * RECORD_BYTES_MIN > rest.len() {
        return None;
    }
    let mut records = Vec::with_capacity(count);
    let mut last_delta = -1;
    for _ in 0..count {
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let (mut record, behind) = rest.split_at_checked(length)?;
        rest = behind;
        let (0, fields) = record.split_first()? else { return None };
        record = fields;
        let timestamp_delta = varint(&mut record)?;
        let offset_delta = varint(&mut record)?;
        if offset_delta <= last_delta || offset_delta > i64::from(header.last_offset_delta) {
            return None;
        }
        last_delta = offset_delta;
        let (key, value) = (nullable(batch, &mut record)?, nullable(batch, &mut record)?);
        if record != [0] {
            return None;
        }
        records.push(Record {
            offset: header.base_offset + offset_delta,
            leader_epoch: header.leader_epoch,
            timestamp_ms: header.base_timestamp.wrapping_add(timestamp_delta),
            key,
            value,
            headers: Vec::new(),
        });
    }
    rest.is_empty().then_some(records)
}

/// A zigzag varint of at most four bytes, in its shortest form.
fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut raw = 0;
    for (at, byte) in rest.iter().take(4).enumerate() {
        raw |= i64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *rest = &rest[at + 1..];
            let is_shortest = at == 0 || *byte != 0;
            return is_shortest.then_some((raw >> 1) ^ -(raw & 1));
        }
    }
    None
}

/// A key or a value, which is a slice of `batch`.
fn nullable(batch: &Bytes, rest: &mut &[u8]) -> Option<Option<Bytes>> {
    let length = varint(rest)?;
    if length == -1 {
        return Some(None);
    }
    let (bytes, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = behind;
    Some(Some(batch.slice_ref(bytes)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::Rng;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    use super::super::batch::{Compression, NewRecord, ProducerStamp, RecordBatchBuilder};
    use super::*;

    fn new_record(value: &[u8], timestamp_ms: i64) -> NewRecord {
        NewRecord {
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::copy_from_slice(value)),
            headers: vec![
                Header { key: "same".into(), value: None },
                Header { key: "same".into(), value: Some(Bytes::from_static(b"")) },
            ],
            timestamp_ms,
        }
    }

    fn stored(base_offset: i64, count: i64, compression: Compression) -> Bytes {
        let mut builder = RecordBatchBuilder::new().compression(compression).stored_at(base_offset, LeaderEpoch(4));
        (0..count).for_each(|index| builder.push(new_record(&[7; 100], 1_000 + index)));
        builder.build(ProducerStamp::NONE).expect("builds")
    }

    #[test]
    fn records_come_back_with_their_offsets_whatever_the_compression() {
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let bytes = [stored(10, 3, compression), stored(13, 2, compression)].concat();
            let read: Result<Vec<_>, _> = batches(Bytes::from(bytes)).collect();
            let records: Vec<_> = read.expect("intact").into_iter().flat_map(|batch| batch.records).collect();
            assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
            assert_eq!((records[1].timestamp_ms, records[4].leader_epoch), (1_001, LeaderEpoch(4)));
            let expected = new_record(&[7; 100], 0);
            assert_eq!((&records[2].key, &records[2].value), (&expected.key, &expected.value));
            assert_eq!(records[2].headers, expected.headers, "one name twice, null apart from empty");
        }
    }

    #[test]
    fn a_batch_that_is_cut_short_ends_the_reading_without_an_error() {
        let whole = stored(0, 3, Compression::None);
        let both = Bytes::from([whole.clone(), stored(3, 3, Compression::None)].concat());
        for cut in whole.len()..both.len() {
            let mut reader = batches(both.slice(..cut));
            assert_eq!(reader.by_ref().filter(Result::is_ok).count(), 1, "cut at {cut}");
            assert_eq!(reader.rest().len(), cut - whole.len());
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_under_the_checksum_is_never_read_as_data() {
        let whole = stored(0, 3, Compression::None);
        for at in 17..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 1;
            let mut reader = batches(Bytes::from(damaged));
            assert!(matches!(reader.next(), Some(Err(_))), "byte {at}");
            assert_eq!(reader.next(), None, "nothing is read past damage");
        }
    }

    fn plain(count: i64) -> Bytes {
        let mut builder = RecordBatchBuilder::new().stored_at(1 << 33, LeaderEpoch(4));
        for index in 0..count {
            let sized = |bytes: i64| Bytes::from(vec![index as u8; bytes as usize]);
            builder.push(NewRecord {
                key: (index % 3 > 0).then(|| sized(index % 7)),
                value: (index % 4 > 0).then(|| sized(30 * index)),
                headers: Vec::new(),
                timestamp_ms: 1_000 + index * 100,
            });
        }
        builder.build(ProducerStamp::NONE).expect("builds")
    }

    #[test]
    fn plain_records_are_read_as_the_generated_decoder_reads_them() {
        for count in 1..40 {
            let bytes = plain(count);
            let header = BatchHeader::read(&bytes).expect("a header");
            let records = plain_records(&header, &bytes).expect("plain");
            assert_eq!(records.len(), count as usize);
            assert_eq!(decode_any(header, bytes), Ok(records));
        }
        let unlike = stored(0, 3, Compression::None);
        assert_eq!(plain_records(&BatchHeader::read(&unlike).expect("a header"), &unlike), None, "it has headers");
    }

    #[test]
    fn damaged_records_are_read_as_the_generated_decoder_reads_them_or_left_to_it() {
        let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let (whole, mut read) = (plain(9), 0);
        for _ in 0..100_000 {
            let mut bytes = whole.to_vec();
            let at = 12 + random.next_u32() as usize % (bytes.len() - 12);
            bytes[at] ^= 1 << (random.next_u32() % 8);
            let checksum = crate::base::checksum::crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
            let Ok(header) = BatchHeader::read(&bytes) else { continue };
            let bytes = Bytes::from(bytes);
            if let Some(records) = plain_records(&header, &bytes) {
                assert_eq!(decode_any(header, bytes), Ok(records), "byte {at}");
                read += 1;
            }
        }
        assert!(read > 10_000, "{read}");
    }
}
