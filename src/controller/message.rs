//! Everything that can be told to a controller, and everything it can ask of its shell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::metadata::{MetadataUpdate, TopicMetadata, TopicSettings};
use super::registration::Registration;
use crate::base::event::ControllerEvent;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicPartition, Zxid};
use crate::base::partition_state::{InSyncReplica, PartitionState};
use crate::base::plants::Plant;

/// Names a request for its reply; the shell chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a write for its outcome; the core counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// What a new controller reads from the tree, after a sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tree {
    /// The registrations.
    pub brokers: Vec<Registration>,
    /// The topics with their states; each state's partition epoch is its znode's version.
    pub topics: BTreeMap<Arc<str>, TopicMetadata>,
    /// The names of topics whose znodes cannot be understood.
    pub unreadable: BTreeSet<Arc<str>>,
    /// Who wrote each state, and when. Nothing is decided by it.
    pub written: BTreeMap<TopicPartition, (ControllerEpoch, Zxid)>,
}

/// A leader's proposal for one partition (AlterPartition, KIP-497, KIP-903).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlterPartition {
    /// Who proposes.
    pub broker: BrokerId,
    /// Its incarnation.
    pub broker_epoch: BrokerEpoch,
    /// The partition.
    pub partition: TopicPartition,
    /// The epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// The state that the proposal builds on.
    pub partition_epoch: i32,
    /// The proposed set, in incarnations.
    pub in_sync: Vec<InSyncReplica>,
    /// The `min.insync.replicas` that the leader goes by.
    pub min_in_sync: usize,
}

/// Where the replicas of new partitions go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Assignment {
    /// Round-robin over the live brokers, from a place that the shell draws.
    Spread {
        /// How many partitions.
        partitions: usize,
        /// How many replicas each.
        replication_factor: usize,
        /// Where to begin.
        start: usize,
    },
    /// As the client says: replicas by partition, the preferred leader first.
    Explicit(Vec<Vec<BrokerId>>),
}

/// What clients and brokers ask of the controller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Change an in-sync set.
    AlterPartition(AlterPartition),
    /// Create a topic.
    CreateTopic {
        /// Its name.
        topic: Arc<str>,
        /// Its id, drawn by the shell.
        id: TopicId,
        /// Its replicas.
        assignment: Assignment,
        /// Its settings.
        settings: TopicSettings,
    },
    /// Add partitions to a topic.
    AddPartitions {
        /// Its name.
        topic: Arc<str>,
        /// The replicas of the new partitions alone.
        assignment: Assignment,
    },
    /// Replace a topic's settings.
    SetTopic {
        /// Its name.
        topic: Arc<str>,
        /// Its settings from now on.
        settings: TopicSettings,
    },
    /// Delete a topic.
    DeleteTopic {
        /// Its name.
        topic: Arc<str>,
    },
    /// A broker wants to leave: it is answered once it neither leads nor is in sync anywhere.
    ControlledShutdown {
        /// The broker.
        broker: BrokerId,
        /// Its incarnation.
        broker_epoch: BrokerEpoch,
    },
    /// Let preferred leaders lead where they are in sync.
    ElectPreferred {
        /// Which partitions; all if none.
        partitions: Option<Vec<TopicPartition>>,
    },
}

/// A good answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The state that was committed.
    AlterPartition(PartitionState),
    /// It is done.
    Done,
}

/// Why a request was not carried out. The shell maps each to Kafka's error of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// NOT_CONTROLLER.
    #[error("this broker is not the controller")]
    NotController,
    /// STALE_BROKER_EPOCH.
    #[error("the request comes from an earlier incarnation of the broker")]
    StaleBrokerEpoch,
    /// FENCED_LEADER_EPOCH.
    #[error("the broker no longer leads the partition")]
    FencedLeaderEpoch,
    /// INVALID_UPDATE_VERSION.
    #[error("the partition has changed since")]
    StalePartitionEpoch,
    /// INELIGIBLE_REPLICA.
    #[error("brokers {0:?} do not live in the proposed incarnation, or are shutting down")]
    Ineligible(Vec<BrokerId>),
    /// UNKNOWN_TOPIC_OR_PARTITION.
    #[error("the topic or partition does not exist")]
    UnknownTopicOrPartition,
    /// TOPIC_ALREADY_EXISTS.
    #[error("the topic exists already")]
    TopicExists,
    /// INVALID_TOPIC_EXCEPTION.
    #[error("a topic's name has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-', and is not '.' or '..'")]
    InvalidTopic,
    /// INVALID_PARTITIONS.
    #[error("a topic gets between 1 and {0} partitions at a time")]
    InvalidPartitions(usize),
    /// INVALID_REPLICATION_FACTOR.
    #[error("there are {live} live brokers for {wanted} replicas")]
    InvalidReplicationFactor {
        /// How many replicas were asked for.
        wanted: usize,
        /// How many brokers there are.
        live: usize,
    },
    /// INVALID_REPLICA_ASSIGNMENT.
    #[error("an assignment names distinct live brokers, at least one for each partition")]
    InvalidAssignment,
    /// INVALID_REQUEST.
    #[error("the request contradicts itself: {0}")]
    InvalidRequest(&'static str),
    /// Retriable: the controller was busy, or the state that the request built on has just changed.
    #[error("not carried out, try again")]
    TryAgain,
    /// REQUEST_TIMED_OUT: it may or may not have been carried out.
    #[error("the outcome is not known")]
    Unknown,
}

