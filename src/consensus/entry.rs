//! What the log holds: entries, positions in it, and the term and vote that outlive a crash.

use bytes::Bytes;

use crate::base::ids::{ServerId, Term, Zxid};

/// The largest term: a zxid is signed, and its upper half is the term.
pub const TERM_MAX: Term = Term(i32::MAX as u32);

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// The first entry of a term, by which a leader commits what earlier terms left (§5.4.2).
    NoOp,
    /// A change for the state machine.
    Data,
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Its place in the log, from 1, without gaps.
    pub index: u64,
    /// `term << 32 | counter`; within a term the counter is 0 for the no-op and grows by one.
    pub zxid: Zxid,
    /// What it is for.
    pub kind: EntryKind,
    /// Opaque to consensus; empty in a no-op.
    pub payload: Bytes,
}

impl Entry {
    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { index: self.index, zxid: self.zxid }
    }

    /// The term in which it was proposed.
    #[must_use]
    pub fn term(&self) -> Term {
        self.zxid.term()
    }

    /// Whether this entry may directly follow `before`: the index is next, and the zxid is either
    /// next in the same term or the no-op of a later one.
    #[must_use]
    pub fn may_follow(&self, before: Position) -> bool {
        let index_is_next = before.index.checked_add(1) == Some(self.index);
        let counter_is_next = before.zxid.counter().checked_add(1) == Some(self.zxid.counter());
        let same_term = self.term() == before.term() && counter_is_next && self.kind == EntryKind::Data;
        let new_term = self.term() > before.term() && self.zxid.counter() == 0 && self.kind == EntryKind::NoOp;
        index_is_next && self.zxid.0 > 0 && (same_term || new_term)
    }
}

/// A place in a log. Two logs that hold the same position are equal up to it (log matching).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The entry's index; 0 before the first entry.
    pub index: u64,
    /// The entry's zxid; 0 before the first entry.
    pub zxid: Zxid,
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Position = Position { index: 0, zxid: Zxid(0) };

    /// The entry's term; 0 before the first entry.
    #[must_use]
    pub fn term(self) -> Term {
        self.zxid.term()
    }

    /// Whether a log that ends here may lead one that ends at `other`: a later last term, or the
    /// same and at least as long (§5.4.1).
    #[must_use]
    pub fn is_up_to_date_with(self, other: Position) -> bool {
        (self.term(), self.index) >= (other.term(), other.index)
    }
}

/// What must be durable before it takes effect on anyone else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// The candidate that got this server's vote in that term.
    pub voted_for: Option<ServerId>,
}
