//! What every register was, from each change on, by the state machine's own record of committed changes.
//!
//! `state_machine_safety` has shown the record to be the same on all servers.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::ids::Zxid;

use crate::history::coordinator::{PathIndex, Register};

/// The record.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    changes: BTreeMap<(PathIndex, Zxid), Option<Register>>,
    /// What each change was about.
    paths: BTreeMap<Zxid, BTreeSet<PathIndex>>,
}

impl Committed {
    /// Records that `path` is `state` from `zxid` on. Recording a change twice is harmless.
    pub fn record(&mut self, path: PathIndex, zxid: Zxid, state: Option<Register>) {
        self.changes.insert((path, zxid), state);
        self.paths.entry(zxid).or_default().insert(path);
    }

    /// The state of `path` at `zxid`.
    #[must_use]
    pub fn at(&self, path: PathIndex, zxid: Zxid) -> Option<Register> {
        let before = self.changes.range((path, Zxid(i64::MIN))..=(path, zxid));
        before.last().and_then(|(_, state)| *state)
    }

    /// The changes of `path` after `zxid`, in their order.
    pub fn after(&self, path: PathIndex, zxid: Zxid) -> impl Iterator<Item = Zxid> {
        let later = self.changes.range((path, Zxid(zxid.0.saturating_add(1)))..=(path, Zxid(i64::MAX)));
        later.map(|((_, at), _)| *at)
    }

    /// The paths that became something else at `zxid`.
    pub fn changed_at(&self, zxid: Zxid) -> impl Iterator<Item = PathIndex> {
        let before = Zxid(zxid.0.saturating_sub(1));
        let recorded = self.paths.get(&zxid).into_iter().flatten().copied();
        recorded.filter(move |path| self.at(*path, before) != self.at(*path, zxid))
    }
}
