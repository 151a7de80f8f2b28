//! The replication and controller cores, explored exhaustively within bounds: three brokers, one
//! partition, a few records, elections, one power loss, one lost message.
//!
//! Every step of a broker is [`Replica::step`] and every step of the controller
//! [`Controller::step`], the code that ships. The world around them is nondeterministic: sending, processing,
//! delivering and persisting are steps of their own, in any order; sessions expire while their
//! broker lives on as a zombie; a power loss keeps any prefix of what was written. The coordinator
//! alone is ideal: a write commits at once.
//!
//! A state's hash leaves out what merely counts (writes, pushes), so that paths that lead to the
//! same situation meet.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use stateright::{Model, Property};
use wyrdlog::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicPartition, Zxid};
use wyrdlog::base::partition_state::{Durability, InSyncReplica, PartitionState};
use wyrdlog::base::plants::Plants;
use wyrdlog::controller::metadata::{ClusterMetadata, MetadataChange, MetadataContent, TopicMetadata, TopicSettings};
use wyrdlog::controller::{
    self, AlterPartition, Controller, LastShutdown, Lineage, Outcome, Registration, Request, RequestId,
};
use wyrdlog::replication::{
    Acknowledge, Acks, Effect, EpochEnd, EpochStart, FetchAnswer, FetchedBatches, FollowerFetch, InSyncAnswer, Input,
    LeaderEpochs, LeaderRequest, Recovered, Replica, ReplicaConfig,
};

use crate::report::{Options, Report};

/// How many brokers there are.
const BROKERS: usize = 3;
/// `min.insync.replicas`: one power loss is within the budget.
const MIN_IN_SYNC: usize = 2;

/// How far the model goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Records that are produced.
    pub records: u8,
    /// The highest leader epoch, the first being 0.
    pub leader_epochs: i32,
    /// The highest partition epoch.
    pub partition_epochs: i32,
    /// Sessions that expire while their broker lives.
    pub expiries: u8,
    /// Power losses.
    pub crashes: u8,
    /// Requests, answers or proposals that are lost.
    pub losses: u8,
    /// Checks for members that lag.
    pub lag_checks: u8,
    /// Requests, answers and proposals that are under way at one time.
    pub in_flight: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            records: 2,
            leader_epochs: 2,
            partition_epochs: 3,
            expiries: 1,
            crashes: 1,
            losses: 1,
            lag_checks: 0,
            in_flight: 1,
        }
    }
}

impl Bounds {
    /// Enough for most plants to break something, within a second.
    #[must_use]
    pub fn small() -> Self {
        Bounds { records: 1, leader_epochs: 1, partition_epochs: 1, crashes: 0, losses: 0, ..Bounds::default() }
    }
}

/// Explores everything within the bounds or, with a plant, until it breaks something.
pub fn run(options: &Options) -> Report {
    let bounds = if options.plants == Plants::NONE { Bounds::default() } else { Bounds::small() };
    explore(bounds, options)
}

fn explore(bounds: Bounds, options: &Options) -> Report {
    Report::explore("replication", format!("{bounds:?}"), World { bounds, plants: options.plants }, options)
}

/// The model: bounds and plants.
#[derive(Clone, Debug)]
pub struct World {
    bounds: Bounds,
    plants: Plants,
}

/// A record: the epoch it was appended in, and which one it is.
type Record = (LeaderEpoch, u8);

/// A step of the world. Brokers are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A producer with `acks=all` appends to whoever takes itself for the leader.
    Produce(usize),
    /// What the broker's log was told last is done.
    Persist(usize),
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
    /// The broker's session expires; the broker does not notice.
    Expire(usize),
    /// The broker, alive, registers anew.
    Register(usize),
    /// The broker loses power and keeps a prefix of this length.
    PowerLoss(usize, usize),
    /// The broker starts again.
    Start(usize),
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Broker {
    up: bool,
    registered: bool,
    lineage: Lineage,
    replica: Replica,
    log: Vec<Record>,
    /// Completions of log effects that are not reported yet.
    persisting: VecDeque<Input>,
    /// States that the controller pushed and that are on their way.
    states: VecDeque<Arc<PartitionState>>,
    request: Option<(LeaderRequest, BrokerEpoch)>,
    answer: Option<Answered>,
    proposal: Option<AlterPartition>,
}

