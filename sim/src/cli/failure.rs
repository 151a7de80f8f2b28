//! What a failing run prints: the violated claim, one line that replays it, the schedule's file,
//! and the faults in order.

use std::fmt::Write;

use super::{Trouble, names};
use crate::run::Verdict;
use crate::schedule::Schedule;

/// The commit that was built, if the build was told.
pub(super) fn commit() -> &'static str {
    option_env!("WYRD_COMMIT").unwrap_or("unknown")
}

/// The line that replays a seed.
pub(super) fn replay_line(verdict: &Verdict) -> String {
    let mut line = format!("wyrd-sim replay {} --scenario {}", verdict.seed, verdict.scenario);
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

/// The failure in words.
pub(super) fn describe(verdict: &Verdict, schedule: &Schedule, file: &str) -> String {
    let mut text = String::new();
    for violation in verdict.violations.iter().take(3) {
        let _ = writeln!(text, "{violation}");
    }
    if verdict.violations.len() > 3 {
        let _ = writeln!(text, "… and {} more", verdict.violations.len() - 3);
    }
    let _ = writeln!(text, "replay:   {}", replay_line(verdict));
    let _ = writeln!(text, "commit:   {}", commit());
    let _ = writeln!(text, "hash:     {}", verdict.schedule_hash);
    let _ = writeln!(text, "schedule: {file}");
    text.push_str(&faults(schedule));
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
