//! Shrinking with oracles that are simple enough to know the answer.

use super::*;
use crate::schedule::{Action, FaultEvent, Happening, Trigger, parse_partition};

fn pause(broker: i32, at_ms: u64) -> FaultEvent {
    let target = Target::Broker(broker);
    FaultEvent {
        id: None,
        behind: None,
        when: Trigger::At { at_ms },
        action: Action::Pause { target },
        for_ms: Some(64),
    }
}

fn schedule(count: i32) -> Schedule {
    let mut schedule = Schedule::new(7, "standard");
    schedule.faults = (0..count).map(|broker| pause(broker, 100 + broker as u64)).collect();
    schedule
}

fn hits(schedule: &Schedule, broker: i32) -> bool {
    schedule.faults.iter().any(|fault| fault.action.targets().contains(&Target::Broker(broker)))
}

/// Every fault strikes when it says; a violation shows a second after the last.
fn verdict(schedule: &Schedule, violated: bool, property: Property) -> Verdict {
    let strikes = schedule.faults.iter().map(|fault| {
        let at_ns = match fault.when {
            Trigger::At { at_ms } => at_ms * 1_000_000,
            Trigger::AtNs { at_ns } => at_ns,
            Trigger::After { from_ms, .. } => from_ms * 1_000_000,
        };
        Some(Strike { at_ns, targets: fault.action.targets().to_vec() })
    });
    let mut seen = Verdict { strikes: strikes.collect(), lasted_ns: 60_000_000_000, ..Verdict::default() };
    if violated {
        seen.violated.insert(property);
        let last_ns = seen.strikes.iter().flatten().map(|strike| strike.at_ns).max().unwrap_or(0);
        seen.first_ns.insert(property, last_ns + 1_000_000_000);
        seen.ended_there = true;
    }
    seen
}

/// Shrinks with a budget of `runs`; gives also how many runs were asked for.
fn shrunk(
    start: &Schedule,
    wanted: Option<Property>,
    (runs, seeds): (u64, u64),
    oracle: &mut dyn FnMut(&Schedule) -> Verdict,
) -> (Shrunk, Vec<Progress>) {
    let asked = std::cell::Cell::new(0_u64);
    let mut counted = |schedule: &Schedule| {
        asked.set(asked.get() + 1);
        oracle(schedule)
    };
    let mut told = Vec::new();
    let spent = || asked.get() as f64 / runs as f64;
    let mut progress = |progress: &Progress| told.push(*progress);
    let caller = Caller { oracle: &mut counted, spent: &spent, progress: &mut progress };
    let shrunk = shrink(start, wanted, seeds, caller).expect("it fails");
    assert_eq!(asked.get(), shrunk.runs);
    (shrunk, told)
}

#[test]
fn two_faults_that_matter_are_found_among_forty() {
    let mut oracle =
        |schedule: &Schedule| verdict(schedule, hits(schedule, 3) && hits(schedule, 31), Property::LogMatching);
    let (shrunk, told) = shrunk(&schedule(40), None, (1_000, 3), &mut oracle);
    assert_eq!((shrunk.schedule.faults.len(), shrunk.by_deletion), (2, 2));
    assert!(shrunk.one_minimal && hits(&shrunk.schedule, 3) && hits(&shrunk.schedule, 31));
    assert!(shrunk.runs < 300, "{} runs", shrunk.runs);
    let ids: Vec<_> = shrunk.schedule.faults.iter().map(|fault| fault.id).collect();
    assert_eq!(ids, [Some(3), Some(31)], "what is left draws as before");
    let done: Vec<_> = told.iter().filter(|one| one.done).map(|one| one.stage).collect();
    assert!(done.is_sorted() && done.len() == 8, "{done:?}");
}

