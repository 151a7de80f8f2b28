//! Questions with right answers, and with each kind of wrong one.

use bytes::Bytes;
use wyrdlog::base::address::Address;
use wyrdlog::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicId};
use wyrdlog::message;
use wyrdlog::wire::kafka::fetch::{FetchedPartition, FetchedTopic, LeaderAndEpoch, NodeEndpoint};
use wyrdlog::wire::kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use wyrdlog::wire::kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wyrdlog::wire::kafka::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use wyrdlog::wire::kafka::messages::metadata_request::MetadataRequestTopic;
use wyrdlog::wire::kafka::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use wyrdlog::wire::kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wyrdlog::wire::kafka::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use wyrdlog::wire::kafka::messages::{
    ApiVersionsRequest, DeleteTopicsRequest, FetchRequest, InitProducerIdRequest, InitProducerIdResponse,
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
    StrBytes, delete_topics_response::DeletableTopicResult, uuid,
};
use wyrdlog::wire::kafka::messages::{ApiVersionsResponse, DeleteTopicsResponse};
use wyrdlog::wire::kafka::response::{api_versions, encode};
use wyrdlog::wire::private::{ControlledShutdown, ControlledShutdownResult, PrivateRequest, PrivateResponse};

use super::super::broker_refusal::examples::{S, met};
use super::*;
use crate::history::cluster::{Disturbance, Registered};
use wyrdlog::wire::kafka::fetch::FetchResponse;

/// Brokers 1, 2 and 3, of which 1 leads `t-0` in leader epoch 0; nobody has anything else.
pub(super) fn history() -> ProtocolHistory {
    let broker = |id: i32| (BrokerId(id), Address::new(format!("broker-{id}"), 9092));
    let topics = vec![("t".into(), 1, 3)];
    let brokers = [1, 2, 3].map(broker).to_vec();
    ProtocolHistory { brokers, topics, void_from_ns: u64::MAX, ..ProtocolHistory::default() }
}

fn frame(correlation_id: i32, version: i16, response: impl Into<Response>) -> Came {
    Came::Frame(strip(encode(correlation_id, version, &response.into()).expect("encodes").into_bytes()))
}

fn strip(frame: Bytes) -> Bytes {
    frame.slice(4..)
}

fn exchange(broker: i32, version: i16, request: Request, came: Came) -> Exchange {
    let sent = Sent::Request { version, request: Box::new(request), wrong: None };
    let (client, correlation_id) = (9, 1);
    let broker = BrokerId(broker);
    Exchange {
        client,
        broker,
        correlation_id,
        behind: 0,
        sent,
        connected_ns: 38 * S,
        sent_ns: 40 * S,
        came,
        ended_ns: Some(40 * S + 1_000),
    }
}

pub(super) fn ask(broker: i32, version: i16, request: Request, response: impl Into<Response>) -> Exchange {
    exchange(broker, version, request, frame(1, version, response))
}

fn violated(exchanges: Vec<Exchange>) -> u64 {
    check(&met(), &ProtocolHistory { exchanges, ..history() }).violated
}

pub(super) fn text(name: &str) -> StrBytes {
    StrBytes::from(name)
}

/// A history in which each kind of question has its right answer, and the cluster that it was asked of.
pub(crate) fn good() -> (ClusterHistory, ProtocolHistory) {
    let versions = || Request::ApiVersions(ApiVersionsRequest::default());
    let mut first = ask(1, 0, versions(), api_versions(ErrorCode::None));
    let mut second = ask(1, 1, init(), given(7));
    (first.behind, second.correlation_id, second.came) = (1, 2, frame(2, 1, given(7)));
    let mut alone = ask(1, 3, versions(), api_versions(ErrorCode::None));
    (alone.sent_ns, alone.ended_ns) = (50 * S, Some(50 * S + 1_000));
    (met(), ProtocolHistory { exchanges: vec![first, second, alone], ..history() })
}

fn init() -> Request {
    let nobody = message!(InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1 });
    Request::InitProducerId(nobody)
}

