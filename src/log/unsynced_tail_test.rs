//! What a start does with records that a failed sync left in the operating system's cache.
//!
//! Found by the simulator (seeds 86 and 113 of `standard`): a sync failed and the broker stopped,
//! as it must. It was started again, read its log from the cache, synced it, which succeeded since
//! the pages were marked clean, and said that it was durable. A power cut then took what had never
//! reached the medium, and the next start found its log cut below its durable point.

use std::path::Path;

use super::segment::write_whole;
use super::test_batches::Recipe;
use super::test_disk::{Draws, TestDisk, now};
use super::{Completed, Log, LogConfig, LogError, Opened};
use crate::base::ids::{LeaderEpoch, TopicPartition};
use crate::base::partition_state::Durability;
use crate::producer_state::Origin;
use crate::runtime::{Disk, File, OpenMode};

/// Large enough that a restart has to begin again in the middle of a segment.
const SEGMENT_BYTES: u64 = 100_000;

fn try_open(disk: &TestDisk, segment_bytes: u64) -> Result<(Log<TestDisk>, Opened), LogError> {
    let config = LogConfig { segment_bytes, ..LogConfig::new(Durability::Synced) };
    now(Log::open(disk.clone(), Path::new("logs"), &TopicPartition::new("t", 0), None, config))
}

fn open(disk: &TestDisk, segment_bytes: u64) -> Log<TestDisk> {
    try_open(disk, segment_bytes).expect("opens").0
}

fn append(log: &mut Log<TestDisk>, batches: usize) {
    for _ in 0..batches {
        log.append_as_leader(Recipe::default().make(), LeaderEpoch(1), Origin::Client).expect("appends");
    }
}

fn sync(log: &mut Log<TestDisk>) -> Result<i64, LogError> {
    let outcome = now(log.begin_sync()?);
    match log.complete(outcome)? {
        Completed::Synced { synced_end } => Ok(synced_end),
        other => panic!("{other:?}"),
    }
}

/// A log with `durable` synced batches and `cached` ones whose sync failed.
fn after_a_failed_sync(segment_bytes: u64, durable: usize, cached: usize) -> TestDisk {
    let disk = TestDisk::default();
    let mut log = open(&disk, segment_bytes);
    append(&mut log, durable);
    sync(&mut log).expect("syncs");
    append(&mut log, cached);
    disk.fail_syncs(true);
    sync(&mut log).expect_err("it was made to fail");
    disk.fail_syncs(false);
    disk
}

#[test]
fn records_whose_sync_failed_are_durable_once_the_next_start_has_synced_them() {
    for segment_bytes in [300, SEGMENT_BYTES] {
        let disk = after_a_failed_sync(segment_bytes, 5, 6);
        let mut log = open(&disk, segment_bytes);
        let end = log.log_end();
        assert_eq!(sync(&mut log).expect("syncs"), end);
        for seed in 0..20 {
            let after = disk.power_cut(&mut Draws(seed + 1));
            assert_eq!(open(&after, segment_bytes).log_end(), end, "segments of {segment_bytes} bytes, cut {seed}");
        }
    }
}

/// The copy is made aside, so that no moment of it puts at risk what is durable already.
#[test]
fn a_start_that_ends_at_any_moment_loses_nothing_that_was_durable() {
    for segment_bytes in [300, SEGMENT_BYTES] {
        let synced_end = 5 * i64::from(Recipe::default().records);
        let mut moments = 0..;
        loop {
            let operations = moments.next().expect("there are enough");
            let disk = after_a_failed_sync(segment_bytes, 5, 6);
            disk.end_after(operations);
            let opened = try_open(&disk, segment_bytes).and_then(|(mut log, _)| sync(&mut log));
            for seed in 0..20 {
                let after = disk.power_cut(&mut Draws(seed + 1));
                let (mut log, _) = try_open(&after, segment_bytes).unwrap_or_else(|error| {
                    panic!("segments of {segment_bytes} bytes, ended after {operations}, cut {seed}: {error}")
                });
                assert!(log.log_end() >= *opened.as_ref().unwrap_or(&synced_end), "{operations}, {seed}");
                append(&mut log, 1);
                sync(&mut log).expect("it goes on");
            }
            if opened.is_ok() {
                break;
            }
        }
    }
}

