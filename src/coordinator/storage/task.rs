//! The storage at work beside the server: batches of operations in, their results out.
//!
//! One batch is at work at a time, and while it is, the next one gathers in the server: that is
//! group commit. Persists that stand next to each other share one write and one sync.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Storage, StorageError};
use crate::base::ids::ServerId;
use crate::consensus::{PersistId, PersistOp, Position};
use crate::coordinator::server::{Inbox, Input};
use crate::coordinator::tree::{Tree, snapshot};
use crate::runtime::Runtime;

/// Something to do, in order.
pub enum StorageOp {
    /// Make durable.
    Persist(PersistOp),
    /// Make a snapshot of the state durable.
    Snapshot {
        /// What it covers.
        position: Position,
        /// The state, shared with the server.
        tree: Tree,
    },
    /// Read a part of the latest snapshot for a peer.
    Read {
        /// The peer.
        to: ServerId,
        /// Which snapshot.
        position: Position,
        /// From where on.
        offset: u64,
        /// At most this many bytes.
        len: usize,
    },
    /// Store a part of a peer's snapshot aside.
    Store {
        /// Which snapshot.
        position: Position,
        /// Where `data` goes.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// Check the snapshot that was stored aside and make it the latest.
    Install(Position),
    /// Forget log entries that a snapshot covers.
    Compact(Position),
}

/// What became of an operation.
pub enum Stored {
    /// All persists up to this one are durable.
    Persisted(PersistId),
    /// The snapshot of the state is durable.
    Snapshot(Position),
    /// A part of a snapshot.
    Read {
        /// The peer.
        to: ServerId,
        /// Which snapshot.
        position: Position,
        /// From where on.
        offset: u64,
        /// The bytes and whether they end it; none if that snapshot is gone.
        data: Option<(Bytes, bool)>,
    },
    /// A part was stored.
    Chunk {
        /// Which snapshot.
        position: Position,
        /// How much of it is stored.
        next_offset: u64,
    },
    /// A peer's snapshot is durable; this is the state.
    Installed {
        /// What it covers.
        position: Position,
        /// The state.
        tree: Box<Tree>,
    },
    /// A peer's snapshot is not valid.
    Invalid(Position),
}

/// Works through batches until the server is gone or the disk fails.
pub async fn work<R: Runtime>(mut storage: Storage<R>, mut batches: mpsc::Receiver<Vec<StorageOp>>, inbox: Inbox) {
    while let Some(batch) = batches.recv().await {
        let result = work_batch(&mut storage, batch).await;
        let failed = result.is_err();
        if inbox.send(Input::Stored(result)).await.is_err() || failed {
            return;
        }
    }
}

async fn work_batch<R: Runtime>(storage: &mut Storage<R>, batch: Vec<StorageOp>) -> Result<Vec<Stored>, StorageError> {
    let mut done = Vec::new();
    let mut persists = Vec::new();
    for op in batch {
        if let StorageOp::Persist(op) = op {
            persists.push(op);
            continue;
        }
        persist(storage, &mut persists, &mut done).await?;
        work_one(storage, op, &mut done).await?;
    }
    persist(storage, &mut persists, &mut done).await?;
    Ok(done)
}

async fn persist<R: Runtime>(
    storage: &mut Storage<R>,
    ops: &mut Vec<PersistOp>,
    done: &mut Vec<Stored>,
) -> Result<(), StorageError> {
    let Some(last) = ops.last().map(|op| op.id) else { return Ok(()) };
    storage.persist(ops).await?;
    ops.clear();
    done.push(Stored::Persisted(last));
    Ok(())
}

async fn work_one<R: Runtime>(
    storage: &mut Storage<R>,
    op: StorageOp,
    done: &mut Vec<Stored>,
) -> Result<(), StorageError> {
    match op {
        StorageOp::Persist(_) => unreachable!("persists are gathered by the caller"),
        StorageOp::Snapshot { position, tree } => {
            let parts: Vec<Bytes> = tree.snapshot().collect();
            storage.snapshots().store(position, &parts).await?;
            done.push(Stored::Snapshot(position));
        }
        StorageOp::Read { to, position, offset, len } => {
            let data = storage.snapshots().read(position, offset, len).await?;
            done.push(Stored::Read { to, position, offset, data });
        }
        StorageOp::Store { position, offset, data } => {
            storage.snapshots().store_incoming(position, offset, &data)?;
            done.push(Stored::Chunk { position, next_offset: offset + data.len() as u64 });
        }
        StorageOp::Install(position) => done.push(install(storage, position).await?),
        StorageOp::Compact(through) => storage.compact(through).await?,
    }
    Ok(())
}

async fn install<R: Runtime>(storage: &mut Storage<R>, position: Position) -> Result<Stored, StorageError> {
    let bytes = storage.snapshots().read_incoming(position).await?;
    let decoded = bytes.map(snapshot::decode);
    match decoded {
        Some(Ok(tree)) if tree.last_zxid() == position.zxid => {
            storage.snapshots().install_incoming(position).await?;
            Ok(Stored::Installed { position, tree: Box::new(tree) })
        }
        Some(Err(error)) => {
            tracing::warn!(%error, "a snapshot from the leader is not valid");
            Ok(Stored::Invalid(position))
        }
        _ => Ok(Stored::Invalid(position)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Zxid;
    use crate::coordinator::test_runtime::TestRuntime;
    use crate::runtime::test_disk::now;

    #[test]
    fn a_snapshot_that_was_stored_is_reported_and_can_be_read_by_a_peer_in_the_same_batch() {
        let position = Position { index: 4, zxid: Zxid(4) };
        let mut storage = now(Storage::open(TestRuntime::default(), 1)).expect("opens").storage;
        let snapshot = StorageOp::Snapshot { position, tree: Tree::new() };
        let read = StorageOp::Read { to: ServerId(2), position, offset: 0, len: 1 << 20 };
        let done = now(work_batch(&mut storage, vec![snapshot, read])).expect("the disk is good");
        let [Stored::Snapshot(stored), Stored::Read { data: Some((bytes, true)), .. }] = &done[..] else {
            panic!("both are reported, in order");
        };
        assert_eq!(*stored, position);
        assert_eq!(snapshot::decode(bytes.clone()), Ok(Tree::new()));
    }
}
