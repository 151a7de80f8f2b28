//! The next sync of a disk fails, once, and what was written since the last one never reaches the
//! medium although it stays visible. It takes effect when a sync failed.

use super::Fault;
use crate::cluster::{Cluster, Part};
use crate::engine::{DiskOperation, Effects};
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct FsyncFailure {
    pub(super) node: Option<Node>,
}

/// What a failing sync takes away from a node. A coordinator counts nothing that it has not synced.
pub(super) fn notes(cluster: &Cluster, node: Node) -> Option<Vec<FaultNote>> {
    match cluster.part(node) {
        Part::Client(_) => None,
        Part::Coordinator(_) => Some(Vec::new()),
        Part::Broker(_) => Some(vec![FaultNote::SyncFails(node)]),
    }
}

impl Fault for FsyncFailure {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.and_then(|node| notes(cluster, node))
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            cluster.disk_fault_begins(node);
            cluster.arm_sync_failure(node, DiskOperation::Sync);
        }
    }

    fn at_end(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        Some(self.node.map(FaultNote::CallsWork).into_iter().collect())
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            cluster.disk_fault_ends(node);
            let id = cluster.id(node);
            cluster.simulation.disarm_disk_faults(id);
        }
    }

    fn took_effect(&self, before: &Effects, now: &Effects) -> bool {
        now.syncs_failed > before.syncs_failed
    }
}
