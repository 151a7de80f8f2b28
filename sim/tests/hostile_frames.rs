//! Mutated frames of every supported API and version, at a live broker and a live coordinator whose
//! allocation is metered: each connection gets the protocol's error or is closed, the nodes live,
//! memory stays within a budget, and valid requests are answered all the while.

#![recursion_limit = "256"]

mod live;
#[path = "live/mutation.rs"]
mod mutation;

use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use live::{Live, Wire, coordinator_address};
use mutation::hostile;
use peak_alloc::PeakAlloc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wyrdlog::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, SessionId, TopicId, Zxid};
use wyrdlog::base::partition_state::InSyncReplica;
use wyrdlog::base::znode::{Acl, ErrorCode};
use wyrdlog::message;
use wyrdlog::runtime::{Clock, Network, Stream, timeout};
use wyrdlog::wire::kafka::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};
use wyrdlog::wire::kafka::client::encode_request;
use wyrdlog::wire::kafka::messages::*;
use wyrdlog::wire::kafka::{ApiKey, Request, Response};
use wyrdlog::wire::private::{AlterPartition, ControlledShutdown, PrivateRequest, ProposedPartition};
use wyrdlog::wire::zookeeper::{
    AuthPacket, ConnectRequest, CreateRequest, MultiOp, ReplyHeader, Request as Operation, SetWatches, Xid, put_frame,
    take_frame,
};
use wyrdlog_sim::draw::Draw;
use wyrdlog_sim::engine::SimRuntime;

#[global_allocator]
static METER: PeakAlloc = PeakAlloc;
/// The meter is of the whole process: one test at a time.
static METERED: Mutex<()> = Mutex::new(());

/// The topic that hostile frames name. Two of them spliced may well delete it.
const TOPIC: &str = "t";
/// The topic of valid requests.
const VALID: &str = "valid";
/// For each protocol.
const FRAMES: usize = 100_000;
/// Frames of one connection.
const FRAMES_PER_CONNECTION: usize = 10;
/// After so many frames a valid request must be answered.
const FRAMES_PER_CHECK: usize = 1_000;
/// How long a connection is listened to before it is dropped.
const PATIENCE: Duration = Duration::from_millis(40);
/// The most bytes of one frame here, with room to spare: what is buffered, decoded and answered for
/// all frames of a connection is a small multiple of it.
const FRAME_BYTES: usize = 4 * 1024;
/// What the bombardment may take at its peak, and leave behind in logs, trees and sessions.
const PEAK_BYTES_MAX: usize = 256 * FRAMES_PER_CONNECTION * FRAME_BYTES;
const LEFT_BYTES_MAX: usize = 100 * FRAMES;

/// Every request in every version that is served, without lengths.
fn kafka_frames() -> Vec<Bytes> {
    let private = [
        PrivateRequest::AlterPartition(AlterPartition {
            broker: BrokerId(2),
            broker_epoch: BrokerEpoch(77),
            partitions: vec![ProposedPartition {
                topic: TopicId([3; 16]),
                partition: 0,
                leader_epoch: LeaderEpoch(6),
                partition_epoch: 8,
                min_in_sync: 2,
                in_sync: vec![InSyncReplica { broker: BrokerId(2), broker_epoch: BrokerEpoch(77) }],
            }],
        }),
        PrivateRequest::ControlledShutdown(ControlledShutdown { broker: BrokerId(2), broker_epoch: BrokerEpoch(7) }),
    ];
    let mut frames: Vec<Bytes> = private.into_iter().map(|request| frame(0, &Request::Private(request))).collect();
    for api in ApiKey::ADVERTISED {
        let served = api.served();
        frames.extend((served.min..=served.max).map(|version| frame(version, &kafka_request(*api, version, TOPIC))));
    }
    frames
}

fn frame(version: i16, request: &Request) -> Bytes {
    let whole = encode_request(1, version, Some(&"hostile".into()), request).expect("it can be encoded").into_bytes();
    whole.slice(4..)
}

