//! The controller, as a pure state machine: from live brokers and topics to leaders, in-sync sets
//! and eligible sets, and from committed changes to metadata that is pushed to brokers.
//!
//! **What it promises.** Every change of a partition's state is conditional on the state it was
//! derived from and on the controller epoch. A leader is a live member of the in-sync set or a live
//! eligible replica, in an incarnation that has lost nothing (KIP-966); there is no unclean
//! election. A restart is a failure followed by a start: it raises the leader epoch even if the
//! leader stays. A proposal is accepted only for members that live in the incarnation it names
//! (KIP-903). Brokers learn only what is committed.
//!
//! **What it leaves to others.** The tree and its watches, sessions, elections of the controller,
//! sockets and retries (the broker's shell); what a replica does with a state (`replication`).
//!
//! # Contract with the shell
//!
//! 1. On winning the election the shell raises the controller epoch's znode, syncs, reads the tree
//!    and says [`Input::Elected`]. On losing its session or the election's znode: [`Input::Deposed`].
//! 2. [`Effect::Write`] becomes one multi, whose first operation checks the version of the controller
//!    epoch's znode where `fenced` says so; its outcome is reported exactly once. Nothing else is
//!    written to those znodes. [`Effect::ReadTree`] follows a lost or refused write.
//! 3. [`Effect::Push`]es to one broker are delivered in order, or not at all and then answered by
//!    [`Input::SnapshotRequested`].
//! 4. A reply comes exactly once for each request, also when the controller is deposed.

mod active;
mod assignment;
mod election;
mod message;
pub mod metadata;
mod plan;
mod registration;
#[cfg(test)]
mod tests;

pub use active::{REQUESTS_WAITING_MAX, WRITE_CHANGES_MAX};
pub use assignment::PARTITIONS_PER_REQUEST_MAX;
pub use message::{
    AlterPartition, Answer, Assignment, Change, Effect, Input, Outcome, Refusal, Request, RequestId, Tree, WriteId,
};
pub use registration::{INCARNATIONS_MAX, LastShutdown, Lineage, Registration};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::event::ControllerEvent;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicPartition, Zxid};
use crate::base::partition_state::PartitionState;
use crate::base::plants::{Plant, Plants};
use active::{Active, Draft, Outstanding, Write};
use metadata::{BrokerMetadata, ClusterMetadata, MetadataChange, MetadataContent, MetadataUpdate};

/// The controller that a broker is, whenever it is elected. See the module's contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    broker: BrokerId,
    plants: Plants,
    active: Option<Active>,
    last_write: WriteId,
}

impl Controller {
    /// A controller out of office.
    #[must_use]
    pub fn new(broker: BrokerId, plants: Plants) -> Self {
        Controller { broker, plants, active: None, last_write: WriteId(0) }
    }

    /// The epoch of its office, while it is in it.
    #[must_use]
    pub fn controller_epoch(&self) -> Option<ControllerEpoch> {
        self.active.as_ref().map(|active| active.controller_epoch)
    }

    /// What it knows to be committed, while it is in office.
    #[must_use]
    pub fn metadata(&self) -> Option<&ClusterMetadata> {
        self.active.as_ref().map(|active| &active.metadata)
    }

