//! [`View`]: what observers and checkers may look at while a simulation runs. Looking takes no
//! simulated time, draws nothing and changes nothing.

use super::disk;
use super::effort::Effort;
use super::world::{self, NodeId};

/// A copyable, read-only view of this thread's simulation. Empty answers once it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub(super) world: u64,
}

impl View {
    /// Simulated nanoseconds since the start.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        world::with(self.world, |world| world.now_ns).unwrap_or(0)
    }

    /// What a node did, second by second.
    #[must_use]
    pub fn efforts(&self, node: NodeId) -> Vec<Effort> {
        let efforts = |world: &mut world::World| Some(world.nodes.get(node.index())?.efforts.all().to_vec());
        world::with(self.world, efforts).flatten().unwrap_or_default()
    }

    /// The bytes of a file as its node sees them.
    #[must_use]
    pub fn visible_file(&self, node: NodeId, path: &str) -> Option<Vec<u8>> {
        world::with(self.world, |world| world.visible_file(node, path)).flatten()
    }

    /// A range of them, or less where the file ends before.
    #[must_use]
    pub fn visible_range(&self, node: NodeId, path: &str, offset: u64, len: usize) -> Option<Vec<u8>> {
        disk::visible_range(self.world, node, path, offset, len)
    }

    /// The bytes that a power cut now would leave for certain.
    #[must_use]
    pub fn durable_file(&self, node: NodeId, path: &str) -> Option<Vec<u8>> {
        world::with(self.world, |world| world.durable_file(node, path)).flatten()
    }

    /// The paths of a node's files, in order.
    #[must_use]
    pub fn files(&self, node: NodeId) -> Vec<String> {
        let paths = |world: &mut world::World| {
            let disk = world.nodes.get(node.index()).map(|node| &node.disk);
            disk.map(|disk| disk.file_paths().map(str::to_owned).collect())
        };
        world::with(self.world, paths).flatten().unwrap_or_default()
    }

    /// Whether a process ever changed the node's disk without having locked it.
    #[must_use]
    pub fn was_changed_unlocked(&self, node: NodeId) -> bool {
        let changed =
            |world: &mut world::World| world.nodes.get(node.index()).map(|node| node.disk.was_changed_unlocked);
        world::with(self.world, changed).flatten().unwrap_or_default()
    }

    /// The bytes that all files of a node's disk have together.
    #[must_use]
    pub fn used_bytes(&self, node: NodeId) -> u64 {
        world::with(self.world, |world| world.nodes.get(node.index()).map_or(0, |node| node.disk.used_bytes()))
            .unwrap_or(0)
    }

    /// What the monotonic clock of `node` shows.
    #[must_use]
    pub fn monotonic_ns(&self, node: NodeId) -> u64 {
        let clock = |world: &mut world::World| {
            let now_ns = world.now_ns;
            world.nodes.get(node.index()).map(|node| node.clock.monotonic_ns(now_ns))
        };
        world::with(self.world, clock).flatten().unwrap_or(0)
    }

    /// Whether a process runs on `node`.
    #[must_use]
    pub fn is_running(&self, node: NodeId) -> bool {
        world::with(self.world, |world| world.nodes.get(node.index()).is_some_and(|node| node.is_running))
            .unwrap_or(false)
    }

    /// Brings [`super::Simulation::run_until`] back with [`super::Stop::Interrupted`] right after
    /// the present step: an observer calls it when a symbolic trigger fires, or when an invariant
    /// is violated.
    pub fn interrupt(&self, token: u64) {
        world::with(self.world, |world| world.interrupts.push_back(token));
    }
}
