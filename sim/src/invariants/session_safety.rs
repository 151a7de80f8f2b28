//! *session_safety*: ephemerals of a closed or expired session are gone on every server that
//! applied the end; none vanish while the session lives unless deleted by request (ZooKeeper
//! programmer's guide).
//!
//! Each server's ephemerals are followed through the events that its entries cause. A server
//! that starts from a snapshot gets the view that the whole history gives at its zxid.
//!
//! False positives avoided: events of an entry that was applied again after a restart; a server
//! of which no entry was seen yet in this incarnation is not judged.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::event::{CoordinatorEvent, Event};
use wyrdlog::base::ids::{SessionId, Zxid};

use super::{Invariant, Seen, World};
use crate::observed::{Incarnation, Node};
use crate::verdict::{Findings, Property};

/// One server's ephemerals.
#[derive(Clone, Debug, Default)]
struct View {
    incarnation: Incarnation,
    zxid: Zxid,
    owners: BTreeMap<String, SessionId>,
    ended: BTreeSet<SessionId>,
}

/// Follows every ephemeral on every server.
#[derive(Debug)]
pub struct SessionSafety {
    findings: Findings,
    views: BTreeMap<Node, View>,
    /// What became of each path and session, whichever server said so first.
    paths: BTreeMap<String, BTreeMap<Zxid, Option<SessionId>>>,
    ends: BTreeMap<SessionId, Zxid>,
}

impl SessionSafety {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        SessionSafety {
            findings: Findings::new(Property::SessionSafety),
            views: BTreeMap::new(),
            paths: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    /// The server is at `zxid`; a new incarnation gets the view that history gives before it.
    fn reach(&mut self, seen: Seen<'_>, zxid: Zxid, includes: bool) {
        let node = seen.node();
        let known = self.views.get(&node).is_some_and(|view| view.incarnation == seen.observed.incarnation);
        if !known || includes {
            let view = self.view_at(seen.observed.incarnation, zxid, includes);
            self.views.insert(node, view);
        }
        if let Some(view) = self.views.get_mut(&node) {
            view.zxid = zxid;
        }
    }

    fn view_at(&self, incarnation: Incarnation, zxid: Zxid, includes: bool) -> View {
        let within = |at: &Zxid| *at < zxid || (includes && *at == zxid);
        let mut view = View { incarnation, zxid, ..View::default() };
        for (path, changes) in &self.paths {
            if let Some((_, Some(owner))) = changes.iter().rev().find(|(at, _)| within(at)) {
                view.owners.insert(path.clone(), *owner);
            }
        }
        view.ended = self.ends.iter().filter(|(_, at)| within(at)).map(|(session, _)| *session).collect();
        view
    }

    fn created(&mut self, seen: Seen<'_>, session: SessionId, zxid: Zxid, path: &str) {
        self.note(path, zxid, Some(session));
        let node = seen.node();
        let Some(view) = self.views.get_mut(&node) else { return };
        let ended = view.ended.contains(&session);
        let before = view.owners.insert(path.to_owned(), session);
        self.findings.check(!ended && before.is_none(), seen.time_ns(), [seen.ordinal], || {
            let state = if ended { " although that session had ended" } else { "" };
            format!("{node} created {path} for session {:#x}{state}; its owner before: {before:x?}", session.0)
        });
    }

    fn deleted(&mut self, seen: Seen<'_>, session: SessionId, zxid: Zxid, path: &str) {
        self.note(path, zxid, None);
        let node = seen.node();
        let Some(view) = self.views.get_mut(&node) else { return };
        let owner = view.owners.remove(path);
        self.findings.check(owner == Some(session), seen.time_ns(), [seen.ordinal], || {
            format!("{node} deleted {path} of session {:#x}, whose owner was {owner:x?}", session.0)
        });
    }

    fn ended(&mut self, seen: Seen<'_>, session: SessionId, gone: &[String]) {
        let node = seen.node();
        let Some(view) = self.views.get_mut(&node).filter(|view| view.incarnation == seen.observed.incarnation) else {
            return;
        };
        let owned: BTreeSet<&str> =
            view.owners.iter().filter(|(_, owner)| **owner == session).map(|(path, _)| path.as_str()).collect();
        let gone_set: BTreeSet<&str> = gone.iter().map(String::as_str).collect();
        let left: Vec<&&str> = owned.difference(&gone_set).collect();
        let foreign: Vec<&&str> = gone_set.difference(&owned).collect();
        self.findings.check(left.is_empty() && foreign.is_empty(), seen.time_ns(), [seen.ordinal], || {
            format!(
                "{node} ended session {:#x}: its ephemerals {left:?} stayed, and {foreign:?} went although not its own",
                session.0
            )
        });
        let zxid = view.zxid;
        view.owners.retain(|path, _| !gone_set.contains(path.as_str()));
        view.ended.insert(session);
        self.ends.entry(session).or_insert(zxid);
        for path in gone {
            self.note(path, zxid, None);
        }
    }

