//! What is left is made smaller: fewer targets, shorter faults, rounder triggers, a smaller load. Each
//! step makes a number or a list smaller, so that the steps come to an end.

use super::Shrinker;
use crate::schedule::{FaultEvent, Schedule, Trigger};

/// A load below this is hardly one.
const WORKLOAD_PER_MILLE_MIN: u32 = 60;
/// Spans below this are short enough.
const SPAN_MS_MIN: u64 = 50;

impl Shrinker<'_> {
    pub(super) fn simplify(&mut self) {
        while self.best.workload_per_mille / 2 >= WORKLOAD_PER_MILLE_MIN {
            let workload_per_mille = self.best.workload_per_mille / 2;
            if !self.accept(Schedule { workload_per_mille, ..self.best.clone() }, 1) {
                break;
            }
        }
        let mut at = 0;
        while at < self.best.faults.len() && self.spent() < 1.0 {
            let accepted = simpler(&self.best.faults[at]).into_iter().any(|event| {
                let mut faults = self.best.faults.clone();
                faults[at] = event;
                self.accept(Schedule { faults, ..self.best.clone() }, 1)
            });
            at += usize::from(!accepted);
        }
    }
}

fn simpler(event: &FaultEvent) -> Vec<FaultEvent> {
    let mut simpler = Vec::new();
    for at in 0..if event.action.targets().len() > 1 { event.action.targets().len() } else { 0 } {
        let mut fewer = event.clone();
        if let Some(targets) = fewer.action.targets_mut() {
            targets.remove(at);
            simpler.push(fewer);
        }
    }
    if let Some(for_ms) = event.for_ms.filter(|for_ms| *for_ms > SPAN_MS_MIN) {
        simpler.push(FaultEvent { for_ms: Some(for_ms / 2), ..event.clone() });
    }
    match &event.when {
        Trigger::After { happening, partition, nth, from_ms, delay_ms } => {
            let with = |nth, delay_ms| FaultEvent {
                when: Trigger::After {
                    happening: *happening,
                    partition: partition.clone(),
                    nth,
                    from_ms: *from_ms,
                    delay_ms,
                },
                ..event.clone()
            };
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
