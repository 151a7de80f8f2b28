//! *nothing_garbage*, seen from outside: every polled value was sent, to that partition, and its
//! send was invoked before the poll was answered.

use super::sightings::{Sighting, Sightings, describe};
use crate::history::kafka::KafkaHistory;
use crate::verdict::{Findings, Property};

/// Looks for the send of each polled value.
#[must_use]
pub fn check(history: &KafkaHistory, seen: &Sightings) -> Findings {
    let mut findings = Findings::new(Property::NothingGarbage);
    for one in seen.by_offset.iter().filter(|one| one.polled) {
        let holds = seen.sends_of(one.value).any(|op| explains(history, op, one));
        findings.check(holds, one.time_ns, [u64::from(one.op)], || {
            format!(
                "{}@{} holds {}, which nobody had sent there by then; read by {}",
                history.name(one.partition),
                one.offset,
                one.value,
                describe(history, one.op)
            )
        });
    }
    findings
}

fn explains(history: &KafkaHistory, op: u32, one: &Sighting) -> bool {
    let send = &history.operations[op as usize];
    send.call.partition() == one.partition && send.invoked_ns <= one.time_ns
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::Outcome;

    #[test]
    fn a_value_that_nobody_sent_is_rejected() {
        let mut script = Script::new();
        script.acked(10, 0);
        script.poll(1, 0, false, &[(0, 10), (1, 77)]);
        assert_eq!(script.judge(check).violated, 1);
    }

    #[test]
    fn a_value_that_was_read_before_it_was_sent_is_rejected() {
        let mut script = Script::new();
        script.poll(1, 0, false, &[(0, 10)]);
        script.acked(10, 0);
        assert_eq!(script.judge(check).violated, 1);
    }

    #[test]
    fn a_value_whose_send_is_still_open_is_accepted() {
        let mut script = Script::new();
        script.sent(-1, 10, Some(1), Outcome::Unknown);
        script.poll(1, 0, false, &[(0, 10)]);
        assert!(script.judge(check).passed());
    }
}
