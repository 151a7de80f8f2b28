//! Claims about appends: what is refused, what a failure does, how a segment begins.

use super::*;
use crate::log::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, offset_file};
use crate::log::segment::{Segment, write_whole};

#[test]
fn a_leader_does_not_append_under_an_older_epoch_than_the_logs() {
    let mut log = open(&TestDisk::default());
    append(&mut log, 3, &Recipe::default());
    let refused = log.append_as_leader(Recipe::default().make(), LeaderEpoch(2), Origin::Client);
    assert!(matches!(refused, Err(LogError::StaleLeaderEpoch { latest: LeaderEpoch(3), found: LeaderEpoch(2) })));
    assert_eq!(log.log_end(), 1);
}

#[test]
fn a_producer_without_an_epoch_is_refused() {
    let mut log = open(&TestDisk::default());
    let nameless = Recipe { producer: Some((9, -1, 0)), ..Recipe::default() };
    let refused = log.append_as_leader(nameless.make(), LeaderEpoch(0), Origin::Client);
    assert!(matches!(refused, Err(LogError::BadBatch(_))), "{refused:?}");
}

#[test]
fn a_segment_that_cannot_be_closed_with_a_snapshot_takes_the_log_offline() {
    let disk = TestDisk::default();
    let mut log = open(&disk);
    disk.fail_writes_to(Some(".snapshot"));
    let mut append = || log.append_as_leader(Recipe::default().make(), LeaderEpoch(1), Origin::Client);
    let failed = (0..20).find_map(|_| append().err());
    assert!(matches!(failed, Some(LogError::Io { .. })), "{failed:?}");
    disk.fail_writes_to(None);
    assert!(matches!(append(), Err(LogError::Offline { .. })));
}

#[test]
fn a_segment_begins_empty_whatever_was_left_under_its_name() {
    let (disk, directory) = (TestDisk::default(), Path::new("logs/t-0"));
    disk.create_directories(directory).unwrap();
    let files = [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX].map(|suffix| directory.join(offset_file(7, suffix)));
    for file in &files {
        write_whole(&disk, file, b"left over").unwrap();
    }
    Segment::create(&disk, directory, 7).unwrap();
    for file in &files {
        assert!(disk.contents(file.to_str().unwrap()).is_empty(), "{}", file.display());
    }
}
