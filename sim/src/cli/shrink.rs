//! `wyrd-sim shrink`: the fewest faults that still violate the same property.

use std::cell::Cell;
use std::fmt::Write;
use std::time::Duration;

use wyrdlog::base::plants::Plant;

use super::out::{say, tell};
use super::progress::Progress;
use super::{FAILED, Infrastructure, Trouble, failure, names, replay};
use crate::fit;
use crate::run::{CannotRun, Options, Verdict, run_plan};
use crate::scenario::{Plan, World};
use crate::schedule::{Schedule, Target};
use crate::shrink::{self, Caller, Shrunk, Strike};
use crate::sweep::cpu_time;
use crate::verdict::Property;

/// The most seconds of CPU time where neither they nor runs are named.
const CPU_S: u64 = 45;

/// What `shrink` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A seed, or a schedule's file.
    what: String,
    /// A scenario's name or file; a schedule carries or names its own.
    #[arg(long)]
    scenario: Option<String>,
    /// A planted bug to switch on.
    #[arg(long, value_parser = names::plant)]
    plant: Option<Plant>,
    /// The property to keep violated; the one that is violated first, if none is named.
    #[arg(long)]
    property: Option<Property>,
    /// The most seconds of CPU time; 45 where no runs are named either.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    cpu_s: Option<u64>,
    /// The most runs in all.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// The scheduling seeds that each candidate is tried under.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    scheduling_seeds: u64,
}

/// How much a shrink may cost. With runs or steps alone it comes to the same on every machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub cpu: Duration,
    pub runs: u64,
    /// Polls and events of the engine.
    pub steps: u64,
    pub scheduling_seeds: u64,
}

/// What was spent of a budget.
#[derive(Debug, Default)]
pub(super) struct Spent {
    cpu: Cell<Duration>,
    runs: Cell<u64>,
    steps: Cell<u64>,
}

impl Spent {
    fn share(&self, budget: Budget) -> f64 {
        let cpu = self.cpu.get().as_secs_f64() / budget.cpu.as_secs_f64();
        let runs = self.runs.get() as f64 / budget.runs as f64;
        let steps = self.steps.get() as f64 / budget.steps as f64;
        cpu.max(runs).max(steps)
    }

    fn add(&self, cpu: Duration, steps: u64) {
        self.cpu.set(self.cpu.get() + cpu);
        self.runs.set(self.runs.get() + 1);
        self.steps.set(self.steps.get() + steps);
    }
}

/// Carries it out. A schedule that fails, shrunk or not, is a failure found.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let plan = replay::plan_of(&arguments.what, arguments.scenario.as_deref(), arguments.plant)?;
    let file = file_for(&arguments.what, &plan.schedule);
    names::writable(&file)?;
    let cpu_s = arguments.cpu_s.unwrap_or(if arguments.runs.is_some() { u64::MAX / 2 } else { CPU_S });
    let budget = Budget {
        cpu: Duration::from_secs(cpu_s),
        runs: arguments.runs.unwrap_or(u64::MAX),
        steps: u64::MAX,
        scheduling_seeds: arguments.scheduling_seeds,
    };
    let runs = arguments.runs.map_or(String::new(), |runs| format!("{runs} runs"));
    let cpu = if cpu_s < u64::MAX / 2 { format!("{cpu_s} s of CPU") } else { String::new() };
    let most = [runs, cpu].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" and ");
    tell!("shrinking {}, for {most} at most:", failure::subject(&plan, names::file_of(&arguments.what)));
    let spent = Spent::default();
    let shrunk = shrink_plan(&plan, arguments.property, budget, &spent, &mut |line| tell!("{line}"))?;
    failure::write_schedule(&file, &shrunk.shrunk.schedule, &shrunk.verdict)?;
    say!("{}", describe(&plan, &shrunk, &spent));
    say!("schedule: {file} (written just now)\nreplay:   cargo sim replay {file}");
    Ok(FAILED)
}

/// The file for what is left: beside the one that was given, and never over it.
fn file_for(what: &str, schedule: &Schedule) -> String {
    match names::file_of(what) {
        Some(whole) => format!("{}-shrunk.schedule", whole.strip_suffix(".schedule").unwrap_or(whole)),
        None => failure::file_of(schedule, "-shrunk"),
    }
}

/// What came of a shrink, and the verdict of what is left.
pub(super) struct Left {
    pub shrunk: Shrunk,
    pub verdict: Verdict,
}

