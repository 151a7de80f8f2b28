//! A log of a client's own: it alone writes there, batch by batch in any version, numbered or not, again and
//! out of order, and reads and looks up what it wrote. Everything that it is told follows from what it did.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wyrdlog::base::ids::{BrokerId, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use wyrdlog::client::{Admin, ClientConfig, Cluster, NewTopic};
use wyrdlog::message;
use wyrdlog::runtime::{Clock, Random, Tasks, timeout};
use wyrdlog::wire::kafka::batch::{Compression, NewRecord, ProducerStamp, RecordBatchBuilder};
use wyrdlog::wire::kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use wyrdlog::wire::kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wyrdlog::wire::kafka::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use wyrdlog::wire::kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wyrdlog::wire::kafka::messages::{
    FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest, StrBytes, uuid,
};
use wyrdlog::wire::kafka::{ApiKey, ErrorCode, Request, Response};

use super::{PATIENCE, Worker};
use crate::engine::SimRuntime;
use crate::history::protocol::{OWN, OwnLog, OwnStep, Stamp, Step, Told};

/// The most steps with one log.
const STEPS_MAX: u64 = 40;
/// The most records of a batch.
const RECORDS_MAX: u64 = 4;
/// So many producers number batches of one log.
const PRODUCERS: u64 = 2;
/// How often a client looks for the leader of a new topic.
const LOOKS_MAX: u32 = 20;
const AGAIN: Duration = Duration::from_millis(100);
/// So long a reader waits at the end.
const AWAITS: Duration = Duration::from_secs(3);
/// By then its request has come, as a rule.
const AWAITED_AFTER: Duration = Duration::from_millis(50);
/// From this version on of Produce and Fetch topics have ids.
const IDS_FROM: i16 = 13;
/// The last sequence; the next one is 0.
const SEQUENCE_MAX: i32 = i32::MAX;

/// A producer that numbers batches.
struct Numbered {
    id: i64,
    epoch: i16,
    next: i32,
    /// The batches of this epoch: stamp and records.
    sent: Vec<(Stamp, Vec<(i64, u64)>)>,
}

/// A log between its topic's creation and deletion.
struct Owner<'w> {
    worker: &'w Worker,
    cluster: Cluster<SimRuntime>,
    /// The connections of one who waits, behind which nothing else has to.
    reader: Cluster<SimRuntime>,
    partition: TopicPartition,
    id: TopicId,
    numbered: Vec<Numbered>,
    /// Times and values, by offset.
    written: Vec<(i64, u64)>,
}

impl Worker {
    /// Creates a log, works with it and deletes it.
    pub(super) async fn use_a_log(&mut self) {
        self.logs += 1;
        let config = ClientConfig {
            client_id: format!("client-{}", self.client),
            request_timeout: PATIENCE,
            connect_timeout: Duration::from_secs(1),
            ..ClientConfig::default()
        };
        let addresses: Vec<_> = self.brokers.iter().map(|(_, address)| address.clone()).collect();
        let reader = Cluster::new(self.runtime, Vec::clone(&addresses), config.clone());
        let cluster = Cluster::new(self.runtime, addresses, config);
        let topic: Arc<str> = format!("{OWN}{}-{}", self.client, self.logs).into();
        let replicas = 1 + self.below(self.brokers.len().min(3) as u64) as i16;
        let segment_bytes = ["600", "4096", "1048576"][self.below(3) as usize];
        let new = NewTopic::new(&*topic, 1, replicas)
            .config("flush.messages", "1")
            .config("min.insync.replicas", "1")
            .config("segment.bytes", segment_bytes)
            .config("retention.bytes", "-1");
        let admin = Admin::new(cluster.clone());
        let created = timeout(&self.runtime, PATIENCE, admin.create_topics(&[new], PATIENCE / 2)).await;
        let Some(Ok(id)) = created.ok().and_then(Result::ok).and_then(|mut results| results.remove(&*topic)) else {
            return;
        };
        let history = OwnLog { client: self.client, topic: topic.clone(), steps: Vec::new() };
        let at = {
            let mut all = self.shared.history();
            all.logs.push(history);
            all.logs.len() - 1
        };
        let partition = TopicPartition::new(topic.clone(), 0);
        let mut owner =
            Owner { worker: self, cluster, reader, partition, id, numbered: Vec::new(), written: Vec::new() };
        owner.work(at).await;
        // One that is not deleted stays, and harms nobody.
        let names = [topic.to_string()];
        let _ = timeout(&self.runtime, PATIENCE, admin.delete_topics(&names, PATIENCE / 2)).await;
    }

    fn below(&self, below: u64) -> u64 {
        self.runtime.random_below("own log", below)
    }
}

