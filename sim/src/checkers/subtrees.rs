//! *answers_by_protocol*, for the coordinator: every answer is the one that the protocol prescribes for that
//! request in that state, in order, or the connection ends where it prescribes that.
//!
//! A client that is alone below its root knows every answer. `subtrees/model.rs` says what it is,
//! `subtrees/work.rs` compares: result or code, body, every field of every stat, sequence numbers, the events
//! of watches and their place. Zxids are those of the replies to the client's own writes; times are one for
//! each zxid. `subtrees/odd.rs` has what becomes of what no sound client sends.
//!
//! A wrong answer is wrong at any time. That none comes, or that a connection is closed, is a violation only
//! where nothing disturbed the cluster, and the connection was greeted when that was so already.
//!
//! False positives avoided: a subtree is judged no further after a write whose outcome is unknown, or after
//! its session expired (whether it should have is *session_length*'s and *right_refusal*'s); pings are
//! answered out of turn, as they say nothing; a server that is behind what a client has seen turns it away,
//! which another client than a fresh one has to expect.

mod model;
mod odd;
#[cfg(test)]
pub(crate) mod tests;
mod work;

use std::collections::BTreeMap;

use bytes::Bytes;
use wyrdlog::base::ids::SessionId;
use wyrdlog::wire::zookeeper::{ConnectRequest, ConnectResponse, Request};

use crate::history::cluster::ClusterHistory;
use crate::history::subtrees::{ConnectionIndex, Purpose, Step, SubtreeIndex, SubtreesHistory};
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

use work::Subtree;

/// For so long after it was formed a cluster may still be busy with that.
const YOUNG_NS: u64 = 1_000_000_000;
/// An answer that took longer where all is calm does not come. Slow ones are *availability*'s.
pub const ANSWERS_NS: u64 = 2_000_000_000;
/// The bytes of a session's password.
const PASSWORD_BYTES: usize = 16;

/// A reply that was compared with what is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Of which connection.
    pub connection: ConnectionIndex,
    /// Which of its entries.
    pub entry: usize,
    /// What it answers.
    pub request: Request,
    /// From when on it could be waited for.
    pub since_ns: u64,
    /// Whether it had to come.
    pub is_due: bool,
}

/// Judges all that came.
#[must_use]
pub fn check(history: &SubtreesHistory, met: &ClusterHistory) -> Findings {
    judge(history, met).findings
}

/// The replies that are compared with what is due.
#[must_use]
pub fn judged(history: &SubtreesHistory, met: &ClusterHistory) -> Vec<Judged> {
    judge(history, met).judged
}

fn judge<'h>(history: &'h SubtreesHistory, met: &ClusterHistory) -> Judge<'h> {
    let mut judge = Judge {
        history,
        calm: met.first_led_ns.map_or(Vec::new(), |led_ns| met.calm(led_ns + YOUNG_NS)),
        cut_ns: met.cut.iter().filter(|(_, node)| met.ensemble.contains(node)).map(|(at_ns, _)| *at_ns).collect(),
        findings: Findings::new(Property::AnswersByProtocol),
        judged: Vec::new(),
    };
    let mut subtrees: BTreeMap<SubtreeIndex, Subtree> = BTreeMap::new();
    for index in 0..history.connections.len() as ConnectionIndex {
        match history.connections[index as usize].purpose {
            Purpose::Work(subtree) => work::check(&mut judge, index, subtrees.entry(subtree).or_default()),
            Purpose::Odd(odd) => odd::check(&mut judge, index, odd),
        }
    }
    judge
}

/// What is judged by, and what was found.
struct Judge<'h> {
    history: &'h SubtreesHistory,
    /// Stretches in which nothing is disturbed.
    calm: Vec<(u64, u64)>,
    /// When a machine of the ensemble lost power: what it was connected to is not told that it is gone.
    cut_ns: Vec<u64>,
    findings: Findings,
    judged: Vec<Judged>,
}

