//! What a leader does: it appends, replicates, counts, and steps down when nobody answers.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::base::event::Event;
use crate::base::ids::{ServerId, Zxid};
use crate::base::plants::Plant;

use super::config::{Config, Limits};
use super::effect::{Dropped, Effect, Refusal};
use super::entry::{Entry, EntryKind, Position};
use super::input::{Proposal, Timer};
use super::message::{Message, Outcome};
use super::progress::{Phase, Progress};
use super::reads::LeaderReads;
use super::{Consensus, Role};

/// What a server knows only while it leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leadership {
    pub(super) progress: BTreeMap<ServerId, Progress>,
    /// The index of the term's no-op.
    term_start: u64,
    pub(super) reads: LeaderReads,
    /// The server that should lead instead, and whether it was told.
    transfer: Option<(ServerId, bool)>,
}

impl Leadership {
    pub(super) fn new(config: &Config, last_index: u64) -> Leadership {
        let progress = config.voters.others(config.id).map(|server| (server, Progress::new(last_index))).collect();
        Leadership { progress, term_start: last_index + 1, reads: LeaderReads::default(), transfer: None }
    }

    pub(super) fn term_start(&self) -> u64 {
        self.term_start
    }

    pub(super) fn fail_reads(&self, effects: &mut Vec<Effect>) {
        self.reads.fail(effects);
    }
}

impl Consensus {
    pub(super) fn leadership_mut(&mut self) -> Option<&mut Leadership> {
        match &mut self.role {
            Role::Leader(leadership) => Some(leadership),
            _ => None,
        }
    }

    pub(super) fn append_no_op(&mut self, effects: &mut Vec<Effect>) {
        self.append_own(EntryKind::NoOp, Bytes::new());
        self.replicate_to_all(false, effects);
    }

    /// Appends an entry of this leader's. It is sent at once and counted here once it is durable.
    fn append_own(&mut self, kind: EntryKind, payload: Bytes) {
        let (term, last) = (self.hard_state.term, self.log.last());
        let counter = if kind == EntryKind::NoOp { 0 } else { last.zxid.counter() + 1 };
        let entry = Entry { index: last.index + 1, zxid: Zxid::new(term, counter), kind, payload };
        assert!(entry.zxid > last.zxid, "a zxid only grows");
        self.durability.stage_entry(entry.clone());
        self.log.append(entry);
    }

    pub(super) fn propose(&mut self, proposals: Vec<Proposal>, effects: &mut Vec<Effect>) {
        for Proposal { context, payload } in proposals {
            match self.refuses_proposal(&payload) {
                Some(reason) => effects.push(Effect::ProposalDropped { context, reason }),
                None => {
                    self.append_own(EntryKind::Data, payload);
                    effects.push(Effect::Proposed { context, position: self.log.last() });
                }
            }
        }
        if self.is_leader() {
            self.replicate_to_all(false, effects);
            self.advance_commit(effects);
            self.step_down_if_counter_ends(effects);
        }
    }

    fn refuses_proposal(&self, payload: &Bytes) -> Option<Dropped> {
        let Role::Leader(leadership) = &self.role else {
            return Some(Dropped::NotLeader { leader: self.leader });
        };
        let uncommitted = self.log.last().index - self.commit_index;
        if payload.len() > Limits::PROPOSAL_BYTES_MAX {
            Some(Dropped::TooLarge)
        } else if leadership.transfer.is_some() || self.counter_ends() {
            Some(Dropped::Transferring)
        } else if uncommitted >= self.config.limits.uncommitted_entries_max {
            Some(Dropped::Overloaded)
        } else {
            None
        }
    }

    fn counter_ends(&self) -> bool {
        self.log.last().zxid.counter() >= self.config.limits.zxid_counter_max
    }

