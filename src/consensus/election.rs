//! Who leads: terms, pre-votes, votes, and the timer that calls for them (§3.4, §9.6, §4.2.3).

use std::collections::BTreeSet;

use crate::base::event::{CoordinatorEvent, Event};
use crate::base::ids::{ServerId, Term};
use crate::base::plants::Plant;

use super::effect::{Effect, Fault};
use super::entry::{HardState, Position, TERM_MAX};
use super::input::Timer;
use super::leader::Leadership;
use super::message::{Message, Outcome};
use super::recovery::Standing;
use super::{Consensus, Role};

/// Who said yes so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ballot {
    granted: BTreeSet<ServerId>,
}

impl Consensus {
    pub(super) fn start(&mut self, effects: &mut Vec<Effect>) {
        if self.plants().is(Plant::Keeper113654) && self.hard_state.term > Term(0) {
            effects.push(Effect::Observe(Event::PlantTaken(Plant::Keeper113654)));
        }
        let HardState { term, voted_for } = self.hard_state;
        self.observe(CoordinatorEvent::Recovered { term, voted_for, last_index: self.log.last().index }, effects);
        self.arm_election(effects);
    }

    pub(super) fn arm_election(&self, effects: &mut Vec<Effect>) {
        let (shortest, longest) = (self.config.timing.election_shortest, self.config.timing.election_longest);
        effects.push(Effect::Arm { timer: Timer::Election, shortest, longest });
    }

    pub(super) fn election_elapsed(&mut self, effects: &mut Vec<Effect>) {
        if self.is_leader() {
            return;
        }
        self.lose_sight_of_leader(effects);
        self.arm_election(effects);
        if self.standing == Standing::Blank || self.is_installing() {
            return;
        }
        self.call_pre_vote(effects);
    }

    /// The leader was silent for too long, or is another one now: its answers will not come.
    fn lose_sight_of_leader(&mut self, effects: &mut Vec<Effect>) {
        self.leader = None;
        self.fail_follower_reads(effects);
    }

    /// Asks whether an election could be won. Changes nothing for anyone, so that a server that
    /// was cut off does not come back with a higher term and depose a leader that serves well.
    fn call_pre_vote(&mut self, effects: &mut Vec<Effect>) {
        self.role = Role::PreCandidate(Ballot { granted: [self.config.id].into() });
        if self.config.voters.quorum() == 1 {
            return self.call_vote(false, effects);
        }
        let (term, last) = (Term(self.hard_state.term.0 + 1), self.log.last());
        if term > TERM_MAX {
            return self.halt(Fault::TermsExhausted, effects);
        }
        for to in self.config.voters.others(self.config.id) {
            effects.push(Effect::Send { to, message: Message::PreVote { term, last } });
        }
    }

    /// Enters the next term as a candidate. Neither its own vote nor its call for others' takes
    /// effect before term and vote are durable.
    fn call_vote(&mut self, transfer: bool, effects: &mut Vec<Effect>) {
        assert!(self.standing == Standing::Member, "a blank server calls no election");
        let term = Term(self.hard_state.term.0 + 1);
        if term > TERM_MAX {
            return self.halt(Fault::TermsExhausted, effects);
        }
        self.enter_term(term);
        self.vote_for(self.config.id);
        self.role = Role::Candidate(Ballot::default());
        self.count_own_vote_when_durable();
        let last = self.log.last();
        for to in self.config.voters.clone().others(self.config.id) {
            self.send_when_durable(to, Message::RequestVote { term, last, transfer }, effects);
        }
    }

    fn enter_term(&mut self, term: Term) {
        assert!(term > self.hard_state.term, "terms only grow");
        self.hard_state = HardState { term, voted_for: None };
        self.durability.stage_hard_state(self.hard_state);
        self.durability.forget_waiting();
    }

    fn vote_for(&mut self, candidate: ServerId) {
        assert!(self.standing == Standing::Member, "a blank server does not vote");
        assert!(self.hard_state.voted_for.is_none(), "one vote a term");
        self.hard_state.voted_for = Some(candidate);
        self.durability.stage_hard_state(self.hard_state);
    }

    /// Compares the message's term with ours. False if there is nothing more to do about it.
    pub(super) fn meet_term(&mut self, from: ServerId, message: &Message, effects: &mut Vec<Effect>) -> bool {
        let (term, own) = (message.term(), self.hard_state.term);
        match message {
            Message::PreVote { .. } => return true,
            Message::PreVoteResponse { granted: true, .. } => return true,
            Message::RequestVote { transfer, .. } if term > own && !transfer && self.leader.is_some() => {
                return false; // A leader that is heard is not deposed (§4.2.3).
            }
            _ => {}
        }
        if term > own {
            self.follow_term(term, effects);
        } else if term < own {
            self.answer_bygone_term(from, message, effects);
            return false;
        }
        !message.is_from_leader() || self.follow_leader(from, effects)
    }

    fn follow_term(&mut self, term: Term, effects: &mut Vec<Effect>) {
        self.enter_term(term);
        self.lose_sight_of_leader(effects);
        self.step_down(effects);
    }

