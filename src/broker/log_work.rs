//! A partition's work that waits for the device: syncs, truncations, advances of the log start.
//!
//! One piece at a time, in a task of its own that nothing cancels, so that the outcome of a sync is
//! never lost with a connection. Syncs commit in groups: one covers everything that was appended
//! while the one before was under way.

use crate::base::plants::Plant;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::partition::{Core, Partition, Section};
use crate::base::event::LogEvent;
use crate::base::partition_state::Durability;
use crate::log::{Completed, LogError, Outcome};
use crate::replication::{Effect, Input};
use crate::runtime::{Disk, Runtime};

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Work {
    is_under_way: bool,
    truncation: Option<Truncation>,
    advance_to: Option<i64>,
}

/// A truncation that the replica ordered.
#[derive(Debug)]
struct Truncation {
    generation: u32,
    to: i64,
    resets: bool,
    /// The records are gone, and it remains to make that durable.
    is_cut: bool,
    /// What the replica ordered after it.
    then: VecDeque<Effect>,
}

impl Work {
    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    pub(super) fn is_truncating(&self) -> bool {
        self.truncation.is_some()
    }

    pub(super) fn order_truncation(&mut self, generation: u32, to: i64, resets: bool, then: VecDeque<Effect>) {
        assert!(self.truncation.is_none(), "a follower does nothing else while it truncates");
        self.truncation = Some(Truncation { generation, to, resets, is_cut: false, then });
    }

    pub(super) fn order_advance(&mut self, log_start: i64) {
        self.advance_to = self.advance_to.max(Some(log_start));
    }
}

type Begun<R> = Pin<Box<dyn Future<Output = Outcome<<R as Disk>::File>> + Send>>;

/// Which work was begun, for its completion.
enum Kind {
    Truncation,
    Advance,
    /// With the replica's generation when it began.
    Sync(u32),
}

/// Does what there is to do until nothing is left.
pub(super) async fn run<R: Runtime>(partition: Arc<Partition<R>>) {
    while let Some((kind, work)) = partition.section(|section| section.next_work()) {
        let outcome = work.await;
        partition.section(|section| section.complete(&kind, outcome));
    }
    partition.rested.notify_waiters();
}

impl<R: Runtime> Core<R> {
    /// Whether a task has to be started; it is counted as started.
    pub(super) fn begins_work(&mut self) -> bool {
        let begins = !self.work.is_under_way && self.has_work();
        self.work.is_under_way |= begins;
        begins
    }

    fn has_work(&self) -> bool {
        if self.is_closed() || self.has_failed() {
            return false;
        }
        self.work.truncation.is_some() || self.work.advance_to.is_some() || self.wants_sync()
    }

    fn wants_sync(&self) -> bool {
        let lags = match self.log.config().durability {
            Durability::Synced => self.log.synced_end() < self.log.log_end(),
            Durability::PageCache => false,
        };
        lags || self.log.sync_is_due()
    }

    fn begin(&mut self) -> Result<Option<(Kind, Begun<R>)>, LogError> {
        if let Some(truncation) = &self.work.truncation {
            let to = truncation.to;
            let work: Begun<R> = if truncation.is_cut {
                Box::pin(self.log.begin_sync()?)
            } else if truncation.resets {
                Box::pin(self.log.begin_restart_at(to)?)
            } else {
                Box::pin(self.log.begin_truncate(to)?)
            };
            return Ok(Some((Kind::Truncation, work)));
        }
        let high_watermark = self.replica.high_watermark();
        if let Some(log_start) = self.work.advance_to.take().filter(|start| *start > self.log.log_start()) {
            let work = self.log.begin_advance_start(log_start, high_watermark)?;
            return Ok(Some((Kind::Advance, Box::pin(work))));
        }
        if self.wants_sync() {
            return Ok(Some((Kind::Sync(self.replica.log_generation()), Box::pin(self.log.begin_sync()?))));
        }
        Ok(None)
    }
}

impl<R: Runtime> Section<'_, R> {
    /// Begins the next piece of work, or says that there is none.
    fn next_work(&mut self) -> Option<(Kind, Begun<R>)> {
        let begun = if self.core.is_closed() || self.core.has_failed() { Ok(None) } else { self.core.begin() };
        let begun = begun.unwrap_or_else(|error| {
            self.fail(&error);
            None
        });
        self.core.work.is_under_way = begun.is_some();
        begun
    }

    fn complete(&mut self, kind: &Kind, outcome: Outcome<R::File>) {
        match (self.core.log.complete(outcome), kind) {
            (Err(error), _) => self.fail(&error),
            (Ok(Completed::Synced { synced_end }), Kind::Sync(generation)) => {
                self.observe_log(|| LogEvent::Synced { synced_end });
                self.step(Input::Synced { generation: *generation, end: synced_end });
                self.core.wake_follower();
            }
            (Ok(Completed::StartAdvanced { log_start }), _) => {
                self.observe_log(|| LogEvent::StartAdvanced { log_start });
                if self.core.log.config().plants.is(Plant::Kip360) {
                    self.observe_plant(Plant::Kip360);
                }
                self.step(Input::LogStart { log_start });
            }
            (Ok(Completed::Truncated { from, log_end }), _) => self.truncated(from, log_end),
            (Ok(Completed::Synced { synced_end }), Kind::Truncation) => self.truncation_synced(synced_end),
            (Ok(Completed::Synced { .. }), Kind::Advance) => unreachable!("an advance completes as one"),
        }
    }

    fn truncated(&mut self, from: i64, log_end: i64) {
        let Some(truncation) = &mut self.core.work.truncation else { return };
        truncation.is_cut = true;
        let (to, resets) = (truncation.to, truncation.resets);
        self.observe_log(|| LogEvent::Truncated { from, log_end });
        if self.core.log.log_start() == log_end && resets {
            self.observe_log(|| LogEvent::StartAdvanced { log_start: log_end });
        }
        if log_end != to {
            // The leader named an offset within a batch of ours, which no log of ours does.
            tracing::error!(to, log_end, "the leader's epoch ends within a batch");
            self.step(Input::LogFailed);
        }
    }

    /// Only now may anything be appended: see [`crate::log::Log::begin_truncate`].
    fn truncation_synced(&mut self, synced_end: i64) {
        let Some(truncation) = self.core.work.truncation.take() else { return };
        self.observe_log(|| LogEvent::Synced { synced_end });
        self.step(Input::Truncated { generation: truncation.generation });
        self.step(Input::Synced { generation: self.core.replica.log_generation(), end: synced_end });
        self.truncation_done(truncation.then);
    }
}

impl<R: Runtime> Partition<R> {
    /// Makes the log durable and leaves nothing to do for the next start. Comes after
    /// [`Partition::close`].
    pub(super) async fn shut_down(self: &Arc<Self>) -> Result<(), LogError> {
        let work = self.section(|section| section.core.log.begin_clean_shutdown())?;
        let outcome = work.await;
        self.section(|section| {
            let completed = section.core.log.complete(outcome)?;
            if let Completed::Synced { synced_end } = completed {
                section.observe_log(|| LogEvent::Synced { synced_end });
            }
            Ok(())
        })
    }
}
