//! Liveness, as reachability: whatever has happened, once nothing more goes wrong a leader is reached
//! whose log is everywhere and committed.
//!
//! From a state, one schedule is run that is the same each time: disks finish, messages arrive, leaders
//! are heard; if that is not enough, one election timer after the other elapses. It is bounded. It is run
//! from a sample: the states whose hash is divisible by [`HEALED_ONE_IN`], the same ones in every
//! exploration.

use std::hash::{DefaultHasher, Hash, Hasher};

use wyrdlog::consensus::Timer;

use super::world::World;

/// How many states there are to one that is healed.
pub const HEALED_ONE_IN: u64 = 64;
/// Timers that elapse, each with everything that it leads to.
const ROUNDS_MAX: usize = 9;
/// Messages and persists between two timers.
const STEPS_MAX: usize = 1_000;

/// Whether the state is in the sample.
pub fn is_sampled(world: &World) -> bool {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish().is_multiple_of(HEALED_ONE_IN)
}

impl World {
    /// Whether healing leads to a leader whose log is everywhere and committed.
    pub fn heals(&self) -> bool {
        let mut world = self.clone();
        for round in 0..ROUNDS_MAX {
            if !world.settle() {
                return false;
            }
            world.elapse_where_armed(Timer::Heartbeat);
            if !world.settle() {
                return false;
            }
            if world.is_whole() {
                return true;
            }
            let next = round % world.servers.len();
            if world.servers[next].server.timers.contains(&Timer::Election) {
                world.elapse(next, Timer::Election);
            }
        }
        false
    }

    /// Finishes persists and delivers messages; false if that never ends.
    pub fn settle(&mut self) -> bool {
        for _ in 0..STEPS_MAX {
            let persist = (0..self.servers.len()).find(|at| !self.servers[*at].server.persisting.is_empty());
            match (persist, self.network.keys().next().copied()) {
                (Some(at), _) => self.persist(at),
                (None, Some(link)) => self.deliver(link, 0),
                (None, None) => return true,
            }
        }
        false
    }

    fn elapse_where_armed(&mut self, timer: Timer) {
        for at in 0..self.servers.len() {
            if self.servers[at].server.timers.contains(&timer) {
                self.elapse(at, timer);
            }
        }
    }

    fn is_whole(&self) -> bool {
        let Some(leader) = self.cores().find(|core| core.is_leader()) else { return false };
        let (term, last) = (leader.term(), leader.last_position());
        self.cores()
            .all(|core| core.term() == term && core.last_position() == last && core.commit_index() == last.index)
    }
}
