//! Reads that see everything committed before they were asked for (§6.4).
//!
//! A leader takes its commit index, once it has committed an entry of its own term, and asks a
//! quorum whether it still leads. All reads that wait when a round starts share it, and one round
//! runs at a time. A follower asks the leader for an index, one batch of reads at a time, and
//! waits until it has applied that much.

use std::collections::VecDeque;

use crate::base::ids::ServerId;

use super::effect::{Dropped, Effect};
use super::input::{ReadContext, Timer};
use super::message::Message;
use super::{Consensus, Role};

/// Whose read it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Own(ReadContext),
    Peer { server: ServerId, incarnation: u64, batch: u64 },
}

/// Reads that wait for the leader to be confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct LeaderReads {
    /// The last round that was started.
    round: u64,
    /// The reads of the round under way, and the commit index when it started.
    confirming: Option<(u64, Vec<Reader>)>,
    /// Reads for the next round.
    waiting: Vec<Reader>,
}

impl LeaderReads {
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    fn len(&self) -> usize {
        self.waiting.len() + self.confirming.as_ref().map_or(0, |(_, readers)| readers.len())
    }

    fn has(&self, reader: Reader) -> bool {
        let confirming = self.confirming.iter().flat_map(|(_, readers)| readers);
        self.waiting.iter().chain(confirming).any(|other| *other == reader)
    }

    /// The leader stepped down. Peers ask again elsewhere.
    pub(super) fn fail(&self, effects: &mut Vec<Effect>) {
        let confirming = self.confirming.iter().flat_map(|(_, readers)| readers);
        for reader in confirming.chain(&self.waiting) {
            if let Reader::Own(context) = *reader {
                let reason = Dropped::NotLeader { leader: None };
                effects.push(Effect::ReadFailed { context, reason });
            }
        }
    }
}

/// Reads of this server's own clients, when another leads, and reads that only wait for `Apply`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    /// Names the question under way.
    batch: u64,
    asked: Vec<ReadContext>,
    waiting: Vec<ReadContext>,
    /// Reads whose index is known.
    confirmed: VecDeque<(u64, ReadContext)>,
}

impl Reads {
    fn len(&self) -> usize {
        self.asked.len() + self.waiting.len() + self.confirmed.len()
    }
}

impl Consensus {
    pub(super) fn read_index(&mut self, context: ReadContext, effects: &mut Vec<Effect>) {
        let (max, held) = (self.config.limits.pending_reads_max, self.reads.len());
        let fail = |reason, effects: &mut Vec<Effect>| effects.push(Effect::ReadFailed { context, reason });
        if let Role::Leader(leadership) = &mut self.role {
            if leadership.reads.len() + held >= max {
                return fail(Dropped::Overloaded, effects);
            }
            leadership.reads.waiting.push(Reader::Own(context));
            return self.start_read_round(effects);
        }
        if self.leader.is_none() {
            return fail(Dropped::NotLeader { leader: None }, effects);
        }
        if held >= max {
            return fail(Dropped::Overloaded, effects);
        }
        self.reads.waiting.push(context);
        self.ask_leader(effects);
    }

    /// Starts the next round if there is a read for it, none is under way, and this leader has
    /// committed in its own term: before that it may not know what earlier terms committed.
    pub(super) fn start_read_round(&mut self, effects: &mut Vec<Effect>) {
        let commit_index = self.commit_index;
        let Role::Leader(leadership) = &mut self.role else { return };
        let knows_all = commit_index >= leadership.term_start();
        let reads = &mut leadership.reads;
        if reads.waiting.is_empty() || reads.confirming.is_some() || !knows_all {
            return;
        }
        reads.round += 1;
        reads.confirming = Some((commit_index, std::mem::take(&mut reads.waiting)));
        for to in self.config.voters.clone().others(self.config.id) {
            self.send_heartbeat(to, effects);
        }
        self.confirm_reads(effects);
    }

