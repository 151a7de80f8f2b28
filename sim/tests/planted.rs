//! Schedules that found a planted bug, pinned as they were drawn: each fails with its bug planted again,
//! by a property that the bug is said to break, and is clean without.
//!
//! A change of the product, of the simulated world or of what a scenario leaves open may make another run
//! of a schedule, so that it no longer fails with the bug: it has rotted. That blocks a change only when
//! too few are left; the test prints which. One that fails *without* its bug always blocks.
#![allow(clippy::disallowed_methods, reason = "a test reads the files that it replays, several at once")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use wyrdlog::base::plants::Plant;
use wyrdlog_sim::breaks::breaks;
use wyrdlog_sim::run::{Options, Verdict, run_schedule};
use wyrdlog_sim::scenario::Scenario;
use wyrdlog_sim::schedule::Schedule;

/// Of the pinned schedules so many must still fail, of 39.
const LEFT_MIN: usize = 26;

/// Under so many orders of tasks each is tried.
const SCHEDULING_SEEDS: u64 = 3;

fn pinned() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/planted");
    let entries = fs::read_dir(&directory).expect("they are there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("is listed").path()).collect();
    files.sort();
    files
}

fn replayed(schedule: &Schedule) -> Verdict {
    assert_eq!(schedule.scenario, "standard", "they are all of one scenario");
    let scenario = Scenario::parse(include_str!("../corpus/scenarios/standard.toml")).expect("it is pinned too");
    run_schedule(&scenario, schedule, &Options::default()).expect("it can be run").verdict
}

/// What came of the schedule in `file`.
#[derive(Debug, Default)]
struct Replayed {
    fails: bool,
    violated_without_plant: Option<String>,
}

fn replay(file: &Path) -> Replayed {
    let text = fs::read_to_string(file).expect("is read");
    let planted = Schedule::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let plant: Plant = planted.plant.as_deref().expect("it names its bug").parse().expect("it is known");
    // A schedule is its faults: the order of tasks, which any change draws anew, gets several tries.
    let tries = (0..SCHEDULING_SEEDS).map(|shift| Schedule {
        scheduling_seed: planted.scheduling_seed.wrapping_add(shift) & i64::MAX as u64,
        ..planted.clone()
    });
    for schedule in tries {
        let verdict = replayed(&schedule);
        let fails = verdict.violated().violated.iter().any(|property| breaks(plant).contains(property));
        if fails && verdict.plant_taken > 0 {
            let clean = replayed(&Schedule { plant: None, ..schedule });
            let violated_without_plant =
                (!clean.passed()).then(|| format!("{}: {:?}", file.display(), clean.violations));
            return Replayed { fails, violated_without_plant };
        }
    }
    Replayed::default()
}

#[test]
fn pinned_schedules_fail_with_their_bug_planted_again_and_pass_without() {
    let files = pinned();
    let (left, done) = (Mutex::new(files.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("nobody panics with it").next();
                    let Some(file) = next else { return };
                    let replayed = replay(file);
                    done.lock().expect("nobody panics with it").push((file, replayed));
                }
            });
        }
    });
    let done = done.into_inner().expect("nobody panicked");
    let unclean: Vec<&String> = done.iter().filter_map(|(_, one)| one.violated_without_plant.as_ref()).collect();
    assert!(unclean.is_empty(), "these fail without their bugs: {unclean:#?}");
    let rotten: Vec<_> = done.iter().filter(|(_, one)| !one.fails).map(|(file, _)| file.display()).collect();
    let left = files.len() - rotten.len();
    println!("{left} of {} still fail with their bugs; rotten: {rotten:#?}", files.len());
    assert!(left >= LEFT_MIN, "only {left} of {} still fail; {LEFT_MIN} are to. Rotten: {rotten:#?}", files.len());
}
