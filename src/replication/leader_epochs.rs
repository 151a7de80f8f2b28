//! Where each leader epoch begins in a log: the list by which two logs find the point up to which
//! they agree (KIP-101), even when one of them does not know the other's epochs (KIP-279).
//!
//! An epoch without records has no entry, except the newest one on its own leader.

use crate::base::ids::LeaderEpoch;

/// The first offset of a leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochStart {
    /// The epoch.
    pub leader_epoch: LeaderEpoch,
    /// Where it begins.
    pub start_offset: i64,
}

/// The epochs of one log, both columns strictly rising.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeaderEpochs(Vec<EpochStart>);

impl LeaderEpochs {
    /// The list with these entries; what does not rise is dropped, the newer entry winning.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = EpochStart>) -> Self {
        let mut epochs = LeaderEpochs::default();
        for entry in entries {
            epochs.assign(entry);
        }
        epochs
    }

    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochStart] {
        &self.0
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.0.last().map(|entry| entry.leader_epoch)
    }

    /// Notes that an epoch begins. Older epochs that would begin there or later have no records and
    /// go. An epoch that is not newer than the newest is known already.
    pub fn assign(&mut self, entry: EpochStart) {
        if self.latest().is_some_and(|latest| latest >= entry.leader_epoch) {
            return;
        }
        self.truncate_to(entry.start_offset);
        self.0.push(entry);
    }

    /// Follows a truncation of the log: epochs that begin at or after `end` are gone.
    pub fn truncate_to(&mut self, end: i64) {
        let kept = self.0.partition_point(|entry| entry.start_offset < end);
        self.0.truncate(kept);
    }

    /// Follows the removal of records below `log_start`: the epoch in which it lies begins there.
    pub fn advance_start(&mut self, log_start: i64) {
        let begun = self.0.partition_point(|entry| entry.start_offset <= log_start);
        if begun == 0 {
            return;
        }
        self.0.drain(..begun - 1);
        self.0[0].start_offset = log_start;
    }

    /// Whether the log holds records of exactly this epoch, or leads in it.
    #[must_use]
    pub fn contains(&self, leader_epoch: LeaderEpoch) -> bool {
        self.0.binary_search_by_key(&leader_epoch, |entry| entry.leader_epoch).is_ok()
    }

    /// The largest known epoch that is not above `requested`, and the offset where it ends in a log
    /// that ends at `log_end`. None if every known epoch is newer, or none is known.
    #[must_use]
    pub fn end_of_largest_up_to(&self, requested: LeaderEpoch, log_end: i64) -> Option<(LeaderEpoch, i64)> {
        let after = self.0.partition_point(|entry| entry.leader_epoch <= requested);
        let entry = self.0.get(after.checked_sub(1)?)?;
        let end = self.0.get(after).map_or(log_end, |next| next.start_offset);
        Some((entry.leader_epoch, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        LeaderEpochs::new(
            entries.iter().map(|&(epoch, start_offset)| EpochStart { leader_epoch: LeaderEpoch(epoch), start_offset }),
        )
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_begins_and_the_last_one_at_the_log_end() {
        let list = epochs(&[(1, 0), (3, 5), (6, 9)]);
        assert_eq!(list.end_of_largest_up_to(LeaderEpoch(1), 12), Some((LeaderEpoch(1), 5)));
        assert_eq!(list.end_of_largest_up_to(LeaderEpoch(6), 12), Some((LeaderEpoch(6), 12)));
    }

    #[test]
    fn an_unknown_epoch_is_answered_by_the_largest_one_below_it() {
        let list = epochs(&[(1, 0), (3, 5)]);
        assert_eq!(list.end_of_largest_up_to(LeaderEpoch(2), 8), Some((LeaderEpoch(1), 5)));
        assert_eq!(list.end_of_largest_up_to(LeaderEpoch(0), 8), None);
    }

    #[test]
    fn an_epoch_without_records_leaves_no_entry() {
        assert_eq!(epochs(&[(1, 0), (2, 4), (3, 4)]), epochs(&[(1, 0), (3, 4)]));
    }

    #[test]
    fn an_older_epoch_is_not_assigned_after_a_newer_one() {
        assert_eq!(epochs(&[(2, 0), (1, 4)]), epochs(&[(2, 0)]));
    }

    #[test]
    fn truncation_drops_the_epochs_that_began_at_or_after_it() {
        let mut list = epochs(&[(1, 0), (2, 4), (3, 8)]);
        list.truncate_to(4);
        assert_eq!(list, epochs(&[(1, 0)]));
    }

    #[test]
    fn retention_moves_the_start_of_the_oldest_epoch_that_is_kept() {
        let mut list = epochs(&[(1, 0), (2, 4), (3, 8)]);
        list.advance_start(6);
        assert_eq!(list, epochs(&[(2, 6), (3, 8)]));
        list.advance_start(2);
        assert_eq!(list, epochs(&[(2, 6), (3, 8)]));
    }
}
