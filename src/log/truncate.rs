//! Removing records from the end: what a follower does to match its leader.
//!
//! The durable point is lowered, durably, before a byte goes: otherwise a power cut could leave a
//! log that is shorter than what it claims to have synced, which is what damage looks like.
//!
//! What is gone must be gone durably before anything takes its place: of two writes that no sync has
//! covered a power cut may keep the later alone. A record that was cut would then be back, with new
//! ones behind it that continue it in offset and checksum: a log that never existed, and that tells
//! its leader so little of it that the two would never be reconciled.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::Log;
use super::batches::{FoundBatch, SCAN_CHUNK_BYTES, Step, end_marker};
use super::durable_point::{DurablePoint, DurablePointFile};
use super::error::LogError;
use super::index::SegmentIndex;
use super::locate::{OrderedScan, START, SegmentView, StartPlace};
use super::producers::load_newest;
use super::segment::Segment;
use super::sync::{Completed, Outcome, PointHome, Work};
use crate::producer_state::ProducerStates;
use crate::runtime::{Disk, File};

/// Where the log ends after a truncation, and what is true there.
#[derive(Debug)]
pub(super) struct Cut {
    base_offset: i64,
    position: u64,
    log_end: i64,
    index: SegmentIndex,
    producers: ProducerStates,
}

/// What it takes to find a [`Cut`] without the log.
struct Survey<D: Disk> {
    disk: D,
    directory: PathBuf,
    views: Vec<SegmentView<D::File>>,
    snapshots: Vec<i64>,
    log_start: i64,
    offset: i64,
    interval_bytes: u64,
    point: DurablePoint,
    point_file: DurablePointFile<D::File>,
    point_home: PointHome<D>,
}

