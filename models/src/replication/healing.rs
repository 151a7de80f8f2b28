//! Liveness, as reachability: whatever has happened, once nothing more goes wrong a full in-sync set
//! is reached, whose members hold the same log, and the leader has committed all of it.
//!
//! From a state, one schedule is run that is the same each time: everything on its way is delivered,
//! those that are down start, those without a session register, and when nothing is left to do the
//! leader looks for members that lag and each follower fetches again. It is bounded. That some schedule
//! leads there does not show that all do; that it must be one without further faults is the claim.
//!
//! Running it costs as much as visiting some fifty states, so it is run from a sample: the states whose
//! hash is divisible by [`HEALED_ONE_IN`], the same ones in every exploration.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::control::Fate;
use super::state::{BROKERS, State, index, offset};
use super::world::{Action, World};

/// How many states there are to one that is healed, within named bounds.
const HEALED_ONE_IN: u64 = 64;
/// The same within the bounds of a run that names none, which have a hundred times as many states.
const HEALED_ONE_IN_MANY: u64 = 1024;
/// Checks for members that lag, each with everything that it leads to.
const ROUNDS_MAX: usize = 8;
/// Steps between two such checks.
const STEPS_MAX: usize = 300;

impl World {
    /// Whether the state is in the sample.
    pub fn is_sampled(&self, state: &State) -> bool {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        let one_in = if self.named { HEALED_ONE_IN } else { HEALED_ONE_IN_MANY };
        hasher.finish().is_multiple_of(one_in)
    }

    /// Whether healing leads from `state` to a full in-sync set.
    pub fn heals(&self, state: &State) -> bool {
        let mut state = state.clone();
        for _ in 0..ROUNDS_MAX {
            if !self.settle(&mut state) {
                return false;
            }
            if state.is_whole() {
                return true;
            }
            self.check_and_fetch(&mut state);
        }
        false
    }

    /// Delivers everything; false if that never ends.
    fn settle(&self, state: &mut State) -> bool {
        for _ in 0..STEPS_MAX {
            let Some(action) = state.due() else { return true };
            self.apply(state, action);
        }
        false
    }

    /// `replica.lag.time.max.ms` pass: leaders look for members that lag, and send again what they have
    /// proposed; followers fetch.
    fn check_and_fetch(&self, state: &mut State) {
        for broker in 0..BROKERS {
            if state.brokers[broker].replica.leads() {
                self.apply(state, Action::LagCheck(broker));
            }
        }
        self.fetch_all(state);
        (0..BROKERS).for_each(|broker| self.apply(state, Action::Propose(broker)));
    }

    fn fetch_all(&self, state: &mut State) {
        for broker in 0..BROKERS {
            for action in [Action::Send(broker), Action::Process(broker), Action::Answer(broker)] {
                self.apply(state, action);
            }
        }
    }
}

impl State {
    /// What is next. Nobody fetches before everything else is done.
    fn due(&self) -> Option<Action> {
        let of = |due: fn(&State, usize) -> Option<Action>| (0..BROKERS).find_map(|broker| due(self, broker));
        of(State::due_of).or_else(|| self.due_of_controllers()).or_else(|| of(State::due_fetch))
    }

    fn due_of_controllers(&self) -> Option<Action> {
        if self.deposed.is_some() {
            return Some(Action::LateWrite);
        }
        self.write.is_some().then_some(Action::Write(Fate::Told))
    }

    fn due_of(&self, broker: usize) -> Option<Action> {
        let owner = &self.brokers[broker];
        let unsynced = owner.replica.log_end() > owner.replica.counted_end();
        let due = [
            (!owner.up, Action::Start(broker)),
            (!owner.registered, Action::Register(broker)),
            (!owner.states.is_empty(), Action::Learn(broker)),
            (!owner.persisting.is_empty(), Action::Persist(broker)),
            (unsynced, Action::Sync(broker)),
            (owner.answer.is_some(), Action::Answer(broker)),
            (owner.request.is_some(), Action::Process(broker)),
            (owner.proposal.is_some(), Action::Alter(broker)),
        ];
        due.into_iter().find(|(is_due, _)| *is_due).map(|(_, action)| action)
    }

    /// A proposal, or a fetch that tells something; the others are left to [`World::check_and_fetch`].
    fn due_fetch(&self, broker: usize) -> Option<Action> {
        self.has_news(broker).then_some(Action::Send(broker))
    }

    /// Everyone is in sync as it runs now, holds the same, and all of it is committed.
    fn is_whole(&self) -> bool {
        let Some(leader) = self.tree.leader.map(index) else { return false };
        let (log, leader) = (&self.brokers[leader].log, &self.brokers[leader].replica);
        let in_sync = &self.tree.in_sync;
        leader.leads()
            && in_sync.len() == BROKERS
            && in_sync.iter().all(|member| self.brokers[index(member.broker)].runs(member))
            && self.brokers.iter().all(|broker| broker.log == *log)
            && log.starts_with(&self.promised)
            && leader.high_watermark() == offset(log.len())
    }
}
