//! Following: one task per leader broker fetches for all partitions that this broker follows there.
//!
//! Each round asks where epochs end for the partitions that must truncate, then fetches for those
//! that are ready, in one long poll. A partition that becomes ready meanwhile nudges the poll: the
//! leader ends it early, because another request waits behind it. What went wrong with one
//! partition delays that partition; what went wrong with the connection delays all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::fetched;
use super::partition::{Core, Partition};
use super::shared::{Shared, lock};
use crate::base::address::Address;
use crate::base::ids::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::base::time::Instant;
use crate::client::config::ClientConfig;
use crate::client::connection::{Connection, RequestFailed};
use crate::log::SEGMENT_BYTES_MAX;
use crate::message;
use crate::replication::{EpochEnd, FetchAnswer, Input, LeaderRequest};
use crate::runtime::{Either, Runtime, select};
use crate::wire::kafka::fetch::FetchedPartition;
use crate::wire::kafka::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use crate::wire::kafka::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use crate::wire::kafka::messages::offset_for_leader_epoch_response::EpochEndOffset;
use crate::wire::kafka::messages::{
    FetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, StrBytes, topic_id, uuid,
};
use crate::wire::kafka::{ErrorCode, Request, Response};

/// The most that one answer brings, in bytes (`replica.fetch.response.max.bytes`).
const RESPONSE_BYTES_MAX: i32 = 10 * 1024 * 1024;
/// How long a partition or a leader that gave an error is left alone, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How much longer than a long poll a leader may take to answer.
const ANSWER_SLACK: Duration = Duration::from_secs(5);
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The tasks that follow other brokers.
pub(super) struct Fetchers<R: Runtime> {
    shared: Arc<Shared<R>>,
    state: Mutex<State<R>>,
}

struct State<R: Runtime> {
    /// Each partition is under one of them at most.
    leaders: BTreeMap<BrokerId, Fetcher<R>>,
}

struct Fetcher<R: Runtime> {
    followed: Arc<Followed<R>>,
    /// Ends with this handle.
    _task: R::Task,
}

/// The partitions of one leader that are followed here.
struct Followed<R: Runtime> {
    partitions: Mutex<Following<R>>,
    /// Raised when one of them may have become ready.
    ready: Arc<Notify>,
}

struct Following<R: Runtime> {
    partitions: BTreeMap<TopicPartition, Arc<Partition<R>>>,
    /// Raised by every state: what was delayed for an error may go well now.
    version: u64,
}

impl<R: Runtime> Fetchers<R> {
    pub(super) fn new(shared: Arc<Shared<R>>) -> Self {
        Fetchers { shared, state: Mutex::new(State { leaders: BTreeMap::new() }) }
    }

    /// Follows `leader` for `partition`, or nobody.
    pub(super) fn follow(&self, partition: &Arc<Partition<R>>, leader: Option<BrokerId>) {
        let mut state = lock(&self.state);
        let before = state.leader_of(&partition.name);
        if let Some(old) = before.filter(|old| Some(*old) != leader) {
            state.leave(old, &partition.name);
            partition.set_follower(None);
        }
        let Some(leader) = leader else { return };
        let shared = &self.shared;
        let fetcher = state.leaders.entry(leader).or_insert_with(|| Fetcher::start(shared, leader));
        partition.set_follower(Some(fetcher.followed.ready.clone()));
        let mut following = lock(&fetcher.followed.partitions);
        following.partitions.insert(partition.name.clone(), partition.clone());
        following.version += 1;
        fetcher.followed.ready.notify_one();
    }

    /// Follows nobody any more.
    pub(super) fn stop(&self) {
        lock(&self.state).leaders.clear();
    }
}

impl<R: Runtime> State<R> {
    fn leader_of(&self, partition: &TopicPartition) -> Option<BrokerId> {
        let follows = |fetcher: &Fetcher<R>| lock(&fetcher.followed.partitions).partitions.contains_key(partition);
        self.leaders.iter().find(|(_, fetcher)| follows(fetcher)).map(|(leader, _)| *leader)
    }

    fn leave(&mut self, leader: BrokerId, partition: &TopicPartition) {
        let Some(fetcher) = self.leaders.get(&leader) else { return };
        let is_empty = {
            let mut following = lock(&fetcher.followed.partitions);
            following.partitions.remove(partition);
            following.partitions.is_empty()
        };
        if is_empty {
            self.leaders.remove(&leader);
        }
    }
}

