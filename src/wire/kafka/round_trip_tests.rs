//! Every API in every version that is served: what one side encodes, the other decodes as it was.
//!
//! The samples fill the fields that their version has. Fetch responses, which have an encoder of
//! their own, are also held against the generated one, byte for byte.

use bytes::{Bytes, BytesMut};
use kafka_wire_core::{ApiVersion, KafkaEncode};

use super::fetch::*;
use super::messages::*;
use super::request::{Request, decode};
use super::response::{Response, encode};
use super::{ApiKey, ErrorCode, client};
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId};
use crate::base::partition_state::InSyncReplica;
use crate::message;
use crate::wire::private::*;

const ID: Uuid = Uuid::from_bytes([9; 16]);

fn versions(api: ApiKey) -> std::ops::RangeInclusive<i16> {
    api.served().min..=api.served().max
}

/// `name` up to version `last`, empty afterwards.
fn name_until(version: i16, last: i16) -> StrBytes {
    if version <= last { "topic".into() } else { StrBytes::default() }
}

/// The id from version `first` on.
fn id_from(version: i16, first: i16) -> Uuid {
    if version >= first { ID } else { Uuid::ZERO }
}

fn produce_request(version: i16) -> Request {
    let partition = |index, records| {
        message!(produce_request::PartitionProduceData { index, records: Some(Bytes::from_static(records)) })
    };
    let topic = message!(produce_request::TopicProduceData {
        name: name_until(version, 12),
        topic_id: id_from(version, 13),
        partition_data: vec![partition(0, b"first"), partition(1, b"second")],
    });
    Request::Produce(message!(ProduceRequest {
        transactional_id: Some("transaction".into()),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
    }))
}

fn fetch_request(version: i16) -> Request {
    let partition = message!(fetch_request::FetchPartition {
        partition: 3,
        current_leader_epoch: if version >= 9 { 7 } else { -1 },
        fetch_offset: 100,
        last_fetched_epoch: if version >= 12 { 6 } else { -1 },
        log_start_offset: if version >= 5 { 5 } else { -1 },
        partition_max_bytes: 1 << 20,
    });
    let topic = message!(fetch_request::FetchTopic {
        topic: name_until(version, 12),
        topic_id: id_from(version, 13),
        partitions: vec![partition],
    });
    let replica = message!(fetch_request::ReplicaState { replica_id: 2, replica_epoch: 44 });
    Request::Fetch(message!(FetchRequest {
        replica_id: if version <= 14 { 2 } else { -1 },
        replica_state: if version >= 15 { replica } else { Default::default() },
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 50 << 20,
        isolation_level: 1,
        topics: vec![topic],
        rack_id: if version >= 11 { "rack".into() } else { StrBytes::default() },
    }))
}

fn list_offsets_request(version: i16) -> Request {
    let partition = message!(list_offsets_request::ListOffsetsPartition {
        partition_index: 1,
        current_leader_epoch: if version >= 4 { 3 } else { -1 },
        timestamp: -1,
    });
    let topic = message!(list_offsets_request::ListOffsetsTopic { name: "topic".into(), partitions: vec![partition] });
    Request::ListOffsets(message!(ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(version >= 2),
        topics: vec![topic],
        timeout_ms: if version >= 10 { 1_000 } else { 0 },
    }))
}

fn metadata_request(version: i16) -> Request {
    let topic =
        message!(metadata_request::MetadataRequestTopic { name: Some("topic".into()), topic_id: id_from(version, 10) });
    Request::Metadata(message!(MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: version < 4,
        include_topic_authorized_operations: version >= 8,
    }))
}

fn create_topics_request() -> Request {
    let assignment =
        message!(create_topics_request::CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![1, 2] });
    let config = message!(create_topics_request::CreatableTopicConfig {
        name: "flush.messages".into(),
        value: Some("1".into())
    });
    let topic = message!(create_topics_request::CreatableTopic {
        name: "topic".into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![assignment],
        configs: vec![config],
    });
    Request::CreateTopics(message!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 9, validate_only: true }))
}

fn delete_topics_request(version: i16) -> Request {
    if version <= 5 {
        return Request::DeleteTopics(message!(DeleteTopicsRequest { topic_names: vec!["a".into()], timeout_ms: 9 }));
    }
    let topic = message!(delete_topics_request::DeleteTopicState { topic_id: ID });
    Request::DeleteTopics(message!(DeleteTopicsRequest { topics: vec![topic], timeout_ms: 9 }))
}

