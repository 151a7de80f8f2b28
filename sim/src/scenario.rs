//! A scenario: cluster shape, workloads, faults and phases, as data. What it leaves open, each
//! seed draws (swarm testing); [`Scenario::draw`] gives the [`Plan`] of one seed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wyrdlog::base::partition_state::Durability;

use crate::draw::Draw;
use crate::file_error::FileError;
use crate::schedule::{BudgetMode, FaultKind, Schedule};
use crate::swarm;

/// The most brokers or coordinators that a scenario may ask for.
pub const NODES_MAX: u32 = 15;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: u32,
    /// How many replicas each.
    pub replicas: u32,
    /// `min.insync.replicas`.
    pub min_in_sync: u32,
    /// What is promised.
    pub durability: Durability,
}

/// The cluster, as far as the scenario fixes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterShape {
    /// Coordinator servers: 1, 3 or 5.
    pub coordinators: Option<u32>,
    /// Brokers.
    pub brokers: Option<u32>,
    /// `zookeeper.session.timeout.ms` of the brokers.
    pub session_timeout_ms: Option<u64>,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_max_ms: Option<u64>,
    /// The topics; where absent, one of each durability class.
    pub topics: Option<Vec<Topic>>,
}

/// What clients do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Workload {
    /// Clients that send unique values and poll them.
    ProduceConsume {
        /// How many clients.
        clients: u32,
        /// Sends per simulated second, of all clients together, and as many polls.
        requests_per_s: u32,
        /// Sends of a hundred that use acks=all; the others use acks=1.
        #[serde(default = "all")]
        acks_all_percent: u32,
        /// Producers of a hundred that are idempotent.
        #[serde(default = "all")]
        idempotent_percent: u32,
    },
    /// Clients that work on registers in the coordinator's tree.
    Registers {
        /// How many clients.
        clients: u32,
        /// Requests per simulated second, of all clients together.
        requests_per_s: u32,
        /// How many registers.
        registers: u32,
    },
    /// Clients that hold ephemerals and watches while they come and go.
    Sessions {
        /// How many clients.
        clients: u32,
        /// Sessions that end per simulated minute.
        ends_per_minute: u32,
    },
}

fn all() -> u32 {
    100
}

impl Workload {
    /// How many clients it has.
    #[must_use]
    pub fn clients(&self) -> u32 {
        match self {
            Workload::ProduceConsume { clients, .. }
            | Workload::Registers { clients, .. }
            | Workload::Sessions { clients, .. } => *clients,
        }
    }
}

/// The faults, as far as the scenario fixes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultMix {
    /// The kinds that may be drawn, with their weights; where absent, each seed draws a subset.
    pub weights: Option<BTreeMap<FaultKind, u32>>,
    /// Fault events per simulated minute of the fault phase.
    pub per_minute: Option<u32>,
    /// Whether faults past the budget are admitted; where absent, in less than a tenth of all seeds.
    pub budget: Option<BudgetMode>,
    /// No faults at all; where absent, in less than a tenth of all seeds.
    pub none: Option<bool>,
}

/// How long each phase lasts, in virtual milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phases {
    /// Load without faults.
    pub warm_up_ms: u64,
    /// Load and faults.
    pub faults_ms: u64,
    /// Load after all faults are healed: the liveness phase.
    pub healing_ms: u64,
    /// Final reads, without load.
    pub final_reads_ms: u64,
}

impl Default for Phases {
    fn default() -> Self {
        Phases { warm_up_ms: 5_000, faults_ms: 35_000, healing_ms: 15_000, final_reads_ms: 5_000 }
    }
}

impl Phases {
    /// All phases together.
    #[must_use]
    pub fn total_ms(&self) -> u64 {
        self.warm_up_ms + self.faults_ms + self.healing_ms + self.final_reads_ms
    }
}

/// A scenario as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// A planted bug that it switches on.
    pub plant: Option<String>,
    /// The cluster.
    pub cluster: ClusterShape,
    /// What clients do; where absent, each seed draws it.
    pub workload: Option<Vec<Workload>>,
    /// The faults.
    pub faults: FaultMix,
    /// The phases.
    pub phases: Phases,
}

/// A cluster without anything left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Coordinator servers, with ids from 1.
    pub coordinators: u32,
    /// Brokers, with ids from 1.
    pub brokers: u32,
    /// `zookeeper.session.timeout.ms` of the brokers.
    pub session_timeout_ms: u64,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_max_ms: u64,
    /// The topics.
    pub topics: Vec<Topic>,
}

