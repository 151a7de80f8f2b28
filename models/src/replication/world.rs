//! What may happen next, and the model as the checker sees it.

use std::collections::VecDeque;
use std::sync::Arc;

use stateright::{Model, Property};
use wyrdlog::base::ids::{BrokerEpoch, BrokerId};
use wyrdlog::base::partition_state::Durability;
use wyrdlog::base::plants::Plants;
use wyrdlog::controller::{Controller, LastShutdown, Lineage};
use wyrdlog::replication::{Acks, Input, LeaderEpochs, Recovered, Replica, ReplicaConfig};

use super::bounds::Bounds;
use super::control::{Fate, first_epoch, first_partition, registration};
use super::state::{BROKERS, Broker, MIN_IN_SYNC, Record, Spent, State, epochs_of, id, offset};
use crate::claims::{Claims, Tally};

/// The model: bounds and plants.
#[derive(Clone, Debug)]
pub struct World {
    pub bounds: Bounds,
    pub reaches: &'static [&'static str],
    pub plants: Plants,
    /// Whether the bounds have a name. Those without are a hundred times larger: fewer states are healed,
    /// and a fetch that repeats the last one is left out.
    pub named: bool,
    pub tally: Tally,
}

/// A step of the world. Brokers are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A producer with `acks=all` appends to whoever takes itself for the leader.
    Produce(usize),
    /// What the broker's log was told first is done.
    Persist(usize),
    /// The broker begins to sync what it has written.
    Sync(usize),
    /// The broker sends its leader the one request it has.
    Send(usize),
    /// The leader takes the broker's request and answers.
    Process(usize),
    /// The answer reaches the broker.
    Answer(usize),
    /// The broker's answer is lost. That its request is lost looks like a request that was not sent.
    Lose(usize),
    /// The controller's next state reaches the broker.
    Learn(usize),
    /// The leader looks for members that lag.
    LagCheck(usize),
    /// The leader sends its proposal.
    Propose(usize),
    /// The controller takes the proposal.
    Alter(usize),
    /// The controller takes the proposal, of which another copy is on its way.
    AlterAndRepeat(usize),
    /// The tree takes the controller's write, or not; the controller is told, or not.
    Write(Fate),
    /// Another controller is elected; what the one before has written is on its way.
    FailOver,
    /// The deposed controller's write reaches the tree.
    LateWrite,
    /// The broker's session expires; the broker does not notice.
    Expire(usize),
    /// The broker, alive, registers anew.
    Register(usize),
    /// The broker loses power and keeps a prefix of this length.
    PowerLoss(usize, usize),
    /// The broker's process ends; whether its high watermark was in the checkpoint.
    Kill(usize, bool),
    /// The broker's disk is lost.
    DiskLoss(usize),
    /// The broker starts again.
    Start(usize),
}

