//! Headers of requests and replies, and the numbers of operations.

use bytes::{BufMut, Bytes};

use super::jute::{DecodeError, Reader};
use crate::base::ids::Zxid;
use crate::base::znode::ErrorCode;

/// A request's number on its connection. Replies come in the order of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xid(pub i32);

impl Xid {
    /// Of watch events.
    pub const NOTIFICATION: Xid = Xid(-1);
    /// Of pings and their replies.
    pub const PING: Xid = Xid(-2);
    /// Of authentication packets and their replies.
    pub const AUTH: Xid = Xid(-4);
    /// Of the setting of watches after a reconnection.
    pub const SET_WATCHES: Xid = Xid(-8);
}

macro_rules! op_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        /// The operations that this codec knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum OpCode { $($(#[$doc])* $name = $code),* }

        impl OpCode {
            /// All of them.
            pub const ALL: &'static [OpCode] = &[$(OpCode::$name),*];
        }
    };
}

op_codes! {
    /// Creates a node.
    Create = 1,
    /// Deletes a node.
    Delete = 2,
    /// Asks for a node's statistics.
    Exists = 3,
    /// Reads a node's data.
    GetData = 4,
    /// Sets a node's data.
    SetData = 5,
    /// Reads a node's access control list.
    GetAcl = 6,
    /// Sets a node's access control list.
    SetAcl = 7,
    /// Lists a node's children.
    GetChildren = 8,
    /// Waits until the server has seen what was committed.
    Sync = 9,
    /// Says that the client lives.
    Ping = 11,
    /// Lists a node's children, with its statistics.
    GetChildren2 = 12,
    /// Checks a node's version; inside a multi.
    Check = 13,
    /// Writes that happen all or not at all.
    Multi = 14,
    /// Creates a node and replies with its statistics.
    Create2 = 15,
    /// Says who the client is.
    Auth = 100,
    /// Leaves watches again after a reconnection.
    SetWatches = 101,
    /// Ends the session.
    CloseSession = -11,
}

impl OpCode {
    /// The operation with the protocol's number `code`.
    pub fn from_code(code: i32) -> Result<Self, DecodeError> {
        OpCode::ALL.iter().find(|known| **known as i32 == code).copied().ok_or(DecodeError::UnknownOperation(code))
    }
}

/// | field | type |
/// |-------|------|
/// | xid | int |
/// | type | int |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestHeader {
    /// The request's number.
    pub xid: Xid,
    /// The operation's number, which may be unknown.
    pub op_code: i32,
}

impl RequestHeader {
    /// Takes the header from the front of `frame`.
    pub fn take(frame: &mut Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame.clone());
        let header = RequestHeader { xid: Xid(reader.int()?), op_code: reader.int()? };
        *frame = frame.slice(8..);
        Ok(header)
    }

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.put_i32(self.xid.0);
        out.put_i32(self.op_code);
    }
}

/// | field | type |
/// |-------|------|
/// | xid | int |
/// | zxid | long |
/// | err | int |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyHeader {
    /// The number of the request that it answers.
    pub xid: Xid,
    /// The last change that the server had applied; on a watch event, the change itself.
    pub zxid: Zxid,
    /// `Ok`, or the error, and then no body follows.
    pub error: ErrorCode,
}

impl ReplyHeader {
    /// Takes the header from the front of `frame`.
    pub fn take(frame: &mut Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame.clone());
        let (xid, zxid) = (Xid(reader.int()?), Zxid(reader.long()?));
        let error = ErrorCode::from_code(reader.int()?);
        *frame = frame.slice(16..);
        Ok(ReplyHeader { xid, zxid, error })
    }

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.put_i32(self.xid.0);
        out.put_i64(self.zxid.0);
        out.put_i32(self.error.code());
    }
}
