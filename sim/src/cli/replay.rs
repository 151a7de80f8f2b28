//! `wyrd-sim replay`: the same run again, of a seed or of a schedule's file.

use wyrdlog::base::event::{CoordinatorEvent, Event, LogEvent, ReplicaEvent};
use wyrdlog::base::plants::Plant;

use super::{CLEAN, FAILED, Output, Trouble, failure, names};
use crate::observed::{Observed, seconds};
use crate::run::{Options, run_plan};
use crate::scenario::Plan;
use crate::sweep::cpu_time;
use crate::tamper::Entry;

/// What `replay` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A seed, or a schedule's file.
    what: String,
    /// A scenario's name or file; a schedule names its own.
    #[arg(long)]
    scenario: Option<String>,
    /// A planted bug to switch on.
    #[arg(long)]
    plant: Option<Plant>,
    /// Print every fault and event, but for those of single entries, requests and replies.
    #[arg(long)]
    events: bool,
    /// How to print the verdict.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// The plan that a seed or a schedule's file stands for.
pub(super) fn plan_of(what: &str, scenario: Option<&str>, plant: Option<Plant>) -> Result<Plan, Trouble> {
    let mut plan = match what.parse::<u64>() {
        Ok(seed) => names::scenario(scenario.unwrap_or(names::DEFAULT))?.draw(seed),
        Err(_) => {
            let schedule = names::schedule(what)?;
            let mut plan = names::scenario(scenario.unwrap_or(&schedule.scenario))?.draw(schedule.product_seed);
            plan.schedule = schedule;
            plan
        }
    };
    plan.schedule.plant = plant.map(|plant| plant.id().to_owned()).or(plan.schedule.plant);
    Ok(plan)
}

/// Carries it out.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let plan = plan_of(&arguments.what, arguments.scenario.as_deref(), arguments.plant)?;
    let options = Options { keep_record: arguments.events, ..Options::default() };
    let (run, cpu) = cpu_time::measured(|| run_plan(&plan, &options));
    let run = run?;
    run.record.iter().flat_map(|record| &record.entries).for_each(print_entry);
    let verdict = run.verdict;
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&super::run::Measured::of(&verdict, cpu))?),
        Output::Text => print!("{}", super::run::describe(&verdict, cpu)),
    }
    if verdict.passed() {
        return Ok(CLEAN);
    }
    let described = match names::file_of(&arguments.what) {
        Some(file) => failure::describe_file(&verdict, &plan.schedule, file),
        None => failure::describe(&verdict, &plan)?,
    };
    eprint!("{described}");
    Ok(FAILED)
}

fn print_entry(entry: &Entry) {
    match entry {
        Entry::Fault { time_ns, note } => println!("{} {note:?}", seconds(*time_ns)),
        Entry::Event(Observed { time_ns, node, incarnation, event }) if !is_frequent(event) => {
            println!("{} {node}.{incarnation} {event:?}", seconds(*time_ns));
        }
        Entry::Event(_) | Entry::Disk { .. } => {}
    }
}

fn is_frequent(event: &Event) -> bool {
    use CoordinatorEvent::{Applied, NodeChanged, Notified, Replied, WatchTriggered};
    use LogEvent::{Appended, Synced};
    use ReplicaEvent::{Acknowledged, FollowerProgress, HighWatermark, Served};
    matches!(
        event,
        Event::Coordinator(
            Applied { .. } | NodeChanged { .. } | Notified { .. } | Replied { .. } | WatchTriggered { .. }
        ) | Event::Log(_, Appended { .. } | Synced { .. })
            | Event::Replica(_, Acknowledged { .. } | FollowerProgress { .. } | HighWatermark { .. } | Served { .. })
    )
}
