//! The Fetch response, whose records are shipped as the slices that the log gave.
//!
//! The generated encoder would copy records into one buffer. Here the bytes around them are
//! written into one buffer that is then cut where records go in, so that the frame is a queue of
//! slices: fields, records, fields, records, fields.
//!
//! Partition, version 4 to 17:
//!
//! | field                    | versions | bytes                                  |
//! |--------------------------|----------|----------------------------------------|
//! | index, error             | 4+       | 4, 2                                   |
//! | high watermark           | 4+       | 8                                      |
//! | last stable offset       | 4+       | 8                                      |
//! | log start offset         | 5+       | 8                                      |
//! | aborted transactions     | 4+       | nullable array of (8, 8)               |
//! | preferred read replica   | 11+      | 4                                      |
//! | records                  | 4+       | nullable bytes, compact from 12        |
//! | tagged: diverging epoch 0, current leader 1 | 12+ | (4, 8), (4, 4)           |

use bytes::{BufMut, Bytes, BytesMut};
use kafka_wire_core::{EncodeError, Encoder, StrBytes, TaggedFields, Uuid};

use super::api::ApiKey;
use super::error::ErrorCode;
use super::plain;
use super::request::{Malformed, decode_message};
use super::response::{CannotEncode, set_prefix};
use crate::base::ids::{BrokerId, LeaderEpoch};
use crate::wire::frame::FrameQueue;

/// The first version with compact lengths and tagged fields.
const FLEXIBLE_FROM: i16 = 12;
/// The first version that names topics by id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;
/// The first version with `node_endpoints` (KIP-951).
const NODE_ENDPOINTS_FROM: i16 = 16;

/// The answer to a Fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchResponse {
    /// How long the client was, or should be, slowed down by a quota.
    pub throttle_time_ms: i32,
    /// An error of the whole request, from version 7.
    pub error: Option<ErrorCode>,
    /// The fetch session; 0 where there is none.
    pub session_id: i32,
    /// What was found, by topic.
    pub topics: Vec<FetchedTopic>,
    /// Addresses of the leaders named in `current_leader` (KIP-951, from version 16).
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// A topic in a [`FetchResponse`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchedTopic {
    /// Its name, up to version 12.
    pub name: StrBytes,
    /// Its id, from version 13.
    pub topic_id: Uuid,
    /// Its partitions.
    pub partitions: Vec<FetchedPartition>,
}

/// A partition in a [`FetchResponse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedPartition {
    /// Which partition.
    pub index: i32,
    /// Why there are no records, if there is an error.
    pub error: Option<ErrorCode>,
    /// -1 with an error.
    pub high_watermark: i64,
    /// -1 with an error.
    pub last_stable_offset: i64,
    /// From version 5; -1 with an error.
    pub log_start_offset: i64,
    /// Transactions to skip, for read_committed readers; none otherwise.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// Where to fetch from instead (KIP-392, from version 11).
    pub preferred_read_replica: Option<BrokerId>,
    /// Where the reader's history departs from the leader's (KIP-595, from version 12).
    pub diverging_epoch: Option<EpochEnd>,
    /// Who leads, for a reader that asked the wrong broker (KIP-951, from version 12).
    pub current_leader: Option<LeaderAndEpoch>,
    /// Whole batches, one after the other; the last may be cut short.
    pub records: Vec<Bytes>,
}

impl FetchedPartition {
    /// A partition without records and offsets, that reports `error`.
    #[must_use]
    pub fn failed(index: i32, error: ErrorCode) -> Self {
        FetchedPartition { error: Some(error), ..FetchedPartition::empty(index) }
    }

    /// A partition without records and offsets.
    #[must_use]
    pub fn empty(index: i32) -> Self {
        FetchedPartition {
            index,
            error: None,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted_transactions: None,
            preferred_read_replica: None,
            diverging_epoch: None,
            current_leader: None,
            records: Vec::new(),
        }
    }