/// One operation of a write. The shell turns it into operations on znodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Set a partition's state if its znode has this version.
    State {
        /// The partition.
        partition: TopicPartition,
        /// The version; setting raises it by one.
        expected_version: i32,
        /// The state, whose partition epoch is the new version.
        state: PartitionState,
    },
    /// Create a topic with its settings, assignment and states (each at version 0).
    CreateTopic {
        /// Its name; it must not exist.
        topic: Arc<str>,
        /// All of it.
        metadata: TopicMetadata,
    },
    /// Create further partitions of a topic.
    CreatePartitions {
        /// Its name.
        topic: Arc<str>,
        /// The first new index; a partition of that index must not exist.
        first: usize,
        /// Their states, at version 0.
        states: Vec<PartitionState>,
    },
    /// Set a topic's settings.
    SetTopic {
        /// Its name.
        topic: Arc<str>,
        /// The settings.
        settings: TopicSettings,
    },
    /// Delete a topic with everything below it.
    DeleteTopic {
        /// Its name.
        topic: Arc<str>,
        /// Its id.
        id: TopicId,
        /// How many partitions it has.
        partitions: usize,
    },
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// All of it was done.
    Committed {
        /// Its place in the coordinator's history.
        zxid: Zxid,
    },
    /// A version or a node was not as expected; nothing was done.
    Conflict,
    /// The controller epoch's znode has another version; nothing was done.
    Fenced,
    /// The connection was lost.
    Unknown,
}

/// An input of [`Controller::step`](super::Controller::step).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// This broker was elected and has raised the controller epoch and read the tree.
    Elected {
        /// Its epoch.
        controller_epoch: ControllerEpoch,
        /// What it read.
        tree: Tree,
    },
    /// The tree was read again, as [`Effect::ReadTree`] asked.
    TreeRead {
        /// What was read.
        tree: Tree,
    },
    /// This broker is no longer the controller: its session ended, or the election's node changed.
    Deposed,
    /// A registration appeared, or one with another creation zxid took its place.
    BrokerStarted(Registration),
    /// A registration disappeared.
    BrokerEnded {
        /// The broker.
        broker: BrokerId,
        /// The incarnation that ended.
        broker_epoch: BrokerEpoch,
    },
    /// A request.
    Request {
        /// For the reply.
        id: RequestId,
        /// The request.
        request: Request,
    },
    /// A broker missed an update, or one could not be delivered to it.
    SnapshotRequested {
        /// The broker.
        broker: BrokerId,
        /// Its incarnation.
        broker_epoch: BrokerEpoch,
    },
    /// A write ended.
    Written {
        /// Which.
        write: WriteId,
        /// How.
        outcome: Outcome,
    },
}

/// An effect of [`Controller::step`](super::Controller::step).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Do all of it or nothing, in one multi; then report `Written`. At most one is outstanding.
    Write {
        /// For the report.
        write: WriteId,
        /// The operations, in order.
        changes: Vec<Change>,
        /// Whether the multi checks the version of the controller epoch's znode. Always, except
        /// where a planted bug forgets it.
        fenced: bool,
    },
    /// Sync and read the tree, until it succeeds; then report `TreeRead`. Nothing is written before.
    ReadTree,
    /// Send an update to a broker, in order. Where one cannot be delivered, say `SnapshotRequested`.
    Push {
        /// To whom.
        broker: BrokerId,
        /// What.
        update: MetadataUpdate,
    },
    /// Answer a request.
    Reply {
        /// Which.
        id: RequestId,
        /// How.
        result: Result<Answer, Refusal>,
    },
    /// Observe.
    Observe(ControllerEvent),
    /// Observe that a plant's branch was executed.
    PlantTaken(Plant),
}
