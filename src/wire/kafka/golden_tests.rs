//! Bytes written out by hand from Kafka's protocol guide, held against what we encode and decode.
//!
//! The round-trip tests show that encoder and decoder agree; these show that they agree with Kafka.

use bytes::Bytes;

use super::messages::api_versions_response::ApiVersion as ApiVersionEntry;
use super::messages::*;
use super::request::{Request, RequestError, decode};
use super::response::{Response, encode};
use super::{ApiKey, ErrorCode, client};
use crate::message;

/// Bytes from hexadecimal digits; everything else in `text` is for the reader.
fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text
        .split_whitespace()
        .filter(|word| word.chars().all(|digit| digit.is_ascii_hexdigit()))
        .flat_map(str::bytes)
        .collect();
    assert_eq!(digits.len() % 2, 0, "{text}");
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hexadecimal"))
        .collect::<Vec<_>>()
        .into()
}

fn frame_of(response: impl Into<Response>, correlation_id: i32, version: i16) -> Bytes {
    encode(correlation_id, version, &response.into()).expect("encodes").into_bytes()
}

fn request_body(bytes: &str) -> Request {
    decode(hex(bytes)).expect("decodes").1
}

#[test]
fn a_v1_header_has_no_tagged_fields_and_a_v2_header_keeps_the_plain_client_id() {
    let (header, _) = decode(hex("0012 0000 00000007 0002 6162")).expect("ApiVersions 0");
    assert_eq!((header.api, header.version, header.correlation_id), (ApiKey::ApiVersions, 0, 7));
    assert_eq!(header.client_id.as_deref(), Some("ab"));

    // Two unknown tagged fields in the header (tags 1 and 5) are skipped, then the compact body.
    let (header, request) =
        decode(hex("0012 0003 00000008 0002 6162 02 01 01 ff 05 02 aabb 03 6b63 02 31 00")).expect("ApiVersions 3");
    assert_eq!((header.version, header.correlation_id), (3, 8));
    let Request::ApiVersions(body) = request else { panic!("{request:?}") };
    assert_eq!((&*body.client_software_name, &*body.client_software_version), ("kc", "1"));
}

#[test]
fn api_versions_answers_always_have_a_v0_header() {
    let entry = message!(ApiVersionEntry { api_key: 18, min_version: 0, max_version: 4 });
    let response = message!(ApiVersionsResponse { api_keys: vec![entry] });
    assert_eq!(frame_of(response.clone(), 5, 0), hex("00000010 00000005 0000 00000001 0012 0000 0004"));
    // Version 3: compact array, throttle time, a tagged field per entry and for the body; no
    // tagged fields in the header.
    assert_eq!(frame_of(response, 5, 3), hex("00000013 00000005 0000 02 0012 0000 0004 00 00000000 00"));
}

#[test]
fn an_unknown_version_of_api_versions_gets_a_v0_body_with_error_35() {
    let error = decode(hex("0012 0009 0000002a 0001 61 00 00 00 00")).expect_err("version 9");
    assert_eq!(error, RequestError::UnsupportedVersion { api: ApiKey::ApiVersions, version: 9, correlation_id: 42 });
    let answer = error.answer().expect("answered").into_bytes();
    assert_eq!(answer.slice(4..10), hex("0000002a 0023"));
    // A client that asked in version 4 understands it, as KIP-511 wants.
    let (id, response) = client::decode_response(ApiKey::ApiVersions, 4, answer.slice(4..)).expect("falls back");
    let Response::ApiVersions(body) = response else { panic!("{response:?}") };
    assert_eq!((id, ErrorCode::from_wire(body.error_code)), (42, ErrorCode::UnsupportedVersion));
    let produce = body.api_keys.iter().find(|entry| entry.api_key == 0).expect("Produce is listed");
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
}

/// What librdkafka 2.6.1 sends for the metadata of all topics: its array of topics takes one byte of
/// the four that it had reserved, and the other three shift what follows out of the message.
#[test]
fn bytes_behind_a_request_are_ignored_as_librdkafka_needs_it() {
    let frame = hex("0003 000c 00000003 0007 72646b61666b61 00 00 00 00 00 01 00 00");
    let (header, request) = decode(frame).expect("is understood");
    assert_eq!((header.api, header.version, header.correlation_id), (ApiKey::Metadata, 12, 3));
    let Request::Metadata(metadata) = request else { panic!("{request:?}") };
    assert!(metadata.topics.is_none(), "all topics");
}

