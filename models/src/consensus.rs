//! Servers of the coordinator's replicated log, explored exhaustively: the very `step` that ships.
//!
//! Each server has a disk on which persists take effect one at a time and in order, apart from
//! sending; a crash loses all that is not there yet. A link delivers in order, as a connection does,
//! and its messages may wait for ever; a bounded number is lost, repeated or overtaken, and a
//! message to or from a server outlives that server's crash. Timers may elapse at any time, a
//! bounded number of times.
//!
//! Exploration starts when server 1 leads in term 1 and its no-op is everywhere, so that two more
//! elections reach term 3.
//!
//! A pre-vote binds nobody, so here it is granted as soon as it is asked for, whatever the others
//! would say: that allows every election that the protocol does, and more.
//!
//! To keep the number of states within reach, three kinds of message are lost at once: those of a
//! term that is over for their receiver, those that the next on the link repeats and adds to, and
//! refusals that tell nothing new. And a server crashes only when that loses something.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use stateright::{Model, Property};
use wyrdlog::base::ids::{ServerId, Term, Zxid};
use wyrdlog::base::plants::Plants;
use wyrdlog::consensus::{
    Config, Consensus, Effect, Entry, HardState, Input, Limits, Message, Outcome, PersistOp, Position, Proposal,
    Recovered, Standing, Timer, Voters,
};

use crate::report::{Options, Report};

/// How much of everything there may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Servers in the ensemble.
    pub servers: u32,
    /// Election timers that elapse after the first election.
    pub elections: u8,
    /// Heartbeat timers that elapse.
    pub heartbeats: u8,
    /// Records that clients propose.
    pub records: u8,
    /// Servers that crash and restart.
    pub crashes: u8,
    /// Messages that are lost while those behind them arrive.
    pub losses: u8,
    /// Messages that arrive twice.
    pub repetitions: u8,
    /// Messages that overtake the one before them.
    pub overtakings: u8,
    /// The latest term.
    pub term_max: u32,
}

impl Bounds {
    /// What `cargo models run consensus` explores.
    pub const FULL: Bounds = Bounds {
        servers: 3,
        elections: 2,
        heartbeats: 0,
        records: 2,
        crashes: 1,
        losses: 1,
        repetitions: 0,
        overtakings: 0,
        term_max: 3,
    };
}

/// Explores the model with the full bounds.
pub fn run(options: &Options) -> Report {
    let bounds = Bounds::FULL;
    Report::explore("consensus", format!("{bounds:?}"), Ensemble { bounds, plants: options.plants }, options)
}

/// The model: an ensemble within bounds.
#[derive(Clone, Debug)]
pub struct Ensemble {
    bounds: Bounds,
    plants: Plants,
}

/// From whom to whom messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    from: ServerId,
    to: ServerId,
}

/// What a crash leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Disk {
    hard_state: HardState,
    entries: Vec<Entry>,
}

/// One server: what runs, what is durable, and what is on its way from one to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    core: Consensus,
    disk: Disk,
    persisting: VecDeque<PersistOp>,
    timers: BTreeSet<Timer>,
}

/// Ids of persists are names, which make no difference to what can happen next.
impl Hash for Server {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.core, &self.disk, &self.timers).hash(state);
        for op in &self.persisting {
            (op.hard_state, op.truncate_from, &op.entries).hash(state);
        }
    }
}

/// A server with its hash, which is computed once for all states that share the server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hashed {
    digest: u64,
    server: Server,
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Hashed {
    fn new(server: Server) -> Arc<Hashed> {
        let mut hasher = DefaultHasher::new();
        server.hash(&mut hasher);
        Arc::new(Hashed { digest: hasher.finish(), server })
    }
}

/// What an observer of everything remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct History {
    /// The entries that were applied or counted as committed anywhere, and the term in which the
    /// first server to know it was.
    committed: Vec<(Zxid, Term)>,
    /// Who led in which term.
    leaders: BTreeMap<Term, ServerId>,
    two_leaders: bool,
    two_histories: bool,
    faults: bool,
    /// A crash took what was not yet durable.
    lost_unpersisted: bool,
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Budget {
    elections: u8,
    heartbeats: u8,
    records: u8,
    crashes: u8,
    losses: u8,
    repetitions: u8,
    overtakings: u8,
}