    /// The records' length in bytes.
    #[must_use]
    pub fn records_bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

/// A transaction whose records a read_committed reader skips, from its first offset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose transaction.
    pub producer_id: i64,
    /// Where it began.
    pub first_offset: i64,
}

/// Where a leader epoch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch of the leader that is not above the reader's.
    pub epoch: LeaderEpoch,
    /// Its end offset.
    pub end_offset: i64,
}

/// A leader and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderAndEpoch {
    /// The leader, -1 if there is none.
    pub leader: BrokerId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
}

/// The address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// Which broker.
    pub broker: BrokerId,
    /// Its advertised host.
    pub host: StrBytes,
    /// Its advertised port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<StrBytes>,
}

impl FetchResponse {
    /// Encodes after `buffer`, which begins with room for the length prefix and holds the header.
    /// No record byte is copied.
    pub(crate) fn encode(&self, version: i16, mut buffer: BytesMut) -> Result<FrameQueue, CannotEncode> {
        let cannot = |error: EncodeError| CannotEncode::new(ApiKey::Fetch.name(), version, &error);
        let partitions: usize = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        buffer.reserve(64 + 64 * (self.topics.len() + partitions));
        // Where in `buffer` the records of each partition go in.
        let mut cuts: Vec<(usize, &[Bytes])> = Vec::with_capacity(partitions);
        self.write(version, &mut buffer, &mut cuts).map_err(cannot)?;
        let records_bytes = cuts.iter().flat_map(|(_, records)| *records).map(Bytes::len).sum();
        set_prefix(ApiKey::Fetch.name(), version, &mut buffer, records_bytes)?;
        Ok(splice(buffer.freeze(), &cuts))
    }

    fn write<'a>(
        &'a self,
        version: i16,
        buffer: &mut BytesMut,
        cuts: &mut Vec<(usize, &'a [Bytes])>,
    ) -> Result<(), EncodeError> {
        buffer.put_i32(self.throttle_time_ms);
        if version >= 7 {
            buffer.put_i16(wire_code(self.error));
            buffer.put_i32(self.session_id);
        }
        write_array_len(buffer, version, self.topics.len())?;
        for topic in &self.topics {
            topic.write(version, buffer, cuts)?;
        }
        if version >= FLEXIBLE_FROM {
            if version >= NODE_ENDPOINTS_FROM && !self.node_endpoints.is_empty() {
                write_tags(buffer, &[(0, encode_endpoints(&self.node_endpoints)?)])?;
            } else {
                write_tags(buffer, &[])?;
            }
        }
        Ok(())
    }

    /// Decodes the body of a response. Records are slices of `body`.
    pub fn decode(version: i16, body: Bytes) -> Result<FetchResponse, Malformed> {
        plain::read_response(version, &body).map_or_else(|| Self::decode_generated(version, body), Ok)
    }

    /// Decodes any body.
    pub(super) fn decode_generated(version: i16, body: Bytes) -> Result<FetchResponse, Malformed> {
        let decoded = decode_message::<kafka_wire::FetchResponse>(ApiKey::Fetch.name(), version, body)?;
        Ok(FetchResponse {
            throttle_time_ms: decoded.throttle_time_ms,
            error: error_of(decoded.error_code),
            session_id: decoded.session_id,
            topics: decoded.responses.into_iter().map(FetchedTopic::from_codec).collect(),
            node_endpoints: decoded.node_endpoints.into_iter().map(NodeEndpoint::from_codec).collect(),
        })
    }
}

impl FetchedTopic {
    fn write<'a>(
        &'a self,
        version: i16,
        buffer: &mut BytesMut,
        cuts: &mut Vec<(usize, &'a [Bytes])>,
    ) -> Result<(), EncodeError> {
        if version >= TOPIC_IDS_FROM {
            buffer.put_slice(self.topic_id.as_bytes());
        } else if version >= FLEXIBLE_FROM {
            Encoder::new(buffer).write_compact_string(&self.name)?;
        } else {
            Encoder::new(buffer).write_string(&self.name)?;
        }
        write_array_len(buffer, version, self.partitions.len())?;
        for partition in &self.partitions {
            partition.write(version, buffer, cuts)?;
        }
        if version >= FLEXIBLE_FROM {
            write_tags(buffer, &[])?;
        }
        Ok(())
    }

