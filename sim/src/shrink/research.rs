//! Where leaving out leads nowhere, the run is an accident that few faults would bring about more simply:
//! a few faults are drawn anew, of the kinds, targets and spans that are left, early and close to
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
/// How many faults are drawn then.
const COUNTS: [usize; 6] = [2, 3, 3, 4, 6, 8];
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
        let (pool, mut drawn, mut found) = (self.in_order_of_time(), 0, false);
        let pool: Vec<FaultEvent> = pool.into_iter().map(|place| self.best.faults[place].clone()).collect();
        while self.best.faults.len() > FEW && self.spent() < SHARE_OF_RESEARCH {
            let candidate = self.few(&pool, drawn);
            drawn += 1;
            if self.accept(candidate, 1) {
                found = true;
                self.leave_out_single_faults(SHARE_OF_RESEARCH);
            }
        }
        found
    }

    /// Fewer faults than are left, of those in `pool`: a few, or, where a few do not bring it about, some more
    /// that are as close to each other, most of which can be left out then.
    fn few(&self, pool: &[FaultEvent], nth: u64) -> Schedule {
        let mut draw = Draw::new(self.drawn.seed, &format!("search again {nth}"));
        let count = if nth < OWN_KINDS {
            draw.between(1, FEW as u64) as usize
        } else {
            draw.pick(&COUNTS).copied().unwrap_or(FEW)
        };
        let count = count.min(self.best.faults.len() - 1);
        let mut places: Vec<usize> = (0..pool.len()).collect();
        while places.len() > count {
            // The last ones are likelier to matter: of two that are drawn, the earlier one goes.
            let (a, b) = (draw.below(places.len() as u64) as usize, draw.below(places.len() as u64) as usize);
            places.remove(a.min(b));
        }
        let apart_ms_max = APART_MS_MAX / count.div_ceil(FEW).max(1) as u64;
        let mut at_ms = draw.between(FIRST_MS.0, FIRST_MS.1);
        let mut faults = Vec::new();
        for place in places {
            let mut fault = self.anew(&pool[place], at_ms, !faults.is_empty(), &mut draw);
            if nth >= OWN_KINDS && draw.percent(30) {
                self.make_common(&mut fault, &mut draw);
            }
            at_ms += if draw.percent(40) { draw.between(0, 50) } else { draw.between(0, apart_ms_max) };
            faults.push(fault);
        }
        let horizon_ms = at_ms + ROUND_MS * (1 + nth / ROUND);
        let horizon_ms = self.best.horizon_ms.map(|best_ms| best_ms.min(horizon_ms));
        // TOML's integers are signed: stay within them.
        let scheduling_seed = draw.number() & i64::MAX as u64;
        Schedule { scheduling_seed, horizon_ms, faults, ..self.best.clone() }
    }

    /// The fault as it was drawn or as it is `tied` down, from `at_ms` on.
    fn anew(&self, tied: &FaultEvent, at_ms: u64, follows: bool, draw: &mut Draw) -> FaultEvent {
        let drawn = self.drawn.faults.iter().find(|fault| fault.id == tied.id).unwrap_or(tied);
        let mut fault = if draw.percent(70) { drawn.clone() } else { tied.clone() };
        fault.behind = None;
        let delay_ms = if draw.percent(60) { draw.between(0, 20) } else { draw.between(0, 400) };
        fault.when = match (&drawn.when, draw.below(3)) {
            (Trigger::After { happening, partition, .. }, 0 | 1) => {
                let (happening, partition) = (*happening, partition.clone());
                Trigger::After { happening, partition, nth: 1, from_ms: at_ms, delay_ms, within_ms: None }
            }
            (_, 1) if follows => {
                let happening = draw.pick(&FOLLOWS).copied().unwrap_or(Happening::LeaderElected);
                Trigger::After { happening, partition: None, nth: 1, from_ms: at_ms, delay_ms, within_ms: None }
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
