//! *session_length*: a session expires only when its leader heard nothing of it for the negotiated
//! time-out on its monotonic clock, and it does expire, at most a tick and a bound later.
//!
//! The time-out is what the client asked for in the bytes that it sent, clamped by the ensemble's
//! configuration. What a leader heard is what was delivered to its process: its clients' frames, and
//! those of followers that pass on what they heard. A leader gives every session its whole time-out
//! from its election. That it proposes an expiry, and that a session has ended, are its claims; an
//! expiry that nobody proposed is a violation, too.
//!
//! The upper bound is asked for where nothing disturbed the ensemble for long enough to elect and
//! connect anew: from then on a session that no server is told of has a time-out and a bound.
//!
//! False positives avoided: a frame that came less than `IN_HAND_NS` before the decision may wait
//! behind it in the server's inbox; a clock may run slow by what the simulator grants it; a server that lags may
//! tell a client of a session that has expired elsewhere (`swarm` seed 89).

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::ids::SessionId;

use crate::history::sessions::{Entry, Fact, SessionHistory};
use crate::observed::{Incarnation, Node, seconds};
use crate::verdict::{Findings, Property};

const MS_NS: u64 = 1_000_000;
/// What was delivered so shortly before may not have been looked at yet.
const IN_HAND_NS: u64 = 50 * MS_NS;
/// How long an undisturbed ensemble may take to have a leader that everybody is connected to.
const SETTLE_NS: u64 = 5_000 * MS_NS;
/// How long after its time-out a session may still be there: a follower tells its leader four times
/// a second what it heard, the leader confirms its quorum, and the end is committed.
const BOUND_NS: u64 = 1_500 * MS_NS;
/// A clock may be slow by so many parts of a thousand.
const SLOW_PER_MILLE: u64 = 53;

/// A process.
type Process = (Node, Incarnation);

/// Compares every expiry with what was delivered, and every silence with its expiry.
#[must_use]
pub fn check(history: &SessionHistory) -> Findings {
    let mut judge = Judge::new(history);
    for (ordinal, entry) in (0..).zip(&history.entries) {
        judge.take(ordinal, entry);
    }
    judge.end();
    judge.findings
}

struct Session {
    timeout_ns: u64,
    /// The shortest and the longest that its client asked for, which may be in force before it is told so, or
    /// without that (`swarm` seed 89): the session is judged by whichever excuses more.
    asked_ns: (u64, u64),
    /// When a server last heard of it from its client.
    heard_ns: u64,
    /// The leader that last called it overdue.
    proposed: Option<Node>,
    has_ended: bool,
}

struct Judge<'h> {
    history: &'h SessionHistory,
    findings: Findings,
    /// By what each process's clock showed: when it was elected, and when it heard of each session, from
    /// the last time on that is not in hand any more.
    elected: BTreeMap<Process, u64>,
    heard: BTreeMap<(Process, SessionId), Vec<u64>>,
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions that a leader called overdue before their own client was told that it has them.
    early: BTreeMap<SessionId, Node>,
    /// Sessions that had ended on a server before that.
    gone: BTreeSet<SessionId>,
}

impl<'h> Judge<'h> {
    fn new(history: &'h SessionHistory) -> Self {
        Judge {
            history,
            findings: Findings::new(Property::SessionLength),
            elected: BTreeMap::new(),
            heard: BTreeMap::new(),
            sessions: BTreeMap::new(),
            early: BTreeMap::new(),
            gone: BTreeSet::new(),
        }
    }

    fn take(&mut self, ordinal: u64, entry: &Entry) {
        let process = (entry.node, entry.incarnation);
        match entry.fact {
            Fact::Granted { session, asked_ms, granted_ms } => {
                self.granted(ordinal, entry, session, asked_ms, granted_ms)
            }
            Fact::Heard { session, directly } => {
                let clocks = self.heard.entry((process, session)).or_default();
                let old = clocks.iter().rposition(|clock| clock + IN_HAND_NS <= entry.clock_ns).unwrap_or(0);
                clocks.drain(..old);
                // What asked for a session is told with its answer, behind what came meanwhile.
                let at = clocks.partition_point(|clock| *clock < entry.clock_ns);
                clocks.insert(at, entry.clock_ns);
                if directly {
                    self.silent_until(ordinal, entry.time_ns, session);
                }
            }
            // Whether it is attached before its answer is lost is not to be known: perhaps.
            Fact::Asked { session, asked_ms } => {
                self.silent_until(ordinal, entry.time_ns, session);
                let owed_ns = self.owed_ms(asked_ms) * MS_NS;
                if let Some(known) = self.sessions.get_mut(&session) {
                    known.asked_ns = (known.asked_ns.0.min(owed_ns), known.asked_ns.1.max(owed_ns));
                }
            }
            Fact::Expelled { .. } => {}
            Fact::Elected => drop(self.elected.insert(process, entry.clock_ns)),
            Fact::ExpiryProposed { session } => self.proposed(ordinal, entry, session),
            Fact::Ended { session, expired } => self.ended(ordinal, entry, session, expired),
        }
    }

