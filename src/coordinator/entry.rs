//! What an entry of the log means: a transaction, and the time that its leader put on it.

use bytes::{Buf, Bytes};

use super::tree::{Op, Origin, Txn};
use crate::base::ids::ServerId;
use crate::consensus::{Entry, EntryKind};

/// The time in milliseconds and the transaction that `entry` holds.
pub fn decode(entry: &Entry) -> Result<(i64, Txn), String> {
    match entry.kind {
        EntryKind::NoOp => Ok((0, Txn::of_ensemble(Origin { server: ServerId(0), request: 0 }, Op::Noop))),
        EntryKind::Data => decode_payload(entry.payload.clone()),
    }
}

fn decode_payload(mut payload: Bytes) -> Result<(i64, Txn), String> {
    let time_ms = payload.try_get_i64().map_err(|error| error.to_string())?;
    Ok((time_ms, Txn::decode(payload).map_err(|error| error.to_string())?))
}
