//! A whole ensemble in one thread: cores, their disks, and a network that a test is in charge of.
//! After every step it checks what must hold of all servers together, and keeps what was
//! acknowledged, so that a test only has to make things happen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::super::{
    Config, Consensus, Dropped, Effect, Entry, Fault, Input, Limits, Message, PersistOp, Position, Proposal,
    ReadContext, Recovered, Refusal, Standing, Timer, Voters,
};
use crate::base::ids::{ServerId, Term, Zxid};
use crate::base::plants::Plants;

/// What a server's disk holds. The state machine is the sequence of zxids that were applied, and
/// a snapshot is that sequence as bytes.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub recovered: Recovered,
    pub snapshot: Vec<Zxid>,
}

/// Work that the disk has not yet done.
#[derive(Clone, Debug)]
enum Work {
    Persist(PersistOp),
    Install(Position),
}

pub struct Server {
    pub core: Consensus,
    pub disk: Disk,
    work: VecDeque<Work>,
    pub timers: BTreeSet<Timer>,
    pub state: Vec<Zxid>,
    stored_aside: Vec<u8>,
    pub ready: Vec<ReadContext>,
    pub failed: Vec<(ReadContext, Dropped)>,
    pub dropped: Vec<(u64, Dropped)>,
    pub proposed: Vec<(u64, Position)>,
    pub refused: Vec<Refusal>,
    pub fault: Option<Fault>,
    pub plant_taken: bool,
}

pub struct Envelope {
    pub from: ServerId,
    pub to: ServerId,
    pub message: Message,
}

pub struct Ensemble {
    pub servers: BTreeMap<ServerId, Server>,
    pub network: Vec<Envelope>,
    pub limits: Limits,
    plants: Plants,
    /// The longest sequence that any server applied.
    pub applied: Vec<Zxid>,
    leaders: BTreeMap<Term, ServerId>,
    /// What had been applied anywhere when a read was asked for.
    reads: BTreeMap<ReadContext, usize>,
    next_context: u64,
    incarnation: u64,
    pub snapshots_installed: usize,
    pub truncations: usize,
}

const SNAPSHOT_ZXID_BYTES: usize = 8;

impl Ensemble {
    pub fn new(size: u32) -> Ensemble {
        Ensemble::with(size, Limits::default(), Plants::NONE)
    }

    pub fn with(size: u32, limits: Limits, plants: Plants) -> Ensemble {
        let mut ensemble = Ensemble {
            servers: BTreeMap::new(),
            network: Vec::new(),
            limits,
            plants,
            applied: Vec::new(),
            leaders: BTreeMap::new(),
            reads: BTreeMap::new(),
            next_context: 0,
            incarnation: 0,
            snapshots_installed: 0,
            truncations: 0,
        };
        for id in 1..=size {
            let server = ensemble.server(ServerId(id), size, Standing::Member, Disk::default());
            ensemble.servers.insert(ServerId(id), server);
        }
        for id in 1..=size {
            ensemble.step(id, Input::Start);
        }
        ensemble
    }

    fn server(&mut self, id: ServerId, size: u32, standing: Standing, disk: Disk) -> Server {
        self.incarnation += 1;
        let voters = Voters::new((1..=size).map(ServerId)).expect("a valid ensemble");
        let config = Config { limits: self.limits, plants: self.plants, ..Config::new(id, voters, self.incarnation) };
        let core = Consensus::recover(config, standing, disk.recovered.clone()).expect("a disk written in order");
        Server {
            core,
            state: disk.snapshot.clone(),
            disk,
            work: VecDeque::new(),
            timers: BTreeSet::new(),
            stored_aside: Vec::new(),
            ready: Vec::new(),
            failed: Vec::new(),
            dropped: Vec::new(),
            proposed: Vec::new(),
            refused: Vec::new(),
            fault: None,
            plant_taken: false,
        }
    }

    pub fn at(&self, id: u32) -> &Server {
        &self.servers[&ServerId(id)]
    }

    pub fn core(&self, id: u32) -> &Consensus {
        &self.at(id).core
    }

    pub fn step(&mut self, id: u32, input: Input) {
        let id = ServerId(id);
        let mut effects = Vec::new();
        self.servers.get_mut(&id).expect("a known server").core.step(input, &mut effects);
        let mut next_inputs = Vec::new();
        for effect in effects {
            next_inputs.extend(self.carry_out(id, effect));
        }
        self.check_everything();
        for input in next_inputs {
            self.step(id.0, input);
        }
    }

