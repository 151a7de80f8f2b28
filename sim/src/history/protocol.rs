//! What clients asked brokers that speak every version and know the answers, frame by frame.
//!
//! Bytes as they came: nothing of an answer is read before it is judged.

use std::sync::Arc;

use bytes::Bytes;
use wyrdlog::base::address::Address;
use wyrdlog::base::ids::BrokerId;
use wyrdlog::wire::kafka::{ApiKey, Request};

use super::Client;

/// What a client asks about that may be created for that reason begins so.
pub const ASKED_FOR: &str = "churn-asked-";

/// The topics of logs that have one writer begin so; each is created once.
pub const OWN: &str = "churn-own-";

/// What is wrong with a batch that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There is none.
    Empty,
    /// There are two.
    Two,
    /// Its last byte is missing.
    CutShort,
    /// A byte under its checksum is another.
    Checksum,
    /// It says that it is of the format before.
    Magic,
    /// Its first offset is not 0.
    BaseOffset,
    /// It has one record more than it says.
    Count,
    /// It is a control batch.
    Control,
    /// It belongs to a transaction that nobody began.
    Transactional,
    /// It is compressed in a way that nobody knows.
    Compression,
    /// It is compressed with zstd, in a version from before that.
    ZstdTooEarly,
    /// It has a producer id and no epoch.
    NoEpoch,
    /// Nothing but the acks that are asked for.
    Acks,
}

/// Bytes that are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// An API key that there is not.
    UnknownApi(i16),
    /// A version that there is not.
    UnknownVersion(ApiKey, i16),
    /// A header that is cut short.
    ShortHeader,
    /// A body that is cut short.
    ShortBody(ApiKey, i16),
    /// An array of two thousand million elements, in a few bytes.
    HugeArray(i16),
    /// A length below 0.
    NegativeLength,
    /// A length beyond what any server takes.
    TooLong,
}

/// What was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    /// A request.
    Request {
        /// Its version.
        version: i16,
        /// Itself.
        request: Box<Request>,
        /// For a Produce, what is wrong with its batches.
        wrong: Option<Wrong>,
    },
    /// Something else.
    Odd(Odd),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A frame, without its length.
    Frame(Bytes),
    /// The broker closed the connection in good order.
    Closed,
    /// Nothing: the connection was lost, or the client gave up.
    Nothing,
}

/// One question and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Who asked.
    pub client: Client,
    /// Whom.
    pub broker: BrokerId,
    /// By what number.
    pub correlation_id: i32,
    /// How many requests of the same connection stand behind it, sent with it.
    pub behind: usize,
    /// What was sent.
    pub sent: Sent,
    /// When the connection was made, in virtual nanoseconds.
    pub connected_ns: u64,
    /// When it was sent.
    pub sent_ns: u64,
    /// What came.
    pub came: Came,
    /// When; none where nothing came.
    pub ended_ns: Option<u64>,
}

/// See the module's doc.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProtocolHistory {
    /// Where each broker is.
    pub brokers: Vec<(BrokerId, Address)>,
    /// The scenario's topics: names, partitions and replicas.
    pub topics: Vec<(Arc<str>, i32, usize)>,
    /// So many partitions has a topic that is created because somebody asked about it; 0 if none is.
    pub auto_create_partitions: i32,
    /// What was asked, in the order of the answers.
    pub exchanges: Vec<Exchange>,
    /// Logs of which one client is the only writer.
    pub logs: Vec<OwnLog>,
    /// From when on nothing is promised of those: a disk was lost, rotted or failed to sync.
    pub void_from_ns: u64,
}

/// Who numbers a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The producer id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence of the first record.
    pub base_sequence: i32,
}

/// What a client does with a log of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends a batch with acks=all.
    Produce {
        /// Who numbers it, if anybody does.
        stamp: Option<Stamp>,
        /// The records' times and values.
        records: Vec<(i64, u64)>,
        /// Whether it is compressed.
        is_compressed: bool,
    },
    /// Reads.
    Fetch {
        /// From where on.
        offset: i64,
    },
    /// Waits at the end for what is written meanwhile: the step before it.
    Await {
        /// The end.
        offset: i64,
        /// When the write was acknowledged, in virtual nanoseconds.
        written_ns: u64,
    },
    /// Asks for an offset, by a time or for one of the ends.
    Lookup {
        /// The time, or what stands for an end.
        timestamp: i64,
    },
    /// Asks where a leader epoch ends.
    EpochEnd {
        /// Which.
        epoch: i32,
    },
}

/// What is told of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Where a batch is.
    Produced {
        /// The error's code.
        error: i16,
        /// The first offset.
        base_offset: i64,
    },
    /// Records.
    Fetched {
        /// The error's code.
        error: i16,
        /// The high watermark.
        high_watermark: i64,
        /// Whole batches, the last of which may be cut short.
        records: Bytes,
    },
    /// What was looked up.
    Found {
        /// The error's code.
        error: i16,
        /// The record's time.
        timestamp: i64,
        /// Its offset.
        offset: i64,
    },
    /// Where an epoch ends.
    End {
        /// The error's code.
        error: i16,
        /// The epoch that is told of.
        leader_epoch: i32,
        /// Its end.
        end_offset: i64,
    },
    /// Nothing, or what is no answer.
    Nothing,
}

/// One step and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnStep {
    /// Whom it went to.
    pub broker: BrokerId,
    /// In which version.
    pub version: i16,
    /// When, in virtual nanoseconds.
    pub asked_ns: u64,
    /// When it was answered, or given up.
    pub told_ns: u64,
    /// What was asked.
    pub step: Step,
    /// What was told.
    pub told: Told,
}

/// A partition of which one client is the only writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnLog {
    /// Whose.
    pub client: Client,
    /// Its topic, of which it is the only partition.
    pub topic: Arc<str>,
    /// What was done with it, one after the other.
    pub steps: Vec<OwnStep>,
}
