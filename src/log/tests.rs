//! Claims about a log, one scenario each.

mod appending;
mod cutting;
mod reading;
mod starting;
mod syncing;

use std::path::Path;

use bytes::{Bytes, BytesMut};

use super::test_batches::{Recipe, marker};
use super::test_disk::{Draws, TestDisk, now};
use super::*;
use crate::base::batch_header::{BatchHeader, assign};
use crate::base::ids::{ProducerEpoch, ProducerId, TopicPartition};
use crate::base::plants::{Plant, Plants};
use crate::producer_state::{Origin, Refused};

const LOG: &str = "logs/t-0/00000000000000000000.log";

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1_000, index_interval_bytes: 150, tail_bytes: 0, ..LogConfig::new(Durability::Synced) }
}

fn try_open(disk: &TestDisk, config: LogConfig) -> Result<(Log<TestDisk>, Opened), LogError> {
    let topic_id = Some(TopicId([7; 16]));
    now(Log::open(disk.clone(), Path::new("logs"), &TopicPartition::new("t", 0), topic_id, config))
}

fn open(disk: &TestDisk) -> Log<TestDisk> {
    try_open(disk, config()).expect("opens").0
}

fn append(log: &mut Log<TestDisk>, epoch: i32, recipe: &Recipe) -> Appended {
    log.append_as_leader(recipe.make(), LeaderEpoch(epoch), Origin::Client).expect("appends")
}

fn fill(log: &mut Log<TestDisk>, epoch: i32, batches: i64) {
    for _ in 0..batches {
        let recipe = Recipe { records: 2, base_timestamp: 1_000 + log.log_end() * 10, ..Recipe::default() };
        append(log, epoch, &recipe);
    }
}

fn sync(log: &mut Log<TestDisk>) -> i64 {
    let outcome = now(log.begin_sync().expect("begins"));
    match log.complete(outcome).expect("syncs") {
        Completed::Synced { synced_end } => synced_end,
        other => panic!("{other:?}"),
    }
}

fn truncate(log: &mut Log<TestDisk>, offset: i64) -> i64 {
    let outcome = now(log.begin_truncate(offset).expect("begins"));
    log.complete(outcome).expect("truncates");
    assert_eq!(sync(log), log.log_end());
    log.log_end()
}

fn read_all(log: &Log<TestDisk>) -> Vec<BatchHeader> {
    let mut headers = Vec::new();
    let mut from = log.log_start();
    while from < log.log_end() {
        let read = now(log.read(from, 300, log.log_end())).expect("reads");
        from = read.next_offset;
        let bytes = read.into_bytes();
        headers.extend(batches::trusted(&bytes).map(|(_, header)| header));
    }
    headers
}

#[test]
fn batches_are_stored_byte_for_byte_but_for_offset_and_epoch() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    let mut expected = Vec::new();
    for epoch in [3, 3, 4] {
        let recipe = Recipe { records: 3, ..Recipe::default() };
        let mut bytes = recipe.make();
        assign(&mut bytes, log.log_end(), LeaderEpoch(epoch));
        expected.extend_from_slice(&bytes);
        append(&mut log, epoch, &recipe);
    }
    assert_eq!(disk.contents(LOG), expected);
    assert_eq!(log.log_end(), 9);
    assert_eq!(log.epochs(), [(LeaderEpoch(3), 0), (LeaderEpoch(4), 6)]);
    assert_eq!(disk.contents("logs/t-0/partition.metadata"), b"version: 0\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw\n");
}