fn given(id: i64) -> InitProducerIdResponse {
    message!(InitProducerIdResponse { producer_id: id, producer_epoch: 0 })
}

fn metadata(name: &str) -> Request {
    let topics = Some(vec![message!(MetadataRequestTopic { name: Some(text(name)) })]);
    Request::Metadata(message!(MetadataRequest { topics }))
}

pub(super) fn told(topic: MetadataResponseTopic, brokers: &[i32]) -> MetadataResponse {
    let broker =
        |id: &i32| message!(MetadataResponseBroker { node_id: *id, host: text(&format!("broker-{id}")), port: 9092 });
    let brokers = brokers.iter().map(broker).collect();
    message!(MetadataResponse { brokers, cluster_id: Some(text("c")), controller_id: 1, topics: vec![topic] })
}

fn topic(edit: impl Fn(&mut MetadataResponsePartition)) -> MetadataResponseTopic {
    let mut partition = message!(MetadataResponsePartition {
        partition_index: 0,
        leader_id: 1,
        leader_epoch: 0,
        replica_nodes: vec![1, 2, 3],
        isr_nodes: vec![1, 2, 3],
    });
    edit(&mut partition);
    let topic_id = uuid(TopicId([5; 16]));
    message!(MetadataResponseTopic { name: Some(text("t")), topic_id, partitions: vec![partition] })
}

#[test]
fn right_answers_pass() {
    let (met, history) = good();
    let findings = check(&met, &history);
    assert_eq!((findings.violated, findings.evaluations), (0, 3), "{:?}", findings.violations);
}

#[test]
fn another_s_number_a_late_answer_and_a_closed_connection_are_rejected() {
    let good = || ask(1, 0, Request::ApiVersions(ApiVersionsRequest::default()), api_versions(ErrorCode::None));
    let with = |edit: &dyn Fn(&mut Exchange)| {
        let mut one = good();
        edit(&mut one);
        violated(vec![one])
    };
    assert_eq!(with(&|_| {}), 0);
    assert_eq!(with(&|one| one.correlation_id = 2), 1);
    assert_eq!(with(&|one| one.ended_ns = Some(one.sent_ns + 2 * S)), 1);
    assert_eq!(with(&|one| (one.came, one.ended_ns) = (Came::Nothing, None)), 1);
    assert_eq!(with(&|one| one.came = Came::Closed), 1);
    assert_eq!(with(&|one| one.came = Came::Frame(Bytes::from_static(&[0, 0, 0, 1, 0]))), 1, "it is cut short");
    let mut fewer = api_versions(ErrorCode::None);
    fewer.api_keys.pop();
    let fewer: ApiVersionsResponse = fewer;
    assert_eq!(with(&|one| one.came = frame(1, 0, fewer.clone())), 1);
}

#[test]
fn under_faults_nobody_has_to_answer_and_what_is_wrong_is_wrong_all_the_same() {
    let judged = |came: Came| {
        let mut met = met();
        met.disturbances.push(Disturbance { from_ns: 39 * S, to_ns: 45 * S, nodes: vec![Node(1)] });
        let one = exchange(1, 1, init(), came);
        check(&met, &ProtocolHistory { exchanges: vec![one], ..history() }).violated
    };
    assert_eq!([judged(Came::Nothing), judged(Came::Closed), judged(frame(1, 1, given(3)))], [0, 0, 0]);
    assert_eq!([judged(frame(1, 1, given(-1))), judged(frame(4, 1, given(3)))], [1, 1]);
}

#[test]
fn a_producer_id_is_given_once() {
    let twice = |ids: [i64; 2]| violated(ids.map(|id| ask(1, 1, init(), given(id))).to_vec());
    assert_eq!([twice([3, 4]), twice([3, 3])], [0, 1]);
    let transactional = message!(InitProducerIdRequest { transactional_id: Some(text("x")) });
    assert_eq!(violated(vec![ask(1, 1, Request::InitProducerId(transactional), given(3))]), 1);
}