/// What one seed runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The cluster.
    pub cluster: Cluster,
    /// What clients do.
    pub workloads: Vec<Workload>,
    /// How long.
    pub phases: Phases,
    /// The faults, with everything that a replay needs.
    pub schedule: Schedule,
}

impl Scenario {
    /// Reads a scenario file.
    pub fn parse(text: &str) -> Result<Scenario, FileError> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| FileError::of(text, &error))?;
        match scenario.contradiction() {
            Some((message, remedy)) => Err(FileError { line: 1, column: 1, message, remedy }),
            None => Ok(scenario),
        }
    }

    fn contradiction(&self) -> Option<(String, String)> {
        let brokers = self.cluster.brokers.unwrap_or(NODES_MAX);
        if self.cluster.coordinators.is_some_and(|count| ![1, 3, 5].contains(&count)) {
            return Some((
                "an ensemble has 1, 3 or 5 coordinators".to_owned(),
                "set cluster.coordinators = 3".to_owned(),
            ));
        }
        if brokers > NODES_MAX {
            return Some((
                format!("{brokers} brokers are more than {NODES_MAX}"),
                "set cluster.brokers = 3, or 0 for the coordinator alone".to_owned(),
            ));
        }
        let mut names = BTreeSet::new();
        self.cluster.topics.iter().flatten().find_map(|topic| {
            if !names.insert(topic.name.as_str()) {
                let remedy = "give each topic a name of its own".to_owned();
                return Some((format!("two topics are named {}", topic.name), remedy));
            }
            let name = &topic.name;
            if topic.replicas == 0 || topic.replicas > brokers {
                let remedy = format!("set its replicas between 1 and {brokers}");
                return Some((format!("topic {name} has {} replicas on {brokers} brokers", topic.replicas), remedy));
            }
            let possible = (1..=topic.replicas).contains(&topic.min_in_sync) && topic.partitions > 0;
            let message =
                || format!("topic {name} has min_in_sync {} and {} partitions", topic.min_in_sync, topic.partitions);
            (!possible).then(|| {
                (message(), format!("set min_in_sync between 1 and {} and at least one partition", topic.replicas))
            })
        })
    }

    /// The plan of `seed`: what is fixed as it is, what is open drawn.
    #[must_use]
    pub fn draw(&self, seed: u64) -> Plan {
        let cluster = self.draw_cluster(&mut Draw::new(seed, "cluster"));
        let workloads = match &self.workload {
            Some(workloads) => workloads.clone(),
            None => draw_workloads(&mut Draw::new(seed, "workload")),
        };
        let mut schedule = Schedule::new(seed, &self.name);
        schedule.plant.clone_from(&self.plant);
        let clients = workloads.iter().map(Workload::clients).sum();
        let draw = &mut Draw::new(seed, "faults");
        swarm::draw_faults(&mut schedule, &self.faults, &cluster, clients, self.phases, draw);
        Plan { cluster, workloads, phases: self.phases, schedule }
    }

    fn draw_cluster(&self, draw: &mut Draw) -> Cluster {
        let shape = &self.cluster;
        let coordinators = draw.weighted(&[(1, 1), (3, 8), (5, 1)]).copied().unwrap_or(3);
        let brokers = draw.weighted(&[(3, 8), (4, 1), (5, 1)]).copied().unwrap_or(3);
        let session_timeout_ms = draw.between(1_000, 4_000);
        let replica_lag_max_ms = draw.between(500, 5_000);
        let topics = [("synced", Durability::Synced), ("cached", Durability::PageCache)].map(|(name, durability)| {
            let partitions = draw.between(1, 3) as u32;
            Topic { name: name.to_owned(), partitions, replicas: 3, min_in_sync: 2, durability }
        });
        Cluster {
            coordinators: shape.coordinators.unwrap_or(coordinators),
            brokers: shape.brokers.unwrap_or(brokers),
            session_timeout_ms: shape.session_timeout_ms.unwrap_or(session_timeout_ms),
            replica_lag_max_ms: shape.replica_lag_max_ms.unwrap_or(replica_lag_max_ms),
            topics: shape.topics.clone().unwrap_or_else(|| cap_replicas(topics, shape.brokers.unwrap_or(brokers))),
        }
    }
}

/// A drawn topic on a cluster that the scenario made smaller.
fn cap_replicas(topics: [Topic; 2], brokers: u32) -> Vec<Topic> {
    if brokers == 0 {
        return Vec::new();
    }
    let cap = |topic: Topic| {
        let replicas = topic.replicas.min(brokers);
        Topic { replicas, min_in_sync: topic.min_in_sync.min(replicas), ..topic }
    };
    topics.into_iter().map(cap).collect()
}

