//! Shrinking: the smallest schedule that still violates the same property.
//!
//! Delta debugging over fault events (Zeller & Hildebrandt's ddmin), then a pass that proves
//! 1-minimality (no single event can go), then simpler events (fewer targets, shorter, earlier),
//! then a smaller workload, until nothing changes or the budget is spent.
//!
//! A candidate may change the order of tasks and so miss a race by accident: each is tried under
//! several scheduling seeds, and the one that failed is kept in the schedule.

use std::collections::BTreeSet;

use crate::schedule::{FaultEvent, Schedule, Trigger};
use crate::verdict::Property;

/// The outcome of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The properties that it violated.
    pub violated: BTreeSet<Property>,
}

/// How much a shrink may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShrinkBudget {
    /// The most runs in all.
    pub runs_max: u64,
    /// The scheduling seeds that each candidate is tried under.
    pub scheduling_seeds: u64,
}

impl Default for ShrinkBudget {
    fn default() -> Self {
        ShrinkBudget { runs_max: 1_000, scheduling_seeds: 3 }
    }
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
    /// Whether no single fault event can be left out: proven, unless the budget ran out before.
    pub one_minimal: bool,
}

/// The schedule that was to be shrunk does not fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schedule violates {} as it stands; replay it with the commit and the scenario that recorded it", .wanted.map_or("nothing".to_owned(), |property| format!("not {property}")))]
pub struct NotReproduced {
    /// The property that was expected.
    pub wanted: Option<Property>,
}

/// Shrinks `schedule`, keeping the violation of `wanted`, or of the first property that it violates.
pub fn shrink(
    schedule: &Schedule,
    wanted: Option<Property>,
    budget: ShrinkBudget,
    oracle: &mut dyn FnMut(&Schedule) -> Verdict,
) -> Result<Shrunk, NotReproduced> {
    let first = oracle(schedule);
    let property = match wanted {
        Some(property) => first.violated.contains(&property).then_some(property),
        None => first.violated.first().copied(),
    };
    let property = property.ok_or(NotReproduced { wanted })?;
    let mut shrinker = Shrinker { best: schedule.clone(), property, budget, runs: 1, oracle };
    shrinker.minimise();
    let one_minimal = loop {
        let proven = shrinker.leave_out_single_events();
        if !proven || !(shrinker.simplify_events() | shrinker.simplify_workload()) {
            break proven;
        }
    };
    Ok(Shrunk { schedule: shrinker.best, property, runs: shrinker.runs, one_minimal })
}

struct Shrinker<'o> {
    best: Schedule,
    property: Property,
    budget: ShrinkBudget,
    runs: u64,
    oracle: &'o mut dyn FnMut(&Schedule) -> Verdict,
}

