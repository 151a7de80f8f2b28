//! What a person sees of a failing run, held against the text that is kept beside this test.
//!
//! A change of what a run does or of how it is told changes that text. `UPDATE=1 cargo test --test
//! narration` writes it anew; read the difference before it is committed.
#![allow(clippy::disallowed_methods, reason = "a test reads and writes the file beside it")]

use std::fs;
use std::path::Path;

use wyrdlog_sim::fit;
use wyrdlog_sim::narrate::timeline::WIDTH_MAX;
use wyrdlog_sim::narrate::{Filter, Names, timeline};
use wyrdlog_sim::run::{Options, Run, run_plan};
use wyrdlog_sim::scenario::{Plan, Scenario};
use wyrdlog_sim::schedule::{Schedule, parse_partition};

fn small() -> Plan {
    let scenario = Scenario::parse(include_str!("narration/small.toml")).expect("it is kept beside this test");
    let schedule = Schedule::parse(include_str!("narration/small.schedule")).expect("as above");
    let mut plan = scenario.draw(schedule.product_seed);
    plan.schedule = schedule;
    assert_eq!(fit::check(&plan), Ok(()));
    plan
}

fn failing(plan: &Plan) -> Run {
    run_plan(plan, &Options { keep_record: true, ..Options::default() }).expect("it can be run")
}

fn told(plan: &Plan, run: &Run, filter: &Filter) -> Vec<String> {
    let record = run.record.as_ref().expect("it was asked for");
    timeline(plan, &record.entries, &run.verdict, &run.names, filter)
}

#[test]
fn a_failing_run_is_told_as_the_kept_text_tells_it() {
    let plan = small();
    let run = failing(&plan);
    let filter = Filter { from_ns: 2_000_000_000, until_ns: Some(5_000_000_000), ..Filter::default() };
    let lines = told(&plan, &run, &filter);
    let text = lines.join("\n") + "\n";
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/narration/small.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&kept, &text).expect("is written");
    }
    let kept = fs::read_to_string(kept).expect("is kept");
    assert_eq!(text, kept, "the run is told in other words; UPDATE=1 writes them, see the top of this test");
}

#[test]
fn every_line_fits_and_names_nodes_as_people_do() {
    let plan = small();
    let run = failing(&plan);
    let lines = told(&plan, &run, &Filter::default());
    for line in &lines {
        assert!(line.chars().count() <= WIDTH_MAX, "{line}");
        let is_plain = !line.contains("node ") && !line.contains("Node(") && !line.contains(" { ");
        assert!(is_plain, "{line}");
    }
    for expected in [
        "fault 0: the disk of coordinator 1 is 20 times slower",
        "fault 0 ends: the disk of coordinator 1 is as fast as before",
        "fault 1: the wall clock of broker 2 jumps by -5000 ms",
        "fault 2: broker 1, broker 2 and broker 3 do not reach each other, and connections are reset",
        "fault 2 ends: broker 1, broker 2 and broker 3 reach each other again",
        "is killed",
        "starts again",
        ">>> committed_survives is violated: ",
        "all faults are healed",
    ] {
        let times = lines.iter().filter(|line| line.contains(expected)).count();
        assert_eq!(times, 1, "{expected}\n{}", lines.join("\n"));
    }
}

#[test]
fn a_violations_evidence_names_nodes_as_people_do() {
    let plan = small();
    let run = failing(&plan);
    assert_eq!(run.names, Names::of_plan(&plan));
    assert!(!run.verdict.violations.is_empty());
    for violation in &run.verdict.violations {
        assert!(!violation.evidence.contains("node "), "{}", violation.evidence);
    }
}

#[test]
fn filters_leave_what_was_asked_for() {
    let plan = small();
    let run = failing(&plan);
    let broker_2 = Filter { node: Some(run.names.find("broker-2").expect("is there")), ..Filter::default() };
    let lines = told(&plan, &run, &broker_2);
    let events: Vec<&String> = lines.iter().filter(|line| line.contains("broker 2: ")).collect();
    assert!(events.iter().any(|line| line.contains("appends ")), "single records are shown where a node is named");
    let of_others = |line: &&String| line.contains("   broker 1: ") || line.contains("broker 3: ");
    assert!(lines.iter().filter(of_others).all(|line| line.contains(" > ")), "{}", lines.join("\n"));
    let partition = Filter { partition: parse_partition("orders-0"), ..Filter::default() };
    let lines = told(&plan, &run, &partition);
    assert!(lines.iter().any(|line| line.contains("moves the high watermark of orders-0 to ")));
    assert!(!lines.iter().any(|line| line.contains("session")), "{}", lines.join("\n"));
    let span = Filter { from_ns: 3_000_000_000, until_ns: Some(3_500_000_000), ..Filter::default() };
    let lines = told(&plan, &run, &span);
    let within = |line: &String| ("  3.000000".."  3.500001").contains(&line.get(..10).unwrap_or_default());
    assert!(!lines.is_empty() && lines.iter().all(within), "{}", lines.join("\n"));
}
