//! Black-box checkers: what the clients' history alone proves, at the end of a run.
//!
//! One file per property; `README.md` beside this file is their table. Each checker is a function
//! from a history to [`Findings`]. A sweep runs [`check_kafka`] and [`check_coordinator`].
//!
//! Transactions are not judged yet: G0 and G1c between transactions, precommitted reads and
//! exactly-once arrive with them. The `write-cycle` checker covers the one cycle that single
//! sends can form, offsets against real time.

pub mod aborted_read;
pub mod asked_in_vain;
pub mod availability;
pub mod bounded_effort;
pub mod broker_refusal;
pub mod calm;
pub mod clean_stops;
pub mod committed;
pub mod duplicate;
pub mod failover;
pub mod inconsistent_offsets;
pub mod lands_where_sent;
pub mod linearizability;
pub mod lost_write;
pub mod meddling;
pub mod nonmonotonic_send;
pub mod noted_names;
pub mod offset_for_time;
pub mod orderly;
pub mod phantom_read;
pub mod poll_order;
pub mod protocol;
pub mod quorum_heard;
pub mod replay_equals_live;
pub mod restarts;
pub mod right_refusal;
pub mod session_length;
pub mod session_order;
pub mod session_wire;
pub mod sightings;
pub mod snapshot_read;
pub mod steady_leaders;
pub mod subtrees;
pub mod topics;
pub mod topics_served;
pub mod unexpected_reset;
pub mod write_cycle;
pub mod znodes;

use crate::history::cluster::ClusterHistory;
use crate::history::coordinator::CoordinatorHistory;
use crate::history::kafka::KafkaHistory;
use crate::verdict::Findings;
use sightings::Sightings;

/// Every checker of the log's history.
#[must_use]
pub fn check_kafka(history: &KafkaHistory) -> Vec<Findings> {
    let seen = Sightings::of(history);
    // Durability is promised partition by partition.
    let promised = seen.promised(history);
    vec![
        inconsistent_offsets::check(history, &promised),
        duplicate::check(history, &promised),
        lost_write::check_lost(history, &promised),
        lost_write::check_unseen(history, &promised),
        aborted_read::check(history, &seen),
        lands_where_sent::check(history, &seen),
        phantom_read::check(history, &seen),
        poll_order::check_skips(history, &seen),
        poll_order::check_monotonic(history),
        nonmonotonic_send::check(history, &promised),
        unexpected_reset::check(history),
        write_cycle::check(history, &promised),
    ]
}

/// Every checker of what clients met while faults did what they did.
#[must_use]
pub fn check_met(met: &ClusterHistory, log: &KafkaHistory, registers: &CoordinatorHistory) -> Vec<Findings> {
    let of_clients = calm::check(met, log, registers);
    let of_processes = orderly::check(met);
    let of_requests = [failover::check(met, log), broker_refusal::check(met, log), offset_for_time::check(met, log)];
    let of_effort = [asked_in_vain::check(met, log), steady_leaders::check(met, log)];
    [of_clients].into_iter().chain(of_processes).chain(of_requests).chain(of_effort).collect()
}

/// Every checker of the coordinator's history. `committed` is the state machine's own record.
#[must_use]
pub fn check_coordinator(history: &CoordinatorHistory, committed: &committed::Committed) -> Vec<Findings> {
    vec![
        linearizability::check(history, committed, linearizability::STEPS_MAX),
        snapshot_read::check(history, committed),
        session_order::check(history),
    ]
}
