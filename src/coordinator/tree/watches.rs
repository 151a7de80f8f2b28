//! One-shot watches of the sessions that one server holds. Not replicated: a watch lives where its
//! session is connected, and a client sets its watches anew when it moves.
//!
//! The server calls [`Watches::trigger`] with each change of an applied entry, in order, and hands
//! what is owed to the connections *before* any reply that shows the change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Change, Tree};
use crate::base::ids::Zxid;
use crate::base::znode::EventKind;

/// What a watch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchKind {
    /// The node's creation, deletion or new data: left by `exists` and `getData`.
    Data,
    /// The node's deletion or a change of its children: left by `getChildren`.
    Children,
}

/// An event that is owed to a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notification<W> {
    /// Whose watch it was.
    pub watcher: W,
    /// What happened.
    pub kind: EventKind,
    /// To which node.
    pub path: Arc<str>,
}

/// The watches that a client had when its connection broke, by how it left them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored<'a> {
    /// The last zxid that the client saw.
    pub last_zxid_seen: Zxid,
    /// Left by reads of nodes that existed.
    pub data: &'a [Arc<str>],
    /// Left by `exists` on nodes that did not.
    pub exist: &'a [Arc<str>],
    /// Left by lists of children.
    pub children: &'a [Arc<str>],
}

type Table<W> = BTreeMap<Arc<str>, BTreeSet<W>>;

/// The watches of one server. `W` names a session or a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watches<W> {
    data: Table<W>,
    children: Table<W>,
    by_watcher: BTreeMap<W, BTreeSet<(WatchKind, Arc<str>)>>,
}

impl<W> Default for Watches<W> {
    fn default() -> Self {
        Watches { data: BTreeMap::new(), children: BTreeMap::new(), by_watcher: BTreeMap::new() }
    }
}

impl<W: Copy + Ord> Watches<W> {
    /// Leaves a watch; a second one of the same kind at the same place is the same watch.
    pub fn add(&mut self, watcher: W, kind: WatchKind, path: &Arc<str>) {
        self.table(kind).entry(path.clone()).or_default().insert(watcher);
        self.by_watcher.entry(watcher).or_default().insert((kind, path.clone()));
    }

    /// How many watches there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_watcher.values().map(BTreeSet::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_watcher.is_empty()
    }

    /// How many watches `watcher` has: what a server bounds.
    #[must_use]
    pub fn count_of(&self, watcher: W) -> usize {
        self.by_watcher.get(&watcher).map_or(0, BTreeSet::len)
    }

    /// Takes the watches that `change` triggers, and says what is owed for them. A watcher that
    /// watched both data and children of a deleted node is told once.
    pub fn trigger(&mut self, change: &Change) -> Vec<Notification<W>> {
        let mut watchers = self.take(WatchKind::Data, &change.path);
        if change.kind == EventKind::NodeDeleted {
            watchers.append(&mut self.take(WatchKind::Children, &change.path));
        }
        let mut owed = notify(watchers, change.kind, &change.path);
        if let Some(parent) = change.changed_parent()
            && let Some((path, _)) = self.children.get_key_value(parent)
        {
            let path = path.clone();
            let watchers = self.take(WatchKind::Children, &path);
            owed.extend(notify(watchers, EventKind::NodeChildrenChanged, &path));
        }
        owed
    }

    /// Forgets the watches of `watcher`.
    pub fn remove(&mut self, watcher: W) {
        for (kind, path) in self.by_watcher.remove(&watcher).unwrap_or_default() {
            let table = self.table(kind);
            if let Some(watchers) = table.get_mut(&path) {
                watchers.remove(&watcher);
                if watchers.is_empty() {
                    table.remove(&path);
                }
            }
        }
    }

    /// Leaves again the watches of a client that has come back, and says what is owed for those
    /// whose event it missed. (A node that was created and deleted meanwhile is not noticed by an
    /// exists-watch: ZooKeeper's documented exception.)
    pub fn restore(&mut self, watcher: W, tree: &Tree, lost: &Restored<'_>) -> Vec<Notification<W>> {
        let mut owed = Vec::new();
        let mut leave = |kind, path: &Arc<str>, missed: Option<EventKind>| match missed {
            Some(event) => owed.push(Notification { watcher, kind: event, path: path.clone() }),
            None => self.add(watcher, kind, path),
        };
        for path in lost.data {
            let missed = match tree.node(path) {
                None => Some(EventKind::NodeDeleted),
                Some(node) => (node.modified > lost.last_zxid_seen).then_some(EventKind::NodeDataChanged),
            };
            leave(WatchKind::Data, path, missed);
        }
        for path in lost.exist {
            leave(WatchKind::Data, path, tree.node(path).map(|_| EventKind::NodeCreated));
        }
        for path in lost.children {
            let missed = match tree.node(path) {
                None => Some(EventKind::NodeDeleted),
                Some(node) => (node.children_modified > lost.last_zxid_seen).then_some(EventKind::NodeChildrenChanged),
            };
            leave(WatchKind::Children, path, missed);
        }
        owed
    }

    fn table(&mut self, kind: WatchKind) -> &mut Table<W> {
        match kind {
            WatchKind::Data => &mut self.data,
            WatchKind::Children => &mut self.children,
        }
    }

    fn take(&mut self, kind: WatchKind, path: &Arc<str>) -> BTreeSet<W> {
        let watchers = self.table(kind).remove(path).unwrap_or_default();
        for watcher in &watchers {
            let left = self.by_watcher.entry(*watcher).or_default();
            let was_known = left.remove(&(kind, path.clone()));
            assert!(was_known, "whoever watches a path is to be forgotten with its connection");
            if left.is_empty() {
                self.by_watcher.remove(watcher);
            }
        }
        watchers
    }
}

