//! Requests, after their header.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::header::{OpCode, RequestHeader, Xid};
use super::jute::{DecodeError, PutJute, Reader};
use super::multi::{self, MultiOp};
use super::records::{put_acls, read_acls};
use crate::base::ids::Zxid;
use crate::base::znode::Acl;

const PATH: &str = "the path";

/// | field | type |
/// |-------|------|
/// | path | ustring |
/// | data | buffer |
/// | acl | vector of ACL |
/// | flags | int |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateRequest {
    /// The path, or its beginning for a sequential node.
    pub path: Arc<str>,
    /// The data.
    pub data: Option<Bytes>,
    /// The access control list; empty stands for null too.
    pub acl: Vec<Acl>,
    /// The create mode's number, not yet judged.
    pub flags: i32,
}

impl CreateRequest {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_text(&self.path);
        out.put_buffer(self.data.as_deref());
        put_acls(out, &self.acl);
        out.put_i32(self.flags);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(CreateRequest {
            path: reader.text(PATH)?,
            data: reader.buffer()?,
            acl: read_acls(reader)?,
            flags: reader.int()?,
        })
    }
}

/// | field | type |
/// |-------|------|
/// | type | int, 0 |
/// | scheme | ustring |
/// | auth | buffer |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthPacket {
    /// 0.
    pub kind: i32,
    /// The authentication scheme.
    pub scheme: Arc<str>,
    /// What proves it, `user:password` for `digest`.
    pub auth: Option<Bytes>,
}

/// | field | type |
/// |-------|------|
/// | relativeZxid | long |
/// | dataWatches, existWatches, childWatches | vector of ustring, each |
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SetWatches {
    /// The last zxid that the client saw.
    pub relative_zxid: Zxid,
    /// Paths of nodes that existed when they were read.
    pub data: Vec<Arc<str>>,
    /// Paths of nodes that did not exist.
    pub exist: Vec<Arc<str>>,
    /// Paths of nodes whose children were listed.
    pub children: Vec<Arc<str>>,
}

/// A request. `watch` asks for a one-shot watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The fields are those of the protocol, told in the variants' docs.
pub enum Request {
    /// Creates a node; the reply has its path.
    Create(CreateRequest),
    /// Creates a node; the reply has its statistics too.
    Create2(CreateRequest),
    /// Deletes a node: path ustring, version int.
    Delete { path: Arc<str>, version: i32 },
    /// Asks for statistics: path ustring, watch boolean.
    Exists { path: Arc<str>, watch: bool },
    /// Reads data: path ustring, watch boolean.
    GetData { path: Arc<str>, watch: bool },
    /// Sets data: path ustring, data buffer, version int.
    SetData { path: Arc<str>, data: Option<Bytes>, version: i32 },
    /// Reads the access control list: path ustring.
    GetAcl { path: Arc<str> },
    /// Sets the access control list: path ustring, acl vector, version int.
    SetAcl { path: Arc<str>, acl: Vec<Acl>, version: i32 },
    /// Lists children: path ustring, watch boolean.
    GetChildren { path: Arc<str>, watch: bool },
    /// Lists children, with statistics: path ustring, watch boolean.
    GetChildren2 { path: Arc<str>, watch: bool },
    /// Waits for what was committed: path ustring.
    Sync { path: Arc<str> },
    /// Says that the client lives; no body.
    Ping,
    /// Checks a version: path ustring, version int.
    Check { path: Arc<str>, version: i32 },
    /// Writes that happen all or not at all.
    Multi(Vec<MultiOp>),
    /// Says who the client is.
    Auth(AuthPacket),
    /// Leaves watches again.
    SetWatches(SetWatches),
    /// Ends the session; no body.
    CloseSession,
}

impl Request {
    /// The operation's number.
    #[must_use]
    pub fn op_code(&self) -> OpCode {
        match self {
            Request::Create(_) => OpCode::Create,
            Request::Create2(_) => OpCode::Create2,
            Request::Delete { .. } => OpCode::Delete,
            Request::Exists { .. } => OpCode::Exists,
            Request::GetData { .. } => OpCode::GetData,
            Request::SetData { .. } => OpCode::SetData,
            Request::GetAcl { .. } => OpCode::GetAcl,
            Request::SetAcl { .. } => OpCode::SetAcl,
            Request::GetChildren { .. } => OpCode::GetChildren,
            Request::GetChildren2 { .. } => OpCode::GetChildren2,
            Request::Sync { .. } => OpCode::Sync,
            Request::Ping => OpCode::Ping,
            Request::Check { .. } => OpCode::Check,
            Request::Multi(_) => OpCode::Multi,
            Request::Auth(_) => OpCode::Auth,
            Request::SetWatches(_) => OpCode::SetWatches,
            Request::CloseSession => OpCode::CloseSession,
        }
    }

