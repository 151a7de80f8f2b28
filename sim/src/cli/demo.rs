//! `wyrd-sim demo`: hunts a planted bug, shrinks what fails to the few faults that matter, and shows what
//! a person gets to see of it.

use std::time::Duration;

use wyrdlog::base::plants::Plant;

use super::out::say;
use super::progress::Progress;
use super::shrink::{Budget, Spent};
use super::{CLEAN, Trouble, VACUOUS, failure, names, shrink};
use crate::breaks::breaks;
use crate::run::{Options, run_plan};
use crate::scenario::{Plan, Scenario};
use crate::sweep::cpu_time;
use crate::verdict::Property;

/// The most CPU time that is spent on hunting.
const HUNT: Duration = Duration::from_secs(20);
/// The most CPU time that is spent on looking at seeds without the planted bug.
const NOTHING: Duration = Duration::from_secs(5);
/// Shrinking takes so many polls and events of the engine at most, some seconds of CPU time, so that it
/// comes to the same on every machine.
const SHRINK_STEPS: u64 = 2_800_000;
/// What is shrunk is to be worth it: seeds that draw fewer faults are passed over.
const FAULTS_MIN: usize = 12;

/// What `demo` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A scenario's name or file.
    #[arg(long, default_value = names::DEFAULT)]
    scenario: String,
    /// A planted bug; one that takes a few faults to show if none is named.
    #[arg(long, value_parser = names::plant)]
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
        Some(plant) => say!("hunting a planted bug, {plant}, in scenario {}:", arguments.scenario),
        None => say!("looking for a bug where none is planted, in scenario {}:", arguments.scenario),
    }
    let Some((plan, property)) = hunt(&scenario, plant, arguments.seed)? else {
        say!("nothing was found");
        return Ok(VACUOUS);
    };
    let file = failure::file_of(&plan.schedule, "-demo");
    names::writable(&file)?;
    say!("shrinking its {} faults:", plan.schedule.faults.len());
    let spent = Spent::default();
    let budget = Budget { cpu: Duration::MAX, runs: u64::MAX, steps: SHRINK_STEPS, scheduling_seeds: 2 };
    let left = shrink::shrink_plan(&plan, Some(property), budget, &spent, &mut |line| say!("{line}"))?;
    say!("{}", shrink::describe(&plan, &left, &spent));
    failure::write_schedule(&file, &left.shrunk.schedule, &left.verdict)?;
    say!("schedule: {file} (written just now)");
    say!("replay:   cargo sim replay {file}");
    say!("{}", failure::look(&left.verdict, &file));
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
        let faults = failure::count(plan.schedule.faults.len(), "fault");
        if plan.schedule.faults.len() < FAULTS_MIN {
            say!("  seed {seed}: passed over, it draws only {faults}");
            continue;
        }
        failure::watch(&plan, None);
        let progress = Progress::begin(&format!("running seed {seed}"), None);
        let (run, cpu) = cpu_time::measured(|| run_plan(&plan, &options));
        progress.end();
        let verdict = run?.verdict;
        spent += cpu;
        let mut broken = verdict.violated();
        broken.violated.retain(|property| expected.contains(property));
        if let Some(property) = broken.first() {
            say!("  seed {seed}: {faults} drawn, FAILED: {property} is violated");
            return Ok(Some((plan, property)));
        }
        say!("  seed {seed}: {faults} drawn, passed");
        if spent >= limit {
            break;
        }
    }
    Ok(None)
}