impl Owner<'_> {
    fn below(&self, below: u64) -> u64 {
        self.worker.below(below)
    }

    async fn work(&mut self, at: usize) {
        for _ in 0..10 + self.below(STEPS_MAX) {
            let Some((broker, leader_epoch)) = self.leader().await else { return };
            let is_known = if self.below(8) == 0 {
                self.write_while_awaited(at, broker).await
            } else {
                let step = self.step(leader_epoch);
                let asked_ns = self.now_ns();
                let (version, told) = self.take(broker, &step).await;
                self.done(at, OwnStep { broker, version, asked_ns, told_ns: self.now_ns(), step, told })
            };
            if !is_known || self.worker.shared.load.is_over() {
                return;
            }
            self.worker.shared.load.pause(&self.worker.runtime).await;
        }
    }

    fn now_ns(&self) -> u64 {
        self.worker.shared.load.view.now_ns()
    }

    /// Notes a step in the history of log `at`. False where nobody knows what the log holds now.
    fn done(&mut self, at: usize, step: OwnStep) -> bool {
        let is_known = self.note(&step.step, &step.told);
        self.worker.shared.history().logs[at].steps.push(step);
        is_known
    }

    /// A reader waits at the end, on a connection of its own, and a batch is written meanwhile.
    async fn write_while_awaited(&mut self, at: usize, broker: BrokerId) -> bool {
        let end = self.written.len() as i64;
        let asked_ns = self.now_ns();
        let version = self.some_version(ApiKey::Fetch);
        let request = self.fetch(end, version, AWAITS);
        let (reader, runtime, topic) = (self.reader.clone(), self.worker.runtime, [self.partition.topic.clone()]);
        let (tell, told_by) = tokio::sync::oneshot::channel();
        let view = self.worker.shared.load.view;
        let waits = runtime.spawn("own-log-reader", async move {
            let asked = async {
                reader.refresh(Some(&topic)).await?;
                let connection = reader.connection(broker).await?;
                connection.send_version(version, &request).await?.await
            };
            let answered = timeout(&runtime, PATIENCE, asked).await;
            let _ = tell.send((answered.ok().and_then(Result::ok).map_or(Told::Nothing, told), view.now_ns()));
        });
        runtime.sleep(AWAITED_AFTER).await;
        let step = Step::Produce { stamp: None, records: self.records(), is_compressed: false };
        let (written_in, produced) = self.take(broker, &step).await;
        let written_ns = self.now_ns();
        let is_written = matches!(produced, Told::Produced { error: 0, .. });
        let write = OwnStep { broker, version: written_in, asked_ns, told_ns: written_ns, step, told: produced };
        if !self.done(at, write) {
            return false;
        }
        if is_written && let Ok((told, told_ns)) = told_by.await {
            let step = Step::Await { offset: end, written_ns };
            // It is judged behind the write, and the answer may come before that of the write.
            let told_ns = told_ns.max(written_ns);
            self.done(at, OwnStep { broker, version, asked_ns, told_ns, step, told });
        }
        drop(waits);
        true
    }

    /// Who leads, and in which epoch.
    async fn leader(&self) -> Option<(BrokerId, i32)> {
        for _ in 0..LOOKS_MAX {
            let view = self.cluster.view();
            if let Some(view) = view.partition(&self.partition)
                && let Some(leader) = view.leader
            {
                return Some((leader, view.leader_epoch.0));
            }
            self.worker.runtime.sleep(AGAIN).await;
            let wanted = [self.partition.topic.clone()];
            // Asked again below, and given up in the end.
            let _ = timeout(&self.worker.runtime, PATIENCE, self.cluster.refresh(Some(&wanted))).await;
        }
        None
    }

    fn step(&mut self, leader_epoch: i32) -> Step {
        let end = self.written.len() as i64;
        match self.below(10) {
            0..=3 => self.produce(),
            4..=6 => {
                let beyond = [end, end, end + 1, end + 1_000][self.below(4) as usize];
                let within = self.below(end.max(1) as u64) as i64;
                Step::Fetch { offset: if self.below(3) == 0 { beyond } else { within } }
            }
            7..=8 => {
                let ends = [-1, -1, -2, -3][self.below(4) as usize];
                let at = (!self.written.is_empty()).then(|| self.written[self.below(end as u64) as usize].0);
                let time = at.map_or(0, |at| at + self.below(3) as i64 - 1);
                Step::Lookup { timestamp: if self.below(2) == 0 { ends } else { time.max(0) } }
            }
            _ => Step::EpochEnd { epoch: leader_epoch },
        }
    }

    /// A batch: the next one of a producer, one that it sent before, one behind a gap, one of an epoch before, the
    /// first of a new epoch, or one that nobody numbers.
    fn produce(&mut self) -> Step {
        let records = self.records();
        let is_compressed = self.below(4) == 0;
        if self.below(4) == 0 {
            return Step::Produce { stamp: None, records, is_compressed };
        }
        let which = self.below(PRODUCERS) as usize;
        if which >= self.numbered.len() {
            let id = (1 << 40) + (i64::from(self.worker.client) << 20) + self.numbered.len() as i64;
            self.numbered.push(Numbered { id, epoch: 0, next: 0, sent: Vec::new() });
        }
        let which = which.min(self.numbered.len() - 1);
        let (kind, back) = (self.below(10), self.below(8) as usize);
        let one = &self.numbered[which];
        let stamp = |epoch, base_sequence| Some(Stamp { id: one.id, epoch, base_sequence });
        match kind {
            0..=1 if one.sent.len() > back => {
                let (stamp, records) = one.sent[one.sent.len() - 1 - back].clone();
                Step::Produce { stamp: Some(stamp), records, is_compressed: false }
            }
            2 => Step::Produce { stamp: stamp(one.epoch, after(one.next, 3)), records, is_compressed },
            3 if one.epoch > 0 => Step::Produce { stamp: stamp(one.epoch - 1, one.next), records, is_compressed },
            4 if !one.sent.is_empty() => Step::Produce { stamp: stamp(one.epoch + 1, 0), records, is_compressed },
            5 if !one.sent.is_empty() => Step::Produce { stamp: stamp(one.epoch + 1, 7), records, is_compressed },
            _ => Step::Produce { stamp: stamp(one.epoch, one.next), records, is_compressed },
        }
    }

    fn records(&self) -> Vec<(i64, u64)> {
        let next = self.worker.shared.next_values(RECORDS_MAX);
        let count = 1 + self.below(RECORDS_MAX);
        (0..count).map(|at| (1_000 + self.below(50) as i64, next + at)).collect()
    }

    /// Learns what became of a step. False where nobody knows what the log holds now.
    fn note(&mut self, step: &Step, told: &Told) -> bool {
        let (Step::Produce { stamp, records, .. }, Told::Produced { error, base_offset }) = (step, told) else {
            return !matches!(step, Step::Produce { .. });
        };
        if *error == 0 && *base_offset == self.written.len() as i64 {
            self.written.extend(records);
            if let Some(stamp) = stamp
                && let Some(one) = self.numbered.iter_mut().find(|one| one.id == stamp.id)
            {
                if one.epoch != stamp.epoch {
                    (one.epoch, one.sent) = (stamp.epoch, Vec::new());
                }
                one.next = after(stamp.base_sequence, records.len() as i32);
                one.sent.push((*stamp, records.clone()));
            }
        }
        is_definite(*error)
    }

    async fn take(&self, broker: BrokerId, step: &Step) -> (i16, Told) {
        let api = match step {
            Step::Await { .. } => ApiKey::Fetch,
            Step::Produce { .. } => ApiKey::Produce,
            Step::Fetch { .. } => ApiKey::Fetch,
            Step::Lookup { .. } => ApiKey::ListOffsets,
            Step::EpochEnd { .. } => ApiKey::OffsetForLeaderEpoch,
        };
        let mut version = self.some_version(api);
        if matches!(step, Step::Lookup { timestamp: -3 }) {
            version = version.max(7);
        }
        let request = self.request(step, version);
        let asked = async {
            let connection = self.cluster.connection(broker).await?;
            connection.send_version(version, &request).await?.await
        };
        let answered = timeout(&self.worker.runtime, PATIENCE, asked).await;
        let told = match answered {
            Ok(Ok(response)) => told(response),
            _ => Told::Nothing,
        };
        let is_moved = match &told {
            Told::Nothing => true,
            Told::Produced { error, .. } | Told::Fetched { error, .. } => *error != 0,
            Told::Found { error, .. } | Told::End { error, .. } => *error != 0,
        };
        if is_moved {
            let wanted = [self.partition.topic.clone()];
            // The next step goes to whoever leads by then.
            let _ = timeout(&self.worker.runtime, PATIENCE, self.cluster.refresh(Some(&wanted))).await;
        }
        (version, told)
    }

    fn some_version(&self, api: ApiKey) -> i16 {
        let served = api.served();
        served.min + self.below((served.max - served.min + 1) as u64) as i16
    }

    fn fetch(&self, offset: i64, version: i16, waits: Duration) -> Request {
        let partitions =
            vec![message!(FetchPartition { partition: 0, fetch_offset: offset, partition_max_bytes: 300 })];
        let topic = match version {
            IDS_FROM.. => message!(FetchTopic { topic_id: uuid(self.id), partitions }),
            _ => message!(FetchTopic { topic: StrBytes::from(&*self.partition.topic), partitions }),
        };
        let (max_wait_ms, min_bytes) = (waits.as_millis() as i32, i32::from(!waits.is_zero()));
        let mut request = message!(FetchRequest { max_wait_ms, min_bytes, max_bytes: 1 << 20, topics: vec![topic] });
        if version >= 7 {
            request.session_epoch = -1;
        }
        Request::Fetch(request)
    }

    fn request(&self, step: &Step, version: i16) -> Request {
        let name = || StrBytes::from(&*self.partition.topic);
        match step {
            Step::Produce { stamp, records, is_compressed } => {
                let partition_data = vec![message!(PartitionProduceData {
                    index: 0,
                    records: Some(batch(*stamp, records, *is_compressed)),
                })];
                let topic = match version {
                    IDS_FROM.. => message!(TopicProduceData { topic_id: uuid(self.id), partition_data }),
                    _ => message!(TopicProduceData { name: name(), partition_data }),
                };
                let timeout_ms = PATIENCE.as_millis() as i32 / 2;
                Request::Produce(message!(ProduceRequest { acks: -1, timeout_ms, topic_data: vec![topic] }))
            }
            Step::Fetch { offset } => self.fetch(*offset, version, Duration::ZERO),
            Step::Await { offset, .. } => self.fetch(*offset, version, AWAITS),
            Step::Lookup { timestamp } => {
                let partitions = vec![message!(ListOffsetsPartition { partition_index: 0, timestamp: *timestamp })];
                let topics = vec![message!(ListOffsetsTopic { name: name(), partitions })];
                Request::ListOffsets(message!(ListOffsetsRequest { replica_id: -1, topics }))
            }
            Step::EpochEnd { epoch } => {
                let leader_epoch = *epoch;
                let partitions =
                    vec![message!(OffsetForLeaderPartition { partition: 0, current_leader_epoch: -1, leader_epoch })];
                let topics = vec![message!(OffsetForLeaderTopic { topic: name(), partitions })];
                let mut request = message!(OffsetForLeaderEpochRequest { topics });
                if version >= 3 {
                    request.replica_id = -1;
                }
                Request::OffsetForLeaderEpoch(request)
            }
        }
    }
}

