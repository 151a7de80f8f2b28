//! Messages as bytes. The shell frames them onto a connection; the frame bounds their length.
//!
//! All numbers are big-endian. A position is an index and a zxid.
//!
//! | offset | bytes | field                        |
//! |-------:|------:|------------------------------|
//! |      0 |     1 | version, 1                   |
//! |      1 |     1 | which message                |
//! |      2 |     4 | term                         |
//! |      6 |     – | that message's fields        |
//!
//! | message               | fields                                                                      |
//! |-----------------------|-----------------------------------------------------------------------------|
//! | 1 PreVote             | position 16                                                                 |
//! | 2 PreVoteResponse     | granted 1                                                                   |
//! | 3 RequestVote         | position 16, transfer 1                                                     |
//! | 4 VoteResponse        | granted 1                                                                   |
//! | 5 Append              | position 16, commit 8, round 8, count 4, entries                            |
//! | 6 AppendResponse      | round 8, counts 1, outcome 1: 0 matched 8; 1 refused 8, position 16; 2 stale |
//! | 7 Snapshot            | position 16, offset 8, done 1, round 8, length 4, data                      |
//! | 8 SnapshotResponse    | position 16, next offset 8                                                  |
//! | 9 ReadIndex           | incarnation 8, batch 8                                                      |
//! | 10 ReadIndexResponse  | incarnation 8, batch 8, index 8                                             |
//! | 11 TimeoutNow         | –                                                                           |
//!
//! An entry is: zxid 8, kind 1 (0 no-op, 1 data), length 4, payload. Its index follows from its
//! place. Decoding reserves nothing that was not received, shares the frame's memory for payloads,
//! and refuses what is left over.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::base::ids::{Term, Zxid};

use super::entry::{Entry, EntryKind, Position};
use super::message::{Message, Outcome};

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;

/// The fewest bytes that an entry takes.
const ENTRY_BYTES_MIN: usize = 8 + 1 + 4;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// A version of another time.
    #[error("version {0} of the consensus protocol is not supported, only 1")]
    Version(u8),
    /// The bytes end within a field.
    #[error("the message is cut short")]
    Short,
    /// Bytes follow the last field.
    #[error("{0} bytes follow the message")]
    LeftOver(usize),
    /// A byte that names no message, kind, outcome or truth value.
    #[error("{value} is no {field}")]
    Unknown {
        /// What it should be.
        field: &'static str,
        /// The byte.
        value: u8,
    },
    /// More entries than bytes for them, or indexes past the largest.
    #[error("an impossible number of entries: {0}")]
    EntryCount(u32),
}

/// Writes `message` at the end of `out`.
pub fn encode(message: &Message, out: &mut BytesMut) {
    out.put_u8(VERSION);
    out.put_u8(tag(message));
    out.put_u32(message.term().0);
    match message {
        Message::PreVote { last, .. } => put_position(*last, out),
        Message::PreVoteResponse { granted, .. } | Message::VoteResponse { granted, .. } => {
            out.put_u8(u8::from(*granted));
        }
        Message::RequestVote { last, transfer, .. } => {
            put_position(*last, out);
            out.put_u8(u8::from(*transfer));
        }
        Message::Append { prev, commit, round, entries, .. } => {
            put_position(*prev, out);
            out.put_u64(*commit);
            out.put_u64(*round);
            put_entries(entries, out);
        }
        Message::AppendResponse { round, counts, outcome, .. } => {
            out.put_u64(*round);
            out.put_u8(u8::from(*counts));
            put_outcome(outcome, out);
        }
        Message::Snapshot { position, offset, data, done, round, .. } => {
            put_position(*position, out);
            out.put_u64(*offset);
            out.put_u8(u8::from(*done));
            out.put_u64(*round);
            put_bytes(data, out);
        }
        Message::SnapshotResponse { position, next_offset, .. } => {
            put_position(*position, out);
            out.put_u64(*next_offset);
        }
        Message::ReadIndex { incarnation, batch, .. } => {
            out.put_u64(*incarnation);
            out.put_u64(*batch);
        }
        Message::ReadIndexResponse { incarnation, batch, index, .. } => {
            out.put_u64(*incarnation);
            out.put_u64(*batch);
            out.put_u64(*index);
        }
        Message::TimeoutNow { .. } => {}
    }
}

/// Reads one message that takes all of `bytes`.
pub fn decode(mut bytes: Bytes) -> Result<Message, BadMessage> {
    let input = &mut bytes;
    let version = take_u8(input)?;
    if version != VERSION {
        return Err(BadMessage::Version(version));
    }
    let tag = take_u8(input)?;
    let term = Term(take_u32(input)?);
    let message = match tag {
        1 => Message::PreVote { term, last: take_position(input)? },
        2 => Message::PreVoteResponse { term, granted: take_bool(input)? },
        3 => Message::RequestVote { term, last: take_position(input)?, transfer: take_bool(input)? },
        4 => Message::VoteResponse { term, granted: take_bool(input)? },
        5 => take_append(term, input)?,
        6 => {
            let (round, counts) = (take_u64(input)?, take_bool(input)?);
            Message::AppendResponse { term, round, counts, outcome: take_outcome(input)? }
        }
        7 => take_snapshot(term, input)?,
        8 => Message::SnapshotResponse { term, position: take_position(input)?, next_offset: take_u64(input)? },
        9 => Message::ReadIndex { term, incarnation: take_u64(input)?, batch: take_u64(input)? },
        10 => {
            let (incarnation, batch) = (take_u64(input)?, take_u64(input)?);
            Message::ReadIndexResponse { term, incarnation, batch, index: take_u64(input)? }
        }
        11 => Message::TimeoutNow { term },
        value => return Err(BadMessage::Unknown { field: "message", value }),
    };
    if input.has_remaining() {
        return Err(BadMessage::LeftOver(input.remaining()));
    }
    Ok(message)
}

