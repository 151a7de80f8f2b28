//! The whole state as a row of chunks, each with its own checksum, and back.
//!
//! A chunk, big-endian:
//!
//! | offset | bytes | field |
//! |-------:|------:|-------|
//! | 0 | 4 | magic, `WyrT` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | kind: 0 head, 1 sessions, 2 nodes, 3 tail |
//! | 6 | 4 | index of the chunk, from 0 |
//! | 10 | 4 | length of the payload |
//! | 14 | … | payload |
//! | … | 4 | CRC-32C of all before |
//!
//! The head has the last zxid; the tail the counts of sessions and nodes and the state's digest.
//! Sessions come before nodes, because ephemerals need their owner; nodes come parents first. A
//! snapshot is believed only when its tail agrees with what was decoded.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::codec::{BadEncoding, Reader, put_bytes, put_optional_bytes};
use super::path::{self, PathKey};
use super::session::{Password, Session};
use super::txn::{put_acls, read_acls};
use super::{Node, Tree};
use crate::base::checksum::crc32c;
use crate::base::ids::{SessionId, Zxid};

const MAGIC: [u8; 4] = *b"WyrT";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 14;
const CHECKSUM_BYTES: usize = 4;

/// About how many bytes of payload a chunk gets. One entry may make it longer.
const CHUNK_BYTES: usize = 64 * 1024;
/// The longest payload that is accepted: a chunk that was nearly full, and a largest node.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Head = 0,
    Sessions = 1,
    Nodes = 2,
    Tail = 3,
}

/// Why bytes are not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    /// A chunk or a field in it is malformed.
    #[error("snapshot chunk {chunk}: {error}")]
    Encoding {
        /// The chunk's index.
        chunk: u32,
        /// What is wrong.
        error: BadEncoding,
    },
    /// A chunk's checksum does not match its bytes.
    #[error("snapshot chunk {chunk}: the checksum does not match")]
    Checksum {
        /// The chunk's index.
        chunk: u32,
    },
    /// The chunks do not follow each other, or their contents contradict each other.
    #[error("snapshot chunk {chunk}: {what}")]
    Inconsistent {
        /// The chunk's index.
        chunk: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// The last chunk is missing.
    #[error("the snapshot ends after {chunks} chunks, without its tail")]
    Unfinished {
        /// How many chunks came.
        chunks: u32,
    },
}

/// A frozen state as chunks, made one by one. Holding it costs a copy of what changes meanwhile.
#[derive(Clone, Debug)]
pub struct SnapshotWriter {
    tree: Tree,
    next: Position,
    index: u32,
}

#[derive(Clone, Debug)]
enum Position {
    Head,
    Sessions(SessionId),
    Nodes(Option<PathKey>),
    Tail,
    End,
}

impl Tree {
    /// This state as chunks. Takes no time to speak of; writes go on.
    #[must_use]
    pub fn snapshot(&self) -> SnapshotWriter {
        SnapshotWriter { tree: self.clone(), next: Position::Head, index: 0 }
    }
}

impl SnapshotWriter {
    /// The last zxid that the snapshot covers.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.tree.last_zxid
    }

    fn head(&mut self) -> Bytes {
        self.next = Position::Sessions(SessionId(i64::MIN));
        self.chunk(Kind::Head, &self.tree.last_zxid.0.to_be_bytes())
    }

    fn sessions(&mut self, from: SessionId) -> Bytes {
        let mut payload = Vec::new();
        self.next = Position::Nodes(None);
        for (id, session) in self.tree.sessions.iter_from(|id| id.cmp(&from)) {
            if payload.len() >= CHUNK_BYTES {
                self.next = Position::Sessions(*id);
                break;
            }
            put_session(&mut payload, *id, session);
        }
        self.chunk(Kind::Sessions, &payload)
    }

    fn nodes(&mut self, from: Option<&PathKey>) -> Bytes {
        let mut payload = Vec::new();
        self.next = Position::Tail;
        for (key, node) in
            self.tree.nodes.iter_from(|key| from.map_or(std::cmp::Ordering::Greater, |from| key.cmp(from)))
        {
            if payload.len() >= CHUNK_BYTES {
                self.next = Position::Nodes(Some(key.clone()));
                break;
            }
            put_node(&mut payload, key.path(), node, *node.acl == *self.tree.open_acl);
        }
        self.chunk(Kind::Nodes, &payload)
    }

    fn tail(&mut self) -> Bytes {
        let mut payload = Vec::new();
        payload.put_u64(self.tree.sessions.len() as u64);
        payload.put_u64(self.tree.nodes.len() as u64);
        payload.put_u64(self.tree.digest);
        self.next = Position::End;
        self.chunk(Kind::Tail, &payload)
    }

    fn chunk(&self, kind: Kind, payload: &[u8]) -> Bytes {
        let mut chunk = Vec::with_capacity(HEADER_BYTES + payload.len() + CHECKSUM_BYTES);
        chunk.put_slice(&MAGIC);
        chunk.put_u8(VERSION);
        chunk.put_u8(kind as u8);
        chunk.put_u32(self.index);
        put_bytes(&mut chunk, payload);
        let checksum = crc32c(&chunk);
        chunk.put_u32(checksum);
        chunk.into()
    }
}

