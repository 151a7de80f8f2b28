//! What clients that own a subtree of the coordinator's tree sent and received, frame by frame.
//!
//! A subtree belongs to one client, and no two of its connections overlap in what they ask, so that every
//! answer follows from what was sent and answered before. What is right is not written down here: whoever
//! judges reads the frames anew.

use bytes::Bytes;
use wyrdlog::base::ids::{SessionId, Zxid};
use wyrdlog::wire::zookeeper::{ConnectRequest, ConnectResponse, Request, Xid};

use super::Client;

/// The index of a subtree in [`SubtreesHistory::roots`].
pub type SubtreeIndex = u32;

/// The index of a connection in [`SubtreesHistory::connections`].
pub type ConnectionIndex = u32;

/// Why a greeting on the port of the servers' own connections is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHello {
    /// It begins with other bytes.
    Magic,
    /// It names another version.
    Version,
    /// It means another server.
    OtherServer,
    /// It is a byte too short.
    Short,
    /// It is a byte too long.
    Long,
}

/// What no sound client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// An auth packet of a scheme that nobody knows.
    Auth,
    /// An operation that nobody knows.
    UnknownOperation,
    /// The body of a request ends early.
    ShortBody,
    /// The body of a request goes on behind its end.
    LongBody,
    /// A request has no room for its header.
    NoHeader,
    /// A frame announces a negative length.
    NegativeLength,
    /// A frame announces a byte more than is taken.
    TooLong,
    /// A frame announces as much as is taken, and does not come.
    Longest,
    /// A `check` that is not part of a multi.
    CheckAlone,
    /// The client says that it has seen what is not written yet.
    Ahead,
    /// The first frame ends early.
    ShortConnect,
    /// A session is asked for with the password of none.
    WrongPassword,
    /// A session is asked for that there never was.
    UnknownSession,
    /// A request comes right behind the first frame.
    EarlyRequest,
    /// Its session is asked for by another with a wrong password, and it goes on.
    Bystander,
    /// A connection to the servers' own port begins badly.
    Hello(BadHello),
}

/// What happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client sent a request.
    Sent(Xid, Request),
    /// The client sent what is odd, under this number.
    SentOdd(Xid),
    /// A frame came.
    Came(Bytes),
    /// The server ended the connection, or the network did.
    Closed,
    /// The client did.
    GaveUp,
}

/// What happened on a connection, and when, in virtual nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub time_ns: u64,
    /// What.
    pub step: Step,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Requests within a subtree.
    Work(SubtreeIndex),
    /// Something odd.
    Odd(Odd),
}

/// One connection that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whose.
    pub client: Client,
    /// What for.
    pub purpose: Purpose,
    /// When, in virtual nanoseconds.
    pub opened_ns: u64,
    /// Its first frame; none on the servers' own port.
    pub hello: Option<ConnectRequest>,
    /// What happened, in order.
    pub entries: Vec<Entry>,
}

impl Connection {
    /// The session that the server named in its first frame.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.hello.as_ref()?;
        let first = self.entries.iter().find_map(|entry| match &entry.step {
            Step::Came(frame) => Some(frame.clone()),
            _ => None,
        })?;
        ConnectResponse::decode(first).ok().map(|granted| granted.session)
    }
}

/// All connections, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubtreesHistory {
    /// The subtrees' roots.
    pub roots: Vec<String>,
    /// The connections.
    pub connections: Vec<Connection>,
    /// The shortest and the longest session time-out that coordinators are configured to grant, in
    /// milliseconds.
    pub bounds_ms: (u64, u64),
}

impl SubtreesHistory {
    /// Records a connection.
    pub fn open(&mut self, connection: Connection) -> ConnectionIndex {
        self.connections.push(connection);
        self.connections.len() as ConnectionIndex - 1
    }

    /// Records what happened on connection `index`.
    pub fn push(&mut self, index: ConnectionIndex, time_ns: u64, step: Step) {
        if let Some(connection) = self.connections.get_mut(index as usize) {
            connection.entries.push(Entry { time_ns, step });
        }
    }

    /// The sessions that these clients were given: what is refused there is judged by this history.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.connections.iter().filter_map(Connection::session)
    }

    /// The sessions that were asked for again without an answer: whether the time-out that was asked for then is
    /// theirs now, nobody knows.
    pub fn uncertain(&self) -> impl Iterator<Item = SessionId> + '_ {
        let unanswered = self.connections.iter().filter(|one| one.session().is_none());
        unanswered.filter_map(|one| one.hello.as_ref()).map(|hello| hello.session)
    }

    /// The sessions that were asked for by clients that may not have them.
    pub fn not_theirs(&self) -> impl Iterator<Item = SessionId> + '_ {
        let odd = self.connections.iter().filter(|one| matches!(one.purpose, Purpose::Odd(_)));
        odd.filter_map(|one| one.hello.as_ref()).map(|hello| hello.session).filter(|session| *session != SessionId(0))
    }
}

/// A zxid that no server reaches in a run.
pub const FAR_AHEAD: Zxid = Zxid(1 << 60);

/// `jute.maxbuffer`, as it is configured.
pub const FRAME_BYTES_MAX: i32 = 1024 * 1024;
