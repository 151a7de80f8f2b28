//! CreateTopics, DeleteTopics and automatic creation.
//!
//! The controller decides; any other broker sends the client's own request on to it, once: a request
//! that was sent on is answered NOT_CONTROLLER where the controller is not, so that none goes in
//! circles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::plane::{FORWARDER, Plane};
use super::proposals::error_code;
use super::{topic_configs, writes};
use crate::base::ids::{BrokerId, TopicId};
use crate::base::time::Instant;
use crate::controller::metadata::TopicSettings;
use crate::controller::{Assignment, PARTITIONS_PER_REQUEST_MAX, Refusal, Request};
use crate::message;
use crate::runtime::{Runtime, timeout_at};
use crate::wire::kafka::header::RequestHeader;
use crate::wire::kafka::messages::create_topics_request::CreatableTopic;
use crate::wire::kafka::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use crate::wire::kafka::messages::delete_topics_response::DeletableTopicResult;
use crate::wire::kafka::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, StrBytes, topic_id, uuid,
};
use crate::wire::kafka::{ErrorCode, Request as KafkaRequest, Response};

/// The longest that a request may wait, whatever its client says.
const TIMEOUT_MAX: Duration = Duration::from_secs(25);
/// How long a client that only asked about a topic waits for its creation.
pub const AUTO_CREATE_TIMEOUT: Duration = Duration::from_secs(2);
/// The version from which DeleteTopics names topics one by one, also by id.
const DELETE_BY_STATE_FROM: i16 = 6;
/// Kafka's word for the default number of partitions or replicas.
const DEFAULT: i32 = -1;
/// `config_source` of a value that was set for the topic.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;

/// An error and the words for it.
type Refused = (ErrorCode, Option<String>);

fn refused(refusal: &Refusal) -> Refused {
    (error_code(refusal), Some(refusal.to_string()))
}

fn text(message: String) -> StrBytes {
    StrBytes::from(message.as_str())
}

/// How long a request waits for its topics: as long as it says, within bounds.
fn patience(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)).min(TIMEOUT_MAX)
}

/// Answers CreateTopics, here or by the controller.
pub async fn create<R: Runtime>(
    plane: &Plane<R>,
    header: &RequestHeader,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let deadline = plane.shared.runtime.now() + patience(request.timeout_ms);
    let error = match route(plane, header) {
        Route::Here => return create_here(plane, &request, deadline).await,
        Route::Nowhere(error) => error,
        Route::To(controller) => {
            let sent = forward(plane, controller, header, KafkaRequest::CreateTopics(request.clone())).await;
            match sent {
                Ok(Response::CreateTopics(response)) => {
                    let names = if request.validate_only { Vec::new() } else { created(&response) };
                    await_metadata(plane, deadline, |known| names.iter().all(|name| known(name))).await;
                    return response;
                }
                Ok(_) => ErrorCode::UnknownServerError,
                Err(error) => error,
            }
        }
    };
    let names: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
    let result = |name| create_result(&StrBytes::from(name), Err((error, None)));
    message!(CreateTopicsResponse { topics: names.into_iter().map(result).collect() })
}

fn created(response: &CreateTopicsResponse) -> Vec<String> {
    let topics = response.topics.iter().filter(|topic| ErrorCode::check(topic.error_code).is_ok());
    topics.map(|topic| topic.name.as_str().to_owned()).collect()
}

async fn create_here<R: Runtime>(
    plane: &Plane<R>,
    request: &CreateTopicsRequest,
    deadline: Instant,
) -> CreateTopicsResponse {
    let mut counts = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(topic.name.as_str()).or_insert(0) += 1;
    }
    let mut topics = Vec::new();
    let mut told = BTreeSet::new();
    for topic in &request.topics {
        let twice = counts.get(topic.name.as_str()).is_some_and(|count| *count > 1);
        if !told.insert(topic.name.as_str()) {
            continue;
        }
        let result = if twice {
            Err((ErrorCode::InvalidRequest, Some("the request names the topic twice".to_owned())))
        } else {
            create_one(plane, topic, request.validate_only, deadline).await
        };
        topics.push(create_result(&topic.name, result));
    }
    if !request.validate_only {
        let made: Vec<_> = topics.iter().filter(|topic| ErrorCode::check(topic.error_code).is_ok()).collect();
        await_metadata(plane, deadline, |known| made.iter().all(|topic| known(topic.name.as_str()))).await;
    }
    message!(CreateTopicsResponse { topics: topics })
}

