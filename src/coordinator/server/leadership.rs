//! What only the leader does: proposing, and deciding that sessions have expired.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::{ReadPurpose, Server};
use crate::base::event::{CoordinatorEvent, Event};
use crate::base::ids::{ServerId, Term};
use crate::base::plants::Plant;
use crate::base::time::Instant;
use crate::consensus::{self, Proposal, ReadContext};
use crate::coordinator::expiry::Expiry;
use crate::coordinator::peers::PeerMessage;
use crate::coordinator::tree::{Op, Origin, Txn};
use crate::runtime::Runtime;

/// The state of a server while it leads.
pub(super) struct Leadership {
    pub(super) term: Term,
    /// Whether everything of earlier terms is applied. Sessions begin to age only then.
    pub(super) ready: bool,
    pub(super) expiry: Expiry,
    /// Whether a round that confirms the quorum before sessions expire is under way.
    pub(super) confirming: bool,
}

impl Leadership {
    pub(super) fn new(term: Term) -> Self {
        Leadership { term, ready: false, expiry: Expiry::default(), confirming: false }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.confirming { None } else { self.expiry.next_deadline() }
    }
}

impl<R: Runtime> Server<R> {
    /// The clock by which sessions age: the monotonic one, but for a planted bug.
    pub(super) fn session_clock(&self) -> Instant {
        if self.plants.is(Plant::Zk1366) {
            return Instant(self.runtime.wall_clock_ms().unsigned_abs().saturating_mul(1_000_000));
        }
        self.runtime.now()
    }

    /// When, on the monotonic clock, a session may be due next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let deadline = self.leadership.as_ref().and_then(Leadership::next_deadline)?;
        let left = deadline.0.saturating_sub(self.session_clock().0);
        Some(self.runtime.now() + Duration::from_nanos(left))
    }

    /// Another server's client wrote. Whoever asks for a session has not shown yet that it is its own.
    pub(super) fn heard_of_sender(&mut self, txn: &Txn) {
        let now = self.session_clock();
        if let Some(leadership) = &mut self.leadership
            && !matches!(txn.op, Op::CreateSession { .. } | Op::AttachSession { .. })
        {
            leadership.expiry.touch(txn.session, now);
        }
    }

    /// Gathers a write for this turn's proposals, or tells its server that it was refused.
    pub(super) fn propose(&mut self, from: ServerId, request: u64, txn: &Txn) {
        if self.leadership.is_none() {
            return self.refuse(from, request);
        }
        let context = self.number();
        let mut payload = BytesMut::new();
        // The leader's clock stamps records only; nothing is decided by it.
        payload.put_i64(self.runtime.wall_clock_ms());
        payload.put_slice(&txn.encode());
        self.proposers.insert(context, (from, request));
        self.proposals.push(Proposal { context, payload: payload.freeze() });
    }

    pub(super) fn proposal_dropped(&mut self, context: u64) {
        if let Some((from, request)) = self.proposers.remove(&context) {
            self.refuse(from, request);
        }
    }

    fn refuse(&mut self, from: ServerId, request: u64) {
        if from == self.config.id {
            self.write_refused(request);
        } else {
            self.send(from, &PeerMessage::Refused { request });
        }
    }

    /// All entries of earlier terms are applied: every session gets its whole time-out again.
    pub(super) fn leadership_ready(&mut self) {
        let now = self.session_clock();
        if let Some(leadership) = &mut self.leadership {
            leadership.ready = true;
            for (id, session) in self.tree.sessions() {
                leadership.expiry.restart(id, Duration::from_millis(session.timeout_ms.into()), now);
            }
        }
    }

    /// Begins to confirm the quorum if a session seems to have expired. A leader that was paused
    /// finds everyone overdue; by the time a quorum has confirmed it, its inbox is drained, and
    /// the sessions that were heard of meanwhile are no longer due.
    pub(super) fn check_expiry(&mut self) {
        let now = self.session_clock();
        let Some(leadership) = &mut self.leadership else { return };
        if !leadership.ready || leadership.confirming || leadership.expiry.due(now).next().is_none() {
            return;
        }
        leadership.confirming = true;
        let number = self.number();
        self.reads.insert(number, ReadPurpose::Expiry);
        self.step(consensus::Input::ReadIndex { context: ReadContext(number) });
    }

    /// The quorum is confirmed: proposes the end of every session that is still due.
    pub(super) fn expire_due(&mut self) {
        let now = self.session_clock();
        let Some(leadership) = &mut self.leadership else { return };
        leadership.confirming = false;
        let due: Vec<_> = leadership.expiry.due(now).collect();
        if self.plants.is(Plant::Zk1366) && !due.is_empty() {
            self.runtime.observe(|| Event::PlantTaken(Plant::Zk1366));
        }
        for id in due {
            let Some(session) = self.tree.session(id) else { continue };
            // Asked again only after another whole time-out, should this proposal be lost.
            let (timeout, attachment) = (Duration::from_millis(session.timeout_ms.into()), session.attachment);
            if let Some(leadership) = &mut self.leadership {
                leadership.expiry.restart(id, timeout, now);
            }
            self.runtime.observe(|| Event::Coordinator(CoordinatorEvent::ExpiryProposed { session: id }));
            let request = self.number();
            let origin = Origin { server: self.config.id, request };
            let txn = Txn { origin, session: id, attachment, sequence: 0, ids: Vec::new(), op: Op::ExpireSession };
            self.propose(self.config.id, request, &txn);
        }
    }
}
