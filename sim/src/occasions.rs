//! What must have happened at all before a property can be evaluated.
//!
//! A client that nobody drew asks for nothing, and a seed in which there was no occasion says nothing about whether
//! the checker looks. Occasions are what was asked for, never what the product made of it.

use std::collections::BTreeMap;

use crate::history::coordinator::CoordinatorHistory;
use crate::history::kafka::{Call, KafkaHistory};
use crate::verdict::Property;

/// Which occasions there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occasions {
    /// A later life of a broker found records in a log.
    pub log_opened_again: bool,
    /// A partition's leader changed.
    pub leader_changed: bool,
    /// A partition's state changed.
    pub partition_changed: bool,
    /// Clients were at work that know every answer, and what they were answered could be judged.
    pub answers_known: bool,
    /// Something was sent with acks=all.
    pub sent_to_all: bool,
    /// An idempotent producer sent something.
    pub sent_once: bool,
    /// An idempotent producer sent a partition one batch after another.
    pub sent_in_order: bool,
    /// Somebody asked for a register of the coordinator.
    pub registers_asked: bool,
}

impl Occasions {
    /// Adds what clients asked for. A record that the end of the run cut short was not asked for.
    pub fn take_history(&mut self, log: &KafkaHistory, registers: &CoordinatorHistory) {
        let mut first = BTreeMap::new();
        for operation in &log.operations {
            let (Call::Send { partition, acks, idempotent, .. }, Some(completed_ns)) =
                (operation.call, operation.completed_ns)
            else {
                continue;
            };
            self.sent_to_all |= acks == -1;
            let Some(producer) = idempotent else { continue };
            self.sent_once = true;
            // The records of a batch end in one instant.
            self.sent_in_order |= *first.entry((producer, partition)).or_insert(completed_ns) != completed_ns;
        }
        self.registers_asked |= registers.operations.iter().any(|operation| operation.completed_ns.is_some());
    }

    /// Whether there was occasion to evaluate `property`.
    #[must_use]
    pub fn allow(self, property: Property) -> bool {
        match property {
            Property::RecoveredPrefix => self.log_opened_again,
            Property::LeaderCompleteness => self.leader_changed,
            Property::IsrCompleteness => self.partition_changed,
            Property::AnswersByProtocol => self.answers_known,
            Property::CommittedSurvives => self.sent_to_all,
            Property::Duplicate => self.sent_once,
            Property::IdempotentOrder | Property::NonmonotonicSend => self.sent_in_order,
            Property::Linearizability | Property::QuorumHeard | Property::SnapshotRead | Property::SessionOrder => {
                self.registers_asked
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outcome;
    use crate::history::kafka::Reply;

    #[test]
    fn without_a_client_that_asks_there_is_no_occasion() {
        let mut occasions = Occasions::default();
        occasions.take_history(&KafkaHistory::default(), &CoordinatorHistory::default());
        for property in [Property::CommittedSurvives, Property::Duplicate, Property::Linearizability] {
            assert!(!occasions.allow(property), "{property}");
        }
        assert!(occasions.allow(Property::HighWatermarkSafety));
    }

    #[test]
    fn an_order_takes_two_batches_of_one_producer_to_one_partition() {
        let mut log = KafkaHistory::default();
        let mut send = |partition, idempotent, completed_ns| {
            let call = Call::Send { partition, value: completed_ns, acks: -1, idempotent };
            let op = log.invoke(0, 0, call);
            log.complete(op, completed_ns, Outcome::Ok(Reply::Sent { offset: None }));
            let mut occasions = Occasions::default();
            occasions.take_history(&log, &CoordinatorHistory::default());
            (occasions.sent_once, occasions.sent_in_order)
        };
        assert_eq!(send(0, None, 1), (false, false));
        assert_eq!(send(0, Some(1), 2), (true, false));
        assert_eq!(send(0, Some(1), 2), (true, false), "one batch");
        assert_eq!(send(1, Some(1), 3), (true, false), "another partition");
        assert_eq!(send(0, Some(2), 4), (true, false), "another producer");
        assert_eq!(send(0, Some(1), 5), (true, true));
    }
}
