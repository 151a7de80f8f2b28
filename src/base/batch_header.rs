//! The 61-byte header of a v2 record batch, read in place. Batches are stored and shipped byte
//! for byte as clients sent them; only the two fields before the checksum's reach may be set.
//!
//! | offset | bytes | field                 | under the checksum |
//! |-------:|------:|-----------------------|--------------------|
//! |      0 |     8 | base offset           | no                 |
//! |      8 |     4 | length of what follows| no                 |
//! |     12 |     4 | partition leader epoch| no                 |
//! |     16 |     1 | magic, 2              | no                 |
//! |     17 |     4 | CRC-32C of the rest   | –                  |
//! |     21 |     2 | attributes            | yes                |
//! |     23 |     4 | last offset delta     | yes                |
//! |     27 |     8 | base timestamp        | yes                |
//! |     35 |     8 | max timestamp         | yes                |
//! |     43 |     8 | producer id           | yes                |
//! |     51 |     2 | producer epoch        | yes                |
//! |     53 |     4 | base sequence         | yes                |
//! |     57 |     4 | record count          | yes                |
//!
//! Source: Kafka's message format v2 (KIP-98).

use super::checksum::crc32c;
use super::ids::{LeaderEpoch, ProducerEpoch, ProducerId};

/// The length of the header, in bytes.
pub const HEADER_BYTES: usize = 61;
/// The bytes before the part that the length field counts: base offset and length.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// The only format that is stored.
pub const MAGIC: u8 = 2;
/// Where the magic byte stands.
pub const MAGIC_AT: usize = 16;
/// Where the checksum's reach begins.
const CHECKSUMMED_FROM: usize = 21;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The fields of a batch's header, as values. The records behind it are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record.
    pub base_offset: i64,
    /// The whole batch's length in bytes, header included.
    pub size: usize,
    /// The leader epoch under which it was appended.
    pub leader_epoch: LeaderEpoch,
    /// The CRC-32C that the producer computed.
    pub crc: u32,
    /// Compression, timestamp type, transactional and control flags.
    pub attributes: i16,
    /// The last record's offset less the base offset.
    pub last_offset_delta: i32,
    /// Milliseconds since the Unix epoch.
    pub base_timestamp: i64,
    /// Milliseconds since the Unix epoch.
    pub max_timestamp: i64,
    /// -1 where the producer is not idempotent.
    pub producer_id: ProducerId,
    /// -1 where the producer is not idempotent.
    pub producer_epoch: ProducerEpoch,
    /// -1 where the producer is not idempotent.
    pub base_sequence: i32,
    /// How many records the batch says it has.
    pub record_count: i32,
}

