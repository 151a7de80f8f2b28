//! Clients that create topics of their own, use them, delete them and create them again under the same
//! name.
//!
//! No topic of theirs is one of the scenario's. An outcome that is unknown may come true later: its name
//! is used no more. Records are sent once, by producers that do not retry, so that none arrives late in
//! the next incarnation of its topic. Now and then a client asks for what has to be refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wyrdlog::base::address::Address;
use wyrdlog::base::ids::{TopicId, TopicPartition};
use wyrdlog::base::partition_state::Durability;
use wyrdlog::base::time::Instant;
use wyrdlog::client::admin::AdminError;
use wyrdlog::client::consumer::{OffsetSpec, Position};
use wyrdlog::client::producer::SendError;
use wyrdlog::client::{
    Acks, Admin, ClientConfig, Cluster, Consumer, ConsumerConfig, NewTopic, Outcome as Sent, Producer, ProducerConfig,
};
use wyrdlog::message;
use wyrdlog::runtime::{Clock, Random, timeout, timeout_at};
use wyrdlog::wire::kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use wyrdlog::wire::kafka::messages::metadata_request::MetadataRequestTopic;
use wyrdlog::wire::kafka::messages::{FetchRequest, MetadataRequest, StrBytes, topic_id, uuid};
use wyrdlog::wire::kafka::{ErrorCode, Request, Response};

use super::Load;
use super::payload::Payload;
use crate::engine::SimRuntime;
use crate::history::topics::{Call, NameIndex, PartitionRead, Reply, Shape, TopicsHistory};
use crate::history::{Client, OpId, Outcome};
use crate::scenario::Records;

/// The names of their topics begin so.
pub const PREFIX: &str = "churn-";
/// How long the controller may take to create or delete a topic.
const CHANGE_WAIT: Duration = Duration::from_secs(4);
/// After so long a client gives up a change.
const PATIENCE: Duration = Duration::from_secs(6);
/// After so long it gives up a record, sends or reads no more.
const USE_PATIENCE: Duration = Duration::from_secs(3);
/// Whatever was begun under faults is given up so long after healing: the topic may have lost its replicas.
const HEALED_PATIENCE: Duration = Duration::from_secs(1);
/// How long every broker may take to learn of a topic, before the client goes on without.
const SETTLES: Duration = Duration::from_secs(2);
/// The same once all is healed: whoever waits then is to see that it happens.
const SETTLES_HEALED: Duration = Duration::from_secs(4);
/// How long to wait before brokers are asked again.
const AGAIN: Duration = Duration::from_millis(50);
/// A broker that takes longer to be connected to is not seen.
const ANSWERS: Duration = Duration::from_millis(200);
/// So long a client waits for a broker to go, and for all to be back.
const AWAY: Duration = Duration::from_secs(15);
const BACK: Duration = Duration::from_secs(15);
/// A name is used for so many incarnations at most.
const INCARNATIONS_MAX: u64 = 6;
/// The most partitions of a topic.
const PARTITIONS_MAX: u64 = 3;
/// The most records that are sent to a partition at once.
const RECORDS_MAX: u64 = 3;
/// How often a client tries to have something acknowledged by each partition.
const SENDS_MAX: u32 = 8;
/// Values of the other workloads are smaller.
const FIRST_VALUE: u64 = 1 << 40;

/// What all clients of the workload share.
pub struct Topics {
    brokers: Vec<Address>,
    load: Load,
    payload: Payload,
    history: Mutex<TopicsHistory>,
    values: AtomicU64,
}

/// One client at its work.
struct Worker {
    shared: Arc<Topics>,
    runtime: SimRuntime,
    client: Client,
    cluster: Cluster<SimRuntime>,
}

/// A topic between its creation and its deletion.
struct Incarnation {
    name: NameIndex,
    topic: Arc<str>,
    id: TopicId,
    partitions: i32,
    /// Up to where each partition has been acknowledged.
    ends: BTreeMap<i32, i64>,
}

