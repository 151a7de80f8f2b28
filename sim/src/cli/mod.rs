//! The commands of `wyrd-sim`, one file each, and what they share: exit codes, scenarios by name,
//! and how a failure is printed.

mod demo;
mod failure;
mod logging;
mod mutants;
pub mod names;
mod out;
mod plants;
mod progress;
mod recorded;
mod replay;
mod run;
mod shrink;
mod sweep;
mod watchdog;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use out::tell;

/// Nothing failed.
const CLEAN: u8 = 0;
/// Something stood in the way that is neither a finding nor the user's input: a disk that is full, say.
const INFRASTRUCTURE: u8 = 1;
/// What was given cannot be used.
const USAGE: u8 = 2;
/// A floor was missed: nothing was shown.
const VACUOUS: u8 = 3;
/// A run differed from its repetition: something is read that the seed does not decide.
const DIVERGED: u8 = 4;
/// A run violated something.
const FAILED: u8 = 42;

/// Runs the cluster in a seeded simulation, with faults, and checks what it promised.
///
/// Exit codes: 0 clean, 42 something was violated, 3 too little was covered to show anything, 4 a run
/// differed from its repetition, 2 what was given cannot be used, anything else is infrastructure.
#[derive(Parser)]
#[command(name = "wyrd-sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: logging::LogArguments,
}

#[derive(Subcommand)]
enum Command {
    /// One seed, one verdict.
    Run(run::Arguments),
    /// Many seeds.
    Sweep(sweep::Arguments),
    /// The same run again, of a seed or of a schedule's file.
    Replay(replay::Arguments),
    /// The fewest faults that still violate the same property.
    Shrink(shrink::Arguments),
    /// Every planted bug: in how many seeds it is found, and by which property.
    Plants(plants::Arguments),
    /// The product changed one place at a time: which changes the simulator sees.
    Mutants(mutants::Arguments),
    /// Finds a planted bug and shows what a person gets to see of it.
    Demo(demo::Arguments),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Why a command could not be carried out. What was given cannot be used, unless it is
/// `Infrastructure`.
pub type Trouble = Box<dyn std::error::Error>;

/// What stood in the way and is nobody's input.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Infrastructure(String);

/// Parses the command line and carries it out.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { command, log } = Arguments::parse();
    watchdog::start(watchdog::Bound::default());
    let result = log.start().and_then(|()| match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Shrink(arguments) => shrink::run(&arguments),
        Command::Plants(arguments) => plants::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(trouble) => {
            tell!("wyrd-sim: {trouble}");
            ExitCode::from(if trouble.is::<Infrastructure>() { INFRASTRUCTURE } else { USAGE })
        }
    }
}
