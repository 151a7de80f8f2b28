//! `wyrd-sim plants`: every planted bug, in how many seeds it is found, and by which property.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use wyrdlog::base::plants::Plant;

use super::{CLEAN, FAILED, Output, Trouble, names};
use crate::scenario::Scenario;
use crate::sweep::{self, Plan};
use crate::verdict::Property;

/// What `plants` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only this planted bug.
    #[arg(long)]
    plant: Option<Plant>,
    /// A scenario's name or file.
    #[arg(long, default_value = names::DEFAULT)]
    scenario: String,
    /// Each bug is to be found so often.
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// The most seeds for each bug.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// How to print the table.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// How one planted bug fared.
#[derive(Clone, Debug, Serialize)]
struct Row {
    plant: &'static str,
    /// How often it was found.
    found: usize,
    /// Seeds run in all.
    seeds: u64,
    /// The median number of seeds from one finding to the next.
    median_seeds: Option<u64>,
    /// The median CPU time from one finding to the next, in milliseconds.
    median_cpu_ms: Option<u64>,
    /// In how many seeds the planted branch was executed.
    taken: u64,
    /// By which property, and how often.
    by: BTreeMap<Property, usize>,
    /// The hash of the first seed in which it was found.
    schedule_hash: Option<String>,
}

/// Bugs of the coordinator, which need no broker.
const OF_THE_COORDINATOR: &[Plant] = &[Plant::Zk3911, Plant::LateWatch];

/// Carries it out. Clean if every bug that can be executed was found.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let scenario = names::scenario(&arguments.scenario)?;
    let has_brokers = scenario.cluster.brokers != Some(0);
    let possible = |plant: &Plant| has_brokers || OF_THE_COORDINATOR.contains(plant);
    let wanted = Plant::ALL.iter().copied().filter(|plant| arguments.plant.is_none_or(|wanted| wanted == *plant));
    let mut rows = Vec::new();
    for plant in wanted.filter(possible) {
        let row = hunt(&scenario, plant, arguments)?;
        if arguments.output == Output::Text {
            println!("{}", describe(&row));
        }
        rows.push(row);
    }
    if arguments.output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(if rows.iter().all(|row| row.found > 0) { CLEAN } else { FAILED })
}

fn hunt(scenario: &Scenario, plant: Plant, arguments: &Arguments) -> Result<Row, Trouble> {
    let seeds = 0..arguments.seeds;
    let plan = Plan {
        scenario: scenario.clone(),
        seeds: seeds.clone(),
        jobs: 1,
        plant: Some(plant),
        tamper: false,
        until_failure: false,
    };
    let (mut between, mut since) = (Vec::new(), (0_u64, Duration::ZERO));
    let mut row = Row {
        plant: plant.id(),
        found: 0,
        seeds: 0,
        median_seeds: None,
        median_cpu_ms: None,
        taken: 0,
        by: BTreeMap::new(),
        schedule_hash: None,
    };
    for seed in seeds {
        let swept = sweep::sweep_one(&plan, seed)?;
        row.seeds += 1;
        row.taken += u64::from(swept.verdict.plant_taken > 0);
        since = (since.0 + 1, since.1 + swept.cpu);
        // What fails without the branch having been executed is another bug, or a false alarm.
        if swept.verdict.passed() || swept.verdict.plant_taken == 0 {
            continue;
        }
        row.found += 1;
        row.schedule_hash.get_or_insert(swept.verdict.schedule_hash.clone());
        swept.verdict.violated().violated.into_iter().for_each(|property| *row.by.entry(property).or_default() += 1);
        between.push(std::mem::take(&mut since));
        if row.found >= arguments.times {
            break;
        }
    }
    between.sort_unstable();
    row.median_seeds = between.get(between.len() / 2).map(|(seeds, _)| *seeds);
    between.sort_unstable_by_key(|(_, cpu)| *cpu);
    row.median_cpu_ms = between.get(between.len() / 2).map(|(_, cpu)| cpu.as_millis() as u64);
    Ok(row)
}

fn describe(row: &Row) -> String {
    let by: Vec<String> = row.by.iter().map(|(property, count)| format!("{property} {count}")).collect();
    let number = |number: Option<u64>| number.map_or("–".to_owned(), |number| number.to_string());
    format!(
        "{:<22} found {} times in {} seeds (branch executed in {}), median {} seeds and {} ms of CPU, by {}",
        row.plant,
        row.found,
        row.seeds,
        row.taken,
        number(row.median_seeds),
        number(row.median_cpu_ms),
        if by.is_empty() { "nothing".to_owned() } else { by.join(", ") }
    )
}