    fn carry_out(&mut self, id: ServerId, effect: Effect) -> Option<Input> {
        let server = self.servers.get_mut(&id).expect("a known server");
        match effect {
            Effect::Send { to, message } => self.network.push(Envelope { from: id, to, message }),
            Effect::Persist(op) => server.work.push_back(Work::Persist(op)),
            Effect::InstallSnapshot { position } => server.work.push_back(Work::Install(position)),
            Effect::Arm { timer, .. } => drop(server.timers.insert(timer)),
            Effect::Disarm(timer) => drop(server.timers.remove(&timer)),
            Effect::Apply { entries } => self.apply(id, &entries),
            Effect::ReadReady { context, .. } => {
                assert!(server.state.len() >= self.reads[&context], "a read sees all that was applied before it");
                server.ready.push(context);
            }
            Effect::ReadFailed { context, reason } => server.failed.push((context, reason)),
            Effect::Proposed { context, position } => server.proposed.push((context, position)),
            Effect::ProposalDropped { context, reason } => server.dropped.push((context, reason)),
            Effect::BecameLeader { term } => {
                let known = *self.leaders.entry(term).or_insert(id);
                assert_eq!(known, id, "a term has one leader at most");
            }
            Effect::ReadSnapshot { to, position, offset } => return Some(self.read_chunk(id, to, position, offset)),
            Effect::StoreSnapshotChunk { position, offset, data } => {
                server.stored_aside.truncate(offset as usize);
                server.stored_aside.extend_from_slice(&data);
                let next_offset = server.stored_aside.len() as u64;
                return Some(Input::SnapshotStored { position, next_offset });
            }
            Effect::Compacted { through } => {
                server.disk.recovered.entries.retain(|entry| entry.index > through.index);
                server.disk.recovered.log_base = through;
            }
            Effect::Refused { refusal, .. } => server.refused.push(refusal),
            Effect::Fault(fault) => server.fault = Some(fault),
            Effect::Observe(crate::base::event::Event::PlantTaken(_)) => server.plant_taken = true,
            Effect::SteppedDown { .. } | Effect::LeaderKnown { .. } | Effect::Observe(_) => {}
        }
        None
    }

    fn apply(&mut self, id: ServerId, entries: &[Entry]) {
        let server = self.servers.get_mut(&id).expect("a known server");
        for entry in entries {
            assert_eq!(entry.index as usize, server.state.len() + 1, "entries are applied without a gap");
            server.state.push(entry.zxid);
            match self.applied.get(entry.index as usize - 1) {
                Some(zxid) => assert_eq!(*zxid, entry.zxid, "servers apply the same entries"),
                None => self.applied.push(entry.zxid),
            }
        }
    }

    fn read_chunk(&self, id: ServerId, to: ServerId, position: Position, offset: u64) -> Input {
        let server = &self.servers[&id];
        if server.disk.recovered.snapshot != position {
            return Input::SnapshotUnreadable { to, position };
        }
        let bytes: Vec<u8> = server.disk.snapshot.iter().flat_map(|zxid| zxid.0.to_be_bytes()).collect();
        let end = bytes.len().min(offset as usize + self.limits.snapshot_chunk_bytes_max);
        let data = Bytes::copy_from_slice(&bytes[offset as usize..end]);
        Input::SnapshotRead { to, position, offset, data, done: end == bytes.len() }
    }

    /// What must hold of all servers together.
    fn check_everything(&self) {
        let cores: Vec<&Consensus> = self.servers.values().map(|server| &server.core).collect();
        for leader in cores.iter().filter(|core| core.is_leader()) {
            let is_latest = cores.iter().all(|core| core.term() <= leader.term());
            if is_latest {
                let log: BTreeMap<u64, Zxid> = leader.entries().map(|entry| (entry.index, entry.zxid)).collect();
                let from = leader.log_base().index as usize;
                for (at, zxid) in self.applied.iter().enumerate().skip(from) {
                    assert_eq!(log.get(&(at as u64 + 1)), Some(zxid), "a leader holds what was committed");
                }
            }
        }
        for (at, one) in cores.iter().enumerate() {
            for other in &cores[at + 1..] {
                assert_logs_match(one, other);
            }
        }
    }

    /// The disk does its oldest work.
    pub fn persist_one(&mut self, id: u32) -> bool {
        let server = self.servers.get_mut(&ServerId(id)).expect("a known server");
        let input = match server.work.pop_front() {
            None => return false,
            Some(Work::Persist(op)) => {
                self.truncations += usize::from(op.truncate_from.is_some());
                server.disk.write(&op);
                Input::Persisted { id: op.id }
            }
            Some(Work::Install(position)) => {
                let chunks = server.stored_aside.chunks_exact(SNAPSHOT_ZXID_BYTES);
                let zxid = |chunk: &[u8]| Zxid(i64::from_be_bytes(chunk.try_into().expect("eight bytes")));
                server.disk.snapshot = chunks.map(zxid).collect();
                assert_eq!(server.disk.snapshot.len() as u64, position.index, "a snapshot arrives whole");
                server.disk.recovered.snapshot = position;
                server.state = server.disk.snapshot.clone();
                self.snapshots_installed += 1;
                Input::SnapshotInstalled { position }
            }
        };
        self.step(id, input);
        true
    }

