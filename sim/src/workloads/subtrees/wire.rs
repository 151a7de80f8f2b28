//! One connection of a client that speaks the protocol itself, and records what it sends and what comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wyrdlog::base::ids::{SessionId, Zxid};
use wyrdlog::base::limits::JUTE_BYTES_MAX;
use wyrdlog::base::time::Instant;
use wyrdlog::runtime::{Clock, Network, Stream, timeout, timeout_at};
use wyrdlog::wire::zookeeper::{
    ConnectRequest, ConnectResponse, OpCode, Request, Response, ServerMessage, Xid, put_frame, take_frame,
};

use super::{Subtrees, Worker};
use crate::engine::{SimRuntime, SimStream};

use crate::history::subtrees::{Connection, ConnectionIndex, Odd, Purpose, Step};

/// A server that takes longer to be connected to is not reached.
const CONNECTS: Duration = Duration::from_secs(1);
/// A connection that takes nothing for so long is given up.
const WRITES: Duration = Duration::from_secs(2);
/// A first frame needs more.
const SHORT_BYTES: usize = 20;
/// No reply is longer.
const FRAME_BYTES_MAX: usize = 4 * JUTE_BYTES_MAX;

/// What came of asking for a session.
pub(super) enum Greeted {
    /// It was granted.
    Granted(ConnectResponse),
    /// There is no such session any more.
    Expired,
    /// Nothing came that is an answer.
    Not,
}

/// See the module's doc.
pub(super) struct Wire {
    shared: Arc<Subtrees>,
    runtime: SimRuntime,
    index: ConnectionIndex,
    streams: Option<(<SimStream as Stream>::Reader, <SimStream as Stream>::Writer)>,
    received: BytesMut,
    greeting: Option<Bytes>,
    last_xid: i32,
    /// What is not answered yet.
    waiting: VecDeque<(Xid, OpCode)>,
    /// Nodes that were created.
    pub(super) paths: Vec<Arc<str>>,
    /// The highest zxid that it was told.
    pub(super) seen: Zxid,
}

fn writes(op_code: OpCode) -> bool {
    use OpCode::{CloseSession, Create, Create2, Delete, Multi, SetAcl, SetData};
    matches!(op_code, Create | Create2 | Delete | SetData | SetAcl | Multi | CloseSession)
}

impl Wire {
    /// Connects, to the port for clients if there is a `hello` and else to the servers' own.
    pub(super) async fn connect(
        worker: &Worker,
        purpose: Purpose,
        server: usize,
        hello: Option<ConnectRequest>,
    ) -> Option<Wire> {
        let (shared, runtime) = (worker.shared.clone(), worker.runtime);
        let address = if hello.is_some() { shared.servers.get(server) } else { shared.peers.get(server) }?;
        let Ok(Ok(stream)) = timeout(&runtime, CONNECTS, runtime.connect(address)).await else { return None };
        let (client, opened_ns) = (worker.client, shared.load.view.now_ns());
        let connection = Connection { client, purpose, opened_ns, hello: hello.clone(), entries: Vec::new() };
        let index = shared.history().open(connection);
        let mut wire = Wire {
            shared,
            runtime,
            index,
            streams: Some(stream.split()),
            received: BytesMut::new(),
            greeting: None,
            last_xid: worker.below(1 << 20) as i32,
            waiting: VecDeque::new(),
            paths: Vec::new(),
            seen: worker.seen,
        };
        if let Some(hello) = hello {
            let mut out = Vec::new();
            put_frame(&mut out, |out| {
                hello.put(out);
                out.truncate(if purpose == Purpose::Odd(Odd::ShortConnect) { SHORT_BYTES } else { out.len() });
            });
            wire.write(&out).await;
        }
        Some(wire)
    }

    fn record(&self, step: Step) {
        self.shared.history().push(self.index, self.shared.load.view.now_ns(), step);
    }

    pub(super) fn is_open(&self) -> bool {
        self.streams.is_some()
    }

    pub(super) fn writes_unanswered(&self) -> usize {
        self.waiting.iter().filter(|(_, op_code)| writes(*op_code)).count()
    }

    fn closed(&mut self) {
        if self.streams.take().is_some() {
            self.record(Step::Closed);
        }
    }