/// An answer on its way, with the records that it carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Answered {
    input: Input,
    records: Vec<Record>,
}

/// A state of the world.
#[derive(Clone, Debug)]
pub struct State {
    brokers: [Arc<Broker>; BROKERS],
    controller: Arc<Controller>,
    /// The longest prefix that was ever exposed by a leader, or acknowledged.
    promised: Vec<Record>,
    produced: u8,
    last_broker_epoch: i64,
    expiries: u8,
    crashes: u8,
    losses: u8,
    lag_checks: u8,
    /// The first promise that was broken in a step.
    broken: Option<Broken>,
}

/// What can go wrong within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Broken {
    /// Two leaders exposed different records at one offset.
    Promise,
    /// The high watermark passed the log end of a member of the maximal set.
    PassedMember,
    /// It moved while the set was too small.
    TooFew,
}

impl State {
    /// All that matters of a state; counters of writes and pushes do not.
    fn essence(&self) -> impl Hash + PartialEq + '_ {
        let counts = (self.produced, self.last_broker_epoch, self.expiries, self.crashes, self.losses, self.lag_checks);
        (&self.brokers, self.controller.metadata(), &self.promised, counts, self.broken)
    }

    fn partition(&self) -> &PartitionState {
        let metadata = self.controller.metadata().expect("the model's controller stays in office");
        metadata.partition(&partition()).expect("the model's topic is never deleted")
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.essence().hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }
}

fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn id(broker: usize) -> BrokerId {
    BrokerId(i32::try_from(broker).expect("three brokers"))
}

fn index(broker: BrokerId) -> usize {
    usize::try_from(broker.0).expect("brokers are numbered from 0")
}

fn offset(length: usize) -> i64 {
    i64::try_from(length).expect("a few records")
}

fn length(offset: i64) -> usize {
    usize::try_from(offset).expect("offsets are not negative")
}

fn epochs_of(records: &[Record], base: usize) -> Vec<EpochStart> {
    let mut starts: Vec<EpochStart> = Vec::new();
    for (at, (leader_epoch, _)) in records.iter().enumerate() {
        if starts.last().is_none_or(|last| last.leader_epoch != *leader_epoch) {
            starts.push(EpochStart { leader_epoch: *leader_epoch, start_offset: offset(base + at) });
        }
    }
    starts
}

impl World {
    fn first_state(&self) -> State {
        let members =
            (0..BROKERS).map(|broker| InSyncReplica { broker: id(broker), broker_epoch: first_epoch(broker) });
        let state = PartitionState {
            leader: Some(id(0)),
            replicas: (0..BROKERS).map(id).collect(),
            in_sync: members.collect(),
            ..PartitionState::default()
        };
        let settings =
            TopicSettings { min_in_sync: MIN_IN_SYNC, durability: Durability::PageCache, configs: Default::default() };
        let topic = TopicMetadata { id: TopicId::ZERO, settings, partitions: vec![state] };
        let mut state = State {
            brokers: std::array::from_fn(|broker| Arc::new(self.started(broker, first_epoch(broker), &[], true))),
            controller: Arc::new(Controller::new(BrokerId(9), self.plants)),
            promised: Vec::new(),
            produced: 0,
            last_broker_epoch: 2,
            expiries: 0,
            crashes: 0,
            losses: 0,
            lag_checks: 0,
            broken: None,
        };
        let tree = controller::Tree {
            brokers: (0..BROKERS).map(|b| registration(b, first_epoch(b), None, LastShutdown::Clean)).collect(),
            topics: [(Arc::from("t"), topic)].into(),
            written: Default::default(),
        };
        state.control(controller::Input::Elected { controller_epoch: ControllerEpoch(1), tree });
        for broker in 0..BROKERS {
            state.learn(broker);
        }
        state
    }

