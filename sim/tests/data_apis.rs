//! Every version of every API of the data plane that is advertised: one request that succeeds and
//! one that fails, at a whole broker, and the fields of both answers. Those of the cluster plane
//! are in `broker_cluster_plane`.

#![recursion_limit = "256"]

mod live;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use live::{Live, Wire};
use wyrdlog::message;
use wyrdlog::wire::kafka::api::Versions;
use wyrdlog::wire::kafka::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};
use wyrdlog::wire::kafka::client::{correlation_id, encode_request};
use wyrdlog::wire::kafka::fetch::FetchedPartition;
use wyrdlog::wire::kafka::messages::*;
use wyrdlog::wire::kafka::{ApiKey, ErrorCode, Request, Response};

const TOPIC: &str = "t";
/// Where every version of these is tested.
const OF_THE_CLUSTER_PLANE: [ApiKey; 5] =
    [ApiKey::Metadata, ApiKey::FindCoordinator, ApiKey::CreateTopics, ApiKey::DeleteTopics, ApiKey::DescribeCluster];
/// Where they are tested here.
const HERE: [ApiKey; 6] = [
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::ApiVersions,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
];

#[test]
fn every_advertised_api_is_tested_version_by_version_somewhere() {
    let tested: BTreeSet<ApiKey> = OF_THE_CLUSTER_PLANE.into_iter().chain(HERE).collect();
    assert_eq!(tested, ApiKey::ADVERTISED.iter().copied().collect());
}

/// Runs `test` on every version that the broker itself says it speaks.
fn for_every_version<F: Future<Output = ()> + Send + 'static>(
    api: ApiKey,
    test: impl Fn(Wire, i16, Uuid) -> F + Send + Sync + 'static,
) {
    let tested = Live::new(1).client(Duration::from_secs(600), move |runtime| async move {
        let mut wire = Wire::open(runtime).await;
        let id = wire.create_topic(runtime, TOPIC).await;
        let Response::ApiVersions(spoken) = wire.ask(4, software("test", "1")).await else { panic!() };
        let range = spoken.api_keys.iter().find(|one| one.api_key == api.to_wire()).expect("it is advertised");
        let Versions { min, max } = api.served();
        assert_eq!(range.max_version, max);
        for version in min..=max {
            test(Wire::open(runtime).await, version, id).await;
        }
        max - min + 1
    });
    assert!(tested > 0);
}

fn software(name: &'static str, version: &'static str) -> Request {
    Request::ApiVersions(message!(ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: version.into(),
    }))
}

/// A name where a version has names, an id where it has ids.
fn named(version: i16, ids_from: i16, id: Uuid) -> (StrBytes, Uuid) {
    if version < ids_from { (TOPIC.into(), Uuid::ZERO) } else { (StrBytes::default(), id) }
}

fn batch() -> Bytes {
    let mut batch = RecordBatchBuilder::new();
    let value = Some(Bytes::from_static(b"value"));
    batch.push(NewRecord { key: None, value, headers: Vec::new(), timestamp_ms: 1_000 });
    batch.build(ProducerStamp::NONE).expect("a record fits")
}

fn produce(version: i16, id: Uuid, records: Bytes) -> Request {
    let (name, topic_id) = named(version, 13, id);
    let partition = message!(produce_request::PartitionProduceData { index: 0, records: Some(records) });
    let topic = message!(produce_request::TopicProduceData { name, topic_id, partition_data: vec![partition] });
    Request::Produce(message!(ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data: vec![topic] }))
}

async fn produced(wire: &mut Wire, version: i16, id: Uuid, records: Bytes) -> (i16, i64, i64) {
    let Response::Produce(answer) = wire.ask(version, produce(version, id, records)).await else { panic!() };
    let topic = &answer.responses[0];
    assert_eq!((topic.name.clone(), topic.topic_id), named(version, 13, id));
    let partition = &topic.partition_responses[0];
    assert_eq!((partition.index, partition.log_append_time_ms), (0, -1), "the client's time is kept");
    (partition.error_code, partition.base_offset, partition.log_start_offset)
}

