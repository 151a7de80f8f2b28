//! `wyrd-sim demo`: finds a planted bug, and shows what a person gets to see of it.

use super::{CLEAN, FAILED, Trouble, failure, names, shrink};
use crate::run::{Options, run_plan};
use crate::shrink::ShrinkBudget;
use crate::sweep::canary_of;

/// The most seeds that are tried.
const SEEDS: u64 = 200;

/// What `demo` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A scenario's name or file.
    #[arg(long, default_value = names::DEFAULT)]
    scenario: String,
    /// A planted bug; the scenario's canary if none is named.
    #[arg(long)]
    plant: Option<wyrdlog::base::plants::Plant>,
}

/// Carries it out. Clean if the bug was found: that is what the demonstration is.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let scenario = names::scenario(&arguments.scenario)?;
    let plant = arguments.plant.unwrap_or_else(|| canary_of(&scenario));
    println!("looking for the planted bug '{plant}' in scenario '{}'\n", arguments.scenario);
    for seed in 0..SEEDS {
        let mut plan = scenario.draw(seed);
        plan.schedule.plant = Some(plant.id().to_owned());
        let verdict = run_plan(&plan, &Options::default())?.verdict;
        if verdict.passed() {
            println!("seed {seed} passed");
            continue;
        }
        println!("seed {seed} FAILED; shrinking its {} faults\n", plan.schedule.faults.len());
        let budget = ShrinkBudget { runs_max: 100, scheduling_seeds: 1 };
        let (shrunk, verdict) = shrink::shrink_plan(&plan, None, budget)?;
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