/// What was created.
struct Created {
    id: TopicId,
    partitions: i32,
    replication_factor: i16,
    settings: TopicSettings,
}

async fn create_one<R: Runtime>(
    plane: &Plane<R>,
    topic: &CreatableTopic,
    validate_only: bool,
    deadline: Instant,
) -> Result<Created, Refused> {
    let assignment = assignment(plane, topic)?;
    let overrides = topic.configs.iter().map(|one| (one.name.as_str(), one.value.as_ref().map(StrBytes::as_str)));
    let settings = topic_configs::settings(&plane.shared.config, overrides)
        .map_err(|error| (ErrorCode::InvalidConfig, Some(error.to_string())))?;
    let (partitions, replicas) = shape(&assignment);
    if !writes::fits(&topic.name, partitions, replicas) {
        let reason = format!("{partitions} partitions with {replicas} replicas are too much for one request");
        return Err((ErrorCode::InvalidPartitions, Some(reason)));
    }
    let id = new_topic_id(&plane.shared.runtime);
    let created = Created {
        id: if validate_only { TopicId::ZERO } else { id },
        partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        settings: settings.clone(),
    };
    if validate_only {
        return validate(plane, topic, &assignment).map(|()| created);
    }
    let request = Request::CreateTopic { topic: (&*topic.name).into(), id, assignment, settings };
    ask(plane, request, deadline).await.map(|()| created)
}

/// An id that is not one of Kafka's reserved ones, which begin with zeros.
fn new_topic_id<R: Runtime>(runtime: &R) -> TopicId {
    let halves = [0, 1].map(|_| runtime.random_u64("topic-id").to_be_bytes());
    let mut id: [u8; 16] = std::array::from_fn(|at| halves[at / 8][at % 8]);
    // Version 4, as every UUID that was drawn.
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    TopicId(id)
}

fn assignment<R: Runtime>(plane: &Plane<R>, topic: &CreatableTopic) -> Result<Assignment, Refused> {
    if !topic.assignments.is_empty() {
        return explicit(topic);
    }
    let config = &plane.shared.config;
    let bad_count = || refused(&Refusal::InvalidPartitions(PARTITIONS_PER_REQUEST_MAX));
    let partitions = if topic.num_partitions == DEFAULT { config.default_partitions } else { topic.num_partitions };
    let factor = match i32::from(topic.replication_factor) {
        DEFAULT => config.default_replication,
        _ => topic.replication_factor,
    };
    let bad_factor = || (ErrorCode::InvalidReplicationFactor, Some("the replication factor is at least 1".to_owned()));
    let places = u64::from(u32::MAX);
    Ok(Assignment::Spread {
        partitions: usize::try_from(partitions).ok().filter(|count| *count > 0).ok_or_else(bad_count)?,
        replication_factor: usize::try_from(factor).ok().filter(|count| *count > 0).ok_or_else(bad_factor)?,
        start: plane.shared.runtime.random_below("assignment", places) as usize,
    })
}

fn explicit(topic: &CreatableTopic) -> Result<Assignment, Refused> {
    let by_count = topic.num_partitions != DEFAULT || i32::from(topic.replication_factor) != DEFAULT;
    if by_count {
        let reason = "with an assignment, the numbers of partitions and replicas are -1";
        return Err((ErrorCode::InvalidRequest, Some(reason.to_owned())));
    }
    let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let by_index: BTreeMap<_, _> =
        topic.assignments.iter().map(|one| (one.partition_index, brokers(&one.broker_ids))).collect();
    let consecutive = by_index.keys().copied().eq((0..).take(topic.assignments.len()));
    if !consecutive {
        let reason = "the assignment numbers partitions from 0, each once";
        return Err((ErrorCode::InvalidReplicaAssignment, Some(reason.to_owned())));
    }
    let sizes: BTreeSet<usize> = by_index.values().map(Vec::len).collect();
    if sizes.len() != 1 {
        let reason = "all partitions of an assignment have equally many replicas";
        return Err((ErrorCode::InvalidReplicaAssignment, Some(reason.to_owned())));
    }
    Ok(Assignment::Explicit(by_index.into_values().collect()))
}

