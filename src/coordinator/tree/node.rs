//! A znode: its data, its access control list, its versions and times.

use std::sync::Arc;

use bytes::Bytes;

use super::digest::Digest;
use crate::base::ids::{SessionId, Zxid};
use crate::base::znode::{Acl, Stat};

/// A znode. It does not know its path nor its children: the tree's order does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its data. None is what a client made that created it with a null buffer.
    pub data: Option<Bytes>,
    /// Who may do what.
    pub acl: Arc<[Acl]>,
    /// The session it goes with; 0 for a persistent node.
    pub ephemeral_owner: SessionId,
    /// The change that created it.
    pub created: Zxid,
    /// The last change of its data.
    pub modified: Zxid,
    /// The last change of its set of children.
    pub children_modified: Zxid,
    /// The leader's wall clock at its creation.
    pub created_ms: i64,
    /// The leader's wall clock at the last change of its data.
    pub modified_ms: i64,
    /// Counts changes of its data.
    pub version: i32,
    /// Counts changes of its access control list.
    pub acl_version: i32,
    /// Counts children that were ever created: the source of sequential names, and with
    /// `children` of what the protocol calls cversion.
    pub creations: i32,
    /// How many children it has.
    pub children: i32,
    /// A hash of path, data and access control list, kept so that a change of a counter need not
    /// read the data again.
    pub(super) content: u64,
}

impl Node {
    /// A node that comes into being at `path`.
    #[must_use]
    pub fn new(path: &str, data: Option<Bytes>, acl: Arc<[Acl]>, owner: SessionId, zxid: Zxid, time_ms: i64) -> Self {
        let mut node = Node {
            data: None,
            acl,
            ephemeral_owner: owner,
            created: zxid,
            modified: zxid,
            children_modified: zxid,
            created_ms: time_ms,
            modified_ms: time_ms,
            version: 0,
            acl_version: 0,
            creations: 0,
            children: 0,
            content: 0,
        };
        node.set_content(path, data);
        node
    }

    /// Sets the data. The bytes are copied: what came from a client's frame must not keep the
    /// whole frame in memory.
    pub fn set_content(&mut self, path: &str, data: Option<Bytes>) {
        self.data = data.map(|data| Bytes::copy_from_slice(&data));
        self.refresh(path);
    }

    /// Sets the access control list.
    pub fn set_acl(&mut self, path: &str, acl: Arc<[Acl]>) {
        self.acl = acl;
        self.refresh(path);
    }

    fn refresh(&mut self, path: &str) {
        let mut digest = Digest::new(1).bytes(path.as_bytes()).word(u64::from(self.data.is_some()));
        digest = digest.bytes(self.data.as_deref().unwrap_or_default()).word(self.acl.len() as u64);
        for acl in self.acl.iter() {
            digest = digest.signed(i64::from(acl.permissions.0));
            digest = digest.bytes(acl.id.scheme.as_bytes()).bytes(acl.id.id.as_bytes());
        }
        self.content = digest.value();
    }

    /// The length of its data, in bytes.
    #[must_use]
    pub fn data_length(&self) -> usize {
        self.data.as_ref().map_or(0, Bytes::len)
    }

    /// Its part of the tree's digest. Covers every field.
    #[must_use]
    pub fn digest(&self) -> u64 {
        Digest::new(2)
            .word(self.content)
            .signed(self.ephemeral_owner.0)
            .signed(self.created.0)
            .signed(self.modified.0)
            .signed(self.children_modified.0)
            .signed(self.created_ms)
            .signed(self.modified_ms)
            .word(pair(self.version, self.acl_version))
            .word(pair(self.creations, self.children))
            .value()
    }

    /// What the protocol tells about it. A child's creation and its deletion each count into
    /// cversion: all creations, plus the creations of those that are gone.
    #[must_use]
    pub fn stat(&self) -> Stat {
        Stat {
            czxid: self.created.0,
            mzxid: self.modified.0,
            ctime_ms: self.created_ms,
            mtime_ms: self.modified_ms,
            version: self.version,
            cversion: self.creations.wrapping_mul(2).wrapping_sub(self.children),
            aversion: self.acl_version,
            ephemeral_owner: self.ephemeral_owner.0,
            data_length: i32::try_from(self.data_length()).unwrap_or(i32::MAX),
            num_children: self.children,
            pzxid: self.children_modified.0,
        }
    }
}

fn pair(high: i32, low: i32) -> u64 {
    (u64::from(high as u32) << 32) | u64::from(low as u32)
}

/// The version after `current` if a client that expects `expected` may change it; -1 expects
/// nothing. -1 is never a version, because no client could expect it (ZOOKEEPER-4743).
#[must_use]
pub fn next_version(current: i32, expected: i32) -> Option<i32> {
    if expected != -1 && expected != current {
        return None;
    }
    match current.wrapping_add(1) {
        -1 => Some(0),
        next => Some(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_is_ever_minus_one() {
        assert_eq!(next_version(0, -1), Some(1));
        assert_eq!(next_version(3, 3), Some(4));
        assert_eq!(next_version(3, 2), None);
        assert_eq!(next_version(i32::MAX, -1), Some(i32::MIN));
        assert_eq!(next_version(-2, -2), Some(0));
    }

    #[test]
    fn every_field_shows_in_the_digest() {
        let node = Node::new("/a", Some(Bytes::from_static(b"x")), Arc::from(Acl::open()), SessionId(0), Zxid(7), 9);
        let mut seen = std::collections::BTreeSet::from([node.digest()]);
        let changes: [fn(&mut Node); 12] = [
            |node| node.set_content("/a", None),
            |node| node.set_content("/a", Some(Bytes::new())),
            |node| node.set_content("/b", Some(Bytes::from_static(b"x"))),
            |node| node.set_acl("/a", Arc::from([])),
            |node| node.ephemeral_owner.0 += 1,
            |node| node.created.0 += 1,
            |node| node.modified.0 += 1,
            |node| node.children_modified.0 += 1,
            |node| node.created_ms += 1,
            |node| node.modified_ms += 1,
            |node| node.version += 1,
            |node| node.children += 1,
        ];
        for change in changes {
            let mut changed = node.clone();
            change(&mut changed);
            assert!(seen.insert(changed.digest()));
        }
    }

    #[test]
    fn data_does_not_keep_the_frame_that_it_came_in() {
        let frame = Bytes::from(vec![7; 1000]);
        let node = Node::new("/a", Some(frame.slice(10..12)), Arc::from(Acl::open()), SessionId(0), Zxid(1), 0);
        assert!(frame.is_unique() && node.data_length() == 2);
    }
}
