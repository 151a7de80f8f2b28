//! The consumer: reads assigned partitions from where it was told to.
//!
//! Each [`poll`](Consumer::poll) does, as far as it is needed: learn the leaders, ask for the
//! places that were sought, check positions against new leaders (KIP-320), fetch. It returns what
//! the first leaders to answer have; the fetches at the others stay for the next poll. Where things
//! stand is in [`Subscription`]. Positions move only when a poll returns, so dropping one loses
//! nothing. Fetches are sessionless.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::cluster::Cluster;
use super::config::ConsumerConfig;
use super::connection::{Connection, RequestFailed};
use super::fetches::{Answered, Asked, FetchFrom, Fetches, Turns};
use super::metadata::ClusterView;
use super::refusals::Pending;
use super::subscription::Subscription;
use crate::base::event;
use crate::base::ids::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::message;
use crate::runtime::{Runtime, join_all};
use crate::wire::kafka::fetch::{FetchResponse, FetchedPartition, FetchedTopic};
use crate::wire::kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::wire::kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::kafka::messages::list_offsets_response::ListOffsetsPartitionResponse;
use crate::wire::kafka::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use crate::wire::kafka::messages::{
    FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, StrBytes, topic_id, uuid,
};
use crate::wire::kafka::{ApiKey, ErrorCode, Request, Response};

pub use super::subscription::{ConsumedRecord, OffsetSpec, Position, Problem};

/// The highest version of Fetch that names topics by name.
const FETCH_BY_NAME_MAX: i16 = 12;
/// A fetch of a consumer names no replica.
const NO_REPLICA: i32 = -1;

/// What a poll gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Records, by partition and offset.
    pub records: Vec<ConsumedRecord>,
    /// Partitions that gave none, and why. Those that can be tried again are, by the next poll;
    /// after [`Problem::OutOfRange`] and [`Problem::Truncated`] the caller has to seek.
    pub problems: Vec<(TopicPartition, Problem)>,
}

/// Reads records. See the module's doc.
pub struct Consumer<R: Runtime> {
    cluster: Cluster<R>,
    config: ConsumerConfig,
    subscription: Subscription,
    fetches: Fetches,
    turns: Turns,
    /// The topics whose leaders are others than is known, as it turned out.
    stale: BTreeSet<Arc<str>>,
}

/// Partitions with what to ask about each, by leader.
type ByLeader<T> = BTreeMap<BrokerId, Vec<(TopicPartition, T)>>;

impl<R: Runtime> Consumer<R> {
    /// A consumer over `cluster`, without partitions.
    #[must_use]
    pub fn new(cluster: Cluster<R>, config: ConsumerConfig) -> Self {
        let subscription = Subscription::new(config.isolation);
        let (fetches, turns, stale) = (Fetches::default(), Turns::default(), BTreeSet::new());
        Consumer { cluster, config, subscription, fetches, turns, stale }
    }

