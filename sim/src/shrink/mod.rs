//! Shrinking: the smallest schedule that still violates the same property.
//!
//! In stages, one file each, every one of which says what it achieved: `struck` keeps what struck before the
//! violation; `anchor` ties it to the instants at which it did, so that leaving out one fault moves no
//! other; `suffix` tries the last few alone, early in the run; `earlier` moves what is left to the beginning;
//! `complements` leaves out what can go, in order of time; `research` draws few faults anew, of the same
//! kinds, where leaving out led nowhere; then single faults are left out; `simplify` makes what is left
//! smaller, the world included. After each success what did not strike goes, and the run is cut shortly
//! after the violation, so that the next candidate costs less.
//!
//! A candidate may change the order of tasks and so miss a race by accident: it is tried under several
//! scheduling seeds, and the one that failed is kept in the schedule.
//!
//! Pure: what a run comes to and how much of the budget is spent is asked of the caller.

mod anchor;
mod complements;
mod earlier;
mod research;
mod simplify;
mod struck;
mod suffix;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::schedule::{Schedule, Target};
use crate::verdict::Property;

/// A run is cut so many virtual milliseconds after the violation.
const AFTER_VIOLATION_MS: u64 = 3_000;
/// So few faults are understood at a glance: nothing is drawn anew for fewer.
const FEW: usize = 3;
/// Trying the last few alone ends when so much of the budget is spent: each try is nearly a whole run.
const SHARE_OF_SUFFIX: f64 = 0.15;
/// Leaving out ever smaller parts ends when so much of the budget is spent.
const SHARE_OF_DELETION: f64 = 0.25;
/// Drawing anew ends when so much of the budget is spent.
const SHARE_OF_RESEARCH: f64 = 0.7;
/// Leaving out single faults ends when so much of the budget is spent, while any that are left can be made
/// smaller.
const SHARE_OF_SINGLES: f64 = 0.9;

/// A fault that struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// When, in virtual nanoseconds.
    pub at_ns: u64,
    /// The nodes that it hit, by their own names.
    pub targets: Vec<Target>,
}

/// The outcome of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The properties that it violated.
    pub violated: BTreeSet<Property>,
    /// When each of them was first violated, in virtual nanoseconds.
    pub first_ns: BTreeMap<Property, u64>,
    /// Whether the run ended at the violation: a longer one would have violated it as well.
    pub ended_there: bool,
    /// How long the run was, in virtual nanoseconds.
    pub lasted_ns: u64,
    /// Each fault of the schedule, if it struck.
    pub strikes: Vec<Option<Strike>>,
}

impl Verdict {
    /// The property to keep where none is named: of those that are judged after every event the one that
    /// was violated first, else the first of the others.
    #[must_use]
    pub fn first(&self) -> Option<Property> {
        let when = |property: &Property| (!property.is_judged_at_once(), self.first_ns.get(property).copied());
        self.violated.iter().copied().min_by_key(when)
    }
}

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Keeping what struck before the violation.
    Struck,
    /// Tying what is left to the instants at which it struck.
    Anchored,
    /// Trying the last few faults alone.
    Suffix,
    /// Moving what is left to the beginning of the run.
    Earlier,
    /// Leaving out one part after the other.
    Complements,
    /// Drawing few faults of the same kinds anew.
    Research,
    /// Leaving out one fault after the other.
    Singles,
    /// Making what is left smaller.
    Simplified,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Struck => "kept what struck before the violation",
            Stage::Anchored => "tied faults to the instants at which they struck",
            Stage::Suffix => "tried the last faults alone",
            Stage::Earlier => "moved what is left to the beginning",
            Stage::Complements => "left out what can go",
            Stage::Research => "drew few faults of the same kinds anew",
            Stage::Singles => "left out single faults",
            Stage::Simplified => "made what is left smaller",
        })
    }
}

/// How far a shrink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is done.
    pub stage: Stage,
    /// Whether the stage has ended.
    pub done: bool,
    /// How many runs there were so far.
    pub runs: u64,
    /// The fewest faults so far.
    pub faults: usize,
    /// Where the run is cut, in virtual milliseconds.
    pub horizon_ms: Option<u64>,
}

/// What a shrink asks of the caller, and tells it.
pub struct Caller<'c> {
    /// Runs a schedule.
    pub oracle: &'c mut dyn FnMut(&Schedule) -> Verdict,
    /// How much of the budget is spent: 1 is all of it.
    pub spent: &'c dyn Fn() -> f64,
    /// Hears how far it is.
    pub progress: &'c mut dyn FnMut(&Progress),
}

/// What came of a shrink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest schedule found; it violates `property` as it stands.
    pub schedule: Schedule,
    /// The property that persisted.
    pub property: Property,
    /// How many runs it took.
    pub runs: u64,
    /// How many faults were left when all that was done was to leave some out.
    pub by_deletion: usize,
    /// Whether no single fault can be left out: tried, unless the budget ran out before.
    pub one_minimal: bool,
}

/// The schedule that was to be shrunk does not fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schedule violates {} as it stands; replay it with the commit and the scenario that recorded it", .wanted.map_or("nothing".to_owned(), |property| format!("not {property}")))]
pub struct NotReproduced {
    /// The property that was expected.
    pub wanted: Option<Property>,
}

