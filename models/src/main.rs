//! Exhaustive exploration of the pure cores that ship.
//!
//! `cargo models run <model> [--plant <plant>] [-o json]` explores every state within the model's
//! bounds and says what it found. It fails if a property does not hold; with a plant, it fails if
//! nothing that must always hold is refuted.

mod consensus;
mod replication;
mod report;

use std::process::ExitCode;

use report::{Options, Report};
use wyrdlog::base::plants::Plants;

/// One model: a name on the command line and how to explore it.
struct Model {
    name: &'static str,
    about: &'static str,
    run: fn(&Options) -> Report,
}

/// Every model.
const MODELS: &[Model] = &[
    Model {
        name: "consensus",
        about: "three servers of the coordinator's replicated log: elections, crashes, loss, repetition, reordering",
        run: consensus::run,
    },
    Model {
        name: "replication",
        about: "three replicas of a partition and the controller: elections, power loss, zombies, loss",
        run: replication::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}\n\n{}", usage());
            ExitCode::from(2)
        }
    }
}

/// Runs what the arguments ask for. False if the result is not what it should be.
fn run(arguments: &[String]) -> Result<bool, String> {
    let mut words = arguments.iter().map(String::as_str);
    if words.next() != Some("run") {
        return Err("expected the command 'run'".to_owned());
    }
    let name = words.next().ok_or("which model?")?;
    let model = MODELS.iter().find(|model| model.name == name).ok_or(format!("'{name}' is not a model"))?;
    let mut options = Options::default();
    let mut json = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word {
            "--plant" => options.plants = Plants::only(value()?.parse().map_err(|error| format!("{error}"))?),
            "--threads" => options.threads = value()?.parse().map_err(|_| "--threads needs a number".to_owned())?,
            "-o" => json = value()? == "json",
            _ => return Err(format!("'{word}' is not an option")),
        }
    }
    let report = (model.run)(&options);
    println!("{}", if json { report.to_json() } else { report.to_text() });
    Ok(if options.plants == Plants::NONE { report.holds() } else { report.is_refuted() })
}

fn usage() -> String {
    let mut text = "usage: cargo models run <model> [--plant <plant>] [--threads <n>] [-o json]\n\nmodels:".to_owned();
    for model in MODELS {
        text.push_str(&format!("\n  {:<14}{}", model.name, model.about));
    }
    text
}
