//! *availability* during faults: a partition whose leader's process ends, and that keeps another
//! member of its in-sync or eligible set, is led anew within the session time-out and a bound.
//!
//! It is asked for where nothing else is in the way, by the faults' own facts. Whether the one that ended
//! is held down or started again makes no difference, and nor does what happens to clients. There are
//! two cases.
//!
//! - Another broker is the controller, and goes on being it: then the ensemble and that broker are not
//!   touched from a while before the end to the bound, and nor is one member at least that can lead. What
//!   happens to other brokers makes no difference. The bound is short, for all that is left to do once the
//!   session has expired is to write the new leaders: a follower that misses the old one says so only
//!   after `replica.lag.time.max.ms`, which is longer mostly, and must not be what the controller waits for.
//! - Else no fault touches another server, be it of the ensemble or of the brokers, and nothing strikes the
//!   one that ended anew, for it may be the next controller (`swarm` seed 9: its links were slow then). A
//!   successor is elected within the same session time-out.
//!
//! A broker that is told to stop in good order hands over what it leads to others that are in sync: with a
//! controller, be it itself, within the short bound, and before its registration or its process is gone. (One that only
//! ends is followed quickly too, for it closes its session.)
//!
//! Who is the controller is the brokers' own word. It shortens the bound and excuses what happens to others; a
//! controller that does not tell of itself is held to the second case.

use crate::history::cluster::{ClusterHistory, Disturbance};
use crate::history::kafka::KafkaHistory;
use crate::observed::{Left, Node, seconds};
use crate::verdict::{Findings, Property};
use wyrdlog::base::ids::BrokerId;

/// A broker that restarted, or a controller that was elected, so long before is at work again.
const BEFORE_NS: u64 = 3_000_000_000;
/// What else strikes a broker that stops in good order, from so long before to so long after, excuses it.
pub const LEAVES_NS: u64 = 4_000_000_000;
/// What the new leader may take beside the session time-out: the expiry is found within a tick and
/// committed, a controller is elected and reads the tree, and writes.
pub const BOUND_NS: u64 = 3_000_000_000;

/// The same where the controller is another broker and stays: the expiry is found within a tick, and written.
pub const KNOWN_BOUND_NS: u64 = 1_000_000_000;

/// The ends of leaders that have to be followed by an election: when, which partition of the history,
/// and by when.
#[must_use]
pub fn due(met: &ClusterHistory, log: &KafkaHistory) -> Vec<(u64, u16, u64)> {
    let mut due = Vec::new();
    for (ended_ns, node) in &met.ended {
        let expired_ns = ended_ns + met.session_timeout_ns;
        let known_ns = expired_ns + (KNOWN_BOUND_NS + met.made_ns).min(BOUND_NS);
        let is_led = leads_on(met, *node, *ended_ns, known_ns);
        let until_ns = if is_led { known_ns } else { expired_ns + BOUND_NS };
        if until_ns > met.load_ends_ns || !is_led && !is_alone(met, *node, *ended_ns, until_ns) {
            continue;
        }
        let Some((broker, _)) = met.brokers.iter().find(|(_, machine)| *machine == node) else { continue };
        for (index, name) in (0..).zip(&log.partitions) {
            let Some((_, state)) = met.states_during(name, *ended_ns, *ended_ns).last() else { continue };
            let is_able = |other: BrokerId| {
                let machine = met.brokers.get(&other).copied();
                let is_untouched = |machine: Node| !is_touched(met, machine, *ended_ns, until_ns);
                other != *broker && (!is_led || machine.is_some_and(is_untouched))
            };
            let has_other = state.in_sync.iter().chain(&state.eligible_leaders).any(|member| is_able(member.broker));
            if state.leader == Some(*broker) && has_other && !log.is_beyond(index) {
                due.push((*ended_ns, index, until_ns));
            }
        }
    }
    due
}

