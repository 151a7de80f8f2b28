//! Opening a log: telling a torn tail, which is cut, from damage, which is reported.
//!
//! Below the durable point every batch was synced: one that is missing or bad there is damage, and
//! nothing is touched. Above it, a power cut may have kept, lost or torn each write by itself: the
//! log ends before the first batch that is bad, out of order, or of an older epoch than the one
//! before it (which a truncation that was not yet durable leaves behind). Reading starts at the
//! last index entry below the durable point, or below the producer snapshot where that is older.
//! What is found above the point is written again before it counts, see [`super::unsynced_tail`].
//! Indexes, epochs and producers are made again from the batches where their files are missing or
//! contradict them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::batches::{FoundBatch, SCAN_CHUNK_BYTES, Step, end_marker};
use super::durable_point::{DurablePoint, DurablePointFile};
use super::epoch_witness::EpochWitness;
use super::error::LogError;
use super::index::{OFFSET_ENTRY_BYTES, SegmentIndex, TIME_ENTRY_BYTES};
use super::leader_epochs::LeaderEpochs;
use super::locate::{START, SegmentView, StartPlace};
use super::names::{
    DURABLE_POINT, INDEX_SUFFIX, LEADER_EPOCH_CHECKPOINT, LOG_SUFFIX, PARTITION_METADATA, SNAPSHOT_SUFFIX,
    TEMPORARY_SUFFIX, TIME_INDEX_SUFFIX, offset_file, parse_offset_file, partition_directory,
};
use super::producers::{load_snapshot, trusted_snapshots};
use super::segment::{Changes, Segment, read_whole, remove_if_there, remove_segment_files};
use super::sync::replace_durably;
use super::tail::Tail;
use super::unsynced_tail::{Unsynced, settle_swap_files, write_again};
use super::{Log, LogConfig, partition_metadata};
use crate::base::batch_header::{BadBatch, BatchHeader};
use crate::base::ids::{LeaderEpoch, TopicId, TopicPartition};
use crate::base::plants::Plant;
use crate::producer_state::ProducerStates;
use crate::runtime::{Disk, Entry, File, OpenMode};

/// How a log was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// It did not exist.
    pub created: bool,
    /// The first offset that is kept.
    pub log_start: i64,
    /// The offset after the last record.
    pub log_end: i64,
    /// Bytes of a torn tail that were cut.
    pub torn_bytes: u64,
    /// They were more than an interrupted write leaves: without a loss of power, records that counted
    /// were damaged.
    pub damaged_tail: bool,
    /// What lies behind a torn batch was taken for a part of the log, which only a planted bug does.
    pub went_on_behind: bool,
    /// Records were there, but nothing said up to where they were synced: a first sync never
    /// came to its end, the directory is from Kafka, or the durable point was damaged. Any damage
    /// was then taken for a torn tail.
    pub durable_point_missing: bool,
}

/// A log as far as it has been recovered.
struct Recovery<D: Disk> {
    disk: D,
    directory: PathBuf,
    config: LogConfig,
    point: DurablePoint,
    /// Where reading starts.
    scan_from: i64,
    epochs: LeaderEpochs,
    last_epoch: LeaderEpoch,
    producers: ProducerStates,
    snapshots: Vec<i64>,
    segments: Vec<Segment<D::File>>,
    log_end: i64,
    torn_bytes: u64,
    damaged_tail: bool,
    went_on_behind: bool,
    /// What lies above the durable point, segment by segment.
    unsynced: Vec<Unsynced>,
    /// A batch below the durable point is of another epoch than the checkpoint says.
    checkpoint_contradicted: bool,
    /// Whether there is a checkpoint.
    has_checkpoint: bool,
    /// What it said, where it was contradicted.
    witness: Option<EpochWitness>,
}