/// One state of the ensemble.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    servers: Vec<Arc<Hashed>>,
    network: BTreeMap<Link, VecDeque<Arc<Message>>>,
    history: Arc<History>,
    budget: Budget,
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
    /// A server crashes and restarts from its disk.
    Crash(usize),
}

impl Ensemble {
    fn recover(&self, id: ServerId, incarnation: u64, disk: &Disk) -> Consensus {
        let voters = Voters::new((1..=self.bounds.servers).map(ServerId)).expect("bounds name a valid ensemble");
        let limits = Limits { in_flight_appends_max: 2, append_entries_max: 2, ..Limits::default() };
        let config = Config { plants: self.plants, limits, ..Config::new(id, voters, incarnation) };
        let recovered = Recovered {
            hard_state: disk.hard_state,
            snapshot: Position::ZERO,
            log_base: Position::ZERO,
            entries: disk.entries.clone(),
        };
        Consensus::recover(config, Standing::Member, recovered).expect("a disk that was written in order is valid")
    }

    /// Server 1 leads in term 1, and nothing is on its way to a server or a disk.
    fn first_leader(&self) -> World {
        let start = |id: u32| {
            let core = self.recover(ServerId(id), 0, &Disk::default());
            Hashed::new(Server { core, disk: Disk::default(), persisting: VecDeque::new(), timers: BTreeSet::new() })
        };
        let Bounds { elections, heartbeats, records, crashes, losses, repetitions, overtakings, .. } = self.bounds;
        let mut world = World {
            servers: (1..=self.bounds.servers).map(start).collect(),
            network: BTreeMap::new(),
            history: Arc::default(),
            budget: Budget { elections, heartbeats, records, crashes, losses, repetitions, overtakings },
        };
        for at in 0..world.servers.len() {
            world.step(at, Input::Start);
        }
        world.elapse(0, Timer::Election);
        loop {
            let persist = (0..world.servers.len()).find(|at| !world.servers[*at].server.persisting.is_empty());
            match (persist, world.network.keys().next().copied()) {
                (Some(at), _) => world.persist(at),
                (None, Some(link)) => world.deliver(link, 0),
                (None, None) => break,
            }
        }
        assert!(world.servers[0].server.core.is_leader(), "an election without faults succeeds");
        world
    }
}

impl World {
    fn step(&mut self, at: usize, input: Input) {
        let mut server = self.servers[at].server.clone();
        let mut effects = Vec::new();
        server.core.step(input, &mut effects);
        let from = server.core.id();
        for effect in effects {
            match effect {
                Effect::Send { message: Message::PreVote { .. }, .. } => {}
                Effect::Send { to, message } => {
                    let messages = self.network.entry(Link { from, to }).or_default();
                    if messages.back().is_some_and(|last| is_superseded(last, &message)) {
                        messages.pop_back();
                    }
                    messages.push_back(Arc::new(message));
                }
                Effect::Persist(op) => server.persisting.push_back(op),
                Effect::Arm { timer, .. } => drop(server.timers.insert(timer)),
                Effect::Disarm(timer) => drop(server.timers.remove(&timer)),
                Effect::BecameLeader { term } => self.remember_leader(term, from),
                Effect::Apply { entries } => self.remember_committed(&entries, server.core.term()),
                Effect::Fault(_) => Arc::make_mut(&mut self.history).faults = true,
                _ => {}
            }
        }
        self.remember_commit_index(&server);
        self.servers[at] = Hashed::new(server);
        self.remove_ignored();
    }

    fn remember_leader(&mut self, term: Term, server: ServerId) {
        let history = Arc::make_mut(&mut self.history);
        let known = *history.leaders.entry(term).or_insert(server);
        history.two_leaders |= known != server;
    }

    /// A leader's commit index tells clients that their records are safe, applied or not.
    fn remember_commit_index(&mut self, server: &Server) {
        let committed = server.core.commit_index() as usize;
        if server.core.is_leader() && committed > self.history.committed.len() {
            let entries: Vec<Entry> = server.core.entries().take(committed).cloned().collect();
            self.remember_committed(&entries, server.core.term());
        }
    }

    fn remember_committed(&mut self, entries: &[Entry], term: Term) {
        for entry in entries {
            let place = entry.index as usize - 1;
            match self.history.committed.get(place) {
                Some((zxid, _)) if *zxid == entry.zxid => {}
                Some(_) => Arc::make_mut(&mut self.history).two_histories = true,
                None => Arc::make_mut(&mut self.history).committed.push((entry.zxid, term)),
            }
        }
    }