/// Whether a batch that was answered so is in the log for good, or will never be.
#[must_use]
pub fn is_definite(error: i16) -> bool {
    use ErrorCode as Code;
    let definite = [
        Code::None,
        Code::OutOfOrderSequenceNumber,
        Code::DuplicateSequenceNumber,
        Code::InvalidProducerEpoch,
        Code::NotEnoughReplicas,
        Code::UnknownTopicOrPartition,
        Code::UnknownTopicId,
    ];
    definite.contains(&ErrorCode::from_wire(error))
}

/// So many sequences later.
fn after(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) % (i64::from(SEQUENCE_MAX) + 1)) as i32
}

fn batch(stamp: Option<Stamp>, records: &[(i64, u64)], is_compressed: bool) -> Bytes {
    let compression = if is_compressed { Compression::Lz4 } else { Compression::None };
    let mut builder = RecordBatchBuilder::new().compression(compression);
    for (timestamp_ms, value) in records {
        let value = Some(Bytes::copy_from_slice(&value.to_be_bytes()));
        builder.push(NewRecord { value, timestamp_ms: *timestamp_ms, ..NewRecord::default() });
    }
    let stamp = stamp.map_or(ProducerStamp::NONE, |Stamp { id, epoch, base_sequence }| ProducerStamp {
        id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
        base_sequence,
    });
    builder.build(stamp).unwrap_or_default()
}

