//! Kafka's producer snapshot, version 1. All integers are big-endian.
//!
//! | offset | bytes | field                                          |
//! |-------:|------:|------------------------------------------------|
//! |      0 |     2 | version, 1                                     |
//! |      2 |     4 | CRC-32C of all that follows                    |
//! |      6 |     4 | number of entries                              |
//! |     10 |  46 n | entries                                        |
//!
//! | offset in an entry | bytes | field                                      |
//! |---:|--:|---------------------------------------------------------|
//! |  0 | 8 | producer id                                             |
//! |  8 | 2 | producer epoch                                          |
//! | 10 | 4 | last sequence, -1 for none                              |
//! | 14 | 8 | last offset, -1 for none                                |
//! | 22 | 4 | last offset less first offset of the last batch         |
//! | 26 | 8 | last timestamp                                          |
//! | 34 | 4 | epoch of the last marker's coordinator, -1 for none     |
//! | 38 | 8 | first offset of the open transaction, -1 for none       |
//!
//! Only the last batch of a producer is kept, as in Kafka. Source: `ProducerStateManager`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::entry::{KnownBatch, ProducerEntry};
use super::{ProducerId, ProducerStates};
use crate::base::checksum::crc32c;
use crate::base::ids::ProducerEpoch;

const VERSION: i16 = 1;
const ENTRIES_AT: usize = 6;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

/// Why bytes are not a producer snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    /// Its length contradicts the number of entries.
    #[error("{have} bytes where {need} are announced")]
    Length {
        /// Bytes at hand.
        have: usize,
        /// Bytes announced.
        need: usize,
    },
    /// A version that is not 1.
    #[error("version {0} is not known")]
    Version(i16),
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Checksum,
}

/// The snapshot of `states`.
#[must_use]
pub fn encode_snapshot(states: &ProducerStates) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + ENTRY_BYTES * states.len());
    bytes.put_i16(VERSION);
    bytes.put_u32(0);
    bytes.put_i32(i32::try_from(states.len()).expect("fewer producers than fit into memory 2^31 times"));
    for (id, entry) in states.iter() {
        put_entry(&mut bytes, id, entry);
    }
    let crc = crc32c(&bytes[ENTRIES_AT..]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    bytes.freeze()
}

fn put_entry(bytes: &mut BytesMut, id: ProducerId, entry: &ProducerEntry) {
    let last = entry.last_batch();
    bytes.put_i64(id.0);
    bytes.put_i16(entry.epoch.0);
    bytes.put_i32(last.map_or(-1, |batch| batch.last_sequence));
    bytes.put_i64(last.map_or(-1, |batch| batch.last_offset));
    bytes.put_i32(last.map_or(0, |batch| batch.offset_delta));
    bytes.put_i64(entry.last_timestamp_ms);
    bytes.put_i32(entry.coordinator_epoch);
    bytes.put_i64(entry.transaction_start.unwrap_or(-1));
}

/// The entries of a snapshot whose version, length and checksum are right.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<(ProducerId, ProducerEntry)>, BadSnapshot> {
    if bytes.len() < HEADER_BYTES {
        return Err(BadSnapshot::Length { have: bytes.len(), need: HEADER_BYTES });
    }
    let mut header = bytes;
    let version = header.get_i16();
    if version != VERSION {
        return Err(BadSnapshot::Version(version));
    }
    if header.get_u32() != crc32c(&bytes[ENTRIES_AT..]) {
        return Err(BadSnapshot::Checksum);
    }
    let count = usize::try_from(header.get_i32()).unwrap_or(usize::MAX);
    let need = count.saturating_mul(ENTRY_BYTES).saturating_add(HEADER_BYTES);
    if bytes.len() != need {
        return Err(BadSnapshot::Length { have: bytes.len(), need });
    }
    Ok(decode_snapshot_unchecked(bytes))
}

/// Whatever entries `bytes` seem to hold. Only a planted bug asks for it.
#[must_use]
pub fn decode_snapshot_unchecked(bytes: &[u8]) -> Vec<(ProducerId, ProducerEntry)> {
    bytes.get(HEADER_BYTES..).unwrap_or_default().chunks_exact(ENTRY_BYTES).map(get_entry).collect()
}

fn get_entry(mut bytes: &[u8]) -> (ProducerId, ProducerEntry) {
    let id = ProducerId(bytes.get_i64());
    let epoch = ProducerEpoch(bytes.get_i16());
    let last_sequence = bytes.get_i32();
    let last_offset = bytes.get_i64();
    let offset_delta = bytes.get_i32();
    let timestamp_ms = bytes.get_i64();
    let coordinator_epoch = bytes.get_i32();
    let transaction_start = bytes.get_i64();
    let batch = (last_offset >= 0).then_some(KnownBatch { last_sequence, last_offset, offset_delta, timestamp_ms });
    let transaction_start = (transaction_start >= 0).then_some(transaction_start);
    (id, ProducerEntry::restored(epoch, coordinator_epoch, timestamp_ms, transaction_start, batch))
}