/// What brokers that stop in good order have to hand over: when, which partition of the history, who, and by
/// when.
#[must_use]
pub fn handed_over(met: &ClusterHistory, log: &KafkaHistory) -> Vec<(u64, u16, BrokerId, u64)> {
    let mut due = Vec::new();
    for Left { told_ns, ended_ns, node } in &met.left {
        let bound_ns = told_ns + (KNOWN_BOUND_NS + met.made_ns).min(BOUND_NS);
        let Some((broker, _)) = met.brokers.iter().find(|(_, machine)| *machine == node) else { continue };
        let is_of_it = |one: &&(u64, BrokerId)| one.1 == *broker && one.0 >= *told_ns;
        let unregistered_ns = met.unregistered.iter().find(is_of_it).map(|(at_ns, _)| *at_ns);
        let until_ns = ended_ns.iter().chain(&unregistered_ns).fold(bound_ns, |until_ns, at_ns| until_ns.min(*at_ns));
        if bound_ns > met.load_ends_ns || !is_led(met, *node, *told_ns, until_ns) {
            continue;
        }
        for (index, name) in (0..).zip(&log.partitions) {
            let Some((_, state)) = met.states_during(name, *told_ns, *told_ns).last() else { continue };
            let is_able = |other: BrokerId| {
                let machine = met.brokers.get(&other);
                other != *broker && machine.is_some_and(|machine| !is_touched(met, *machine, *told_ns, until_ns))
            };
            let has_other = state.in_sync.iter().any(|member| is_able(member.broker));
            if state.leader == Some(*broker) && has_other && !log.is_beyond(index) {
                due.push((*told_ns, index, *broker, until_ns));
            }
        }
    }
    due
}

/// Whether a broker other than `node` is the controller from then to then, and neither it nor the ensemble is
/// touched.
fn leads_on(met: &ClusterHistory, node: Node, ended_ns: u64, until_ns: u64) -> bool {
    is_led(met, node, ended_ns, until_ns) && controller(met, until_ns).is_some_and(|(_, one)| one != node)
}

/// Who was the last to become the controller, and when.
fn controller(met: &ClusterHistory, at_ns: u64) -> Option<(u64, Node)> {
    met.controllers.iter().rfind(|(since_ns, _)| *since_ns <= at_ns).copied()
}

/// Whether somebody is the controller from then to then, and neither the ensemble is touched nor the controller
/// by anything but what `node` is told.
fn is_led(met: &ClusterHistory, node: Node, told_ns: u64, until_ns: u64) -> bool {
    let Some((since_ns, controller)) = controller(met, until_ns) else { return false };
    let in_the_way = |one: &Disturbance| one.nodes.is_empty() || one.nodes.iter().any(|hit| met.ensemble.contains(hit));
    since_ns <= told_ns.saturating_sub(BEFORE_NS)
        && (controller == node || !is_touched(met, controller, told_ns, until_ns))
        && !met.disturbances.iter().filter(|one| overlaps(one, told_ns, until_ns)).any(in_the_way)
}

fn overlaps(one: &Disturbance, ended_ns: u64, until_ns: u64) -> bool {
    one.from_ns <= until_ns && one.to_ns >= ended_ns.saturating_sub(BEFORE_NS)
}

fn is_touched(met: &ClusterHistory, node: Node, ended_ns: u64, until_ns: u64) -> bool {
    let overlapping = met.disturbances.iter().filter(|one| overlaps(one, ended_ns, until_ns));
    overlapping.flat_map(|one| &one.nodes).any(|hit| *hit == node)
}