impl<D: Disk + Clone + 'static> Log<D> {
    /// Opens the log of `partition` in `log_directory`, or creates it. `topic_id` is noted in a new
    /// log and held against an old one. To find damage below the durable point is an error, and
    /// nothing below that point is touched.
    pub async fn open(
        disk: D,
        log_directory: &Path,
        partition: &TopicPartition,
        topic_id: Option<TopicId>,
        config: LogConfig,
    ) -> Result<(Log<D>, Opened), LogError> {
        let directory = partition_directory(log_directory, partition);
        disk.create_directories(&directory).map_err(LogError::io(&directory, "create"))?;
        settle_swap_files(&disk, &directory).await?;
        let entries = disk.list(&directory).map_err(LogError::io(&directory, "list"))?;
        let topic_id = open_metadata(&disk, &directory, topic_id).await?;
        let (point_file, point) = open_point(&disk, &directory).await?;
        let bases = segments_among(&entries);
        let first = bases.first().copied().unwrap_or(0);
        let in_force = point.unwrap_or(DurablePoint { log_start: first, recovery_point: first, snapshot_offset: None });
        let checkpoint = read_epochs(&disk, &directory).await?;
        let witness =
            checkpoint.clone().map(|epochs| EpochWitness::new(epochs, in_force.log_start..in_force.recovery_point));
        let mut recovery = Recovery::begin(&disk, &directory, &config, in_force, &entries, checkpoint).await?;
        recovery.load_segments(bases).await?;
        if !recovery.unsynced.is_empty() || recovery.checkpoint_contradicted {
            for unsynced in std::mem::take(&mut recovery.unsynced) {
                write_again(&disk, &directory, unsynced).await?;
            }
            let Recovery { torn_bytes, damaged_tail, went_on_behind, .. } = recovery;
            let (checkpoint, witness) = match recovery.checkpoint_contradicted {
                true => (None, witness),
                false => (read_epochs(&disk, &directory).await?, None),
            };
            recovery = Recovery::begin(&disk, &directory, &config, in_force, &entries, checkpoint).await?;
            recovery.witness = witness;
            let left = disk.list(&directory).map_err(LogError::io(&directory, "list"))?;
            recovery.load_segments(segments_among(&left)).await?;
            recovery.torn_bytes += torn_bytes;
            recovery.damaged_tail |= damaged_tail;
            recovery.went_on_behind |= went_on_behind;
        }
        recovery.witness.take().map_or(Ok(()), EpochWitness::judge)?;
        recovery.settle()?;
        recovery.remove_strays(&entries)?;
        let opened = Opened {
            created: point.is_none() && entries.is_empty(),
            log_start: in_force.log_start,
            log_end: recovery.log_end,
            torn_bytes: recovery.torn_bytes,
            damaged_tail: recovery.damaged_tail,
            went_on_behind: recovery.went_on_behind,
            durable_point_missing: point.is_none() && recovery.log_end > in_force.log_start,
        };
        Ok((recovery.into_log(topic_id, point_file), opened))
    }
}

async fn open_metadata<D: Disk>(
    disk: &D,
    directory: &Path,
    expected: Option<TopicId>,
) -> Result<Option<TopicId>, LogError> {
    let path = directory.join(PARTITION_METADATA);
    let found = read_whole(disk, &path).await?.and_then(|text| partition_metadata::decode(&text));
    match (found, expected) {
        (Some(found), Some(expected)) if found != expected => Err(LogError::WrongTopic { path, found, expected }),
        (None, Some(expected)) => {
            let text = partition_metadata::encode(expected);
            replace_durably(disk, directory, PARTITION_METADATA, text.as_bytes()).await?;
            Ok(Some(expected))
        }
        (found, _) => Ok(found),
    }
}

async fn read_epochs<D: Disk>(disk: &D, directory: &Path) -> Result<Option<LeaderEpochs>, LogError> {
    let checkpoint = read_whole(disk, &directory.join(LEADER_EPOCH_CHECKPOINT)).await?;
    Ok(checkpoint.and_then(|text| LeaderEpochs::decode(&text)))
}

