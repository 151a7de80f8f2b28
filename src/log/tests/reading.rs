//! Claims about reads: from memory, by the index, beside a truncation, by time.

use super::*;
use crate::log::tail::Tail;

#[test]
fn what_is_outside_of_the_log_is_not_served_from_memory() {
    let mut log = try_open(&TestDisk::default(), LogConfig { tail_bytes: 1 << 20, ..config() }).unwrap().0;
    fill(&mut log, 1, 10);
    sync(&mut log);
    let outcome = now(log.begin_advance_start(4, 20).unwrap());
    log.complete(outcome).unwrap();
    assert_eq!(log.read_tail(3, 1_000, 20), None);
    assert_eq!(log.read_tail(4, 1_000, 20).map(|read| read.next_offset), Some(20));
    assert_eq!(log.read_tail(20, 1_000, 20), Some(ReadBatches::empty(20)));
    assert_eq!(log.read_tail(21, 1_000, 20), None);
}

#[test]
fn a_tail_holds_as_many_bytes_as_its_bound() {
    let mut tail = Tail::default();
    for offset in 0..3 {
        let mut batch = Recipe::default().make();
        assign(&mut batch, offset, LeaderEpoch(0));
        let bound = 2 * batch.len();
        tail.push(offset, offset + 1, batch.freeze(), bound);
        assert_eq!(tail.read(0, 1, 9).is_some(), offset < 2, "after {offset}");
    }
}

#[test]
fn a_read_that_a_truncation_overtook_is_not_taken_for_damage() {
    let mut log = open(&TestDisk::default());
    fill(&mut log, 1, 5);
    let overtaken = log.read(0, 10_000, 10);
    truncate(&mut log, 4);
    assert!(matches!(now(overtaken), Err(LogError::Raced)));
    assert_eq!(read_all(&log).len(), 2);
}

#[test]
fn a_segment_whose_first_batch_has_another_offset_is_damaged() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    disk.rot(LOG, |bytes| bytes[7] ^= 1);
    let read = now(log.read(0, 10_000, 6));
    assert!(matches!(read, Err(LogError::Damaged { position: 0, offset: 0, .. })), "{read:?}");
}

/// So large that it is not read as a whole.
#[test]
fn each_batch_of_a_closed_segment_is_found_by_a_large_index() {
    let disk = TestDisk::default();
    let config = LogConfig { segment_bytes: 100_000, index_interval_bytes: 1, ..config() };
    let mut log = try_open(&disk, config).unwrap().0;
    fill(&mut log, 1, 1_100);
    let end = log.segment_base_offsets().nth(1).unwrap();
    // Who does not go by the index begins here, and comes no further.
    disk.rot(LOG, |bytes| bytes[8] ^= 0x40);
    for offset in (3..end).step_by(2) {
        let read = now(log.read(offset, 1, log.log_end())).expect("the index says where it is");
        assert_eq!(BatchHeader::read(&read.parts[0]).unwrap().last_offset(), offset);
    }
}

#[test]
fn a_timestamp_that_no_segment_reaches_costs_no_read() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 30);
    let before = disk.reads();
    assert_eq!(now(log.offset_for_timestamp(5_000, 60)).unwrap(), None);
    assert_eq!(disk.reads(), before);
}

#[test]
fn a_timestamp_whose_record_was_removed_is_looked_for_in_the_segments_after_it() {
    let mut log = open(&TestDisk::default());
    append(&mut log, 1, &Recipe { base_timestamp: 5_000, ..Recipe::default() });
    fill(&mut log, 1, 15);
    append(&mut log, 1, &Recipe { base_timestamp: 6_000, ..Recipe::default() });
    sync(&mut log);
    let outcome = now(log.begin_advance_start(1, log.log_end()).unwrap());
    log.complete(outcome).unwrap();
    assert_eq!(log.segment_base_offsets().next(), Some(0), "the segment is there for its other records");
    let found = now(log.offset_for_timestamp(4_000, log.log_end())).unwrap().unwrap();
    assert_eq!((found.timestamp_ms, found.offset), (6_000, log.log_end() - 1));
}

#[test]
fn a_timestamp_is_not_looked_for_in_what_is_damaged() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    append(&mut log, 1, &Recipe { base_timestamp: 1_000, ..Recipe::default() });
    append(&mut log, 1, &Recipe { base_timestamp: 2_000, ..Recipe::default() });
    assert!(now(log.offset_for_timestamp(2_000, log.log_end())).unwrap().is_some());
    let last = disk.contents(LOG).len() - 1;
    disk.rot(LOG, |bytes| bytes[last] ^= 1);
    let found = now(log.offset_for_timestamp(2_000, log.log_end()));
    assert!(matches!(found, Err(LogError::Damaged { .. })), "{found:?}");
    let largest = now(log.offset_of_max_timestamp(log.log_end()));
    assert!(matches!(largest, Err(LogError::Damaged { .. })), "{largest:?}");
}

#[test]
fn the_first_millisecond_of_all_is_a_timestamp() {
    let mut log = open(&TestDisk::default());
    append(&mut log, 1, &Recipe { base_timestamp: 0, ..Recipe::default() });
    let found = now(log.offset_of_max_timestamp(1)).unwrap();
    assert_eq!(found.map(|found| (found.timestamp_ms, found.offset)), Some((0, 0)));
}

#[test]
fn a_compressed_batch_is_sought_at_its_first_offset_and_has_the_largest_timestamp_at_its_last() {
    let mut log = open(&TestDisk::default());
    append(&mut log, 1, &Recipe { records: 3, attributes: 1, ..Recipe::default() });
    let offset = |found: Option<TimestampedOffset>| found.map(|found| found.offset);
    assert_eq!(offset(now(log.offset_for_timestamp(1_002, 3)).unwrap()), Some(0));
    assert_eq!(offset(now(log.offset_of_max_timestamp(3)).unwrap()), Some(2));
}

#[test]
fn all_records_of_a_batch_with_the_time_of_its_append_have_that_time() {
    let mut log = open(&TestDisk::default());
    append(&mut log, 1, &Recipe { records: 3, attributes: 8, ..Recipe::default() });
    let found = now(log.offset_for_timestamp(1_002, 3)).unwrap();
    assert_eq!(found.map(|found| (found.timestamp_ms, found.offset)), Some((1_002, 0)));
}
