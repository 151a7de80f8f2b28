//! `wyrd-sim run`: one seed, one verdict.

use std::time::Duration;

use wyrdlog::base::plants::Plant;

use super::out::{say, tell};
use super::progress::Progress;
use super::{CLEAN, FAILED, Output, Trouble, failure, names};
use crate::faults::Fate;
use crate::run::{Options, Verdict, run_plan};
use crate::sweep::cpu_time;

/// What `run` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The seed.
    #[arg(long)]
    seed: u64,
    /// A scenario's name or file.
    #[arg(long, default_value = names::DEFAULT)]
    scenario: String,
    /// A planted bug to switch on.
    #[arg(long, value_parser = names::plant)]
    plant: Option<Plant>,
    /// How to print the verdict.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Carries it out.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let scenario = names::scenario(&arguments.scenario)?;
    let mut plan = scenario.draw(arguments.seed);
    plan.schedule.plant = arguments.plant.map(|plant| plant.id().to_owned()).or(plan.schedule.plant);
    failure::watch(&plan, None);
    let progress = Progress::begin(&format!("running seed {} of {}", arguments.seed, arguments.scenario), None);
    let (run, cpu) = cpu_time::measured(|| run_plan(&plan, &Options::default()));
    progress.end();
    let run = run?;
    match arguments.output {
        Output::Json => say!("{}", serde_json::to_string_pretty(&Measured::of(&run.verdict, cpu))?),
        Output::Text => say!("{}", describe(&run.verdict, cpu).trim_end()),
    }
    if run.verdict.passed() {
        return Ok(CLEAN);
    }
    tell!("{}", failure::describe(&run.verdict, &plan, None).trim_end());
    Ok(FAILED)
}

/// A verdict with what it cost, which is no part of it.
#[derive(serde::Serialize)]
pub(super) struct Measured<'v> {
    #[serde(flatten)]
    verdict: &'v Verdict,
    passed: bool,
    cpu_ms: u128,
}

impl<'v> Measured<'v> {
    pub(super) fn of(verdict: &'v Verdict, cpu: Duration) -> Self {
        Measured { verdict, passed: verdict.passed(), cpu_ms: cpu.as_millis() }
    }
}

/// A verdict for people.
pub(super) fn describe(verdict: &Verdict, cpu: Duration) -> String {
    let simulated = Duration::from_nanos(verdict.simulated_ns);
    let requests = verdict.requests;
    let per_cpu_s = |count: f64| count / cpu.as_secs_f64().max(1e-9);
    let mut text = format!(
        "seed {} of {}: {}\n  hash      {}\n",
        verdict.seed,
        verdict.scenario,
        if verdict.passed() { "passed" } else { "FAILED" },
        verdict.schedule_hash
    );
    text += &format!(
        "  simulated {:.1} s in {:.0} ms of CPU: {:.0} times, {:.0} checked requests and {:.0} steps per CPU second\n",
        simulated.as_secs_f64(),
        cpu.as_secs_f64() * 1e3,
        per_cpu_s(simulated.as_secs_f64()),
        per_cpu_s(requests.total() as f64),
        per_cpu_s(verdict.steps as f64),
    );
    text += &format!(
        "  requests  {} ok, {} failed, {} unknown; {} under a fault\n",
        requests.ok, requests.failed, requests.unknown, requests.under_fault
    );
    text += &format!(
        "  faults    {} took effect, {} without effect, {} without target, {} over budget, {} not triggered{}\n",
        verdict.faults_that(Fate::TookEffect),
        verdict.faults_that(Fate::NoEffect),
        verdict.faults_that(Fate::NoTarget),
        verdict.faults_that(Fate::OverBudget),
        verdict.faults_that(Fate::NeverTriggered),
        if verdict.beyond_budget { "; the budget was exceeded" } else { "" }
    );
    let reached = verdict.probes.iter().filter(|(_, count)| **count > 0);
    let reached: Vec<String> = reached.map(|(probe, count)| format!("{probe} {count}")).collect();
    text +=
        &format!("  reached   {}\n", if reached.is_empty() { "nothing rare".to_owned() } else { reached.join(", ") });
    let checked = verdict.findings.iter().filter(|one| one.evaluations > 0);
    let checked: Vec<String> = checked.map(|one| format!("{} {}", one.property, one.evaluations)).collect();
    text + &format!("  evaluated {}\n", checked.join(", "))
}