    /// What a client is granted that asks for so much.
    fn owed_ms(&self, asked_ms: i32) -> u64 {
        let (shortest, longest) = self.history.bounds_ms;
        u64::try_from(asked_ms).unwrap_or(0).clamp(shortest, longest.max(shortest))
    }

    fn granted(&mut self, ordinal: u64, entry: &Entry, session: SessionId, asked_ms: i32, granted_ms: i32) {
        let owed_ms = self.owed_ms(asked_ms);
        let holds = u64::try_from(granted_ms) == Ok(owed_ms);
        self.findings.check(holds, entry.time_ns, [ordinal], || {
            format!("{} granted session {:#x} {granted_ms} ms where {owed_ms} ms are due", entry.node, session.0)
        });
        let proposed = self.early.get(&session).copied();
        let asked_ns = (u64::MAX, 0);
        let new = Session {
            timeout_ns: 0,
            asked_ns,
            heard_ns: entry.time_ns,
            proposed,
            has_ended: self.gone.contains(&session),
        };
        let known = self.sessions.entry(session).or_insert(new);
        known.timeout_ns = owed_ms * MS_NS;
        known.heard_ns = entry.time_ns;
    }

    fn proposed(&mut self, ordinal: u64, entry: &Entry, session: SessionId) {
        let process = (entry.node, entry.incarnation);
        let Some(known) = self.sessions.get_mut(&session) else {
            self.early.insert(session, entry.node);
            return;
        };
        known.proposed = Some(entry.node);
        let clocks = self.heard.get(&(process, session)).map_or(&[][..], Vec::as_slice);
        let heard = clocks.iter().rev().find(|clock| **clock + IN_HAND_NS <= entry.clock_ns).copied();
        let last = heard.max(self.elected.get(&process).copied());
        let silent_ns = last.map(|last| entry.clock_ns - last);
        let timeout_ns = known.timeout_ns.min(known.asked_ns.0);
        let holds = silent_ns.is_some_and(|silent_ns| silent_ns >= timeout_ns);
        self.findings.check(holds, entry.time_ns, [ordinal], || {
            let of = format!("{} calls session {:#x} overdue", entry.node, session.0);
            silent_ns.map_or(format!("{of} without having been elected"), |silent_ns| {
                format!(
                    "{of} after it heard nothing of it for {} on its clock; its time-out is {}",
                    seconds(silent_ns),
                    seconds(timeout_ns)
                )
            })
        });
    }

    fn ended(&mut self, ordinal: u64, entry: &Entry, session: SessionId, expired: bool) {
        self.silent_until(ordinal, entry.time_ns, session);
        let Some(known) = self.sessions.get_mut(&session) else {
            self.gone.insert(session);
            return;
        };
        let is_first = !std::mem::replace(&mut known.has_ended, true);
        if is_first && expired {
            let holds = known.proposed.is_some();
            self.findings.check(holds, entry.time_ns, [ordinal], || {
                format!("session {:#x} expired on {} although no leader had called it overdue", session.0, entry.node)
            });
        }
    }

    /// A session is heard of again, or has ended, or the run has.
    fn silent_until(&mut self, ordinal: u64, until_ns: u64, session: SessionId) {
        let Some(known) = self.sessions.get_mut(&session).filter(|known| !known.has_ended) else { return };
        let (heard_ns, timeout_ns) =
            (std::mem::replace(&mut known.heard_ns, until_ns), known.timeout_ns.max(known.asked_ns.1));
        if until_ns < heard_ns + timeout_ns {
            return;
        }
        let Some(due_ns) = expires_by_ns(&self.history.disturbed_ns, heard_ns, timeout_ns) else { return };
        self.findings.check(until_ns <= due_ns, until_ns, [ordinal], || {
            format!(
                "session {:#x}, of which no server was told anything since {}, was still there at {}: it was to expire by {}",
                session.0,
                seconds(heard_ns),
                seconds(until_ns),
                seconds(due_ns)
            )
        });
    }

