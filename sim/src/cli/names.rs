//! What people name on the command line: scenarios and schedules, those that come with the program and
//! files; plants; files to write. Each is looked at before any work is done.

use std::path::Path;

use wyrdlog::base::plants::Plant;

use super::recorded::Recorded;
use super::{Infrastructure, Trouble};
use crate::file_error::nearest;
use crate::scenario::Scenario;
use crate::schedule::Schedule;

/// The scenario that is run where none is named.
pub const DEFAULT: &str = "standard";
/// The scenario from which sweeps draw, and planted bugs are hunted in, where none is named.
pub(super) const DEFAULT_OF_SWEEPS: &str = "swarm";

/// The scenarios that come with the program.
const BUILT_IN: &[(&str, &str)] = &[
    ("coordinator", include_str!("../../scenarios/coordinator.toml")),
    ("swarm", include_str!("../../scenarios/swarm.toml")),
    ("standard", include_str!("../../scenarios/standard.toml")),
    ("standard-load", include_str!("../../scenarios/standard-load.toml")),
    ("young", include_str!("../../scenarios/young.toml")),
];

/// The scenario of that name, or in the file of that name.
pub fn scenario(name: &str) -> Result<Scenario, Trouble> {
    let built_in = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    let text = match built_in {
        Some(text) => text,
        None => read(name).map_err(|error| {
            let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            let remedy = match nearest(name, &known) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("{} come with the program", known.join(", ")),
            };
            format!("'{name}' is no scenario: as a file, {error}; {remedy}")
        })?,
    };
    let mut scenario = Scenario::parse(&text).map_err(|error| format!("{name}: {error}"))?;
    if let Some(id) = &scenario.plant {
        plant(id).map_err(|error| format!("{name}: plant = \"{id}\": {error}"))?;
    }
    // What replays a run must find it again.
    scenario.name = name.to_owned();
    Ok(scenario)
}

/// The planted bug that `text` names.
pub(super) fn plant(text: &str) -> Result<Plant, String> {
    text.parse().map_err(|_| {
        let known: Vec<&str> = Plant::ALL.iter().flat_map(|plant| plant.id().split('/')).collect();
        let folded: Vec<String> = known.iter().map(|name| name.to_ascii_lowercase()).collect();
        let near = nearest(&text.to_ascii_lowercase(), &folded.iter().map(String::as_str).collect::<Vec<_>>())
            .and_then(|near| folded.iter().position(|name| name == near));
        match near {
            Some(at) => format!("no planted bug is called so; did you mean '{}'?", known[at]),
            None => format!("no planted bug is called so; there are {}", known.join(", ")),
        }
    })
}

/// A number of simulations at once.
pub(super) fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("nothing would be run; 1 is the least, and without --jobs there are as many as processors".into()),
        Ok(jobs) => Ok(jobs),
        Err(error) => Err(format!("{error}; give a number from 1 on")),
    }
}

/// How many simulations run at once: as many as were asked for, or as there are processors.
pub(super) fn jobs_or_all(jobs: Option<usize>) -> usize {
    jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// The file that `what` names, unless it is a seed.
pub(super) fn file_of(what: &str) -> Option<&str> {
    what.parse::<u64>().is_err().then_some(what)
}

/// The schedule in a file.
pub(super) fn schedule(file: &str) -> Result<Schedule, Trouble> {
    let text = read(file).map_err(|error| format!("'{file}' is neither a seed nor a schedule's file: {error}"))?;
    let schedule = Schedule::parse(&text).map_err(|error| format!("{file}: {error}"))?;
    if let Some(id) = &schedule.plant {
        plant(id).map_err(|error| format!("{file}: plant = \"{id}\": {error}"))?;
    }
    Ok(schedule)
}

/// What a schedule's file says that it was recorded as.
pub(super) fn recorded(file: &str) -> Result<Recorded, Trouble> {
    Ok(Recorded::of_file(&read(file).map_err(|error| format!("{file}: {error}"))?))
}

#[allow(clippy::disallowed_methods, reason = "files of the user, read before any simulation")]
fn read(file: &str) -> std::io::Result<String> {
    std::fs::read_to_string(Path::new(file))
}

/// Whether a file can be written, asked before the work whose result goes there. Leaves no file behind
/// that was not there.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a file for the user, before any simulation")]
pub(super) fn writable(file: &str) -> Result<(), Trouble> {
    let was_there = Path::new(file).exists();
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .map_err(|error| format!("{file} cannot be written: {error}; name a file in a directory that is there"))?;
    if !was_there {
        std::fs::remove_file(file)?;
    }
    Ok(())
}

/// Writes a file for the user.
#[allow(clippy::disallowed_methods, reason = "a file for the user, written after the simulation")]
pub(super) fn write(file: &str, text: &str) -> Result<(), Trouble> {
    std::fs::write(Path::new(file), text).map_err(|error| Infrastructure(format!("{file}: {error}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_get_the_nearest_name() {
        assert_eq!(plant("kip-101"), Ok(Plant::Kip101));
        let said = plant("KIP-1O1").expect_err("a letter for a digit");
        assert!(said.ends_with("did you mean 'KIP-101'?"), "{said}");
        assert!(plant("heisenbug").expect_err("none").contains("late-watch"));
        let said = scenario("standrad").expect_err("a typing error").to_string();
        assert!(said.ends_with("did you mean 'standard'?"), "{said}");
        assert!(jobs("0").is_err() && jobs("-1").is_err() && jobs("3") == Ok(3));
    }

    #[test]
    fn the_load_of_published_rates_is_that_of_standard_but_for_how_much_is_asked() {
        let parts = |name: &str| {
            let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name).expect("it comes with the program");
            let mut parts: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
            let rates = parts.iter_mut().filter(|line| line.starts_with("requests_per_s"));
            assert_eq!(rates.map(|line| *line = "a rate").count(), 2, "{name}");
            parts.split_off(2)
        };
        assert_eq!(parts("standard-load"), parts("standard"));
    }
}
