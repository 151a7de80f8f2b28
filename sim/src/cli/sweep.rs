//! `wyrd-sim sweep`: many seeds.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use wyrdlog::base::plants::Plant;

use super::out::{say, tell};
use super::progress::Progress;
use super::{CLEAN, DIVERGED, FAILED, Output, Trouble, VACUOUS, failure, names, watchdog};
use crate::faults::Fate;
use crate::sweep::{self, CANARY_SEEDS, Plan, Summary, find_canary};

/// What `sweep` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The seeds, the last one excluded.
    #[arg(long, value_parser = parse_seeds, default_value = "0..100")]
    seeds: Range<u64>,
    /// A scenario's name or file.
    #[arg(long, default_value = names::DEFAULT_OF_SWEEPS)]
    scenario: String,
    /// How many simulations run at once; as many as there are processors by default.
    #[arg(long, value_parser = names::jobs)]
    jobs: Option<usize>,
    /// A planted bug to switch on.
    #[arg(long, value_parser = names::plant)]
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
    if first < end { Ok(first..end) } else { Err(format!("{first}..{end} is empty: write the smaller seed first")) }
}

/// Carries it out.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let scenario = names::scenario(&arguments.scenario)?;
    arguments.report.as_deref().map_or(Ok(()), names::writable)?;
    let plan = Plan {
        scenario,
        seeds: arguments.seeds.clone(),
        jobs: names::jobs_or_all(arguments.jobs),
        plant: arguments.plant,
        tamper: arguments.tamper,
        until_failure: arguments.until_failure,
    };
    let mut summary = sweep_all(&plan, arguments.report.as_deref())?;
    // With a plant the sweep itself is the proof that checkers bite.
    if plan.plant.is_none() {
        summary.canary = search_canary(&plan)?;
    }
    if let Some(file) = &arguments.report {
        names::write(file, &serde_json::to_string_pretty(&summary)?)?;
    }
    print_summary(&plan, &summary, arguments.output)?;
    Ok(code(&plan, &summary))
}

fn sweep_all(plan: &Plan, report: Option<&str>) -> Result<Summary, Trouble> {
    let (mut failed, mut done, mut memory, mut settled_kib) = (0_u64, 0_u64, Memory::default(), None);
    let mut progress = Progress::begin("sweeping seeds", Some(plan.seeds.end - plan.seeds.start));
    let summary = Arc::new(Mutex::new(Summary::default()));
    watch(plan, &summary, report);
    sweep::sweep_into(plan, &summary, |swept| {
        failed += u64::from(!swept.verdict.passed());
        progress.note(format!("{failed} failed"));
        progress.step();
        done += 1;
        memory.look(resident_kib());
        if done <= sweep::MEMORY_SEEDS {
            settled_kib = settled_kib.max(memory.least_kib());
        }
    })?;
    progress.end();
    let mut summary = std::mem::take(&mut *summary.lock().unwrap_or_else(PoisonError::into_inner));
    summary.memory_kib = settled_kib.zip(memory.least_kib()).filter(|_| done > sweep::MEMORY_SEEDS);
    // A planted bug may well end a run early.
    if plan.plant.is_none() && !plan.until_failure {
        summary.misses = summary.coverage.misses(&plan.scenario);
    }
    Ok(summary)
}

/// Should a seed hang, what is known of the others is told, and written where it was to be written.
fn watch(plan: &Plan, summary: &Arc<Mutex<Summary>>, report: Option<&str>) {
    let (summary, report) = (summary.clone(), report.map(str::to_owned));
    let (scenario, plant) = (plan.scenario.name.clone(), plan.plant);
    watchdog::on_hang(move |hang| {
        let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
        summary.take_hung(hang.0.seed, &hang.reason());
        say!("{}", describe(&summary).trim_end());
        if let Some(file) = report {
            let written = serde_json::to_string_pretty(&*summary).map_err(Trouble::from);
            if let Err(error) = written.and_then(|text| names::write(&file, &text)) {
                tell!("wyrd-sim: {error}");
            }
        }
        let subject = failure::of_seed(hang.0.seed, &scenario, plant.map(Plant::id));
        tell!("replay:   cargo sim replay {subject}");
    });
}

fn search_canary(plan: &Plan) -> Result<Option<u64>, Trouble> {
    let mut progress = Progress::begin("looking for the canary, a planted bug that must be found", Some(CANARY_SEEDS));
    let canary = find_canary(&plan.scenario, plan.seeds.start, || progress.step())?;
    progress.end();
    Ok(canary)
}

