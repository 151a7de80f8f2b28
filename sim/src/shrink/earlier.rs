//! What is left is moved to the beginning of the run, all of it by the same span: nothing happens before
//! the first fault but load, and each run after this one is shorter by as much. It is another run, so
//! that it is tried with the whole span, half of it, and a quarter, in several orders of tasks: with the
//! nodes that were hit, and then with those that the drawn roles mean by then.

use super::{Shrinker, Strike};
use crate::schedule::{FaultEvent, Schedule, Trigger};

/// The cluster is given so long, in virtual milliseconds, to start and to be loaded.
const STARTED_MS: u64 = 5_000;
/// It is not worth a try to gain less.
const GAIN_MS_MIN: u64 = 1_500;

impl Shrinker<'_> {
    pub(super) fn move_to_the_beginning(&mut self) {
        let places = self.in_order_of_time();
        let strikes = self.seen.strikes.iter().flatten();
        let Some(first_ms) = strikes.map(|strike: &Strike| strike.at_ns / 1_000_000).min() else { return };
        let whole_ms = first_ms.saturating_sub(STARTED_MS);
        [whole_ms, whole_ms / 2, whole_ms / 4]
            .into_iter()
            .any(|by_ms| self.accept_earlier(&places, by_ms, self.scheduling_seeds));
    }

    /// Whether the best still fails with the faults at `places` alone, at the beginning of a run that is
    /// as much shorter.
    pub(super) fn accept_early(&mut self, places: &[usize], tries: u64) -> bool {
        let strikes = places.iter().filter_map(|place| self.seen.strikes.get(*place)?.as_ref());
        let first_ns = strikes.map(|strike| strike.at_ns).min().or(self.seen.first_ns.get(&self.property).copied());
        let by_ms = (first_ns.unwrap_or(0) / 1_000_000).saturating_sub(STARTED_MS);
        self.best.horizon_ms.is_some() && self.accept_earlier(places, by_ms, tries)
    }

    fn accept_earlier(&mut self, places: &[usize], by_ms: u64, tries: u64) -> bool {
        let horizon_ms = self.best.horizon_ms.map(|horizon_ms| horizon_ms.saturating_sub(by_ms));
        by_ms >= GAIN_MS_MIN
            && (0..tries).any(|nth| {
                let faults = places.iter().map(|place| self.earlier(*place, by_ms, nth % 2 == 1)).collect();
                // TOML's integers are signed: stay within them.
                let scheduling_seed = self.best.scheduling_seed.wrapping_add(nth) & i64::MAX as u64;
                self.accept(Schedule { faults, horizon_ms, scheduling_seed, ..self.best.clone() }, 1)
            })
    }

    fn earlier(&self, place: usize, by_ms: u64, as_drawn: bool) -> FaultEvent {
        let mut fault = self.best.faults[place].clone();
        match &mut fault.when {
            Trigger::At { at_ms } => *at_ms = at_ms.saturating_sub(by_ms),
            Trigger::AtNs { at_ns } => *at_ns = at_ns.saturating_sub(by_ms * 1_000_000),
            Trigger::After { .. } if fault.behind.is_some() => {}
            Trigger::After { from_ms, .. } => *from_ms = from_ms.saturating_sub(by_ms),
        }
        let drawn = self.drawn.faults.iter().find(|drawn| as_drawn && drawn.id == fault.id);
        fault.action = drawn.map_or(fault.action, |drawn| drawn.action.clone());
        fault
    }
}
