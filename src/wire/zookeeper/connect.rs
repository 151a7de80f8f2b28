//! The first frame each way: which session, for how long.

use bytes::{BufMut, Bytes};

use super::jute::{DecodeError, PutJute, Reader};
use crate::base::ids::{SessionId, Zxid};

/// | field | type | |
/// |-------|------|-|
/// | protocolVersion | int | 0 |
/// | lastZxidSeen | long | |
/// | timeOut | int | ms |
/// | sessionId | long | 0 for a new session |
/// | passwd | buffer | |
/// | readOnly | boolean | left out by clients before 3.4 |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectRequest {
    /// 0 so far.
    pub protocol_version: i32,
    /// The highest zxid that the client has seen: a server that is behind refuses it.
    pub last_zxid_seen: Zxid,
    /// The session time-out that the client asks for.
    pub timeout_ms: i32,
    /// The session to be restored; 0 for a new one.
    pub session: SessionId,
    /// What proves that the session is the client's.
    pub password: Bytes,
    /// Whether a read-only server is good enough. None where the field is left out; the response
    /// then leaves it out too.
    pub read_only: Option<bool>,
}

impl ConnectRequest {
    /// The request that `frame` is.
    pub fn decode(frame: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        Ok(ConnectRequest {
            protocol_version: reader.int()?,
            last_zxid_seen: Zxid(reader.long()?),
            timeout_ms: reader.int()?,
            session: SessionId(reader.long()?),
            password: reader.buffer()?.unwrap_or_default(),
            read_only: read_only(&mut reader)?,
        })
    }

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.put_i32(self.protocol_version);
        out.put_i64(self.last_zxid_seen.0);
        out.put_i32(self.timeout_ms);
        out.put_i64(self.session.0);
        out.put_buffer(Some(&self.password));
        self.read_only.into_iter().for_each(|read_only| out.put_boolean(read_only));
    }
}

/// | field | type | |
/// |-------|------|-|
/// | protocolVersion | int | 0 |
/// | timeOut | int | ms; 0 or less if the session is refused |
/// | sessionId | long | |
/// | passwd | buffer | |
/// | readOnly | boolean | only if the request had it |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectResponse {
    /// 0 so far.
    pub protocol_version: i32,
    /// The time-out that was negotiated; 0 or less if the session has expired.
    pub timeout_ms: i32,
    /// The session.
    pub session: SessionId,
    /// What the client must show to restore it.
    pub password: Bytes,
    /// Whether the server is read-only. None where the field is left out.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The answer to a client whose session has ended.
    #[must_use]
    pub fn expired(read_only: Option<bool>) -> Self {
        let password = Bytes::from_static(&[0; 16]);
        ConnectResponse { protocol_version: 0, timeout_ms: 0, session: SessionId(0), password, read_only }
    }

    /// The response that `frame` is.
    pub fn decode(frame: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        Ok(ConnectResponse {
            protocol_version: reader.int()?,
            timeout_ms: reader.int()?,
            session: SessionId(reader.long()?),
            password: reader.buffer()?.unwrap_or_default(),
            read_only: read_only(&mut reader)?,
        })
    }

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.put_i32(self.protocol_version);
        out.put_i32(self.timeout_ms);
        out.put_i64(self.session.0);
        out.put_buffer(Some(&self.password));
        self.read_only.into_iter().for_each(|read_only| out.put_boolean(read_only));
    }
}

fn read_only(reader: &mut Reader) -> Result<Option<bool>, DecodeError> {
    if reader.is_empty() { Ok(None) } else { reader.boolean().map(Some) }
}