impl Judge<'_> {
    /// Whether a span lies in one stretch in which nothing is disturbed.
    fn is_calm(&self, from_ns: u64, to_ns: u64) -> bool {
        let next = self.calm.partition_point(|(_, end_ns)| *end_ns < to_ns);
        self.calm.get(next).is_some_and(|(begin_ns, _)| *begin_ns <= from_ns)
    }

    /// Counts an evaluation, and gives back whether it holds.
    fn holds(&mut self, index: ConnectionIndex, time_ns: u64, holds: bool, what: impl FnOnce() -> String) -> bool {
        let client = self.history.connections[index as usize].client;
        self.findings.check(holds, time_ns, [u64::from(index)], || {
            format!("connection {index} of client {client} at {}: {}", seconds(time_ns), what())
        })
    }

    /// Whether `frame` is the first frame for who asked for a session so.
    fn greets(
        &mut self,
        index: ConnectionIndex,
        time_ns: u64,
        hello: &ConnectRequest,
        frame: &Bytes,
    ) -> Option<ConnectResponse> {
        let Ok(granted) = ConnectResponse::decode(frame.clone()) else {
            self.holds(index, time_ns, false, || format!("a first frame that is none: {frame:?}"));
            return None;
        };
        let is_form = granted.protocol_version == 0
            && work::encoded(|out| granted.put(out)) == *frame
            && granted.password.len() == PASSWORD_BYTES
            // What the server is, not what the client would be content with.
            && granted.read_only == hello.read_only.map(|_| false);
        let (shortest, longest) = self.history.bounds_ms;
        let timeout_ms = u64::try_from(hello.timeout_ms).unwrap_or(0).clamp(shortest, longest.max(shortest)) as i32;
        let is_new = hello.session == SessionId(0);
        let is_right = if granted.session == SessionId(0) {
            !is_new && granted.timeout_ms == 0 && granted.password.iter().all(|byte| *byte == 0)
        } else if is_new {
            granted.timeout_ms == timeout_ms && granted.password.iter().any(|byte| *byte != 0)
        } else {
            granted.timeout_ms == timeout_ms && granted.session == hello.session && granted.password == hello.password
        };
        let holds = self.holds(index, time_ns, is_form && is_right, || format!("{hello:?} was answered {granted:?}"));
        holds.then_some(granted)
    }

    /// What is missing where the connection ended or was given up: nothing that is prescribed, in a calm.
    fn misses(&mut self, index: ConnectionIndex, since_ns: u64, ended_ns: Option<u64>, what: impl FnOnce() -> String) {
        let (due_ns, ended_ns) = (since_ns + ANSWERS_NS, ended_ns.unwrap_or(u64::MAX));
        let greeted_ns = self.greeted_ns(index).unwrap_or(since_ns).min(since_ns);
        if self.is_calm(greeted_ns, due_ns) {
            self.holds(index, due_ns.min(ended_ns), false, what);
        }
    }

    /// Whether a stretch in which nothing is disturbed was long enough for an answer, between then and then, and
    /// whoever owes it was not gone without a word (`swarm` seed 1412).
    fn had_time(&self, since_ns: u64, ended_ns: u64) -> bool {
        let is_long = |(from_ns, to_ns): &(u64, u64)| since_ns.max(*from_ns) + ANSWERS_NS <= ended_ns.min(*to_ns);
        let was_cut = self.cut_ns.iter().any(|at_ns| (since_ns..=ended_ns).contains(at_ns));
        !was_cut && self.calm.iter().any(is_long)
    }

    /// When the server's first frame came.
    fn greeted_ns(&self, index: ConnectionIndex) -> Option<u64> {
        let entries = &self.history.connections[index as usize].entries;
        entries.iter().find(|entry| matches!(entry.step, Step::Came(_))).map(|entry| entry.time_ns)
    }

    /// A first frame that did not come: it is due to who asks for a new session.
    fn not_greeted(&mut self, index: ConnectionIndex, hello: &ConnectRequest) {
        let connection = &self.history.connections[index as usize];
        let given_up = connection.entries.last().filter(|entry| entry.step == Step::GaveUp).map(|entry| entry.time_ns);
        let since_ns = connection.opened_ns;
        let is_waited_for = given_up.is_none_or(|at_ns| at_ns >= since_ns + ANSWERS_NS);
        if hello.last_zxid_seen.0 == 0 && is_waited_for {
            self.misses(index, since_ns, given_up, || format!("{hello:?} was not answered"));
        }
    }
}
