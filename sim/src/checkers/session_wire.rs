//! *watch_order* and *session_safety*, by what the servers' sockets had: no client is told of a change for which
//! it left no watch, and no session has the password of another, which would be its key as well.
//!
//! That a change is told at all, and before any reply that shows it, is the invariant's
//! (`invariants/watch_order.rs`); so is what becomes of ephemerals (`invariants/session_safety.rs`).

use std::collections::BTreeMap;

use wyrdlog::base::ids::SessionId;

use crate::history::sessions::SessionHistory;
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

/// Judges what clients were told of changes, and the keys of their sessions.
#[must_use]
pub fn check(history: &SessionHistory) -> Vec<Findings> {
    vec![events(history), passwords(history)]
}

fn events(history: &SessionHistory) -> Findings {
    let mut findings = Findings::new(Property::WatchOrder);
    for (at, event) in (0..).zip(&history.events) {
        findings.check(event.is_asked_for, event.time_ns, [at], || {
            format!(
                "{} told the client of session {:#x} at {} of a change (kind {}) of {}, for which it had left no watch",
                event.node,
                event.session.0,
                seconds(event.time_ns),
                event.kind,
                event.path
            )
        });
    }
    findings
}

fn passwords(history: &SessionHistory) -> Findings {
    let mut findings = Findings::new(Property::SessionSafety);
    let mut owners: BTreeMap<&[u8], SessionId> = BTreeMap::new();
    for (at, secret) in (0..).zip(&history.secrets) {
        let owner = *owners.entry(&secret.password).or_insert(secret.session);
        findings.check(owner == secret.session, secret.time_ns, [at], || {
            let (session, at) = (secret.session.0, seconds(secret.time_ns));
            format!("session {session:#x} was given the password of session {:#x} at {at}", owner.0)
        });
    }
    findings
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::history::sessions::{Event, Secret};
    use crate::observed::Node;

    /// Adds two sessions, and an event that was asked for.
    pub(crate) fn add(history: &mut SessionHistory) {
        let secret = |session, byte| Secret { time_ns: 1, session: SessionId(session), password: vec![byte; 16] };
        history.secrets = vec![secret(1, 7), secret(2, 8), secret(1, 7)];
        let path = "/a".to_owned();
        let event = Event { time_ns: 2, node: Node(0), session: SessionId(1), kind: 3, path, is_asked_for: true };
        history.events = vec![event];
    }

    fn violated(edit: impl FnOnce(&mut SessionHistory)) -> [u64; 2] {
        let mut history = SessionHistory::default();
        add(&mut history);
        edit(&mut history);
        let violated: Vec<u64> = check(&history).iter().map(|findings| findings.violated).collect();
        [violated[0], violated[1]]
    }

    #[test]
    fn a_session_may_be_shown_its_own_password_again() {
        assert_eq!(violated(|_| {}), [0, 0]);
    }

    #[test]
    fn an_event_without_a_watch_is_rejected() {
        assert_eq!(violated(|history| history.events[0].is_asked_for = false), [1, 0]);
    }

    #[test]
    fn a_password_that_opens_two_sessions_is_rejected() {
        assert_eq!(violated(|history| history.secrets[1].password = vec![7; 16]), [0, 1]);
    }
}