#[test]
fn a_segment_that_would_overflow_is_closed_with_its_indexes_and_a_snapshot() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 30);
    let bases: Vec<i64> = log.segment_base_offsets().collect();
    assert_eq!(bases, [0, 20, 40], "{bases:?}");
    for base in &bases[..2] {
        assert!(disk.contents(&format!("logs/t-0/{base:020}.log")).len() <= 1_000);
        let index = disk.contents(&format!("logs/t-0/{base:020}.index"));
        assert!(!index.is_empty() && index.len() % 8 == 0);
    }
    assert!(disk.exists(&format!("logs/t-0/{:020}.snapshot", bases[1])));
    assert_eq!(read_all(&log).len(), 30);
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset_and_stops_at_the_bound() {
    for tail_bytes in [0, 1 << 20] {
        let disk = TestDisk::default();
        let mut log = try_open(&disk, LogConfig { tail_bytes, ..config() }).unwrap().0;
        fill(&mut log, 1, 30);
        for from in 0..60 {
            let read = now(log.read(from, 250, 50)).unwrap();
            if from >= 50 {
                assert!(read.is_empty() && read.next_offset == from);
                continue;
            }
            let first = BatchHeader::read(&read.parts[0]).unwrap();
            assert_eq!(first.base_offset, from - from % 2);
            assert!(read.next_offset <= 50 && read.bytes <= 250);
            assert_eq!(read.bytes, read.clone().into_bytes().len());
        }
        let one = now(log.read(7, 1, 60)).unwrap();
        assert_eq!(one.next_offset, 8, "at least one batch, whatever the bound");
        assert!(matches!(
            now(log.read(61, 1, 60)),
            Err(LogError::OffsetOutOfRange { requested: 61, log_start: 0, log_end: 60 })
        ));
    }
}

#[test]
fn the_tail_is_served_without_a_read_from_the_disk() {
    let disk = TestDisk::default();
    let mut log = try_open(&disk, LogConfig { tail_bytes: 400, ..config() }).unwrap().0;
    fill(&mut log, 1, 30);
    let before = disk.reads();
    assert_eq!(now(log.read(58, 1_000, 60)).unwrap().next_offset, 60);
    assert!(log.read_tail(58, 1_000, 60).is_some());
    assert_eq!(disk.reads(), before);
    assert!(log.read_tail(0, 1_000, 60).is_none());
    assert_eq!(now(log.read(0, 100, 60)).unwrap().parts.len(), 1);
    assert!(disk.reads() > before);
}

#[test]
fn a_batch_that_fails_its_checksum_is_not_appended() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    let mut bad = Recipe::default().make();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    assert!(matches!(log.append_as_leader(bad.clone(), LeaderEpoch(0), Origin::Client), Err(LogError::BadBatch(_))));
    assert!(matches!(log.append_as_follower(bad.freeze()), Err(LogError::BadBatch(_))));
    let mut counts = Recipe { records: 2, ..Recipe::default() }.make();
    counts[60] = 3;
    let crc = crate::base::checksum::crc32c(&counts[21..]);
    counts[17..21].copy_from_slice(&crc.to_be_bytes());
    assert!(matches!(log.append_as_leader(counts, LeaderEpoch(0), Origin::Client), Err(LogError::BadBatch(_))));
    assert_eq!((log.log_end(), disk.contents(LOG).len()), (0, 0));
}

#[test]
fn a_follower_takes_only_what_continues_its_log() {
    let leader_disk = TestDisk::default();
    let mut leader = open(&leader_disk);
    fill(&mut leader, 2, 5);
    let disk = TestDisk::default();
    let mut log = open(&disk);
    let bytes = now(leader.read(0, 10_000, 10)).unwrap().into_bytes();
    let cut_short = bytes.slice(..bytes.len() - 1);
    assert_eq!(log.append_as_follower(cut_short).unwrap().log_end, 8);
    assert!(matches!(log.append_as_follower(bytes), Err(LogError::NotContiguous { expected: 8, found: 0 })));
    let mut stale = BytesMut::from(&now(leader.read(8, 1, 10)).unwrap().into_bytes()[..]);
    assign(&mut stale, 8, LeaderEpoch(1));
    let refused = log.append_as_follower(stale.freeze());
    assert!(matches!(refused, Err(LogError::StaleLeaderEpoch { latest: LeaderEpoch(2), found: LeaderEpoch(1) })));
    assert_eq!(log.log_end(), 8);
    assert_eq!(log.append_as_follower(Bytes::new()).unwrap().log_end, 8);
}

