//! `Disk` and `File`: what is visible. What is durable can only be shown where power can be cut.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::pin::pin;

use bytes::Bytes;
use wyrdlog::runtime::{Disk, Entry, File, OpenMode};

use super::{World, on_one, poll_once};

fn path(text: &str) -> &Path {
    Path::new(text)
}

/// A new file that holds `content`.
fn create<D: Disk>(disk: &D, name: &str, content: &[u8]) -> D::File {
    let file = disk.open(path(name), OpenMode::CreateNew).expect("a new file");
    file.write_at(0, &[IoSlice::new(content)]).expect("a write");
    file
}

async fn read_all<D: Disk>(disk: &D, name: &str) -> Bytes {
    let file = disk.open(path(name), OpenMode::Read).expect("an existing file");
    let len = usize::try_from(file.len().expect("a length")).expect("a small file");
    file.read_at(0, len).await.expect("a read")
}

fn names<D: Disk>(disk: &D, directory: &str) -> Vec<String> {
    disk.list(path(directory)).expect("a listing").into_iter().map(|entry| entry.name).collect()
}

fn kind_of<T>(result: std::io::Result<T>) -> ErrorKind {
    result.err().expect("a failure").kind()
}

pub fn a_write_is_visible_at_once_to_every_handle<W: World>() {
    on_one::<W, _>(async |disk| {
        let file = create(&disk, "log", b"0123456789");
        let (shared, opened) = (file.clone(), disk.open(path("log"), OpenMode::Read).expect("open"));
        assert!(!file.is_empty().expect("a length"));
        file.write_at(4, &[IoSlice::new(b"xyz")]).expect("a write");
        for handle in [&file, &shared, &opened] {
            assert_eq!(handle.read_at(0, 10).await.expect("a read"), &b"0123xyz789"[..]);
            assert_eq!(handle.len().expect("a length"), 10);
        }
    });
}

pub fn parts_are_written_one_after_the_other<W: World>() {
    on_one::<W, _>(async |disk| {
        let file = disk.open(path("log"), OpenMode::Create).expect("open");
        assert!(file.is_empty().expect("a length"));
        let lengths = [0, 1, 61, 4096, 4097, 0, 40_000, 7, 4000, 4000, 4000, 4000, 4000, 4000, 4000, 4000, 4000, 3];
        let parts: Vec<Vec<u8>> = (b'a'..).zip(lengths).map(|(byte, len)| vec![byte; len]).collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        file.write_at(5, &slices).expect("a write");
        file.write_at(3, &[]).expect("nothing to write");

        let expected = [vec![0; 5], parts.concat()].concat();
        assert_eq!(file.len().expect("a length"), expected.len() as u64);
        assert_eq!(file.read_at(0, expected.len()).await.expect("a read"), expected);
    });
}

pub fn a_gap_reads_as_zeros<W: World>() {
    on_one::<W, _>(async |disk| {
        let file = create(&disk, "log", b"ab");
        file.write_at(6, &[IoSlice::new(b"c")]).expect("a write");
        assert_eq!(file.read_at(0, 7).await.expect("a read"), &b"ab\0\0\0\0c"[..]);
    });
}

pub fn a_read_is_short_only_at_the_end<W: World>() {
    on_one::<W, _>(async |disk| {
        let file = create(&disk, "log", &[7; 200_000]);
        assert_eq!(file.read_at(10, 150_000).await.expect("a read"), vec![7; 150_000]);
        assert_eq!(file.read_at(199_990, 100).await.expect("a read").len(), 10);
        assert_eq!(file.read_at(199_990, usize::MAX / 4).await.expect("a read").len(), 10);
        assert_eq!(file.read_at(200_000, 1).await.expect("a read").len(), 0);
        assert_eq!(file.read_at(1 << 40, 100_000).await.expect("a read").len(), 0);
        assert_eq!(file.read_at(0, 0).await.expect("a read").len(), 0);
    });
}

pub fn truncate_cuts_and_extends_by_zeros<W: World>() {
    on_one::<W, _>(async |disk| {
        let file = create(&disk, "log", b"abcdef");
        file.truncate(2).expect("a cut");
        assert_eq!(file.len().expect("a length"), 2);
        file.truncate(5).expect("an extension");
        assert_eq!(read_all(&disk, "log").await, &b"ab\0\0\0"[..]);
        file.truncate(0).expect("a cut");
        assert!(file.is_empty().expect("a length"));
    });
}