    fn note(&mut self, path: &str, zxid: Zxid, owner: Option<SessionId>) {
        match self.paths.get_mut(path) {
            Some(changes) => drop(changes.insert(zxid, owner)),
            None => drop(self.paths.insert(path.to_owned(), BTreeMap::from([(zxid, owner)]))),
        }
    }
}

impl Default for SessionSafety {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for SessionSafety {
    fn after(&mut self, _world: &World<'_>, seen: &Seen<'_>) {
        let Event::Coordinator(event) = &seen.observed.event else { return };
        match event {
            CoordinatorEvent::Applied { zxid, .. } => self.reach(*seen, *zxid, false),
            CoordinatorEvent::SnapshotInstalled { zxid, .. } => self.reach(*seen, *zxid, true),
            CoordinatorEvent::EphemeralCreated { session, zxid, path } => self.created(*seen, *session, *zxid, path),
            CoordinatorEvent::EphemeralDeleted { session, zxid, path } => self.deleted(*seen, *session, *zxid, path),
            CoordinatorEvent::SessionEnded { session, ephemerals, .. } => self.ended(*seen, *session, ephemerals),
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

    fn apply(cluster: &mut Cluster, node: u16, index: u64) {
        let (zxid, entry_digest) = (Zxid(index as i64), 0);
        cluster.coordinator(node, CoordinatorEvent::Applied { index, zxid, entry_digest, state_digest: 0 });
    }

    fn create(cluster: &mut Cluster, node: u16, index: u64) {
        apply(cluster, node, index);
        let (zxid, path) = (Zxid(index as i64), "/e".to_owned());
        cluster.coordinator(node, CoordinatorEvent::EphemeralCreated { session: SESSION, zxid, path });
    }

    fn end(cluster: &mut Cluster, node: u16, index: u64, gone: &[&str]) {
        apply(cluster, node, index);
        let ephemerals = gone.iter().map(|path| (*path).to_owned()).collect();
        cluster.coordinator(node, CoordinatorEvent::SessionEnded { session: SESSION, expired: true, ephemerals });
    }

    #[test]
    fn an_ephemeral_that_outlives_its_session_is_rejected() {
        let mut cluster = Cluster::page_cache();
        create(&mut cluster, 0, 1);
        end(&mut cluster, 0, 2, &[]);
        assert_eq!(cluster.violated(Property::SessionSafety), 1);
    }

    #[test]
    fn an_ephemeral_of_another_session_that_goes_is_rejected() {
        let mut cluster = Cluster::page_cache();
        create(&mut cluster, 0, 1);
        end(&mut cluster, 0, 2, &["/e", "/other"]);
        assert_eq!(cluster.violated(Property::SessionSafety), 1);
    }

    #[test]
    fn an_ephemeral_created_for_an_ended_session_is_rejected() {
        let mut cluster = Cluster::page_cache();
        apply(&mut cluster, 0, 1);
        end(&mut cluster, 0, 2, &[]);
        create(&mut cluster, 0, 3);
        assert_eq!(cluster.violated(Property::SessionSafety), 1);
    }

    #[test]
    fn a_server_that_lost_an_ephemeral_with_its_restart_is_rejected() {
        let mut cluster = Cluster::page_cache();
        create(&mut cluster, 0, 1);
        cluster.lives.insert(Node(0), 2);
        end(&mut cluster, 0, 2, &[]);
        assert_eq!(cluster.violated(Property::SessionSafety), 1);
    }

    #[test]
    fn ephemerals_that_end_with_their_session_or_by_request_are_accepted_on_every_server() {
        let mut cluster = Cluster::page_cache();
        create(&mut cluster, 0, 1);
        create(&mut cluster, 1, 1);
        end(&mut cluster, 0, 2, &["/e"]);
        cluster.lives.insert(Node(1), 2);
        end(&mut cluster, 1, 2, &["/e"]);
        let installed = CoordinatorEvent::SnapshotInstalled { index: 1, zxid: Zxid(1), state_digest: 0 };
        cluster.coordinator(2, installed);
        end(&mut cluster, 2, 2, &["/e"]);
        cluster.assert_clean(Property::SessionSafety);
    }

    #[test]
    fn a_deletion_by_request_is_accepted() {
        let mut cluster = Cluster::page_cache();
        create(&mut cluster, 0, 1);
        apply(&mut cluster, 0, 2);
        let (zxid, path) = (Zxid(2), "/e".to_owned());
        cluster.coordinator(0, CoordinatorEvent::EphemeralDeleted { session: SESSION, zxid, path });
        end(&mut cluster, 0, 3, &[]);
        cluster.assert_clean(Property::SessionSafety);
    }
}