fn shape(assignment: &Assignment) -> (usize, usize) {
    match assignment {
        Assignment::Spread { partitions, replication_factor, .. } => (*partitions, *replication_factor),
        Assignment::Explicit(replicas) => (replicas.len(), replicas.first().map_or(0, Vec::len)),
    }
}

/// What can be said without creating anything.
fn validate<R: Runtime>(plane: &Plane<R>, topic: &CreatableTopic, assignment: &Assignment) -> Result<(), Refused> {
    let cache = plane.shared.metadata();
    let metadata = cache.metadata();
    check_name(&topic.name)?;
    if metadata.topics.contains_key(topic.name.as_str()) || metadata.unreadable.contains(topic.name.as_str()) {
        return Err(refused(&Refusal::TopicExists));
    }
    let (partitions, wanted) = shape(assignment);
    if partitions > PARTITIONS_PER_REQUEST_MAX {
        return Err(refused(&Refusal::InvalidPartitions(PARTITIONS_PER_REQUEST_MAX)));
    }
    let live = metadata.brokers.len();
    match assignment {
        Assignment::Spread { .. } if wanted > live => Err(refused(&Refusal::InvalidReplicationFactor { wanted, live })),
        Assignment::Explicit(replicas) => {
            let distinct = |brokers: &Vec<BrokerId>| brokers.iter().collect::<BTreeSet<_>>().len() == brokers.len();
            let lives = |broker: &BrokerId| metadata.brokers.contains_key(broker);
            let good = replicas.iter().all(|brokers| !brokers.is_empty() && distinct(brokers))
                && replicas.iter().flatten().all(lives);
            if good { Ok(()) } else { Err(refused(&Refusal::InvalidAssignment)) }
        }
        Assignment::Spread { .. } => Ok(()),
    }
}

/// Kafka's rule for the names of topics.
pub fn check_name(name: &str) -> Result<(), Refused> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let named = !matches!(name, "" | "." | "..") && name.len() <= crate::base::limits::TOPIC_NAME_BYTES_MAX;
    if named && name.bytes().all(legal) { Ok(()) } else { Err(refused(&Refusal::InvalidTopic)) }
}

fn create_result(name: &StrBytes, result: Result<Created, Refused>) -> CreatableTopicResult {
    match result {
        Ok(created) => message!(CreatableTopicResult {
            name: name.clone(),
            topic_id: uuid(created.id),
            error_message: None,
            num_partitions: created.partitions,
            replication_factor: created.replication_factor,
            configs: Some(created.settings.configs.iter().map(config_entry).collect()),
        }),
        Err((error, reason)) => message!(CreatableTopicResult {
            name: name.clone(),
            error_code: error.to_wire(),
            error_message: reason.map(text),
            num_partitions: DEFAULT,
            replication_factor: -1,
        }),
    }
}

fn config_entry((name, value): (&Arc<str>, &Arc<str>)) -> CreatableTopicConfigs {
    message!(CreatableTopicConfigs {
        name: StrBytes::from(&**name),
        value: Some(StrBytes::from(&**value)),
        config_source: DYNAMIC_TOPIC_CONFIG,
    })
}

/// Answers DeleteTopics, here or by the controller.
pub async fn delete<R: Runtime>(
    plane: &Plane<R>,
    header: &RequestHeader,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let deadline = plane.shared.runtime.now() + patience(request.timeout_ms);
    let targets = targets(header.version, &request);
    let error = match route(plane, header) {
        Route::Here => return delete_here(plane, targets, deadline).await,
        Route::Nowhere(error) => error,
        Route::To(controller) => match forward(plane, controller, header, KafkaRequest::DeleteTopics(request)).await {
            Ok(Response::DeleteTopics(response)) => return response,
            Ok(_) => ErrorCode::UnknownServerError,
            Err(error) => error,
        },
    };
    let result = |target: &Target| delete_result(target, Err((error, None)));
    message!(DeleteTopicsResponse { responses: targets.iter().map(result).collect() })
}