    fn from_codec(topic: kafka_wire::fetch_response::FetchableTopicResponse) -> Self {
        FetchedTopic {
            name: topic.topic,
            topic_id: topic.topic_id,
            partitions: topic.partitions.into_iter().map(FetchedPartition::from_codec).collect(),
        }
    }
}

impl FetchedPartition {
    fn write<'a>(
        &'a self,
        version: i16,
        buffer: &mut BytesMut,
        cuts: &mut Vec<(usize, &'a [Bytes])>,
    ) -> Result<(), EncodeError> {
        let mut offsets = [0; 22];
        offsets[..4].copy_from_slice(&self.index.to_be_bytes());
        offsets[4..6].copy_from_slice(&wire_code(self.error).to_be_bytes());
        offsets[6..14].copy_from_slice(&self.high_watermark.to_be_bytes());
        offsets[14..].copy_from_slice(&self.last_stable_offset.to_be_bytes());
        buffer.put_slice(&offsets);
        if version >= 5 {
            buffer.put_i64(self.log_start_offset);
        }
        self.write_aborted(version, buffer)?;
        if version >= 11 {
            buffer.put_i32(self.preferred_read_replica.map_or(-1, |broker| broker.0));
        }
        write_records_len(buffer, version, self.records_bytes())?;
        cuts.push((buffer.len(), &self.records));
        if version >= FLEXIBLE_FROM { self.write_tagged(buffer) } else { Ok(()) }
    }

    fn write_aborted(&self, version: i16, buffer: &mut BytesMut) -> Result<(), EncodeError> {
        let count = self.aborted_transactions.as_ref().map(Vec::len);
        if version >= FLEXIBLE_FROM {
            Encoder::new(buffer).write_compact_nullable_array_len(count)?;
        } else {
            Encoder::new(buffer).write_nullable_array_len(count)?;
        }
        for transaction in self.aborted_transactions.iter().flatten() {
            buffer.put_i64(transaction.producer_id);
            buffer.put_i64(transaction.first_offset);
            if version >= FLEXIBLE_FROM {
                buffer.put_u8(0);
            }
        }
        Ok(())
    }

    fn write_tagged(&self, buffer: &mut BytesMut) -> Result<(), EncodeError> {
        if self.diverging_epoch.is_none() && self.current_leader.is_none() {
            buffer.put_u8(0);
            return Ok(());
        }
        let mut tags = Vec::new();
        if let Some(end) = self.diverging_epoch {
            let mut value = BytesMut::with_capacity(13);
            value.put_i32(end.epoch.0);
            value.put_i64(end.end_offset);
            value.put_u8(0);
            tags.push((0, value));
        }
        if let Some(current) = self.current_leader {
            let mut value = BytesMut::with_capacity(9);
            value.put_i32(current.leader.0);
            value.put_i32(current.epoch.0);
            value.put_u8(0);
            tags.push((1, value));
        }
        write_tags(buffer, &tags)
    }