    fn remove_ignored(&mut self) {
        let servers = &self.servers;
        self.network.retain(|link, messages| {
            let receiver = &servers[link.to.0 as usize - 1].server;
            messages.retain(|message| !is_ignored_for_ever(message, receiver.disk.hard_state.term));
            !messages.is_empty()
        });
    }

    fn take(&mut self, link: Link, place: usize) -> Option<Arc<Message>> {
        let messages = self.network.get_mut(&link)?;
        let message = messages.remove(place);
        if messages.is_empty() {
            self.network.remove(&link);
        }
        message
    }

    fn deliver(&mut self, link: Link, place: usize) {
        if let Some(message) = self.take(link, place) {
            self.receive(link, &message);
        }
    }

    fn receive(&mut self, link: Link, message: &Message) {
        let input = Input::Received { from: link.from, message: message.clone() };
        self.step(link.to.0 as usize - 1, input);
    }

    fn persist(&mut self, at: usize) {
        let mut server = self.servers[at].server.clone();
        let Some(op) = server.persisting.pop_front() else { return };
        server.disk.write(&op);
        self.servers[at] = Hashed::new(server);
        self.step(at, Input::Persisted { id: op.id });
    }

    fn elapse(&mut self, at: usize, timer: Timer) {
        self.step(at, Input::Elapsed(timer));
        let own = self.servers[at].server.core.id();
        let asked = Term(self.servers[at].server.core.term().0 + 1);
        let peers: Vec<ServerId> = self.cores().map(Consensus::id).filter(|id| *id != own).collect();
        for from in peers.into_iter().filter(|_| timer == Timer::Election) {
            let message = Message::PreVoteResponse { term: asked, granted: true };
            self.step(at, Input::Received { from, message });
        }
    }

    fn crash(&mut self, at: usize, ensemble: &Ensemble) {
        let Server { core, disk, persisting, .. } = self.servers[at].server.clone();
        let incarnation = core.config().incarnation + 1;
        Arc::make_mut(&mut self.history).lost_unpersisted |= persisting.iter().any(|op| !op.entries.is_empty());
        let core = ensemble.recover(core.id(), incarnation, &disk);
        let timers = BTreeSet::new();
        self.servers[at] = Hashed::new(Server { core, disk, persisting: VecDeque::new(), timers });
        self.step(at, Input::Start);
    }

    fn cores(&self) -> impl Iterator<Item = &Consensus> {
        self.servers.iter().map(|hashed| &hashed.server.core)
    }

    fn spend(&mut self, action: &Action) {
        let spent = match action {
            Action::Repeat(..) => &mut self.budget.repetitions,
            Action::Lose(..) => &mut self.budget.losses,
            Action::Overtake(..) => &mut self.budget.overtakings,
            Action::Elapse(_, Timer::Heartbeat) => &mut self.budget.heartbeats,
            Action::Elapse(..) => &mut self.budget.elections,
            Action::Propose(_) => &mut self.budget.records,
            Action::Crash(_) => &mut self.budget.crashes,
            Action::Deliver(..) | Action::Persist(_) => return,
        };
        *spent -= 1;
    }
}

impl Disk {
    fn write(&mut self, op: &PersistOp) {
        self.hard_state = op.hard_state.unwrap_or(self.hard_state);
        if let Some(from) = op.truncate_from {
            self.entries.truncate(from as usize - 1);
        }
        self.entries.extend(op.entries.iter().cloned());
    }
}

/// Whether `next`, right behind `last` on a link, says all that `last` does.
fn is_superseded(last: &Message, next: &Message) -> bool {
    match (last, next) {
        (Message::Append { term, prev, entries, .. }, Message::Append { term: later, prev: same, .. }) => {
            entries.is_empty() && (term, prev) == (later, same)
        }
        (
            Message::AppendResponse { term, outcome: Outcome::Matched { index }, .. },
            Message::AppendResponse { term: later, outcome: Outcome::Matched { index: further }, .. },
        ) => term == later && index <= further,
        _ => false,
    }
}

/// Whether the message is of a term that is over for a server whose durable term is `term`.
fn is_ignored_for_ever(message: &Message, term: Term) -> bool {
    match message {
        Message::VoteResponse { granted: false, .. } => message.term() <= term,
        _ => message.term() < term,
    }
}

