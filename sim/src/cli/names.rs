//! Scenarios and schedules by name: those that come with the program, and files.

use std::path::Path;

use super::Trouble;
use crate::scenario::Scenario;
use crate::schedule::Schedule;

/// The scenario that is run where none is named.
pub(super) const DEFAULT: &str = "standard";

/// The scenarios that come with the program.
const BUILT_IN: &[(&str, &str)] = &[
    ("coordinator", include_str!("../../scenarios/coordinator.toml")),
    ("standard", include_str!("../../scenarios/standard.toml")),
    ("young", include_str!("../../scenarios/young.toml")),
];

/// The scenario of that name, or in the file of that name.
pub(super) fn scenario(name: &str) -> Result<Scenario, Trouble> {
    let built_in = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    let text = match built_in {
        Some(text) => text,
        None => read(name).map_err(|error| {
            let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            format!("{name} is no scenario file ({error}), nor one of {}", known.join(", "))
        })?,
    };
    let mut scenario = Scenario::parse(&text).map_err(|error| format!("{name}: {error}"))?;
    // What replays a run must find it again.
    scenario.name = name.to_owned();
    Ok(scenario)
}

/// The file that `what` names, unless it is a seed.
pub(super) fn file_of(what: &str) -> Option<&str> {
    what.parse::<u64>().is_err().then_some(what)
}

/// The schedule in a file.
pub(super) fn schedule(file: &str) -> Result<Schedule, Trouble> {
    let text = read(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(Schedule::parse(&text).map_err(|error| format!("{file}: {error}"))?)
}

#[allow(clippy::disallowed_methods, reason = "files of the user, read before any simulation")]
fn read(file: &str) -> std::io::Result<String> {
    std::fs::read_to_string(Path::new(file))
}

/// Writes a file for the user.
#[allow(clippy::disallowed_methods, reason = "a file for the user, written after the simulation")]
pub(super) fn write(file: &str, text: &str) -> Result<(), Trouble> {
    std::fs::write(Path::new(file), text).map_err(|error| format!("{file}: {error}").into())
}
