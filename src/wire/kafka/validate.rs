//! What a leader requires of the batches that a producer sends, before it assigns offsets.
//!
//! Reads each header and checksum; decompresses nothing. The rules are Kafka's, for produce
//! requests of version 3 and later: one batch per partition, format v2, offsets that begin with
//! zero and have no gaps, no control batch, a sequence exactly with a producer id.

use bytes::Bytes;

use super::error::ErrorCode;
use crate::base::batch_header::{self, BadBatch, BatchHeader};

/// Why a producer's records are refused. Nothing of them is appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No records, or fewer bytes than a header.
    #[error("there is no batch")]
    Empty,
    /// More than one batch.
    #[error("one batch per partition is allowed, {trailing_bytes} bytes follow the first")]
    MoreThanOneBatch {
        /// The bytes after the first batch.
        trailing_bytes: usize,
    },
    /// Beyond `max.message.bytes`.
    #[error("the batch has {bytes} bytes, max.message.bytes is {limit}")]
    TooLarge {
        /// The batch's length.
        bytes: usize,
        /// The topic's bound.
        limit: usize,
    },
    /// Damaged, cut short, or of an old format.
    #[error(transparent)]
    Bad(#[from] BadBatch),
    /// A header that no producer may send.
    #[error("invalid batch: {0}")]
    Invalid(&'static str),
    /// Compression that nobody knows.
    #[error("compression type {0} is unknown")]
    Compression(u8),
}

impl Refused {
    /// What the producer is told.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Refused::Empty | Refused::Invalid(_) | Refused::MoreThanOneBatch { .. } => ErrorCode::InvalidRecord,
            Refused::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Refused::Bad(BadBatch::Magic(_)) => ErrorCode::UnsupportedForMessageFormat,
            Refused::Bad(_) => ErrorCode::CorruptMessage,
            Refused::Compression(_) => ErrorCode::UnsupportedCompressionType,
        }
    }
}

/// Checks what a producer sent for one partition and gives the batch's header.
pub fn producer_batch(records: &Bytes, max_message_bytes: usize) -> Result<BatchHeader, Refused> {
    if records.is_empty() {
        return Err(Refused::Empty);
    }
    let header = BatchHeader::read(records)?;
    if header.size > max_message_bytes {
        return Err(Refused::TooLarge { bytes: header.size, limit: max_message_bytes });
    }
    if header.size < records.len() {
        return Err(Refused::MoreThanOneBatch { trailing_bytes: records.len() - header.size });
    }
    batch_header::verify(records)?;
    check_fields(&header)?;
    Ok(header)
}

fn check_fields(header: &BatchHeader) -> Result<(), Refused> {
    let invalid = |wrong: bool, what| if wrong { Err(Refused::Invalid(what)) } else { Ok(()) };
    invalid(header.base_offset != 0, "the base offset must be 0")?;
    invalid(header.record_count == 0, "there are no records")?;
    invalid(
        i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1,
        "the record count does not match the last offset",
    )?;
    invalid(header.is_control(), "clients may not write control records")?;
    check_producer(header)?;
    if header.compression() > 4 {
        return Err(Refused::Compression(header.compression()));
    }
    Ok(())
}

fn check_producer(header: &BatchHeader) -> Result<(), Refused> {
    if header.is_idempotent() {
        if header.base_sequence < 0 || header.producer_epoch.0 < 0 {
            return Err(Refused::Invalid("a producer id needs an epoch and a sequence"));
        }
    } else if header.is_transactional() {
        return Err(Refused::Invalid("a transactional batch needs a producer id"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};
    use super::*;
    use crate::base::checksum::crc32c;
    use crate::base::ids::{ProducerEpoch, ProducerId};

    const LIMIT: usize = 1_000;

    fn batch(stamp: ProducerStamp, records: usize) -> Vec<u8> {
        let mut builder = RecordBatchBuilder::new();
        (0..records).for_each(|_| builder.push(NewRecord::default()));
        builder.build(stamp).expect("builds").to_vec()
    }

    fn changed(at: usize, value: &[u8]) -> Bytes {
        let stamp = ProducerStamp { id: ProducerId(1), epoch: ProducerEpoch(0), base_sequence: 0 };
        let mut bytes = batch(stamp, 2);
        bytes[at..at + value.len()].copy_from_slice(value);
        let crc = crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    }

    #[test]
    fn what_a_producer_builds_is_accepted() {
        let plain = Bytes::from(batch(ProducerStamp::NONE, 3));
        let header = producer_batch(&plain, LIMIT).expect("accepted");
        assert_eq!((header.size, header.record_count), (plain.len(), 3));
    }

    #[test]
    fn each_rule_has_its_error_code() {
        let good = Bytes::from(batch(ProducerStamp::NONE, 2));
        let mut damaged = good.to_vec();
        damaged[40] ^= 1;
        for (records, expected) in [
            (Bytes::new(), ErrorCode::InvalidRecord),
            (good.slice(..60), ErrorCode::CorruptMessage),
            (good.slice(..good.len() - 1), ErrorCode::CorruptMessage),
            (Bytes::from(damaged), ErrorCode::CorruptMessage),
            (Bytes::from([good.clone(), good.clone()].concat()), ErrorCode::InvalidRecord),
            (Bytes::from(batch(ProducerStamp::NONE, 500)), ErrorCode::MessageTooLarge),
            (changed(16, &[1]), ErrorCode::UnsupportedForMessageFormat),
            (changed(0, &1i64.to_be_bytes()), ErrorCode::InvalidRecord),
            (changed(57, &0i32.to_be_bytes()), ErrorCode::InvalidRecord),
            (changed(57, &9i32.to_be_bytes()), ErrorCode::InvalidRecord),
            (changed(23, &i32::MAX.to_be_bytes()), ErrorCode::InvalidRecord),
            (changed(22, &[0x20]), ErrorCode::InvalidRecord),
            (changed(22, &[0x05]), ErrorCode::UnsupportedCompressionType),
            (changed(51, &(-1i16).to_be_bytes()), ErrorCode::InvalidRecord),
            (changed(53, &(-1i32).to_be_bytes()), ErrorCode::InvalidRecord),
        ] {
            let refused = producer_batch(&records, LIMIT).expect_err("refused");
            assert_eq!(refused.error_code(), expected, "{refused}");
        }
    }

    #[test]
    fn a_transactional_batch_without_a_producer_is_refused() {
        let mut builder = RecordBatchBuilder::new().transactional(true);
        builder.push(NewRecord::default());
        let bytes = builder.build(ProducerStamp::NONE).expect("builds");
        assert_eq!(
            producer_batch(&bytes, LIMIT).map_err(|refused| refused.error_code()),
            Err(ErrorCode::InvalidRecord)
        );
    }
}
