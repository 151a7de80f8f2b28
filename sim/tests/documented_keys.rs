//! Every key and every name that a scenario's or a schedule's file may hold is in `docs/SCENARIOS.md`.
//!
//! The lists come from the reader itself: what it is given is wrong, and it tells what it would have
//! taken. A new key is found here before anybody has written it down.

use serde::de::DeserializeOwned;
use wyrdlog::base::partition_state::Durability;
use wyrdlog_sim::scenario::{Cluster, ClusterShape, FaultMix, Phases, Scenario, Topic, Workload, World};
use wyrdlog_sim::schedule::{Action, BudgetMode, FaultEvent, Happening, Schedule, Shape, Trigger, Victim};

const DOCUMENT: &str = include_str!("../../docs/SCENARIOS.md");

/// What a `T` would have taken instead of what `text` holds.
fn expected<T: DeserializeOwned>(text: &str) -> Vec<String> {
    let error = toml::from_str::<T>(text).err().unwrap_or_else(|| panic!("{text} was taken")).to_string();
    let (_, message) = error.split_once("unknown ").unwrap_or_else(|| panic!("{text}: {error}"));
    let quoted = message.lines().next().unwrap_or_default().split('`').skip(1).step_by(2);
    // The first is what was given.
    quoted.skip(1).map(str::to_owned).collect()
}

fn keys<T: DeserializeOwned>() -> Vec<String> {
    expected::<T>("zzz = 1")
}

#[derive(Debug, serde::Deserialize)]
struct Value<T> {
    #[allow(dead_code, reason = "it is never read: what is given is wrong")]
    value: T,
}

/// The names that stand for the values of a `T`.
fn names<T: DeserializeOwned>() -> Vec<String> {
    expected::<Value<T>>("value = \"zzz\"")
}

/// The kinds of a tagged `T`, and the keys of each.
fn kinds<T: DeserializeOwned>() -> Vec<(String, Vec<String>)> {
    let kinds = expected::<T>("kind = \"zzz\"").into_iter();
    kinds.map(|kind| (kind.clone(), expected::<T>(&format!("kind = \"{kind}\"\nzzz = 1")))).collect()
}

/// The part of the document under the heading that holds `title`.
fn section(title: &str) -> &'static str {
    let heading = format!("\n## {title}\n");
    let (_, section) = DOCUMENT.split_once(&heading).unwrap_or_else(|| panic!("no section '{title}'"));
    section.split("\n## ").next().unwrap_or(section)
}

#[track_caller]
fn all_in(title: &str, wanted: &[String]) {
    assert!(!wanted.is_empty(), "nothing is expected in '{title}'");
    let section = section(title);
    let missing: Vec<&String> = wanted.iter().filter(|name| !section.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/SCENARIOS.md, '{title}', does not tell of {missing:?}");
}

#[test]
fn every_key_of_a_scenario_is_documented() {
    all_in("A scenario", &keys::<Scenario>());
    all_in("`[cluster]`", &keys::<ClusterShape>());
    all_in("`[[cluster.topics]]`", &[keys::<Topic>(), names::<Durability>()].concat());
    all_in("`[faults]`", &[keys::<FaultMix>(), names::<BudgetMode>()].concat());
    all_in("`[phases]`", &keys::<Phases>());
    for (kind, keys) in kinds::<Workload>() {
        all_in("`[[workload]]`", &[vec![kind], keys].concat());
    }
}

#[test]
fn every_key_of_a_schedule_is_documented() {
    all_in("A schedule", &[keys::<Schedule>(), names::<BudgetMode>()].concat());
    all_in("`[[fault]]`", &keys::<FaultEvent>());
    all_in("`[world]`", &[keys::<World>(), keys::<Cluster>()].concat());
    all_in("`when`", &[keys::<Trigger>(), names::<Happening>()].concat());
}

#[test]
fn every_fault_of_a_schedule_is_documented_with_its_keys() {
    let kinds = kinds::<Action>();
    assert!(kinds.len() >= 18, "{kinds:?}");
    for (kind, keys) in kinds {
        let section = section("`do`");
        let row = section.lines().find(|line| line.starts_with(&format!("| `{kind}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/SCENARIOS.md, `do`, has no row for {kind}"));
        for key in keys {
            assert!(row.contains(&format!("`{key}`")), "the row of {kind} does not tell of {key}");
        }
    }
    all_in("`do`", &[names::<Shape>(), names::<Victim>()].concat());
}

#[test]
fn the_examples_of_the_document_are_read() {
    let blocks: Vec<&str> = DOCUMENT.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let (schedules, scenarios): (Vec<&str>, Vec<&str>) = blocks.iter().partition(|text| text.contains("version = "));
    assert!(!schedules.is_empty() && !scenarios.is_empty());
    for text in scenarios {
        Scenario::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    for text in schedules {
        Schedule::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}
