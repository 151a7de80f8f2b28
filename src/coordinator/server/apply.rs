//! Applying committed entries: to the tree, then to whoever waits.

use std::time::Duration;

use super::{CoordinatorError, Server};
use crate::base::checksum::crc32c;
use crate::base::event::{CoordinatorEvent, Event};
use crate::base::ids::SessionId;
use crate::base::znode::EventKind;
use crate::consensus::{Entry, EntryKind};
use crate::coordinator::entry::decode;
use crate::coordinator::storage::StorageOp;
use crate::coordinator::tree::{Applied, Op, Reply, Txn};
use crate::runtime::Runtime;

impl<R: Runtime> Server<R> {
    /// Applies one entry. Watch events go out before the replies that show the change.
    pub(super) fn apply(&mut self, entry: &Entry) {
        if self.failure.is_some() {
            return;
        }
        let (time_ms, txn) = match decode(entry) {
            Ok(decoded) => decoded,
            Err(problem) => {
                self.failure = Some(CoordinatorError::Entry { index: entry.index, problem });
                return;
            }
        };
        self.answer_before(txn.origin);
        let applied = self.tree.apply(entry.zxid, time_ms, &txn);
        self.applied = entry.position();
        self.observe_applied(entry);
        self.observe_changes(&applied);
        self.notify_watchers(&applied);
        self.session_changed(&txn, &applied);
        self.answer_waiting(applied);
        if entry.kind == EntryKind::NoOp && self.leadership.as_ref().is_some_and(|own| own.term == entry.zxid.term()) {
            self.leadership_ready();
        }
        self.maybe_snapshot(entry.payload.len());
    }

    fn observe_applied(&self, entry: &Entry) {
        let state_digest = self.tree.state_digest();
        self.runtime.observe(|| {
            let (index, zxid, entry_digest) = (entry.index, entry.zxid, crc32c(&entry.payload));
            Event::Coordinator(CoordinatorEvent::Applied { index, zxid, entry_digest, state_digest })
        });
    }

    /// What the entry did to nodes. Ephemerals that went with their session are told with its end.
    fn observe_changes(&self, applied: &Applied) {
        let zxid = applied.zxid;
        for change in &applied.changes {
            self.runtime.observe(|| {
                let node = self.tree.node(&change.path);
                let content = node.map(|node| (node.version, node.data.clone().unwrap_or_default()));
                let path = change.path.clone();
                Event::Coordinator(CoordinatorEvent::NodeChanged { zxid, path, content })
            });
            let (session, path) = (change.ephemeral_owner, &change.path);
            if session == SessionId(0) || applied.ended.is_some() {
                continue;
            }
            match change.kind {
                EventKind::NodeCreated => self.runtime.observe(|| {
                    let path = path.to_string();
                    Event::Coordinator(CoordinatorEvent::EphemeralCreated { session, zxid, path })
                }),
                EventKind::NodeDeleted => self.runtime.observe(|| {
                    let path = path.to_string();
                    Event::Coordinator(CoordinatorEvent::EphemeralDeleted { session, zxid, path })
                }),
                EventKind::NodeDataChanged | EventKind::NodeChildrenChanged => {}
            }
        }
    }

    fn notify_watchers(&mut self, applied: &Applied) {
        for change in &applied.changes {
            for owed in self.watches.trigger(change) {
                self.notify(owed.watcher, owed.kind, &owed.path, applied.zxid);
            }
        }
    }

    /// Sessions that were attached or have ended by this entry.
    fn session_changed(&mut self, txn: &Txn, applied: &Applied) {
        if let Ok(Reply::Attached { timeout_ms, .. }) = &applied.result {
            let (timeout, now) = (Duration::from_millis((*timeout_ms).into()), self.session_clock());
            if let Some(leadership) = &mut self.leadership {
                leadership.expiry.restart(applied.session, timeout, now);
            }
            self.close_moved_session(applied.session);
        }
        let Some(ended) = &applied.ended else { return };
        if let Some(leadership) = &mut self.leadership {
            leadership.expiry.remove(ended.session);
        }
        self.runtime.observe(|| {
            let (session, expired) = (ended.session, ended.expired);
            let ephemerals = ended.ephemerals.iter().map(ToString::to_string).collect();
            Event::Coordinator(CoordinatorEvent::SessionEnded { session, expired, ephemerals })
        });
        if !matches!(txn.op, Op::CloseSession) {
            self.close_moved_session(ended.session);
        }
    }

    fn maybe_snapshot(&mut self, applied_bytes: usize) {
        self.bytes_since_snapshot += applied_bytes as u64;
        let many = self.applied.index >= self.snapshot_index + self.config.snapshot_entries;
        if !many && self.bytes_since_snapshot < self.config.snapshot_bytes {
            return;
        }
        (self.snapshot_index, self.bytes_since_snapshot) = (self.applied.index, 0);
        let (position, tree) = (self.applied, self.tree.clone());
        self.storage_ops.push(StorageOp::Snapshot { position, tree });
    }
}
