//! The world of one simulation, kept by its thread. Handles are plain ids into it, so that they
//! are `Send` without locks and form no cycles.
//!
//! Code of nodes (polls, drops, wakers that are not ours) never runs while the world is borrowed:
//! what must run is put aside in `graveyard` and `wakes`, and the driver runs it between steps.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::clock::NodeClock;
use super::config::EngineConfig;
use super::disk::Disk;
use super::effects::Effects;
use super::effort::{Effort, Efforts};
use super::executor::{Body, BoxFuture, Chooser};
use super::hash::{Trace, What};
use super::network::Net;
use super::pulse::Pulse;
use super::queue::EventQueue;
use super::random::NamedStreams;
use super::slab::{Key, Slab};
use super::wakes::{Wakes, Wakeup};

/// A node of a simulation: a host with a name, a disk, a clock and at most one running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// Its index, in the order in which nodes were added.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// Why a simulation cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, in simulated nanoseconds.
    pub time_ns: u64,
    /// The node's name.
    pub node: Arc<str>,
    /// The task's name.
    pub task: &'static str,
    /// The panic's message, or what else happened.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.time_ns / 1_000_000_000, self.time_ns % 1_000_000_000);
        write!(f, "at {seconds}.{nanos:09} s, task {} of {}: {}", self.task, self.node, self.message)
    }
}

/// Why [`super::Simulation::run_until`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The time that was asked for has come. All that was due at that instant has run.
    Deadline,
    /// Nothing is ready and nothing is due, ever. The time has moved to the deadline.
    Idle,
    /// A wake-up of the driver is due; its token.
    Wakeup(u64),
    /// An observer asked for the driver right after the present step; its token.
    Interrupted(u64),
    /// The process of a node ended by itself.
    Exited(NodeId),
    /// A task panicked, or time stood still. The simulation cannot be continued.
    Failed(Failure),
}

pub(super) struct Node {
    pub name: Arc<str>,
    /// The last incarnation that was started; the first is 1.
    pub incarnation: u32,
    /// Whether that incarnation's process runs. Cleared before its tasks are dropped.
    pub is_running: bool,
    /// Whether the host has power: whether its operating system answers.
    pub is_powered: bool,
    /// Raised by each loss of power.
    pub boot: u32,
    pub is_paused: bool,
    /// Tasks that became ready while the node was paused.
    pub frozen: Vec<Key>,
    pub main: Key,
    pub clock: NodeClock,
    pub streams: NamedStreams,
    pub disk: Disk,
    pub listeners: std::collections::BTreeMap<u16, Key>,
    pub next_port: u16,
    pub efforts: Efforts,
}

/// What is due at an instant.
pub(super) enum Due {
    Timer { node: NodeId, deadline_ns: u64, waker: Wakeup },
    Arrival { connection: Key, side: usize },
    Writable { connection: Key, side: usize },
    Device { node: NodeId, operation: Key },
}

pub(super) struct World {
    pub id: u64,
    pub seed: u64,
    pub config: EngineConfig,
    pub now_ns: u64,
    pub queue: EventQueue<Due>,
    pub tasks: Slab<Body>,
    pub chooser: Chooser,
    pub polls_this_instant: u32,
    pub nodes: Vec<Node>,
    pub net: Net,
    pub trace: Trace,
    pub effects: Effects,
    pub wakes: Wakes,
    pub graveyard: Vec<BoxFuture>,
    pub driver_wakeups: BinaryHeap<Reverse<(u64, u64, u64)>>,
    pub driver_wakeups_made: u64,
    pub exits: VecDeque<NodeId>,
    pub interrupts: VecDeque<u64>,
    pub failure: Option<Failure>,
    /// For whoever watches from another thread.
    pub pulse: Option<Arc<Pulse>>,
}

/// A timer is due.
const TIMER: What = What::new("timer");

thread_local! {
    static WORLD: RefCell<Option<Box<World>>> = const { RefCell::new(None) };
}