    /// Takes exactly these partitions; keeps the positions of those that stay. The others need a
    /// [`seek`](Self::seek) before they give records.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.subscription.assign(partitions);
        self.turns = Turns::default();
    }

    /// Goes on at `offset`. With the leader epoch of the record before it, a truncation is seen.
    pub fn seek(&mut self, partition: &TopicPartition, offset: i64, epoch: Option<LeaderEpoch>) {
        self.subscription.seek(partition, Position { offset, epoch });
    }

    /// Goes on at a place that the next poll asks the leader for.
    pub fn seek_to(&mut self, partition: &TopicPartition, spec: OffsetSpec) {
        self.subscription.seek_to(partition, spec);
    }

    /// The next record to read; none while that is not decided.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<Position> {
        self.subscription.position(partition)
    }

    /// Reads what is there, waiting for `fetch.max.wait.ms` if nothing is.
    pub async fn poll(&mut self) -> Polled {
        let mut polled = Polled::default();
        let view = self.learn_leaders(&mut polled).await;
        self.resolve_seeks(&view, &mut polled).await;
        self.check_positions(&view, &mut polled).await;
        self.fetch(&view, &mut polled).await;
        if polled.records.is_empty() && !polled.problems.is_empty() {
            self.cluster.runtime().sleep(self.cluster.backoff(0)).await;
        }
        polled
    }

    /// The offsets of `specs` as the leaders see them now, without moving any position: -1 where a
    /// time is after the last record.
    pub async fn list_offsets(
        &mut self,
        specs: &[(TopicPartition, OffsetSpec)],
    ) -> BTreeMap<TopicPartition, Result<Position, Problem>> {
        let mut polled = Polled::default();
        let topics: Vec<_> = specs.iter().map(|(partition, _)| partition.topic.clone()).collect();
        let view = self.view_of(topics, &mut polled).await;
        let mut results = BTreeMap::new();
        let mut by_leader = ByLeader::new();
        for (partition, spec) in specs {
            match view.leader(partition) {
                Some(leader) => by_leader.entry(leader).or_default().push((partition.clone(), *spec)),
                None => {
                    self.stale.insert(partition.topic.clone());
                    results.insert(partition.clone(), Err(Problem::NoLeader));
                }
            }
        }
        for (partition, result) in ask_offsets(&self.cluster, &self.config, &view, by_leader).await {
            if result.is_err() {
                self.stale.insert(partition.topic.clone());
            }
            results.insert(partition, result);
        }
        results
    }

    async fn learn_leaders(&mut self, polled: &mut Polled) -> Arc<ClusterView> {
        let topics: Vec<_> = self.subscription.assigned().map(|partition| partition.topic.clone()).collect();
        let view = self.view_of(topics, polled).await;
        for partition in self.subscription.assigned() {
            if view.leader(partition).is_none() {
                self.stale.insert(partition.topic.clone());
                polled.problems.push((partition.clone(), Problem::NoLeader));
            }
        }
        view
    }

    async fn view_of(&mut self, mut topics: Vec<Arc<str>>, polled: &mut Polled) -> Arc<ClusterView> {
        let view = self.cluster.view();
        let known = topics.iter().all(|topic| view.topics.contains_key(topic));
        topics.sort();
        topics.dedup();
        let is_stale = topics.iter().any(|topic| self.stale.contains(topic)) || self.cluster.is_stale(&topics);
        if topics.is_empty() || known && !is_stale {
            return view;
        }
        match self.cluster.refresh(Some(&topics)).await {
            Ok(view) => {
                // Only of what was asked about: another topic's leaders may be as wrong as before.
                self.stale.retain(|topic| !topics.contains(topic));
                view
            }
            Err(failed) => {
                let lost = |partition: &TopicPartition| (partition.clone(), Problem::Request(failed.clone()));
                polled.problems.extend(self.subscription.assigned().map(lost));
                view
            }
        }
    }

    async fn resolve_seeks(&mut self, view: &ClusterView, polled: &mut Polled) {
        let mut by_leader = ByLeader::new();
        for (partition, spec) in self.subscription.seeks() {
            if let Some(leader) = view.leader(&partition) {
                by_leader.entry(leader).or_default().push((partition, spec));
            }
        }
        let latest: BTreeMap<_, _> = self.subscription.seeks().into_iter().collect();
        for (partition, result) in ask_offsets(&self.cluster, &self.config, view, by_leader).await {
            match result {
                Ok(position) if position.offset >= 0 => self.subscription.seek(&partition, position),
                // No record is that young: what comes next will be.
                Ok(_) if matches!(latest.get(&partition), Some(OffsetSpec::AtTime(_))) => {
                    self.subscription.seek_to(&partition, OffsetSpec::Latest);
                }
                Ok(_) => polled.problems.push((partition, Problem::Broker(ErrorCode::OffsetNotAvailable))),
                Err(problem) => self.trouble(partition, problem, polled),
            }
        }
    }

    async fn check_positions(&mut self, view: &ClusterView, polled: &mut Polled) {
        let mut by_leader = ByLeader::new();
        for partition in self.subscription.assigned() {
            let current = leader_epoch(view, partition);
            let check = self.subscription.to_check(partition, current);
            if let (Some((_, epoch)), Some(leader)) = (check, view.leader(partition)) {
                by_leader.entry(leader).or_default().push((partition.clone(), (current, epoch)));
            }
        }
        let cluster = &self.cluster;
        let asks = by_leader.into_iter().map(|(leader, asked)| async move {
            let pending = Pending::new(cluster, leader);
            let told = cluster.ask(leader, &epoch_request(&asked)).await.map(epochs_told);
            for (partition, answer) in told.iter().flatten() {
                answer.inspect_err(|error| pending.refused(partition, event::Asked::EpochEnd, *error)).ok();
            }
            (asked, told)
        });
        for (asked, told) in join_all(asks).await {
            for (partition, (current, _)) in asked {
                let answer = match &told {
                    Ok(told) => told.get(&partition).copied().unwrap_or(Err(ErrorCode::UnknownServerError)),
                    Err(failed) => {
                        self.trouble(partition, Problem::Request(failed.clone()), polled);
                        continue;
                    }
                };
                let checked = match answer {
                    Ok((epoch, end_offset)) => self.subscription.checked(&partition, current, epoch, end_offset),
                    Err(error) => Err(Problem::Broker(error)),
                };
                if let Err(problem) = checked {
                    self.trouble(partition, problem, polled);
                }
            }
        }
    }

    /// Takes what the first leaders to answer have. Waits for the others only while nothing came.
    async fn fetch(&mut self, view: &Arc<ClusterView>, polled: &mut Polled) {
        self.send_fetches(view);
        let known = polled.problems.len();
        while polled.records.is_empty() && polled.problems.len() == known && !self.fetches.is_empty() {
            for Answered { asked, view, answer } in self.fetches.answered().await {
                match answer {
                    Ok(response) => self.take(&view, asked, response, polled),
                    Err(failed) => {
                        for (partition, _) in asked {
                            self.trouble(partition, Problem::Request(failed.clone()), polled);
                        }
                    }
                }
            }
        }
    }

    /// Each leader is asked for all of its partitions, unless it has been and has not answered yet.
    fn send_fetches(&mut self, view: &Arc<ClusterView>) {
        let mut wanted: BTreeMap<BrokerId, Asked> = BTreeMap::new();
        for partition in self.subscription.assigned() {
            let leader_epoch = leader_epoch(view, partition);
            let checked = self.subscription.to_check(partition, leader_epoch).is_none();
            let position = self.subscription.position(partition).filter(|_| checked);
            if let (Some(position), Some(leader)) = (position, view.leader(partition)) {
                let from = FetchFrom { position, leader_epoch };
                wanted.entry(leader).or_default().push((partition.clone(), from));
            }
        }
        wanted.values_mut().for_each(|asked| self.turns.sort(asked));
        self.fetches.retain(&wanted);
        for (leader, asked) in wanted {
            if !self.fetches.waits_at(leader) {
                let (cluster, config) = (self.cluster.clone(), self.config.clone());
                let fetch = fetch_from(cluster, config, view.clone(), leader, asked.clone());
                // In a task of its own: nobody polls it between two polls of the consumer, and it may hold
                // the connection that it opens, for which the next poll and the producer wait.
                let (tell, told) = oneshot::channel();
                let task = self.cluster.runtime().spawn("consumer-fetch", async move {
                    let _ = tell.send(fetch.await);
                });
                let answer = async move {
                    let _until_answered = task;
                    told.await.unwrap_or_else(|_| Err(RequestFailed::Lost("the fetch has ended".to_owned())))
                };
                self.fetches.insert(leader, asked, view.clone(), answer);
            }
        }
    }

    fn take(&mut self, view: &ClusterView, asked: Asked, response: FetchResponse, polled: &mut Polled) {
        if let Some(error) = response.error {
            for (partition, _) in asked {
                self.trouble(partition, Problem::Broker(error), polled);
            }
            return;
        }
        let asked: BTreeMap<_, _> = asked.into_iter().collect();
        for topic in response.topics {
            let Some(name) = name_of(view, &topic) else { continue };
            for fetched in topic.partitions {
                let partition = TopicPartition::new(name.clone(), fetched.index);
                if let Some(from) = asked.get(&partition) {
                    self.take_partition(partition, from.position.offset, fetched, polled);
                }
            }
        }
    }

    fn take_partition(
        &mut self,
        partition: TopicPartition,
        fetched_from: i64,
        fetched: FetchedPartition,
        polled: &mut Polled,
    ) {
        match fetched.error {
            Some(ErrorCode::OffsetOutOfRange) => {
                let problem = self.subscription.out_of_range(&partition, fetched_from);
                polled.problems.extend(problem.map(|problem| (partition, problem)));
            }
            Some(error) => self.trouble(partition, Problem::Broker(error), polled),
            None => {
                if fetched.records.iter().any(|bytes| !bytes.is_empty()) {
                    self.turns.served(&partition);
                }
                let (records, problem) = self.subscription.take(&partition, fetched_from, fetched);
                polled.records.extend(records);
                polled.problems.extend(problem.map(|problem| (partition, problem)));
            }
        }
    }

    fn trouble(&mut self, partition: TopicPartition, problem: Problem, polled: &mut Polled) {
        let is_stale = match &problem {
            Problem::Broker(error) => error.calls_for_metadata(),
            Problem::Request(_) | Problem::NoLeader => true,
            _ => false,
        };
        if is_stale {
            self.stale.insert(partition.topic.clone());
        }
        polled.problems.push((partition, problem));
    }
}

