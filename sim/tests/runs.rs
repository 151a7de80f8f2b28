//! Runs of the simulator as a whole: a run is a function of scenario and schedule, correct code
//! passes, planted bugs are found by the properties that they break.

use std::collections::BTreeSet;

use wyrdlog::base::plants::Plant;
use wyrdlog_sim::run::{Options, Run, Verdict, run_schedule, run_seed};
use wyrdlog_sim::scenario::Scenario;
use wyrdlog_sim::tamper::{Tamper, tamper};
use wyrdlog_sim::verdict::Property;

fn coordinator() -> Scenario {
    Scenario::parse(include_str!("../scenarios/coordinator.toml")).expect("the scenario comes with the program")
}

fn run(seed: u64, plant: Option<Plant>, options: &Options) -> Run {
    run_seed(&coordinator(), seed, plant, options).expect("the scenario can be run")
}

fn verdict(seed: u64) -> Verdict {
    run(seed, None, &Options::default()).verdict
}

#[test]
fn the_same_seed_gives_the_same_hash_and_verdict() {
    for seed in [1, 2, 3] {
        assert_eq!(verdict(seed), verdict(seed), "seed {seed}");
    }
    assert_ne!(verdict(1).schedule_hash, verdict(2).schedule_hash);
}

#[test]
fn a_record_and_a_trace_change_nothing() {
    let plain = verdict(4);
    let recorded = run(4, None, &Options { keep_record: true, trace: Some(0..1_000), ..Options::default() });
    assert_eq!(recorded.verdict, plain);
    assert!(recorded.record.is_some_and(|record| record.entries.len() as u64 >= plain.events));
}

#[test]
fn a_schedule_that_was_printed_and_read_replays_its_seed() {
    let schedule = coordinator().draw(5).schedule;
    let read = wyrdlog_sim::schedule::Schedule::parse(&schedule.print()).expect("it was just printed");
    let replayed = run_schedule(&coordinator(), &read, &Options::default()).expect("it can be run").verdict;
    assert_eq!(replayed, verdict(5));
}

#[test]
fn correct_code_passes_under_faults_that_took_effect() {
    let mut requests = 0;
    for seed in 100..110 {
        let verdict = verdict(seed);
        assert!(verdict.passed(), "seed {seed}: {:?}", verdict.violations);
        requests += verdict.requests.under_fault;
    }
    assert!(requests > 1_000, "{requests} requests under a fault");
}

#[test]
fn a_tenth_of_all_compare_and_sets_conflict() {
    use wyrdlog_sim::history::coordinator::{Answer, Call, Refusal, Write};
    let record = run(6, None, &Options { keep_record: true, ..Options::default() }).record.expect("it was asked for");
    let (mut compared, mut conflicts) = (0, 0);
    for operation in &record.coordinator.operations {
        if let (Call::Write(Write::Set { version: Some(_), .. }), Some(reply)) =
            (&operation.call.call, operation.reply())
        {
            compared += 1;
            conflicts += u32::from(reply.answer == Answer::Refused(Refusal::BadVersion));
        }
    }
    assert!(compared > 100 && conflicts * 10 >= compared, "{conflicts} of {compared}");
}

/// The properties by which `plant` is found within `seeds`.
fn found_by(plant: Plant, seeds: std::ops::Range<u64>) -> BTreeSet<Property> {
    let failing = seeds.map(|seed| run(seed, Some(plant), &Options::default()).verdict);
    let failing = failing.filter(|verdict| verdict.plant_taken > 0 && !verdict.passed());
    failing.flat_map(|verdict| verdict.violated().violated).collect()
}

#[test]
fn a_late_watch_event_is_found_by_watch_order() {
    assert!(found_by(Plant::LateWatch, 0..2).contains(&Property::WatchOrder));
}

#[test]
fn an_acknowledgement_before_the_sync_is_found_by_properties_of_the_coordinator() {
    let by = found_by(Plant::Zk3911, 0..60);
    let of_the_coordinator =
        [Property::StateMachineSafety, Property::Linearizability, Property::SnapshotRead, Property::SessionOrder];
    assert!(of_the_coordinator.iter().any(|property| by.contains(property)), "{by:?}");
}

#[test]
fn edits_of_a_passing_record_are_rejected() {
    let run = run(7, None, &Options { keep_record: true, ..Options::default() });
    let record = run.record.expect("it was asked for");
    let mut tried = 0;
    for kind in Tamper::ALL {
        let Some(edited) = tamper(&record, *kind, 7) else { continue };
        tried += 1;
        assert!(edited.violates(&run.topology, kind.rejected_by()), "{kind:?} went unnoticed");
    }
    assert!(tried >= 4, "{tried} kinds of edits");
}