fn kafka_request(api: ApiKey, version: i16, topic: &'static str) -> Request {
    // From these versions on, topics are named by an id, which nobody has here.
    let (name, topic_id) = if version < 13 { (topic.into(), Uuid::ZERO) } else { (StrBytes::default(), Uuid::ZERO) };
    match api {
        ApiKey::Produce => {
            let partition = message!(produce_request::PartitionProduceData { index: 0, records: Some(batch()) });
            let topic = message!(produce_request::TopicProduceData { name, topic_id, partition_data: vec![partition] });
            Request::Produce(message!(ProduceRequest { acks: -1, timeout_ms: 100, topic_data: vec![topic] }))
        }
        ApiKey::Fetch => {
            let partition = message!(fetch_request::FetchPartition {
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                partition_max_bytes: 1_000,
            });
            let topic = message!(fetch_request::FetchTopic { topic: name, topic_id, partitions: vec![partition; 2] });
            Request::Fetch(message!(FetchRequest {
                replica_id: -1,
                max_wait_ms: 5,
                max_bytes: 4_000,
                topics: vec![topic]
            }))
        }
        ApiKey::ListOffsets => {
            let partition = message!(list_offsets_request::ListOffsetsPartition { timestamp: -1 });
            let topic =
                message!(list_offsets_request::ListOffsetsTopic { name: topic.into(), partitions: vec![partition; 3] });
            Request::ListOffsets(message!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] }))
        }
        ApiKey::Metadata => {
            let topic = message!(metadata_request::MetadataRequestTopic { name: Some(topic.into()) });
            Request::Metadata(message!(MetadataRequest { topics: Some(vec![topic; 3]) }))
        }
        ApiKey::FindCoordinator => Request::FindCoordinator(if version < 4 {
            message!(FindCoordinatorRequest { key: "group".into() })
        } else {
            message!(FindCoordinatorRequest { coordinator_keys: vec!["group".into(), "other".into()] })
        }),
        ApiKey::ApiVersions => Request::ApiVersions(message!(ApiVersionsRequest {
            client_software_name: "hostile".into(),
            client_software_version: "1".into(),
        })),
        // More replicas than there are brokers, so that no mutation makes a topic of it.
        ApiKey::CreateTopics => {
            let topic = message!(create_topics_request::CreatableTopic {
                name: "other".into(),
                num_partitions: 1,
                replication_factor: 3,
                configs: vec![message!(create_topics_request::CreatableTopicConfig { name: "retention.bytes".into() })],
            });
            Request::CreateTopics(message!(CreateTopicsRequest { topics: vec![topic; 2], timeout_ms: 100 }))
        }
        ApiKey::DeleteTopics => Request::DeleteTopics(if version < 6 {
            message!(DeleteTopicsRequest { topic_names: vec!["nobodys".into()], timeout_ms: 100 })
        } else {
            let topic = message!(delete_topics_request::DeleteTopicState { name: Some("nobodys".into()) });
            message!(DeleteTopicsRequest { topics: vec![topic], timeout_ms: 100 })
        }),
        ApiKey::InitProducerId => Request::InitProducerId(message!(InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
        })),
        ApiKey::OffsetForLeaderEpoch => {
            let partition = message!(offset_for_leader_epoch_request::OffsetForLeaderPartition {});
            let topic = message!(offset_for_leader_epoch_request::OffsetForLeaderTopic {
                topic: topic.into(),
                partitions: vec![partition; 3],
            });
            Request::OffsetForLeaderEpoch(message!(OffsetForLeaderEpochRequest { topics: vec![topic] }))
        }
        ApiKey::DescribeCluster => Request::DescribeCluster(message!(DescribeClusterRequest {})),
        ApiKey::Private => unreachable!("it is not advertised"),
    }
}

fn batch() -> Bytes {
    let mut batch = RecordBatchBuilder::new();
    let value = Some(Bytes::from_static(b"value"));
    batch.push(NewRecord { key: None, value, headers: Vec::new(), timestamp_ms: 1_000 });
    batch.build(ProducerStamp::NONE).expect("a record fits")
}

/// What became of hostile frames.
#[derive(Clone, Copy, Debug, Default)]
struct Fates {
    answered: usize,
    /// The connection was closed.
    closed: usize,
    /// Nothing came in time: a request that waits, or a frame that is not all there.
    silent: usize,
}

impl Fates {
    fn sent(&self) -> usize {
        self.answered + self.closed + self.silent
    }
}