/// What became of each topic of a request.
type ByName<T> = BTreeMap<String, Result<T, AdminError>>;

/// Why nothing is known of a request for a topic that is gone.
struct NoAnswer;

/// What a client waits to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// That every broker takes connections.
    EveryBroker,
    /// That some broker does not.
    NotEveryBroker,
}

/// A name is used no more: what became of an operation on it is unknown, or the load is over.
struct Retired;

impl Topics {
    /// The workload of `clients` against `brokers`.
    #[must_use]
    pub fn new(brokers: Vec<Address>, clients: Vec<Client>, load: Load) -> Self {
        let history = Mutex::new(TopicsHistory { clients, ..TopicsHistory::default() });
        let (payload, values) = (Payload::new(Records::default()), AtomicU64::new(FIRST_VALUE));
        Topics { brokers, load, payload, history, values }
    }

    fn history(&self) -> MutexGuard<'_, TopicsHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the clients did.
    #[must_use]
    pub fn take_history(&self) -> TopicsHistory {
        std::mem::take(&mut self.history())
    }

    /// One client, until the load ends.
    pub async fn run(self: Arc<Self>, runtime: SimRuntime, client: Client) {
        let config = ClientConfig {
            client_id: format!("client-{client}"),
            request_timeout: PATIENCE,
            connect_timeout: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(10),
            ..ClientConfig::default()
        };
        let cluster = Cluster::new(runtime, self.brokers.clone(), config);
        let worker = Worker { shared: self, runtime, client, cluster };
        while !worker.shared.load.is_over() {
            // Whatever became of it, the next name is a new one.
            let _ = worker.use_a_name().await;
        }
    }
}

impl Worker {
    fn now_ns(&self) -> u64 {
        self.shared.load.view.now_ns()
    }

    fn invoke(&self, call: Call) -> OpId {
        self.shared.history().invoke(self.client, self.now_ns(), call)
    }

    fn complete(&self, op: OpId, outcome: Outcome<Reply>) {
        self.shared.history().complete(op, self.now_ns(), outcome);
    }

    fn is_healed(&self) -> bool {
        self.now_ns() >= self.shared.load.healed_ns
    }

    /// Until when something may take that lasts so long at most.
    fn deadline(&self, patience: Duration) -> Instant {
        let left = Duration::from_nanos(self.shared.load.healed_ns.saturating_sub(self.now_ns()));
        let healed = if left.is_zero() { patience } else { left + HEALED_PATIENCE };
        self.runtime.now() + patience.min(healed)
    }

    async fn pause(&self) -> Result<(), Retired> {
        self.shared.load.pause(&self.runtime).await;
        if self.shared.load.is_over() { Err(Retired) } else { Ok(()) }
    }

    fn percent(&self, percent: u64) -> bool {
        self.runtime.random_below("topics", 100) < percent
    }

    fn new_name(&self, of: impl Fn(usize) -> String) -> NameIndex {
        let mut history = self.shared.history();
        let name = of(history.names.len());
        history.names.push(name);
        history.names.len() as NameIndex - 1
    }

    fn name(&self, name: NameIndex) -> String {
        self.shared.history().name(name).to_owned()
    }

