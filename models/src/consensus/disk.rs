//! A server's disk: what a crash leaves.

use std::hash::{Hash, Hasher};

use wyrdlog::consensus::{Entry, HardState, PersistOp, Position};

/// What a crash leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    pub hard_state: HardState,
    /// The newest snapshot.
    pub snapshot: Position,
    /// The position before the first entry.
    pub base: Position,
    pub entries: Vec<Entry>,
}

/// What a disk was told and has not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Make this durable.
    Persist(PersistOp),
    /// Make the snapshot that was received the snapshot.
    Install(Position),
}

/// Ids of persists are names, which make no difference to what can happen next.
impl Hash for Work {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Work::Persist(op) => (op.hard_state, op.reset_to, op.truncate_from, &op.entries).hash(state),
            Work::Install(position) => position.hash(state),
        }
    }
}

impl Work {
    /// Whether a crash that comes before it takes entries.
    pub fn holds_entries(&self) -> bool {
        matches!(self, Work::Persist(op) if !op.entries.is_empty())
    }

    /// Whether it removes entries.
    pub fn truncates(&self) -> bool {
        matches!(self, Work::Persist(op) if op.truncate_from.is_some())
    }
}

impl Disk {
    /// Does what it was told.
    pub fn write(&mut self, work: &Work) {
        let op = match work {
            Work::Persist(op) => op,
            Work::Install(position) => return self.snapshot = *position,
        };
        self.hard_state = op.hard_state.unwrap_or(self.hard_state);
        if let Some(position) = op.reset_to {
            (self.base, self.entries) = (position, Vec::new());
        }
        if let Some(from) = op.truncate_from {
            self.entries.retain(|entry| entry.index < from);
        }
        self.entries.extend(op.entries.iter().cloned());
    }

    /// The log up to here is in a snapshot, and its files are removed.
    pub fn compact(&mut self, through: Position) {
        self.entries.retain(|entry| entry.index > through.index);
        self.base = through;
    }
}
