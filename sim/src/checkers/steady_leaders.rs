//! *availability* of what nothing struck: a partition keeps its leader, and that its epoch, unless something struck the
//! machine that leads, or the ensemble in which it is registered. That another broker is struck, be it the controller,
//! takes no leader away: whoever becomes the controller finds the others as they are.
//!
//! False positives avoided: a leader may be struck so long before as the cluster may still be busy with; what may have
//! struck anybody may have struck it. That could hide an election for no reason soon after a fault of the leader.

use crate::history::cluster::{ClusterHistory, Disturbance};
use crate::history::kafka::KafkaHistory;
use crate::observed::{Node, seconds};
use crate::verdict::{Findings, Property};
use wyrdlog::base::partition_state::PartitionState;

/// Asks of each change of a leader, or of its epoch, why.
#[must_use]
pub fn check(met: &ClusterHistory, log: &KafkaHistory) -> Findings {
    let mut findings = Findings::new(Property::Availability);
    for (index, name) in (0..).zip(&log.partitions) {
        if log.is_beyond(index) {
            continue;
        }
        for pair in met.states.get(name).map_or(&[][..], Vec::as_slice).windows(2) {
            let [(_, before), (at_ns, now)] = pair else { continue };
            let Some(node) = before.leader.and_then(|leader| met.brokers.get(&leader)) else { continue };
            let explained = is_kept(before, now) || is_struck(met, *node, *at_ns);
            findings.check(explained, *at_ns, [], || {
                format!(
                    "{name} was led by broker {:?} in epoch {}, and at {} by {:?} in epoch {}, although nothing had struck that leader or the ensemble",
                    before.leader.map(|leader| leader.0),
                    before.leader_epoch,
                    seconds(*at_ns),
                    now.leader.map(|leader| leader.0),
                    now.leader_epoch
                )
            });
        }
    }
    findings
}

fn is_kept(before: &PartitionState, now: &PartitionState) -> bool {
    (before.leader, before.leader_epoch) == (now.leader, now.leader_epoch)
}

/// Whether something struck the machine or the ensemble, not so long before that all of it is over.
#[must_use]
pub fn is_struck(met: &ClusterHistory, node: Node, at_ns: u64) -> bool {
    let counts = |hit: &Node| *hit == node || met.ensemble.contains(hit);
    let is_recent = |one: &&Disturbance| one.from_ns <= at_ns && one.to_ns.saturating_add(met.settle_ns) >= at_ns;
    met.disturbances.iter().filter(is_recent).any(|one| one.nodes.is_empty() || one.nodes.iter().any(counts))
}

#[cfg(test)]
mod tests {
    use super::super::broker_refusal::examples::{S, met, state};
    use super::*;
    use wyrdlog::base::ids::TopicPartition;

    /// At 20 s broker 2 leads in place of broker 1, after `disturbances`.
    fn moved(disturbances: &[(u64, u64, Vec<Node>)], now: PartitionState) -> u64 {
        let mut met = met();
        met.ensemble = vec![Node(9)];
        let disturbed = |(from_ns, to_ns, nodes): &(u64, u64, Vec<Node>)| Disturbance {
            from_ns: *from_ns,
            to_ns: *to_ns,
            nodes: nodes.clone(),
        };
        met.disturbances.extend(disturbances.iter().map(disturbed));
        met.commit(20 * S, &TopicPartition::new("t", 0), &now);
        check(&met, &KafkaHistory::new(vec![TopicPartition::new("t", 0)])).violated
    }

    #[test]
    fn a_leader_that_nothing_struck_stays_and_so_does_its_epoch() {
        let unled = PartitionState { leader: None, ..state(1, 2, &[2, 3]) };
        for now in [state(1, 2, &[2, 3]), unled] {
            assert_eq!(moved(&[], now.clone()), 1);
            assert_eq!(moved(&[(15 * S, 16 * S, vec![Node(2)])], now.clone()), 1, "another broker was struck");
            assert_eq!(moved(&[(21 * S, 22 * S, vec![Node(1)])], now), 1, "it was struck later");
        }
    }

    #[test]
    fn one_that_was_struck_or_whose_ensemble_was_may_go() {
        for nodes in [vec![Node(1)], vec![Node(9)], vec![]] {
            assert_eq!(moved(&[(18 * S, 19 * S, nodes)], state(1, 2, &[2, 3])), 0);
        }
        assert_eq!(moved(&[(S, 2 * S, vec![Node(1)])], state(1, 2, &[2, 3])), 1, "long over");
    }

    #[test]
    fn whoever_joins_or_leaves_the_others_is_no_matter() {
        let mut fewer = state(0, 1, &[1, 2]);
        fewer.partition_epoch += 1;
        assert_eq!(moved(&[], fewer), 0);
    }
}
