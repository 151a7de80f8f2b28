//! Writes to nodes, in ZooKeeper's order of checks, with an undo list so that a multi can fail
//! as a whole. A write that fails changes nothing: it checks everything first.

use std::sync::Arc;

use bytes::Bytes;

use super::apply::{Change, Reply};
use super::node::{Node, next_version};
use super::path::{self, PathKey};
use super::txn::Write;
use super::{Tree, acl};
use crate::base::ids::{SessionId, Zxid};
use crate::base::znode::{Acl, AuthId, CreateMode, ErrorCode, EventKind, Permissions};

/// Writes that happen together.
pub(super) struct Section<'a> {
    tree: &'a mut Tree,
    zxid: Zxid,
    time_ms: i64,
    session: SessionId,
    ids: &'a [AuthId],
    changes: Vec<Change>,
    /// What stood where something was changed, in order.
    undo: Vec<(PathKey, Option<Arc<Node>>)>,
}

impl<'a> Section<'a> {
    /// Writes at the tree's last zxid for `session`, whose client has proved to be `ids`.
    pub(super) fn new(tree: &'a mut Tree, time_ms: i64, session: SessionId, ids: &'a [AuthId]) -> Self {
        let zxid = tree.last_zxid;
        Section { tree, zxid, time_ms, session, ids, changes: Vec::new(), undo: Vec::new() }
    }

    /// Keeps what was done.
    pub(super) fn commit(self) -> Vec<Change> {
        self.changes
    }

    /// Undoes what was done.
    pub(super) fn roll_back(self) {
        for (key, node) in self.undo.into_iter().rev() {
            self.tree.replace(&key, node);
        }
    }

    /// One write, or nothing and the reason.
    pub(super) fn perform(&mut self, write: &Write) -> Result<Reply, ErrorCode> {
        match write {
            Write::Create { path, data, acl, mode } => self.create(path, data.clone(), acl, *mode),
            Write::Delete { path, version } => self.delete(path, *version),
            Write::SetData { path, data, version } => self.set_data(path, data.clone(), *version),
            Write::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            Write::Check { path, version } => self.check(path, *version),
        }
    }