impl<D: Disk + Clone + 'static> Log<D> {
    /// Begins to remove the records at and after `offset`; a batch that holds it goes as a whole.
    /// Above the log end nothing happens; at or below the log start the log starts anew there. It
    /// is the caller's to stay at or above the high watermark (KAFKA-12460), and to sync before it
    /// appends anything.
    pub fn begin_truncate(
        &mut self,
        offset: i64,
    ) -> Result<impl Future<Output = Outcome<D::File>> + Send + use<D>, LogError> {
        let alive = self.begin_work()?;
        let restart = (offset <= self.log_start && offset < self.log_end).then(|| empty_at(offset.max(0)));
        let survey = (restart.is_none() && offset < self.log_end).then(|| self.survey(offset));
        let restarted =
            restart.map(|point| self.persist_point(alive.clone(), Some(point), Work::Restart(point.log_start)));
        Ok(async move {
            match (restarted, survey) {
                (Some(restarted), _) => restarted.await,
                (None, Some(survey)) => {
                    let (result, point, work) = survey.run().await;
                    Log::<D>::outcome(alive, result, point, work)
                }
                (None, None) => Log::<D>::outcome(alive, Ok(()), None, Work::Truncate(None)),
            }
        })
    }

    /// Begins to remove everything; the next record will be at `offset`. A follower does so when its
    /// leader's log starts above its end. It has to sync before it appends anything.
    pub fn begin_restart_at(
        &mut self,
        offset: i64,
    ) -> Result<impl Future<Output = Outcome<D::File>> + Send + use<D>, LogError> {
        let alive = self.begin_work()?;
        let point = empty_at(offset.max(0));
        Ok(self.persist_point(alive, Some(point), Work::Restart(point.log_start)))
    }

    fn survey(&self, offset: i64) -> Survey<D> {
        Survey {
            disk: self.disk.clone(),
            directory: self.directory.clone(),
            views: (0..self.segments.len()).map(|at| self.view_with_index(at, offset - 1)).collect(),
            snapshots: self.snapshots.iter().filter(|(_, synced)| **synced).map(|(offset, _)| *offset).collect(),
            log_start: self.log_start,
            offset,
            interval_bytes: self.config.index_interval_bytes,
            point: self.point,
            point_file: self.point_file.clone(),
            point_home: self.point_home(),
        }
    }

    pub(super) fn complete_truncate(&mut self, cut: Option<Box<Cut>>) -> Result<Completed, LogError> {
        let from = self.log_end;
        if let Some(cut) = cut {
            self.cut_to(*cut)?;
        }
        Ok(Completed::Truncated { from, log_end: self.log_end })
    }

    fn cut_to(&mut self, cut: Cut) -> Result<(), LogError> {
        self.cut_is_unsynced = true;
        self.truncations.fetch_add(1, Ordering::AcqRel);
        self.tail.clear();
        while self.segments.len() > 1 && self.active().base_offset > cut.base_offset {
            let Some(removed) = self.segments.pop() else { break };
            removed.remove(&self.disk, &self.directory)?;
            self.names.note();
        }
        let directory = self.directory.clone();
        let active = self.active();
        let path = active.path(&directory);
        assert_eq!(active.base_offset, cut.base_offset);
        active.file.truncate(cut.position).map_err(LogError::io(&path, "truncate"))?;
        active.size = cut.position;
        active.largest_timestamp = cut.index.largest_timestamp();
        active.index = Some(cut.index);
        active.changes.note();
        self.log_end = cut.log_end;
        self.synced_end = self.synced_end.min(cut.log_end);
        self.producers = cut.producers;
        if self.epochs.truncate_from_end(cut.log_end) {
            self.epoch_changes.note();
        }
        self.remove_snapshots_above(cut.log_end)
    }

    pub(super) fn complete_restart(&mut self, offset: i64) -> Result<Completed, LogError> {
        let from = self.log_end;
        self.cut_is_unsynced = true;
        self.truncations.fetch_add(1, Ordering::AcqRel);
        self.tail.clear();
        // The youngest goes first: what a crash leaves is a log without a hole.
        while let Some(removed) = self.segments.pop() {
            removed.remove(&self.disk, &self.directory)?;
        }
        self.remove_snapshots_above(-1)?;
        self.segments.push(Segment::create(&self.disk, &self.directory, offset)?);
        self.names.note();
        self.epochs.clear();
        self.epoch_changes.note();
        self.producers = ProducerStates::new(offset);
        (self.log_start, self.log_end, self.synced_end) = (offset, offset, offset);
        Ok(Completed::Truncated { from, log_end: offset })
    }
}

type Surveyed<F> = (Result<(), LogError>, Option<(DurablePointFile<F>, DurablePoint)>, Work);

impl<D: Disk> Survey<D> {
    async fn run(self) -> Surveyed<D::File> {
        let cut = match self.find().await {
            Ok(cut) => cut,
            Err(error) => return (Err(error), None, Work::Truncate(None)),
        };
        // The first batch may reach below the log start; without it nothing is left.
        let nothing_left = cut.log_end <= self.log_start;
        let lowered = if nothing_left { empty_at(self.log_start) } else { self.lowered_to(cut.log_end) };
        let work = if nothing_left { Work::Restart(self.log_start) } else { Work::Truncate(Some(Box::new(cut))) };
        // Even an equal point is persisted: what is in force may be a hint that no sync has covered.
        let (result, point) = self.point_home.persist(self.point_file, lowered).await;
        (result, point, work)
    }

    fn lowered_to(&self, log_end: i64) -> DurablePoint {
        DurablePoint {
            log_start: self.log_start,
            recovery_point: self.point.recovery_point.min(log_end),
            snapshot_offset: self.snapshots.iter().copied().filter(|offset| *offset <= log_end).max(),
        }
    }

