//! What can happen in a node, said once. In production events feed logs and metrics; in
//! simulation they feed invariants, histories and explanations.
//!
//! A node observes an event in the same synchronous step as the change, and the event carries the
//! state *after* the change. An event never says where or when: the observer knows its node,
//! its incarnation and the instant.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::ids::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, ServerId, SessionId, Term, TopicPartition, Zxid,
};
use super::ids::{ProducerEpoch, ProducerId};
use super::partition_state::{Durability, InSyncReplica, PartitionState};
use super::plants::Plant;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// In a replica's log.
    Log(TopicPartition, LogEvent),
    /// To a replica's part in its partition.
    Replica(TopicPartition, ReplicaEvent),
    /// In the controller.
    Controller(ControllerEvent),
    /// In a coordinator server.
    Coordinator(CoordinatorEvent),
    /// In a broker as a whole.
    Broker(BrokerEvent),
    /// To a client, about a partition.
    Client(TopicPartition, ClientEvent),
    /// The branch of a planted bug was executed.
    PlantTaken(Plant),
}

/// How a batch came to be in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedBatch {
    /// The offset of its first record.
    pub base_offset: i64,
    /// The offset of its last record.
    pub last_offset: i64,
    /// The leader epoch that its header carries.
    pub leader_epoch: LeaderEpoch,
    /// Its CRC-32C, which stands for its bytes.
    pub crc: u32,
    /// -1 where the producer is not idempotent.
    pub producer_id: ProducerId,
    /// -1 where the producer is not idempotent.
    pub producer_epoch: ProducerEpoch,
    /// -1 where the producer is not idempotent.
    pub base_sequence: i32,
}

/// A change of one replica's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// The log was opened: created, or recovered at the start of an incarnation.
    Opened {
        /// The first offset that is kept.
        log_start: i64,
        /// The offset after the last record.
        log_end: i64,
        /// Bytes of a torn tail that recovery cut.
        torn_bytes: u64,
        /// What is promised about its records.
        durability: Durability,
    },
    /// A batch was appended, by the leader or from it.
    Appended {
        /// The batch.
        batch: AppendedBatch,
        /// The offset after it.
        log_end: i64,
    },
    /// A segment was closed, and its producers' state written beside it; the next append begins another.
    Rolled {
        /// Where the new segment begins.
        base_offset: i64,
    },
    /// Everything up to `synced_end` is durable.
    Synced {
        /// The offset after the last durable record.
        synced_end: i64,
    },
    /// Records at and after `log_end` were removed.
    Truncated {
        /// The log end before.
        from: i64,
        /// The log end now.
        log_end: i64,
    },
    /// Retention removed records below `log_start`.
    StartAdvanced {
        /// The first offset that is kept.
        log_start: i64,
    },
    /// A batch that failed its checksum, or a failing disk, was found; the replica is not served.
    Damaged {
        /// The offset from which on nothing can be trusted.
        offset: i64,
    },
}

/// A change of one replica's part in its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaEvent {
    /// It leads from now on.
    BecameLeader {
        /// The epoch in which it leads.
        leader_epoch: LeaderEpoch,
        /// This broker's incarnation.
        broker_epoch: BrokerEpoch,
        /// Its log end, where the epoch starts.
        log_end: i64,
        /// Its high watermark.
        high_watermark: i64,
    },
    /// It follows `leader` from now on.
    BecameFollower {
        /// The epoch in which it follows.
        leader_epoch: LeaderEpoch,
        /// The leader, or none while there is none.
        leader: Option<BrokerId>,
        /// Its log end, before it truncates.
        log_end: i64,
    },
    /// It no longer has a part in the partition.
    Stopped,
    /// The high watermark moved, on a leader or on a follower.
    HighWatermark {
        /// Whether this replica leads.
        leads: bool,
        /// The epoch in which it leads or follows.
        leader_epoch: LeaderEpoch,
        /// The offset below which everything is committed.
        high_watermark: i64,
        /// The maximal in-sync set, on a leader; empty on a follower.
        maximal_in_sync: Vec<InSyncReplica>,
        /// `min.insync.replicas` of the topic.
        min_in_sync: usize,
    },
    /// The leader learned of or proposed another in-sync set.
    InSync {
        /// The epoch in which it leads.
        leader_epoch: LeaderEpoch,
        /// The set that the controller committed.
        committed: Vec<InSyncReplica>,
        /// The set that is proposed and not yet answered.
        proposed: Option<Vec<InSyncReplica>>,
    },
    /// What the leader knows of a follower changed: what it fetched, or whether it keeps up.
    FollowerProgress {
        /// The follower.
        broker: BrokerId,
        /// The incarnation that fetched last and the offset from which it did: it holds all below. None
        /// if that does not count any more.
        fetched: Option<(BrokerEpoch, i64)>,
        /// Whether the high watermark waits for it even while it is not in sync.
        keeps_up: bool,
    },
    /// A produce request was answered without an error.
    Acknowledged {
        /// The epoch in which it was appended.
        leader_epoch: LeaderEpoch,
        /// The first record's offset.
        base_offset: i64,
        /// The last record's offset.
        last_offset: i64,
        /// 1 or -1 (all).
        acks: i16,
    },
    /// A retried batch was recognised and answered without a second append.
    Deduplicated {
        /// The offset at which the batch had been appended.
        base_offset: i64,
    },
    /// Records were handed to a consumer.
    Served {
        /// The offset after the last record that was handed out.
        end: i64,
        /// The high watermark at that instant.
        high_watermark: i64,
    },
    /// A request of an older leader, broker, controller or producer epoch was refused.
    Fenced,
}

