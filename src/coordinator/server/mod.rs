//! One coordinator server: a single task that owns consensus, the tree, the client connections and
//! all that is decided about them. Everything else (sockets, the disk) is done by tasks around it
//! that talk to it through one bounded inbox.
//!
//! So there is no lock and no order to get wrong: an input is handled whole, with all its effects,
//! before the next one is taken. The server never waits for a task; whatever could make it wait
//! (a full queue to a client or a peer) is dropped or closed instead.

mod apply;
mod attach;
mod clients;
mod connection;
mod effects;
mod leadership;
mod requests;
mod start;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

pub use connection::ConnectionId;
pub use start::{CoordinatorError, Listeners, check, format, run};

use super::config::Config;
use super::peers::{Link, PeerMessage};
use super::storage::{StorageError, StorageOp, Stored};
use super::tree::{Tree, Watches};
use crate::base::ids::{ServerId, SessionId};
use crate::base::plants::Plants;
use crate::base::time::Instant;
use crate::consensus::{self, Consensus, Position, Proposal, Timer};
use crate::runtime::{Runtime, timeout_at};
use clients::Clients;
use leadership::Leadership;

/// Inputs that wait. Senders wait too while it is full, and with them their clients and peers.
const INBOX_INPUTS_MAX: usize = 4096;
/// Inputs that are handled before proposals and storage operations are handed on.
const TURN_INPUTS_MAX: usize = 512;
/// How often a follower tells the leader from whom it heard, and old connections are looked for.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// Where the tasks around the server put what happens.
pub type Inbox = mpsc::Sender<Input>;

/// Something that happened around the server.
pub enum Input {
    /// A peer sent a message.
    Peer {
        /// Which.
        from: ServerId,
        /// What.
        message: PeerMessage,
    },
    /// Messages that were queued for this peer may have been lost.
    MessagesLost(ServerId),
    /// The storage finished a batch, or the disk failed.
    Stored(Result<Vec<Stored>, StorageError>),
    /// A client's connection was accepted.
    Connected {
        /// Its number.
        connection: ConnectionId,
        /// Where replies go.
        outgoing: mpsc::Sender<Bytes>,
        /// One is given back for each frame that was answered.
        permits: Arc<Semaphore>,
    },
    /// A frame of a client.
    Frame {
        /// Its connection.
        connection: ConnectionId,
        /// The content.
        frame: Bytes,
    },
    /// A client's connection has ended.
    Gone(ConnectionId),
    /// Stop.
    Stop,
}

/// What a read-index round was asked for.
#[derive(Clone, Copy, Debug)]
enum ReadPurpose {
    /// A client's `sync`, which waits in that connection's queue under the round's number.
    Sync(ConnectionId),
    /// To confirm the quorum before sessions expire.
    Expiry,
}

/// The server's state.
pub(super) struct Server<R: Runtime> {
    runtime: R,
    config: Config,
    plants: Plants,
    consensus: Consensus,
    effects: Vec<consensus::Effect>,
    timers: BTreeMap<Timer, Instant>,
    tree: Tree,
    applied: Position,
    /// The index at which the last snapshot was taken or begun.
    snapshot_index: u64,
    /// Payload bytes of what was applied since.
    bytes_since_snapshot: u64,
    links: BTreeMap<ServerId, Arc<Link>>,
    storage: mpsc::Sender<Vec<StorageOp>>,
    storage_ops: Vec<StorageOp>,
    storage_busy: bool,
    clients: Clients,
    watches: Watches<ConnectionId>,
    /// Numbers requests and reads; begins at random, so that two lives of a server share none.
    next_number: u64,
    /// Writes that were proposed or forwarded and not yet applied, by the number of the request.
    waiting: BTreeMap<u64, ConnectionId>,
    reads: BTreeMap<u64, ReadPurpose>,
    proposals: Vec<Proposal>,
    /// Who asked for the proposals of this turn, by their context.
    proposers: BTreeMap<u64, (ServerId, u64)>,
    leadership: Option<Leadership>,
    touched: BTreeSet<SessionId>,
    next_housekeeping: Instant,
    failure: Option<CoordinatorError>,
    stopping: bool,
}

