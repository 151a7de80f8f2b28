//! The commands of `wyrd-sim`, one file each, and what they share: exit codes, scenarios by name,
//! and how a failure is printed.

mod demo;
mod failure;
mod logging;
mod names;
mod plants;
mod replay;
mod run;
mod shrink;
mod sweep;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Nothing failed.
const CLEAN: u8 = 0;
/// A run violated something.
const FAILED: u8 = 42;
/// The command itself could not be carried out.
const USAGE: u8 = 2;

/// Runs the cluster in a seeded simulation, with faults, and checks what it promised.
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

/// Why a command could not be carried out.
type Trouble = Box<dyn std::error::Error>;

/// Parses the command line and carries it out.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { command, log } = Arguments::parse();
    let result = log.start().and_then(|()| match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Shrink(arguments) => shrink::run(&arguments),
        Command::Plants(arguments) => plants::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(trouble) => {
            eprintln!("wyrd-sim: {trouble}");
            ExitCode::from(USAGE)
        }
    }
}
