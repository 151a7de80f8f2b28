//! From what the controller wants changed to the operations of one multi, and from the multi's
//! result to the controller's outcome. No I/O.

use std::sync::Arc;

use bytes::Bytes;

use super::znodes::{SEQUENCE, broker, broker_epoch, controller, partition_state, topic, topic_config};
use crate::base::ids::{ControllerEpoch, TopicPartition, Zxid};
use crate::base::limits::JUTE_BYTES_MAX;
use crate::base::partition_state::PartitionState;
use crate::base::znode::{Acl, CreateMode, ErrorCode};
use crate::client::coordinator::CoordinatorError;
use crate::controller::metadata::{ClusterMetadata, TopicMetadata, TopicSettings};
use crate::controller::{Change, Outcome};
use crate::wire::zookeeper::{CreateRequest, MultiOp, MultiResult};

/// Matches every version.
const ANY_VERSION: i32 = -1;
/// What the znodes of one partition take in a request beside names: fixed fields, access control
/// lists, paths and the JSON of a state with epochs of full length.
const PARTITION_BYTES: usize = 400;
/// What one replica takes in assignment, in-sync set and eligible set.
const REPLICA_BYTES: usize = 48;

/// The office that a write is made in: the epoch, and the version of its znode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Office {
    /// The controller's epoch.
    pub controller_epoch: ControllerEpoch,
    /// The version that every fenced write checks.
    pub epoch_version: i32,
}

/// Whether a topic of this shape is certain to fit into one multi. Whatever was created can be
/// deleted: that takes less.
#[must_use]
pub fn fits(name: &str, partitions: usize, replicas: usize) -> bool {
    let partition = PARTITION_BYTES + 2 * name.len() + REPLICA_BYTES.saturating_mul(replicas);
    partition.saturating_mul(partitions) < JUTE_BYTES_MAX - JUTE_BYTES_MAX / 8
}

/// The multi that carries out `changes`, which build on `committed`. At least one of its operations
/// has a result that tells the write's zxid.
#[must_use]
pub fn operations(office: Office, fenced: bool, changes: &[Change], committed: &ClusterMetadata) -> Vec<MultiOp> {
    let mut ops = Vec::new();
    if fenced {
        ops.push(MultiOp::Check { path: controller::EPOCH_PATH.into(), version: office.epoch_version });
    }
    changes.iter().for_each(|change| put_change(office, change, committed, &mut ops));
    if !ops.iter().any(|op| matches!(op, MultiOp::SetData { .. })) {
        // Deletes alone tell no zxid, and a plain create tells none either.
        ops.push(set(SEQUENCE, Bytes::new(), ANY_VERSION));
    }
    ops
}

fn put_change(office: Office, change: &Change, committed: &ClusterMetadata, ops: &mut Vec<MultiOp>) {
    match change {
        Change::State { partition, expected_version, state } => {
            let data = partition_state::encode(state, office.controller_epoch);
            ops.push(set(partition_state::path(partition), data, *expected_version));
        }
        Change::CreateTopic { topic, metadata } => put_topic(office, topic, metadata, ops),
        Change::CreatePartitions { topic, first, states } => {
            put_more_partitions(office, topic, *first, states, committed, ops);
        }
        Change::SetTopic { topic, settings } => {
            ops.push(set(topic_config::path(topic), topic_config::encode(settings), ANY_VERSION));
        }
        Change::DeleteTopic { topic, partitions, .. } => put_deletion(topic, *partitions, ops),
    }
}

fn put_topic(office: Office, name: &Arc<str>, metadata: &TopicMetadata, ops: &mut Vec<MultiOp>) {
    let TopicMetadata { id, settings, partitions } = metadata;
    let replicas = partitions.iter().map(|state| state.replicas.clone()).collect();
    ops.push(create_settings(name, settings));
    ops.push(create(topic::path(name), topic::encode(&topic::Topic { id: *id, replicas })));
    ops.push(create(partition_state::parent(name), Bytes::new()));
    put_partitions(office, name, 0, partitions, ops);
}

fn create_settings(name: &str, settings: &TopicSettings) -> MultiOp {
    create(topic_config::path(name), topic_config::encode(settings))
}

fn put_partitions(office: Office, name: &Arc<str>, first: usize, states: &[PartitionState], ops: &mut Vec<MultiOp>) {
    for (partition, state) in indices(name, first).zip(states) {
        ops.push(create(partition_state::partition_path(&partition), Bytes::new()));
        ops.push(create(partition_state::path(&partition), partition_state::encode(state, office.controller_epoch)));
    }
}

