//! What is not well for long: a disk, a link or a clock that is somewhat worse than it should be, over much of a run.
//! Nothing is lost by it and nobody is away; it is what the rest of the world meets that a run would otherwise meet in
//! good health.

use super::Drawing;
use crate::schedule::{Action, FaultEvent, Trigger};

/// Of a hundred seeds with faults, those in which something is not well for long.
const PERCENT: u64 = 60;

impl Drawing<'_> {
    /// A condition that begins in the first half of the time with faults and lasts for a third of it at least.
    pub(super) fn condition(&mut self) -> Option<FaultEvent> {
        let faults_ms = self.phases.faults_ms;
        let any = self.draw.percent(PERCENT);
        let at_ms = self.phases.warm_up_ms + self.draw.below((faults_ms / 2).max(1));
        let span_ms = self.draw.between(faults_ms / 3, faults_ms);
        let action = match self.draw.below(4) {
            0 => Action::SlowLink { target: self.anyone(), latency_ms: self.draw.between(1, 100), bytes_per_s: None },
            1 => Action::LossyLink {
                target: self.anyone(),
                lost_per_mille: self.draw.between(1, 50) as u32,
                late_per_mille: self.draw.between(0, 50) as u32,
                late_ms: self.draw.between(1, 100) as u32,
            },
            2 => Action::SlowDisk { target: self.target(), factor: self.draw.between(2, 30) as u32 },
            _ => Action::ClockDrift { target: self.anyone(), ppm: self.draw.between(0, 100_000) as i64 - 50_000 },
        };
        let when = Trigger::At { at_ms };
        any.then_some(FaultEvent { id: None, behind: None, when, action, for_ms: Some(span_ms) })
    }
}