/// Sends hostile frames one after the other, each when the one before has met its fate, until the
/// connection is of no use any more.
async fn bombard<S: Stream>(
    runtime: SimRuntime,
    stream: S,
    hello: &[u8],
    samples: &[Bytes],
    draw: &mut Draw,
    fates: &mut Fates,
) {
    let (mut reader, mut writer) = stream.split();
    let mut heard = BytesMut::new();
    if !hello.is_empty() {
        writer.write_all(hello).await.expect("it takes a valid greeting");
        reader.read_buf(&mut heard).await.expect("it answers one");
    }
    for _ in 0..FRAMES_PER_CONNECTION {
        let (Some(one), Some(other)) = (draw.pick(samples), draw.pick(samples)) else { return };
        heard.clear();
        let sent = writer.write_all(&hostile(one, other, draw)).await.is_ok();
        match timeout(&runtime, PATIENCE, reader.read_buf(&mut heard)).await {
            Ok(Ok(1..)) if sent => fates.answered += 1,
            Err(_) => {
                fates.silent += 1;
                return;
            }
            _ => {
                fates.closed += 1;
                return;
            }
        }
    }
}

/// The whole metered bombardment. `check` is made now and then, and at the end.
fn metered(
    mut live: Live,
    name: &str,
    mut attack: impl FnMut(&mut Live, u64) -> Fates,
    mut check: impl FnMut(&mut Live),
) {
    check(&mut live);
    let before = METER.current_usage();
    METER.reset_peak_usage();
    let (mut total, mut wave) = (Fates::default(), 0);
    while total.sent() < FRAMES {
        wave += 1;
        let Fates { answered, closed, silent } = attack(&mut live, wave);
        total.answered += answered;
        total.closed += closed;
        total.silent += silent;
        check(&mut live);
    }
    let (peak, after) = (METER.peak_usage().saturating_sub(before), METER.current_usage().saturating_sub(before));
    println!("{name}: {total:?}; {peak} bytes more at the peak, {after} more at the end");
    assert!(total.answered > FRAMES / 10 && total.closed > FRAMES / 10, "{total:?}");
    assert!(peak <= PEAK_BYTES_MAX + LEFT_BYTES_MAX, "{peak} bytes at the peak");
    assert!(after <= LEFT_BYTES_MAX, "{after} bytes are left behind");
}

#[test]
fn a_broker_answers_valid_requests_amid_a_hundred_thousand_hostile_frames_within_its_memory() {
    let _alone = METERED.lock();
    let mut live = Live::new(1);
    live.client(Duration::from_secs(60), |runtime| async move {
        Wire::open(runtime).await.create_topic(runtime, VALID).await;
    });
    let attack = |live: &mut Live, wave| {
        live.client(Duration::from_secs(600), move |runtime| async move {
            Wire::open(runtime).await.create_topic(runtime, TOPIC).await;
            let (samples, mut draw) = (kafka_frames(), Draw::new(wave, "hostile"));
            let mut fates = Fates::default();
            while fates.sent() < FRAMES_PER_CHECK {
                let stream = runtime.connect(&live::broker_address()).await.expect("the broker accepts");
                bombard(runtime, stream, &[], &samples, &mut draw, &mut fates).await;
            }
            fates
        })
    };
    let check = |live: &mut Live| {
        live.client(Duration::from_secs(60), |runtime| async move {
            let mut wire = Wire::open(runtime).await;
            let Response::Produce(written) = wire.ask(9, kafka_request(ApiKey::Produce, 9, VALID)).await else {
                panic!()
            };
            let written = &written.responses[0].partition_responses[0];
            assert_eq!(written.error_code, 0);
            let Response::Fetch(read) = wire.ask(9, kafka_request(ApiKey::Fetch, 9, VALID)).await else { panic!() };
            assert!(read.topics[0].partitions[0].high_watermark > written.base_offset);
        });
    };
    metered(live, "broker", attack, check);
}

fn operations() -> Vec<Operation> {
    let path: std::sync::Arc<str> = "/hostile".into();
    let data = Some(Bytes::from_static(b"data"));
    let acl: Vec<Acl> = Acl::open();
    let create = |flags| CreateRequest { path: path.clone(), data: data.clone(), acl: acl.clone(), flags };
    let version = -1;
    vec![
        Operation::Create(create(1)),
        Operation::Create2(create(3)),
        Operation::Delete { path: path.clone(), version },
        Operation::Exists { path: path.clone(), watch: true },
        Operation::GetData { path: path.clone(), watch: true },
        Operation::SetData { path: path.clone(), data: data.clone(), version },
        Operation::GetAcl { path: path.clone() },
        Operation::SetAcl { path: path.clone(), acl: acl.clone(), version },
        Operation::GetChildren { path: "/".into(), watch: true },
        Operation::GetChildren2 { path: "/".into(), watch: false },
        Operation::Sync { path: path.clone() },
        Operation::Ping,
        Operation::Check { path: path.clone(), version },
        Operation::Multi(vec![
            MultiOp::Create(create(1)),
            MultiOp::SetData { path: path.clone(), data, version },
            MultiOp::Check { path: path.clone(), version },
            MultiOp::Delete { path: path.clone(), version },
        ]),
        Operation::Auth(AuthPacket { kind: 0, scheme: "digest".into(), auth: Some(Bytes::from_static(b"a:b")) }),
        Operation::SetWatches(SetWatches {
            relative_zxid: Zxid(1),
            data: vec![path.clone()],
            exist: vec![path.clone()],
            children: vec![path],
        }),
        Operation::CloseSession,
    ]
}

