//! Messages survive their bytes, and no bytes survive that are not a message.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::super::codec::{BadMessage, decode, encode};
use super::super::{Entry, EntryKind, Message, Outcome, Position};
use crate::base::ids::{Term, Zxid};

fn bytes_of(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    encode(message, &mut out);
    out.freeze()
}

fn position() -> impl Strategy<Value = Position> {
    (0..1_u64 << 40, any::<i64>()).prop_map(|(index, zxid)| Position { index, zxid: Zxid(zxid) })
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn append() -> impl Strategy<Value = Message> {
    let entry = (any::<i64>(), any::<bool>(), payload());
    let entries = prop::collection::vec(entry, 0..5);
    (any::<u32>(), position(), any::<u64>(), any::<u64>(), entries).prop_map(|(term, prev, commit, round, entries)| {
        let place = |(at, (zxid, data, payload)): (usize, (i64, bool, Bytes))| Entry {
            index: prev.index + 1 + at as u64,
            zxid: Zxid(zxid),
            kind: if data { EntryKind::Data } else { EntryKind::NoOp },
            payload,
        };
        let entries = entries.into_iter().enumerate().map(place).collect();
        Message::Append { term: Term(term), prev, commit, round, entries }
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any::<u64>().prop_map(|index| Outcome::Matched { index }),
        (any::<u64>(), position()).prop_map(|(refused, hint)| Outcome::Conflict { refused, hint }),
        Just(Outcome::Stale),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let term = || any::<u32>().prop_map(Term);
    prop_oneof![
        (term(), position()).prop_map(|(term, last)| Message::PreVote { term, last }),
        (term(), any::<bool>()).prop_map(|(term, granted)| Message::PreVoteResponse { term, granted }),
        (term(), position(), any::<bool>()).prop_map(|(term, last, transfer)| Message::RequestVote {
            term,
            last,
            transfer
        }),
        (term(), any::<bool>()).prop_map(|(term, granted)| Message::VoteResponse { term, granted }),
        append(),
        (term(), any::<u64>(), any::<bool>(), outcome())
            .prop_map(|(term, round, counts, outcome)| Message::AppendResponse { term, round, counts, outcome }),
        (term(), position(), any::<u64>(), payload(), any::<bool>(), any::<u64>()).prop_map(
            |(term, position, offset, data, done, round)| Message::Snapshot {
                term,
                position,
                offset,
                data,
                done,
                round
            }
        ),
        (term(), position(), any::<u64>()).prop_map(|(term, position, next_offset)| Message::SnapshotResponse {
            term,
            position,
            next_offset
        }),
        (term(), any::<u64>(), any::<u64>()).prop_map(|(term, incarnation, batch)| Message::ReadIndex {
            term,
            incarnation,
            batch
        }),
        (term(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(term, incarnation, batch, index)| {
            Message::ReadIndexResponse { term, incarnation, batch, index }
        }),
        term().prop_map(|term| Message::TimeoutNow { term }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_message_survives_its_bytes(message in message()) {
        let bytes = bytes_of(&message);
        prop_assert_eq!(decode(bytes), Ok(message));
    }

    #[test]
    fn a_message_that_is_cut_short_or_goes_on_is_refused(message in message(), at in any::<prop::sample::Index>()) {
        let bytes = bytes_of(&message);
        prop_assert!(decode(bytes.slice(..at.index(bytes.len()))).is_err());
        let mut longer = BytesMut::from(&bytes[..]);
        longer.extend_from_slice(&[0]);
        prop_assert_eq!(decode(longer.freeze()), Err(BadMessage::LeftOver(1)));
    }

    #[test]
    fn no_bytes_panic_the_decoder(mut bytes in prop::collection::vec(any::<u8>(), 0..120), tag in 1..12_u8) {
        if bytes.len() > 2 {
            (bytes[0], bytes[1]) = (1, tag);
        }
        let _ = decode(Bytes::from(bytes)).map(|message| message.check());
    }
}

#[test]
fn the_bytes_of_version_1_never_change() {
    let entry =
        Entry { index: 6, zxid: Zxid::new(Term(2), 1), kind: EntryKind::Data, payload: Bytes::from_static(b"znode") };
    let prev = Position { index: 5, zxid: Zxid::new(Term(2), 0) };
    let append = Message::Append { term: Term(2), prev, commit: 4, round: 3, entries: vec![entry] };
    let golden =
        b"\x01\x05\0\0\0\x02\0\0\0\0\0\0\0\x05\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x03\0\0\0\x01\
                   \0\0\0\x02\0\0\0\x01\x01\0\0\0\x05znode";
    assert_eq!(&bytes_of(&append)[..], golden);

    let outcome = Outcome::Conflict { refused: 9, hint: prev };
    let response = Message::AppendResponse { term: Term(3), round: 7, counts: true, outcome };
    let golden = b"\x01\x06\0\0\0\x03\0\0\0\0\0\0\0\x07\x01\x01\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x05\0\0\0\x02\0\0\0\0";
    assert_eq!(&bytes_of(&response)[..], golden);

    let vote = Message::RequestVote { term: Term(4), last: Position::ZERO, transfer: true };
    let golden = b"\x01\x03\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    assert_eq!(&bytes_of(&vote)[..], golden);
}

#[test]
fn a_message_of_another_version_says_so() {
    assert_eq!(decode(Bytes::from_static(&[2, 11, 0, 0, 0, 1])), Err(BadMessage::Version(2)));
}

#[test]
fn an_announced_number_of_entries_reserves_nothing() {
    let append = Message::Append { term: Term(1), prev: Position::ZERO, commit: 0, round: 0, entries: Vec::new() };
    let mut bytes = BytesMut::from(&bytes_of(&append)[..]);
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(decode(bytes.freeze()), Err(BadMessage::EntryCount(u32::MAX)));
}