/// A change in the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerEvent {
    /// This broker was elected.
    Elected {
        /// Its epoch.
        controller_epoch: ControllerEpoch,
    },
    /// This broker learned that it is no longer the controller.
    Deposed {
        /// The epoch that ended.
        controller_epoch: ControllerEpoch,
        /// Whether a write of its was outstanding or refused.
        while_writing: bool,
    },
    /// The coordinator confirmed that a partition's state changed.
    Committed {
        /// The partition.
        partition: TopicPartition,
        /// Its state now.
        state: PartitionState,
        /// The controller's epoch.
        controller_epoch: ControllerEpoch,
        /// The change's place in the coordinator's history.
        zxid: Zxid,
    },
    /// A partition's state was read from the coordinator, and is not the one that this controller
    /// knew: a write of its own or of another's, of which no answer came, had been committed.
    Found {
        /// The partition.
        partition: TopicPartition,
        /// Its state now.
        state: PartitionState,
        /// The epoch of the controller that wrote it, and the write's place in the coordinator's
        /// history, where they were read.
        written: Option<(ControllerEpoch, Zxid)>,
    },
    /// A broker's registration was seen.
    BrokerStarted {
        /// The broker.
        broker: BrokerId,
        /// Its incarnation.
        broker_epoch: BrokerEpoch,
        /// Whether its last shutdown was clean.
        clean: bool,
    },
}

/// A change of a broker as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerEvent {
    /// Its registration was created and answered: from now on it runs as this incarnation.
    Registered {
        /// The broker.
        broker: BrokerId,
        /// The incarnation that the coordinator gave it.
        broker_epoch: BrokerEpoch,
        /// Whether its last shutdown was clean.
        clean: bool,
        /// The first of its incarnations since which, as it says, nothing that it wrote was lost.
        written_since: BrokerEpoch,
    },
}

/// What a client of a partition was told. A follower is a client of its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A broker refused what it was asked. The client may ask again, and mostly does by itself.
    Refused {
        /// Who refused.
        broker: BrokerId,
        /// What was asked.
        asked: Asked,
        /// The error, as Kafka's protocol numbers it.
        error_code: i16,
        /// How long the refusal took, from before the request was sent.
        after: Duration,
    },
}

/// What a client asks of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To take a batch.
    Produce {
        /// 0, 1 or -1 (all).
        acks: i16,
        /// The batch's size.
        bytes: usize,
    },
    /// For records.
    Fetch {
        /// From this offset on.
        offset: i64,
    },
    /// For an offset.
    ListOffsets,
    /// Where a leader epoch ends.
    EpochEnd,
}

/// A change in a coordinator server. What an entry did (sessions, ephemerals, watches) is observed
/// after the entry's `Applied` and before the next one's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorEvent {
    /// This server leads the ensemble from now on.
    Elected {
        /// The server.
        server: ServerId,
        /// The term in which it leads.
        term: Term,
    },
    /// This server no longer leads.
    SteppedDown {
        /// The server.
        server: ServerId,
        /// The term that it now knows.
        term: Term,
    },
    /// This server starts from what its disk holds.
    Recovered {
        /// The last term that it knew.
        term: Term,
        /// For whom it voted in that term.
        voted_for: Option<ServerId>,
        /// The last entry that it has, or that its snapshot covers.
        last_index: u64,
    },
    /// An entry was applied to the tree.
    Applied {
        /// The entry's index in the log, from 1.
        index: u64,
        /// The entry's place in history.
        zxid: Zxid,
        /// A checksum of the entry's bytes.
        entry_digest: u32,
        /// A digest of the whole state after it.
        state_digest: u64,
    },
    /// A snapshot of another server replaced the state.
    SnapshotInstalled {
        /// The last index that it covers.
        index: u64,
        /// Its last zxid.
        zxid: Zxid,
        /// A digest of the whole state.
        state_digest: u64,
    },
    /// A session was created, or re-attached to this server.
    SessionAttached {
        /// The session.
        session: SessionId,
        /// 1 for a new session, then one more each time.
        attachment: u64,
    },
    /// The leader decided that a session has expired, and proposes its end.
    ExpiryProposed {
        /// The session.
        session: SessionId,
    },
    /// A session was closed or expired; its ephemerals are gone on this server.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Whether it timed out instead of being closed.
        expired: bool,
        /// The ephemerals that went with it.
        ephemerals: Vec<String>,
    },
    /// An ephemeral node was created by the entry at `zxid`.
    EphemeralCreated {
        /// The session that owns it.
        session: SessionId,
        /// The entry.
        zxid: Zxid,
        /// The node.
        path: String,
    },
    /// An ephemeral node was deleted by request, not because its session ended.
    EphemeralDeleted {
        /// The session that owned it.
        session: SessionId,
        /// The entry.
        zxid: Zxid,
        /// The node.
        path: String,
    },
    /// A node was created, given other data, or deleted by the entry at `zxid`.
    NodeChanged {
        /// The entry.
        zxid: Zxid,
        /// The node.
        path: Arc<str>,
        /// Its version and data after the entry; none if it does not exist any more.
        content: Option<(i32, Bytes)>,
    },
    /// A reply was handed to a client's connection.
    Replied {
        /// The session.
        session: SessionId,
        /// The request's number.
        xid: i32,
        /// The zxid that the reply carries: everything up to it may show in the reply.
        zxid: Zxid,
    },
    /// A watch event was handed to a client's connection.
    Notified {
        /// The session.
        session: SessionId,
        /// The change that triggered it.
        zxid: Zxid,
        /// The node that changed.
        path: String,
    },
    /// A watch was triggered in the tree by the change at `zxid`, and is owed to the session.
    WatchTriggered {
        /// The session.
        session: SessionId,
        /// The change that triggered it.
        zxid: Zxid,
        /// The node that changed.
        path: String,
    },
}