/// Whether whatever disturbed from then to then hit nobody but clients and this machine, and that not
/// after it ended.
fn is_alone(met: &ClusterHistory, node: Node, ended_ns: u64, until_ns: u64) -> bool {
    let is_harmless = |one: &Disturbance| {
        let ends_it = one.from_ns <= ended_ns;
        one.nodes.iter().all(|hit| *hit == node && ends_it || met.clients.contains(hit))
    };
    let mut overlapping = met.disturbances.iter().filter(|one| overlaps(one, ended_ns, until_ns));
    overlapping.all(|one| !one.nodes.is_empty() && is_harmless(one))
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
    for (left_ns, index, broker, until_ns) in handed_over(met, log) {
        let Some(name) = log.partitions.get(usize::from(index)) else { continue };
        let mut states = met.states_during(name, left_ns, until_ns);
        let is_other = states.any(|(_, state)| state.leader.is_some_and(|leader| leader != broker));
        findings.check(is_other, until_ns, [], || {
            format!(
                "{name} was still led by broker {broker} at {}, which was told to stop at {}, although another replica was in sync and nothing else was disturbed",
                seconds(until_ns),
                seconds(left_ns)
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
    fn a_controller_that_stays_has_no_time_beyond_what_it_writes() {
        let mut known = ends();
        known.controllers.push((S, Node(3)));
        assert!(led_at(known.clone(), 22 * S, 2).passed());
        assert_eq!(led_at(known.clone(), 24 * S, 2).violated, 1);
        // It may be busy with another that is struck, but not be struck itself, and one who can lead must be left.
        known.disturbances.push(Disturbance { from_ns: 21 * S, to_ns: 22 * S, nodes: vec![Node(2)] });
        assert_eq!(led_at(known.clone(), 24 * S, 3).violated, 1);
        known.disturbances.push(Disturbance { from_ns: 21 * S, to_ns: 22 * S, nodes: vec![Node(3)] });
        assert_eq!(check(&known, &log()).evaluations, 0);
    }

    #[test]
    fn a_controller_that_is_new_or_on_the_machine_that_ended_has_the_longer_bound() {
        for (since_ns, controller) in [(18 * S, 3), (S, 1), (22 * S, 3)] {
            let mut met = ends();
            met.controllers.push((since_ns, Node(controller)));
            assert!(led_at(met.clone(), 24 * S, 2).passed());
            assert_eq!(led_at(met, 26 * S, 2).violated, 1);
        }
    }

    /// Broker 1, which leads, is told to stop at 20 s, and is back before its session could expire.
    fn leaves() -> ClusterHistory {
        let mut met = met();
        met.controllers.push((S, Node(3)));
        met.left.push(Left { told_ns: 20 * S, ended_ns: Some(20 * S + S * 3 / 4), node: Node(1) });
        met.disturbances.push(Disturbance { from_ns: 20 * S, to_ns: 20 * S, nodes: vec![Node(1)] });
        met
    }

    #[test]
    fn a_broker_that_stops_in_good_order_hands_over_before_its_registration_or_its_process_is_gone() {
        assert!(led_at(leaves(), 20 * S + S / 2, 2).passed());
        assert_eq!(led_at(leaves(), 20 * S + S * 4 / 5, 2).violated, 1, "by the end of its session");
        let mut unregistered = leaves();
        unregistered.unregistered =
            vec![(10 * S, BrokerId(1)), (20 * S + S / 3, BrokerId(3)), (20 * S + S / 3, BrokerId(1))];
        assert_eq!(led_at(unregistered.clone(), 20 * S + S / 2, 2).violated, 1, "because its session was closed");
        assert!(led_at(unregistered, 20 * S + S / 4, 2).passed());
        let mut stays = leaves();
        stays.left[0].ended_ns = None;
        assert!(led_at(stays.clone(), 20 * S + S * 4 / 5, 2).passed());
        assert_eq!(led_at(stays, 22 * S, 2).violated, 1, "by the expiry of its session");
        assert_eq!(led_at(leaves(), 20 * S + S / 2, 1).violated, 1, "it leads again itself");
    }

    #[test]
    fn nothing_is_handed_over_to_nobody_or_without_a_controller() {
        let mut alone = leaves();
        alone.commit(19 * S, &TopicPartition::new("t", 0), &state(1, 1, &[1]));
        let mut headless = leaves();
        headless.controllers.clear();
        let evaluations = [alone, headless].map(|met| check(&met, &log()).evaluations);
        assert_eq!(evaluations, [0, 0]);
        let mut itself = leaves();
        itself.controllers = vec![(S, Node(1))];
        assert_eq!(check(&itself, &log()).violated, 1, "it can tell itself to");
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
