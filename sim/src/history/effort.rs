//! What servers did, and what clients asked of them meanwhile, second by second of virtual time.

use crate::engine::Effort;
use crate::observed::Node;

/// What a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It keeps logs.
    Broker,
    /// It is of the ensemble.
    Coordinator,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its part.
    pub part: Part,
    /// Its machine.
    pub node: Node,
    /// What it did in each second.
    pub seconds: Vec<Effort>,
}

/// See the module's doc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EffortHistory {
    /// Pieces that all clients together wrote to connections, in each second.
    pub asked: Vec<u64>,
    /// Every server.
    pub servers: Vec<Server>,
}
