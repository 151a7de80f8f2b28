//! Draws what is asked: any API, any version that brokers say they speak, and what is wrong with it.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use wyrdlog::base::checksum::crc32c;
use wyrdlog::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, ProducerEpoch, ProducerId, TopicId};
use wyrdlog::message;
use wyrdlog::wire::kafka::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};
use wyrdlog::wire::kafka::client::encode_request;
use wyrdlog::wire::kafka::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use wyrdlog::wire::kafka::messages::delete_topics_request::DeleteTopicState;
use wyrdlog::wire::kafka::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use wyrdlog::wire::kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use wyrdlog::wire::kafka::messages::metadata_request::MetadataRequestTopic;
use wyrdlog::wire::kafka::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use wyrdlog::wire::kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
use wyrdlog::wire::kafka::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, FetchRequest,
    FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
    ProduceRequest, StrBytes, uuid,
};
use wyrdlog::wire::kafka::{ApiKey, Request};
use wyrdlog::wire::private::{
    AlterPartition, ControlledShutdown, MetadataPayload, PrivateRequest, ProposedPartition, UpdateMetadata,
};

use crate::history::Client;
use crate::history::protocol::{ASKED_FOR, Odd, Sent, Wrong};

/// No topic has this name, ever.
pub const NOBODYS: &str = "nobodys-topic";
/// No topic may have one of these names.
const ILLEGAL: [&str; 4] = ["a b", "", "..", "new\nline"];
/// So many topics a client has that are created because it asks.
const ASKED_FOR_MAX: u64 = 6;
/// From this version on Metadata says whether what is asked about may be created; before, it may.
const ASKS_FOR_CREATION_FROM: i16 = 4;
/// From this version on topics of Produce and Fetch go by their ids.
const IDS_FROM: i16 = 13;
/// How long the controller may take.
const CHANGE_MS: i32 = 4_000;

/// What a client knows of the cluster.
pub struct Known {
    /// Who asks.
    pub client: Client,
    /// Whether brokers create topics that somebody asks about.
    pub creates: bool,
    /// The scenario's topics: names, partitions and replicas.
    pub topics: Vec<(Arc<str>, i32, usize)>,
    /// The brokers.
    pub brokers: Vec<BrokerId>,
    /// The ids of those topics that it has been told.
    pub ids: Vec<(Arc<str>, TopicId)>,
}

/// A question and its bytes, length and all.
pub struct Question {
    /// What it is.
    pub sent: Sent,
    /// As it goes over the wire.
    pub frame: Bytes,
}

/// Draws below a bound.
pub type Random<'r> = &'r dyn Fn(&'static str, u64) -> u64;

/// What draws one question.
struct Drawing<'d> {
    known: &'d Known,
    random: Random<'d>,
}

impl Known {
    /// The next question; one that may end the connection where it `ends` a write.
    pub fn question(&self, random: Random<'_>, correlation_id: i32, ends: bool) -> Question {
        let drawing = Drawing { known: self, random };
        loop {
            let asked = if ends && drawing.one_in(8) {
                drawing.odd(correlation_id)
            } else {
                drawing.request(correlation_id, ends)
            };
            // What a version has no words for is not asked.
            if let Some(question) = asked {
                return question;
            }
        }
    }
}

fn text(name: &str) -> StrBytes {
    StrBytes::from(name)
}

