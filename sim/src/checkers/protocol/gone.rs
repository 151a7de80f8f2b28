//! Brokers that are gone, and nobody else disturbed: where one's registration has ended and it is still away, no
//! other broker tells of it any more.
//!
//! When a process was down or cut off is a fact of the faults; that the registration has ended is the coordinator's
//! record.

use std::collections::BTreeSet;

use wyrdlog::base::ids::BrokerId;

use crate::history::cluster::{ClusterHistory, Registered};
use crate::history::protocol::Exchange;

/// How long the controller may take to tell brokers that one is gone, and be elected anew before that.
const TOLD_NS: u64 = 2_000_000_000;
/// How long a broker may take to hear that it is registered.
const BACK_NS: u64 = 1_000_000_000;

/// The brokers that the answer does not name.
pub(super) fn gone(met: &ClusterHistory, exchange: &Exchange) -> BTreeSet<BrokerId> {
    let ended_ns = exchange.ended_ns.unwrap_or(u64::MAX);
    let latest = |broker: &BrokerId| met.unregistered.iter().rfind(|(at_ns, one)| one == broker && *at_ns < ended_ns);
    let is_gone = |broker: &BrokerId| {
        let (Some(node), Some((at_ns, _))) = (met.brokers.get(broker), latest(broker)) else { return false };
        let is_its = |nodes: &[_]| nodes == [*node];
        let away =
            met.disturbances.iter().find(|one| is_its(&one.nodes) && one.from_ns <= *at_ns && one.to_ns >= ended_ns);
        // It may be back before the fault is over, where that heals in parts (`swarm` seed 133).
        let is_back = |one: &Registered| {
            one.node == *node && one.time_ns > *at_ns && one.time_ns < ended_ns.saturating_add(BACK_NS)
        };
        let Some(away) = away.filter(|_| !met.registered.iter().any(is_back)) else { return false };
        let disturbs = |from_ns: u64, to_ns: u64| from_ns < ended_ns && to_ns + met.settle_ns > away.from_ns;
        let is_alone = met.disturbances.iter().all(|one| is_its(&one.nodes) || !disturbs(one.from_ns, one.to_ns));
        is_alone && *broker != exchange.broker && exchange.sent_ns.saturating_sub(TOLD_NS) > *at_ns
    };
    met.brokers.keys().copied().filter(is_gone).collect()
}
