//! What the records of the write-ahead log say, and how they add up to a state.
//!
//! | kind (1 byte) | rest, big-endian                                                   |
//! |---------------|--------------------------------------------------------------------|
//! | 1 hard state  | term u32, server voted for u32 (0: none)                           |
//! | 2 reset       | index u64, zxid i64: the log is empty and goes on after this       |
//! | 3 truncate    | index u64: entries with this index and above are gone              |
//! | 4 entry       | index u64, zxid i64, entry kind u8 (0 no-op, 1 data), payload      |

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::wal::Wal;
use crate::base::ids::{ServerId, Term, Zxid};
use crate::consensus::{Entry, EntryKind, HardState, PersistOp, Position};
use crate::runtime::Disk;

const HARD_STATE: u8 = 1;
const RESET: u8 = 2;
const TRUNCATE: u8 = 3;
const ENTRY: u8 = 4;

/// A record that no correct server has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {number} of the write-ahead log {problem}")]
pub struct BadRecord {
    /// Counted from 0.
    pub number: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// The hard state and the log as the records leave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// The last hard state.
    pub hard_state: HardState,
    /// The position after which `entries` begin.
    pub base: Position,
    /// Without gaps.
    pub entries: VecDeque<Entry>,
}

impl LogState {
    /// Replays records in the order in which they were written.
    pub fn replay(records: &[Bytes]) -> Result<LogState, BadRecord> {
        let mut state = LogState::default();
        for (number, record) in records.iter().enumerate() {
            state.replay_one(record.clone()).map_err(|problem| BadRecord { number, problem })?;
        }
        Ok(state)
    }

    fn replay_one(&mut self, mut record: Bytes) -> Result<(), &'static str> {
        let kind = record.try_get_u8().map_err(|_| "is empty")?;
        match (kind, record.len()) {
            (HARD_STATE, 8) => {
                let term = Term(record.get_u32());
                let voted_for = Some(ServerId(record.get_u32())).filter(|server| server.0 != 0);
                self.hard_state = HardState { term, voted_for };
            }
            (RESET, 16) => {
                self.base = Position { index: record.get_u64(), zxid: Zxid(record.get_i64()) };
                self.entries.clear();
            }
            (TRUNCATE, 8) => return self.truncate_from(record.get_u64()),
            (ENTRY, 17..) => return self.append(read_entry(record)?),
            (HARD_STATE | RESET | TRUNCATE | ENTRY, _) => return Err("has a wrong length"),
            _ => return Err("is of an unknown kind; was it written by a newer version?"),
        }
        Ok(())
    }

    /// Applies what a persist asks for; the same change as replaying its records.
    pub fn apply(&mut self, op: &PersistOp) -> Result<(), &'static str> {
        if let Some(hard_state) = op.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(base) = op.reset_to {
            self.base = base;
            self.entries.clear();
        }
        if let Some(index) = op.truncate_from {
            self.truncate_from(index)?;
        }
        op.entries.iter().try_for_each(|entry| self.append(entry.clone()))
    }

    /// Forgets the entries up to `through`, which a snapshot covers.
    pub fn compact(&mut self, through: Position) {
        while self.entries.front().is_some_and(|entry| entry.index <= through.index) {
            self.entries.pop_front();
        }
        if through.index > self.base.index {
            self.base = through;
        }
    }

    fn last(&self) -> Position {
        self.entries.back().map_or(self.base, Entry::position)
    }

    fn append(&mut self, entry: Entry) -> Result<(), &'static str> {
        if !entry.may_follow(self.last()) {
            return Err("does not follow on the entry before it");
        }
        self.entries.push_back(entry);
        Ok(())
    }

    fn truncate_from(&mut self, index: u64) -> Result<(), &'static str> {
        let keep = index.checked_sub(self.base.index + 1).ok_or("truncates what a snapshot covers")?;
        self.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        Ok(())
    }
}

fn read_entry(mut record: Bytes) -> Result<Entry, &'static str> {
    let index = record.get_u64();
    let zxid = Zxid(record.get_i64());
    let kind = match record.get_u8() {
        0 => EntryKind::NoOp,
        1 => EntryKind::Data,
        _ => return Err("holds an entry of an unknown kind"),
    };
    Ok(Entry { index, zxid, kind, payload: record })
}

