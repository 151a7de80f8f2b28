//! Schedules that found a bug, pinned: each was clean once its cause was gone, and must stay so. The
//! comment at a file's top tells its story. Add one with the file that `wyrd-sim shrink` writes. The
//! scenarios are pinned with them, as they were: another load would be another run.
#![allow(clippy::disallowed_methods, reason = "a test reads the files that it replays")]

use std::fs;
use std::path::{Path, PathBuf};

use wyrdlog_sim::run::{Options, run_schedule};
use wyrdlog_sim::scenario::Scenario;
use wyrdlog_sim::schedule::Schedule;

fn pinned() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let entries = fs::read_dir(&directory).expect("the corpus is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("is listed").path()).collect();
    // What was found by planted bugs lies in a directory of its own.
    files.retain(|file| file.is_file());
    files.sort();
    files
}

/// A scenario that comes with the program, or one that fixes what a seed once drew: a file below the
/// repository, which stays what it is when the draws change.
fn scenario(name: &str) -> Scenario {
    let text = match name {
        "standard" => include_str!("../corpus/scenarios/standard.toml").to_owned(),
        "coordinator" => include_str!("../scenarios/coordinator.toml").to_owned(),
        "swarm" => include_str!("../corpus/scenarios/swarm.toml").to_owned(),
        "young" => include_str!("../corpus/scenarios/young.toml").to_owned(),
        file => {
            let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's");
            fs::read_to_string(repository.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
        }
    };
    Scenario::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn pinned_schedules_are_clean() {
    let files = pinned();
    assert!(!files.is_empty());
    for file in files {
        let name = file.display();
        let text = fs::read_to_string(&file).expect("is read");
        assert!(text.starts_with("# "), "{name} tells no story: begin it with a comment");
        let schedule = Schedule::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let run = run_schedule(&scenario(&schedule.scenario), &schedule, &Options::default()).expect("it can be run");
        assert!(run.verdict.passed(), "{name}: {:?}", run.verdict.violations);
    }
}
