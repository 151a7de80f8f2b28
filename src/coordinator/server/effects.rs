//! Carrying out what consensus asks for.

use super::{CoordinatorError, Leadership, ReadPurpose, Server};
use crate::base::event::{CoordinatorEvent, Event};
use crate::consensus::{self, Effect};
use crate::coordinator::peers::PeerMessage;
use crate::coordinator::storage::{StorageError, StorageOp, Stored};
use crate::runtime::Runtime;

impl<R: Runtime> Server<R> {
    /// One step of consensus and all its effects, in order.
    pub(super) fn step(&mut self, input: consensus::Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.consensus.step(input, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Arm { timer, shortest, longest } => {
                let span = self.runtime.random_duration("consensus timer", shortest, longest);
                self.timers.insert(timer, self.runtime.now() + span);
            }
            Effect::Disarm(timer) => {
                self.timers.remove(&timer);
            }
            // Consensus bears the loss of a message that finds the queue full.
            Effect::Send { to, message } => {
                self.send(to, &PeerMessage::Consensus(message));
            }
            Effect::Apply { entries } => entries.iter().for_each(|entry| self.apply(entry)),
            Effect::Proposed { .. } => {}
            Effect::ProposalDropped { context, .. } => self.proposal_dropped(context),
            Effect::ReadReady { context, .. } => self.read_ready(context.0),
            Effect::ReadFailed { context, .. } => self.read_failed(context.0),
            Effect::BecameLeader { term } => {
                tracing::info!(server = %self.config.id, %term, "leads");
                self.close_waiting_clients();
                self.leadership = Some(Leadership::new(term));
            }
            Effect::SteppedDown { .. } => {
                tracing::info!(server = %self.config.id, "leads no more");
                self.leadership = None;
                self.close_waiting_clients();
            }
            Effect::LeaderKnown { term, leader } => {
                tracing::info!(server = %self.config.id, %term, %leader, "follows");
                self.close_waiting_clients();
            }
            Effect::Refused { from, refusal } => tracing::warn!(%from, %refusal, "ignored a peer's message"),
            Effect::Fault(fault) => self.failure = Some(CoordinatorError::Fault(fault)),
            Effect::Observe(event) => self.runtime.observe(|| event),
            effect => self.storage_effect(effect),
        }
    }

    fn storage_effect(&mut self, effect: Effect) {
        let len = self.config.limits.snapshot_chunk_bytes_max;
        let op = match effect {
            Effect::Persist(op) => StorageOp::Persist(op),
            Effect::ReadSnapshot { to, position, offset } => StorageOp::Read { to, position, offset, len },
            Effect::StoreSnapshotChunk { position, offset, data } => StorageOp::Store { position, offset, data },
            Effect::InstallSnapshot { position } => StorageOp::Install(position),
            Effect::Compacted { through } => StorageOp::Compact(through),
            other => unreachable!("{other:?} is carried out elsewhere"),
        };
        self.storage_ops.push(op);
    }

    /// The storage finished its batch.
    pub(super) fn stored(&mut self, result: Result<Vec<Stored>, StorageError>) {
        self.storage_busy = false;
        match result {
            Ok(done) => done.into_iter().for_each(|stored| self.stored_one(stored)),
            Err(error) => self.failure = Some(error.into()),
        }
    }

    fn stored_one(&mut self, stored: Stored) {
        let input = match stored {
            Stored::Persisted(id) => consensus::Input::Persisted { id },
            Stored::Snapshot(position) => consensus::Input::SnapshotTaken { position },
            Stored::Read { to, position, offset, data: Some((data, done)) } => {
                consensus::Input::SnapshotRead { to, position, offset, data, done }
            }
            Stored::Read { to, position, data: None, .. } => consensus::Input::SnapshotUnreadable { to, position },
            Stored::Chunk { position, next_offset } => consensus::Input::SnapshotStored { position, next_offset },
            Stored::Invalid(position) => consensus::Input::SnapshotInvalid { position },
            Stored::Installed { position, tree } => {
                self.tree = *tree;
                self.applied = position;
                (self.snapshot_index, self.bytes_since_snapshot) = (position.index, 0);
                // Watches may have missed their events: clients come back and set them anew.
                self.close_all_clients();
                let state_digest = self.tree.state_digest();
                self.runtime.observe(|| {
                    let (index, zxid) = (position.index, position.zxid);
                    Event::Coordinator(CoordinatorEvent::SnapshotInstalled { index, zxid, state_digest })
                });
                consensus::Input::SnapshotInstalled { position }
            }
        };
        self.step(input);
    }

    fn read_ready(&mut self, number: u64) {
        match self.reads.remove(&number) {
            Some(ReadPurpose::Sync(connection)) => self.sync_ready(connection, number),
            Some(ReadPurpose::Expiry) => self.expire_due(),
            None => {}
        }
    }

    fn read_failed(&mut self, number: u64) {
        match self.reads.remove(&number) {
            Some(ReadPurpose::Sync(connection)) => self.close_client(connection),
            Some(ReadPurpose::Expiry) => {
                if let Some(leadership) = &mut self.leadership {
                    leadership.confirming = false;
                }
            }
            None => {}
        }
    }
}
