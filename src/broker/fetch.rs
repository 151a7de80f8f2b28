//! Fetch: records for consumers and followers, as a long poll.
//!
//! There are no fetch sessions: every answer has session id 0, which tells clients to name all of
//! their partitions each time (KIP-227).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::leader_hints::LeaderHints;
use super::partition::Partition;
use super::partitions::{Partitions, TopicRef};
use super::reading::{Bounds, ReadRequest, Reader, RefusedRead};
use super::server::Answer;
use super::shared::Shared;
use super::waiters::WaitingFetch;
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch};
use crate::log::ReadBatches;
use crate::replication::FollowerFetch;
use crate::runtime::{Either, Runtime, select};
use crate::wire::kafka::fetch::{FetchResponse, FetchedPartition, FetchedTopic};
use crate::wire::kafka::messages::fetch_request::FetchPartition;
use crate::wire::kafka::messages::{FetchRequest, StrBytes, Uuid};
use crate::wire::kafka::{ErrorCode, Response};

/// The most that one answer holds, in bytes (`fetch.max.bytes` of the broker).
const RESPONSE_BYTES_MAX: usize = 55 * 1024 * 1024;
/// The first version in which a follower names its incarnation (KIP-903).
const REPLICA_STATE_FROM: i16 = 15;

/// One partition of the request.
struct Asked<R: Runtime> {
    index: i32,
    partition: Result<Arc<Partition<R>>, RefusedRead>,
    request: ReadRequest,
}

struct AskedTopic<R: Runtime> {
    name: StrBytes,
    id: Uuid,
    partitions: Vec<Asked<R>>,
}

type ReadPartition = Result<(Bounds, ReadBatches), RefusedRead>;

/// Takes a fetch, which is served when its turn comes.
pub(super) fn take<R: Runtime>(
    shared: &Arc<Shared<R>>,
    partitions: &Partitions<R>,
    version: i16,
    request: FetchRequest,
) -> Answer {
    // An epoch above 0 goes on with a session, and none was ever begun (KIP-227).
    if request.session_epoch > 0 {
        let error = Some(ErrorCode::FetchSessionIdNotFound);
        return Answer::Ready(FetchResponse { error, ..FetchResponse::default() }.into());
    }
    let waiting = Arc::new(WaitingFetch::default());
    let poll = LongPoll { shared: shared.clone(), partitions: partitions.clone(), waiting: waiting.clone() };
    Answer::LongPoll(Box::pin(poll.serve(version, request)), waiting)
}

struct LongPoll<R: Runtime> {
    shared: Arc<Shared<R>>,
    partitions: Partitions<R>,
    waiting: Arc<WaitingFetch>,
}

/// What a round of reads brought.
struct Round {
    /// In the order of the request.
    reads: Vec<ReadPartition>,
    bytes: usize,
}

impl<R: Runtime> LongPoll<R> {
    async fn serve(self, version: i16, request: FetchRequest) -> Response {
        let runtime = &self.shared.runtime;
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let mut over = pin!(runtime.sleep_until(runtime.now() + wait));
        let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0);
        let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(RESPONSE_BYTES_MAX);
        let topics = self.resolve(version, &request);
        if !wait.is_zero() {
            for one in asked(&topics) {
                if let Ok(partition) = &one.partition {
                    partition.wake_on_news(one.request.reader, &self.waiting);
                }
            }
        }
        let mut is_over = wait.is_zero();
        loop {
            let round = read_all(&topics, bytes_max).await;
            let refused = round.reads.iter().any(Result::is_err);
            if is_over || refused || round.bytes >= bytes_min || round.reads.is_empty() || self.waiting.is_hurried() {
                return self.answer(version, topics, round);
            }
            is_over = matches!(select(self.waiting.wake.notified(), over.as_mut()).await, Either::Second(()));
        }
    }

    /// Finds the partitions. A follower's fetch acknowledges what it has, whatever it is given now.
    fn resolve(&self, version: i16, request: &FetchRequest) -> Vec<AskedTopic<R>> {
        let follower = follower_of(version, request);
        let reader = match follower {
            Some(_) => Reader::Follower,
            None => Reader::Consumer { committed: request.isolation_level == 1 },
        };
        let topics = request.topics.iter().map(|topic| {
            let name = TopicRef::of(version, topic.topic.as_str(), topic.topic_id);
            let find = |asked: &FetchPartition| self.find(name, asked, reader, follower);
            let partitions = topic.partitions.iter().map(find).collect();
            AskedTopic { name: topic.topic.clone(), id: topic.topic_id, partitions }
        });
        topics.collect()
    }

    fn find(
        &self,
        topic: TopicRef<'_>,
        asked: &FetchPartition,
        reader: Reader,
        follower: Option<(BrokerId, BrokerEpoch)>,
    ) -> Asked<R> {
        let partition = self
            .partitions
            .find(topic, asked.partition)
            .map_err(|error| RefusedRead { error, log_start: -1 })
            .and_then(|partition| acknowledge(partition, asked, follower));
        let request = ReadRequest {
            reader,
            leader_epoch: Some(LeaderEpoch(asked.current_leader_epoch)).filter(|epoch| epoch.0 >= 0),
            offset: asked.fetch_offset,
            bytes_max: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        };
        Asked { index: asked.partition, partition, request }
    }

    fn answer(&self, version: i16, topics: Vec<AskedTopic<R>>, round: Round) -> Response {
        let hints = LeaderHints::new(self.shared.clone());
        let mut reads = round.reads.into_iter();
        let topics = topics.into_iter().map(|topic| {
            let name = TopicRef::of(version, topic.name.as_str(), topic.id);
            let partitions = topic.partitions.iter().zip(reads.by_ref());
            let partitions = partitions.map(|(asked, read)| fetched(asked, read, &hints, name)).collect();
            FetchedTopic { name: topic.name.clone(), topic_id: topic.id, partitions }
        });
        let topics: Vec<FetchedTopic> = topics.collect();
        const NODE_ENDPOINTS_FROM: i16 = 16;
        let named = topics.iter().flat_map(|topic| &topic.partitions).filter_map(|one| one.current_leader);
        let named = named.map(|current| current.leader.0);
        let node_endpoints = if version >= NODE_ENDPOINTS_FROM { hints.endpoints(named) } else { Vec::new() };
        FetchResponse { topics, node_endpoints, ..FetchResponse::default() }.into()
    }
}