fn leader_epoch(view: &ClusterView, partition: &TopicPartition) -> LeaderEpoch {
    view.partition(partition).map_or(LeaderEpoch(-1), |known| known.leader_epoch)
}

/// The partitions in the order given; those of one topic that follow each other are together.
fn by_topic<A, T>(
    asked: &[(TopicPartition, A)],
    convert: impl Fn(&TopicPartition, &A) -> T,
) -> Vec<(StrBytes, Vec<T>)> {
    let runs = asked.chunk_by(|(one, _), (next, _)| one.topic == next.topic);
    let topic = |run: &[(TopicPartition, A)]| {
        let name = run.first().map_or("", |(partition, _)| &*partition.topic);
        (StrBytes::from(name), run.iter().map(|(partition, about)| convert(partition, about)).collect())
    };
    runs.map(topic).collect()
}

async fn ask_offsets<R: Runtime>(
    cluster: &Cluster<R>,
    config: &ConsumerConfig,
    view: &ClusterView,
    by_leader: ByLeader<OffsetSpec>,
) -> Vec<(TopicPartition, Result<Position, Problem>)> {
    let asks = by_leader.into_iter().map(|(leader, asked)| async move {
        let (pending, request) = (Pending::new(cluster, leader), list_offsets_request(config, view, &asked));
        let told = cluster.ask(leader, &request).await.map(offsets_told);
        for (partition, answer) in told.iter().flatten() {
            if let Err(Problem::Broker(error)) = answer {
                pending.refused(partition, event::Asked::ListOffsets, *error);
            }
        }
        (asked, told)
    });
    let mut results = Vec::new();
    for (asked, mut told) in join_all(asks).await {
        for (partition, _) in asked {
            let result = match &mut told {
                Ok(told) => told.remove(&partition).unwrap_or(Err(Problem::Broker(ErrorCode::UnknownServerError))),
                Err(failed) => Err(Problem::Request(failed.clone())),
            };
            results.push((partition, result));
        }
    }
    results
}

