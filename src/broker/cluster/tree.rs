//! Reads what a controller must know: topics with their states, and registrations. Many reads are on their way at once, in the session's order.
//!
//! Others write to the tree too, and may be wrong. What cannot be understood is told in the log and left out, so that
//! it stands in nobody else's way.

use std::sync::Arc;

use bytes::Bytes;

use super::topics::check_name;
use super::znodes::{BadZnode, broker, partition_state, topic, topic_config};
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicId, TopicPartition, Zxid};
use crate::base::partition_state::PartitionState;
use crate::base::znode::{ErrorCode, Stat};
use crate::client::coordinator::{CoordinatorClient, CoordinatorError, PendingReply};
use crate::controller::metadata::{TopicMetadata, TopicSettings};
use crate::controller::{Registration, Tree};
use crate::wire::zookeeper::{Request, Response};

/// How many reads are on their way at once.
const READS_IN_FLIGHT_MAX: usize = 256;

type Node = Option<(Bytes, Stat)>;

/// A topic whose partitions' states are not read yet.
struct Stateless {
    name: Arc<str>,
    id: TopicId,
    settings: TopicSettings,
    replicas: Vec<Vec<BrokerId>>,
}

/// A partition's state, who wrote it, and when.
type Written = (PartitionState, (ControllerEpoch, Zxid));

/// The topics, after a sync. Registrations are read by [`registrations`].
pub async fn read(client: &CoordinatorClient) -> Result<Tree, CoordinatorError> {
    client.sync("/").await?;
    let (names, _) = client.get_children(topic::PARENT, false).await?;
    let assigned = read_all(client, names.iter().map(|name| topic::path(name)), false).await?;
    let settings = read_all(client, names.iter().map(|name| topic_config::path(name)), false).await?;
    let (mut tree, mut topics) = (Tree::default(), Vec::new());
    for ((name, assigned), settings) in names.into_iter().zip(assigned).zip(settings) {
        // A topic that is deleted in between has been deleted by a newer controller, or by an operator.
        let Some((assigned, _)) = assigned else { continue };
        match decode_topic(&name, &assigned, settings) {
            Ok(topic) => topics.push(topic),
            Err(error) => leave_out(&mut tree, name, &error),
        }
    }
    // Of all topics at once: one after the other they would take a round trip each.
    let paths = topics.iter().flat_map(|Stateless { name, replicas, .. }| {
        (0..).take(replicas.len()).map(|index| partition_state::path(&TopicPartition::new(name.clone(), index)))
    });
    let mut nodes = read_all(client, paths, false).await?.into_iter();
    for topic in topics {
        let of_topic: Vec<Node> = nodes.by_ref().take(topic.replicas.len()).collect();
        match decode_partitions(&topic.name, topic.replicas, of_topic) {
            Ok(states) => take_in(&mut tree, (topic.name, topic.id, topic.settings), states),
            Err(error) => leave_out(&mut tree, topic.name, &error),
        }
    }
    Ok(tree)
}

fn leave_out(tree: &mut Tree, topic: Arc<str>, error: &BadZnode) {
    tracing::error!(%topic, %error, "a topic is ignored");
    tree.unreadable.insert(topic);
}

fn take_in(tree: &mut Tree, (name, id, settings): (Arc<str>, TopicId, TopicSettings), states: Vec<Written>) {
    let written = (0..).zip(&states).map(|(index, (_, written))| (TopicPartition::new(name.clone(), index), *written));
    tree.written.extend(written);
    let partitions = states.into_iter().map(|(state, _)| state).collect();
    tree.topics.insert(name, TopicMetadata { id, settings, partitions });
}

fn decode_topic(name: &Arc<str>, assigned: &[u8], settings: Node) -> Result<Stateless, BadZnode> {
    let path = topic::path(name);
    check_name(name).map_err(|(error, _)| BadZnode { path: path.into(), reason: error.name().to_owned() })?;
    let topic::Topic { id, replicas } = topic::decode(name, assigned)?;
    let (settings, _) = settings.ok_or_else(|| BadZnode::missing(&topic_config::path(name)))?;
    Ok(Stateless { name: name.clone(), id, settings: topic_config::decode(name, &settings)?, replicas })
}

fn decode_partitions(
    name: &Arc<str>,
    replicas: Vec<Vec<BrokerId>>,
    nodes: Vec<Node>,
) -> Result<Vec<Written>, BadZnode> {
    let states = (0..).zip(replicas).zip(nodes).map(|((index, replicas), node)| {
        let partition = TopicPartition::new(name.clone(), index);
        let (data, stat) = node.ok_or_else(|| BadZnode::missing(&partition_state::path(&partition)))?;
        let (state, controller_epoch) = partition_state::decode(&partition, replicas, stat.version, &data)?;
        Ok((state, (controller_epoch, Zxid(stat.mzxid))))
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

/// Numbers in ascending order, each as we write it; other names are none of ours.
fn broker_ids(names: &[Arc<str>]) -> Vec<BrokerId> {
    let number = |name: &Arc<str>| name.parse().ok().map(BrokerId).filter(|broker| broker.0 >= 0);
    let is_ours = |(name, broker): &(&Arc<str>, BrokerId)| broker.to_string() == ***name;
    let named = names.iter().filter_map(|name| Some((name, number(name)?))).filter(is_ours);
    let mut brokers: Vec<_> = named.map(|(_, broker)| broker).collect();
    brokers.sort_unstable();
    brokers
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
#[path = "tree_tests.rs"]
mod tests;