/// Which follower fetches, if one does.
fn follower_of(version: i16, request: &FetchRequest) -> Option<(BrokerId, BrokerEpoch)> {
    let (replica, broker_epoch) = if version >= REPLICA_STATE_FROM {
        (request.replica_state.replica_id, request.replica_state.replica_epoch)
    } else {
        (request.replica_id, -1)
    };
    (replica >= 0).then_some((BrokerId(replica), BrokerEpoch(broker_epoch)))
}

fn acknowledge<R: Runtime>(
    partition: Arc<Partition<R>>,
    asked: &FetchPartition,
    follower: Option<(BrokerId, BrokerEpoch)>,
) -> Result<Arc<Partition<R>>, RefusedRead> {
    if let Some((replica, broker_epoch)) = follower {
        let leader_epoch = LeaderEpoch(asked.current_leader_epoch);
        partition.follower_fetches(FollowerFetch {
            replica,
            broker_epoch,
            leader_epoch,
            offset: asked.fetch_offset,
        })?;
    }
    Ok(partition)
}

fn asked<R: Runtime>(topics: &[AskedTopic<R>]) -> impl Iterator<Item = &Asked<R>> {
    topics.iter().flat_map(|topic| &topic.partitions)
}

/// Reads within both bounds. The first batch of all is given whatever its size (KIP-74); another
/// that does not fit is left for the next time.
async fn read_all<R: Runtime>(topics: &[AskedTopic<R>], bytes_max: usize) -> Round {
    let mut round = Round { reads: Vec::with_capacity(asked(topics).count()), bytes: 0 };
    for one in asked(topics) {
        let left = bytes_max.saturating_sub(round.bytes);
        // Without room a read still tells offsets and errors.
        let may_read = round.bytes == 0 || left > 0;
        let request = ReadRequest { bytes_max: one.request.bytes_max.min(left), ..one.request };
        let mut read = match &one.partition {
            Ok(partition) => partition.read(request).await,
            Err(refused) => Err(*refused),
        };
        if let Ok((_, batches)) = &mut read {
            if round.bytes > 0 && (!may_read || batches.bytes > left) {
                *batches = ReadBatches { parts: Vec::new(), bytes: 0, next_offset: request.offset };
            }
            round.bytes += batches.bytes;
        }
        round.reads.push(read);
    }
    round
}

fn fetched<R: Runtime>(
    asked: &Asked<R>,
    read: ReadPartition,
    hints: &LeaderHints<R>,
    topic: TopicRef<'_>,
) -> FetchedPartition {
    let (bounds, batches) = match read {
        Ok(read) => read,
        Err(refused) => {
            return FetchedPartition {
                log_start_offset: refused.log_start,
                current_leader: hints.leader(topic, asked.index, refused.error),
                ..FetchedPartition::failed(asked.index, refused.error)
            };
        }
    };
    let is_consumer = asked.request.reader != Reader::Follower;
    if let (true, false, Ok(partition)) = (is_consumer, batches.is_empty(), &asked.partition) {
        partition.observe_served(batches.next_offset, bounds.high_watermark);
    }
    let is_committed = asked.request.reader == Reader::Consumer { committed: true };
    FetchedPartition {
        high_watermark: bounds.high_watermark,
        last_stable_offset: bounds.last_stable_offset,
        log_start_offset: bounds.log_start,
        // Nothing is aborted before there are transactions.
        aborted_transactions: is_committed.then(Vec::new),
        records: batches.parts,
        ..FetchedPartition::empty(asked.index)
    }
}
