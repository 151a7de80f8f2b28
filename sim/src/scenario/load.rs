//! What clients do: the workloads of a scenario, and those of one seed.

use serde::{Deserialize, Serialize};

use super::drawn::{Drawn, Draws};
use crate::draw::Draw;

/// A batch has at most so many bytes besides its records' keys, values and headers.
const BATCH_OVERHEAD_BYTES: u64 = 1_024;
/// A key, a value, a header.
const RECORD_FIELDS: u64 = 3;

/// What clients do. A workload that comes to no clients is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[serde(bound(deserialize = "N: Deserialize<'de> + From<u32>"))]
pub enum Workload<N = u32> {
    /// Clients that send unique values and poll them.
    ProduceConsume(LogLoad<N>),
    /// Clients that work on registers in the coordinator's tree.
    Registers {
        /// How many clients.
        clients: N,
        /// Requests per simulated second, of all clients together.
        requests_per_s: N,
        /// How many registers.
        registers: N,
        /// The time-out that their sessions ask for; where absent, that of the cluster's brokers.
        #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
        session_timeout_ms: Option<N>,
        /// Sessions of a hundred that only read, in quarters; one of four where absent.
        #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
        readers_percent: Option<N>,
    },
    /// Clients that hold ephemerals and watches while they come and go.
    Sessions {
        /// How many clients.
        clients: N,
        /// Sessions that end per simulated minute.
        ends_per_minute: N,
    },
    /// Clients that create topics of their own, use them, delete them and create them again.
    Topics {
        /// How many clients.
        clients: N,
        /// Topics that are created or deleted per simulated minute, by all clients together.
        changes_per_minute: N,
    },
    /// Clients that speak every version to brokers, ask for all there is and for much that there is not.
    Protocol {
        /// How many clients.
        clients: N,
        /// Writes of one to four questions per simulated second, of all clients together.
        requests_per_s: N,
    },
    /// Clients that own a subtree of the coordinator's tree each, and know every answer.
    Subtrees {
        /// How many clients.
        clients: N,
        /// Requests per simulated second, of all clients together.
        requests_per_s: N,
    },
    /// Clients that write what nobody can read to where brokers and topics are registered, and remove it again.
    Meddling {
        /// How many clients.
        clients: N,
        /// Topics and registrations that are written or removed per simulated minute, by all clients together.
        changes_per_minute: N,
    },
}

/// What clients do that send unique values and poll them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "N: Deserialize<'de> + From<u32>"))]
pub struct LogLoad<N = u32> {
    /// How many clients.
    pub clients: N,
    /// Requests per simulated second, of all clients together.
    pub requests_per_s: N,
    /// Producers of a hundred that use acks=all; the others use acks=1 or acks=0.
    #[serde(default = "all")]
    pub acks_all_percent: N,
    /// Of the others so many of a hundred use acks=0.
    #[serde(default = "none")]
    pub acks_none_percent: N,
    /// Producers of a hundred that are idempotent, which implies acks=all.
    #[serde(default = "all")]
    pub idempotent_percent: N,
    /// What the records carry.
    #[serde(default)]
    pub records: Records<N>,
    /// How producers send.
    #[serde(default)]
    pub producers: Producers<N>,
    /// How consumers read.
    #[serde(default)]
    pub consumers: Consumers<N>,
    /// How often per simulated minute a client gives up its producer and its consumer and begins
    /// anew with others.
    #[serde(default = "none")]
    pub renewals_per_minute: N,
}

fn all<N: From<u32>>() -> N {
    N::from(100)
}

fn none<N: From<u32>>() -> N {
    N::from(0)
}

/// What the records carry: how many bytes at most; each record has as many as its number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, bound(deserialize = "N: Deserialize<'de> + From<u32>"))]
pub struct Records<N = u32> {
    /// The value, of 8 bytes at least.
    pub value_bytes: N,
    /// The key; 0 for none.
    pub key_bytes: N,
    /// The value of the one header; 0 for none.
    pub header_bytes: N,
}

impl<N: From<u32>> Default for Records<N> {
    fn default() -> Self {
        Records { value_bytes: N::from(8), key_bytes: none(), header_bytes: none() }
    }
}

/// How producers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, bound(deserialize = "N: Deserialize<'de> + From<u32>"))]
pub struct Producers<N = u32> {
    /// `linger.ms`.
    pub linger_ms: N,
    /// `batch.size`.
    pub batch_bytes: N,
    /// `buffer.memory`.
    pub buffer_bytes: N,
    /// `max.in.flight.requests.per.connection`.
    pub in_flight_max: N,
    /// `compression.type`: 0 for none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub compression: N,
}

