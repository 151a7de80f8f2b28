//! What a failing run prints: the violated claim, one line that replays it, the schedule's file,
//! and the faults in order.

use std::fmt::Write;

use super::{Trouble, names, shrink};
use crate::run::Verdict;
use crate::scenario::Plan;
use crate::schedule::Schedule;
use crate::shrink::ShrinkBudget;

/// What is spent on shrinking a failure before it is printed.
const SHRINK: ShrinkBudget = ShrinkBudget { runs_max: 60, scheduling_seeds: 1 };
/// How many violations are printed.
const VIOLATIONS_MAX: usize = 3;

/// The commit that was built, if the build was told.
pub(super) fn commit() -> &'static str {
    option_env!("WYRD_COMMIT").unwrap_or("unknown")
}

/// The line that replays a seed.
pub(super) fn replay_line(verdict: &Verdict) -> String {
    let mut line = format!("cargo sim replay {} --scenario {}", verdict.seed, verdict.scenario);
    if let Some(plant) = &verdict.plant {
        let _ = write!(line, " --plant {plant}");
    }
    line
}

/// Writes the schedule of a failing seed; gives the file's path.
pub(super) fn write_schedule(schedule: &Schedule, suffix: &str) -> Result<String, Trouble> {
    let scenario: String = schedule.scenario.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let file = format!("{scenario}-{}{suffix}.schedule", schedule.seed);
    names::write(&file, &schedule.print())?;
    Ok(file)
}

/// The failure of a seed in words, with the faults that it shrinks to. Leaves two schedules' files.
pub(super) fn describe(verdict: &Verdict, plan: &Plan) -> Result<String, Trouble> {
    let file = write_schedule(&plan.schedule, "")?;
    let mut text = claims(verdict, &replay_line(verdict));
    let _ = writeln!(text, "schedule: {file}");
    let (shrunk, _) = shrink::shrink_plan(plan, None, SHRINK)?;
    let shrunk_file = write_schedule(&shrunk.schedule, "-shrunk")?;
    let (before, property) = (plan.schedule.faults.len(), shrunk.property);
    let _ = writeln!(text, "shrunk:   {shrunk_file}, which still violates {property}; from {before} faults to these");
    text.push_str(&faults(&shrunk.schedule));
    Ok(text)
}

/// The failure of a schedule's file in words, with its faults as they are. Leaves the file alone.
pub(super) fn describe_file(verdict: &Verdict, schedule: &Schedule, file: &str) -> String {
    let mut text = claims(verdict, &format!("cargo sim replay {file}"));
    let _ = writeln!(text, "schedule: {file}; to have it shrunk: cargo sim shrink {file}");
    text.push_str(&faults(schedule));
    text
}

/// What is violated, and how to see it again.
fn claims(verdict: &Verdict, replay: &str) -> String {
    let mut text = String::new();
    for violation in verdict.violations.iter().take(VIOLATIONS_MAX) {
        let _ = writeln!(text, "{violation}");
    }
    if verdict.violations.len() > VIOLATIONS_MAX {
        let _ = writeln!(text, "… and {} more", verdict.violations.len() - VIOLATIONS_MAX);
    }
    let _ = writeln!(text, "replay:   {replay}");
    let _ = writeln!(text, "commit:   {}", commit());
    let _ = writeln!(text, "hash:     {}", verdict.schedule_hash);
    text
}

/// The faults of a schedule, one a line.
pub(super) fn faults(schedule: &Schedule) -> String {
    let printed = schedule.print();
    let mut text = format!("faults:   {}\n", schedule.faults.len());
    let lines =
        printed.lines().filter(|line| line.starts_with("when") || line.starts_with("do") || line.starts_with("for_ms"));
    for line in lines {
        let indent = if line.starts_with("when") { "  - " } else { "    " };
        let _ = writeln!(text, "{indent}{line}");
    }
    text
}
