//! *offset-for-time*: a lookup by time answers the first offset whose record is as young as asked, or
//! younger, among those that were in the log at some instant of the lookup.
//!
//! The records' times are those that clients gave them. What is found is so young; nothing that was
//! committed lies before it and is so young, too, unless retention may have removed it; and where
//! nothing is found, nothing so young had been seen before the lookup began.
//!
//! False positives avoided: a leader that was deposed and has not heard of it goes on answering from below its
//! high watermark (Kafka has no leases): while a former leader of the partition is disturbed, or was until a
//! while ago, or half of the ensemble that would tell it (`swarm` seed 31288: the only coordinator was cut off
//! for nine seconds), nothing is missed. That could hide a leader that overlooks records under faults alone. Of a compressed batch the product answers the first offset, as its
//! documentation says, so that what is found may lie before the record, and is not compared itself.

use super::sightings::{Sighting, Sightings, describe};
use crate::history::OpId;
use crate::history::cluster::{ClusterHistory, Disturbance};
use crate::history::kafka::{Call, KafkaHistory, KafkaOp, Reply};
use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// Compares what lookups found with the times of the records.
#[must_use]
pub fn check(met: &ClusterHistory, history: &KafkaHistory) -> Findings {
    let promised = Sightings::of(history).promised(history);
    let mut findings = Findings::new(Property::OffsetForTime);
    for (op, operation) in (0..).zip(&history.operations) {
        let (Call::OffsetForTime { partition, timestamp_ms }, Some(Reply::OffsetFound { offset })) =
            (operation.call, operation.reply())
        else {
            continue;
        };
        if history.is_beyond(partition) {
            continue;
        }
        let is_young = |seen: &&Sighting| history.timestamps.get(&seen.value).is_some_and(|at| *at >= timestamp_ms);
        let of_partition = promised.of_partition(partition);
        if let (Some(offset), false) = (offset, history.is_compressed) {
            let at = of_partition.iter().find(|seen| seen.offset == *offset);
            findings.check(at.is_none_or(|seen| is_young(&seen)), operation.ended_ns(), [u64::from(op)], || {
                format!("{} found offset {offset}, whose record is older", describe(history, op))
            });
        }
        if !may_be_stale(met, history, operation) {
            first(&mut findings, history, op, operation, of_partition.iter().filter(is_young));
        }
    }
    findings
}

/// Whether somebody who led the partition of a lookup before may not know yet that another does.
#[must_use]
pub fn may_be_stale(met: &ClusterHistory, history: &KafkaHistory, lookup: &KafkaOp) -> bool {
    let (partition, at_ns) = (usize::from(lookup.call.partition()), lookup.ended_ns());
    let Some(partition) = history.partitions.get(partition) else { return false };
    let states: Vec<_> = met.states_during(partition, 0, at_ns).collect();
    let current = states.last().and_then(|(_, state)| state.leader);
    states.windows(2).any(|pair| {
        let (deposed_ns, former) = (pair[1].0, pair[0].1.leader);
        let Some(machine) = former.filter(|_| former != current).and_then(|former| met.brokers.get(&former)) else {
            return false;
        };
        let lasts = |one: &&Disturbance| {
            one.from_ns <= at_ns && one.to_ns.saturating_add(met.settle_ns) >= at_ns.max(deposed_ns)
        };
        let is_hit = |node: &Node| {
            met.disturbances.iter().filter(lasts).any(|one| one.nodes.is_empty() || one.nodes.contains(node))
        };
        let servers_hit = met.ensemble.iter().filter(|server| is_hit(server)).count();
        at_ns <= deposed_ns + met.settle_ns
            || is_hit(machine)
            || !met.ensemble.is_empty() && 2 * servers_hit >= met.ensemble.len()
    })
}