#[test]
fn a_retried_batch_is_answered_with_the_offsets_of_the_first_append() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    let first = Recipe { producer: Some((9, 0, 0)), ..Recipe::default() };
    let second = Recipe { producer: Some((9, 0, 1)), ..Recipe::default() };
    append(&mut log, 0, &first);
    append(&mut log, 0, &second);
    sync(&mut log);
    let check = |log: &mut Log<TestDisk>| {
        match append(log, 0, &second) {
            Appended::Duplicate(known) => assert_eq!((known.base_offset(), known.last_offset), (1, 1)),
            Appended::New(_) => panic!("appended twice"),
        }
        let gap = Recipe { producer: Some((9, 0, 5)), ..Recipe::default() };
        let refused = log.append_as_leader(gap.make(), LeaderEpoch(0), Origin::Client);
        assert!(matches!(refused, Err(LogError::Refused(Refused::OutOfOrder { expected: 2, found: 5, .. }))));
    };
    check(&mut log);
    check(&mut open(&disk));
}

/// Found by the simulator (`standard`, seed 31): a producer's first batch was delayed and its second
/// overtook it. The log knew nothing of the producer and took the second at whatever sequence, so
/// that the records stood in the wrong order.
#[test]
fn a_batch_that_overtook_its_producers_first_is_refused_and_in_order_once_that_has_come() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    let first = Recipe { producer: Some((9, 0, 0)), ..Recipe::default() };
    let second = Recipe { producer: Some((9, 0, 1)), ..Recipe::default() };
    let refused = log.append_as_leader(second.make(), LeaderEpoch(0), Origin::Client);
    assert!(matches!(refused, Err(LogError::Refused(Refused::OutOfOrder { expected: 0, found: 1, .. }))));
    append(&mut log, 0, &first);
    append(&mut log, 0, &second);
    assert_eq!(log.log_end(), 2);
}

#[test]
fn a_marker_ends_a_transaction_and_survives_a_restart() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    append(&mut log, 0, &Recipe { producer: Some((9, 0, 0)), attributes: 0x10, ..Recipe::default() });
    assert_eq!(log.producers().first_undecided_offset(), Some(0));
    log.append_as_leader(marker((9, 0), true, 4), LeaderEpoch(0), Origin::Coordinator).unwrap();
    assert_eq!(log.producers().first_undecided_offset(), None);
    assert_eq!(log.producers().get(ProducerId(9)).unwrap().coordinator_epoch, 4);
    let stale = log.append_as_leader(marker((9, 0), true, 3), LeaderEpoch(0), Origin::Coordinator);
    assert!(matches!(stale, Err(LogError::Refused(Refused::CoordinatorFenced { .. }))));
    let producers = log.producers().clone();
    assert_eq!(open(&disk).producers(), &producers);
}

#[test]
fn truncation_cuts_at_a_batch_and_rebuilds_producers_and_epochs() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 20);
    append(&mut log, 1, &Recipe { producer: Some((5, 1, 0)), ..Recipe::default() });
    let producers = log.producers().clone();
    fill(&mut log, 2, 20);
    append(&mut log, 3, &Recipe { producer: Some((5, 2, 0)), ..Recipe::default() });
    sync(&mut log);
    assert_eq!(truncate(&mut log, 42), 41, "offset 42 is the second of its batch");
    assert_eq!(log.producers().get(ProducerId(5)).unwrap().epoch, ProducerEpoch(1));
    assert_eq!(log.producers(), &producers);
    assert_eq!(log.epochs(), [(LeaderEpoch(1), 0)]);
    assert_eq!((log.synced_end(), log.end_offset_for_epoch(LeaderEpoch(9))), (41, Some((LeaderEpoch(1), 41))));
    fill(&mut log, 5, 20);
    let headers = read_all(&log);
    assert_eq!(headers.last().unwrap().next_offset(), 81);
    sync(&mut log);
    let reopened = open(&disk);
    assert_eq!(read_all(&reopened), headers);
    assert_eq!(reopened.producers(), log.producers());
}

