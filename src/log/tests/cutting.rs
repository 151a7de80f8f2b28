//! Claims about removing records, from either end.

use super::*;

#[test]
fn a_log_start_beyond_what_is_synced_vouches_for_nothing() {
    let mut log = open(&TestDisk::default());
    fill(&mut log, 1, 2);
    sync(&mut log);
    fill(&mut log, 1, 3);
    let outcome = now(log.begin_advance_start(7, 10).unwrap());
    log.complete(outcome).unwrap();
    assert_eq!((log.log_start(), log.point.log_start, log.point.recovery_point), (7, 7, 4));
}

#[test]
fn a_log_of_which_nothing_stays_is_not_read_first() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 5);
    let before = disk.reads();
    assert_eq!(truncate(&mut log, 0), 0);
    assert_eq!(disk.reads(), before);
}

#[test]
fn an_empty_log_that_is_cut_at_its_end_is_left_alone() {
    let mut log = open(&TestDisk::default());
    let outcome = now(log.begin_truncate(0).unwrap());
    assert_eq!(log.complete(outcome).unwrap(), Completed::Truncated { from: 0, log_end: 0 });
    // Nothing was cut, so nothing has to be synced before.
    fill(&mut log, 1, 1);
}

#[test]
fn an_epoch_whose_records_were_cut_is_forgotten_on_the_disk_too() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 2);
    fill(&mut log, 2, 2);
    sync(&mut log);
    truncate(&mut log, 4);
    assert_eq!(disk.contents("logs/t-0/leader-epoch-checkpoint"), b"0\n1\n1 0\n");
    assert_eq!(open(&disk).epochs(), [(LeaderEpoch(1), 0)]);
}

#[test]
fn a_producer_outlives_its_records_through_a_truncation() {
    for is_reopened in [false, true] {
        let disk = TestDisk::default();
        let mut log = open(&disk);
        append(&mut log, 1, &Recipe { producer: Some((5, 1, 0)), ..Recipe::default() });
        fill(&mut log, 1, 33);
        sync(&mut log);
        let start = log.segment_base_offsets().last().unwrap();
        let outcome = now(log.begin_advance_start(start, log.log_end()).unwrap());
        log.complete(outcome).unwrap();
        let known = log.producers().get(ProducerId(5)).cloned();
        if is_reopened {
            log = open(&disk);
        }
        let offset = log.log_end() - 2;
        assert_eq!(truncate(&mut log, offset), offset);
        assert!(known.is_some() && start < offset);
        for log in [&log, &open(&disk)] {
            assert_eq!(log.producers().get(ProducerId(5)).cloned(), known, "reopened before: {is_reopened}");
        }
    }
}

#[test]
fn producers_are_not_made_again_from_a_damaged_batch() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 8);
    let size = disk.contents(LOG).len() / 8;
    disk.rot(LOG, |bytes| bytes[size - 3] ^= 1);
    let outcome = now(log.begin_truncate(14).unwrap());
    let cut = log.complete(outcome);
    assert!(matches!(cut, Err(LogError::Damaged { position: 0, .. })), "{cut:?}");
}
