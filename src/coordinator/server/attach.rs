//! From a connection's first frame to a session that is attached to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::clients::{Pending, Phase};
use super::{ConnectionId, Server};
use crate::base::event::{CoordinatorEvent, Event};
use crate::base::ids::{SessionId, Zxid};
use crate::base::plants::Plant;
use crate::base::znode::EventKind;
use crate::coordinator::peers::PeerMessage;
use crate::coordinator::tree::{Applied, Failure, Op, Origin, Password, Reply, Txn};
use crate::runtime::Runtime;
use crate::wire::zookeeper::{ConnectRequest, ConnectResponse, WatchEvent, put_frame};

impl<R: Runtime> Server<R> {
    /// A frame of a client.
    pub(super) fn client_frame(&mut self, connection: ConnectionId, frame: Bytes) {
        let Some(client) = self.clients.get(connection) else {
            // Its client was there when it sent this, which came before the end of its connection.
            if let Some(session) = self.clients.last_session(connection) {
                self.touch(session);
            }
            return;
        };
        match client.phase {
            Phase::New => {
                client.answered();
                match ConnectRequest::decode(frame) {
                    Ok(request) => self.connect(connection, &request),
                    Err(error) => {
                        tracing::debug!(%connection, %error, "closing a connection that began badly");
                        self.close_client(connection);
                    }
                }
            }
            // A client waits for its session before it asks for anything.
            Phase::Attaching { .. } => self.close_client(connection),
            Phase::Attached { session, attachment } => {
                self.touch(session);
                self.request(connection, session, attachment, frame);
            }
        }
    }

    /// The session was heard of.
    fn touch(&mut self, session: SessionId) {
        let now = self.session_clock();
        match &mut self.leadership {
            Some(leadership) => leadership.expiry.touch(session, now),
            None => drop(self.touched.insert(session)),
        }
    }

    fn connect(&mut self, connection: ConnectionId, wanted: &ConnectRequest) {
        // A client that has seen more than this server would see time go backwards here: it is
        // closed, and tries another (ZooKeeper's single system image).
        if wanted.last_zxid_seen > self.tree.last_zxid() || self.consensus.leader().is_none() {
            return self.close_client(connection);
        }
        let timeout = Duration::from_millis(u64::try_from(wanted.timeout_ms).unwrap_or(0));
        let timeout_ms = self.config.negotiate(timeout).as_millis() as u32;
        let new_session = wanted.session == SessionId(0);
        let (session, op) = if new_session {
            (self.new_session_id(), Op::CreateSession { password: self.new_password(), timeout_ms })
        } else {
            // A password of another length is wrong, and so is the one that stands for it.
            let password = wanted.password.as_ref().try_into().map(Password).unwrap_or_default();
            (wanted.session, Op::AttachSession { password, timeout_ms })
        };
        let request = self.number();
        let origin = Origin { server: self.config.id, request };
        let txn = Txn { origin, session, attachment: 0, sequence: 0, ids: Vec::new(), op };
        if let Some(client) = self.clients.get_mut(connection) {
            client.phase = Phase::Attaching { request, new_session, read_only: wanted.read_only };
        }
        self.waiting.insert(request, connection);
        self.submit(connection, request, &txn);
    }

    /// Never 0, which asks for a new session; `apply` refuses one that is taken.
    fn new_session_id(&mut self) -> SessionId {
        SessionId((self.runtime.random_u64("session id") >> 1).max(1) as i64)
    }

    fn new_password(&mut self) -> Password {
        let mut password = [0; 16];
        for part in password.chunks_exact_mut(8) {
            part.copy_from_slice(&self.runtime.random_u64("session password").to_be_bytes());
        }
        Password(password)
    }

    /// Sends a write on its way: to this server's own proposals, or to the leader.
    pub(super) fn submit(&mut self, connection: ConnectionId, request: u64, txn: &Txn) {
        match self.consensus.leader() {
            Some(leader) if leader == self.config.id => self.propose(leader, request, txn),
            Some(leader) => {
                if !self.send(leader, &PeerMessage::Forward { request, txn: txn.clone() }) {
                    self.close_client(connection);
                }
            }
            None => self.close_client(connection),
        }
    }

