//! Which brokers get the replicas of new partitions.

use std::collections::BTreeSet;

use super::election::Liveness;
use super::message::{Assignment, Refusal};
use crate::base::ids::{BrokerId, LeaderEpoch};
use crate::base::partition_state::{InSyncReplica, PartitionState};

/// The most partitions that one request creates: their states fit in one multi.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 2_000;

/// The first states of new partitions, of which `existing` there are already.
pub(super) fn first_states(
    live: &Liveness,
    assignment: &Assignment,
    existing: usize,
) -> Result<Vec<PartitionState>, Refusal> {
    let replicas = match assignment {
        Assignment::Spread { partitions, replication_factor, start } => {
            check_count(*partitions)?;
            spread(live, *partitions, *replication_factor, start.wrapping_add(existing))?
        }
        Assignment::Explicit(replicas) => {
            check_count(replicas.len())?;
            replicas.clone()
        }
    };
    replicas.into_iter().map(|replicas| first_state(live, replicas)).collect()
}

fn check_count(partitions: usize) -> Result<(), Refusal> {
    if (1..=PARTITIONS_PER_REQUEST_MAX).contains(&partitions) {
        Ok(())
    } else {
        Err(Refusal::InvalidPartitions(PARTITIONS_PER_REQUEST_MAX))
    }
}

/// Round-robin: preferred leaders go around the brokers, and each further time around the followers
/// are shifted by one, so that a failed broker's load falls on all others.
fn spread(
    live: &Liveness,
    partitions: usize,
    replication_factor: usize,
    start: usize,
) -> Result<Vec<Vec<BrokerId>>, Refusal> {
    let brokers: Vec<_> = live.brokers.keys().copied().filter(|broker| live.available(*broker).is_some()).collect();
    let count = brokers.len();
    if replication_factor == 0 || replication_factor > count {
        return Err(Refusal::InvalidReplicationFactor { wanted: replication_factor, live: count });
    }
    let others = (count - 1).max(1);
    let start = start % count;
    let replica = |partition: usize, place: usize| {
        let leader = (start + partition) % count;
        let shift = (start + partition) / count;
        if place == 0 { leader } else { (leader + 1 + (shift + place - 1) % others) % count }
    };
    let replicas = |partition| (0..replication_factor).map(|place| brokers[replica(partition, place)]).collect();
    Ok((0..partitions).map(replicas).collect())
}

/// A new partition: whoever lives is in sync, for all logs are empty.
fn first_state(live: &Liveness, replicas: Vec<BrokerId>) -> Result<PartitionState, Refusal> {
    let distinct: BTreeSet<_> = replicas.iter().copied().collect();
    let in_sync: Vec<InSyncReplica> = distinct.iter().filter_map(|broker| live.available(*broker)).collect();
    let leader = replicas.iter().copied().find(|broker| live.available(*broker).is_some());
    // Of a broker that is named twice there is one among them.
    if leader.is_none() || in_sync.len() != replicas.len() {
        return Err(Refusal::InvalidAssignment);
    }
    Ok(PartitionState {
        leader,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        replicas,
        in_sync,
        eligible_leaders: Vec::new(),
        last_known_leader: None,
    })
}
