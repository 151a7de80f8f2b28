//! Clients that send unique values and poll them, with assigned partitions.
//!
//! Each client has one producer (acks=all, 1 or 0, idempotent or not, by the scenario's shares) and one
//! consumer, and now and then gives both up for others. What may have been written is unknown; a poll
//! is recorded per partition, with the position before it and with what it was told instead of
//! records; a lookup by time is recorded with its answer. In the final phase every client has crashed, and one reader reads
//! everything from the log start to the end offsets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wyrdlog::base::address::Address;
use wyrdlog::base::ids::TopicPartition;
use wyrdlog::base::partition_state::Durability;
use wyrdlog::base::plants::Plants;
use wyrdlog::base::time::Instant;
use wyrdlog::client::consumer::{OffsetSpec, Position};
use wyrdlog::client::producer::SendError;
use wyrdlog::client::{
    Acks, Admin, ClientConfig, Cluster, ConsumedRecord, Consumer, ConsumerConfig, NewTopic, Outcome as Sent, Polled,
    Problem, Producer, ProducerConfig,
};
use wyrdlog::runtime::{Clock, Random, Task, Tasks};
use wyrdlog::wire::kafka::ErrorCode;
use wyrdlog::wire::kafka::batch::Compression;

use super::Load;
use super::deliveries::Deliveries;
use super::payload::Payload;
use crate::engine::SimRuntime;
use crate::history::kafka::{Call, KafkaHistory, PartitionIndex, Reply, ResetReason};
use crate::history::{Client, OpId, Outcome};
use crate::scenario::{LogLoad, Topic};

/// How long to wait before the preparation or a final read is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Ends that stay where they are for so long are the ends.
const SETTLES: Duration = Duration::from_secs(1);
/// How long the controller may take to create topics.
const CREATE_WAIT: Duration = Duration::from_secs(5);
/// A time that is looked up is, half of the time, that of one of the last records, half as many as these.
const RECORDS_BACK: u64 = 400;
/// Times that are looked up lie back so long at most, in milliseconds.
const TIMES_MS: u64 = 30_000;
/// The compressions, by the number that a scenario has for each.
const COMPRESSIONS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// What all clients of the workload share.
pub struct ProduceConsume {
    brokers: Vec<Address>,
    topics: Vec<Topic>,
    partitions: Vec<TopicPartition>,
    habits: LogLoad,
    payload: Payload,
    plants: Plants,
    load: Load,
    history: Mutex<KafkaHistory>,
    values: AtomicU64,
    producers: AtomicU64,
}

/// The partitions of `topics`, in order.
#[must_use]
pub fn partitions_of(topics: &[Topic]) -> Vec<TopicPartition> {
    let of = |topic: &Topic| {
        let name: Arc<str> = topic.name.as_str().into();
        (0..topic.partitions as i32).map(move |index| TopicPartition::new(name.clone(), index))
    };
    topics.iter().flat_map(of).collect()
}

impl ProduceConsume {
    /// The workload over all partitions of `topics`, whose clients have `plants`.
    #[must_use]
    pub fn new(brokers: Vec<Address>, topics: Vec<Topic>, habits: LogLoad, plants: Plants, load: Load) -> Self {
        let partitions = partitions_of(&topics);
        let history = Mutex::new(KafkaHistory::new(partitions.clone()));
        let (values, producers) = (AtomicU64::new(1), AtomicU64::new(0));
        let payload = Payload::new(habits.records);
        ProduceConsume { brokers, topics, partitions, habits, payload, plants, load, history, values, producers }
    }

    fn history(&self) -> MutexGuard<'_, KafkaHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the clients did, once the final reads have ended.
    #[must_use]
    pub fn take_history(&self) -> KafkaHistory {
        std::mem::take(&mut self.history())
    }

    /// Up to where the final phase has read each partition by now.
    #[must_use]
    pub fn read_at_last(&self) -> BTreeMap<TopicPartition, i64> {
        let history = self.history();
        let mut read = BTreeMap::new();
        for operation in history.operations.iter().rev() {
            let Call::Poll { partition, last_phase: true, .. } = operation.call else { continue };
            let next = history.polled(operation).iter().map(|(offset, _)| offset + 1).max().unwrap_or(0);
            if let Some(name) = history.partitions.get(usize::from(partition)) {
                let reached = read.entry(name.clone()).or_insert(0);
                *reached = next.max(*reached);
            }
        }
        read
    }

    fn now_ns(&self) -> u64 {
        self.load.view.now_ns()
    }

    fn invoke(&self, client: Client, call: Call) -> OpId {
        self.history().invoke(client, self.now_ns(), call)
    }

    fn complete(&self, op: OpId, outcome: Outcome<Reply>) {
        self.history().complete(op, self.now_ns(), outcome);
    }

