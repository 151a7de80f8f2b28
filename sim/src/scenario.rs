//! A scenario: cluster shape, workloads, faults and phases, as data, or a mixture of such. What it
//! leaves open, each seed draws (swarm testing); [`Scenario::draw`] gives the [`Plan`] of one seed.

mod drawn;
mod load;
mod shape;
mod strata;
mod world;

pub use drawn::{Between, Drawn, Draws, Parameters, Scale, Used};
pub use load::{Consumers, LogLoad, Producers, Records, Workload};
pub use shape::{Cluster, ClusterShape, Topic};
pub use strata::Stratum;
pub use world::World;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checkers::availability::{AGAIN_WITHIN_NS, BOUND_MS};
use crate::draw::Draw;
use crate::file_error::FileError;
use crate::schedule::{BudgetMode, FaultKind, Schedule};
use crate::swarm;

/// The most brokers or coordinators that a scenario may ask for.
pub const NODES_MAX: u32 = 15;
/// A healed cluster is whole again within its session time-out, its replica lag time and so long.
const WHOLE_AGAIN_MS: u64 = BOUND_MS + AGAIN_WITHIN_NS / 1_000_000;

/// The faults, as far as the scenario fixes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultMix {
    /// The kinds that may be drawn, with their weights; where absent, each seed draws a subset.
    pub weights: Option<BTreeMap<FaultKind, u32>>,
    /// Fault events per simulated minute of the fault phase.
    pub per_minute: Option<Drawn>,
    /// Whether faults past the budget are admitted; where absent, in less than a tenth of all seeds.
    pub budget: Option<BudgetMode>,
    /// No faults at all; where absent, in less than a tenth of all seeds.
    pub none: Option<bool>,
    /// Whether many chains are drawn, most of whose faults wait for each other, and none for ever; else a few,
    /// whose faults each wait for the clock and what is to happen then.
    pub linked_chains: bool,
}

/// How long each phase lasts, in virtual milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, bound(deserialize = "N: Deserialize<'de> + From<u32>"))]
pub struct Phases<N = u64> {
    /// Load without faults.
    pub warm_up_ms: N,
    /// Load and faults.
    pub faults_ms: N,
    /// Load after all faults are healed: the liveness phase. Where anything of the cluster is drawn, it
    /// lasts as long as that cluster may need to become whole, at least.
    pub healing_ms: N,
    /// Final reads, without load.
    pub final_reads_ms: N,
}

impl<N: From<u32>> Default for Phases<N> {
    fn default() -> Self {
        let [warm_up_ms, faults_ms, healing_ms, final_reads_ms] = [5_000, 35_000, 15_000, 5_000].map(N::from);
        Phases { warm_up_ms, faults_ms, healing_ms, final_reads_ms }
    }
}

