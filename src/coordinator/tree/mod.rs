//! The coordinator's state machine: znodes, sessions, ephemerals, access control lists.
//!
//! The replicated log feeds [`Entry`]s to [`Tree::apply`], in the order of their zxids, on every
//! server. All validation happens there, so that every server, and every recovery, comes to the
//! same result; a failed write consumes its zxid and changes nothing but its session's sequence.
//! [`Tree::state_digest`] says in one number whether two servers agree, at no cost.
//!
//! What it leaves to others: consensus orders the entries and stamps zxid and time; the server
//! holds the connections and one [`Watches`] for its own sessions; who a client is, was settled
//! where it connected. Cloning a [`Tree`] shares its nodes: a snapshot is a clone.
//!
//! Semantics are those of Apache ZooKeeper 3.9's `PrepRequestProcessor` and `DataTree`, the order
//! of its error checks included.

pub mod acl;
mod apply;
pub mod codec;
pub mod cow_map;
pub mod digest;
pub mod node;
pub mod path;
pub mod session;
pub mod snapshot;
pub mod txn;
pub mod watches;
mod write;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use cow_map::CowMap;
use path::{PathKey, Probe};

use crate::base::ids::{SessionId, Zxid};
use crate::base::znode::{Acl, AuthId, ErrorCode, Permissions, Stat};

pub use apply::{Applied, Change, EndedSession, Failure, Reply};
pub use node::Node;
pub use session::{Password, Refusal, Session};
pub use txn::{Entry, Op, Origin, Txn, Write};
pub use watches::{Notification, WatchKind, Watches};

/// The whole replicated state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tree {
    nodes: CowMap<PathKey, Arc<Node>>,
    sessions: CowMap<SessionId, Arc<Session>>,
    last_zxid: Zxid,
    /// The sum of the digests of all nodes and sessions, modulo 2^64: independent of their order,
    /// and kept up to date by one subtraction and one addition for each that changes.
    digest: u64,
    data_bytes: u64,
    ephemerals: usize,
    /// One allocation for the list that nearly all nodes have.
    open_acl: Arc<[Acl]>,
}

impl Default for Tree {
    fn default() -> Self {
        Tree::new()
    }
}

impl Tree {
    /// The state before any entry: the root and the nodes that always exist.
    #[must_use]
    pub fn new() -> Self {
        let mut tree = Tree::empty();
        for path in path::PROTECTED {
            let acl = if path == "/zookeeper/config" {
                Arc::from([Acl::world(Permissions::READ)])
            } else {
                tree.open_acl.clone()
            };
            let mut node = Node::new(path, Some(Bytes::new()), acl, SessionId(0), Zxid(0), 0);
            node.children =
                path::PROTECTED.iter().filter(|child| path::child_name(child, path).is_some()).count() as i32;
            tree.replace(&PathKey::new(path.into()), Some(Arc::new(node)));
        }
        tree
    }

    /// Not even a root: what a snapshot is decoded into.
    fn empty() -> Self {
        Tree {
            nodes: CowMap::default(),
            sessions: CowMap::default(),
            last_zxid: Zxid(0),
            digest: 0,
            data_bytes: 0,
            ephemerals: 0,
            open_acl: Arc::from(Acl::open()),
        }
    }

    /// The zxid of the last entry that was applied, 0 before the first.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// A hash of all nodes and sessions, without regard to `last_zxid`. Two servers that applied
    /// the same entries have the same; costs nothing to ask for.
    #[must_use]
    pub fn state_digest(&self) -> u64 {
        self.digest
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// How many of them go with a session.
    #[must_use]
    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals
    }