impl Shrinker<'_> {
    fn is_spent(&self) -> bool {
        self.runs >= self.budget.runs_max
    }

    /// Whether `candidate` still fails under one of the scheduling seeds; if so it is the best now.
    fn accept(&mut self, candidate: Schedule) -> bool {
        for shift in 0..self.budget.scheduling_seeds.max(1) {
            if self.is_spent() {
                return false;
            }
            let mut candidate = candidate.clone();
            // TOML's integers are signed: stay within them.
            candidate.scheduling_seed = candidate.scheduling_seed.wrapping_add(shift) & i64::MAX as u64;
            self.runs += 1;
            if (self.oracle)(&candidate).violated.contains(&self.property) {
                self.best = candidate;
                return true;
            }
        }
        false
    }

    fn accept_faults(&mut self, faults: Vec<FaultEvent>) -> bool {
        let candidate = Schedule { faults, ..self.best.clone() };
        self.accept(candidate)
    }

    /// ddmin: tries to leave out ever smaller chunks.
    fn minimise(&mut self) {
        if self.best.faults.is_empty() || self.accept_faults(Vec::new()) {
            return;
        }
        let mut chunks = 2;
        while self.best.faults.len() > 1 && !self.is_spent() {
            let size = self.best.faults.len().div_ceil(chunks);
            if self.keep_one_chunk(size) {
                chunks = 2;
            } else if self.leave_out_one_chunk(size) {
                chunks = (chunks - 1).max(2);
            } else if size == 1 {
                return;
            } else {
                chunks = (chunks * 2).min(self.best.faults.len());
            }
        }
    }

    fn keep_one_chunk(&mut self, size: usize) -> bool {
        let faults = self.best.faults.clone();
        size < faults.len() && faults.chunks(size).any(|chunk| self.accept_faults(chunk.to_vec()))
    }

    fn leave_out_one_chunk(&mut self, size: usize) -> bool {
        let faults = self.best.faults.clone();
        (0..faults.len()).step_by(size).any(|start| {
            let mut rest = faults.clone();
            rest.drain(start..(start + size).min(faults.len()));
            self.accept_faults(rest)
        })
    }

    /// Leaves out one event after the other until none can go. Gives back whether that was proven.
    fn leave_out_single_events(&mut self) -> bool {
        let mut at = 0;
        let mut kept = 0;
        while kept < self.best.faults.len() {
            if self.is_spent() {
                return false;
            }
            at %= self.best.faults.len();
            let mut rest = self.best.faults.clone();
            rest.remove(at);
            if self.accept_faults(rest) {
                kept = 0;
            } else {
                kept += 1;
                at += 1;
            }
        }
        !self.is_spent()
    }

    /// Replaces events by simpler ones. Gives back whether any was.
    fn simplify_events(&mut self) -> bool {
        let mut simplified = false;
        let mut at = 0;
        while at < self.best.faults.len() && !self.is_spent() {
            let simpler = simpler_events(&self.best.faults[at]);
            let accepted = simpler.into_iter().any(|event| {
                let mut faults = self.best.faults.clone();
                faults[at] = event;
                self.accept_faults(faults)
            });
            simplified |= accepted;
            at += usize::from(!accepted);
        }
        simplified
    }

    /// Halves the workload as long as the violation stays.
    fn simplify_workload(&mut self) -> bool {
        let mut simplified = false;
        while self.best.workload_per_mille > 1 && !self.is_spent() {
            let workload_per_mille = self.best.workload_per_mille / 2;
            if !self.accept(Schedule { workload_per_mille, ..self.best.clone() }) {
                break;
            }
            simplified = true;
        }
        simplified
    }
}