    /// The request of which `body` is what follows a header with this operation's number.
    pub fn decode(op_code: i32, body: Bytes) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(body);
        Ok(match OpCode::from_code(op_code)? {
            OpCode::Create => Request::Create(CreateRequest::read(reader)?),
            OpCode::Create2 => Request::Create2(CreateRequest::read(reader)?),
            OpCode::Delete => Request::Delete { path: reader.text(PATH)?, version: reader.int()? },
            OpCode::Exists => Request::Exists { path: reader.text(PATH)?, watch: reader.boolean()? },
            OpCode::GetData => Request::GetData { path: reader.text(PATH)?, watch: reader.boolean()? },
            OpCode::SetData => {
                Request::SetData { path: reader.text(PATH)?, data: reader.buffer()?, version: reader.int()? }
            }
            OpCode::GetAcl => Request::GetAcl { path: reader.text(PATH)? },
            OpCode::SetAcl => {
                Request::SetAcl { path: reader.text(PATH)?, acl: read_acls(reader)?, version: reader.int()? }
            }
            OpCode::GetChildren => Request::GetChildren { path: reader.text(PATH)?, watch: reader.boolean()? },
            OpCode::GetChildren2 => Request::GetChildren2 { path: reader.text(PATH)?, watch: reader.boolean()? },
            OpCode::Sync => Request::Sync { path: reader.text(PATH)? },
            OpCode::Ping => Request::Ping,
            OpCode::Check => Request::Check { path: reader.text(PATH)?, version: reader.int()? },
            OpCode::Multi => Request::Multi(multi::read_ops(reader)?),
            OpCode::Auth => Request::Auth(read_auth(reader)?),
            OpCode::SetWatches => Request::SetWatches(read_watches(reader)?),
            OpCode::CloseSession => Request::CloseSession,
        })
    }

    /// Appends it, with its header.
    pub fn put(&self, xid: Xid, out: &mut Vec<u8>) {
        RequestHeader { xid, op_code: self.op_code() as i32 }.put(out);
        self.put_body(out);
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Request::Create(create) | Request::Create2(create) => create.put(out),
            Request::Delete { path, version } | Request::Check { path, version } => {
                out.put_text(path);
                out.put_i32(*version);
            }
            Request::Exists { path, watch }
            | Request::GetData { path, watch }
            | Request::GetChildren { path, watch }
            | Request::GetChildren2 { path, watch } => {
                out.put_text(path);
                out.put_boolean(*watch);
            }
            Request::SetData { path, data, version } => {
                out.put_text(path);
                out.put_buffer(data.as_deref());
                out.put_i32(*version);
            }
            Request::SetAcl { path, acl, version } => {
                out.put_text(path);
                put_acls(out, acl);
                out.put_i32(*version);
            }
            Request::GetAcl { path } | Request::Sync { path } => out.put_text(path),
            Request::Multi(ops) => multi::put_ops(out, ops),
            Request::Auth(auth) => {
                out.put_i32(auth.kind);
                out.put_text(&auth.scheme);
                out.put_buffer(auth.auth.as_deref());
            }
            Request::SetWatches(watches) => {
                out.put_i64(watches.relative_zxid.0);
                out.put_texts(&watches.data);
                out.put_texts(&watches.exist);
                out.put_texts(&watches.children);
            }
            Request::Ping | Request::CloseSession => {}
        }
    }
}

fn read_auth(reader: &mut Reader) -> Result<AuthPacket, DecodeError> {
    Ok(AuthPacket { kind: reader.int()?, scheme: reader.text("the scheme")?, auth: reader.buffer()? })
}

fn read_watches(reader: &mut Reader) -> Result<SetWatches, DecodeError> {
    let relative_zxid = Zxid(reader.long()?);
    let mut paths = || reader.vector(|reader| reader.text(PATH));
    Ok(SetWatches { relative_zxid, data: paths()?, exist: paths()?, children: paths()? })
}
