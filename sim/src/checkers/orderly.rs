//! *stays-up*: a process that is told to stop in good order does stop, once nothing is in its way.
//!
//! *eligible_completeness*: a broker whose machine lost power while it ran, or since, does not register as one that
//! has lost nothing which it wrote as that incarnation, for by that the controller keeps an incarnation's place in
//! the eligible set of a log which nobody syncs (KIP-966).
//!
//! When a process was told and had ended, and when power was cut, are facts of the world; what a broker says of its
//! logs is the claim. False positives avoided: one that was told to stop may have synced everything before the cut;
//! a registration whose answer was lost is followed by another that continues it (`swarm` seed 121); an old copy of a
//! disk tells of the life that it was copied from (seed 88).

use crate::history::cluster::ClusterHistory;
use crate::observed::{Left, Node, seconds};
use crate::verdict::{Findings, Property};

/// How long a process may take to stop where nothing is in its way: a broker waits for its leaders to be followed,
/// and then for its clients, each for a bounded time.
pub const STOPS_NS: u64 = 10_000_000_000;

/// Judges the ends of processes and what is said of them.
#[must_use]
pub fn check(met: &ClusterHistory) -> Vec<Findings> {
    vec![stops(met), claims(met)]
}

fn stops(met: &ClusterHistory) -> Findings {
    let mut findings = Findings::new(Property::StaysUp);
    for Left { told_ns, ended_ns, node } in &met.told {
        let was_killed = met.ended.iter().any(|(killed_ns, killed)| killed == node && killed_ns >= told_ns);
        let due_ns = met.healed_ns.max(*told_ns) + STOPS_NS;
        if was_killed || due_ns > met.ended_ns {
            continue;
        }
        findings.check(ended_ns.is_some(), due_ns, [], || {
            format!("{node} was told to stop at {} and still runs at {}", seconds(*told_ns), seconds(met.ended_ns))
        });
    }
    findings
}

fn claims(met: &ClusterHistory) -> Findings {
    let mut findings = Findings::new(Property::EligibleCompleteness);
    for (at, one) in met.registered.iter().enumerate() {
        let Some(before) = met.registered[..at].iter().rev().find(|before| before.node == one.node) else { continue };
        let between = |when_ns: u64, whom: Node| whom == one.node && when_ns > before.time_ns && when_ns < one.time_ns;
        let cut = met.cut.iter().find(|(cut_ns, whom)| between(*cut_ns, *whom));
        let was_told = met.told.iter().any(|left| between(left.told_ns, left.node));
        let has_another = met.swapped.iter().any(|(at_ns, whom)| between(*at_ns, *whom));
        let Some((cut_ns, _)) = cut.filter(|_| !was_told && !has_another) else { continue };
        findings.check(one.written_since > before.broker_epoch, one.time_ns, [], || {
            format!(
                "{} registered at {} as one that had lost nothing since incarnation {}, although it lost power at {} as incarnation {}, or after",
                one.node,
                seconds(one.time_ns),
                one.written_since,
                seconds(*cut_ns),
                before.broker_epoch
            )
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::cluster::Registered;
    use wyrdlog::base::ids::BrokerEpoch;

    const S: u64 = 1_000_000_000;

    /// Told to stop at 20 s, and healed at 30 s.
    fn told(ended_ns: Option<u64>) -> ClusterHistory {
        let told = vec![Left { told_ns: 20 * S, ended_ns, node: Node(1) }];
        ClusterHistory { told, healed_ns: 30 * S, ended_ns: 60 * S, ..ClusterHistory::default() }
    }

    fn registered(time_ns: u64, broker_epoch: i64, written_since: i64) -> Registered {
        let (broker_epoch, written_since) = (BrokerEpoch(broker_epoch), BrokerEpoch(written_since));
        Registered { time_ns, node: Node(1), broker_epoch, written_since }
    }

    /// Registered at 1 s as 7 and at 9 s as 9; its power was cut at 5 s.
    fn cut(written_since: i64) -> ClusterHistory {
        let registered = vec![registered(S, 7, 3), registered(9 * S, 9, written_since)];
        ClusterHistory { cut: vec![(5 * S, Node(1))], registered, ..ClusterHistory::default() }
    }

    fn violated(met: &ClusterHistory) -> Vec<u64> {
        check(met).iter().map(|findings| findings.violated).collect()
    }

    #[test]
    fn who_stops_or_is_killed_or_has_time_left_is_accepted() {
        assert_eq!(violated(&told(Some(21 * S))), [0, 0]);
        let killed = ClusterHistory { ended: vec![(25 * S, Node(1))], ..told(None) };
        assert_eq!(violated(&killed), [0, 0]);
        let early = ClusterHistory { ended_ns: 39 * S, ..told(None) };
        assert_eq!(violated(&early), [0, 0]);
    }

    #[test]
    fn who_does_not_stop_is_rejected() {
        assert_eq!(violated(&told(None)), [1, 0]);
        let another = ClusterHistory { ended: vec![(25 * S, Node(2)), (19 * S, Node(1))], ..told(None) };
        assert_eq!(violated(&another), [1, 0]);
    }

    #[test]
    fn who_lost_power_and_says_so_is_accepted_and_so_is_who_was_told_to_stop() {
        assert_eq!([violated(&cut(9)), violated(&cut(8))], [[0, 0]; 2]);
        let told = vec![Left { told_ns: 3 * S, ended_ns: Some(4 * S), node: Node(1) }];
        assert_eq!(violated(&ClusterHistory { told, ..cut(7) }), [0, 0]);
        let of_another = ClusterHistory { cut: vec![(5 * S, Node(2))], ..cut(7) };
        assert_eq!(violated(&of_another), [0, 0]);
        let copied = ClusterHistory { swapped: vec![(5 * S, Node(1))], ..cut(3) };
        assert_eq!(violated(&copied), [0, 0]);
        let unregistered = ClusterHistory { registered: vec![registered(9 * S, 9, 7)], ..cut(7) };
        assert_eq!(violated(&unregistered), [0, 0]);
    }

    #[test]
    fn who_lost_power_and_says_that_its_logs_are_whole_is_rejected() {
        assert_eq!([violated(&cut(7)), violated(&cut(3))], [[0, 1]; 2]);
    }
}
