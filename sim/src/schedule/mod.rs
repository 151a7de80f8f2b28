//! The schedule of a run: the list of its fault events with symbolic triggers, as a file that
//! people read and edit.
//!
//! ```toml
//! version = 1
//! seed = 7
//! scenario = "standard"
//! budget = "within"
//! product_seed = 7
//! scheduling_seed = 7
//!
//! [[fault]]
//! when = { after = "leader-elected", partition = "t-0", nth = 2, delay_ms = 130 }
//! do = { kind = "power-loss", targets = ["leader(t-0)"] }
//! for_ms = 2000
//! ```
//!
//! Printing is stable: what is printed reads back equal, and prints the same again.

mod action;
mod target;
mod tracker;
mod trigger;

pub use action::{Action, FaultKind, Shape, Victim};
pub use target::{BadTarget, Target, parse_partition};
pub use tracker::{Due, Roles, TriggerTracker};
pub use trigger::{Happening, Trigger};

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::file_error::FileError;
use crate::scenario::World;

/// The version of the file that this program writes and reads.
pub const VERSION: u32 = 1;
/// The most fault events of one schedule.
pub const FAULTS_MAX: usize = 10_000;

/// Whether faults past the fault budget are admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetMode {
    /// A fault past the budget is not admitted: every promise is checked.
    #[default]
    Within,
    /// All faults are admitted; the only promise is to detect, refuse and say so.
    Beyond,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultEvent {
    /// What its draws are keyed by, whatever else is in the schedule; where absent, its place among the
    /// faults, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The id of the fault that is to strike before: what its trigger counts from, instead of the start of
    /// the run. It never strikes if that one does not; where there is no such fault, as if nothing were said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u32>,
    /// When it strikes.
    pub when: Trigger,
    /// What it does.
    #[serde(rename = "do")]
    pub action: Action,
    /// When it heals by itself (a crashed node starts, a partition closes), in virtual
    /// milliseconds; where absent it lasts until the healing phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// The faults of a run, and what else it needs to be the same run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The version of the file; [`VERSION`].
    pub version: u32,
    /// The seed that it was recorded from.
    pub seed: u64,
    /// The scenario's name or path.
    pub scenario: String,
    /// The planted bug, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plant: Option<String>,
    /// Whether faults past the budget are admitted.
    #[serde(default)]
    pub budget: BudgetMode,
    /// What cluster and workload are drawn from.
    pub product_seed: u64,
    /// What the order of tasks and the network's delays are drawn from.
    pub scheduling_seed: u64,
    /// What the workload is scaled by, in per mille; 1000 is the whole.
    #[serde(default = "whole")]
    pub workload_per_mille: u32,
    /// Where the run is cut, in virtual milliseconds: what only its end would show is not judged then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon_ms: Option<u64>,
    /// The faults.
    #[serde(default, rename = "fault")]
    pub faults: Vec<FaultEvent>,
    /// The scenario with everything that was drawn of it; where absent, it is drawn from the scenario of
    /// that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world: Option<World>,
}

fn whole() -> u32 {
    1000
}

impl Schedule {
    /// A schedule without faults.
    #[must_use]
    pub fn new(seed: u64, scenario: &str) -> Self {
        Schedule {
            version: VERSION,
            seed,
            scenario: scenario.to_owned(),
            plant: None,
            budget: BudgetMode::default(),
            product_seed: seed,
            scheduling_seed: seed,
            workload_per_mille: whole(),
            horizon_ms: None,
            faults: Vec::new(),
            world: None,
        }
    }