fn tag(message: &Message) -> u8 {
    match message {
        Message::PreVote { .. } => 1,
        Message::PreVoteResponse { .. } => 2,
        Message::RequestVote { .. } => 3,
        Message::VoteResponse { .. } => 4,
        Message::Append { .. } => 5,
        Message::AppendResponse { .. } => 6,
        Message::Snapshot { .. } => 7,
        Message::SnapshotResponse { .. } => 8,
        Message::ReadIndex { .. } => 9,
        Message::ReadIndexResponse { .. } => 10,
        Message::TimeoutNow { .. } => 11,
    }
}

fn put_position(position: Position, out: &mut BytesMut) {
    out.put_u64(position.index);
    out.put_i64(position.zxid.0);
}

fn put_bytes(bytes: &Bytes, out: &mut BytesMut) {
    let length = u32::try_from(bytes.len()).expect("payloads and chunks are bounded far below 4 GiB");
    out.put_u32(length);
    out.put_slice(bytes);
}

fn put_entries(entries: &[Entry], out: &mut BytesMut) {
    out.put_u32(u32::try_from(entries.len()).expect("entries in one message are bounded"));
    for entry in entries {
        out.put_i64(entry.zxid.0);
        out.put_u8(u8::from(entry.kind == EntryKind::Data));
        put_bytes(&entry.payload, out);
    }
}

fn put_outcome(outcome: &Outcome, out: &mut BytesMut) {
    match outcome {
        Outcome::Matched { index } => {
            out.put_u8(0);
            out.put_u64(*index);
        }
        Outcome::Conflict { refused, hint } => {
            out.put_u8(1);
            out.put_u64(*refused);
            put_position(*hint, out);
        }
        Outcome::Stale => out.put_u8(2),
    }
}

fn take_u8(input: &mut Bytes) -> Result<u8, BadMessage> {
    input.try_get_u8().map_err(|_| BadMessage::Short)
}

fn take_u32(input: &mut Bytes) -> Result<u32, BadMessage> {
    input.try_get_u32().map_err(|_| BadMessage::Short)
}

fn take_u64(input: &mut Bytes) -> Result<u64, BadMessage> {
    input.try_get_u64().map_err(|_| BadMessage::Short)
}

fn take_bool(input: &mut Bytes) -> Result<bool, BadMessage> {
    match take_u8(input)? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(BadMessage::Unknown { field: "truth value", value }),
    }
}

fn take_zxid(input: &mut Bytes) -> Result<Zxid, BadMessage> {
    input.try_get_i64().map(Zxid).map_err(|_| BadMessage::Short)
}

fn take_position(input: &mut Bytes) -> Result<Position, BadMessage> {
    Ok(Position { index: take_u64(input)?, zxid: take_zxid(input)? })
}

fn take_bytes(input: &mut Bytes) -> Result<Bytes, BadMessage> {
    let length = take_u32(input)? as usize;
    if length > input.remaining() {
        return Err(BadMessage::Short);
    }
    Ok(input.split_to(length))
}

fn take_append(term: Term, input: &mut Bytes) -> Result<Message, BadMessage> {
    let (prev, commit, round) = (take_position(input)?, take_u64(input)?, take_u64(input)?);
    let count = take_u32(input)?;
    let fits = count as usize <= input.remaining() / ENTRY_BYTES_MIN;
    if !fits || prev.index.checked_add(u64::from(count)).is_none() {
        return Err(BadMessage::EntryCount(count));
    }
    let mut entries = Vec::with_capacity(count as usize);
    for place in 1..=u64::from(count) {
        entries.push(take_entry(prev.index + place, input)?);
    }
    Ok(Message::Append { term, prev, commit, round, entries })
}

fn take_entry(index: u64, input: &mut Bytes) -> Result<Entry, BadMessage> {
    let zxid = take_zxid(input)?;
    let kind = match take_u8(input)? {
        0 => EntryKind::NoOp,
        1 => EntryKind::Data,
        value => return Err(BadMessage::Unknown { field: "kind of entry", value }),
    };
    Ok(Entry { index, zxid, kind, payload: take_bytes(input)? })
}

fn take_snapshot(term: Term, input: &mut Bytes) -> Result<Message, BadMessage> {
    let (position, offset) = (take_position(input)?, take_u64(input)?);
    let (done, round) = (take_bool(input)?, take_u64(input)?);
    Ok(Message::Snapshot { term, position, offset, data: take_bytes(input)?, done, round })
}

fn take_outcome(input: &mut Bytes) -> Result<Outcome, BadMessage> {
    match take_u8(input)? {
        0 => Ok(Outcome::Matched { index: take_u64(input)? }),
        1 => Ok(Outcome::Conflict { refused: take_u64(input)?, hint: take_position(input)? }),
        2 => Ok(Outcome::Stale),
        value => Err(BadMessage::Unknown { field: "outcome", value }),
    }
}
