//! What a schedule's file carries of its scenario: everything that was drawn, as fixed numbers. With it a
//! schedule stands alone, whatever becomes of the scenario, and can be made smaller where no scenario
//! says how.

use serde::{Deserialize, Serialize};

use super::{Cluster, ClusterShape, Drawn, NODES_MAX, Parameters, Phases, Plan, Topic, Workload};
use crate::schedule::Schedule;

/// The most clients of all workloads together.
const CLIENTS_MAX: u32 = 1_000;

/// A scenario without anything left open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// How long.
    pub phases: Phases,
    /// The cluster.
    pub cluster: Cluster,
    /// What clients do.
    #[serde(default, rename = "workload")]
    pub workloads: Vec<Workload>,
}

impl World {
    /// That of `plan`.
    #[must_use]
    pub fn of(plan: &Plan) -> World {
        World { phases: plan.phases, cluster: plan.cluster.clone(), workloads: plan.workloads.clone() }
    }

    /// The world as the last tables of a schedule's file.
    #[must_use]
    pub fn print(&self) -> String {
        #[derive(Serialize)]
        struct File<'w> {
            world: &'w World,
        }
        toml::to_string(&File { world: self }).expect("our own types have string keys and numbers in range")
    }

    /// What contradicts itself, and the remedy.
    #[must_use]
    pub fn contradiction(&self) -> Option<(String, String)> {
        let fixed = |number: u32| Drawn::Fixed(u64::from(number));
        let topic = |topic: &Topic| Topic {
            name: topic.name.clone(),
            partitions: fixed(topic.partitions),
            replicas: fixed(topic.replicas),
            min_in_sync: fixed(topic.min_in_sync),
            durability: topic.durability,
        };
        let Cluster { coordinators, brokers, topics, .. } = &self.cluster;
        if *brokers > NODES_MAX || self.clients() > CLIENTS_MAX {
            let message = format!("the world has {brokers} brokers and {} clients", self.clients());
            return Some((message, format!("set {NODES_MAX} brokers and {CLIENTS_MAX} clients at most")));
        }
        let shape = ClusterShape {
            coordinators: Some(fixed(*coordinators)),
            brokers: Some(fixed(*brokers)),
            topics: Some(topics.iter().map(topic).collect()),
            ..ClusterShape::default()
        };
        shape.contradiction()
    }

    fn clients(&self) -> u32 {
        self.workloads.iter().map(Workload::clients).fold(0, u32::saturating_add)
    }

    /// The same, each with one thing less: a workload, half of its clients, a topic, half of its
    /// partitions, a broker, two coordinators.
    #[must_use]
    pub fn smaller(&self) -> Vec<World> {
        let mut smaller = Vec::new();
        for at in 0..self.workloads.len() {
            let mut one = self.clone();
            one.workloads.remove(at);
            smaller.push(one);
        }
        for at in 0..self.workloads.len() {
            let mut one = self.clone();
            if one.workloads[at].halve() {
                smaller.push(one);
            }
        }
        for at in 0..self.cluster.topics.len() {
            let mut one = self.clone();
            one.cluster.topics.remove(at);
            smaller.push(one);
        }
        for at in 0..self.cluster.topics.len() {
            let mut one = self.clone();
            let topic = &mut one.cluster.topics[at];
            if topic.partitions > 1 {
                topic.partitions /= 2;
                smaller.push(one);
            }
        }
        if let Some(brokers) = self.cluster.brokers.checked_sub(1).filter(|brokers| *brokers > 0) {
            let mut one = self.clone();
            one.cluster.brokers = brokers;
            smaller.push(one);
        }
        if self.cluster.coordinators > 1 {
            let mut one = self.clone();
            one.cluster.coordinators -= 2;
            smaller.push(one);
        }
        smaller.retain(|world| world.contradiction().is_none() && world.is_loaded());
        smaller
    }

    /// A cluster of brokers without a topic, or any without clients, does nothing.
    fn is_loaded(&self) -> bool {
        !self.workloads.is_empty() && (self.cluster.brokers == 0 || !self.cluster.topics.is_empty())
    }
}

impl Plan {
    /// The plan of `schedule`: the world is the one that it carries, or where it carries none, this one's.
    #[must_use]
    pub fn with(&self, schedule: &Schedule) -> Plan {
        let schedule = schedule.clone();
        match schedule.world.clone() {
            Some(World { phases, cluster, workloads }) => Plan { phases, cluster, workloads, schedule, ..self.clone() },
            None => Plan { schedule, ..self.clone() },
        }
    }

    /// The plan of a schedule that carries its world.
    #[must_use]
    pub fn of(schedule: Schedule) -> Option<Plan> {
        let World { phases, cluster, workloads } = schedule.world.clone()?;
        Some(Plan { phases, cluster, workloads, schedule, stratum: None, parameters: Parameters::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn drawn() -> impl Iterator<Item = Plan> {
        let swarm = Scenario::parse(include_str!("../../scenarios/swarm.toml")).expect("it comes with the program");
        (0..200).map(move |seed| swarm.draw(seed))
    }

    #[test]
    fn a_schedule_that_carries_its_world_needs_no_scenario() {
        for plan in drawn() {
            let schedule = Schedule { world: Some(World::of(&plan)), ..plan.schedule.clone() };
            let text = schedule.print();
            let read = Schedule::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!((&read, read.print()), (&schedule, text));
            let again = Plan::of(read).expect("it carries its world");
            assert_eq!((&again.cluster, &again.workloads, again.phases), (&plan.cluster, &plan.workloads, plan.phases));
        }
    }

    #[test]
    fn a_world_is_made_smaller_until_there_is_one_of_everything() {
        for plan in drawn() {
            let mut world = World::of(&plan);
            let mut steps = 0;
            while let Some(smaller) = world.smaller().pop() {
                assert!(smaller.contradiction().is_none() && smaller != world);
                (world, steps) = (smaller, steps + 1);
                assert!(steps < 100, "{world:?}");
            }
            assert_eq!((world.cluster.coordinators, world.workloads.len(), world.clients()), (1, 1, 1), "{world:?}");
        }
    }

    #[test]
    fn a_world_that_cannot_be_is_refused_with_the_remedy() {
        let plan = drawn().find(|plan| !plan.cluster.topics.is_empty()).expect("one has brokers");
        let mut world = World::of(&plan);
        world.cluster.brokers = world.cluster.topics[0].replicas - 1;
        let schedule = Schedule { world: Some(world), ..plan.schedule };
        let error = Schedule::parse(&schedule.print()).expect_err("too few brokers");
        assert!(error.to_string().contains("replicas"), "{error}");
    }
}
