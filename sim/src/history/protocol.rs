//! What clients asked brokers that speak every version and know the answers, frame by frame.
//!
//! Bytes as they came: nothing of an answer is read before it is judged.

use std::sync::Arc;

use bytes::Bytes;
use wyrdlog::base::address::Address;
use wyrdlog::base::ids::BrokerId;
use wyrdlog::wire::kafka::{ApiKey, Request};

use super::Client;

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
    /// What was asked, in the order of the answers.
    pub exchanges: Vec<Exchange>,
}