impl<R: Runtime> Fetcher<R> {
    fn start(shared: &Arc<Shared<R>>, leader: BrokerId) -> Self {
        let partitions = Mutex::new(Following { partitions: BTreeMap::new(), version: 0 });
        let followed = Arc::new(Followed { partitions, ready: Arc::new(Notify::new()) });
        let rounds = Rounds {
            shared: shared.clone(),
            leader,
            followed: followed.clone(),
            connection: None,
            delayed: BTreeMap::new(),
            version: 0,
            failures: 0,
        };
        Fetcher { followed, _task: shared.runtime.spawn("fetcher", rounds.run()) }
    }
}

/// One leader's fetches, round by round.
struct Rounds<R: Runtime> {
    shared: Arc<Shared<R>>,
    leader: BrokerId,
    followed: Arc<Followed<R>>,
    connection: Option<Connection<R>>,
    /// Until when a partition is left alone.
    delayed: BTreeMap<TopicPartition, Instant>,
    version: u64,
    /// How often in a row the connection failed.
    failures: u32,
}

/// What is asked for one partition.
struct Asked<R: Runtime> {
    partition: Arc<Partition<R>>,
    leader_epoch: LeaderEpoch,
    /// The epoch whose end is asked for, or the offset to read on at.
    subject: Subject,
}

#[derive(Clone, Copy)]
enum Subject {
    Epoch(LeaderEpoch),
    Offset(i64),
}

impl<R: Runtime> Rounds<R> {
    async fn run(mut self) {
        loop {
            if let Err(error) = self.round().await {
                tracing::debug!(leader = %self.leader, %error, "fetching failed");
                self.connection = None;
                self.failures = self.failures.saturating_add(1);
                let longest = BACKOFF.0.saturating_mul(1 << self.failures.min(8)).min(BACKOFF.1);
                let pause = self.shared.runtime.random_duration("fetcher backoff", BACKOFF.0, longest);
                self.shared.runtime.sleep(pause).await;
            }
        }
    }

    async fn round(&mut self) -> Result<(), RequestFailed> {
        self.forget_news();
        let (epochs, fetches) = self.gather();
        if epochs.is_empty() && fetches.is_empty() {
            self.rest().await;
            return Ok(());
        }
        self.connect().await?;
        if epochs.is_empty() { self.fetch(fetches).await } else { self.ask_epochs(epochs).await }
    }

    /// What is gathered next includes everything that was raised before.
    fn forget_news(&self) {
        let mut news = std::pin::pin!(self.followed.ready.notified());
        news.as_mut().enable();
    }

    /// What the partitions want: epochs' ends come first.
    fn gather(&mut self) -> (Vec<Asked<R>>, Vec<Asked<R>>) {
        let now = self.shared.runtime.now();
        let following = lock(&self.followed.partitions);
        if std::mem::replace(&mut self.version, following.version) != following.version {
            self.delayed.clear();
        }
        self.delayed.retain(|_, until| *until > now);
        let (mut epochs, mut fetches) = (Vec::new(), Vec::new());
        for (name, partition) in &following.partitions {
            if self.delayed.contains_key(name) {
                continue;
            }
            let asked = |leader_epoch, subject| Asked { partition: partition.clone(), leader_epoch, subject };
            match partition.next_request() {
                Some(LeaderRequest::EpochEnd { leader, leader_epoch, requested }) if leader == self.leader => {
                    epochs.push(asked(leader_epoch, Subject::Epoch(requested)));
                }
                Some(LeaderRequest::Fetch { leader, leader_epoch, offset }) if leader == self.leader => {
                    fetches.push(asked(leader_epoch, Subject::Offset(offset)));
                }
                _ => {}
            }
        }
        (epochs, fetches)
    }

    /// Until a partition may want something again.
    async fn rest(&self) {
        let ready = self.followed.ready.notified();
        match self.delayed.values().min() {
            Some(until) => {
                select(ready, self.shared.runtime.sleep_until(*until)).await;
            }
            None => ready.await,
        }
    }

    async fn connect(&mut self) -> Result<(), RequestFailed> {
        if self.connection.as_ref().is_some_and(|connection| !connection.is_closed()) {
            return Ok(());
        }
        let address = self.address().ok_or_else(|| RequestFailed::NotSent("the leader is not known".to_owned()))?;
        let config = &self.shared.config;
        let client = ClientConfig {
            client_id: format!("broker-{}", config.id),
            request_timeout: config.replica_fetch_wait + ANSWER_SLACK,
            connect_timeout: CONNECT_TIMEOUT,
            in_flight_max: 4,
            ..ClientConfig::default()
        };
        self.connection = Some(Connection::open(&self.shared.runtime, &address, &client).await?);
        self.failures = 0;
        Ok(())
    }

