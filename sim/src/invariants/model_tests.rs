//! What the model takes over from a disk that rotted and from a controller that finds a state: each a
//! mistake of the judge that once failed a seed.

use wyrdlog::base::event::{AppendedBatch, ControllerEvent, Event, LogEvent};
use wyrdlog::base::ids::{BrokerId, LeaderEpoch, TopicPartition};
use wyrdlog::base::partition_state::{Durability, PartitionState};

use super::examples::{Cluster, N3, N4, batch, partition};
use crate::observed::{BadBytes, DiskLog, DiskSegment, FaultNote};
use crate::verdict::Property;

fn path(base_offset: i64) -> String {
    format!("logs/t-0/{base_offset:020}.log")
}

fn segment(base_offset: i64, batches: &[AppendedBatch]) -> DiskSegment {
    DiskSegment { path: path(base_offset), base_offset, batches: batches.to_vec(), bad: None }
}

fn rotted_behind(base_offset: i64, batches: &[AppendedBatch]) -> DiskSegment {
    let bad = BadBytes { path: path(base_offset), position: 70, reason: "the checksum differs".to_owned() };
    DiskSegment { bad: Some(bad), ..segment(base_offset, batches) }
}

/// N3 holds two batches in its first segment and one in its second; the first has rotted.
fn with_a_rotted_first_segment() -> Cluster {
    let mut cluster = Cluster::page_cache();
    cluster.append(N3, batch(0, 1, 1));
    cluster.append(N3, batch(2, 4, 1));
    cluster.log(N3, LogEvent::Rolled { base_offset: 5 });
    cluster.append(N3, batch(5, 5, 1));
    cluster.sync(N3, 6);
    cluster.fault(FaultNote::Rotted { node: N3, path: path(0) });
    cluster
}

fn base_offsets(cluster: &Cluster) -> Vec<i64> {
    let replica = &cluster.invariants.model().partitions[0].replicas[&N3];
    replica.log.batches.iter().map(|batch| batch.base_offset).collect()
}

/// Seed 100530 of the standard load. A write failed half way, and a batch that nobody told of was whole
/// on the disk when its log was opened again. An earlier segment had rotted: the judge's reading of the
/// disk ended there, and what it went on with, its own list, lacked that batch. The next append then
/// stood behind another batch than on every other replica.
#[test]
fn a_batch_that_nobody_told_of_is_taken_over_although_an_earlier_segment_rotted() {
    let mut cluster = with_a_rotted_first_segment();
    let (untold, next) = (batch(6, 7, 1), batch(8, 8, 1));
    cluster.fault(FaultNote::CallsFail(N3));
    let segments = vec![rotted_behind(0, &[batch(0, 1, 1)]), segment(5, &[batch(5, 5, 1), untold])];
    cluster.invariants.disk_log(N3, partition(), DiskLog { segments });
    cluster.restart(N3, 0, 8);
    assert_eq!(base_offsets(&cluster), [0, 2, 5, 6], "what cannot be read is what it was");
    for batch in [batch(0, 1, 1), batch(2, 4, 1), batch(5, 5, 1), untold, next] {
        cluster.append(N4, batch);
    }
    cluster.append(N3, next);
    cluster.invariants.finish(99);
    cluster.assert_clean(Property::LogMatching);
}

/// Seed 301223 of drawn shapes. Rot changed the offset of a batch, which no checksum covers, to one far
/// beyond the log's end. The judge took it for a batch whose write had failed half way, and held a log
/// with an offset out of order against the other replicas at the end.
#[test]
fn a_batch_whose_offset_rotted_is_not_taken_over() {
    let mut cluster = with_a_rotted_first_segment();
    let out_of_place = AppendedBatch { base_offset: 1 << 50, last_offset: (1 << 50) + 2, ..batch(2, 4, 1) };
    for moved in [out_of_place, AppendedBatch { base_offset: 0, last_offset: 2, ..out_of_place }] {
        let segments = vec![segment(0, &[batch(0, 1, 1), moved]), segment(5, &[batch(5, 5, 1)])];
        cluster.invariants.disk_log(N3, partition(), DiskLog { segments });
        cluster.restart(N3, 0, 6);
        assert_eq!(base_offsets(&cluster), [0, 2, 5]);
    }
    cluster.assert_clean(Property::RecoveredPrefix);
}

/// Seed 300391 of drawn shapes. The controller created a topic, its connection was lost before the
/// answer, and it read back what it had written. The judge took a state that is found only for a
/// partition of which it knew an older one, and so held a partition that was led for one without leader.
#[test]
fn the_state_of_a_new_partition_is_taken_from_the_controller_that_finds_it() {
    let mut cluster = Cluster::page_cache();
    let created = TopicPartition::new("created", 0);
    let state = PartitionState {
        leader: Some(BrokerId(1)),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        replicas: vec![BrokerId(1), BrokerId(2)],
        in_sync: cluster.members(&[N3, N4]),
        eligible_leaders: Vec::new(),
        last_known_leader: None,
    };
    let found = ControllerEvent::Found { partition: created.clone(), state: state.clone(), written: None };
    cluster.see(N3, Event::Controller(found));
    let partitions = &cluster.invariants.model().partitions;
    let known = partitions.iter().find(|partition| partition.name == created).expect("is known");
    assert_eq!(known.state.as_ref().map(|(_, known)| known), Some(&state));
    assert_eq!(known.durability, Durability::default());
}
