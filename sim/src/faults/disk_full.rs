//! A disk has no more room. It takes effect when a write failed. It heals when there is room again.

use super::Fault;
use crate::cluster::{Cluster, Part};
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct DiskFull {
    pub(super) node: Option<Node>,
}

impl Fault for DiskFull {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        match cluster.part(self.node?) {
            Part::Client(_) => None,
            Part::Coordinator(_) => Some(Vec::new()),
            // A write that was refused takes nothing away that was promised.
            Part::Broker(_) => Some(self.node.map(FaultNote::CallsFail).into_iter().collect()),
        }
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            cluster.disk_fault_begins(node);
            let id = cluster.id(node);
            let used = cluster.view().used_bytes(id);
            cluster.simulation.set_disk_capacity(id, Some(used));
        }
    }

    fn at_end(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        Some(self.node.map(FaultNote::CallsWork).into_iter().collect())
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            cluster.disk_fault_ends(node);
            let id = cluster.id(node);
            cluster.simulation.set_disk_capacity(id, None);
        }
    }

    fn took_effect(&self, before: &Effects, now: &Effects) -> bool {
        now.writes_failed > before.writes_failed
    }
}