impl Iterator for SnapshotWriter {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let chunk = match self.next.clone() {
            Position::Head => self.head(),
            Position::Sessions(from) => self.sessions(from),
            Position::Nodes(from) => self.nodes(from.as_ref()),
            Position::Tail => self.tail(),
            Position::End => return None,
        };
        self.index += 1;
        Some(chunk)
    }
}

fn put_session(out: &mut Vec<u8>, id: SessionId, session: &Session) {
    out.put_i64(id.0);
    out.put_slice(&session.password.0);
    out.put_u32(session.timeout_ms);
    out.put_u64(session.attachment);
    out.put_u64(session.sequence);
}

fn put_node(out: &mut Vec<u8>, path: &str, node: &Node, open: bool) {
    put_bytes(out, path.as_bytes());
    put_optional_bytes(out, node.data.as_ref());
    out.put_u8(u8::from(!open));
    if !open {
        put_acls(out, &node.acl);
    }
    out.put_i64(node.ephemeral_owner.0);
    for zxid in [node.created, node.modified, node.children_modified] {
        out.put_i64(zxid.0);
    }
    out.put_i64(node.created_ms);
    out.put_i64(node.modified_ms);
    for counter in [node.version, node.acl_version, node.creations] {
        out.put_i32(counter);
    }
}

/// Takes a snapshot's chunks one by one and rebuilds the state from them.
#[derive(Debug)]
pub struct SnapshotReader {
    tree: Tree,
    chunks: u32,
    last_kind: Option<Kind>,
    /// Children counted per parent; a node's own count is set from it at the end.
    children: BTreeMap<PathKey, i32>,
}

impl Default for SnapshotReader {
    fn default() -> Self {
        SnapshotReader { tree: Tree::empty(), chunks: 0, last_kind: None, children: BTreeMap::new() }
    }
}