#[test]
fn metadata_tells_what_is_committed() {
    let judged = |told: MetadataResponse| violated(vec![ask(2, 12, metadata("t"), told)]);
    let all = [1, 2, 3];
    assert_eq!(judged(told(topic(|_| {}), &all)), 0);
    assert_eq!(judged(told(topic(|one| one.leader_id = 2), &all)), 1);
    assert_eq!(judged(told(topic(|one| one.leader_epoch = 3), &all)), 1);
    assert_eq!(judged(told(topic(|one| one.isr_nodes.truncate(2)), &all)), 1);
    assert_eq!(judged(told(topic(|one| one.replica_nodes.reverse()), &all)), 1);
    assert_eq!(judged(told(topic(|one| one.offline_replicas.push(3)), &all)), 1);
    assert_eq!(judged(told(topic(|one| one.error_code = 5), &all)), 1);
    assert_eq!(judged(told(topic(|_| {}), &all[..2])), 1, "a broker is missing");
    let unnamed = || message!(MetadataResponseTopic { name: Some(text("u")), error_code: 3 });
    let asked =
        |told: MetadataResponseTopic, name: &str| violated(vec![ask(2, 12, metadata(name), self::told(told, &all))]);
    assert_eq!([asked(unnamed(), "u"), asked(topic(|_| {}), "u")], [0, 1]);
    let bad = message!(MetadataResponseTopic { name: Some(text("u ")), error_code: 3 });
    assert_eq!(asked(bad, "u "), 1, "no topic may have that name");
}

fn produce(wrong: Wrong) -> Sent {
    let partition_data = vec![message!(PartitionProduceData { index: 0, records: Some(Bytes::new()) })];
    let topic_data = vec![message!(TopicProduceData { name: text("t"), partition_data })];
    let request = Request::Produce(message!(ProduceRequest { acks: -1, topic_data }));
    Sent::Request { version: 9, request: Box::new(request), wrong: Some(wrong) }
}

fn refused(edit: impl Fn(&mut PartitionProduceResponse)) -> ProduceResponse {
    let mut one = message!(PartitionProduceResponse {
        index: 0,
        error_code: 87,
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
    });
    edit(&mut one);
    message!(ProduceResponse {
        responses: vec![message!(TopicProduceResponse { name: text("t"), partition_responses: vec![one] })],
    })
}

#[test]
fn a_batch_that_no_producer_may_send_is_refused_by_its_code() {
    let judged = |broker: i32, wrong: Wrong, told: ProduceResponse| {
        let mut one = ask(broker, 1, init(), given(1));
        (one.sent, one.came) = (produce(wrong), frame(1, 9, told));
        violated(vec![one])
    };
    assert_eq!(judged(1, Wrong::Two, refused(|_| {})), 0);
    assert_eq!(judged(1, Wrong::Checksum, refused(|_| {})), 1);
    assert_eq!(judged(1, Wrong::Two, refused(|one| one.base_offset = 4)), 1);
    assert_eq!(judged(1, Wrong::Two, refused(|one| one.error_code = 0)), 1);
    assert_eq!(judged(1, Wrong::Two, refused(|one| one.error_code = 6)), 1, "it leads");
    assert_eq!(judged(2, Wrong::Two, refused(|one| one.error_code = 6)), 0);
}

fn fetch(epoch: i32, session_epoch: i32) -> Request {
    let partition = message!(FetchPartition {
        partition: 0,
        current_leader_epoch: epoch,
        fetch_offset: 1 << 40,
        partition_max_bytes: 100,
    });
    let topics = vec![message!(FetchTopic { topic: text("t"), partitions: vec![partition] })];
    Request::Fetch(message!(FetchRequest { max_bytes: 100, session_epoch, topics }))
}