    fn started(&self, broker: usize, broker_epoch: BrokerEpoch, log: &[Record], complete: bool) -> Broker {
        let config = ReplicaConfig {
            broker: id(broker),
            broker_epoch,
            min_in_sync: MIN_IN_SYNC,
            durability: Durability::PageCache,
        };
        let epochs = LeaderEpochs::new(epochs_of(log, 0));
        let recovered = Recovered { log_start: 0, log_end: offset(log.len()), epochs, high_watermark: 0, complete };
        Broker {
            up: true,
            registered: true,
            lineage: Lineage::of(broker_epoch),
            replica: Replica::new(config, recovered, self.plants),
            log: log.to_vec(),
            persisting: VecDeque::new(),
            states: VecDeque::new(),
            request: None,
            answer: None,
            proposal: None,
        }
    }
}

impl World {
    /// What the broker had in memory is gone, and must not tell two states apart.
    fn power_loss(&self, state: &mut State, broker: usize, kept: usize) {
        state.crashes += 1;
        let Broker { registered, lineage, log, .. } = Broker::clone(&state.brokers[broker]);
        let down = self.started(broker, lineage.last(), &log[..kept], false);
        state.brokers[broker] = Arc::new(Broker { up: false, registered, lineage, ..down });
    }
}

fn first_epoch(broker: usize) -> BrokerEpoch {
    BrokerEpoch(offset(broker))
}

fn registration(
    broker: usize,
    broker_epoch: BrokerEpoch,
    previous: Option<Lineage>,
    shutdown: LastShutdown,
) -> Registration {
    Registration { broker: id(broker), broker_epoch, previous, shutdown, endpoints: Vec::new(), rack: None }
}

impl State {
    fn broker(&mut self, broker: usize) -> &mut Broker {
        Arc::make_mut(&mut self.brokers[broker])
    }

    /// Steps the controller; its writes commit at once, its pushes are queued.
    fn control(&mut self, input: controller::Input) -> Option<Result<controller::Answer, controller::Refusal>> {
        let mut inputs = VecDeque::from([input]);
        let mut reply = None;
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            Arc::make_mut(&mut self.controller).step(input, &mut effects);
            for effect in effects {
                match effect {
                    controller::Effect::Write { write, .. } => {
                        let outcome = Outcome::Committed { zxid: Zxid(0) };
                        inputs.push_back(controller::Input::Written { write, outcome });
                    }
                    controller::Effect::Push { broker, update } => self.push(index(broker), &update.content),
                    controller::Effect::Reply { result, .. } => reply = Some(result),
                    _ => {}
                }
            }
        }
        reply
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

    fn learn(&mut self, broker: usize) {
        if let Some(state) = self.broker(broker).states.pop_front() {
            self.step(broker, Input::State(PartitionState::clone(&state)), &[]);
        }
    }

