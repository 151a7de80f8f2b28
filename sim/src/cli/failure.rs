//! What a failing run prints: the violated claim, the faults that struck before it in order, and the
//! lines that replay it, look at it and shrink it.

use std::fmt::Write;

use super::out::tell;
use super::{Trouble, names, recorded, watchdog};
use crate::narrate::names::enumerate;
use crate::narrate::{Names, fault, firsts, went_wrong_ns};
use crate::observed::seconds;
use crate::run::Verdict;
use crate::scenario::{Plan, Workload};
use crate::schedule::Schedule;

/// How many properties are printed with their evidence.
const VIOLATIONS_MAX: usize = 3;
/// How many faults are printed: the last ones before the violation.
const FAULTS_MAX: usize = 12;
/// What leads to a violation is mostly found within so many virtual nanoseconds before it.
const LOOK_BACK_NS: u64 = 2_000_000_000;

/// What names a run on the command line: a seed with its scenario and plant, or a schedule's file.
pub(super) fn subject(plan: &Plan, file: Option<&str>) -> String {
    let schedule = &plan.schedule;
    file.map_or_else(|| of_seed(schedule.seed, &schedule.scenario, schedule.plant.as_deref()), str::to_owned)
}

/// What names a seed on the command line.
pub(super) fn of_seed(seed: u64, scenario: &str, plant: Option<&str>) -> String {
    let plant = plant.map(|plant| format!(" --plant {plant}")).unwrap_or_default();
    format!("{seed} --scenario {scenario}{plant}")
}

/// Tells, should the run of `plan` hang, how it is run again.
pub(super) fn watch(plan: &Plan, file: Option<&str>) {
    let subject = subject(plan, file);
    watchdog::on_hang(move |_| tell!("replay:   cargo sim replay {subject}"));
}

/// The file for the schedule of a seed.
pub(super) fn file_of(schedule: &Schedule, suffix: &str) -> String {
    let scenario: String = schedule.scenario.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{scenario}-{}{suffix}.schedule", schedule.seed)
}

/// Writes the schedule of a failing run, and what it was.
pub(super) fn write_schedule(file: &str, schedule: &Schedule, verdict: &Verdict) -> Result<(), Trouble> {
    names::write(file, &format!("{}{}", recorded::line(Some(&verdict.schedule_hash)), schedule.print()))
}

/// How many of something.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// How large the world of a plan is.
pub(super) fn size(plan: &Plan) -> String {
    let partitions = plan.cluster.topics.iter().map(|topic| topic.partitions).sum::<u32>();
    let clients = plan.workloads.iter().map(Workload::clients).sum::<u32>();
    let horizon_ms = plan.schedule.horizon_ms.unwrap_or(u64::MAX).min(plan.phases.total_ms());
    let numbers = [
        (plan.cluster.coordinators, "coordinator"),
        (plan.cluster.brokers, "broker"),
        (partitions, "partition"),
        (clients, "client"),
    ];
    let there = numbers.into_iter().filter(|(number, _)| *number > 0);
    let there: Vec<String> = there.map(|(number, what)| count(number as usize, what)).collect();
    format!("{}, {:.1} s", there.join(", "), horizon_ms as f64 / 1e3)
}

/// The failure of a run of `plan`, which was drawn from a seed or read from `file`.
pub(super) fn describe(verdict: &Verdict, plan: &Plan, file: Option<&str>) -> String {
    let mut text = claims(verdict);
    text += &struck(verdict, &plan.schedule, &Names::of_plan(plan));
    let subject = subject(plan, file);
    let (commit, hash) = (recorded::commit(), &verdict.schedule_hash);
    let _ = writeln!(text, "replay:   cargo sim replay {subject} --commit {commit} --hash {hash}");
    let _ = writeln!(text, "{}", look(verdict, &subject));
    let _ = writeln!(text, "shrink:   cargo sim shrink {subject}");
    text
}

/// The line that looks at what happened around the violation.
pub(super) fn look(verdict: &Verdict, subject: &str) -> String {
    let last_ns = verdict.violations.iter().map(|violation| violation.time_ns).max();
    let (from, until) = around(went_wrong_ns(&verdict.violations).or(last_ns).unwrap_or(verdict.simulated_ns));
    format!("look:     cargo sim replay {subject} --events --from {from} --until {until}")
}

/// What is violated: each property once.
fn claims(verdict: &Verdict) -> String {
    let mut text = String::new();
    let firsts = firsts(&verdict.violations);
    for violation in firsts.iter().take(VIOLATIONS_MAX) {
        let _ = writeln!(text, "{violation}");
    }
    if firsts.len() > VIOLATIONS_MAX {
        let others = enumerate(firsts[VIOLATIONS_MAX..].iter().map(|violation| violation.property));
        let _ = writeln!(text, "also violated: {others}");
    }
    text
}

/// When the run went wrong, or ended, if that is not known.
fn went_wrong_or_ended_ns(verdict: &Verdict) -> u64 {
    went_wrong_ns(&verdict.violations).unwrap_or(verdict.simulated_ns)
}

/// A span that ends shortly after `at_ns`, as the command line takes it.
fn around(at_ns: u64) -> (String, String) {
    let tenths = |ns: u64| format!("{}.{}s", ns / 1_000_000_000, ns / 100_000_000 % 10);
    (tenths(at_ns.saturating_sub(LOOK_BACK_NS)), tenths(at_ns + 200_000_000))
}

/// The faults that struck before the run went wrong, in order, with the nodes that they hit.
fn struck(verdict: &Verdict, schedule: &Schedule, names: &Names) -> String {
    let first_ns = went_wrong_or_ended_ns(verdict);
    let with_spans = verdict.faults.iter().filter_map(|struck| Some((struck.lasted_ns?, struck)));
    let mut before: Vec<_> = with_spans.filter(|((from_ns, _), _)| *from_ns <= first_ns).collect();
    before.sort_by_key(|((from_ns, _), struck)| (*from_ns, struck.fault));
    let mut text = format!("faults:   {} of {} struck before that\n", before.len(), schedule.faults.len());
    let left_out = before.len().saturating_sub(FAULTS_MAX);
    if left_out > 0 {
        let _ = writeln!(text, "  … {left_out} earlier ones");
    }
    for ((from_ns, until_ns), struck) in &before[left_out..] {
        let Some(event) = schedule.faults.get(struck.fault) else { continue };
        let lasts = if until_ns > from_ns && !struck.kind.is_instant() {
            format!(", until {}", seconds_short(*until_ns))
        } else {
            String::new()
        };
        let strikes = fault::strike(&event.action, &struck.nodes, names);
        let _ = writeln!(text, "  {:>10}  {strikes}{lasts}", seconds_short(*from_ns));
    }
    text
}

fn seconds_short(time_ns: u64) -> String {
    let text = seconds(time_ns);
    text.split_once('.').map_or(text.clone(), |(whole, rest)| format!("{whole}.{} s", rest.get(..3).unwrap_or(rest)))
}

/// The faults of a schedule as they are written, one a line.
pub(super) fn faults(schedule: &Schedule) -> String {
    let mut text = format!("faults:   {}\n", schedule.faults.len());
    for event in &schedule.faults {
        let lasts = match event.for_ms {
            Some(for_ms) if !event.action.kind().is_instant() => format!(", for {for_ms} ms"),
            _ => String::new(),
        };
        let (strikes, when) = (fault::planned(&event.action), fault::trigger(&event.when));
        let _ = writeln!(text, "  - {strikes}, {when}{lasts}");
    }
    text
}
