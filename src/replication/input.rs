//! Everything that can be told to a replica.

use super::effect::EpochEnd;
use super::leader_epochs::{EpochStart, LeaderEpochs};
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch};
use crate::base::partition_state::{Durability, PartitionState};

/// A log as recovery found it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovered {
    /// The first offset that is kept.
    pub log_start: i64,
    /// The offset after the last record. Recovery has synced everything below it.
    pub log_end: i64,
    /// Where leader epochs begin, rebuilt from the batches where the checkpoint may be stale.
    pub epochs: LeaderEpochs,
    /// The checkpointed high watermark; losing it is harmless.
    pub high_watermark: i64,
    /// Whether everything that was written is there: a clean shutdown, or a crash of the process alone.
    pub complete: bool,
}

impl Recovered {
    /// An empty log.
    #[must_use]
    pub fn empty() -> Self {
        Recovered { log_start: 0, log_end: 0, epochs: LeaderEpochs::default(), high_watermark: 0, complete: true }
    }

    /// The high watermark as far as it speaks of the records at hand. After a power loss a tail that
    /// had been truncated and replaced may be back, so that nothing is known to be committed.
    pub(super) fn trusted_high_watermark(&self) -> i64 {
        let high_watermark = if self.complete { self.high_watermark } else { self.log_start };
        high_watermark.clamp(self.log_start, self.log_end)
    }
}

/// How many replicas a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acks {
    /// `acks=0`: no answer.
    None,
    /// `acks=1`: the leader's own log.
    Leader,
    /// `acks=all`: the whole in-sync set.
    All,
}

/// A follower's fetch, which acknowledges everything below its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FollowerFetch {
    /// The follower.
    pub replica: BrokerId,
    /// Its incarnation (KIP-903).
    pub broker_epoch: BrokerEpoch,
    /// The leader epoch in which it follows (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// Where it wants to read on.
    pub offset: i64,
}

/// What a fetch brought, as the headers of its batches tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchedBatches {
    /// The first offset of the first batch; after compaction it may lie beyond the one asked for.
    pub base_offset: i64,
    /// The offset after the last batch.
    pub end: i64,
    /// The leader epochs of the batches, each with the first base offset that carries it.
    pub epochs: Vec<EpochStart>,
}

/// The leader's answer to a fetch. Other refusals are not reported: the request is sent again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FetchAnswer {
    /// The leader accepted the fetch.
    Accepted {
        /// The leader's high watermark.
        high_watermark: i64,
        /// The leader's log start.
        log_start: i64,
        /// Verified batches, if there were any.
        batches: Option<FetchedBatches>,
    },
    /// The leader does not have the offset.
    OutOfRange {
        /// The leader's log start.
        log_start: i64,
    },
}

/// The controller's definite answer to a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InSyncAnswer {
    /// The state that was committed.
    Accepted(PartitionState),
    /// These members do not live in the incarnation that was proposed, or are shutting down.
    Ineligible(Vec<BrokerId>),
    /// Any other refusal. The proposal stays, for an earlier copy of it may yet be committed, and a
    /// deposed controller's word is not to be trusted (KAFKA-14154): it is sent again at the next check.
    Refused,
}

/// An input of [`Replica::step`](super::Replica::step).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The controller delivered a state. An older one than the newest known is ignored.
    State(PartitionState),
    /// The topic's configuration changed.
    Settings {
        /// `min.insync.replicas`, at least 1.
        min_in_sync: usize,
        /// What counts as replicated.
        durability: Durability,
    },
    /// The broker registered anew without a restart, for its session had expired.
    Registered {
        /// Its new incarnation.
        broker_epoch: BrokerEpoch,
    },
    /// A producer's batch is ready to be appended.
    Produce {
        /// How many offsets it takes, at least 1.
        records: i64,
        /// What its producer waits for.
        acks: Acks,
    },
    /// An append is in the log.
    Appended {
        /// The generation that its effect carried.
        generation: u32,
        /// The offset after it.
        end: i64,
    },
    /// Everything below `end` is durable.
    Synced {
        /// The generation when the sync began.
        generation: u32,
        /// The log end when the sync began.
        end: i64,
    },
    /// A truncation or reset is done.
    Truncated {
        /// The generation that its effect carried.
        generation: u32,
    },
    /// Retention or a request removed records below `log_start`, none of them above the high watermark.
    LogStart {
        /// The first offset that is kept.
        log_start: i64,
    },
    /// The log could not do what an effect ordered, or a sync failed.
    LogFailed,
    /// A follower fetches from this leader.
    FollowerFetch(FollowerFetch),
    /// A follower or consumer asks where an epoch ends (OffsetForLeaderEpoch).
    EpochEndQuery {
        /// The epoch in which it follows, if it says so.
        leader_epoch: Option<LeaderEpoch>,
        /// The epoch it asks about.
        requested: LeaderEpoch,
    },
    /// The leader said where an epoch ends.
    EpochEndAnswer {
        /// The epoch that the query was sent in.
        leader_epoch: LeaderEpoch,
        /// The epoch that was asked about.
        requested: LeaderEpoch,
        /// The answer.
        answer: EpochEnd,
    },
    /// The leader answered a fetch.
    FetchAnswer {
        /// The epoch that the fetch was sent in.
        leader_epoch: LeaderEpoch,
        /// The offset that was asked for.
        offset: i64,
        /// The answer.
        answer: FetchAnswer,
    },
    /// `replica.lag.time.max.ms` have passed since the last check.
    InSyncCheck,
    /// The controller answered a proposal.
    InSyncAnswer {
        /// The epoch that the proposal was sent in.
        leader_epoch: LeaderEpoch,
        /// The partition epoch that the proposal built on.
        partition_epoch: i32,
        /// The answer.
        answer: InSyncAnswer,
    },
}
