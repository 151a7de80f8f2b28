//! `wyrd-sim demo`: hunts a planted bug, shrinks what fails to the few faults that matter, and shows what
//! a person gets to see of it.

use std::time::Duration;

use wyrdlog::base::plants::Plant;

use super::shrink::{Budget, Spent};
use super::{CLEAN, FAILED, Trouble, failure, names, shrink};
use crate::breaks::breaks;
use crate::run::{Options, run_plan};
use crate::scenario::{Plan, Scenario};
use crate::sweep::cpu_time;
use crate::verdict::Property;

/// The most CPU time that is spent on hunting.
const HUNT: Duration = Duration::from_secs(20);
/// The most CPU time that is spent on looking at seeds without the planted bug.
const NOTHING: Duration = Duration::from_secs(5);
/// The most CPU time that is spent on shrinking.
const SHRINK: Duration = Duration::from_secs(7);
/// What is shrunk is to be worth it: seeds that draw fewer faults are passed over.
const FAULTS_MIN: usize = 12;

/// What `demo` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A scenario's name or file.
    #[arg(long, default_value = names::DEFAULT)]
    scenario: String,
    /// A planted bug; one that takes a few faults to show if none is named.
    #[arg(long)]
    plant: Option<Plant>,
    /// The same without any planted bug: nothing should be found.
    #[arg(long, conflicts_with = "plant")]
    no_plant: bool,
    /// The seed with which the hunt begins.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Carries it out. Clean if the bug was found: that is what the demonstration is.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let scenario = names::scenario(&arguments.scenario)?;
    let has_brokers = scenario.has_brokers();
    let shown = if has_brokers { Plant::Kip101 } else { Plant::Zk3911 };
    let plant = (!arguments.no_plant).then(|| arguments.plant.unwrap_or(shown));
    match plant {
        Some(plant) => println!("Wyrd with a planted bug, '{plant}', in scenario '{}'.\n", arguments.scenario),
        None => println!("Wyrd without any planted bug, in scenario '{}'.\n", arguments.scenario),
    }
    let Some((plan, property)) = hunt(&scenario, plant, arguments.seed)? else {
        println!("\nnothing was found");
        return Ok(FAILED);
    };
    println!("\nshrinking its {} faults, for {} s at most:", plan.schedule.faults.len(), SHRINK.as_secs());
    let spent = Spent::default();
    let (shrunk, verdict) = shrink::shrink_plan(&plan, Some(property), Budget::of(SHRINK), &spent, &mut |progress| {
        if progress.done {
            println!("  {}: {} faults left after {} runs", progress.stage, progress.faults, progress.runs);
        }
    })?;
    let count = shrunk.schedule.faults.len();
    println!(
        "{} faults shrank to {count} in {} runs and {:.1} s of CPU{}\n",
        plan.schedule.faults.len(),
        shrunk.runs,
        spent.cpu.get().as_secs_f64(),
        if shrunk.one_minimal { ", and none of them can go" } else { ", when the time was spent" },
    );
    if let Some(violation) = verdict.violations.iter().find(|violation| violation.property == shrunk.property) {
        println!("{violation}");
    }
    print!("{}", failure::faults(&shrunk.schedule));
    let file = failure::write_schedule(&shrunk.schedule, "-demo")?;
    println!("schedule: {file} (written just now)\nreplay:   cargo sim replay {file}");
    Ok(CLEAN)
}

/// The first seed from `first` on that fails by what `plant` is said to break, or without a plant by
/// anything, within a bounded time.
fn hunt(scenario: &Scenario, plant: Option<Plant>, first: u64) -> Result<Option<(Plan, Property)>, Trouble> {
    let expected: &[Property] = plant.map_or(Property::ALL, breaks);
    let options = Options { stop_at: expected.iter().copied().collect(), ..Options::default() };
    let limit = if plant.is_some() { HUNT } else { NOTHING };
    let mut spent = Duration::ZERO;
    for seed in first.. {
        let mut plan = scenario.draw(seed);
        plan.schedule.plant = plant.map(|plant| plant.id().to_owned());
        let faults = plan.schedule.faults.len();
        if faults < FAULTS_MIN {
            println!("seed {seed}: passed over, it draws only {faults} faults");
            continue;
        }
        let (run, cpu) = cpu_time::measured(|| run_plan(&plan, &options));
        let verdict = run?.verdict;
        spent += cpu;
        let mut broken = verdict.violated();
        broken.violated.retain(|property| expected.contains(property));
        if let Some(property) = broken.first() {
            println!("seed {seed}: {faults} faults drawn, FAILED: {property} is violated");
            return Ok(Some((plan, property)));
        }
        println!("seed {seed}: {faults} faults drawn, passed");
        if spent >= limit {
            break;
        }
    }
    Ok(None)
}
