//! *duplicate*: one value at two offsets, for idempotent producers.
//!
//! False positive avoided: a producer without idempotence may write a value twice by retrying,
//! and nothing is promised to it.

use super::sightings::{Sighting, Sightings, describe};
use crate::history::kafka::{Call, KafkaHistory};
use crate::verdict::{Findings, Property};

/// Compares the offsets of each value.
#[must_use]
pub fn check(history: &KafkaHistory, seen: &Sightings) -> Findings {
    let mut findings = Findings::new(Property::Duplicate);
    let mut by_value: Vec<&Sighting> =
        seen.by_offset.iter().filter(|one| idempotent(history, seen, one.value)).collect();
    by_value.sort_by_key(|one| (one.value, one.partition, one.offset));
    findings.evaluations = by_value.len().min(1) as u64;
    for pair in by_value.windows(2) {
        let [one, other] = pair else { continue };
        let involved = [u64::from(one.op), u64::from(other.op)];
        findings.check(one.value != other.value, one.time_ns.max(other.time_ns), involved, || {
            format!(
                "value {} is at {}@{} in {}, and again at {}@{} in {}",
                one.value,
                history.name(one.partition),
                one.offset,
                describe(history, one.op),
                history.name(other.partition),
                other.offset,
                describe(history, other.op)
            )
        });
    }
    findings
}

fn idempotent(history: &KafkaHistory, seen: &Sightings, value: u64) -> bool {
    seen.sends_of(value)
        .any(|op| matches!(history.operations[op as usize].call, Call::Send { idempotent: Some(_), .. }))
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::Outcome;

    #[test]
    fn an_idempotent_value_at_two_offsets_is_rejected() {
        let mut script = Script::new();
        script.sent(-1, 10, Some(1), Outcome::Unknown);
        script.poll(1, 0, false, &[(0, 10), (1, 10)]);
        assert_eq!(script.judge(check).violated, 1);
    }

    #[test]
    fn a_retry_without_idempotence_may_write_twice() {
        let mut script = Script::new();
        script.sent(-1, 10, None, Outcome::Unknown);
        script.acked(11, 2);
        script.poll(1, 0, false, &[(0, 10), (1, 10), (2, 11)]);
        assert!(script.judge(check).passed());
    }
}
