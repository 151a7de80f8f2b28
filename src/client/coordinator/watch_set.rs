//! The one-shot watches that a client has left with its server, so that it can leave them again
//! with another one.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::ids::Zxid;
use crate::base::znode::{ErrorCode, EventKind};
use crate::wire::zookeeper::{Request, SetWatches, WatchEvent};

/// About how many bytes of paths go into one request: Apache's client uses the same, so that
/// no request nears `jute.maxbuffer`.
const BATCH_BYTES: usize = 128 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Data,
    Exist,
    Children,
}

/// A watch that a request asked for; it is left when the reply says so.
#[derive(Clone, Debug)]
pub(super) struct WantedWatch {
    path: Arc<str>,
    children: bool,
    /// Only `exists` leaves a watch on a node that is not there.
    on_absence: bool,
}

impl WantedWatch {
    /// The watch that `request` asks for.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let wanted = |path: &Arc<str>, children, on_absence| WantedWatch { path: path.clone(), children, on_absence };
        match request {
            Request::Exists { path, watch: true } => Some(wanted(path, false, true)),
            Request::GetData { path, watch: true } => Some(wanted(path, false, false)),
            Request::GetChildren { path, watch: true } | Request::GetChildren2 { path, watch: true } => {
                Some(wanted(path, true, false))
            }
            _ => None,
        }
    }

    fn table(&self, error: ErrorCode) -> Option<Table> {
        match error {
            ErrorCode::Ok if self.children => Some(Table::Children),
            ErrorCode::Ok => Some(Table::Data),
            ErrorCode::NoNode if self.on_absence => Some(Table::Exist),
            _ => None,
        }
    }
}

/// The watches, by what left them.
#[derive(Clone, Debug, Default)]
pub(super) struct WatchSet {
    data: BTreeSet<Arc<str>>,
    exist: BTreeSet<Arc<str>>,
    children: BTreeSet<Arc<str>>,
}

impl WatchSet {
    /// The reply to the request that asked for `wanted` has come.
    pub(super) fn replied(&mut self, wanted: WantedWatch, error: ErrorCode) {
        if let Some(table) = wanted.table(error) {
            self.table(table).insert(wanted.path);
        }
    }

    fn table(&mut self, table: Table) -> &mut BTreeSet<Arc<str>> {
        match table {
            Table::Data => &mut self.data,
            Table::Exist => &mut self.exist,
            Table::Children => &mut self.children,
        }
    }

    /// An event has come: the watches that it stands for are gone.
    pub(super) fn fired(&mut self, event: &WatchEvent) {
        if event.kind != EventKind::NodeChildrenChanged {
            self.data.remove(&event.path);
            self.exist.remove(&event.path);
        }
        if matches!(event.kind, EventKind::NodeChildrenChanged | EventKind::NodeDeleted) {
            self.children.remove(&event.path);
        }
    }

    /// The requests that leave all watches again for a client that has seen everything up to
    /// `relative_zxid`.
    pub(super) fn restore(&self, relative_zxid: Zxid) -> Vec<SetWatches> {
        let tables = [(Table::Data, &self.data), (Table::Exist, &self.exist), (Table::Children, &self.children)];
        let all = tables.into_iter().flat_map(|(table, paths)| paths.iter().map(move |path| (table, path)));
        let (mut batches, mut bytes) = (Vec::new(), BATCH_BYTES);
        for (table, path) in all {
            if bytes >= BATCH_BYTES {
                batches.push(SetWatches { relative_zxid, ..SetWatches::default() });
                bytes = 0;
            }
            bytes += path.len();
            let batch = batches.last_mut().expect("one was pushed for the first path");
            let paths = match table {
                Table::Data => &mut batch.data,
                Table::Exist => &mut batch.exist,
                Table::Children => &mut batch.children,
            };
            paths.push(path.clone());
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_watches_are_restored_in_requests_of_bounded_size() {
        let mut watches = WatchSet::default();
        for number in 0..10_000 {
            watches.data.insert(format!("/{}/{number:05}", "x".repeat(60)).into());
        }
        let batches = watches.restore(Zxid(7));
        assert_eq!(batches.iter().map(|batch| batch.data.len()).sum::<usize>(), 10_000);
        assert!(batches.len() > 4 && batches.iter().all(|batch| batch.data.len() * 67 < BATCH_BYTES + 67));
        assert!(WatchSet::default().restore(Zxid(7)).is_empty());
    }
}
