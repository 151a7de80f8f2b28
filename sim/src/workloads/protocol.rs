//! Clients that speak every version of the protocol, ask for all there is and for much that there is not,
//! several requests in one write, and keep every frame that comes.
//!
//! Nothing that they ask may change anything: what is well-formed reads, and what would write is wrong in
//! some way. What the answers have to be is the checker's business (`checkers/protocol.rs`).

mod own_log;
mod questions;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wyrdlog::base::address::Address;
use wyrdlog::base::ids::{BrokerId, TopicId};
use wyrdlog::runtime::{Clock, Network, Random, Stream, timeout_at};
use wyrdlog::wire::frame::FrameDecoder;
use wyrdlog::wire::kafka::client::decode_response;
use wyrdlog::wire::kafka::messages::topic_id;
use wyrdlog::wire::kafka::{ApiKey, Response};

use super::Load;
use crate::engine::SimRuntime;
use crate::history::Client;
use crate::history::protocol::{Came, Exchange, ProtocolHistory, Sent};
use questions::{Known, Question};

pub use own_log::is_definite;

/// After so long a client gives a connection up.
const PATIENCE: Duration = Duration::from_secs(8);
/// The same for making one.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// So many rounds of questions a connection has at most.
const ROUNDS_MAX: u64 = 4;
/// So many questions are in one write at most.
const QUESTIONS_MAX: u64 = 4;
/// One of so many turns is one with a log of its own.
const LOGS_EVERY: u64 = 5;
/// Values of the other workloads are smaller.
const FIRST_VALUE: u64 = 1 << 50;
/// No answer is longer.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What all clients of the workload share.
pub struct Protocol {
    load: Load,
    history: Mutex<ProtocolHistory>,
    values: AtomicU64,
}

/// One client at its work.
struct Worker {
    shared: Arc<Protocol>,
    runtime: SimRuntime,
    client: Client,
    brokers: Vec<(BrokerId, Address)>,
    known: Known,
    correlation_id: i32,
    /// How many logs of its own it has had.
    logs: u32,
}

/// Whether a connection can be used further.
#[derive(PartialEq, Eq)]
enum Connection {
    Open,
    Over,
}

impl Protocol {
    /// The workload against `brokers`, which have these topics: names, partitions and replicas; and create others
    /// with so many partitions when somebody asks about them, unless that is 0.
    #[must_use]
    pub fn new(
        brokers: Vec<(BrokerId, Address)>,
        topics: Vec<(Arc<str>, i32, usize)>,
        load: Load,
        auto_create_partitions: u32,
    ) -> Self {
        let auto_create_partitions = auto_create_partitions as i32;
        let history = ProtocolHistory {
            brokers,
            topics,
            auto_create_partitions,
            void_from_ns: u64::MAX,
            ..ProtocolHistory::default()
        };
        Protocol { load, history: Mutex::new(history), values: AtomicU64::new(FIRST_VALUE) }
    }

    fn history(&self) -> MutexGuard<'_, ProtocolHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first of so many values that nobody else sends.
    fn next_values(&self, count: u64) -> u64 {
        self.values.fetch_add(count, Ordering::Relaxed)
    }

    /// What the clients asked, and what came.
    #[must_use]
    pub fn take_history(&self) -> ProtocolHistory {
        std::mem::take(&mut self.history())
    }

    /// One client, until the load ends.
    pub async fn run(self: Arc<Self>, runtime: SimRuntime, client: Client) {
        let (brokers, topics, auto_create_partitions) = {
            let history = self.history();
            (history.brokers.clone(), history.topics.clone(), history.auto_create_partitions)
        };
        let known = Known {
            client,
            creates: auto_create_partitions > 0,
            topics,
            brokers: brokers.iter().map(|(id, _)| *id).collect(),
            ids: Vec::new(),
        };
        let mut worker = Worker { shared: self, runtime, client, brokers, known, correlation_id: 0, logs: 0 };
        while !worker.shared.load.is_over() {
            worker.shared.load.pause(&worker.runtime).await;
            if worker.runtime.random_below("log or questions", LOGS_EVERY) == 0 {
                worker.use_a_log().await;
            } else {
                worker.use_a_connection().await;
            }
        }
    }
}