fn notify<W>(watchers: BTreeSet<W>, kind: EventKind, path: &Arc<str>) -> Vec<Notification<W>> {
    watchers.into_iter().map(|watcher| Notification { watcher, kind, path: path.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::SessionId;
    use crate::coordinator::tree::tests::Bench;

    fn change(kind: EventKind, path: &str) -> Change {
        Change { kind, path: path.into(), ephemeral_owner: SessionId(0) }
    }

    fn owed(watches: &mut Watches<u8>, kind: EventKind, path: &str) -> Vec<(u8, EventKind, String)> {
        let owed = watches.trigger(&change(kind, path));
        owed.into_iter().map(|owed| (owed.watcher, owed.kind, owed.path.to_string())).collect()
    }

    use EventKind::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};

    #[test]
    fn a_watch_fires_once() {
        let mut watches = Watches::default();
        watches.add(1, WatchKind::Data, &"/a".into());
        watches.add(1, WatchKind::Data, &"/a".into());
        assert_eq!(watches.len(), 1);
        assert_eq!(owed(&mut watches, NodeDataChanged, "/a"), [(1, NodeDataChanged, "/a".into())]);
        assert_eq!(owed(&mut watches, NodeDataChanged, "/a"), []);
        assert!(watches.is_empty());
    }

    #[test]
    fn a_creation_tells_who_watched_the_node_and_then_who_watched_the_parents_children() {
        let mut watches = Watches::default();
        watches.add(1, WatchKind::Data, &"/a/b".into());
        watches.add(2, WatchKind::Children, &"/a".into());
        watches.add(3, WatchKind::Data, &"/a".into());
        let expected = [(1, NodeCreated, "/a/b".into()), (2, NodeChildrenChanged, "/a".into())];
        assert_eq!(owed(&mut watches, NodeCreated, "/a/b"), expected);
        assert_eq!(watches.len(), 1);
    }

    #[test]
    fn a_deletion_is_told_once_to_a_watcher_of_data_and_children() {
        let mut watches = Watches::default();
        watches.add(1, WatchKind::Data, &"/a".into());
        watches.add(1, WatchKind::Children, &"/a".into());
        watches.add(1, WatchKind::Children, &"/".into());
        let expected = [(1, NodeDeleted, "/a".into()), (1, NodeChildrenChanged, "/".into())];
        assert_eq!(owed(&mut watches, NodeDeleted, "/a"), expected);
        assert!(watches.is_empty());
    }

    #[test]
    fn a_watcher_that_leaves_is_owed_nothing() {
        let mut watches = Watches::default();
        watches.add(1, WatchKind::Data, &"/a".into());
        watches.add(2, WatchKind::Data, &"/a".into());
        watches.remove(1);
        assert_eq!((watches.count_of(1), watches.count_of(2)), (0, 1));
        assert_eq!(owed(&mut watches, NodeDeleted, "/a"), [(2, NodeDeleted, "/a".into())]);
    }

    #[test]
    fn a_client_that_comes_back_is_told_what_it_missed_and_watches_the_rest() {
        let mut bench = Bench::new();
        bench.create("/same");
        bench.create("/changed");
        bench.create("/parent");
        let last_zxid_seen = bench.tree.last_zxid();
        bench.set("/changed", b"new");
        bench.create("/born");
        bench.create("/parent/child");
        let paths = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
        let lost = Restored {
            last_zxid_seen,
            data: &paths(&["/same", "/changed", "/gone"]),
            exist: &paths(&["/born", "/unborn"]),
            children: &paths(&["/parent", "/same", "/gone"]),
        };
        let mut watches = Watches::default();
        let owed = watches.restore(7u8, &bench.tree, &lost);
        let owed: Vec<_> = owed.iter().map(|owed| (owed.kind, &*owed.path)).collect();
        let expected = [
            (NodeDataChanged, "/changed"),
            (NodeDeleted, "/gone"),
            (NodeCreated, "/born"),
            (NodeChildrenChanged, "/parent"),
            (NodeDeleted, "/gone"),
        ];
        assert_eq!(owed, expected);
        assert_eq!(watches.count_of(7), 3);
    }
}
