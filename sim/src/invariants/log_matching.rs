//! *log_matching*: on the overlap of two replicas, the same (offset, leader epoch) means the same
//! bytes as written, there and before (Raft §5.3, Kip320's specification).
//!
//! Incremental by induction: every batch that was ever appended is remembered once, by (leader
//! epoch, first offset), together with its bytes and *the batch before it*. If each append agrees
//! with what is remembered, two logs that share a batch share everything below it, as far down as
//! both reach. A log also never goes back in offset or leader epoch.
//!
//! And a follower that takes over a high watermark holds below it what is committed there: a log
//! that parts from the leader's without anybody comparing them shows at the first answer.
//!
//! False positives avoided: media damage is no append, so it does not show here; a log whose
//! start was advanced, or that begins in the middle, does not know the batch before; what is
//! committed is compared within the budget only, and not before a log that begins anew has been
//! written (seed 2).

use std::collections::BTreeMap;

use wyrdlog::base::event::{AppendedBatch, Event, LogEvent, ReplicaEvent};
use wyrdlog::base::ids::LeaderEpoch;

use super::model::{Model, Partition};
use super::replica_log::{describe, first_from_the_end, same};
use super::{Depth, Invariant, Seen, World};
use crate::observed::Node;
use crate::verdict::{Findings, Property};

type Place = (LeaderEpoch, i64);

/// A batch as it was first appended.
#[derive(Clone, Copy, Debug)]
struct First {
    batch: AppendedBatch,
    /// The batch before it, where the log that appended it knew one.
    before: Option<Place>,
    node: Node,
    ordinal: u64,
}

/// Remembers every batch of every partition.
#[derive(Debug)]
pub struct LogMatching {
    findings: Findings,
    written: BTreeMap<(usize, LeaderEpoch, i64), First>,
}

impl LogMatching {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        LogMatching { findings: Findings::new(Property::LogMatching), written: BTreeMap::new() }
    }

    fn compare(&mut self, at: usize, partition: &Partition, seen: Seen<'_>, mine: First) {
        let place = (at, mine.batch.leader_epoch, mine.batch.base_offset);
        let epoch_start = (at, mine.batch.leader_epoch, i64::MIN);
        let below = self.written.range(epoch_start..=place).next_back().map(|(_, first)| *first);
        let overlapping = below.filter(|first| first.batch.last_offset >= mine.batch.base_offset);
        let Some(first) = overlapping else {
            self.written.insert(place, mine);
            return;
        };
        let same_before = first.before.is_none() || mine.before.is_none() || first.before == mine.before;
        let holds = same(&first.batch, &mine.batch) && same_before;
        self.findings.check(holds, seen.time_ns(), [first.ordinal, seen.ordinal], || {
            let behind = |place: Option<Place>| {
                place.map_or("nothing known".to_owned(), |(epoch, base)| format!("({base}, epoch {epoch})"))
            };
            format!(
                "{} appended to {} {} behind {}, where {} had {} behind {}",
                mine.node,
                partition.name,
                describe(&mine.batch),
                behind(mine.before),
                first.node,
                describe(&first.batch),
                behind(first.before)
            )
        });
        if first.before.is_none() && mine.before.is_some() {
            self.written.insert(
                (at, first.batch.leader_epoch, first.batch.base_offset),
                First { before: mine.before, ..first },
            );
        }
    }

    /// A log was opened: what its disk holds and no event told of, such as an append whose write
    /// failed half way, must agree as well.
    fn compare_recovered(&mut self, model: &Model, at: usize, log_end: i64, seen: Seen<'_>) {
        let (Some(found), partition) = (model.on_disk(seen), &model.partitions[at]) else { return };
        let known = partition.replicas.get(&seen.node()).map(|replica| &replica.log);
        let mut before = None;
        for segment in &found.segments {
            for batch in segment.batches.iter().take_while(|batch| batch.last_offset < log_end) {
                if known.and_then(|log| log.at(batch.base_offset)).is_none_or(|own| !same(own, batch)) {
                    let first = First { batch: *batch, before, node: seen.node(), ordinal: seen.ordinal };
                    self.compare(at, partition, seen, first);
                }
                before = Some((batch.leader_epoch, batch.base_offset));
            }
            // What is behind bad bytes cannot be read.
            before = before.filter(|_| segment.bad.is_none());
        }
    }

    /// A follower's high watermark moved to `high_watermark`.
    fn compare_with_committed(&mut self, world: World<'_>, seen: Seen<'_>, at: usize, high_watermark: i64) {
        let partition = &world.model.partitions[at];
        let Some(replica) = world.model.replica(seen) else { return };
        if partition.unclean || world.budget.is_beyond(at) || replica.log.end < high_watermark {
            return;
        }
        let committed = &partition.committed;
        let end = first_from_the_end(committed.len(), |at| committed[at].last_offset < high_watermark);
        let committed = &committed[..end];
        let lacks = |batch: &&AppendedBatch| !replica.log.holds(batch);
        let missing = match world.depth {
            Depth::Incremental => committed.last().filter(lacks),
            Depth::Recomputed => replica.log.first_lacked(committed),
        };
        self.findings.check(missing.is_none(), seen.time_ns(), [seen.ordinal], || {
            let what = missing.map(describe).unwrap_or_default();
            format!(
                "{} took over the high watermark {high_watermark} of {} without {what}, which is committed",
                seen.node(),
                partition.name
            )
        });
    }

    /// Compares all pairs of replicas, batch by batch.
    fn recompute(&mut self, model: &Model, time_ns: u64) {
        for partition in &model.partitions {
            for (one, left) in &partition.replicas {
                for (other, right) in partition.replicas.range(*one..).skip(1) {
                    let floor = left.log.start.max(right.log.start);
                    let shared =
                        |batch: &&AppendedBatch| right.log.at(batch.base_offset).is_some_and(|twin| same(twin, batch));
                    let Some(top) = left.log.batches.iter().rev().find(shared) else { continue };
                    let mut below = left.log.from(floor).take_while(|batch| batch.base_offset <= top.base_offset);
                    let differs = below.find(|batch| !shared(batch));
                    self.findings.check(differs.is_none(), time_ns, [], || {
                        let what = differs.map(describe).unwrap_or_default();
                        format!(
                            "{one} and {other} share {} of {} but not {what} below it",
                            describe(top),
                            partition.name
                        )
                    });
                }
            }
        }
    }
}

