//! What may happen next, and the model as the checker sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use stateright::{Model, Property};
use wyrdlog::base::ids::ServerId;
use wyrdlog::base::plants::Plants;
use wyrdlog::consensus::{Config, Consensus, Input, Limits, Message, Proposal, Recovered, Standing, Timer, Voters};

use super::bounds::Bounds;
use super::disk::Disk;
use super::network::Link;
use super::world::{Budget, Hashed, Server, World};
use crate::claims::{Claims, Tally};

/// The model: an ensemble within bounds.
#[derive(Clone, Debug)]
pub struct Ensemble {
    pub bounds: Bounds,
    pub reaches: &'static [&'static str],
    pub plants: Plants,
    pub tally: Tally,
}

/// What may happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A link's first message arrives.
    Deliver(Link, Arc<Message>),
    /// A link's first message arrives, and will again.
    Repeat(Link, Arc<Message>),
    /// A link's first message is lost.
    Lose(Link, Arc<Message>),
    /// A link's second message arrives before its first.
    Overtake(Link, Arc<Message>),
    /// The oldest persist of a server becomes durable.
    Persist(usize),
    /// A timer of a server elapses.
    Elapse(usize, Timer),
    /// A client proposes a record to a leader.
    Propose(usize),
    /// A server makes a snapshot of what it has applied, and drops its log up to there.
    TakeSnapshot(usize),
    /// A server crashes and restarts from its disk.
    Crash(usize),
}

impl Ensemble {
    pub fn new(bounds: Bounds, reaches: &'static [&'static str], plants: Plants) -> Self {
        Ensemble { bounds, reaches, plants, tally: Tally::default() }
    }

    /// A server as it starts from a disk.
    pub fn server(&self, id: ServerId, incarnation: u64, disk: Disk) -> Server {
        let voters = Voters::new((1..=self.bounds.servers).map(ServerId)).expect("bounds name a valid ensemble");
        let limits =
            Limits { in_flight_appends_max: 2, append_entries_max: 2, trailing_entries: 0, ..Limits::default() };
        let config = Config { plants: self.plants, limits, ..Config::new(id, voters, incarnation) };
        let Disk { hard_state, snapshot, base: log_base, entries } = disk.clone();
        let recovered = Recovered { hard_state, snapshot, log_base, entries };
        let core = Consensus::recover(config, Standing::Member, recovered);
        let core = core.expect("a disk that was written in order is valid");
        Server { core, disk, persisting: VecDeque::new(), timers: BTreeSet::new() }
    }

    /// All servers of an ensemble that was just formatted have started.
    fn fresh(&self) -> World {
        let start = |id: u32| Hashed::new(self.server(ServerId(id), 0, Disk::default()));
        let Bounds { elections, heartbeats, records, crashes, losses, repetitions, overtakings, snapshots, .. } =
            self.bounds;
        let mut world = World {
            servers: (1..=self.bounds.servers).map(start).collect(),
            network: BTreeMap::new(),
            history: Arc::default(),
            budget: Budget { elections, heartbeats, records, crashes, losses, repetitions, overtakings, snapshots },
        };
        for at in 0..world.servers.len() {
            world.step(at, Input::Start);
        }
        world
    }

    /// Server 1 leads in term 1, and nothing is on its way to a server or a disk.
    fn first_leader(&self) -> World {
        let mut world = self.fresh();
        world.elapse(0, Timer::Election);
        world.settle();
        assert!(world.servers[0].server.core.is_leader(), "an election without faults succeeds");
        world
    }
}

impl World {
    fn spend(&mut self, action: &Action) {
        let spent = match action {
            Action::Repeat(..) => &mut self.budget.repetitions,
            Action::Lose(..) => &mut self.budget.losses,
            Action::Overtake(..) => &mut self.budget.overtakings,
            Action::Elapse(_, Timer::Heartbeat) => &mut self.budget.heartbeats,
            Action::Elapse(..) => &mut self.budget.elections,
            Action::Propose(_) => &mut self.budget.records,
            Action::TakeSnapshot(_) => &mut self.budget.snapshots,
            Action::Crash(_) => &mut self.budget.crashes,
            Action::Deliver(..) | Action::Persist(_) => return,
        };
        *spent -= 1;
    }

    fn actions_of_links(&self, actions: &mut Vec<Action>) {
        let budget = self.budget;
        for (link, messages) in &self.network {
            let (link, first) = (*link, &messages[0]);
            actions.push(Action::Deliver(link, first.clone()));
            if budget.repetitions > 0 {
                actions.push(Action::Repeat(link, first.clone()));
            }
            if let Some(second) = messages.get(1) {
                // The loss of a link's last message is the same as its never arriving.
                if budget.losses > 0 {
                    actions.push(Action::Lose(link, first.clone()));
                }
                if budget.overtakings > 0 {
                    actions.push(Action::Overtake(link, second.clone()));
                }
            }
        }
    }

    fn actions_of_server(&self, at: usize, actions: &mut Vec<Action>) {
        let budget = self.budget;
        let Server { core, persisting, timers, .. } = &self.servers[at].server;
        let mut offer = |possible: bool, action: Action| actions.extend(possible.then_some(action));
        offer(!persisting.is_empty(), Action::Persist(at));
        let elapses = |timer| timers.contains(&timer);
        offer(budget.elections > 0 && elapses(Timer::Election), Action::Elapse(at, Timer::Election));
        offer(budget.heartbeats > 0 && elapses(Timer::Heartbeat), Action::Elapse(at, Timer::Heartbeat));
        offer(budget.records > 0 && core.is_leader(), Action::Propose(at));
        let has_applied = core.applied_index() > core.snapshot_position().index;
        offer(budget.snapshots > 0 && has_applied, Action::TakeSnapshot(at));
        offer(budget.crashes > 0 && !persisting.is_empty(), Action::Crash(at));
    }
}

impl Model for Ensemble {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![if self.bounds.elected { self.first_leader() } else { self.fresh() }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions_of_links(actions);
        (0..world.servers.len()).for_each(|at| world.actions_of_server(at, actions));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.spend(&action);
        match action {
            Action::Deliver(link, _) => next.deliver(link, 0),
            Action::Repeat(link, message) => next.receive(link, &message),
            Action::Lose(link, _) => drop(next.take(link, 0)),
            Action::Overtake(link, _) => next.deliver(link, 1),
            Action::Persist(at) => next.persist(at),
            Action::Elapse(at, timer) => next.elapse(at, timer),
            Action::Propose(at) => {
                let context = u64::from(world.budget.records);
                let payload = vec![world.budget.records].into();
                next.step(at, Input::Propose { proposals: vec![Proposal { context, payload }] });
            }
            Action::TakeSnapshot(at) => next.take_snapshot(at),
            Action::Crash(at) => next.crash(at, self),
        }
        Some(next)
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.cores().all(|core| core.term().0 <= self.bounds.term_max)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.checked()
    }
}