    fn index(&self, partition: &TopicPartition) -> Option<PartitionIndex> {
        self.partitions.iter().position(|known| known == partition).map(|at| at as PartitionIndex)
    }

    fn cluster(&self, runtime: SimRuntime, client: Client) -> Cluster<SimRuntime> {
        let config = ClientConfig {
            client_id: format!("client-{client}"),
            request_timeout: Duration::from_secs(4),
            connect_timeout: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(10),
            ..ClientConfig::default()
        };
        Cluster::new(runtime, self.brokers.clone(), config)
    }

    /// One client, until the load ends.
    pub async fn run(self: Arc<Self>, runtime: SimRuntime, client: Client) {
        let mut cluster = self.cluster(runtime, client);
        self.prepare(&cluster, runtime).await;
        loop {
            self.clone().one_life(cluster, runtime, client).await;
            if self.load.is_over() {
                return;
            }
            cluster = self.cluster(runtime, client);
        }
    }

    /// A producer and a consumer, which reads from the beginning, until they are given up or the load ends.
    async fn one_life(self: Arc<Self>, cluster: Cluster<SimRuntime>, runtime: SimRuntime, client: Client) {
        let ends = self.end_of_life(runtime);
        let mut sending = Sending::new(self.clone(), &cluster, runtime, client);
        let polling = runtime.spawn("consumer", self.clone().poll_all(cluster, runtime, client));
        loop {
            sending.deliveries.beside(self.load.pause(&runtime)).await;
            if self.load.is_over() || ends.is_some_and(|ends| runtime.now() >= ends) {
                break;
            }
            sending.send().await;
        }
        polling.cancel();
    }

    /// When a client gives its producer and consumer up; never if it does not, nor once all is healed.
    fn end_of_life(&self, runtime: SimRuntime) -> Option<Instant> {
        let mean = Duration::from_secs(60).checked_div(self.habits.renewals_per_minute)?;
        let life = runtime.random_duration("life", Duration::ZERO, mean * 2);
        let left = Duration::from_nanos(self.load.healed_ns.saturating_sub(self.now_ns()));
        (life < left).then(|| runtime.now() + life)
    }

    /// A time of the last while: any, or the very one of a record.
    fn some_time(&self, runtime: SimRuntime) -> i64 {
        let back = runtime.random_below("record", RECORDS_BACK);
        let value = self.values.load(Ordering::Relaxed).checked_sub(back);
        let of_record = value.and_then(|value| self.history().timestamps.get(&value).copied());
        if let Some(timestamp_ms) = of_record.filter(|_| back < RECORDS_BACK / 2) {
            return timestamp_ms;
        }
        runtime.wall_clock_ms() - runtime.random_below("time", TIMES_MS) as i64
    }

    /// Creates the topics, unless another client has.
    async fn prepare(&self, cluster: &Cluster<SimRuntime>, runtime: SimRuntime) {
        let wanted: Vec<NewTopic> = self.topics.iter().map(new_topic).collect();
        let admin = Admin::new(cluster.clone());
        while !self.load.is_over() {
            if let Ok(view) = cluster.refresh(None).await
                && self.partitions.iter().all(|partition| view.partition(partition).is_some())
            {
                return;
            }
            // Whether this attempt or another client's made them, the next look tells.
            let _ = admin.create_topics(&wanted, CREATE_WAIT).await;
            runtime.sleep(runtime.random_duration("prepare", RETRY, RETRY * 2)).await;
        }
    }

    /// Polls all partitions until it is cancelled.
    async fn poll_all(self: Arc<Self>, cluster: Cluster<SimRuntime>, runtime: SimRuntime, client: Client) {
        let mut consumer = Consumer::new(cluster, self.consumer_config());
        consumer.assign(self.partitions.clone());
        for partition in &self.partitions {
            self.reposition(&mut consumer, client, partition, OffsetSpec::Earliest);
        }
        let every = Duration::from_secs(60).checked_div(self.habits.consumers.lookups_per_minute);
        let mut next = every.map(|every| runtime.now() + every);
        loop {
            let brought = self.poll(&mut consumer, client, false).await;
            if let Some(every) = every.filter(|_| next.is_some_and(|next| runtime.now() >= next)) {
                self.look_up(&mut consumer, runtime, client).await;
                next = Some(runtime.now() + every);
            }
            // Once all is healed a consumer has to come to the end, however little a fetch may bring.
            if brought == 0 || !self.habits.consumers.fetch_little() || self.now_ns() < self.load.healed_ns {
                self.load.pause(&runtime).await;
            }
        }
    }