fn list_offsets_request(
    config: &ConsumerConfig,
    view: &ClusterView,
    asked: &[(TopicPartition, OffsetSpec)],
) -> Request {
    let topics = by_topic(asked, |partition, spec| {
        message!(ListOffsetsPartition {
            partition_index: partition.partition,
            current_leader_epoch: leader_epoch(view, partition).0,
            timestamp: spec.to_wire(),
        })
    });
    let topic = |(name, partitions)| message!(ListOffsetsTopic { name: name, partitions: partitions });
    Request::ListOffsets(message!(ListOffsetsRequest {
        replica_id: NO_REPLICA,
        isolation_level: config.isolation as i8,
        topics: topics.into_iter().map(topic).collect(),
    }))
}

fn offsets_told(response: Response) -> BTreeMap<TopicPartition, Result<Position, Problem>> {
    let Response::ListOffsets(body) = response else { return BTreeMap::new() };
    let position = |one: &ListOffsetsPartitionResponse| match ErrorCode::check(one.error_code) {
        Ok(()) => Ok(Position { offset: one.offset, epoch: None }),
        Err(error) => Err(Problem::Broker(error)),
    };
    let mut told = BTreeMap::new();
    for topic in &body.topics {
        for one in &topic.partitions {
            told.insert(TopicPartition::new(topic.name.as_str(), one.partition_index), position(one));
        }
    }
    told
}

fn epoch_request(asked: &[(TopicPartition, (LeaderEpoch, LeaderEpoch))]) -> Request {
    let topics = by_topic(asked, |partition, (current, epoch)| {
        message!(OffsetForLeaderPartition {
            partition: partition.partition,
            current_leader_epoch: current.0,
            leader_epoch: epoch.0,
        })
    });
    let topic = |(name, partitions)| message!(OffsetForLeaderTopic { topic: name, partitions: partitions });
    Request::OffsetForLeaderEpoch(message!(OffsetForLeaderEpochRequest {
        replica_id: NO_REPLICA,
        topics: topics.into_iter().map(topic).collect(),
    }))
}