pub fn create_keeps_what_is_there<W: World>() {
    on_one::<W, _>(async |disk| {
        create(&disk, "log", b"kept");
        let file = disk.open(path("log"), OpenMode::Create).expect("open");
        file.write_at(4, &[IoSlice::new(b"!")]).expect("a write");
        assert_eq!(read_all(&disk, "log").await, &b"kept!"[..]);
        let file = disk.open(path("log"), OpenMode::Write).expect("open");
        file.write_at(0, &[IoSlice::new(b"K")]).expect("a write");
        assert_eq!(file.read_at(0, 5).await.expect("a read"), &b"Kept!"[..]);
    });
}

pub fn open_modes_fail_with_their_kinds<W: World>() {
    on_one::<W, _>(async |disk| {
        assert_eq!(kind_of(disk.open(path("none"), OpenMode::Read)), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.open(path("none"), OpenMode::Write)), ErrorKind::NotFound);
        for mode in [OpenMode::Create, OpenMode::CreateNew] {
            assert_eq!(kind_of(disk.open(path("no/directory"), mode)), ErrorKind::NotFound);
        }
        create(&disk, "log", b"");
        assert_eq!(kind_of(disk.open(path("log"), OpenMode::CreateNew)), ErrorKind::AlreadyExists);

        let read_only = disk.open(path("log"), OpenMode::Read).expect("open");
        assert!(read_only.write_at(0, &[IoSlice::new(b"x")]).is_err());
        assert!(read_only.truncate(1).is_err());
        assert_eq!(read_all(&disk, "log").await.len(), 0);
    });
}

pub fn directories_come_with_those_above<W: World>() {
    on_one::<W, _>(async |disk| {
        disk.create_directories(path("a/b/c")).expect("new directories");
        disk.create_directories(path("a/b")).expect("an existing directory");
        disk.create_directories(path("")).expect("the root");
        create(&disk, "a/b/c/log", b"deep");
        assert_eq!(read_all(&disk, "a/./b/c/log").await, &b"deep"[..]);
    });
}

pub fn a_listing_is_ordered_and_tells_lengths<W: World>() {
    on_one::<W, _>(async |disk| {
        assert_eq!(names(&disk, ""), [""; 0]);
        for (name, len) in [("b", 2), ("10", 10), ("a", 1), ("9", 9)] {
            create(&disk, name, &vec![0; len]);
        }
        disk.create_directories(path("aa/inner")).expect("directories");
        let entry = |name: &str, is_directory, len| Entry { name: name.to_owned(), is_directory, len };
        let expected = [
            entry("10", false, 10),
            entry("9", false, 9),
            entry("a", false, 1),
            entry("aa", true, 0),
            entry("b", false, 2),
        ];
        assert_eq!(disk.list(path("")).expect("a listing"), expected);
        assert_eq!(names(&disk, "aa"), ["inner"]);
        assert_eq!(names(&disk, "aa/inner"), [""; 0]);
    });
}

pub fn rename_replaces_and_open_files_stay_so<W: World>() {
    on_one::<W, _>(async |disk| {
        let old = create(&disk, "checkpoint", b"old");
        let new = create(&disk, "checkpoint.tmp", b"new");
        disk.rename(path("checkpoint.tmp"), path("checkpoint")).expect("a rename");
        assert_eq!(names(&disk, ""), ["checkpoint"]);
        assert_eq!(read_all(&disk, "checkpoint").await, &b"new"[..]);

        new.write_at(3, &[IoSlice::new(b"er")]).expect("a write to the renamed file");
        old.write_at(0, &[IoSlice::new(b"OLD")]).expect("a write to the replaced file");
        assert_eq!(read_all(&disk, "checkpoint").await, &b"newer"[..]);
        assert_eq!(old.read_at(0, 9).await.expect("a read"), &b"OLD"[..]);
    });
}

pub fn a_renamed_directory_keeps_its_files<W: World>() {
    on_one::<W, _>(async |disk| {
        disk.create_directories(path("topic-0/nested")).expect("directories");
        let file = create(&disk, "topic-0/nested/log", b"records");
        disk.rename(path("topic-0"), path("topic-0.deleted")).expect("a rename");
        assert_eq!(kind_of(disk.list(path("topic-0"))), ErrorKind::NotFound);
        file.write_at(7, &[IoSlice::new(b"!")]).expect("a write");
        assert_eq!(read_all(&disk, "topic-0.deleted/nested/log").await, &b"records!"[..]);
    });
}

