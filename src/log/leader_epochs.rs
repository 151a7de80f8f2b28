//! Which leader epoch starts at which offset of this log (KIP-101, KIP-279), and Kafka's
//! `leader-epoch-checkpoint`:
//!
//! ```text
//! 0            version
//! 2            number of entries
//! 0 0          epoch, start offset
//! 5 1200
//! ```

use crate::base::ids::LeaderEpoch;

/// The epochs of one log, both columns strictly ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, i64)>,
}

impl LeaderEpochs {
    /// Notes that `epoch` starts at `start_offset`, unless it or a later one is known. Entries that
    /// start there or beyond lose their records to it and go. Says whether anything changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: i64) -> bool {
        if epoch.0 < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        self.entries.retain(|(_, start)| *start < start_offset);
        self.entries.push((epoch, start_offset));
        assert!(self.entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
        true
    }

    /// The latest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_at(&self, offset: i64) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        Some(self.entries[after.checked_sub(1)?].0)
    }

    /// The epochs before and after one of these.
    pub(super) fn beside(&self, epoch: LeaderEpoch) -> (Option<LeaderEpoch>, Option<LeaderEpoch>) {
        let at = self.entries.partition_point(|(known, _)| *known < epoch);
        let known = |at: usize| self.entries.get(at).map(|(epoch, _)| *epoch);
        (at.checked_sub(1).and_then(known), known(at + 1))
    }

    /// The largest epoch that is not above `requested`, and the offset at which it ends (KIP-279).
    /// None where no epoch is that old: the requester must then ask with an older one of its own.
    #[must_use]
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: i64) -> Option<(LeaderEpoch, i64)> {
        let after = self.entries.partition_point(|(epoch, _)| *epoch <= requested);
        let (epoch, _) = self.entries[after.checked_sub(1)?];
        let end = self.entries.get(after).map_or(log_end, |(_, start)| *start);
        Some((epoch, end))
    }

    /// Forgets epochs that start at or after `offset`. Says whether anything changed.
    pub fn truncate_from_end(&mut self, offset: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < offset);
        self.entries.len() != before
    }

    /// Forgets epochs that end at or before `offset`; the one that goes on from there starts there.
    pub fn truncate_from_start(&mut self, offset: i64) -> bool {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        let Some(kept) = after.checked_sub(1) else { return false };
        if kept == 0 && self.entries[0].1 == offset {
            return false;
        }
        self.entries.drain(..kept);
        self.entries[0].1 = offset;
        true
    }

    /// Forgets every epoch.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The epochs and their start offsets, ascending.
    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, i64)] {
        &self.entries
    }

    /// The checkpoint's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, start) in &self.entries {
            text.push_str(&format!("{epoch} {start}\n"));
        }
        text
    }

    /// Reads a checkpoint. None where it is not one or contradicts itself: it is then rebuilt.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<LeaderEpochs> {
        let mut lines = std::str::from_utf8(text).ok()?.lines();
        if lines.next()? != "0" {
            return None;
        }
        let count: usize = lines.next()?.parse().ok()?;
        let mut entries = Vec::new();
        for line in lines {
            let (epoch, start) = line.split_once(' ')?;
            entries.push((LeaderEpoch(epoch.parse().ok()?), start.parse().ok()?));
        }
        let ordered = entries.is_sorted_by(|a: &(LeaderEpoch, i64), b| a.0 < b.0 && a.1 < b.1);
        let positive = entries.iter().all(|(epoch, start)| epoch.0 >= 0 && *start >= 0);
        (entries.len() == count && ordered && positive).then_some(LeaderEpochs { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in entries {
            assert!(epochs.assign(LeaderEpoch(*epoch), *start));
        }
        epochs
    }

    #[test]
    fn the_checkpoint_is_kafkas_text() {
        let written = epochs(&[(0, 0), (5, 1200)]);
        assert_eq!(written.encode(), "0\n2\n0 0\n5 1200\n");
        assert_eq!(LeaderEpochs::decode(b"0\n2\n0 0\n5 1200\n"), Some(written));
        for bad in
            ["", "0\n", "1\n0\n", "0\n2\n0 0\n", "0\n2\n5 0\n0 9\n", "0\n2\n0 9\n5 0\n", "0\n1\n-1 0\n", "0\n1\n0\n"]
        {
            assert_eq!(LeaderEpochs::decode(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_epoch_is_answered_with_the_largest_one_below_it() {
        let epochs = epochs(&[(1, 0), (4, 10), (6, 30)]);
        assert_eq!(epochs.end_offset_for(LeaderEpoch(0), 50), None);
        assert_eq!(epochs.end_offset_for(LeaderEpoch(1), 50), Some((LeaderEpoch(1), 10)));
        assert_eq!(epochs.end_offset_for(LeaderEpoch(3), 50), Some((LeaderEpoch(1), 10)));
        assert_eq!(epochs.end_offset_for(LeaderEpoch(5), 50), Some((LeaderEpoch(4), 30)));
        assert_eq!(epochs.end_offset_for(LeaderEpoch(9), 50), Some((LeaderEpoch(6), 50)));
    }

    #[test]
    fn an_epoch_without_records_gives_way_to_the_next_one() {
        let mut cut = epochs(&[(0, 0), (2, 7)]);
        assert!(cut.assign(LeaderEpoch(3), 7));
        assert_eq!(cut.entries(), [(LeaderEpoch(0), 0), (LeaderEpoch(3), 7)]);
        assert!(!cut.assign(LeaderEpoch(3), 9));
        assert_eq!(cut.epoch_at(6), Some(LeaderEpoch(0)));
        assert_eq!(cut.epoch_at(7), Some(LeaderEpoch(3)));
    }

    #[test]
    fn cutting_either_end_keeps_the_epochs_of_what_is_left() {
        let mut cut = epochs(&[(0, 0), (2, 10), (3, 20)]);
        assert!(cut.truncate_from_start(12));
        assert_eq!(cut.entries(), [(LeaderEpoch(2), 12), (LeaderEpoch(3), 20)]);
        assert!(!cut.truncate_from_start(12));
        assert!(cut.truncate_from_end(20));
        assert_eq!(cut.entries(), [(LeaderEpoch(2), 12)]);
        assert!(!cut.truncate_from_end(20));
    }
}
