//! Processes are killed; their operating systems keep what was written. It takes effect when a
//! process ran. It heals when the process is started again.

use super::Fault;
use crate::cluster::Cluster;
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct Crash {
    nodes: Vec<Node>,
}

impl Crash {
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        Crash { nodes }
    }
}

impl Fault for Crash {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        let servers = cluster.servers();
        self.nodes.retain(|node| servers.contains(node) && cluster.is_running(*node));
        (!self.nodes.is_empty()).then(|| self.nodes.iter().map(|node| FaultNote::ProcessCrashed(*node)).collect())
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        for node in &self.nodes {
            cluster.hold_down(*node);
            let id = cluster.id(*node);
            cluster.simulation.crash(id);
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        self.nodes.iter().for_each(|node| cluster.release(*node));
    }

    fn took_effect(&self, before: &Effects, now: &Effects) -> bool {
        now.crashes > before.crashes
    }
}
