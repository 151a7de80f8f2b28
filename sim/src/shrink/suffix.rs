//! The last faults before the violation are mostly those that brought it about: none, the last one, the
//! last two, and so on. They are tried early in the run first, where a try costs a fraction.

use super::{SHARE_OF_SUFFIX, Shrinker};

/// How many of the last faults are tried alone.
const LAST: [usize; 9] = [0, 1, 2, 3, 4, 6, 8, 12, 16];

impl Shrinker<'_> {
    pub(super) fn keep_the_last(&mut self) {
        let places = self.in_order_of_time();
        for last in LAST.into_iter().filter(|last| *last < places.len()) {
            // So many are left out better one part after the other.
            let tries = if last < 4 { self.scheduling_seeds } else { 1 };
            let last = &places[places.len() - last..];
            if self.spent() >= SHARE_OF_SUFFIX || self.accept_early(last, tries) || self.accept_places(last, 1) {
                return;
            }
        }
    }
}