#[test]
fn every_version_of_produce_appends_a_batch_and_refuses_a_damaged_one() {
    for_every_version(ApiKey::Produce, |mut wire, version, id| async move {
        let (error, first, log_start) = produced(&mut wire, version, id, batch()).await;
        assert_eq!((error, log_start), (0, if version >= 5 { 0 } else { -1 }), "version {version}");
        let (_, second, _) = produced(&mut wire, version, id, batch()).await;
        assert_eq!(second, first + 1, "version {version}");
        let mut damaged = batch().to_vec();
        *damaged.last_mut().expect("it has bytes") ^= 1;
        let (error, offset, _) = produced(&mut wire, version, id, damaged.into()).await;
        assert_eq!((error, offset), (ErrorCode::CorruptMessage.to_wire(), -1), "version {version}");
    });
}

/// librdkafka wants Produce 0 to be advertised; who really sends it is told that it is not spoken.
#[test]
fn what_is_advertised_of_produce_but_not_served_ends_the_connection() {
    let Versions { min, .. } = ApiKey::Produce.advertised();
    let served = ApiKey::Produce.served().min;
    assert_eq!((min, served), (0, 3));
    Live::new(1).client(Duration::from_secs(60), move |runtime| async move {
        for version in min..served {
            let mut wire = Wire::open(runtime).await;
            wire.create_topic(runtime, TOPIC).await;
            // Key, version, correlation id, no client id; acks, time-out, no topics.
            let mut frame = vec![0, 0, 0, 20, 0, 0, 0, version as u8, 0, 0, 0, 7, 0xff, 0xff];
            frame.extend([0xff, 0xff, 0, 0, 3, 0xe8, 0, 0, 0, 0]);
            assert!(wire.write(&frame).await);
            assert_eq!(wire.read().await, None, "version {version}");
        }
    });
}

async fn fetched(wire: &mut Wire, version: i16, id: Uuid, fetch_offset: i64) -> FetchedPartition {
    let (topic, topic_id) = named(version, 13, id);
    let partition = message!(fetch_request::FetchPartition {
        partition: 0,
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
    });
    let topic = message!(fetch_request::FetchTopic { topic, topic_id, partitions: vec![partition] });
    let request = message!(FetchRequest {
        replica_id: -1,
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![topic],
    });
    let Response::Fetch(answer) = wire.ask(version, Request::Fetch(request)).await else { panic!() };
    assert_eq!((answer.error.unwrap_or(ErrorCode::None), answer.session_id), (ErrorCode::None, 0));
    assert_eq!((answer.topics[0].name.clone(), answer.topics[0].topic_id), named(version, 13, id));
    answer.topics[0].partitions[0].clone()
}

#[test]
fn every_version_of_fetch_reads_what_was_written_and_refuses_an_offset_out_of_range() {
    for_every_version(ApiKey::Fetch, |mut wire, version, id| async move {
        let (_, offset, _) = produced(&mut wire, 9, id, batch()).await;
        let read = fetched(&mut wire, version, id, offset).await;
        assert_eq!((read.index, read.error.unwrap_or(ErrorCode::None)), (0, ErrorCode::None), "version {version}");
        assert_eq!((read.high_watermark, read.last_stable_offset), (offset + 1, offset + 1), "version {version}");
        assert_eq!(read.log_start_offset, if version >= 5 { 0 } else { -1 }, "version {version}");
        let bytes = read.records.concat();
        assert_eq!(bytes[..8], offset.to_be_bytes(), "version {version}");
        assert_eq!(bytes[16..], batch()[16..], "version {version}: byte for byte");
        let beyond = fetched(&mut wire, version, id, offset + 99).await;
        assert_eq!(beyond.error, Some(ErrorCode::OffsetOutOfRange), "version {version}");
        assert!(beyond.records.concat().is_empty(), "version {version}");
    });
}