fn told(response: Response) -> Told {
    match response {
        Response::Produce(response) => {
            let one = response.responses.first().and_then(|topic| topic.partition_responses.first());
            one.map_or(Told::Nothing, |one| Told::Produced { error: one.error_code, base_offset: one.base_offset })
        }
        Response::Fetch(response) => {
            let one = response.topics.first().and_then(|topic| topic.partitions.first());
            one.map_or(Told::Nothing, |one| Told::Fetched {
                error: one.error.map_or(0, ErrorCode::to_wire),
                high_watermark: one.high_watermark,
                records: one.records.iter().flat_map(|part| part.iter().copied()).collect(),
            })
        }
        Response::ListOffsets(response) => {
            let one = response.topics.first().and_then(|topic| topic.partitions.first());
            one.map_or(Told::Nothing, |one| Told::Found {
                error: one.error_code,
                timestamp: one.timestamp,
                offset: one.offset,
            })
        }
        Response::OffsetForLeaderEpoch(response) => {
            let one = response.topics.first().and_then(|topic| topic.partitions.first());
            one.map_or(Told::Nothing, |one| Told::End {
                error: one.error_code,
                leader_epoch: one.leader_epoch,
                end_offset: one.end_offset,
            })
        }
        _ => Told::Nothing,
    }
}
