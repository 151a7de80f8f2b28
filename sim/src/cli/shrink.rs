//! `wyrd-sim shrink`: the fewest faults that still violate the same property.

use wyrdlog::base::plants::Plant;

use super::{FAILED, Trouble, failure, names, replay};
use crate::run::{CannotRun, Options, Verdict, run_plan};
use crate::scenario::Plan;
use crate::schedule::Schedule;
use crate::shrink::{ShrinkBudget, Shrunk, shrink};
use crate::verdict::Property;

/// What `shrink` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A seed, or a schedule's file.
    what: String,
    /// A scenario's name or file; a schedule names its own.
    #[arg(long)]
    scenario: Option<String>,
    /// A planted bug to switch on.
    #[arg(long)]
    plant: Option<Plant>,
    /// The property to keep violated; the first one that is, if none is named.
    #[arg(long)]
    property: Option<Property>,
    /// The most runs in all.
    #[arg(long, default_value_t = 300)]
    runs: u64,
    /// The scheduling seeds that each candidate is tried under.
    #[arg(long, default_value_t = 2)]
    scheduling_seeds: u64,
}

/// Carries it out. A schedule that fails, shrunk or not, is a failure found.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let plan = replay::plan_of(&arguments.what, arguments.scenario.as_deref(), arguments.plant)?;
    let budget = ShrinkBudget { runs_max: arguments.runs, scheduling_seeds: arguments.scheduling_seeds };
    let (shrunk, verdict) = shrink_plan(&plan, arguments.property, budget)?;
    let file = match names::file_of(&arguments.what) {
        Some(whole) => beside(whole, &shrunk.schedule)?,
        None => failure::write_schedule(&shrunk.schedule, "-shrunk")?,
    };
    println!(
        "{} faults shrank to {} in {} runs{}; {} stays violated",
        plan.schedule.faults.len(),
        shrunk.schedule.faults.len(),
        shrunk.runs,
        if shrunk.one_minimal { ", and none of them can go" } else { ", when the budget was spent" },
        shrunk.property
    );
    if let Some(violation) = verdict.violations.iter().find(|violation| violation.property == shrunk.property) {
        print!("{violation}\n{}", failure::faults(&shrunk.schedule));
    }
    println!("replay:   cargo sim replay {file}");
    Ok(FAILED)
}

/// Writes what the schedule in the file `whole` shrank to beside it, and never over it.
fn beside(whole: &str, schedule: &Schedule) -> Result<String, Trouble> {
    let file = format!("{}-shrunk.schedule", whole.strip_suffix(".schedule").unwrap_or(whole));
    names::write(&file, &schedule.print())?;
    Ok(file)
}

/// Shrinks the schedule of `plan`; gives also the verdict of what is left.
pub(super) fn shrink_plan(
    plan: &Plan,
    property: Option<Property>,
    budget: ShrinkBudget,
) -> Result<(Shrunk, Verdict), Trouble> {
    let run = |schedule: &Schedule| {
        let candidate = Plan { schedule: schedule.clone(), ..plan.clone() };
        run_plan(&candidate, &Options::default()).map(|run| run.verdict)
    };
    let mut trouble: Option<CannotRun> = None;
    let mut oracle = |schedule: &Schedule| match run(schedule) {
        Ok(verdict) => verdict.violated(),
        Err(error) => {
            trouble = Some(error);
            crate::shrink::Verdict::default()
        }
    };
    let shrunk = shrink(&plan.schedule, property, budget, &mut oracle);
    if let Some(trouble) = trouble {
        return Err(trouble.into());
    }
    let shrunk = shrunk?;
    let verdict = run(&shrunk.schedule)?;
    Ok((shrunk, verdict))
}
