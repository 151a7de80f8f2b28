//! What clients that create and delete topics asked and were told.
//!
//! A name belongs to one client, so that its history is sequential; values are unique in a run. The topic
//! between a creation of a name and its deletion is an *incarnation*: whose value a record is, and whether
//! it may be read, follows from the order of these operations alone.

use std::collections::BTreeMap;

use wyrdlog::base::partition_state::Durability;
use wyrdlog::wire::kafka::ErrorCode;

use super::{Client, OpId, Operation, Outcome};
use crate::observed::Node;

/// The index of a name in [`TopicsHistory::names`].
pub type NameIndex = u32;

/// What a topic was to be created as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replicas: i16,
    /// Its durability class.
    pub durability: Durability,
}

/// What a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Create the topic.
    Create {
        /// Its name.
        name: NameIndex,
        /// What as.
        shape: Shape,
    },
    /// Delete the topic.
    Delete {
        /// Its name.
        name: NameIndex,
    },
    /// Every broker of the cluster was asked, again and again, until it knew the topic by the id that its
    /// creation had told; then its leaders, until they served it.
    Settle {
        /// Its name.
        name: NameIndex,
    },
    /// A leader of the topic, once it served it, was asked for what bore the name before, by the id of that.
    FetchFormer {
        /// Its name.
        name: NameIndex,
    },
    /// A record was sent, once, with acks=all.
    Send {
        /// The topic.
        name: NameIndex,
        /// Where to.
        partition: i32,
        /// The unique value.
        value: u64,
    },
    /// All partitions were read from the beginning.
    Read {
        /// The topic.
        name: NameIndex,
    },
    /// A whole round: the topic was created, settled, written to and read to its end, deleted, created
    /// again, settled, and read to its end again.
    Round {
        /// The topic.
        name: NameIndex,
    },
}

impl Call {
    /// The topic it is about.
    #[must_use]
    pub fn name(&self) -> NameIndex {
        match *self {
            Call::Create { name, .. }
            | Call::Delete { name }
            | Call::Settle { name }
            | Call::FetchFormer { name }
            | Call::Send { name, .. }
            | Call::Read { name }
            | Call::Round { name } => name,
        }
    }
}

/// What one partition gave to a read from its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionRead {
    /// Which.
    pub partition: i32,
    /// The consumer's position at last: everything below was read.
    pub reached: i64,
    /// Its records: offset and value.
    pub records: Vec<(i64, u64)>,
}

/// What a client was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What was asked for was done.
    Done,
    /// The broker refused, and nothing was done.
    Refused(ErrorCode),
    /// The record was taken, at this offset.
    Sent {
        /// The offset.
        offset: i64,
    },
    /// What was read, by partition, as far as it went.
    Read(Vec<PartitionRead>),
}

/// One operation.
pub type TopicOp = Operation<Call, Reply>;

/// What was expected of the run, put together by whoever judges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// How many brokers there are.
    pub brokers: usize,
    /// When brokers lost power, or a sync: what is not synced may be gone.
    pub cuts_ns: Vec<u64>,
    /// When bytes at rest of brokers were damaged or lost.
    pub disks_ns: Vec<u64>,
    /// When all faults were healed.
    pub healed_ns: u64,
    /// When what is promised after healing has to hold.
    pub bound_ns: u64,
    /// When the load ended.
    pub load_ends_ns: u64,
    /// When the disks were looked at, at last.
    pub seen_ns: u64,
    /// The directories of logs on the disks of brokers that ran then.
    pub directories: Vec<(Node, String)>,
}

/// All operations, in the order of invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsHistory {
    /// The names.
    pub names: Vec<String>,
    /// The clients.
    pub clients: Vec<Client>,
    /// The operations, by [`OpId`].
    pub operations: Vec<TopicOp>,
    /// What was expected.
    pub expected: Expected,
}

impl TopicsHistory {
    /// Records an invocation. Its outcome is unknown until it completes.
    pub fn invoke(&mut self, client: Client, time_ns: u64, call: Call) -> OpId {
        let id = self.operations.len() as OpId;
        let operation = Operation { client, invoked_ns: time_ns, completed_ns: None, call, outcome: Outcome::Unknown };
        self.operations.push(operation);
        id
    }

    /// Records how operation `id` ended.
    pub fn complete(&mut self, id: OpId, time_ns: u64, outcome: Outcome<Reply>) {
        if let Some(operation) = self.operations.get_mut(id as usize) {
            operation.completed_ns = Some(time_ns);
            operation.outcome = outcome;
        }
    }

    /// The operations on each name, in order.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<NameIndex, Vec<(OpId, &TopicOp)>> {
        let mut by_name: BTreeMap<NameIndex, Vec<(OpId, &TopicOp)>> = BTreeMap::new();
        for (op, operation) in (0..).zip(&self.operations) {
            by_name.entry(operation.call.name()).or_default().push((op, operation));
        }
        by_name
    }

    /// The name, for evidence.
    #[must_use]
    pub fn name(&self, name: NameIndex) -> &str {
        self.names.get(name as usize).map_or("?", String::as_str)
    }
}