    fn end(&mut self) {
        let (sessions, ordinal): (Vec<SessionId>, _) =
            (self.sessions.keys().copied().collect(), self.history.entries.len());
        for session in sessions {
            self.silent_until(ordinal as u64, self.history.ended_ns, session);
        }
    }
}

/// By when a session that was heard of last at `heard_ns` has expired.
#[must_use]
pub fn expires_by(history: &SessionHistory, heard_ns: u64, timeout_ms: i32) -> Option<u64> {
    expires_by_ns(&history.disturbed_ns, heard_ns, u64::try_from(timeout_ms).unwrap_or(0) * MS_NS)
}

/// The first instant at which a silence that began at `heard_ns` has lasted long enough with nothing
/// that disturbs the ensemble.
fn expires_by_ns(disturbed_ns: &[(u64, u64)], heard_ns: u64, timeout_ns: u64) -> Option<u64> {
    let patience_ns = timeout_ns + timeout_ns * SLOW_PER_MILLE / 1_000 + BOUND_NS;
    let mut from_ns = heard_ns;
    for (begin_ns, end_ns) in disturbed_ns {
        if from_ns.saturating_add(patience_ns) < *begin_ns {
            break;
        }
        from_ns = from_ns.max(end_ns.saturating_add(SETTLE_NS));
    }
    from_ns.checked_add(patience_ns)
}

#[cfg(test)]
pub(crate) mod examples {
    //! Short ways to write a history of sessions by hand. One server, one session of 2 s.

    use super::*;

    pub const SESSION: SessionId = SessionId(9);

    pub struct Script {
        pub history: SessionHistory,
    }

    impl Script {
        /// The server is elected at once, and a client gets its session at 10 s.
        pub fn new() -> Self {
            let history = SessionHistory { bounds_ms: (500, 40_000), ended_ns: 60_000 * MS_NS, ..Default::default() };
            let mut script = Script { history };
            script.at(0, Fact::Elected);
            script.at(10_000, Fact::Granted { session: SESSION, asked_ms: 2_000, granted_ms: 2_000 });
            script
        }

        pub fn at(&mut self, ms: u64, fact: Fact) {
            let time_ns = ms * MS_NS;
            // The clock began elsewhere.
            let clock_ns = time_ns + 77;
            self.history.entries.push(Entry { time_ns, clock_ns, node: Node(0), incarnation: 1, fact });
        }

        pub fn heard(&mut self, ms: u64) {
            self.at(ms, Fact::Heard { session: SESSION, directly: true });
        }

        pub fn expires(&mut self, ms: u64) {
            self.at(ms, Fact::ExpiryProposed { session: SESSION });
            self.at(ms + 5, Fact::Ended { session: SESSION, expired: true });
        }
    }

    /// A session that expires when it should.
    pub fn passing() -> SessionHistory {
        let mut script = Script::new();
        script.heard(10_600);
        script.expires(12_700);
        script.history
    }
}

#[cfg(test)]
mod tests {
    use super::examples::{SESSION, Script, passing};
    use super::*;

    #[test]
    fn a_session_that_expires_after_its_timeout_is_accepted() {
        let findings = check(&passing());
        assert!(findings.passed(), "{:?}", findings.violations);
        assert!(findings.evaluations >= 4, "{}", findings.evaluations);
    }

    /// `swarm` seed 98465: it expired on all servers but the one that its client was asking, which was slow.
    #[test]
    fn a_session_that_ended_before_its_client_was_told_of_it_is_not_asked_for_again() {
        let mut late = passing();
        let granted = late.entries.remove(1);
        late.entries.retain(|entry| !matches!(entry.fact, Fact::Heard { .. }));
        late.entries.push(Entry { time_ns: 13_000 * MS_NS, ..granted });
        assert!(check(&late).passed(), "{:?}", check(&late).violations);
        late.entries.retain(|entry| !matches!(entry.fact, Fact::Ended { .. }));
        assert_eq!(check(&late).violated, 1, "it never ended");
    }

