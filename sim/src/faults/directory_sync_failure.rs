//! The next sync of a directory fails, once. It takes effect when a sync of a directory failed.

use super::{Fault, fsync_failure};
use crate::cluster::Cluster;
use crate::engine::{DiskOperation, Effects};
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct DirectorySyncFailure {
    pub(super) node: Option<Node>,
}

impl Fault for DirectorySyncFailure {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.and_then(|node| fsync_failure::notes(cluster, node))
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            cluster.disk_fault_begins(node);
            cluster.arm_sync_failure(node, DiskOperation::SyncDirectory);
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
        now.directory_syncs_failed > before.directory_syncs_failed
    }
}