/// The segments' base offsets, in order.
fn segments_among(entries: &[Entry]) -> Vec<i64> {
    let mut bases: Vec<i64> = entries.iter().filter_map(|entry| parse_offset_file(&entry.name, LOG_SUFFIX)).collect();
    bases.sort_unstable();
    bases
}

/// The newest record may be a hint that no sync has covered. It is written again, for the slot that
/// is older than it is the one that will be written next. It is durable at once: a start that finds
/// damage below it ends before the log's first sync, and the next one has to find that damage, too.
async fn open_point<D: Disk>(
    disk: &D,
    directory: &Path,
) -> Result<(DurablePointFile<D::File>, Option<DurablePoint>), LogError> {
    let path = directory.join(DURABLE_POINT);
    let file = disk.open(&path, OpenMode::Create).map_err(LogError::io(&path, "open"))?;
    let (point_file, point) = DurablePointFile::open(file).await.map_err(LogError::io(&path, "read"))?;
    let Some(point) = point else { return Ok((point_file, None)) };
    let bytes = read_whole(disk, &path).await?.unwrap_or_default();
    replace_durably(disk, directory, DURABLE_POINT, &bytes).await?;
    disk.sync_directory(directory).await.map_err(LogError::io(directory, "sync"))?;
    let file = disk.open(&path, OpenMode::Write).map_err(LogError::io(&path, "open"))?;
    let (point_file, _) = DurablePointFile::open(file).await.map_err(LogError::io(&path, "read"))?;
    Ok((point_file, Some(point)))
}

