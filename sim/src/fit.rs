//! Whether a schedule fits the cluster that its scenario makes: a fault that names a broker, a topic or
//! a partition that is not there would never strike, in silence.

use std::ops::Range;

use wyrdlog::base::ids::TopicPartition;

use crate::file_error::nearest;
use crate::scenario::{Plan, Workload};
use crate::schedule::{FaultEvent, Target, Trigger};

/// What the schedule of `plan` names that is not there, with the nearest that is. The first such thing.
pub fn check(plan: &Plan) -> Result<(), String> {
    for (at, fault) in plan.schedule.faults.iter().enumerate() {
        let waits_for = match &fault.when {
            Trigger::After { partition: Some(name), .. } => check_partition(plan, name),
            _ => Ok(()),
        };
        let mut targets = fault.action.targets().iter();
        let waits_for = waits_for.and_then(|()| check_line(&plan.schedule.faults, fault));
        let named = waits_for.and_then(|()| targets.try_for_each(|target| check_target(plan, target)));
        let at = at + 1;
        named.map_err(|message: String| format!("[[fault]] number {at} can never strike: {message}"))?;
    }
    Ok(())
}

/// Whether the faults that this one is behind come to an end.
fn check_line(faults: &[FaultEvent], fault: &FaultEvent) -> Result<(), String> {
    let before = |one: &FaultEvent| {
        let id = one.behind?;
        (0..).zip(faults).find(|(place, other)| other.id.unwrap_or(*place) == id).map(|(_, other)| other)
    };
    let line = std::iter::successors(before(fault), |one| before(one)).take(faults.len());
    if line.count() < faults.len() {
        return Ok(());
    }
    Err(format!(
        "it waits for itself, behind = {}: take that away, or name one that waits for nobody",
        fault.behind.unwrap_or(0)
    ))
}

fn check_target(plan: &Plan, target: &Target) -> Result<(), String> {
    let clients = plan.workloads.iter().map(Workload::clients).sum::<u32>();
    let (brokers, coordinators) = (plan.cluster.brokers, plan.cluster.coordinators);
    match target {
        Target::Broker(id) => {
            let first = i64::from(plan.cluster.first_broker);
            check_number("broker", i64::from(*id), first..first + i64::from(brokers))
        }
        Target::Coordinator(id) => check_number("coordinator", i64::from(*id), 1..i64::from(coordinators) + 1),
        Target::Client(number) => check_number("client", i64::from(*number), 0..i64::from(clients)),
        Target::Leader(name) => check_partition(plan, name),
        Target::Follower(name, place) => check_partition(plan, name).and_then(|()| {
            let topic = plan.cluster.topics.iter().find(|topic| *topic.name == *name.topic);
            let replicas = topic.map_or(0, |topic| topic.replicas);
            if *place < replicas {
                return Ok(());
            }
            let last = replicas.saturating_sub(2);
            Err(format!("{name} has {replicas} replicas, so the last is follower({name}, {last})"))
        }),
        Target::Controller if brokers == 0 => Err("without brokers there is no controller".to_owned()),
        Target::Controller | Target::CoordinatorLeader => Ok(()),
    }
}

fn check_number(part: &str, number: i64, there: Range<i64>) -> Result<(), String> {
    if there.contains(&number) {
        return Ok(());
    }
    if there.is_empty() {
        return Err(format!("there is no {part}({number}), nor any other {part}"));
    }
    let (first, last) = (there.start, there.end - 1);
    let near = number.clamp(first, last);
    Err(format!("there is no {part}({number}), only {part}({first}) to {part}({last}); did you mean {part}({near})?"))
}