    /// The bytes of all paths and data.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The node at `path`.
    #[must_use]
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.entry(path).map(|(_, node)| &**node)
    }

    /// All nodes, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        self.nodes.iter().map(|(key, node)| (key.path(), &**node))
    }

    /// The statistics of the node at `path`; needs no permission, as in ZooKeeper's `exists`.
    pub fn stat(&self, path: &str) -> Result<Stat, ErrorCode> {
        self.node(path).map(Node::stat).ok_or(ErrorCode::NoNode)
    }

    /// The node at `path` if a client with these ids may read it.
    pub fn readable(&self, path: &str, ids: &[AuthId]) -> Result<&Node, ErrorCode> {
        let node = self.node(path).ok_or(ErrorCode::NoNode)?;
        acl::check(&node.acl, Permissions::READ, ids)?;
        Ok(node)
    }

    /// The names of the children of the node at `path`, in ascending order.
    pub fn children<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a str> {
        let probe = Probe::children_of(path);
        self.nodes
            .iter_from(move |key| key.compare(probe))
            .map_while(move |(key, _)| path::child_name(key.path(), path))
    }

    /// The access control list of the node at `path`, as a client with these ids may see it:
    /// without the permission to change it, passwords' hashes are blanked.
    pub fn acl(&self, path: &str, ids: &[AuthId]) -> Result<(Vec<Acl>, Stat), ErrorCode> {
        let node = self.node(path).ok_or(ErrorCode::NoNode)?;
        acl::check(&node.acl, Permissions(Permissions::READ.0 | Permissions::ADMIN.0), ids)?;
        let whole = acl::check(&node.acl, Permissions::ADMIN, ids).is_ok();
        let shown = node.acl.iter().map(|acl| if whole { acl.clone() } else { acl::blanked(acl) }).collect();
        Ok((shown, node.stat()))
    }

    /// A session that lives.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id).map(|session| &**session)
    }

    /// All sessions that live, by id.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, &**session))
    }

    /// The paths of the nodes that go with a session.
    pub fn ephemerals_of(&self, id: SessionId) -> impl Iterator<Item = &Arc<str>> {
        self.session(id).into_iter().flat_map(|session| session.ephemerals.iter().map(PathKey::path))
    }

    fn entry(&self, path: &str) -> Option<(&PathKey, &Arc<Node>)> {
        let probe = Probe::node(path);
        self.nodes.entry_by(|key| key.compare(probe))
    }

    /// Puts a node in place of the one at `key`, or removes it, and gives the one that was there.
    /// Every change of a node goes through here: it keeps digest, counters and the sessions'
    /// ephemerals up to date, and putting back what it gave undoes it.
    fn replace(&mut self, key: &PathKey, new: Option<Arc<Node>>) -> Option<Arc<Node>> {
        if let Some(node) = &new {
            self.account(key, node, true);
        }
        let old = match new {
            Some(node) => self.nodes.insert(key.clone(), node),
            None => self.nodes.remove(key),
        };
        if let Some(node) = &old {
            self.account(key, node, false);
        }
        old
    }

    fn account(&mut self, key: &PathKey, node: &Node, comes: bool) {
        let bytes = (key.path().len() + node.data_length()) as u64;
        if comes {
            self.digest = self.digest.wrapping_add(node.digest());
            self.data_bytes += bytes;
        } else {
            self.digest = self.digest.wrapping_sub(node.digest());
            self.data_bytes -= bytes;
        }
        if node.ephemeral_owner != SessionId(0) {
            self.account_ephemeral(key, node.ephemeral_owner, comes);
        }
    }

    /// A node that takes the place of an ephemeral one comes before that one goes; then the
    /// session keeps it, since both have one owner.
    fn account_ephemeral(&mut self, key: &PathKey, owner: SessionId, comes: bool) {
        let Some(session) = self.sessions.get_mut(&owner) else { return };
        let ephemerals = &mut Arc::make_mut(session).ephemerals;
        if comes {
            self.ephemerals += 1;
            ephemerals.insert(key.clone());
        } else {
            self.ephemerals -= 1;
            if self.nodes.get(key).is_none_or(|node| node.ephemeral_owner != owner) {
                ephemerals.remove(key);
            }
        }
    }

    /// Puts a session in place of the one with this id, or removes it.
    fn replace_session(&mut self, id: SessionId, new: Option<Arc<Session>>) -> Option<Arc<Session>> {
        if let Some(session) = &new {
            self.digest = self.digest.wrapping_add(session.digest(id));
        }
        let old = match new {
            Some(session) => self.sessions.insert(id, session),
            None => self.sessions.remove(&id),
        };
        if let Some(session) = &old {
            self.digest = self.digest.wrapping_sub(session.digest(id));
        }
        old
    }
}
