//! Snapshots: taken locally, sent in chunks to followers that need what the log no longer has,
//! and received (§7).
//!
//! One chunk of a transfer is under way at a time. The follower says how many bytes it holds, so
//! that a lost chunk, a lost answer or a new connection resumes where it left off; the heartbeat
//! drives it on. A change of leader starts anew, because two servers' snapshots of one position
//! need not be the same bytes.

use bytes::Bytes;

use crate::base::ids::{ServerId, Term};

use super::effect::Effect;
use super::entry::Position;
use super::log::Log;
use super::message::{Message, Outcome};
use super::progress::{Phase, Transfer};
use super::{Consensus, Role};

/// A snapshot that is being received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Incoming {
    from: ServerId,
    term: Term,
    position: Position,
    /// How many of its bytes are stored.
    stored: u64,
    work: Work,
}

/// What the shell does with it at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Work {
    Idle,
    Storing { next_offset: u64, done: bool },
    Installing,
}

impl Consensus {
    /// Whether a snapshot is about to replace the state and the log.
    pub(super) fn is_installing(&self) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| incoming.work == Work::Installing)
    }

    pub(super) fn snapshot_taken(&mut self, position: Position, effects: &mut Vec<Effect>) {
        if position.index <= self.snapshot.index {
            return;
        }
        assert!(position.index <= self.applied_index, "a snapshot holds applied entries only");
        assert!(self.log.holds(position), "a snapshot ends at an entry of the log");
        self.snapshot = position;
        let (entries, bytes) = (self.config.limits.trailing_entries, self.config.limits.trailing_bytes);
        let through = self.log.before_trailing(position.index, entries, bytes);
        if through > self.log.base().index {
            let through = self.log.compact(through);
            effects.push(Effect::Compacted { through });
        }
    }

    /// The follower needs what was compacted away.
    pub(super) fn begin_snapshot(&mut self, to: ServerId, heartbeat: bool, effects: &mut Vec<Effect>) {
        let position = self.snapshot;
        assert!(position.index >= self.log.base().index, "a snapshot covers what the log no longer has");
        let transfer = Transfer { position, next_offset: 0, reading: true, stalled: false };
        let Some(leadership) = self.leadership_mut() else { return };
        let progress = leadership.progress.get_mut(&to).expect("every peer has its progress");
        progress.phase = Phase::Snapshot(transfer);
        effects.push(Effect::ReadSnapshot { to, position, offset: 0 });
        if heartbeat {
            self.send_heartbeat(to, effects);
        }
    }

    fn transfer_mut(&mut self, to: ServerId, position: Position) -> Option<&mut Transfer> {
        match &mut self.leadership_mut()?.progress.get_mut(&to)?.phase {
            Phase::Snapshot(transfer) if transfer.position == position => Some(transfer),
            _ => None,
        }
    }

    pub(super) fn snapshot_read(
        &mut self,
        to: ServerId,
        position: Position,
        offset: u64,
        data: Bytes,
        done: bool,
        effects: &mut Vec<Effect>,
    ) {
        assert!(data.len() <= self.config.limits.snapshot_chunk_bytes_max, "a chunk keeps its bound");
        let term = self.hard_state.term;
        let Some(transfer) = self.transfer_mut(to, position) else { return };
        if !transfer.reading || transfer.next_offset != offset {
            return;
        }
        (transfer.reading, transfer.stalled) = (false, false);
        let round = self.leadership_mut().map_or(0, |leadership| leadership.reads.round());
        let message = Message::Snapshot { term, position, offset, data, done, round };
        effects.push(Effect::Send { to, message });
    }

    /// That snapshot is gone; the next heartbeat starts over with the present one.
    pub(super) fn snapshot_unreadable(&mut self, to: ServerId, position: Position, _effects: &mut Vec<Effect>) {
        let present = self.snapshot;
        if let Some(transfer) = self.transfer_mut(to, position) {
            *transfer = Transfer { position: present, next_offset: 0, reading: false, stalled: true };
        }
    }

    /// The follower holds `next_offset` bytes: goes on from there.
    pub(super) fn snapshot_response(
        &mut self,
        from: ServerId,
        position: Position,
        next_offset: u64,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(progress) = self.leadership_mut().and_then(|leadership| leadership.progress.get_mut(&from)) {
            progress.active = true;
        }
        let Some(transfer) = self.transfer_mut(from, position).filter(|transfer| !transfer.reading) else { return };
        *transfer = Transfer { position, next_offset, reading: true, stalled: false };
        effects.push(Effect::ReadSnapshot { to: from, position, offset: next_offset });
    }

    /// Repeats the chunk of each transfer of which nothing was heard since the last heartbeat.
    pub(super) fn resume_snapshots(&mut self, effects: &mut Vec<Effect>) {
        let Role::Leader(leadership) = &mut self.role else { return };
        for (to, progress) in &mut leadership.progress {
            let Phase::Snapshot(transfer) = &mut progress.phase else { continue };
            if transfer.stalled && !transfer.reading {
                transfer.reading = true;
                let (position, offset) = (transfer.position, transfer.next_offset);
                effects.push(Effect::ReadSnapshot { to: *to, position, offset });
            }
            transfer.stalled = true;
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn snapshot_chunk(
        &mut self,
        from: ServerId,
        position: Position,
        offset: u64,
        data: Bytes,
        done: bool,
        round: u64,
        effects: &mut Vec<Effect>,
    ) {
        if self.is_installing() {
            return;
        }
        if position.index <= self.commit_index || self.log.holds(position) {
            return self.snapshot_not_needed(from, position, round, effects);
        }
        let term = self.hard_state.term;
        let is_same = |known: &Incoming| (known.from, known.term, known.position) == (from, term, position);
        let incoming = match &mut self.incoming {
            Some(known) if matches!(known.work, Work::Storing { .. }) => return,
            Some(known) if is_same(known) => known,
            slot => slot.insert(Incoming { from, term, position, stored: 0, work: Work::Idle }),
        };
        if offset != incoming.stored {
            let message = Message::SnapshotResponse { term, position, next_offset: incoming.stored };
            return effects.push(Effect::Send { to: from, message });
        }
        incoming.work = Work::Storing { next_offset: offset + data.len() as u64, done };
        effects.push(Effect::StoreSnapshotChunk { position, offset, data });
    }

    /// What a snapshot covers is committed, so a log that holds its last entry holds all of it.
    fn snapshot_not_needed(&mut self, from: ServerId, position: Position, round: u64, effects: &mut Vec<Effect>) {
        self.commit_index = self.commit_index.max(position.index);
        let index = self.commit_index.min(self.counted_index());
        let message = self.append_response_message(round, Outcome::Matched { index });
        effects.push(Effect::Send { to: from, message });
    }

    pub(super) fn snapshot_stored(&mut self, position: Position, next_offset: u64, effects: &mut Vec<Effect>) {
        let term = self.hard_state.term;
        let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.position == position) else { return };
        let Work::Storing { next_offset: expected, done } = incoming.work else { return };
        assert!(next_offset == expected, "a chunk is stored whole");
        incoming.stored = next_offset;
        incoming.work = if done { Work::Installing } else { Work::Idle };
        let (to, message) = (incoming.from, Message::SnapshotResponse { term, position, next_offset });
        let is_behind = position.index > self.commit_index && !self.log.holds(position);
        if !is_behind || !matches!(self.role, Role::Follower) {
            self.incoming = None;
        } else if done {
            effects.push(Effect::InstallSnapshot { position });
        } else {
            effects.push(Effect::Send { to, message });
        }
    }

    /// The snapshot is durable and is the state now. The log goes on after it.
    pub(super) fn snapshot_installed(&mut self, position: Position, effects: &mut Vec<Effect>) {
        assert!(self.is_installing(), "only a snapshot that was asked for is installed");
        let Some(incoming) = self.incoming.take() else { return };
        assert!(incoming.position == position, "the snapshot that was asked for is installed");
        assert!(position.index > self.commit_index, "an installed snapshot is ahead of what was committed here");
        assert!(!self.is_leader(), "a leader installs no snapshot");
        self.log = Log::new(position);
        self.durability.stage_reset(position);
        (self.snapshot, self.commit_index, self.applied_index) = (position, position.index, position.index);
        if let Some(to) = self.leader {
            let message = self.append_response_message(0, Outcome::Matched { index: position.index });
            self.send_when_durable(to, message, effects);
        }
    }

    /// What was received is no snapshot: the leader starts over.
    pub(super) fn snapshot_invalid(&mut self, position: Position, effects: &mut Vec<Effect>) {
        let term = self.hard_state.term;
        let Some(incoming) = self.incoming.take_if(|incoming| incoming.position == position) else { return };
        let message = Message::SnapshotResponse { term, position, next_offset: 0 };
        effects.push(Effect::Send { to: incoming.from, message });
    }
}