    /// Steps a replica and carries out its effects; says what a leader answers, if it does.
    fn step(&mut self, broker: usize, input: Input, fetched: &[Record]) -> Option<Effect> {
        let mut effects = Vec::new();
        self.broker(broker).replica.step(input, &mut effects);
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Append { generation, base_offset, leader_epoch, acknowledge } => {
                    let record = (leader_epoch, self.produced);
                    self.produced += 1;
                    self.append(broker, generation, length(base_offset), &[record]);
                    if acknowledge == Acknowledge::AtAppend {
                        self.promise(broker, length(base_offset) + 1);
                    }
                }
                Effect::AppendFetched { generation, base_offset, .. } => {
                    self.append(broker, generation, length(base_offset), fetched);
                }
                Effect::Truncate { generation, to } => self.truncate(broker, generation, length(to)),
                Effect::HighWatermark { high_watermark } if self.brokers[broker].replica.leads() => {
                    self.check_high_watermark(broker, high_watermark);
                    self.promise(broker, length(high_watermark));
                }
                Effect::ServeFollower { .. } | Effect::EpochEnd(_) => answer = Some(effect),
                _ => {}
            }
        }
        answer
    }

    fn append(&mut self, broker: usize, generation: u32, base: usize, records: &[Record]) {
        let broker = self.broker(broker);
        assert_eq!(broker.log.len(), base, "the core appends at the log's end");
        broker.log.extend_from_slice(records);
        let end = offset(broker.log.len());
        broker.persisting.push_back(Input::Appended { generation, end });
    }

    fn truncate(&mut self, broker: usize, generation: u32, to: usize) {
        let broker = self.broker(broker);
        broker.log.truncate(to);
        broker.persisting.push_back(Input::Truncated { generation });
    }

    /// Notes that everything below `end` in the broker's log was promised to a client.
    fn promise(&mut self, broker: usize, end: usize) {
        let prefix = &self.brokers[broker].log[..end];
        let shared = prefix.len().min(self.promised.len());
        if prefix[..shared] != self.promised[..shared] {
            self.broken = self.broken.or(Some(Broken::Promise));
        } else if prefix.len() > shared {
            self.promised = prefix.to_vec();
        }
    }

    fn check_high_watermark(&mut self, broker: usize, high_watermark: i64) {
        let replica = &self.brokers[broker].replica;
        let maximal = replica.maximal_in_sync();
        let runs = |member: &&InSyncReplica| {
            let broker = &self.brokers[index(member.broker)];
            broker.up && broker.replica.broker_epoch() == member.broker_epoch
        };
        let passed =
            maximal.iter().filter(runs).any(|m| self.brokers[index(m.broker)].log.len() < length(high_watermark));
        let broken = if passed {
            Some(Broken::PassedMember)
        } else if replica.committed_in_sync().len() < MIN_IN_SYNC {
            Some(Broken::TooFew)
        } else {
            None
        };
        self.broken = self.broken.or(broken);
    }

    /// The leader takes a request and answers it, or refuses, which the follower takes for silence.
    fn process(&mut self, follower: usize) {
        let Some((request, broker_epoch)) = self.broker(follower).request.take() else { return };
        let replica = id(follower);
        let (LeaderRequest::Fetch { leader, .. } | LeaderRequest::EpochEnd { leader, .. }) = request;
        if !self.brokers[index(leader)].up {
            return;
        }
        match request {
            LeaderRequest::Fetch { leader_epoch, offset, .. } => {
                let fetch = FollowerFetch { replica, broker_epoch, leader_epoch, offset };
                let Some(Effect::ServeFollower { end, high_watermark, log_start, .. }) =
                    self.step(index(leader), Input::FollowerFetch(fetch), &[])
                else {
                    return;
                };
                let records = self.brokers[index(leader)].log[length(offset)..length(end)].to_vec();
                let batches = (!records.is_empty()).then(|| FetchedBatches {
                    base_offset: offset,
                    end,
                    epochs: epochs_of(&records, length(offset)),
                });
                let answer = FetchAnswer::Accepted { high_watermark, log_start, batches };
                let input = Input::FetchAnswer { leader_epoch, offset, answer };
                self.broker(follower).answer = Some(Answered { input, records });
            }
            LeaderRequest::EpochEnd { leader_epoch, requested, .. } => {
                let query = Input::EpochEndQuery { leader_epoch: Some(leader_epoch), requested };
                if let Some(Effect::EpochEnd(answer)) = self.step(index(leader), query, &[]) {
                    self.answer_epoch_end(follower, leader_epoch, requested, answer);
                }
            }
        }
    }

    fn answer_epoch_end(
        &mut self,
        follower: usize,
        leader_epoch: LeaderEpoch,
        requested: LeaderEpoch,
        answer: EpochEnd,
    ) {
        let input = Input::EpochEndAnswer { leader_epoch, requested, answer };
        self.broker(follower).answer = Some(Answered { input, records: Vec::new() });
    }

    fn alter(&mut self, broker: usize) {
        let Some(proposal) = self.broker(broker).proposal.take() else { return };
        let (leader_epoch, partition_epoch) = (proposal.leader_epoch, proposal.partition_epoch);
        let request = Request::AlterPartition(proposal);
        let reply = self.control(controller::Input::Request { id: RequestId(0), request });
        // Good news travels with the controller's pushes.
        if let Some(Err(controller::Refusal::Ineligible(brokers))) = reply {
            let answer = InSyncAnswer::Ineligible(brokers);
            self.step(broker, Input::InSyncAnswer { leader_epoch, partition_epoch, answer }, &[]);
        }
    }

    fn propose(&mut self, broker: usize) {
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

    fn end_session(&mut self, broker: usize) {
        let broker_epoch = self.brokers[broker].lineage.last();
        self.broker(broker).registered = false;
        self.control(controller::Input::BrokerEnded { broker: id(broker), broker_epoch });
    }

    fn register(&mut self, broker: usize, shutdown: LastShutdown) -> BrokerEpoch {
        self.last_broker_epoch += 1;
        let broker_epoch = BrokerEpoch(self.last_broker_epoch);
        let previous = Some(self.brokers[broker].lineage.clone());
        let owner = self.broker(broker);
        (owner.registered, owner.lineage) = (true, Lineage::continued(previous.as_ref(), shutdown, broker_epoch));
        let registration = registration(broker, broker_epoch, previous, shutdown);
        self.control(controller::Input::BrokerStarted(registration));
        broker_epoch
    }

    /// Whether the broker's request would tell it or its leader anything. A fetch that finds both as
    /// they are can be sent later just as well, so leaving it out hides no behaviour of the cores.
    fn would_learn(&self, broker: usize) -> bool {
        let replica = &self.brokers[broker].replica;
        match replica.next_request() {
            None => false,
            Some(LeaderRequest::EpochEnd { .. }) => true,
            Some(LeaderRequest::Fetch { leader, leader_epoch, offset }) => {
                let leader = &self.brokers[index(leader)].replica;
                leader.leader_epoch() != leader_epoch
                    || leader.log_end() > offset
                    || leader.high_watermark() > replica.high_watermark()
                    || leader.acknowledged(id(broker)) != Some((replica.broker_epoch(), offset))
            }
        }
    }

    fn in_flight(&self) -> usize {
        let of = |broker: &Arc<Broker>| {
            usize::from(broker.request.is_some())
                + usize::from(broker.answer.is_some())
                + usize::from(broker.proposal.is_some())
        };
        self.brokers.iter().map(of).sum()
    }

    /// Whether a broker holds everything that was promised.
    fn is_complete(&self, broker: usize) -> bool {
        self.brokers[broker].log.starts_with(&self.promised)
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
            } else {
                actions.push(Action::Start(index));
                if broker.registered {
                    actions.push(Action::Expire(index));
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Produce(broker) => {
                state.step(broker, Input::Produce { records: 1, acks: Acks::All }, &[]);
            }
            Action::Persist(broker) => {
                let input = state.broker(broker).persisting.pop_front()?;
                state.step(broker, input, &[]);
            }
            Action::Send(broker) => {
                let request = state.brokers[broker].replica.next_request()?;
                let broker_epoch = state.brokers[broker].replica.broker_epoch();
                state.broker(broker).request = Some((request, broker_epoch));
            }
            Action::Process(broker) => state.process(broker),
            Action::Answer(broker) => {
                let Answered { input, records } = state.broker(broker).answer.take()?;
                state.step(broker, input, &records);
            }
            Action::Lose(broker) => {
                state.losses += 1;
                state.broker(broker).answer = None;
            }
            Action::Learn(broker) => state.learn(broker),
            Action::LagCheck(broker) => {
                state.lag_checks += 1;
                state.step(broker, Input::InSyncCheck, &[]);
            }
            Action::Propose(broker) => state.propose(broker),
            Action::Alter(broker) => state.alter(broker),
            Action::Expire(broker) => {
                state.expiries += u8::from(state.brokers[broker].up);
                state.end_session(broker);
            }
            Action::Register(broker) => {
                let broker_epoch = state.register(broker, LastShutdown::Clean);
                state.step(broker, Input::Registered { broker_epoch }, &[]);
            }
            Action::PowerLoss(broker, kept) => self.power_loss(&mut state, broker, kept),
            Action::Start(broker) => {
                // Up before it registers, so that it takes what the controller pushes.
                let Broker { registered, lineage, log, .. } = Broker::clone(&state.brokers[broker]);
                let started = self.started(broker, BrokerEpoch(state.last_broker_epoch + 1), &log, false);
                state.brokers[broker] = Arc::new(Broker { registered, lineage, ..started });
                state.register(broker, LastShutdown::Unclean);
            }
        }
        Some(state).filter(|state| state != last)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("log matching", |_, state: &State| {
                let logs = state.brokers.iter().map(|broker| &broker.log);
                logs.clone().all(|one| logs.clone().all(|other| match_up(one, other)))
            }),
            Property::always("in-sync and leader completeness", |_, state: &State| {
                let runs = |member: &&InSyncReplica| {
                    let broker = &state.brokers[index(member.broker)];
                    broker.up && broker.lineage.last() == member.broker_epoch
                };
                state.partition().in_sync.iter().filter(runs).all(|member| state.is_complete(index(member.broker)))
            }),
            Property::always("high watermark safety", |_, state: &State| state.broken.is_none()),
            Property::always("no replica is out of service", |_, state: &State| {
                state.brokers.iter().all(|broker| broker.replica.fault().is_none())
            }),
            Property::sometimes("a third leader epoch begins", |_, state: &State| {
                state.brokers.iter().any(|b| b.replica.leads() && b.replica.leader_epoch() >= LeaderEpoch(2))
            }),
            Property::sometimes("a follower truncates", |_, state: &State| {
                state.brokers.iter().any(|broker| broker.replica.log_generation() > 0)
            }),
            Property::sometimes("the in-sync set shrinks and grows again", |_, state: &State| {
                state.partition().in_sync.len() == BROKERS && state.partition().partition_epoch >= 2
            }),
            Property::sometimes("everything is committed after an election", |model, state: &State| {
                state.promised.len() == usize::from(model.bounds.records)
                    && state.promised.last().is_some_and(|(epoch, _)| epoch.0 > 0)
            }),
            Property::sometimes("a restarted broker is in sync again", |_, state: &State| {
                state.crashes > 0 && state.partition().in_sync.iter().any(|member| member.broker_epoch.0 > 2)
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        let partition = state.partition();
        partition.leader_epoch.0 <= self.bounds.leader_epochs
            && partition.partition_epoch <= self.bounds.partition_epochs
    }
}

impl World {
    fn actions_of(&self, state: &State, index: usize, broker: &Broker, actions: &mut Vec<Action>) {
        let mut offer = |possible: bool, action: Action| {
            if possible {
                actions.push(action);
            }
        };
        let (replica, bounds) = (&broker.replica, &self.bounds);
        let quiet = broker.request.is_none() && broker.answer.is_none();
        let room = state.in_flight() < bounds.in_flight;
        offer(replica.leads() && state.produced < bounds.records, Action::Produce(index));
        offer(!broker.persisting.is_empty(), Action::Persist(index));
        offer(quiet && room && state.would_learn(index), Action::Send(index));
        offer(broker.request.is_some(), Action::Process(index));
        offer(broker.answer.is_some(), Action::Answer(index));
        offer(broker.answer.is_some() && state.losses < bounds.losses, Action::Lose(index));
        offer(!broker.states.is_empty(), Action::Learn(index));
        offer(replica.leads() && state.lag_checks < bounds.lag_checks, Action::LagCheck(index));
        offer(broker.proposal.is_none() && room && replica.proposal().is_some(), Action::Propose(index));
        offer(broker.proposal.is_some(), Action::Alter(index));
        offer(broker.registered && state.expiries < bounds.expiries, Action::Expire(index));
        offer(!broker.registered, Action::Register(index));
        if state.crashes < bounds.crashes {
            (0..=broker.log.len()).for_each(|kept| actions.push(Action::PowerLoss(index, kept)));
        }
    }
}

/// Log matching: where two logs hold the same epoch at the same offset, they are equal up to there.
fn match_up(one: &[Record], other: &[Record]) -> bool {
    let agree = one.iter().zip(other).rposition(|(a, b)| a.0 == b.0);
    agree.is_none_or(|last| one[..=last] == other[..=last])
}

#[cfg(test)]
mod tests {
    use wyrdlog::base::plants::Plant;

    use super::*;

    fn tiny() -> Bounds {
        Bounds {
            records: 1,
            leader_epochs: 1,
            partition_epochs: 1,
            expiries: 1,
            crashes: 0,
            losses: 0,
            ..Bounds::default()
        }
    }

    #[test]
    fn no_state_within_small_bounds_breaks_a_promise() {
        let report = explore(tiny(), &Options::default());
        assert!(!report.is_refuted() && report.exhausted, "{}", report.to_text());
        assert!(report.unique_states > 1_000, "{}", report.to_text());
    }

    #[test]
    fn truncating_to_the_high_watermark_is_refuted() {
        let options = Options { plants: Plants::only(Plant::Kip101), ..Options::default() };
        let report = explore(Bounds::small(), &options);
        assert!(report.is_refuted() && !report.counterexample.is_empty(), "{}", report.to_text());
    }
}
