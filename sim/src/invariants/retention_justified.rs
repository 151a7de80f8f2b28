//! *retention_justified*: a replica's log start moves only by configured retention of its own segments
//! (`log.retention.bytes`) or to a start that was justified on another replica, never past the highest
//! high watermark; what is left is at least what retention promises. After a crash it may go back, never
//! ahead. (Kafka's design, KAFKA-5634.) And the other side: full segments are closed, and what retention
//! need not keep is gone once it had its time.
//!
//! What was configured is the scenario's; what is left is read from the simulated disk.
//!
//! False positives avoided: a log that was truncated a moment ago was larger when retention decided; a
//! start above the own segments' is justified by the leader's, which was seen before.

use std::path::Path;

use wyrdlog::base::event::{Event, LogEvent};

use super::model::{Model, Partition, Replica, Role, Suffered};
use super::{Invariant, Seen, World};
use crate::disk_log::{DiskView, segment_sizes};
use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// For so long after a truncation retention may still act upon the log as it was, in nanoseconds.
const TRUNCATED_WITHIN_NS: u64 = 2_000_000_000;
/// Retention has its time if it was due this long before the end, in milliseconds.
const SLACK_MS: u64 = 1_000;

/// Looks at each move of a log's start.
#[derive(Debug)]
pub struct RetentionJustified {
    findings: Findings,
}

impl RetentionJustified {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        RetentionJustified { findings: Findings::new(Property::RetentionJustified) }
    }
}

impl Default for RetentionJustified {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the log of the event may begin at `log_start`; none where nothing can be said.
pub(super) fn is_justified(model: &Model, seen: Seen<'_>, log_start: i64) -> Option<bool> {
    let partition = &model.partitions[seen.partition?];
    let replica = partition.replicas.get(&seen.node());
    if log_start <= partition.justified_start().max(replica.map_or(0, |replica| replica.log.start)) {
        return Some(true);
    }
    if log_start > partition.exposed {
        return Some(false);
    }
    let promised = model.topology.retention.bytes;
    let leaves_enough = promised.is_some_and(|promised| left_from(model, seen, log_start) >= promised);
    let truncated_ns = replica.and_then(|replica| replica.truncated_ns);
    let was_larger = truncated_ns.is_some_and(|at_ns| seen.time_ns() < at_ns + TRUNCATED_WITHIN_NS);
    (leaves_enough || !was_larger).then_some(leaves_enough)
}

/// The bytes of the segments that hold something at or above `log_start`, on the event's disk.
fn left_from(model: &Model, seen: Seen<'_>, log_start: i64) -> u64 {
    let (Event::Log(name, _), Some((node, partition, segments))) = (&seen.observed.event, &model.segments) else {
        return 0;
    };
    if *node != seen.node() || partition != name {
        return 0;
    }
    let from = segments.partition_point(|(base, _)| *base <= log_start).saturating_sub(1);
    segments[from..].iter().map(|(_, bytes)| *bytes).sum()
}

impl Invariant for RetentionJustified {
    fn before(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let (Event::Log(name, event), Some(at)) = (&seen.observed.event, seen.partition) else { return };
        let (LogEvent::StartAdvanced { log_start } | LogEvent::Opened { log_start, .. }) = event else { return };
        let (model, partition) = (world.model, &world.model.partitions[at]);
        if *log_start == 0 || partition.unclean || world.budget.is_beyond(at) {
            return;
        }
        let Some(justified) = is_justified(model, *seen, *log_start) else { return };
        self.findings.check(justified, seen.time_ns(), [seen.ordinal], || {
            let (left, promised) = (left_from(model, *seen, *log_start), model.topology.retention.bytes);
            format!(
                "{} begins {name} at {log_start}, leaving {left} bytes; retention.bytes is {}, the highest justified start was {}, and {} was exposed",
                seen.node(),
                promised.map_or("not set".to_owned(), |bytes| bytes.to_string()),
                partition.justified_start(),
                partition.exposed
            )
        });
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

/// Looks at the segment files of every open, undamaged replica at the end of a run whose load ended
/// `quiet_ms` before. `log_directory` is the broker's.
#[must_use]
pub fn verify_segments<D: DiskView>(
    model: &Model,
    disk_of: impl Fn(Node) -> D,
    log_directory: &Path,
    (time_ns, quiet_ms): (u64, u64),
) -> Findings {
    let mut findings = Findings::new(Property::RetentionJustified);
    for partition in &model.partitions {
        for (node, replica) in &partition.replicas {
            if replica.is_open && replica.suffered == Suffered::default() && !model.has_rot_in(*node, &partition.name) {
                let sizes = segment_sizes(&disk_of(*node), &log_directory.join(partition.name.to_string()));
                let found = Found { model, partition, node: *node, replica, sizes };
                found.are_closed(&mut findings, time_ns);
                found.are_removed(&mut findings, time_ns, quiet_ms);
            }
        }
    }
    findings
}

struct Found<'m> {
    model: &'m Model,
    partition: &'m Partition,
    node: Node,
    replica: &'m Replica,
    sizes: Vec<(i64, u64)>,
}

impl Found<'_> {
    /// No segment is larger than configured, but for one with a single batch.
    fn are_closed(&self, findings: &mut Findings, time_ns: u64) {
        let full = self.model.topology.retention.segment_bytes;
        let ends = self.sizes.iter().skip(1).map(|(base, _)| *base).chain([i64::MAX]);
        for ((base, bytes), next) in self.sizes.iter().zip(ends) {
            let batches = self.replica.log.from(*base).take_while(|batch| batch.base_offset < next).take(2).count();
            findings.check(*bytes <= full || batches < 2, time_ns, [], || {
                let (node, name) = (self.node, &self.partition.name);
                format!("{node} keeps a segment of {bytes} bytes of {name} from {base} on; log.segment.bytes is {full}")
            });
        }
    }

