//! Making the log durable, without holding it while the device works.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::Log;
use super::durable_point::{DurablePoint, DurablePointFile};
use super::error::LogError;
use super::names::{DURABLE_POINT, LEADER_EPOCH_CHECKPOINT, SNAPSHOT_SUFFIX, TEMPORARY_SUFFIX, offset_file};
use super::segment::write_whole;
use super::truncate::Cut;
use crate::runtime::{Disk, File, OpenMode};

/// Index files of the active segment are written when they lag by so many bytes of records. What
/// they miss is read again at a restart.
const INDEX_LAG_BYTES: u64 = 64 * 1024 * 1024;

/// What was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// Everything below it is durable.
    Synced {
        /// The offset after the last durable record.
        synced_end: i64,
    },
    /// Records were removed from the end.
    Truncated {
        /// The log end before.
        from: i64,
        /// The log end now.
        log_end: i64,
    },
    /// Records were removed from the start.
    StartAdvanced {
        /// The first offset that is kept.
        log_start: i64,
    },
}

/// How begun work ended: to be handed to [`Log::complete`].
#[derive(Debug)]
#[must_use = "the log waits for it: call Log::complete"]
pub struct Outcome<F> {
    pub(super) result: Result<(), LogError>,
    pub(super) point: Option<(DurablePointFile<F>, DurablePoint)>,
    pub(super) work: Work,
    /// Tells the log that the work was not dropped.
    _alive: Arc<()>,
}

/// What the log has to do once the device has done its part.
#[derive(Debug)]
pub(super) enum Work {
    Sync(Box<Barrier>),
    Truncate(Option<Box<Cut>>),
    Restart(i64),
    AdvanceStart(i64),
}

/// What a sync covers: the state of every counter when it began.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    log_end: i64,
    bytes_since_point: u64,
    segments: Vec<(i64, u64, u64)>,
    snapshots: Vec<i64>,
    epochs: u64,
    names: u64,
    parent_names: u64,
}

/// What has to reach the device for a sync.
struct Device<D: Disk> {
    disk: D,
    directory: PathBuf,
    files: Vec<(PathBuf, Option<D::File>)>,
    epochs: Option<String>,
    names: bool,
    parent_names: bool,
    point: Option<(DurablePointFile<D::File>, DurablePoint)>,
}

