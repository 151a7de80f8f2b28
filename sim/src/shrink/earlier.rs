//! What is left is moved to the beginning of the run, all of it by the same span: nothing happens before
//! the first fault but load, and each run after this one is shorter by as much. It is another run, so
//! that it is tried with the whole span, half of it, and a quarter, in several orders of tasks.

use super::{Shrinker, Strike};
use crate::schedule::{FaultEvent, Schedule, Trigger};

/// The cluster is given so long, in virtual milliseconds, to start and to be loaded.
const STARTED_MS: u64 = 5_000;
/// It is not worth a try to gain less.
const GAIN_MS_MIN: u64 = 1_500;

impl Shrinker<'_> {
    pub(super) fn move_to_the_beginning(&mut self) {
        let strikes = self.seen.strikes.iter().flatten();
        let Some(first_ms) = strikes.map(|strike: &Strike| strike.at_ns / 1_000_000).min() else { return };
        let whole_ms = first_ms.saturating_sub(STARTED_MS);
        for by_ms in [whole_ms, whole_ms / 2, whole_ms / 4].into_iter().filter(|by_ms| *by_ms >= GAIN_MS_MIN) {
            let faults = self.best.faults.iter().map(|fault| earlier(fault, by_ms)).collect();
            let horizon_ms = self.best.horizon_ms.map(|horizon_ms| horizon_ms.saturating_sub(by_ms));
            if self.accept(Schedule { faults, horizon_ms, ..self.best.clone() }, self.scheduling_seeds) {
                return;
            }
        }
    }
}

fn earlier(fault: &FaultEvent, by_ms: u64) -> FaultEvent {
    let mut fault = fault.clone();
    match &mut fault.when {
        Trigger::At { at_ms } => *at_ms = at_ms.saturating_sub(by_ms),
        Trigger::AtNs { at_ns } => *at_ns = at_ns.saturating_sub(by_ms * 1_000_000),
        Trigger::After { from_ms, .. } => *from_ms = from_ms.saturating_sub(by_ms),
    }
    fault
}