    fn create(
        &mut self,
        path: &Arc<str>,
        data: Option<Bytes>,
        acl: &[Acl],
        mode: CreateMode,
    ) -> Result<Reply, ErrorCode> {
        let parent_path = parent_of(path)?;
        let acl = acl::resolve(acl, self.ids)?;
        let (parent_key, parent) = self.find(parent_path)?;
        acl::check(&parent.acl, Permissions::CREATE, self.ids)?;
        let path =
            if mode.is_sequential() { Arc::from(format!("{path}{:010}", parent.creations)) } else { path.clone() };
        validate(&path)?;
        if self.tree.node(&path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if parent.ephemeral_owner != SessionId(0) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let owner = if mode.is_ephemeral() { self.session } else { SessionId(0) };
        let acl = self.shared_acl(acl, &parent);
        let node = Node::new(&path, data, acl, owner, self.zxid, self.time_ms);
        let stat = node.stat();
        self.put(PathKey::new(path.clone()), Some(node));
        let parent = Node {
            creations: parent.creations.wrapping_add(1),
            children: parent.children + 1,
            children_modified: self.zxid,
            ..Node::clone(&parent)
        };
        self.put(parent_key, Some(parent));
        self.changes.push(Change { kind: EventKind::NodeCreated, path: path.clone(), ephemeral_owner: owner });
        Ok(Reply::Created { path, stat })
    }

    fn delete(&mut self, path: &str, version: i32) -> Result<Reply, ErrorCode> {
        let parent_path = parent_of(path)?;
        if path::is_protected(path) {
            return Err(ErrorCode::BadArguments);
        }
        let (_, parent) = self.find(parent_path)?;
        acl::check(&parent.acl, Permissions::DELETE, self.ids)?;
        let (_, node) = self.find(path)?;
        next_version(node.version, version).ok_or(ErrorCode::BadVersion)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(path);
        Ok(Reply::Done)
    }

    /// Removes a node without children, without asking.
    pub(super) fn remove(&mut self, path: &str) {
        let parent_path = path::parent(path).expect("the path of a node has a parent");
        let (parent_key, parent) = self.find(parent_path).expect("the parent of a node exists");
        let (key, node) = self.find(path).expect("only nodes that exist are removed");
        assert_eq!(node.children, 0, "a node with children is removed: {path}");
        let path = key.path().clone();
        self.put(key, None);
        let children = parent.children - 1;
        let parent = Node { children, children_modified: self.zxid, ..Node::clone(&parent) };
        self.put(parent_key, Some(parent));
        self.changes.push(Change { kind: EventKind::NodeDeleted, path, ephemeral_owner: node.ephemeral_owner });
    }

    fn set_data(&mut self, path: &str, data: Option<Bytes>, version: i32) -> Result<Reply, ErrorCode> {
        validate(path)?;
        let (key, node) = self.find(path)?;
        acl::check(&node.acl, Permissions::WRITE, self.ids)?;
        let version = next_version(node.version, version).ok_or(ErrorCode::BadVersion)?;
        Ok(self.put_data(key, &node, data, version))
    }

    /// The ensemble's own write to `/zookeeper/config`, for which no client has the permission.
    pub(super) fn set_config(&mut self, data: Bytes) -> Result<Reply, ErrorCode> {
        let (key, node) = self.find("/zookeeper/config")?;
        let version = next_version(node.version, -1).ok_or(ErrorCode::BadVersion)?;
        Ok(self.put_data(key, &node, Some(data), version))
    }

    fn put_data(&mut self, key: PathKey, node: &Node, data: Option<Bytes>, version: i32) -> Reply {
        let path = key.path().clone();
        let mut node = Node { version, modified: self.zxid, modified_ms: self.time_ms, ..node.clone() };
        node.set_content(&path, data);
        let (stat, ephemeral_owner) = (node.stat(), node.ephemeral_owner);
        self.put(key, Some(node));
        self.changes.push(Change { kind: EventKind::NodeDataChanged, path, ephemeral_owner });
        Reply::Changed { stat }
    }

    fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Result<Reply, ErrorCode> {
        validate(path)?;
        let acl = acl::resolve(acl, self.ids)?;
        let (key, node) = self.find(path)?;
        acl::check(&node.acl, Permissions::ADMIN, self.ids)?;
        let acl_version = next_version(node.acl_version, version).ok_or(ErrorCode::BadVersion)?;
        let mut node = Node { acl_version, ..Node::clone(&node) };
        let acl = self.shared_acl(acl, &node);
        node.set_acl(path, acl);
        let stat = node.stat();
        self.put(key, Some(node));
        Ok(Reply::Changed { stat })
    }

    fn check(&mut self, path: &str, version: i32) -> Result<Reply, ErrorCode> {
        validate(path)?;
        let (_, node) = self.find(path)?;
        acl::check(&node.acl, Permissions::READ, self.ids)?;
        next_version(node.version, version).map(|_| Reply::Done).ok_or(ErrorCode::BadVersion)
    }

    fn find(&self, path: &str) -> Result<(PathKey, Arc<Node>), ErrorCode> {
        let (key, node) = self.tree.entry(path).ok_or(ErrorCode::NoNode)?;
        Ok((key.clone(), node.clone()))
    }

    fn put(&mut self, key: PathKey, node: Option<Node>) {
        let old = self.tree.replace(&key, node.map(Arc::new));
        self.undo.push((key, old));
    }

    /// `acl` in an allocation that already holds it, where one is at hand.
    fn shared_acl(&self, acl: Vec<Acl>, like: &Node) -> Arc<[Acl]> {
        [&self.tree.open_acl, &like.acl].into_iter().find(|shared| ***shared == *acl).cloned().unwrap_or(acl.into())
    }
}

fn parent_of(path: &str) -> Result<&str, ErrorCode> {
    if path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    path::parent(path).ok_or(ErrorCode::BadArguments)
}

fn validate(path: &str) -> Result<(), ErrorCode> {
    if path::is_valid(path) { Ok(()) } else { Err(ErrorCode::BadArguments) }
}