#[test]
fn a_start_that_was_interrupted_is_taken_up_where_it_was() {
    let whole = open(&after_a_failed_sync(SEGMENT_BYTES, 5, 6), SEGMENT_BYTES).log_end();
    for operations in 0..40 {
        let disk = after_a_failed_sync(SEGMENT_BYTES, 5, 6);
        disk.end_after(operations);
        drop(try_open(&disk, SEGMENT_BYTES));
        disk.end_after(u64::MAX);
        assert_eq!(open(&disk, SEGMENT_BYTES).log_end(), whole, "ended after {operations} operations");
    }
}

/// A log with `durable` synced batches, and `more` that are on the medium although its durable point does not say so.
fn ahead_of_its_point(durable: usize, more: usize) -> TestDisk {
    let disk = TestDisk::default();
    let mut log = open(&disk, SEGMENT_BYTES);
    append(&mut log, durable);
    sync(&mut log).expect("syncs");
    append(&mut log, more);
    disk.end_after(1);
    sync(&mut log).expect_err("the process ended before it noted what it had synced");
    disk.end_after(u64::MAX);
    disk
}

/// Found by the simulator (`swarm` seed 90830): the sync of the cut failed, and the next start took the cut for durable
/// since it showed. A power cut would have brought the old records back in front of their copies, and the log been
/// called damaged for it.
#[test]
fn a_cut_whose_sync_failed_is_durable_once_the_next_start_is_done() {
    for operations in 0..40 {
        let disk = ahead_of_its_point(5, 6);
        disk.end_after(operations);
        drop(try_open(&disk, SEGMENT_BYTES));
        disk.end_after(u64::MAX);
        disk.fail_syncs(true);
        let old = disk.open(Path::new("logs/t-0/00000000000000000000.log"), OpenMode::Write).expect("it is there");
        now(old.sync()).expect_err("it was made to fail");
        disk.fail_syncs(false);
        let mut log = open(&disk, SEGMENT_BYTES);
        append(&mut log, 1);
        let end = sync(&mut log).expect("syncs");
        for seed in 0..20 {
            let opened = try_open(&disk.power_cut(&mut Draws(seed + 1)), SEGMENT_BYTES);
            let (log, _) = opened.unwrap_or_else(|error| panic!("ended after {operations}, cut {seed}: {error}"));
            assert_eq!(log.log_end(), end, "ended after {operations}, cut {seed}");
        }
    }
}

#[test]
fn after_a_clean_shutdown_nothing_is_written_again() {
    let disk = TestDisk::default();
    let mut log = open(&disk, SEGMENT_BYTES);
    append(&mut log, 5);
    let outcome = now(log.begin_clean_shutdown().expect("begins"));
    log.complete(outcome).expect("shuts down");
    let log = open(&disk, SEGMENT_BYTES);
    assert_eq!(log.log_end(), 5 * i64::from(Recipe::default().records));
    assert!(!disk.exists(&format!("logs/t-0/{:020}.log", log.log_end())), "no segment was begun");
}

#[test]
fn a_segment_that_a_start_begins_has_no_index_of_an_earlier_one_of_its_name() {
    let disk = after_a_failed_sync(SEGMENT_BYTES, 5, 6);
    let indexes = ["index", "timeindex"].map(|suffix| format!("logs/t-0/{:020}.{suffix}", 5));
    for index in &indexes {
        write_whole(&disk, Path::new(index), b"of another segment").expect("written");
    }
    let log = open(&disk, SEGMENT_BYTES);
    assert_eq!(log.segment_base_offsets().collect::<Vec<_>>(), [0, 5]);
    assert!(indexes.iter().all(|index| !disk.exists(index)));
}
