//! The controller and the tree behind it: registrations, proposals, writes that are accepted, refused
//! or of unknown outcome, and the election of another controller.

use std::collections::VecDeque;
use std::sync::Arc;

use wyrdlog::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId, Zxid};
use wyrdlog::base::partition_state::{InSyncReplica, PartitionState};
use wyrdlog::base::plants::Plants;
use wyrdlog::controller::metadata::{ClusterMetadata, MetadataChange, MetadataContent, TopicMetadata, TopicSettings};
use wyrdlog::controller::{
    AlterPartition, Answer, Change, Controller, Effect, Input, LastShutdown, Lineage, Outcome, Refusal, Registration,
    Request, RequestId, Tree,
};
use wyrdlog::replication::{self, InSyncAnswer};

use super::bounds::Bounds;
use super::state::{BROKERS, Broken, MIN_IN_SYNC, State, Write, id, index, partition};

/// What becomes of a write that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reaches the tree, and the controller is told what the tree made of it.
    Told,
    /// It reaches the tree, and the controller is not told.
    Untold,
    /// It never reaches the tree, and the controller is not told.
    Lost,
}

/// The partition as it is created.
pub fn first_partition() -> PartitionState {
    let members = (0..BROKERS).map(|broker| InSyncReplica { broker: id(broker), broker_epoch: first_epoch(broker) });
    PartitionState {
        leader: Some(id(0)),
        replicas: (0..BROKERS).map(id).collect(),
        in_sync: members.collect(),
        ..PartitionState::default()
    }
}

/// A broker's first incarnation.
pub fn first_epoch(broker: usize) -> BrokerEpoch {
    BrokerEpoch(super::state::offset(broker))
}

/// A registration.
pub fn registration(
    broker: usize,
    broker_epoch: BrokerEpoch,
    previous: Option<Lineage>,
    shutdown: LastShutdown,
) -> Registration {
    Registration { broker: id(broker), broker_epoch, previous, shutdown, endpoints: Vec::new(), rack: None }
}

impl State {
    /// Elects a controller in the epoch after all before; who it is makes no difference.
    pub fn elect_controller(&mut self, bounds: &Bounds, plants: Plants) {
        let controller_epoch = ControllerEpoch(i32::from(self.spent.failovers) + 1);
        self.controller = Arc::new(Controller::new(BrokerId(9), plants));
        let tree = self.read_tree(bounds);
        self.control(bounds, Input::Elected { controller_epoch, tree });
    }

    /// Another controller is elected while the write of the one before is still on its way.
    pub fn fail_over(&mut self, bounds: &Bounds, plants: Plants) {
        self.spent.failovers += 1;
        if let Some(write) = self.write.take() {
            let deposed = (Controller::clone(&self.controller), Write::clone(&write));
            self.deposed = Some(Arc::new(deposed));
        }
        self.elect_controller(bounds, plants);
    }

    fn read_tree(&self, bounds: &Bounds) -> Tree {
        let settings =
            TopicSettings { min_in_sync: MIN_IN_SYNC, durability: bounds.durability, configs: Default::default() };
        let partitions = vec![PartitionState::clone(&self.tree)];
        let topic = TopicMetadata { id: TopicId::ZERO, settings, partitions };
        let live = self.brokers.iter().filter(|broker| broker.registered);
        Tree {
            brokers: live.map(|broker| broker.registration.clone()).collect(),
            topics: [(partition().topic, topic)].into(),
            ..Tree::default()
        }
    }

