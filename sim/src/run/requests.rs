//! What counts as a request of a client: one call that got an outcome.
//!
//! A send is one batch, a poll is one however many partitions it names, an operation on the
//! coordinator is one whatever it takes on the wire. Polls that return nothing, positions that are
//! set, heartbeats and calls that the end of the run cut short do not count.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::faults::Struck;
use crate::history::coordinator::CoordinatorHistory;
use crate::history::kafka::{Call, KafkaHistory};
use crate::history::{Operation, Outcome};

/// How many requests of clients there were, by outcome and by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// That happened.
    pub ok: u64,
    /// That did not happen.
    pub failed: u64,
    /// Of which nobody knows.
    pub unknown: u64,
    /// Of all of these, those that were invoked while a fault lasted.
    pub under_fault: u64,
    /// Of those that happened, those that were invoked while a fault lasted.
    pub ok_under_fault: u64,
    /// Batches that were sent.
    pub sends: u64,
    /// Polls that returned records.
    pub polls: u64,
    /// Operations on the coordinator.
    pub coordinator: u64,
}

impl Requests {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ok + self.failed + self.unknown
    }

    /// The requests of two histories; `struck` tells when faults lasted.
    #[must_use]
    pub(super) fn of(log: &KafkaHistory, registers: &CoordinatorHistory, struck: &[Struck]) -> Requests {
        let mut requests = Requests::default();
        // The records of one batch are acknowledged, or given up, in one instant.
        let mut batches = BTreeSet::new();
        // A poll is recorded by partition, and a client polls one poll after the other.
        let mut polls = BTreeSet::new();
        for operation in &log.operations {
            let (client, invoked_ns) = (operation.client, operation.invoked_ns);
            let kind = match operation.call {
                Call::Send { partition, .. } if batches.insert((client, partition, operation.completed_ns)) => {
                    &mut requests.sends
                }
                Call::Poll { .. } if polls.insert((client, invoked_ns)) => &mut requests.polls,
                _ => continue,
            };
            *kind += u64::from(operation.completed_ns.is_some());
            requests.count(operation, struck);
        }
        for operation in &registers.operations {
            requests.coordinator += u64::from(operation.completed_ns.is_some());
            requests.count(operation, struck);
        }
        requests
    }

    fn count<C, R>(&mut self, operation: &Operation<C, R>, struck: &[Struck]) {
        if operation.completed_ns.is_none() {
            return;
        }
        let is_ok = matches!(operation.outcome, Outcome::Ok(_));
        match operation.outcome {
            Outcome::Ok(_) => self.ok += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Unknown => self.unknown += 1,
        }
        let under_fault = u64::from(struck.iter().any(|struck| struck.is_active_at(operation.invoked_ns)));
        self.under_fault += under_fault;
        self.ok_under_fault += if is_ok { under_fault } else { 0 };
    }
}
