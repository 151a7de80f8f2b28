//! *poll-skip* and *nonmonotonic-poll*, within one poll and across a client's polls.
//!
//! False positives avoided: offsets may be missing (control records, compaction, failed
//! appends), so a skip needs a value that is known to be in the gap; a client's position starts
//! afresh at each assignment, rebalance, seek or reset; what retention has removed cannot be skipped.

use std::collections::BTreeMap;

use super::sightings::{Sightings, describe};
use crate::history::kafka::{Call, KafkaHistory, KafkaOp, PartitionIndex};
use crate::history::{Client, OpId};
use crate::verdict::{Findings, Property};

/// One step of a client's reading: from the position before to the record that came.
struct Step {
    op: OpId,
    time_ns: u64,
    client: Client,
    partition: PartitionIndex,
    /// The offset that was read before, or the position less one where nothing was.
    before: i64,
    offset: i64,
}

/// Judges skips.
#[must_use]
pub fn check_skips(history: &KafkaHistory, seen: &Sightings) -> Findings {
    let mut findings = Findings::new(Property::PollSkip);
    each_step(history, |step| {
        let floor = step.before.max(history.log_start_at(step.partition, step.time_ns) - 1);
        let skipped = seen.between(step.partition, floor, step.offset);
        findings.check(skipped.is_none(), step.time_ns, [u64::from(step.op)], || {
            let what = skipped.map(|one| format!("{} at offset {}", one.value, one.offset)).unwrap_or_default();
            let name = history.name(step.partition);
            let (client, before, offset) = (step.client, step.before, step.offset);
            let by = describe(history, step.op);
            format!("client {client} went from {name}@{before} to {name}@{offset} and skipped {what}; {by}")
        });
    });
    findings
}

/// Judges steps back.
#[must_use]
pub fn check_monotonic(history: &KafkaHistory) -> Findings {
    let mut findings = Findings::new(Property::NonmonotonicPoll);
    each_step(history, |step| {
        findings.check(step.offset > step.before, step.time_ns, [u64::from(step.op)], || {
            let name = history.name(step.partition);
            let (client, before, offset) = (step.client, step.before, step.offset);
            let by = describe(history, step.op);
            format!("client {client} went back from {name}@{before} to {name}@{offset}; {by}")
        });
    });
    findings
}

fn each_step(history: &KafkaHistory, mut visit: impl FnMut(&Step)) {
    let mut positions: BTreeMap<(Client, PartitionIndex), i64> = BTreeMap::new();
    for (op, operation) in (0..).zip(&history.operations) {
        let partition = operation.call.partition();
        let position = (operation.client, partition);
        match operation.call {
            Call::Send { .. } | Call::OffsetForTime { .. } | Call::Reset { .. } => {}
            // The beginning is where retention says, not where the first record came from.
            Call::Reposition { .. } => drop(positions.insert(position, -1)),
            Call::Poll { from, .. } => {
                let before = positions.get(&position).copied().unwrap_or(from - 1);
                if let Some(last) = steps_of(history, op, operation, before, &mut visit) {
                    positions.insert(position, last);
                }
            }
        }
    }
}

fn steps_of(
    history: &KafkaHistory,
    op: OpId,
    operation: &KafkaOp,
    mut before: i64,
    visit: &mut impl FnMut(&Step),
) -> Option<i64> {
    let records = history.polled(operation);
    for &(offset, _) in records {
        let partition = operation.call.partition();
        visit(&Step { op, time_ns: operation.ended_ns(), client: operation.client, partition, before, offset });
        before = offset;
    }
    records.last().map(|(offset, _)| *offset)
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::kafka::Expected;

    fn three_values() -> Script {
        let mut script = Script::new();
        for value in 0..3 {
            script.acked(value + 10, value as i64);
        }
        script
    }

    #[test]
    fn skips_within_a_poll_and_across_polls_are_rejected() {
        let mut script = three_values();
        script.poll(1, 0, false, &[(0, 10), (2, 12)]);
        assert_eq!(script.judge(check_skips).violated, 1);

        let mut script = three_values();
        script.poll(1, 0, false, &[(0, 10)]);
        script.poll(1, 2, false, &[(2, 12)]);
        assert_eq!(script.judge(check_skips).violated, 1);
    }

    #[test]
    fn a_skip_from_the_position_to_the_first_record_is_rejected() {
        let mut script = three_values();
        script.poll(1, 0, false, &[(1, 11)]);
        assert_eq!(script.judge(check_skips).violated, 1);
    }

    #[test]
    fn going_back_within_a_poll_and_across_polls_is_rejected() {
        let mut script = three_values();
        script.poll(1, 0, false, &[(1, 11), (0, 10)]);
        assert_eq!(check_monotonic(&script.history).violated, 1);

        let mut script = three_values();
        script.poll(1, 0, false, &[(0, 10), (1, 11)]);
        script.poll(1, 1, false, &[(1, 11)]);
        assert_eq!(check_monotonic(&script.history).violated, 1);
    }

    #[test]
    fn gaps_without_a_value_seeks_and_retention_are_accepted() {
        let mut script = three_values();
        script.acked(14, 4); // offset 3 was never a client's
        script.poll(1, 2, false, &[(2, 12), (4, 14)]);
        script.seek(1);
        script.poll(1, 0, false, &[(1, 11), (2, 12)]); // offset 0 went with retention
        script.history.expected.insert(0, Expected { retained: vec![(0, 1)], ..Expected::default() });
        assert!(script.judge(check_skips).passed());
        assert!(check_monotonic(&script.history).passed());
    }
}
