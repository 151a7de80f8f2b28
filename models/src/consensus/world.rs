//! A state of the ensemble, and how a step of one server changes it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use wyrdlog::base::ids::{ServerId, Term, Zxid};
use wyrdlog::consensus::{Consensus, Effect, Entry, Input, Message, Position, Timer};

use super::disk::{Disk, Work};
use super::ensemble::Ensemble;
use super::network::{Link, is_ignored_for_ever, is_superseded};

/// How many bytes a snapshot has, each of which is a chunk.
pub const SNAPSHOT_BYTES: u64 = 1;

/// One server: what runs, what is durable, and what is on its way from one to the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub core: Consensus,
    pub disk: Disk,
    pub persisting: VecDeque<Work>,
    pub timers: BTreeSet<Timer>,
}

/// A server with its hash, which is computed once for all states that share the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    digest: u64,
    pub server: Server,
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Hashed {
    pub fn new(server: Server) -> Arc<Hashed> {
        let mut hasher = DefaultHasher::new();
        server.hash(&mut hasher);
        Arc::new(Hashed { digest: hasher.finish(), server })
    }
}

/// What an observer of everything remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// The entries that were applied or counted as committed anywhere, and the term in which the
    /// first server to know it was.
    pub committed: Vec<(Zxid, Term)>,
    /// Who led in which term.
    pub leaders: BTreeMap<Term, ServerId>,
    pub two_leaders: bool,
    pub two_histories: bool,
    pub faults: bool,
    /// A crash took what was not yet durable.
    pub lost_unpersisted: bool,
    /// A snapshot was installed.
    pub installed: bool,
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    pub elections: u8,
    pub heartbeats: u8,
    pub records: u8,
    pub crashes: u8,
    pub losses: u8,
    pub repetitions: u8,
    pub overtakings: u8,
    pub snapshots: u8,
}

/// One state of the ensemble.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub servers: Vec<Arc<Hashed>>,
    pub network: BTreeMap<Link, VecDeque<Arc<Message>>>,
    pub history: Arc<History>,
    pub budget: Budget,
}

