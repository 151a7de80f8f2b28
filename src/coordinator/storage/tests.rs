//! Claims about a coordinator's directory, on a disk in memory.

use super::*;
use crate::base::ids::{Term, Zxid};
use crate::consensus::{Entry, EntryKind, HardState, PersistId};
use crate::runtime::OpenMode;
use crate::runtime::test_disk::{Draws, TestDisk, now};

fn position(index: u64) -> Position {
    Position { index, zxid: Zxid::new(Term(1), index as u32 - 1) }
}

/// The entry at `index` of a log of one term.
fn entry(index: u64) -> Entry {
    let kind = if index == 1 { EntryKind::NoOp } else { EntryKind::Data };
    Entry { index, zxid: position(index).zxid, kind, payload: Bytes::new() }
}

fn op(reset_to: Option<Position>, entries: impl Iterator<Item = u64>) -> PersistOp {
    let hard_state = Some(HardState { term: Term(1), voted_for: None });
    PersistOp { id: PersistId(1), hard_state, reset_to, truncate_from: None, entries: entries.map(entry).collect() }
}

/// Opens `disk` with a log that is begun anew at every compaction.
fn open(disk: &TestDisk) -> Opened<TestDisk> {
    now(Storage::open(disk.clone(), 0)).expect("opens")
}

#[test]
fn each_start_begins_a_log_of_the_next_number_and_removes_what_was_not_whole() {
    let disk = TestDisk::default();
    open(&disk);
    assert!(disk.exists("wal-1"));
    disk.open(Path::new("incoming.tmp"), OpenMode::Create).expect("opens");
    open(&disk);
    let left = disk.list(Path::new("")).expect("lists");
    assert_eq!(left.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["wal-2"]);
}

#[test]
fn a_log_that_is_begun_anew_holds_only_what_the_snapshot_does_not_cover() {
    let disk = TestDisk::default();
    let mut storage = open(&disk).storage;
    now(storage.persist(&[op(None, 1..=3)])).expect("persists");
    now(storage.compact(position(2))).expect("compacts");
    let log = open(&disk).log;
    assert_eq!((log.base, log.entries), (position(2), [entry(3)].into()));
}

#[test]
fn a_tree_is_not_rebuilt_from_a_log_that_begins_after_what_is_known() {
    let disk = TestDisk::default();
    let mut storage = open(&disk).storage;
    now(storage.persist(&[op(Some(position(5)), 6..=6)])).expect("persists");
    let read = |name: &str| Some(Bytes::from(disk.contents(name)));
    let rebuilt = rebuild(&["wal-1".to_owned()], read, |_, _| true);
    assert_eq!(rebuilt.expect_err("entries are missing"), "wal-1 begins after entry 5, the snapshot ends with 0");
}

#[test]
fn only_the_latest_snapshot_is_read() {
    let disk = TestDisk::default();
    let mut storage = open(&disk).storage;
    let snapshots = storage.snapshots();
    now(snapshots.store(position(2), &[Bytes::from_static(b"older")])).expect("stores");
    now(snapshots.store(position(3), &[Bytes::from_static(b"newer")])).expect("stores");
    assert_eq!(now(snapshots.read(position(2), 0, 9)).expect("reads"), None);
    assert_eq!(now(snapshots.read(position(3), 0, 9)).expect("reads"), Some((Bytes::from_static(b"newer"), true)));
}

#[test]
fn a_snapshot_that_was_stored_outlives_any_power_cut() {
    let disk = TestDisk::default();
    let mut storage = open(&disk).storage;
    now(storage.snapshots().store(position(2), &[Bytes::from_static(b"state")])).expect("stores");
    for seed in 0..16 {
        let found = open(&disk.power_cut(&mut Draws(seed))).snapshot;
        assert_eq!(found, Some((position(2), Bytes::from_static(b"state"))), "seed {seed}");
    }
}

#[test]
fn a_snapshot_is_read_whole_with_no_more_reads_than_it_takes() {
    let disk = TestDisk::default();
    let mut storage = open(&disk).storage;
    let snapshots = storage.snapshots();
    snapshots.store_incoming(position(2), 0, b"state").expect("stores");
    let before = disk.reads();
    assert_eq!(now(snapshots.read_incoming(position(2))).expect("reads").as_deref(), Some(&b"state"[..]));
    assert_eq!(disk.reads() - before, 1);
}