#[test]
fn a_truncated_log_has_the_same_indexes_as_one_that_never_had_the_records() {
    for cut in 1..60 {
        let disk = TestDisk::default();
        let mut log = open(&disk);
        fill(&mut log, 1, 30);
        truncate(&mut log, cut);
        let other = TestDisk::default();
        let mut fresh = open(&other);
        fill(&mut fresh, 1, cut / 2);
        // The cut may leave the log's end where the other one has not rolled yet.
        if log.segments.len() == fresh.segments.len() {
            let (a, b) = (log.active().index.clone().unwrap(), fresh.active().index.clone().unwrap());
            assert_eq!((a.encode_offsets(), a.encode_times()), (b.encode_offsets(), b.encode_times()), "cut at {cut}");
            assert_eq!(a.largest_timestamp(), b.largest_timestamp(), "cut at {cut}");
        }
    }
}

#[test]
fn a_log_restarts_at_the_offset_that_its_leader_starts_at() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 30);
    sync(&mut log);
    let outcome = now(log.begin_restart_at(500).unwrap());
    assert_eq!(log.complete(outcome).unwrap(), Completed::Truncated { from: 60, log_end: 500 });
    assert_eq!((log.log_start(), log.log_end(), log.epochs().len()), (500, 500, 0));
    sync(&mut log);
    fill(&mut log, 3, 2);
    sync(&mut log);
    let log = open(&disk);
    assert_eq!((log.log_start(), log.log_end()), (500, 504));
}

#[test]
fn retention_removes_whole_segments_below_the_high_watermark() {
    let disk = TestDisk::default();
    let mut log = try_open(&disk, LogConfig { retention_bytes: Some(1_000), ..config() }).unwrap().0;
    fill(&mut log, 1, 10);
    fill(&mut log, 2, 25);
    sync(&mut log);
    let bases: Vec<i64> = log.segment_base_offsets().collect();
    assert_eq!(log.retention_start(bases[1] - 1), None);
    assert_eq!(log.retention_start(bases[1]), Some(bases[1]));
    let start = log.retention_start(70).unwrap();
    assert_eq!(start, bases[2]);
    let outcome = now(log.begin_advance_start(start, 70).unwrap());
    assert_eq!(log.complete(outcome).unwrap(), Completed::StartAdvanced { log_start: start });
    assert!(!disk.exists(LOG) && log.size_bytes() >= 1_000);
    assert_eq!(log.epochs(), [(LeaderEpoch(2), start)]);
    let log = open(&disk);
    assert_eq!((log.log_start(), log.log_end()), (start, 70));
    assert!(matches!(now(log.read(start - 1, 1, 70)), Err(LogError::OffsetOutOfRange { .. })));
}

#[test]
fn an_offset_is_found_by_its_records_timestamp() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 30);
    for reopened in [false, true] {
        if reopened {
            log = open(&disk);
        }
        for offset in 0..60i64 {
            let timestamp = 1_000 + (offset - offset % 2) * 10 + offset % 2;
            let found = now(log.offset_for_timestamp(timestamp, 60)).unwrap().unwrap();
            assert_eq!((found.offset, found.timestamp_ms, found.leader_epoch), (offset, timestamp, LeaderEpoch(1)));
        }
        assert_eq!(now(log.offset_for_timestamp(5_000, 60)).unwrap(), None);
        assert_eq!(now(log.offset_for_timestamp(1_000, 0)).unwrap(), None);
        assert_eq!(now(log.offset_of_max_timestamp(60)).unwrap().unwrap().offset, 59);
        assert_eq!(now(log.offset_of_max_timestamp(10)).unwrap().unwrap().offset, 9);
    }
}