/// Pushes the records that `op` asks for.
pub fn push_op<D: Disk>(wal: &mut Wal<D>, op: &PersistOp) {
    if let Some(hard_state) = op.hard_state {
        push_hard_state(wal, hard_state);
    }
    if let Some(base) = op.reset_to {
        push_reset(wal, base);
    }
    if let Some(index) = op.truncate_from {
        wal.push(&[&[TRUNCATE], &index.to_be_bytes()]);
    }
    op.entries.iter().for_each(|entry| push_entry(wal, entry));
}

/// Pushes records from which [`LogState::replay`] makes `state`.
pub fn push_state<D: Disk>(wal: &mut Wal<D>, state: &LogState) {
    push_hard_state(wal, state.hard_state);
    push_reset(wal, state.base);
    state.entries.iter().for_each(|entry| push_entry(wal, entry));
}

fn push_hard_state<D: Disk>(wal: &mut Wal<D>, hard_state: HardState) {
    let voted_for = hard_state.voted_for.map_or(0, |server| server.0);
    wal.push(&[&[HARD_STATE], &hard_state.term.0.to_be_bytes(), &voted_for.to_be_bytes()]);
}

fn push_reset<D: Disk>(wal: &mut Wal<D>, base: Position) {
    wal.push(&[&[RESET], &base.index.to_be_bytes(), &base.zxid.0.to_be_bytes()]);
}

fn push_entry<D: Disk>(wal: &mut Wal<D>, entry: &Entry) {
    let kind = match entry.kind {
        EntryKind::NoOp => 0,
        EntryKind::Data => 1,
    };
    wal.push(&[&[ENTRY], &entry.index.to_be_bytes(), &entry.zxid.0.to_be_bytes(), &[kind], &entry.payload]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, fields: &[&[u8]]) -> Bytes {
        let mut bytes = vec![kind];
        fields.iter().for_each(|field| bytes.extend_from_slice(field));
        Bytes::from(bytes)
    }

    fn entry(index: u64, counter: u32) -> Bytes {
        let zxid = Zxid::new(Term(1), counter).0.to_be_bytes();
        record(ENTRY, &[&index.to_be_bytes(), &zxid, &[u8::from(counter > 0)], b"payload"])
    }

    #[test]
    fn records_replay_to_the_state_that_they_describe() {
        let records = [
            record(HARD_STATE, &[&3u32.to_be_bytes(), &2u32.to_be_bytes()]),
            entry(1, 0),
            entry(2, 1),
            entry(3, 2),
            record(TRUNCATE, &[&3u64.to_be_bytes()]),
            entry(3, 2),
        ];
        let state = LogState::replay(&records).expect("good records");
        assert_eq!(state.hard_state, HardState { term: Term(3), voted_for: Some(ServerId(2)) });
        assert_eq!(state.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_reset_starts_the_log_anew_behind_the_snapshot() {
        let zxid = Zxid::new(Term(1), 8).0.to_be_bytes();
        let records = [entry(1, 0), record(RESET, &[&9u64.to_be_bytes(), &zxid]), entry(10, 9)];
        let state = LogState::replay(&records).expect("good records");
        assert_eq!((state.base.index, state.entries.len()), (9, 1));
    }

    #[test]
    fn compacting_keeps_what_the_snapshot_does_not_cover() {
        let mut state = LogState::replay(&[entry(1, 0), entry(2, 1), entry(3, 2)]).expect("good records");
        state.compact(Position { index: 2, zxid: Zxid::new(Term(1), 1) });
        assert_eq!((state.base.index, state.entries.len()), (2, 1));
        assert_eq!(state.truncate_from(2), Err("truncates what a snapshot covers"));
    }

    #[test]
    fn a_record_that_cannot_be_is_named() {
        for (bad, number) in [
            (vec![entry(1, 0), entry(3, 1)], 1),
            (vec![Bytes::new()], 0),
            (vec![record(9, &[])], 0),
            (vec![record(ENTRY, &[&[0; 5]])], 0),
            (vec![record(HARD_STATE, &[&[0; 9]])], 0),
        ] {
            assert_eq!(LogState::replay(&bad).expect_err("bad").number, number);
        }
    }
}
