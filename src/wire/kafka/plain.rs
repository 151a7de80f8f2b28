//! Fetch requests and responses as nearly all of them are: topics by id, no tag that is not ours, nobody's
//! transactions. They are read and written in one pass over a slice.
//!
//! The generated codec takes a shared slice of the frame for each field, a byte's length included, and a
//! follower's Fetch names every partition each time. What is not plain is left to it, errors above all: a
//! reader here gives `None` and has taken nothing. Both give the same values; a test holds them together.
//!
//! Versions 13 to 17, the request:
//!
//! | field                                             | versions | bytes                         |
//! |---------------------------------------------------|----------|-------------------------------|
//! | replica id                                        | 13-14    | 4                             |
//! | max wait, min bytes, max bytes                    | 13+      | 4, 4, 4                       |
//! | isolation level                                   | 13+      | 1                             |
//! | session id, session epoch                         | 13+      | 4, 4                          |
//! | topics: id, partitions, no tags                   | 13+      | compact array of (16, …, 1)   |
//! | forgotten topics and rack, both empty             | 13+      | 1, 1                          |
//! | tagged: nothing, or the replica's state 1         | 15+      | 1, or (1, 1, 1, 4, 8, 1)      |
//!
//! Its partition: index (4), leader epoch (4), offset (8), last fetched epoch (4), log start (8), max bytes
//! (4), no tags (1). The response is laid out in [`super::fetch`].

use bytes::{BufMut, Bytes, BytesMut};

use super::error::ErrorCode;
use super::fetch::{FetchResponse, FetchedPartition, FetchedTopic};
use super::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use super::messages::{FetchRequest, StrBytes, Uuid};
use super::request::ARRAY_ELEMENTS_MAX;
use crate::base::ids::BrokerId;
use crate::message;

/// Topics are named by id (KIP-516).
const FROM: i16 = 13;
const TO: i16 = 17;
/// The first version in which a follower tells its state (KIP-903).
const REPLICA_STATE_FROM: i16 = 15;
/// The bytes of a partition in a request.
const ASKED_BYTES: usize = 33;
/// The least bytes of a topic, in both.
const TOPIC_BYTES_MIN: usize = 18;
/// The least bytes of a partition in a response.
const FETCHED_BYTES_MIN: usize = 37;
/// The bytes of a replica's state, its tags included.
const REPLICA_STATE_BYTES: u8 = 13;
/// A compact array or string of length 0; an empty section of tags is a zero.
const EMPTY: u8 = 1;

/// The fields of a message from its start. Each gives `None` where bytes are missing.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*first)
    }

    fn i16(&mut self) -> Option<i16> {
        self.bytes().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.bytes().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.bytes().map(i64::from_be_bytes)
    }

    /// A byte that must be `byte`.
    fn only(&mut self, byte: u8) -> Option<()> {
        (self.bytes::<1>()? == [byte]).then_some(())
    }

    /// An unsigned varint of at most four bytes.
    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let [byte] = self.bytes()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A compact array whose elements have `bytes_min` each; no more are made room for than there are
    /// bytes.
    fn array<T>(&mut self, bytes_min: usize, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.varint()?.checked_sub(1)?;
        if count > ARRAY_ELEMENTS_MAX || count * bytes_min > self.rest.len() {
            return None;
        }
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Some(elements)
    }
}