impl World {
    /// Steps a server and carries out what it asks for.
    pub fn step(&mut self, at: usize, input: Input) {
        let mut server = self.servers[at].server.clone();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            server.core.step(input, &mut effects);
            for effect in effects {
                inputs.extend(self.carry_out(&mut server, effect));
            }
        }
        self.remember_commit_index(&server);
        self.servers[at] = Hashed::new(server);
        self.remove_ignored();
    }

    /// Carries out an effect; gives what the shell answers at once, if it does.
    fn carry_out(&mut self, server: &mut Server, effect: Effect) -> Option<Input> {
        let from = server.core.id();
        match effect {
            Effect::Send { message: Message::PreVote { .. }, .. } => {}
            Effect::Send { to, message } => self.send(Link { from, to }, message),
            Effect::Persist(op) => server.persisting.push_back(Work::Persist(op)),
            Effect::InstallSnapshot { position } => server.persisting.push_back(Work::Install(position)),
            Effect::StoreSnapshotChunk { position, offset, data } => {
                let next_offset = offset + data.len() as u64;
                return Some(Input::SnapshotStored { position, next_offset });
            }
            Effect::ReadSnapshot { to, position, .. } if position != server.disk.snapshot => {
                return Some(Input::SnapshotUnreadable { to, position });
            }
            Effect::ReadSnapshot { to, position, offset } => {
                let data = vec![0; usize::from(offset < SNAPSHOT_BYTES)].into();
                let done = offset + 1 >= SNAPSHOT_BYTES;
                return Some(Input::SnapshotRead { to, position, offset, data, done });
            }
            Effect::Compacted { through } => server.disk.compact(through),
            Effect::Arm { timer, .. } => drop(server.timers.insert(timer)),
            Effect::Disarm(timer) => drop(server.timers.remove(&timer)),
            Effect::BecameLeader { term } => self.remember_leader(term, from),
            Effect::Apply { entries } => self.remember_committed(&entries, server.core.term()),
            Effect::Fault(_) => Arc::make_mut(&mut self.history).faults = true,
            _ => {}
        }
        None
    }

    fn send(&mut self, link: Link, message: Message) {
        let messages = self.network.entry(link).or_default();
        if messages.back().is_some_and(|last| is_superseded(last, &message)) {
            messages.pop_back();
        }
        messages.push_back(Arc::new(message));
    }

    fn remember_leader(&mut self, term: Term, server: ServerId) {
        let history = Arc::make_mut(&mut self.history);
        let known = *history.leaders.entry(term).or_insert(server);
        history.two_leaders |= known != server;
    }

    /// A leader's commit index tells clients that their records are safe, applied or not.
    fn remember_commit_index(&mut self, server: &Server) {
        let committed = server.core.commit_index();
        if server.core.is_leader() && committed as usize > self.history.committed.len() {
            let entries: Vec<Entry> =
                server.core.entries().take_while(|entry| entry.index <= committed).cloned().collect();
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

    /// A snapshot replaces the state: it must be of what was committed.
    fn remember_installed(&mut self, position: Position) {
        let history = Arc::make_mut(&mut self.history);
        history.installed = true;
        let committed = history.committed.get(position.index as usize - 1);
        history.two_histories |= committed.is_none_or(|(zxid, _)| *zxid != position.zxid);
    }

    fn remove_ignored(&mut self) {
        let servers = &self.servers;
        self.network.retain(|link, messages| {
            let receiver = &servers[link.to.0 as usize - 1].server;
            messages.retain(|message| !is_ignored_for_ever(message, receiver.disk.hard_state.term));
            !messages.is_empty()
        });
    }

    /// Takes a message off its link.
    pub fn take(&mut self, link: Link, place: usize) -> Option<Arc<Message>> {
        let messages = self.network.get_mut(&link)?;
        let message = messages.remove(place);
        if messages.is_empty() {
            self.network.remove(&link);
        }
        message
    }

    /// A message arrives.
    pub fn deliver(&mut self, link: Link, place: usize) {
        if let Some(message) = self.take(link, place) {
            self.receive(link, &message);
        }
    }

    /// A message arrives, and is not taken off its link.
    pub fn receive(&mut self, link: Link, message: &Message) {
        let input = Input::Received { from: link.from, message: message.clone() };
        self.step(link.to.0 as usize - 1, input);
    }

    /// What a disk was told first is done.
    pub fn persist(&mut self, at: usize) {
        let mut server = self.servers[at].server.clone();
        let Some(work) = server.persisting.pop_front() else { return };
        server.disk.write(&work);
        self.servers[at] = Hashed::new(server);
        match work {
            Work::Persist(op) => self.step(at, Input::Persisted { id: op.id }),
            Work::Install(position) => {
                self.remember_installed(position);
                self.step(at, Input::SnapshotInstalled { position });
            }
        }
    }

    /// A timer elapses; whoever asks for pre-votes is granted them.
    pub fn elapse(&mut self, at: usize, timer: Timer) {
        self.step(at, Input::Elapsed(timer));
        let own = self.servers[at].server.core.id();
        let asked = Term(self.servers[at].server.core.term().0 + 1);
        let peers: Vec<ServerId> = self.cores().map(Consensus::id).filter(|id| *id != own).collect();
        for from in peers.into_iter().filter(|_| timer == Timer::Election) {
            let message = Message::PreVoteResponse { term: asked, granted: true };
            self.step(at, Input::Received { from, message });
        }
    }

    /// A server makes a snapshot of what it has applied.
    pub fn take_snapshot(&mut self, at: usize) {
        let mut server = self.servers[at].server.clone();
        let applied = server.core.applied_index();
        let last = server.core.entries().find(|entry| entry.index == applied).map(Entry::position);
        let Some(position) = last else { return };
        server.disk.snapshot = position;
        self.servers[at] = Hashed::new(server);
        self.step(at, Input::SnapshotTaken { position });
    }

    /// A server crashes and restarts from its disk.
    pub fn crash(&mut self, at: usize, ensemble: &Ensemble) {
        let Server { core, disk, persisting, .. } = self.servers[at].server.clone();
        let incarnation = core.config().incarnation + 1;
        Arc::make_mut(&mut self.history).lost_unpersisted |= persisting.iter().any(Work::holds_entries);
        self.servers[at] = Hashed::new(ensemble.server(core.id(), incarnation, disk));
        self.step(at, Input::Start);
    }

    /// The core of each server.
    pub fn cores(&self) -> impl Iterator<Item = &Consensus> {
        self.servers.iter().map(|hashed| &hashed.server.core)
    }
}
