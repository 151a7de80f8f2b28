//! Exhaustive exploration of the pure cores that ship.
//!
//! `cargo models run <model> [--bounds <profile>] [--plant <plant>] [-o json]` explores every state
//! within the bounds, from a fresh cluster on, and says what it found. It fails if a property does not
//! hold or was never put to the test; with a plant, it fails if nothing that must always hold is
//! refuted. `cargo models list` names the profiles and the plants that each refutes; `cargo models
//! check` runs the least of them, `cargo models check --all` all.

mod claims;
mod command;
mod consensus;
mod refutations;
mod replication;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command::run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}\n\n{}", command::usage());
            ExitCode::from(2)
        }
    }
}