    pub fn deliver(&mut self, at: usize) {
        let Envelope { from, to, message } = self.network.remove(at);
        self.step(to.0, Input::Received { from, message });
    }

    pub fn elapse(&mut self, id: u32, timer: Timer) {
        if self.servers.get_mut(&ServerId(id)).expect("a known server").timers.remove(&timer) {
            self.step(id, Input::Elapsed(timer));
        }
    }

    /// Everything not yet on disk is gone.
    pub fn crash(&mut self, id: u32) {
        let disk = self.at(id).disk.clone();
        self.restart(id, Standing::Member, disk);
    }

    pub fn restart(&mut self, id: u32, standing: Standing, disk: Disk) {
        let server = self.server(ServerId(id), self.servers.len() as u32, standing, disk);
        self.servers.insert(ServerId(id), server);
        self.step(id, Input::Start);
    }

    pub fn propose(&mut self, id: u32, count: u64) {
        let first = self.next_context;
        self.next_context += count;
        let proposals = (first..first + count)
            .map(|context| Proposal { context, payload: Bytes::copy_from_slice(&context.to_be_bytes()) })
            .collect();
        self.step(id, Input::Propose { proposals });
    }

    pub fn read(&mut self, id: u32) -> ReadContext {
        let context = ReadContext(self.next_context);
        self.next_context += 1;
        self.reads.insert(context, self.applied.len());
        self.step(id, Input::ReadIndex { context });
        context
    }

    pub fn take_snapshot(&mut self, id: u32) {
        let server = self.servers.get_mut(&ServerId(id)).expect("a known server");
        let Some(zxid) = server.state.last().copied() else { return };
        let position = Position { index: server.state.len() as u64, zxid };
        if position.index > server.disk.recovered.snapshot.index && server.work.is_empty() {
            server.disk.snapshot = server.state.clone();
            server.disk.recovered.snapshot = position;
            self.step(id, Input::SnapshotTaken { position });
        }
    }

    /// Delivers and persists until nothing is left to do, with these servers cut off.
    pub fn settle_without(&mut self, cut_off: &[u32]) {
        for _ in 0..100_000 {
            self.network.retain(|envelope| !cut_off.iter().any(|id| envelope.from.0 == *id || envelope.to.0 == *id));
            let ids: Vec<u32> = self.servers.keys().map(|id| id.0).collect();
            let persisted = ids.into_iter().any(|id| self.persist_one(id));
            if !persisted && self.network.is_empty() {
                return;
            }
            if !persisted {
                self.deliver(0);
            }
        }
        panic!("the ensemble does not come to rest");
    }

    pub fn settle(&mut self) {
        self.settle_without(&[]);
    }

    /// Lets `id` win an election among those that are not cut off.
    pub fn elect_without(&mut self, id: u32, cut_off: &[u32]) {
        let others: Vec<u32> = self.servers.keys().map(|other| other.0).filter(|other| *other != id).collect();
        for other in others.into_iter().filter(|other| !cut_off.contains(other)) {
            self.elapse(other, Timer::CheckQuorum);
            self.elapse(other, Timer::CheckQuorum);
            self.elapse(other, Timer::Election);
            self.network.retain(|envelope| envelope.from.0 != other);
        }
        self.elapse(id, Timer::Election);
        self.settle_without(cut_off);
        assert!(self.core(id).is_leader(), "{id} wins an election that nobody disturbs");
    }

    pub fn elect(&mut self, id: u32) {
        self.elect_without(id, &[]);
    }
}

impl Disk {
    fn write(&mut self, op: &PersistOp) {
        let disk = &mut self.recovered;
        disk.hard_state = op.hard_state.unwrap_or(disk.hard_state);
        if let Some(position) = op.reset_to {
            disk.entries.clear();
            disk.log_base = position;
        }
        if let Some(from) = op.truncate_from {
            disk.entries.retain(|entry| entry.index < from);
        }
        disk.entries.extend(op.entries.iter().cloned());
    }
}

fn assert_logs_match(one: &Consensus, other: &Consensus) {
    let base = one.log_base().index.max(other.log_base().index);
    let kept = |core: &Consensus| core.entries().filter(|entry| entry.index > base).cloned().collect::<Vec<_>>();
    let (one, other) = (kept(one), kept(other));
    if let Some(agreed) = one.iter().zip(&other).rposition(|(one, other)| one.zxid == other.zxid) {
        assert_eq!(one[..=agreed], other[..=agreed], "logs that agree at an entry agree before it");
    }
}
