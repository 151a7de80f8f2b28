//! Claims about syncs: what they cover, what they leave, what a failure does.

use super::*;

/// A log whose syncs are due by the bytes that were appended, and not by each of them.
fn lazily(durable_point_bytes: u64) -> LogConfig {
    LogConfig { durable_point_bytes, ..config() }
}

#[test]
fn an_index_that_lags_far_behind_is_written_with_the_next_sync_that_is_due() {
    let disk = TestDisk::default();
    let mut log = try_open(&disk, lazily(u64::MAX)).unwrap().0;
    sync(&mut log);
    fill(&mut log, 1, 5);
    log.bytes_since_point = 1 << 40;
    sync(&mut log);
    let index = "logs/t-0/00000000000000000000.index";
    assert!(disk.contents(index).is_empty());
    log.set_config(lazily(1));
    sync(&mut log);
    assert!(!disk.contents(index).is_empty());
}

#[test]
fn an_index_that_cannot_be_written_takes_the_log_offline() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 5);
    log.bytes_since_point = 1 << 40;
    disk.fail_writes_to(Some(".index"));
    assert!(matches!(log.begin_sync().err(), Some(LogError::Io { .. })));
    assert!(log.offline_reason().is_some());
}

#[test]
fn a_sync_covers_what_was_changed_and_nothing_else() {
    let disk = TestDisk::default();
    let mut log = try_open(&disk, lazily(400)).unwrap().0;
    fill(&mut log, 1, 15);
    sync(&mut log);
    disk.take_synced();
    let mut next = |batches| {
        fill(&mut log, 1, batches);
        let is_due = log.sync_is_due();
        sync(&mut log);
        let synced = disk.take_synced();
        let names =
            synced.iter().map(|path| path.trim_start_matches("logs/t-0").trim_start_matches("/0000000000000000"));
        (is_due, names.map(str::to_owned).collect::<Vec<_>>())
    };
    let is = |is_due: bool, names: &[&str]| (is_due, names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(next(1), is(false, &["0020.log"]));
    assert_eq!(next(4), is(true, &["0020.log", "/durable-point"]));
    let closed = ["0020.index", "0020.timeindex", "0040.log", "0040.snapshot", "", "/durable-point"];
    assert_eq!(next(1), is(true, &closed));
}

#[test]
fn a_point_that_was_only_written_is_not_fallen_behind_when_the_log_start_advances() {
    let disk = TestDisk::default();
    let mut log = try_open(&disk, lazily(u64::MAX)).unwrap().0;
    fill(&mut log, 1, 2);
    sync(&mut log);
    fill(&mut log, 1, 2);
    assert!(!log.sync_is_due());
    assert_eq!(sync(&mut log), 8);
    let outcome = now(log.begin_advance_start(2, 8).unwrap());
    log.complete(outcome).unwrap();
    assert_eq!(open(&disk).synced_end(), 8);
}

#[test]
fn a_clean_shutdown_makes_its_point_durable() {
    for seed in 0..20 {
        let disk = TestDisk::default();
        let mut log = try_open(&disk, lazily(u64::MAX)).unwrap().0;
        fill(&mut log, 1, 2);
        sync(&mut log);
        fill(&mut log, 1, 2);
        let outcome = now(log.begin_clean_shutdown().unwrap());
        log.complete(outcome).unwrap();
        assert_eq!(open(&disk.power_cut(&mut Draws(seed))).point.recovery_point, 8, "cut {seed}");
    }
}

#[test]
fn a_log_that_is_offline_writes_nothing_at_a_clean_shutdown() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    disk.fail_syncs(true);
    let outcome = now(log.begin_sync().unwrap());
    log.complete(outcome).expect_err("it was made to fail");
    assert!(matches!(log.begin_clean_shutdown().err(), Some(LogError::Offline { .. })));
    assert!(!disk.exists("logs/t-0/00000000000000000006.snapshot"));
}

#[test]
fn a_clean_shutdown_that_cannot_write_a_snapshot_takes_the_log_offline() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    fill(&mut log, 1, 3);
    disk.fail_writes_to(Some(".snapshot"));
    assert!(matches!(log.begin_clean_shutdown().err(), Some(LogError::Io { .. })));
    assert!(log.offline_reason().is_some());
}
