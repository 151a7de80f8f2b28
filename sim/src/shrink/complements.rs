//! Delta debugging (Zeller & Hildebrandt's ddmin) over what is left, in order of time: ever smaller parts
//! are left out, the earliest first, until no single fault can go.

use super::{SHARE_OF_DELETION, Shrinker};

impl Shrinker<'_> {
    pub(super) fn leave_out_parts(&mut self) {
        let mut size = self.best.faults.len() / 2;
        while size > 0 && self.spent() < SHARE_OF_DELETION {
            let tries = if size == 1 { self.scheduling_seeds } else { 1 };
            if !self.leave_out_one_part(size, tries) {
                size /= 2;
            }
            size = size.min(self.best.faults.len());
        }
    }

    fn leave_out_one_part(&mut self, size: usize, tries: u64) -> bool {
        let places = self.in_order_of_time();
        (0..places.len()).step_by(size).any(|start| {
            let end = (start + size).min(places.len());
            let rest = [&places[..start], &places[end..]].concat();
            self.spent() < SHARE_OF_DELETION && self.accept_places(&rest, tries)
        })
    }

    /// Leaves out one fault after the other until none can go, or `share` of the budget is spent. Gives
    /// back whether that was tried to the end.
    pub(super) fn leave_out_single_faults(&mut self, share: f64) -> bool {
        let mut at = 0;
        let mut kept = 0;
        while kept < self.best.faults.len() {
            if self.spent() >= share {
                return false;
            }
            at %= self.best.faults.len();
            let places: Vec<usize> = (0..self.best.faults.len()).filter(|place| *place != at).collect();
            if self.accept_places(&places, self.scheduling_seeds) {
                kept = 0;
            } else {
                kept += 1;
                at += 1;
            }
        }
        self.spent() < share
    }
}
