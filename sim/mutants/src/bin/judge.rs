//! `mutant-judge`: runs seeds with one mutant on, and prints one line of JSON for each.
//!
//! A process of its own for each mutant: one that hangs, or takes all memory, ends alone. It stops
//! at the first seed that violates a property; after a panic or the like it goes on a little, since
//! a property that sees the mutant as well is worth more.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use wyrdlog_mutants::outcome::{Seed, Seen, Violated, seen};
use wyrdlog_mutants::switch;
use wyrdlog_sim::cli::names;
use wyrdlog_sim::run::{Options, Verdict, run_seed};

/// After a seed that was seen by something else than a property, so many more are run.
const MORE_SEEDS: u64 = 6;

#[derive(Parser)]
struct Arguments {
    /// The mutant to switch on; 0 is the code as it ships.
    #[arg(long, default_value_t = 0)]
    mutant: u32,
    /// The first seed.
    #[arg(long)]
    from: u64,
    /// How many seeds.
    #[arg(long)]
    seeds: u64,
    /// Scenarios by name, which seeds take in turn.
    #[arg(long, value_delimiter = ',', required = true)]
    scenarios: Vec<String>,
    /// Only what violates one of these properties ends it.
    #[arg(long, value_delimiter = ',')]
    until: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.mutant != 0 && !switch::MUTATED {
        eprintln!("mutant-judge: this build holds no mutants");
        return ExitCode::from(2);
    }
    switch::select(arguments.mutant);
    match judge(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("mutant-judge: {trouble}");
            ExitCode::from(2)
        }
    }
}

fn judge(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let scenarios = arguments.scenarios.iter().map(|name| names::scenario(name)).collect::<Result<Vec<_>, _>>()?;
    let (mut end, mut before) = (arguments.from + arguments.seeds, 0);
    let mut seed = arguments.from;
    while seed < end {
        let scenario = &scenarios[(seed % scenarios.len() as u64) as usize];
        let run = run_seed(scenario, seed, None, &Options::default())?;
        let now = switch::executed();
        let result = of_verdict(&run.verdict, now - before);
        before = now;
        writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&result)?)?;
        seed += 1;
        match seen(&result.violated) {
            None => {}
            Some(_) if result.violated.iter().any(|one| arguments.until.contains(&one.property)) => return Ok(()),
            Some(_) if !arguments.until.is_empty() => {}
            Some(Seen::ByProperty) => return Ok(()),
            Some(_) => end = end.min(seed + MORE_SEEDS),
        }
    }
    Ok(())
}

fn of_verdict(verdict: &Verdict, executed: u64) -> Seed {
    let mut violated: Vec<Violated> = Vec::new();
    for one in &verdict.violations {
        if violated.iter().all(|known| known.property != one.property.id()) {
            let (property, evidence) = (one.property.id().to_owned(), one.evidence.clone());
            violated.push(Violated { property, evidence, time_ns: one.time_ns });
        }
    }
    let (seed, scenario, hash) = (verdict.seed, verdict.scenario.clone(), verdict.schedule_hash.clone());
    Seed { seed, scenario, executed, hash, violated }
}
