//! `wyrd-sim demo`: finds a planted bug, and shows what a person gets to see of it.

use wyrdlog::base::plants::Plant;

use super::{CLEAN, FAILED, Trouble, failure, names, shrink};
use crate::breaks::breaks;
use crate::run::{Options, run_plan};
use crate::shrink::ShrinkBudget;

/// The most seeds that are tried.
const SEEDS: u64 = 200;

/// What `demo` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A scenario's name or file.
    #[arg(long, default_value = names::DEFAULT)]
    scenario: String,
    /// A planted bug; one that takes a few faults to show if none is named.
    #[arg(long)]
    plant: Option<Plant>,
}

/// Carries it out. Clean if the bug was found: that is what the demonstration is.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let scenario = names::scenario(&arguments.scenario)?;
    let has_brokers = scenario.has_brokers();
    let shown = if has_brokers { Plant::Kip101 } else { Plant::Zk3911 };
    let plant = arguments.plant.unwrap_or(shown);
    println!("looking for the planted bug '{plant}' in scenario '{}'\n", arguments.scenario);
    for seed in 0..SEEDS {
        let mut plan = scenario.draw(seed);
        plan.schedule.plant = Some(plant.id().to_owned());
        let verdict = run_plan(&plan, &Options::default())?.verdict;
        let broken = verdict.violated().violated.into_iter().find(|property| breaks(plant).contains(property));
        let Some(broken) = broken else {
            println!("seed {seed} passed");
            continue;
        };
        println!("seed {seed} FAILED; shrinking its {} faults\n", plan.schedule.faults.len());
        let budget = ShrinkBudget { runs_max: 80, scheduling_seeds: 1 };
        let (shrunk, verdict) = shrink::shrink_plan(&plan, Some(broken), budget)?;
        let file = failure::write_schedule(&shrunk.schedule, "-demo")?;
        if let Some(violation) = verdict.violations.iter().find(|violation| violation.property == shrunk.property) {
            println!("{violation}");
        }
        print!("{}", failure::faults(&shrunk.schedule));
        println!("replay:   cargo sim replay {file}");
        return Ok(CLEAN);
    }
    println!("it was not found in {SEEDS} seeds");
    Ok(FAILED)
}
