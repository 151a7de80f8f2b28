//! What clients asked of the coordinator, as operations on registers.
//!
//! A register is a znode whose data is one unique value. Its state is absent, or present with a
//! version and a value. An error such as *bad version* is an answer, not a failure: the operation
//! took its place in the history and was refused there.

use serde::{Deserialize, Serialize};
use wyrdlog::base::ids::{SessionId, Zxid};

use super::{Client, OpId, Operation, Outcome};

/// The index of a path in [`CoordinatorHistory::paths`].
pub type PathIndex = u16;

/// The state of a register that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Register {
    /// 0 after the creation, then one more per set.
    pub version: i32,
    /// The data.
    pub value: u64,
}

/// A write of one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// Creates the node.
    Create {
        /// Which.
        path: PathIndex,
        /// Its data.
        value: u64,
    },
    /// Sets the data; a compare-and-set where `version` is given.
    Set {
        /// Which.
        path: PathIndex,
        /// Its new data.
        value: u64,
        /// The version it must have.
        version: Option<i32>,
    },
    /// Deletes the node.
    Delete {
        /// Which.
        path: PathIndex,
        /// The version it must have.
        version: Option<i32>,
    },
    /// Changes nothing, and fails if the node has another version. Only inside a multi.
    Check {
        /// Which.
        path: PathIndex,
        /// The version it must have.
        version: Option<i32>,
    },
}

impl Write {
    /// The register that it writes.
    #[must_use]
    pub fn path(&self) -> PathIndex {
        match *self {
            Write::Create { path, .. }
            | Write::Set { path, .. }
            | Write::Delete { path, .. }
            | Write::Check { path, .. } => path,
        }
    }
}

/// What a client asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// One write.
    Write(Write),
    /// All of these, or none.
    Multi(Vec<Write>),
    /// A sync followed by a read: linearizable.
    SyncRead(PathIndex),
    /// A plain read: the state at some zxid.
    Read(PathIndex),
    /// A sync followed by a listing of those of `candidates` (all children of one node) that exist.
    SyncChildren(Vec<PathIndex>),
}

/// Why a write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The node does not exist.
    NoNode,
    /// The node exists already.
    NodeExists,
    /// The node has another version.
    BadVersion,
}

/// What a client was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The write or multi took effect.
    Done,
    /// The write, or the multi at its first refused write, was refused.
    Refused(Refusal),
    /// What was read; none where the node does not exist.
    Value(Option<Register>),
    /// The children that exist, in ascending order.
    Children(Vec<PathIndex>),
}

/// An answer and the zxid of its reply's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// What was answered.
    pub answer: Answer,
    /// For a write its own zxid, for a read the last that the server had applied.
    pub zxid: Zxid,
}

/// A call in its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCall {
    /// The session.
    pub session: SessionId,
    /// What was asked.
    pub call: Call,
}

/// One operation on the coordinator.
pub type CoordinatorOp = Operation<SessionCall, Reply>;

/// All operations on the coordinator's registers, in the order of invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorHistory {
    /// The registers' paths, by index. All are absent when the history begins.
    pub paths: Vec<String>,
    /// The operations, by [`OpId`].
    pub operations: Vec<CoordinatorOp>,
}

impl CoordinatorHistory {
    /// An empty history over `paths`.
    #[must_use]
    pub fn new(paths: Vec<String>) -> Self {
        CoordinatorHistory { paths, operations: Vec::new() }
    }

    /// Records an invocation. Its outcome is unknown until it completes.
    pub fn invoke(&mut self, client: Client, session: SessionId, time_ns: u64, call: Call) -> OpId {
        let id = self.operations.len() as OpId;
        self.operations.push(Operation {
            client,
            invoked_ns: time_ns,
            completed_ns: None,
            call: SessionCall { session, call },
            outcome: Outcome::Unknown,
        });
        id
    }

    /// Records how operation `id` ended.
    pub fn complete(&mut self, id: OpId, time_ns: u64, outcome: Outcome<Reply>) {
        if let Some(operation) = self.operations.get_mut(id as usize) {
            operation.completed_ns = Some(time_ns);
            operation.outcome = outcome;
        }
    }

    /// The path, for evidence.
    #[must_use]
    pub fn name(&self, path: PathIndex) -> &str {
        self.paths.get(usize::from(path)).map_or("(unknown path)", String::as_str)
    }
}