fn draw_workloads(draw: &mut Draw) -> Vec<Workload> {
    let mut workloads = vec![Workload::ProduceConsume {
        clients: draw.between(2, 6) as u32,
        requests_per_s: draw.between(20, 100) as u32,
        acks_all_percent: draw.pick(&[100, 100, 80, 50]).copied().unwrap_or(100),
        idempotent_percent: draw.pick(&[100, 100, 50, 0]).copied().unwrap_or(100),
    }];
    if draw.percent(50) {
        let (clients, requests_per_s) = (draw.between(2, 4) as u32, draw.between(10, 40) as u32);
        workloads.push(Workload::Registers { clients, requests_per_s, registers: draw.between(1, 5) as u32 });
    }
    if draw.percent(30) {
        workloads.push(Workload::Sessions {
            clients: draw.between(1, 3) as u32,
            ends_per_minute: draw.between(2, 20) as u32,
        });
    }
    workloads
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD: &str = include_str!("../scenarios/standard.toml");

    #[test]
    fn the_standard_scenario_is_the_standard_load() {
        let scenario = Scenario::parse(STANDARD).unwrap_or_else(|error| panic!("{error}"));
        let plan = scenario.draw(1);
        assert_eq!((plan.cluster.coordinators, plan.cluster.brokers, plan.cluster.session_timeout_ms), (3, 3, 2_000));
        assert_eq!(plan.phases.total_ms(), 60_000);
        assert_eq!((plan.phases.warm_up_ms, plan.phases.faults_ms), (5_000, 35_000));
        let shapes: Vec<_> =
            plan.cluster.topics.iter().map(|topic| (topic.partitions, topic.replicas, topic.min_in_sync)).collect();
        assert_eq!(shapes, vec![(3, 3, 2), (3, 3, 2)]);
        assert_ne!(plan.cluster.topics[0].durability, plan.cluster.topics[1].durability);
        let load = plan.workloads.iter().map(|workload| match workload {
            Workload::ProduceConsume { clients, requests_per_s, .. }
            | Workload::Registers { clients, requests_per_s, .. } => (*clients, *requests_per_s),
            Workload::Sessions { clients, .. } => (*clients, 0),
        });
        assert_eq!(load.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)), (6, 104));
    }

    #[test]
    fn a_plan_is_a_function_of_scenario_and_seed() {
        let open = Scenario::default();
        assert_eq!(open.draw(7), open.draw(7));
        let different = (0..50).map(|seed| open.draw(seed)).filter(|plan| plan.cluster != open.draw(7).cluster).count();
        assert!(different > 40, "{different} of 50 clusters differ");
    }

    #[test]
    fn fixing_one_thing_shifts_no_other_draw() {
        let open = Scenario::default();
        let mut fixed = Scenario::default();
        fixed.cluster.session_timeout_ms = Some(9_999);
        let (open, fixed) = (open.draw(7), fixed.draw(7));
        assert_eq!(fixed.cluster.session_timeout_ms, 9_999);
        assert_eq!(
            (open.cluster.topics, open.workloads, open.schedule),
            (fixed.cluster.topics, fixed.workloads, fixed.schedule)
        );
    }

    #[test]
    fn mistakes_are_reported_with_line_and_remedy() {
        let error = Scenario::parse("name = \"x\"\n[cluster]\nbrokrs = 3\n").expect_err("a typing error");
        assert_eq!(error.line, 3);
        assert!(error.to_string().contains("did you mean `brokers`?"), "{error}");
        let error = Scenario::parse("[cluster]\ncoordinators = 2\n").expect_err("no ensemble");
        assert!(error.to_string().contains("1, 3 or 5"), "{error}");
        let topic = "[cluster]\nbrokers = 3\n[[cluster.topics]]\nname = \"t\"\npartitions = 1\nreplicas = 4\nmin_in_sync = 2\ndurability = \"synced\"\n";
        let error = Scenario::parse(topic).expect_err("too many replicas");
        assert!(error.to_string().contains("4 replicas on 3 brokers"), "{error}");
        let topic = "[[cluster.topics]]\nname = \"t\"\npartitions = 1\nreplicas = 1\nmin_in_sync = 1\ndurability = \"synced\"\n";
        let error = Scenario::parse(&topic.repeat(2)).expect_err("the second would never be created");
        assert!(error.to_string().contains("two topics are named t"), "{error}");
    }
}