impl<R: Runtime> Server<R> {
    /// Handles inputs until it is stopped or something fails for good.
    async fn serve(mut self, mut inbox: mpsc::Receiver<Input>) -> Result<(), CoordinatorError> {
        self.step(consensus::Input::Start);
        loop {
            self.end_turn();
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if self.stopping {
                return Ok(());
            }
            if let Ok(input) = timeout_at(&self.runtime.clone(), self.next_deadline(), inbox.recv()).await {
                let Some(input) = input else { return Ok(()) };
                self.handle(input);
                for _ in 1..TURN_INPUTS_MAX {
                    let Ok(input) = inbox.try_recv() else { break };
                    self.handle(input);
                }
            }
            self.fire_timers();
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Peer { from, message } => self.peer_message(from, message),
            Input::MessagesLost(peer) => {
                if self.consensus.leader() == Some(peer) {
                    self.close_waiting_clients();
                }
            }
            Input::Stored(result) => self.stored(result),
            Input::Connected { connection, outgoing, permits } => {
                self.clients.open(connection, outgoing, permits, self.runtime.now());
            }
            Input::Frame { connection, frame } => self.client_frame(connection, frame),
            Input::Gone(connection) => self.client_gone(connection),
            Input::Stop => self.stopping = true,
        }
    }

    fn peer_message(&mut self, from: ServerId, message: PeerMessage) {
        match message {
            PeerMessage::Consensus(message) => self.step(consensus::Input::Received { from, message }),
            PeerMessage::Forward { request, txn } => {
                self.heard_of_sender(&txn);
                self.propose(from, request, &txn);
            }
            PeerMessage::Refused { request } => self.write_refused(request),
            PeerMessage::Touched(sessions) => {
                let now = self.session_clock();
                if let Some(leadership) = &mut self.leadership {
                    sessions.into_iter().for_each(|session| leadership.expiry.touch(session, now));
                }
            }
        }
    }

    /// Hands on what the turn gathered: proposals to consensus, operations to the storage, messages to peers.
    fn end_turn(&mut self) {
        if !self.proposals.is_empty() {
            let proposals = std::mem::take(&mut self.proposals);
            self.step(consensus::Input::Propose { proposals });
            self.proposers.clear();
        }
        if !self.storage_busy && !self.storage_ops.is_empty() {
            let batch = std::mem::take(&mut self.storage_ops);
            // One batch is under way at a time, so there is room. A closed queue means that the
            // storage has failed, and its reason is in the inbox.
            self.storage_busy = self.storage.try_send(batch).is_ok();
        }
        self.links.values().for_each(|link| link.write_now());
    }

    fn next_deadline(&self) -> Instant {
        let timers = self.timers.values().copied();
        timers.chain(self.next_expiry()).fold(self.next_housekeeping, Instant::min)
    }

    fn fire_timers(&mut self) {
        let now = self.runtime.now();
        while let Some((&timer, _)) = self.timers.iter().find(|(_, deadline)| **deadline <= now) {
            self.timers.remove(&timer);
            self.step(consensus::Input::Elapsed(timer));
        }
        self.check_expiry();
        if self.next_housekeeping <= now {
            self.next_housekeeping = now + HOUSEKEEPING;
            self.keep_house(now);
        }
    }

    fn keep_house(&mut self, now: Instant) {
        match self.consensus.leader() {
            None => self.close_all_clients(),
            Some(leader) if leader == self.config.id => {}
            Some(leader) => {
                let sessions: Vec<SessionId> = std::mem::take(&mut self.touched).into_iter().collect();
                if !sessions.is_empty() {
                    self.send(leader, &PeerMessage::Touched(sessions));
                }
            }
        }
        self.close_stuck_clients(now);
    }

    fn send(&mut self, to: ServerId, message: &PeerMessage) -> bool {
        self.links.get(&to).is_some_and(|link| link.add(message))
    }

    fn number(&mut self) -> u64 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }
}