    /// Creates, uses and deletes topics of one name, one after the other.
    async fn use_a_name(&self) -> Result<(), Retired> {
        let client = self.client;
        let name = self.new_name(|index| format!("{PREFIX}{client}-{index}"));
        let incarnations = 1 + self.runtime.random_below("incarnations", INCARNATIONS_MAX);
        // A broker that was away at a deletion comes back with what it had of the topic.
        let is_attentive = !self.is_healed() && self.percent(60);
        let (mut rounds, mut awaits): (Option<OpId>, bool) = (None, false);
        let mut former = None;
        for number in 0.. {
            self.pause().await?;
            let is_back = awaits && self.sees(Seen::EveryBroker, BACK).await;
            self.ask_for_what_is_refused(name, false).await?;
            let next = self.invoke(Call::Round { name });
            let mut incarnation = self.create(name, self.shape(is_attentive && (number == 0 || is_back))).await?;
            let is_settled = self.settle(&incarnation).await;
            if let Some(former) = former.replace(incarnation.id).filter(|_| is_settled) {
                self.fetch_former(&incarnation, former).await;
            }
            if let Some(round) = rounds.take() {
                let is_read = self.read(&incarnation).await;
                if is_settled && is_read {
                    self.complete(round, Outcome::Ok(Reply::Done));
                }
            }
            let is_sent = self.send_to_all(&mut incarnation).await?;
            awaits = is_attentive && !self.is_healed() && self.sees(Seen::NotEveryBroker, AWAY).await;
            if !is_attentive && !self.is_healed() {
                self.pause().await?;
            }
            let is_read = !awaits && self.read(&incarnation).await;
            self.ask_for_what_is_refused(name, true).await?;
            self.delete(name).await?;
            rounds = Some(next).filter(|_| is_settled && is_sent && is_read);
            if !awaits && number + 1 >= incarnations {
                break;
            }
        }
        Ok(())
    }

    /// Waits until the client sees so many brokers. Says whether it does.
    async fn sees(&self, what: Seen, patience: Duration) -> bool {
        let deadline = self.deadline(patience);
        while self.runtime.now() < deadline && !self.shared.load.is_over() {
            let mut reached = 0;
            for broker in &self.shared.brokers {
                let connected = timeout(&self.runtime, ANSWERS, self.cluster.connection_to(broker)).await;
                reached += usize::from(matches!(connected, Ok(Ok(_))));
            }
            let all = self.shared.brokers.len();
            let is_every = reached == all && (what == Seen::NotEveryBroker || self.registered().await == all);
            if is_every == (what == Seen::EveryBroker) {
                return true;
            }
            self.runtime.sleep(AGAIN * 2).await;
        }
        false
    }

    /// How many brokers have their place in the cluster, by what one of them says.
    async fn registered(&self) -> usize {
        let refreshed = timeout(&self.runtime, ANSWERS, self.cluster.refresh(Some(&[]))).await;
        refreshed.ok().and_then(Result::ok).map_or(0, |view| view.brokers.len())
    }

    /// What the next topic is created as; large, with a replica of each partition on each of three brokers, if
    /// it is to be `everywhere`.
    fn shape(&self, everywhere: bool) -> Shape {
        let brokers = self.shared.brokers.len().min(3) as u64;
        let partitions = self.runtime.random_below("partitions", PARTITIONS_MAX);
        let others = self.runtime.random_below("replicas", brokers);
        let others = if everywhere { brokers.saturating_sub(1) } else { others };
        let partitions = if everywhere { PARTITIONS_MAX } else { 1 + partitions };
        Shape {
            partitions: partitions as i32,
            replicas: 1 + others as i16,
            durability: if self.percent(50) { Durability::Synced } else { Durability::PageCache },
        }
    }

    /// Now and then: what exists is created, what does not is deleted, or a creation makes no sense.
    async fn ask_for_what_is_refused(&self, name: NameIndex, exists: bool) -> Result<(), Retired> {
        if !self.percent(30) {
            return Ok(());
        }
        let good = self.shape(false);
        let done = match self.runtime.random_below("refused", 4) {
            0 if exists => self.create(name, good).await.map(drop),
            0 => self.delete(name).await,
            1 => self.create(name, Shape { partitions: 0, ..good }).await.map(drop),
            2 => self.create(name, Shape { replicas: self.shared.brokers.len() as i16 + 1, ..good }).await.map(drop),
            _ => {
                let client = self.client;
                let name = self.new_name(|index| format!("{PREFIX}{client} {index}?"));
                self.create(name, good).await.map(drop)
            }
        };
        // That it was refused is what was asked for; that nobody knows is no answer.
        done.or_else(|Retired| self.known_of_last())
    }

