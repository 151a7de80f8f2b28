//! The entries that the replicated log feeds to the tree, and the bytes of what was proposed.
//!
//! | field | bytes | |
//! |-------|------:|-|
//! | version | 1 | 1 |
//! | origin server, origin request | 4 + 8 | who waits for the result |
//! | session, attachment, sequence | 8 + 8 + 8 | its place in the client's order |
//! | ids | list | the client's authenticated ids: scheme, id |
//! | operation | 1 + … | see [`Op`] |
//!
//! A server that takes a request encodes a [`Txn`] and forwards it; the leader gives it a place and a time, which make
//! it an [`Entry`]. What a client asked for is in there as it asked: it is judged in `apply`.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::codec::{BadEncoding, Reader, put_bytes, put_optional_bytes};
use super::session::Password;
use crate::base::ids::{ServerId, SessionId, Zxid};
use crate::base::znode::{Acl, AuthId, CreateMode, Permissions};

/// The version of the format, in front of each entry.
const VERSION: u8 = 1;

/// Who waits for the result of an entry. The tree hands it back and makes nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The server that took the request.
    pub server: ServerId,
    /// That server's own number for it.
    pub request: u64,
}

/// One proposal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Txn {
    /// Who waits for the result.
    pub origin: Origin,
    /// The session that it belongs to; 0 for operations of the ensemble itself.
    pub session: SessionId,
    /// The number of the attachment through which it came.
    pub attachment: u64,
    /// Its place among the entries of that attachment, from 1.
    pub sequence: u64,
    /// Who the client has proved to be.
    pub ids: Vec<AuthId>,
    /// What is asked for.
    pub op: Op,
}

/// What an entry asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Nothing: a term's first entry.
    Noop,
    /// Creates the session [`Txn::session`], a number that its proposer drew at random.
    CreateSession {
        /// What the client must show to attach again, drawn at random.
        password: Password,
        /// The negotiated time-out.
        timeout_ms: u32,
    },
    /// Attaches the session anew and raises its attachment number.
    AttachSession {
        /// What the client showed.
        password: Password,
        /// The newly negotiated time-out.
        timeout_ms: u32,
    },
    /// The client closes its session.
    CloseSession,
    /// The leader has not heard from the session for its time-out. Refused if the session was
    /// attached anew since the leader decided.
    ExpireSession,
    /// The ensemble publishes its membership in `/zookeeper/config`.
    SetConfig {
        /// The text.
        data: Bytes,
    },
    /// One write.
    Write(Write),
    /// Writes that happen all or not at all.
    Multi(Vec<Write>),
}

/// A write, as a client asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// Creates a node.
    Create {
        /// Its path, or the beginning of it for a sequential node.
        path: Arc<str>,
        /// Its data.
        data: Option<Bytes>,
        /// Its access control list.
        acl: Vec<Acl>,
        /// Its mode.
        mode: CreateMode,
    },
    /// Deletes a node.
    Delete {
        /// Its path.
        path: Arc<str>,
        /// The version that it must have; -1 for any.
        version: i32,
    },
    /// Sets a node's data.
    SetData {
        /// Its path.
        path: Arc<str>,
        /// Its new data.
        data: Option<Bytes>,
        /// The version that it must have; -1 for any.
        version: i32,
    },
    /// Sets a node's access control list.
    SetAcl {
        /// Its path.
        path: Arc<str>,
        /// Its new list.
        acl: Vec<Acl>,
        /// The acl version that it must have; -1 for any.
        version: i32,
    },
    /// Checks that a node exists and has a version.
    Check {
        /// Its path.
        path: Arc<str>,
        /// The version that it must have; -1 for any.
        version: i32,
    },
}

/// A proposal with the place and time that the leader gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its place in history.
    pub zxid: Zxid,
    /// The leader's wall clock when it was proposed.
    pub time_ms: i64,
    /// What was proposed.
    pub txn: Txn,
}

impl Txn {
    /// A proposal of the ensemble itself, without a session.
    #[must_use]
    pub fn of_ensemble(origin: Origin, op: Op) -> Self {
        Txn { origin, session: SessionId(0), attachment: 0, sequence: 0, ids: Vec::new(), op }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.put(&mut out);
        out
    }

    /// The proposal that `bytes` are.
    pub fn decode(bytes: Bytes) -> Result<Txn, BadEncoding> {
        let mut reader = versioned(bytes)?;
        let txn = Txn::read(&mut reader)?;
        reader.finish()?;
        Ok(txn)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.origin.server.0);
        out.put_u64(self.origin.request);
        out.put_i64(self.session.0);
        out.put_u64(self.attachment);
        out.put_u64(self.sequence);
        out.put_u32(self.ids.len() as u32);
        self.ids.iter().for_each(|id| put_id(out, id));
        put_op(out, &self.op);
    }

    fn read(reader: &mut Reader) -> Result<Txn, BadEncoding> {
        Ok(Txn {
            origin: Origin { server: ServerId(reader.u32()?), request: reader.u64()? },
            session: SessionId(reader.i64()?),
            attachment: reader.u64()?,
            sequence: reader.u64()?,
            ids: reader.list(read_id)?,
            op: read_op(reader)?,
        })
    }
}

