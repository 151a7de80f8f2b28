//! The tree that the files of a directory make, without opening them for writing: the newest snapshot
//! and the newest log upon it. For whoever has a copy of a server's disk and asks what it holds.

use bytes::Bytes;

use super::record::LogState;
use super::{snapshot_files, wal, wal_number};
use crate::base::ids::Zxid;
use crate::consensus::Position;
use crate::coordinator::entry;
use crate::coordinator::tree::{Tree, snapshot};

/// The state after the entries that `is_wanted` by index and zxid, up to the first that is not.
/// `read` gives the content of one of the directory's `names`.
pub fn rebuild(
    names: &[String],
    read: impl Fn(&str) -> Option<Bytes>,
    is_wanted: impl Fn(u64, Zxid) -> bool,
) -> Result<(Position, Tree), String> {
    let newest = names.iter().filter_map(|name| Some((snapshot_files::position_of(name)?, name))).max();
    let (mut position, mut tree) = match newest {
        Some((position, name)) => {
            let bytes = read(name).ok_or_else(|| format!("{name} cannot be read"))?;
            (position, snapshot::decode(bytes).map_err(|bad| format!("{name}: {bad}"))?)
        }
        None => (Position::ZERO, Tree::new()),
    };
    let Some((_, name)) = names.iter().filter_map(|name| Some((wal_number(name)?, name))).max() else {
        return Ok((position, tree));
    };
    let bytes = read(name).ok_or_else(|| format!("{name} cannot be read"))?;
    let log = LogState::replay(&wal::parse(&bytes).0).map_err(|bad| format!("{name}: {bad}"))?;
    if log.base.index > position.index {
        return Err(format!("{name} begins after entry {}, the snapshot ends with {}", log.base.index, position.index));
    }
    for entry in log.entries.iter().filter(|entry| entry.index > newest_index(newest)) {
        if !is_wanted(entry.index, entry.zxid) {
            break;
        }
        let (time_ms, txn) = entry::decode(entry).map_err(|problem| format!("entry {}: {problem}", entry.index))?;
        tree.apply(entry.zxid, time_ms, &txn);
        position = entry.position();
    }
    Ok((position, tree))
}

fn newest_index(newest: Option<(Position, &String)>) -> u64 {
    newest.map_or(0, |(position, _)| position.index)
}
