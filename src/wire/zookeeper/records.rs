//! Records that are part of others: statistics and access control lists.

use bytes::BufMut;

use super::jute::{self, DecodeError, PutJute, Reader};
use crate::base::znode::{Acl, AuthId, Permissions, Stat};

/// | field | type | | field | type |
/// |-------|------|-|-------|------|
/// | czxid, mzxid | long | | ephemeralOwner | long |
/// | ctime, mtime | long | | dataLength, numChildren | int |
/// | version, cversion, aversion | int | | pzxid | long |
pub(super) fn put_stat(out: &mut Vec<u8>, stat: &Stat) {
    for long in [stat.czxid, stat.mzxid, stat.ctime_ms, stat.mtime_ms] {
        out.put_i64(long);
    }
    for int in [stat.version, stat.cversion, stat.aversion] {
        out.put_i32(int);
    }
    out.put_i64(stat.ephemeral_owner);
    out.put_i32(stat.data_length);
    out.put_i32(stat.num_children);
    out.put_i64(stat.pzxid);
}

pub(super) fn read_stat(reader: &mut Reader) -> Result<Stat, DecodeError> {
    Ok(Stat {
        czxid: reader.long()?,
        mzxid: reader.long()?,
        ctime_ms: reader.long()?,
        mtime_ms: reader.long()?,
        version: reader.int()?,
        cversion: reader.int()?,
        aversion: reader.int()?,
        ephemeral_owner: reader.long()?,
        data_length: reader.int()?,
        num_children: reader.int()?,
        pzxid: reader.long()?,
    })
}

/// A vector of: perms int, scheme ustring, id ustring.
pub(super) fn put_acls(out: &mut Vec<u8>, acls: &[Acl]) {
    out.put_i32(jute::length(acls.len()));
    for acl in acls {
        out.put_i32(acl.permissions.0);
        out.put_text(&acl.id.scheme);
        out.put_text(&acl.id.id);
    }
}

/// A scheme or id that is null reads as an empty one, which no list may have: the list is then
/// refused where lists are judged.
pub(super) fn read_acls(reader: &mut Reader) -> Result<Vec<Acl>, DecodeError> {
    let text = |reader: &mut Reader| match reader.text("a part of an id") {
        Err(DecodeError::Missing(_)) => Ok("".into()),
        text => text,
    };
    reader.vector(|reader| {
        Ok(Acl { permissions: Permissions(reader.int()?), id: AuthId { scheme: text(reader)?, id: text(reader)? } })
    })
}