fn offset_for_leader_epoch_request(version: i16) -> Request {
    let partition = message!(offset_for_leader_epoch_request::OffsetForLeaderPartition {
        partition: 1,
        current_leader_epoch: 5,
        leader_epoch: 4,
    });
    let topic = message!(offset_for_leader_epoch_request::OffsetForLeaderTopic {
        topic: "topic".into(),
        partitions: vec![partition],
    });
    let replica_id = if version >= 3 { 2 } else { -2 };
    Request::OffsetForLeaderEpoch(message!(OffsetForLeaderEpochRequest { replica_id, topics: vec![topic] }))
}

fn init_producer_id_request(version: i16) -> Request {
    Request::InitProducerId(message!(InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: if version >= 3 { 7 } else { -1 },
        producer_epoch: if version >= 3 { 1 } else { -1 },
    }))
}

fn find_coordinator_request(version: i16) -> Request {
    Request::FindCoordinator(if version <= 3 {
        message!(FindCoordinatorRequest { key: "group".into(), key_type: i8::from(version >= 1) })
    } else {
        message!(FindCoordinatorRequest { key_type: 1, coordinator_keys: vec!["a".into(), "b".into()] })
    })
}

fn api_versions_request(version: i16) -> Request {
    let text = |text: &str| if version >= 3 { text.into() } else { StrBytes::default() };
    Request::ApiVersions(message!(ApiVersionsRequest {
        client_software_name: text("wyrd"),
        client_software_version: text("0.1"),
    }))
}

fn private_requests() -> Vec<PrivateRequest> {
    let member = InSyncReplica { broker: BrokerId(1), broker_epoch: BrokerEpoch(55) };
    let update = |payload| {
        PrivateRequest::UpdateMetadata(UpdateMetadata {
            controller: BrokerId(1),
            controller_epoch: ControllerEpoch(4),
            broker_epoch: BrokerEpoch(99),
            sequence: 12,
            payload,
        })
    };
    vec![
        update(MetadataPayload::Delta(Bytes::from_static(b"delta"))),
        update(MetadataPayload::Snapshot(Bytes::new())),
        PrivateRequest::AlterPartition(AlterPartition {
            broker: BrokerId(2),
            broker_epoch: BrokerEpoch(77),
            partitions: vec![ProposedPartition {
                topic: TopicId([3; 16]),
                partition: 5,
                leader_epoch: LeaderEpoch(6),
                partition_epoch: 8,
                min_in_sync: 2,
                in_sync: vec![member, member],
            }],
        }),
        PrivateRequest::ControlledShutdown(ControlledShutdown { broker: BrokerId(2), broker_epoch: BrokerEpoch(7) }),
    ]
}

fn private_responses() -> Vec<PrivateResponse> {
    let altered = |leader| AlteredPartition {
        topic: TopicId([3; 16]),
        partition: 5,
        error: ErrorCode::IneligibleReplica,
        leader,
        leader_epoch: LeaderEpoch(6),
        partition_epoch: 9,
        in_sync: vec![InSyncReplica { broker: BrokerId(1), broker_epoch: BrokerEpoch(55) }],
    };
    vec![
        PrivateResponse::UpdateMetadata(UpdateMetadataResult {
            error: ErrorCode::StaleControllerEpoch,
            controller_epoch: ControllerEpoch(5),
            next_sequence: 0,
        }),
        PrivateResponse::AlterPartition(AlterPartitionResult {
            error: ErrorCode::None,
            partitions: vec![altered(Some(BrokerId(0))), altered(None)],
        }),
        PrivateResponse::ControlledShutdown(ControlledShutdownResult {
            error: ErrorCode::NotController,
            remaining_partitions: 3,
        }),
    ]
}