/// What is to be deleted, by name or by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    name: Option<String>,
    id: TopicId,
}

fn targets(version: i16, request: &DeleteTopicsRequest) -> Vec<Target> {
    let by_name = |name: &StrBytes| Target { name: Some(name.as_str().to_owned()), id: TopicId::ZERO };
    if version < DELETE_BY_STATE_FROM {
        return request.topic_names.iter().map(by_name).collect();
    }
    let target = |one: &crate::wire::kafka::messages::delete_topics_request::DeleteTopicState| match &one.name {
        Some(name) => by_name(name),
        None => Target { name: None, id: topic_id(one.topic_id) },
    };
    request.topics.iter().map(target).collect()
}

async fn delete_here<R: Runtime>(plane: &Plane<R>, targets: Vec<Target>, deadline: Instant) -> DeleteTopicsResponse {
    let mut responses = Vec::new();
    for target in targets {
        let (target, result) = match resolve(plane, &target) {
            Ok(resolved) => {
                let topic = resolved.name.as_deref().unwrap_or_default().into();
                let result = ask(plane, Request::DeleteTopic { topic }, deadline).await;
                (resolved, result)
            }
            Err(error) => (target, Err((error, None))),
        };
        responses.push(delete_result(&target, result));
    }
    message!(DeleteTopicsResponse { responses: responses })
}

/// With the name and the id, as far as they are known.
fn resolve<R: Runtime>(plane: &Plane<R>, target: &Target) -> Result<Target, ErrorCode> {
    let cache = plane.shared.metadata();
    let topics = &cache.metadata().topics;
    match &target.name {
        Some(name) => {
            let id = topics.get(name.as_str()).map_or(TopicId::ZERO, |topic| topic.id);
            Ok(Target { name: Some(name.clone()), id })
        }
        None => {
            let found = topics.iter().find(|(_, topic)| topic.id == target.id && target.id != TopicId::ZERO);
            let (name, _) = found.ok_or(ErrorCode::UnknownTopicId)?;
            Ok(Target { name: Some(name.to_string()), id: target.id })
        }
    }
}

fn delete_result(target: &Target, result: Result<(), Refused>) -> DeletableTopicResult {
    let (error, reason) = result.err().unwrap_or((ErrorCode::None, None));
    message!(DeletableTopicResult {
        name: target.name.clone().map(text),
        topic_id: uuid(target.id),
        error_code: error.to_wire(),
        error_message: reason.map(text),
    })
}

/// Creates topics that a client asked about, with the defaults, and waits until they are known here.
/// Gives what went wrong.
pub async fn auto_create<R: Runtime>(plane: &Plane<R>, names: &[String]) -> BTreeMap<String, ErrorCode> {
    let topic = |name: &String| {
        message!(CreatableTopic { name: text(name.clone()), num_partitions: DEFAULT, replication_factor: -1 })
    };
    let request = message!(CreateTopicsRequest {
        topics: names.iter().map(topic).collect(),
        timeout_ms: AUTO_CREATE_TIMEOUT.as_millis() as i32,
    });
    let api = crate::wire::kafka::ApiKey::CreateTopics;
    let header = RequestHeader { api, version: api.served().max, correlation_id: 0, client_id: None };
    let Some(response) = plane.within(AUTO_CREATE_TIMEOUT, create(plane, &header, request)).await else {
        return BTreeMap::new();
    };
    let failed = response.topics.iter().filter_map(|topic| {
        let error = ErrorCode::check(topic.error_code).err()?;
        Some((topic.name.as_str().to_owned(), error))
    });
    failed.collect()
}

/// Where a request for the controller goes.
enum Route {
    Here,
    To(BrokerId),
    Nowhere(ErrorCode),
}

