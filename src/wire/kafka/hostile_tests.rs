//! Hostile frames: cut, lengthened, bit-flipped, with counts and lengths that lie. Decoding ends
//! with a value or a typed error, never a panic, and what it keeps is bounded by what it was given.

use bytes::Bytes;
use kafka_wire::RetainedSize;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::client::decode_response;
use super::request::{Request, decode};
use super::round_trip_tests::{request_frames, response_frames};
use super::{ApiKey, records};

/// Frames that are derived from each sample.
const MUTATIONS: usize = 1_000;
/// The most memory that a decoded request may keep per byte received, besides the frame itself:
/// an empty string takes one byte on the wire and a whole struct in memory.
const RETAINED_PER_BYTE_MAX: usize = 256;

fn mutate(random: &mut TestRng, frame: &Bytes, from: usize) -> Bytes {
    let mut bytes = frame.to_vec();
    let at = from + random.next_u32() as usize % (bytes.len() - from).max(1);
    match random.next_u32() % 6 {
        0 => bytes.truncate(at),
        1 => bytes.extend((0..=random.next_u32() % 40).map(|byte| byte as u8)),
        2 => overwrite(&mut bytes, at, &[0x7f, 0xff, 0xff, 0xff]),
        3 => overwrite(&mut bytes, at, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        4 => overwrite(&mut bytes, at, &random.next_u32().to_be_bytes()),
        _ => overwrite(&mut bytes, at, &[1 << (random.next_u32() % 8)]),
    }
    Bytes::from(bytes)
}

/// `count` frames that are derived from `frame`.
pub(super) fn mutants(frame: &Bytes, count: usize) -> impl Iterator<Item = Bytes> {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    (0..count).map(move |_| mutate(&mut random, frame, 0))
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (byte, new) in bytes.iter_mut().skip(at).zip(with) {
        *byte = if with.len() == 1 { *byte ^ *new } else { *new };
    }
}

fn retained_bytes(request: &Request) -> usize {
    match request {
        Request::Produce(body) => body.retained_size().heap_bytes(),
        Request::Fetch(body) => body.retained_size().heap_bytes(),
        Request::ListOffsets(body) => body.retained_size().heap_bytes(),
        Request::Metadata(body) => body.retained_size().heap_bytes(),
        Request::FindCoordinator(body) => body.retained_size().heap_bytes(),
        Request::CreateTopics(body) => body.retained_size().heap_bytes(),
        Request::DeleteTopics(body) => body.retained_size().heap_bytes(),
        Request::OffsetForLeaderEpoch(body) => body.retained_size().heap_bytes(),
        _ => 0,
    }
}

#[test]
fn a_hundred_thousand_hostile_requests_end_in_values_or_errors_within_the_budget() {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let (mut tried, mut accepted) = (0, 0);
    for (_, _, _, frame) in request_frames() {
        for _ in 0..MUTATIONS * 2 {
            let hostile = mutate(&mut random, &frame, 0);
            let received = hostile.len();
            tried += 1;
            if let Ok((_, request)) = decode(hostile) {
                accepted += 1;
                let retained = retained_bytes(&request);
                assert!(retained <= RETAINED_PER_BYTE_MAX * received, "{retained} bytes kept of {received}");
            }
        }
    }
    assert!(tried >= 100_000, "{tried}");
    assert!(accepted > 0 && accepted < tried, "{accepted} of {tried} accepted");
}

#[test]
fn hostile_responses_end_in_values_or_errors() {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for (api, version, _, frame) in response_frames() {
        let mut refused = 0;
        for _ in 0..MUTATIONS {
            refused += usize::from(decode_response(api, version, mutate(&mut random, &frame, 4)).is_err());
        }
        assert!(refused > 0, "{api:?} {version}");
    }
}

#[test]
fn every_proper_prefix_of_a_request_is_an_error() {
    for (api, version, _, frame) in request_frames() {
        for length in 0..frame.len() {
            assert!(decode(frame.slice(..length)).is_err(), "{api:?} {version} cut to {length}");
        }
        let longer = Bytes::from([&frame[..], &[0]].concat());
        match api {
            // Both ends of it are ours.
            ApiKey::Private => assert!(decode(longer).is_err(), "{api:?} {version} with a byte too many"),
            _ => assert_eq!(decode(longer), decode(frame), "{api:?} {version} with a byte that is ignored"),
        }
    }
}

#[test]
fn a_large_frame_is_refused_where_no_records_are_carried() {
    let mut bytes = vec![0; super::request::CONTROL_FRAME_BYTES_MAX + 1];
    bytes[..12].copy_from_slice(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    let error = decode(Bytes::from(bytes)).expect_err("refused");
    assert!(matches!(error, super::request::RequestError::TooLarge { api: ApiKey::Metadata, .. }), "{error}");
}

#[test]
fn garbage_is_never_read_as_records() {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for length in 0..2_000 {
        let mut bytes = vec![0; length % 200];
        random.fill_bytes(&mut bytes);
        if bytes.len() > 16 {
            bytes[16] = 2;
            bytes[8..12].copy_from_slice(&(random.next_u32() % 100).to_be_bytes());
        }
        assert!(records::batches(Bytes::from(bytes)).all(|batch| batch.is_err()));
    }
}