    fn consumer_config(&self) -> ConsumerConfig {
        let habits = &self.habits.consumers;
        let bytes = |bytes: u32| i32::try_from(bytes).unwrap_or(i32::MAX);
        ConsumerConfig {
            fetch_bytes_max: bytes(habits.fetch_bytes_max),
            partition_bytes_max: bytes(habits.partition_bytes_max),
            ..ConsumerConfig::default()
        }
    }

    /// Asks for the offset of a time in one partition.
    async fn look_up(&self, consumer: &mut Consumer<SimRuntime>, runtime: SimRuntime, client: Client) {
        let partition = runtime.random_below("looked up", self.partitions.len() as u64) as PartitionIndex;
        let Some(name) = self.partitions.get(usize::from(partition)) else { return };
        let timestamp_ms = self.some_time(runtime);
        let op = self.invoke(client, Call::OffsetForTime { partition, timestamp_ms });
        let told = consumer.list_offsets(&[(name.clone(), OffsetSpec::AtTime(timestamp_ms))]).await;
        match told.into_values().next() {
            Some(Ok(Position { offset, .. })) => {
                let offset = (offset >= 0).then_some(offset);
                self.complete(op, Outcome::Ok(Reply::OffsetFound { offset }));
            }
            Some(Err(Problem::Broker(error))) => self.refused(op, error),
            _ => self.complete(op, Outcome::Failed),
        }
    }

    /// The broker refused `op`, and nothing was done.
    fn refused(&self, op: OpId, error: ErrorCode) {
        self.history().refusals.insert(op, format!("{error:?}"));
        self.complete(op, Outcome::Failed);
    }

    /// Records what became of a send.
    pub(super) fn sent(&self, op: OpId, fate: Sent) {
        let outcome = match fate {
            Sent::Acknowledged { offset } => Outcome::Ok(Reply::Sent { offset }),
            Sent::Failed(error) => {
                tracing::debug!(%error, "a record was not taken");
                if let SendError::Broker(code) = error {
                    return self.refused(op, code);
                }
                Outcome::Failed
            }
            Sent::Unknown(error) => {
                tracing::debug!(%error, "what became of a record is unknown");
                if error == SendError::Closed {
                    self.history().given_up.insert(op);
                }
                Outcome::Unknown
            }
        };
        self.complete(op, outcome);
    }

    fn reposition(&self, consumer: &mut Consumer<SimRuntime>, client: Client, at: &TopicPartition, to: OffsetSpec) {
        let Some(partition) = self.index(at) else { return };
        let op = self.invoke(client, Call::Reposition { partition });
        consumer.seek_to(at, to);
        self.complete(op, Outcome::Ok(Reply::Repositioned));
    }

    /// Polls once. How many records that brought.
    async fn poll(&self, consumer: &mut Consumer<SimRuntime>, client: Client, last_phase: bool) -> usize {
        let from: BTreeMap<&TopicPartition, i64> = self
            .partitions
            .iter()
            .filter_map(|partition| Some((partition, consumer.position(partition)?.offset)))
            .collect();
        let invoked_ns = self.now_ns();
        let Polled { records, problems } = consumer.poll().await;
        let brought = records.len();
        self.record(client, invoked_ns, &from, records, last_phase);
        for (partition, problem) in problems {
            let (position, reason) = match problem {
                Problem::OutOfRange(position) => (position, ResetReason::OutOfRange),
                Problem::Truncated { position, .. } => (position, ResetReason::Truncated),
                _ => continue,
            };
            self.reset(client, &partition, position, reason);
            self.reposition(consumer, client, &partition, OffsetSpec::Earliest);
        }
        brought
    }

    fn reset(&self, client: Client, at: &TopicPartition, position: i64, reason: ResetReason) {
        let Some(partition) = self.index(at) else { return };
        let op = self.invoke(client, Call::Reset { partition, position, reason });
        self.complete(op, Outcome::Ok(Reply::Repositioned));
    }

    fn record(
        &self,
        client: Client,
        invoked_ns: u64,
        from: &BTreeMap<&TopicPartition, i64>,
        records: Vec<ConsumedRecord>,
        last_phase: bool,
    ) {
        let mut polled: BTreeMap<PartitionIndex, Vec<(i64, u64)>> = BTreeMap::new();
        for record in &records {
            if let Some(partition) = self.index(&record.partition) {
                polled.entry(partition).or_default().push((record.offset, self.payload.number_of(record)));
            }
        }
        let mut history = self.history();
        for (partition, records) in polled {
            let known = self.partitions.get(usize::from(partition)).and_then(|name| from.get(name).copied());
            let from = known.or(records.first().map(|(offset, _)| *offset)).unwrap_or(0);
            let op = history.invoke(client, invoked_ns, Call::Poll { partition, from, last_phase });
            history.complete_poll(op, self.now_ns(), records);
        }
    }