/// A run that is no function of its seed comes first: nothing else can be trusted then.
fn code(plan: &Plan, summary: &Summary) -> u8 {
    let has_failed = !summary.failed.is_empty() || !summary.tampered.1.is_empty();
    if !summary.diverged.is_empty() {
        DIVERGED
    } else if has_failed || grown(summary).is_some() {
        FAILED
    } else if is_vacuous(plan, summary) {
        VACUOUS
    } else {
        CLEAN
    }
}

/// Whether too little was covered to show anything.
fn is_vacuous(plan: &Plan, summary: &Summary) -> bool {
    !summary.misses.is_empty() || plan.plant.is_none() && summary.canary.is_none()
}

/// By how much resident memory grew, if it was too much.
fn grown(summary: &Summary) -> Option<String> {
    let (before, after) = summary.memory_kib?;
    let is_much = after * 100 > before * (100 + sweep::MEMORY_GROWTH_PERCENT_MAX);
    is_much.then(|| format!("resident memory grew from {before} to {after} KiB after {} seeds", sweep::MEMORY_SEEDS))
}

/// Resident memory after each of the last seeds. The least of it is what is kept between seeds: one seed takes many
/// times as much as most, and the allocator gives it back in its own time.
#[derive(Default)]
struct Memory(VecDeque<u64>);

impl Memory {
    fn look(&mut self, resident_kib: Option<u64>) {
        self.0.extend(resident_kib);
        if self.0.len() > sweep::MEMORY_WINDOW {
            self.0.pop_front();
        }
    }

    fn least_kib(&self) -> Option<u64> {
        self.0.iter().min().filter(|_| self.0.len() == sweep::MEMORY_WINDOW).copied()
    }
}

/// Resident memory of this process, where the operating system tells.
#[allow(clippy::disallowed_methods, reason = "it measures the process, outside of any simulation")]
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn print_summary(plan: &Plan, summary: &Summary, output: Output) -> Result<(), Trouble> {
    if output == Output::Json {
        say!("{}", serde_json::to_string_pretty(summary)?);
        return Ok(());
    }
    say!("{}{}", describe(summary), headline(plan, summary));
    let Some(verdict) = summary.failures.iter().min_by_key(|verdict| verdict.seed) else { return Ok(()) };
    let mut failing = plan.scenario.draw(verdict.seed);
    failing.schedule.plant = plan.plant.map(|plant| plant.id().to_owned()).or(failing.schedule.plant);
    tell!(
        "\nseed {} of {}:\n{}",
        verdict.seed,
        verdict.scenario,
        failure::describe(verdict, &failing, None).trim_end()
    );
    Ok(())
}

/// What it came to, in a line that says the exit code in words.
fn headline(plan: &Plan, summary: &Summary) -> String {
    let scenario = &plan.scenario.name;
    match code(plan, summary) {
        CLEAN => "clean".to_owned(),
        DIVERGED => {
            let seeds = &summary.diverged;
            format!("DIVERGED: another run of the same seed had another hash: seeds {seeds:?} of {scenario}")
        }
        VACUOUS => "VACUOUS: nothing failed, and too little was covered to show anything".to_owned(),
        _ => format!("FAILED: {} seeds violated something", summary.failed_seeds().len()),
    }
}