    async fn find(&self) -> Result<Cut, LogError> {
        let at = self.views.partition_point(|view| view.base_offset <= self.offset).saturating_sub(1);
        let view = &self.views[at];
        // A place below the offset: the batch there stays, whatever is cut.
        let start = view.locate(&self.disk, self.offset - 1).await?;
        let mut index = self.index_before(view, start).await?;
        let mut scan = view.scan_from(start, SCAN_CHUNK_BYTES);
        let (position, log_end) = loop {
            match scan.next(true).await? {
                Step::Batch(found) if found.header.next_offset() <= self.offset => {
                    index.note(found.place_in(view.base_offset), self.interval_bytes);
                }
                Step::Batch(found) => break (found.position, found.header.base_offset),
                Step::End => break (view.size, self.offset),
                Step::Invalid(bad) => return Err(damaged(view, scan.position(), self.offset, &bad)),
            }
        };
        let producers = self.producers_at(log_end).await?;
        Ok(Cut { base_offset: view.base_offset, position, log_end, index, producers })
    }

    /// The index as it was when the batch at `start` had been noted.
    async fn index_before(&self, view: &SegmentView<D::File>, start: StartPlace) -> Result<SegmentIndex, LogError> {
        let Some((_, last_offset)) = start.offsets else { return Ok(SegmentIndex::default()) };
        let mut index = match &view.index {
            Some(index) => index.clone(),
            None => view.read_index(&self.disk).await?,
        };
        index.resume_at(u32::try_from(last_offset - view.base_offset).unwrap_or(u32::MAX));
        Ok(index)
    }

    async fn producers_at(&self, log_end: i64) -> Result<ProducerStates, LogError> {
        let usable =
            self.snapshots.iter().rev().copied().filter(|offset| *offset <= log_end && *offset >= self.log_start);
        let mut states = load_newest(&self.disk, &self.directory, self.log_start, usable).await?;
        let from = states.end_offset();
        let first = self.views.partition_point(|view| view.base_offset <= from).saturating_sub(1);
        for view in &self.views[first..] {
            if view.base_offset >= log_end {
                break;
            }
            let start = if view.base_offset < from { view.locate_afresh(&self.disk, from).await? } else { START };
            replay(&mut states, view, view.scan_from(start, SCAN_CHUNK_BYTES), log_end).await?;
        }
        Ok(states)
    }
}

/// The durable point of a log without records.
fn empty_at(offset: i64) -> DurablePoint {
    DurablePoint { log_start: offset, recovery_point: offset, snapshot_offset: None }
}

/// Applies the batches of a scan that lie between the state's end and `log_end`.
async fn replay<F: File>(
    states: &mut ProducerStates,
    view: &SegmentView<F>,
    mut scan: OrderedScan<F>,
    log_end: i64,
) -> Result<(), LogError> {
    loop {
        match scan.next(true).await? {
            Step::Batch(FoundBatch { header, bytes, .. }) if header.next_offset() <= log_end => {
                if header.next_offset() > states.end_offset() {
                    states.apply(&header, end_marker(&header, &bytes));
                }
            }
            Step::Batch(_) | Step::End => return Ok(()),
            Step::Invalid(bad) => return Err(damaged(view, scan.position(), states.end_offset(), &bad)),
        }
    }
}

pub(super) fn damaged<F>(
    view: &SegmentView<F>,
    position: u64,
    offset: i64,
    reason: &dyn std::fmt::Display,
) -> LogError {
    LogError::Damaged { path: view.path.clone(), position, offset, reason: reason.to_string() }
}

impl<F: File> SegmentView<F> {
    /// As `locate`, for another offset than the view was made for.
    async fn locate_afresh<D: Disk<File = F>>(&self, disk: &D, offset: i64) -> Result<StartPlace, LogError> {
        let relative = u32::try_from(offset - self.base_offset).unwrap_or(u32::MAX);
        match &self.index {
            Some(index) => match index.lookup(relative) {
                Some(entry) => Ok(self.confirm(entry).await?.unwrap_or(START)),
                None => Ok(START),
            },
            None => self.locate(disk, offset).await,
        }
    }
}
