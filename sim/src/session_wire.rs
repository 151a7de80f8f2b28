//! Reading off the servers' sockets what they heard of sessions.
//!
//! A client's connection begins with a ConnectRequest and, from the server, a ConnectResponse that
//! names the session; every later frame of the client is a sign of life of it. A follower passes on
//! which sessions it heard of, and its clients' writes, over the connection to its leader
//! (`src/coordinator/peers/message.rs` has the frames). The bytes are read here anew: what a server
//! makes of them is not asked.

mod heard;
mod watches;

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use wyrdlog::base::ids::SessionId;
use wyrdlog::base::limits::JUTE_BYTES_MAX;
use wyrdlog::base::znode::ErrorCode;
use wyrdlog::coordinator::tree::{Op, Txn};
use wyrdlog::wire::frame::FrameDecoder;
use wyrdlog::wire::zookeeper::{
    ConnectRequest, ConnectResponse, OpCode, ReplyHeader, RequestHeader, ServerMessage, Xid,
};

use crate::engine::ServerBytes;
use crate::history::sessions::{Answered, Entry, Event, Fact, Refused, Secret};
use crate::observed::Node;

use heard::Heard;
use watches::{Left, Wanted};

/// No frame of either kind of connection is longer.
const FRAME_BYTES_MAX: usize = 4 * JUTE_BYTES_MAX;
/// A peer's frame with a write that a client of its sent: a number, then the transaction.
const FORWARD: u8 = 2;
/// A peer's frame with the sessions that it heard of.
const TOUCHED: u8 = 4;

/// One connection of a client.
struct ClientWire {
    read: FrameDecoder,
    written: FrameDecoder,
    request: Option<(ConnectRequest, Entry)>,
    session: Option<SessionId>,
    /// Operations that are not answered yet, by the number of the request.
    asked: BTreeMap<Xid, Asked>,
    left: Left,
}

/// An operation that is not answered yet.
struct Asked {
    time_ns: u64,
    op_code: i32,
    path: Option<String>,
    watch: Option<Wanted>,
}

/// What a connection tells.
pub enum Told {
    /// Of a session.
    Entry(Entry),
    /// That a request was refused.
    Refused(Refused),
    /// That a client was told of a change.
    Event(Event),
    /// With what a client shows that a session is its own.
    Secret(Secret),
    /// That a sync or a write was answered.
    Answered(Answered),
}

impl ClientWire {
    fn greeted(&mut self, bytes: &ServerBytes<'_>, frame: Bytes, tell: &mut impl FnMut(Told)) {
        let (Some((request, asked)), Ok(granted)) = (&self.request, ConnectResponse::decode(frame)) else { return };
        let session = granted.session;
        if session == SessionId(0) {
            return tell(Told::Entry(at(bytes, Fact::Expelled { session: request.session })));
        }
        self.session = Some(session);
        // What asked for the session was heard when it came.
        tell(Told::Entry(Entry { fact: Fact::Heard { session, directly: true }, ..*asked }));
        let (asked_ms, granted_ms) = (request.timeout_ms, granted.timeout_ms);
        tell(Told::Entry(at(bytes, Fact::Granted { session, asked_ms, granted_ms })));
        tell(Told::Secret(Secret { time_ns: bytes.time_ns, session, password: granted.password.to_vec() }));
    }

    fn asked(&mut self, time_ns: u64, mut frame: Bytes) {
        if let Ok(RequestHeader { xid, op_code }) = RequestHeader::take(&mut frame) {
            let watch = self.left.ask(op_code, frame.clone());
            self.asked.insert(xid, Asked { time_ns, op_code, path: path_of(op_code, frame), watch });
        }
    }

    fn replied(
        &mut self,
        bytes: &ServerBytes<'_>,
        session: SessionId,
        mut frame: Bytes,
        heard: &Heard,
        tell: &mut impl FnMut(Told),
    ) {
        let (time_ns, node) = (bytes.time_ns, Node(bytes.node.index() as u16));
        if let Ok(ServerMessage::Event(event)) = ServerMessage::decode(frame.clone()) {
            let (is_asked_for, path) = (self.left.told(event.kind, &event.path), event.path.to_string());
            return tell(Told::Event(Event { time_ns, node, session, kind: event.kind as i32, path, is_asked_for }));
        }
        let Ok(ReplyHeader { xid, zxid, error }) = ReplyHeader::take(&mut frame) else { return };
        let Some(Asked { time_ns: asked_ns, op_code, path, watch }) = self.asked.remove(&xid) else { return };
        if let Some(wanted) = watch {
            self.left.answered(wanted, error);
        }
        if error == ErrorCode::Ok {
            let since_ns = if needs_a_quorum(op_code) {
                Some((asked_ns, heard.count(node, asked_ns)))
            } else {
                heard
                    .lately(node, time_ns, LEADERLESS_NS)
                    .filter(|count| *count < heard.quorum())
                    .map(|count| (time_ns - LEADERLESS_NS, count))
            };
            if let Some((asked_ns, count)) = since_ns {
                tell(Told::Answered(Answered { time_ns, asked_ns, node, session, op_code, heard: count as u16 }));
            }
            return;
        }
        let code = error.code();
        tell(Told::Refused(Refused { time_ns, node, session, op_code, path, zxid, code }));
    }
}

/// How long a server may go on answering out of what it knows after it has last heard of a quorum: a leader looks
/// twice within a second, a follower waits for a second, and clocks are slow.
const LEADERLESS_NS: u64 = 4_000_000_000;