#[test]
fn what_struck_after_the_violation_is_left_out_at_once() {
    let mut oracle = |schedule: &Schedule| {
        let mut seen = verdict(schedule, hits(schedule, 3), Property::LogMatching);
        seen.first_ns.entry(Property::LogMatching).and_modify(|first_ns| *first_ns = 105_000_000);
        seen
    };
    let (_, told) = shrunk(&schedule(40), None, (1_000, 1), &mut oracle);
    let first = told.iter().find(|one| one.done).expect("a stage was done");
    assert_eq!((first.stage, first.faults, first.runs), (Stage::Struck, 6, 2));
    assert_eq!(first.horizon_ms, Some(105 + AFTER_VIOLATION_MS), "and the run is cut after it");
}

#[test]
fn another_property_does_not_count() {
    // With few faults the run fails in another way: the shrink must not slip over to that.
    let mut oracle = |schedule: &Schedule| {
        let many = schedule.faults.len() >= 5;
        verdict(schedule, true, if many { Property::LostWrite } else { Property::Availability })
    };
    let (shrunk, _) = shrunk(&schedule(20), Some(Property::LostWrite), (1_000, 1), &mut oracle);
    assert_eq!((shrunk.schedule.faults.len(), shrunk.property), (5, Property::LostWrite));
}

#[test]
fn a_failure_without_faults_shrinks_to_none_and_to_a_small_workload() {
    let mut oracle =
        |schedule: &Schedule| verdict(schedule, schedule.workload_per_mille > 100, Property::IdempotentOrder);
    let (shrunk, _) = shrunk(&schedule(20), None, (1_000, 1), &mut oracle);
    assert_eq!((shrunk.schedule.faults.len(), shrunk.schedule.workload_per_mille), (0, 125));
}

#[test]
fn events_are_simplified() {
    let mut start = schedule(0);
    let (happening, partition) = (Happening::LeaderElected, parse_partition("t-0"));
    start.faults.push(FaultEvent {
        behind: None,
        id: None,
        when: Trigger::After { happening, partition, nth: 4, from_ms: 9, delay_ms: 130, within_ms: None },
        action: Action::PowerLoss { targets: vec![Target::Broker(1), Target::Broker(2), Target::Broker(3)] },
        for_ms: Some(8_000),
    });
    let mut oracle = |schedule: &Schedule| {
        let long = schedule.faults.iter().any(|fault| fault.for_ms >= Some(1_000));
        verdict(schedule, hits(schedule, 2) && long, Property::LogMatching)
    };
    let (shrunk, _) = shrunk(&start, None, (1_000, 1), &mut oracle);
    let [event] = shrunk.schedule.faults.as_slice() else { panic!("{:?}", shrunk.schedule.faults) };
    assert_eq!(event.action.targets(), [Target::Broker(2)]);
    assert_eq!((event.for_ms, &event.when), (Some(1_000), &Trigger::At { at_ms: 9 }));
}

#[test]
fn a_race_that_needs_another_scheduling_seed_is_kept() {
    // Once a fault is left out, the race shows only under every third scheduling seed.
    let mut oracle = |schedule: &Schedule| {
        let raced = schedule.faults.len() == 20 || schedule.scheduling_seed.is_multiple_of(3);
        verdict(schedule, hits(schedule, 3) && raced, Property::LogMatching)
    };
    let (shrunk, _) = shrunk(&schedule(20), None, (1_000, 3), &mut oracle);
    assert_eq!(shrunk.schedule.faults.len(), 1);
    assert!(oracle(&shrunk.schedule).violated.contains(&Property::LogMatching), "it fails as it stands");
}

#[test]
fn where_nothing_can_be_left_out_few_faults_are_drawn_anew() {
    // Eight in a row, or any two that strike in another order of tasks.
    let mut oracle = |schedule: &Schedule| {
        let as_drawn = schedule.scheduling_seed == 7 && schedule.faults.len() == 8;
        let elsewhere = schedule.scheduling_seed > 1_000 && schedule.faults.len() == 2;
        verdict(schedule, as_drawn || elsewhere, Property::LogMatching)
    };
    let (shrunk, _) = shrunk(&schedule(8), None, (1_000, 1), &mut oracle);
    assert_eq!((shrunk.by_deletion, shrunk.schedule.faults.len()), (8, 2));
    assert!(oracle(&shrunk.schedule).violated.contains(&Property::LogMatching), "it fails as it stands");
}

