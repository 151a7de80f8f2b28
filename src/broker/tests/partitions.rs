//! What metadata makes of the partitions here.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use super::node::{Node, cluster, hear, settings, state};
use crate::base::event::{Event, ReplicaEvent};
use crate::base::ids::BrokerId;
use crate::base::partition_state::PartitionState;
use crate::broker::partitions::TopicRef;
use crate::controller::metadata::ClusterMetadata;
use crate::wire::kafka::ErrorCode;

fn has_led(node: &Node) -> bool {
    let led = |event: &Event| matches!(event, Event::Replica(_, ReplicaEvent::BecameLeader { .. }));
    node.world.observed().iter().any(led)
}

#[test]
fn a_state_that_comes_after_the_end_brings_no_partition_to_life() {
    let node = Node::start();
    node.world.wait(node.partitions.close());
    node.learn(cluster(settings(), vec![state(1, 1, &[1])]));
    assert_eq!(node.partitions.index().all().count(), 0);
    assert!(!has_led(&node));
}

#[test]
fn a_partition_whose_log_was_opened_too_late_stays_dead() {
    let node = Node::start();
    let applied = hear(&node.shared, cluster(settings(), vec![state(1, 1, &[1])]));
    node.world.hold_device(true);
    let mut learning = pin!(node.partitions.apply(&node.shared, &applied));
    assert!(node.world.ready(learning.as_mut()).is_none());
    node.world.wait(node.partitions.close());
    node.world.hold_device(false);
    assert!(node.world.ready(learning.as_mut()).is_some());
    assert_eq!(node.partitions.index().all().count(), 0);
    assert!(!has_led(&node));
}

#[test]
fn a_topic_that_a_snapshot_does_not_name_is_removed() {
    let node = Node::leading(&[1]);
    node.learn(ClusterMetadata::default());
    assert!(!node.world.disk.exists("logs/t-0/partition.metadata"));
    let found = node.partitions.find(TopicRef::Name("t"), 0).err();
    assert_eq!(found, Some(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn a_topic_whose_znodes_cannot_be_understood_is_kept_until_they_can_be_or_are_gone() {
    let node = Node::leading(&[1]);
    let unreadable = ClusterMetadata { unreadable: BTreeSet::from(["t".into()]), ..ClusterMetadata::default() };
    node.learn(unreadable.clone());
    let kept = node.partition();
    assert!(node.world.disk.exists("logs/t-0/partition.metadata"));
    node.learn_states(vec![state(1, 2, &[1])]);
    assert!(Arc::ptr_eq(&kept, &node.partition()), "it goes on");
    node.learn(unreadable);
    node.learn(ClusterMetadata::default());
    assert!(!node.world.disk.exists("logs/t-0/partition.metadata"), "somebody has deleted it");
}

/// Found by the simulator (`swarm` seed 82344): the log's directory went while the broker left the log in good order.
#[test]
fn a_topic_that_is_deleted_while_the_broker_stops_is_left_to_the_next_start() {
    let node = Node::leading(&[1]);
    node.world.wait(node.partitions.close());
    let partition = node.partition();
    node.learn(ClusterMetadata::default());
    node.world.wait(partition.shut_down()).unwrap();
    assert!(node.world.disk.exists("logs/t-0/partition.metadata"));
}

#[test]
fn a_broker_that_is_no_replica_any_more_follows_nobody() {
    let node = Node::leading(&[1]);
    node.learn_states(vec![state(2, 2, &[2])]);
    assert_eq!(node.world.tasks("fetcher").1, 1);
    let others = PartitionState { replicas: vec![BrokerId(2), BrokerId(3)], ..state(2, 3, &[2]) };
    node.learn_states(vec![others]);
    assert_eq!(node.world.tasks("fetcher").1, 0);
}
