//! *nonmonotonic-send*: an idempotent client's sends take effect out of its order.
//!
//! False positives avoided: nothing is promised without idempotence, or between two producer ids
//! of one client; sends whose offset nobody knows are left out.

use std::collections::BTreeMap;

use super::sightings::{Sighting, Sightings, describe};
use crate::history::kafka::{Call, KafkaHistory, PartitionIndex};
use crate::history::{Client, OpId};
use crate::verdict::{Findings, Property};

/// Follows each producer's sends in its order and compares their offsets.
#[must_use]
pub fn check(history: &KafkaHistory, seen: &Sightings) -> Findings {
    let mut findings = Findings::new(Property::NonmonotonicSend);
    let offsets = first_offsets(seen);
    let mut latest: BTreeMap<(Client, u32, PartitionIndex), (i64, OpId)> = BTreeMap::new();
    for (op, operation) in (0..).zip(&history.operations) {
        let Call::Send { partition, value, idempotent: Some(producer), .. } = operation.call else { continue };
        let Some(&(offset, time_ns)) = offsets.get(&(partition, value)) else { continue };
        let producer = (operation.client, producer, partition);
        if let Some(&(before, earlier)) = latest.get(&producer) {
            findings.check(offset > before, time_ns, [u64::from(earlier), u64::from(op)], || {
                format!(
                    "{} took effect at offset {offset}, not after offset {before} of the earlier {}",
                    describe(history, op),
                    describe(history, earlier)
                )
            });
        }
        latest.insert(producer, (offset, op));
    }
    findings
}

fn first_offsets(seen: &Sightings) -> BTreeMap<(PartitionIndex, u64), (i64, u64)> {
    let mut offsets = BTreeMap::new();
    for &Sighting { partition, offset, value, time_ns, .. } in &seen.by_offset {
        offsets.entry((partition, value)).or_insert((offset, time_ns));
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::Outcome;

    #[test]
    fn pipelined_sends_that_take_effect_in_the_wrong_order_are_rejected() {
        let mut script = Script::new();
        script.sent(-1, 10, Some(1), Outcome::Unknown);
        script.sent(-1, 11, Some(1), Outcome::Unknown);
        script.poll(1, 0, false, &[(0, 11), (1, 10)]);
        assert_eq!(script.judge(check).violated, 1);
    }

    #[test]
    fn order_within_a_producer_is_accepted_and_between_producers_nothing_is_promised() {
        let mut script = Script::new();
        script.sent(-1, 10, Some(1), Outcome::Unknown);
        script.sent(-1, 11, Some(1), Outcome::Unknown);
        script.sent(-1, 12, Some(2), Outcome::Unknown);
        script.sent(-1, 13, None, Outcome::Unknown);
        script.poll(1, 0, false, &[(0, 13), (1, 12), (2, 10), (3, 11)]);
        assert!(script.judge(check).passed());
    }
}
