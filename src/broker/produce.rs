//! Produce: batches in, offsets out.
//!
//! Appending is done when the request is taken; what is left to do is to wait for the in-sync set.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::append::{Place, Produced};
use super::leader_hints::LeaderHints;
use super::partitions::{Partitions, TopicRef};
use super::server::Answer;
use super::shared::Shared;
use super::waiters::Verdict;
use crate::base::time::Instant;
use crate::message;
use crate::replication::Acks;
use crate::runtime::{Runtime, timeout_at};
use crate::wire::kafka::messages::produce_request::PartitionProduceData;
use crate::wire::kafka::messages::produce_response::{
    LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use crate::wire::kafka::messages::{ProduceRequest, ProduceResponse, StrBytes, Uuid};
use crate::wire::kafka::{ErrorCode, Response};

/// A topic's outcomes.
struct ProducedTopic {
    name: StrBytes,
    id: Uuid,
    partitions: Vec<(i32, Produced)>,
}

/// Appends what the request brings; the answer comes at once or when it is committed.
pub(super) fn take<R: Runtime>(
    shared: &Arc<Shared<R>>,
    partitions: &Partitions<R>,
    version: i16,
    request: ProduceRequest,
) -> Answer {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let produced = append_all(partitions, version, &request);
    let outcomes = || produced.iter().flat_map(|topic| topic.partitions.iter().map(|(_, outcome)| outcome));
    if request.acks == 0 {
        let refused = outcomes().any(|outcome| matches!(outcome, Produced::Refused(..)));
        // There is no other way to tell the client that its metadata is out of date.
        return if refused { Answer::Close("a batch with acks=0 was refused") } else { Answer::Nothing };
    }
    let waits = outcomes().any(|outcome| matches!(outcome, Produced::Waiting(..)));
    let hints = LeaderHints::new(shared.clone());
    if !waits {
        let topics = produced.into_iter().map(|topic| answered(topic, &hints, version)).collect();
        return Answer::Ready(response(topics, &hints, version));
    }
    let deadline = shared.runtime.now() + timeout;
    let shared = shared.clone();
    Answer::Later(Box::pin(async move {
        let mut topics = Vec::with_capacity(produced.len());
        for topic in produced {
            topics.push(committed(&shared, topic, deadline, &hints, version).await);
        }
        response(topics, &hints, version)
    }))
}

fn append_all<R: Runtime>(partitions: &Partitions<R>, version: i16, request: &ProduceRequest) -> Vec<ProducedTopic> {
    let topics = request.topic_data.iter().map(|topic| {
        let name = TopicRef::of(version, topic.name.as_str(), topic.topic_id);
        let append = |data: &PartitionProduceData| (data.index, append_one(partitions, version, request, name, data));
        ProducedTopic {
            name: topic.name.clone(),
            id: topic.topic_id,
            partitions: topic.partition_data.iter().map(append).collect(),
        }
    });
    topics.collect()
}

fn append_one<R: Runtime>(
    partitions: &Partitions<R>,
    version: i16,
    request: &ProduceRequest,
    topic: TopicRef<'_>,
    data: &PartitionProduceData,
) -> Produced {
    let acks = match request.acks {
        -1 => Acks::All,
        0 => Acks::None,
        1 => Acks::Leader,
        _ => return Produced::Refused(ErrorCode::InvalidRequiredAcks, None),
    };
    match partitions.find(topic, data.index) {
        Ok(partition) => partition.produce(data.records.as_ref().unwrap_or(&Bytes::new()), version, acks),
        Err(error) => Produced::Refused(error, None),
    }
}

async fn committed<R: Runtime>(
    shared: &Shared<R>,
    topic: ProducedTopic,
    deadline: Instant,
    hints: &LeaderHints<R>,
    version: i16,
) -> TopicProduceResponse {
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for (index, produced) in topic.partitions {
        let produced = match produced {
            Produced::Waiting(place, verdict) => wait(shared, place, verdict, deadline).await,
            done => done,
        };
        partitions.push((index, produced));
    }
    answered(ProducedTopic { partitions, ..topic }, hints, version)
}

async fn wait<R: Runtime>(
    shared: &Shared<R>,
    place: Place,
    verdict: oneshot::Receiver<Verdict>,
    deadline: Instant,
) -> Produced {
    match timeout_at(&shared.runtime, deadline, verdict).await {
        Ok(Ok(Ok(()))) => Produced::Done(place),
        Ok(Ok(Err(error))) => Produced::Refused(error, None),
        // Whoever dropped it had no answer: the partition has gone.
        Ok(Err(_)) => Produced::Refused(ErrorCode::NotLeaderOrFollower, None),
        Err(_) => Produced::Refused(ErrorCode::RequestTimedOut, None),
    }
}

fn answered<R: Runtime>(topic: ProducedTopic, hints: &LeaderHints<R>, version: i16) -> TopicProduceResponse {
    let name = TopicRef::of(version, topic.name.as_str(), topic.id);
    let responses = topic.partitions.into_iter().map(|(index, produced)| match produced {
        Produced::Done(place) | Produced::Waiting(place, _) => message!(PartitionProduceResponse {
            index,
            base_offset: place.base_offset,
            log_append_time_ms: -1,
            log_start_offset: place.log_start,
        }),
        Produced::Refused(error, reason) => refused(index, error, reason, hints, name),
    });
    let partition_responses = responses.collect();
    message!(TopicProduceResponse { name: topic.name.clone(), topic_id: topic.id, partition_responses })
}

fn refused<R: Runtime>(
    index: i32,
    error: ErrorCode,
    reason: Option<String>,
    hints: &LeaderHints<R>,
    topic: TopicRef<'_>,
) -> PartitionProduceResponse {
    let mut response = message!(PartitionProduceResponse {
        index,
        error_code: error.to_wire(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        error_message: reason.map(StrBytes::from),
    });
    if let Some(current) = hints.leader(topic, index, error) {
        let (leader_id, leader_epoch) = (current.leader.0, current.epoch.0);
        response.current_leader = message!(LeaderIdAndEpoch { leader_id, leader_epoch });
    }
    response
}

/// From this version on, who refuses says who leads instead, and where (KIP-951).
const LEADERS_FROM: i16 = 10;

fn response<R: Runtime>(mut topics: Vec<TopicProduceResponse>, hints: &LeaderHints<R>, version: i16) -> Response {
    use crate::wire::kafka::messages::produce_response::NodeEndpoint;
    if version < LEADERS_FROM {
        let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partition_responses);
        partitions.for_each(|partition| partition.current_leader = Default::default());
    }
    let named =
        topics.iter().flat_map(|topic| topic.partition_responses.iter().map(|one| one.current_leader.leader_id));
    let endpoints = hints
        .endpoints(named)
        .into_iter()
        .map(|one| message!(NodeEndpoint { node_id: one.broker.0, host: one.host, port: one.port, rack: one.rack }));
    message!(ProduceResponse { node_endpoints: endpoints.collect(), responses: topics }).into()
}
