//! The sparse indexes of one segment, as Kafka's files hold them. Big-endian.
//!
//! | `.index` entry | bytes | field                                                        |
//! |---:|--:|---------------------------------------------------------------------------|
//! |  0 | 4 | last offset of the batch, less the segment's base offset                  |
//! |  4 | 4 | position of that batch in the `.log` file                                 |
//!
//! | `.timeindex` entry | bytes | field                                                    |
//! |---:|--:|---------------------------------------------------------------------------|
//! |  0 | 8 | the largest timestamp so far                                              |
//! |  8 | 4 | last offset of the batch that has it, less the segment's base offset      |
//!
//! Indexes are hints. Neither is checksummed, so whoever follows an entry looks at the batch it
//! points to, and goes through the segment instead if that is another batch.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The length of an entry of the offset index, in bytes.
pub const OFFSET_ENTRY_BYTES: usize = 8;
/// The length of an entry of the time index, in bytes.
pub const TIME_ENTRY_BYTES: usize = 12;

/// Where the batch with that last offset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// The batch's last offset, less the segment's base offset.
    pub relative_offset: u32,
    /// The batch's position in the segment.
    pub position: u32,
}

/// The largest timestamp up to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// The timestamp.
    pub timestamp_ms: i64,
    /// The last offset of the batch that has it, less the segment's base offset.
    pub relative_offset: u32,
}

/// Both indexes of one segment, in memory. Only the active segment and one that is being rebuilt
/// have them so; the others' stay on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentIndex {
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    largest: Option<TimeEntry>,
    bytes_since_entry: u64,
}

impl SegmentIndex {
    /// Notes a batch that was appended at `position`.
    pub fn note(&mut self, batch: BatchPlace, interval_bytes: u64) {
        if self.largest.is_none_or(|largest| batch.max_timestamp_ms > largest.timestamp_ms) {
            self.largest =
                Some(TimeEntry { timestamp_ms: batch.max_timestamp_ms, relative_offset: batch.last_relative_offset });
        }
        if self.bytes_since_entry > interval_bytes {
            self.offsets.push(OffsetEntry { relative_offset: batch.last_relative_offset, position: batch.position });
            self.note_largest_timestamp();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += u64::from(batch.size);
    }

    /// Adds the entry that ends a time index: its segment's largest timestamp.
    pub fn note_largest_timestamp(&mut self) {
        if let Some(largest) = self.largest
            && largest.timestamp_ms >= 0
            && self.times.last().is_none_or(|last| largest.timestamp_ms > last.timestamp_ms)
        {
            self.times.push(largest);
        }
    }

    /// The largest timestamp so far and the batch that has it.
    #[must_use]
    pub fn largest_timestamp(&self) -> Option<TimeEntry> {
        self.largest
    }

    /// A position at or before the batch that holds `relative_offset`.
    #[must_use]
    pub fn lookup(&self, relative_offset: u32) -> Option<OffsetEntry> {
        let after = self.offsets.partition_point(|entry| entry.relative_offset <= relative_offset);
        self.offsets.get(after.checked_sub(1)?).copied()
    }

    /// The last time entry below `timestamp_ms`: whatever reaches it comes after.
    #[must_use]
    pub fn lookup_time(&self, timestamp_ms: i64) -> Option<TimeEntry> {
        let after = self.times.partition_point(|entry| entry.timestamp_ms < timestamp_ms);
        self.times.get(after.checked_sub(1)?).copied()
    }

    /// Goes back to when the batch that ends at `relative_offset`, which has an entry, was to be
    /// noted. It and those after it are noted next: it gets no second entry, since none is due right behind one.
    pub fn resume_at(&mut self, relative_offset: u32) {
        self.offsets.retain(|entry| entry.relative_offset <= relative_offset);
        self.times.retain(|entry| entry.relative_offset <= relative_offset);
        self.largest = self.times.last().copied();
        self.bytes_since_entry = 0;
    }

    /// The contents of the `.index` file.
    #[must_use]
    pub fn encode_offsets(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.offsets.len() * OFFSET_ENTRY_BYTES);
        for entry in &self.offsets {
            bytes.put_u32(entry.relative_offset);
            bytes.put_u32(entry.position);
        }
        bytes.freeze()
    }