impl Model for Ensemble {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.first_leader()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let budget = world.budget;
        for (link, messages) in &world.network {
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
        for (at, hashed) in world.servers.iter().enumerate() {
            let Server { core, persisting, timers, .. } = &hashed.server;
            if !persisting.is_empty() {
                actions.push(Action::Persist(at));
            }
            if budget.elections > 0 && timers.contains(&Timer::Election) {
                actions.push(Action::Elapse(at, Timer::Election));
            }
            if budget.heartbeats > 0 && timers.contains(&Timer::Heartbeat) {
                actions.push(Action::Elapse(at, Timer::Heartbeat));
            }
            if budget.records > 0 && core.is_leader() {
                actions.push(Action::Propose(at));
            }
            if budget.crashes > 0 && !persisting.is_empty() {
                actions.push(Action::Crash(at));
            }
        }
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
            Action::Crash(at) => next.crash(at, self),
        }
        Some(next)
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.cores().all(|core| core.term().0 <= self.bounds.term_max)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a term has one leader at most", |_, world: &World| !world.history.two_leaders),
            Property::always("logs that agree at an entry agree before it", |_, world: &World| logs_match(world)),
            Property::always("a leader holds what earlier terms committed", |_, world: &World| {
                leaders_are_complete(world)
            }),
            Property::always("servers apply the same entries in the same order", |_, world: &World| {
                !world.history.two_histories
            }),
            Property::always("no server sees what must never happen", |_, world: &World| !world.history.faults),
            Property::sometimes("another server is elected", |_, world: &World| world.history.leaders.len() > 1),
            Property::sometimes("a third term has a leader", |_, world: &World| world.history.leaders.len() > 2),
            Property::sometimes("a log is truncated", |_, world: &World| {
                world.servers.iter().flat_map(|hashed| &hashed.server.persisting).any(|op| op.truncate_from.is_some())
            }),
            Property::sometimes("a record is committed", |_, world: &World| world.history.committed.len() > 1),
            Property::sometimes("a crash loses entries that were not durable", |_, world: &World| {
                world.history.lost_unpersisted
            }),
        ]
    }
}

fn logs_match(world: &World) -> bool {
    let logs: Vec<Vec<&Entry>> = world.cores().map(|core| core.entries().collect()).collect();
    logs.iter().enumerate().all(|(at, one)| logs[at + 1..].iter().all(|other| match_before_agreement(one, other)))
}

fn match_before_agreement(one: &[&Entry], other: &[&Entry]) -> bool {
    let agreed = one.iter().zip(other).rposition(|(one, other)| one.zxid == other.zxid);
    agreed.is_none_or(|agreed| one[..=agreed] == other[..=agreed])
}

fn leaders_are_complete(world: &World) -> bool {
    world.cores().filter(|core| core.is_leader()).all(|core| {
        let log: Vec<Zxid> = core.entries().map(|entry| entry.zxid).collect();
        let committed = world.history.committed.iter().enumerate();
        committed.filter(|(_, (_, term))| *term < core.term()).all(|(at, (zxid, _))| log.get(at) == Some(zxid))
    })
}

#[cfg(test)]
mod tests {
    use wyrdlog::base::plants::Plant;

    use super::*;

    /// Small enough for every test run: one election, one record, one crash.
    const SMALL: Bounds = Bounds { elections: 1, records: 1, losses: 0, ..Bounds::FULL };

    fn explore(bounds: Bounds, plants: Plants) -> Report {
        let options = Options { plants, ..Options::default() };
        Report::explore("consensus", format!("{bounds:?}"), Ensemble { bounds, plants }, &options)
    }

    #[test]
    fn a_small_ensemble_is_safe_in_every_state() {
        let report = explore(SMALL, Plants::NONE);
        assert!(report.exhausted && !report.is_refuted(), "{}", report.to_text());
        assert!(report.unique_states > 5_000, "{}", report.to_text());
        let reached = |name: &str| report.verdicts.iter().any(|verdict| verdict.property == name && verdict.holds);
        for name in ["another server is elected", "a log is truncated", "a record is committed"] {
            assert!(reached(name), "{name}: {}", report.to_text());
        }
        assert!(reached("a crash loses entries that were not durable"));
    }

    #[test]
    fn acknowledging_before_it_is_durable_loses_what_was_committed() {
        let report = explore(SMALL, Plants::only(Plant::Zk3911));
        assert!(report.is_refuted(), "{}", report.to_text());
        assert!(report.counterexample.iter().any(|action| action.starts_with("Crash")), "{}", report.to_text());
    }
}
