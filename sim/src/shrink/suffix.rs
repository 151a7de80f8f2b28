//! The last faults before the violation are mostly those that brought it about: none, the last one, the
//! last two, and so on.

use super::Shrinker;

/// How many of the last faults are tried alone.
const LAST: [usize; 9] = [0, 1, 2, 3, 4, 6, 8, 12, 16];

impl Shrinker<'_> {
    pub(super) fn keep_the_last(&mut self) {
        let places = self.in_order_of_time();
        for last in LAST.into_iter().filter(|last| *last < places.len()) {
            if self.accept_places(&places[places.len() - last..], self.scheduling_seeds) {
                return;
            }
        }
    }
}