/// Sample requests of `api` at `version`.
pub(super) fn requests(api: ApiKey, version: i16) -> Vec<Request> {
    match api {
        ApiKey::Produce => vec![produce_request(version)],
        ApiKey::Fetch => vec![fetch_request(version)],
        ApiKey::ListOffsets => vec![list_offsets_request(version)],
        ApiKey::Metadata => vec![metadata_request(version)],
        ApiKey::FindCoordinator => vec![find_coordinator_request(version)],
        ApiKey::ApiVersions => vec![api_versions_request(version)],
        ApiKey::CreateTopics => vec![create_topics_request()],
        ApiKey::DeleteTopics => vec![delete_topics_request(version)],
        ApiKey::InitProducerId => vec![init_producer_id_request(version)],
        ApiKey::OffsetForLeaderEpoch => vec![offset_for_leader_epoch_request(version)],
        ApiKey::DescribeCluster => vec![Request::DescribeCluster(message!(DescribeClusterRequest {
            include_cluster_authorized_operations: true,
            endpoint_type: 1,
        }))],
        ApiKey::Private => private_requests().into_iter().map(Request::Private).collect(),
    }
}

fn produce_response(version: i16) -> Response {
    let partition = message!(produce_response::PartitionProduceResponse {
        index: 1,
        error_code: ErrorCode::NotLeaderOrFollower.to_wire(),
        base_offset: 400,
        log_append_time_ms: 6,
        log_start_offset: if version >= 5 { 3 } else { -1 },
        error_message: (version >= 8).then(|| "moved".into()),
    });
    let topic = message!(produce_response::TopicProduceResponse {
        name: name_until(version, 12),
        topic_id: id_from(version, 13),
        partition_responses: vec![partition],
    });
    message!(ProduceResponse { responses: vec![topic], throttle_time_ms: 1 }).into()
}

pub(super) fn fetch_response(version: i16) -> FetchResponse {
    let partition = FetchedPartition {
        high_watermark: 10,
        last_stable_offset: 9,
        log_start_offset: if version >= 5 { 1 } else { -1 },
        records: vec![Bytes::from_static(b"first batch"), Bytes::from_static(b"second")],
        aborted_transactions: Some(vec![AbortedTransaction { producer_id: 4, first_offset: 2 }]),
        preferred_read_replica: (version >= 11).then_some(BrokerId(3)),
        ..FetchedPartition::empty(0)
    };
    let moved = FetchedPartition {
        current_leader: (version >= 12).then_some(LeaderAndEpoch { leader: BrokerId(2), epoch: LeaderEpoch(8) }),
        ..FetchedPartition::failed(1, ErrorCode::NotLeaderOrFollower)
    };
    let diverged = FetchedPartition {
        diverging_epoch: (version >= 12).then_some(EpochEnd { epoch: LeaderEpoch(1), end_offset: 77 }),
        records: vec![Bytes::from(vec![5; 300])],
        ..FetchedPartition::empty(2)
    };
    let endpoint = NodeEndpoint { broker: BrokerId(2), host: "host".into(), port: 9_092, rack: Some("rack".into()) };
    FetchResponse {
        throttle_time_ms: 3,
        error: None,
        session_id: if version >= 7 { 12 } else { 0 },
        topics: vec![FetchedTopic {
            name: name_until(version, 12),
            topic_id: id_from(version, 13),
            partitions: vec![partition, moved, diverged],
        }],
        node_endpoints: if version >= 16 { vec![endpoint] } else { vec![] },
    }
}

fn list_offsets_response(version: i16) -> Response {
    let partition = message!(list_offsets_response::ListOffsetsPartitionResponse {
        partition_index: 1,
        timestamp: 22,
        offset: 33,
        leader_epoch: if version >= 4 { 2 } else { -1 },
    });
    let topic =
        message!(list_offsets_response::ListOffsetsTopicResponse { name: "t".into(), partitions: vec![partition] });
    message!(ListOffsetsResponse { topics: vec![topic] }).into()
}

fn metadata_response(version: i16) -> Response {
    let broker = message!(metadata_response::MetadataResponseBroker { node_id: 1, host: "h".into(), port: 9_092 });
    let partition = message!(metadata_response::MetadataResponsePartition {
        leader_id: 1,
        leader_epoch: if version >= 7 { 4 } else { -1 },
        replica_nodes: vec![1, 2],
        isr_nodes: vec![1],
    });
    let topic = message!(metadata_response::MetadataResponseTopic {
        name: Some("t".into()),
        topic_id: id_from(version, 10),
        partitions: vec![partition],
    });
    message!(MetadataResponse {
        brokers: vec![broker],
        cluster_id: (version >= 2).then(|| "cluster".into()),
        controller_id: if version >= 1 { 1 } else { -1 },
        topics: vec![topic],
    })
    .into()
}