/// What came of shrinking `plan`, as it is told.
pub(super) fn describe(plan: &Plan, left: &Left, spent: &Spent) -> String {
    let Left { shrunk, verdict } = left;
    let (before, after) = (plan.schedule.faults.len(), shrunk.schedule.faults.len());
    let end = if shrunk.one_minimal { ", and none of them can go" } else { ", when the budget was spent" };
    let mut text = format!(
        "{before} faults shrank to {after} in {} runs and {:.1} s of CPU{end}; leaving out alone reached {}; {} stays violated\n",
        spent.runs.get(),
        spent.cpu.get().as_secs_f64(),
        shrunk.by_deletion,
        shrunk.property
    );
    if let Some(violation) = verdict.violations.iter().find(|violation| violation.property == shrunk.property) {
        let _ = writeln!(text, "{violation}");
    }
    text += &failure::faults(&shrunk.schedule);
    let small = plan.with(&shrunk.schedule);
    let _ = write!(text, "world:    {}", failure::size(&small));
    if failure::size(&small) != failure::size(plan) {
        let _ = write!(text, ", of {}", failure::size(plan));
    }
    text
}

/// Shrinks the schedule of `plan`, which carries its world from then on. `heard` is told what each stage
/// achieved, in a line.
pub(super) fn shrink_plan(
    plan: &Plan,
    property: Option<Property>,
    budget: Budget,
    spent: &Spent,
    heard: &mut dyn FnMut(&str),
) -> Result<Left, Trouble> {
    let whole = Schedule { world: Some(World::of(plan)), ..plan.schedule.clone() };
    fit::check(&plan.with(&whole))?;
    let mut trouble: Option<CannotRun> = None;
    let mut wanted = property;
    let bar = std::cell::RefCell::new(Progress::begin("shrinking: run", None));
    let mut oracle = |schedule: &Schedule| {
        let candidate = plan.with(schedule);
        if fit::check(&candidate).is_err() {
            return shrink::Verdict::default();
        }
        let (verdict, cpu) = cpu_time::measured(|| run_candidate(&candidate, wanted));
        bar.borrow_mut().step();
        match verdict {
            Ok(verdict) => {
                spent.add(cpu, verdict.steps);
                let seen = seen(&verdict, &candidate);
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
    let mut progress = |progress: &shrink::Progress| {
        let line = achieved(progress);
        if progress.done {
            bar.borrow_mut().aside(|| heard(&line));
        } else {
            bar.borrow_mut().note(line);
        }
    };
    let caller = Caller { oracle: &mut oracle, spent: &share, progress: &mut progress };
    let shrunk = shrink::shrink(&whole, property, budget.scheduling_seeds, caller);
    bar.into_inner().end();
    if let Some(trouble) = trouble {
        return Err(trouble.into());
    }
    let shrunk = shrunk?;
    let verdict = run_candidate(&plan.with(&shrunk.schedule), None)?;
    if !verdict.violations.iter().any(|violation| violation.property == shrunk.property) {
        let message = format!("what is left does not violate {} when it is run to its end", shrunk.property);
        return Err(Infrastructure(message).into());
    }
    Ok(Left { shrunk, verdict })
}

/// What a stage achieved so far, in a line.
fn achieved(progress: &shrink::Progress) -> String {
    let faults = failure::count(progress.faults, "fault");
    let cut = progress.horizon_ms.map_or(String::new(), |ms| format!(", cut at {:.1} s", ms as f64 / 1e3));
    format!("  {}: {faults} after {} runs{cut}", progress.stage, progress.runs)
}

fn run_candidate(plan: &Plan, wanted: Option<Property>) -> Result<Verdict, CannotRun> {
    let options = Options { stop_at: wanted.into_iter().collect(), ..Options::default() };
    run_plan(plan, &options).map(|run| run.verdict)
}

/// A verdict as the shrinker wants it.
fn seen(verdict: &Verdict, plan: &Plan) -> shrink::Verdict {
    let (servers, brokers) = (plan.cluster.coordinators as u16, plan.cluster.brokers as u16);
    let first_broker = plan.cluster.first_broker as i32;
    let target = |node: &crate::observed::Node| match node.0 {
        at if at < servers => Target::Coordinator(u32::from(at) + 1),
        at if at < servers + brokers => Target::Broker(i32::from(at - servers) + first_broker),
        at => Target::Client(at - servers - brokers),
    };
    let strikes = verdict.faults.iter().map(|struck| {
        let (at_ns, _) = struck.lasted_ns?;
        Some(Strike { at_ns, targets: struck.nodes.iter().map(target).collect() })
    });
    let horizon_ns = plan.schedule.horizon_ms.unwrap_or(u64::MAX).saturating_mul(1_000_000);
    let ended_there = verdict.cut_short && verdict.simulated_ns < horizon_ns;
    shrink::Verdict { ended_there, strikes: strikes.collect(), ..verdict.violated() }
}
