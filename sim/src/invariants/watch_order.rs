//! *watch_order*: a watch event is delivered before any reply that shows the change (ZooKeeper
//! programmer's guide).
//!
//! A triggered watch is owed to its session by the server that holds it. A reply of that server
//! to that session whose zxid covers the change, while the event is still owed, is a violation.
//!
//! False positives avoided: when a session moves or its server restarts, the client registers its
//! watches anew and nothing is owed by the old server (with that goes ZooKeeper's documented
//! exception, an exists-watch whose node came and went while the client was away); an event for a
//! change before the re-attachment may come at any time.

use std::collections::BTreeMap;

use wyrdlog::base::event::{CoordinatorEvent, Event};
use wyrdlog::base::ids::{SessionId, Zxid};

use super::{Invariant, Seen, World};
use crate::observed::{Incarnation, Node};
use crate::verdict::{Findings, Property};

/// An event that a server owes to a session.
#[derive(Clone, Debug)]
struct Owed {
    zxid: Zxid,
    path: String,
    ordinal: u64,
}

/// Follows what is owed.
#[derive(Debug)]
pub struct WatchOrder {
    findings: Findings,
    owed: BTreeMap<SessionId, (Node, Incarnation, Vec<Owed>)>,
}

impl WatchOrder {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        WatchOrder { findings: Findings::new(Property::WatchOrder), owed: BTreeMap::new() }
    }

    /// What this server owes to `session`; nothing if another server, or another life, held it.
    fn owed_here(&mut self, seen: Seen<'_>, session: SessionId) -> &mut Vec<Owed> {
        let here = (seen.node(), seen.observed.incarnation);
        let owed = self.owed.entry(session).or_insert((here.0, here.1, Vec::new()));
        if (owed.0, owed.1) != here {
            *owed = (here.0, here.1, Vec::new());
        }
        &mut owed.2
    }

    fn replied(&mut self, seen: Seen<'_>, session: SessionId, xid: i32, zxid: Zxid) {
        let Some((node, life, owed)) = self.owed.get(&session) else { return };
        if (*node, *life) != (seen.node(), seen.observed.incarnation) {
            return;
        }
        let late = owed.iter().find(|owed| owed.zxid <= zxid);
        let involved = [late.map_or(seen.ordinal, |late| late.ordinal), seen.ordinal];
        self.findings.check(late.is_none(), seen.time_ns(), involved, || {
            let (path, at) = late.map_or(("", 0), |late| (late.path.as_str(), late.zxid.0));
            format!(
                "{node} answered xid {xid} of session {:#x} at zxid {:#x} before the watch event of {path} at zxid {at:#x}",
                session.0, zxid.0
            )
        });
    }
}

impl Default for WatchOrder {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for WatchOrder {
    fn after(&mut self, _world: &World<'_>, seen: &Seen<'_>) {
        let Event::Coordinator(event) = &seen.observed.event else { return };
        match event {
            CoordinatorEvent::WatchTriggered { session, zxid, path } => {
                let owed = Owed { zxid: *zxid, path: path.clone(), ordinal: seen.ordinal };
                self.owed_here(*seen, *session).push(owed);
            }
            CoordinatorEvent::Notified { session, zxid, path } => {
                let owed = self.owed_here(*seen, *session);
                if let Some(at) = owed.iter().position(|owed| owed.zxid == *zxid && owed.path == *path) {
                    owed.remove(at);
                }
            }
            CoordinatorEvent::SessionAttached { session, .. } => self.owed_here(*seen, *session).clear(),
            CoordinatorEvent::SessionEnded { session, .. } => drop(self.owed.remove(session)),
            CoordinatorEvent::Replied { session, xid, zxid } => self.replied(*seen, *session, *xid, *zxid),
            _ => {}
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::Cluster;
    use super::*;

    const SESSION: SessionId = SessionId(9);

    fn trigger(cluster: &mut Cluster, node: u16, zxid: i64) {
        let path = "/w".to_owned();
        cluster.coordinator(node, CoordinatorEvent::WatchTriggered { session: SESSION, zxid: Zxid(zxid), path });
    }

    fn notify(cluster: &mut Cluster, node: u16, zxid: i64) {
        let path = "/w".to_owned();
        cluster.coordinator(node, CoordinatorEvent::Notified { session: SESSION, zxid: Zxid(zxid), path });
    }

    fn reply(cluster: &mut Cluster, node: u16, zxid: i64) {
        cluster.coordinator(node, CoordinatorEvent::Replied { session: SESSION, xid: 1, zxid: Zxid(zxid) });
    }

    #[test]
    fn a_reply_that_shows_the_change_before_the_event_is_rejected() {
        let mut cluster = Cluster::page_cache();
        trigger(&mut cluster, 0, 5);
        reply(&mut cluster, 0, 5);
        assert_eq!(cluster.violated(Property::WatchOrder), 1);
    }

    #[test]
    fn delivering_one_event_does_not_pay_for_another() {
        let mut cluster = Cluster::page_cache();
        trigger(&mut cluster, 0, 5);
        trigger(&mut cluster, 0, 6);
        notify(&mut cluster, 0, 5);
        reply(&mut cluster, 0, 7);
        assert_eq!(cluster.violated(Property::WatchOrder), 1);
    }

    #[test]
    fn an_event_before_the_reply_an_older_reply_and_a_moved_session_are_accepted() {
        let mut cluster = Cluster::page_cache();
        trigger(&mut cluster, 0, 5);
        reply(&mut cluster, 0, 4);
        notify(&mut cluster, 0, 5);
        reply(&mut cluster, 0, 5);
        trigger(&mut cluster, 0, 6);
        cluster.coordinator(1, CoordinatorEvent::SessionAttached { session: SESSION, attachment: 2 });
        reply(&mut cluster, 1, 6);
        cluster.assert_clean(Property::WatchOrder);
    }
}
