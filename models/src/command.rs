//! The command line: what is asked for, checked before anything is explored, and what is printed.

use wyrdlog::base::plants::{Plant, Plants};

use crate::refutations::{REFUTATIONS, Refutation};
use crate::report::{Options, Report};
use crate::{consensus, replication};

/// One model: a name on the command line and how to explore it.
struct Model {
    name: &'static str,
    about: &'static str,
    profiles: fn() -> Vec<Listed>,
    run: fn(Option<&'static str>, &Options) -> Report,
}

/// Named bounds, as they are listed.
struct Listed {
    name: &'static str,
    about: &'static str,
    least: bool,
}

/// Every model.
const MODELS: &[Model] = &[
    Model {
        name: "consensus",
        about: "three servers of the coordinator's replicated log: elections, crashes, loss, repetition, reordering",
        profiles: || {
            consensus::PROFILES.iter().map(|p| Listed { name: p.name, about: p.about, least: p.least }).collect()
        },
        run: consensus::run,
    },
    Model {
        name: "replication",
        about: "three replicas of a partition and the controller: elections, lag, lost logs, zombies, failover",
        profiles: || {
            replication::PROFILES.iter().map(|p| Listed { name: p.name, about: p.about, least: p.least }).collect()
        },
        run: replication::run,
    },
];

/// What is asked for beside the command.
#[derive(Default)]
struct Asked {
    options: Options,
    profile: Option<String>,
    plant: Option<Plant>,
    json: bool,
    all: bool,
}

/// Runs what the arguments ask for. False if the result is not what it should be.
pub fn run(arguments: &[String]) -> Result<bool, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.split_first() {
        Some((&"list", options)) => list(&parse(options)?),
        Some((&"check", options)) => check(&parse(options)?),
        Some((&"run", [name, options @ ..])) => run_one(model(name)?, &parse(options)?),
        Some((&"run", [])) => Err("which model?".to_owned()),
        _ => Err("expected one of the commands 'run', 'list' and 'check'".to_owned()),
    }
}

fn parse(words: &[&str]) -> Result<Asked, String> {
    let mut asked = Asked::default();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word {
            "--bounds" => asked.profile = Some(value()?.to_owned()),
            "--plant" => asked.plant = Some(value()?.parse().map_err(|error| format!("{error}"))?),
            "--threads" => asked.options.threads = threads(value()?)?,
            "--all" => asked.all = true,
            "-o" => asked.json = is_json(value()?)?,
            _ => return Err(format!("'{word}' is not an option")),
        }
    }
    asked.options.plants = asked.plant.map_or(Plants::NONE, Plants::only);
    Ok(asked)
}

fn threads(value: &str) -> Result<usize, String> {
    value.parse().ok().filter(|threads| *threads > 0).ok_or("--threads needs a number, at least 1".to_owned())
}

fn is_json(value: &str) -> Result<bool, String> {
    match value {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => Err(format!("'{value}' is not an output format; one of: text, json")),
    }
}

fn model(name: &str) -> Result<&'static Model, String> {
    let known: Vec<_> = MODELS.iter().map(|model| model.name).collect();
    let found = MODELS.iter().find(|model| model.name == name);
    found.ok_or_else(|| format!("'{name}' is not a model; one of: {}", known.join(", ")))
}

fn profile(model: &Model, name: &str) -> Result<&'static str, String> {
    let known: Vec<_> = (model.profiles)().into_iter().map(|profile| profile.name).collect();
    let found = known.iter().find(|known| **known == name).copied();
    found.ok_or_else(|| format!("'{name}' names no bounds of {}; one of: {}", model.name, known.join(", ")))
}

fn run_one(model: &Model, asked: &Asked) -> Result<bool, String> {
    let profile = asked.profile.as_deref().map(|name| profile(model, name)).transpose()?;
    let report = (model.run)(profile, &asked.options);
    println!("{}", if asked.json { report.to_json() } else { report.to_text() });
    Ok(if asked.plant.is_none() { report.holds() } else { report.is_refuted() })
}

/// Explores the least profiles, or all: without a plant, and then with each plant that they refute.
fn check(asked: &Asked) -> Result<bool, String> {
    let mut good = true;
    for model in MODELS {
        for profile in (model.profiles)().into_iter().filter(|profile| profile.least || asked.all) {
            let report = (model.run)(Some(profile.name), &asked.options);
            good &= report.holds() && report.exhausted;
            print(&report, None, asked);
            for row in refuted_by(model.name, profile.name) {
                let options = Options { plants: Plants::only(row.plant), ..asked.options };
                let report = (model.run)(Some(profile.name), &options);
                good &= report.is_refuted();
                print(&report, Some(row.plant), asked);
            }
        }
    }
    Ok(good)
}

