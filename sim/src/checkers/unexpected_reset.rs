//! *unexpected-reset*: a consumer is told OFFSET_OUT_OF_RANGE, or that what it had read was truncated,
//! only where retention or a loss past the budget explains it.
//!
//! A consumer sits behind what it has read or at the log's beginning, so that within the budget its
//! position leaves the log only by retention, and what it had read is never cut: it was committed.

use super::sightings::describe;
use crate::history::kafka::{Call, KafkaHistory, ResetReason};
use crate::verdict::{Findings, Property};

/// Asks of each reset why.
#[must_use]
pub fn check(history: &KafkaHistory) -> Findings {
    let mut findings = Findings::new(Property::UnexpectedReset);
    for (op, operation) in (0..).zip(&history.operations) {
        match operation.call {
            Call::Reset { partition, position, reason } => {
                let log_start = history.log_start_at(partition, operation.invoked_ns);
                let retained = reason == ResetReason::OutOfRange && position < log_start;
                let explained = retained || history.is_beyond(partition);
                findings.check(explained, operation.invoked_ns, [u64::from(op)], || {
                    format!("{}; retention justifies a log start of {log_start} by then", describe(history, op))
                });
            }
            // To be allowed to go on is what could have been otherwise.
            Call::Poll { .. } => findings.evaluations += 1,
            Call::Send { .. } | Call::OffsetForTime { .. } | Call::Reposition { .. } => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::kafka::Expected;

    fn reset(position: i64, reason: ResetReason, expected: Expected) -> Findings {
        let mut script = Script::new();
        script.poll(1, 0, false, &[(0, 10), (1, 11)]);
        script.history.expected.insert(0, expected);
        script.invoke(1, Call::Reset { partition: 0, position, reason });
        check(&script.history)
    }

    #[test]
    fn a_reset_that_nothing_explains_is_rejected() {
        assert_eq!(reset(2, ResetReason::OutOfRange, Expected::default()).violated, 1);
        assert_eq!(reset(2, ResetReason::Truncated, Expected::default()).violated, 1);
        let kept = Expected { retained: vec![(0, 2)], ..Expected::default() };
        assert_eq!(reset(2, ResetReason::OutOfRange, kept.clone()).violated, 1, "the position was kept");
        assert_eq!(reset(1, ResetReason::Truncated, kept).violated, 1, "retention cuts no tail");
        let later = Expected { retained: vec![(1_000, 9)], ..Expected::default() };
        assert_eq!(reset(2, ResetReason::OutOfRange, later).violated, 1, "retention came later");
    }

    #[test]
    fn retention_and_an_acknowledged_loss_explain_one() {
        assert!(reset(2, ResetReason::OutOfRange, Expected { retained: vec![(1, 3)], ..Expected::default() }).passed());
        let lost = Expected { beyond_since_ns: Some(1), ..Expected::default() };
        assert!(reset(2, ResetReason::Truncated, lost).passed());
    }
}
