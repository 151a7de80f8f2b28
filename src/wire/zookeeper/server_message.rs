//! What a server sends after the connection's first frame: replies and watch events.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::header::{ReplyHeader, Xid};
use super::jute::{DecodeError, PutJute, Reader};
use crate::base::ids::Zxid;
use crate::base::znode::{ErrorCode, EventKind};

/// The state of the connection that a watch event names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeeperState(pub i32);

impl KeeperState {
    /// The only one that comes with the event of a node.
    pub const SYNC_CONNECTED: KeeperState = KeeperState(3);
}

/// A watch's event. On the wire: a [`ReplyHeader`] with xid -1, then
///
/// | field | type |
/// |-------|------|
/// | type | int |
/// | state | int |
/// | path | ustring |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchEvent {
    /// The change that triggered it; -1 from servers before 3.9.
    pub zxid: Zxid,
    /// What happened.
    pub kind: EventKind,
    /// To which node.
    pub path: Arc<str>,
}

impl WatchEvent {
    /// Appends it, with its header.
    pub fn put(&self, out: &mut Vec<u8>) {
        ReplyHeader { xid: Xid::NOTIFICATION, zxid: self.zxid, error: ErrorCode::Ok }.put(out);
        out.put_i32(self.kind as i32);
        out.put_i32(KeeperState::SYNC_CONNECTED.0);
        out.put_text(&self.path);
    }
}

/// A frame from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// A reply, and its body, to be decoded by the request that it answers.
    Reply(ReplyHeader, Bytes),
    /// A watch's event.
    Event(WatchEvent),
}

impl ServerMessage {
    /// The message that `frame` is.
    pub fn decode(mut frame: Bytes) -> Result<Self, DecodeError> {
        let header = ReplyHeader::take(&mut frame)?;
        if header.xid != Xid::NOTIFICATION {
            return Ok(ServerMessage::Reply(header, frame));
        }
        let mut reader = Reader::new(frame);
        let (kind, _state, path) = (reader.int()?, reader.int()?, reader.text("the path")?);
        let kind = EventKind::from_code(kind).ok_or(DecodeError::Value { what: "an event", value: kind })?;
        Ok(ServerMessage::Event(WatchEvent { zxid: header.zxid, kind, path }))
    }
}