    #[test]
    fn a_session_that_expires_after_a_quarter_of_its_timeout_is_rejected() {
        let mut script = Script::new();
        script.heard(10_600);
        script.expires(11_100);
        let findings = check(&script.history);
        assert_eq!(findings.violated, 1);
        assert!(findings.violations[0].evidence.contains("0.500000000 s"), "{:?}", findings.violations);
    }

    #[test]
    fn a_session_that_never_expires_or_late_is_rejected() {
        let mut script = Script::new();
        script.heard(10_600);
        assert_eq!(check(&script.history).violated, 1);
        script.expires(18_600);
        assert_eq!(check(&script.history).violated, 1);
    }

    #[test]
    fn a_session_that_is_heard_of_again_after_it_should_have_expired_is_rejected() {
        let mut script = Script::new();
        script.heard(20_000);
        script.expires(22_100);
        assert_eq!(check(&script.history).violated, 1);
    }

    #[test]
    fn a_silence_that_faults_fill_binds_nobody() {
        let mut script = Script::new();
        script.history.disturbed_ns = vec![(9_000 * MS_NS, 13_000 * MS_NS), (19_000 * MS_NS, 30_000 * MS_NS)];
        script.expires(34_000);
        assert!(check(&script.history).passed());
    }

    #[test]
    fn a_new_leader_gives_every_session_its_whole_timeout() {
        let mut script = Script::new();
        script.at(11_000, Fact::Elected);
        script.expires(12_100);
        assert_eq!(check(&script.history).violated, 1);
    }

    #[test]
    fn a_shorter_timeout_that_was_asked_for_may_be_in_force_before_its_client_hears_of_it() {
        for (asked_ms, violated) in [(900, 0), (4_000, 1)] {
            let mut script = Script::new();
            script.at(11_000, Fact::Asked { session: SESSION, asked_ms });
            script.at(11_000, Fact::Heard { session: SESSION, directly: true });
            script.expires(12_000);
            assert_eq!(check(&script.history).violated, violated, "{asked_ms}");
        }
    }

    #[test]
    fn what_a_follower_passes_on_is_heard() {
        let mut script = Script::new();
        script.at(11_500, Fact::Heard { session: SESSION, directly: false });
        script.expires(12_100);
        assert_eq!(check(&script.history).violated, 1);
    }

    #[test]
    fn a_frame_that_waits_behind_the_decision_excuses_it() {
        let mut script = Script::new();
        script.at(12_099, Fact::Heard { session: SESSION, directly: false });
        script.expires(12_100);
        assert!(check(&script.history).passed());
    }

    #[test]
    fn an_expiry_that_no_leader_proposed_is_rejected_and_a_closed_session_accepted() {
        for (expired, violated) in [(true, 1), (false, 0)] {
            let mut script = Script::new();
            script.at(10_700, Fact::Ended { session: SESSION, expired });
            assert_eq!(check(&script.history).violated, violated);
        }
    }

    #[test]
    fn a_timeout_outside_of_the_configuration_is_rejected() {
        for (asked_ms, granted_ms, violated) in [(100, 500, 0), (100, 100, 1), (90_000, 40_000, 0), (3_000, 1_500, 1)] {
            let mut script = Script::new();
            script.history.entries[1].fact = Fact::Granted { session: SESSION, asked_ms, granted_ms };
            script.at(10_100, Fact::Ended { session: SESSION, expired: false });
            assert_eq!(check(&script.history).violated, violated, "{asked_ms} {granted_ms}");
        }
    }

    #[test]
    fn a_session_may_end_that_was_called_overdue_before_its_client_heard_of_it() {
        for (is_proposed, violated) in [(true, 0), (false, 1)] {
            let mut script = Script::new();
            script.expires(12_100);
            let session = SessionId(SESSION.0 + 1);
            if is_proposed {
                script.at(12_200, Fact::ExpiryProposed { session });
            }
            script.at(12_300, Fact::Granted { session, asked_ms: 2_000, granted_ms: 2_000 });
            script.at(12_400, Fact::Ended { session, expired: true });
            assert_eq!(check(&script.history).violated, violated, "{is_proposed}");
        }
    }
}
