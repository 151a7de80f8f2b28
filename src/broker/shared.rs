//! What all tasks of one broker share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::config::Config;
use crate::base::ids::{BrokerEpoch, TopicId, TopicPartition};
use crate::base::plants::Plants;
use crate::base::stop_cause::StopCause;
use crate::controller::metadata::MetadataCache;
use crate::log::LogError;
use crate::replication::Proposal;
use crate::runtime::{Runtime, watch};

/// Proposals of leaders that wait to be carried to the controller. A leader says an unanswered one
/// again at each check, so one that finds the queue full is not lost.
pub const PROPOSALS_WAITING_MAX: usize = 1024;

/// A leader's proposal of another in-sync set.
#[derive(Clone, Debug)]
pub struct PartitionProposal {
    /// The partition.
    pub partition: TopicPartition,
    /// Its topic's id.
    pub topic_id: TopicId,
    /// What its leader proposes.
    pub proposal: Proposal,
}

/// What all tasks of one broker share. Locks are held for sections without an await, and never two
/// at a time.
pub struct Shared<R: Runtime> {
    /// The node's world.
    pub runtime: R,
    /// How it was told to run.
    pub config: Config,
    /// Planted bugs, empty on a real runtime.
    pub plants: Plants,
    metadata: Mutex<MetadataCache>,
    /// Raised whenever the metadata changed.
    pub metadata_changed: watch::Sender<u64>,
    /// This incarnation, once it is registered. Another one follows if its session expires.
    pub broker_epoch: watch::Sender<Option<BrokerEpoch>>,
    /// Proposals on their way to the controller.
    pub proposals: mpsc::Sender<PartitionProposal>,
    /// Why this broker must stop; the first reason counts.
    pub failure: mpsc::Sender<Failure>,
}

impl<R: Runtime> Shared<R> {
    /// For a broker that is about to start; the receivers are for whoever carries proposals and
    /// whoever stops the broker.
    pub fn new(runtime: R, config: Config) -> (Arc<Self>, mpsc::Receiver<PartitionProposal>, mpsc::Receiver<Failure>) {
        let (proposals, proposals_waiting) = mpsc::channel(PROPOSALS_WAITING_MAX);
        let (failure, failed) = mpsc::channel(1);
        let shared = Shared {
            runtime,
            plants: config.plants.for_runtime(R::PLANTS),
            config,
            metadata: Mutex::default(),
            metadata_changed: watch::Sender::new(0),
            broker_epoch: watch::Sender::new(None),
            proposals,
            failure,
        };
        (Arc::new(shared), proposals_waiting, failed)
    }

    /// The metadata of the cluster as this broker knows it.
    pub fn metadata(&self) -> MutexGuard<'_, MetadataCache> {
        lock(&self.metadata)
    }

    /// This broker must stop, because going on could lose or corrupt what it promised to keep.
    pub fn fail(&self, reason: String) {
        self.stop_for(Failure { reason, ..Failure::default() });
    }

    /// As [`Shared::fail`], because the disk failed, of which nothing had been said to be durable.
    pub fn fail_for_disk(&self, reason: String) {
        self.stop_for(Failure { reason, cause: StopCause::Disk, ..Failure::default() });
    }

    /// As [`Shared::fail`], because a log failed.
    pub fn fail_for_log(&self, reason: String, error: &LogError) {
        let (lost_writes, cause) = (error.may_have_lost_writes(), error.stop_cause());
        self.stop_for(Failure { reason, lost_writes, cause });
    }

    fn stop_for(&self, failure: Failure) {
        tracing::error!(reason = failure.reason, "stopping");
        // A reason that was given before counts.
        let _ = self.failure.try_send(failure);
    }
}

/// Why a broker must stop.
#[derive(Clone, Debug, Default)]
pub struct Failure {
    /// For the operator.
    pub reason: String,
    /// Whether something that was written may be lost, although the host never lost power.
    pub lost_writes: bool,
    /// The same as a type.
    pub cause: StopCause,
}

/// Locks; a task that panicked while it held the lock has already been reported as our bug.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
