//! Whether a run means anything: one in which clients could do next to nothing, or whose faults all
//! missed, has not passed, whatever it did not violate.

use super::Requests;
use crate::faults::{Fate, Struck};
use crate::scenario::{Plan, Workload};

/// Of a hundred requests that are asked for after healing so many end ok.
const OK_PERCENT_MIN: u64 = 25;
/// Of so many faults one takes effect.
const FAULTS_MIN: usize = 6;

/// What the run of `plan` lacked, if it lacked something.
pub(super) fn lacking(plan: &Plan, requests: &Requests, struck: &[Struck]) -> Option<String> {
    let least = requests_min(plan);
    if requests.ok < least {
        return Some(format!("{} requests ended ok, at least {least} were to", requests.ok));
    }
    let effective = struck.iter().filter(|one| one.fate == Fate::TookEffect).count();
    (struck.len() >= FAULTS_MIN && effective == 0).then(|| format!("none of {} faults took effect", struck.len()))
}

/// The fewest requests that are to end ok: a part of those that are asked for once all is healed and
/// the cluster had the time to become whole.
fn requests_min(plan: &Plan) -> u64 {
    let cluster = &plan.cluster;
    let whole_ms = plan.phases.healing_ms.saturating_sub(cluster.session_timeout_ms + cluster.replica_lag_max_ms);
    let per_s: u64 = plan.workloads.iter().map(requests_per_s).sum();
    per_s * u64::from(plan.schedule.workload_per_mille) * whole_ms / 1_000_000 * OK_PERCENT_MIN / 100
}

fn requests_per_s(workload: &Workload) -> u64 {
    match workload {
        Workload::ProduceConsume(load) => u64::from(load.requests_per_s),
        Workload::Registers { requests_per_s, .. } => u64::from(*requests_per_s),
        // What these do is no request by the definition.
        Workload::Sessions { .. }
        | Workload::Topics { .. }
        | Workload::Protocol { .. }
        | Workload::Subtrees { .. }
        | Workload::Meddling { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::schedule::FaultKind;
    use std::collections::BTreeSet;

    fn struck(fate: Fate) -> Struck {
        let kind = FaultKind::Crash;
        Struck { fault: 0, kind, fate, lasted_ns: None, nodes: Vec::new(), forms: BTreeSet::new() }
    }

    #[test]
    fn a_run_without_load_or_whose_faults_all_missed_means_nothing() {
        let plan = Scenario::parse(include_str!("../../scenarios/standard.toml")).expect("it is built in").draw(1);
        let requests = |ok| Requests { ok, ..Requests::default() };
        let least = requests_min(&plan);
        assert!(least > 100, "{least}");
        let missed: Vec<Struck> = (0..FAULTS_MIN).map(|_| struck(Fate::NoTarget)).collect();
        let mut hit = missed.clone();
        hit[2] = struck(Fate::TookEffect);
        assert_eq!(lacking(&plan, &requests(least), &hit), None);
        assert_eq!(lacking(&plan, &requests(least), &missed[1..]), None);
        assert!(lacking(&plan, &requests(least), &missed).is_some_and(|said| said.contains("none of 6")));
        assert!(lacking(&plan, &requests(least - 1), &hit).is_some_and(|said| said.contains("ended ok")));
    }
}
