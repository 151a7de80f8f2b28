//! Everything that a replica can ask of its shell. Effects are carried out in order.

use crate::base::event::ReplicaEvent;
use crate::base::ids::{BrokerId, LeaderEpoch};
use crate::base::partition_state::InSyncReplica;
use crate::base::plants::Plant;

use super::leader_epochs::EpochStart;

/// When a produce request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acknowledge {
    /// As soon as the append is reported (`acks` 0 and 1).
    AtAppend,
    /// When the high watermark reaches the end of the batch (`acks=all`).
    AtHighWatermark,
}

/// Where an epoch ends in the leader's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EpochEnd {
    /// The largest epoch of the leader's that is not above the requested one; none if all of its are.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Where it ends, or where the leader's log begins.
    pub end_offset: i64,
}

/// Why a request was refused. The shell maps each to Kafka's error of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// NOT_LEADER_OR_FOLLOWER.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// FENCED_LEADER_EPOCH: who asks is behind.
    #[error("the leader epoch of the request is older than the leader's")]
    FencedLeaderEpoch,
    /// UNKNOWN_LEADER_EPOCH: this broker is behind.
    #[error("the leader epoch of the request is newer than the leader's")]
    UnknownLeaderEpoch,
    /// NOT_ENOUGH_REPLICAS: nothing was appended.
    #[error("the in-sync set is smaller than min.insync.replicas")]
    NotEnoughReplicas,
    /// OFFSET_OUT_OF_RANGE.
    #[error("the log holds offsets {log_start} to {log_end}")]
    OffsetOutOfRange {
        /// The first offset that is kept.
        log_start: i64,
        /// The offset after the last record.
        log_end: i64,
    },
    /// OFFSET_NOT_AVAILABLE: the high watermark has not caught up since the election.
    #[error("the high watermark has not reached the start of the leader's epoch")]
    OffsetNotAvailable,
    /// STALE_BROKER_EPOCH: a newer incarnation of the follower has fetched.
    #[error("the request comes from an earlier incarnation of the follower")]
    StaleBrokerEpoch,
    /// UNKNOWN_TOPIC_OR_PARTITION: the follower is not a replica of this partition.
    #[error("the follower is not a replica of the partition")]
    NotAReplica,
    /// KAFKA_STORAGE_ERROR.
    #[error("the replica is out of service")]
    Faulted,
}

/// Why a replica is out of service. It stays so until its log is recovered anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// The log failed an append, a truncation or a sync.
    #[error("the log failed")]
    Log,
    /// The leader's log lacks records that this replica knows to be committed: to follow it would
    /// destroy what may be the last copy (KAFKA-12460). Only a loss past the fault budget, or a bug,
    /// leads here.
    #[error("the leader's log diverges at offset {to}, below the high watermark {high_watermark}")]
    TruncationBelowHighWatermark {
        /// Where the logs diverge.
        to: i64,
        /// This replica's high watermark.
        high_watermark: i64,
    },
}

/// What a leader asks of the controller (AlterPartition, KIP-497).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// The epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// The state that the proposal builds on; it is void once that has changed.
    pub partition_epoch: i32,
    /// The proposed in-sync set, in incarnations, ordered by broker.
    pub in_sync: Vec<InSyncReplica>,
    /// The `min.insync.replicas` that the leader goes by. The controller waits for a leader that is
    /// behind, or it would call eligible a replica that the leader no longer waits for.
    pub min_in_sync: usize,
}

/// The one request that a follower wants to send to its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaderRequest {
    /// OffsetForLeaderEpoch, before anything is fetched in this epoch.
    EpochEnd {
        /// The leader.
        leader: BrokerId,
        /// The epoch in which this replica follows.
        leader_epoch: LeaderEpoch,
        /// The epoch to ask about.
        requested: LeaderEpoch,
    },
    /// Fetch, which acknowledges everything below the offset.
    Fetch {
        /// The leader.
        leader: BrokerId,
        /// The epoch in which this replica follows.
        leader_epoch: LeaderEpoch,
        /// Where to read on.
        offset: i64,
    },
}

/// An effect of [`Replica::step`](super::Replica::step).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Set this base offset and leader epoch in the batch and append it now, within the same section;
    /// then report `Appended`.
    Append {
        /// Goes into the report.
        generation: u32,
        /// The first record's offset.
        base_offset: i64,
        /// The epoch for the batch's header.
        leader_epoch: LeaderEpoch,
        /// When the producer is answered.
        acknowledge: Acknowledge,
    },
    /// Append the batches that the fetch brought, as they are; then report `Appended`.
    AppendFetched {
        /// Goes into the report.
        generation: u32,
        /// The first batch's base offset.
        base_offset: i64,
        /// The offset after the last batch, which goes into the report.
        end: i64,
    },
    /// Remove everything at and after `to`; then report `Truncated`.
    Truncate {
        /// Goes into the report.
        generation: u32,
        /// The new log end.
        to: i64,
    },
    /// Remove everything and begin the log anew at `to`; then report `Truncated`.
    ResetLog {
        /// Goes into the report.
        generation: u32,
        /// The new log start and end.
        to: i64,
    },
    /// Advance the log start as the leader did.
    AdvanceLogStart {
        /// The first offset to keep.
        log_start: i64,
    },
    /// Persist that an epoch begins here, in the leader-epoch checkpoint.
    RecordEpoch(EpochStart),
    /// The high watermark moved: complete the producers that wait for it, wake the readers.
    HighWatermark {
        /// The offset below which everything is committed.
        high_watermark: i64,
    },
    /// Serve a follower from `offset` up to `end`, beyond the high watermark.
    ServeFollower {
        /// Where it reads on.
        offset: i64,
        /// The offset after the last record that is written.
        end: i64,
        /// For the answer.
        high_watermark: i64,
        /// For the answer.
        log_start: i64,
    },
    /// The answer to an [`Input::EpochEndQuery`](super::Input::EpochEndQuery).
    EpochEnd(EpochEnd),
    /// The input's request is refused; nothing was changed.
    Refused(Refusal),
    /// Send [`Replica::proposal`](super::Replica::proposal) to the controller.
    ProposeInSync(Proposal),
    /// The in-sync set fell below `min.insync.replicas`: answer waiting `acks=all` producers with
    /// NOT_ENOUGH_REPLICAS_AFTER_APPEND.
    UnderMinInSync,
    /// Leadership ended: answer everyone who waits with NOT_LEADER_OR_FOLLOWER.
    Resigned,
    /// The replica is out of service.
    Fault(Fault),
    /// Observe, with this partition's name.
    Observe(ReplicaEvent),
    /// Observe that a plant's branch was executed.
    PlantTaken(Plant),
}
