//! *bounded_effort* of those who ask for a partition, clients and followers: nobody goes on asking a broker that does not
//! lead it. Who leads is what was committed; whoever is refused learns of it, and asks another.
//!
//! False positives avoided: nothing disturbed the cluster, and nobody was elected, in the three seconds before the question.

use wyrdlog::wire::kafka::ErrorCode;

use crate::history::cluster::{ClusterHistory, Refused};
use crate::history::kafka::KafkaHistory;
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

/// So long somebody may not know yet who leads.
const LEARN_NS: u64 = 3_000_000_000;

/// Asks of every refusal whether the broker that was asked had led.
#[must_use]
pub fn check(met: &ClusterHistory, log: &KafkaHistory) -> Findings {
    let mut findings = Findings::new(Property::BoundedEffort);
    let disturbed = met.disturbed(LEARN_NS);
    // Topics that come and go are nobody's for a while.
    let is_known = |one: &&Refused| log.partitions.contains(&one.partition);
    for (ordinal, one) in (0_u64..).zip(met.refused.iter().filter(is_known)) {
        let is_of_leaders = one.error == ErrorCode::NotLeaderOrFollower;
        let from_ns = one.since_ns.saturating_sub(LEARN_NS);
        let next = disturbed.partition_point(|(_, to_ns)| *to_ns < from_ns);
        let is_disturbed = disturbed.get(next).is_some_and(|(begin_ns, _)| *begin_ns <= one.time_ns);
        if !is_of_leaders || is_disturbed || from_ns == 0 {
            continue;
        }
        let mut states = met.states_during(&one.partition, from_ns, one.time_ns);
        // The first state is the one that was in force when the stretch began.
        let leads = states.next().is_none_or(|(at_ns, first)| {
            let moved = states.any(|(_, state)| state.leader_epoch != first.leader_epoch);
            *at_ns > from_ns || moved || first.leader == Some(one.broker)
        });
        findings.check(leads, one.time_ns, [ordinal], || {
            format!(
                "{} asks broker {} about {} at {}, which has not led it since {}",
                one.client,
                one.broker,
                one.partition,
                seconds(one.since_ns),
                seconds(from_ns)
            )
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::broker_refusal::examples::{S, met, refused, state};
    use crate::history::cluster::Disturbance;
    use wyrdlog::base::event::Asked;
    use wyrdlog::base::ids::TopicPartition;

    fn violated(met: &ClusterHistory) -> u64 {
        let log = KafkaHistory { partitions: vec![TopicPartition::new("t", 0)], ..KafkaHistory::default() };
        check(met, &log).violated
    }

    /// Broker 1 refuses a fetch at 20 s; broker 2 leads since `elected_ns`.
    fn moved(elected_ns: u64) -> ClusterHistory {
        let mut met = met();
        met.commit(elected_ns, &TopicPartition::new("t", 0), &state(1, 2, &[2, 3]));
        met.refused.push(refused(20 * S, Asked::Fetch { offset: 4 }, ErrorCode::NotLeaderOrFollower));
        met
    }

    #[test]
    fn who_asks_a_broker_that_led_until_a_moment_ago_is_accepted() {
        assert_eq!(violated(&moved(18 * S)), 0);
    }

    #[test]
    fn who_goes_on_asking_one_that_leads_no_more_is_rejected() {
        assert_eq!(violated(&moved(16 * S)), 1);
    }

    #[test]
    fn what_faults_disturb_may_not_be_known_yet() {
        let mut met = moved(10 * S);
        met.disturbances.push(Disturbance { from_ns: 15 * S, to_ns: 17 * S, nodes: Vec::new() });
        assert_eq!(violated(&met), 0);
    }
}