fn print(report: &Report, plant: Option<Plant>, asked: &Asked) {
    if asked.json {
        println!("{}", report.to_json());
    } else if let Some(plant) = plant {
        let verdict = if report.is_refuted() { "refuted" } else { "NOT REFUTED" };
        let (steps, seconds) = (report.counterexample.len(), report.took.as_secs_f64());
        println!("  with {plant}: {verdict}, {steps} steps, {} states, {seconds:.1} s", report.unique_states);
    } else {
        println!("{}", report.to_text());
    }
}

fn refuted_by(model: &'static str, profile: &'static str) -> impl Iterator<Item = &'static Refutation> {
    REFUTATIONS.iter().filter(move |row| row.model == model && row.profile == profile)
}

fn list(asked: &Asked) -> Result<bool, String> {
    let mut rows = Vec::new();
    for model in MODELS {
        if !asked.json {
            println!("{}: {}", model.name, model.about);
        }
        for profile in (model.profiles)() {
            let plants: Vec<_> = refuted_by(model.name, profile.name).map(|row| row.plant.id()).collect();
            if asked.json {
                rows.push(listed_as_json(model.name, &profile, &plants));
            } else {
                let refutes =
                    if plants.is_empty() { String::new() } else { format!("; refutes {}", plants.join(", ")) };
                println!("  {:<15}{}{refutes}", profile.name, profile.about);
            }
        }
    }
    if asked.json {
        println!("[{}]", rows.join(","));
    }
    Ok(true)
}

fn listed_as_json(model: &str, profile: &Listed, plants: &[&str]) -> String {
    let plants: Vec<String> = plants.iter().map(|plant| format!("\"{plant}\"")).collect();
    format!(
        "{{\"model\":\"{model}\",\"bounds\":\"{}\",\"about\":\"{}\",\"least\":{},\"refutes\":[{}]}}",
        profile.name,
        profile.about,
        profile.least,
        plants.join(",")
    )
}

/// How to ask.
pub fn usage() -> String {
    let mut text = "usage: cargo models run <model> [--bounds <profile>] [--plant <plant>] [--threads <n>] [-o json]\n\
                    \x20      cargo models list [-o json]\n\
                    \x20      cargo models check [--all] [--threads <n>] [-o json]\n\nmodels:"
        .to_owned();
    for model in MODELS {
        text.push_str(&format!("\n  {:<14}{}", model.name, model.about));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        run(&words).expect_err("is refused")
    }

    #[test]
    fn what_is_not_there_is_said_before_anything_is_explored() {
        assert!(problem("run repliction").contains("one of: consensus, replication"));
        assert!(problem("run replication --bounds lagg").contains("one of: lag, two-in-flight"));
        assert!(problem("run replication --plant KIP-1O1").contains("KIP-101"));
        assert!(problem("run replication --threads 0").contains("at least 1"));
        assert!(problem("run replication -o xml").contains("text, json"));
        assert!(problem("explore").contains("'run', 'list' and 'check'"));
    }

    #[test]
    fn every_plant_of_a_modelled_core_has_a_row_that_names_bounds() {
        for row in REFUTATIONS {
            let model = model(row.model).expect("a model");
            profile(model, row.profile).expect("named bounds");
        }
        let rows: Vec<Plant> = REFUTATIONS.iter().map(|row| row.plant).collect();
        let modelled = [
            Plant::Kip101,
            Plant::Kip279,
            Plant::Kip320,
            Plant::AsyncIsr,
            Plant::Kip903,
            Plant::Kip966,
            Plant::Kafka6082,
            Plant::Kafka13091,
            Plant::Zk3911,
        ];
        assert!(modelled.iter().all(|plant| rows.contains(plant)), "{rows:?}");
    }

    #[test]
    fn the_plants_of_the_least_bounds_are_refuted_by_them() {
        for model in MODELS {
            for profile in (model.profiles)().into_iter().filter(|profile| profile.least) {
                for row in refuted_by(model.name, profile.name) {
                    let options = Options { plants: Plants::only(row.plant), ..Options::default() };
                    let report = (model.run)(Some(profile.name), &options);
                    assert!(report.is_refuted() && !report.counterexample.is_empty(), "{}", report.to_text());
                }
            }
        }
    }
}
