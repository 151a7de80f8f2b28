//! What an observer of a simulation sees: events with the node, incarnation and instant that the
//! event itself never names, and notes of the faults that took effect.
//!
//! Deliberately plain: nothing here depends on the engine, so that checkers are tested on
//! hand-written streams and work on recorded ones.

use std::fmt;

use serde::{Deserialize, Serialize};
use wyrdlog::base::event::{AppendedBatch, Event};

use crate::narrate;

/// A simulated machine, by its index in the cluster. It prints as a marker that
/// [`Names::render`](narrate::Names::render) replaces by the name that people know it by.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Node(pub u16);

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", narrate::names::BEGIN, self.0, narrate::names::END)
    }
}

/// The same marker: evidence prints lists and pairs of nodes, too.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A process that was told to stop in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// When it was told, in virtual nanoseconds.
    pub told_ns: u64,
    /// When it had stopped; none if it has not yet, or something else ended it.
    pub ended_ns: Option<u64>,
    /// On which machine it ran.
    pub node: Node,
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
    /// Reads and writes of a disk fail: what was being written may be there in part, or not at all.
    /// What had been written before is there.
    CallsFail(Node),
    /// A fault of a disk's calls is over.
    CallsWork(Node),
    /// A sync of a disk is going to fail: what was written since the last one may be gone then, although it
    /// shows.
    SyncFails(Node),
    /// None of its syncs is to fail any more, for one has.
    SyncFailed(Node),
    /// Bytes at rest were damaged. Nobody knows before they are read again.
    Rotted {
        /// On whose disk.
        node: Node,
        /// In which file.
        path: String,
    },
}

impl FaultNote {
    /// The nodes that it hits.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        match self {
            FaultNote::PowerLost(nodes) => nodes,
            FaultNote::ProcessCrashed(node)
            | FaultNote::DiskLost(node)
            | FaultNote::CallsFail(node)
            | FaultNote::CallsWork(node)
            | FaultNote::SyncFails(node)
            | FaultNote::SyncFailed(node)
            | FaultNote::Rotted { node, .. } => std::slice::from_ref(node),
        }
    }

    /// What it did to `node`, if it hit it.
    #[must_use]
    pub fn on(&self, node: Node) -> Option<FaultNote> {
        if !self.nodes().contains(&node) {
            return None;
        }
        match self {
            FaultNote::PowerLost(_) => Some(FaultNote::PowerLost(vec![node])),
            other => Some(other.clone()),
        }
    }
}

/// A log as a simulated disk holds it, for whoever judges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskLog {
    /// Its segments, in the order of their names.
    pub segments: Vec<DiskSegment>,
}

/// One segment of a log on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSegment {
    /// The file.
    pub path: String,
    /// The offset that the file is named after.
    pub base_offset: i64,
    /// Whole and valid, up to the first that is not.
    pub batches: Vec<AppendedBatch>,
    /// Where the first bytes are that are no valid batch.
    pub bad: Option<BadBytes>,
}

/// A log's segment files as a simulated disk holds them: where each begins, and its bytes.
pub type Segments = Vec<(i64, u64)>;

impl DiskSegment {
    /// The offset after the last batch that can be read.
    #[must_use]
    pub fn read_end(&self) -> i64 {
        self.batches.last().map_or(self.base_offset, |last| last.last_offset + 1)
    }
}

impl DiskLog {
    /// All batches that can be read.
    pub fn batches(&self) -> impl Iterator<Item = &AppendedBatch> {
        self.segments.iter().flat_map(|segment| &segment.batches)
    }

    /// The first bytes of each segment that are no valid batch.
    pub fn bad(&self) -> impl Iterator<Item = &BadBytes> {
        self.segments.iter().filter_map(|segment| segment.bad.as_ref())
    }
}

/// Bytes on a disk that are no valid batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBytes {
    /// In which file.
    pub path: String,
    /// At which byte.
    pub position: u64,
    /// Why they are none.
    pub reason: String,
}

impl fmt::Display for BadBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.path, self.position, self.reason)
    }
}

/// `time_ns` as seconds, as evidence prints it.
#[must_use]
pub fn seconds(time_ns: u64) -> String {
    format!("{}.{:09} s", time_ns / 1_000_000_000, time_ns % 1_000_000_000)
}