impl World {
    pub fn new(bounds: Bounds, reaches: &'static [&'static str], plants: Plants) -> Self {
        World { bounds, reaches, plants, named: true, tally: Tally::default() }
    }

    /// Broker 0 leads, everyone is in sync, knows so, and holds nothing.
    fn first_state(&self) -> State {
        let start = |broker| {
            let registered = registration(broker, first_epoch(broker), None, LastShutdown::Clean);
            let replica = self.replica(broker, first_epoch(broker), &[], true, 0);
            Arc::new(Broker {
                up: true,
                registered: true,
                registration: registered,
                shutdown: LastShutdown::Clean,
                lineage: Lineage::of(first_epoch(broker)),
                replica,
                log: Vec::new(),
                synced: 0,
                persisting: VecDeque::new(),
                states: VecDeque::new(),
                request: None,
                answer: None,
                proposal: None,
            })
        };
        let mut state = State {
            brokers: std::array::from_fn(start),
            tree: Arc::new(first_partition()),
            controller: Arc::new(Controller::new(BrokerId(9), self.plants)),
            slow_writes: self.bounds.has_slow_writes(),
            write: None,
            deposed: None,
            promised: Vec::new(),
            last_broker_epoch: offset(BROKERS) - 1,
            spent: Spent::default(),
            broken: None,
        };
        state.elect_controller(&self.bounds, self.plants);
        for broker in 0..BROKERS {
            state.learn(broker);
        }
        state
    }

    fn replica(
        &self,
        broker: usize,
        broker_epoch: BrokerEpoch,
        log: &[Record],
        complete: bool,
        high_watermark: i64,
    ) -> Replica {
        let durability = self.bounds.durability;
        let config = ReplicaConfig { broker: id(broker), broker_epoch, min_in_sync: MIN_IN_SYNC, durability };
        let epochs = LeaderEpochs::new(epochs_of(log, 0));
        let recovered = Recovered { log_start: 0, log_end: offset(log.len()), epochs, high_watermark, complete };
        Replica::new(config, recovered, self.plants)
    }

    /// What the broker had in memory is gone, and must not tell two states apart.
    fn stop(&self, state: &mut State, broker: usize, log: &[Record], shutdown: LastShutdown, high_watermark: i64) {
        let complete = shutdown == LastShutdown::Clean;
        let before = &state.brokers[broker];
        let replica = self.replica(broker, before.lineage.last(), log, complete, high_watermark);
        state.brokers[broker] = Arc::new(Broker {
            up: false,
            registered: before.registered,
            registration: before.registration.clone(),
            shutdown,
            lineage: before.lineage.clone(),
            replica,
            log: log.to_vec(),
            synced: self.synced(log),
            persisting: VecDeque::new(),
            states: VecDeque::new(),
            request: None,
            answer: None,
            proposal: None,
        });
    }

    /// Recovery syncs all that it finds.
    fn synced(&self, log: &[Record]) -> usize {
        if self.bounds.durability == Durability::Synced { log.len() } else { 0 }
    }

    fn start(&self, state: &mut State, broker: usize) {
        let down = &state.brokers[broker];
        let shutdown = down.shutdown;
        let complete = shutdown == LastShutdown::Clean;
        let high_watermark = down.replica.high_watermark();
        let broker_epoch = BrokerEpoch(state.last_broker_epoch + 1);
        let replica = self.replica(broker, broker_epoch, &down.log.clone(), complete, high_watermark);
        // Up before it registers, so that it takes what the controller pushes.
        let owner = state.broker(broker);
        (owner.up, owner.replica, owner.shutdown) = (true, replica, LastShutdown::Clean);
        state.register(&self.bounds, broker, shutdown);
    }

    /// Carries out one step.
    pub fn apply(&self, state: &mut State, action: Action) {
        let bounds = &self.bounds;
        match action {
            Action::Produce(broker) => drop(state.step(broker, Input::Produce { records: 1, acks: Acks::All }, &[])),
            Action::Persist(broker) => state.persist(broker),
            Action::Sync(broker) => state.begin_sync(broker),
            Action::Send(broker) => state.send(broker),
            Action::Process(broker) => state.process(broker),
            Action::Answer(broker) => state.take_answer(broker),
            Action::Lose(broker) => {
                state.spent.losses += 1;
                state.broker(broker).answer = None;
            }
            Action::Learn(broker) => state.learn(broker),
            Action::LagCheck(broker) => {
                state.spent.lag_checks += 1;
                state.step(broker, Input::InSyncCheck, &[]);
            }
            Action::Propose(broker) => state.propose(broker),
            Action::Alter(broker) => {
                if let Some(proposal) = state.broker(broker).proposal.take() {
                    state.alter(bounds, broker, proposal);
                }
            }
            Action::AlterAndRepeat(broker) => {
                state.spent.repetitions += 1;
                if let Some(proposal) = state.brokers[broker].proposal.clone() {
                    state.alter(bounds, broker, proposal);
                }
            }
            Action::Write(fate) => state.end_write(bounds, fate),
            Action::FailOver => state.fail_over(bounds, self.plants),
            Action::LateWrite => state.end_late_write(),
            Action::Expire(broker) => {
                state.spent.expiries += u8::from(state.brokers[broker].up);
                state.end_session(bounds, broker);
            }
            Action::Register(broker) => {
                let broker_epoch = state.register(bounds, broker, LastShutdown::Clean);
                state.step(broker, Input::Registered { broker_epoch }, &[]);
            }
            Action::PowerLoss(broker, kept) => {
                state.spent.crashes += 1;
                let log = state.brokers[broker].log[..kept].to_vec();
                self.stop(state, broker, &log, LastShutdown::Unclean, 0);
            }
            Action::Kill(broker, checkpointed) => {
                state.spent.kills += 1;
                let log = state.brokers[broker].log.clone();
                let high_watermark = if checkpointed { state.brokers[broker].replica.high_watermark() } else { 0 };
                self.stop(state, broker, &log, LastShutdown::Clean, high_watermark);
            }
            Action::DiskLoss(broker) => {
                state.spent.disk_losses += 1;
                self.stop(state, broker, &[], LastShutdown::Blank, 0);
            }
            Action::Start(broker) => self.start(state, broker),
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first_state()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, broker) in state.brokers.iter().enumerate() {
            if broker.up {
                self.actions_of(state, index, broker, actions);
                self.faults_of(state, index, broker, actions);
            } else {
                actions.push(Action::Start(index));
                if broker.registered {
                    actions.push(Action::Expire(index));
                }
            }
        }
        self.actions_of_controllers(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.apply(&mut state, action);
        Some(state).filter(|state| state != last)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.checked()
    }

    fn within_boundary(&self, state: &State) -> bool {
        let partition = &state.tree;
        partition.leader_epoch.0 <= self.bounds.leader_epochs
            && partition.partition_epoch <= self.bounds.partition_epochs
    }
}

