//! The tree that a coordinator's simulated disk holds, made by the product's own codecs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use wyrdlog::base::ids::{SessionId, Zxid};
use wyrdlog::coordinator::rebuild;
use wyrdlog::coordinator::tree::{Node, Tree};

use crate::checkers::znodes::Znode;
use crate::disk_log::DiskView;

/// The last entry, its zxid and the digest of the state that the disk makes of the entries that are
/// `live`; or why it makes none.
pub fn state_on(disk: &impl DiskView, live: impl Fn(u64, Zxid) -> bool) -> Result<(u64, Zxid, u64), String> {
    let names = disk.list(Path::new(""));
    let read = |name: &str| disk.read(Path::new(name)).map(Bytes::from);
    let (position, tree) = rebuild(&names, read, live)?;
    check(&tree).map_err(|wrong| format!("the tree after entry {}: {wrong}", position.index))?;
    Ok((position.index, position.zxid, tree.state_digest()))
}

/// Every node of the tree that the disk makes of the entries that are `live`; none where it makes none.
pub fn znodes_on(disk: &impl DiskView, live: impl Fn(u64, Zxid) -> bool) -> Option<BTreeMap<String, Znode>> {
    let names = disk.list(Path::new(""));
    let read = |name: &str| disk.read(Path::new(name)).map(Bytes::from);
    let (_, tree) = rebuild(&names, read, live).ok()?;
    let znode = |node: &Node| Znode {
        data: node.data.as_deref().unwrap_or_default().to_vec(),
        version: node.version,
        is_ephemeral: node.stat().ephemeral_owner != 0,
    };
    Some(tree.nodes().map(|(path, node)| (path.to_string(), znode(node))).collect())
}

/// Holds what a tree keeps beside its nodes to these: what it counts, whose the ephemerals are, how many children
/// a node has, and that a digest tells one node from another.
fn check(tree: &Tree) -> Result<(), String> {
    let (mut bytes, mut ephemerals) = (0, BTreeMap::<SessionId, BTreeSet<&str>>::new());
    let (mut children, mut digests) = (BTreeMap::<&str, i32>::new(), BTreeMap::new());
    for (path, node) in tree.nodes() {
        let stat = node.stat();
        bytes += (path.len() + node.data.as_ref().map_or(0, Bytes::len)) as u64;
        if stat.ephemeral_owner != 0 {
            ephemerals.entry(SessionId(stat.ephemeral_owner)).or_default().insert(path);
        }
        if let Some((parent, _)) = path.rsplit_once('/').filter(|(_, name)| !name.is_empty()) {
            *children.entry(if parent.is_empty() { "/" } else { parent }).or_default() += 1;
        }
        if let Some(other) = digests.insert(node.digest(), path) {
            return Err(format!("{other} and {path} have one digest"));
        }
    }
    if let Some((path, node)) =
        tree.nodes().find(|(path, node)| node.stat().num_children != children.remove(&***path).unwrap_or(0))
    {
        return Err(format!("{path} has not {} children", node.stat().num_children));
    }
    if let Some(orphan) = children.keys().next() {
        return Err(format!("{orphan} has children and is not there"));
    }
    let total: usize = ephemerals.values().map(BTreeSet::len).sum();
    if (tree.data_bytes(), tree.ephemeral_count()) != (bytes, total) {
        let counted = (tree.data_bytes(), tree.ephemeral_count());
        return Err(format!("it counts {counted:?} bytes and ephemerals and has {:?}", (bytes, total)));
    }
    for (id, _) in tree.sessions() {
        let known: BTreeSet<&str> = tree.ephemerals_of(id).map(|path| &**path).collect();
        let owned = ephemerals.remove(&id).unwrap_or_default();
        if known != owned {
            return Err(format!("session {id} owns {owned:?} and is said to own {known:?}"));
        }
    }
    match ephemerals.iter().next() {
        Some((id, owned)) => Err(format!("{owned:?} are of session {id}, which is gone")),
        None => Ok(()),
    }
}
