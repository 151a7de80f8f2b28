//! Claims about starts: what they read, keep, remove and tell.

use super::*;
use crate::log::segment::write_whole;

/// Behind the torn batch there is one that is whole, which is written again; what is torn is not.
#[test]
fn a_start_that_went_on_behind_a_torn_batch_says_so() {
    let disk = TestDisk::default();
    let config = LogConfig { plants: Plants::only(Plant::Commonware4546), ..config() };
    let mut log = try_open(&disk, config.clone()).unwrap().0;
    fill(&mut log, 1, 3);
    sync(&mut log);
    fill(&mut log, 1, 3);
    let size = disk.contents(LOG).len() / 6;
    disk.rot(LOG, |bytes| bytes[4 * size - 3] ^= 1);
    assert!(try_open(&disk, config).unwrap().1.went_on_behind);
}

#[test]
fn a_point_that_a_start_went_by_survives_a_power_cut_after_it() {
    for seed in 0..20 {
        let disk = TestDisk::default();
        let lazy = LogConfig { durable_point_bytes: u64::MAX, ..config() };
        let mut log = try_open(&disk, lazy).unwrap().0;
        for _ in 0..2 {
            fill(&mut log, 1, 2);
            sync(&mut log);
        }
        assert_eq!(open(&disk).point.recovery_point, 8, "it was written, and not synced");
        assert_eq!(open(&disk.power_cut(&mut Draws(seed))).point.recovery_point, 8, "cut {seed}");
    }
}

/// Found by the simulator (`swarm` seed 98247): the process ended between the closing of a segment and the next sync.
#[test]
fn the_indexes_of_a_segment_that_was_closed_before_a_crash_are_durable_after_the_next_sync() {
    let index = "logs/t-0/00000000000000000000.index";
    for seed in 0..20 {
        let disk = TestDisk::default();
        let mut log = open(&disk);
        while log.segment_base_offsets().count() < 2 {
            fill(&mut log, 1, 1);
        }
        drop(log);
        let mut log = open(&disk);
        sync(&mut log);
        let after = disk.power_cut(&mut Draws(seed));
        for file in [index.to_owned(), index.replace("index", "timeindex")] {
            assert_eq!(after.contents(&file), disk.contents(&file), "{file}, cut {seed}");
        }
    }
}

/// With the point of an earlier sync the damage would lie behind it, and be cut as a torn tail.
#[test]
fn damage_that_a_start_found_is_found_again_after_a_power_cut() {
    for seed in 0..20 {
        let disk = TestDisk::default();
        let lazy = LogConfig { durable_point_bytes: u64::MAX, ..config() };
        let mut log = try_open(&disk, lazy).unwrap().0;
        for _ in 0..2 {
            fill(&mut log, 1, 2);
            sync(&mut log);
        }
        let size = disk.contents(LOG).len() / 4;
        disk.rot(LOG, |bytes| bytes[3 * size - 3] ^= 1);
        assert!(try_open(&disk, config()).is_err_and(|error| error.damaged_from() == Some(4)));
        let after = try_open(&disk.power_cut(&mut Draws(seed)), config());
        assert!(after.is_err_and(|error| error.damaged_from() == Some(4)), "cut {seed}");
    }
}

#[test]
fn a_start_reads_of_each_segment_what_follows_its_last_index_entry() {
    let disk = TestDisk::default();
    let config = LogConfig { segment_bytes: 50_000, index_interval_bytes: 1_000, ..config() };
    let mut log = try_open(&disk, config.clone()).unwrap().0;
    fill(&mut log, 1, 2_000);
    let outcome = now(log.begin_clean_shutdown().unwrap());
    log.complete(outcome).unwrap();
    assert_eq!(log.segment_base_offsets().count(), 4);
    let before = disk.read_bytes();
    assert_eq!(try_open(&disk, config).unwrap().0.log_end(), 4_000);
    let read = disk.read_bytes() - before;
    assert!(read < 40_000, "{read} bytes, which is nearly a whole segment");
}

#[test]
fn segments_behind_a_hole_are_counted_as_torn() {
    let disk = TestDisk::default();
    fill(&mut open(&disk), 1, 30);
    let behind = disk.contents("logs/t-0/00000000000000000040.log").len() as u64;
    disk.remove_file(Path::new("logs/t-0/00000000000000000020.log")).unwrap();
    let (log, opened) = try_open(&disk, config()).unwrap();
    assert!(behind > 0);
    assert_eq!((log.log_end(), opened.torn_bytes, opened.damaged_tail), (20, behind, true));
}

#[test]
fn a_start_removes_indexes_without_a_segment_and_no_others() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 5);
    let outcome = now(log.begin_clean_shutdown().unwrap());
    log.complete(outcome).unwrap();
    let files = |base: i64| ["index", "timeindex"].map(|suffix| format!("logs/t-0/{base:020}.{suffix}"));
    for stray in files(99) {
        write_whole(&disk, Path::new(&stray), b"of a segment that is gone").unwrap();
    }
    open(&disk);
    assert!(files(0).iter().all(|index| disk.exists(index)));
    assert!(!files(99).iter().any(|index| disk.exists(index)));
}

/// The scan that begins at the batch of an index entry once took that batch for found before it had looked. Where it
/// was the last one below the durable point, rot in it passed for a torn tail: it was cut, and the log said that it
/// still held its offsets.
#[test]
fn rot_in_the_last_synced_batch_is_damage_where_the_index_points_to_it_too() {
    let disk = TestDisk::default();
    let mut log = try_open(&disk, LogConfig { index_interval_bytes: 1, ..config() }).unwrap().0;
    fill(&mut log, 1, 5);
    let outcome = now(log.begin_clean_shutdown().unwrap());
    log.complete(outcome).unwrap();
    let size = disk.contents(LOG).len();
    disk.rot(LOG, |bytes| bytes[size - 3] ^= 1);
    let opened = try_open(&disk, config());
    assert!(matches!(opened, Err(LogError::Corrupt { offset: 8, .. })), "{:?}", opened.map(|opened| opened.1));
    assert_eq!(disk.contents(LOG).len(), size, "nothing is cut");
}

/// What is left of them below the log start rots unnoticed; the next start has the log begin anew without it.
#[test]
fn a_producer_outlives_its_records_where_the_last_of_them_has_rotted() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    append(&mut log, 1, &Recipe { producer: Some((5, 1, 0)), ..Recipe::default() });
    let stopped = now(log.begin_clean_shutdown().unwrap());
    log.complete(stopped).unwrap();
    let advanced = now(log.begin_advance_start(7, 7).unwrap());
    log.complete(advanced).unwrap();
    let known = log.producers().get(ProducerId(5)).cloned();
    disk.rot(LOG, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let again = open(&disk);
    assert_eq!((again.log_start(), again.log_end(), again.size_bytes()), (7, 7, 0));
    assert!(known.is_some());
    assert_eq!(again.producers().get(ProducerId(5)).cloned(), known);
}