#[test]
fn damage_under_a_cold_read_is_reported_and_never_served() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    let size = disk.contents(LOG).len() / 3;
    // Also the fields before the checksum's reach: offset, length, epoch.
    for at in (size..2 * size).filter(|at| *at < size + 61 || at % 7 == 0) {
        disk.rot(LOG, |bytes| bytes[at] ^= 1);
        let read = now(log.read(0, 10_000, 6)).unwrap();
        assert_eq!(read.next_offset, 2, "byte {at}");
        match now(log.read(2, 10_000, 6)) {
            Err(LogError::Damaged { position, offset, .. }) => assert_eq!((position, offset), (size as u64, 2)),
            other => panic!("byte {at}: {other:?}"),
        }
        disk.rot(LOG, |bytes| bytes[at] ^= 1);
    }
    let plants = Plants::only(Plant::UncheckedChecksums);
    log.set_config(LogConfig { plants, ..config() });
    disk.rot(LOG, |bytes| bytes[2 * size - 3] ^= 1);
    assert_eq!(now(log.read(2, 10_000, 6)).unwrap().next_offset, 6);
}

#[test]
fn what_an_interrupted_write_leaves_is_cut_and_told_from_damage() {
    let disk = TestDisk::default();
    fill(&mut open(&disk), 1, 3);
    let whole = disk.contents(LOG);
    let size = whole.len() / 3;
    for cut in [1, 30, 61, size - 1] {
        disk.rot(LOG, |bytes| bytes.resize(2 * size + cut, 0));
        let (log, opened) = try_open(&disk, config()).unwrap();
        assert_eq!((log.log_end(), opened.torn_bytes, opened.damaged_tail), (4, cut as u64, false));
        disk.rot(LOG, |bytes| *bytes = whole.to_vec());
    }
}

#[test]
fn a_torn_tail_is_cut_and_damage_below_the_durable_point_is_not() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    assert_eq!(sync(&mut log), 6);
    fill(&mut log, 1, 3);
    let size = disk.contents(LOG).len() / 6;
    drop(log);
    disk.rot(LOG, |bytes| bytes[5 * size - 3] ^= 1);
    let (log, opened) = try_open(&disk, config()).unwrap();
    assert_eq!((log.log_end(), opened.torn_bytes, opened.damaged_tail), (8, 2 * size as u64, true));
    assert_eq!(try_open(&disk, config()).unwrap().1, Opened { torn_bytes: 0, damaged_tail: false, ..opened });
    let before = disk.contents(LOG);
    disk.rot(LOG, |bytes| bytes[2 * size - 3] ^= 1);
    let error = try_open(&disk, config()).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { offset: 2, position, .. } if position == size as u64), "{error}");
    assert_eq!(disk.contents(LOG).len(), before.len(), "nothing is cut");
    let text = error.to_string();
    assert!(text.contains(LOG) && text.contains("offset 2") && text.contains("restart"), "{text}");
    disk.rot(LOG, |bytes| {
        bytes[2 * size - 3] ^= 1;
        bytes.truncate(2 * size);
    });
    assert!(matches!(try_open(&disk, config()), Err(LogError::Corrupt { offset: 4, .. })));
}

/// A batch's leader epoch is not under its checksum. What rotted there once made the replica's epochs, which then
/// diverged from every leader's at offset 0 (`swarm` seed 1361).
#[test]
fn a_leader_epoch_that_the_checkpoint_and_other_batches_contradict_is_damage() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    assert_eq!(sync(&mut log), 6);
    drop(log);
    let size = disk.contents(LOG).len() / 3;
    for (batch, found) in [(1, 2), (2, 2)] {
        disk.rot(LOG, |bytes| bytes[batch * size + 12] ^= 0x10);
        let error = try_open(&disk, config()).unwrap_err();
        let (at, offset) = ((found * size) as u64, 2 * found as i64);
        assert!(
            matches!(&error, LogError::Corrupt { position, offset: of, .. } if (*position, *of) == (at, offset)),
            "{batch}: {error}"
        );
        disk.rot(LOG, |bytes| bytes[batch * size + 12] ^= 0x10);
    }
    assert_eq!(open(&disk).epochs(), [(LeaderEpoch(1), 0)]);
}

