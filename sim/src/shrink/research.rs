//! Where leaving out leads nowhere, the run is an accident that few faults would bring about more simply:
//! one to three faults are drawn anew, of the kinds, targets and spans that are left, early and close to
//! each other, for a short run in another order of tasks. Later, some are in place of that the commonest:
//! a node that stops, pauses, is cut off or slow. The plant and the property stay, and so does everything
//! else of the schedule.

use super::{FEW, SHARE_OF_RESEARCH, Shrinker};
use crate::draw::Draw;
use crate::schedule::{Action, FaultEvent, Happening, Schedule, Shape, Target, Trigger};

/// The first drawn fault strikes in this span of the run, in virtual milliseconds.
const FIRST_MS: (u64, u64) = (3_000, 7_000);
/// A run is at first cut so long after its last fault, and after each round so much later.
const ROUND_MS: u64 = 3_000;
/// So many schedules are drawn before longer runs are tried.
const ROUND: u64 = 60;
/// So many schedules are drawn before the commonest faults are among them.
const OWN_KINDS: u64 = 30;
/// How long the commonest faults last, in virtual milliseconds.
const SPANS_MS: [u64; 5] = [40, 200, 800, 2_000, 5_000];
/// The most that two faults are apart.
const APART_MS_MAX: u64 = 4_000;

/// What one fault may wait for once another one has struck.
const FOLLOWS: [Happening; 8] = [
    Happening::LeaderElected,
    Happening::InSyncShrunk,
    Happening::InSyncGrown,
    Happening::InSyncProposed,
    Happening::Appended,
    Happening::LogOpened,
    Happening::ControllerElected,
    Happening::CoordinatorElected,
];

impl Shrinker<'_> {
    /// Gives back whether anything that was drawn anew is left.
    pub(super) fn search_again(&mut self) -> bool {
        let (mut drawn, mut found) = (0, false);
        while self.best.faults.len() > FEW && self.spent() < SHARE_OF_RESEARCH {
            // Where three do not bring it about, one more may, and is better than many.
            let most = (FEW as u64 + drawn / ROUND).min(self.best.faults.len() as u64 - 1);
            let candidate = self.few(drawn, most);
            drawn += 1;
            found |= self.accept(candidate, 1);
        }
        found
    }

    /// At most `most` faults of those that are left.
    fn few(&self, nth: u64, most: u64) -> Schedule {
        let mut draw = Draw::new(self.drawn.seed, &format!("search again {nth}"));
        let count = draw.between(1.max(most.saturating_sub(2)), most) as usize;
        let mut places = self.in_order_of_time();
        while places.len() > count {
            // The last ones are likelier to matter: of two that are drawn, the earlier one goes.
            let (a, b) = (draw.below(places.len() as u64) as usize, draw.below(places.len() as u64) as usize);
            places.remove(a.min(b));
        }
        let mut at_ms = draw.between(FIRST_MS.0, FIRST_MS.1);
        let mut faults = Vec::new();
        for place in places {
            let mut fault = self.anew(place, at_ms, !faults.is_empty(), &mut draw);
            if nth >= OWN_KINDS && draw.percent(50) {
                self.make_common(&mut fault, &mut draw);
            }
            at_ms += if draw.percent(40) { draw.between(0, 50) } else { draw.between(0, APART_MS_MAX) };
            faults.push(fault);
        }
        let horizon_ms = at_ms + ROUND_MS * (1 + nth / ROUND);
        let horizon_ms = self.best.horizon_ms.map(|best_ms| best_ms.min(horizon_ms));
        // TOML's integers are signed: stay within them.
        let scheduling_seed = draw.number() & i64::MAX as u64;
        Schedule { scheduling_seed, horizon_ms, faults, ..self.best.clone() }
    }

    /// The fault at `place`, as it was drawn or as it is tied down, from `at_ms` on.
    fn anew(&self, place: usize, at_ms: u64, follows: bool, draw: &mut Draw) -> FaultEvent {
        let tied = &self.best.faults[place];
        let drawn = self.drawn.faults.iter().find(|fault| fault.id == tied.id).unwrap_or(tied);
        let mut fault = if draw.percent(70) { drawn.clone() } else { tied.clone() };
        let delay_ms = if draw.percent(60) { draw.between(0, 20) } else { draw.between(0, 400) };
        fault.when = match (&drawn.when, draw.below(3)) {
            (Trigger::After { happening, partition, .. }, 0 | 1) => {
                let (happening, partition) = (*happening, partition.clone());
                Trigger::After { happening, partition, nth: 1, from_ms: at_ms, delay_ms }
            }
            (_, 1) if follows => {
                let happening = draw.pick(&FOLLOWS).copied().unwrap_or(Happening::LeaderElected);
                Trigger::After { happening, partition: None, nth: 1, from_ms: at_ms, delay_ms }
            }
            _ => Trigger::At { at_ms },
        };
        let shorter = draw.between(50, 6_000);
        if draw.percent(40) {
            fault.for_ms = fault.for_ms.map(|for_ms| for_ms.min(shorter));
        }
        fault
    }

    /// Makes it one of the commonest faults, on a server that any fault was aimed at.
    fn make_common(&self, fault: &mut FaultEvent, draw: &mut Draw) {
        let all = self.drawn.faults.iter().flat_map(|fault| fault.action.targets());
        let all: Vec<&Target> = all.filter(|target| !matches!(target, Target::Client(_))).collect();
        let Some(target) = draw.pick(&all).map(|target| (*target).clone()) else { return };
        let targets = vec![target.clone()];
        let cut_off = |shape| Action::Partition { shape, targets: targets.clone(), resets: false, in_parts: false };
        fault.action = match draw.below(6) {
            0 => Action::Crash { targets },
            1 => Action::Restart { target },
            2 => Action::Pause { target },
            3 => cut_off(Shape::Symmetric),
            4 => cut_off(Shape::OneWay),
            _ => Action::SlowLink { target, latency_ms: draw.between(50, 2_000), bytes_per_s: None },
        };
        fault.for_ms = draw.pick(&SPANS_MS).copied();
    }
}