/// Whether the partition is there.
pub fn check_partition(plan: &Plan, name: &TopicPartition) -> Result<(), String> {
    let topics = &plan.cluster.topics;
    let Some(topic) = topics.iter().find(|topic| *topic.name == *name.topic) else {
        let known: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        return Err(match (nearest(&name.topic, &known), known.is_empty()) {
            (Some(near), _) => format!("there is no topic '{}'; did you mean '{near}'?", name.topic),
            (None, false) => format!("there is no topic '{}', only {}", name.topic, known.join(", ")),
            (None, true) => format!("there is no topic '{}', nor any other", name.topic),
        });
    };
    let last = topic.partitions.saturating_sub(1);
    if u32::try_from(name.partition).is_ok_and(|partition| partition <= last) {
        return Ok(());
    }
    Err(format!("there is no partition {name}; did you mean {}-{last}, the last of its topic?", topic.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::schedule::{Action, Happening, parse_partition};

    fn standard() -> Plan {
        let scenario = Scenario::parse(include_str!("../scenarios/standard.toml")).expect("it comes with the program");
        scenario.draw(1)
    }

    fn told(when: Trigger, target: &str) -> Result<(), String> {
        let mut plan = standard();
        let action = Action::Pause { target: target.parse().expect(target) };
        plan.schedule.faults = vec![FaultEvent { id: None, behind: None, when, action, for_ms: None }];
        check(&plan)
    }

    #[test]
    fn what_is_there_fits() {
        let there = ["broker(1)", "broker(3)", "coordinator(3)", "client(0)", "client(5)", "controller"];
        for target in there.iter().chain(&["leader(synced-2)", "follower(cached-0, 1)", "coordinator-leader"]) {
            assert_eq!(told(Trigger::At { at_ms: 1 }, target), Ok(()), "{target}");
        }
        for scenario in [include_str!("../scenarios/standard.toml"), include_str!("../scenarios/swarm.toml")] {
            let scenario = Scenario::parse(scenario).expect("it comes with the program");
            for seed in 0..200 {
                assert_eq!(check(&scenario.draw(seed)), Ok(()), "seed {seed}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_told_with_the_nearest_that_is() {
        let absent = [
            ("broker(9)", "did you mean broker(3)?"),
            ("broker(0)", "did you mean broker(1)?"),
            ("coordinator(4)", "did you mean coordinator(3)?"),
            ("client(6)", "only client(0) to client(5)"),
            ("leader(synced-3)", "did you mean synced-2, the last of its topic?"),
            ("leader(sinced-0)", "no topic 'sinced'; did you mean 'synced'?"),
            ("follower(orders-0, 1)", "only synced, cached"),
            ("follower(synced-0, 3)", "the last is follower(synced-0, 1)"),
        ];
        for (target, expected) in absent {
            let said = told(Trigger::At { at_ms: 1 }, target).expect_err(target);
            assert!(said.contains(expected) && said.starts_with("[[fault]] number 1 "), "{said}");
        }
        let happening = Happening::LeaderElected;
        let when = |name| {
            let partition = parse_partition(name);
            Trigger::After { happening, partition, nth: 1, from_ms: 0, delay_ms: 0, within_ms: None }
        };
        assert_eq!(told(when("cached-1"), "controller"), Ok(()));
        assert!(told(when("cached-7"), "controller").expect_err("absent").contains("cached-2"));
    }

    #[test]
    fn a_fault_that_waits_for_itself_is_told() {
        let behind = |all: &[Option<u32>]| {
            let mut plan = standard();
            let action = || Action::Pause { target: "broker(1)".parse().expect("it is there") };
            let fault = |behind: &Option<u32>| {
                let (when, behind) = (Trigger::At { at_ms: 1 }, *behind);
                FaultEvent { id: None, behind, when, action: action(), for_ms: None }
            };
            plan.schedule.faults = all.iter().map(fault).collect();
            check(&plan)
        };
        assert_eq!(behind(&[None, Some(0), Some(1)]), Ok(()));
        assert_eq!(behind(&[Some(9), Some(0)]), Ok(()), "what is not there is not waited for");
        for circular in [&[Some(0)][..], &[Some(1), Some(0)], &[None, Some(2), Some(1)]] {
            let said = behind(circular).expect_err("it never strikes");
            assert!(said.contains("it waits for itself"), "{said}");
        }
    }

    #[test]
    fn a_cluster_without_brokers_has_no_part_of_theirs() {
        let mut plan = standard();
        (plan.cluster.brokers, plan.cluster.topics) = (0, Vec::new());
        for (target, expected) in
            [("broker(1)", "nor any other broker"), ("controller", "no controller"), ("leader(t-0)", "nor any other")]
        {
            let said = check_target(&plan, &target.parse().expect(target)).expect_err(target);
            assert!(said.contains(expected), "{said}");
        }
    }
}
