//! When the leader may propose that a session has expired.
//!
//! Deadlines are instants of the leader's own monotonic clock; no wall clock takes part. They are
//! not replicated: a new leader gives every session its whole time-out again, so a change of
//! leader can only lengthen a session's life. A deadline that has passed is no verdict yet: the
//! server drains its input and confirms its quorum first, and then asks again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::ids::SessionId;
use crate::base::time::Instant;

#[derive(Clone, Copy, Debug)]
struct Lease {
    timeout: Duration,
    deadline: Instant,
}

/// The deadlines of all sessions. Empty on a server that does not lead.
#[derive(Clone, Debug, Default)]
pub struct Expiry {
    leases: BTreeMap<SessionId, Lease>,
    by_deadline: BTreeSet<(Instant, SessionId)>,
}

impl Expiry {
    /// Gives `session` its whole `timeout` from `now`, whether it is new, was re-attached or is
    /// known from before a change of leader.
    pub fn restart(&mut self, session: SessionId, timeout: Duration, now: Instant) {
        self.remove(session);
        let deadline = now + timeout;
        self.leases.insert(session, Lease { timeout, deadline });
        self.by_deadline.insert((deadline, session));
    }

    /// The session was heard of. Unknown sessions are ignored: they have ended.
    pub fn touch(&mut self, session: SessionId, now: Instant) {
        if let Some(lease) = self.leases.get(&session) {
            self.restart(session, lease.timeout, now);
        }
    }

    /// The session has ended.
    pub fn remove(&mut self, session: SessionId) {
        if let Some(lease) = self.leases.remove(&session) {
            self.by_deadline.remove(&(lease.deadline, session));
        }
        assert_eq!(self.leases.len(), self.by_deadline.len(), "each session has one deadline");
    }

    /// The sessions whose deadline is not after `now`, the longest overdue first.
    pub fn due(&self, now: Instant) -> impl Iterator<Item = SessionId> + '_ {
        self.by_deadline.range(..=(now, SessionId(i64::MAX))).map(|(_, session)| *session)
    }

    /// The next instant at which a session may be due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn a_session_is_due_when_its_timeout_has_passed_since_it_was_last_heard_of() {
        let mut expiry = Expiry::default();
        expiry.restart(SessionId(1), 2 * SECOND, at(0));
        expiry.restart(SessionId(2), 2 * SECOND, at(0));
        expiry.touch(SessionId(1), at(1));
        assert_eq!(expiry.due(at(1)).count(), 0);
        assert_eq!(expiry.due(at(2)).collect::<Vec<_>>(), [SessionId(2)]);
        assert_eq!(expiry.due(at(3)).collect::<Vec<_>>(), [SessionId(2), SessionId(1)]);
        assert_eq!(expiry.next_deadline(), Some(at(2)));
    }

    #[test]
    fn an_ended_session_is_neither_due_nor_brought_back_by_a_late_touch() {
        let mut expiry = Expiry::default();
        expiry.restart(SessionId(1), SECOND, at(0));
        expiry.remove(SessionId(1));
        expiry.touch(SessionId(1), at(0));
        assert_eq!(expiry.due(at(9)).count(), 0);
        assert_eq!(expiry.next_deadline(), None);
    }
}
