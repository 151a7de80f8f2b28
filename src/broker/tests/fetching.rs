//! What a follower asks of its leader, which a test plays, and when.

use std::pin::pin;

use super::node::{ID, Node, cluster, ms, settings, state};
use super::peer::Peer;
use super::world::TestListener;
use crate::base::address::Address;
use crate::base::ids::BrokerId;
use crate::broker::fetcher::Fetchers;
use crate::runtime::{Listener, Network};
use crate::wire::kafka::fetch::{FetchResponse, FetchedPartition, FetchedTopic};
use crate::wire::kafka::header::RequestHeader;
use crate::wire::kafka::messages::{FetchRequest, StrBytes, uuid};
use crate::wire::kafka::{ErrorCode, Request};

fn listening(node: &Node, leader: u16) -> TestListener {
    node.world.wait(node.world.listen(&Address::new("peer", 9000 + leader))).unwrap()
}

/// A node that follows broker 2 for so many partitions, and broker 2.
fn following(partitions: usize) -> (Node, TestListener, Peer) {
    let node = Node::start();
    let listener = listening(&node, 2);
    node.learn_states(vec![state(2, 1, &[2]); partitions]);
    let leader = Peer::accept(&node.world, &listener);
    (node, listener, leader)
}

/// The fetch that came without time going on, if one did.
fn fetch(leader: &mut Peer) -> Option<(RequestHeader, FetchRequest)> {
    match leader.request()? {
        (header, Request::Fetch(request)) => Some((header, request)),
        other => panic!("not a fetch: {other:?}"),
    }
}

fn partitions(request: &FetchRequest) -> Vec<i32> {
    request.topics.iter().flat_map(|topic| topic.partitions.iter().map(|one| one.partition)).collect()
}

/// Answers with these partitions.
fn answer(leader: &mut Peer, header: &RequestHeader, partitions: Vec<FetchedPartition>) {
    let topic = FetchedTopic { name: StrBytes::from("t"), topic_id: uuid(ID), partitions };
    leader.answer(header, &FetchResponse { topics: vec![topic], ..FetchResponse::default() }.into());
}

fn refused(index: i32) -> FetchedPartition {
    FetchedPartition::failed(index, ErrorCode::NotLeaderOrFollower)
}

fn empty(index: i32) -> FetchedPartition {
    FetchedPartition { high_watermark: 0, log_start_offset: 0, ..FetchedPartition::empty(index) }
}

#[test]
fn a_partition_that_was_refused_is_left_alone_for_a_while_or_until_its_state_is_said_again() {
    let (node, _listener, mut leader) = following(1);
    let (header, _) = fetch(&mut leader).unwrap();
    answer(&mut leader, &header, vec![refused(0)]);
    assert!(fetch(&mut leader).is_none());
    node.world.pass(ms(100));
    let (header, _) = fetch(&mut leader).unwrap();
    answer(&mut leader, &header, vec![refused(0)]);
    assert!(fetch(&mut leader).is_none());
    node.learn_states(vec![state(2, 2, &[2])]);
    assert!(fetch(&mut leader).is_some());
}

#[test]
fn a_long_poll_ends_in_time_for_the_partitions_that_were_left_alone() {
    let (_node, _listener, mut leader) = following(2);
    let (header, request) = fetch(&mut leader).unwrap();
    assert_eq!((request.max_wait_ms, partitions(&request)), (500, vec![0, 1]));
    answer(&mut leader, &header, vec![refused(0), empty(1)]);
    let (_, request) = fetch(&mut leader).unwrap();
    assert_eq!((request.max_wait_ms, partitions(&request)), (100, vec![1]));
}

#[test]
fn a_broker_that_is_not_registered_fetches_nothing_until_it_is() {
    let node = Node::start();
    let registered = node.shared.broker_epoch.send_replace(None);
    let listener = listening(&node, 2);
    node.learn_states(vec![state(2, 1, &[2])]);
    let mut leader = Peer::accept(&node.world, &listener);
    assert!(fetch(&mut leader).is_none());
    node.shared.broker_epoch.send_replace(registered);
    let (_, request) = fetch(&mut leader).unwrap();
    assert_eq!(request.replica_state.replica_epoch, 5);
}

#[test]
fn nothing_is_asked_of_a_broker_that_the_state_does_not_name() {
    // Whoever has led asks first where its epoch ends.
    for before in [state(2, 1, &[2]), state(1, 1, &[1])] {
        let node = Node::start();
        let listener = listening(&node, 3);
        node.learn_states(vec![before]);
        node.learn_states(vec![state(2, 2, &[2])]);
        let fetching = Fetchers::new(node.shared.clone());
        fetching.follow(&node.partition(), Some(BrokerId(3)));
        node.world.pass(ms(1_000));
        assert!(node.world.ready(pin!(listener.accept())).is_none());
    }
}

#[test]
fn a_leader_that_was_reached_again_is_forgiven_its_failures() {
    let node = Node::start();
    node.learn_states(vec![state(2, 1, &[2])]);
    node.world.pass(ms(10_000));
    let listener = listening(&node, 2);
    drop(Peer::accept(&node.world, &listener));
    node.world.settle();
    node.world.pass(ms(100));
    assert!(node.world.ready(pin!(listener.accept())).is_some());
}

#[test]
fn news_of_a_partition_that_is_led_here_does_not_end_another_ones_long_poll() {
    let (node, _listener, mut leader) = following(2);
    let (header, _) = fetch(&mut leader).unwrap();
    let led = |epoch| cluster(settings(), vec![state(1, epoch, &[1]), state(2, 1, &[2])]);
    node.learn(led(2));
    // The state that ends the following, and the other partition's, are news.
    while leader.request().is_some() {}
    answer(&mut leader, &header, vec![empty(0), empty(1)]);
    assert!(fetch(&mut leader).is_some());
    node.partition().take_state(state(1, 3, &[1]));
    node.world.settle();
    assert!(leader.request().is_none());
}
