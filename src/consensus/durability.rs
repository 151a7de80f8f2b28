//! What is durable, what is on its way there, and what waits for it.
//!
//! A step stages its changes of term, vote and log; at its end they become one persist. Messages
//! that depend on them wait beside that persist. Since persists complete in order, whatever waits
//! for one may also rely on all before it.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use crate::base::ids::ServerId;

use super::effect::{Effect, PersistOp};
use super::entry::{Entry, HardState, Position};
use super::input::PersistId;
use super::message::{Message, Outcome};
use super::{Consensus, Role};

/// Something that waits until a persist is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Waiting {
    /// This may be sent.
    Send(ServerId, Message),
    /// A candidate's vote for itself counts.
    OwnVote,
}

/// A persist that was handed out and not yet reported as durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Outstanding {
    /// The last index of the *present* log that is durable once this is.
    durable_after: u64,
    waiting: Vec<Waiting>,
}

/// The changes of the step under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Staged {
    hard_state: Option<HardState>,
    reset_to: Option<Position>,
    truncate_from: Option<u64>,
    entries: Vec<Entry>,
    waiting: Vec<Waiting>,
}

impl Staged {
    fn changes_anything(&self) -> bool {
        let log_changes = self.reset_to.is_some() || self.truncate_from.is_some() || !self.entries.is_empty();
        self.hard_state.is_some() || log_changes
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Durability {
    /// How many persists are durable, which is also the id of the last one.
    completed: u64,
    durable_index: u64,
    outstanding: VecDeque<Outstanding>,
    staged: Staged,
}

/// Ids of persists are names: two servers that differ in nothing else behave alike, so the count
/// of persists that are done is left out of what a model checker compares.
impl Hash for Durability {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.durable_index.hash(state);
        self.outstanding.hash(state);
        self.staged.hash(state);
    }
}

impl Durability {
    /// All of a log that ends at `durable_index` is durable.
    pub(super) fn new(durable_index: u64) -> Durability {
        Durability { completed: 0, durable_index, outstanding: VecDeque::new(), staged: Staged::default() }
    }

    pub(super) fn durable_index(&self) -> u64 {
        self.durable_index
    }

    /// Whether nothing is staged.
    pub(super) fn is_flushed(&self) -> bool {
        self.staged == Staged::default()
    }

    pub(super) fn stage_hard_state(&mut self, hard_state: HardState) {
        self.staged.hard_state = Some(hard_state);
    }

    pub(super) fn stage_entry(&mut self, entry: Entry) {
        self.staged.entries.push(entry);
    }

    /// The log no longer holds `from` and above. What of it was on its way to be durable does not
    /// count any more.
    pub(super) fn stage_truncation(&mut self, from: u64) {
        assert!(self.staged.entries.is_empty(), "a step truncates before it appends");
        let kept = from - 1;
        self.staged.truncate_from = Some(self.staged.truncate_from.map_or(from, |staged| staged.min(from)));
        self.durable_index = self.durable_index.min(kept);
        for outstanding in &mut self.outstanding {
            outstanding.durable_after = outstanding.durable_after.min(kept);
        }
    }

    /// The log was replaced by a durable snapshot.
    pub(super) fn stage_reset(&mut self, to: Position) {
        assert!(!self.staged.changes_anything(), "a reset is a step of its own");
        self.staged.reset_to = Some(to);
        self.durable_index = to.index;
        for outstanding in &mut self.outstanding {
            outstanding.durable_after = to.index;
        }
    }

    /// Forgets what waits, because its term is over.
    pub(super) fn forget_waiting(&mut self) {
        self.staged.waiting.clear();
        for outstanding in &mut self.outstanding {
            outstanding.waiting.clear();
        }
    }

    /// Keeps `waiting` until all that changed so far is durable, or gives it back if all is.
    fn wait(&mut self, waiting: Waiting) -> Option<Waiting> {
        if self.staged.changes_anything() {
            self.staged.waiting.push(waiting);
        } else if let Some(last) = self.outstanding.back_mut() {
            last.waiting.push(waiting);
        } else {
            return Some(waiting);
        }
        None
    }

