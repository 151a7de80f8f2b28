//! `wyrd-sim sweep`: many seeds.

use std::io::IsTerminal;
use std::ops::Range;

use indicatif::{ProgressBar, ProgressStyle};
use wyrdlog::base::plants::Plant;

use super::{CLEAN, FAILED, Output, Trouble, failure, names};
use crate::faults::Fate;
use crate::sweep::{self, Plan, Summary, find_canary};

/// What `sweep` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The seeds, the last one excluded.
    #[arg(long, value_parser = parse_seeds, default_value = "0..100")]
    seeds: Range<u64>,
    /// A scenario's name or file.
    #[arg(long, default_value = names::DEFAULT)]
    scenario: String,
    /// How many simulations run at once; as many as there are processors by default.
    #[arg(long)]
    jobs: Option<usize>,
    /// A planted bug to switch on.
    #[arg(long)]
    plant: Option<Plant>,
    /// Edit every passing run's record, and see each edit rejected.
    #[arg(long)]
    tamper: bool,
    /// Stop after the first failure.
    #[arg(long)]
    until_failure: bool,
    /// A file for the summary as JSON, whatever is printed.
    #[arg(long)]
    report: Option<String>,
    /// How to print the summary.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let bad = || format!("'{text}' is no range of seeds: write A..B, such as 0..1000");
    let (first, end) = text.split_once("..").ok_or_else(bad)?;
    let (first, end) = (first.parse().map_err(|_| bad())?, end.parse().map_err(|_| bad())?);
    if first < end { Ok(first..end) } else { Err(bad()) }
}

/// Carries it out.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let scenario = names::scenario(&arguments.scenario)?;
    let jobs = arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (seeds, plant) = (arguments.seeds.clone(), arguments.plant);
    let (tamper, until_failure) = (arguments.tamper, arguments.until_failure);
    let plan = Plan { scenario, seeds, jobs, plant, tamper, until_failure };
    let bar = progress_bar(plan.seeds.end - plan.seeds.start);
    let (mut failed, mut done, mut memory_kib) = (0_u64, 0_u64, None);
    let mut summary = sweep::sweep(&plan, |swept| {
        failed += u64::from(!swept.verdict.passed());
        bar.set_message(format!("{failed} failed"));
        bar.inc(1);
        done += 1;
        if done == sweep::MEMORY_SEEDS {
            memory_kib = resident_kib();
        }
    })?;
    bar.finish_and_clear();
    summary.memory_kib = memory_kib.zip(resident_kib());
    summary.misses = misses(&plan, &summary);
    // With a plant the sweep itself is the proof that checkers bite.
    if plant.is_none() {
        summary.canary = find_canary(&plan.scenario, plan.seeds.start)?;
    }
    if let Some(file) = &arguments.report {
        names::write(file, &serde_json::to_string_pretty(&summary)?)?;
    }
    print_summary(&plan, &summary, arguments.output)?;
    let whole = plant.is_some() || summary.canary.is_some();
    let clean = summary.failed.is_empty() && summary.diverged.is_empty() && summary.tampered.1.is_empty();
    let clean = clean && summary.misses.is_empty() && whole;
    Ok(if clean { CLEAN } else { FAILED })
}

/// Resident memory of this process, where the operating system tells.
#[allow(clippy::disallowed_methods, reason = "it measures the process, outside of any simulation")]
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn misses(plan: &Plan, summary: &Summary) -> Vec<String> {
    // A planted bug may well end a run early.
    if plan.plant.is_some() || plan.until_failure {
        return Vec::new();
    }
    let mut misses = summary.coverage.misses(plan.scenario.cluster.brokers != Some(0));
    let grown = |(before, after): &(u64, u64)| after * 100 > before * (100 + sweep::MEMORY_GROWTH_PERCENT_MAX);
    if let Some((before, after)) = summary.memory_kib.filter(grown) {
        misses.push(format!("resident memory grew from {before} to {after} KiB after {} seeds", sweep::MEMORY_SEEDS));
    }
    misses
}