    /// Ends the connection.
    pub(super) fn give_up(&mut self) {
        if self.streams.take().is_some() {
            self.record(Step::GaveUp);
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Some((_, writer)) = &mut self.streams else { return };
        match timeout(&self.runtime, WRITES, writer.write_all(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.closed(),
            Err(_) => self.give_up(),
        }
    }

    /// The number of the next request.
    pub(super) fn next_xid(&mut self, op_code: OpCode) -> Xid {
        match op_code {
            OpCode::Ping => Xid::PING,
            OpCode::SetWatches => Xid::SET_WATCHES,
            OpCode::Auth => Xid::AUTH,
            _ => {
                self.last_xid += 1;
                Xid(self.last_xid)
            }
        }
    }

    /// Sends a request.
    pub(super) async fn send(&mut self, request: Request) {
        if !self.is_open() {
            return;
        }
        let xid = self.next_xid(request.op_code());
        let mut out = Vec::new();
        put_frame(&mut out, |out| request.put(xid, out));
        self.waiting.push_back((xid, request.op_code()));
        self.record(Step::Sent(xid, request));
        self.write(&out).await;
    }

    /// Sends bytes that are no sound request.
    pub(super) async fn send_odd(&mut self, xid: Xid, bytes: &[u8]) {
        if self.is_open() {
            self.record(Step::SentOdd(xid));
            self.write(bytes).await;
        }
    }

    /// Takes what comes until `deadline`, or for as long as `wanted` says that something is.
    async fn listen_while(&mut self, deadline: Instant, wanted: impl Fn(&Self) -> bool) {
        while wanted(self) {
            let Some((reader, _)) = &mut self.streams else { return };
            match timeout_at(&self.runtime, deadline, reader.read_buf(&mut self.received)).await {
                Err(_) => return,
                Ok(Ok(1..)) => self.take(),
                Ok(Ok(0) | Err(_)) => self.closed(),
            }
        }
    }

    fn take(&mut self) {
        loop {
            match take_frame(&mut self.received, FRAME_BYTES_MAX) {
                Ok(Some(frame)) => {
                    self.record(Step::Came(frame.clone()));
                    self.came(frame);
                }
                Ok(None) => return,
                Err(_) => return self.give_up(),
            }
        }
    }

    fn came(&mut self, frame: Bytes) {
        if self.greeting.is_none() {
            self.greeting = Some(frame);
            return;
        }
        match ServerMessage::decode(frame) {
            Ok(ServerMessage::Reply(header, body)) => {
                let Some(at) = self.waiting.iter().position(|(xid, _)| *xid == header.xid) else { return };
                let Some((_, op_code)) = self.waiting.remove(at) else { return };
                self.seen = self.seen.max(header.zxid);
                if let Ok(Response::Path { path } | Response::Created { path, .. }) = Response::decode(op_code, body) {
                    self.paths.push(path);
                }
            }
            Ok(ServerMessage::Event(event)) => self.seen = self.seen.max(event.zxid),
            Err(_) => self.give_up(),
        }
    }

    /// Waits for the server's first frame.
    pub(super) async fn greeted(&mut self, patience: Duration) -> Greeted {
        self.listen_while(self.runtime.now() + patience, |wire| wire.greeting.is_none()).await;
        let granted = self.greeting.clone().and_then(|frame| ConnectResponse::decode(frame).ok());
        match granted {
            Some(granted) if granted.session != SessionId(0) => Greeted::Granted(granted),
            Some(_) => {
                self.ends(patience).await;
                self.give_up();
                Greeted::Expired
            }
            None => {
                self.give_up();
                Greeted::Not
            }
        }
    }

    /// Waits until all is answered. Says whether it is.
    pub(super) async fn answered(&mut self, patience: Duration) -> bool {
        self.listen_while(self.runtime.now() + patience, |wire| !wire.waiting.is_empty()).await;
        self.waiting.is_empty()
    }

    /// Waits until the server ends the connection. Says whether it did.
    pub(super) async fn ends(&mut self, patience: Duration) -> bool {
        self.listen_while(self.runtime.now() + patience, Self::is_open).await;
        !self.is_open()
    }

    /// Takes what comes until then.
    pub(super) async fn listen(&mut self, until: Instant) {
        self.listen_while(until, |_| true).await;
    }
}