#[test]
fn a_checkpoint_of_epochs_that_no_batch_confirms_is_made_anew() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 2);
    fill(&mut log, 4, 2);
    sync(&mut log);
    disk.rot("logs/t-0/leader-epoch-checkpoint", |text| *text = b"0\n2\n2 0\n4 4\n".to_vec());
    assert_eq!(open(&disk).epochs(), [(LeaderEpoch(1), 0), (LeaderEpoch(4), 4)]);
}

/// The durable point once lagged behind by up to a megabyte of synced records. Rot below them was
/// taken for a torn tail after a power cut, and this replica led without what had been acknowledged
/// (`standard` seed 1051).
#[test]
fn synced_records_of_the_synced_class_are_never_taken_for_a_torn_tail() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    for batches in 1..=4 {
        fill(&mut log, 1, 1);
        assert_eq!(sync(&mut log), 2 * batches);
    }
    drop(log);
    let size = disk.contents(LOG).len() / 4;
    let disk = disk.power_cut(&mut Draws(1));
    for batch in 0..4 {
        disk.rot(LOG, |bytes| bytes[(batch + 1) * size - 3] ^= 1);
        let error = try_open(&disk, config()).unwrap_err();
        assert!(matches!(error, LogError::Corrupt { offset, .. } if offset == 2 * batch as i64), "{batch}: {error}");
        disk.rot(LOG, |bytes| bytes[(batch + 1) * size - 3] ^= 1);
    }
}

#[test]
fn missing_or_damaged_indexes_and_checkpoints_are_rebuilt_from_the_batches() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 15);
    fill(&mut log, 4, 15);
    append(&mut log, 4, &Recipe { producer: Some((5, 1, 0)), ..Recipe::default() });
    let outcome = now(log.begin_clean_shutdown().unwrap());
    log.complete(outcome).unwrap();
    let files = disk.list(Path::new("logs/t-0")).unwrap();
    let derived = |name: &str| name.ends_with("index") || name.ends_with("checkpoint") || name.ends_with(".snapshot");
    for file in files.iter().filter(|file| derived(&file.name)) {
        let path = format!("logs/t-0/{}", file.name);
        let good = disk.contents(&path);
        for damage in 0..3 {
            match damage {
                0 => disk.remove_file(Path::new(&path)).unwrap(),
                1 => disk.rot(&path, |bytes| bytes.iter_mut().for_each(|byte| *byte = 0xee)),
                _ => disk.rot(&path, |bytes| bytes.truncate(good.len() / 2)),
            }
            let mut again = open(&disk);
            assert_eq!(read_all(&again), read_all(&log), "{path}");
            assert_eq!((again.epochs(), again.log_end()), (log.epochs(), log.log_end()), "{path}");
            assert_eq!(again.producers().get(ProducerId(5)), log.producers().get(ProducerId(5)), "{path}");
            let outcome = now(again.begin_clean_shutdown().unwrap());
            again.complete(outcome).unwrap();
            let rewritten = !file.name.ends_with(".snapshot") || path.ends_with("61.snapshot");
            if !rewritten {
                break;
            }
            assert_eq!(disk.contents(&path), good, "{path} is as it was");
        }
    }
}

/// The simulator found it (`swarm` seed 415): retention had moved the log start to just where the newest snapshot was,
/// which the next start took for one of records that are gone, and removed. It is the only one that knows of producers
/// whose records are.
#[test]
fn a_producer_outlives_its_records_through_a_restart() {
    for is_clean in [true, false] {
        let disk = TestDisk::default();
        let mut log = open(&disk);
        append(&mut log, 1, &Recipe { producer: Some((5, 1, 0)), ..Recipe::default() });
        fill(&mut log, 1, 30);
        let synced = now(log.begin_sync().unwrap());
        log.complete(synced).unwrap();
        let start = log.segment_base_offsets().last().unwrap();
        let advanced = now(log.begin_advance_start(start, log.log_end()).unwrap());
        log.complete(advanced).unwrap();
        if is_clean {
            let stopped = now(log.begin_clean_shutdown().unwrap());
            log.complete(stopped).unwrap();
        }
        let known = log.producers().get(ProducerId(5)).cloned();
        drop(log);
        assert!(known.is_some());
        assert_eq!(open(&disk).producers().get(ProducerId(5)).cloned(), known, "after a clean stop: {is_clean}");
    }
}