impl World {
    fn actions_of(&self, state: &State, index: usize, broker: &Broker, actions: &mut Vec<Action>) {
        let mut offer = |possible: bool, action: Action| actions.extend(possible.then_some(action));
        let (replica, bounds, spent) = (&broker.replica, &self.bounds, &state.spent);
        let quiet = broker.request.is_none() && broker.answer.is_none();
        let room = state.in_flight() < bounds.in_flight;
        let unsynced = bounds.durability == Durability::Synced && broker.synced < broker.log.len();
        offer(replica.leads() && spent.produced < bounds.records, Action::Produce(index));
        offer(!broker.persisting.is_empty(), Action::Persist(index));
        offer(unsynced && broker.persisting.is_empty(), Action::Sync(index));
        offer(quiet && room && state.would_learn(index, self.named), Action::Send(index));
        offer(broker.request.is_some(), Action::Process(index));
        offer(broker.answer.is_some(), Action::Answer(index));
        offer(broker.answer.is_some() && spent.losses < bounds.losses, Action::Lose(index));
        offer(!broker.states.is_empty(), Action::Learn(index));
        offer(replica.leads() && spent.lag_checks < bounds.lag_checks, Action::LagCheck(index));
        offer(broker.proposal.is_none() && room && replica.proposal().is_some(), Action::Propose(index));
        // A proposal that reaches a controller whose write is on its way waits there as well as here.
        let arrives = broker.proposal.is_some() && state.write.is_none();
        offer(arrives, Action::Alter(index));
        let repeated = arrives && spent.repetitions < bounds.repetitions;
        offer(repeated, Action::AlterAndRepeat(index));
        offer(!broker.registered, Action::Register(index));
    }

    fn faults_of(&self, state: &State, index: usize, broker: &Broker, actions: &mut Vec<Action>) {
        let (bounds, spent) = (&self.bounds, &state.spent);
        if broker.registered && spent.expiries < bounds.expiries {
            actions.push(Action::Expire(index));
        }
        if spent.crashes < bounds.crashes {
            (broker.synced..=broker.log.len()).for_each(|kept| actions.push(Action::PowerLoss(index, kept)));
        }
        if spent.kills < bounds.kills {
            actions.push(Action::Kill(index, false));
            if broker.replica.high_watermark() > 0 {
                actions.push(Action::Kill(index, true));
            }
        }
        if spent.disk_losses < bounds.disk_losses {
            actions.push(Action::DiskLoss(index));
        }
    }

    fn actions_of_controllers(&self, state: &State, actions: &mut Vec<Action>) {
        let (bounds, spent) = (&self.bounds, &state.spent);
        if state.write.is_some() {
            actions.push(Action::Write(Fate::Told));
            if spent.unknown < bounds.unknown {
                actions.extend([Action::Write(Fate::Untold), Action::Write(Fate::Lost)]);
            }
        }
        if spent.failovers < bounds.failovers {
            actions.push(Action::FailOver);
        }
        if state.deposed.is_some() {
            actions.push(Action::LateWrite);
        }
    }
}