pub fn a_removed_file_stays_open<W: World>() {
    on_one::<W, _>(async |disk| {
        let file = create(&disk, "segment", b"served");
        disk.remove_file(path("segment")).expect("a removal");
        create(&disk, "segment", b"another");
        assert_eq!(file.read_at(0, 9).await.expect("a read"), &b"served"[..]);
        file.write_at(6, &[IoSlice::new(b"!")]).expect("a write");
        assert_eq!(file.len().expect("a length"), 7);
        assert_eq!(read_all(&disk, "segment").await, &b"another"[..]);
    });
}

pub fn removal_is_visible_at_once<W: World>() {
    on_one::<W, _>(async |disk| {
        disk.create_directories(path("a/b")).expect("directories");
        for name in ["a/b/one", "a/two", "three"] {
            create(&disk, name, b"x");
        }
        disk.remove_file(path("three")).expect("a removal");
        assert_eq!(names(&disk, ""), ["a"]);
        disk.remove_directory(path("a")).expect("a removal");
        assert_eq!(names(&disk, ""), [""; 0]);
    });
}

pub fn what_is_missing_is_not_found<W: World>() {
    on_one::<W, _>(async |disk| {
        assert_eq!(kind_of(disk.list(path("none"))), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.rename(path("none"), path("some"))), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.remove_file(path("none"))), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.remove_directory(path("none"))), ErrorKind::NotFound);
        assert_eq!(kind_of(disk.sync_directory(path("none")).await), ErrorKind::NotFound);
    });
}

pub fn paths_cannot_leave_the_root<W: World>() {
    on_one::<W, _>(async |disk| {
        disk.create_directories(path("a")).expect("a directory");
        create(&disk, "inside", b"");
        for outside in ["/etc/hosts", "..", "../x", "a/../../x", "a/b/../../../x"].map(path) {
            for mode in [OpenMode::Read, OpenMode::Write, OpenMode::Create, OpenMode::CreateNew] {
                assert_eq!(kind_of(disk.open(outside, mode)), ErrorKind::InvalidInput, "{}", outside.display());
            }
            assert_eq!(kind_of(disk.create_directories(outside)), ErrorKind::InvalidInput);
            assert_eq!(kind_of(disk.list(outside)), ErrorKind::InvalidInput);
            assert_eq!(kind_of(disk.rename(path("inside"), outside)), ErrorKind::InvalidInput);
            assert_eq!(kind_of(disk.rename(outside, path("inside"))), ErrorKind::InvalidInput);
            assert_eq!(kind_of(disk.remove_file(outside)), ErrorKind::InvalidInput);
            assert_eq!(kind_of(disk.remove_directory(outside)), ErrorKind::InvalidInput);
            assert_eq!(kind_of(disk.sync_directory(outside).await), ErrorKind::InvalidInput);
        }
        assert_eq!(names(&disk, ""), ["a", "inside"]);
    });
}

pub fn syncs_succeed_side_by_side<W: World>() {
    on_one::<W, _>(async |disk| {
        disk.create_directories(path("a")).expect("a directory");
        let file = create(&disk, "a/log", b"first");
        let first = file.sync();
        file.write_at(5, &[IoSlice::new(b" second")]).expect("a write during a sync");
        let second = file.sync();
        drop(file);
        second.await.expect("the second sync");
        first.await.expect("the first sync");
        disk.sync_directory(path("a")).await.expect("a directory's sync");
        disk.sync_directory(path("")).await.expect("the root's sync");
        assert_eq!(read_all(&disk, "a/log").await, &b"first second"[..]);
    });
}

pub fn a_dropped_sync_harms_nothing<W: World>() {
    on_one::<W, _>(async |disk| {
        let file = create(&disk, "log", b"kept");
        {
            let mut sync = pin!(file.sync());
            let _ = poll_once(sync.as_mut()).await;
        }
        file.sync().await.expect("a later sync");
        assert_eq!(read_all(&disk, "log").await, &b"kept"[..]);
    });
}

pub fn disks_of_two_nodes_are_apart<W: World>() {
    W::run(2, async |nodes| {
        create(&nodes[0].runtime, "mine", b"");
        assert_eq!(names(&nodes[1].runtime, ""), [""; 0]);
    });
}

pub fn a_disk_can_be_locked<W: World>() {
    W::run(2, async |nodes| {
        for node in &nodes {
            node.runtime.lock().expect("nobody else uses this disk");
            assert_eq!(names(&node.runtime, ""), [""; 0], "the lock shows");
        }
    });
}

pub fn a_boot_is_named_the_same_by_each_handle<W: World>() {
    on_one::<W, _>(async |disk| assert_eq!(disk.clone().boot_id(), disk.boot_id()));
}
