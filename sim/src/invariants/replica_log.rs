//! A replica's log as events show it: which batches, from where to where.

use std::collections::VecDeque;

use wyrdlog::base::event::AppendedBatch;

use crate::observed::DiskLog;

/// One replica's log, batch by batch. A batch stands for its bytes through its CRC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaLog {
    /// The first offset that is kept.
    pub start: i64,
    /// The offset after the last record.
    pub end: i64,
    /// The batches, by offset.
    pub batches: VecDeque<AppendedBatch>,
    /// Batches that were truncated since the last sync: until then a power cut may bring them back.
    ghosts: Vec<AppendedBatch>,
}

impl ReplicaLog {
    /// Takes an append.
    pub fn append(&mut self, batch: AppendedBatch, log_end: i64) {
        self.batches.push_back(batch);
        self.end = log_end;
    }

    /// Removes everything at and after `log_end`.
    pub fn truncate(&mut self, log_end: i64) {
        while self.batches.back().is_some_and(|last| last.last_offset >= log_end) {
            self.ghosts.extend(self.batches.pop_back());
        }
        self.end = log_end;
        self.start = self.start.min(log_end);
    }

    /// What was truncated is now durably gone.
    pub fn synced(&mut self) {
        self.ghosts.clear();
    }

    /// Removes everything below `log_start`.
    pub fn advance_start(&mut self, log_start: i64) {
        while self.batches.front().is_some_and(|first| first.last_offset < log_start) {
            self.batches.pop_front();
        }
        self.start = log_start;
        self.end = self.end.max(log_start);
    }

    /// The log was opened again and holds `[log_start, log_end)`; `on_disk` is what its disk holds,
    /// if somebody looked. Gives back whether every record in there is accounted for: written
    /// before, or truncated and not yet synced away.
    pub fn reopen(&mut self, log_start: i64, log_end: i64, on_disk: Option<&DiskLog>) -> bool {
        let accounted = match on_disk {
            Some(found) => self.take_over(found, log_end),
            None => self.bring_back(log_start, log_end),
        };
        self.truncate(log_end);
        self.ghosts.clear();
        self.advance_start(log_start);
        self.end = log_end;
        accounted
    }

    /// Takes over what the disk holds. From bytes that rotted to the next segment, the log is what it was.
    fn take_over(&mut self, found: &DiskLog, log_end: i64) -> bool {
        let known = |batch: &AppendedBatch| {
            batch.last_offset < self.start
                || self.at(batch.base_offset).is_some_and(|own| same(own, batch))
                || self.ghosts.iter().any(|ghost| same(ghost, batch))
        };
        let accounted = found.batches().all(known);
        let mut batches = VecDeque::new();
        for (at, segment) in found.segments.iter().enumerate() {
            batches.extend(&segment.batches);
            if segment.bad.is_some() {
                let next = found.segments.get(at + 1).map_or(i64::MAX, |next| next.base_offset);
                let unread = segment.read_end()..next;
                batches.extend(self.batches.iter().filter(|own| unread.contains(&own.base_offset)));
            }
        }
        (self.batches, self.end) = (batches, log_end);
        accounted
    }

    fn bring_back(&mut self, log_start: i64, log_end: i64) -> bool {
        let mut ghosts = std::mem::take(&mut self.ghosts);
        ghosts.sort_by_key(|ghost| ghost.base_offset);
        while self.end < log_end {
            let Some(back) = ghosts.iter().find(|ghost| ghost.base_offset == self.end).copied() else { break };
            self.append(back, back.last_offset + 1);
        }
        log_end <= self.end || log_end == log_start
    }

    /// The batch that holds `offset`.
    #[must_use]
    pub fn at(&self, offset: i64) -> Option<&AppendedBatch> {
        let at = first_from_the_end(self.batches.len(), |at| self.batches[at].last_offset < offset);
        self.batches.get(at).filter(|batch| batch.base_offset <= offset)
    }

    /// Whether it holds this very batch, or had it before retention removed it.
    #[must_use]
    pub fn holds(&self, batch: &AppendedBatch) -> bool {
        batch.last_offset < self.start || self.at(batch.base_offset).is_some_and(|own| same(own, batch))
    }