/// Shrinks `schedule`, keeping the violation of `wanted`, or of the property that it violates first.
pub fn shrink(
    schedule: &Schedule,
    wanted: Option<Property>,
    scheduling_seeds: u64,
    caller: Caller<'_>,
) -> Result<Shrunk, NotReproduced> {
    let whole = schedule.with_ids();
    let seen = (caller.oracle)(&whole);
    let property = match wanted {
        Some(property) => seen.violated.contains(&property).then_some(property),
        None => seen.first(),
    };
    let property = property.ok_or(NotReproduced { wanted })?;
    let mut shrinker =
        Shrinker { drawn: whole.clone(), best: whole, seen, property, runs: 1, scheduling_seeds, caller };
    shrinker.work_off(Stage::Struck, Shrinker::keep_what_struck);
    shrinker.work_off(Stage::Anchored, Shrinker::anchor);
    shrinker.work_off(Stage::Suffix, Shrinker::keep_the_last);
    shrinker.work_off(Stage::Earlier, Shrinker::move_to_the_beginning);
    shrinker.work_off(Stage::Complements, Shrinker::leave_out_parts);
    let mut by_deletion = shrinker.best.faults.len();
    let drawn_anew = shrinker.work_off(Stage::Research, Shrinker::search_again);
    shrinker.work_off(Stage::Singles, |shrinker| shrinker.leave_out_single_faults(SHARE_OF_SINGLES));
    if !drawn_anew {
        by_deletion = shrinker.best.faults.len();
    }
    shrinker.work_off(Stage::Simplified, |shrinker| {
        // Fewer faults bear it more often, and whatever follows costs less.
        shrinker.move_to_the_beginning();
        shrinker.simplify();
    });
    let one_minimal = shrinker.leave_out_single_faults(1.0);
    shrinker.cut_shortly_after();
    let Shrinker { best: schedule, property, runs, .. } = shrinker;
    Ok(Shrunk { schedule, property, runs, by_deletion, one_minimal })
}

struct Shrinker<'c> {
    /// What was to be shrunk, with the triggers and targets that were drawn.
    drawn: Schedule,
    /// The smallest schedule so far, and what was seen of it.
    best: Schedule,
    seen: Verdict,
    property: Property,
    runs: u64,
    scheduling_seeds: u64,
    caller: Caller<'c>,
}

impl Shrinker<'_> {
    fn spent(&self) -> f64 {
        (self.caller.spent)()
    }

    fn work_off<T>(&mut self, stage: Stage, work: impl FnOnce(&mut Self) -> T) -> T {
        self.tell(stage, false);
        let result = work(self);
        self.tell(stage, true);
        result
    }

    fn tell(&mut self, stage: Stage, done: bool) {
        let (runs, faults, horizon_ms) = (self.runs, self.best.faults.len(), self.best.horizon_ms);
        (self.caller.progress)(&Progress { stage, done, runs, faults, horizon_ms });
    }

    /// Whether `candidate` still fails under one of `tries` scheduling seeds, the present one first; if so
    /// it is the best now, cut shortly after the violation.
    fn accept(&mut self, candidate: Schedule, tries: u64) -> bool {
        for shift in 0..tries.max(1) {
            if self.spent() >= 1.0 {
                return false;
            }
            let mut candidate = candidate.clone();
            // TOML's integers are signed: stay within them.
            candidate.scheduling_seed = candidate.scheduling_seed.wrapping_add(shift) & i64::MAX as u64;
            self.runs += 1;
            let seen = (self.caller.oracle)(&candidate);
            if seen.violated.contains(&self.property) {
                self.keep(candidate, seen);
                return true;
            }
        }
        false
    }

    /// What did not strike before the violation goes at once: it had no part in the run so far, and no
    /// fault draws what another one would have.
    fn keep(&mut self, candidate: Schedule, seen: Verdict) {
        (self.best, self.seen) = (candidate, seen);
        let Some(first_ns) = self.seen.first_ns.get(&self.property).copied().filter(|_| self.seen.ended_there) else {
            return;
        };
        let strikes = std::mem::take(&mut self.seen.strikes);
        let faults = std::mem::take(&mut self.best.faults);
        let struck = |strike: &Option<Strike>| strike.as_ref().is_some_and(|strike| strike.at_ns <= first_ns);
        (self.best.faults, self.seen.strikes) =
            faults.into_iter().zip(strikes).filter(|(_, strike)| struck(strike)).unzip();
        let after_ms = first_ns / 1_000_000 + AFTER_VIOLATION_MS;
        self.best.horizon_ms = Some(self.best.horizon_ms.map_or(after_ms, |horizon_ms| horizon_ms.min(after_ms)));
    }

    /// Whether the best still fails with the faults at `places` alone.
    fn accept_places(&mut self, places: &[usize], tries: u64) -> bool {
        let faults = places.iter().map(|place| self.best.faults[*place].clone()).collect();
        self.accept(Schedule { faults, ..self.best.clone() }, tries)
    }

    /// The places of all faults, in the order in which they struck; those that did not strike come last.
    fn in_order_of_time(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.best.faults.len()).collect();
        let strike = |place: &usize| self.seen.strikes.get(*place).and_then(Option::as_ref);
        places.sort_by_key(|place| strike(place).map_or(u64::MAX, |strike| strike.at_ns));
        places
    }
}