    /// Takes one input and says what is to be done, in order. Nothing else changes the controller.
    pub fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Elected { controller_epoch, tree } => self.on_elected(controller_epoch, tree, effects),
            Input::TreeRead { tree } => self.on_tree_read(tree, effects),
            Input::Deposed => self.depose(false, effects),
            Input::BrokerStarted(registration) => self.on_broker_started(registration, effects),
            Input::BrokerEnded { broker, broker_epoch } => self.on_broker_ended(broker, broker_epoch, effects),
            Input::Request { id, request } => self.on_request(id, request, effects),
            Input::SnapshotRequested { broker, broker_epoch } => {
                self.on_snapshot_requested(broker, broker_epoch, effects)
            }
            Input::Written { write, outcome } => self.on_written(write, outcome, effects),
        }
        self.write_next(effects);
    }

    fn on_elected(&mut self, controller_epoch: ControllerEpoch, tree: Tree, effects: &mut Vec<Effect>) {
        if self.controller_epoch().is_some_and(|current| current >= controller_epoch) {
            return;
        }
        self.depose(false, effects);
        let written = tree.written.clone();
        self.active = Some(Active::new(controller_epoch, tree));
        effects.push(Effect::Observe(ControllerEvent::Elected { controller_epoch }));
        self.observe_found(&ClusterMetadata::default(), &written, effects);
        self.push_snapshots(effects);
    }

    fn on_tree_read(&mut self, tree: Tree, effects: &mut Vec<Effect>) {
        let Some(active) = &mut self.active else { return };
        if active.outstanding == Outstanding::Read {
            let written = tree.written.clone();
            let before = active.adopt(tree);
            self.observe_found(&before, &written, effects);
            self.push_snapshots(effects);
        }
    }

    /// Tells of the states that are others than `before`.
    fn observe_found(
        &self,
        before: &ClusterMetadata,
        written: &BTreeMap<TopicPartition, (ControllerEpoch, Zxid)>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(active) = &self.active else { return };
        let differs =
            |(partition, state): &(TopicPartition, &PartitionState)| before.partition(partition) != Some(*state);
        effects.extend(active.partitions().filter(differs).map(|(partition, state)| {
            let written = written.get(&partition).copied();
            Effect::Observe(ControllerEvent::Found { partition, state: state.clone(), written })
        }));
    }

    /// Leaves office. `refused` says whether it learned so from a write.
    fn depose(&mut self, refused: bool, effects: &mut Vec<Effect>) {
        let Some(active) = self.active.take() else { return };
        let mut while_writing = refused;
        if let Outstanding::Write(write) = active.outstanding {
            while_writing = true;
            let refusal = if refused { Refusal::NotController } else { Refusal::Unknown };
            reply_all(write.replies.iter().map(|(id, _)| *id), &refusal, effects);
        }
        reply_all(active.waiting.iter().map(|(id, _)| *id), &Refusal::NotController, effects);
        let controller_epoch = active.controller_epoch;
        effects.push(Effect::Observe(ControllerEvent::Deposed { controller_epoch, while_writing }));
    }

    fn on_broker_started(&mut self, registration: Registration, effects: &mut Vec<Effect>) {
        let Some(active) = &mut self.active else { return };
        let (broker, broker_epoch) = (registration.broker, registration.broker_epoch);
        if active.live.brokers.get(&broker).is_some_and(|live| live.broker_epoch >= broker_epoch) {
            return;
        }
        let clean = registration.shutdown == LastShutdown::Clean;
        effects.push(Effect::Observe(ControllerEvent::BrokerStarted { broker, broker_epoch, clean }));
        let now = Some(registration.metadata());
        active.live.shutting_down.remove(&broker);
        active.live.brokers.insert(broker, registration);
        active.pushed.remove(&broker);
        active.unsettled = true;
        self.publish_broker(broker, now, effects);
        self.push_snapshot(broker, effects);
    }

    fn on_broker_ended(&mut self, broker: BrokerId, broker_epoch: BrokerEpoch, effects: &mut Vec<Effect>) {
        let Some(active) = &mut self.active else { return };
        if active.live.brokers.get(&broker).is_none_or(|live| live.broker_epoch != broker_epoch) {
            return;
        }
        active.live.brokers.remove(&broker);
        active.live.shutting_down.remove(&broker);
        active.pushed.remove(&broker);
        active.unsettled = true;
        self.publish_broker(broker, None, effects);
    }

    fn on_request(&mut self, id: RequestId, request: Request, effects: &mut Vec<Effect>) {
        let refusal = match &mut self.active {
            None => Refusal::NotController,
            Some(active) if active.waiting.len() >= REQUESTS_WAITING_MAX => Refusal::TryAgain,
            Some(active) => {
                if let Request::ControlledShutdown { broker, broker_epoch } = request {
                    active.begin_shutdown(broker, broker_epoch);
                }
                active.waiting.push_back((id, request));
                return;
            }
        };
        effects.push(Effect::Reply { id, result: Err(refusal) });
    }

    fn on_snapshot_requested(&mut self, broker: BrokerId, broker_epoch: BrokerEpoch, effects: &mut Vec<Effect>) {
        let live = self.active.as_ref().and_then(|active| active.live.brokers.get(&broker));
        if live.is_some_and(|live| live.broker_epoch == broker_epoch) {
            self.push_snapshot(broker, effects);
        }
    }

    fn on_written(&mut self, id: WriteId, outcome: Outcome, effects: &mut Vec<Effect>) {
        let Some(active) = &mut self.active else { return };
        if !matches!(&active.outstanding, Outstanding::Write(write) if write.id == id) {
            return;
        }
        if outcome == Outcome::Fenced {
            return self.depose(true, effects);
        }
        let Outstanding::Write(write) = std::mem::replace(&mut active.outstanding, Outstanding::Nothing) else {
            return;
        };
        let refusal = match outcome {
            Outcome::Committed { zxid } => return self.on_committed(write, zxid, effects),
            Outcome::Conflict | Outcome::Fenced => Refusal::TryAgain,
            Outcome::Unknown => Refusal::Unknown,
        };
        // What the tree holds is no longer known: nothing is decided before it has been read.
        active.outstanding = Outstanding::Read;
        effects.push(Effect::ReadTree);
        reply_all(write.replies.iter().map(|(id, _)| *id), &refusal, effects);
    }

    fn on_committed(&mut self, write: Write, zxid: Zxid, effects: &mut Vec<Effect>) {
        let Some(active) = &mut self.active else { return };
        let controller_epoch = active.controller_epoch;
        for (partition, state) in write.changes.iter().flat_map(states_in) {
            effects.push(Effect::Observe(ControllerEvent::Committed { partition, state, controller_epoch, zxid }));
        }
        let news = active.commit(write.changes);
        self.publish(news, effects);
        effects.extend(write.replies.into_iter().map(|(id, answer)| Effect::Reply { id, result: Ok(answer) }));
    }

    /// Writes what is due, unless something is outstanding.
    fn write_next(&mut self, effects: &mut Vec<Effect>) {
        let Some(active) = &mut self.active else { return };
        if active.outstanding != Outstanding::Nothing {
            return;
        }
        let Draft { changes, replies, taken, .. } = active.draft(self.plants);
        effects.extend(taken.into_iter().map(Effect::PlantTaken));
        let (done, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|(_, result)| result.is_ok());
        effects.extend(refused.into_iter().map(|(id, result)| Effect::Reply { id, result }));
        if changes.is_empty() {
            effects.extend(done.into_iter().map(|(id, result)| Effect::Reply { id, result }));
            return;
        }
        self.last_write = WriteId(self.last_write.0 + 1);
        let replies = done.into_iter().filter_map(|(id, result)| Some((id, result.ok()?))).collect();
        active.outstanding = Outstanding::Write(Write { id: self.last_write, changes: changes.clone(), replies });
        let fenced = !self.plants.is(Plant::Kafka6082);
        if !fenced {
            effects.push(Effect::PlantTaken(Plant::Kafka6082));
        }
        effects.push(Effect::Write { write: self.last_write, changes, fenced });
    }

    fn publish_broker(&mut self, broker: BrokerId, now: Option<BrokerMetadata>, effects: &mut Vec<Effect>) {
        let change = MetadataChange::Broker { broker, now };
        if let Some(active) = &mut self.active {
            active.metadata.apply(&change);
        }
        self.publish(vec![change], effects);
    }

    /// Pushes changes to every broker that has its snapshot.
    fn publish(&mut self, changes: Vec<MetadataChange>, effects: &mut Vec<Effect>) {
        let Some(active) = &mut self.active else { return };
        if changes.is_empty() {
            return;
        }
        let content = MetadataContent::Delta(Arc::new(changes));
        let brokers: Vec<_> = active.pushed.keys().copied().collect();
        brokers.into_iter().for_each(|broker| self.push(broker, content.clone(), effects));
    }

    fn push_snapshots(&mut self, effects: &mut Vec<Effect>) {
        let Some(active) = &self.active else { return };
        let snapshot = MetadataContent::Snapshot(Arc::new(active.metadata.clone()));
        let brokers: Vec<_> = active.live.brokers.keys().copied().collect();
        brokers.into_iter().for_each(|broker| self.push(broker, snapshot.clone(), effects));
    }

    fn push_snapshot(&mut self, broker: BrokerId, effects: &mut Vec<Effect>) {
        let Some(active) = &self.active else { return };
        let snapshot = MetadataContent::Snapshot(Arc::new(active.metadata.clone()));
        self.push(broker, snapshot, effects);
    }

    fn push(&mut self, broker: BrokerId, content: MetadataContent, effects: &mut Vec<Effect>) {
        let Some(active) = &mut self.active else { return };
        let Some(live) = active.live.brokers.get(&broker) else { return };
        let sequence = active.pushed.get(&broker).map_or(0, |last| last + 1);
        active.pushed.insert(broker, sequence);
        let (controller, controller_epoch) = (self.broker, active.controller_epoch);
        let update =
            MetadataUpdate { controller, controller_epoch, broker_epoch: live.broker_epoch, sequence, content };
        effects.push(Effect::Push { broker, update });
    }
}

