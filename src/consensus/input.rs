//! Everything that can happen to a server.

use bytes::Bytes;

use crate::base::ids::ServerId;

use super::entry::Position;
use super::message::Message;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// The shell is ready to carry out effects. Given once, first.
    Start,
    /// A timer that was armed, and neither re-armed nor disarmed since, has elapsed. One that
    /// elapses although it was disarmed does no harm.
    Elapsed(Timer),
    /// A peer's message arrived. The transport vouches for `from`, and for nothing else.
    Received {
        /// Who sent it.
        from: ServerId,
        /// What it says.
        message: Message,
    },
    /// This persist, and every one before it, is durable.
    Persisted {
        /// The last one of them.
        id: PersistId,
    },
    /// Clients want these appended, in this order. One step makes one persist and one `Append` a
    /// follower of them, so a shell under load passes all that wait.
    Propose {
        /// What to append.
        proposals: Vec<Proposal>,
    },
    /// A client wants to read what is committed now, or later (§6.4).
    ReadIndex {
        /// Comes back with the answer.
        context: ReadContext,
    },
    /// An operator, or a leader about to stop, wants `to` to lead (§3.10). Ignored by followers.
    TransferLeadership {
        /// The server that should lead.
        to: ServerId,
    },
    /// The shell made a durable snapshot of its state as of an applied entry.
    SnapshotTaken {
        /// The last entry that it covers.
        position: Position,
    },
    /// Answers `Effect::ReadSnapshot`.
    SnapshotRead {
        /// The follower for which it was read.
        to: ServerId,
        /// The snapshot.
        position: Position,
        /// Where `data` starts in it.
        offset: u64,
        /// At most `Limits::snapshot_chunk_bytes_max` bytes.
        data: Bytes,
        /// Whether `data` ends it.
        done: bool,
    },
    /// Answers `Effect::ReadSnapshot` if that snapshot is gone. A later one must have been taken.
    SnapshotUnreadable {
        /// The follower for which it was wanted.
        to: ServerId,
        /// The snapshot.
        position: Position,
    },
    /// Answers `Effect::StoreSnapshotChunk`.
    SnapshotStored {
        /// The snapshot.
        position: Position,
        /// How many of its bytes are stored.
        next_offset: u64,
    },
    /// Answers `Effect::InstallSnapshot`: it is durable and has replaced the state.
    SnapshotInstalled {
        /// The snapshot.
        position: Position,
    },
    /// Answers `Effect::StoreSnapshotChunk` or `Effect::InstallSnapshot` if the bytes received are
    /// no valid snapshot, or could not be stored. They are dropped; the leader starts over.
    SnapshotInvalid {
        /// The snapshot.
        position: Position,
    },
}

/// The timers that a server keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Not a leader: no leader was heard of for a while, or an election came to nothing.
    Election,
    /// Leader: it is time to be heard.
    Heartbeat,
    /// Leader: it is time to see whether a quorum still answers.
    CheckQuorum,
    /// Not a leader: the leader has not answered a read; ask again.
    ReadRetry,
}

/// Names one persist. Ids grow by one from 1 in each incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// Names one read for the shell. Opaque to consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadContext(pub u64);

/// Something to append.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proposal {
    /// Comes back with the position, or with the reason why it was dropped.
    pub context: u64,
    /// The entry's payload.
    pub payload: Bytes,
}