    /// Reads everything from the log start to the ends that leaders tell: the final phase, by one client.
    /// Whether it came to the ends that it should have is for others to judge.
    pub async fn read_everything(self: Arc<Self>, runtime: SimRuntime, client: Client) {
        // Whatever the consumers of the run were like, this one reads as much as it can.
        let mut consumer = Consumer::new(self.cluster(runtime, client), ConsumerConfig::default());
        consumer.assign(self.partitions.clone());
        for partition in &self.partitions {
            self.reposition(&mut consumer, client, partition, OffsetSpec::Earliest);
        }
        let asked: Vec<_> = self.partitions.iter().map(|one| (one.clone(), OffsetSpec::Latest)).collect();
        let is_read = |consumer: &Consumer<SimRuntime>, one: &TopicPartition, end: i64| {
            consumer.position(one).is_some_and(|position| position.offset >= end)
        };
        // What was on its way when the load ended may still be committed, and one partition without a
        // leader keeps no other from being read.
        let mut before = None;
        loop {
            let told = consumer.list_offsets(&asked).await;
            let ends: BTreeMap<_, _> =
                told.into_iter().filter_map(|(partition, end)| Some((partition, end.ok()?.offset))).collect();
            let is_all = ends.len() == asked.len() && ends.iter().all(|(one, end)| is_read(&consumer, one, *end));
            if !is_all {
                self.poll(&mut consumer, client, true).await;
                continue;
            }
            if before.as_ref() == Some(&ends) {
                return;
            }
            before = Some(ends);
            runtime.sleep(SETTLES).await;
        }
    }
}

/// A client's producer.
struct Sending {
    workload: Arc<ProduceConsume>,
    deliveries: Deliveries,
    producer: Producer<SimRuntime>,
    runtime: SimRuntime,
    client: Client,
    acks: Acks,
    idempotent: Option<u32>,
}

impl Sending {
    fn new(workload: Arc<ProduceConsume>, cluster: &Cluster<SimRuntime>, runtime: SimRuntime, client: Client) -> Self {
        let draw = |purpose| runtime.random_below(purpose, 100) as u32;
        let habits = &workload.habits;
        let is_idempotent = draw("idempotent") < habits.idempotent_percent;
        let all = is_idempotent || draw("acks") < habits.acks_all_percent;
        let none = !all && habits.acks_none_percent > 0 && draw("no acks") < habits.acks_none_percent;
        let acks = match (all, none) {
            (true, _) => Acks::All,
            (false, true) => Acks::None,
            (false, false) => Acks::Leader,
        };
        let number = workload.producers.fetch_add(1, Ordering::Relaxed) as u32;
        let config = ProducerConfig {
            acks,
            idempotent: is_idempotent,
            delivery_timeout: Duration::from_secs(10),
            max_block: Duration::from_secs(5),
            linger: Duration::from_millis(u64::from(habits.producers.linger_ms)),
            batch_bytes: habits.producers.batch_bytes as usize,
            buffer_bytes: habits.producers.buffer_bytes as usize,
            in_flight_max: habits.producers.in_flight_max as usize,
            plants: workload.plants,
            compression: COMPRESSIONS[habits.producers.compression as usize % COMPRESSIONS.len()],
            ..ProducerConfig::default()
        };
        let producer = Producer::new(cluster.clone(), config);
        let deliveries = Deliveries::new(workload.clone(), runtime);
        Sending { workload, deliveries, producer, runtime, client, acks, idempotent: is_idempotent.then_some(number) }
    }

    /// Hands one record over. Its outcome is recorded when it comes.
    async fn send(&mut self) {
        let workload = &self.workload;
        let partition = self.runtime.random_below("partition", workload.partitions.len() as u64) as PartitionIndex;
        let Some(name) = workload.partitions.get(usize::from(partition)).cloned() else { return };
        let value = workload.values.fetch_add(1, Ordering::Relaxed);
        let (acks, idempotent) = (self.acks.to_wire(), self.idempotent);
        let op = workload.invoke(self.client, Call::Send { partition, value, acks, idempotent });
        let record = workload.payload.record(value, self.runtime.wall_clock_ms());
        workload.history().timestamps.insert(value, record.timestamp_ms);
        let delivery = self.deliveries.beside(self.producer.send(name, record)).await;
        self.deliveries.push(op, delivery);
    }
}

fn new_topic(topic: &Topic) -> NewTopic {
    let new = NewTopic::new(topic.name.as_str(), topic.partitions as i32, topic.replicas as i16);
    let new = new.config("min.insync.replicas", topic.min_in_sync.to_string());
    match topic.durability {
        Durability::Synced => new.config("flush.messages", "1"),
        Durability::PageCache => new,
    }
}
