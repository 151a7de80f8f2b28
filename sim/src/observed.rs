//! What an observer of a simulation sees: events with the node, incarnation and instant that the
//! event itself never names, and notes of the faults that took effect.
//!
//! Deliberately plain: nothing here depends on the engine, so that checkers are tested on
//! hand-written streams and work on recorded ones.

use std::fmt;

use serde::{Deserialize, Serialize};
use wyrdlog::base::event::Event;

/// A simulated machine, by its index in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Node(pub u16);

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// One life of a node's process; the next start has a higher number.
pub type Incarnation = u32;

/// An event, where and when it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Virtual nanoseconds since the start of the run.
    pub time_ns: u64,
    /// The node.
    pub node: Node,
    /// The life of its process.
    pub incarnation: Incarnation,
    /// What happened.
    pub event: Event,
}

/// A fault that took effect. Only what can take bytes away or end a process matters to what is
/// promised; a partition or a pause does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultNote {
    /// A process died; its operating system kept what was written.
    ProcessCrashed(Node),
    /// These nodes lost power in one instant: writes since the last sync may be gone.
    PowerLost(Vec<Node>),
    /// A node's disk is lost, or was replaced by an empty or an old one.
    DiskLost(Node),
    /// Bytes at rest were damaged, or an I/O error took a file away.
    DiskDamaged(Node),
}

impl FaultNote {
    /// The nodes that it hits.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        match self {
            FaultNote::PowerLost(nodes) => nodes,
            FaultNote::ProcessCrashed(node) | FaultNote::DiskLost(node) | FaultNote::DiskDamaged(node) => {
                std::slice::from_ref(node)
            }
        }
    }
}

/// `time_ns` as seconds, as evidence prints it.
#[must_use]
pub fn seconds(time_ns: u64) -> String {
    format!("{}.{:09} s", time_ns / 1_000_000_000, time_ns % 1_000_000_000)
}
