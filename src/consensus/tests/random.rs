//! Random schedules: whatever is delivered, lost, repeated, crashed, compacted and read in
//! whatever order, what [`super::ensemble`] checks after each step holds; and afterwards, when
//! nothing disturbs the ensemble any more, it makes progress.

use proptest::prelude::*;

use super::super::{Input, Limits, Timer};
use super::ensemble::{Ensemble, Envelope};
use crate::base::ids::ServerId;
use crate::base::plants::{Plant, Plants};

fn small_limits() -> Limits {
    Limits {
        append_entries_max: 3,
        in_flight_appends_max: 2,
        snapshot_chunk_bytes_max: 24,
        trailing_entries: 2,
        ..Limits::default()
    }
}

/// One thing happens, chosen by `choice`; `pick` says to whom or to which message.
fn disturb(ensemble: &mut Ensemble, choice: u8, pick: usize) {
    let size = ensemble.servers.len();
    let id = (pick % size) as u32 + 1;
    let message = (!ensemble.network.is_empty()).then(|| pick % ensemble.network.len().max(1));
    match (choice, message) {
        (0..=99, Some(at)) => ensemble.deliver(at),
        (100..=139, _) if !ensemble.network.is_empty() => ensemble.deliver(0),
        (140..=149, Some(at)) => drop(ensemble.network.remove(at)),
        (150..=157, Some(at)) => {
            let Envelope { from, to, message } = &ensemble.network[at];
            let (from, to, message) = (*from, to.0, message.clone());
            ensemble.step(to, Input::Received { from, message });
        }
        (158..=199, _) => drop(ensemble.persist_one(id)),
        (200..=209, _) => ensemble.elapse(id, Timer::Election),
        (210..=219, _) => ensemble.elapse(id, Timer::Heartbeat),
        (220..=222, _) => ensemble.elapse(id, Timer::CheckQuorum),
        (223..=225, _) => ensemble.elapse(id, Timer::ReadRetry),
        (226..=238, _) => ensemble.propose(id, pick as u64 % 3 + 1),
        (239..=245, _) => drop(ensemble.read(id)),
        (246..=248, _) => ensemble.crash(id),
        (249..=252, _) => ensemble.take_snapshot(id),
        (253, _) => ensemble.step(id, Input::TransferLeadership { to: ServerId(pick as u32 % 3 + 1) }),
        _ => {}
    }
}

fn heal(ensemble: &mut Ensemble) {
    ensemble.network.clear();
    let size = ensemble.servers.len() as u32;
    for round in 0..60 {
        (1..=size).for_each(|id| ensemble.elapse(id, Timer::Heartbeat));
        (1..=size).for_each(|id| ensemble.elapse(id, Timer::ReadRetry));
        ensemble.settle();
        (1..=size).for_each(|id| ensemble.elapse(id, Timer::CheckQuorum));
        if !(1..=size).any(|id| ensemble.core(id).is_leader()) {
            ensemble.elapse(round % size + 1, Timer::Election);
        }
        ensemble.settle();
    }
}

fn run(size: u32, schedule: &[(u8, u16)], plants: Plants) -> Ensemble {
    let mut ensemble = Ensemble::with(size, small_limits(), plants);
    for (choice, pick) in schedule {
        disturb(&mut ensemble, *choice, usize::from(*pick));
    }
    ensemble
}

fn schedule() -> impl Strategy<Value = Vec<(u8, u16)>> {
    prop::collection::vec((any::<u8>(), any::<u16>()), 100..1500)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn no_schedule_breaks_safety_and_every_ensemble_recovers(size in 1..=5_u32, schedule in schedule()) {
        let mut ensemble = run(size, &schedule, Plants::NONE);
        heal(&mut ensemble);
        let leader = (1..=size).find(|id| ensemble.core(*id).is_leader()).expect("a leader after healing");
        ensemble.propose(leader, 1);
        let read = ensemble.read(leader % size + 1);
        ensemble.settle();
        prop_assert!(ensemble.at(leader % size + 1).ready.contains(&read), "a read is answered");
        for id in 1..=size {
            prop_assert_eq!(&ensemble.at(id).state, &ensemble.applied, "server {} has it all", id);
            prop_assert_eq!(ensemble.at(id).fault, None);
            prop_assert!(ensemble.at(id).refused.is_empty());
        }
    }
}

/// A generator of its own, so that the claim below is about the same schedules for ever.
fn fixed_schedule(seed: u64) -> Vec<(u8, u16)> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..1200).map(|_| ((next() >> 20) as u8, (next() >> 20) as u16)).collect()
}

#[test]
fn random_schedules_reach_what_is_rare() {
    let (mut committed, mut truncations, mut installed, mut reads) = (0, 0, 0, 0);
    for seed in 0..60 {
        let ensemble = run(3, &fixed_schedule(seed), Plants::NONE);
        committed += ensemble.applied.len();
        truncations += ensemble.truncations;
        installed += ensemble.snapshots_installed;
        reads += ensemble.servers.values().map(|server| server.ready.len()).sum::<usize>();
    }
    assert!(
        committed > 0 && truncations > 0 && installed > 0 && reads > 0,
        "{committed} {truncations} {installed} {reads}"
    );
}

#[test]
fn acknowledging_before_it_is_durable_is_found_by_random_schedules() {
    let plants = Plants::only(Plant::Zk3911);
    let claims = ["a leader holds what was committed", "servers apply the same entries"];
    let is_caught = |seed: &u64| match std::panic::catch_unwind(|| run(3, &fixed_schedule(*seed), plants)) {
        Ok(_) => false,
        Err(panic) => {
            panic.downcast_ref::<String>().is_some_and(|text| claims.iter().any(|claim| text.contains(claim)))
        }
    };
    assert!((0..400).any(|seed| is_caught(&seed)), "by a property, not by an assertion of the core");
}