    /// A leader has removed what retention need not keep.
    fn are_removed(&self, findings: &mut Findings, time_ns: u64, quiet_ms: u64) {
        let retention = self.model.topology.retention;
        let Some(promised) = retention.bytes else { return };
        let had_time = retention.interval_ms + SLACK_MS <= quiet_ms;
        let leads = self.replica.role == Role::Leader && self.partition.is_led_by(self.node);
        if !leads || !had_time || self.replica.high_watermark < self.replica.log.end {
            return;
        }
        let total: u64 = self.sizes.iter().map(|(_, bytes)| *bytes).sum();
        let oldest = self.sizes.first().filter(|_| self.sizes.len() > 1).map_or(u64::MAX, |(_, bytes)| *bytes);
        findings.check(total < promised.saturating_add(oldest), time_ns, [], || {
            let (node, name) = (self.node, &self.partition.name);
            format!(
                "{node} leads {name} and keeps {total} bytes, the oldest segment having {oldest}; retention.bytes is {promised}"
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Cluster, N3, N4};
    use super::*;

    /// Six offsets on every replica in segments of 100 bytes that begin at 0, 2 and 5.
    fn kept(bytes: Option<u64>) -> Cluster {
        let mut cluster = Cluster::with_retention(bytes);
        cluster.commit_three_batches();
        cluster
    }

    fn moved(mut cluster: Cluster, node: Node, log_start: i64, left: &[(i64, u64)]) -> Cluster {
        cluster.segments(node, left);
        cluster.log(node, LogEvent::StartAdvanced { log_start });
        cluster
    }

    #[test]
    fn a_start_that_moves_without_retention_is_rejected() {
        let cluster = moved(kept(None), N3, 2, &[(2, 100), (5, 100)]);
        assert_eq!(cluster.violated(Property::RetentionJustified), 1);
    }

    #[test]
    fn a_start_that_leaves_less_than_promised_is_rejected() {
        let cluster = moved(kept(Some(150)), N3, 5, &[(5, 100)]);
        assert_eq!(cluster.violated(Property::RetentionJustified), 1);
    }

    #[test]
    fn a_start_past_everything_exposed_is_rejected() {
        let cluster = moved(kept(Some(0)), N3, 9, &[(9, 0)]);
        assert_eq!(cluster.violated(Property::RetentionJustified), 1);
    }

    #[test]
    fn a_follower_that_moves_ahead_of_its_leader_is_rejected() {
        let cluster = moved(moved(kept(Some(200)), N3, 2, &[(2, 100), (5, 100)]), N4, 5, &[(5, 100)]);
        assert_eq!(cluster.violated(Property::RetentionJustified), 1);
    }

    #[test]
    fn what_retention_allows_is_accepted_and_a_follower_may_follow_and_a_restart_go_back() {
        let mut cluster = moved(kept(Some(200)), N3, 2, &[(2, 100), (5, 100)]);
        cluster = moved(cluster, N4, 2, &[(2, 100), (5, 100)]);
        cluster.restart(N4, 0, 6);
        cluster.assert_clean(Property::RetentionJustified);
        assert_eq!(cluster.invariants.model().partitions[0].justified_start(), 2);
    }

    #[test]
    fn segments_that_are_not_closed_or_not_removed_are_rejected() {
        let cluster = kept(Some(150));
        let judge = |sizes: &[(i64, u64)]| {
            let disk = SizesOf(sizes.to_vec());
            verify_segments(cluster.invariants.model(), |node| (node, disk.clone()), Path::new("logs"), (1, 9_000))
        };
        assert!(judge(&[(2, 100), (5, 100)]).passed());
        assert!(judge(&[(0, 1_001), (5, 10)]).violated > 0, "two batches in a segment of more than 1,000 bytes");
        assert_eq!(judge(&[(0, 100), (2, 100), (5, 100)]).violated, 1, "the oldest need not be kept");
    }

    #[derive(Clone)]
    struct SizesOf(Vec<(i64, u64)>);

    impl DiskView for (Node, SizesOf) {
        fn list(&self, _: &Path) -> Vec<String> {
            let here = self.1.0.iter().filter(|_| self.0 == N3);
            here.map(|(base, _)| format!("{base:020}.log")).collect()
        }

        fn read(&self, path: &Path) -> Option<Vec<u8>> {
            let base: i64 = path.file_stem()?.to_str()?.parse().ok()?;
            let (_, bytes) = self.1.0.iter().find(|(known, _)| *known == base)?;
            Some(vec![0; *bytes as usize])
        }
    }
}