impl<N: From<u32>> Default for Producers<N> {
    fn default() -> Self {
        let numbers = [5, 16 * 1024, 32 * 1024 * 1024, 5, 0].map(N::from);
        let [linger_ms, batch_bytes, buffer_bytes, in_flight_max, compression] = numbers;
        Producers { linger_ms, batch_bytes, buffer_bytes, in_flight_max, compression }
    }
}

/// How consumers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, bound(deserialize = "N: Deserialize<'de> + From<u32>"))]
pub struct Consumers<N = u32> {
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: N,
    /// `max.partition.fetch.bytes`.
    pub partition_bytes_max: N,
    /// How often per simulated minute each asks for the offset of a time.
    pub lookups_per_minute: N,
}

impl<N: From<u32>> Default for Consumers<N> {
    fn default() -> Self {
        let [fetch_bytes_max, partition_bytes_max] = [50 * 1024 * 1024, 1024 * 1024].map(N::from);
        Consumers { fetch_bytes_max, partition_bytes_max, lookups_per_minute: none() }
    }
}

impl Consumers {
    /// Whether a fetch may bring less than by default.
    #[must_use]
    pub fn fetch_little(&self) -> bool {
        let usual = Consumers::<u32>::default();
        self.fetch_bytes_max < usual.fetch_bytes_max || self.partition_bytes_max < usual.partition_bytes_max
    }
}

impl Workload {
    /// How many clients it has.
    #[must_use]
    pub fn clients(&self) -> u32 {
        match self {
            Workload::ProduceConsume(LogLoad { clients, .. })
            | Workload::Registers { clients, .. }
            | Workload::Sessions { clients, .. }
            | Workload::Topics { clients, .. }
            | Workload::Protocol { clients, .. }
            | Workload::Subtrees { clients, .. }
            | Workload::Meddling { clients, .. } => *clients,
        }
    }

    fn of_log(&self) -> Option<&LogLoad> {
        match self {
            Workload::ProduceConsume(load) => Some(load),
            Workload::Registers { .. }
            | Workload::Sessions { .. }
            | Workload::Topics { .. }
            | Workload::Protocol { .. }
            | Workload::Subtrees { .. }
            | Workload::Meddling { .. } => None,
        }
    }

    /// How long its producers let a batch linger.
    #[must_use]
    pub fn linger_ms(&self) -> u32 {
        self.of_log().map_or(0, |load| load.producers.linger_ms)
    }

    /// The session time-out that its clients ask for, if it says one.
    #[must_use]
    pub fn session_timeout_ms(&self) -> Option<u32> {
        match self {
            Workload::Registers { session_timeout_ms, .. } => *session_timeout_ms,
            _ => None,
        }
    }

    /// Whether its consumers' own limits let a fetch bring little.
    #[must_use]
    pub fn fetches_little(&self) -> bool {
        self.of_log().is_some_and(|load| load.consumers.fetch_little())
    }

    /// Whether its producers compress their batches.
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.of_log().is_some_and(|load| load.producers.compression > 0)
    }
}

impl Workload {
    /// Leaves half of its clients; whether there was more than one.
    pub(super) fn halve(&mut self) -> bool {
        match self {
            Workload::ProduceConsume(LogLoad { clients, .. })
            | Workload::Registers { clients, .. }
            | Workload::Sessions { clients, .. }
            | Workload::Topics { clients, .. }
            | Workload::Protocol { clients, .. }
            | Workload::Subtrees { clients, .. }
            | Workload::Meddling { clients, .. } => {
                let several = *clients > 1;
                *clients = clients.div_ceil(2);
                several
            }
        }
    }
}

impl Workload<Drawn> {
    /// That of one seed, on a cluster whose segments have so many bytes.
    pub(super) fn draw(&self, segment_bytes: u64, draws: &mut Draws) -> Workload {
        match self {
            Workload::ProduceConsume(load) => Workload::ProduceConsume(load.draw(segment_bytes, draws)),
            Workload::Registers { clients, requests_per_s, registers, session_timeout_ms, readers_percent } => {
                let mut number = |what: &str, of: &Drawn| draws.number(&format!("registers.{what}"), of) as u32;
                Workload::Registers {
                    clients: number("clients", clients),
                    requests_per_s: number("requests_per_s", requests_per_s),
                    registers: number("registers", registers),
                    session_timeout_ms: session_timeout_ms.as_ref().map(|of| number("session_timeout_ms", of)),
                    readers_percent: readers_percent.as_ref().map(|of| number("readers_percent", of)),
                }
            }
            Workload::Sessions { clients, ends_per_minute } => {
                let mut number = |what: &str, of: &Drawn| draws.number(&format!("sessions.{what}"), of) as u32;
                Workload::Sessions {
                    clients: number("clients", clients),
                    ends_per_minute: number("ends_per_minute", ends_per_minute),
                }
            }
            Workload::Topics { clients, changes_per_minute } => {
                let mut number = |what: &str, of: &Drawn| draws.number(&format!("topics.{what}"), of) as u32;
                Workload::Topics {
                    clients: number("clients", clients),
                    changes_per_minute: number("changes_per_minute", changes_per_minute),
                }
            }
            Workload::Protocol { clients, requests_per_s } => {
                let mut number = |what: &str, of: &Drawn| draws.number(&format!("protocol.{what}"), of) as u32;
                Workload::Protocol {
                    clients: number("clients", clients),
                    requests_per_s: number("requests_per_s", requests_per_s),
                }
            }
            Workload::Subtrees { clients, requests_per_s } => {
                let mut number = |what: &str, of: &Drawn| draws.number(&format!("subtrees.{what}"), of) as u32;
                Workload::Subtrees {
                    clients: number("clients", clients),
                    requests_per_s: number("requests_per_s", requests_per_s),
                }
            }
            Workload::Meddling { clients, changes_per_minute } => {
                let mut number = |what: &str, of: &Drawn| draws.number(&format!("meddling.{what}"), of) as u32;
                Workload::Meddling {
                    clients: number("clients", clients),
                    changes_per_minute: number("changes_per_minute", changes_per_minute),
                }
            }
        }
    }
}

