//! *availability* during faults: a partition whose leader's process ends, and that keeps another
//! member of its in-sync or eligible set, is led anew within the session time-out and a bound.
//!
//! It is asked for where nothing else is in the way, by the faults' own facts: from a while before the
//! end to the bound, no fault touches another server, be it of the ensemble or of the brokers; whether
//! the one that ended is held down or started again makes no difference, and nor does what happens to
//! clients. Nothing strikes it anew, for it may be the next controller (`swarm` seed 9: its links were
//! slow then). The controller may be on the machine that ended: its successor is elected
//! within the same session time-out.

use crate::history::cluster::{ClusterHistory, Disturbance};
use crate::history::kafka::KafkaHistory;
use crate::observed::{Node, seconds};
use crate::verdict::{Findings, Property};

/// A broker that restarted, or a controller that was elected, so long before is at work again.
const BEFORE_NS: u64 = 3_000_000_000;
/// What the new leader may take beside the session time-out: the expiry is found within a tick and
/// committed, a controller is elected and reads the tree, and writes.
pub const BOUND_NS: u64 = 3_000_000_000;

/// The ends of leaders that have to be followed by an election: when, which partition of the history,
/// and by when.
#[must_use]
pub fn due(met: &ClusterHistory, log: &KafkaHistory) -> Vec<(u64, u16, u64)> {
    let mut due = Vec::new();
    for (ended_ns, node) in &met.ended {
        let until_ns = ended_ns + met.session_timeout_ns + BOUND_NS;
        if until_ns > met.load_ends_ns || !is_alone(met, *node, *ended_ns, until_ns) {
            continue;
        }
        let Some((broker, _)) = met.brokers.iter().find(|(_, machine)| *machine == node) else { continue };
        for (index, name) in (0..).zip(&log.partitions) {
            let Some((_, state)) = met.states_during(name, *ended_ns, *ended_ns).last() else { continue };
            let has_other = state.in_sync.iter().chain(&state.eligible_leaders).any(|member| member.broker != *broker);
            if state.leader == Some(*broker) && has_other && !log.is_beyond(index) {
                due.push((*ended_ns, index, until_ns));
            }
        }
    }
    due
}

/// Whether whatever disturbed from then to then hit nobody but clients and this machine, and that not
/// after it ended.
fn is_alone(met: &ClusterHistory, node: Node, ended_ns: u64, until_ns: u64) -> bool {
    let from_ns = ended_ns.saturating_sub(BEFORE_NS);
    let overlaps = |one: &&Disturbance| one.from_ns <= until_ns && one.to_ns >= from_ns;
    let is_harmless = |one: &Disturbance| {
        let ends_it = one.from_ns <= ended_ns;
        one.nodes.iter().all(|hit| *hit == node && ends_it || met.clients.contains(hit))
    };
    met.disturbances.iter().filter(overlaps).all(|one| !one.nodes.is_empty() && is_harmless(one))
}

/// Asks of each end of a leader whether it was followed by an election.
#[must_use]
pub fn check(met: &ClusterHistory, log: &KafkaHistory) -> Findings {
    let mut findings = Findings::new(Property::Availability);
    for (ended_ns, index, until_ns) in due(met, log) {
        let Some(name) = log.partitions.get(usize::from(index)) else { continue };
        let mut states = met.states_during(name, ended_ns, until_ns);
        let before = states.next().map(|(_, state)| state.leader_epoch);
        let led = states.any(|(_, state)| state.leader.is_some() && Some(state.leader_epoch) > before);
        findings.check(led, until_ns, [], || {
            format!(
                "{name}, whose leader's process ended at {}, was not led anew by {}, although another replica was in sync and nothing else was disturbed",
                seconds(ended_ns),
                seconds(until_ns)
            )
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::broker_refusal::examples::{S, met, state};
    use super::*;
    use crate::history::kafka::Expected;
    use wyrdlog::base::ids::TopicPartition;

    fn log() -> KafkaHistory {
        KafkaHistory::new(vec![TopicPartition::new("t", 0)])
    }

    /// Broker 1, which leads, ends at 20 s and stays down for 10 s.
    fn ends() -> ClusterHistory {
        let mut met = met();
        met.ended.push((20 * S, Node(1)));
        met.disturbances.push(Disturbance { from_ns: 20 * S, to_ns: 30 * S, nodes: vec![Node(1)] });
        met
    }

    fn led_at(mut met: ClusterHistory, at_ns: u64, leader: i32) -> Findings {
        met.commit(at_ns, &TopicPartition::new("t", 0), &state(1, leader, &[2, 3]));
        check(&met, &log())
    }

    #[test]
    fn an_election_within_the_session_timeout_and_a_bound_is_accepted() {
        assert!(led_at(ends(), 23 * S, 2).passed());
        assert!(led_at(ends(), 23 * S, 1).passed(), "it may be back itself, in a new epoch");
    }

    #[test]
    fn no_election_or_a_late_one_is_rejected() {
        assert_eq!(check(&ends(), &log()).violated, 1);
        assert_eq!(led_at(ends(), 26 * S, 2).violated, 1);
    }

    #[test]
    fn where_something_else_is_in_the_way_nothing_is_asked() {
        for nodes in [vec![Node(2)], vec![Node(1), Node(0)], vec![]] {
            let mut met = ends();
            met.disturbances.push(Disturbance { from_ns: 24 * S, to_ns: 24 * S, nodes });
            assert_eq!(check(&met, &log()).evaluations, 0);
        }
        let mut of_client = ends();
        of_client.clients.push(Node(9));
        of_client.disturbances.push(Disturbance { from_ns: 24 * S, to_ns: 24 * S, nodes: vec![Node(9)] });
        assert_eq!(check(&of_client, &log()).violated, 1);
    }

    #[test]
    fn a_partition_that_keeps_nobody_or_is_past_the_budget_is_not_asked_for() {
        let mut alone = ends();
        alone.commit(19 * S, &TopicPartition::new("t", 0), &state(1, 1, &[1]));
        assert_eq!(check(&alone, &log()).evaluations, 0);
        let mut log = log();
        log.expected.insert(0, Expected { beyond_since_ns: Some(1), ..Expected::default() });
        assert_eq!(check(&ends(), &log).evaluations, 0);
    }
}
