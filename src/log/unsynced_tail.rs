//! Writing again, at a start, what lies above the durable point.
//!
//! An earlier process may have left records in the operating system's cache whose sync failed. The
//! system has then marked its pages clean ("fsyncgate"): they can be read, and a sync succeeds
//! without them, until a power cut shows that they never reached the medium. Nothing at a start
//! tells such records from good ones, so whatever is not known to be durable is written to a file
//! of its own before it counts as synced. It is never written over in place: some of it may be
//! durable already, and a torn write would spoil it.
//!
//! A segment that lies above the point as a whole is replaced by its copy. Where the point lies
//! within a segment, the records above it become a segment of their own, in three durable steps:
//!
//! 1. they are written to a *swap file* named `<first offset>.log.<position>.swap`;
//! 2. the old segment is cut at that position;
//! 3. the swap file is renamed to `<first offset>.log`.
//!
//! A start that finds a swap file goes on with the third step if the old segment ends at the
//! position, and removes it otherwise: then the old segment still holds everything. That it ends there
//! may be known to the cache alone, where the sync of the cut failed: it is copied aside, too, and replaced.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use super::batches::SCAN_CHUNK_BYTES;
use super::error::LogError;
use super::names::{INDEX_SUFFIX, LOG_SUFFIX, TEMPORARY_SUFFIX, TIME_INDEX_SUFFIX, offset_file, parse_offset_file};
use super::segment::remove_if_there;
use crate::runtime::{Disk, File, OpenMode};

const SWAP_SUFFIX: &str = ".swap";

/// Where the records of a segment begin that are not known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsynced {
    /// The segment.
    pub base_offset: i64,
    /// The first offset of its first such batch.
    pub offset: i64,
    /// Where that is in the file.
    pub position: u64,
    /// Where its valid batches end.
    pub size: u64,
}

/// Writes them again.
pub(super) async fn write_again<D: Disk>(disk: &D, directory: &Path, unsynced: Unsynced) -> Result<(), LogError> {
    let Unsynced { base_offset, offset, position, size } = unsynced;
    let old_path = directory.join(offset_file(base_offset, LOG_SUFFIX));
    let new_path = directory.join(offset_file(offset, LOG_SUFFIX));
    let old = disk.open(&old_path, OpenMode::Write).map_err(LogError::io(&old_path, "open"))?;
    if position == 0 {
        let temporary = directory.join(format!("{}{TEMPORARY_SUFFIX}", offset_file(offset, LOG_SUFFIX)));
        copy(disk, (&old, &old_path), 0..size, &temporary).await?;
        return give_name(disk, directory, &temporary, &new_path).await;
    }
    let swap = directory.join(swap_file(offset, position));
    copy(disk, (&old, &old_path), position..size, &swap).await?;
    sync_directory(disk, directory).await?;
    old.truncate(position).map_err(LogError::io(&old_path, "truncate"))?;
    old.sync().await.map_err(LogError::io(&old_path, "sync"))?;
    for suffix in [INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
        remove_if_there(disk, &directory.join(offset_file(offset, suffix)))?;
    }
    give_name(disk, directory, &swap, &new_path).await
}

/// Ends what a start that was interrupted began.
pub(super) async fn settle_swap_files<D: Disk>(disk: &D, directory: &Path) -> Result<(), LogError> {
    let names = || disk.list(directory).map_err(LogError::io(directory, "list"));
    for entry in names()? {
        let Some((offset, position)) = parse_swap_file(&entry.name) else { continue };
        let swap = directory.join(&entry.name);
        let is_log_below = |name: &str| parse_offset_file(name, LOG_SUFFIX).filter(|base| *base < offset);
        let below = names()?.into_iter().filter(|other| is_log_below(&other.name).is_some()).max();
        if let Some(segment) = below.filter(|segment| segment.len == position) {
            let path = directory.join(&segment.name);
            let old = disk.open(&path, OpenMode::Read).map_err(LogError::io(&path, "open"))?;
            let temporary = directory.join(format!("{}{TEMPORARY_SUFFIX}", segment.name));
            copy(disk, (&old, &path), 0..position, &temporary).await?;
            give_name(disk, directory, &temporary, &path).await?;
            give_name(disk, directory, &swap, &directory.join(offset_file(offset, LOG_SUFFIX))).await?;
        } else {
            remove_if_there(disk, &swap)?;
            sync_directory(disk, directory).await?;
        }
    }
    Ok(())
}

/// Writes a range of `from` to a file of its own, and syncs it.
async fn copy<D: Disk>(
    disk: &D,
    (from, from_path): (&D::File, &Path),
    range: std::ops::Range<u64>,
    to_path: &Path,
) -> Result<(), LogError> {
    let to = disk.open(to_path, OpenMode::Create).map_err(LogError::io(to_path, "create"))?;
    to.truncate(0).map_err(LogError::io(to_path, "truncate"))?;
    let mut at = range.start;
    while at < range.end {
        let len = (range.end - at).min(SCAN_CHUNK_BYTES as u64);
        let bytes = from.read_at(at, len as usize).await.map_err(LogError::io(from_path, "read"))?;
        if bytes.is_empty() {
            let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(LogError::io(from_path, "read")(source));
        }
        to.write_at(at - range.start, &[IoSlice::new(&bytes)]).map_err(LogError::io(to_path, "write"))?;
        at += bytes.len() as u64;
    }
    to.sync().await.map_err(LogError::io(to_path, "sync"))
}

async fn give_name<D: Disk>(disk: &D, directory: &Path, from: &Path, to: &Path) -> Result<(), LogError> {
    disk.rename(from, to).map_err(LogError::io(from, "rename"))?;
    sync_directory(disk, directory).await
}

async fn sync_directory<D: Disk>(disk: &D, directory: &Path) -> Result<(), LogError> {
    disk.sync_directory(directory).await.map_err(LogError::io(directory, "sync"))
}

fn swap_file(offset: i64, position: u64) -> PathBuf {
    PathBuf::from(format!("{}.{position}{SWAP_SUFFIX}", offset_file(offset, LOG_SUFFIX)))
}

/// The offset and the position that a swap file is named after.
fn parse_swap_file(name: &str) -> Option<(i64, u64)> {
    let (log, position) = name.strip_suffix(SWAP_SUFFIX)?.rsplit_once('.')?;
    Some((parse_offset_file(log, LOG_SUFFIX)?, position.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::segment::write_whole;
    use super::super::test_disk::{TestDisk, now};
    use super::*;

    #[test]
    fn a_copy_holds_its_range_and_nothing_of_what_lies_around_it() {
        let disk = TestDisk::default();
        let from = write_whole(&disk, Path::new("from"), b"0123456789").expect("written");
        now(copy(&disk, (&from, Path::new("from")), 2..5, Path::new("to"))).expect("copied");
        assert_eq!(disk.contents("to"), b"234");
    }

    #[test]
    fn a_swap_file_names_the_offset_and_the_place_that_it_continues() {
        let name = swap_file(458, 81_920);
        assert_eq!(name, Path::new("00000000000000000458.log.81920.swap"));
        assert_eq!(parse_swap_file("00000000000000000458.log.81920.swap"), Some((458, 81_920)));
        for other in ["00000000000000000458.log", "00000000000000000458.log.swap", "458.log.1.swap", "x.swap"] {
            assert_eq!(parse_swap_file(other), None, "{other}");
        }
    }
}