fn create_topics_response(version: i16) -> Response {
    let result = message!(create_topics_response::CreatableTopicResult {
        name: "t".into(),
        topic_id: id_from(version, 7),
        num_partitions: if version >= 5 { 3 } else { -1 },
        replication_factor: if version >= 5 { 2 } else { -1 },
        configs: Some(vec![]),
    });
    message!(CreateTopicsResponse { topics: vec![result] }).into()
}

fn find_coordinator_response(version: i16) -> Response {
    let error_code = ErrorCode::CoordinatorNotAvailable.to_wire();
    if version <= 3 {
        return message!(FindCoordinatorResponse { error_code, node_id: -1, port: -1 }).into();
    }
    let coordinator =
        message!(find_coordinator_response::Coordinator { key: "g".into(), node_id: -1, port: -1, error_code });
    message!(FindCoordinatorResponse { coordinators: vec![coordinator] }).into()
}

fn responses(api: ApiKey, version: i16) -> Vec<Response> {
    match api {
        ApiKey::Produce => vec![produce_response(version)],
        ApiKey::Fetch => vec![fetch_response(version).into(), FetchResponse::default().into()],
        ApiKey::ListOffsets => vec![list_offsets_response(version)],
        ApiKey::Metadata => vec![metadata_response(version)],
        ApiKey::FindCoordinator => vec![find_coordinator_response(version)],
        ApiKey::ApiVersions => vec![super::response::api_versions(ErrorCode::None).into()],
        ApiKey::CreateTopics => vec![create_topics_response(version)],
        ApiKey::DeleteTopics => {
            let result = message!(delete_topics_response::DeletableTopicResult {
                name: Some("t".into()),
                topic_id: id_from(version, 6),
                error_message: (version >= 5).then(|| "no".into()),
            });
            vec![message!(DeleteTopicsResponse { responses: vec![result] }).into()]
        }
        ApiKey::InitProducerId => vec![message!(InitProducerIdResponse { producer_id: 4, producer_epoch: 1 }).into()],
        ApiKey::OffsetForLeaderEpoch => {
            let end = message!(offset_for_leader_epoch_response::EpochEndOffset { leader_epoch: 3, end_offset: 70 });
            let topic = message!(offset_for_leader_epoch_response::OffsetForLeaderTopicResult {
                topic: "t".into(),
                partitions: vec![end],
            });
            vec![message!(OffsetForLeaderEpochResponse { topics: vec![topic] }).into()]
        }
        ApiKey::DescribeCluster => {
            let broker =
                message!(describe_cluster_response::DescribeClusterBroker { broker_id: 1, host: "h".into(), port: 1 });
            vec![
                message!(DescribeClusterResponse { cluster_id: "c".into(), controller_id: 1, brokers: vec![broker] })
                    .into(),
            ]
        }
        ApiKey::Private => private_responses().into_iter().map(Response::Private).collect(),
    }
}

fn all_apis() -> impl Iterator<Item = ApiKey> {
    ApiKey::ADVERTISED.iter().copied().chain([ApiKey::Private])
}

/// Every sample request as a frame without its length prefix.
pub(super) fn request_frames() -> Vec<(ApiKey, i16, Request, Bytes)> {
    let mut frames = Vec::new();
    for api in all_apis() {
        for version in versions(api) {
            for request in requests(api, version) {
                let frame = client::encode_request(17, version, Some(&"tests".into()), &request)
                    .unwrap_or_else(|error| panic!("{error}"))
                    .into_bytes();
                assert_eq!(frame.len() - 4, u32::from_be_bytes(frame[..4].try_into().expect("4")) as usize);
                frames.push((api, version, request, frame.slice(4..)));
            }
        }
    }
    frames
}

/// Every sample response as a frame without its length prefix.
pub(super) fn response_frames() -> Vec<(ApiKey, i16, Response, Bytes)> {
    let mut frames = Vec::new();
    for api in all_apis() {
        for version in versions(api) {
            for response in responses(api, version) {
                let frame = encode(17, version, &response).unwrap_or_else(|error| panic!("{error}")).into_bytes();
                assert_eq!(frame.len() - 4, u32::from_be_bytes(frame[..4].try_into().expect("4")) as usize);
                frames.push((api, version, response, frame.slice(4..)));
            }
        }
    }
    frames
}