    /// Whoever is behind learns of the present term from the answer.
    fn answer_bygone_term(&mut self, to: ServerId, message: &Message, effects: &mut Vec<Effect>) {
        let (term, counts) = (self.hard_state.term, self.standing == Standing::Member);
        match message {
            Message::Append { round, .. } | Message::Snapshot { round, .. } => {
                let message = Message::AppendResponse { term, round: *round, counts, outcome: Outcome::Stale };
                self.send_when_durable(to, message, effects);
            }
            Message::RequestVote { .. } => {
                self.send_when_durable(to, Message::VoteResponse { term, granted: false }, effects);
            }
            _ => {}
        }
    }

    /// `from` speaks as the leader of the present term. False if that cannot be.
    fn follow_leader(&mut self, from: ServerId, effects: &mut Vec<Effect>) -> bool {
        if let Some(known) = self.leader.filter(|known| *known != from) {
            self.halt(Fault::TwoLeaders { term: self.hard_state.term, one: known, other: from }, effects);
            return false;
        }
        assert!(!self.is_leader(), "a leader knows itself as the leader");
        if self.leader.is_none() {
            self.leader = Some(from);
            effects.push(Effect::LeaderKnown { term: self.hard_state.term, leader: from });
        }
        self.role = Role::Follower;
        self.arm_election(effects);
        true
    }

    /// Becomes a follower, of nobody yet. Does nothing to one that is.
    pub(super) fn step_down(&mut self, effects: &mut Vec<Effect>) {
        let Role::Leader(leadership) = std::mem::replace(&mut self.role, Role::Follower) else { return };
        self.leader = None;
        let (term, server) = (self.hard_state.term, self.config.id);
        leadership.fail_reads(effects);
        effects.push(Effect::Disarm(Timer::Heartbeat));
        effects.push(Effect::Disarm(Timer::CheckQuorum));
        self.arm_election(effects);
        effects.push(Effect::SteppedDown { term });
        self.observe(CoordinatorEvent::SteppedDown { server, term }, effects);
    }

    pub(super) fn pre_vote(&mut self, from: ServerId, term: Term, last: Position, effects: &mut Vec<Effect>) {
        let is_later = term > self.hard_state.term && self.standing == Standing::Member;
        let granted = is_later && self.leader.is_none() && last.is_up_to_date_with(self.log.last());
        let term = if granted { term } else { self.hard_state.term };
        effects.push(Effect::Send { to: from, message: Message::PreVoteResponse { term, granted } });
    }

    pub(super) fn pre_vote_response(&mut self, from: ServerId, term: Term, granted: bool, effects: &mut Vec<Effect>) {
        let asked = Term(self.hard_state.term.0 + 1);
        let quorum = self.config.voters.quorum();
        let Role::PreCandidate(ballot) = &mut self.role else { return };
        if granted && term == asked {
            ballot.granted.insert(from);
            if ballot.granted.len() >= quorum {
                self.arm_election(effects);
                self.call_vote(false, effects);
            }
        }
    }

    pub(super) fn request_vote(&mut self, from: ServerId, last: Position, effects: &mut Vec<Effect>) {
        let free = self.hard_state.voted_for.is_none_or(|candidate| candidate == from);
        let may_vote = self.standing == Standing::Member && !self.is_leader();
        let granted = may_vote && free && last.is_up_to_date_with(self.log.last());
        if granted && self.hard_state.voted_for.is_none() {
            self.vote_for(from);
            self.arm_election(effects);
        }
        let term = self.hard_state.term;
        self.send_when_durable(from, Message::VoteResponse { term, granted }, effects);
    }

    pub(super) fn vote_response(&mut self, from: ServerId, granted: bool, effects: &mut Vec<Effect>) {
        if granted {
            self.count_vote(from, effects);
        }
    }

    pub(super) fn own_vote(&mut self, effects: &mut Vec<Effect>) {
        self.count_vote(self.config.id, effects);
    }

    fn count_vote(&mut self, from: ServerId, effects: &mut Vec<Effect>) {
        let quorum = self.config.voters.quorum();
        let Role::Candidate(ballot) = &mut self.role else { return };
        ballot.granted.insert(from);
        let own = ballot.granted.contains(&self.config.id);
        if own && ballot.granted.len() >= quorum {
            self.become_leader(effects);
        }
    }

    fn become_leader(&mut self, effects: &mut Vec<Effect>) {
        let (term, server) = (self.hard_state.term, self.config.id);
        assert!(self.log.last().term() < term, "no entry of a term is older than its leader");
        assert!(!self.is_installing(), "a server does not lead while a snapshot replaces its state");
        self.incoming = None;
        self.leader = Some(server);
        self.role = Role::Leader(Box::new(Leadership::new(&self.config, self.log.last().index)));
        effects.push(Effect::Disarm(Timer::Election));
        let (heartbeat, check) = (self.config.timing.heartbeat, self.config.timing.election_shortest);
        effects.push(Effect::Arm { timer: Timer::Heartbeat, shortest: heartbeat, longest: heartbeat });
        effects.push(Effect::Arm { timer: Timer::CheckQuorum, shortest: check, longest: check });
        effects.push(Effect::BecameLeader { term });
        self.observe(CoordinatorEvent::Elected { server, term }, effects);
        self.fail_follower_reads(effects);
        self.append_no_op(effects);
    }

    /// The leader wants this server to take over.
    pub(super) fn timeout_now(&mut self, _from: ServerId, effects: &mut Vec<Effect>) {
        if self.standing == Standing::Member && !self.is_installing() {
            self.lose_sight_of_leader(effects);
            self.arm_election(effects);
            self.call_vote(true, effects);
        }
    }
}
