//! What is known of sessions without asking the coordinator: who asked for which time-out, and what
//! was delivered to whose process, as the servers' sockets had it; and beside it what the
//! coordinator claims, that a session is to expire or has ended.

use serde::{Deserialize, Serialize};
use wyrdlog::base::ids::{SessionId, Zxid};

use crate::observed::{Incarnation, Node};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// This process wrote the answer that gives a client its session.
    Granted {
        /// The session.
        session: SessionId,
        /// The time-out that the client had asked for.
        asked_ms: i32,
        /// The time-out in the answer.
        granted_ms: i32,
    },
    /// Bytes of a session's client, or a peer's word that it heard of it, were delivered to this process.
    Heard {
        /// The session.
        session: SessionId,
        /// Whether the client's own bytes came here.
        directly: bool,
    },
    /// A client asked this process for a session that it has; nobody knows yet whether it is its own.
    Asked {
        /// The session.
        session: SessionId,
        /// The time-out that the client asks for.
        asked_ms: i32,
    },
    /// This process told a client that its session has expired.
    Expelled {
        /// The session.
        session: SessionId,
    },
    /// This process claims to lead from now on.
    Elected,
    /// This process claims that a session is overdue, and proposes its end.
    ExpiryProposed {
        /// The session.
        session: SessionId,
    },
    /// A session's end was applied here.
    Ended {
        /// The session.
        session: SessionId,
        /// Whether it expired instead of being closed.
        expired: bool,
    },
}

/// What happened, where and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Virtual nanoseconds since the start of the run.
    pub time_ns: u64,
    /// What the node's monotonic clock showed; comparable within an incarnation.
    pub clock_ns: u64,
    /// The server.
    pub node: Node,
    /// The life of its process.
    pub incarnation: Incarnation,
    /// What.
    pub fact: Fact,
}

/// A request that a server refused, as its socket had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Virtual nanoseconds since the start of the run.
    pub time_ns: u64,
    /// The server.
    pub node: Node,
    /// Whose request.
    pub session: SessionId,
    /// The operation's number in the protocol.
    pub op_code: i32,
    /// The node that it was about; none where an operation has none, or several.
    pub path: Option<String>,
    /// The zxid of the reply: a write's own, for a read the last that was applied.
    pub zxid: Zxid,
    /// The error's number in the protocol.
    pub code: i32,
}

/// A client was told of a change, as its server's socket had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Virtual nanoseconds since the start of the run.
    pub time_ns: u64,
    /// The server.
    pub node: Node,
    /// Whose client.
    pub session: SessionId,
    /// The number of the kind of change in the protocol.
    pub kind: i32,
    /// The node that changed.
    pub path: String,
    /// Whether a request on the same connection had left a watch for it that no event had taken yet.
    pub is_asked_for: bool,
}

/// With what a client shows that a session is its own, as the server gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Virtual nanoseconds since the start of the run.
    pub time_ns: u64,
    /// The session.
    pub session: SessionId,
    /// The password.
    pub password: Vec<u8>,
}

/// A `sync` or a write that a server answered, as its socket had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Virtual nanoseconds since the start of the run.
    pub time_ns: u64,
    /// When its process had taken the request; where it may be answered out of what the server knows, four seconds ago.
    pub asked_ns: u64,
    /// The server.
    pub node: Node,
    /// Whose request.
    pub session: SessionId,
    /// The operation's number in the protocol.
    pub op_code: i32,
    /// How many servers it had heard of in between, itself among them.
    pub heard: u16,
}

/// All that is known of sessions, in order, and what they are held to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHistory {
    /// The shortest and the longest time-out that the ensemble's configuration grants, in milliseconds.
    pub bounds_ms: (u64, u64),
    /// What happened.
    pub entries: Vec<Entry>,
    /// What was refused.
    pub refused: Vec<Refused>,
    /// Of which changes clients were told.
    pub events: Vec<Event>,
    /// The passwords that were given.
    pub secrets: Vec<Secret>,
    /// How many servers have a vote.
    pub voters: u32,
    /// The syncs and writes that were answered.
    pub answered: Vec<Answered>,
    /// Spans of virtual nanoseconds in which something kept the ensemble, or may have.
    pub disturbed_ns: Vec<(u64, u64)>,
    /// When the run ended.
    pub ended_ns: u64,
}