/// A bar where somebody looks, nothing elsewhere.
fn progress_bar(seeds: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(seeds);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left; {msg}");
    bar.set_style(style.expect("the template is a constant that was tried"));
    bar
}

fn print_summary(plan: &Plan, summary: &Summary, output: Output) -> Result<(), Trouble> {
    if output == Output::Json {
        println!("{}", serde_json::to_string_pretty(summary)?);
        return Ok(());
    }
    print!("{}", describe(summary));
    let Some(verdict) = summary.failures.iter().min_by_key(|verdict| verdict.seed) else { return Ok(()) };
    let mut failing = plan.scenario.draw(verdict.seed);
    failing.schedule.plant = plan.plant.map(|plant| plant.id().to_owned()).or(failing.schedule.plant);
    eprint!("\n{}", failure::describe(verdict, &failing)?);
    Ok(())
}

fn describe(summary: &Summary) -> String {
    let cpu_s = (summary.cpu_ms as f64 / 1e3).max(1e-9);
    let simulated_s = summary.simulated_ms as f64 / 1e3;
    let failed = summary.failed_seeds();
    let mut text = format!(
        "{} seeds: {} failed, {} of {} diverged when run again\n",
        summary.seeds,
        failed.len(),
        summary.diverged.len(),
        summary.again
    );
    text += &format!(
        "  {simulated_s:.0} simulated s in {cpu_s:.1} s of CPU: {:.0} times, {:.0} checked requests per CPU s, {:.0} seeds per CPU hour\n",
        simulated_s / cpu_s,
        summary.requests as f64 / cpu_s,
        summary.seeds as f64 * 3600.0 / cpu_s,
    );
    text += &format!(
        "  {} requests, {} unknown, {} under a fault; {} seeds past the budget\n",
        summary.requests, summary.requests_unknown, summary.requests_under_fault, summary.beyond_budget
    );
    let fate = |fate: Fate| summary.faults.get(&fate).copied().unwrap_or(0);
    text += &format!(
        "  faults: {} took effect, {} without effect, {} without target, {} over budget, {} not triggered\n",
        fate(Fate::TookEffect),
        fate(Fate::NoEffect),
        fate(Fate::NoTarget),
        fate(Fate::OverBudget),
        fate(Fate::NeverTriggered),
    );
    let coverage = &summary.coverage;
    text += &format!(
        "  at least {} s and {} requests a seed; {} requests ok, {} of them under a fault; {} seeds without faults; \
         {} cut power over unsynced bytes; classes {:?}\n",
        coverage.simulated_ms_min / 1_000,
        coverage.requests_min,
        coverage.ok,
        coverage.ok_under_fault,
        coverage.fault_free,
        coverage.unsynced_power_cut,
        coverage.durability,
    );
    for (kind, count) in &coverage.fault_kinds {
        text += &format!("  felt in {count:>8} seeds: {kind:?}\n");
    }
    for (form, count) in &coverage.forms {
        text += &format!("  felt in {count:>8} seeds: {}\n", form.id());
    }
    if let Some((before, after)) = summary.memory_kib {
        text += &format!("  {before} KiB resident after {} seeds, {after} at the end\n", sweep::MEMORY_SEEDS);
    }
    for (probe, count) in &summary.probes {
        text += &format!("  reached in {count:>5} seeds: {probe}\n");
    }
    for (property, count) in summary.evaluations.iter().filter(|(_, count)| **count > 0) {
        let seeds = coverage.evaluated.get(property).copied().unwrap_or(0);
        text += &format!("  evaluated {count:>10} times in {seeds:>5} seeds: {property}\n");
    }
    if summary.tampered.0 > 0 {
        text += &format!("  {} edits of passing records, unnoticed: {:?}\n", summary.tampered.0, summary.tampered.1);
    }
    for miss in &summary.misses {
        text += &format!("  NOT COVERED: {miss}\n");
    }
    for (property, seeds) in &summary.failed {
        text += &format!("  FAILED {property}: seeds {:?}\n", seeds.iter().take(20).collect::<Vec<_>>());
    }
    match summary.canary {
        Some(seed) => text + &format!("  the canary was found in seed {seed}\n"),
        None => text,
    }
}
