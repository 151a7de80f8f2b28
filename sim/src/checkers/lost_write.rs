//! *lost-write*: a value provably committed, below the highest offset read, never polled.
//! *unseen*: acknowledged with acks=all, above the log start, never polled by the end.
//!
//! Where there was a final phase, which reads every partition from its log start to its end, only what
//! it returned counts as polled, and a partition that it could not read is unseen as a whole. So a value
//! which was once read and then vanished is lost too. Together the two cover every committed value: below the highest offset read it is lost,
//! at or past it, it is unseen.
//!
//! False positives avoided: without a final read of the partition a value counts as passed over
//! only if one poll started at or below its offset and returned something past it; values below
//! the final log start were removed by retention; acks=1 proves nothing.

use super::sightings::{Sighting, Sightings, describe};
use crate::history::kafka::{Call, KafkaHistory, PartitionIndex};
use crate::verdict::{Findings, Property};

/// Judges lost writes.
#[must_use]
pub fn check_lost(history: &KafkaHistory, seen: &Sightings) -> Findings {
    judge(history, seen, Property::LostWrite)
}

/// Judges unseen writes. Says nothing about partitions that no final poll read.
#[must_use]
pub fn check_unseen(history: &KafkaHistory, seen: &Sightings) -> Findings {
    judge(history, seen, Property::Unseen)
}

fn judge(history: &KafkaHistory, seen: &Sightings, property: Property) -> Findings {
    let mut findings = Findings::new(property);
    for partition in 0..history.partitions.len() as PartitionIndex {
        let read = Read::of(history, partition);
        let committed = seen.of_partition(partition).iter().filter(|one| one.offset >= history.log_start(partition));
        for one in committed {
            let lost_if_missing = read.passed_over(one.offset);
            let applies =
                if property == Property::LostWrite { lost_if_missing } else { read.is_final && !lost_if_missing };
            if applies {
                let holds = read.returned(one);
                findings.check(holds, one.time_ns, [u64::from(one.op)], || evidence(history, one, &read));
            }
        }
    }
    findings
}

fn evidence(history: &KafkaHistory, one: &Sighting, read: &Read) -> String {
    format!(
        "value {} was committed at {}@{} ({}), and {} never returned it; the highest offset read is {}",
        one.value,
        history.name(one.partition),
        one.offset,
        describe(history, one.op),
        if read.is_final { "the final read" } else { "any poll" },
        read.highest.map_or("none".to_owned(), |offset| offset.to_string()),
    )
}

/// What was read of one partition.
struct Read {
    /// Whether the final phase polled it.
    is_final: bool,
    /// The highest offset that a poll returned.
    highest: Option<i64>,
    /// (offset, value) that were returned, sorted.
    records: Vec<(i64, u64)>,
    /// For each poll that returned something: from where to where it read; sorted.
    spans: Vec<(i64, i64)>,
}

impl Read {
    fn of(history: &KafkaHistory, partition: PartitionIndex) -> Self {
        let polls = || {
            history.operations.iter().filter_map(|operation| match operation.call {
                Call::Poll { partition: of, from, last_phase } if of == partition => {
                    operation.reply().map(|_| (from, last_phase, history.polled(operation)))
                }
                _ => None,
            })
        };
        let is_final = history.has_final_reads || polls().any(|(_, last_phase, _)| last_phase);
        let mut read = Read { is_final, highest: None, records: Vec::new(), spans: Vec::new() };
        for (from, _, records) in polls().filter(|(_, last_phase, _)| *last_phase || !is_final) {
            let Some(last) = records.iter().map(|(offset, _)| *offset).max() else { continue };
            read.highest = read.highest.max(Some(last));
            read.records.extend_from_slice(records);
            read.spans.push((from, last));
        }
        read.records.sort_unstable();
        read.spans.sort_unstable();
        for at in 1..read.spans.len() {
            // Each span's end becomes the furthest end of those that start no later.
            read.spans[at].1 = read.spans[at].1.max(read.spans[at - 1].1);
        }
        read
    }

    /// Whether a reader went past `offset`, so that what was there should have been returned.
    fn passed_over(&self, offset: i64) -> bool {
        if self.is_final {
            return self.highest.is_some_and(|highest| offset < highest);
        }
        let started = self.spans.partition_point(|(from, _)| *from <= offset);
        started > 0 && self.spans[started - 1].1 > offset
    }

    fn returned(&self, one: &Sighting) -> bool {
        self.records.binary_search(&(one.offset, one.value)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::Outcome;
    use crate::history::kafka::Expected;

    #[test]
    fn a_committed_value_that_the_final_read_passed_over_is_lost() {
        let mut script = Script::new();
        script.acked(10, 0);
        script.acked(11, 1);
        script.poll(9, 0, true, &[(1, 11)]);
        assert_eq!(script.judge(check_lost).violated, 1);
        assert_eq!(script.judge(check_unseen).violated, 0);
    }

    #[test]
    fn a_value_that_was_read_once_and_then_vanished_is_lost() {
        let mut script = Script::new();
        script.sent(-1, 10, Some(1), Outcome::Unknown);
        script.poll(1, 0, false, &[(0, 10)]);
        script.poll(9, 0, true, &[(1, 11)]);
        assert_eq!(script.judge(check_lost).violated, 1);
    }

    #[test]
    fn an_acknowledged_value_past_the_final_read_is_unseen() {
        let mut script = Script::new();
        script.acked(10, 0);
        script.acked(11, 1);
        script.poll(9, 0, true, &[(0, 10)]);
        let findings = script.judge(check_unseen);
        assert_eq!(findings.violated, 1);
        assert!(findings.violations[0].evidence.contains("value 11"), "{:?}", findings.violations);
        assert_eq!(script.judge(check_lost).violated, 0);
    }

    #[test]
    fn a_partition_that_the_final_phase_could_not_read_is_unseen() {
        let mut script = Script::new();
        script.acked(10, 0);
        script.poll(1, 0, false, &[(0, 10)]);
        script.history.has_final_reads = true;
        assert_eq!(script.judge(check_unseen).violated, 1);
    }

    #[test]
    fn a_final_read_that_returns_nothing_leaves_all_unseen() {
        let mut script = Script::new();
        script.acked(10, 0);
        script.poll(9, 0, true, &[]);
        assert_eq!(script.judge(check_unseen).violated, 1);
    }

    #[test]
    fn complete_reads_pass_and_unknown_failed_acks_1_and_retained_values_may_be_missing() {
        let mut script = Script::new();
        script.acked(9, 0); // below the log start at the end
        script.acked(10, 1);
        script.sent(-1, 12, Some(1), Outcome::Unknown);
        script.sent(-1, 13, Some(1), Outcome::Failed);
        script.sent(1, 14, None, Outcome::Ok(2));
        script.acked(15, 4);
        script.history.expected.insert(0, Expected { retained: vec![(1, 1)], ..Expected::default() });
        script.poll(9, 1, true, &[(1, 10), (4, 15)]);
        assert!(script.judge(check_lost).passed());
        assert!(script.judge(check_unseen).passed());
    }

    #[test]
    fn without_a_final_read_only_a_poll_that_started_below_passes_over() {
        let mut script = Script::new();
        script.acked(10, 0);
        script.acked(11, 1);
        script.poll(1, 1, false, &[(1, 11)]);
        assert_eq!(script.judge(check_lost).violated, 0);
        script.poll(2, 0, false, &[(1, 11)]);
        assert_eq!(script.judge(check_lost).violated, 1);
    }
}