impl Worker {
    async fn use_a_connection(&mut self) {
        let at = self.runtime.random_below("broker", self.brokers.len() as u64) as usize;
        let (broker, address) = self.brokers[at].clone();
        let deadline = self.runtime.now() + CONNECT_PATIENCE;
        let Ok(Ok(stream)) = timeout_at(&self.runtime, deadline, self.runtime.connect(&address)).await else { return };
        let connected_ns = self.shared.load.view.now_ns();
        let (mut reader, mut writer) = stream.split();
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        for round in 0..=self.runtime.random_below("rounds", ROUNDS_MAX) {
            if round > 0 {
                self.shared.load.pause(&self.runtime).await;
            }
            if self.shared.load.is_over()
                || self.ask((broker, connected_ns), &mut reader, &mut writer, &mut decoder).await == Connection::Over
            {
                return;
            }
        }
    }

    /// Asks a few questions at once, and takes the answers.
    async fn ask(
        &mut self,
        broker: (BrokerId, u64),
        reader: &mut (impl AsyncReadExt + Unpin),
        writer: &mut (impl AsyncWriteExt + Unpin),
        decoder: &mut FrameDecoder,
    ) -> Connection {
        let (frames, mut waiting) = self.compose(broker);
        let deadline = self.runtime.now() + PATIENCE;
        if !matches!(timeout_at(&self.runtime, deadline, writer.write_all(&frames)).await, Ok(Ok(()))) {
            self.end(&mut waiting, &Came::Nothing);
            return Connection::Over;
        }
        while !waiting.is_empty() {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    self.learn(&waiting[0], &frame);
                    self.answered(&mut waiting, Came::Frame(frame));
                    continue;
                }
                Ok(None) => {}
                Err(_) => {
                    self.end(&mut waiting, &Came::Closed);
                    return Connection::Over;
                }
            }
            let came = match timeout_at(&self.runtime, deadline, reader.read_buf(decoder.room())).await {
                Ok(Ok(1..)) => continue,
                Ok(Ok(0)) => Came::Closed,
                Ok(Err(_)) | Err(_) => Came::Nothing,
            };
            self.end(&mut waiting, &came);
            return Connection::Over;
        }
        Connection::Open
    }

    /// A few questions as one run of bytes, and what is waited for. What ends the connection comes last.
    fn compose(&mut self, (broker, connected_ns): (BrokerId, u64)) -> (Vec<u8>, VecDeque<Exchange>) {
        let (mut frames, mut waiting) = (Vec::new(), VecDeque::new());
        let count = 1 + self.runtime.random_below("questions", QUESTIONS_MAX);
        for at in 0..count {
            let (ends, random) =
                (at + 1 == count, |purpose: &'static str, below| self.runtime.random_below(purpose, below));
            let Question { sent, frame } = self.known.question(&random, self.correlation_id + 1, ends);
            self.correlation_id += 1;
            frames.extend_from_slice(&frame);
            waiting.push_back(Exchange {
                client: self.client,
                broker,
                correlation_id: self.correlation_id,
                behind: (count - at) as usize - 1,
                sent,
                connected_ns,
                sent_ns: self.shared.load.view.now_ns(),
                came: Came::Nothing,
                ended_ns: None,
            });
        }
        (frames, waiting)
    }

    fn answered(&self, waiting: &mut VecDeque<Exchange>, came: Came) {
        let Some(mut exchange) = waiting.pop_front() else { return };
        exchange.ended_ns = Some(self.shared.load.view.now_ns()).filter(|_| came != Came::Nothing);
        exchange.came = came;
        self.shared.history().exchanges.push(exchange);
    }

    fn end(&self, waiting: &mut VecDeque<Exchange>, came: &Came) {
        while !waiting.is_empty() {
            self.answered(waiting, came.clone());
        }
    }

    /// Topics are asked about by the ids that Metadata told.
    fn learn(&mut self, asked: &Exchange, frame: &Bytes) {
        let Sent::Request { version, request, .. } = &asked.sent else { return };
        if request.api() != ApiKey::Metadata {
            return;
        }
        let Ok((_, Response::Metadata(response))) = decode_response(ApiKey::Metadata, *version, frame.clone()) else {
            return;
        };
        for topic in response.topics {
            let (id, name) =
                (topic_id(topic.topic_id), topic.name.as_ref().map(|name| Arc::<str>::from(name.as_str())));
            let Some(name) = name.filter(|_| id != TopicId::ZERO) else { continue };
            let is_of_scenario = self.known.topics.iter().any(|(known, ..)| *known == name);
            if is_of_scenario && !self.known.ids.iter().any(|(known, _)| *known == name) {
                self.known.ids.push((name, id));
            }
        }
    }
}
