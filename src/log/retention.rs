//! Removing records from the start: by size, or up to an offset. Whole segments go, never the
//! active one. The new start is durable before a file is removed, so that files which a power cut
//! brings back are known to be leftovers.

use std::future::Future;

use super::Log;
use super::durable_point::DurablePoint;
use super::error::LogError;
use super::sync::{Completed, Outcome, Work};
use crate::base::plants::Plant;
use crate::runtime::Disk;

impl<D: Disk + Clone + 'static> Log<D> {
    /// Where the log would start after retention by size (`retention.bytes`); none if nothing is
    /// to go. Nothing at or above `high_watermark` goes (KAFKA-5634).
    #[must_use]
    pub fn retention_start(&self, high_watermark: i64) -> Option<i64> {
        let mut excess = self.size_bytes().checked_sub(self.config.retention_bytes?)?;
        let mut start = None;
        for pair in self.segments.windows(2) {
            let is_committed = pair[1].base_offset <= high_watermark || self.config.plants.is(Plant::Kafka5634);
            if pair[0].size > excess || !is_committed {
                break;
            }
            excess -= pair[0].size;
            start = Some(pair[1].base_offset);
        }
        start
    }

    /// Begins to have the log start at `log_start`, within it and at or below `high_watermark`:
    /// records below it are gone for readers, and so are the segments that hold nothing else.
    pub fn begin_advance_start(
        &mut self,
        log_start: i64,
        high_watermark: i64,
    ) -> Result<impl Future<Output = Outcome<D::File>> + Send + use<D>, LogError> {
        let high_watermark = if self.config.plants.is(Plant::Kafka5634) { self.log_end } else { high_watermark };
        if log_start < self.log_start || log_start > high_watermark.min(self.log_end) {
            return Err(LogError::OffsetOutOfRange {
                requested: log_start,
                log_start: self.log_start,
                log_end: high_watermark.min(self.log_end),
            });
        }
        let alive = self.begin_work()?;
        let recovery_point = self.point.recovery_point.max(log_start.min(self.synced_end));
        let point = DurablePoint { log_start, recovery_point, snapshot_offset: self.point.snapshot_offset };
        Ok(self.persist_point(alive, Some(point), Work::AdvanceStart(log_start)))
    }

    pub(super) fn complete_advance(&mut self, log_start: i64) -> Result<Completed, LogError> {
        self.log_start = log_start;
        while self.segments.len() > 1 && self.segments[1].base_offset <= log_start {
            self.segments[0].remove(&self.disk, &self.directory)?;
            self.segments.remove(0);
            self.names.note();
        }
        if self.config.plants.is(Plant::Kip360) {
            self.producers.forget_before(log_start);
        }
        if self.epochs.truncate_from_start(log_start) {
            self.epoch_changes.note();
        }
        Ok(Completed::StartAdvanced { log_start })
    }
}