/// Reads the body of a Fetch request, if it is plain. What follows the last field is ignored.
pub(crate) fn read_request(version: i16, body: &[u8]) -> Option<FetchRequest> {
    if !(FROM..=TO).contains(&version) {
        return None;
    }
    let mut fields = Fields { rest: body };
    let replica_id = if version < REPLICA_STATE_FROM { fields.i32()? } else { -1 };
    let (max_wait_ms, min_bytes, max_bytes) = (fields.i32()?, fields.i32()?, fields.i32()?);
    let isolation_level = fields.bytes().map(i8::from_be_bytes)?;
    let (session_id, session_epoch) = (fields.i32()?, fields.i32()?);
    let topics = fields.array(TOPIC_BYTES_MIN, read_asked_topic)?;
    fields.only(EMPTY)?;
    fields.only(EMPTY)?;
    let replica_state = read_replica_state(version, &mut fields)?;
    Some(message!(FetchRequest {
        replica_id,
        replica_state,
        max_wait_ms,
        min_bytes,
        max_bytes,
        isolation_level,
        session_id,
        session_epoch,
        topics,
    }))
}

fn read_asked_topic(fields: &mut Fields<'_>) -> Option<FetchTopic> {
    let topic_id = Uuid::from_bytes(fields.bytes()?);
    let partitions = fields.array(ASKED_BYTES, read_asked_partition)?;
    fields.only(0)?;
    Some(message!(FetchTopic { topic_id, partitions }))
}

fn read_asked_partition(fields: &mut Fields<'_>) -> Option<FetchPartition> {
    let partition = message!(FetchPartition {
        partition: fields.i32()?,
        current_leader_epoch: fields.i32()?,
        fetch_offset: fields.i64()?,
        last_fetched_epoch: fields.i32()?,
        log_start_offset: fields.i64()?,
        partition_max_bytes: fields.i32()?,
    });
    fields.only(0)?;
    Some(partition)
}

fn read_replica_state(version: i16, fields: &mut Fields<'_>) -> Option<ReplicaState> {
    match fields.bytes()? {
        [0] => Some(ReplicaState::default()),
        [1] if version >= REPLICA_STATE_FROM => {
            fields.only(1)?;
            fields.only(REPLICA_STATE_BYTES)?;
            let state = message!(ReplicaState { replica_id: fields.i32()?, replica_epoch: fields.i64()? });
            fields.only(0)?;
            Some(state)
        }
        _ => None,
    }
}

/// Writes the body of a Fetch request and says so, if it is plain.
pub(crate) fn write_request(version: i16, request: &FetchRequest, buffer: &mut BytesMut) -> bool {
    if !(FROM..=TO).contains(&version) || !is_plain(version, request) {
        return false;
    }
    let partitions: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    buffer.reserve(64 + ASKED_BYTES * partitions + 24 * request.topics.len());
    if version < REPLICA_STATE_FROM {
        buffer.put_i32(request.replica_id);
    }
    buffer.put_i32(request.max_wait_ms);
    buffer.put_i32(request.min_bytes);
    buffer.put_i32(request.max_bytes);
    buffer.put_i8(request.isolation_level);
    buffer.put_i32(request.session_id);
    buffer.put_i32(request.session_epoch);
    put_varint(buffer, request.topics.len() + 1);
    for topic in &request.topics {
        buffer.put_slice(topic.topic_id.as_bytes());
        put_varint(buffer, topic.partitions.len() + 1);
        topic.partitions.iter().for_each(|one| put_asked_partition(buffer, one));
        buffer.put_u8(0);
    }
    buffer.put_slice(&[EMPTY, EMPTY]);
    put_replica_state(buffer, &request.replica_state);
    true
}

/// Whether the version can say all of it without the fields that plain requests leave empty.
fn is_plain(version: i16, request: &FetchRequest) -> bool {
    let replica_fits = if version < REPLICA_STATE_FROM {
        request.replica_state == ReplicaState::default()
    } else {
        request.replica_id == -1 && request.replica_state.unknown_tagged_fields.is_empty()
    };
    replica_fits
        && request.cluster_id.is_none()
        && request.forgotten_topics_data.is_empty()
        && request.rack_id.is_empty()
        && request.unknown_tagged_fields.is_empty()
        && request.topics.len() < ARRAY_ELEMENTS_MAX
        && request.topics.iter().all(|topic| {
            topic.unknown_tagged_fields.is_empty()
                && topic.partitions.len() < ARRAY_ELEMENTS_MAX
                && topic
                    .partitions
                    .iter()
                    .all(|one| one.replica_directory_id == Uuid::ZERO && one.unknown_tagged_fields.is_empty())
        })
}

