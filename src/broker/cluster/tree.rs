//! Reads what a controller must know: topics with their states, and registrations. Many reads are on their way at once, in the session's order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::znodes::{BadZnode, broker, partition_state, topic, topic_config};
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicPartition, Zxid};
use crate::base::partition_state::PartitionState;
use crate::base::znode::{ErrorCode, Stat};
use crate::client::coordinator::{CoordinatorClient, CoordinatorError, PendingReply};
use crate::controller::metadata::TopicMetadata;
use crate::controller::{Registration, Tree};
use crate::wire::zookeeper::{Request, Response};

/// How many reads are on their way at once.
const READS_IN_FLIGHT_MAX: usize = 256;

/// Why the tree could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The coordinator did not answer, or a node vanished between two reads.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// A znode is damaged.
    #[error(transparent)]
    Znode(#[from] BadZnode),
}

type Node = Option<(Bytes, Stat)>;

/// The topics, after a sync. Registrations are read by [`registrations`].
pub async fn read(client: &CoordinatorClient) -> Result<Tree, ReadError> {
    client.sync("/").await?;
    let (names, _) = client.get_children(topic::PARENT, false).await?;
    let assigned = read_all(client, names.iter().map(|name| topic::path(name)), false).await?;
    let settings = read_all(client, names.iter().map(|name| topic_config::path(name)), false).await?;
    let mut topics = Vec::new();
    for ((name, assigned), settings) in names.into_iter().zip(assigned).zip(settings) {
        // A topic that is deleted in between has been deleted by a newer controller.
        let (assigned, settings) = (there(assigned)?, there(settings)?);
        let topic::Topic { id, replicas } = topic::decode(&name, &assigned.0)?;
        topics.push((name.clone(), id, topic_config::decode(&name, &settings.0)?, replicas));
    }
    // Of all topics at once: one after the other they would take a round trip each.
    let paths = topics.iter().flat_map(|(name, _, _, replicas)| {
        (0..).take(replicas.len()).map(|index| partition_state::path(&TopicPartition::new(name.clone(), index)))
    });
    let mut nodes = read_all(client, paths, false).await?.into_iter();
    let mut tree = Tree { brokers: Vec::new(), topics: BTreeMap::new(), written: BTreeMap::new() };
    for (name, id, settings, replicas) in topics {
        let partitions = decode_partitions(&name, replicas, &mut nodes, &mut tree.written)?;
        tree.topics.insert(name, TopicMetadata { id, settings, partitions });
    }
    Ok(tree)
}

fn decode_partitions(
    name: &Arc<str>,
    replicas: Vec<Vec<BrokerId>>,
    nodes: &mut impl Iterator<Item = Node>,
    written: &mut BTreeMap<TopicPartition, (ControllerEpoch, Zxid)>,
) -> Result<Vec<PartitionState>, ReadError> {
    let states = (0..).zip(replicas).zip(nodes).map(|((index, replicas), node)| {
        let (partition, (data, stat)) = (TopicPartition::new(name.clone(), index), there(node)?);
        let (state, controller_epoch) = partition_state::decode(&partition, replicas, stat.version, &data)?;
        written.insert(partition, (controller_epoch, Zxid(stat.mzxid)));
        Ok(state)
    });
    states.collect()
}

/// The live brokers. A watch is left on the list of them and on each. One whose registration cannot
/// be understood is not taken for live.
pub async fn registrations(client: &CoordinatorClient) -> Result<Vec<Registration>, CoordinatorError> {
    let (names, _) = client.get_children(broker::PARENT, true).await?;
    let brokers = broker_ids(&names);
    let nodes = read_all(client, brokers.iter().map(|broker| broker::path(*broker)), true).await?;
    let decode = |(broker, node): (BrokerId, Node)| {
        let (data, stat) = node?;
        let read = broker::decode(broker, BrokerEpoch(stat.czxid), &data);
        read.inspect_err(|error| tracing::error!(%error, "a broker is ignored")).ok()
    };
    Ok(brokers.into_iter().zip(nodes).filter_map(decode).collect())
}

/// Numbers in ascending order; other names are none of ours.
fn broker_ids(names: &[Arc<str>]) -> Vec<BrokerId> {
    let mut brokers: Vec<_> = names.iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
    brokers.sort_unstable();
    brokers
}

fn there(node: Node) -> Result<(Bytes, Stat), CoordinatorError> {
    node.ok_or(CoordinatorError::Refused(ErrorCode::NoNode))
}

/// The nodes at `paths`, in their order; none where there is none.
async fn read_all(
    client: &CoordinatorClient,
    paths: impl Iterator<Item = String>,
    watch: bool,
) -> Result<Vec<Node>, CoordinatorError> {
    let mut pending = std::collections::VecDeque::new();
    let mut nodes = Vec::new();
    for path in paths {
        if pending.len() == READS_IN_FLIGHT_MAX {
            nodes.extend(take(&mut pending).await?);
        }
        pending.push_back(client.submit(Request::GetData { path: path.into(), watch }).await?);
    }
    while !pending.is_empty() {
        nodes.extend(take(&mut pending).await?);
    }
    Ok(nodes)
}

async fn take(pending: &mut std::collections::VecDeque<PendingReply>) -> Result<Option<Node>, CoordinatorError> {
    let Some(reply) = pending.pop_front() else { return Ok(None) };
    match reply.await {
        Ok(Response::Data { data, stat }) => Ok(Some(Some((data.unwrap_or_default(), stat)))),
        Ok(_) => Err(CoordinatorError::Refused(ErrorCode::MarshallingError)),
        Err(error) if error.is(ErrorCode::NoNode) => Ok(Some(None)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Node, OWN, cluster_of};
    use super::*;
    use crate::base::ids::TopicId;

    #[test]
    fn the_topics_are_read_after_a_sync_and_no_watch_is_left_on_them() {
        let node = Node::new();
        let (ensemble, id) = (node.ensemble(), TopicId([3; 16]));
        let metadata = cluster_of("t", id, 1).topics["t"].clone();
        ensemble.put(&topic::path("t"), topic::encode(&topic::Topic { id, replicas: vec![vec![OWN]] }), 0);
        ensemble.put(&topic_config::path("t"), topic_config::encode(&metadata.settings), 0);
        let state = partition_state::encode(&metadata.partitions[0], ControllerEpoch(2));
        ensemble.put(&partition_state::path(&TopicPartition::new("t", 0)), state, 0);
        let tree = node.world.run(read(&node.begin_session())).expect("reads");
        assert_eq!(tree.topics, BTreeMap::from([("t".into(), metadata)]));
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
    fn brokers_are_numbers_in_ascending_order() {
        let names = ["10", "x", "2", "1"].map(Arc::from);
        assert_eq!(broker_ids(&names), [1, 2, 10].map(BrokerId));
    }
}