    /// Turns what is staged into one persist. `last_index` is the log's.
    fn flush(&mut self, last_index: u64) -> Option<PersistOp> {
        let staged = std::mem::take(&mut self.staged);
        if !staged.changes_anything() {
            assert!(staged.waiting.is_empty(), "nothing waits for a persist that is not made");
            return None;
        }
        self.outstanding.push_back(Outstanding { durable_after: last_index, waiting: staged.waiting });
        let id = PersistId(self.completed + self.outstanding.len() as u64);
        let Staged { hard_state, reset_to, truncate_from, entries, .. } = staged;
        Some(PersistOp { id, hard_state, reset_to, truncate_from, entries })
    }

    /// All persists up to `id` are durable. Gives back what waited for them. A report of what is
    /// already known is nothing new.
    fn complete(&mut self, id: PersistId) -> Vec<Waiting> {
        let count = id.0.saturating_sub(self.completed) as usize;
        assert!(count <= self.outstanding.len(), "only a persist that was handed out is reported as durable");
        let mut released = Vec::new();
        for done in self.outstanding.drain(..count) {
            self.durable_index = done.durable_after;
            released.extend(done.waiting);
        }
        self.completed += count as u64;
        released
    }
}

impl Consensus {
    /// Sends `message` once all that this server has changed so far is durable.
    pub(super) fn send_when_durable(&mut self, to: ServerId, message: Message, effects: &mut Vec<Effect>) {
        if let Some(Waiting::Send(to, message)) = self.durability.wait(Waiting::Send(to, message)) {
            effects.push(Effect::Send { to, message });
        }
    }

    /// Counts this candidate's own vote once it is durable.
    pub(super) fn count_own_vote_when_durable(&mut self) {
        let at_once = self.durability.wait(Waiting::OwnVote);
        assert!(at_once.is_none(), "a new term is staged before its vote is counted");
    }

    pub(super) fn flush_persist(&mut self, effects: &mut Vec<Effect>) {
        if let Some(op) = self.durability.flush(self.log.last().index) {
            effects.push(Effect::Persist(op));
        }
    }

    pub(super) fn persisted(&mut self, id: PersistId, effects: &mut Vec<Effect>) {
        let released = self.durability.complete(id);
        for (at, waiting) in released.iter().enumerate() {
            match waiting {
                Waiting::Send(to, message) if !is_superseded(*to, message, &released[at + 1..]) => {
                    effects.push(Effect::Send { to: *to, message: message.clone() });
                }
                Waiting::Send(..) => {}
                Waiting::OwnVote => self.own_vote(effects),
            }
        }
        if matches!(self.role, Role::Leader(_)) {
            self.advance_commit(effects);
        }
    }
}

/// Whether a later message of the same batch acknowledges all that `message` does.
fn is_superseded(to: ServerId, message: &Message, later: &[Waiting]) -> bool {
    let acknowledges = |message: &Message| match message {
        Message::AppendResponse { outcome: Outcome::Matched { index }, round, .. } => Some((*index, *round)),
        _ => None,
    };
    let Some((index, round)) = acknowledges(message) else { return false };
    later.iter().any(|waiting| match waiting {
        Waiting::Send(other, message) if *other == to => {
            acknowledges(message).is_some_and(|(later, later_round)| later >= index && later_round >= round)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Term;

    fn send() -> Waiting {
        Waiting::Send(ServerId(1), Message::TimeoutNow { term: Term(1) })
    }

    #[test]
    fn a_truncation_by_itself_is_persisted() {
        let mut durability = Durability::new(5);
        durability.stage_truncation(4);
        let op = durability.flush(3).expect("something changed");
        assert_eq!((op.truncate_from, op.reset_to, op.entries), (Some(4), None, Vec::new()));
        assert_eq!(durability.durable_index(), 3);
    }

    #[test]
    fn with_a_term_goes_what_waits_for_earlier_steps_and_for_the_one_under_way() {
        let mut durability = Durability::new(0);
        durability.stage_hard_state(HardState::default());
        assert!(durability.wait(send()).is_none());
        durability.flush(0).expect("something changed");
        durability.stage_hard_state(HardState::default());
        assert!(durability.wait(send()).is_none());
        durability.forget_waiting();
        let last = durability.flush(0).expect("something changed").id;
        assert!(durability.complete(last).is_empty());
    }
}
