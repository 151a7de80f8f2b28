//! The power of several nodes is cut in one instant: silent, and what was not synced is kept, lost
//! or torn. It takes effect when a host had power. It heals when the power is back and the
//! processes are started.

use super::Fault;
use crate::cluster::Cluster;
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct PowerLoss {
    nodes: Vec<Node>,
}

impl PowerLoss {
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        PowerLoss { nodes }
    }
}

impl Fault for PowerLoss {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        let servers = cluster.servers();
        self.nodes.retain(|node| servers.contains(node));
        (!self.nodes.is_empty()).then(|| vec![FaultNote::PowerLost(self.nodes.clone())])
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        for node in &self.nodes {
            cluster.hold_down(*node);
            let id = cluster.id(*node);
            cluster.simulation.power_off(id);
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        self.nodes.iter().for_each(|node| cluster.release(*node));
    }

    fn took_effect(&self, before: &Effects, now: &Effects) -> bool {
        now.power_losses > before.power_losses
    }
}