impl Drawing<'_> {
    fn below(&self, below: u64) -> u64 {
        (self.random)("protocol", below)
    }

    fn one_in(&self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn version(&self, api: ApiKey) -> i16 {
        let served = api.served();
        served.min + self.below((served.max - served.min + 1) as u64) as i16
    }

    fn request(&self, correlation_id: i32, ends: bool) -> Option<Question> {
        let api = self.pick(&[
            ApiKey::Produce,
            ApiKey::Produce,
            ApiKey::Fetch,
            ApiKey::Fetch,
            ApiKey::Fetch,
            ApiKey::ListOffsets,
            ApiKey::ListOffsets,
            ApiKey::Metadata,
            ApiKey::Metadata,
            ApiKey::FindCoordinator,
            ApiKey::ApiVersions,
            ApiKey::CreateTopics,
            ApiKey::CreateTopics,
            ApiKey::DeleteTopics,
            ApiKey::InitProducerId,
            ApiKey::OffsetForLeaderEpoch,
            ApiKey::DescribeCluster,
            ApiKey::Private,
        ]);
        let (version, mut wrong) = (self.version(api), None);
        let request = match api {
            ApiKey::Produce => {
                let (request, what) = self.produce(version, ends);
                wrong = Some(what);
                Request::Produce(request)
            }
            ApiKey::Fetch => Request::Fetch(self.fetch(version)),
            ApiKey::ListOffsets => Request::ListOffsets(self.list_offsets(version)),
            ApiKey::Metadata => Request::Metadata(self.metadata(version)),
            ApiKey::FindCoordinator => Request::FindCoordinator(self.find_coordinator(version)),
            ApiKey::ApiVersions => Request::ApiVersions(message!(ApiVersionsRequest {
                client_software_name: text("conformance"),
                client_software_version: text("1"),
            })),
            ApiKey::CreateTopics => Request::CreateTopics(self.create_topics()),
            ApiKey::DeleteTopics => Request::DeleteTopics(self.delete_topics(version)),
            ApiKey::InitProducerId => Request::InitProducerId(self.init_producer_id(version)),
            ApiKey::OffsetForLeaderEpoch => Request::OffsetForLeaderEpoch(self.epoch_end()),
            ApiKey::DescribeCluster => Request::DescribeCluster(message!(DescribeClusterRequest {
                endpoint_type: if version >= 1 { self.pick(&[1, 1, 2]) } else { 1 },
            })),
            ApiKey::Private => Request::Private(self.private()),
        };
        let client = text("conformance");
        let frame = encode_request(correlation_id, version, Some(&client), &request).ok()?.into_bytes();
        Some(Question { sent: Sent::Request { version, request: Box::new(request), wrong }, frame })
    }

    /// A topic, mostly one that exists, by its name and, where it is known, its id.
    fn topic(&self) -> (Arc<str>, TopicId) {
        if self.known.topics.is_empty() || self.one_in(5) {
            return (NOBODYS.into(), TopicId([self.below(255) as u8 + 1; 16]));
        }
        let name = self.known.topics[self.below(self.known.topics.len() as u64) as usize].0.clone();
        let id = self.known.ids.iter().find(|(known, _)| *known == name).map_or(TopicId::ZERO, |(_, id)| *id);
        (name, id)
    }

    fn partition(&self, name: &str) -> i32 {
        let count = self.known.topics.iter().find(|(known, ..)| &**known == name).map_or(1, |(_, count, _)| *count);
        if self.one_in(10) { self.pick(&[-1, count, i32::MAX]) } else { self.below(count.max(1) as u64) as i32 }
    }

    fn leader_epoch(&self) -> i32 {
        self.pick(&[-1, -1, 0, 1, 1_000_000])
    }

    fn produce(&self, version: i16, ends: bool) -> (ProduceRequest, Wrong) {
        let mut wrong = self.pick(&[
            Wrong::Empty,
            Wrong::Two,
            Wrong::CutShort,
            Wrong::Checksum,
            Wrong::Magic,
            Wrong::BaseOffset,
            Wrong::Count,
            Wrong::Control,
            Wrong::Transactional,
            Wrong::Compression,
            Wrong::ZstdTooEarly,
            Wrong::NoEpoch,
            Wrong::Acks,
        ]);
        if wrong == Wrong::ZstdTooEarly && version >= 7 {
            wrong = Wrong::Acks;
        }
        let acks = match wrong {
            Wrong::Acks => self.pick(&[2, -2, i16::MAX]),
            _ if ends => self.pick(&[-1, 1, 0]),
            _ => self.pick(&[-1, 1]),
        };
        let (name, id) = self.topic();
        let (index, records) = (self.partition(&name), Some(batch(wrong)));
        let partition_data = vec![message!(PartitionProduceData { index, records })];
        let topic = match version {
            IDS_FROM.. => message!(TopicProduceData { topic_id: uuid(id), partition_data }),
            _ => message!(TopicProduceData { name: text(&name), partition_data }),
        };
        (message!(ProduceRequest { acks, timeout_ms: CHANGE_MS, topic_data: vec![topic] }), wrong)
    }

    fn fetch(&self, version: i16) -> FetchRequest {
        let (name, id) = self.topic();
        let mut partition = message!(FetchPartition {
            partition: self.partition(&name),
            fetch_offset: self.pick(&[0, 0, 0, 1, -1, 1 << 40]),
            partition_max_bytes: self.pick(&[0, 1, 4_096, 1 << 20]),
        });
        if version >= 9 {
            partition.current_leader_epoch = self.leader_epoch();
        }
        let mut request = message!(FetchRequest {
            max_wait_ms: self.pick(&[0, 0, 50, 200]),
            min_bytes: self.pick(&[0, 1, 1]),
            max_bytes: self.pick(&[1, 65_536, 1 << 24]),
            isolation_level: self.pick(&[0, 1]),
        });
        // No version lets a consumer be taken for a follower, and no follower is of this incarnation.
        if version >= 15 && self.one_in(4) {
            let replica = self.known.brokers[self.below(self.known.brokers.len() as u64) as usize];
            let replica_id = if self.one_in(4) { 99 } else { replica.0 };
            request.replica_state = message!(ReplicaState { replica_id, replica_epoch: -7 });
        }
        if version >= 7 && self.one_in(4) {
            (request.session_id, request.session_epoch) = self.pick(&[(0, -1), (7, 3), (7, -1), (i32::MAX, 1)]);
        } else if version >= 7 {
            request.session_epoch = self.pick(&[-1, 0]);
        }
        let partitions = vec![partition];
        request.topics = match version {
            IDS_FROM.. => vec![message!(FetchTopic { topic_id: uuid(id), partitions })],
            _ => vec![message!(FetchTopic { topic: text(&name), partitions })],
        };
        request
    }

    fn list_offsets(&self, version: i16) -> ListOffsetsRequest {
        let name = self.topic().0;
        let mut partition = message!(ListOffsetsPartition {
            partition_index: self.partition(&name),
            timestamp: self.pick(&[-1, -1, -2, -2, -3, -4, -5, -9, 0, i64::MAX]),
        });
        if version >= 4 {
            partition.current_leader_epoch = self.leader_epoch();
        }
        let mut request = message!(ListOffsetsRequest {
            replica_id: -1,
            topics: vec![message!(ListOffsetsTopic { name: text(&name), partitions: vec![partition] })],
        });
        if version >= 2 {
            request.isolation_level = self.pick(&[0, 1]);
        }
        request
    }

    fn epoch_end(&self) -> OffsetForLeaderEpochRequest {
        let topic = self.topic().0;
        let partition = message!(OffsetForLeaderPartition {
            partition: self.partition(&topic),
            current_leader_epoch: self.leader_epoch(),
            leader_epoch: self.pick(&[0, 0, 1, 1_000_000]),
        });
        let topics = vec![message!(OffsetForLeaderTopic { topic: text(&topic), partitions: vec![partition] })];
        let mut request = message!(OffsetForLeaderEpochRequest { topics });
        request.replica_id = -1;
        request
    }

    fn metadata(&self, version: i16) -> MetadataRequest {
        let allows = version < ASKS_FOR_CREATION_FROM || self.one_in(2);
        let by_name = |name: &str| {
            // What is nobody's must stay so, and what others are about to create is theirs to create.
            let exists = self.known.ids.iter().any(|(known, _)| **known == *name);
            let may_be_created = self.known.creates && allows && !exists && !ILLEGAL.contains(&name);
            let name = if may_be_created { self.asked_for() } else { name.to_owned() };
            message!(MetadataRequestTopic { name: Some(text(&name)) })
        };
        let one = || match self.below(7) {
            0 => by_name(NOBODYS),
            1 => by_name(self.pick(&ILLEGAL)),
            2 if version >= 12 => message!(MetadataRequestTopic { name: None, topic_id: uuid(self.topic().1) }),
            3 => by_name(&self.asked_for()),
            _ => by_name(&self.topic().0),
        };
        let topics = match self.below(6) {
            0 if version >= 1 => None,
            0 | 1 => Some(Vec::new()),
            _ => Some((0..=self.below(3)).map(|_| one()).collect()),
        };
        message!(MetadataRequest { topics, allow_auto_topic_creation: allows })
    }

    /// A topic that nobody creates, unless a broker does because this client asks about it.
    fn asked_for(&self) -> String {
        format!("{ASKED_FOR}{}-{}", self.known.client, self.below(ASKED_FOR_MAX))
    }

    fn find_coordinator(&self, version: i16) -> FindCoordinatorRequest {
        let mut request = FindCoordinatorRequest::default();
        if version >= 1 {
            request.key_type = self.pick(&[0, 1]);
        }
        if version >= 4 {
            request.coordinator_keys = (0..self.below(3)).map(|at| text(&format!("group-{at}"))).collect();
        } else {
            request.key = text("group");
        }
        request
    }

    fn create_topics(&self) -> CreateTopicsRequest {
        let good = || message!(CreatableTopic { name: text(NOBODYS), num_partitions: 2, replication_factor: 1 });
        let existing = self.known.topics.first().map_or(text(NOBODYS), |(name, ..)| text(name));
        let explicit = |brokers: &[&[i32]]| {
            let assignments = (0..).zip(brokers).map(|(partition_index, ids)| {
                message!(CreatableReplicaAssignment { partition_index, broker_ids: ids.to_vec() })
            });
            let assignments = assignments.collect();
            message!(CreatableTopic { name: text(NOBODYS), num_partitions: -1, replication_factor: -1, assignments })
        };
        let config = |name: &str, value: &str| {
            let configs = vec![message!(CreatableTopicConfig { name: text(name), value: Some(text(value)) })];
            message!(CreatableTopic { name: text(NOBODYS), num_partitions: 1, replication_factor: 1, configs })
        };
        let (mut validate_only, first) = (self.one_in(2), self.known.brokers.first().map_or(1, |broker| broker.0));
        let topics = match self.below(14) {
            0 => {
                // It may not be there yet.
                validate_only = true;
                vec![message!(CreatableTopic { name: existing, num_partitions: 1, replication_factor: 1 })]
            }
            1 => vec![message!(CreatableTopic { name: text(NOBODYS), num_partitions: 0, replication_factor: 1 })],
            2 => vec![message!(CreatableTopic { name: text(NOBODYS), num_partitions: 1, replication_factor: 0 })],
            3 => vec![message!(CreatableTopic { name: text(NOBODYS), num_partitions: 1, replication_factor: 100 })],
            4 => vec![message!(CreatableTopic { name: text("a b"), num_partitions: 1, replication_factor: 1 })],
            5 => vec![good(), good()],
            6 => vec![explicit(&[&[first, first]])],
            7 => vec![explicit(&[&[first], &[]])],
            8 => vec![explicit(&[&[99]])],
            9 => {
                let mut both = explicit(&[&[first]]);
                both.num_partitions = 1;
                vec![both]
            }
            10 => vec![config("no.such.config", "1")],
            11 => vec![config("min.insync.replicas", "0")],
            _ => {
                validate_only = true;
                let valid = [good(), explicit(&[&[first], &[first]]), config("flush.messages", "1")];
                vec![valid[self.below(3) as usize].clone()]
            }
        };
        message!(CreateTopicsRequest { topics, timeout_ms: CHANGE_MS, validate_only })
    }

    fn delete_topics(&self, version: i16) -> DeleteTopicsRequest {
        let mut request = message!(DeleteTopicsRequest { timeout_ms: CHANGE_MS });
        if version < 6 {
            request.topic_names = vec![text(NOBODYS)];
            return request;
        }
        let by_id = message!(DeleteTopicState { name: None, topic_id: uuid(TopicId([self.below(256) as u8; 16])) });
        let by_name = message!(DeleteTopicState { name: Some(text(NOBODYS)) });
        request.topics = if self.one_in(2) { vec![by_id] } else { vec![by_name, by_id] };
        request
    }

    fn init_producer_id(&self, version: i16) -> InitProducerIdRequest {
        let mut request = message!(InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 1_000,
            producer_id: -1,
            producer_epoch: -1,
        });
        match self.below(4) {
            0 => request.transactional_id = Some(text("transactional")),
            1 if version >= 3 => request.producer_id = 5,
            2 if version >= 3 => (request.producer_id, request.producer_epoch) = (5, 3),
            _ => {}
        }
        request
    }

    /// What brokers say among themselves, of an incarnation that never was.
    fn private(&self) -> PrivateRequest {
        let (broker, broker_epoch) = (self.known.brokers[0], BrokerEpoch(-7));
        match self.below(3) {
            0 => PrivateRequest::ControlledShutdown(ControlledShutdown { broker, broker_epoch }),
            1 => PrivateRequest::UpdateMetadata(UpdateMetadata {
                controller: broker,
                controller_epoch: ControllerEpoch(i32::MAX),
                broker_epoch,
                sequence: 0,
                payload: MetadataPayload::Delta(Bytes::from_static(b"\0[]")),
            }),
            _ => {
                let topic = self.topic().1;
                let proposed = ProposedPartition {
                    topic,
                    partition: 0,
                    leader_epoch: LeaderEpoch(1_000_000),
                    partition_epoch: 1_000_000,
                    min_in_sync: 1,
                    in_sync: Vec::new(),
                };
                PrivateRequest::AlterPartition(AlterPartition { broker, broker_epoch, partitions: vec![proposed] })
            }
        }
    }

    /// Bytes that are no request.
    fn odd(&self, correlation_id: i32) -> Option<Question> {
        let api = self.pick(&[ApiKey::Metadata, ApiKey::Fetch, ApiKey::CreateTopics, ApiKey::ListOffsets]);
        let odd = match self.below(7) {
            0 => Odd::UnknownApi(self.pick(&[-1, 4, 999, 31_999])),
            1 => Odd::UnknownVersion(self.pick(&[ApiKey::ApiVersions, api]), self.pick(&[-1, 99, i16::MAX])),
            2 => Odd::ShortHeader,
            3 => Odd::ShortBody(api, self.version(api)),
            4 => Odd::HugeArray(self.pick(&[1, 2, 8])),
            5 => Odd::NegativeLength,
            _ => Odd::TooLong,
        };
        let mut frame = BytesMut::new();
        let header = |frame: &mut BytesMut, key: i16, version: i16| {
            frame.put_i16(key);
            frame.put_i16(version);
            frame.put_i32(correlation_id);
            frame.put_i16(-1);
        };
        match odd {
            Odd::NegativeLength => frame.put_i32(-1),
            Odd::TooLong => frame.put_i32(i32::MAX),
            _ => frame.put_i32(0),
        }
        match odd {
            Odd::UnknownApi(key) => header(&mut frame, key, 0),
            Odd::UnknownVersion(api, version) => header(&mut frame, api.to_wire(), version),
            Odd::ShortHeader => frame.put_slice(&[0, 3, 0]),
            Odd::ShortBody(api, version) => {
                header(&mut frame, api.to_wire(), version);
                if api.is_flexible(version) {
                    frame.put_u8(0);
                }
                frame.put_u8(0);
            }
            Odd::HugeArray(version) => {
                header(&mut frame, ApiKey::Metadata.to_wire(), version);
                frame.put_i32(2_000_000_000);
                frame.put_slice(&[0; 9]);
            }
            Odd::NegativeLength | Odd::TooLong => frame.put_slice(&[0; 9]),
        }
        if !matches!(odd, Odd::NegativeLength | Odd::TooLong) {
            let length = i32::try_from(frame.len() - 4).ok()?;
            frame[..4].copy_from_slice(&length.to_be_bytes());
        }
        Some(Question { sent: Sent::Odd(odd), frame: frame.freeze() })
    }
}