/// What a simulated second holds. A sweep is faster for nothing if it holds less.
fn rates(summary: &Summary) -> String {
    let simulated_s = (summary.simulated_ms as f64 / 1e3).max(1e-9);
    let evaluations: u64 = summary.evaluations.values().sum();
    let effective = summary.faults.get(&Fate::TookEffect).copied().unwrap_or(0);
    let per_s = |count: u64| count as f64 / simulated_s;
    format!(
        "  a simulated s: {:.1} requests ({:.1} sends, {:.1} polls, {:.1} of coordinators), {:.0} evaluations, \
         {:.3} faults that took effect\n",
        per_s(summary.requests),
        per_s(summary.requests_sends),
        per_s(summary.requests_polls),
        per_s(summary.requests_coordinator),
        per_s(evaluations),
        per_s(effective),
    )
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
    text += &rates(summary);
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
    if !coverage.vacuous.is_empty() {
        text += &format!("  vacuous: {:?}\n", coverage.vacuous);
    }
    for (stratum, seeds) in &coverage.strata {
        text += &format!("  stratum {stratum}: {seeds} seeds\n");
        for (name, used) in coverage.parameters.get(stratum).into_iter().flatten() {
            let (parts, of) = (used.parts.len(), used.of);
            text += &format!("    {name}: {} to {}, {parts} of {of} parts of its range\n", used.least, used.most);
        }
    }
    for (kind, count) in &coverage.fault_kinds {
        text += &format!("  felt in {count:>8} seeds: {kind:?}\n");
    }
    for (form, count) in &coverage.forms {
        text += &format!("  felt in {count:>8} seeds: {}\n", form.id());
    }
    if let Some((before, after)) = summary.memory_kib {
        text += &format!("  {before} KiB resident within {} seeds, {after} at the end\n", sweep::MEMORY_SEEDS);
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
        for (property, edits) in &summary.tampered_properties {
            text += &format!("  tampered {edits:>9} times: {property}\n");
        }
    }
    for miss in &summary.misses {
        text += &format!("  NOT COVERED: {miss}\n");
    }
    text += &grown(summary).map(|grown| format!("  FAILED: {grown}\n")).unwrap_or_default();
    for (signature, seeds) in by_frequency(summary) {
        let example = seeds.first().copied().unwrap_or_default();
        text += &format!("  FAILED in {:>5} seeds, such as {example}: {signature}\n", seeds.len());
    }
    match summary.canary {
        Some(seed) => text + &format!("  the canary was found in seed {seed}\n"),
        None => text,
    }
}

/// The signatures of failures, the most frequent first.
fn by_frequency(summary: &Summary) -> Vec<(&String, &BTreeSet<u64>)> {
    let mut all: Vec<_> = summary.signatures.iter().collect();
    all.sort_by_key(|(_, seeds)| Reverse(seeds.len()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::verdict::Property;

    fn plan(plant: Option<Plant>) -> Plan {
        Plan { scenario: Scenario::default(), seeds: 0..9, jobs: 1, plant, tamper: false, until_failure: false }
    }

    fn clean() -> Summary {
        Summary { seeds: 9, canary: Some(3), ..Summary::default() }
    }

    #[test]
    fn the_code_says_whether_something_failed_diverged_or_was_not_shown() {
        let plain = plan(None);
        assert_eq!(code(&plain, &clean()), CLEAN);
        let mut summary = clean();
        summary.canary = None;
        assert_eq!(code(&plain, &summary), VACUOUS);
        assert_eq!(code(&plan(Some(Plant::Canary)), &summary), CLEAN);
        let uncovered = Summary { misses: vec!["torn-tail-cut was never reached".to_owned()], ..clean() };
        assert_eq!(code(&plain, &uncovered), VACUOUS);
        let mut failed = uncovered.clone();
        failed.take_hung(7, "a poll of task log work of broker 2 does not end");
        assert_eq!((code(&plain, &failed), failed.failed_seeds().len()), (FAILED, 1));
        let unnoticed = Summary { tampered: (5, vec!["7 DropRecord".to_owned()]), ..clean() };
        assert_eq!(code(&plain, &unnoticed), FAILED);
        let diverged = Summary { diverged: BTreeSet::from([4]), ..failed };
        assert_eq!(code(&plain, &diverged), DIVERGED);
        assert!(headline(&plain, &diverged).starts_with("DIVERGED: "), "{}", headline(&plain, &diverged));
    }

    #[test]
    fn failures_are_told_by_signature_the_most_frequent_first() {
        let mut summary = clean();
        summary.take_hung(7, "a poll of task one of broker 1 does not end");
        summary.take_hung(2, "a poll of task two of broker 1 does not end");
        summary.take_hung(5, "a poll of task two of broker 1 does not end");
        let text = describe(&summary);
        let told: Vec<&str> = text.lines().filter(|line| line.contains("FAILED in")).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("  FAILED in     2 seeds, such as 2: stays-up: a poll of task two"), "{}", told[0]);
        assert_eq!(summary.failed[&Property::StaysUp].len(), 3);
    }

    #[test]
    fn an_empty_range_is_refused() {
        assert!(parse_seeds("5..5").expect_err("empty").contains("5..5 is empty"));
        assert!(parse_seeds("9..5").is_err() && parse_seeds("5").is_err() && parse_seeds("0..2") == Ok(0..2));
    }
}