/// Whether no server may answer it out of what it knows alone: a `sync`, or a write.
fn needs_a_quorum(op_code: i32) -> bool {
    let all =
        [OpCode::Sync, OpCode::Create, OpCode::Create2, OpCode::Delete, OpCode::SetData, OpCode::SetAcl, OpCode::Multi];
    all.iter().any(|op| *op as i32 == op_code)
}

/// The path that the body of a request begins with.
fn path_of(op_code: i32, mut body: Bytes) -> Option<String> {
    let of_one_node = [
        OpCode::Create,
        OpCode::Create2,
        OpCode::Delete,
        OpCode::Exists,
        OpCode::GetData,
        OpCode::SetData,
        OpCode::GetAcl,
        OpCode::SetAcl,
        OpCode::GetChildren,
        OpCode::GetChildren2,
    ];
    if !of_one_node.iter().any(|op| *op as i32 == op_code) {
        return None;
    }
    let len = usize::try_from(body.try_get_i32().ok()?).ok()?;
    String::from_utf8(body.get(..len)?.to_vec()).ok()
}

/// One connection of a peer.
struct PeerWire {
    read: FrameDecoder,
    has_greeted: bool,
    /// The server at its other end.
    from: Option<Node>,
}

/// What is on its way on every connection to a coordinator server.
pub struct SessionWire {
    client_port: u16,
    clients: BTreeMap<u64, ClientWire>,
    peers: BTreeMap<u64, PeerWire>,
    heard: Heard,
}

impl SessionWire {
    /// Nothing heard yet; clients connect to `client_port`, peers to any other that is listened to. `servers` are
    /// the ensemble's, by their numbers.
    #[must_use]
    pub fn new(client_port: u16, servers: BTreeMap<u32, Node>) -> Self {
        SessionWire { client_port, clients: BTreeMap::new(), peers: BTreeMap::new(), heard: Heard::new(servers) }
    }

    /// Takes what a server read or wrote, and tells what it was.
    pub fn take(&mut self, bytes: &ServerBytes<'_>, tell: impl FnMut(Told)) {
        self.heard.moved(Node(bytes.node.index() as u16), bytes.time_ns);
        if bytes.port == self.client_port {
            self.client(bytes, tell);
        } else if !bytes.written {
            self.peer(bytes, tell);
        }
    }

    fn client(&mut self, bytes: &ServerBytes<'_>, mut tell: impl FnMut(Told)) {
        let wire = self.clients.entry(bytes.connection).or_insert_with(|| ClientWire {
            read: FrameDecoder::new(FRAME_BYTES_MAX),
            written: FrameDecoder::new(FRAME_BYTES_MAX),
            request: None,
            session: None,
            asked: BTreeMap::new(),
            left: Left::default(),
        });
        let decoder = if bytes.written { &mut wire.written } else { &mut wire.read };
        let complete: Vec<Bytes> = frames(decoder, bytes.bytes).collect();
        for frame in complete {
            match (wire.session, bytes.written) {
                (None, true) => wire.greeted(bytes, frame, &mut tell),
                (Some(session), true) => wire.replied(bytes, session, frame, &self.heard, &mut tell),
                (Some(session), false) => {
                    tell(Told::Entry(at(bytes, Fact::Heard { session, directly: true })));
                    wire.asked(bytes.time_ns, frame);
                }
                (None, false) if wire.request.is_none() => {
                    let Ok(request) = ConnectRequest::decode(frame) else { continue };
                    let asked = at(bytes, Fact::Asked { session: request.session, asked_ms: request.timeout_ms });
                    tell(Told::Entry(asked));
                    wire.request = Some((request, asked));
                }
                (None, false) => {}
            }
        }
    }

    fn peer(&mut self, bytes: &ServerBytes<'_>, mut tell: impl FnMut(Told)) {
        let new = || PeerWire { read: FrameDecoder::new(FRAME_BYTES_MAX), has_greeted: false, from: None };
        let wire = self.peers.entry(bytes.connection).or_insert_with(new);
        let node = Node(bytes.node.index() as u16);
        for mut frame in frames(&mut wire.read, bytes.bytes) {
            if !std::mem::replace(&mut wire.has_greeted, true) {
                wire.from = self.heard.hello(node, frame);
                continue;
            }
            if let Some(from) = wire.from {
                self.heard.read(node, from, bytes.time_ns);
            }
            match frame.try_get_u8() {
                Ok(TOUCHED) => {
                    while let Ok(session) = frame.try_get_i64() {
                        tell(Told::Entry(at(bytes, Fact::Heard { session: SessionId(session), directly: false })));
                    }
                }
                Ok(FORWARD) if frame.try_get_u64().is_ok() => {
                    let txn = Txn::decode(frame).ok();
                    // Whoever only asks for a session has not shown yet that it is its own.
                    let txn = txn.filter(|txn| !matches!(txn.op, Op::CreateSession { .. } | Op::AttachSession { .. }));
                    if let Some(txn) = txn {
                        tell(Told::Entry(at(bytes, Fact::Heard { session: txn.session, directly: false })));
                    }
                }
                _ => {}
            }
        }
    }
}

fn at(bytes: &ServerBytes<'_>, fact: Fact) -> Entry {
    let ServerBytes { time_ns, clock_ns, node, incarnation, .. } = *bytes;
    Entry { time_ns, clock_ns, node: Node(node.index() as u16), incarnation, fact }
}

/// The frames that `bytes` complete. A stream that is none ends there.
fn frames<'d>(decoder: &'d mut FrameDecoder, bytes: &[u8]) -> impl Iterator<Item = Bytes> + use<'d> {
    decoder.room().extend_from_slice(bytes);
    std::iter::from_fn(move || decoder.next_frame().ok().flatten())
}
