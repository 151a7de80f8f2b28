//! `wyrd-sim shrink`: the fewest faults that still violate the same property.

use std::cell::Cell;
use std::time::Duration;

use wyrdlog::base::plants::Plant;

use super::{FAILED, Trouble, failure, names, replay};
use crate::run::{CannotRun, Options, Verdict, run_plan};
use crate::scenario::Plan;
use crate::schedule::{Schedule, Target};
use crate::shrink::{self, Caller, Progress, Shrunk, Strike};
use crate::sweep::cpu_time;
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
    /// The property to keep violated; the one that is violated first, if none is named.
    #[arg(long)]
    property: Option<Property>,
    /// The most seconds of CPU time; 60 where no runs are named either.
    #[arg(long)]
    cpu_s: Option<u64>,
    /// The most runs in all.
    #[arg(long)]
    runs: Option<u64>,
    /// The scheduling seeds that each candidate is tried under.
    #[arg(long, default_value_t = 2)]
    scheduling_seeds: u64,
}

/// How much a shrink may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub cpu: Duration,
    pub runs: u64,
    pub scheduling_seeds: u64,
}

impl Budget {
    /// A budget of CPU time alone.
    pub(super) fn of(cpu: Duration) -> Self {
        Budget { cpu, runs: u64::MAX, scheduling_seeds: 2 }
    }
}

/// What was spent of a budget.
#[derive(Debug, Default)]
pub(super) struct Spent {
    pub cpu: Cell<Duration>,
    pub runs: Cell<u64>,
}

impl Spent {
    fn share(&self, budget: Budget) -> f64 {
        let cpu = self.cpu.get().as_secs_f64() / budget.cpu.as_secs_f64();
        let runs = self.runs.get() as f64 / budget.runs as f64;
        cpu.max(runs)
    }
}

/// Carries it out. A schedule that fails, shrunk or not, is a failure found.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let plan = replay::plan_of(&arguments.what, arguments.scenario.as_deref(), arguments.plant)?;
    let cpu_s = arguments.cpu_s.unwrap_or(if arguments.runs.is_some() { u64::MAX / 2 } else { 60 });
    let budget = Budget {
        cpu: Duration::from_secs(cpu_s),
        runs: arguments.runs.unwrap_or(u64::MAX),
        scheduling_seeds: arguments.scheduling_seeds,
    };
    let spent = Spent::default();
    let before = plan.schedule.faults.len();
    let (shrunk, verdict) = shrink_plan(&plan, arguments.property, budget, &spent, &mut tell)?;
    let file = match names::file_of(&arguments.what) {
        Some(whole) => beside(whole, &shrunk.schedule)?,
        None => failure::write_schedule(&shrunk.schedule, "-shrunk")?,
    };
    println!(
        "{before} faults shrank to {} in {} runs and {:.1} s of CPU{}; leaving out alone reached {}; {} stays violated",
        shrunk.schedule.faults.len(),
        shrunk.runs,
        spent.cpu.get().as_secs_f64(),
        if shrunk.one_minimal { ", and none of them can go" } else { ", when the budget was spent" },
        shrunk.by_deletion,
        shrunk.property
    );
    if let Some(violation) = verdict.violations.iter().find(|violation| violation.property == shrunk.property) {
        print!("{violation}\n{}", failure::faults(&shrunk.schedule));
    }
    println!("replay:   cargo sim replay {file}");
    Ok(FAILED)
}

/// Tells what a stage achieved, in one line on standard error.
pub(super) fn tell(progress: &Progress) {
    if progress.done {
        let cut = progress.horizon_ms.map_or(String::new(), |ms| format!(", cut at {:.1} s", ms as f64 / 1e3));
        eprintln!("  {}: {} faults after {} runs{cut}", progress.stage, progress.faults, progress.runs);
    }
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
    budget: Budget,
    spent: &Spent,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Shrunk, Verdict), Trouble> {
    let mut trouble: Option<CannotRun> = None;
    let mut wanted = property;
    let mut oracle = |schedule: &Schedule| {
        let (verdict, cpu) = cpu_time::measured(|| run_candidate(plan, schedule, wanted));
        spent.cpu.set(spent.cpu.get() + cpu);
        spent.runs.set(spent.runs.get() + 1);
        match verdict {
            Ok(verdict) => {
                let seen = seen(&verdict, plan, schedule);
                // What is violated first is what stays.
                wanted = wanted.or_else(|| seen.first());
                seen
            }
            Err(error) => {
                trouble = Some(error);
                shrink::Verdict::default()
            }
        }
    };
    let share = || spent.share(budget);
    let caller = Caller { oracle: &mut oracle, spent: &share, progress };
    let shrunk = shrink::shrink(&plan.schedule, property, budget.scheduling_seeds, caller);
    if let Some(trouble) = trouble {
        return Err(trouble.into());
    }
    let shrunk = shrunk?;
    let verdict = run_candidate(plan, &shrunk.schedule, None)?;
    Ok((shrunk, verdict))
}

fn run_candidate(plan: &Plan, schedule: &Schedule, wanted: Option<Property>) -> Result<Verdict, CannotRun> {
    let candidate = Plan { schedule: schedule.clone(), ..plan.clone() };
    let options = Options { stop_at: wanted.into_iter().collect(), ..Options::default() };
    run_plan(&candidate, &options).map(|run| run.verdict)
}

/// A verdict as the shrinker wants it.
fn seen(verdict: &Verdict, plan: &Plan, schedule: &Schedule) -> shrink::Verdict {
    let (servers, brokers) = (plan.cluster.coordinators as u16, plan.cluster.brokers as u16);
    let target = |node: &crate::observed::Node| match node.0 {
        at if at < servers => Target::Coordinator(u32::from(at) + 1),
        at if at < servers + brokers => Target::Broker(i32::from(at - servers) + 1),
        at => Target::Client(at - servers - brokers),
    };
    let strikes = verdict.faults.iter().map(|struck| {
        let (at_ns, _) = struck.lasted_ns?;
        Some(Strike { at_ns, targets: struck.nodes.iter().map(target).collect() })
    });
    let horizon_ns = schedule.horizon_ms.unwrap_or(u64::MAX).saturating_mul(1_000_000);
    let ended_there = verdict.cut_short && verdict.simulated_ns < horizon_ns;
    shrink::Verdict { ended_there, strikes: strikes.collect(), ..verdict.violated() }
}