impl<D: Disk + Clone + 'static> Recovery<D> {
    async fn begin(
        disk: &D,
        directory: &Path,
        config: &LogConfig,
        point: DurablePoint,
        entries: &[Entry],
        epochs: Option<LeaderEpochs>,
    ) -> Result<Self, LogError> {
        let producers = load_snapshot(disk, directory, config, point, entries).await?;
        let scan_from = match &epochs {
            Some(_) => point.recovery_point.min(producers.end_offset()),
            None => point.log_start,
        };
        Ok(Recovery {
            disk: disk.clone(),
            directory: directory.to_owned(),
            config: config.clone(),
            point,
            scan_from,
            has_checkpoint: epochs.is_some(),
            witness: None,
            epochs: epochs.unwrap_or_default(),
            last_epoch: LeaderEpoch(-1),
            // One that was passed over is damaged; it is removed and written anew.
            snapshots: trusted_snapshots(point, entries).filter(|offset| *offset <= producers.end_offset()).collect(),
            producers,
            segments: Vec::new(),
            log_end: point.log_start,
            torn_bytes: 0,
            damaged_tail: false,
            went_on_behind: false,
            unsynced: Vec::new(),
            checkpoint_contradicted: false,
        })
    }

    /// Goes through the segments in order, up to the first that does not continue the log.
    async fn load_segments(&mut self, mut bases: Vec<i64>) -> Result<(), LogError> {
        let leftovers = bases.partition_point(|base| *base <= self.point.log_start).saturating_sub(1);
        for base in bases.drain(..leftovers) {
            remove_segment_files(&self.disk, &self.directory, base)?;
        }
        if let Some(first) = bases.first().filter(|first| **first <= self.point.log_start) {
            self.log_end = *first;
        }
        for (at, base) in bases.iter().copied().enumerate() {
            let continues = base == self.log_end && self.load_segment(base, bases.get(at + 1).copied()).await?;
            if !continues {
                let after = bases[at..]
                    .iter()
                    .copied()
                    .filter(|left| self.segments.last().is_none_or(|s| s.base_offset != *left));
                return self.cut_segments(after.collect());
            }
        }
        Ok(())
    }

    /// Removes segments that do not continue the log. Were they synced, that is damage.
    fn cut_segments(&mut self, bases: Vec<i64>) -> Result<(), LogError> {
        if self.lacks_synced_records() {
            let path = self.directory.join(offset_file(self.log_end, LOG_SUFFIX));
            return Err(self.corrupt(path, 0, "the segment that continues the log is missing"));
        }
        for base in bases.into_iter().rev() {
            let path = self.directory.join(offset_file(base, LOG_SUFFIX));
            if let Ok(file) = self.disk.open(&path, OpenMode::Read) {
                let len = file.len().unwrap_or(0);
                self.torn_bytes += len;
                self.damaged_tail |= len > 0;
            }
            remove_segment_files(&self.disk, &self.directory, base)?;
        }
        Ok(())
    }

    /// Takes in one segment. Says whether it was whole, so that the next one may continue it.
    async fn load_segment(&mut self, base_offset: i64, next_base: Option<i64>) -> Result<bool, LogError> {
        self.close_last().await?;
        let path = self.directory.join(offset_file(base_offset, LOG_SUFFIX));
        let file = self.disk.open(&path, OpenMode::Write).map_err(LogError::io(&path, "open"))?;
        let len = file.len().map_err(LogError::io(&path, "measure"))?;
        let view = self.view(base_offset, file.clone(), len, path);
        let (start, mut index) = self.start_in(&view, next_base).await?;
        // The batch there is not taken in before the scan has found it whole.
        self.log_end = start.offsets.map_or(base_offset, |(first, _)| first);
        let known = self.unsynced.len();
        let size = self.scan(&view, start, &mut index).await?;
        self.unsynced[known..].iter_mut().for_each(|unsynced| unsynced.size = size);
        let mut changes = Changes::default();
        if size < len {
            self.torn_bytes += len - size;
            file.truncate(size).map_err(LogError::io(&view.path, "truncate"))?;
        }
        // At the durable point, too: an earlier recovery may have cut the segment there and not synced it.
        if size < len || self.log_end >= self.point.recovery_point {
            changes.note();
        }
        let largest_timestamp = index.largest_timestamp();
        let (index, index_changes) = (Some(index), Changes::default());
        self.segments.push(Segment { base_offset, file, size, index, largest_timestamp, changes, index_changes });
        Ok(size == len)
    }

    fn view(&self, base_offset: i64, file: D::File, size: u64, path: PathBuf) -> SegmentView<D::File> {
        SegmentView {
            base_offset,
            file,
            size,
            path,
            index_path: self.directory.join(offset_file(base_offset, INDEX_SUFFIX)),
            time_index_path: self.directory.join(offset_file(base_offset, TIME_INDEX_SUFFIX)),
            entry: None,
            is_active: false,
            index: None,
        }
    }

    /// Where to start reading a segment, and its index as it was then: the segment's start where
    /// the indexes are missing or not whole.
    async fn start_in(
        &self,
        view: &SegmentView<D::File>,
        next_base: Option<i64>,
    ) -> Result<(StartPlace, SegmentIndex), LogError> {
        let from_start = (START, SegmentIndex::default());
        let target = self.scan_from.min(next_base.unwrap_or(i64::MAX)) - 1;
        if target < view.base_offset || !self.indexes_are_whole(view).await? {
            return Ok(from_start);
        }
        let start = view.locate(&self.disk, target).await?;
        let Some((_, last_offset)) = start.offsets else { return Ok(from_start) };
        let mut index = view.read_index(&self.disk).await?;
        index.resume_at(u32::try_from(last_offset - view.base_offset).unwrap_or(u32::MAX));
        Ok((start, index))
    }

    async fn indexes_are_whole(&self, view: &SegmentView<D::File>) -> Result<bool, LogError> {
        let offsets = read_whole(&self.disk, &view.index_path).await?;
        let times = read_whole(&self.disk, &view.time_index_path).await?;
        let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(false) };
        let index = SegmentIndex::decode(&offsets, &times);
        let whole = offsets.len() % OFFSET_ENTRY_BYTES == 0 && times.len() % TIME_ENTRY_BYTES == 0;
        Ok(whole && index.encode_offsets() == offsets && index.encode_times() == times)
    }

    /// Goes through a segment's batches up to the first bad one; returns where that is.
    async fn scan(
        &mut self,
        view: &SegmentView<D::File>,
        start: StartPlace,
        index: &mut SegmentIndex,
    ) -> Result<u64, LogError> {
        let checked = !self.config.plants.is(Plant::UncheckedChecksums);
        let mut scan = view.scan_from(start, SCAN_CHUNK_BYTES);
        loop {
            let position = scan.position();
            let (reason, is_short) = match scan.next(checked).await? {
                Step::End => return Ok(position),
                Step::Batch(found) if found.header.leader_epoch < self.last_epoch => {
                    ("its leader epoch goes back".to_owned(), false)
                }
                Step::Batch(found) => {
                    self.note_unsynced(view.base_offset, found.header.base_offset, position);
                    index.note(found.place_in(view.base_offset), self.config.index_interval_bytes);
                    if let Some(witness) = &mut self.witness {
                        witness.hear(&found.header, &view.path, position);
                    }
                    self.take_in(&found)?;
                    continue;
                }
                Step::Invalid(bad) => (bad.to_string(), matches!(bad, BadBatch::Short { .. })),
            };
            if self.lacks_synced_records() {
                return Err(self.corrupt(view.path.clone(), position, &reason));
            }
            if self.config.plants.is(Plant::Commonware4546) && scan.skip_to_whole().await? {
                self.went_on_behind = true;
                continue;
            }
            self.damaged_tail |= !is_short || !scan.is_cut_short().await?;
            return Ok(position);
        }
    }

    /// Takes note of the first batch of a segment that is not known to be durable.
    fn note_unsynced(&mut self, base_offset: i64, offset: i64, position: u64) {
        let is_first = self.unsynced.last().is_none_or(|last| last.base_offset != base_offset);
        if offset >= self.point.recovery_point && is_first {
            self.unsynced.push(Unsynced { base_offset, offset, position, size: position });
        }
    }

    fn take_in(&mut self, found: &FoundBatch) -> Result<(), LogError> {
        let header = &found.header;
        self.log_end = header.next_offset();
        self.last_epoch = header.leader_epoch;
        self.take_in_epoch(header);
        if header.next_offset() > self.producers.end_offset() {
            self.producers.apply(header, end_marker(header, &found.bytes));
        }
        Ok(())
    }

    /// Epochs come from the batches where all batches are read, and from the checkpoint before. What
    /// is read of those by the way must agree with it.
    fn take_in_epoch(&mut self, header: &BatchHeader) {
        let offset = header.base_offset.max(self.point.log_start);
        let known = self.epochs.epoch_at(offset) == Some(header.leader_epoch);
        if known || header.next_offset() <= self.point.log_start {
            return;
        }
        if self.has_checkpoint && header.base_offset < self.point.recovery_point {
            self.checkpoint_contradicted = true;
        }
        self.epochs.truncate_from_end(offset);
        self.epochs.assign(header.leader_epoch, offset);
    }

    /// Another segment follows the last one: writes its indexes if the files hold something else. What they show may
    /// not be durable where the segment ends at or above the durable point (`swarm` seed 98247).
    async fn close_last(&mut self) -> Result<(), LogError> {
        let Some(segment) = self.segments.last_mut() else { return Ok(()) };
        let Some(mut index) = segment.index.take() else { return Ok(()) };
        index.note_largest_timestamp();
        let offsets = read_whole(&self.disk, &segment.index_path(&self.directory)).await?;
        let times = read_whole(&self.disk, &segment.time_index_path(&self.directory)).await?;
        if offsets != Some(index.encode_offsets()) || times != Some(index.encode_times()) {
            segment.index = Some(index);
            segment.close(&self.disk, &self.directory)?;
        } else if segment.changes.are_pending() {
            segment.index_changes.note();
        }
        Ok(())
    }

    /// Whether the log, ending where it does, lacks records that were synced. An empty log lacks
    /// none: it was restarted there, and what remains below are leftovers.
    fn lacks_synced_records(&self) -> bool {
        self.log_end < self.point.recovery_point && self.point.recovery_point > self.point.log_start
    }

    /// Holds the end against what was promised, and makes sure that there is an active segment.
    fn settle(&mut self) -> Result<(), LogError> {
        if self.lacks_synced_records() {
            let (path, position) = match self.segments.last() {
                Some(last) => (last.path(&self.directory), last.size),
                None => (self.directory.clone(), 0),
            };
            return Err(self.corrupt(path, position, "the log ends before the durable point"));
        }
        if self.log_end < self.point.log_start {
            for segment in std::mem::take(&mut self.segments).into_iter().rev() {
                segment.remove(&self.disk, &self.directory)?;
            }
            self.log_end = self.point.log_start;
        }
        if self.segments.is_empty() {
            self.segments.push(Segment::create(&self.disk, &self.directory, self.log_end)?);
        }
        self.epochs.truncate_from_end(self.log_end + 1);
        self.epochs.truncate_from_start(self.point.log_start);
        if self.log_end == self.point.log_start {
            self.epochs.clear();
        }
        if self.producers.end_offset() != self.log_end {
            self.producers = std::mem::take(&mut self.producers).ending_at(self.log_end);
        }
        let active = self.segments.last().expect("one was created if there was none");
        assert!(active.index.is_some(), "a segment is closed only where another one follows");
        Ok(())
    }

    /// Removes what is temporary, snapshots that nothing vouches for and indexes without a log.
    fn remove_strays(&self, entries: &[Entry]) -> Result<(), LogError> {
        let lives = |base| self.segments.iter().any(|segment| segment.base_offset == base);
        for entry in entries.iter().filter(|entry| !entry.is_directory) {
            let snapshot = parse_offset_file(&entry.name, SNAPSHOT_SUFFIX);
            let index =
                [INDEX_SUFFIX, TIME_INDEX_SUFFIX].iter().find_map(|suffix| parse_offset_file(&entry.name, suffix));
            let stray = entry.name.ends_with(TEMPORARY_SUFFIX)
                || snapshot.is_some_and(|offset| !self.snapshots.contains(&offset))
                || index.is_some_and(|base| !lives(base));
            if stray {
                remove_if_there(&self.disk, &self.directory.join(&entry.name))?;
            }
        }
        Ok(())
    }

    fn corrupt(&self, path: PathBuf, position: u64, reason: &str) -> LogError {
        LogError::Corrupt { path, position, offset: self.log_end, reason: reason.to_owned() }
    }

    fn into_log(self, topic_id: Option<TopicId>, point_file: DurablePointFile<D::File>) -> Log<D> {
        let changed = Changes { made: 1, synced: 0 };
        let parent_names = if self.config.plants.is(Plant::Kafka3968) { Changes::default() } else { changed };
        Log {
            synced_end: self.point.recovery_point.max(self.point.log_start).min(self.log_end),
            snapshots: self.snapshots.into_iter().map(|offset| (offset, true)).collect(),
            disk: self.disk,
            directory: self.directory,
            config: self.config,
            topic_id,
            segments: self.segments,
            epochs: self.epochs,
            epoch_changes: changed,
            producers: self.producers,
            log_start: self.point.log_start,
            log_end: self.log_end,
            point: self.point,
            point_file,
            bytes_since_point: 0,
            point_is_due: true,
            names: changed,
            parent_names,
            tail: Tail::default(),
            cut_is_unsynced: false,
            truncations: Arc::new(AtomicU64::new(0)),
            work: None,
            offline: None,
        }
    }
}
