//! Everything that a server asks of its shell.

use std::time::Duration;

use bytes::Bytes;

use crate::base::event::Event;
use crate::base::ids::{ServerId, Term};

use super::entry::{Entry, HardState, Position};
use super::input::{PersistId, ReadContext, Timer};
use super::message::Message;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Let `timer` elapse once, after a time drawn uniformly from the span. Replaces its earlier
    /// arming. Followers re-arm at each message of their leader, so keep a deadline, not a task.
    Arm {
        /// Which.
        timer: Timer,
        /// At least this long from now.
        shortest: Duration,
        /// At most this long from now.
        longest: Duration,
    },
    /// Let `timer` not elapse.
    Disarm(Timer),
    /// Send this, if it can be sent without waiting; it may be lost, repeated or overtaken.
    Send {
        /// The peer.
        to: ServerId,
        /// What to say.
        message: Message,
    },
    /// Make this durable, after every earlier one; then `Input::Persisted`.
    Persist(PersistOp),
    /// Apply these to the state machine now. Indexes follow on each other without a gap. The
    /// no-op whose term is this leader's own tells it that all earlier terms' entries are applied.
    Apply {
        /// In order, never empty.
        entries: Vec<Entry>,
    },
    /// A proposal was appended to the leader's log. It is applied later, or its outcome is unknown
    /// once this server has stepped down.
    Proposed {
        /// The proposal's.
        context: u64,
        /// Where it stands.
        position: Position,
    },
    /// A proposal was not appended, and never will be.
    ProposalDropped {
        /// The proposal's.
        context: u64,
        /// Why.
        reason: Dropped,
    },
    /// The state, as it is when this effect's turn comes, is fresh enough to answer this read.
    ReadReady {
        /// The read's.
        context: ReadContext,
        /// The state covers at least this index.
        read_index: u64,
    },
    /// This read cannot be answered.
    ReadFailed {
        /// The read's.
        context: ReadContext,
        /// Why.
        reason: Dropped,
    },
    /// This server leads from now on. What earlier terms left is not yet known to be committed:
    /// wait for the no-op in `Apply` before answering from state or expiring sessions.
    BecameLeader {
        /// In this term.
        term: Term,
    },
    /// This server no longer leads. Proposals not yet applied have an unknown outcome.
    SteppedDown {
        /// The term that it knows now.
        term: Term,
    },
    /// Another server leads.
    LeaderKnown {
        /// In this term.
        term: Term,
        /// The leader.
        leader: ServerId,
    },
    /// Read a chunk of the snapshot for a follower; then `Input::SnapshotRead` or `…Unreadable`.
    ReadSnapshot {
        /// The follower.
        to: ServerId,
        /// The snapshot.
        position: Position,
        /// From where on.
        offset: u64,
    },
    /// Store a chunk of a snapshot aside; then `Input::SnapshotStored` or `…Invalid`. At offset 0
    /// whatever was stored aside before is dropped. Need not be durable yet.
    StoreSnapshotChunk {
        /// The snapshot.
        position: Position,
        /// Where `data` starts in it; always what is stored so far.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// The snapshot stored aside is whole: verify it, make it durable as the snapshot and let it
    /// replace the state; then `Input::SnapshotInstalled` or `…Invalid`. Ordered with `Persist`.
    InstallSnapshot {
        /// The snapshot.
        position: Position,
    },
    /// Log files that hold nothing above `through` may be removed.
    Compacted {
        /// Everything up to here is in a snapshot and no longer kept.
        through: Position,
    },
    /// A peer's message was malformed or impossible, and ignored.
    Refused {
        /// The peer.
        from: ServerId,
        /// What was wrong.
        refusal: Refusal,
    },
    /// Stop this server: something that must never happen was seen.
    Fault(Fault),
    /// Something happened that observers care about.
    Observe(Event),
}

/// What to make durable, in the order of the fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistOp {
    /// Its name.
    pub id: PersistId,
    /// The new term and vote.
    pub hard_state: Option<HardState>,
    /// Drop the whole log: it goes on after this position, up to which the snapshot holds all.
    pub reset_to: Option<Position>,
    /// Remove entries with this index and above.
    pub truncate_from: Option<u64>,
    /// Append these.
    pub entries: Vec<Entry>,
}

/// Why a proposal or read was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// Another server leads, or none; ask the hint.
    NotLeader {
        /// The leader, if known.
        leader: Option<ServerId>,
    },
    /// Too much waits already. Retry later.
    Overloaded,
    /// Leadership is on its way to another server. Retry there.
    Transferring,
    /// The payload is larger than `Limits::PROPOSAL_BYTES_MAX`.
    TooLarge,
}

/// What was wrong with a peer's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The sender is not another member of the ensemble.
    #[error("the sender is not another member of the ensemble")]
    NotAPeer,
    /// A term of 2^31 or more.
    #[error("the term is 2^31 or more")]
    TermOutOfRange,
    /// Entries that cannot follow on each other, or that are of a later term than the message.
    #[error("the entries cannot follow on each other or are of a term yet to come")]
    BadEntries,
    /// An acknowledgement of what was never sent.
    #[error("it acknowledges what was never sent")]
    BadAcknowledgement,
    /// A snapshot's chunk that is empty in its midst, or beyond the largest offset.
    #[error("the snapshot's chunk is impossible")]
    BadChunk,
}

/// What must never happen. No cause within the fault model leads here: a peer or this server's
/// own disk is broken, and going on could spread it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// A leader's log contradicts an entry that is committed here.
    #[error("server {from} contradicts the committed entry {index}")]
    CommittedContradicted {
        /// The leader.
        from: ServerId,
        /// The entry.
        index: u64,
    },
    /// Two servers lead in one term.
    #[error("servers {one} and {other} both lead in term {term}")]
    TwoLeaders {
        /// The term.
        term: Term,
        /// The leader that was known.
        one: ServerId,
        /// The other.
        other: ServerId,
    },
    /// All terms below 2^31 are used up.
    #[error("no term is left below 2^31")]
    TermsExhausted,
}
