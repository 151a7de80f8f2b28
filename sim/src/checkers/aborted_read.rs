//! *aborted-read* (G1a): a poll returns a write that is known to have failed.
//!
//! False positive avoided: a time-out, a disconnect and NOT_ENOUGH_REPLICAS_AFTER_APPEND are
//! unknown outcomes, and unknown writes may be read.

use super::sightings::{Sightings, describe};
use crate::history::Outcome;
use crate::history::kafka::KafkaHistory;
use crate::verdict::{Findings, Property};

/// Looks up the send of each polled value.
#[must_use]
pub fn check(history: &KafkaHistory, seen: &Sightings) -> Findings {
    let mut findings = Findings::new(Property::AbortedRead);
    for one in seen.by_offset.iter().filter(|one| one.polled) {
        let failed = seen.sends_of(one.value).find(|op| history.operations[*op as usize].outcome == Outcome::Failed);
        let involved = [u64::from(failed.unwrap_or(one.op)), u64::from(one.op)];
        findings.check(failed.is_none(), one.time_ns, involved, || {
            format!(
                "{}@{} holds {}, whose send failed: {}; read by {}",
                history.name(one.partition),
                one.offset,
                one.value,
                failed.map(|op| describe(history, op)).unwrap_or_default(),
                describe(history, one.op)
            )
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;

    #[test]
    fn a_poll_of_a_failed_write_is_rejected() {
        let mut script = Script::new();
        script.sent(-1, 10, Some(1), Outcome::Failed);
        script.poll(1, 0, false, &[(0, 10)]);
        assert_eq!(script.judge(check).violated, 1);
    }

    #[test]
    fn a_poll_of_an_unknown_write_is_accepted() {
        let mut script = Script::new();
        script.sent(-1, 10, Some(1), Outcome::Unknown);
        script.poll(1, 0, false, &[(0, 10)]);
        assert!(script.judge(check).passed());
    }
}
