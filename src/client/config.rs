//! What clients can be told, with Kafka's names and defaults.

use crate::base::plants::Plants;
use std::time::Duration;

use crate::wire::kafka::batch::Compression;

/// What every client needs.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// What brokers see it as (`client.id`).
    pub client_id: String,
    /// How long a request may take before its connection is given up (`request.timeout.ms`).
    pub request_timeout: Duration,
    /// How long connecting and the handshake may take (`socket.connection.setup.timeout.ms`).
    pub connect_timeout: Duration,
    /// The shortest wait before something is tried again (`retry.backoff.ms`); doubles with each
    /// attempt.
    pub retry_backoff: Duration,
    /// The longest such wait (`retry.backoff.max.ms`). Each is varied by up to a fifth.
    pub retry_backoff_max: Duration,
    /// How long what is known of leaders counts as fresh (`metadata.max.age.ms`).
    pub metadata_max_age: Duration,
    /// Requests that may be unanswered on one connection.
    pub in_flight_max: usize,
    /// The largest response, in bytes.
    pub response_bytes_max: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            client_id: "wyrd".to_owned(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            in_flight_max: 64,
            response_bytes_max: crate::base::limits::FRAME_BYTES_MAX,
        }
    }
}

/// Who must have a record before it counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: no response comes.
    None,
    /// The leader.
    Leader,
    /// The whole in-sync set.
    #[default]
    All,
}

impl Acks {
    /// The number on the wire.
    #[must_use]
    pub fn to_wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// What a producer needs.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence`: a retry is never written twice. Needs acks=all.
    pub idempotent: bool,
    /// How long a batch waits for more records (`linger.ms`).
    pub linger: Duration,
    /// How large a batch gets before it is sent, in bytes (`batch.size`). A larger record gets a
    /// batch of its own.
    pub batch_bytes: usize,
    /// All that is held for unfinished records, in bytes (`buffer.memory`).
    pub buffer_bytes: usize,
    /// How long [`send`](super::Producer::send) waits for room in the buffer (`max.block.ms`).
    pub max_block: Duration,
    /// How long after it was accepted a record is given up (`delivery.timeout.ms`).
    pub delivery_timeout: Duration,
    /// How often a batch is tried again (`retries`).
    pub retries: u32,
    /// Requests that may be unanswered by one broker
    /// (`max.in.flight.requests.per.connection`); at most 5 with idempotence, because that many
    /// batches a broker remembers.
    pub in_flight_max: usize,
    /// The largest request, in bytes (`max.request.size`).
    pub request_bytes_max: usize,
    /// `compression.type`.
    pub compression: Compression,
    /// Planted bugs; a real runtime has none.
    pub plants: Plants,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        ProducerConfig {
            acks: Acks::All,
            idempotent: true,
            linger: Duration::from_millis(5),
            batch_bytes: 16 * 1024,
            buffer_bytes: 32 * 1024 * 1024,
            max_block: Duration::from_secs(60),
            delivery_timeout: Duration::from_secs(120),
            retries: u32::MAX,
            in_flight_max: 5,
            request_bytes_max: 1024 * 1024,
            compression: Compression::None,
            plants: Plants::NONE,
        }
    }
}

/// What a consumer gets to see of transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Everything below the high watermark.
    #[default]
    ReadUncommitted,
    /// Only what is below the last stable offset, without what was aborted.
    ReadCommitted,
}

/// What a consumer needs.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// `isolation.level`.
    pub isolation: Isolation,
    /// How long a broker waits for [`fetch_bytes_min`](Self::fetch_bytes_min) (`fetch.max.wait.ms`).
    pub fetch_max_wait: Duration,
    /// `fetch.min.bytes`.
    pub fetch_bytes_min: i32,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: i32,
    /// `max.partition.fetch.bytes`.
    pub partition_bytes_max: i32,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        ConsumerConfig {
            isolation: Isolation::ReadUncommitted,
            fetch_max_wait: Duration::from_millis(500),
            fetch_bytes_min: 1,
            fetch_bytes_max: 50 * 1024 * 1024,
            partition_bytes_max: 1024 * 1024,
        }
    }
}