fn put_more_partitions(
    office: Office,
    name: &Arc<str>,
    first: usize,
    states: &[PartitionState],
    committed: &ClusterMetadata,
    ops: &mut Vec<MultiOp>,
) {
    let known = committed.topics.get(name).expect("the controller adds partitions to topics that it knows");
    let all = known.partitions.iter().take(first).chain(states);
    let replicas = all.map(|state| state.replicas.clone()).collect();
    ops.push(set(topic::path(name), topic::encode(&topic::Topic { id: known.id, replicas }), ANY_VERSION));
    put_partitions(office, name, first, states, ops);
}

fn put_deletion(name: &Arc<str>, partitions: usize, ops: &mut Vec<MultiOp>) {
    for partition in indices(name, 0).take(partitions) {
        ops.push(delete(partition_state::path(&partition)));
        ops.push(delete(partition_state::partition_path(&partition)));
    }
    ops.extend([partition_state::parent(name), topic::path(name), topic_config::path(name)].map(delete));
}

fn indices(name: &Arc<str>, first: usize) -> impl Iterator<Item = TopicPartition> {
    let first = i32::try_from(first).expect("a topic has fewer than 2^31 partitions");
    (first..).map(|index| TopicPartition::new(name.clone(), index))
}

fn create(path: impl Into<Arc<str>>, data: Bytes) -> MultiOp {
    let flags = CreateMode::Persistent.flags();
    MultiOp::Create(CreateRequest { path: path.into(), data: Some(data), acl: Acl::open(), flags })
}

fn set(path: impl Into<Arc<str>>, data: Bytes, version: i32) -> MultiOp {
    MultiOp::SetData { path: path.into(), data: Some(data), version }
}

fn delete(path: impl Into<Arc<str>>) -> MultiOp {
    MultiOp::Delete { path: path.into(), version: ANY_VERSION }
}

/// The multi that wins an election: the ephemeral appears and the epoch is raised, or neither.
#[must_use]
pub fn election(own: crate::base::ids::BrokerId, now_ms: i64, next: Office) -> Vec<MultiOp> {
    let flags = CreateMode::Ephemeral.flags();
    let (path, data) = (controller::PATH.into(), Some(controller::encode(own, now_ms)));
    let raised = controller::encode_epoch(next.controller_epoch);
    vec![
        MultiOp::Create(CreateRequest { path, data, acl: Acl::open(), flags }),
        set(controller::EPOCH_PATH, raised, next.epoch_version - 1),
    ]
}

/// The multi that registers a broker, in place of its stale registration if there is one (Settled 4).
/// `epoch_version` is that of the znode in which it took its incarnation: whoever took another one since
/// has its registration fail.
#[must_use]
pub fn registration(
    own: crate::base::ids::BrokerId,
    data: Bytes,
    epoch_version: i32,
    stale_version: Option<i32>,
) -> Vec<MultiOp> {
    let path: Arc<str> = broker::path(own).into();
    let is_newest = MultiOp::Check { path: broker_epoch::path(own).into(), version: epoch_version };
    let removal = stale_version.map(|version| MultiOp::Delete { path: path.clone(), version });
    let flags = CreateMode::Ephemeral.flags();
    let creation = MultiOp::Create2(CreateRequest { path, data: Some(data), acl: Acl::open(), flags });
    [is_newest].into_iter().chain(removal).chain([creation]).collect()
}

/// How a write ended. `fenced` says whether its first operation was the check of the epoch.
#[must_use]
pub fn outcome(fenced: bool, result: &Result<Vec<MultiResult>, CoordinatorError>) -> Outcome {
    match result {
        Ok(results) => match zxid(results) {
            Some(zxid) => Outcome::Committed { zxid },
            // A server that leaves out what it was asked for: what it did is not known either.
            None => Outcome::Unknown,
        },
        Err(error) if error.is_ambiguous() => Outcome::Unknown,
        Err(error) => match error.failed_operation() {
            Some((0, ErrorCode::BadVersion | ErrorCode::NoNode)) if fenced => Outcome::Fenced,
            _ => Outcome::Conflict,
        },
    }
}

fn zxid(results: &[MultiResult]) -> Option<Zxid> {
    results.iter().find_map(|result| match result {
        MultiResult::SetData { stat } => Some(Zxid(stat.mzxid)),
        MultiResult::Create2 { stat, .. } => Some(Zxid(stat.czxid)),
        _ => None,
    })
}

#[cfg(test)]
#[path = "writes_tests.rs"]
mod tests;
