//! *lands_where_sent*: a unique value is found only in the partition that it was sent to (KAFKA-19012: a
//! batch's checksum covers neither topic nor partition, so that nothing else notices).

use super::sightings::{Sightings, describe};
use crate::history::kafka::KafkaHistory;
use crate::verdict::{Findings, Property};

/// Looks up where each value that was polled or acknowledged had been sent.
#[must_use]
pub fn check(history: &KafkaHistory, seen: &Sightings) -> Findings {
    let mut findings = Findings::new(Property::LandsWhereSent);
    for one in &seen.by_offset {
        let Some(send) = seen.sends_of(one.value).next() else { continue };
        let there =
            seen.sends_of(one.value).any(|op| history.operations[op as usize].call.partition() == one.partition);
        findings.check(there, one.time_ns, [u64::from(send), u64::from(one.op)], || {
            format!(
                "value {} is at {}@{} in {}, but was sent elsewhere: {}",
                one.value,
                history.name(one.partition),
                one.offset,
                describe(history, one.op),
                describe(history, send)
            )
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::kafka::Call;
    use wyrdlog::base::ids::TopicPartition;

    #[test]
    fn a_value_in_another_partition_is_rejected() {
        let mut script = Script::new();
        script.history.partitions.push(TopicPartition::new("t", 1));
        script.acked(10, 0);
        let op = script.invoke(1, Call::Poll { partition: 1, from: 0, last_phase: false });
        let now = script.tick();
        script.history.complete_poll(op, now, [(0, 10)]);
        assert_eq!(script.judge(check).violated, 1);
    }

    #[test]
    fn a_value_where_it_was_sent_is_accepted() {
        let mut script = Script::new();
        script.acked(10, 0);
        script.poll(1, 0, false, &[(0, 10)]);
        assert!(script.judge(check).passed());
    }
}