    /// The term's zxids are nearly used up: another term starts at counter 0 again
    /// (ZOOKEEPER-1277). All that was proposed is sent first.
    fn step_down_if_counter_ends(&mut self, effects: &mut Vec<Effect>) {
        if self.counter_ends() && self.commit_index == self.log.last().index {
            self.step_down(effects);
        }
    }

    pub(super) fn replicate_to_all(&mut self, heartbeat: bool, effects: &mut Vec<Effect>) {
        for to in self.config.voters.clone().others(self.config.id) {
            self.replicate_to(to, heartbeat, effects);
        }
    }

    /// Sends whatever `to` may be sent now: entries while there is room, else news of the commit
    /// index, else at least a sign of life if `heartbeat`.
    pub(super) fn replicate_to(&mut self, to: ServerId, heartbeat: bool, effects: &mut Vec<Effect>) {
        let (log, commit, limits) = (&self.log, self.commit_index, &self.config.limits);
        let Role::Leader(leadership) = &mut self.role else { return };
        let (round, term) = (leadership.reads.round(), self.hard_state.term);
        let progress = leadership.progress.get_mut(&to).expect("every peer has its progress");
        if progress.next() <= log.base().index && !matches!(progress.phase, Phase::Snapshot(_)) {
            return self.begin_snapshot(to, heartbeat, effects);
        }
        let mut said_anything = false;
        while progress.has_room(limits) {
            let prev = log.position(progress.next() - 1).expect("what comes before the next entry is kept");
            let entries =
                log.slice(progress.next(), log.last().index, limits.append_entries_max, limits.append_bytes_max);
            if entries.is_empty() && !matches!(progress.phase, Phase::Probe { .. }) {
                break;
            }
            progress.sent(&entries);
            progress.commit_sent = commit;
            said_anything = true;
            effects.push(Effect::Send { to, message: Message::Append { term, prev, commit, round, entries } });
        }
        let commit_is_news = progress.commit_sent < commit && matches!(progress.phase, Phase::Replicate { .. });
        if !said_anything && (heartbeat || commit_is_news) {
            self.send_heartbeat(to, effects);
        }
    }

    /// An `Append` without entries, after the last one that was sent: should one have been lost,
    /// the follower refuses this one and says where it is.
    pub(super) fn send_heartbeat(&mut self, to: ServerId, effects: &mut Vec<Effect>) {
        let (log, commit, term) = (&self.log, self.commit_index, self.hard_state.term);
        let Role::Leader(leadership) = &mut self.role else { return };
        let round = leadership.reads.round();
        let progress = leadership.progress.get_mut(&to).expect("every peer has its progress");
        let prev = match progress.phase {
            Phase::Snapshot(_) => Position::ZERO,
            // What was compacted since is brought by a snapshot, which the next heartbeat begins.
            _ => log.position(progress.next() - 1).unwrap_or(Position::ZERO),
        };
        progress.commit_sent = commit;
        let entries = Vec::new();
        effects.push(Effect::Send { to, message: Message::Append { term, prev, commit, round, entries } });
    }

    pub(super) fn heartbeat_elapsed(&mut self, effects: &mut Vec<Effect>) {
        if !self.is_leader() {
            return;
        }
        let span = self.config.timing.heartbeat;
        effects.push(Effect::Arm { timer: Timer::Heartbeat, shortest: span, longest: span });
        self.replicate_to_all(true, effects);
        self.resume_snapshots(effects);
    }

    /// A leader that a quorum does not answer steps down, so that its clients look elsewhere.
    pub(super) fn check_quorum_elapsed(&mut self, effects: &mut Vec<Effect>) {
        let quorum = self.config.voters.quorum();
        let Role::Leader(leadership) = &mut self.role else { return };
        let active = 1 + leadership.progress.values().filter(|progress| progress.is_active()).count();
        leadership.progress.values_mut().for_each(|progress| progress.active = false);
        leadership.transfer = None;
        if active < quorum {
            return self.step_down(effects);
        }
        let span = self.config.timing.election_shortest;
        effects.push(Effect::Arm { timer: Timer::CheckQuorum, shortest: span, longest: span });
    }