impl Default for LogMatching {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for LogMatching {
    fn before(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let Some(at) = seen.partition else { return };
        if let Event::Log(_, LogEvent::Opened { log_end, .. }) = &seen.observed.event {
            self.compare_recovered(world.model, at, *log_end, *seen);
        }
        if let Event::Replica(_, ReplicaEvent::HighWatermark { leads: false, high_watermark, .. }) =
            &seen.observed.event
        {
            self.compare_with_committed(*world, *seen, at, *high_watermark);
        }
        let Event::Log(_, LogEvent::Appended { batch, .. }) = &seen.observed.event else { return };
        let partition = &world.model.partitions[at];
        let last = world.model.replica(*seen).and_then(|replica| replica.log.batches.back());
        if let Some(last) = last {
            let grows = batch.base_offset > last.last_offset && batch.leader_epoch >= last.leader_epoch;
            self.findings.check(grows, seen.time_ns(), [seen.ordinal], || {
                let (node, name) = (seen.node(), &partition.name);
                format!("{node} appended to {name} {} behind {}", describe(batch), describe(last))
            });
        }
        let before = last.map(|last| (last.leader_epoch, last.base_offset));
        self.compare(at, partition, *seen, First { batch: *batch, before, node: seen.node(), ordinal: seen.ordinal });
    }

    fn finish(&mut self, world: World<'_>, time_ns: u64) {
        if world.depth == Depth::Recomputed {
            self.recompute(world.model, time_ns);
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Cluster, N3, N4, N5, batch};
    use super::*;

    #[test]
    fn other_bytes_at_the_same_offset_and_epoch_are_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.append(N3, batch(0, 1, 1));
        cluster.append(N4, AppendedBatch { crc: 99, ..batch(0, 1, 1) });
        assert_eq!(cluster.violated(Property::LogMatching), 1);
    }

    #[test]
    fn the_same_batch_behind_another_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.append(N3, batch(0, 1, 1));
        cluster.append(N3, batch(2, 2, 3));
        cluster.append(N4, batch(0, 1, 2));
        cluster.append(N4, batch(2, 2, 3));
        assert_eq!(cluster.violated(Property::LogMatching), 1);
        cluster.invariants.finish(9);
        assert_eq!(cluster.violated(Property::LogMatching), 2, "the full computation agrees");
    }

    #[test]
    fn overlapping_batches_of_one_epoch_are_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.append(N3, batch(0, 4, 1));
        cluster.append(N4, batch(2, 6, 1));
        assert_eq!(cluster.violated(Property::LogMatching), 1);
    }

    #[test]
    fn a_log_that_goes_back_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.append(N3, batch(0, 4, 2));
        cluster.append(N3, batch(4, 5, 2));
        cluster.append(N3, batch(6, 6, 1));
        assert_eq!(cluster.violated(Property::LogMatching), 3, "twice back in its own log, once overlapping");
    }

    #[test]
    fn a_follower_that_takes_a_high_watermark_over_records_of_its_own_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.append(N3, batch(6, 7, 1));
        cluster.append(N4, batch(6, 7, 1));
        cluster.expose(N3, 8, &[N3, N4]);
        cluster.append(N5, AppendedBatch { crc: 99, ..batch(6, 7, 0) });
        let before = cluster.violated(Property::LogMatching);
        cluster.replica(N5, follows_to(6));
        assert_eq!(cluster.violated(Property::LogMatching), before, "what is below is the same");
        cluster.replica(N5, follows_to(8));
        assert_eq!(cluster.violated(Property::LogMatching), before + 1);
    }

    fn follows_to(high_watermark: i64) -> ReplicaEvent {
        ReplicaEvent::HighWatermark {
            leads: false,
            leader_epoch: LeaderEpoch(1),
            high_watermark,
            maximal_in_sync: Vec::new(),
            min_in_sync: 2,
        }
    }

    #[test]
    fn diverging_tails_of_different_epochs_and_truncation_are_accepted() {
        let mut cluster = Cluster::page_cache();
        for node in [N3, N4] {
            cluster.append(node, batch(0, 1, 1));
        }
        cluster.append(N3, batch(2, 3, 1));
        cluster.append(N4, batch(2, 5, 2));
        cluster.log(N3, LogEvent::Truncated { from: 4, log_end: 2 });
        cluster.append(N3, batch(2, 5, 2));
        cluster.log(N5, LogEvent::StartAdvanced { log_start: 2 });
        cluster.append(N5, batch(2, 5, 2)); // starts in the middle, after retention
        cluster.append(N5, batch(6, 6, 2));
        cluster.append(N3, batch(6, 6, 2));
        cluster.invariants.finish(9);
        assert_eq!(cluster.violated(Property::LogMatching), 0);
        assert!(cluster.findings(Property::LogMatching).evaluations > 0);
    }
}