    /// The first of `batches`, which ascend, that it does not hold.
    #[must_use]
    pub fn first_lacked<'b>(&self, batches: &'b [AppendedBatch]) -> Option<&'b AppendedBatch> {
        let mut own = self.batches.iter().peekable();
        batches.iter().find(|batch| {
            while own.next_if(|mine| mine.last_offset < batch.base_offset).is_some() {}
            batch.last_offset >= self.start && own.peek().is_none_or(|mine| !same(mine, batch))
        })
    }

    /// The batches from the one that holds `offset` on.
    pub fn from(&self, offset: i64) -> impl Iterator<Item = &AppendedBatch> {
        let at = first_from_the_end(self.batches.len(), |at| self.batches[at].last_offset < offset);
        self.batches.range(at..)
    }
}

/// The first of `len` places that is not below, where all that are below come first. Almost always what
/// is asked for is near the end of a long log: the search begins there.
pub(super) fn first_from_the_end(len: usize, is_below: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high, mut step) = (0, len, 1);
    while high > 0 {
        let at = high.saturating_sub(step);
        if is_below(at) {
            low = at + 1;
            break;
        }
        (high, step) = (at, 2 * step);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if is_below(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Whether two batches are the same bytes at the same place.
#[must_use]
pub fn same(one: &AppendedBatch, other: &AppendedBatch) -> bool {
    (one.base_offset, one.last_offset, one.leader_epoch, one.crc)
        == (other.base_offset, other.last_offset, other.leader_epoch, other.crc)
}

/// A batch, as evidence names it.
#[must_use]
pub fn describe(batch: &AppendedBatch) -> String {
    let AppendedBatch { base_offset, last_offset, leader_epoch, crc, .. } = batch;
    format!("offsets {base_offset}..={last_offset} of leader epoch {leader_epoch} (crc {crc:#010x})")
}

#[cfg(test)]
mod tests {
    use super::super::examples::batch;
    use super::*;

    fn log() -> ReplicaLog {
        let mut log = ReplicaLog::default();
        log.append(batch(0, 1, 1), 2);
        log.append(batch(2, 4, 1), 5);
        log.append(batch(5, 5, 2), 6);
        log
    }

    #[test]
    fn a_search_from_the_end_finds_what_a_search_in_halves_finds() {
        for len in 0..70 {
            for below in 0..=len {
                assert_eq!(first_from_the_end(len, |at| at < below), below, "{below} of {len}");
            }
        }
    }

    #[test]
    fn truncation_removes_whole_batches() {
        let mut log = log();
        log.truncate(5);
        assert_eq!((log.end, log.batches.len()), (5, 2));
        assert!(log.at(5).is_none() && log.at(3).is_some());
    }

    #[test]
    fn a_power_cut_may_bring_back_what_was_truncated_and_not_synced() {
        let mut brought_back = log();
        brought_back.truncate(2);
        assert!(brought_back.clone().reopen(0, 6, None));
        assert!(brought_back.reopen(0, 5, None));
        assert_eq!(brought_back.batches.len(), 2);

        let mut gone = log();
        gone.truncate(2);
        gone.synced();
        assert!(!gone.reopen(0, 5, None));
    }

    #[test]
    fn an_empty_disk_is_accounted_for() {
        let mut log = log();
        assert!(log.reopen(0, 0, None));
        assert_eq!((log.start, log.end, log.batches.len()), (0, 0, 0));
    }

    #[test]
    fn the_first_batch_that_a_log_lacks_is_the_first_that_it_does_not_hold() {
        let mut advanced = log();
        advanced.advance_start(2);
        let rewritten = [batch(0, 1, 1), batch(2, 4, 2), batch(5, 5, 2)];
        let cut_anew = [batch(0, 2, 1), batch(3, 4, 1), batch(5, 5, 2)];
        let longer = [batch(0, 1, 1), batch(2, 4, 1), batch(5, 5, 2), batch(6, 6, 2)];
        for log in [log(), advanced, ReplicaLog::default()] {
            for batches in [&rewritten[..], &cut_anew, &longer, &longer[..3], &longer[1..], &[]] {
                let expected = batches.iter().find(|batch| !log.holds(batch));
                assert_eq!(log.first_lacked(batches), expected, "{log:?} of {batches:?}");
            }
        }
    }

    #[test]
    fn what_retention_removed_counts_as_held() {
        let mut log = log();
        log.advance_start(5);
        assert!(log.holds(&batch(0, 1, 1)));
        assert!(log.holds(&batch(5, 5, 2)) && !log.holds(&batch(5, 5, 3)));
    }
}
