//! *write-cycle*: a cycle of a partition's offsets (ww) with real time. If a value was known to
//! be committed before another's send was invoked, its offset is lower.
//!
//! This is G0 with real-time edges as single sends can form it. Cycles through transactions (G0,
//! G1c over several keys) come with transactions.
//!
//! False positive avoided: only proven offsets count (see [`super::sightings`]); a retry's second
//! copy lies at a higher offset than its first and was invoked before both.

use super::sightings::{Sighting, Sightings, describe};
use crate::history::OpId;
use crate::history::kafka::{KafkaHistory, PartitionIndex};
use crate::verdict::{Findings, Property};

/// Sweeps each partition upwards, remembering the latest invocation so far.
#[must_use]
pub fn check(history: &KafkaHistory, seen: &Sightings) -> Findings {
    let mut findings = Findings::new(Property::WriteCycle);
    for partition in 0..history.partitions.len() as PartitionIndex {
        let mut latest: Option<(u64, OpId, i64)> = None;
        for one in seen.of_partition(partition) {
            if let Some((invoked_ns, op, below)) = latest {
                let involved = [u64::from(one.op), u64::from(op)];
                findings.check(one.time_ns >= invoked_ns, one.time_ns, involved, || evidence(history, one, below, op));
            }
            let invoked = seen.sends_of(one.value).map(|op| (history.operations[op as usize].invoked_ns, op)).min();
            latest = latest.max(invoked.map(|(invoked_ns, op)| (invoked_ns, op, one.offset)));
        }
    }
    findings
}

fn evidence(history: &KafkaHistory, one: &Sighting, below: i64, op: OpId) -> String {
    format!(
        "{}@{} held {} ({}) before the send was invoked that is below it, at offset {below}: {}",
        history.name(one.partition),
        one.offset,
        one.value,
        describe(history, one.op),
        describe(history, op)
    )
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::Outcome;

    #[test]
    fn a_later_send_below_a_committed_offset_is_rejected() {
        let mut script = Script::new();
        script.acked(10, 5);
        script.acked(11, 4);
        assert_eq!(script.judge(check).violated, 1);
    }

    #[test]
    fn concurrent_sends_may_take_effect_in_either_order() {
        let mut script = Script::new();
        script.sent(-1, 10, None, Outcome::Unknown);
        script.sent(-1, 11, None, Outcome::Unknown);
        script.poll(1, 0, false, &[(0, 11), (1, 10)]);
        assert!(script.judge(check).passed());
    }
}
