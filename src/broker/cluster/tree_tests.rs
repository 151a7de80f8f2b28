//! What the next controller makes of the tree, whoever else wrote to it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::testing::{Ensemble, Node, OWN, cluster_of};
use super::*;

const ID: TopicId = TopicId([3; 16]);

/// Three znodes of a topic with one partition.
fn put_topic(ensemble: &Ensemble, name: &str) -> TopicMetadata {
    let metadata = cluster_of(name, ID, 1).topics[name].clone();
    let replicas = vec![metadata.partitions[0].replicas.clone()];
    ensemble.put(&topic::path(name), topic::encode(&topic::Topic { id: ID, replicas }), 0);
    ensemble.put(&topic_config::path(name), topic_config::encode(&metadata.settings), 0);
    let state = partition_state::encode(&metadata.partitions[0], ControllerEpoch(2));
    ensemble.put(&partition_state::path(&TopicPartition::new(name, 0)), state, 0);
    metadata
}

fn read_of(node: &Node) -> Tree {
    node.world.run(read(&node.begin_session())).expect("reads")
}

#[test]
fn the_topics_are_read_after_a_sync_and_no_watch_is_left_on_them() {
    let node = Node::new();
    let ensemble = node.ensemble();
    let metadata = put_topic(&ensemble, "t");
    let tree = read_of(&node);
    assert_eq!(tree.topics, BTreeMap::from([("t".into(), metadata)]));
    assert_eq!(tree.written.len(), 1);
    let expected = [
        "sync /",
        "children /brokers/topics",
        "get /brokers/topics/t",
        "get /config/topics/t",
        "get /brokers/topics/t/partitions/0/state",
    ];
    assert_eq!(ensemble.heard(), expected);
}

#[test]
fn a_topic_that_cannot_be_understood_is_left_out_and_stands_in_nobodys_way() {
    let bad = [
        ("bad", Some("/brokers/topics/bad")),
        ("bad", Some("/config/topics/bad")),
        ("bad", Some("/brokers/topics/bad/partitions/0/state")),
        ("no name", None),
    ];
    for (name, spoilt) in bad {
        let node = Node::new();
        let ensemble = node.ensemble();
        let first = put_topic(&ensemble, "a");
        put_topic(&ensemble, name);
        if let Some(path) = spoilt {
            ensemble.put(path, "nonsense", 0);
        }
        let last = put_topic(&ensemble, "z");
        let tree = read_of(&node);
        assert_eq!(tree.topics, BTreeMap::from([("a".into(), first), ("z".into(), last)]));
        assert_eq!(tree.unreadable, BTreeSet::from([name.into()]));
        let written: Vec<_> = tree.written.keys().map(|partition| &*partition.topic).collect();
        assert_eq!(written, ["a", "z"]);
    }
}

#[test]
fn a_topic_without_settings_or_without_a_state_is_left_out() {
    let node = Node::new();
    let ensemble = node.ensemble();
    let replicas = vec![vec![OWN]];
    let assigned = topic::encode(&topic::Topic { id: ID, replicas });
    ensemble.put(&topic::path("no-settings"), assigned.clone(), 0);
    ensemble.put(&topic::path("no-state"), assigned, 0);
    let settings = &cluster_of("t", ID, 1).topics["t"].settings;
    ensemble.put(&topic_config::path("no-state"), topic_config::encode(settings), 0);
    let tree = read_of(&node);
    assert!(tree.topics.is_empty());
    assert_eq!(tree.unreadable, BTreeSet::from(["no-settings".into(), "no-state".into()]));
}

#[test]
fn a_topic_that_is_gone_when_it_is_looked_at_is_no_topic() {
    let node = Node::new();
    let ensemble = node.ensemble();
    let metadata = put_topic(&ensemble, "t");
    put_topic(&ensemble, "gone");
    ensemble.refuse_once("get /brokers/topics/gone", ErrorCode::NoNode);
    let tree = read_of(&node);
    assert_eq!(tree.topics, BTreeMap::from([("t".into(), metadata)]));
    assert!(tree.unreadable.is_empty());
}

#[test]
fn brokers_are_numbers_in_ascending_order() {
    let names = ["10", "x", "2", "1", "-3", "+4", "05", "1000000000000"].map(Arc::from);
    assert_eq!(broker_ids(&names), [1, 2, 10].map(BrokerId));
}