impl SnapshotReader {
    /// Takes the next chunk, whole.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), BadSnapshot> {
        let (kind, payload) = self.open(chunk)?;
        let mut reader = Reader::new(payload);
        let result = match kind {
            Kind::Head => reader.i64().map(|zxid| self.tree.last_zxid = Zxid(zxid)),
            Kind::Sessions => self.read_sessions(&mut reader),
            Kind::Nodes => self.read_nodes(&mut reader)?,
            Kind::Tail => self.read_tail(&mut reader)?,
        };
        result.and_then(|()| reader.finish()).map_err(|error| self.bad(error))?;
        self.last_kind = Some(kind);
        self.chunks += 1;
        Ok(())
    }

    /// The state, if the tail has come and agreed.
    pub fn finish(self) -> Result<Tree, BadSnapshot> {
        if self.last_kind == Some(Kind::Tail) {
            Ok(self.tree)
        } else {
            Err(BadSnapshot::Unfinished { chunks: self.chunks })
        }
    }

    fn bad(&self, error: BadEncoding) -> BadSnapshot {
        BadSnapshot::Encoding { chunk: self.chunks, error }
    }

    fn inconsistent(&self, what: &'static str) -> BadSnapshot {
        BadSnapshot::Inconsistent { chunk: self.chunks, what }
    }

    fn open(&self, chunk: Bytes) -> Result<(Kind, Bytes), BadSnapshot> {
        let mut reader = Reader::new(chunk.clone());
        let header = (|| Ok((reader.array::<4>()?, reader.u8()?, reader.u8()?, reader.u32()?, reader.bytes()?)))();
        let (magic, version, kind, index, payload) = header.map_err(|error| self.bad(error))?;
        if magic != MAGIC {
            return Err(self.inconsistent("this is no snapshot"));
        }
        if version != VERSION {
            return Err(self.bad(BadEncoding::Version(version)));
        }
        let checksum = reader.u32().map_err(|error| self.bad(error))?;
        reader.finish().map_err(|error| self.bad(error))?;
        if crc32c(&chunk[..chunk.len() - CHECKSUM_BYTES]) != checksum {
            return Err(BadSnapshot::Checksum { chunk: self.chunks });
        }
        if index != self.chunks {
            return Err(self.inconsistent("a chunk is missing or out of order"));
        }
        Ok((self.next_kind(kind)?, payload))
    }

    fn next_kind(&self, kind: u8) -> Result<Kind, BadSnapshot> {
        let kinds = [Kind::Head, Kind::Sessions, Kind::Nodes, Kind::Tail];
        let kind = kinds.into_iter().find(|known| *known as u8 == kind);
        match (self.last_kind, kind) {
            (None, Some(Kind::Head))
            | (Some(Kind::Head | Kind::Sessions), Some(Kind::Sessions))
            | (Some(Kind::Sessions | Kind::Nodes), Some(Kind::Nodes))
            | (Some(Kind::Nodes), Some(Kind::Tail)) => kind.ok_or_else(|| self.inconsistent("unknown kind of chunk")),
            _ => Err(self.inconsistent("a kind of chunk that does not come here")),
        }
    }

    fn read_sessions(&mut self, reader: &mut Reader) -> Result<(), BadEncoding> {
        while reader.remaining() > 0 {
            let id = SessionId(reader.i64()?);
            let mut session = Session::new(Password(reader.array()?), reader.u32()?);
            session.attachment = reader.u64()?;
            session.sequence = reader.u64()?;
            self.tree.replace_session(id, Some(Arc::new(session)));
        }
        Ok(())
    }

    fn read_nodes(&mut self, reader: &mut Reader) -> Result<Result<(), BadEncoding>, BadSnapshot> {
        while reader.remaining() > 0 {
            match self.read_node(reader) {
                Ok((path, node)) => self.add_node(path, node)?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    fn read_node(&self, reader: &mut Reader) -> Result<(Arc<str>, Node), BadEncoding> {
        let path = reader.text()?;
        let data = reader.optional_bytes()?;
        let acl = if reader.u8()? == 0 { self.tree.open_acl.clone() } else { Arc::from(read_acls(reader)?) };
        let owner = SessionId(reader.i64()?);
        let mut node = Node::new(&path, data, acl, owner, Zxid(reader.i64()?), 0);
        node.modified = Zxid(reader.i64()?);
        node.children_modified = Zxid(reader.i64()?);
        node.created_ms = reader.i64()?;
        node.modified_ms = reader.i64()?;
        node.version = reader.i32()?;
        node.acl_version = reader.i32()?;
        node.creations = reader.i32()?;
        Ok((path, node))
    }

    fn add_node(&mut self, path: Arc<str>, node: Node) -> Result<(), BadSnapshot> {
        if !path::is_valid(&path) {
            return Err(self.inconsistent("a path that is not valid"));
        }
        if node.ephemeral_owner != SessionId(0) && self.tree.session(node.ephemeral_owner).is_none() {
            return Err(self.inconsistent("an ephemeral node without its session"));
        }
        if &*path != path::ROOT {
            let parent = path::parent(&path).and_then(|parent| self.tree.entry(parent));
            let (parent, _) = parent.ok_or_else(|| self.inconsistent("a node without its parent"))?;
            *self.children.entry(parent.clone()).or_default() += 1;
        }
        if self.tree.replace(&PathKey::new(path), Some(Arc::new(node))).is_some() {
            return Err(self.inconsistent("a node that comes twice"));
        }
        Ok(())
    }

    fn read_tail(&mut self, reader: &mut Reader) -> Result<Result<(), BadEncoding>, BadSnapshot> {
        let fields = (|| Ok((reader.u64()?, reader.u64()?, reader.u64()?)))();
        let (sessions, nodes, digest) = match fields {
            Ok(fields) => fields,
            Err(error) => return Ok(Err(error)),
        };
        for (key, children) in std::mem::take(&mut self.children) {
            let node = self.tree.nodes.get(&key).expect("children were counted for nodes that are there");
            let node = Node { children, ..Node::clone(node) };
            self.tree.replace(&key, Some(Arc::new(node)));
        }
        if path::PROTECTED.iter().any(|path| self.tree.node(path).is_none()) {
            return Err(self.inconsistent("a node that always exists is missing"));
        }
        if (self.tree.sessions.len() as u64, self.tree.nodes.len() as u64) != (sessions, nodes) {
            return Err(self.inconsistent("the counts do not agree"));
        }
        if self.tree.digest != digest {
            return Err(self.inconsistent("the digest does not agree"));
        }
        Ok(Ok(()))
    }
}

/// Splits a row of chunks, as they stand in a file, into chunks. Lengths are taken from what is
/// there; whether a chunk is good, [`SnapshotReader::push`] says.
pub fn split_chunks(mut bytes: Bytes) -> Result<Vec<Bytes>, BadSnapshot> {
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let chunk = chunks.len() as u32;
        let short = BadSnapshot::Encoding { chunk, error: BadEncoding::Short };
        let mut length = bytes.get(HEADER_BYTES - 4..HEADER_BYTES).ok_or(short.clone())?;
        let payload = length.get_u32() as usize;
        if payload > PAYLOAD_BYTES_MAX {
            return Err(short);
        }
        let total = HEADER_BYTES + payload + CHECKSUM_BYTES;
        if bytes.len() < total {
            return Err(short);
        }
        chunks.push(bytes.split_to(total));
    }
    Ok(chunks)
}

/// The state that a row of chunks describes.
pub fn decode(bytes: Bytes) -> Result<Tree, BadSnapshot> {
    let mut reader = SnapshotReader::default();
    for chunk in split_chunks(bytes)? {
        reader.push(chunk)?;
    }
    reader.finish()
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
