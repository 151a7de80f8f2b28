//! The entries that a server keeps in memory: all since its last compaction. What of them is
//! durable is [`super::durability`]'s business; what is committed, its owner's.

use std::collections::VecDeque;

use crate::base::ids::Term;

use super::entry::{Entry, Position};

/// A run of entries after `base`, without gaps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Log {
    base: Position,
    entries: VecDeque<Entry>,
}

impl Log {
    /// A log that goes on after `base` and holds nothing yet.
    pub(super) fn new(base: Position) -> Log {
        Log { base, entries: VecDeque::new() }
    }

    /// The position before the first entry that is kept.
    pub(super) fn base(&self) -> Position {
        self.base
    }

    /// The last entry's position, or the base.
    pub(super) fn last(&self) -> Position {
        self.entries.back().map_or(self.base, Entry::position)
    }

    /// The position at `index`, if it is the base's or a kept entry's.
    pub(super) fn position(&self, index: u64) -> Option<Position> {
        if index == self.base.index {
            return Some(self.base);
        }
        self.get(index).map(Entry::position)
    }

    /// Whether this log holds that position.
    pub(super) fn holds(&self, position: Position) -> bool {
        self.position(position.index) == Some(position)
    }

    fn get(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.base.index)?.checked_sub(1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Appends the next entry.
    pub(super) fn append(&mut self, entry: Entry) {
        assert!(entry.may_follow(self.last()), "an entry follows directly on the last");
        self.entries.push_back(entry);
    }

    /// Removes the entries with this index and above.
    pub(super) fn truncate_from(&mut self, index: u64) {
        assert!(index > self.base.index, "nothing that was compacted can be truncated");
        assert!(index <= self.last().index, "a truncation removes something");
        self.entries.truncate((index - self.base.index - 1) as usize);
        assert!(self.last().index == index - 1, "a truncation leaves all before it");
    }

    /// The index before the entries that end at `through` and are within both bounds.
    pub(super) fn before_trailing(&self, through: u64, entries_max: u64, bytes_max: usize) -> u64 {
        let base = self.base.index;
        let covered = usize::try_from(through.saturating_sub(base)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.payload.len();
            bytes <= bytes_max
        };
        let covered = self.entries.iter().take(covered).rev();
        let kept = covered.take(usize::try_from(entries_max).unwrap_or(usize::MAX)).take_while(fits).count();
        through.saturating_sub(kept as u64)
    }

    /// Removes the entries up to and including `index`, and remembers where they ended.
    pub(super) fn compact(&mut self, index: u64) -> Position {
        assert!(index >= self.base.index, "a compaction never goes back");
        let base = self.position(index).expect("only entries that are kept are compacted");
        self.entries.drain(..(index - self.base.index) as usize);
        self.base = base;
        base
    }

    /// The entries from `first` to `last`, at least one if there is one, within both bounds.
    pub(super) fn slice(&self, first: u64, last: u64, entries_max: usize, bytes_max: usize) -> Vec<Entry> {
        assert!(first > self.base.index, "compacted entries are not asked for");
        let last = last.min(self.last().index);
        let start = (first - self.base.index - 1) as usize;
        let count = usize::try_from((last + 1).saturating_sub(first)).unwrap_or(usize::MAX).min(entries_max);
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes += entry.payload.len().max(1);
            is_first || bytes <= bytes_max
        };
        self.entries.iter().skip(start).take(count).take_while(fits).cloned().collect()
    }

    /// The last position at or before `index` whose term is at most `term`: where a log whose
    /// entry at `index` is of `term` may agree with this one. Skips a conflicting term at a time
    /// (§5.3). Never before the base.
    pub(super) fn last_at_or_below(&self, index: u64, term: Term) -> Position {
        let end = index.min(self.last().index).saturating_sub(self.base.index) as usize;
        let agreeing = self.entries.range(..end).rev().find(|entry| entry.term() <= term);
        agreeing.map_or(self.base, Entry::position)
    }

    /// All entries, in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::entry::EntryKind;
    use super::*;
    use crate::base::ids::Zxid;

    fn log_of(terms: &[(u32, u32)]) -> Log {
        let mut log = Log::new(Position::ZERO);
        for (at, (term, counter)) in terms.iter().enumerate() {
            let kind = if *counter == 0 { EntryKind::NoOp } else { EntryKind::Data };
            let payload = Bytes::from(vec![0; *counter as usize * 10]);
            log.append(Entry { index: at as u64 + 1, zxid: Zxid::new(Term(*term), *counter), kind, payload });
        }
        log
    }

    #[test]
    fn a_slice_holds_one_entry_at_least_and_keeps_both_bounds() {
        let log = log_of(&[(1, 0), (1, 1), (1, 2), (1, 3)]);
        let indexes = |first, last, entries, bytes| {
            log.slice(first, last, entries, bytes).iter().map(|entry| entry.index).collect::<Vec<_>>()
        };
        assert_eq!(indexes(1, 9, 9, 999), [1, 2, 3, 4]);
        assert_eq!(indexes(2, 3, 9, 999), [2, 3]);
        assert_eq!(indexes(1, 4, 2, 999), [1, 2]);
        assert_eq!(indexes(2, 4, 9, 30), [2, 3]);
        assert_eq!(indexes(4, 4, 9, 1), [4]);
        assert!(indexes(5, 9, 9, 9).is_empty());
    }

    #[test]
    fn what_trails_a_snapshot_keeps_both_bounds() {
        let mut log = log_of(&[(1, 0), (1, 1), (1, 2), (1, 3)]);
        assert_eq!(log.before_trailing(4, 9, 999), 0);
        assert_eq!(log.before_trailing(4, 1, 999), 3);
        assert_eq!(log.before_trailing(4, 9, 50), 2);
        assert_eq!(log.before_trailing(3, 9, 29), 2);
        assert_eq!(log.before_trailing(4, 9, 29), 4);
        log.compact(2);
        assert_eq!(log.before_trailing(4, 9, 999), 2);
    }

    #[test]
    fn backtracking_skips_a_whole_conflicting_term() {
        let log = log_of(&[(1, 0), (1, 1), (3, 0), (3, 1), (3, 2)]);
        assert_eq!(log.last_at_or_below(5, Term(2)).index, 2);
        assert_eq!(log.last_at_or_below(5, Term(3)).index, 5);
        assert_eq!(log.last_at_or_below(9, Term(7)).index, 5);
        assert_eq!(log.last_at_or_below(4, Term(0)), Position::ZERO);
    }

    #[test]
    fn a_compacted_log_remembers_where_it_ended() {
        let mut log = log_of(&[(1, 0), (1, 1), (2, 0)]);
        let base = log.compact(2);
        assert_eq!((base.index, base.zxid), (2, Zxid::new(Term(1), 1)));
        assert!(log.holds(base) && !log.holds(Position::ZERO));
        assert_eq!(log.position(1), None);
        log.truncate_from(3);
        assert_eq!(log.last(), base);
    }

    #[test]
    #[should_panic(expected = "nothing that was compacted can be truncated")]
    fn compacted_entries_cannot_be_truncated() {
        let mut log = log_of(&[(1, 0), (1, 1)]);
        log.compact(1);
        log.truncate_from(1);
    }
}