    fn address(&self) -> Option<Address> {
        let cache = self.shared.metadata();
        let endpoint = cache.metadata().brokers.get(&self.leader)?.endpoints.first()?;
        Some(Address::new(endpoint.host.clone(), endpoint.port))
    }

    fn connection(&self) -> Result<&Connection<R>, RequestFailed> {
        self.connection.as_ref().ok_or_else(|| RequestFailed::NotSent("there is no connection".to_owned()))
    }

    async fn ask_epochs(&mut self, asked: Vec<Asked<R>>) -> Result<(), RequestFailed> {
        let request = Request::OffsetForLeaderEpoch(epochs_request(self.shared.config.id, &asked));
        let Response::OffsetForLeaderEpoch(response) = self.connection()?.request(&request).await? else {
            return Err(unexpected());
        };
        let answers = response
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|answer| ((topic.topic.as_str(), answer.partition), answer)));
        let answers: BTreeMap<(&str, i32), &EpochEndOffset> = answers.collect();
        for asked in asked {
            let name = &asked.partition.name;
            match answers.get(&(&*name.topic, name.partition)) {
                Some(answer) => self.take_epoch_end(&asked, answer),
                None => self.delay(name.clone()),
            }
        }
        Ok(())
    }

    fn take_epoch_end(&mut self, asked: &Asked<R>, answer: &EpochEndOffset) {
        let Subject::Epoch(requested) = asked.subject else { return };
        if let Err(error) = ErrorCode::check(answer.error_code) {
            return self.refused(&asked.partition.name, error);
        }
        let known = (answer.leader_epoch >= 0).then_some(LeaderEpoch(answer.leader_epoch));
        let end = EpochEnd { leader_epoch: known, end_offset: answer.end_offset };
        let leader_epoch = asked.leader_epoch;
        asked.partition.tell(Input::EpochEndAnswer { leader_epoch, requested, answer: end });
    }

    async fn fetch(&mut self, asked: Vec<Asked<R>>) -> Result<(), RequestFailed> {
        let Some(request) = self.fetch_request(&asked) else {
            self.rest_until_registered().await;
            return Ok(());
        };
        let connection = self.connection()?;
        let mut reply = connection.send(&Request::Fetch(request)).await?;
        let answered = match select(&mut reply, self.followed.ready.notified()).await {
            Either::First(answered) => answered,
            Either::Second(()) => {
                // Whatever it is, it must not wait for the long poll to end.
                drop(connection.send(&Request::Produce(nudge())).await?);
                reply.await
            }
        };
        let Response::Fetch(response) = answered? else { return Err(unexpected()) };
        if let Some(error) = response.error {
            return Err(RequestFailed::NotSent(error.to_string()));
        }
        let answers = response.topics.into_iter().flat_map(|topic| {
            let id = topic_id(topic.topic_id);
            topic.partitions.into_iter().map(move |answer| ((id, answer.index), Some(answer)))
        });
        let mut answers: Vec<((TopicId, i32), Option<FetchedPartition>)> = answers.collect();
        answers.sort_by_key(|(partition, _)| *partition);
        for asked in asked {
            let partition = &asked.partition;
            let key = (partition.topic_id, partition.name.partition);
            let at = answers.binary_search_by_key(&key, |(partition, _)| *partition);
            match at.ok().and_then(|at| answers[at].1.take()) {
                Some(answer) => self.take_records(&asked, answer),
                None => self.delay(partition.name.clone()),
            }
        }
        Ok(())
    }

    async fn rest_until_registered(&self) {
        let mut registered = self.shared.broker_epoch.subscribe();
        // The sender lives as long as what is shared.
        let _ = registered.wait_for(Option::is_some).await;
    }

    /// None while this broker is not registered: its fetches could not say who it is (KIP-903).
    fn fetch_request(&self, asked: &[Asked<R>]) -> Option<FetchRequest> {
        let config = &self.shared.config;
        let broker_epoch = (*self.shared.broker_epoch.borrow())?;
        let now = self.shared.runtime.now();
        let soonest = self.delayed.values().min().map(|until| until.since(now));
        let wait = soonest.unwrap_or(config.replica_fetch_wait).min(config.replica_fetch_wait);
        let mut topics: BTreeMap<TopicId, FetchTopic> = BTreeMap::new();
        for one in asked {
            let Subject::Offset(fetch_offset) = one.subject else { continue };
            let id = one.partition.topic_id;
            let empty = || message!(FetchTopic { topic_id: uuid(id) });
            topics.entry(id).or_insert_with(empty).partitions.push(message!(FetchPartition {
                partition: one.partition.name.partition,
                current_leader_epoch: one.leader_epoch.0,
                fetch_offset,
                log_start_offset: one.partition.view(|core| core.replica.log_start()),
                partition_max_bytes: i32::try_from(config.replica_fetch_bytes).unwrap_or(i32::MAX),
            }));
        }
        Some(message!(FetchRequest {
            replica_state: message!(ReplicaState { replica_id: config.id.0, replica_epoch: broker_epoch.0 }),
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: RESPONSE_BYTES_MAX,
            topics: topics.into_values().collect(),
        }))
    }

    fn take_records(&mut self, asked: &Asked<R>, answer: FetchedPartition) {
        let Subject::Offset(offset) = asked.subject else { return };
        let partition = &asked.partition;
        let (answer, pieces) = match answer.error {
            None if brings_nothing(partition, &answer) => return,
            None => self.accepted(partition, offset, answer),
            Some(ErrorCode::OffsetOutOfRange) if answer.log_start_offset >= 0 => {
                (FetchAnswer::OutOfRange { log_start: answer.log_start_offset }, Vec::new())
            }
            Some(error) => return self.refused(&partition.name, error),
        };
        let leader_epoch = asked.leader_epoch;
        let input = Input::FetchAnswer { leader_epoch, offset, answer };
        partition.section(|section| section.take_fetched(input, pieces));
    }

    fn accepted(
        &mut self,
        partition: &Partition<R>,
        offset: i64,
        mut answer: FetchedPartition,
    ) -> (FetchAnswer, Vec<bytes::Bytes>) {
        let records = match answer.records.len() {
            0 | 1 => answer.records.pop().unwrap_or_default(),
            _ => answer.records.concat().into(),
        };
        let segment_bytes = partition.view(|core| core.log.config().segment_bytes).min(SEGMENT_BYTES_MAX);
        let (fetched, rejected) = fetched::continuing(offset, &records, segment_bytes);
        if let Some(reason) = rejected {
            tracing::warn!(partition = %partition.name, leader = %self.leader, %reason, "records left out");
            self.delay(partition.name.clone());
        }
        let (batches, pieces) = fetched.map_or((None, Vec::new()), |one| (Some(one.batches), one.pieces));
        let (high_watermark, log_start) = (answer.high_watermark, answer.log_start_offset);
        (FetchAnswer::Accepted { high_watermark, log_start, batches }, pieces)
    }

    fn refused(&mut self, partition: &TopicPartition, error: ErrorCode) {
        tracing::debug!(%partition, leader = %self.leader, %error, "refused by the leader");
        self.delay(partition.clone());
    }

    fn delay(&mut self, partition: TopicPartition) {
        let pause = self.shared.runtime.random_duration("fetcher delay", BACKOFF.0, 2 * BACKOFF.0);
        self.delayed.insert(partition, self.shared.runtime.now() + pause);
    }
}

