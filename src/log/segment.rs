//! One segment: a file of record batches, its indexes, and what of it was synced.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use super::error::LogError;
use super::index::{SegmentIndex, TimeEntry};
use super::names::{INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, offset_file};
use crate::runtime::{Disk, File, OpenMode};

/// Counts changes, and which of them are durable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    pub made: u64,
    pub synced: u64,
}

impl Changes {
    pub fn note(&mut self) {
        self.made += 1;
    }

    pub fn are_pending(self) -> bool {
        self.made != self.synced
    }
}

/// A segment of the log.
#[derive(Debug)]
pub(super) struct Segment<F> {
    pub base_offset: i64,
    pub file: F,
    /// The length of the valid part, in bytes.
    pub size: u64,
    /// In memory while the segment is active; on disk afterwards.
    pub index: Option<SegmentIndex>,
    /// The largest timestamp, and the last offset of the batch that has it.
    pub largest_timestamp: Option<TimeEntry>,
    pub changes: Changes,
    pub index_changes: Changes,
}

impl<F: File> Segment<F> {
    /// An empty segment. Leftovers of its name are emptied.
    pub fn create<D: Disk<File = F>>(disk: &D, directory: &Path, base_offset: i64) -> Result<Self, LogError> {
        let path = directory.join(offset_file(base_offset, LOG_SUFFIX));
        let file = disk.open(&path, OpenMode::Create).map_err(LogError::io(&path, "create"))?;
        file.truncate(0).map_err(LogError::io(&path, "truncate"))?;
        for suffix in [INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
            write_whole(disk, &directory.join(offset_file(base_offset, suffix)), &[])?;
        }
        Ok(Segment {
            base_offset,
            file,
            size: 0,
            index: Some(SegmentIndex::default()),
            largest_timestamp: None,
            changes: Changes { made: 1, synced: 0 },
            index_changes: Changes::default(),
        })
    }

    pub fn path(&self, directory: &Path) -> PathBuf {
        directory.join(offset_file(self.base_offset, LOG_SUFFIX))
    }

    pub fn index_path(&self, directory: &Path) -> PathBuf {
        directory.join(offset_file(self.base_offset, INDEX_SUFFIX))
    }

    pub fn time_index_path(&self, directory: &Path) -> PathBuf {
        directory.join(offset_file(self.base_offset, TIME_INDEX_SUFFIX))
    }

    /// Writes the in-memory indexes to their files.
    pub fn write_indexes<D: Disk<File = F>>(&mut self, disk: &D, directory: &Path) -> Result<(), LogError> {
        let Some(index) = &self.index else { return Ok(()) };
        write_whole(disk, &self.index_path(directory), &index.encode_offsets())?;
        write_whole(disk, &self.time_index_path(directory), &index.encode_times())?;
        self.index_changes.note();
        Ok(())
    }

    /// Nothing will be appended any more: the indexes go to disk and out of memory.
    pub fn close<D: Disk<File = F>>(&mut self, disk: &D, directory: &Path) -> Result<(), LogError> {
        if let Some(index) = &mut self.index {
            index.note_largest_timestamp();
        }
        self.write_indexes(disk, directory)?;
        self.index = None;
        Ok(())
    }

    /// Removes the segment's files.
    pub fn remove<D: Disk<File = F>>(&self, disk: &D, directory: &Path) -> Result<(), LogError> {
        remove_segment_files(disk, directory, self.base_offset)
    }
}

/// Removes the files of the segment at `base_offset`, the log first: indexes without one are strays.
pub(super) fn remove_segment_files<D: Disk>(disk: &D, directory: &Path, base_offset: i64) -> Result<(), LogError> {
    for suffix in [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
        remove_if_there(disk, &directory.join(offset_file(base_offset, suffix)))?;
    }
    Ok(())
}

/// Makes `path` hold exactly `bytes`.
pub(super) fn write_whole<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> Result<D::File, LogError> {
    let file = disk.open(path, OpenMode::Create).map_err(LogError::io(path, "create"))?;
    if !bytes.is_empty() {
        file.write_at(0, &[IoSlice::new(bytes)]).map_err(LogError::io(path, "write"))?;
    }
    file.truncate(bytes.len() as u64).map_err(LogError::io(path, "truncate"))?;
    Ok(file)
}

/// All that a file holds; none if it does not exist.
pub(super) async fn read_whole<D: Disk>(disk: &D, path: &Path) -> Result<Option<bytes::Bytes>, LogError> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io(path, "open")(error)),
    };
    let len = file.len().map_err(LogError::io(path, "measure"))?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    file.read_at(0, len).await.map(Some).map_err(LogError::io(path, "read"))
}

/// Removes a file that may not be there.
pub(super) fn remove_if_there<D: Disk>(disk: &D, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LogError::io(path, "remove")(error)),
        _ => Ok(()),
    }
}