/// The virtual time on this thread, in nanoseconds, and the node whose task runs there at present:
/// for logs, which have no handle of the simulation.
#[must_use]
pub fn here() -> Option<(u64, Option<Arc<str>>)> {
    let look = |cell: &RefCell<Option<Box<World>>>| {
        let world = cell.try_borrow().ok()?;
        let world = world.as_deref()?;
        let running = world.tasks.iter().find(|(_, body)| body.is_polled());
        Some((world.now_ns, running.map(|(_, body)| world.node(body.node).name.clone())))
    };
    WORLD.try_with(look).ok().flatten()
}

/// Calls `f` with this thread's world, if it is the one called `id`.
#[inline]
pub(super) fn with<R>(id: u64, f: impl FnOnce(&mut World) -> R) -> Option<R> {
    WORLD
        .try_with(|cell| {
            let mut world = cell.borrow_mut();
            world.as_deref_mut().filter(|world| world.id == id).map(f)
        })
        .ok()
        .flatten()
}

/// Makes `world` this thread's world, or gives it back if there is one already.
pub(super) fn install(world: Box<World>) -> Result<(), Box<World>> {
    WORLD.with(|cell| {
        let mut slot = cell.borrow_mut();
        if slot.is_some() {
            return Err(world);
        }
        *slot = Some(world);
        Ok(())
    })
}

/// Takes the world called `id` away from this thread, to be dropped with nothing borrowed.
pub(super) fn uninstall(id: u64) -> Option<Box<World>> {
    let take = |cell: &RefCell<Option<Box<World>>>| {
        let mut slot = cell.borrow_mut();
        if slot.as_ref().is_some_and(|world| world.id == id) { slot.take() } else { None }
    };
    WORLD.try_with(take).ok().flatten()
}

impl World {
    pub fn new(id: u64, seed: u64, config: EngineConfig) -> Self {
        World {
            id,
            seed,
            now_ns: 0,
            queue: EventQueue::default(),
            tasks: Slab::default(),
            chooser: Chooser::new(&config, seed),
            polls_this_instant: 0,
            nodes: Vec::new(),
            net: Net::default(),
            trace: Trace::new(seed, config.trace.clone()),
            effects: Effects::default(),
            wakes: Wakes::default(),
            graveyard: Vec::new(),
            driver_wakeups: BinaryHeap::new(),
            driver_wakeups_made: 0,
            exits: VecDeque::new(),
            interrupts: VecDeque::new(),
            failure: None,
            pulse: Pulse::of(seed),
            config,
        }
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// What a node does in this second.
    pub fn effort(&mut self, id: NodeId) -> &mut Effort {
        let now_ns = self.now_ns;
        self.nodes[id.index()].efforts.now(now_ns)
    }

    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.index()]
    }

    pub fn is_live(&self, node: NodeId, incarnation: u32) -> bool {
        self.nodes.get(node.index()).is_some_and(|node| node.is_running && node.incarnation == incarnation)
    }

    /// Remembers to wake `waker` when nothing is borrowed.
    pub fn wake(&mut self, waker: Option<Wakeup>) {
        self.wakes.extend(waker);
    }

    pub fn fail(&mut self, node: NodeId, task: &'static str, message: String) {
        if self.failure.is_none() {
            let node = self.node(node).name.clone();
            self.failure = Some(Failure { time_ns: self.now_ns, node, task, message });
        }
    }

    /// Handles one event that is due.
    pub fn handle(&mut self, due: Due) {
        match due {
            Due::Timer { node, waker, .. } => {
                self.trace.step(self.now_ns, node.0, TIMER, 0);
                self.wakes.extend([waker]);
            }
            Due::Arrival { connection, side } => self.arrival(connection, side),
            Due::Writable { connection, side } => self.writable(connection, side),
            Due::Device { node, operation } => self.device_done(node, operation),
        }
    }
}