/// Where topics go by their ids, one of zeros is nobody's: it was looked up by an empty name (`swarm` seed 0).
#[test]
fn an_id_of_zeros_is_an_unknown_topic() {
    for_every_version(ApiKey::Fetch, |mut wire, version, _| async move {
        if version >= 13 {
            let unknown = ErrorCode::UnknownTopicId;
            let (error, ..) = produced(&mut wire, 13, Uuid::ZERO, batch()).await;
            let fetched = fetched(&mut wire, version, Uuid::ZERO, 0).await;
            assert_eq!((error, fetched.error), (unknown.to_wire(), Some(unknown)), "version {version}");
        }
    });
}

/// Of requests that stand before one which ends the connection, the answers were lost (`swarm` seed 3).
#[test]
fn what_was_asked_before_a_frame_that_ends_the_connection_is_answered_first() {
    Live::new(1).client(Duration::from_secs(60), |runtime| async move {
        for last in [&[0xff, 0xff, 0xff, 0xff][..], &[0, 0, 0, 2, 0, 3], &[0, 0, 0, 8, 0x7f, 0, 0, 0, 0, 0, 0, 9]] {
            let mut wire = Wire::open(runtime).await;
            wire.create_topic(runtime, TOPIC).await;
            let ids = message!(InitProducerIdRequest { transactional_id: None, producer_id: -1, producer_epoch: -1 });
            let asked = [(7, Request::InitProducerId(ids)), (8, software("test", "1"))];
            let frames =
                asked.map(|(id, request)| encode_request(id, 0, None, &request).expect("encodes").into_bytes());
            assert!(wire.write(&[&frames[0][..], &frames[1], last].concat()).await);
            for id in [7, 8] {
                let frame = wire.read().await.expect("an answer");
                assert_eq!(correlation_id(&frame).expect("it has one"), id);
            }
            assert_eq!(wire.read().await, None);
        }
    });
}

async fn listed(wire: &mut Wire, version: i16, topic: &'static str, timestamp: i64) -> (i16, i64, i64, i32) {
    let partition = message!(list_offsets_request::ListOffsetsPartition {
        partition_index: 0,
        current_leader_epoch: -1,
        timestamp,
    });
    let topic = message!(list_offsets_request::ListOffsetsTopic { name: topic.into(), partitions: vec![partition] });
    let request = message!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] });
    let Response::ListOffsets(answer) = wire.ask(version, Request::ListOffsets(request)).await else { panic!() };
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.timestamp, partition.offset, partition.leader_epoch)
}

#[test]
fn every_version_of_list_offsets_finds_the_ends_and_a_time_and_no_unknown_topic() {
    for_every_version(ApiKey::ListOffsets, |mut wire, version, id| async move {
        let (_, offset, _) = produced(&mut wire, 9, id, batch()).await;
        let epoch = if version >= 4 { 0 } else { -1 };
        assert_eq!(listed(&mut wire, version, TOPIC, -1).await, (0, -1, offset + 1, epoch), "version {version}");
        assert_eq!(listed(&mut wire, version, TOPIC, -2).await, (0, -1, 0, epoch), "version {version}");
        assert_eq!(listed(&mut wire, version, TOPIC, 1_000).await, (0, 1_000, 0, epoch), "version {version}");
        let unknown = ErrorCode::UnknownTopicOrPartition.to_wire();
        assert_eq!(listed(&mut wire, version, "u", -1).await, (unknown, -1, -1, -1), "version {version}");
    });
}

