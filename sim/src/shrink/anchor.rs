//! Triggers that count happenings move when an earlier fault goes, and roles move with elections. What
//! struck is tied to the instant at which it did and to the nodes that it hit: the same run, which now
//! stands still while parts of it are taken away.
//!
//! A fault that strikes in the very step in which something happens cannot be tied to an instant, since
//! the other tasks of that instant would run before it. It waits for the first such happening from that
//! millisecond on. What struck since its time was over is tied to its instant like all others.

use super::{Shrinker, Strike};
use crate::schedule::{FaultEvent, Schedule, Trigger};

impl Shrinker<'_> {
    pub(super) fn anchor(&mut self) {
        for with_targets in [true, false] {
            let places = 0..self.best.faults.len();
            let anchored: Vec<FaultEvent> = places.map(|place| self.anchored(place, with_targets)).collect();
            if anchored == self.best.faults {
                return;
            }
            if self.accept(Schedule { faults: anchored, ..self.best.clone() }, 1) {
                return;
            }
        }
        let mut place = 0;
        while place < self.best.faults.len() {
            let mut faults = self.best.faults.clone();
            faults[place] = self.anchored(place, true);
            if faults != self.best.faults {
                self.accept(Schedule { faults, ..self.best.clone() }, 1);
            }
            place += 1;
        }
    }

    fn anchored(&self, place: usize, with_targets: bool) -> FaultEvent {
        let fault = &self.best.faults[place];
        match self.seen.strikes.get(place) {
            Some(Some(strike)) => anchored(fault, strike, with_targets),
            _ => fault.clone(),
        }
    }
}

fn anchored(fault: &FaultEvent, strike: &Strike, with_targets: bool) -> FaultEvent {
    let when = match &fault.when {
        Trigger::After { happening, partition, delay_ms: 0, within_ms, .. } if !is_late(*within_ms, strike) => {
            Trigger::After {
                happening: *happening,
                partition: partition.clone(),
                nth: 1,
                from_ms: strike.at_ns / 1_000_000,
                delay_ms: 0,
                within_ms: None,
            }
        }
        Trigger::After { .. } => Trigger::AtNs { at_ns: strike.at_ns },
        at => at.clone(),
    };
    let mut action = fault.action.clone();
    if with_targets && !strike.targets.is_empty() {
        action.aim_at(&strike.targets);
    }
    FaultEvent { behind: None, when, action, ..fault.clone() }
}

/// Whether it may have struck without what it waited for: its time is counted in milliseconds from one, and what
/// happens is seldom at one.
fn is_late(within_ms: Option<u64>, strike: &Strike) -> bool {
    within_ms.is_some() && strike.at_ns.is_multiple_of(1_000_000)
}