    pub(super) fn append_response(
        &mut self,
        from: ServerId,
        round: u64,
        counts: bool,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let last_index = self.log.last().index;
        let Role::Leader(leadership) = &mut self.role else { return };
        let progress = leadership.progress.get_mut(&from).expect("every peer has its progress");
        if round > leadership.reads.round() {
            return self.refuse(from, Refusal::BadAcknowledgement, effects);
        }
        progress.active = true;
        progress.acked_round = progress.acked_round.max(round);
        if !counts {
            progress.discount(last_index);
        }
        match outcome {
            Outcome::Matched { index } => self.matched(from, index, effects),
            Outcome::Conflict { refused, hint } => self.conflicted(from, refused, hint, effects),
            Outcome::Stale => {}
        }
        self.confirm_reads(effects);
    }

    fn matched(&mut self, from: ServerId, index: u64, effects: &mut Vec<Effect>) {
        if index > self.log.last().index {
            return self.refuse(from, Refusal::BadAcknowledgement, effects);
        }
        let Role::Leader(leadership) = &mut self.role else { return };
        leadership.progress.get_mut(&from).expect("every peer has its progress").matches(index);
        self.advance_commit(effects);
        self.replicate_to(from, false, effects);
        self.hand_over(effects);
    }

    fn conflicted(&mut self, from: ServerId, refused: u64, hint: Position, effects: &mut Vec<Effect>) {
        let agreed = self.log.last_at_or_below(hint.index, hint.term()).index.min(hint.index);
        let last_index = self.log.last().index;
        let Role::Leader(leadership) = &mut self.role else { return };
        let progress = leadership.progress.get_mut(&from).expect("every peer has its progress");
        progress.lost_what_matched(refused, last_index);
        if progress.is_conflict_news(refused) {
            progress.back_off(refused, agreed);
            self.replicate_to(from, false, effects);
        }
    }

    /// Commits what a quorum holds durably, this server included, once an entry of this term is
    /// among it (§5.4.2).
    pub(super) fn advance_commit(&mut self, effects: &mut Vec<Effect>) {
        let own = self.counted_index();
        let quorum = self.config.voters.quorum();
        let Role::Leader(leadership) = &self.role else { return };
        let mut counted: Vec<u64> = leadership.progress.values().map(Progress::counted).chain([own]).collect();
        counted.sort_unstable_by(|one, other| other.cmp(one));
        let index = counted[quorum - 1];
        if index <= self.commit_index || index < leadership.term_start {
            return;
        }
        assert!(index <= self.log.last().index, "nothing is committed that is not in the leader's log");
        if own > self.durability.durable_index() {
            effects.push(Effect::Observe(Event::PlantTaken(Plant::Zk3911)));
        }
        self.commit_index = index;
        self.replicate_to_all(false, effects);
        self.start_read_round(effects);
        self.step_down_if_counter_ends(effects);
    }

    pub(super) fn transfer_leadership(&mut self, to: ServerId, effects: &mut Vec<Effect>) {
        let known = to != self.config.id && self.config.voters.contains(to);
        if let Some(leadership) = self.leadership_mut().filter(|_| known) {
            leadership.transfer = Some((to, false));
            self.hand_over(effects);
        }
    }

    /// Tells the server that should lead to take over, once it holds all that this leader has.
    fn hand_over(&mut self, effects: &mut Vec<Effect>) {
        let (last_index, term) = (self.log.last().index, self.hard_state.term);
        let Role::Leader(leadership) = &mut self.role else { return };
        let Some((to, told @ false)) = &mut leadership.transfer else { return };
        if leadership.progress.get(to).is_some_and(|progress| progress.counted() == last_index) {
            *told = true;
            effects.push(Effect::Send { to: *to, message: Message::TimeoutNow { term } });
        }
    }
}