fn hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    let connect = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0),
        timeout_ms: 4_000,
        session: SessionId(0),
        password: Bytes::from_static(&[0; 16]),
        read_only: Some(false),
    };
    put_frame(&mut bytes, |out| connect.put(out));
    bytes
}

fn coordinator_frames() -> Vec<Bytes> {
    let encode = |operation: &Operation| {
        let mut bytes = Vec::new();
        operation.put(Xid(1), &mut bytes);
        Bytes::from(bytes)
    };
    operations().iter().map(encode).collect()
}

/// Makes a node and reads it back in a session of its own.
async fn create_and_read(runtime: SimRuntime) {
    let stream = runtime.connect(&coordinator_address()).await.expect("the coordinator accepts");
    let (mut reader, mut writer) = stream.split();
    writer.write_all(&hello()).await.expect("it takes a greeting");
    let (mut received, mut replies) = (BytesMut::new(), Vec::new());
    assert!(matches!(reader.read_buf(&mut received).await, Ok(1..)), "no session");
    let mut out = Vec::new();
    let create =
        CreateRequest { path: "/valid".into(), data: Some(Bytes::from_static(b"v")), acl: Acl::open(), flags: 0 };
    put_frame(&mut out, |out| Operation::Create(create).put(Xid(1), out));
    put_frame(&mut out, |out| Operation::GetData { path: "/valid".into(), watch: false }.put(Xid(2), out));
    put_frame(&mut out, |out| Operation::Delete { path: "/valid".into(), version: -1 }.put(Xid(3), out));
    put_frame(&mut out, |out| Operation::CloseSession.put(Xid(4), out));
    writer.write_all(&out).await.expect("it takes valid requests");
    while replies.len() < 5 {
        while let Some(frame) = take_frame(&mut received, 1 << 20).expect("it keeps to the protocol") {
            replies.push(frame);
        }
        if replies.len() < 5 {
            assert!(matches!(reader.read_buf(&mut received).await, Ok(1..)), "{} replies", replies.len());
        }
    }
    for (mut reply, xid) in replies.into_iter().skip(1).zip(1..) {
        let header = ReplyHeader::take(&mut reply).expect("a header");
        assert_eq!((header.xid, header.error), (Xid(xid), ErrorCode::Ok));
    }
    runtime.sleep(Duration::from_millis(1)).await;
}

#[test]
fn a_coordinator_answers_valid_requests_amid_a_hundred_thousand_hostile_frames_within_its_memory() {
    let _alone = METERED.lock();
    let mut live = Live::new(2);
    live.client(Duration::from_secs(60), |runtime| async move {
        Wire::open(runtime).await.create_topic(runtime, VALID).await;
    });
    let attack = |live: &mut Live, wave| {
        live.client(Duration::from_secs(600), move |runtime| async move {
            let (hello, mut draw) = (hello(), Draw::new(wave, "hostile"));
            let (mut operations, mut fates) = (coordinator_frames(), Fates::default());
            while fates.sent() < FRAMES_PER_CHECK {
                let stream = runtime.connect(&coordinator_address()).await.expect("the coordinator accepts");
                // Every tenth connection begins with a hostile word already.
                let greets = draw.below(10) > 0;
                operations.truncate(17);
                operations.extend((!greets).then(|| Bytes::copy_from_slice(&hello[4..])));
                let hello = if greets { &hello[..] } else { &[][..] };
                bombard(runtime, stream, hello, &operations, &mut draw, &mut fates).await;
            }
            fates
        })
    };
    metered(live, "coordinator", attack, |live| live.client(Duration::from_secs(60), create_and_read));
}