/// Why bytes are not a record batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    /// Fewer bytes than the header or than the length field announces.
    #[error("the batch is cut short: {have} of {need} bytes")]
    Short {
        /// Bytes at hand.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// The length field is smaller than a header can be.
    #[error("the batch announces an impossible length of {0} bytes")]
    Length(i32),
    /// A magic byte other than 2.
    #[error("record format v{0} is not supported, only v2 (Kafka 0.11 and later)")]
    Magic(u8),
    /// The checksum does not match the bytes.
    #[error("the batch's checksum is {stored:#010x} but its bytes have {computed:#010x}")]
    Checksum {
        /// What the header says.
        stored: u32,
        /// What the bytes have.
        computed: u32,
    },
    /// Offsets, counts or sequence that contradict each other.
    #[error("the batch's header contradicts itself: {0}")]
    Inconsistent(&'static str),
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may end after the header. Checks that the
    /// fields do not contradict each other; does not check the checksum (see [`verify`]).
    pub fn read(bytes: &[u8]) -> Result<BatchHeader, BadBatch> {
        if bytes.len() < HEADER_BYTES {
            return Err(BadBatch::Short { have: bytes.len(), need: HEADER_BYTES });
        }
        if bytes[MAGIC_AT] != MAGIC {
            return Err(BadBatch::Magic(bytes[MAGIC_AT]));
        }
        let length = i32::from_be_bytes(bytes_at(bytes, 8));
        let size = usize::try_from(length).map_err(|_| BadBatch::Length(length))? + LOG_OVERHEAD_BYTES;
        if size < HEADER_BYTES {
            return Err(BadBatch::Length(length));
        }
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(bytes_at(bytes, 0)),
            size,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(bytes_at(bytes, 12))),
            crc: u32::from_be_bytes(bytes_at(bytes, 17)),
            attributes: i16::from_be_bytes(bytes_at(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(bytes_at(bytes, 23)),
            base_timestamp: i64::from_be_bytes(bytes_at(bytes, 27)),
            max_timestamp: i64::from_be_bytes(bytes_at(bytes, 35)),
            producer_id: ProducerId(i64::from_be_bytes(bytes_at(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(bytes_at(bytes, 51))),
            base_sequence: i32::from_be_bytes(bytes_at(bytes, 53)),
            record_count: i32::from_be_bytes(bytes_at(bytes, 57)),
        };
        header.check_consistent()?;
        Ok(header)
    }

    fn check_consistent(&self) -> Result<(), BadBatch> {
        if self.base_offset < 0 || self.base_offset.checked_add(i64::from(self.last_offset_delta)).is_none() {
            return Err(BadBatch::Inconsistent("offsets outside of 0..2^63"));
        }
        if self.last_offset_delta < 0 {
            return Err(BadBatch::Inconsistent("negative last offset delta"));
        }
        if self.record_count < 0 {
            return Err(BadBatch::Inconsistent("negative record count"));
        }
        Ok(())
    }

    /// The offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// The sequence of the last record, modulo 2^31 as sequences wrap; none without idempotence.
    #[must_use]
    pub fn last_sequence(&self) -> Option<i32> {
        self.is_idempotent().then(|| sequence_after(self.base_sequence, self.last_offset_delta))
    }

    /// Whether an idempotent or transactional producer sent it.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.producer_id.0 >= 0
    }

    /// Whether it belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether `batch`, which begins with this header, ends where the checksum says.
    #[must_use]
    pub fn is_checksum_of(&self, batch: &[u8]) -> bool {
        crc32c(&batch[CHECKSUMMED_FROM..]) == self.crc
    }

    /// Whether it holds control records instead of a client's.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether its timestamps were set by the broker.
    #[must_use]
    pub fn has_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// The compression codec's number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    #[must_use]
    pub fn compression(&self) -> u8 {
        (self.attributes & COMPRESSION_MASK) as u8
    }
}

/// `sequence + delta` as sequences count: after 2^31 - 1 comes 0 (KIP-98).
#[must_use]
pub fn sequence_after(sequence: i32, delta: i32) -> i32 {
    ((i64::from(sequence) + i64::from(delta)) & i64::from(i32::MAX)) as i32
}

/// Reads the batch at the start of `bytes` and checks its checksum over the whole batch.
pub fn verify(bytes: &[u8]) -> Result<BatchHeader, BadBatch> {
    let header = BatchHeader::read(bytes)?;
    if bytes.len() < header.size {
        return Err(BadBatch::Short { have: bytes.len(), need: header.size });
    }
    let computed = crc32c(&bytes[CHECKSUMMED_FROM..header.size]);
    if computed == header.crc { Ok(header) } else { Err(BadBatch::Checksum { stored: header.crc, computed }) }
}

/// Sets the two fields that a leader assigns; neither is under the checksum. `batch` begins with
/// a whole header.
pub fn assign(batch: &mut [u8], base_offset: i64, leader_epoch: LeaderEpoch) {
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend_from_slice(payload);
        let length = (bytes.len() - LOG_OVERHEAD_BYTES) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = MAGIC;
        bytes[26] = 4; // last offset delta
        bytes[60] = 5; // record count
        let crc = crc32c(&bytes[CHECKSUMMED_FROM..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn assigning_offset_and_epoch_keeps_the_checksum_valid() {
        let mut bytes = batch(b"records");
        assign(&mut bytes, 40, LeaderEpoch(7));
        let header = verify(&bytes).expect("valid");
        assert_eq!((header.base_offset, header.last_offset(), header.leader_epoch), (40, 44, LeaderEpoch(7)));
        assert_eq!(header.size, bytes.len());
    }

    #[test]
    fn any_flipped_bit_under_the_checksum_is_seen() {
        let good = batch(b"records");
        for at in CHECKSUMMED_FROM..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x80;
            assert!(verify(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_cut_batch_and_an_impossible_length_are_told_apart() {
        let good = batch(b"records");
        assert!(matches!(verify(&good[..good.len() - 1]), Err(BadBatch::Short { .. })));
        assert!(matches!(verify(&good[..10]), Err(BadBatch::Short { .. })));
        let mut bad = good.clone();
        bad[8..12].copy_from_slice(&(-1i32).to_be_bytes());
        assert!(matches!(verify(&bad), Err(BadBatch::Length(-1))));
        bad[8..12].copy_from_slice(&3i32.to_be_bytes());
        assert!(matches!(verify(&bad), Err(BadBatch::Length(3))));
    }

    #[test]
    fn sequences_wrap_to_zero_after_the_largest() {
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
        assert_eq!(sequence_after(5, 2), 7);
    }
}