fn versioned(bytes: Bytes) -> Result<Reader, BadEncoding> {
    let mut reader = Reader::new(bytes);
    match reader.u8()? {
        VERSION => Ok(reader),
        other => Err(BadEncoding::Version(other)),
    }
}

fn put_id(out: &mut Vec<u8>, id: &AuthId) {
    put_bytes(out, id.scheme.as_bytes());
    put_bytes(out, id.id.as_bytes());
}

fn read_id(reader: &mut Reader) -> Result<AuthId, BadEncoding> {
    Ok(AuthId { scheme: reader.text()?, id: reader.text()? })
}

pub(super) fn put_acls(out: &mut Vec<u8>, acls: &[Acl]) {
    out.put_u32(acls.len() as u32);
    for acl in acls {
        out.put_i32(acl.permissions.0);
        put_id(out, &acl.id);
    }
}

pub(super) fn read_acls(reader: &mut Reader) -> Result<Vec<Acl>, BadEncoding> {
    reader.list(|reader| Ok(Acl { permissions: Permissions(reader.i32()?), id: read_id(reader)? }))
}

fn put_op(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Noop => out.put_u8(0),
        Op::CreateSession { password, timeout_ms } => put_session(out, 1, password, *timeout_ms),
        Op::AttachSession { password, timeout_ms } => put_session(out, 2, password, *timeout_ms),
        Op::CloseSession => out.put_u8(3),
        Op::ExpireSession => out.put_u8(4),
        Op::SetConfig { data } => {
            out.put_u8(5);
            put_bytes(out, data);
        }
        Op::Write(write) => {
            out.put_u8(8);
            put_write(out, write);
        }
        Op::Multi(writes) => {
            out.put_u8(9);
            out.put_u32(writes.len() as u32);
            writes.iter().for_each(|write| put_write(out, write));
        }
    }
}

fn put_session(out: &mut Vec<u8>, tag: u8, password: &Password, timeout_ms: u32) {
    out.put_u8(tag);
    out.put_slice(&password.0);
    out.put_u32(timeout_ms);
}

fn read_op(reader: &mut Reader) -> Result<Op, BadEncoding> {
    Ok(match reader.u8()? {
        0 => Op::Noop,
        1 => Op::CreateSession { password: Password(reader.array()?), timeout_ms: reader.u32()? },
        2 => Op::AttachSession { password: Password(reader.array()?), timeout_ms: reader.u32()? },
        3 => Op::CloseSession,
        4 => Op::ExpireSession,
        5 => Op::SetConfig { data: reader.bytes()? },
        8 => Op::Write(read_write(reader)?),
        9 => Op::Multi(reader.list(read_write)?),
        tag => return Err(BadEncoding::Value { what: "an operation", value: i64::from(tag) }),
    })
}

fn put_write(out: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Create { path, data, acl, mode } => {
            put_path(out, 0, path);
            put_optional_bytes(out, data.as_ref());
            put_acls(out, acl);
            out.put_u8(mode.flags() as u8);
        }
        Write::Delete { path, version } => {
            put_path(out, 1, path);
            out.put_i32(*version);
        }
        Write::SetData { path, data, version } => {
            put_path(out, 2, path);
            put_optional_bytes(out, data.as_ref());
            out.put_i32(*version);
        }
        Write::SetAcl { path, acl, version } => {
            put_path(out, 3, path);
            put_acls(out, acl);
            out.put_i32(*version);
        }
        Write::Check { path, version } => {
            put_path(out, 4, path);
            out.put_i32(*version);
        }
    }
}

fn put_path(out: &mut Vec<u8>, tag: u8, path: &str) {
    out.put_u8(tag);
    put_bytes(out, path.as_bytes());
}

fn read_write(reader: &mut Reader) -> Result<Write, BadEncoding> {
    let tag = reader.u8()?;
    let path = reader.text()?;
    Ok(match tag {
        0 => Write::Create { path, data: reader.optional_bytes()?, acl: read_acls(reader)?, mode: read_mode(reader)? },
        1 => Write::Delete { path, version: reader.i32()? },
        2 => Write::SetData { path, data: reader.optional_bytes()?, version: reader.i32()? },
        3 => Write::SetAcl { path, acl: read_acls(reader)?, version: reader.i32()? },
        4 => Write::Check { path, version: reader.i32()? },
        _ => return Err(BadEncoding::Value { what: "a write", value: i64::from(tag) }),
    })
}

fn read_mode(reader: &mut Reader) -> Result<CreateMode, BadEncoding> {
    let flags = reader.u8()?;
    CreateMode::from_flags(i32::from(flags))
        .map_err(|_| BadEncoding::Value { what: "a create mode", value: i64::from(flags) })
}

#[cfg(test)]
#[path = "txn_tests.rs"]
mod tests;