fn fetched(error: ErrorCode, hint: Option<(i32, i32)>) -> FetchResponse {
    let current_leader =
        hint.map(|(leader, epoch)| LeaderAndEpoch { leader: BrokerId(leader), epoch: LeaderEpoch(epoch) });
    let partition = FetchedPartition { current_leader, ..FetchedPartition::failed(0, error) };
    let topic = FetchedTopic { name: text("t"), partitions: vec![partition], ..FetchedTopic::default() };
    FetchResponse { topics: vec![topic], ..FetchResponse::default() }
}

#[test]
fn a_fetch_is_refused_by_what_is_wrong_with_it_and_told_who_leads() {
    let judged = |broker: i32, epoch: i32, told: FetchResponse| violated(vec![ask(broker, 12, fetch(epoch, -1), told)]);
    assert_eq!(judged(1, -1, fetched(ErrorCode::OffsetOutOfRange, None)), 0);
    assert_eq!(judged(1, -1, fetched(ErrorCode::NotLeaderOrFollower, Some((1, 0)))), 1);
    assert_eq!(judged(1, 4, fetched(ErrorCode::OffsetOutOfRange, None)), 1);
    assert_eq!(judged(1, 4, fetched(ErrorCode::UnknownLeaderEpoch, None)), 0);
    assert_eq!(judged(2, -1, fetched(ErrorCode::NotLeaderOrFollower, Some((1, 0)))), 0);
    assert_eq!(judged(2, -1, fetched(ErrorCode::NotLeaderOrFollower, None)), 1, "who leads is known");
    assert_eq!(judged(2, -1, fetched(ErrorCode::NotLeaderOrFollower, Some((3, 0)))), 1);
    let session = FetchResponse { error: Some(ErrorCode::FetchSessionIdNotFound), ..FetchResponse::default() };
    let in_session = |told: FetchResponse| violated(vec![ask(1, 12, fetch(-1, 3), told)]);
    assert_eq!([in_session(session), in_session(fetched(ErrorCode::OffsetOutOfRange, None))], [0, 1]);
}

#[test]
fn leaders_that_are_named_come_with_their_addresses() {
    let judged = |endpoints: Vec<NodeEndpoint>| {
        let mut told = fetched(ErrorCode::NotLeaderOrFollower, Some((1, 0)));
        told.node_endpoints = endpoints;
        told.topics[0].topic_id = uuid(TopicId([5; 16]));
        let Request::Fetch(mut request) = fetch(-1, -1) else { unreachable!() };
        (request.topics[0].topic, request.topics[0].topic_id) = (StrBytes::default(), uuid(TopicId([5; 16])));
        let named = ask(2, 12, metadata("t"), self::told(topic(|_| {}), &[1, 2, 3]));
        violated(vec![named, ask(2, 16, Request::Fetch(request), told)])
    };
    let at = |host: &str| NodeEndpoint { broker: BrokerId(1), host: text(host), port: 9092, rack: None };
    assert_eq!([judged(vec![at("broker-1")]), judged(vec![]), judged(vec![at("broker-2")])], [0, 1, 1]);
}

#[test]
fn a_lookup_finds_what_there_can_be() {
    let judged = |timestamp: i64, found: (i64, i64)| {
        let partition = message!(ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp });
        let topics = vec![message!(ListOffsetsTopic { name: text("t"), partitions: vec![partition] })];
        let answer = message!(ListOffsetsPartitionResponse {
            partition_index: 0,
            timestamp: found.0,
            offset: found.1,
            leader_epoch: -1,
        });
        let partitions = vec![answer];
        let topic = message!(ListOffsetsTopicResponse { name: text("t"), partitions });
        let told = message!(ListOffsetsResponse { topics: vec![topic] });
        violated(vec![ask(1, 5, Request::ListOffsets(message!(ListOffsetsRequest { topics })), told)])
    };
    assert_eq!([judged(-1, (-1, 4)), judged(-1, (7, 4)), judged(-1, (-1, -1))], [0, 1, 1]);
    assert_eq!([judged(i64::MAX, (-1, -1)), judged(i64::MAX, (7, 4)), judged(-9, (-1, -1))], [0, 1, 1]);
}