impl Phases<Drawn> {
    fn draw(&self, cluster: &Cluster, draws: &mut Draws) -> Phases {
        let healing_ms = draws.number("healing_ms", &self.healing_ms);
        let whole_ms = cluster.session_timeout_ms + cluster.replica_lag_max_ms + WHOLE_AGAIN_MS;
        Phases {
            warm_up_ms: draws.number("warm_up_ms", &self.warm_up_ms),
            faults_ms: draws.number("faults_ms", &self.faults_ms),
            healing_ms: healing_ms.max(whole_ms),
            final_reads_ms: draws.number("final_reads_ms", &self.final_reads_ms),
        }
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
    pub workload: Option<Vec<Workload<Drawn>>>,
    /// The faults.
    pub faults: FaultMix,
    /// The phases.
    pub phases: Phases<Drawn>,
    /// Shapes of which each seed has one, in place of the four above.
    pub strata: Vec<Stratum>,
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
    /// The stratum of the mixture that the seed is of, if it is one.
    pub stratum: Option<String>,
    /// What was drawn of what the scenario gives a range.
    pub parameters: Parameters,
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

    /// Whether any seed has brokers.
    #[must_use]
    pub fn has_brokers(&self) -> bool {
        let has = |shape: &ClusterShape| shape.brokers != Some(Drawn::Fixed(0));
        if self.strata.is_empty() { has(&self.cluster) } else { self.strata.iter().any(|one| has(&one.cluster)) }
    }

    /// The strata of a mixture, each with its share of a hundred seeds.
    #[must_use]
    pub fn shares(&self) -> Vec<(&str, u64)> {
        let all: u64 = self.strata.iter().map(|stratum| u64::from(stratum.share)).sum();
        let share = |stratum: &Stratum| (u64::from(stratum.share) * 100).checked_div(all).unwrap_or(0);
        self.strata.iter().map(|stratum| (stratum.name.as_str(), share(stratum))).collect()
    }

    fn contradiction(&self) -> Option<(String, String)> {
        if self.strata.is_empty() {
            return self.cluster.contradiction();
        }
        let whole = Scenario { name: self.name.clone(), about: self.about.clone(), ..Scenario::default() };
        if (Scenario { strata: Vec::new(), plant: None, ..self.clone() }) != whole {
            let message = "a mixture has cluster, workload, faults and phases beside its strata".to_owned();
            return Some((message, "move them into [[strata]]".to_owned()));
        }
        strata::contradiction(&self.strata)
    }

    /// The plan of `seed`: what is fixed as it is, what is open drawn.
    #[must_use]
    pub fn draw(&self, seed: u64) -> Plan {
        let Some(stratum) = strata::stratum_of(&self.strata, seed) else { return self.draw_alone(seed) };
        let Stratum { name, cluster, workload, faults, phases, .. } = stratum.clone();
        let (scenario, about) = (self.name.clone(), String::new());
        let plant = self.plant.clone();
        let alone = Scenario { name: scenario, about, plant, cluster, workload, faults, phases, strata: Vec::new() };
        Plan { stratum: Some(name), ..alone.draw_alone(seed) }
    }

    fn draw_alone(&self, seed: u64) -> Plan {
        let mut draws = Draws::new(seed);
        let cluster = self.cluster.draw(seed, &mut draws);
        let phases = self.phases.draw(&cluster, &mut draws);
        let mut workloads = match &self.workload {
            Some(workloads) => {
                workloads.iter().map(|workload| workload.draw(cluster.segment_bytes, &mut draws)).collect()
            }
            None => load::draw_open(seed),
        };
        workloads.retain(|workload: &Workload| workload.clients() > 0);
        let mut schedule = Schedule::new(seed, &self.name);
        schedule.plant.clone_from(&self.plant);
        let clients = workloads.iter().map(Workload::clients).sum();
        let per_minute = self.faults.per_minute.as_ref().map(|drawn| draws.number("faults.per_minute", drawn));
        let draw = &mut Draw::new(seed, "faults");
        swarm::draw_faults(&mut schedule, &self.faults, per_minute, &cluster, clients, phases, draw);
        Plan { cluster, workloads, phases, schedule, stratum: None, parameters: draws.made }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWARM: &str = include_str!("../scenarios/swarm.toml");
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
            Workload::ProduceConsume(LogLoad { clients, requests_per_s, .. })
            | Workload::Registers { clients, requests_per_s, .. } => (*clients, *requests_per_s),
            Workload::Sessions { clients, .. }
            | Workload::Topics { clients, .. }
            | Workload::Protocol { clients, .. }
            | Workload::Subtrees { clients, .. }
            | Workload::Meddling { clients, .. } => (*clients, 0),
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
    fn the_mixture_has_its_shares_and_uses_every_range_whole() {
        let swarm = Scenario::parse(SWARM).unwrap_or_else(|error| panic!("{error}"));
        let mut strata: BTreeMap<String, u64> = BTreeMap::new();
        let mut used: BTreeMap<(String, String), Used> = BTreeMap::new();
        for seed in 0..4_000 {
            let plan = swarm.draw(seed);
            assert!((20_000..=130_000).contains(&plan.phases.total_ms()), "{:?}", plan.phases);
            let stratum = plan.stratum.unwrap_or_default();
            for (name, one) in plan.parameters {
                match used.get_mut(&(stratum.clone(), name.clone())) {
                    Some(known) => known.add(&one),
                    None => drop(used.insert((stratum.clone(), name), one)),
                }
            }
            *strata.entry(stratum).or_default() += 1;
        }
        let shares = [("coordinators", 1_000), ("drawn-shapes", 1_400), ("standard-shape", 1_600)];
        assert_eq!(strata, shares.map(|(name, count)| (name.to_owned(), count)).into());
        let half = used.iter().find(|(_, used)| used.parts.len() < used.of as usize);
        assert_eq!(half, None);
    }

    #[test]
    fn fixing_one_thing_shifts_no_other_draw() {
        let open = Scenario::default();
        let mut fixed = Scenario::default();
        fixed.cluster.session_timeout_ms = Some(Drawn::Fixed(3_999));
        let (open, fixed) = (open.draw(7), fixed.draw(7));
        assert_eq!(fixed.cluster.session_timeout_ms, 3_999);
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
