//! The tree that a coordinator's simulated disk holds, made by the product's own codecs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use wyrdlog::base::checksum::crc32c;
use wyrdlog::base::ids::{SessionId, Zxid};
use wyrdlog::coordinator::rebuild;
use wyrdlog::coordinator::tree::{Node, Tree};

use crate::checkers::restarts::Held;
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

/// What a server that starts from the disk knows of its term, its vote and its log: by the newest write-ahead log up
/// to its first record that cannot be read, and the newest snapshot. The files are parsed here anew.
pub fn held_on(disk: &impl DiskView) -> Held {
    let names = disk.list(Path::new(""));
    let number = |name: &&String| name.strip_prefix("wal-")?.parse::<u64>().ok();
    let newest = names.iter().filter(|name| number(name).is_some()).max_by_key(number);
    let bytes = newest.and_then(|name| disk.read(Path::new(name))).unwrap_or_default();
    let covers = |name: &String| name.strip_prefix("snapshot-")?.split('-').next()?.parse::<u64>().ok();
    let covered = names.iter().filter(|name| !name.ends_with(".tmp")).filter_map(covers).max().unwrap_or(0);
    let mut held = Held { covered, ..Held::default() };
    let mut at = 0;
    while let Some(payload) = record(&bytes, at) {
        let field =
            |from: usize, len: usize| payload[from..from + len].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        match payload.first() {
            Some(1) => (held.term, held.voted_for) = (field(1, 4), field(5, 4)),
            Some(3) => held.last = field(1, 8) - 1,
            _ => held.last = field(1, 8),
        }
        at += RECORD_HEADER_BYTES + payload.len();
    }
    held
}

/// As `src/coordinator/storage/wal.rs` lays records out: length, checksum of what follows, position, how much was
/// durable, version; then what `record.rs` lays out: its kind, and an index or a term and a vote.
const RECORD_HEADER_BYTES: usize = 25;

fn record(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let number = |from: usize, len: usize| {
        bytes[at + from..at + from + len].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    bytes.get(at..at + RECORD_HEADER_BYTES)?;
    let end = at + RECORD_HEADER_BYTES + number(0, 4) as usize;
    let is_whole = number(4, 4) == u64::from(crc32c(bytes.get(at + 8..end)?)) && number(8, 8) == at as u64;
    let payload = &bytes[at + RECORD_HEADER_BYTES..end];
    (is_whole && payload.len() >= 9).then_some(payload)
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::disk_log::examples::Files;

    /// A write-ahead log of these payloads.
    fn log(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for payload in payloads {
            let (at, len) = (bytes.len() as u64, payload.len() as u32);
            let rest = [&at.to_be_bytes()[..], &0_u64.to_be_bytes(), &[1], payload].concat();
            bytes.extend([&len.to_be_bytes()[..], &crc32c(&rest).to_be_bytes(), &rest].concat());
        }
        bytes
    }

    fn of(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
        [&[kind][..], &fields.concat()].concat()
    }

    #[test]
    fn a_disk_holds_what_its_newest_log_says_up_to_the_first_record_that_cannot_be_read() {
        let vote = |term: u32, server: u32| of(1, &[&term.to_be_bytes(), &server.to_be_bytes()]);
        let entry = |index: u64| of(4, &[&index.to_be_bytes(), &[0; 9], b"payload"]);
        let whole = log(&[vote(3, 0), of(2, &[&4_u64.to_be_bytes(), &[0; 8]]), entry(5), entry(6), vote(4, 2)]);
        let held = |bytes: Vec<u8>| {
            let file = |name: &str, bytes| (PathBuf::from(name), bytes);
            let older = file("wal-9", log(&[vote(9, 1)]));
            let snapshots =
                ["snapshot-00000000000000000004-0000000000000004", "snapshot.tmp"].map(|name| file(name, vec![]));
            let files = [older, file("wal-10", bytes)].into_iter().chain(snapshots);
            held_on(&Files(files.collect()))
        };
        assert_eq!(held(whole.clone()), Held { term: 4, voted_for: 2, last: 6, covered: 4 });
        assert_eq!(held(whole[..whole.len() - 1].to_vec()), Held { term: 3, voted_for: 0, last: 6, covered: 4 });
        let cut = log(&[vote(3, 1), entry(5), entry(6), of(3, &[&6_u64.to_be_bytes()])]);
        assert_eq!(held(cut), Held { term: 3, voted_for: 1, last: 5, covered: 4 });
    }
}