    /// Whether the last operation of this client has a known outcome.
    fn known_of_last(&self) -> Result<(), Retired> {
        let history = self.shared.history();
        let last = history.operations.iter().rev().find(|operation| operation.client == self.client);
        let is_refused = last.is_some_and(|last| matches!(last.outcome, Outcome::Ok(Reply::Refused(_))));
        if is_refused { Ok(()) } else { Err(Retired) }
    }

    /// An admin that goes by the controller, or by whichever broker.
    fn admin(&self) -> Admin<SimRuntime> {
        let at = self.runtime.random_below("via", 2 * self.shared.brokers.len() as u64) as usize;
        match self.shared.brokers.get(at) {
            Some(address) => Admin::via(self.cluster.clone(), address.clone()),
            None => Admin::new(self.cluster.clone()),
        }
    }

    async fn create(&self, name: NameIndex, shape: Shape) -> Result<Incarnation, Retired> {
        let topic = self.name(name);
        let new = NewTopic::new(topic.as_str(), shape.partitions, shape.replicas)
            .config("min.insync.replicas", "1")
            .config("retention.bytes", "-1");
        let new = match shape.durability {
            Durability::Synced => new.config("flush.messages", "1"),
            Durability::PageCache => new,
        };
        let (admin, wanted) = (self.admin(), [new]);
        let op = self.invoke(Call::Create { name, shape });
        let answer = timeout(&self.runtime, PATIENCE, admin.create_topics(&wanted, CHANGE_WAIT)).await;
        let id = self.changed(op, &topic, answer.ok())?;
        Ok(Incarnation { name, topic: topic.into(), id, partitions: shape.partitions, ends: BTreeMap::new() })
    }

    async fn delete(&self, name: NameIndex) -> Result<(), Retired> {
        let topic = self.name(name);
        let (admin, names) = (self.admin(), [topic.clone()]);
        let op = self.invoke(Call::Delete { name });
        let answer = timeout(&self.runtime, PATIENCE, admin.delete_topics(&names, CHANGE_WAIT)).await;
        self.changed(op, &topic, answer.ok())
    }

    /// Records what became of a change.
    fn changed<T>(&self, op: OpId, topic: &str, answer: Option<Result<ByName<T>, AdminError>>) -> Result<T, Retired> {
        let result = match answer {
            None => return Err(Retired),
            Some(Ok(mut results)) => results.remove(topic),
            Some(Err(error)) => Some(Err(error)),
        };
        match result {
            Some(Ok(done)) => {
                self.complete(op, Outcome::Ok(Reply::Done));
                return Ok(done);
            }
            Some(Err(error)) if error.is_unknown() => self.complete(op, Outcome::Unknown),
            Some(Err(AdminError::Broker { error, .. })) => self.complete(op, Outcome::Ok(Reply::Refused(error))),
            Some(Err(AdminError::Request(_))) => self.complete(op, Outcome::Failed),
            // An answer that leaves out what was asked for is none.
            None => self.complete(op, Outcome::Unknown),
        }
        Err(Retired)
    }

    /// Asks every broker until it knows the topic as it was created, and each leader until it serves its partition:
    /// a disk may be slow (`swarm` seed 40083).
    async fn settle(&self, incarnation: &Incarnation) -> bool {
        let op = self.invoke(Call::Settle { name: incarnation.name });
        let patience = if self.is_healed() { SETTLES_HEALED } else { SETTLES };
        let deadline = self.deadline(patience);
        for broker in &self.shared.brokers {
            let asked = self.ask_until_known(broker, incarnation);
            if timeout_at(&self.runtime, deadline, asked).await.is_err() {
                self.complete(op, Outcome::Failed);
                return false;
            }
        }
        if timeout_at(&self.runtime, deadline, self.ask_until_served(incarnation)).await.is_err() {
            self.complete(op, Outcome::Failed);
            return false;
        }
        self.complete(op, Outcome::Ok(Reply::Done));
        true
    }

