//! `wyrd-sim plants`: every planted bug, in how many seeds it is found, and by which property.
//!
//! Each bug is hunted in several ranges of seeds of the same swarm that every sweep uses, up to the
//! first seed of each that violates a property which the bug is said to break, with its branch
//! executed. That schedule is then run without the bug, and must be clean.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use wyrdlog::base::plants::Plant;

use super::out::{say, tell};
use super::progress::Progress;
use super::{CLEAN, FAILED, Output, Trouble, VACUOUS, failure, names, watchdog};
use crate::breaks::breaks;
use crate::run::{CannotRun, Options, run_seed};
use crate::scenario::Scenario;
use crate::sweep::cpu_time;
use crate::verdict::Property;

/// What `plants` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only this planted bug; may be given several times.
    #[arg(long, value_parser = names::plant)]
    plant: Vec<Plant>,
    /// A scenario's name or file.
    #[arg(long, default_value = names::DEFAULT_OF_SWEEPS)]
    scenario: String,
    /// In so many ranges of seeds each bug is to be found.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    ranges: u64,
    /// The first seed of the first range.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The seeds of a range; the next one begins where it ends.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// How many simulations run at once; as many as there are processors by default.
    #[arg(long, value_parser = names::jobs)]
    jobs: Option<usize>,
    /// How to print the table.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What a range of seeds came to.
#[derive(Clone, Debug, Default, Serialize)]
struct Hunt {
    /// The seed in which the bug was caught.
    caught_in: Option<u64>,
    /// The hash of that run.
    schedule_hash: Option<String>,
    /// What that run violated.
    by: Vec<Property>,
    /// Whether the same schedule is clean without the bug.
    clean_without: bool,
    /// Seeds that were run.
    seeds: u64,
    /// The CPU time that they took, in milliseconds.
    cpu_ms: u64,
    /// In how many of them the planted branch was executed.
    taken: u64,
    /// Seeds that failed by other properties than those that the bug is said to break.
    otherwise: BTreeMap<Property, u64>,
}

/// How one planted bug fared.
#[derive(Clone, Debug, Serialize)]
struct Row {
    plant: &'static str,
    /// What it is said to break.
    breaks: &'static [Property],
    /// Whether every range caught it, and was clean without it.
    caught: bool,
    /// The median number of seeds up to a catch.
    median_seeds: Option<u64>,
    /// The median CPU time up to a catch, in milliseconds.
    median_cpu_ms: Option<u64>,
    /// By which property, and in how many ranges.
    by: BTreeMap<Property, usize>,
    /// The ranges.
    hunts: Vec<Hunt>,
}

/// Bugs of the coordinator, which need no broker.
const OF_THE_COORDINATOR: &[Plant] =
    &[Plant::Zk3911, Plant::Zk2845, Plant::Keeper113654, Plant::Zk1366, Plant::LateWatch];

/// Carries it out. Clean if every bug was caught in every range.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let scenario = names::scenario(&arguments.scenario)?;
    let has_brokers = scenario.has_brokers();
    let possible = |plant: &Plant| has_brokers || OF_THE_COORDINATOR.contains(plant);
    let wanted =
        Plant::ALL.iter().copied().filter(|plant| arguments.plant.is_empty() || arguments.plant.contains(plant));
    let jobs = names::jobs_or_all(arguments.jobs);
    let mut rows = Vec::new();
    for plant in wanted.filter(possible) {
        let name = arguments.scenario.clone();
        watchdog::on_hang(move |hang| {
            let subject = failure::of_seed(hang.0.seed, &name, Some(plant.id()));
            tell!("replay:   cargo sim replay {subject}");
        });
        let row = row(plant, hunt_all(&scenario, plant, arguments, jobs)?);
        if arguments.output == Output::Text {
            say!("{}", describe(&row));
        }
        rows.push(row);
    }
    if arguments.output == Output::Json {
        say!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(code(&rows))
}

/// Clean if every range caught its bug. A bug that was never caught shows that nothing was shown; a
/// schedule that fails without it, too, is a failure found.
fn code(rows: &[Row]) -> u8 {
    let fails_without = |hunt: &Hunt| hunt.caught_in.is_some() && !hunt.clean_without;
    if rows.iter().flat_map(|row| &row.hunts).any(fails_without) {
        FAILED
    } else if rows.iter().all(|row| row.caught) {
        CLEAN
    } else {
        VACUOUS
    }
}

