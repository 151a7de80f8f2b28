//! The table of client connections, and the queue of each.
//!
//! Requests of a connection are answered in the order in which they came. Writes are sent on at
//! once, so that many can be under way; a read waits in the queue until every request before it is
//! answered, and is then answered from this server's state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

use super::requests::{ReadRequest, WriteShape};
use super::{ConnectionId, Server};
use crate::base::ids::{SessionId, Zxid};
use crate::base::time::Instant;
use crate::base::znode::ErrorCode;
use crate::coordinator::tree::{Failure, Reply};
use crate::runtime::Runtime;
use crate::wire::zookeeper::Xid;

/// How long a connection may take from its start until its session is attached.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a write may be under way before its connection is closed: it was lost on its way.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A request whose turn to be answered has not come.
pub(super) enum Pending {
    /// A write that was proposed or forwarded.
    Write { request: u64, xid: Xid, shape: WriteShape, since: Instant, done: Option<(Zxid, Result<Reply, Failure>)> },
    /// A `sync`, until its read-index round is confirmed.
    Sync { number: u64, xid: Xid, path: Arc<str>, since: Instant, ready: bool },
    /// A read, once everything before it is answered.
    Read { xid: Xid, request: ReadRequest },
    /// A request that is refused without being tried.
    Refused { xid: Xid, error: ErrorCode },
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was received.
    New,
    /// The entry that attaches its session is under way, under this request's number.
    Attaching { request: u64, new_session: bool, read_only: Option<bool> },
    /// Its session is attached.
    Attached { session: SessionId, attachment: u64 },
}

/// One client's connection.
pub(super) struct Client {
    outgoing: mpsc::Sender<Bytes>,
    permits: Arc<Semaphore>,
    pub(super) opened: Instant,
    pub(super) phase: Phase,
    /// The sequence of the last write.
    pub(super) sequence: u64,
    pub(super) queue: VecDeque<Pending>,
    /// Watch events that a planted bug holds back.
    pub(super) late: Vec<(Bytes, Zxid, Arc<str>)>,
}

impl Client {
    /// Hands a frame to the connection. False if it takes none.
    pub(super) fn send(&self, frame: Bytes) -> bool {
        self.outgoing.try_send(frame).is_ok()
    }

    /// A request was answered: its client may send another.
    pub(super) fn answered(&self) {
        self.permits.add_permits(1);
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        match self.phase {
            Phase::Attached { session, .. } => Some(session),
            Phase::New | Phase::Attaching { .. } => None,
        }
    }

    /// Whether the outcome of something that it sent depends on the leader of this moment.
    fn waits_for_the_leader(&self) -> bool {
        let in_queue = |pending: &Pending| match pending {
            Pending::Write { done, .. } => done.is_none(),
            Pending::Sync { ready, .. } => !ready,
            Pending::Read { .. } | Pending::Refused { .. } => false,
        };
        matches!(self.phase, Phase::Attaching { .. }) || self.queue.iter().any(in_queue)
    }

    fn is_stuck(&self, now: Instant) -> bool {
        let attaches = !matches!(self.phase, Phase::Attached { .. });
        let overdue = |pending: &Pending| match pending {
            Pending::Write { since, .. } | Pending::Sync { since, .. } => now.since(*since) > WRITE_TIMEOUT,
            Pending::Read { .. } | Pending::Refused { .. } => false,
        };
        attaches && now.since(self.opened) > ATTACH_TIMEOUT || self.queue.front().is_some_and(overdue)
    }
}

/// All connections of this server.
#[derive(Default)]
pub(super) struct Clients {
    table: BTreeMap<ConnectionId, Client>,
    by_session: BTreeMap<SessionId, ConnectionId>,
    /// The sessions of connections that this server has closed and whose tasks have not said yet that they
    /// have ended: what they had received still shows that the client lives.
    closing: BTreeMap<ConnectionId, SessionId>,
}

impl Clients {
    pub(super) fn open(
        &mut self,
        connection: ConnectionId,
        outgoing: mpsc::Sender<Bytes>,
        permits: Arc<Semaphore>,
        now: Instant,
    ) {
        let (queue, late) = (VecDeque::new(), Vec::new());
        let client = Client { outgoing, permits, opened: now, phase: Phase::New, sequence: 0, queue, late };
        let before = self.table.insert(connection, client);
        assert!(before.is_none(), "connections are numbered once");
    }

    pub(super) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Client> {
        self.table.get_mut(&connection)
    }

    pub(super) fn get(&self, connection: ConnectionId) -> Option<&Client> {
        self.table.get(&connection)
    }

    pub(super) fn of_session(&self, session: SessionId) -> Option<ConnectionId> {
        self.by_session.get(&session).copied()
    }

    /// From now on, `connection` is where `session` is attached.
    pub(super) fn attach(&mut self, connection: ConnectionId, session: SessionId, attachment: u64) {
        if let Some(client) = self.table.get_mut(&connection) {
            client.phase = Phase::Attached { session, attachment };
            self.by_session.insert(session, connection);
        }
    }

    fn remove(&mut self, connection: ConnectionId) -> Option<Client> {
        let client = self.table.remove(&connection)?;
        if let Some(session) = client.session()
            && self.by_session.get(&session) == Some(&connection)
        {
            self.by_session.remove(&session);
            self.closing.insert(connection, session);
        }
        Some(client)
    }

    /// The session of a connection that was closed, until its task has ended; none if it had moved.
    pub(super) fn last_session(&self, connection: ConnectionId) -> Option<SessionId> {
        self.closing.get(&connection).copied()
    }

    fn which(&self, choose: impl Fn(&Client) -> bool) -> Vec<ConnectionId> {
        self.table.iter().filter(|(_, client)| choose(client)).map(|(id, _)| *id).collect()
    }
}

impl<R: Runtime> Server<R> {
    /// Ends a connection: its task writes what is queued, and closes. Its session lives on until
    /// it is attached elsewhere or expires.
    pub(super) fn close_client(&mut self, connection: ConnectionId) {
        let Some(client) = self.clients.remove(connection) else { return };
        self.watches.remove(connection);
        if let Phase::Attaching { request, .. } = client.phase {
            self.waiting.remove(&request);
        }
        for pending in client.queue {
            match pending {
                Pending::Write { request, .. } => drop(self.waiting.remove(&request)),
                Pending::Sync { number, .. } => drop(self.reads.remove(&number)),
                Pending::Read { .. } | Pending::Refused { .. } => {}
            }
        }
    }

    /// A connection's task has ended: nothing more comes from it.
    pub(super) fn client_gone(&mut self, connection: ConnectionId) {
        self.close_client(connection);
        self.clients.closing.remove(&connection);
    }

    /// The leader changed, or messages to it were lost: whoever waits for it cannot know whether
    /// what it sent took effect. Its connection is closed, as ZooKeeper does, and it asks again.
    pub(super) fn close_waiting_clients(&mut self) {
        self.close_those(Client::waits_for_the_leader);
    }

    pub(super) fn close_stuck_clients(&mut self, now: Instant) {
        self.close_those(|client| client.is_stuck(now));
    }

    pub(super) fn close_all_clients(&mut self) {
        self.close_those(|_| true);
    }

    fn close_those(&mut self, choose: impl Fn(&Client) -> bool) {
        for connection in self.clients.which(choose) {
            self.close_client(connection);
        }
    }

    /// The session was attached elsewhere or has ended: its connection here is of no use.
    pub(super) fn close_moved_session(&mut self, session: SessionId) {
        if let Some(connection) = self.clients.of_session(session) {
            self.close_client(connection);
            self.clients.closing.remove(&connection);
        }
    }
}
