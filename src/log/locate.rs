//! Finding the batch that holds an offset, with the help of an index that may lie.

use std::path::PathBuf;

use super::Log;
use super::batches::{Scanner, Step};
use super::error::LogError;
use super::index::{OFFSET_ENTRY_BYTES, OffsetEntry, SegmentIndex, decode_offset_entry};
use super::segment::{Segment, read_whole};
use crate::base::batch_header::{BadBatch, BatchHeader, HEADER_BYTES};
use crate::runtime::{Disk, File, OpenMode};

/// The part of an index that is read at once when the search has narrowed to it.
const WINDOW_BYTES: u64 = 4096;

/// A segment as it was when some work began; the work does not borrow the log.
#[derive(Clone, Debug)]
pub(super) struct SegmentView<F> {
    pub base_offset: i64,
    pub file: F,
    pub size: u64,
    pub path: PathBuf,
    pub index_path: PathBuf,
    pub time_index_path: PathBuf,
    /// What the in-memory index of the active segment says.
    pub entry: Option<OffsetEntry>,
    /// Whether that index is in memory.
    pub is_active: bool,
    /// The in-memory index itself, where the work needs all of it.
    pub index: Option<SegmentIndex>,
}

/// A place from which a scan may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StartPlace {
    pub position: u64,
    /// The first and the last offset of the batch there, if they are known.
    pub offsets: Option<(i64, i64)>,
}

impl<D: Disk + Clone + 'static> Log<D> {
    /// The segment that holds `offset`, which is within the log.
    pub(super) fn segment_of(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    pub(super) fn view(&self, at: usize, offset: i64) -> SegmentView<D::File> {
        let segment: &Segment<D::File> = &self.segments[at];
        let relative = u32::try_from((offset - segment.base_offset).max(0)).unwrap_or(u32::MAX);
        SegmentView {
            base_offset: segment.base_offset,
            file: segment.file.clone(),
            size: segment.size,
            path: segment.path(&self.directory),
            index_path: segment.index_path(&self.directory),
            entry: segment.index.as_ref().and_then(|index| index.lookup(relative)),
            is_active: segment.index.is_some(),
            time_index_path: segment.time_index_path(&self.directory),
            index: None,
        }
    }

    /// As [`Log::view`], with the in-memory index.
    pub(super) fn view_with_index(&self, at: usize, offset: i64) -> SegmentView<D::File> {
        SegmentView { index: self.segments[at].index.clone(), ..self.view(at, offset) }
    }
}

impl<F: File> SegmentView<F> {
    /// A place at or before the batch that holds `offset`; the segment's start where the index is
    /// missing, or says what the segment does not.
    pub async fn locate<D: Disk<File = F>>(&self, disk: &D, offset: i64) -> Result<StartPlace, LogError> {
        let entry = if self.is_active { self.entry } else { self.look_up_on_disk(disk, offset).await };
        match entry {
            Some(entry) => Ok(self.confirm(entry).await?.unwrap_or(START)),
            None => Ok(START),
        }
    }

    /// The place of an index entry, if the batch there is the one that the entry speaks of.
    pub async fn confirm(&self, entry: OffsetEntry) -> Result<Option<StartPlace>, LogError> {
        let position = u64::from(entry.position);
        let last_offset = self.base_offset + i64::from(entry.relative_offset);
        if position >= self.size {
            return Ok(None);
        }
        let bytes = self.file.read_at(position, HEADER_BYTES).await.map_err(LogError::io(&self.path, "read"))?;
        let header = BatchHeader::read(&bytes)
            .ok()
            .filter(|header| header.last_offset() == last_offset && position + header.size as u64 <= self.size);
        Ok(header.map(|header| StartPlace { position, offsets: Some((header.base_offset, last_offset)) }))
    }

    /// An index that cannot be read is no reason to fail: the log is still there.
    async fn look_up_on_disk<D: Disk<File = F>>(&self, disk: &D, offset: i64) -> Option<OffsetEntry> {
        let file = disk.open(&self.index_path, OpenMode::Read).ok()?;
        let relative = u32::try_from(offset - self.base_offset).ok()?;
        let entry_bytes = OFFSET_ENTRY_BYTES as u64;
        let (mut low, mut high) = (0, file.len().ok()? / entry_bytes);
        while (high - low) * entry_bytes > WINDOW_BYTES {
            let middle = low + (high - low) / 2;
            let bytes = file.read_at(middle * entry_bytes, OFFSET_ENTRY_BYTES).await.ok()?;
            let entry = bytes.get(..OFFSET_ENTRY_BYTES).map(decode_offset_entry)?;
            if entry.relative_offset <= relative { low = middle } else { high = middle }
        }
        let window = file.read_at(low * entry_bytes, ((high - low) * entry_bytes) as usize).await.ok()?;
        let entries = window.chunks_exact(OFFSET_ENTRY_BYTES).map(decode_offset_entry);
        entries.take_while(|entry| entry.relative_offset <= relative).last()
    }

    /// What the index files hold, as far as they are in order.
    pub async fn read_index<D: Disk<File = F>>(&self, disk: &D) -> Result<SegmentIndex, LogError> {
        let offsets = read_whole(disk, &self.index_path).await?.unwrap_or_default();
        let times = read_whole(disk, &self.time_index_path).await?.unwrap_or_default();
        Ok(SegmentIndex::decode(&offsets, &times))
    }

    /// A scan that starts there.
    pub fn scan_from(&self, start: StartPlace, chunk_bytes: usize) -> OrderedScan<F> {
        OrderedScan {
            scanner: Scanner::new(self.file.clone(), self.path.clone(), start.position, self.size, chunk_bytes),
            expected: if start.position == 0 {
                Expected::Base(self.base_offset)
            } else {
                Expected::Last(start.offsets.map(|(_, last)| last))
            },
        }
    }
}

/// The segment's first batch.
pub(super) const START: StartPlace = StartPlace { position: 0, offsets: None };

#[derive(Clone, Copy, Debug)]
enum Expected {
    Base(i64),
    Last(Option<i64>),
}

/// A scan that also holds each batch's offsets against the batch before it: base offsets are not
/// under the checksum.
pub(super) struct OrderedScan<F> {
    scanner: Scanner<F>,
    expected: Expected,
}

impl<F: File> OrderedScan<F> {
    pub fn position(&self) -> u64 {
        self.scanner.position()
    }

    /// Whether what is left after a step that came upon too few bytes is what an interrupted write leaves.
    pub async fn is_cut_short(&mut self) -> Result<bool, LogError> {
        self.scanner.is_cut_short().await
    }

    /// The planted bug: goes on at the next whole batch, whatever lies before it. Whether there is one.
    pub async fn skip_to_whole(&mut self) -> Result<bool, LogError> {
        self.expected = Expected::Last(None);
        self.scanner.skip_to_whole().await
    }

    pub async fn next(&mut self, checked: bool) -> Result<Step, LogError> {
        let step = self.scanner.next(checked).await?;
        if let Step::Batch(found) = &step {
            let header = &found.header;
            let in_order = match self.expected {
                Expected::Base(base_offset) => header.base_offset == base_offset,
                Expected::Last(last_offset) => last_offset.is_none_or(|last| header.last_offset() == last),
            };
            if !in_order {
                return Ok(Step::Invalid(BadBatch::Inconsistent(
                    "its offset does not follow from the batch before it",
                )));
            }
            self.expected = Expected::Base(header.next_offset());
        }
        Ok(step)
    }
}
