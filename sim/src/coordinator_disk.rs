//! The tree that a coordinator's simulated disk holds, made by the product's own codecs.

use std::path::Path;

use bytes::Bytes;
use wyrdlog::base::ids::Zxid;
use wyrdlog::coordinator::rebuild;

use crate::disk_log::DiskView;

/// The last entry, its zxid and the digest of the state that the disk makes of the entries that are
/// `live`; or why it makes none.
pub fn state_on(disk: &impl DiskView, live: impl Fn(u64, Zxid) -> bool) -> Result<(u64, Zxid, u64), String> {
    let names = disk.list(Path::new(""));
    let read = |name: &str| disk.read(Path::new(name)).map(Bytes::from);
    let (position, tree) = rebuild(&names, read, live)?;
    Ok((position.index, position.zxid, tree.state_digest()))
}