/// Whether an answer changes nothing here, as most of a long poll that ended for another partition do.
fn brings_nothing<R: Runtime>(partition: &Partition<R>, answer: &FetchedPartition) -> bool {
    let has_all = |core: &Core<R>| {
        let replica = &core.replica;
        answer.high_watermark.min(replica.log_end()) <= replica.high_watermark()
            && answer.log_start_offset <= replica.log_start()
    };
    answer.records.is_empty() && partition.view(has_all)
}

fn epochs_request<R: Runtime>(own: BrokerId, asked: &[Asked<R>]) -> OffsetForLeaderEpochRequest {
    let mut topics: BTreeMap<Arc<str>, OffsetForLeaderTopic> = BTreeMap::new();
    for one in asked {
        let Subject::Epoch(requested) = one.subject else { continue };
        let name = &one.partition.name;
        let empty = || message!(OffsetForLeaderTopic { topic: StrBytes::from(&*name.topic) });
        topics.entry(name.topic.clone()).or_insert_with(empty).partitions.push(message!(OffsetForLeaderPartition {
            partition: name.partition,
            current_leader_epoch: one.leader_epoch.0,
            leader_epoch: requested.0,
        }));
    }
    message!(OffsetForLeaderEpochRequest { replica_id: own.0, topics: topics.into_values().collect() })
}

/// A request about nothing, which ends a long poll in front of it and has no answer.
fn nudge() -> ProduceRequest {
    message!(ProduceRequest { acks: 0 })
}

fn unexpected() -> RequestFailed {
    RequestFailed::Lost("the leader answered another question".to_owned())
}
