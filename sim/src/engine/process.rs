//! Processes on hosts: starting, ending by themselves, killed, without power, paused.
//!
//! A process is marked dead *before* its tasks are dropped, so that no destructor of theirs can
//! send a byte or write a marker.

use wyrdlog::runtime::Runtime;

use super::clock::NodeClock;
use super::disk::{Disk, DiskDraws, DiskImage, PowerLoss};
use super::effort::Efforts;
use super::network::Farewell;
use super::random::{NamedStreams, Stream};
use super::runtime::SimRuntime;
use super::slab::Key;
use super::world::{Due, Node, NodeId, World};

/// The name of a process's first task.
pub(super) const MAIN: &str = "main";

/// Monotonic clocks start at a drawn instant below this.
const MONOTONIC_ORIGIN_NS_MAX: u64 = 1_000_000_000_000;

/// Where ports that are not asked for begin (Linux's `ip_local_port_range`).
pub(super) const FIRST_FREE_PORT: u16 = 32_768;

const _: () = assert!(SimRuntime::PLANTS);

impl World {
    pub fn add_node(&mut self, name: &str) -> NodeId {
        assert!(self.nodes.iter().all(|node| &*node.name != name), "two nodes are called {name}");
        let id = NodeId(self.nodes.len() as u32);
        let wall_offset_ns = self.config.wall_clock_start_ms.saturating_mul(1_000_000);
        let disk = Disk::new(self.config.disk.clone(), DiskDraws::new(self.seed, u64::from(id.0)));
        self.nodes.push(Node {
            name: name.into(),
            incarnation: 0,
            is_running: false,
            is_powered: true,
            boot: 0,
            is_paused: false,
            frozen: Vec::new(),
            main: Key::NOWHERE,
            clock: NodeClock::new(self.now_ns, wall_offset_ns),
            streams: NamedStreams::default(),
            disk,
            listeners: Default::default(),
            next_port: FIRST_FREE_PORT,
            efforts: Efforts::default(),
        });
        self.net.add_host(&self.config.network);
        id
    }

    /// Begins a new incarnation, on a host that has power again if it had none.
    pub fn begin_incarnation(&mut self, id: NodeId) -> u32 {
        let seed = self.seed;
        let node = self.node_mut(id);
        assert!(!node.is_running, "{} is running already", node.name);
        node.incarnation += 1;
        (node.is_running, node.is_powered, node.is_paused) = (true, true, false);
        node.streams.clear();
        let mut origin = Stream::new(seed, "engine", u64::from(id.0), u64::from(node.incarnation), "monotonic origin");
        node.clock.begin_incarnation(origin.below(MONOTONIC_ORIGIN_NS_MAX));
        let incarnation = node.incarnation;
        self.trace.step(self.now_ns, id.0, "start", u64::from(incarnation));
        incarnation
    }

    /// Ends a process. The tasks are in the graveyard afterwards.
    pub fn end_process(&mut self, id: NodeId, farewell: Farewell) {
        if !self.node(id).is_running {
            return;
        }
        let node = self.node_mut(id);
        (node.is_running, node.is_paused) = (false, false);
        node.frozen.clear();
        node.disk.process_ended();
        self.trace.step(self.now_ns, id.0, "end", farewell as u64);
        for key in self.tasks.keys(|body| body.node == id) {
            self.remove_task(key);
        }
        self.close_all(id, farewell);
    }

    pub fn power_off(&mut self, id: NodeId, key: Option<u64>) -> PowerLoss {
        self.end_process(id, Farewell::Silence);
        if !self.node(id).is_powered {
            return PowerLoss::default();
        }
        self.node_mut(id).is_powered = false;
        self.node_mut(id).boot += 1;
        self.close_all(id, Farewell::Silence);
        self.cancel_device_work(id);
        let now_ns = self.now_ns;
        let key = key.unwrap_or_else(|| u64::from(self.node(id).boot));
        let loss = self.node_mut(id).disk.lose_power(now_ns, key);
        self.trace.step(now_ns, id.0, "power off", loss.writes_lost + loss.writes_torn);
        self.effects.power_losses += 1;
        let unsynced = loss.writes_kept + loss.writes_lost + loss.writes_torn > 0;
        self.effects.power_losses_unsynced += u64::from(unsynced);
        self.effects.writes_lost += loss.writes_lost;
        self.effects.writes_torn += loss.writes_torn;
        self.effects.names_rolled_back += loss.names_rolled_back;
        loss
    }

    /// The device forgets what it was asked for.
    fn cancel_device_work(&mut self, id: NodeId) {
        for key in self.queue.keys(|due| matches!(due, Due::Device { node, .. } if *node == id)) {
            self.queue.cancel(key);
        }
    }

    /// Puts another disk into a host on which no process runs.
    pub fn replace_disk(&mut self, id: NodeId, image: &DiskImage) {
        assert!(!self.node(id).is_running, "the disk of {} is in use", self.node(id).name);
        self.cancel_device_work(id);
        self.node_mut(id).disk.replace(image);
        self.trace.step(self.now_ns, id.0, "disk", 0);
    }

    pub fn pause(&mut self, id: NodeId, is_paused: bool) {
        if !self.node(id).is_running || self.node(id).is_paused == is_paused {
            return;
        }
        self.trace.step(self.now_ns, id.0, "pause", u64::from(is_paused));
        self.node_mut(id).is_paused = is_paused;
        if !is_paused {
            self.effects.polls_frozen += self.node(id).frozen.len() as u64;
            self.thaw(id);
        }
    }

    /// Moves the node's timers after its clock's rate has changed.
    pub fn rearm_timers(&mut self, id: NodeId) {
        for key in self.queue.keys(|due| matches!(due, Due::Timer { node, .. } if *node == id)) {
            let Some(Due::Timer { deadline_ns, .. }) = self.queue.get(key) else { continue };
            let due_ns = self.node(id).clock.due_ns(*deadline_ns, self.now_ns);
            self.queue.reschedule(key, due_ns);
        }
    }
}