    /// Reads a schedule file.
    pub fn parse(text: &str) -> Result<Schedule, FileError> {
        let schedule: Schedule = toml::from_str(text).map_err(|error| FileError::of(text, &error))?;
        let at_top =
            |message: String, remedy: &str| FileError { line: 1, column: 1, message, remedy: remedy.to_owned() };
        if schedule.version != VERSION {
            let message = format!("version {} of the schedule file is not known", schedule.version);
            return Err(at_top(message, "this program reads version 1; record the schedule again"));
        }
        if schedule.faults.len() > FAULTS_MAX {
            let message = format!("{} faults are more than {FAULTS_MAX}", schedule.faults.len());
            return Err(at_top(message, "shrink the schedule first"));
        }
        if let Some((message, remedy)) = schedule.world.as_ref().and_then(World::contradiction) {
            return Err(at_top(message, &remedy));
        }
        let mut ids = BTreeSet::new();
        if let Some(twice) = schedule.ids().find(|id| !ids.insert(*id)) {
            let message = format!("two faults have the id {twice}, which is the place of one that has none");
            return Err(at_top(message, "give each fault an id of its own"));
        }
        Ok(schedule)
    }

    /// The id of each fault: the one that it was given, or its place.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.faults.iter().zip(0..).map(|(fault, place)| fault.id.unwrap_or(place))
    }

    /// The same schedule with every id written down, so that faults can be left out and each other one
    /// still draws the same.
    #[must_use]
    pub fn with_ids(&self) -> Schedule {
        let mut schedule = self.clone();
        for (fault, id) in schedule.faults.iter_mut().zip(self.ids()) {
            fault.id = Some(id);
        }
        schedule
    }

    /// The schedule as a file.
    #[must_use]
    pub fn print(&self) -> String {
        let mut text =
            format!("version = {}\nseed = {}\nscenario = {}\n", self.version, self.seed, inline(&self.scenario));
        if let Some(plant) = &self.plant {
            text += &format!("plant = {}\n", inline(plant));
        }
        text += &format!(
            "budget = {}\nproduct_seed = {}\nscheduling_seed = {}\nworkload_per_mille = {}\n",
            inline(&self.budget),
            self.product_seed,
            self.scheduling_seed,
            self.workload_per_mille
        );
        if let Some(horizon_ms) = self.horizon_ms {
            text += &format!("horizon_ms = {horizon_ms}\n");
        }
        for fault in &self.faults {
            text += "\n[[fault]]\n";
            if let Some(id) = fault.id {
                text += &format!("id = {id}\n");
            }
            if let Some(behind) = fault.behind {
                text += &format!("behind = {behind}\n");
            }
            text += &format!("when = {}\ndo = {}\n", inline(&fault.when), inline(&fault.action));
            if let Some(for_ms) = fault.for_ms {
                text += &format!("for_ms = {for_ms}\n");
            }
        }
        if let Some(world) = &self.world {
            text += &format!("\n{}", world.print());
        }
        text
    }
}

/// A value as it stands behind an equals sign: tables and lists in one line.
fn inline(value: &impl Serialize) -> String {
    toml::Value::try_from(value).expect("our own types have string keys and numbers in range").to_string()
}

#[cfg(test)]
pub(crate) mod examples {
    use super::*;

    pub fn crash_of_the_leader(nth: u32) -> FaultEvent {
        let partition = parse_partition("t-0");
        FaultEvent {
            id: None,
            behind: None,
            when: Trigger::After {
                happening: Happening::LeaderElected,
                partition,
                nth,
                from_ms: 0,
                delay_ms: 130,
                within_ms: None,
            },
            action: Action::Crash { targets: vec!["leader(t-0)".parse().expect("a target")] },
            for_ms: Some(2_000),
        }
    }

