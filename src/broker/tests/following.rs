//! Whom a broker follows, and that it leaves whom it does not.

use super::node::{Node, state};
use crate::base::ids::BrokerId;
use crate::broker::fetcher::Fetchers;

const TWO: Option<BrokerId> = Some(BrokerId(2));
const THREE: Option<BrokerId> = Some(BrokerId(3));

/// How many fetchers were begun, and how many of them run.
fn fetchers(node: &Node) -> (usize, usize) {
    node.world.tasks("fetcher")
}

#[test]
fn a_partition_that_changes_its_leader_leaves_nothing_behind_at_the_old_one() {
    let node = Node::leading(&[1]);
    let fetching = Fetchers::new(node.shared.clone());
    fetching.follow(&node.partition(), TWO);
    assert_eq!(fetchers(&node), (1, 1));
    fetching.follow(&node.partition(), THREE);
    assert_eq!(fetchers(&node), (2, 1));
    fetching.follow(&node.partition(), None);
    assert_eq!(fetchers(&node), (2, 0));
}

#[test]
fn a_partition_that_keeps_its_leader_keeps_its_fetcher() {
    let node = Node::leading(&[1]);
    let fetching = Fetchers::new(node.shared.clone());
    fetching.follow(&node.partition(), TWO);
    fetching.follow(&node.partition(), TWO);
    assert_eq!(fetchers(&node), (1, 1));
}

#[test]
fn a_broker_that_ends_follows_nobody() {
    let node = Node::leading(&[1]);
    node.learn_states(vec![state(2, 2, &[2])]);
    assert_eq!(fetchers(&node), (1, 1));
    node.world.wait(node.partitions.close());
    assert_eq!(fetchers(&node), (1, 0));
}