#[test]
fn other_unknown_versions_and_apis_are_not_answered() {
    for bytes in
        ["0000 0002 00000001 ffff", "0001 0003 00000001 ffff", "ffff 0000 00000001 ffff", "0011 0000 00000001 ffff"]
    {
        let error = decode(hex(bytes)).expect_err(bytes);
        assert!(error.answer().is_none(), "{error}");
    }
}

#[test]
fn metadata_0_asks_for_all_topics_by_an_empty_array_and_metadata_1_by_null() {
    let Request::Metadata(v0) = request_body("0003 0000 00000001 ffff 00000000") else { panic!("not Metadata") };
    assert_eq!(v0.topics, Some(vec![]));
    let Request::Metadata(v1) = request_body("0003 0001 00000001 ffff ffffffff") else { panic!("not Metadata") };
    assert_eq!(v1.topics, None);
    let Request::Metadata(v12) =
        request_body("0003 000c 00000001 ffff 00 02 000102030405060708090a0b0c0d0e0f 02 74 00 01 00 00")
    else {
        panic!("not Metadata")
    };
    let topic = &v12.topics.expect("listed")[0];
    assert_eq!((topic.name.as_deref(), topic.topic_id.as_bytes()[15]), (Some("t"), 15));
    assert!(v12.allow_auto_topic_creation);
}

#[test]
fn produce_records_are_a_slice_of_the_frame_in_plain_and_compact_versions() {
    let plain = hex("0000 0003 00000001 ffff  ffff ffff 00007530 00000001 0001 74 00000001 00000002 00000003 0a0b0c");
    let compact = hex("0000 0009 00000001 ffff 00  00 ffff 00007530 02 02 74 02 00000002 04 0a0b0c 00 00 00");
    for frame in [plain, compact] {
        let range = frame.as_ptr_range();
        let (_, Request::Produce(body)) = decode(frame.clone()).expect("decodes") else { panic!("not Produce") };
        assert_eq!((body.acks, body.timeout_ms, body.transactional_id), (-1, 30_000, None));
        assert_eq!(&*body.topic_data[0].name, "t");
        let partition = &body.topic_data[0].partition_data[0];
        let records = partition.records.as_ref().expect("records");
        assert_eq!((partition.index, &records[..]), (2, &[10, 11, 12][..]));
        assert!(range.contains(&records.as_ptr()), "the records were copied");
    }
}

#[test]
fn produce_answers_follow_their_version() {
    let partition = message!(produce_response::PartitionProduceResponse {
        index: 2,
        error_code: 0,
        base_offset: 5,
        log_append_time_ms: -1,
        log_start_offset: 0,
    });
    let topic =
        message!(produce_response::TopicProduceResponse { name: "t".into(), partition_responses: vec![partition] });
    let response = message!(ProduceResponse { responses: vec![topic] });
    assert_eq!(
        frame_of(response.clone(), 1, 3),
        hex("00000029 00000001 00000001 0001 74 00000001 00000002 0000 0000000000000005 ffffffffffffffff 00000000")
    );
    let v9 = frame_of(response, 1, 9);
    assert_eq!(
        v9.slice(4..),
        hex(
            "00000001 00 02 02 74 02 00000002 0000 0000000000000005 ffffffffffffffff 0000000000000000 01 00 00 00 00000000 00"
        )
    );
}

#[test]
fn find_coordinator_0_and_4_differ_in_shape() {
    let Request::FindCoordinator(v0) = request_body("000a 0000 00000001 ffff 0001 67") else { panic!("wrong") };
    assert_eq!(&*v0.key, "g");
    let Request::FindCoordinator(v4) = request_body("000a 0004 00000001 ffff 00 00 02 02 67 00") else {
        panic!("wrong")
    };
    assert_eq!(v4.coordinator_keys, ["g".into()]);
}

#[test]
fn a_follower_fetch_names_its_replica_in_the_place_of_its_version() {
    // Version 4: replica id first, name-based.
    let Request::Fetch(v4) = request_body(
        "0001 0004 00000001 ffff  00000003 000001f4 00000001 00100000 00 00000001 0001 74 00000001 00000000 0000000000000009 00010000",
    ) else {
        panic!("wrong")
    };
    assert_eq!((v4.replica_id, v4.max_wait_ms, v4.topics[0].partitions[0].fetch_offset), (3, 500, 9));
    // Version 15: replica state in tagged field 1 (id 3, epoch 7), topics by id.
    let Request::Fetch(v15) = request_body(
        "0001 000f 00000001 ffff 00  000001f4 00000001 00100000 00 00000000 ffffffff 01 01 01  01 01 0d 00000003 0000000000000007 00",
    ) else {
        panic!("wrong")
    };
    assert_eq!((v15.replica_state.replica_id, v15.replica_state.replica_epoch), (3, 7));
}
