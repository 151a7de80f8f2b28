//! What is left is made smaller: fewer targets, those that were hit in place of roles, shorter faults,
//! rounder triggers, a smaller load, then a smaller world and a shorter run. Each step makes a number or
//! a list smaller, so that the steps come to an end.

use super::{Shrinker, Strike};
use crate::schedule::{FaultEvent, Schedule, Target, Trigger};

/// A load below this is hardly one.
const WORKLOAD_PER_MILLE_MIN: u32 = 60;
/// Spans below this are short enough.
const SPAN_MS_MIN: u64 = 50;
/// What is left is cut so many virtual milliseconds after the violation.
const SHORTLY_MS: u64 = 500;

impl Shrinker<'_> {
    pub(super) fn simplify(&mut self) {
        let mut at = 0;
        while at < self.best.faults.len() && self.spent() < 1.0 {
            let strike = self.seen.strikes.get(at).and_then(Option::as_ref);
            let accepted = simpler(&self.best.faults[at], strike).into_iter().any(|event| {
                let mut faults = self.best.faults.clone();
                faults[at] = event;
                self.accept(Schedule { faults, ..self.best.clone() }, 1)
            });
            at += usize::from(!accepted);
        }
        self.simplify_world();
        while self.best.workload_per_mille / 2 >= WORKLOAD_PER_MILLE_MIN {
            let workload_per_mille = self.best.workload_per_mille / 2;
            if !self.accept(Schedule { workload_per_mille, ..self.best.clone() }, 1) {
                break;
            }
        }
        self.shorten_phases();
        self.cut_shortly_after();
    }

    /// Fewer clients, partitions and nodes. What was refused once is not tried again.
    fn simplify_world(&mut self) {
        let mut at = 0;
        while self.spent() < 1.0 {
            let smaller = self.best.world.as_ref().map_or(Vec::new(), |world| world.smaller());
            let Some(world) = smaller.into_iter().nth(at) else { return };
            if !self.accept(Schedule { world: Some(world), ..self.best.clone() }, 1) {
                at += 1;
            }
        }
    }

    /// The violation stays where it is, wherever the run is cut after it.
    pub(super) fn cut_shortly_after(&mut self) {
        let first_ns = self.seen.first_ns.get(&self.property).filter(|_| self.seen.ended_there);
        let shortly_ms = first_ns.map(|first_ns| first_ns / 1_000_000 + SHORTLY_MS);
        self.best.horizon_ms = self.best.horizon_ms.zip(shortly_ms).map(|(a, b)| a.min(b)).or(self.best.horizon_ms);
    }
}

fn simpler(event: &FaultEvent, strike: Option<&Strike>) -> Vec<FaultEvent> {
    let mut simpler = Vec::new();
    for at in 0..if event.action.targets().len() > 1 { event.action.targets().len() } else { 0 } {
        let mut fewer = event.clone();
        if let Some(targets) = fewer.action.targets_mut() {
            targets.remove(at);
            simpler.push(fewer);
        }
    }
    let is_role = |target: &Target| !matches!(target, Target::Broker(_) | Target::Coordinator(_) | Target::Client(_));
    if let Some(strike) = strike.filter(|strike| !strike.targets.is_empty())
        && event.action.targets().iter().any(is_role)
    {
        let mut aimed = event.clone();
        aimed.action.aim_at(&strike.targets);
        simpler.push(aimed);
    }
    if let Some(for_ms) = event.for_ms.filter(|for_ms| *for_ms > SPAN_MS_MIN) {
        simpler.push(FaultEvent { for_ms: Some(for_ms / 2), ..event.clone() });
    }
    match &event.when {
        Trigger::After { happening, partition, nth, from_ms, delay_ms, within_ms } => {
            let with = |nth, delay_ms| FaultEvent {
                when: Trigger::After {
                    happening: *happening,
                    partition: partition.clone(),
                    nth,
                    from_ms: *from_ms,
                    delay_ms,
                    within_ms: *within_ms,
                },
                ..event.clone()
            };
            if let Some(strike) = strike {
                let when = Trigger::At { at_ms: strike.at_ns / 1_000_000 };
                simpler.push(FaultEvent { behind: None, when, ..event.clone() });
            }
            if *delay_ms > 0 {
                simpler.push(with(*nth, 0));
            }
            if *nth > 1 {
                simpler.push(with(1, *delay_ms));
                simpler.push(with(nth / 2, *delay_ms));
            }
        }
        Trigger::AtNs { at_ns } => {
            simpler.push(FaultEvent { when: Trigger::At { at_ms: at_ns / 1_000_000 }, ..event.clone() });
        }
        Trigger::At { .. } => {}
    }
    simpler
}
