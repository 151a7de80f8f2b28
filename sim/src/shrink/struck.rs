//! What struck before the violation: whatever came later, or not at all, had no part in it. Leaving that
//! out gives the same run up to the violation, because no fault draws what another one would have.

use super::Shrinker;
use crate::scenario::{Phases, World};
use crate::schedule::Schedule;

/// The phase of faults lasts so many virtual milliseconds longer than the last of them.
const AFTER_LAST_MS: u64 = 1_000;

impl Shrinker<'_> {
    pub(super) fn keep_what_struck(&mut self) {
        let first_ns = self.seen.first_ns.get(&self.property).copied().unwrap_or(u64::MAX);
        let before = |place: &usize| {
            let strike = self.seen.strikes.get(*place).and_then(Option::as_ref);
            strike.is_some_and(|strike| strike.at_ns <= first_ns)
        };
        let places: Vec<usize> = self.in_order_of_time().into_iter().filter(before).collect();
        self.accept_places(&places, 1);
        if !self.seen.ended_there {
            self.cut();
            self.shorten_phases();
        }
    }

    /// What is not judged after every event may show all the same when the run is cut.
    fn cut(&mut self) {
        let whole_ms = self.seen.lasted_ns / 1_000_000;
        for quarters in 1..4 {
            if self.accept(Schedule { horizon_ms: Some(whole_ms * quarters / 4), ..self.best.clone() }, 1) {
                return;
            }
        }
    }

    /// What only the end of a run shows, shows sooner when nothing is waited for after the last fault.
    pub(super) fn shorten_phases(&mut self) {
        let Some(world) = self.best.world.clone().filter(|_| self.best.horizon_ms.is_none()) else { return };
        let ends = self.best.faults.iter().zip(&self.seen.strikes).filter_map(|(fault, strike)| {
            Some(strike.as_ref()?.at_ns / 1_000_000 + fault.for_ms.unwrap_or(0) + AFTER_LAST_MS)
        });
        let ends_ms = ends.max().unwrap_or(0);
        let Phases { warm_up_ms, faults_ms, .. } = world.phases;
        let needed_ms = ends_ms.saturating_sub(warm_up_ms);
        if needed_ms < faults_ms {
            let phases = Phases { faults_ms: needed_ms, ..world.phases };
            let world = Some(World { phases, ..world });
            self.accept(Schedule { world, ..self.best.clone() }, self.scheduling_seeds);
        }
    }
}
