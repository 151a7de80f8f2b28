//! What struck before the violation: whatever came later, or not at all, had no part in it. Leaving that
//! out gives the same run up to the violation, because no fault draws what another one would have.

use super::Shrinker;
use crate::schedule::Schedule;

impl Shrinker<'_> {
    pub(super) fn keep_what_struck(&mut self) {
        let first_ns = self.seen.first_ns.get(&self.property).copied().unwrap_or(u64::MAX);
        let before = |place: &usize| {
            let strike = self.seen.strikes.get(*place).and_then(Option::as_ref);
            strike.is_some_and(|strike| strike.at_ns <= first_ns)
        };
        let places: Vec<usize> = self.in_order_of_time().into_iter().filter(before).collect();
        self.accept_places(&places, 1);
        if !self.seen.ended_there {
            self.cut();
        }
    }

    /// What is not judged after every event may show all the same when the run is cut.
    fn cut(&mut self) {
        let whole_ms = self.seen.lasted_ns / 1_000_000;
        for quarters in 1..4 {
            if self.accept(Schedule { horizon_ms: Some(whole_ms * quarters / 4), ..self.best.clone() }, 1) {
                return;
            }
        }
    }
}
