//! *inconsistent-offsets*: one (partition, offset) maps to two values, among polled values and
//! acks=all acknowledgements.
//!
//! False positive avoided: an offset that acks=1 returned may be reused after a failover, so such
//! an acknowledgement is no sighting.

use super::sightings::{Sightings, describe};
use crate::history::kafka::KafkaHistory;
use crate::verdict::{Findings, Property};

/// Compares neighbours at one offset.
#[must_use]
pub fn check(history: &KafkaHistory, seen: &Sightings) -> Findings {
    let mut findings = Findings::new(Property::InconsistentOffsets);
    findings.evaluations = seen.by_offset.len().min(1) as u64;
    for pair in seen.by_offset.windows(2) {
        let [one, other] = pair else { continue };
        let differ = (one.partition, one.offset) == (other.partition, other.offset);
        let involved = [u64::from(one.op), u64::from(other.op)];
        findings.check(!differ, one.time_ns.max(other.time_ns), involved, || {
            format!(
                "{}@{} is {} in {}, and {} in {}",
                history.name(one.partition),
                one.offset,
                one.value,
                describe(history, one.op),
                other.value,
                describe(history, other.op)
            )
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::Outcome;

    #[test]
    fn two_values_at_one_offset_are_rejected() {
        let mut script = Script::new();
        script.acked(10, 5);
        script.poll(1, 5, false, &[(5, 11)]);
        let findings = script.judge(check);
        assert_eq!(findings.violated, 1);
        assert!(findings.violations[0].evidence.contains("t-0@5"), "{:?}", findings.violations);
    }

    #[test]
    fn one_value_at_one_offset_is_accepted_however_often_it_is_read() {
        let mut script = Script::new();
        script.acked(10, 5);
        script.poll(1, 5, false, &[(5, 10), (6, 11)]);
        script.poll(2, 5, false, &[(5, 10), (6, 11)]);
        assert!(script.judge(check).passed());
    }

    #[test]
    fn an_offset_that_acks_1_returned_may_be_reused() {
        let mut script = Script::new();
        script.sent(1, 10, None, Outcome::Ok(5));
        script.poll(1, 5, false, &[(5, 11)]);
        assert!(script.judge(check).passed());
    }
}