impl LogLoad<Drawn> {
    fn draw(&self, segment_bytes: u64, draws: &mut Draws) -> LogLoad {
        // A batch that no segment holds is refused for good. What is fixed is taken at its word.
        let batch_bytes_max = segment_bytes.saturating_sub(BATCH_OVERHEAD_BYTES);
        let mut up_to = |what: &str, of: &Drawn, most: u64| {
            let most = if of.fixed().is_some() { u64::MAX } else { most };
            draws.number_up_to(&format!("produce-consume.{what}"), of, most) as u32
        };
        let mut field = |what: &str, of: &Drawn| up_to(what, of, batch_bytes_max / RECORD_FIELDS);
        let records = Records {
            value_bytes: field("records.value_bytes", &self.records.value_bytes),
            key_bytes: field("records.key_bytes", &self.records.key_bytes),
            header_bytes: field("records.header_bytes", &self.records.header_bytes),
        };
        let batch_bytes = up_to("producers.batch_bytes", &self.producers.batch_bytes, batch_bytes_max);
        let mut number = |what: &str, of: &Drawn| draws.number(&format!("produce-consume.{what}"), of) as u32;
        let (producers, consumers) = (&self.producers, &self.consumers);
        LogLoad {
            clients: number("clients", &self.clients),
            requests_per_s: number("requests_per_s", &self.requests_per_s),
            acks_all_percent: number("acks_all_percent", &self.acks_all_percent),
            acks_none_percent: number("acks_none_percent", &self.acks_none_percent),
            idempotent_percent: number("idempotent_percent", &self.idempotent_percent),
            renewals_per_minute: number("renewals_per_minute", &self.renewals_per_minute),
            records,
            producers: Producers {
                linger_ms: number("producers.linger_ms", &producers.linger_ms),
                batch_bytes,
                buffer_bytes: number("producers.buffer_bytes", &producers.buffer_bytes),
                in_flight_max: number("producers.in_flight_max", &producers.in_flight_max),
                compression: number("producers.compression", &producers.compression),
            },
            consumers: Consumers {
                fetch_bytes_max: number("consumers.fetch_bytes_max", &consumers.fetch_bytes_max),
                partition_bytes_max: number("consumers.partition_bytes_max", &consumers.partition_bytes_max),
                lookups_per_minute: number("consumers.lookups_per_minute", &consumers.lookups_per_minute),
            },
        }
    }
}

/// The workloads of a seed where the scenario says nothing.
pub(super) fn draw_open(seed: u64) -> Vec<Workload> {
    let draw = &mut Draw::new(seed, "workload");
    let mut workloads = vec![Workload::ProduceConsume(LogLoad {
        clients: draw.between(2, 6) as u32,
        requests_per_s: draw.between(20, 100) as u32,
        acks_all_percent: draw.pick(&[100, 100, 80, 50]).copied().unwrap_or(100),
        acks_none_percent: 0,
        idempotent_percent: draw.pick(&[100, 100, 50, 0]).copied().unwrap_or(100),
        records: Records::default(),
        producers: Producers::default(),
        consumers: Consumers::default(),
        renewals_per_minute: 0,
    })];
    if draw.percent(50) {
        let (clients, requests_per_s) = (draw.between(2, 4) as u32, draw.between(10, 40) as u32);
        let registers = draw.between(1, 5) as u32;
        let (session_timeout_ms, readers_percent) = (None, None);
        workloads.push(Workload::Registers { clients, requests_per_s, registers, session_timeout_ms, readers_percent });
    }
    if draw.percent(30) {
        workloads.push(Workload::Sessions {
            clients: draw.between(1, 3) as u32,
            ends_per_minute: draw.between(2, 20) as u32,
        });
    }
    workloads
}
