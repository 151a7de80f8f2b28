//! Reading: from the tail in memory, else from the disk, and then only what passes its checksum.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Log;
use super::batches::Step;
use super::error::LogError;
use super::leader_epochs::LeaderEpochs;
use super::locate::SegmentView;
use super::tail::ReadBatches;
use super::truncate::damaged;
use crate::base::batch_header::{BadBatch, BatchHeader};
use crate::base::plants::Plant;
use crate::runtime::Disk;

/// The least and the most that a cold read asks the disk for at once.
const CHUNK_BYTES: std::ops::Range<usize> = 16 * 1024..1024 * 1024;

/// A cold read, which does not borrow the log.
struct ColdRead<D: Disk> {
    disk: D,
    view: SegmentView<D::File>,
    epochs: LeaderEpochs,
    from: i64,
    max_bytes: usize,
    upper_bound: i64,
    checked: bool,
    truncations: Arc<AtomicU64>,
    truncations_before: u64,
}

impl<D: Disk + Clone + 'static> Log<D> {
    /// Reads whole batches from the one that holds `from` on: as many as fit into `max_bytes`, at
    /// least one (KIP-74), and none that reaches beyond `upper_bound` (the high watermark or last
    /// stable offset for a consumer, the log end for a follower). Nothing at the upper bound.
    pub fn read(
        &self,
        from: i64,
        max_bytes: usize,
        upper_bound: i64,
    ) -> impl Future<Output = Result<ReadBatches, LogError>> + Send + use<D> {
        let plan = self.plan_read(from, max_bytes, upper_bound);
        async move {
            match plan {
                Ok(Err(cold)) => cold.run().await,
                Ok(Ok(read)) => Ok(read),
                Err(error) => Err(error),
            }
        }
    }

    /// As [`Log::read`], if it can be answered from memory: no future, no disk.
    pub fn read_tail(&self, from: i64, max_bytes: usize, upper_bound: i64) -> Option<ReadBatches> {
        let upper_bound = upper_bound.min(self.log_end);
        if from < self.log_start || from > self.log_end {
            return None;
        }
        if from >= upper_bound {
            return Some(ReadBatches::empty(from));
        }
        self.tail.read(from, max_bytes, upper_bound)
    }

    fn plan_read(
        &self,
        from: i64,
        max_bytes: usize,
        upper_bound: i64,
    ) -> Result<Result<ReadBatches, ColdRead<D>>, LogError> {
        if from < self.log_start || from > self.log_end {
            let (log_start, log_end) = (self.log_start, self.log_end);
            return Err(LogError::OffsetOutOfRange { requested: from, log_start, log_end });
        }
        Ok(self.read_tail(from, max_bytes, upper_bound).ok_or_else(|| ColdRead {
            disk: self.disk.clone(),
            view: self.view(self.segment_of(from), from),
            epochs: self.epochs.clone(),
            from,
            max_bytes,
            upper_bound: upper_bound.min(self.log_end),
            checked: !self.config.plants.is(Plant::UncheckedChecksums),
            truncations: self.truncations.clone(),
            truncations_before: self.truncations.load(Ordering::Acquire),
        }))
    }
}

impl<D: Disk> ColdRead<D> {
    async fn run(self) -> Result<ReadBatches, LogError> {
        let result = self.read().await;
        let raced = self.truncations.load(Ordering::Acquire) != self.truncations_before;
        if raced { Err(LogError::Raced) } else { result }
    }

    async fn read(&self) -> Result<ReadBatches, LogError> {
        let start = self.view.locate(&self.disk, self.from).await?;
        let chunk_bytes = self.max_bytes.clamp(CHUNK_BYTES.start, CHUNK_BYTES.end);
        let mut scan = self.view.scan_from(start, chunk_bytes);
        let mut read = ReadBatches::empty(self.from);
        loop {
            let position = scan.position();
            let bad = match scan.next(self.checked).await? {
                Step::End => break,
                Step::Invalid(bad) => bad,
                Step::Batch(found) if found.header.next_offset() <= self.from => continue,
                Step::Batch(found) => match self.check_epoch(&found.header) {
                    Err(bad) => bad,
                    Ok(()) if self.ends_before(&read, &found.header) => break,
                    Ok(()) => {
                        read.add(&found.header, found.bytes);
                        continue;
                    }
                },
            };
            // What was verified before the damage is good; the next read begins at the damage.
            if read.is_empty() {
                return Err(damaged(&self.view, position, read.next_offset, &bad));
            }
            break;
        }
        Ok(read)
    }

    fn ends_before(&self, read: &ReadBatches, header: &BatchHeader) -> bool {
        header.next_offset() > self.upper_bound || (read.bytes > 0 && read.bytes + header.size > self.max_bytes)
    }

    /// The leader epoch is not under the checksum either.
    fn check_epoch(&self, header: &BatchHeader) -> Result<(), BadBatch> {
        if self.checked && self.epochs.epoch_at(header.base_offset).is_some_and(|epoch| epoch != header.leader_epoch) {
            return Err(BadBatch::Inconsistent("its leader epoch is not the one of its offset"));
        }
        Ok(())
    }
}
