//! Tells the simulator which commit it is built from, so that a failure can say what replays it.
//! Who builds outside of a clone of the repository says it in the variable `WYRD_COMMIT`, or it stays unknown.

use std::path::Path;
use std::process::Command;

/// What a build depends on: the sources, and what is checked out.
const SOURCES: &[&str] = &["src", "scenarios", "../src", "../Cargo.lock"];

fn main() {
    println!("cargo::rerun-if-env-changed=WYRD_COMMIT");
    if let Ok(commit) = std::env::var("WYRD_COMMIT") {
        println!("cargo::rustc-env=WYRD_COMMIT={commit}");
        println!("cargo::rerun-if-changed=build.rs");
        return;
    }
    for path in SOURCES {
        println!("cargo::rerun-if-changed={path}");
    }
    let Some(directory) = git(&["rev-parse", "--absolute-git-dir"]) else { return };
    // It grows with each commit, checkout and reset. A path that is not there would never be up to date.
    let moves = Path::new(&directory).join("logs/HEAD");
    #[allow(clippy::disallowed_methods, reason = "a build script looks at the repository")]
    if moves.exists() {
        println!("cargo::rerun-if-changed={}", moves.display());
    }
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return };
    let is_modified = git(&["status", "--porcelain", "--untracked-files=no", "--", "src", "../src", "../Cargo.lock"]);
    let modified = if is_modified.is_some_and(|changes| !changes.is_empty()) { "-modified" } else { "" };
    println!("cargo::rustc-env=WYRD_COMMIT={commit}{modified}");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