    async fn ask_until_served(&self, incarnation: &Incarnation) {
        let mut consumer = Consumer::new(self.cluster.clone(), ConsumerConfig::default());
        let partitions = (0..incarnation.partitions).map(|at| TopicPartition::new(incarnation.topic.clone(), at));
        let asked: Vec<_> = partitions.map(|partition| (partition, OffsetSpec::Latest)).collect();
        while !consumer.list_offsets(&asked).await.values().all(Result::is_ok) {
            self.runtime.sleep(AGAIN).await;
        }
    }

    /// Asks a leader of the topic for the one that it took the name of.
    async fn fetch_former(&self, incarnation: &Incarnation, former: TopicId) {
        let op = self.invoke(Call::FetchFormer { name: incarnation.name });
        let answered = timeout(&self.runtime, USE_PATIENCE, self.ask_for_former(incarnation, former)).await;
        let outcome = match answered {
            Ok(Ok(None)) => Outcome::Ok(Reply::Done),
            Ok(Ok(Some(error))) => Outcome::Ok(Reply::Refused(error)),
            Ok(Err(NoAnswer)) | Err(_) => Outcome::Failed,
        };
        self.complete(op, outcome);
    }

    async fn ask_for_former(&self, incarnation: &Incarnation, former: TopicId) -> Result<Option<ErrorCode>, NoAnswer> {
        let view = self.cluster.view();
        let present = view.topics.get(&incarnation.topic).filter(|topic| topic.id == incarnation.id);
        let leader = present.and_then(|topic| topic.partitions.get(&0)?.leader).ok_or(NoAnswer)?;
        let partition = message!(FetchPartition {
            partition: 0,
            current_leader_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: 1
        });
        let topic = message!(FetchTopic { topic_id: uuid(former), partitions: vec![partition] });
        let request = Request::Fetch(message!(FetchRequest {
            replica_id: -1,
            max_bytes: 1,
            session_epoch: -1,
            topics: vec![topic]
        }));
        match self.cluster.ask(leader, &request).await {
            Ok(Response::Fetch(told)) => {
                let one = told.topics.first().and_then(|topic| topic.partitions.first()).ok_or(NoAnswer)?;
                Ok(one.error.filter(|error| *error != ErrorCode::None))
            }
            _ => Err(NoAnswer),
        }
    }

    async fn ask_until_known(&self, broker: &Address, incarnation: &Incarnation) {
        let name = Some(StrBytes::from(&*incarnation.topic));
        let request = Request::Metadata(message!(MetadataRequest {
            topics: Some(vec![message!(MetadataRequestTopic { name: name })]),
            allow_auto_topic_creation: false,
        }));
        loop {
            let asked = async { self.cluster.connection_to(broker).await?.request(&request).await };
            if let Ok(Response::Metadata(response)) = asked.await
                && response.topics.iter().any(|topic| topic_id(topic.topic_id) == incarnation.id)
            {
                return;
            }
            self.runtime.sleep(AGAIN).await;
        }
    }

    /// Sends to each partition until it has acknowledged something. Says whether all have.
    async fn send_to_all(&self, incarnation: &mut Incarnation) -> Result<bool, Retired> {
        let config = ProducerConfig {
            acks: Acks::All,
            idempotent: self.percent(50),
            retries: 0,
            delivery_timeout: USE_PATIENCE,
            max_block: Duration::from_secs(1),
            ..ProducerConfig::default()
        };
        let producer = Producer::new(self.cluster.clone(), config);
        let deadline = self.deadline(USE_PATIENCE);
        for attempt in 0..SENDS_MAX {
            let missing = (0..incarnation.partitions).filter(|index| !incarnation.ends.contains_key(index));
            let missing: Vec<i32> = missing.collect();
            if missing.is_empty() || self.runtime.now() >= deadline {
                break;
            }
            if attempt > 0 {
                self.runtime.sleep(self.cluster.backoff(attempt - 1)).await;
            }
            self.send(&producer, incarnation, &missing).await?;
        }
        Ok(incarnation.ends.len() == incarnation.partitions as usize)
    }