/// No record so young lies before what was found.
fn first<'s>(
    findings: &mut Findings,
    history: &KafkaHistory,
    op: OpId,
    operation: &KafkaOp,
    mut young: impl Iterator<Item = &'s Sighting>,
) {
    let Some(Reply::OffsetFound { offset: found }) = operation.reply() else { return };
    let log_start = history.log_start_at(operation.call.partition(), operation.ended_ns());
    // What lies below the offset that was found was committed when that was.
    let was_there =
        |seen: &&Sighting| seen.offset >= log_start && (found.is_some() || seen.time_ns < operation.invoked_ns);
    let missed = young.find(was_there).filter(|seen| found.is_none_or(|found| seen.offset < found));
    findings.check(missed.is_none(), operation.ended_ns(), [u64::from(op)], || {
        let what = found.map_or("nothing".to_owned(), |found| format!("offset {found}"));
        let missed = missed.map_or(0, |seen| seen.offset);
        format!("{} found {what}, although the record at offset {missed} is so young", describe(history, op))
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wyrdlog::base::ids::TopicPartition;

    use super::super::broker_refusal;
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::Outcome;
    use crate::history::kafka::Expected;

    /// Five records, a second apart, all read before the lookup.
    fn lookup(timestamp_ms: i64, offset: Option<i64>, edit: impl Fn(&mut KafkaHistory)) -> Findings {
        lookup_in(ClusterHistory::default(), timestamp_ms, offset, edit)
    }

    fn lookup_in(
        met: ClusterHistory,
        timestamp_ms: i64,
        offset: Option<i64>,
        edit: impl Fn(&mut KafkaHistory),
    ) -> Findings {
        let mut script = Script::new();
        let all: Vec<(i64, u64)> = (0..5).map(|at| (at, 100 + at as u64)).collect();
        for (at, value) in &all {
            script.history.timestamps.insert(*value, 1_000 * (at + 1));
        }
        script.poll(1, 0, false, &all);
        let op = script.invoke(1, Call::OffsetForTime { partition: 0, timestamp_ms });
        script.history.complete(op, 1_000_000, Outcome::Ok(Reply::OffsetFound { offset }));
        edit(&mut script.history);
        check(&met, &script.history)
    }

    #[test]
    fn the_first_record_that_is_so_young_is_right() {
        for (timestamp_ms, offset) in
            [(0, Some(0)), (1_000, Some(0)), (1_001, Some(1)), (5_000, Some(4)), (5_001, None)]
        {
            assert!(lookup(timestamp_ms, offset, |_| {}).passed(), "{timestamp_ms}");
        }
        assert!(lookup(5_001, Some(5), |_| {}).passed(), "one that nobody has seen yet");
    }

    #[test]
    fn an_older_record_a_later_one_and_none_are_rejected() {
        for (timestamp_ms, offset) in [(1_001, Some(0)), (1_000, Some(1)), (5_000, None), (5_000, Some(5))] {
            assert_eq!(lookup(timestamp_ms, offset, |_| {}).violated, 1, "{timestamp_ms}");
        }
    }

    #[test]
    fn a_leader_that_may_not_know_that_it_is_none_overlooks_what_its_successor_has() {
        let deposed = |disturbed: &[u16]| {
            let mut met = broker_refusal::examples::met();
            met.settle_ns = 10;
            let partition = TopicPartition::new("t", 0);
            (met.states, met.disturbances) = (BTreeMap::new(), Vec::new());
            met.commit(1, &partition, &broker_refusal::examples::state(0, 1, &[1, 2, 3]));
            met.commit(2, &partition, &broker_refusal::examples::state(1, 2, &[2, 3]));
            met.ensemble = vec![Node(10), Node(11), Node(12)];
            let nodes = disturbed.iter().copied().map(Node).collect();
            met.disturbances.push(Disturbance { from_ns: 1, to_ns: 2_000_000, nodes });
            lookup_in(met, 5_000, None, |history| history.partitions[0] = TopicPartition::new("t", 0)).violated
        };
        assert_eq!([deposed(&[1]), deposed(&[2]), deposed(&[3])], [0, 1, 1]);
        assert_eq!([deposed(&[10]), deposed(&[11, 12])], [1, 0], "nobody can tell it without a majority");
    }

    #[test]
    fn what_retention_may_have_removed_what_is_lost_and_compressed_batches_are_excused() {
        let start = |history: &mut KafkaHistory, start| {
            history.expected.insert(0, Expected { retained: vec![(5, start)], ..Expected::default() });
        };
        assert!(lookup(1_000, Some(2), |history| start(history, 2)).passed());
        assert_eq!(lookup(1_000, Some(3), |history| start(history, 2)).violated, 1);
        let lost = Expected { beyond_since_ns: Some(0), ..Expected::default() };
        assert_eq!(lookup(1_000, None, |history| drop(history.expected.insert(0, lost.clone()))).evaluations, 0);
        assert!(lookup(2_001, Some(0), |history| history.is_compressed = true).passed());
        assert_eq!(lookup(2_001, Some(3), |history| history.is_compressed = true).violated, 1);
    }
}