#[test]
fn a_producer_that_was_silent_for_long_is_forgotten() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    append(&mut log, 1, &Recipe { producer: Some((5, 1, 0)), base_timestamp: 1_000, ..Recipe::default() });
    log.expire_producers(1_400, 500);
    assert!(log.producers().get(ProducerId(5)).is_some());
    log.expire_producers(2_000, 500);
    assert!(log.producers().get(ProducerId(5)).is_none());
}

#[test]
fn what_lies_behind_damage_is_found_by_the_index() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 30);
    let last = log.segment_base_offsets().nth(1).unwrap() - 2;
    disk.rot(LOG, |bytes| bytes[8] ^= 0x40);
    let read = now(log.read(last, 1, log.log_end())).expect("the index says where it is");
    assert_eq!(batches::trusted(&read.into_bytes()).next().map(|(_, header)| header.base_offset), Some(last));
    assert!(now(log.read(0, 1, log.log_end())).is_err());
}

#[test]
fn a_log_that_has_lost_its_durable_point_is_no_new_one() {
    let disk = TestDisk::default();
    let (mut log, opened) = try_open(&disk, config()).unwrap();
    assert!(opened.created);
    fill(&mut log, 1, 1);
    sync(&mut log);
    assert!(!try_open(&disk, config()).unwrap().1.created);
    disk.rot("logs/t-0/durable-point", |bytes| bytes.fill(0));
    let opened = try_open(&disk, config()).unwrap().1;
    assert!(!opened.created && opened.durable_point_missing);
}

#[test]
fn an_epoch_that_never_had_a_record_is_forgotten_on_the_disk_too() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    sync(&mut log);
    log.start_epoch(LeaderEpoch(5));
    sync(&mut log);
    assert_eq!(open(&disk).epochs().len(), 2);
    log.forget_empty_epochs();
    sync(&mut log);
    assert_eq!(open(&disk).epochs(), [(LeaderEpoch(1), 0)]);
}

#[test]
fn after_a_clean_shutdown_next_to_nothing_is_read() {
    let disk = TestDisk::default();
    let mut log = try_open(&disk, LogConfig { segment_bytes: 1 << 20, ..config() }).unwrap().0;
    fill(&mut log, 1, 1_000);
    let outcome = now(log.begin_clean_shutdown().unwrap());
    log.complete(outcome).unwrap();
    let before = disk.reads();
    let (log, opened) = try_open(&disk, LogConfig { segment_bytes: 1 << 20, ..config() }).unwrap();
    assert_eq!((log.log_end(), log.synced_end(), opened.torn_bytes), (2_000, 2_000, 0));
    assert!(disk.reads() - before < 20, "{}", disk.reads() - before);
}

#[test]
fn a_failed_write_takes_the_log_offline_until_it_is_reopened() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    disk.fail_writes(true);
    let failed = log.append_as_leader(Recipe::default().make(), LeaderEpoch(1), Origin::Client);
    assert!(matches!(failed, Err(LogError::Io { .. })));
    disk.fail_writes(false);
    let refused = log.append_as_leader(Recipe::default().make(), LeaderEpoch(1), Origin::Client);
    assert!(matches!(refused, Err(LogError::Offline { .. })));
    assert_eq!(read_all(&log).len(), 3, "what was appended is still served");
    let mut log = open(&disk);
    assert_eq!(log.log_end(), 6);
    fill(&mut log, 1, 1);
}

#[test]
fn a_failed_or_abandoned_sync_takes_the_log_offline() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    disk.fail_syncs(true);
    let outcome = now(log.begin_sync().unwrap());
    assert!(matches!(log.complete(outcome), Err(LogError::Io { .. })));
    disk.fail_syncs(false);
    assert!(matches!(log.begin_sync().err(), Some(LogError::Offline { .. })));
    assert!(matches!(log.begin_truncate(0).err(), Some(LogError::Offline { .. })));
    assert!(matches!(log.begin_restart_at(9).err(), Some(LogError::Offline { .. })));
    let mut log = open(&TestDisk::default());
    let pending = log.begin_sync().unwrap();
    assert!(matches!(log.begin_sync().err(), Some(LogError::Busy)));
    assert!(matches!(log.begin_truncate(0).err(), Some(LogError::Busy)));
    drop(pending);
    assert!(matches!(log.begin_sync().err(), Some(LogError::Offline { .. })));
}