#[test]
fn what_never_was_is_not_deleted_and_no_stranger_speaks_for_a_broker() {
    let delete = || Request::DeleteTopics(message!(DeleteTopicsRequest { topic_names: vec![text("u")] }));
    let told = |error_code: i16| {
        let responses = vec![message!(DeletableTopicResult { name: Some(text("u")), error_code })];
        message!(DeleteTopicsResponse { responses })
    };
    assert_eq!([3, 0, 41].map(|code| violated(vec![ask(1, 3, delete(), told(code))])), [0, 1, 1]);
    let stranger = |error: ErrorCode| {
        let (broker, broker_epoch) = (BrokerId(1), BrokerEpoch(-7));
        let request = PrivateRequest::ControlledShutdown(ControlledShutdown { broker, broker_epoch });
        let told = PrivateResponse::ControlledShutdown(ControlledShutdownResult { error, remaining_partitions: 0 });
        violated(vec![ask(1, 0, Request::Private(request), told)])
    };
    assert_eq!([stranger(ErrorCode::NotController), stranger(ErrorCode::None)], [0, 1]);
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let judged = |odd: Odd, came: Came| {
        let mut one = exchange(1, 0, init(), came);
        one.sent = Sent::Odd(odd);
        violated(vec![one])
    };
    let unknown = || frame(1, 0, api_versions(ErrorCode::UnsupportedVersion));
    assert_eq!([judged(Odd::ShortHeader, Came::Closed), judged(Odd::ShortHeader, unknown())], [0, 1]);
    let version = Odd::UnknownVersion(ApiKey::ApiVersions, 99);
    assert_eq!([judged(version, unknown()), judged(version, Came::Closed)], [0, 1]);
    assert_eq!(judged(version, frame(1, 0, api_versions(ErrorCode::None))), 1);
}

#[test]
fn a_broker_that_is_gone_is_not_told_of_once_the_controller_had_the_time_to_say_so() {
    let judge = |unregistered_ns: u64, back_ns: u64, other: Option<u64>, brokers: &[i32], again_ns: Option<u64>| {
        let mut met = met();
        let (broker_epoch, written_since) = (BrokerEpoch(9), BrokerEpoch(9));
        let node = met.brokers[&BrokerId(2)];
        met.registered.extend(again_ns.map(|time_ns| Registered { time_ns, node, broker_epoch, written_since }));
        let away = |from_ns: u64, to_ns: u64, node| Disturbance { from_ns, to_ns, nodes: vec![node] };
        let nodes = [2, 3].map(|id| met.brokers[&BrokerId(id)]);
        met.disturbances = vec![away(30 * S, back_ns, nodes[0])];
        met.disturbances.extend(other.map(|at_ns| away(at_ns, at_ns + 1, nodes[1])));
        met.unregistered = vec![(unregistered_ns, BrokerId(2))];
        let answer = told(topic(|_| ()), brokers);
        let exchanges = vec![ask(1, 10, metadata("t"), answer)];
        check(&met, &ProtocolHistory { exchanges, ..history() }).violated
    };
    let judged =
        |unregistered_ns, back_ns, other, brokers: &[i32]| judge(unregistered_ns, back_ns, other, brokers, None);
    let gone_but_registered_at = |at_ns| judge(36 * S, 50 * S, None, &[1, 2, 3], Some(at_ns));
    assert_eq!(judged(36 * S, 50 * S, None, &[1, 2, 3]), 1, "it is told of");
    assert_eq!(judged(36 * S, 50 * S, None, &[1, 3]), 0);
    assert_eq!(judged(39 * S, 50 * S, None, &[1, 2, 3]), 0, "the controller has just learned of it");
    assert_eq!(judged(36 * S, 39 * S, None, &[1, 2, 3]), 0, "it is back");
    assert_eq!(judged(36 * S, 50 * S, Some(38 * S), &[1, 2, 3]), 0, "another was disturbed meanwhile");
    assert_eq!(gone_but_registered_at(39 * S), 0, "it is registered again");
    assert_eq!(gone_but_registered_at(42 * S), 1, "much later");
}
