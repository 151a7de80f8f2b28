//! `wyrd-sim replay`: the same run again, of a seed or of a schedule's file.

use wyrdlog::base::ids::TopicPartition;
use wyrdlog::base::plants::Plant;

use super::out::{say, tell};
use super::progress::Progress;
use super::recorded::Recorded;
use super::{CLEAN, FAILED, Output, Trouble, failure, names};
use crate::fit;
use crate::narrate::{Filter, Names, timeline};
use crate::run::{Options, Run, run_plan};
use crate::scenario::Plan;
use crate::schedule::{Schedule, parse_partition};
use crate::sweep::cpu_time;

/// What `replay` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A seed, or a schedule's file.
    what: String,
    /// A scenario's name or file; a schedule carries or names its own.
    #[arg(long)]
    scenario: Option<String>,
    /// A planted bug to switch on.
    #[arg(long, value_parser = names::plant)]
    plant: Option<Plant>,
    /// The commit that recorded the run; a schedule's file says it.
    #[arg(long)]
    commit: Option<String>,
    /// The hash that the run had; a schedule's file says it.
    #[arg(long)]
    hash: Option<String>,
    /// Print what happened, one line an event: elections, in-sync changes, restarts, faults with their
    /// end, the violated instant.
    #[arg(long)]
    events: bool,
    /// Of the events only those of this node, such as broker-2; single records and requests included.
    #[arg(long, requires = "events")]
    node: Option<String>,
    /// Of the events only those of this partition, such as synced-0; single records included.
    #[arg(long, requires = "events", value_parser = partition)]
    partition: Option<TopicPartition>,
    /// Of the events only those from this virtual time on, such as 12.5s.
    #[arg(long, requires = "events", value_parser = nanoseconds)]
    from: Option<u64>,
    /// Of the events only those up to this virtual time, such as 14s.
    #[arg(long, requires = "events", value_parser = nanoseconds)]
    until: Option<u64>,
    /// How to print the verdict.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

fn partition(text: &str) -> Result<TopicPartition, String> {
    parse_partition(text).ok_or_else(|| "write TOPIC-PARTITION, such as synced-0".to_owned())
}

/// A virtual time: seconds, with or without their unit, or milliseconds with theirs.
fn nanoseconds(text: &str) -> Result<u64, String> {
    let (number, unit_ns) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1e6),
        (None, Some(number)) => (number, 1e9),
        (None, None) => (text, 1e9),
    };
    let parsed = number.trim().parse::<f64>().ok().filter(|number| (0.0..1e9).contains(number));
    parsed.map(|number| (number * unit_ns) as u64).ok_or_else(|| "write seconds, such as 12.5s, or 800ms".to_owned())
}

/// The plan that a seed or a schedule's file stands for.
pub(super) fn plan_of(what: &str, scenario: Option<&str>, plant: Option<Plant>) -> Result<Plan, Trouble> {
    let mut plan = match what.parse::<u64>() {
        Ok(seed) => names::scenario(scenario.unwrap_or(names::DEFAULT))?.draw(seed),
        Err(_) => {
            let schedule = names::schedule(what)?;
            let plan = match scenario {
                // Who names a scenario wants another world than the file's.
                Some(name) => {
                    names::scenario(name)?.draw(schedule.product_seed).with(&Schedule { world: None, ..schedule })
                }
                None => match Plan::of(schedule.clone()) {
                    Some(plan) => plan,
                    None => names::scenario(&schedule.scenario)?.draw(schedule.product_seed).with(&schedule),
                },
            };
            fit::check(&plan).map_err(|error| format!("{what}: {error}"))?;
            plan
        }
    };
    plan.schedule.plant = plant.map(|plant| plant.id().to_owned()).or(plan.schedule.plant);
    Ok(plan)
}

/// Carries it out.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let file = names::file_of(&arguments.what);
    let plan = plan_of(&arguments.what, arguments.scenario.as_deref(), arguments.plant)?;
    let filter = arguments.filter(&plan)?;
    let recorded = arguments.recorded(file)?;
    recorded.announce();
    let options = Options { keep_record: arguments.events, ..Options::default() };
    failure::watch(&plan, file);
    let progress = Progress::begin(&format!("replaying {}", arguments.what), None);
    let (run, cpu) = cpu_time::measured(|| run_plan(&plan, &options));
    progress.end();
    let run = run?;
    print_events(&run, &plan, &filter);
    match arguments.output {
        Output::Json => say!("{}", serde_json::to_string_pretty(&super::run::Measured::of(&run.verdict, cpu))?),
        Output::Text => say!("{}", super::run::describe(&run.verdict, cpu).trim_end()),
    }
    recorded.compare(&run.verdict);
    if run.verdict.passed() {
        return Ok(CLEAN);
    }
    tell!("{}", failure::describe(&run.verdict, &plan, file).trim_end());
    Ok(FAILED)
}

impl Arguments {
    fn filter(&self, plan: &Plan) -> Result<Filter, Trouble> {
        if let Some(partition) = &self.partition {
            fit::check_partition(plan, partition)?;
        }
        let node = self.node.as_deref().map(|node| Names::of_plan(plan).find(node)).transpose()?;
        let (from_ns, until_ns) = (self.from.unwrap_or(0), self.until);
        if until_ns.is_some_and(|until_ns| until_ns < from_ns) {
            return Err("--until is before --from: nothing would be shown".into());
        }
        let end_ns = plan.phases.total_ms() * 1_000_000;
        if from_ns > end_ns {
            return Err(format!("--from is behind the run's end at {} s", end_ns / 1_000_000_000).into());
        }
        Ok(Filter { node, partition: self.partition.clone(), from_ns, until_ns })
    }

    fn recorded(&self, file: Option<&str>) -> Result<Recorded, Trouble> {
        let of_file = file.map(names::recorded).transpose()?.unwrap_or_default();
        Ok(Recorded { commit: self.commit.clone().or(of_file.commit), hash: self.hash.clone().or(of_file.hash) })
    }
}

fn print_events(run: &Run, plan: &Plan, filter: &Filter) {
    let Some(record) = &run.record else { return };
    for line in timeline(plan, &record.entries, &run.verdict, &run.names, filter) {
        say!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_their_unit() {
        assert_eq!(nanoseconds("12.5s"), Ok(12_500_000_000));
        assert_eq!(nanoseconds("14"), Ok(14_000_000_000));
        assert_eq!(nanoseconds("800ms"), Ok(800_000_000));
        assert!(nanoseconds("soon").is_err() && nanoseconds("-1s").is_err());
    }
}