fn put_asked_partition(buffer: &mut BytesMut, asked: &FetchPartition) {
    let mut bytes = [0; ASKED_BYTES];
    bytes[..4].copy_from_slice(&asked.partition.to_be_bytes());
    bytes[4..8].copy_from_slice(&asked.current_leader_epoch.to_be_bytes());
    bytes[8..16].copy_from_slice(&asked.fetch_offset.to_be_bytes());
    bytes[16..20].copy_from_slice(&asked.last_fetched_epoch.to_be_bytes());
    bytes[20..28].copy_from_slice(&asked.log_start_offset.to_be_bytes());
    bytes[28..32].copy_from_slice(&asked.partition_max_bytes.to_be_bytes());
    buffer.put_slice(&bytes);
}

fn put_replica_state(buffer: &mut BytesMut, state: &ReplicaState) {
    if *state == ReplicaState::default() {
        return buffer.put_u8(0);
    }
    buffer.put_slice(&[1, 1, REPLICA_STATE_BYTES]);
    buffer.put_i32(state.replica_id);
    buffer.put_i64(state.replica_epoch);
    buffer.put_u8(0);
}

fn put_varint(buffer: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        buffer.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

/// Reads the whole body of a Fetch response, if it is plain. Records are slices of `body`.
pub(crate) fn read_response(version: i16, body: &Bytes) -> Option<FetchResponse> {
    if !(FROM..=TO).contains(&version) {
        return None;
    }
    let mut fields = Fields { rest: body };
    let throttle_time_ms = fields.i32()?;
    let error = ErrorCode::check(fields.i16()?).err();
    let session_id = fields.i32()?;
    let topics = fields.array(TOPIC_BYTES_MIN, |fields| {
        let topic_id = Uuid::from_bytes(fields.bytes()?);
        let partitions = fields.array(FETCHED_BYTES_MIN, |fields| read_fetched_partition(fields, body))?;
        fields.only(0)?;
        Some(FetchedTopic { name: StrBytes::default(), topic_id, partitions })
    })?;
    fields.only(0)?;
    let response = FetchResponse { throttle_time_ms, error, session_id, topics, node_endpoints: Vec::new() };
    fields.rest.is_empty().then_some(response)
}

fn read_fetched_partition(fields: &mut Fields<'_>, body: &Bytes) -> Option<FetchedPartition> {
    let mut partition = FetchedPartition::empty(fields.i32()?);
    partition.error = ErrorCode::check(fields.i16()?).err();
    partition.high_watermark = fields.i64()?;
    partition.last_stable_offset = fields.i64()?;
    partition.log_start_offset = fields.i64()?;
    partition.aborted_transactions = match fields.bytes()? {
        [0] => None,
        [EMPTY] => Some(Vec::new()),
        _ => return None,
    };
    partition.preferred_read_replica = Some(BrokerId(fields.i32()?)).filter(|broker| broker.0 >= 0);
    let length = fields.varint()?.saturating_sub(1);
    let (records, rest) = fields.rest.split_at_checked(length)?;
    if !records.is_empty() {
        partition.records.push(body.slice_ref(records));
    }
    fields.rest = rest;
    fields.only(0)?;
    Some(partition)
}

#[cfg(test)]
mod tests {
    use kafka_wire_core::{ApiVersion, Decoder, KafkaDecode, KafkaEncode};

    use super::super::ApiKey;
    use super::super::hostile_tests::mutants;
    use super::super::request::{Request, limits};
    use super::super::round_trip_tests::{fetch_response, requests};
    use super::*;

    /// A plain request of two topics, by a follower where there are followers.
    fn plain_request(version: i16) -> FetchRequest {
        let partition = |partition| {
            message!(FetchPartition {
                partition,
                current_leader_epoch: 7,
                fetch_offset: 1 << 40,
                log_start_offset: 5,
                partition_max_bytes: 1 << 20,
            })
        };
        let topic = |id, partitions: std::ops::Range<i32>| {
            message!(FetchTopic {
                topic_id: Uuid::from_bytes([id; 16]),
                partitions: partitions.map(partition).collect::<Vec<_>>(),
            })
        };
        let is_told = version >= REPLICA_STATE_FROM;
        let state = message!(ReplicaState { replica_id: 2, replica_epoch: 44 });
        message!(FetchRequest {
            replica_id: if is_told { -1 } else { 2 },
            replica_state: if is_told { state } else { ReplicaState::default() },
            max_wait_ms: 500,
            min_bytes: 1,
            topics: vec![topic(1, 0..200), topic(2, 7..8)],
        })
    }

    fn generated(version: i16, request: &FetchRequest) -> Bytes {
        let mut buffer = BytesMut::new();
        request.encode_into(&mut buffer, ApiVersion::new(version)).expect("encodes");
        buffer.freeze()
    }

    fn generated_request(version: i16, body: Bytes) -> Option<FetchRequest> {
        let limits = limits(body.len());
        let mut decoder = Decoder::new(body, limits).ok()?;
        FetchRequest::decode(&mut decoder, ApiVersion::new(version)).ok()
    }

    #[test]
    fn a_plain_request_has_the_bytes_of_the_generated_encoder_and_comes_back() {
        for version in FROM..=TO {
            for request in [plain_request(version), FetchRequest::default()] {
                let mut buffer = BytesMut::new();
                assert!(write_request(version, &request, &mut buffer), "version {version}");
                assert_eq!(buffer, generated(version, &request), "version {version}");
                assert_eq!(read_request(version, &buffer), Some(request), "version {version}");
            }
        }
    }

    #[test]
    fn a_request_with_anything_unusual_is_left_to_the_generated_codec() {
        for version in FROM..=TO {
            let mut buffer = BytesMut::new();
            for request in requests(ApiKey::Fetch, version) {
                let Request::Fetch(request) = request else { continue };
                assert!(!write_request(version, &request, &mut buffer), "it names a rack");
            }
            let unrepresentable =
                message!(FetchRequest { replica_id: 1, replica_state: message!(ReplicaState { replica_id: 1 }) });
            assert!(!write_request(version, &unrepresentable, &mut buffer));
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn hostile_requests_are_read_as_the_generated_decoder_reads_them_or_left_to_it() {
        let mut read = 0;
        for version in FROM..=TO {
            for hostile in mutants(&generated(version, &plain_request(version)), 5_000) {
                let Some(request) = read_request(version, &hostile) else { continue };
                assert_eq!(Some(request), generated_request(version, hostile), "version {version}");
                read += 1;
            }
        }
        assert!(read > 1_000, "{read}");
    }

    #[test]
    fn hostile_responses_are_read_as_the_generated_decoder_reads_them_or_left_to_it() {
        let mut read = 0;
        for version in FROM..=TO {
            let mut response = fetch_response(version);
            response.node_endpoints.clear();
            for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                (partition.current_leader, partition.diverging_epoch) = (None, None);
                partition.aborted_transactions.as_mut().map(Vec::clear).unwrap_or_default();
            }
            let body = response.encode(version, BytesMut::zeroed(4)).expect("encodes").into_bytes().slice(4..);
            assert!(read_response(version, &body).is_some(), "version {version}");
            for hostile in mutants(&body, 5_000) {
                let Some(plain) = read_response(version, &hostile) else { continue };
                assert_eq!(Ok(plain), FetchResponse::decode_generated(version, hostile), "version {version}");
                read += 1;
            }
        }
        assert!(read > 1_000, "{read}");
    }
}
