//! Changes become the right operations, and results the right outcomes.

use std::collections::BTreeMap;

use super::*;
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicId};
use crate::base::partition_state::{Durability, InSyncReplica};
use crate::base::znode::Stat;
use crate::wire::zookeeper::{Request, Xid};

const OFFICE: Office = Office { controller_epoch: ControllerEpoch(3), epoch_version: 8 };

fn state(replicas: &[i32]) -> PartitionState {
    let member = |broker: &i32| InSyncReplica { broker: BrokerId(*broker), broker_epoch: BrokerEpoch(i64::MAX) };
    PartitionState {
        leader: Some(BrokerId(replicas[0])),
        leader_epoch: LeaderEpoch(1),
        partition_epoch: 0,
        replicas: replicas.iter().copied().map(BrokerId).collect(),
        in_sync: replicas.iter().map(member).collect(),
        eligible_leaders: Vec::new(),
        last_known_leader: None,
    }
}

fn topic_of(partitions: usize, replicas: &[i32]) -> TopicMetadata {
    let settings = TopicSettings { min_in_sync: 1, durability: Durability::PageCache, configs: BTreeMap::new() };
    TopicMetadata { id: TopicId([7; 16]), settings, partitions: vec![state(replicas); partitions] }
}

fn shapes(ops: &[MultiOp]) -> Vec<String> {
    let shape = |op: &MultiOp| match op {
        MultiOp::Create(create) | MultiOp::Create2(create) => format!("create {}", create.path),
        MultiOp::Delete { path, version } => format!("delete {path} {version}"),
        MultiOp::SetData { path, version, .. } => format!("set {path} {version}"),
        MultiOp::Check { path, version } => format!("check {path} {version}"),
    };
    ops.iter().map(shape).collect()
}

fn operations_of(changes: &[Change]) -> Vec<String> {
    let mut committed = ClusterMetadata::default();
    committed.topics.insert("t".into(), topic_of(1, &[1, 2]));
    shapes(&operations(OFFICE, true, changes, &committed))
}

#[test]
fn a_state_is_set_at_the_version_it_builds_on_behind_the_fence() {
    let partition = TopicPartition::new("t", 4);
    let change = Change::State { partition, expected_version: 5, state: state(&[1]) };
    let expected = ["check /controller_epoch 8", "set /brokers/topics/t/partitions/4/state 5"];
    assert_eq!(operations_of(std::slice::from_ref(&change)), expected);
    let unfenced = operations(OFFICE, false, &[change], &ClusterMetadata::default());
    assert_eq!(shapes(&unfenced), ["set /brokers/topics/t/partitions/4/state 5"]);
}

#[test]
fn a_topic_is_created_parents_first_and_deleted_children_first() {
    let created = operations_of(&[Change::CreateTopic { topic: "t".into(), metadata: topic_of(1, &[1]) }]);
    let expected = [
        "check /controller_epoch 8",
        "create /config/topics/t",
        "create /brokers/topics/t",
        "create /brokers/topics/t/partitions",
        "create /brokers/topics/t/partitions/0",
        "create /brokers/topics/t/partitions/0/state",
        "set /brokers/seqid -1",
    ];
    assert_eq!(created, expected);
    let deleted = operations_of(&[Change::DeleteTopic { topic: "t".into(), id: TopicId::ZERO, partitions: 1 }]);
    let expected = [
        "check /controller_epoch 8",
        "delete /brokers/topics/t/partitions/0/state -1",
        "delete /brokers/topics/t/partitions/0 -1",
        "delete /brokers/topics/t/partitions -1",
        "delete /brokers/topics/t -1",
        "delete /config/topics/t -1",
        "set /brokers/seqid -1",
    ];
    assert_eq!(deleted, expected);
}