#[test]
fn appends_go_on_while_a_sync_is_under_way_and_are_not_claimed_by_it() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    let pending = log.begin_sync().unwrap();
    fill(&mut log, 1, 20);
    assert_eq!((log.log_end(), log.synced_end(), log.counted_end()), (46, 0, 0));
    let outcome = now(pending);
    assert_eq!(log.complete(outcome).unwrap(), Completed::Synced { synced_end: 6 });
    assert!(log.sync_is_due());
    assert_eq!(sync(&mut log), 46);
}

/// KAFKA-9892: a snapshot that was never synced may hold anything after a power cut. Here it comes
/// back as zeros: no producer. The retry of a batch is then appended a second time.
#[test]
fn a_snapshot_that_was_never_synced_is_not_trusted() {
    for (plants, duplicated) in [(Plants::NONE, false), (Plants::only(Plant::Kafka9892), true)] {
        let disk = TestDisk::default();
        let mut log = open(&disk);
        let retried = Recipe { producer: Some((9, 0, 0)), ..Recipe::default() };
        append(&mut log, 1, &retried);
        fill(&mut log, 1, 15);
        let snapshot = log.segment_base_offsets().last().unwrap();
        drop(log);
        disk.rot(&format!("logs/t-0/{snapshot:020}.snapshot"), |bytes| bytes.fill(0));
        let mut log = try_open(&disk, LogConfig { plants, ..config() }).unwrap().0;
        let outcome = append(&mut log, 1, &retried);
        assert_eq!(matches!(outcome, Appended::New(_)), duplicated, "{plants:?}");
    }
}

#[test]
fn a_directory_of_another_topic_is_refused() {
    let disk = TestDisk::default();
    open(&disk);
    let partition = TopicPartition::new("t", 0);
    let other = now(Log::open(disk, Path::new("logs"), &partition, Some(TopicId([8; 16])), config()));
    assert!(matches!(other, Err(LogError::WrongTopic { .. })));
}

#[test]
fn the_marker_of_a_clean_shutdown_counts_once() {
    let disk = TestDisk::default();
    disk.create_directories(Path::new("logs")).unwrap();
    assert!(!now(clean_shutdown::take_marker(&disk, Path::new("logs"))).unwrap());
    now(clean_shutdown::write_marker(&disk, Path::new("logs"))).unwrap();
    let disk = disk.power_cut(&mut Draws(1));
    assert_eq!(disk.contents("logs/.kafka_cleanshutdown"), b"{\"version\":0,\"brokerEpoch\":-1}\n");
    assert!(now(clean_shutdown::take_marker(&disk, Path::new("logs"))).unwrap());
    let disk = disk.power_cut(&mut Draws(2));
    assert!(!now(clean_shutdown::take_marker(&disk, Path::new("logs"))).unwrap());
}

#[test]
fn a_dump_shows_good_and_bad_batches_with_their_positions() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    let size = disk.contents(LOG).len() / 3;
    disk.rot(LOG, |bytes| {
        bytes[2 * size - 3] ^= 1;
        bytes.extend([0; 100]);
    });
    let mut lines = Vec::new();
    now(dump::dump_segment(&disk, Path::new(LOG), |line| {
        lines.push(match line {
            dump::Dumped::Batch { position, bad, .. } => (position, bad.is_none()),
            dump::Dumped::Unreadable { position, bytes, .. } => (position + bytes, false),
        });
        true
    }))
    .unwrap();
    let size = size as u64;
    assert_eq!(lines, [(0, true), (size, false), (2 * size, true), (3 * size + 100, false)]);
}
