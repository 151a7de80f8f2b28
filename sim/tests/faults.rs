//! Faults with an end of their own, or that only now and then find something to strike: each takes
//! effect, and a correct cluster survives it.

use wyrdlog_sim::faults::form::Form;
use wyrdlog_sim::faults::{Fate, Struck};
use wyrdlog_sim::run::{Options, Verdict, run_schedule};
use wyrdlog_sim::scenario::Scenario;
use wyrdlog_sim::schedule::Schedule;

/// The verdict of seed 1 of the standard scenario with `faults` alone.
fn run(faults: &str) -> Verdict {
    let scenario = Scenario::parse(include_str!("../scenarios/standard.toml")).expect("it comes with the program");
    let head = "version = 1\nseed = 1\nscenario = \"standard\"\nproduct_seed = 1\nscheduling_seed = 1\n";
    let schedule = Schedule::parse(&format!("{head}{faults}")).expect("it is a schedule");
    let verdict = run_schedule(&scenario, &schedule, &Options::default()).expect("it can be run").verdict;
    assert!(verdict.passed(), "{:?}", verdict.violations);
    verdict
}

fn seconds(struck: &Struck) -> u64 {
    struck.lasted_ns.map_or(0, |(from, to)| (to - from) / 1_000_000_000)
}

#[test]
fn a_partition_heals_node_by_node_after_its_span() {
    let partition = |in_parts| {
        let shape = "shape = \"majority-ring\", targets = [], resets = false";
        format!(
            "[[fault]]\nwhen = {{ at_ms = 10000 }}\ndo = {{ kind = \"partition\", {shape}, in_parts = {in_parts} }}\nfor_ms = 4000\n"
        )
    };
    let (whole, parts) = (run(&partition(false)).faults.remove(0), run(&partition(true)).faults.remove(0));
    assert_eq!((whole.fate, seconds(&whole)), (Fate::TookEffect, 4));
    assert!(!whole.forms.contains(&Form::PartitionInParts));
    assert!(parts.forms.contains(&Form::PartitionInParts) && seconds(&parts) > 4, "{parts:?}");
}

#[test]
fn brokers_that_only_do_not_reach_each_other_keep_their_sessions() {
    let cut = |shape: &str| {
        run(&format!(
            "[[fault]]\nwhen = {{ at_ms = 10000 }}\ndo = {{ kind = \"partition\", shape = \"{shape}\", targets = [\"broker(1)\", \"broker(2)\"], resets = false }}\nfor_ms = 9000\n"
        ))
    };
    let ended = |verdict: &Verdict| verdict.probes["session-with-ephemerals-expired"];
    let (apart, from_all) = (cut("between"), cut("one-from-all"));
    assert!(apart.faults[0].forms.contains(&Form::PartitionBetween), "{:?}", apart.faults);
    assert_eq!((ended(&apart), ended(&from_all) > 0), (0, true));
}

#[test]
fn a_broker_tells_an_old_copy_of_its_disk() {
    let struck = run(
        "[[fault]]\nwhen = { at_ms = 9000 }\ndo = { kind = \"swap-disk\", target = \"leader(synced-0)\" }\nfor_ms = 9000\n",
    )
    .faults
    .remove(0);
    assert_eq!((struck.fate, seconds(&struck)), (Fate::TookEffect, 9));
}

#[test]
fn a_copy_that_healing_overtakes_is_not_put_in() {
    let struck = run(
        "[[fault]]\nwhen = { at_ms = 39000 }\ndo = { kind = \"swap-disk\", target = \"broker(1)\" }\nfor_ms = 9000\n",
    )
    .faults
    .remove(0);
    assert_eq!(struck.fate, Fate::NoEffect);
}

#[test]
fn a_node_whose_directory_cannot_be_synced_stops_and_comes_back() {
    let crash = |at_ms, node: &str| {
        format!(
            "[[fault]]\nwhen = {{ at_ms = {at_ms} }}\ndo = {{ kind = \"crash\", targets = [\"{node}\"] }}\nfor_ms = 500\n"
        )
    };
    let fails = |node: &str| {
        format!(
            "[[fault]]\nwhen = {{ at_ms = 9000 }}\ndo = {{ kind = \"directory-sync-failure\", target = \"{node}\" }}\n"
        )
    };
    // A start syncs directories.
    for node in ["broker(2)", "coordinator(3)"] {
        let verdict = run(&format!("{}{}", fails(node), crash(9_100, node)));
        assert_eq!(verdict.faults[0].fate, Fate::TookEffect, "{node}");
    }
}

#[test]
fn a_narrow_link_is_felt_and_outlived() {
    let faults = "[[fault]]\nwhen = { at_ms = 9000 }\ndo = { kind = \"slow-link\", target = \"leader(synced-0)\", latency_ms = 0, bytes_per_s = 40000 }\nfor_ms = 9000\n";
    assert!(run(faults).faults[0].forms.contains(&Form::NarrowLink));
}