impl Active {
    fn begin_shutdown(&mut self, broker: BrokerId, broker_epoch: BrokerEpoch) {
        if self.live.brokers.get(&broker).is_some_and(|live| live.broker_epoch == broker_epoch) {
            self.live.shutting_down.insert(broker);
            self.unsettled = true;
        }
    }
}

fn reply_all(ids: impl Iterator<Item = RequestId>, refusal: &Refusal, effects: &mut Vec<Effect>) {
    effects.extend(ids.map(|id| Effect::Reply { id, result: Err(refusal.clone()) }));
}

/// The partition states that a change commits.
fn states_in(change: &Change) -> Vec<(TopicPartition, PartitionState)> {
    let numbered = |topic: &Arc<str>, first: usize, states: &[PartitionState]| {
        let states = states.iter().enumerate();
        states.map(|(index, state)| (plan::partition_at(topic, first + index), state.clone())).collect()
    };
    match change {
        Change::State { partition, state, .. } => vec![(partition.clone(), state.clone())],
        Change::CreateTopic { topic, metadata } => numbered(topic, 0, &metadata.partitions),
        Change::CreatePartitions { topic, first, states } => numbered(topic, *first, states),
        Change::SetTopic { .. } | Change::DeleteTopic { .. } => Vec::new(),
    }
}