/// Events that are one step simpler. Each step makes a number or a list smaller, so that the
/// steps come to an end.
fn simpler_events(event: &FaultEvent) -> Vec<FaultEvent> {
    let mut simpler = Vec::new();
    for at in 0..if event.action.targets().len() > 1 { event.action.targets().len() } else { 0 } {
        let mut fewer = event.clone();
        if let Some(targets) = fewer.action.targets_mut() {
            targets.remove(at);
            simpler.push(fewer);
        }
    }
    if let Some(for_ms) = event.for_ms.filter(|for_ms| *for_ms > 1) {
        simpler.push(FaultEvent { for_ms: Some(for_ms / 2), ..event.clone() });
    }
    if let Trigger::After { happening, partition, nth, from_ms, delay_ms } = &event.when {
        let (happening, from_ms) = (*happening, *from_ms);
        let with = |nth, delay_ms| FaultEvent {
            when: Trigger::After { happening, partition: partition.clone(), nth, from_ms, delay_ms },
            ..event.clone()
        };
        if *delay_ms > 0 {
            simpler.push(with(*nth, 0));
            simpler.push(with(*nth, delay_ms / 2));
        }
        if *nth > 1 {
            simpler.push(with(1, *delay_ms));
            simpler.push(with(nth / 2, *delay_ms));
        }
    }
    simpler
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Action, Target};

    fn pause(broker: i32, at_ms: u64) -> FaultEvent {
        let target = Target::Broker(broker);
        FaultEvent { when: Trigger::At { at_ms }, action: Action::Pause { target }, for_ms: Some(64) }
    }

    fn schedule(count: i32) -> Schedule {
        let mut schedule = Schedule::new(7, "standard");
        schedule.faults = (0..count).map(|broker| pause(broker, 100)).collect();
        schedule
    }

    fn hits(schedule: &Schedule, broker: i32) -> bool {
        schedule.faults.iter().any(|fault| fault.action.targets().contains(&Target::Broker(broker)))
    }

    fn verdict(violated: bool, property: Property) -> Verdict {
        Verdict { violated: violated.then_some(property).into_iter().collect() }
    }

    #[test]
    fn two_faults_that_matter_are_found_among_forty() {
        let mut oracle = |schedule: &Schedule| verdict(hits(schedule, 3) && hits(schedule, 31), Property::LostWrite);
        let shrunk = shrink(&schedule(40), None, ShrinkBudget::default(), &mut oracle).expect("it fails");
        assert_eq!(shrunk.schedule.faults.len(), 2);
        assert!(shrunk.one_minimal && hits(&shrunk.schedule, 3) && hits(&shrunk.schedule, 31));
        assert!(shrunk.runs < 300, "{} runs", shrunk.runs);
    }

    #[test]
    fn another_property_does_not_count() {
        // With few faults the run fails in another way: the shrink must not slip over to that.
        let mut oracle = |schedule: &Schedule| {
            let property = if schedule.faults.len() >= 5 { Property::LostWrite } else { Property::Availability };
            verdict(true, property)
        };
        let shrunk =
            shrink(&schedule(20), Some(Property::LostWrite), ShrinkBudget::default(), &mut oracle).expect("fails");
        assert_eq!((shrunk.schedule.faults.len(), shrunk.property), (5, Property::LostWrite));
    }

    #[test]
    fn a_failure_without_faults_shrinks_to_none_and_to_a_small_workload() {
        let mut oracle = |schedule: &Schedule| verdict(schedule.workload_per_mille > 100, Property::Duplicate);
        let shrunk = shrink(&schedule(20), None, ShrinkBudget::default(), &mut oracle).expect("it fails");
        assert_eq!((shrunk.schedule.faults.len(), shrunk.schedule.workload_per_mille), (0, 125));
    }

    #[test]
    fn events_are_simplified() {
        let mut start = schedule(0);
        let partition = crate::schedule::parse_partition("t-0");
        start.faults.push(FaultEvent {
            when: Trigger::After {
                happening: crate::schedule::Happening::LeaderElected,
                partition,
                nth: 4,
                from_ms: 0,
                delay_ms: 130,
            },
            action: Action::PowerLoss { targets: vec![Target::Broker(1), Target::Broker(2), Target::Broker(3)] },
            for_ms: Some(8_000),
        });
        let mut oracle = |schedule: &Schedule| {
            let long = schedule.faults.iter().any(|fault| fault.for_ms >= Some(1_000));
            verdict(hits(schedule, 2) && long, Property::LostWrite)
        };
        let shrunk = shrink(&start, None, ShrinkBudget::default(), &mut oracle).expect("it fails");
        let [event] = shrunk.schedule.faults.as_slice() else { panic!("{:?}", shrunk.schedule.faults) };
        assert_eq!(event.action.targets(), [Target::Broker(2)]);
        assert_eq!(event.for_ms, Some(1_000));
        assert!(matches!(event.when, Trigger::After { nth: 1, delay_ms: 0, .. }), "{:?}", event.when);
    }

    #[test]
    fn a_race_that_needs_another_scheduling_seed_is_kept() {
        // Once a fault is left out, the race shows only under every third scheduling seed.
        let mut oracle = |schedule: &Schedule| {
            let raced = schedule.faults.len() == 20 || schedule.scheduling_seed.is_multiple_of(3);
            verdict(hits(schedule, 3) && raced, Property::LostWrite)
        };
        let shrunk = shrink(&schedule(20), None, ShrinkBudget::default(), &mut oracle).expect("it fails");
        assert_eq!(shrunk.schedule.faults.len(), 1);
        assert!(oracle(&shrunk.schedule).violated.contains(&Property::LostWrite), "it fails as it stands");
    }

    #[test]
    fn the_budget_is_kept_and_the_best_so_far_still_fails() {
        let mut runs = 0;
        let mut oracle = |schedule: &Schedule| {
            runs += 1;
            verdict(hits(schedule, 3) && hits(schedule, 31), Property::LostWrite)
        };
        let budget = ShrinkBudget { runs_max: 12, scheduling_seeds: 1 };
        let shrunk = shrink(&schedule(40), None, budget, &mut oracle).expect("it fails");
        assert_eq!((runs, shrunk.runs), (12, 12));
        assert!(!shrunk.one_minimal && hits(&shrunk.schedule, 3) && hits(&shrunk.schedule, 31));
    }

    #[test]
    fn a_schedule_that_does_not_fail_is_refused() {
        let mut oracle = |_: &Schedule| Verdict::default();
        let error = shrink(&schedule(3), Some(Property::Unseen), ShrinkBudget::default(), &mut oracle);
        assert!(error.expect_err("nothing to shrink").to_string().contains("unseen"));
    }
}
