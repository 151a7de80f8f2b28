//! A disk becomes slow. It takes effect at once: all that waits for the device waits longer.

use super::Fault;
use crate::cluster::Cluster;
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct SlowDisk {
    pub(super) node: Option<Node>,
    pub(super) factor: u32,
}

impl Fault for SlowDisk {
    fn aim(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.map(|_| Vec::new())
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            let id = cluster.id(node);
            cluster.simulation.set_disk_slowness(id, self.factor);
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            let id = cluster.id(node);
            cluster.simulation.set_disk_slowness(id, 1);
        }
    }

    fn took_effect(&self, _before: &Effects, _now: &Effects) -> bool {
        self.factor > 1
    }
}
