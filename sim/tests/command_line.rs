//! What `wyrd-sim` does with the files that it is given.
#![allow(clippy::disallowed_methods, reason = "a test starts the program and looks at its files")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    assert!(said.contains("replay:   cargo sim replay coordinator-0-shrunk.schedule\n"), "{said}");
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
