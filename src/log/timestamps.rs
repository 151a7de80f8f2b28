//! Offsets by time (ListOffsets): the first record at or after a timestamp, and the latest one.

use std::future::Future;

use bytes::Buf;

use super::Log;
use super::batches::{FoundBatch, SCAN_CHUNK_BYTES, Step, varint};
use super::error::LogError;
use super::locate::{START, SegmentView, StartPlace};
use super::truncate::damaged;
use crate::base::batch_header::HEADER_BYTES;
use crate::base::ids::LeaderEpoch;
use crate::runtime::Disk;

/// A record's place in time and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The record's offset. Within a compressed batch it is the batch's first offset if a
    /// timestamp was asked for, and its last one for the maximum: a consumer that seeks there
    /// sees what it asked for, and at most a batch before it.
    pub offset: i64,
    /// The leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

struct TimeSearch<D: Disk> {
    disk: D,
    views: Vec<SegmentView<D::File>>,
    log_start: i64,
    upper_bound: i64,
}

impl<D: Disk + Clone + 'static> Log<D> {
    /// The first record below `upper_bound` whose timestamp is `timestamp_ms` or later.
    pub fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
        upper_bound: i64,
    ) -> impl Future<Output = Result<Option<TimestampedOffset>, LogError>> + Send + use<D> {
        let views =
            (0..self.segments.len()).filter(|at| self.may_reach(*at, timestamp_ms)).map(|at| self.time_view(at));
        let search = self.time_search(views.collect(), upper_bound);
        async move { search.first_at_or_after(timestamp_ms).await }
    }

    /// The record with the largest timestamp below `upper_bound`, the first of several.
    pub fn offset_of_max_timestamp(
        &self,
        upper_bound: i64,
    ) -> impl Future<Output = Result<Option<TimestampedOffset>, LogError>> + Send + use<D> {
        // Segments whole below the bound are told apart by what is known of them; the one that
        // holds the bound has to be looked at.
        let whole = |at: usize| self.segments.get(at + 1).map_or(self.log_end, |next| next.base_offset) <= upper_bound;
        let largest = |at: &usize| self.segments[*at].largest_timestamp.map(|entry| entry.timestamp_ms);
        let best =
            (0..self.segments.len()).filter(|at| whole(*at)).max_by_key(|at| (largest(at), std::cmp::Reverse(*at)));
        let partial = (0..self.segments.len()).find(|at| !whole(*at));
        let views = best.into_iter().chain(partial).map(|at| self.time_view(at)).collect();
        let search = self.time_search(views, upper_bound);
        async move { search.largest().await }
    }

    fn may_reach(&self, at: usize, timestamp_ms: i64) -> bool {
        self.segments[at].largest_timestamp.is_some_and(|largest| largest.timestamp_ms >= timestamp_ms)
    }

    fn time_view(&self, at: usize) -> SegmentView<D::File> {
        self.view_with_index(at, self.segments[at].base_offset)
    }

    fn time_search(&self, views: Vec<SegmentView<D::File>>, upper_bound: i64) -> TimeSearch<D> {
        let upper_bound = upper_bound.min(self.log_end);
        TimeSearch { disk: self.disk.clone(), views, log_start: self.log_start, upper_bound }
    }
}

impl<D: Disk> TimeSearch<D> {
    async fn first_at_or_after(&self, timestamp_ms: i64) -> Result<Option<TimestampedOffset>, LogError> {
        for view in &self.views {
            let reaches = |found: &FoundBatch| found.header.max_timestamp >= timestamp_ms;
            let mut best = None;
            self.scan(view, self.start(view, timestamp_ms).await?, |found| {
                best = reaches(&found).then(|| self.first_record(&found, timestamp_ms)).flatten();
                best.is_none()
            })
            .await?;
            if best.is_some() {
                return Ok(best);
            }
        }
        Ok(None)
    }

    async fn largest(&self) -> Result<Option<TimestampedOffset>, LogError> {
        let mut best: Option<FoundBatch> = None;
        for view in &self.views {
            self.scan(view, START, |found| {
                if best.as_ref().is_none_or(|best| found.header.max_timestamp > best.header.max_timestamp) {
                    best = Some(found);
                }
                true
            })
            .await?;
        }
        Ok(best.filter(|best| best.header.max_timestamp >= 0).and_then(|best| {
            let last = TimestampedOffset {
                timestamp_ms: best.header.max_timestamp,
                offset: best.header.last_offset(),
                leader_epoch: best.header.leader_epoch,
            };
            if best.header.compression() != 0 { Some(last) } else { self.first_record(&best, last.timestamp_ms) }
        }))
    }

    /// The time index says what lies wholly before the timestamp.
    async fn start(&self, view: &SegmentView<D::File>, timestamp_ms: i64) -> Result<StartPlace, LogError> {
        let from_disk = match &view.index {
            Some(_) => None,
            None => Some(view.read_index(&self.disk).await?),
        };
        let Some(index) = view.index.as_ref().or(from_disk.as_ref()) else { return Ok(START) };
        let entry = index.lookup_time(timestamp_ms).and_then(|time| index.lookup(time.relative_offset));
        match entry {
            Some(entry) => Ok(view.confirm(entry).await?.unwrap_or(START)),
            None => Ok(START),
        }
    }

    /// Hands the batches below the bound to `visit` until it says false.
    async fn scan(
        &self,
        view: &SegmentView<D::File>,
        start: StartPlace,
        mut visit: impl FnMut(FoundBatch) -> bool,
    ) -> Result<(), LogError> {
        let mut scan = view.scan_from(start, SCAN_CHUNK_BYTES);
        loop {
            let position = scan.position();
            match scan.next(true).await? {
                Step::Batch(found) if found.header.next_offset() <= self.log_start => {}
                Step::Batch(found) if found.header.next_offset() <= self.upper_bound => {
                    if !visit(found) {
                        return Ok(());
                    }
                }
                Step::Batch(_) | Step::End => return Ok(()),
                Step::Invalid(bad) => return Err(damaged(view, position, view.base_offset, &bad)),
            }
        }
    }

    /// The first record of a batch that has the timestamp or a later one, at or above the log start.
    fn first_record(&self, found: &FoundBatch, timestamp_ms: i64) -> Option<TimestampedOffset> {
        let header = &found.header;
        let at = |timestamp_ms, offset| TimestampedOffset { timestamp_ms, offset, leader_epoch: header.leader_epoch };
        if header.compression() != 0 || header.has_log_append_time() {
            return Some(at(header.max_timestamp, header.base_offset.max(self.log_start)));
        }
        let mut rest = found.bytes.get(HEADER_BYTES..)?;
        while let Some((timestamp_delta, offset_delta)) = next_record(&mut rest) {
            let timestamp = header.base_timestamp.saturating_add(timestamp_delta);
            let offset = header.base_offset.saturating_add(offset_delta);
            if timestamp >= timestamp_ms && (self.log_start..=header.last_offset()).contains(&offset) {
                return Some(at(timestamp, offset));
            }
        }
        None
    }
}

/// The timestamp delta and offset delta of the next record; none where there is none or it is not one.
fn next_record(rest: &mut &[u8]) -> Option<(i64, i64)> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let mut record = rest.get(..length)?;
    rest.advance(length);
    let _attributes = record.try_get_i8().ok()?;
    Some((varint(&mut record)?, varint(&mut record)?))
}
