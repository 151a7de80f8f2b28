//! What producers sent and consumers polled.
//!
//! Every value is unique in a run, and is sent to one partition. One [`Call::Send`] is one record,
//! whatever batch carried it; one [`Call::Poll`] is what one poll returned of one partition.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wyrdlog::base::ids::TopicPartition;

use super::{Client, OpId, Operation, Outcome};

/// The index of a partition in [`KafkaHistory::partitions`].
pub type PartitionIndex = u16;

/// A record as a poll returned it: its offset and its value.
pub type Record = (i64, u64);

/// Why a consumer cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetReason {
    /// OFFSET_OUT_OF_RANGE.
    OutOfRange,
    /// What it had read was truncated (KIP-320).
    Truncated,
}

/// What was promised of one partition, from the scenario, the inputs and the disks. Put together by
/// whoever judges, never by a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// Since when nothing is promised any more, in virtual nanoseconds.
    pub beyond_since_ns: Option<u64>,
    /// The offset below which everything was once exposed to consumers.
    pub exposed: i64,
    /// The moves of the log's start that retention justified: when, and where to, ascending.
    pub retained: Vec<(u64, i64)>,
}

/// What a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// A record was handed to the producer.
    Send {
        /// Where to.
        partition: PartitionIndex,
        /// The unique value.
        value: u64,
        /// 0, 1 or -1 (all).
        acks: i16,
        /// The idempotent producer that sent it: one number per producer id the client was given.
        /// A client that is given another id takes another number.
        idempotent: Option<u32>,
    },
    /// A consumer polled.
    Poll {
        /// Where from.
        partition: PartitionIndex,
        /// The position before the poll.
        from: i64,
        /// Whether it belongs to the final phase, which reads everything from the log start.
        last_phase: bool,
    },
    /// A consumer asked for the first offset of a record that is as young as this, or younger.
    OffsetForTime {
        /// Of which partition.
        partition: PartitionIndex,
        /// The time, in milliseconds since the Unix epoch.
        timestamp_ms: i64,
    },
    /// The consumer's position was set to the beginning of the log.
    Reposition {
        /// Whose position.
        partition: PartitionIndex,
    },
    /// The consumer was told that it cannot go on from its position.
    Reset {
        /// Whose position.
        partition: PartitionIndex,
        /// The position.
        position: i64,
        /// Why.
        reason: ResetReason,
    },
}

impl Call {
    /// The partition it is about.
    #[must_use]
    pub fn partition(&self) -> PartitionIndex {
        match *self {
            Call::Send { partition, .. }
            | Call::Poll { partition, .. }
            | Call::OffsetForTime { partition, .. }
            | Call::Reposition { partition }
            | Call::Reset { partition, .. } => partition,
        }
    }
}

/// What a client was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The record was taken, at this offset if the acknowledgement named one. With acks=0 there is none:
    /// the record was sent, and nothing more is known.
    Sent {
        /// The offset.
        offset: Option<i64>,
    },
    /// The poll returned records: this range of [`KafkaHistory::records`].
    Polled {
        /// The first.
        start: u32,
        /// After the last.
        end: u32,
    },
    /// What was asked for is at this offset; none if no record is that young.
    OffsetFound {
        /// The offset.
        offset: Option<i64>,
    },
    /// The position was set.
    Repositioned,
}

/// One operation on the log.
pub type KafkaOp = Operation<Call, Reply>;

/// All operations on the log, in the order of invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaHistory {
    /// The partitions, by index.
    pub partitions: Vec<TopicPartition>,
    /// The operations, by [`OpId`].
    pub operations: Vec<KafkaOp>,
    /// All records that polls returned, one poll after the other.
    pub records: Vec<Record>,
    /// The timestamp of each value that was sent, in milliseconds since the Unix epoch.
    pub timestamps: BTreeMap<u64, i64>,
    /// What the brokers refused, by the name of the error: sends, and lookups by time.
    pub refusals: BTreeMap<OpId, String>,
    /// Sends whose producer was given up before it knew.
    pub given_up: BTreeSet<OpId>,
    /// Whether producers compressed their batches.
    pub is_compressed: bool,
    /// What was promised of each partition; where absent, everything.
    pub expected: BTreeMap<PartitionIndex, Expected>,
    /// Whether the run came to its final phase, in which one client reads every partition whole.
    pub has_final_reads: bool,
}

impl KafkaHistory {
    /// An empty history over `partitions`.
    #[must_use]
    pub fn new(partitions: Vec<TopicPartition>) -> Self {
        KafkaHistory { partitions, ..KafkaHistory::default() }
    }

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

    /// Records that poll `id` returned `records`.
    pub fn complete_poll(&mut self, id: OpId, time_ns: u64, records: impl IntoIterator<Item = Record>) {
        let start = self.records.len() as u32;
        self.records.extend(records);
        let end = self.records.len() as u32;
        self.complete(id, time_ns, Outcome::Ok(Reply::Polled { start, end }));
    }

    /// What poll `operation` returned; empty for anything else.
    #[must_use]
    pub fn polled(&self, operation: &KafkaOp) -> &[Record] {
        match operation.reply() {
            Some(Reply::Polled { start, end }) => self.records.get(*start as usize..*end as usize).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// The first offset that is still promised at the end of the run.
    #[must_use]
    pub fn log_start(&self, partition: PartitionIndex) -> i64 {
        self.log_start_at(partition, u64::MAX)
    }

    /// The first offset that was still promised at `time_ns`.
    #[must_use]
    pub fn log_start_at(&self, partition: PartitionIndex, time_ns: u64) -> i64 {
        let Some(expected) = self.expected.get(&partition) else { return 0 };
        let later = expected.retained.partition_point(|(at_ns, _)| *at_ns <= time_ns);
        expected.retained[..later].last().map_or(0, |(_, start)| *start)
    }

    /// Whether nothing is promised of the partition any more.
    #[must_use]
    pub fn is_beyond(&self, partition: PartitionIndex) -> bool {
        self.expected.get(&partition).is_some_and(|expected| expected.beyond_since_ns.is_some())
    }

    /// The partition's name, for evidence.
    #[must_use]
    pub fn name(&self, partition: PartitionIndex) -> String {
        match self.partitions.get(usize::from(partition)) {
            Some(name) => name.to_string(),
            None => format!("partition #{partition}"),
        }
    }
}
