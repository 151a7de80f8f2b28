//! What the records of a run carry. The value's first eight bytes are its unique number, from which
//! all else follows: the length of the value, the key, the header. What was read is compared with what
//! its number says, so that no garbage is taken for a record.

use bytes::Bytes;
use wyrdlog::client::ConsumedRecord;
use wyrdlog::wire::kafka::batch::{Header, NewRecord};

use crate::scenario::Records;

/// The least value: its number.
const NUMBER_BYTES: u32 = 8;
/// What a record says that no client wrote.
pub const FOREIGN: u64 = u64::MAX;

/// How large the records of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    most: Records,
}

impl Payload {
    /// Records of `most` bytes at most.
    #[must_use]
    pub fn new(most: Records) -> Self {
        Payload { most }
    }

    /// The record of `number`.
    #[must_use]
    pub fn record(&self, number: u64, timestamp_ms: i64) -> NewRecord {
        let value_bytes = length(number, 1, NUMBER_BYTES, self.most.value_bytes.max(NUMBER_BYTES));
        let (key_bytes, header_bytes) = (self.most.key_bytes, self.most.header_bytes);
        let mut value = number.to_be_bytes().to_vec();
        fill(&mut value, number, value_bytes);
        let key = (key_bytes > 0).then(|| filled(number, 2, length(number, 2, 1, key_bytes)));
        let header = |value| Header { key: "h".into(), value: Some(value) };
        let headers = (header_bytes > 0).then(|| header(filled(number, 3, length(number, 3, 1, header_bytes))));
        NewRecord { key, value: Some(value.into()), headers: headers.into_iter().collect(), timestamp_ms }
    }

    /// The number of a record that was read; [`FOREIGN`] unless it is as it was sent.
    #[must_use]
    pub fn number_of(&self, record: &ConsumedRecord) -> u64 {
        let first = record.value.as_deref().and_then(|value| value.first_chunk::<{ NUMBER_BYTES as usize }>());
        let Some(number) = first.map(|bytes| u64::from_be_bytes(*bytes)) else { return FOREIGN };
        let sent = self.record(number, record.timestamp_ms);
        let is_equal = (&sent.key, &sent.value, &sent.headers) == (&record.key, &record.value, &record.headers);
        if is_equal { number } else { FOREIGN }
    }
}

/// Between `least` and `most`, with each power of two as likely as another.
fn length(number: u64, of: u64, least: u32, most: u32) -> u32 {
    let (shortest, longest) = (least.max(1).ilog2(), most.max(1).ilog2());
    let mixed = mix(number.wrapping_mul(4).wrapping_add(of));
    let octave = shortest + (mixed as u32) % (longest - shortest + 1);
    let (from, to) = (least.max(1 << octave), most.min((2_u32 << octave) - 1));
    from + ((mixed >> 32) as u32) % (to - from + 1)
}

/// Bytes that follow from `number`, and compress well.
fn fill(bytes: &mut Vec<u8>, number: u64, up_to: u32) {
    let word = mix(number).to_be_bytes();
    let missing = (up_to as usize).saturating_sub(bytes.len());
    bytes.extend(word.iter().cycle().take(missing));
}

fn filled(number: u64, of: u64, bytes: u32) -> Bytes {
    let mut filled = Vec::with_capacity(bytes as usize);
    fill(&mut filled, number.wrapping_add(of << 56), bytes);
    filled.into()
}

/// SplitMix64's finalizer: every bit of the number changes half of the result's.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyrdlog::base::ids::{LeaderEpoch, TopicPartition};

    fn read(record: NewRecord) -> ConsumedRecord {
        ConsumedRecord {
            partition: TopicPartition::new("t", 0),
            offset: 7,
            leader_epoch: LeaderEpoch(0),
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: record.headers,
        }
    }

    #[test]
    fn every_record_tells_its_number_and_is_within_its_bounds() {
        let most = Records { value_bytes: 65_536, key_bytes: 65_536, header_bytes: 100 };
        let payload = Payload::new(most);
        let (mut longest, mut shortest) = (0, usize::MAX);
        for number in 1..2_000 {
            let record = payload.record(number, 5);
            let bytes = record.value.as_ref().map_or(0, Bytes::len);
            assert!((8..=65_536).contains(&bytes));
            assert!(record.key.as_ref().is_some_and(|key| (1..=65_536).contains(&key.len())));
            (longest, shortest) = (longest.max(bytes), shortest.min(bytes));
            assert_eq!(payload.number_of(&read(record)), number);
        }
        assert!(longest > 32_768 && shortest < 16, "{shortest} to {longest}");
    }

    #[test]
    fn the_least_record_is_its_number_alone() {
        let payload = Payload::new(Records { value_bytes: 8, key_bytes: 0, header_bytes: 0 });
        let record = payload.record(9, 5);
        assert_eq!(
            (record.value.as_deref(), record.key, record.headers.len()),
            (Some(&9_u64.to_be_bytes()[..]), None, 0)
        );
    }

    #[test]
    fn a_record_that_is_not_as_it_was_sent_is_foreign() {
        let payload = Payload::new(Records { value_bytes: 1_000, key_bytes: 50, header_bytes: 50 });
        let sent = payload.record(3, 5);
        let edits: [fn(&mut NewRecord); 5] = [
            |record| record.value = None,
            |record| record.value = record.value.take().map(|value| value.slice(..value.len() - 1)),
            |record| record.key = None,
            |record| record.headers.clear(),
            |record| record.value = Some(Bytes::from_static(b"short")),
        ];
        for edit in edits {
            let mut record = sent.clone();
            edit(&mut record);
            assert_eq!(payload.number_of(&read(record)), FOREIGN);
        }
    }
}
