//! How a follower takes the leader's entries (§5.3), and what it says about them.

use crate::base::event::Event;
use crate::base::ids::ServerId;
use crate::base::plants::Plant;

use super::Consensus;
use super::effect::{Effect, Fault};
use super::entry::{Entry, Position};
use super::message::{Message, Outcome};
use super::recovery::Standing;

impl Consensus {
    /// An `Append` of the present term's leader.
    pub(super) fn append(
        &mut self,
        from: ServerId,
        prev: Position,
        commit: u64,
        round: u64,
        entries: Vec<Entry>,
        effects: &mut Vec<Effect>,
    ) {
        if self.is_installing() {
            // The log is about to be replaced: the leader is heard, its entries are not taken.
            return self.answer(from, round, Outcome::Matched { index: 0 }, effects);
        }
        match self.check_prev(from, prev) {
            Err(fault) => return self.halt(fault, effects),
            Ok(Some(hint)) => {
                let outcome = Outcome::Conflict { refused: prev.index, hint };
                return self.answer(from, round, outcome, effects);
            }
            Ok(None) => {}
        }
        let verified = entries.last().map_or(prev.index, |entry| entry.index);
        match self.take_entries(from, entries, effects) {
            Err(fault) => return self.halt(fault, effects),
            Ok(took_any) => self.acknowledge(from, round, verified, took_any, effects),
        }
        self.commit_index = self.commit_index.max(commit.min(verified));
    }

    /// Whether the log holds `prev`; if not, where the two logs may agree. What was compacted away
    /// is committed, and so agrees.
    fn check_prev(&self, from: ServerId, prev: Position) -> Result<Option<Position>, Fault> {
        if prev.index < self.log.base().index || self.log.holds(prev) {
            return Ok(None);
        }
        if prev.index <= self.commit_index {
            return Err(Fault::CommittedContradicted { from, index: prev.index });
        }
        let committed = self.log.position(self.commit_index).expect("what is committed is in the log");
        let hint = self.log.last_at_or_below(prev.index - 1, prev.term());
        Ok(Some(if hint.index > committed.index { hint } else { committed }))
    }

    /// Appends what is new, after removing what contradicts it. True if anything was appended.
    fn take_entries(&mut self, from: ServerId, entries: Vec<Entry>, effects: &mut Vec<Effect>) -> Result<bool, Fault> {
        let known = entries.iter().take_while(|entry| self.has(entry.position())).count();
        let mut fresh = entries.into_iter().skip(known).peekable();
        let Some(first) = fresh.peek().map(|entry| entry.index) else { return Ok(false) };
        if first <= self.commit_index {
            return Err(Fault::CommittedContradicted { from, index: first });
        }
        if first <= self.log.last().index && self.plants().is(Plant::Zk2845) {
            effects.push(Effect::Observe(Event::PlantTaken(Plant::Zk2845)));
            while fresh.next_if(|entry| entry.index <= self.log.last().index).is_some() {}
        } else if first <= self.log.last().index {
            assert!(first > self.applied_index, "what was applied is never removed");
            self.log.truncate_from(first);
            self.durability.stage_truncation(first);
        }
        for entry in fresh {
            self.durability.stage_entry(entry.clone());
            self.log.append(entry);
        }
        Ok(true)
    }

    fn has(&self, position: Position) -> bool {
        position.index < self.log.base().index || self.log.holds(position)
    }

    /// New entries are acknowledged once they are durable; the rest at once, as far as it is. A
    /// heartbeat is thus never kept waiting by a slow disk.
    fn acknowledge(&mut self, to: ServerId, round: u64, verified: u64, took_any: bool, effects: &mut Vec<Effect>) {
        if took_any && !self.plants().is(Plant::Zk3911) {
            let message = self.append_response_message(round, Outcome::Matched { index: verified });
            return self.send_when_durable(to, message, effects);
        }
        let index = verified.min(self.counted_index());
        if index > self.durability.durable_index() {
            effects.push(Effect::Observe(Event::PlantTaken(Plant::Zk3911)));
        }
        self.answer(to, round, Outcome::Matched { index }, effects);
    }

    /// The last index that this server may be counted for: the last durable one. ZOOKEEPER-3911
    /// and 4646 counted what was only in memory, so that a crash could lose what was committed.
    pub(super) fn counted_index(&self) -> u64 {
        if self.plants().is(Plant::Zk3911) {
            return self.log.last().index;
        }
        self.durability.durable_index()
    }

    fn answer(&self, to: ServerId, round: u64, outcome: Outcome, effects: &mut Vec<Effect>) {
        effects.push(Effect::Send { to, message: self.append_response_message(round, outcome) });
    }

    pub(super) fn append_response_message(&self, round: u64, outcome: Outcome) -> Message {
        let (term, counts) = (self.hard_state.term, self.standing == Standing::Member);
        Message::AppendResponse { term, round, counts, outcome }
    }
}