    /// Answers the round under way once a quorum has answered it, and starts the next.
    pub(super) fn confirm_reads(&mut self, effects: &mut Vec<Effect>) {
        let (quorum, term) = (self.config.voters.quorum(), self.hard_state.term);
        let Role::Leader(leadership) = &mut self.role else { return };
        let round = leadership.reads.round;
        let confirmed = 1 + leadership.progress.values().filter(|progress| progress.confirms(round)).count();
        if confirmed < quorum {
            return;
        }
        let Some((index, readers)) = leadership.reads.confirming.take() else { return };
        for reader in readers {
            match reader {
                Reader::Own(context) => self.reads.confirmed.push_back((index, context)),
                Reader::Peer { server, incarnation, batch } => {
                    let message = Message::ReadIndexResponse { term, incarnation, batch, index };
                    effects.push(Effect::Send { to: server, message });
                }
            }
        }
        self.start_read_round(effects);
    }

    /// A follower asks for an index. One that is asked again while it waits is the same question.
    pub(super) fn remote_read(&mut self, from: ServerId, incarnation: u64, batch: u64, effects: &mut Vec<Effect>) {
        let max = self.config.limits.pending_reads_max;
        let Role::Leader(leadership) = &mut self.role else { return };
        let reader = Reader::Peer { server: from, incarnation, batch };
        if leadership.reads.len() < max && !leadership.reads.has(reader) {
            leadership.reads.waiting.push(reader);
            self.start_read_round(effects);
        }
    }

    /// Puts all waiting reads into one question to the leader, unless one is under way.
    fn ask_leader(&mut self, effects: &mut Vec<Effect>) {
        if self.reads.asked.is_empty() && !self.reads.waiting.is_empty() {
            self.reads.asked = std::mem::take(&mut self.reads.waiting);
            self.reads.batch += 1;
            self.send_question(effects);
        }
    }

    fn send_question(&self, effects: &mut Vec<Effect>) {
        let Some(to) = self.leader else { return };
        let (term, incarnation, batch) = (self.hard_state.term, self.config.incarnation, self.reads.batch);
        effects.push(Effect::Send { to, message: Message::ReadIndex { term, incarnation, batch } });
        let span = self.config.timing.election_shortest;
        effects.push(Effect::Arm { timer: Timer::ReadRetry, shortest: span, longest: span });
    }

    /// Question or answer may have been lost.
    pub(super) fn read_retry_elapsed(&mut self, effects: &mut Vec<Effect>) {
        if !self.is_leader() && !self.reads.asked.is_empty() {
            self.send_question(effects);
        }
    }

    pub(super) fn remote_read_ready(
        &mut self,
        from: ServerId,
        incarnation: u64,
        batch: u64,
        index: u64,
        effects: &mut Vec<Effect>,
    ) {
        let is_answer = incarnation == self.config.incarnation && batch == self.reads.batch;
        if !is_answer || self.leader != Some(from) || self.reads.asked.is_empty() {
            return;
        }
        let answered = std::mem::take(&mut self.reads.asked);
        self.reads.confirmed.extend(answered.into_iter().map(|context| (index, context)));
        effects.push(Effect::Disarm(Timer::ReadRetry));
        self.ask_leader(effects);
    }

    /// The leader's answers will not come any more.
    pub(super) fn fail_follower_reads(&mut self, effects: &mut Vec<Effect>) {
        let reads = &mut self.reads;
        if !reads.asked.is_empty() {
            effects.push(Effect::Disarm(Timer::ReadRetry));
        }
        let unanswered = reads.asked.drain(..).chain(reads.waiting.drain(..));
        let unapplied = reads.confirmed.drain(..).map(|(_, context)| context);
        for context in unanswered.chain(unapplied) {
            effects.push(Effect::ReadFailed { context, reason: Dropped::NotLeader { leader: None } });
        }
    }

    /// Reads whose index is applied are ready. Indexes may arrive out of order after a change of
    /// leader, so each is looked at.
    pub(super) fn release_reads(&mut self, effects: &mut Vec<Effect>) {
        let applied = self.applied_index;
        self.reads.confirmed.retain(|(read_index, context)| {
            let is_ready = *read_index <= applied;
            if is_ready {
                effects.push(Effect::ReadReady { context: *context, read_index: *read_index });
            }
            !is_ready
        });
    }
}