/// One hunt for each range, several at once.
#[allow(clippy::disallowed_methods, reason = "one simulation a thread, outside of any")]
fn hunt_all(scenario: &Scenario, plant: Plant, arguments: &Arguments, jobs: usize) -> Result<Vec<Hunt>, CannotRun> {
    let left = Mutex::new((0..arguments.ranges).rev().collect::<Vec<u64>>());
    let done = Mutex::new(BTreeMap::new());
    let progress = Mutex::new(Progress::begin(&format!("hunting {plant}: seeds"), None));
    let tried = || progress.lock().unwrap_or_else(PoisonError::into_inner).step();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let range = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(range) = range else { return };
                    let first = arguments.from + range * arguments.seeds;
                    let hunt = hunt(scenario, plant, first..first + arguments.seeds, tried);
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(range, hunt);
                }
            });
        }
    });
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).end();
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

fn hunt(scenario: &Scenario, plant: Plant, seeds: std::ops::Range<u64>, tried: impl Fn()) -> Result<Hunt, CannotRun> {
    let mut hunt = Hunt::default();
    let mut spent = Duration::ZERO;
    for seed in seeds {
        // What is judged after every event ends the run; what was violated in all is seen when it is caught.
        let options = Options { stop_at: breaks(plant).iter().copied().collect(), ..Options::default() };
        let (run, cpu) = cpu_time::measured(|| run_seed(scenario, seed, Some(plant), &options));
        let mut verdict = run?.verdict;
        tried();
        hunt.seeds += 1;
        spent += cpu;
        if verdict.cut_short {
            verdict = run_seed(scenario, seed, Some(plant), &Options::default())?.verdict;
        }
        let executed = verdict.plant_taken > 0;
        hunt.taken += u64::from(executed);
        let violated = verdict.violated().violated;
        // What fails without the branch having been executed is another bug, or a false alarm.
        if executed && violated.iter().any(|property| breaks(plant).contains(property)) {
            hunt.caught_in = Some(seed);
            hunt.schedule_hash = Some(verdict.schedule_hash);
            hunt.by = violated.into_iter().collect();
            hunt.clean_without = run_seed(scenario, seed, None, &Options::default())?.verdict.passed();
            break;
        }
        violated.into_iter().for_each(|property| *hunt.otherwise.entry(property).or_default() += 1);
    }
    hunt.cpu_ms = spent.as_millis() as u64;
    Ok(hunt)
}

fn row(plant: Plant, hunts: Vec<Hunt>) -> Row {
    let caught: Vec<&Hunt> = hunts.iter().filter(|hunt| hunt.caught_in.is_some()).collect();
    let median = |of: fn(&Hunt) -> u64| {
        let mut all: Vec<u64> = caught.iter().map(|hunt| of(hunt)).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    };
    let mut by = BTreeMap::new();
    for property in caught.iter().flat_map(|hunt| &hunt.by) {
        *by.entry(*property).or_default() += 1;
    }
    Row {
        plant: plant.id(),
        breaks: breaks(plant),
        caught: hunts.iter().all(|hunt| hunt.clean_without),
        median_seeds: median(|hunt| hunt.seeds),
        median_cpu_ms: median(|hunt| hunt.cpu_ms),
        by,
        hunts,
    }
}

fn describe(row: &Row) -> String {
    let caught_in: Vec<String> =
        row.hunts.iter().map(|hunt| hunt.caught_in.map_or("–".to_owned(), |seed| seed.to_string())).collect();
    let by: Vec<String> = row.by.iter().map(|(property, count)| format!("{property} {count}")).collect();
    let median = match (row.median_seeds, row.median_cpu_ms) {
        (Some(seeds), Some(cpu_ms)) => format!("median {seeds} seeds and {:.1} s of CPU", cpu_ms as f64 / 1e3),
        _ => "never caught".to_owned(),
    };
    let mut text = format!(
        "{:<22} {} in seeds {}; {median}; by {}",
        row.plant,
        if row.caught { "caught" } else { "MISSED" },
        caught_in.join(", "),
        if by.is_empty() { "nothing".to_owned() } else { by.join(", ") }
    );
    for hunt in row.hunts.iter().filter(|hunt| !hunt.clean_without) {
        text += &match hunt.caught_in {
            Some(seed) => format!("\n  seed {seed} fails without the bug, too"),
            None => {
                format!(
                    "\n  {} seeds, branch executed in {}, otherwise failed {:?}",
                    hunt.seeds, hunt.taken, hunt.otherwise
                )
            }
        };
    }
    text
}
