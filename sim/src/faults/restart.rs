//! A node is stopped in good order, and started again when it has stopped. It takes effect when a
//! process ran.

use super::Fault;
use crate::cluster::Cluster;
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct Restart {
    node: Option<Node>,
    struck: bool,
}

impl Restart {
    pub(super) fn new(node: Option<Node>) -> Self {
        Restart { node, struck: false }
    }
}

impl Fault for Restart {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.filter(|node| cluster.is_running(*node)).map(|_| Vec::new())
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            self.struck = cluster.restart_cleanly(node);
        }
    }

    fn took_effect(&self, _before: &Effects, _now: &Effects) -> bool {
        self.struck
    }
}