    /// Steps the controller and carries out what it asks for.
    pub fn control(&mut self, bounds: &Bounds, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            Arc::make_mut(&mut self.controller).step(input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Write { write, changes, fenced } if self.slow_writes => {
                        self.write = Some(Arc::new(Write { id: write, changes, fenced }));
                    }
                    Effect::Write { write, changes, .. } => {
                        inputs.push_back(Input::Written { write, outcome: self.commit(&changes) });
                    }
                    Effect::ReadTree => inputs.push_back(Input::TreeRead { tree: self.read_tree(bounds) }),
                    Effect::Push { broker, update } => self.push(index(broker), &update.content),
                    Effect::Reply { id, result } => self.reply(id, result),
                    _ => {}
                }
            }
        }
    }

    /// The controller's write meets its fate.
    pub fn end_write(&mut self, bounds: &Bounds, fate: Fate) {
        let Some(write) = self.write.take() else { return };
        let outcome = if fate == Fate::Lost { Outcome::Unknown } else { self.commit(&write.changes) };
        let told = if fate == Fate::Told { outcome } else { Outcome::Unknown };
        self.spent.unknown += u8::from(fate != Fate::Told);
        self.control(bounds, Input::Written { write: write.id, outcome: told });
    }

    /// The write of a controller that was deposed meanwhile reaches the tree.
    pub fn end_late_write(&mut self) {
        let Some(deposed) = self.deposed.take() else { return };
        let (mut controller, write) = Arc::unwrap_or_clone(deposed);
        self.spent.late += 1;
        let outcome = if write.fenced { Outcome::Fenced } else { self.commit(&write.changes) };
        controller.step(Input::Written { write: write.id, outcome }, &mut Vec::new());
        if matches!(outcome, Outcome::Committed { .. }) {
            self.broken = self.broken.or(Some(Broken::DeposedWrite));
        } else if outcome == Outcome::Fenced && controller.controller_epoch().is_some() {
            self.broken = self.broken.or(Some(Broken::StaysInOffice));
        }
    }

    /// One multi: every znode has the version that is expected of it, or nothing is done.
    fn commit(&mut self, changes: &[Change]) -> Outcome {
        let mut now = self.tree.clone();
        for change in changes {
            let Change::State { expected_version, state, .. } = change else { continue };
            if *expected_version != now.partition_epoch {
                return Outcome::Conflict;
            }
            now = Arc::new(state.clone());
        }
        self.tree = now;
        Outcome::Committed { zxid: Zxid(0) }
    }

    fn push(&mut self, broker: usize, content: &MetadataContent) {
        let of = |metadata: &ClusterMetadata| metadata.partition(&partition()).cloned();
        let pushed = match content {
            MetadataContent::Snapshot(metadata) => of(metadata),
            MetadataContent::Delta(changes) => changes.iter().find_map(|change| match change {
                MetadataChange::Partition { now, .. } => Some(now.clone()),
                _ => None,
            }),
        };
        let Some(state) = pushed else { return };
        let broker = self.broker(broker);
        let last = broker.states.back().map(|last| last.partition_epoch);
        let known = last.or(broker.replica.state().map(|known| known.partition_epoch));
        if broker.up && known.is_none_or(|known| known < state.partition_epoch) {
            broker.states.push_back(Arc::new(state));
        }
    }

    /// Good news travels with the controller's pushes.
    fn reply(&mut self, id: RequestId, result: Result<Answer, Refusal>) {
        let (broker, leader_epoch, partition_epoch) = asked(id);
        if let Err(Refusal::Ineligible(brokers)) = result
            && self.brokers[broker].up
        {
            let answer = InSyncAnswer::Ineligible(brokers);
            self.step(broker, replication::Input::InSyncAnswer { leader_epoch, partition_epoch, answer }, &[]);
        }
    }

    /// The leader sends the proposal that it has.
    pub fn propose(&mut self, broker: usize) {
        let Some(proposal) = self.brokers[broker].replica.proposal() else { return };
        let broker_epoch = self.brokers[broker].replica.broker_epoch();
        self.broker(broker).proposal = Some(AlterPartition {
            broker: id(broker),
            broker_epoch,
            partition: partition(),
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            in_sync: proposal.in_sync,
            min_in_sync: proposal.min_in_sync,
        });
    }

    /// The controller takes a proposal.
    pub fn alter(&mut self, bounds: &Bounds, broker: usize, proposal: AlterPartition) {
        let id = request_id(broker, proposal.leader_epoch, proposal.partition_epoch);
        self.control(bounds, Input::Request { id, request: Request::AlterPartition(proposal) });
    }

    /// The broker's session ends.
    pub fn end_session(&mut self, bounds: &Bounds, broker: usize) {
        let broker_epoch = self.brokers[broker].lineage.last();
        self.broker(broker).registered = false;
        self.control(bounds, Input::BrokerEnded { broker: id(broker), broker_epoch });
    }

    /// The broker registers with what `shutdown` has left of its past; gives its new incarnation.
    pub fn register(&mut self, bounds: &Bounds, broker: usize, shutdown: LastShutdown) -> BrokerEpoch {
        self.last_broker_epoch += 1;
        let broker_epoch = BrokerEpoch(self.last_broker_epoch);
        let previous = Some(self.brokers[broker].lineage.clone()).filter(|_| shutdown != LastShutdown::Blank);
        let lineage = Lineage::continued(previous.as_ref(), shutdown, broker_epoch);
        let registration = registration(broker, broker_epoch, previous, shutdown);
        let owner = self.broker(broker);
        (owner.registered, owner.lineage, owner.registration) = (true, lineage, registration.clone());
        self.control(bounds, Input::BrokerStarted(registration));
        broker_epoch
    }
}

/// Names a request by all that its refusal must be told with: broker, leader epoch, partition epoch.
fn request_id(broker: usize, leader_epoch: LeaderEpoch, partition_epoch: i32) -> RequestId {
    let part = |number: i32| u64::try_from(number).expect("epochs of a leader are not negative");
    RequestId(part(leader_epoch.0) << 32 | part(partition_epoch) << 8 | broker as u64)
}

fn asked(RequestId(id): RequestId) -> (usize, LeaderEpoch, i32) {
    let part = |number: u64| i32::try_from(number).expect("as it was put in");
    ((id & 0xff) as usize, LeaderEpoch(part(id >> 32)), part(id >> 8 & 0xff_ffff))
}