    pub fn one_of_each() -> Schedule {
        let target = || "follower(t-0, 1)".parse::<Target>().expect("a target");
        let actions = [
            Action::Partition {
                shape: Shape::MajorityRing,
                targets: vec![target(), Target::Controller],
                resets: true,
                in_parts: false,
            },
            Action::Partition {
                shape: Shape::OneWay,
                targets: vec![Target::Broker(1), Target::Client(2)],
                resets: false,
                in_parts: true,
            },
            Action::SlowLink { target: target(), latency_ms: 200, bytes_per_s: None },
            Action::SlowLink { target: target(), latency_ms: 0, bytes_per_s: Some(10_000) },
            Action::LossyLink { target: target(), lost_per_mille: 300, late_per_mille: 0, late_ms: 0 },
            Action::LossyLink { target: target(), lost_per_mille: 0, late_per_mille: 10, late_ms: 300 },
            Action::ResetConnections { target: Target::Client(3) },
            Action::Crash { targets: vec![Target::CoordinatorLeader] },
            Action::PowerLoss { targets: vec![Target::Broker(1), Target::Broker(2)] },
            Action::Pause { target: target() },
            Action::ClockJump { target: target(), by_ms: -86_400_000 },
            Action::ClockDrift { target: target(), ppm: 500 },
            Action::IoError { target: target(), sticky: true },
            Action::FsyncFailure { target: Target::Coordinator(1) },
            Action::DiskFull { target: target() },
            Action::SlowDisk { target: target(), factor: 1000 },
            Action::BitRot { target: target(), victim: Victim::Checkpoint, bytes: 8 },
            Action::Restart { target: target() },
            Action::Replace { target: target() },
            Action::DirectorySyncFailure { target: Target::Coordinator(3) },
            Action::SwapDisk { target: target() },
        ];
        let mut schedule = Schedule::new(u64::from(u32::MAX) + 9, "standard");
        schedule.plant = Some("KIP-966".to_owned());
        for (at_ms, action) in (5_000..).step_by(100).zip(actions) {
            schedule.faults.push(FaultEvent {
                id: None,
                behind: None,
                when: Trigger::At { at_ms },
                action,
                for_ms: None,
            });
        }
        schedule.faults.push(crash_of_the_leader(2));
        schedule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_with_every_action_reads_back_equal_and_prints_the_same_again() {
        let schedule = examples::one_of_each();
        let text = schedule.print();
        let again = Schedule::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(again, schedule);
        assert_eq!(again.print(), text);
        let kinds: std::collections::BTreeSet<FaultKind> =
            schedule.faults.iter().map(|fault| fault.action.kind()).collect();
        assert_eq!(kinds.len(), FaultKind::ALL.len());
        assert!(text.contains("partition = \"t-0\"") && text.contains("after = \"leader-elected\""), "{text}");
    }

    #[test]
    fn the_file_in_the_documentation_is_read() {
        let text = "version = 1\nseed = 7\nscenario = \"standard\"\nbudget = \"within\"\nproduct_seed = 7\nscheduling_seed = 7\n\n[[fault]]\nwhen = { after = \"leader-elected\", partition = \"t-0\", nth = 2, delay_ms = 130 }\ndo = { kind = \"power-loss\", targets = [\"leader(t-0)\"] }\nfor_ms = 2000\n";
        assert_eq!(Schedule::parse(text).map(|schedule| schedule.faults.len()), Ok(1));
    }

    #[test]
    fn the_largest_seed_reads_back_equal() {
        let schedule = Schedule::new(u64::MAX, "standard");
        assert_eq!(Schedule::parse(&schedule.print()), Ok(schedule));
    }

    #[test]
    fn mistakes_are_reported_with_line_and_remedy() {
        let good = examples::one_of_each().print();
        let mistakes = [
            ("seed = ", "sead = ", "did you mean `seed`?"),
            ("kind = \"pause\"", "kind = \"puase\"", "did you mean `pause`?"),
            ("\"controller\"", "\"kontroller\"", "is no target"),
            ("nth = 2", "nth = 0", "counts from 1"),
            ("version = 1", "version = 9", "record the schedule again"),
            ("latency_ms = 200", "latency_ms = \"long\"", "correct the value"),
        ];
        for (right, wrong, expected) in mistakes {
            assert!(good.contains(right), "{right} in {good}");
            let error = Schedule::parse(&good.replacen(right, wrong, 1)).expect_err(wrong);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let text = good.replacen("kind = \"pause\"", "kind = \"puase\"", 1);
        let line = text.lines().position(|line| line.contains("puase")).expect("there") + 1;
        let error = Schedule::parse(&text).expect_err("a typing error");
        assert!(error.line.abs_diff(line) <= 1, "{error} is far from line {line}");
    }
}