/// A decoded Fetch response has each partition's records in one piece.
fn in_one_piece(response: Response) -> Response {
    let Response::Fetch(mut fetch) = response else { return response };
    for partition in fetch.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if !partition.records.is_empty() {
            partition.records = vec![Bytes::from(partition.records.concat())];
        }
    }
    Response::Fetch(fetch)
}

#[test]
fn every_request_in_every_served_version_comes_back_as_it_was() {
    let frames = request_frames();
    assert!(frames.len() >= 79, "{} samples", frames.len());
    for (api, version, request, frame) in frames {
        let (header, decoded) = decode(frame).unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        assert_eq!((header.api, header.version, header.correlation_id), (api, version, 17));
        assert_eq!(header.client_id.as_deref(), Some("tests"));
        assert_eq!(decoded, request, "{api:?} {version}");
    }
}

#[test]
fn every_response_in_every_served_version_comes_back_as_it_was() {
    for (api, version, response, frame) in response_frames() {
        assert_eq!(client::correlation_id(&frame), Ok(17));
        let (correlation_id, decoded) =
            client::decode_response(api, version, frame).unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        assert_eq!((correlation_id, decoded), (17, in_one_piece(response)), "{api:?} {version}");
    }
}

#[test]
fn a_fetch_response_is_encoded_as_the_generated_encoder_would_without_copying_records() {
    for version in versions(ApiKey::Fetch) {
        let response = fetch_response(version);
        let frame = encode(17, version, &response.clone().into()).expect("encodes");
        let sent: Vec<_> = frame.parts().map(|part| part.as_ptr()).collect();
        for records in response.topics.iter().flat_map(|topic| &topic.partitions).flat_map(|one| &one.records) {
            assert!(sent.contains(&records.as_ptr()), "version {version} copied records");
        }
        let header_bytes = 4 + 4 + usize::from(version >= 12);
        let mut generated = BytesMut::new();
        codec_response(response).encode_into(&mut generated, ApiVersion::new(version)).expect("encodes");
        assert_eq!(frame.into_bytes().slice(header_bytes..), generated.freeze(), "version {version}");
    }
}

fn codec_response(response: FetchResponse) -> kafka_wire::FetchResponse {
    use kafka_wire::fetch_response as codec;
    let partition = |one: FetchedPartition| {
        let mut to = message!(codec::PartitionData {
            partition_index: one.index,
            error_code: one.error.unwrap_or(ErrorCode::None).to_wire(),
            high_watermark: one.high_watermark,
            last_stable_offset: one.last_stable_offset,
            log_start_offset: one.log_start_offset,
            preferred_read_replica: one.preferred_read_replica.map_or(-1, |broker| broker.0),
            records: Some(Bytes::from(one.records.concat())),
        });
        to.aborted_transactions = one.aborted_transactions.map(|aborted| {
            let convert = |one: AbortedTransaction| {
                message!(codec::AbortedTransaction { producer_id: one.producer_id, first_offset: one.first_offset })
            };
            aborted.into_iter().map(convert).collect()
        });
        if let Some(end) = one.diverging_epoch {
            to.diverging_epoch = message!(codec::EpochEndOffset { epoch: end.epoch.0, end_offset: end.end_offset });
        }
        if let Some(leader) = one.current_leader {
            to.current_leader =
                message!(codec::LeaderIdAndEpoch { leader_id: leader.leader.0, leader_epoch: leader.epoch.0 });
        }
        to
    };
    let topic = |one: FetchedTopic| {
        message!(codec::FetchableTopicResponse {
            topic: one.name,
            topic_id: one.topic_id,
            partitions: one.partitions.into_iter().map(partition).collect(),
        })
    };
    let endpoint = |one: NodeEndpoint| {
        message!(codec::NodeEndpoint { node_id: one.broker.0, host: one.host, port: one.port, rack: one.rack })
    };
    message!(kafka_wire::FetchResponse {
        throttle_time_ms: response.throttle_time_ms,
        session_id: response.session_id,
        responses: response.topics.into_iter().map(topic).collect(),
        node_endpoints: response.node_endpoints.into_iter().map(endpoint).collect(),
    })
}