fn route<R: Runtime>(plane: &Plane<R>, header: &RequestHeader) -> Route {
    let forwarded = header.client_id.as_ref().is_some_and(|client| client.as_str() == FORWARDER);
    match plane.known_controller() {
        Some((controller, _)) if controller == plane.own() => Route::Here,
        Some((controller, _)) if !forwarded => Route::To(controller),
        _ => Route::Nowhere(ErrorCode::NotController),
    }
}

async fn forward<R: Runtime>(
    plane: &Plane<R>,
    controller: BrokerId,
    header: &RequestHeader,
    request: KafkaRequest,
) -> Result<Response, ErrorCode> {
    let sent = async { plane.forwarding(controller).await?.send_version(header.version, &request).await?.await };
    sent.await.map_err(|error| {
        tracing::info!(%controller, %error, "a request was not answered by the controller");
        // Not sent: the client finds the controller and asks again. Else nobody knows.
        if error.is_unknown() { ErrorCode::RequestTimedOut } else { ErrorCode::NotController }
    })
}

/// Asks the controller that this broker is; again where it is merely busy, until the time is over.
async fn ask<R: Runtime>(plane: &Plane<R>, request: Request, deadline: Instant) -> Result<(), Refused> {
    loop {
        let answer = timeout_at(&plane.shared.runtime, deadline, plane.ask_own_controller(request.clone())).await;
        match answer.unwrap_or(Err(Refusal::Unknown)) {
            Ok(_) => return Ok(()),
            Err(Refusal::TryAgain) if plane.shared.runtime.now() < deadline => plane.pause().await,
            Err(refusal) => return Err(refused(&refusal)),
        }
    }
}

/// Waits until this broker knows what was made, so that a client that asks it next is not sent away.
async fn await_metadata<R: Runtime>(
    plane: &Plane<R>,
    deadline: Instant,
    enough: impl Fn(&dyn Fn(&str) -> bool) -> bool + Send + Sync,
) {
    let mut changes = plane.shared.metadata_changed.subscribe();
    let is_known = || {
        let cache = plane.shared.metadata();
        enough(&|name| cache.metadata().topics.contains_key(name))
    };
    let wait = async {
        while !is_known() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    // What is not known in time is found by asking again.
    let _ = timeout_at(&plane.shared.runtime, deadline, wait).await;
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Node, OWN, cluster_of};
    use super::*;
    use crate::wire::kafka::messages::create_topics_request::CreatableReplicaAssignment;

    #[test]
    fn a_request_waits_as_long_as_it_says_and_never_longer_than_the_limit() {
        let waits = [-1, 0, 250, i32::MAX].map(patience);
        assert_eq!(waits, [Duration::ZERO, Duration::ZERO, Duration::from_millis(250), TIMEOUT_MAX]);
    }

    #[test]
    fn an_assignment_gives_all_partitions_equally_many_replicas() {
        let assignment = |(index, brokers): (i32, &[i32])| {
            message!(CreatableReplicaAssignment { partition_index: index, broker_ids: brokers.to_vec() })
        };
        let refused = |second: &[i32]| {
            let assignments = [(0, &[1, 2][..]), (1, second)].map(assignment).to_vec();
            let topic = message!(CreatableTopic { assignments, num_partitions: DEFAULT, replication_factor: -1 });
            explicit(&topic).err().map(|(error, _)| error)
        };
        assert_eq!(refused(&[2, 1]), None);
        assert_eq!(refused(&[2]), Some(ErrorCode::InvalidReplicaAssignment));
    }

    #[test]
    fn a_topic_that_is_deleted_by_id_is_found_by_it_and_no_id_finds_none() {
        let id = TopicId([3; 16]);
        let node = Node::that_knows(OWN, cluster_of("t", id, 1));
        let by_id = |id| resolve(&node.plane, &Target { name: None, id });
        assert_eq!(by_id(id), Ok(Target { name: Some("t".to_owned()), id }));
        assert_eq!(by_id(TopicId([4; 16])), Err(ErrorCode::UnknownTopicId));
        let without_id = Node::that_knows(OWN, cluster_of("t", TopicId::ZERO, 1));
        let none = Target { name: None, id: TopicId::ZERO };
        assert_eq!(resolve(&without_id.plane, &none), Err(ErrorCode::UnknownTopicId));
    }
}