#[test]
fn the_budget_is_kept_and_the_best_so_far_still_fails() {
    let mut oracle =
        |schedule: &Schedule| verdict(schedule, hits(schedule, 3) && hits(schedule, 31), Property::LogMatching);
    let (shrunk, _) = shrunk(&schedule(40), None, (12, 1), &mut oracle);
    assert_eq!(shrunk.runs, 12);
    assert!(!shrunk.one_minimal && hits(&shrunk.schedule, 3) && hits(&shrunk.schedule, 31));
}

#[test]
fn a_schedule_that_does_not_fail_is_refused() {
    let mut oracle = |schedule: &Schedule| verdict(schedule, false, Property::Unseen);
    let caller = Caller { oracle: &mut oracle, spent: &|| 0.0, progress: &mut |_| {} };
    let error = shrink(&schedule(3), Some(Property::Unseen), 1, caller);
    assert!(error.expect_err("nothing to shrink").to_string().contains("unseen"));
}

#[test]
fn what_is_left_is_moved_to_the_beginning_and_the_run_is_cut_sooner() {
    let mut start = schedule(0);
    start.faults = vec![pause(1, 20_000), pause(2, 21_000)];
    let mut oracle = |schedule: &Schedule| {
        let violated = hits(schedule, 1) && hits(schedule, 2);
        verdict(schedule, violated, Property::LogMatching)
    };
    let (shrunk, _) = shrunk(&start, None, (1_000, 1), &mut oracle);
    let when: Vec<_> = shrunk.schedule.faults.iter().map(|fault| fault.when.clone()).collect();
    assert_eq!(when, [Trigger::At { at_ms: 5_000 }, Trigger::At { at_ms: 6_000 }]);
    assert_eq!(shrunk.schedule.horizon_ms, Some(7_500), "and shortly after the violation at last");
}

#[test]
fn what_no_longer_strikes_before_the_violation_goes_without_a_run_of_its_own() {
    // Without the ninth fault it is violated sooner, before the fourth one strikes.
    let without_the_ninth = std::cell::Cell::new(0);
    let mut oracle = |schedule: &Schedule| {
        without_the_ninth.set(without_the_ninth.get() + u32::from(hits(schedule, 4) && !hits(schedule, 9)));
        let mut seen = verdict(schedule, hits(schedule, 3), Property::LogMatching);
        let first_ns = if hits(schedule, 9) { 110_000_000 } else { 103_500_000 };
        seen.first_ns.entry(Property::LogMatching).and_modify(|at_ns| *at_ns = first_ns);
        for strike in &mut seen.strikes {
            *strike = strike.take().filter(|strike| strike.at_ns <= first_ns);
        }
        seen
    };
    let (shrunk, _) = shrunk(&schedule(10), None, (1_000, 1), &mut oracle);
    assert_eq!((shrunk.schedule.faults.len(), without_the_ninth.get()), (1, 1));
}

#[test]
fn the_last_few_are_tried_early_in_the_run() {
    // The fewest that fail are the last two, and only where nothing else has happened before.
    let mut start = schedule(20);
    for (fault, at_ms) in start.faults.iter_mut().zip((20_000..).step_by(500)) {
        fault.when = Trigger::At { at_ms };
    }
    let mut oracle = |schedule: &Schedule| {
        let when = schedule.faults.iter().map(|fault| match fault.when {
            Trigger::At { at_ms } => at_ms,
            _ => 0,
        });
        let early = when.min().is_some_and(|at_ms| at_ms == 5_000) && hits(schedule, 18) && hits(schedule, 19);
        verdict(schedule, schedule.faults.len() == 20 || early, Property::LogMatching)
    };
    let (shrunk, told) = shrunk(&start, None, (1_000, 1), &mut oracle);
    assert_eq!(shrunk.schedule.faults.len(), 2);
    let suffix = told.iter().find(|one| one.done && one.stage == Stage::Suffix).expect("it was tried");
    assert_eq!((suffix.faults, suffix.horizon_ms), (2, Some(5_500 + 1_000 + AFTER_VIOLATION_MS)));
}