#[test]
fn more_partitions_keep_the_replicas_of_those_before() {
    let change = Change::CreatePartitions { topic: "t".into(), first: 1, states: vec![state(&[3])] };
    let mut committed = ClusterMetadata::default();
    committed.topics.insert("t".into(), topic_of(1, &[1, 2]));
    let ops = operations(OFFICE, true, &[change], &committed);
    let MultiOp::SetData { path, data: Some(data), .. } = &ops[1] else { panic!("{:?}", ops[1]) };
    assert_eq!(&**path, "/brokers/topics/t");
    let topic = topic::decode("t", data).expect("reads");
    assert_eq!(topic.replicas, [vec![BrokerId(1), BrokerId(2)], vec![BrokerId(3)]]);
    assert_eq!(
        shapes(&ops)[2..],
        ["create /brokers/topics/t/partitions/1", "create /brokers/topics/t/partitions/1/state"]
    );
}

#[test]
fn what_is_said_to_fit_does() {
    for (name, partitions, replicas) in [("t".to_owned(), 1000, 9), ("n".repeat(249), 800, 3), ("t".into(), 1900, 1)] {
        assert!(fits(&name, partitions, replicas), "{partitions} partitions");
        let brokers: Vec<i32> = (0..replicas as i32).map(|broker| i32::MAX - broker).collect();
        let change = Change::CreateTopic { topic: name.into(), metadata: topic_of(partitions, &brokers) };
        let mut frame = Vec::new();
        Request::Multi(operations(OFFICE, true, &[change], &ClusterMetadata::default())).put(Xid(1), &mut frame);
        assert!(frame.len() < JUTE_BYTES_MAX, "{} bytes", frame.len());
    }
    assert!(!fits("t", 2000, 30));
}

#[test]
fn a_stale_registration_is_replaced_in_one_step() {
    let own = BrokerId(1);
    let expected = ["check /brokers/epochs/1 7", "create /brokers/ids/1"];
    assert_eq!(shapes(&registration(own, Bytes::new(), 7, None)), expected);
    let expected = ["check /brokers/epochs/1 7", "delete /brokers/ids/1 0", "create /brokers/ids/1"];
    assert_eq!(shapes(&registration(own, Bytes::new(), 7, Some(0))), expected);
}

#[test]
fn an_election_raises_the_epoch_from_the_version_that_was_read() {
    assert_eq!(shapes(&election(BrokerId(1), 0, OFFICE)), ["create /controller", "set /controller_epoch 7"]);
}

#[test]
fn only_a_failed_check_of_the_epoch_is_a_fence() {
    let refused = |codes: &[ErrorCode]| Err(CoordinatorError::MultiRefused(codes.to_vec()));
    let at_first = refused(&[ErrorCode::BadVersion, ErrorCode::RuntimeInconsistency]);
    let at_second = refused(&[ErrorCode::Ok, ErrorCode::BadVersion]);
    assert_eq!(outcome(true, &at_first), Outcome::Fenced);
    assert_eq!(outcome(false, &at_first), Outcome::Conflict, "without a check, the first one is a change");
    assert_eq!(outcome(true, &at_second), Outcome::Conflict);
}

#[test]
fn a_lost_connection_leaves_the_outcome_unknown_and_an_unsent_write_does_not() {
    assert_eq!(outcome(true, &Err(CoordinatorError::ConnectionLoss)), Outcome::Unknown);
    assert_eq!(outcome(true, &Err(CoordinatorError::Refused(ErrorCode::OperationTimeout))), Outcome::Unknown);
    for certain in [CoordinatorError::NotSent, CoordinatorError::SessionExpired, CoordinatorError::Closed] {
        assert_eq!(outcome(true, &Err(certain)), Outcome::Conflict);
    }
}

#[test]
fn a_committed_write_tells_its_zxid() {
    let stat = Stat { mzxid: 77, ..Stat::default() };
    let results = Ok(vec![MultiResult::Check, MultiResult::Delete, MultiResult::SetData { stat }]);
    assert_eq!(outcome(true, &results), Outcome::Committed { zxid: Zxid(77) });
    assert_eq!(outcome(true, &Ok(vec![MultiResult::Check])), Outcome::Unknown);
}

#[test]
fn a_longer_name_takes_more_of_a_request() {
    let differs = |count: &usize| fits("t", *count, 1) && !fits(&"t".repeat(249), *count, 1);
    assert!((1..20_000).any(|count| differs(&count)));
    assert!((1..20_000).all(|count| fits("t", count, 1) || !fits("tt", count, 1)));
}
