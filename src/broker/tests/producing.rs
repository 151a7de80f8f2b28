//! Producers: what they are told and when, and what ends with the partition.

use std::pin::pin;

use super::node::{Node, batch, cluster, config, idempotent_batch, settings, state};
use super::world::World;
use crate::base::event::{Event, LogEvent, ReplicaEvent};
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch};
use crate::base::partition_state::Durability;
use crate::broker::append::Produced;
use crate::broker::produce;
use crate::broker::server::Answer;
use crate::controller::metadata::TopicSettings;
use crate::message;
use crate::replication::{Acks, FollowerFetch};
use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::messages::ProduceRequest;
use crate::wire::kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};

/// Broker 2 has everything below `offset`.
fn acknowledge(node: &Node, offset: i64) {
    let (replica, broker_epoch, leader_epoch) = (BrokerId(2), BrokerEpoch(5), LeaderEpoch(1));
    let fetch = FollowerFetch { replica, broker_epoch, leader_epoch, offset };
    node.partition().follower_fetches(fetch).unwrap();
}

fn acknowledgements(node: &Node) -> Vec<(i64, i16)> {
    let told = |event: Event| match event {
        Event::Replica(_, ReplicaEvent::Acknowledged { base_offset, acks, .. }) => Some((base_offset, acks)),
        _ => None,
    };
    node.world.observed().into_iter().filter_map(told).collect()
}

fn syncs(node: &Node) -> Vec<i64> {
    let told = |event: Event| match event {
        Event::Log(_, LogEvent::Synced { synced_end }) => Some(synced_end),
        _ => None,
    };
    node.world.observed().into_iter().filter_map(told).collect()
}

fn request(acks: i16) -> ProduceRequest {
    let data = message!(PartitionProduceData { index: 0, records: Some(batch()) });
    let topic = message!(TopicProduceData { name: "t".into(), partition_data: vec![data] });
    message!(ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic] })
}

#[test]
fn a_retry_with_acks_1_waits_for_nobody() {
    let node = Node::leading(&[1, 2]);
    assert!(matches!(node.partition().produce(&idempotent_batch(), 9, Acks::All), Produced::Waiting(..)));
    assert!(matches!(node.partition().produce(&idempotent_batch(), 9, Acks::Leader), Produced::Done(_)));
}

#[test]
fn a_retry_with_acks_all_is_answered_when_the_first_attempt_is_committed() {
    let node = Node::leading(&[1, 2]);
    let first = node.partition().produce(&idempotent_batch(), 9, Acks::All);
    let Produced::Waiting(_, mut verdict) = node.partition().produce(&idempotent_batch(), 9, Acks::All) else {
        panic!("{first:?} is not committed yet");
    };
    assert!(verdict.try_recv().is_err());
    acknowledge(&node, 1);
    assert_eq!(verdict.try_recv(), Ok(Ok(())));
}

#[test]
fn an_acknowledgement_is_observed_when_it_is_given() {
    let node = Node::leading(&[1, 2]);
    let waiting = node.partition().produce(&batch(), 9, Acks::All);
    assert!(acknowledgements(&node).is_empty());
    node.partition().produce(&batch(), 9, Acks::Leader);
    assert_eq!(acknowledgements(&node), [(1, 1)]);
    acknowledge(&node, 2);
    assert_eq!(acknowledgements(&node), [(0, -1)]);
    drop(waiting);
}

#[test]
fn a_batch_that_waits_for_nobody_is_answered_in_the_same_breath() {
    let node = Node::leading(&[1, 2]);
    assert!(matches!(produce::take(&node.shared, &node.partitions, 9, request(1)), Answer::Ready(_)));
    assert!(matches!(produce::take(&node.shared, &node.partitions, 9, request(-1)), Answer::Later(_)));
}

#[test]
fn a_topic_says_how_large_its_batches_may_be() {
    let node = Node::leading(&[1]);
    let configs = [("max.message.bytes".into(), "10".into())].into();
    node.learn(cluster(TopicSettings { configs, ..settings() }, vec![state(1, 1, &[1])]));
    let produced = node.partition().produce(&batch(), 9, Acks::Leader);
    assert!(matches!(produced, Produced::Refused(ErrorCode::MessageTooLarge, _)), "{produced:?}");
}

#[test]
fn a_closed_partition_begins_no_more_work() {
    let node = Node::start();
    let synced = TopicSettings { durability: Durability::Synced, ..settings() };
    node.learn(cluster(synced, vec![state(1, 1, &[1])]));
    node.world.observed();
    node.partition().produce(&batch(), 9, Acks::Leader);
    let partition = node.partition();
    node.world.wait(partition.close(ErrorCode::NotLeaderOrFollower));
    assert!(syncs(&node).is_empty());
}

#[test]
fn the_last_sync_of_a_log_is_observed() {
    let node = Node::leading(&[1]);
    node.partition().produce(&batch(), 9, Acks::Leader);
    let partition = node.partition();
    node.world.wait(partition.close(ErrorCode::NotLeaderOrFollower));
    node.world.observed();
    node.world.wait(partition.shut_down()).unwrap();
    assert_eq!(syncs(&node), [1]);
}

#[test]
fn whoever_closes_a_partition_waits_for_the_work_that_is_under_way() {
    let node = Node::start();
    let synced = TopicSettings { durability: Durability::Synced, ..settings() };
    node.learn(cluster(synced, vec![state(1, 1, &[1])]));
    let partition = node.partition();
    partition.produce(&batch(), 9, Acks::Leader);
    let mut closing = pin!(partition.close(ErrorCode::NotLeaderOrFollower));
    assert!(node.world.ready(closing.as_mut()).is_some());
    assert!(partition.view(|core| !core.work.is_under_way()));
}

#[test]
fn a_leader_without_records_has_its_epoch_in_its_log() {
    let node = Node::over(World::default(), config());
    node.learn_states(vec![state(1, 4, &[1])]);
    assert_eq!(node.partition().view(|core| core.log.latest_epoch()), Some(LeaderEpoch(4)));
}