/// A batch of two records that has this fault and no other.
fn batch(wrong: Wrong) -> Bytes {
    let stamp = match wrong {
        Wrong::NoEpoch | Wrong::Transactional => {
            ProducerStamp { id: ProducerId(7), epoch: ProducerEpoch(0), base_sequence: 0 }
        }
        _ => ProducerStamp::NONE,
    };
    let mut builder = RecordBatchBuilder::new().transactional(wrong == Wrong::Transactional);
    (0..2).for_each(|_| builder.push(NewRecord::default()));
    let built = builder.build(stamp).unwrap_or_default();
    let mut bytes = built.to_vec();
    let mut put = |at: usize, value: &[u8]| {
        bytes[at..at + value.len()].copy_from_slice(value);
        let checksum = crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    };
    match wrong {
        Wrong::Empty => return Bytes::new(),
        Wrong::Two => return [&built[..], &built[..]].concat().into(),
        Wrong::CutShort => return built.slice(..built.len() - 1),
        Wrong::Checksum => {
            bytes[40] ^= 1;
            return bytes.into();
        }
        Wrong::Magic => put(16, &[1]),
        Wrong::BaseOffset => put(0, &1_i64.to_be_bytes()),
        Wrong::Count => put(57, &9_i32.to_be_bytes()),
        Wrong::Control => put(22, &[0x20]),
        Wrong::Compression => put(22, &[0x07]),
        Wrong::ZstdTooEarly => put(22, &[0x04]),
        Wrong::NoEpoch => put(51, &(-1_i16).to_be_bytes()),
        Wrong::Transactional | Wrong::Acks => {}
    }
    bytes.into()
}