    /// The contents of the `.timeindex` file.
    #[must_use]
    pub fn encode_times(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.times.len() * TIME_ENTRY_BYTES);
        for entry in &self.times {
            bytes.put_i64(entry.timestamp_ms);
            bytes.put_u32(entry.relative_offset);
        }
        bytes.freeze()
    }

    /// What the two files hold. Whatever is out of order, and all after it, is left out.
    #[must_use]
    pub fn decode(offsets: &[u8], times: &[u8]) -> SegmentIndex {
        let mut index = SegmentIndex::default();
        for entry in offsets.chunks_exact(OFFSET_ENTRY_BYTES).map(decode_offset_entry) {
            if index
                .offsets
                .last()
                .is_some_and(|last| last.relative_offset >= entry.relative_offset || last.position >= entry.position)
            {
                break;
            }
            index.offsets.push(entry);
        }
        for entry in times.chunks_exact(TIME_ENTRY_BYTES).map(decode_time_entry) {
            if index.times.last().is_some_and(|last| {
                last.relative_offset >= entry.relative_offset || last.timestamp_ms >= entry.timestamp_ms
            }) {
                break;
            }
            index.times.push(entry);
        }
        index.largest = index.times.last().copied();
        index
    }
}

/// What an index has to know of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchPlace {
    /// Its last offset, less the segment's base offset.
    pub last_relative_offset: u32,
    /// Its position in the segment.
    pub position: u32,
    /// Its length in bytes.
    pub size: u32,
    /// Its largest timestamp.
    pub max_timestamp_ms: i64,
}

/// Reads one entry of an `.index` file.
#[must_use]
pub fn decode_offset_entry(mut bytes: &[u8]) -> OffsetEntry {
    OffsetEntry { relative_offset: bytes.get_u32(), position: bytes.get_u32() }
}

/// Reads one entry of a `.timeindex` file.
#[must_use]
pub fn decode_time_entry(mut bytes: &[u8]) -> TimeEntry {
    TimeEntry { timestamp_ms: bytes.get_i64(), relative_offset: bytes.get_u32() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u32, position: u32, size: u32, timestamp: i64) -> BatchPlace {
        BatchPlace { last_relative_offset: offset, position, size, max_timestamp_ms: timestamp }
    }

    fn example() -> SegmentIndex {
        let mut index = SegmentIndex::default();
        index.note(place(9, 0, 100, 1_000), 150);
        index.note(place(19, 100, 100, 900), 150);
        index.note(place(29, 200, 100, 1_001), 150);
        index.note(place(39, 300, 100, 1_002), 150);
        index.note_largest_timestamp();
        index
    }

    #[test]
    fn the_files_bytes_are_those_of_kafka() {
        let index = example();
        assert_eq!(index.encode_offsets()[..], [0, 0, 0, 29, 0, 0, 0, 200]);
        assert_eq!(
            index.encode_times()[..],
            [0, 0, 0, 0, 0, 0, 3, 0xe9, 0, 0, 0, 29, 0, 0, 0, 0, 0, 0, 3, 0xea, 0, 0, 0, 39]
        );
    }

    #[test]
    fn what_was_noted_before_an_index_was_read_back_is_not_noted_twice() {
        let mut index = example();
        index.resume_at(29);
        index.note(place(29, 200, 100, 1_001), 0);
        assert_eq!(index.encode_offsets(), {
            let mut before = example();
            before.resume_at(29);
            before.encode_offsets()
        });
        assert_eq!(index.lookup_time(2_001), Some(TimeEntry { timestamp_ms: 1_001, relative_offset: 29 }));
        index.note(place(39, 300, 100, 2_000), 0);
        assert_eq!(index.encode_offsets()[8..], [0, 0, 0, 39, 0, 0, 1, 44]);
    }

    #[test]
    fn an_index_reads_back_as_written_and_stops_at_disorder() {
        let index = example();
        let (offsets, times) = (index.encode_offsets(), index.encode_times());
        let read = SegmentIndex::decode(&offsets, &times);
        assert_eq!((&read.offsets, &read.times, read.largest), (&index.offsets, &index.times, index.largest));
        let zeros_after = [&offsets[..], &[0; 16]].concat();
        assert_eq!(SegmentIndex::decode(&zeros_after, &times).offsets, index.offsets);
    }

    #[test]
    fn a_lookup_finds_the_last_entry_at_or_before() {
        let index = example();
        assert_eq!(index.lookup(28), None);
        assert_eq!(index.lookup(29).map(|entry| entry.position), Some(200));
        assert_eq!(index.lookup(500).map(|entry| entry.position), Some(200));
        assert_eq!(index.lookup_time(1_001), None);
        assert_eq!(index.lookup_time(1_002).map(|entry| entry.relative_offset), Some(29));
    }
}
