//! *idempotent_order*: for each (producer id, epoch), within one stretch of uninterrupted
//! producer state, sequences are contiguous modulo 2^31 in each partition's log (KIP-98).
//!
//! Looked at when a leader appends, against the tail of its own log: followers copy, and
//! `log_matching` holds them to it. A batch that was appended twice shows as a sequence that
//! does not continue.
//!
//! False positives avoided: a producer of which the leader's log holds nothing (new, or removed by
//! retention) may start anywhere; a new epoch starts at 0 and asks nothing of the one before;
//! control batches carry no sequence.

use wyrdlog::base::batch_header::sequence_after;
use wyrdlog::base::event::{AppendedBatch, Event, LogEvent};

use super::model::{Partition, ProducerTail};
use super::replica_log::describe;
use super::{Invariant, Seen, World};
use crate::verdict::{Findings, Property};

/// Looks at each batch that a leader appends.
#[derive(Debug)]
pub struct IdempotentOrder {
    findings: Findings,
}

impl IdempotentOrder {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        IdempotentOrder { findings: Findings::new(Property::IdempotentOrder) }
    }
}

impl Default for IdempotentOrder {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for IdempotentOrder {
    fn before(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let (Event::Log(_, LogEvent::Appended { batch, .. }), Some(at)) = (&seen.observed.event, seen.partition) else {
            return;
        };
        let partition: &Partition = &world.model.partitions[at];
        let leads = partition.is_led_by(seen.node());
        let Some(tail) = partition.producers.get(&batch.producer_id).filter(|_| leads) else { return };
        let Some(expected) = expected(batch, *tail) else { return };
        self.findings.check(batch.base_sequence == expected, seen.time_ns(), [seen.ordinal], || {
            format!(
                "{} appended to {} {} of producer {} epoch {} with sequence {}, where {expected} comes next after offset {}",
                seen.node(),
                partition.name,
                describe(batch),
                batch.producer_id,
                batch.producer_epoch,
                batch.base_sequence,
                tail.base_offset
            )
        });
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

/// The sequence that must come next; none where nothing is asked.
fn expected(batch: &AppendedBatch, tail: ProducerTail) -> Option<i32> {
    if batch.producer_id.0 < 0 || batch.base_sequence < 0 || batch.producer_epoch < tail.epoch {
        return None;
    }
    if batch.producer_epoch > tail.epoch || tail.last_sequence < 0 {
        return Some(0);
    }
    Some(sequence_after(tail.last_sequence, 1))
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Cluster, N3, N4, produced};
    use super::*;
    use wyrdlog::base::event::AppendedBatch;
    use wyrdlog::base::ids::LeaderEpoch;

    #[test]
    fn a_batch_appended_twice_and_a_gap_are_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.elect(N3);
        cluster.append(N3, produced(0, 4, 0, 0));
        cluster.append(N3, produced(5, 9, 0, 0));
        assert_eq!(cluster.violated(Property::IdempotentOrder), 1);
        cluster.append(N3, produced(10, 10, 0, 7));
        assert_eq!(cluster.violated(Property::IdempotentOrder), 2);
    }

    #[test]
    fn a_new_leader_that_forgot_its_producers_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.elect(N3);
        for node in [N3, N4] {
            cluster.append(node, produced(0, 4, 0, 0));
        }
        cluster.elect(N4);
        let retried = AppendedBatch { leader_epoch: LeaderEpoch(2), ..produced(5, 9, 0, 0) };
        cluster.append(N4, retried);
        assert_eq!(cluster.violated(Property::IdempotentOrder), 1);
    }

    #[test]
    fn contiguous_sequences_wrap_and_new_epochs_start_at_zero() {
        let mut cluster = Cluster::page_cache();
        cluster.elect(N3);
        cluster.append(N3, produced(0, 1, 0, i32::MAX - 1));
        cluster.append(N3, produced(2, 4, 0, 0));
        cluster.append(N3, produced(5, 5, 0, 3));
        cluster.append(N3, produced(6, 6, 1, 0));
        cluster.assert_clean(Property::IdempotentOrder);
    }

    #[test]
    fn what_was_truncated_does_not_count() {
        let mut cluster = Cluster::page_cache();
        cluster.elect(N3);
        cluster.append(N3, produced(0, 4, 0, 0));
        cluster.elect(N4);
        cluster.append(N4, AppendedBatch { leader_epoch: LeaderEpoch(2), ..produced(0, 4, 0, 0) });
        cluster.append(N4, AppendedBatch { leader_epoch: LeaderEpoch(2), ..produced(5, 5, 0, 5) });
        cluster.assert_clean(Property::IdempotentOrder);
    }
}