async fn epoch_end(wire: &mut Wire, version: i16, current_leader_epoch: i32, leader_epoch: i32) -> (i16, i32, i64) {
    let partition = message!(offset_for_leader_epoch_request::OffsetForLeaderPartition {
        partition: 0,
        current_leader_epoch,
        leader_epoch,
    });
    let topic = message!(offset_for_leader_epoch_request::OffsetForLeaderTopic {
        topic: TOPIC.into(),
        partitions: vec![partition],
    });
    let replica_id = if version >= 3 { -1 } else { -2 };
    let request = message!(OffsetForLeaderEpochRequest { replica_id, topics: vec![topic] });
    let asked = wire.ask(version, Request::OffsetForLeaderEpoch(request)).await;
    let Response::OffsetForLeaderEpoch(answer) = asked else { panic!() };
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((&*answer.topics[0].topic, partition.partition), (TOPIC, 0));
    (partition.error_code, partition.leader_epoch, partition.end_offset)
}

#[test]
fn every_version_of_offset_for_leader_epoch_tells_an_end_and_fences_an_unknown_epoch() {
    for_every_version(ApiKey::OffsetForLeaderEpoch, |mut wire, version, id| async move {
        let (_, offset, _) = produced(&mut wire, 9, id, batch()).await;
        assert_eq!(epoch_end(&mut wire, version, 0, 0).await, (0, 0, offset + 1), "version {version}");
        let unknown = ErrorCode::UnknownLeaderEpoch.to_wire();
        assert_eq!(epoch_end(&mut wire, version, 9, 0).await, (unknown, -1, -1), "version {version}");
        // Kafka's word for an epoch that is yet to come. It was answered with the end of the last one (`swarm` seed 13).
        assert_eq!(epoch_end(&mut wire, version, 0, 9).await, (0, -1, -1), "version {version}");
    });
}

#[test]
fn every_version_of_init_producer_id_gives_a_new_id_and_refuses_transactions() {
    for_every_version(ApiKey::InitProducerId, |mut wire, version, _| async move {
        let mut ids = BTreeSet::new();
        for _ in 0..2 {
            let request = message!(InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: 1_000,
                producer_id: -1,
                producer_epoch: -1
            });
            let asked = wire.ask(version, Request::InitProducerId(request)).await;
            let Response::InitProducerId(answer) = asked else { panic!() };
            assert_eq!((answer.error_code, answer.producer_epoch), (0, 0), "version {version}");
            assert!(answer.producer_id >= 0 && ids.insert(answer.producer_id), "version {version}");
        }
        let request = message!(InitProducerIdRequest {
            transactional_id: Some("transaction".into()),
            transaction_timeout_ms: 1_000,
            producer_id: -1,
            producer_epoch: -1,
        });
        let Response::InitProducerId(answer) = wire.ask(version, Request::InitProducerId(request)).await else {
            panic!()
        };
        assert_eq!(answer.error_code, ErrorCode::InvalidRequest.to_wire(), "version {version}");
        assert_eq!((answer.producer_id, answer.producer_epoch), (-1, -1), "version {version}");
    });
}

#[test]
fn every_version_of_api_versions_lists_what_is_spoken_and_a_version_to_come_gets_version_0() {
    for_every_version(ApiKey::ApiVersions, |mut wire, version, _| async move {
        let Response::ApiVersions(answer) = wire.ask(version, software("test", "1")).await else { panic!() };
        assert_eq!((answer.error_code, answer.throttle_time_ms), (0, 0), "version {version}");
        let told: Vec<(i16, i16, i16)> =
            answer.api_keys.iter().map(|one| (one.api_key, one.min_version, one.max_version)).collect();
        let spoken = ApiKey::ADVERTISED.iter().map(|api| {
            let Versions { min, max } = api.advertised();
            (api.to_wire(), min, max)
        });
        assert_eq!(told, spoken.collect::<Vec<_>>(), "version {version}");
        // Key, a version to come, correlation id, no client id, no tagged fields.
        assert!(wire.write(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 42, 0xff, 0xff, 0]).await);
        let refusal = wire.read().await.expect("an answer");
        let unsupported = ErrorCode::UnsupportedVersion.to_wire().to_be_bytes();
        assert_eq!((&refusal[..4], &refusal[4..6]), (&[0, 0, 0, 42][..], &unsupported[..]), "in the form of version 0");
    });
}
