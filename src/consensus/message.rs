//! What servers say to each other. `codec` writes it down as bytes.

use bytes::Bytes;

use crate::base::ids::Term;

use super::effect::Refusal;
use super::entry::{Entry, Position, TERM_MAX};

/// One message between two servers of the ensemble.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// Would you vote for me in `term`, which I have not yet entered (§9.6)?
    PreVote {
        /// The sender's term plus one.
        term: Term,
        /// The end of the sender's log.
        last: Position,
    },
    /// Answers `PreVote`.
    PreVoteResponse {
        /// The term asked about if granted, else the sender's own.
        term: Term,
        /// Whether it would.
        granted: bool,
    },
    /// Vote for me.
    RequestVote {
        /// The sender's term.
        term: Term,
        /// The end of the sender's log.
        last: Position,
        /// Whether the leader itself asked for this election, so that nobody need protect it.
        transfer: bool,
    },
    /// Answers `RequestVote`.
    VoteResponse {
        /// The sender's term.
        term: Term,
        /// Whether the sender voted for the receiver in it.
        granted: bool,
    },
    /// The leader's log goes on like this. Without entries, a heartbeat.
    Append {
        /// The leader's term.
        term: Term,
        /// Where `entries` go on from.
        prev: Position,
        /// The leader's commit index.
        commit: u64,
        /// The last round of read confirmations that the leader started.
        round: u64,
        /// May be empty.
        entries: Vec<Entry>,
    },
    /// Answers `Append`, and a `Snapshot` that is not needed or has been installed.
    AppendResponse {
        /// The sender's term.
        term: Term,
        /// The round of the message that is answered.
        round: u64,
        /// Whether the sender may be counted: false from a blank server.
        counts: bool,
        /// How it went.
        outcome: Outcome,
    },
    /// A part of a snapshot, for a follower that needs entries which the leader no longer has.
    Snapshot {
        /// The leader's term.
        term: Term,
        /// The last entry that the snapshot covers.
        position: Position,
        /// Where `data` starts in it.
        offset: u64,
        /// The bytes.
        data: Bytes,
        /// Whether they end it.
        done: bool,
        /// As in `Append`.
        round: u64,
    },
    /// Answers `Snapshot` while more of it is needed.
    SnapshotResponse {
        /// The sender's term.
        term: Term,
        /// The snapshot.
        position: Position,
        /// How many of its bytes the sender holds.
        next_offset: u64,
    },
    /// A follower asks for an index that covers everything committed by now.
    ReadIndex {
        /// The sender's term.
        term: Term,
        /// The sender's incarnation, to be sent back.
        incarnation: u64,
        /// The sender's name for the question, to be sent back.
        batch: u64,
    },
    /// Answers `ReadIndex`.
    ReadIndexResponse {
        /// The leader's term.
        term: Term,
        /// The incarnation that asked.
        incarnation: u64,
        /// Its question.
        batch: u64,
        /// The index.
        index: u64,
    },
    /// The leader wants the receiver to call an election at once (§3.10).
    TimeoutNow {
        /// The leader's term.
        term: Term,
    },
}

/// How an `Append` went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The sender's log agrees with the leader's up to `index`, and is durable up to there.
    Matched {
        /// May be less than what was sent, while that is not yet durable.
        index: u64,
    },
    /// The sender's log does not hold `prev`.
    Conflict {
        /// The index of that `prev`.
        refused: u64,
        /// A position of the sender's log at or before which the logs may agree.
        hint: Position,
    },
    /// The leader's term is over.
    Stale,
}

impl Message {
    /// The term that it was sent in or, for a pre-vote, asks about.
    #[must_use]
    pub fn term(&self) -> Term {
        match self {
            Message::PreVote { term, .. }
            | Message::PreVoteResponse { term, .. }
            | Message::RequestVote { term, .. }
            | Message::VoteResponse { term, .. }
            | Message::Append { term, .. }
            | Message::AppendResponse { term, .. }
            | Message::Snapshot { term, .. }
            | Message::SnapshotResponse { term, .. }
            | Message::ReadIndex { term, .. }
            | Message::ReadIndexResponse { term, .. }
            | Message::TimeoutNow { term } => *term,
        }
    }

    /// Whether only a leader of its term sends it.
    pub(super) fn is_from_leader(&self) -> bool {
        matches!(self, Message::Append { .. } | Message::Snapshot { .. } | Message::TimeoutNow { .. })
    }

    /// Whether it contradicts itself, whatever the receiver's state.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.term() > TERM_MAX {
            return Err(Refusal::TermOutOfRange);
        }
        match self {
            Message::Append { term, prev, entries, .. } => check_entries(*term, *prev, entries),
            Message::Snapshot { term, position, offset, data, done, .. } => {
                check_last(*term, *position)?;
                check_chunk(*position, *offset, data, *done)
            }
            Message::PreVote { term, last } | Message::RequestVote { term, last, .. } => check_last(*term, *last),
            _ => Ok(()),
        }
    }
}

fn check_entries(term: Term, prev: Position, entries: &[Entry]) -> Result<(), Refusal> {
    let mut before = prev;
    for entry in entries {
        if !entry.may_follow(before) {
            return Err(Refusal::BadEntries);
        }
        before = entry.position();
    }
    check_last(term, before)
}

fn check_last(term: Term, last: Position) -> Result<(), Refusal> {
    let is_start = last.index == 0;
    if last.term() > term || last.zxid.0 < 0 || is_start != (last.zxid.0 == 0) || last.index > i64::MAX as u64 {
        return Err(Refusal::BadEntries);
    }
    Ok(())
}

fn check_chunk(position: Position, offset: u64, data: &Bytes, done: bool) -> Result<(), Refusal> {
    let end = offset.checked_add(data.len() as u64);
    let impossible = end.is_none_or(|end| end > i64::MAX as u64) || (data.is_empty() && !done);
    if impossible || position.index == 0 {
        return Err(Refusal::BadChunk);
    }
    Ok(())
}