    fn from_codec(partition: kafka_wire::fetch_response::PartitionData) -> Self {
        let (diverging, current) = (partition.diverging_epoch, partition.current_leader);
        FetchedPartition {
            index: partition.partition_index,
            error: error_of(partition.error_code),
            high_watermark: partition.high_watermark,
            last_stable_offset: partition.last_stable_offset,
            log_start_offset: partition.log_start_offset,
            aborted_transactions: partition.aborted_transactions.map(|aborted| {
                aborted
                    .into_iter()
                    .map(|one| AbortedTransaction { producer_id: one.producer_id, first_offset: one.first_offset })
                    .collect()
            }),
            preferred_read_replica: Some(BrokerId(partition.preferred_read_replica)).filter(|broker| broker.0 >= 0),
            diverging_epoch: (diverging.epoch >= 0)
                .then_some(EpochEnd { epoch: LeaderEpoch(diverging.epoch), end_offset: diverging.end_offset }),
            current_leader: (current.leader_epoch >= 0).then_some(LeaderAndEpoch {
                leader: BrokerId(current.leader_id),
                epoch: LeaderEpoch(current.leader_epoch),
            }),
            records: partition.records.into_iter().filter(|records| !records.is_empty()).collect(),
        }
    }
}

impl NodeEndpoint {
    fn from_codec(endpoint: kafka_wire::fetch_response::NodeEndpoint) -> Self {
        NodeEndpoint {
            broker: BrokerId(endpoint.node_id),
            host: endpoint.host,
            port: endpoint.port,
            rack: endpoint.rack,
        }
    }
}

fn wire_code(error: Option<ErrorCode>) -> i16 {
    error.unwrap_or(ErrorCode::None).to_wire()
}

fn error_of(code: i16) -> Option<ErrorCode> {
    ErrorCode::check(code).err()
}

fn write_array_len(buffer: &mut BytesMut, version: i16, count: usize) -> Result<(), EncodeError> {
    let mut encoder = Encoder::new(buffer);
    if version >= FLEXIBLE_FROM { encoder.write_compact_array_len(count) } else { encoder.write_array_len(count) }
}

/// The length before records; records are never null, because the Java client throws on null.
fn write_records_len(buffer: &mut BytesMut, version: i16, bytes: usize) -> Result<(), EncodeError> {
    let too_large = || EncodeError::FrameTooLarge { bytes };
    let length = i32::try_from(bytes).ok().filter(|length| *length < i32::MAX).ok_or_else(too_large)?;
    if version >= FLEXIBLE_FROM {
        return Encoder::new(buffer).write_unsigned_varint(length.unsigned_abs() + 1);
    }
    buffer.put_i32(length);
    Ok(())
}

fn write_tags(buffer: &mut BytesMut, tags: &[(u32, BytesMut)]) -> Result<(), EncodeError> {
    let mut encoder = Encoder::new(buffer);
    if tags.is_empty() {
        return encoder.write_tagged_fields(&TaggedFields::default());
    }
    let count = |bytes: usize| u32::try_from(bytes).map_err(|_| EncodeError::FrameTooLarge { bytes });
    encoder.write_unsigned_varint(count(tags.len())?)?;
    for (tag, value) in tags {
        encoder.write_unsigned_varint(*tag)?;
        encoder.write_unsigned_varint(count(value.len())?)?;
        encoder.write_raw_slice(value)?;
    }
    Ok(())
}

fn encode_endpoints(endpoints: &[NodeEndpoint]) -> Result<BytesMut, EncodeError> {
    let mut value = BytesMut::new();
    let mut encoder = Encoder::new(&mut value);
    encoder.write_compact_array_len(endpoints.len())?;
    for endpoint in endpoints {
        encoder.write_i32(endpoint.broker.0)?;
        encoder.write_compact_string(&endpoint.host)?;
        encoder.write_i32(endpoint.port)?;
        encoder.write_compact_nullable_string(endpoint.rack.as_ref())?;
        encoder.write_tagged_fields(&TaggedFields::default())?;
    }
    Ok(value)
}

/// `fields` cut at each position, with the records of that position in between.
fn splice(fields: Bytes, cuts: &[(usize, &[Bytes])]) -> FrameQueue {
    let mut frame = FrameQueue::new();
    let mut from = 0;
    for (at, records) in cuts {
        if records.is_empty() {
            continue;
        }
        frame.push(fields.slice(from..*at));
        from = *at;
        records.iter().for_each(|part| frame.push(part.clone()));
    }
    frame.push(fields.slice(from..));
    frame
}
