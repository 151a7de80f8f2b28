//! What metadata makes of the partitions here.

use super::node::{Node, cluster, settings, state};
use crate::base::event::{Event, ReplicaEvent};
use crate::base::ids::BrokerId;
use crate::base::partition_state::PartitionState;
use crate::broker::partitions::TopicRef;
use crate::controller::metadata::ClusterMetadata;
use crate::wire::kafka::ErrorCode;

#[test]
fn a_state_that_comes_after_the_end_brings_no_partition_to_life() {
    let node = Node::start();
    node.world.wait(node.partitions.close());
    node.learn(cluster(settings(), vec![state(1, 1, &[1])]));
    assert_eq!(node.partitions.index().all().count(), 0);
    let led = |event: &Event| matches!(event, Event::Replica(_, ReplicaEvent::BecameLeader { .. }));
    assert!(!node.world.observed().iter().any(led));
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
fn a_broker_that_is_no_replica_any_more_follows_nobody() {
    let node = Node::leading(&[1]);
    node.learn_states(vec![state(2, 2, &[2])]);
    assert_eq!(node.world.tasks("fetcher").1, 1);
    let others = PartitionState { replicas: vec![BrokerId(2), BrokerId(3)], ..state(2, 3, &[2]) };
    node.learn_states(vec![others]);
    assert_eq!(node.world.tasks("fetcher").1, 0);
}