    /// A write was not proposed and never will be. What its client sent after it must not take
    /// effect either, and will not: the session's sequence has a gap there.
    pub(super) fn write_refused(&mut self, request: u64) {
        if let Some(connection) = self.waiting.remove(&request) {
            self.close_client(connection);
        }
    }

    /// Hands the result of an applied entry to the connection that waits for it, if it is here.
    pub(super) fn answer_waiting(&mut self, applied: Applied) {
        if applied.origin.server != self.config.id {
            return;
        }
        let Some(connection) = self.waiting.remove(&applied.origin.request) else { return };
        let Some(client) = self.clients.get_mut(connection) else { return };
        if let Phase::Attaching { new_session, read_only, .. } = client.phase {
            return self.attached(connection, &applied, new_session, read_only);
        }
        let waits = |pending: &&mut Pending| matches!(pending, Pending::Write { request, .. } if *request == applied.origin.request);
        if let Some(Pending::Write { done, .. }) = client.queue.iter_mut().find(waits) {
            *done = Some((applied.zxid, applied.result));
        }
        self.pump(connection);
    }

    fn attached(&mut self, connection: ConnectionId, applied: &Applied, new: bool, read_only: Option<bool>) {
        let read_only = read_only.map(is_read_only);
        let response = match &applied.result {
            Ok(Reply::Attached { attachment, password, timeout_ms }) => {
                let (session, attachment) = (applied.session, *attachment);
                self.clients.attach(connection, session, attachment);
                self.runtime.observe(|| Event::Coordinator(CoordinatorEvent::SessionAttached { session, attachment }));
                let password = Bytes::copy_from_slice(&password.0);
                ConnectResponse { protocol_version: 0, timeout_ms: *timeout_ms as i32, session, password, read_only }
            }
            // The number that was drawn for a new session is taken: the client asks again.
            _ if new => return self.close_client(connection),
            Ok(other) => unreachable!("a session was attached with {other:?}"),
            Err(Failure::Error(_) | Failure::Refused(_)) => ConnectResponse::expired(read_only),
        };
        let expired = response.session == SessionId(0);
        let mut frame = Vec::new();
        put_frame(&mut frame, |out| response.put(out));
        let sent = self.clients.get(connection).is_some_and(|client| client.send(frame.into()));
        if expired || !sent {
            self.close_client(connection);
        }
    }

    /// Hands a watch event to its connection, before any reply that shows the change.
    pub(super) fn notify(&mut self, connection: ConnectionId, kind: EventKind, path: &Arc<str>, zxid: Zxid) {
        let Some(client) = self.clients.get_mut(connection) else { return };
        let Some(session) = client.session() else { return };
        self.runtime
            .observe(|| Event::Coordinator(CoordinatorEvent::WatchTriggered { session, zxid, path: path.to_string() }));
        let mut frame = Vec::new();
        put_frame(&mut frame, |out| WatchEvent { zxid, kind, path: path.clone() }.put(out));
        if self.plants.is(Plant::LateWatch) {
            self.runtime.observe(|| Event::PlantTaken(Plant::LateWatch));
            client.late.push((frame.into(), zxid, path.clone()));
            return;
        }
        self.runtime
            .observe(|| Event::Coordinator(CoordinatorEvent::Notified { session, zxid, path: path.to_string() }));
        if !client.send(frame.into()) {
            self.close_client(connection);
        }
    }
}

/// Whether this server is read-only: never, and not where a client would be content with one either. It goes by
/// the answer, and writes nothing to a server that says so.
fn is_read_only(_would_do: bool) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_would_be_content_with_a_read_only_server_is_told_that_it_has_another() {
        assert_eq!(
            [Some(true), Some(false), None].map(|asked| asked.map(is_read_only)),
            [Some(false), Some(false), None]
        );
    }
}
