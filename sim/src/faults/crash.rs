//! Processes are killed, those of clients as well; their operating systems keep what was written. It
//! takes effect when a process ran. It heals when the process is started again.

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
        self.nodes.retain(|node| cluster.is_running(*node));
        let servers = cluster.servers();
        let of_servers = self.nodes.iter().filter(|node| servers.contains(node));
        (!self.nodes.is_empty()).then(|| of_servers.map(|node| FaultNote::ProcessCrashed(*node)).collect())
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
