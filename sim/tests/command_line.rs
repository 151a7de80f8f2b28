//! What `wyrd-sim` does with the files that it is given.
#![allow(clippy::disallowed_methods, reason = "a test starts the program and looks at its files")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory of the test's own, empty.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("is created");
    path
}

fn wyrd_sim(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wyrd-sim"));
    command.args(arguments).current_dir(directory).output().expect("it starts")
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("is listed").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

/// A schedule without faults that fails by a planted bug.
fn failing(directory: &Path) -> String {
    let text = "version = 1\nseed = 0\nscenario = \"coordinator\"\nplant = \"late-watch\"\nbudget = \"within\"\n\
                product_seed = 0\nscheduling_seed = 0\nworkload_per_mille = 1000\n";
    fs::write(directory.join("coordinator-0-shrunk.schedule"), text).expect("is written");
    text.to_owned()
}

/// It used to shrink the schedule again, by whatever property came first, and to write the result over
/// the very file: a schedule that was kept for one property ended up as one that violates another.
#[test]
fn replaying_a_failing_schedule_leaves_its_file_alone_and_prints_the_line_that_replays_it() {
    let directory = directory("replay-leaves-the-file-alone");
    let text = failing(&directory);
    let done = wyrd_sim(&directory, &["replay", "coordinator-0-shrunk.schedule"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(42), "{said}");
    assert!(said.contains("replay:   cargo sim replay coordinator-0-shrunk.schedule --commit "), "{said}");
    assert_eq!(files(&directory), ["coordinator-0-shrunk.schedule"]);
    let after = fs::read_to_string(directory.join("coordinator-0-shrunk.schedule")).expect("is read");
    assert_eq!(after, text);
}

#[test]
fn what_a_schedule_shrinks_to_is_written_beside_it() {
    let directory = directory("shrink-writes-beside");
    let text = failing(&directory);
    let done = wyrd_sim(&directory, &["shrink", "coordinator-0-shrunk.schedule", "--runs", "3"]);
    assert_eq!(done.status.code(), Some(42), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(files(&directory), ["coordinator-0-shrunk-shrunk.schedule", "coordinator-0-shrunk.schedule"]);
    let after = fs::read_to_string(directory.join("coordinator-0-shrunk.schedule")).expect("is read");
    assert_eq!(after, text);
}

/// Its file named the scenario only, so that it became another run, or none, with that.
#[test]
fn what_a_schedule_shrinks_to_replays_without_its_scenario() {
    let directory = directory("shrunk-stands-alone");
    let text = "name = \"mine\"\n[cluster]\nbrokers = 0\ncoordinators = 3\ntopics = []\n\
                [[workload]]\nkind = \"sessions\"\nclients = 3\nends_per_minute = 20\n";
    fs::write(directory.join("mine.toml"), text).expect("is written");
    let arguments = ["shrink", "0", "--scenario", "mine.toml", "--plant", "late-watch", "--runs", "40"];
    let done = wyrd_sim(&directory, &arguments);
    let (said, told) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(42), "{said}{told}");
    assert!(said.contains("watch_order stays violated"), "{said}");
    assert!(told.contains("  kept what struck before the violation: "), "each stage says what it achieved: {told}");
    assert!(said.contains("schedule: mine-toml-0-shrunk.schedule (written just now)"), "{said}");
    fs::remove_file(directory.join("mine.toml")).expect("was there");
    assert_eq!(files(&directory), ["mine-toml-0-shrunk.schedule"]);
    let done = wyrd_sim(&directory, &["replay", "mine-toml-0-shrunk.schedule"]);
    let told = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(42), "{told}");
    assert!(told.contains("watch_order is violated") && !told.contains("another run"), "{told}");
}

/// It used to spend a minute on shrinking that nobody had asked for, and to leave two files without a word.
#[test]
fn a_failing_run_says_what_is_violated_and_how_to_go_on_and_leaves_no_file() {
    let directory = directory("a-failing-run");
    let done = wyrd_sim(&directory, &["run", "--seed", "0", "--scenario", "coordinator", "--plant", "late-watch"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(42), "{said}");
    assert!(said.starts_with("watch_order is violated at "), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let subject = "0 --scenario coordinator --plant late-watch";
    for (begins, holds) in [
        ("  coordinator ", " before the watch event of "),
        ("faults:   ", " struck before that"),
        (&format!("replay:   cargo sim replay {subject} --commit "), " --hash "),
        (&format!("look:     cargo sim replay {subject} --events --from "), " --until "),
        (&format!("shrink:   cargo sim shrink {subject}"), ""),
    ] {
        let is_there = lines.iter().any(|line| line.starts_with(begins) && line.contains(holds));
        assert!(is_there, "no line begins with '{begins}' and holds '{holds}':\n{said}");
    }
    assert_eq!(files(&directory), Vec::<String>::new());
    let replay = lines.iter().find_map(|line| line.strip_prefix("replay:   cargo sim ")).expect("it was looked for");
    let again = wyrd_sim(&directory, &replay.split(' ').collect::<Vec<_>>());
    let said_again = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(42));
    assert!(!said_again.contains("another run"), "{said_again}");
}

#[test]
fn a_clean_run_is_zero() {
    let done = wyrd_sim(&directory("a-clean-run"), &["run", "--seed", "1", "--scenario", "coordinator"]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Without clients nothing is ever watched, so that the canary is not found: nothing was shown.
#[test]
fn a_sweep_that_shows_nothing_has_a_code_of_its_own() {
    let directory = directory("a-vacuous-sweep");
    let text = "name = \"idle\"\nworkload = []\n[cluster]\nbrokers = 0\ncoordinators = 1\ntopics = []\n\
                [phases]\nwarm_up_ms = 1000\nfaults_ms = 0\nhealing_ms = 1000\nfinal_reads_ms = 0\n";
    fs::write(directory.join("idle.toml"), text).expect("is written");
    let done = wyrd_sim(&directory, &["sweep", "--seeds", "0..2", "--scenario", "idle.toml", "--jobs", "1"]);
    let said = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(3), "{said}");
    assert!(said.ends_with("VACUOUS: nothing failed, and too little was covered to show anything\n"), "{said}");
}

#[test]
fn what_cannot_be_used_is_told_at_once_with_the_nearest_right_thing() {
    let directory = directory("bad-input");
    let schedule = |target: &str, partition: &str| {
        format!(
            "version = 1\nseed = 0\nscenario = \"standard\"\nproduct_seed = 0\nscheduling_seed = 0\n\n[[fault]]\n\
             when = {{ after = \"appended\", partition = \"{partition}\" }}\n\
             do = {{ kind = \"crash\", targets = [\"{target}\"] }}\n"
        )
    };
    let files = [
        ("broker-9.schedule", schedule("broker(9)", "synced-0")),
        ("topic.schedule", schedule("broker(1)", "sinced-0")),
        ("partition.schedule", schedule("leader(cached-3)", "synced-0")),
        ("plant.schedule", schedule("broker(1)", "synced-0").replacen("seed = 0", "seed = 0\nplant = \"ZK-3191\"", 1)),
        ("key.toml", "[cluster]\nbrokrs = 3\n".to_owned()),
    ];
    for (name, text) in files {
        fs::write(directory.join(name), text).expect("is written");
    }
    let bad: &[(&[&str], &str)] = &[
        (&["run", "--seed", "0", "--plant", "KIP-1O1"], "did you mean 'KIP-101'?"),
        (&["run", "--seed", "0", "--scenario", "standrad"], "did you mean 'standard'?"),
        (&["run", "--seed", "0", "--scenario", "key.toml"], "did you mean `brokers`?"),
        (&["shrink", "0", "--property", "log_matchign"], "did you mean 'log_matching'?"),
        (&["sweep", "--jobs", "0"], "1 is the least"),
        (&["sweep", "--seeds", "9..9"], "9..9 is empty"),
        (&["sweep", "--seeds", "9"], "write A..B"),
        (&["sweep", "--report", "no-such/report.json"], "no-such/report.json cannot be written"),
        (&["plants", "--plant", "late-wacth"], "did you mean 'late-watch'?"),
        (
            &["replay", "broker-9.schedule"],
            "there is no broker(9), only broker(1) to broker(3); did you mean broker(3)?",
        ),
        (&["replay", "topic.schedule"], "there is no topic 'sinced'; did you mean 'synced'?"),
        (&["replay", "partition.schedule"], "did you mean cached-2"),
        (&["replay", "plant.schedule"], "did you mean 'ZK-3911'?"),
        (&["shrink", "0", "--cpu-s", "0"], "0 is not in 1.."),
        (&["shrink", "0", "--plant", "canery"], "did you mean 'canary'?"),
        (&["demo", "--plant", "KIP-1O1"], "did you mean 'KIP-101'?"),
        (&["replay", "7x"], "'7x' is neither a seed nor a schedule's file"),
        (&["replay", "0", "--events", "--node", "broker-7"], "did you mean 'broker-"),
        (&["replay", "0", "--events", "--partition", "synced-7"], "did you mean synced-2"),
        (&["replay", "0", "--events", "--from", "9s", "--until", "8s"], "--until is before --from"),
    ];
    for (arguments, expected) in bad {
        let done = wyrd_sim(&directory, arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?} says {said}");
        assert!(done.stdout.is_empty(), "{arguments:?} did something first");
    }
    let left = ["broker-9.schedule", "key.toml", "partition.schedule", "plant.schedule", "topic.schedule"];
    assert_eq!(self::files(&directory), left);
}

#[test]
fn a_schedule_of_another_commit_is_replayed_and_told() {
    let directory = directory("another-commit");
    let text = failing(&directory);
    fs::write(directory.join("old.schedule"), format!("# Recorded at commit 0123abc with hash 00ff\n{text}"))
        .expect("is written");
    let done = wyrd_sim(&directory, &["replay", "old.schedule"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(42), "{said}");
    assert!(said.starts_with("recorded at commit 0123abc, replayed at commit "), "{said}");
    assert!(said.contains("this is another run than the recorded one: its hash is "), "{said}");
}

/// `println!` panics when its reader is gone.
#[test]
fn a_reader_that_goes_away_ends_a_command_quietly() {
    let directory = directory("reader-gone");
    failing(&directory);
    let mut command = Command::new(env!("CARGO_BIN_EXE_wyrd-sim"));
    command.args(["replay", "coordinator-0-shrunk.schedule", "--events"]).current_dir(&directory);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let done = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(141), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