impl<D: Disk + Clone + 'static> Log<D> {
    /// Begins to make the log durable up to its present end. [`Completed::Synced`] tells how far.
    pub fn begin_sync(&mut self) -> Result<impl Future<Output = Outcome<D::File>> + Send + use<D>, LogError> {
        let alive = self.begin_work()?;
        let due = self.sync_is_due();
        if due {
            let written = self.write_lagging_index();
            self.fail(written)?;
        }
        let barrier = self.barrier();
        let mut device = self.device(&barrier);
        if due {
            device.point = Some((self.point_file.clone(), self.point_after(&barrier)));
        }
        Ok(async move {
            let (result, point) = device.run().await;
            Outcome { result, point, work: Work::Sync(Box::new(barrier)), _alive: alive }
        })
    }

    /// As [`Log::begin_sync`], and leaves nothing to do for the next start: call it last, when
    /// nothing is appended any more.
    pub fn begin_clean_shutdown(&mut self) -> Result<impl Future<Output = Outcome<D::File>> + Send + use<D>, LogError> {
        self.check_online()?;
        let snapshot = self.write_producer_snapshot();
        self.fail(snapshot)?;
        let (disk, directory) = (self.disk.clone(), self.directory.clone());
        let written = self.active().write_indexes(&disk, &directory);
        self.fail(written)?;
        self.point_is_due = true;
        self.begin_sync()
    }

    /// Takes in how begun work ended. A failure makes the log offline for good.
    pub fn complete(&mut self, outcome: Outcome<D::File>) -> Result<Completed, LogError> {
        self.work = None;
        self.check_online()?;
        self.fail(outcome.result)?;
        let pointed = outcome.point.is_some();
        if let Some((file, point)) = outcome.point {
            self.point_file = file;
            self.point = point;
        }
        let done = match outcome.work {
            Work::Sync(barrier) => self.complete_sync(&barrier, pointed),
            Work::Truncate(cut) => self.complete_truncate(cut),
            Work::Restart(offset) => self.complete_restart(offset),
            Work::AdvanceStart(log_start) => self.complete_advance(log_start),
        };
        self.fail(done)
    }

    /// One work at a time, and none once the log is offline. One that was dropped may have hidden a failed sync.
    pub(super) fn begin_work(&mut self) -> Result<Arc<()>, LogError> {
        self.check_online()?;
        if let Some(work) = &self.work {
            if Weak::strong_count(work) > 0 {
                return Err(LogError::Busy);
            }
            self.offline = Some("a sync was abandoned and its outcome is not known".to_owned());
            self.check_online()?;
        }
        let alive = Arc::new(());
        self.work = Some(Arc::downgrade(&alive));
        Ok(alive)
    }

    fn barrier(&self) -> Barrier {
        let pending =
            |segment: &&super::Segment<D::File>| segment.changes.are_pending() || segment.index_changes.are_pending();
        Barrier {
            log_end: self.log_end,
            bytes_since_point: self.bytes_since_point,
            segments: (self.segments.iter().filter(pending))
                .map(|segment| (segment.base_offset, segment.changes.made, segment.index_changes.made))
                .collect(),
            snapshots: self.snapshots.iter().filter(|(_, synced)| !**synced).map(|(offset, _)| *offset).collect(),
            epochs: self.epoch_changes.made,
            names: self.names.made,
            parent_names: self.parent_names.made,
        }
    }

    fn device(&self, barrier: &Barrier) -> Device<D> {
        let mut files = Vec::new();
        for segment in &self.segments {
            if segment.changes.are_pending() {
                files.push((segment.path(&self.directory), Some(segment.file.clone())));
            }
            if segment.index_changes.are_pending() {
                files.push((segment.index_path(&self.directory), None));
                files.push((segment.time_index_path(&self.directory), None));
            }
        }
        for offset in &barrier.snapshots {
            files.push((self.directory.join(offset_file(*offset, SNAPSHOT_SUFFIX)), None));
        }
        Device {
            disk: self.disk.clone(),
            directory: self.directory.clone(),
            files,
            epochs: self.epoch_changes.are_pending().then(|| self.epochs.encode()),
            names: self.names.are_pending(),
            parent_names: self.parent_names.are_pending(),
            point: None,
        }
    }

    /// The durable point once the barrier has passed.
    fn point_after(&self, barrier: &Barrier) -> DurablePoint {
        let snapshot = barrier.snapshots.last().copied().max(self.point.snapshot_offset);
        DurablePoint { log_start: self.log_start, recovery_point: barrier.log_end, snapshot_offset: snapshot }
    }

    fn write_lagging_index(&mut self) -> Result<(), LogError> {
        if self.bytes_since_point < INDEX_LAG_BYTES {
            return Ok(());
        }
        let (disk, directory) = (self.disk.clone(), self.directory.clone());
        self.active().write_indexes(&disk, &directory)
    }

    fn complete_sync(&mut self, barrier: &Barrier, pointed: bool) -> Result<Completed, LogError> {
        for (base_offset, changes, index_changes) in &barrier.segments {
            if let Some(segment) = self.segments.iter_mut().find(|segment| segment.base_offset == *base_offset) {
                segment.changes.synced = *changes;
                segment.index_changes.synced = *index_changes;
            }
        }
        for offset in &barrier.snapshots {
            self.snapshots.entry(*offset).and_modify(|synced| *synced = true);
        }
        self.epoch_changes.synced = barrier.epochs;
        self.names.synced = barrier.names;
        self.parent_names.synced = barrier.parent_names;
        assert!(self.synced_end <= barrier.log_end && barrier.log_end <= self.log_end);
        self.synced_end = barrier.log_end;
        self.cut_is_unsynced = false;
        if pointed {
            self.bytes_since_point -= barrier.bytes_since_point;
            self.point_is_due = self.segments.last().is_some_and(|active| active.base_offset > barrier.log_end);
            self.remove_old_snapshots()?;
        } else {
            self.hint(self.point_after(barrier))?;
        }
        Ok(Completed::Synced { synced_end: self.synced_end })
    }

    /// Writes the point without a sync: it survives the end of the process, and a power cut with luck.
    fn hint(&mut self, point: DurablePoint) -> Result<(), LogError> {
        let path = self.directory.join(DURABLE_POINT);
        self.point_file.write(point).map_err(LogError::io(&path, "write"))?;
        self.point = point;
        Ok(())
    }

    /// A future that persists `point` and then has `work` done; without a point, at once.
    pub(super) fn persist_point(
        &self,
        alive: Arc<()>,
        point: Option<DurablePoint>,
        work: Work,
    ) -> impl Future<Output = Outcome<D::File>> + Send + use<D> {
        let home = self.point_home();
        let file = self.point_file.clone();
        async move {
            let (result, point) = match point {
                None => (Ok(()), None),
                Some(point) => home.persist(file, point).await,
            };
            Outcome { result, point, work, _alive: alive }
        }
    }

    pub(super) fn point_home(&self) -> PointHome<D> {
        PointHome {
            disk: self.disk.clone(),
            directory: self.directory.clone(),
            is_new: self.parent_names.are_pending(),
        }
    }

    pub(super) fn outcome(
        alive: Arc<()>,
        result: Result<(), LogError>,
        point: Option<(DurablePointFile<D::File>, DurablePoint)>,
        work: Work,
    ) -> Outcome<D::File> {
        Outcome { result, point, work, _alive: alive }
    }
}