    async fn send(
        &self,
        producer: &Producer<SimRuntime>,
        incarnation: &mut Incarnation,
        partitions: &[i32],
    ) -> Result<(), Retired> {
        let mut deliveries = Vec::new();
        for partition in partitions {
            for _ in 0..=self.runtime.random_below("records", RECORDS_MAX) {
                let value = self.shared.values.fetch_add(1, Ordering::Relaxed);
                let record = self.shared.payload.record(value, self.runtime.wall_clock_ms());
                let call = Call::Send { name: incarnation.name, partition: *partition, value };
                let op = self.invoke(call);
                let to = TopicPartition::new(incarnation.topic.clone(), *partition);
                deliveries.push((op, *partition, producer.send(to, record).await));
            }
        }
        let mut is_known = true;
        for (op, partition, delivery) in deliveries {
            match delivery.await {
                Sent::Acknowledged { offset: Some(offset) } => {
                    let end = incarnation.ends.entry(partition).or_insert(0);
                    *end = (*end).max(offset + 1);
                    self.complete(op, Outcome::Ok(Reply::Sent { offset }));
                }
                Sent::Failed(SendError::Broker(error)) => self.complete(op, Outcome::Ok(Reply::Refused(error))),
                Sent::Failed(_) => self.complete(op, Outcome::Failed),
                Sent::Acknowledged { offset: None } | Sent::Unknown(_) => {
                    self.complete(op, Outcome::Unknown);
                    is_known = false;
                }
            }
        }
        if is_known { Ok(()) } else { Err(Retired) }
    }

    /// Reads every partition from its beginning to its end: what was acknowledged, or else what a leader
    /// says. Tells whether it came there.
    async fn read(&self, incarnation: &Incarnation) -> bool {
        let mut consumer = Consumer::new(self.cluster.clone(), ConsumerConfig::default());
        let partition = |index| TopicPartition::new(incarnation.topic.clone(), index);
        let partitions: Vec<TopicPartition> = (0..incarnation.partitions).map(partition).collect();
        consumer.assign(partitions.clone());
        partitions.iter().for_each(|partition| consumer.seek_to(partition, OffsetSpec::Earliest));
        let op = self.invoke(Call::Read { name: incarnation.name });
        let deadline = self.deadline(USE_PATIENCE);
        let mut read: BTreeMap<i32, PartitionRead> = BTreeMap::new();
        let is_read = loop {
            match timeout_at(&self.runtime, deadline, self.read_on(&mut consumer, incarnation, &mut read)).await {
                Ok(false) => {}
                Ok(true) => break true,
                Err(_) => break false,
            }
        };
        for partition in &partitions {
            let reached = consumer.position(partition).map_or(0, |position| position.offset);
            let read = read.entry(partition.partition).or_default();
            (read.partition, read.reached) = (partition.partition, reached);
        }
        self.complete(op, Outcome::Ok(Reply::Read(read.into_values().collect())));
        is_read
    }

    /// Polls once, and says whether everything was read.
    async fn read_on(
        &self,
        consumer: &mut Consumer<SimRuntime>,
        incarnation: &Incarnation,
        read: &mut BTreeMap<i32, PartitionRead>,
    ) -> bool {
        for record in consumer.poll().await.records {
            let read = read.entry(record.partition.partition).or_default();
            read.records.push((record.offset, self.shared.payload.number_of(&record)));
        }
        let partitions = (0..incarnation.partitions).map(|at| TopicPartition::new(incarnation.topic.clone(), at));
        let asked: Vec<_> = partitions.map(|partition| (partition, OffsetSpec::Latest)).collect();
        let told = consumer.list_offsets(&asked).await;
        asked.iter().all(|(partition, _)| {
            let Some(Ok(Position { offset: end, .. })) = told.get(partition) else { return false };
            let end = incarnation.ends.get(&partition.partition).copied().unwrap_or(0).max(*end);
            consumer.position(partition).is_some_and(|position| position.offset >= end)
        })
    }
}