fn epochs_told(response: Response) -> BTreeMap<TopicPartition, Result<(i32, i64), ErrorCode>> {
    let Response::OffsetForLeaderEpoch(body) = response else { return BTreeMap::new() };
    let mut told = BTreeMap::new();
    for topic in &body.topics {
        for one in &topic.partitions {
            let end = ErrorCode::check(one.error_code).map(|()| (one.leader_epoch, one.end_offset));
            told.insert(TopicPartition::new(topic.topic.as_str(), one.partition), end);
        }
    }
    told
}

async fn fetch_from<R: Runtime>(
    cluster: Cluster<R>,
    config: ConsumerConfig,
    view: Arc<ClusterView>,
    leader: BrokerId,
    asked: Asked,
) -> Result<FetchResponse, RequestFailed> {
    let pending = Pending::new(&cluster, leader);
    let connection = cluster.connection(leader).await?;
    let version = fetch_version(&connection, &view, &asked)
        .ok_or_else(|| RequestFailed::NotSent("the broker does not speak our Fetch".to_owned()))?;
    let request = fetch_request(&config, &view, &asked, version);
    match connection.send_version(version, &request).await?.await? {
        Response::Fetch(response) => {
            tell_refusals(&pending, &view, &asked, &response);
            Ok(response)
        }
        other => Err(RequestFailed::Lost(format!("{:?} instead of Fetch", other.api()))),
    }
}

fn tell_refusals<R: Runtime>(pending: &Pending<R>, view: &ClusterView, asked: &Asked, response: &FetchResponse) {
    let refused = |(partition, from): &(TopicPartition, FetchFrom), error| {
        pending.refused(partition, event::Asked::Fetch { offset: from.position.offset }, error);
    };
    if let Some(error) = response.error {
        asked.iter().for_each(|one| refused(one, error));
    }
    for topic in &response.topics {
        let Some(name) = name_of(view, topic) else { continue };
        for fetched in &topic.partitions {
            let is_it = |(partition, _): &&(TopicPartition, _)| {
                (&partition.topic, partition.partition) == (&name, fetched.index)
            };
            if let (Some(error), Some(one)) = (fetched.error, asked.iter().find(is_it)) {
                refused(one, error);
            }
        }
    }
}

fn name_of(view: &ClusterView, topic: &FetchedTopic) -> Option<Arc<str>> {
    if topic.name.is_empty() {
        view.name_of(topic_id(topic.topic_id)).cloned()
    } else {
        Some(topic.name.as_str().into())
    }
}

/// By topic id where all ids are known, otherwise by name.
fn fetch_version<R: Runtime>(
    connection: &Connection<R>,
    view: &ClusterView,
    asked: &[(TopicPartition, FetchFrom)],
) -> Option<i16> {
    let version = connection.version(ApiKey::Fetch)?;
    let has_id = |partition: &TopicPartition| id_of(view, &partition.topic) != TopicId::ZERO;
    let by_id = asked.iter().all(|(partition, _)| has_id(partition));
    Some(if by_id { version } else { version.min(FETCH_BY_NAME_MAX) })
}

fn id_of(view: &ClusterView, topic: &str) -> TopicId {
    view.topics.get(topic).map_or(TopicId::ZERO, |topic| topic.id)
}

fn fetch_request(
    config: &ConsumerConfig,
    view: &ClusterView,
    asked: &[(TopicPartition, FetchFrom)],
    version: i16,
) -> Request {
    let topics = by_topic(asked, |partition, from| {
        message!(FetchPartition {
            partition: partition.partition,
            current_leader_epoch: from.leader_epoch.0,
            fetch_offset: from.position.offset,
            log_start_offset: -1,
            partition_max_bytes: config.partition_bytes_max,
        })
    });
    let topic = |(name, partitions): (StrBytes, _)| {
        let id = uuid(id_of(view, &name));
        if version > FETCH_BY_NAME_MAX {
            message!(FetchTopic { topic_id: id, partitions: partitions })
        } else {
            message!(FetchTopic { topic: name, partitions: partitions })
        }
    };
    Request::Fetch(message!(FetchRequest {
        replica_id: NO_REPLICA,
        max_wait_ms: i32::try_from(config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: config.fetch_bytes_min,
        max_bytes: config.fetch_bytes_max,
        isolation_level: config.isolation as i8,
        session_epoch: -1,
        topics: topics.into_iter().map(topic).collect(),
    }))
}