type Persisted<F> = (Result<(), LogError>, Option<(DurablePointFile<F>, DurablePoint)>);

/// Where a durable point lives.
pub(super) struct PointHome<D> {
    disk: D,
    directory: PathBuf,
    /// Its name, and those of the directories above, may not be durable yet.
    is_new: bool,
}

impl<D: Disk> PointHome<D> {
    /// Writes and syncs a durable point.
    pub async fn persist(self, mut file: DurablePointFile<D::File>, point: DurablePoint) -> Persisted<D::File> {
        match self.try_persist(&mut file, point).await {
            Ok(()) => (Ok(()), Some((file, point))),
            Err(error) => (Err(error), None),
        }
    }

    async fn try_persist(&self, file: &mut DurablePointFile<D::File>, point: DurablePoint) -> Result<(), LogError> {
        let path = self.directory.join(DURABLE_POINT);
        file.write(point).map_err(LogError::io(&path, "write"))?;
        file.file().sync().await.map_err(LogError::io(&path, "sync"))?;
        file.synced();
        if self.is_new {
            self.disk.sync_directory(&self.directory).await.map_err(LogError::io(&self.directory, "sync"))?;
            sync_ancestors(&self.disk, &self.directory).await?;
        }
        Ok(())
    }
}

impl<D: Disk> Device<D> {
    /// Data first, then names, then the claim that they are durable.
    async fn run(mut self) -> Persisted<D::File> {
        if let Err(error) = self.sync_all().await {
            return (Err(error), None);
        }
        match self.point.take() {
            None => (Ok(()), None),
            // Its name is durable by now, as all the others.
            Some((file, point)) => {
                PointHome { disk: self.disk, directory: self.directory, is_new: false }.persist(file, point).await
            }
        }
    }

    async fn sync_all(&mut self) -> Result<(), LogError> {
        for (path, file) in std::mem::take(&mut self.files) {
            let file = match file {
                Some(file) => file,
                None => self.disk.open(&path, OpenMode::Write).map_err(LogError::io(&path, "open"))?,
            };
            file.sync().await.map_err(LogError::io(&path, "sync"))?;
        }
        if let Some(text) = self.epochs.take() {
            replace_durably(&self.disk, &self.directory, LEADER_EPOCH_CHECKPOINT, text.as_bytes()).await?;
            self.names = true;
        }
        if self.names {
            self.disk.sync_directory(&self.directory).await.map_err(LogError::io(&self.directory, "sync"))?;
        }
        if self.parent_names {
            sync_ancestors(&self.disk, &self.directory).await?;
        }
        Ok(())
    }
}

/// Replaces a file by way of a temporary one, so that it always holds the old or the new contents.
/// The directory is yet to be synced.
pub(super) async fn replace_durably<D: Disk>(
    disk: &D,
    directory: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), LogError> {
    let temporary = directory.join(format!("{name}{TEMPORARY_SUFFIX}"));
    let file = write_whole(disk, &temporary, bytes)?;
    file.sync().await.map_err(LogError::io(&temporary, "sync"))?;
    disk.rename(&temporary, &directory.join(name)).map_err(LogError::io(&temporary, "rename"))
}

/// Makes the names of `directory` and of those above it durable.
pub(super) async fn sync_ancestors<D: Disk>(disk: &D, directory: &Path) -> Result<(), LogError> {
    for ancestor in directory.ancestors().skip(1) {
        disk.sync_directory(ancestor).await.map_err(LogError::io(ancestor, "sync"))?;
    }
    Ok(())
}
