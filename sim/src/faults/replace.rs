//! A node's disk is replaced by an empty one, under the same id. It takes effect at once: the
//! process is gone, and with it all that the disk held.

use super::Fault;
use crate::cluster::{Cluster, Part};
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct Replace {
    node: Option<Node>,
    struck: bool,
}

impl Replace {
    pub(super) fn new(node: Option<Node>) -> Self {
        Replace { node, struck: false }
    }
}

impl Fault for Replace {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        let node = self.node?;
        match cluster.part(node) {
            Part::Client(_) => None,
            Part::Coordinator(_) if cluster.spare_coordinators() == 0 => None,
            // The process dies with its disk.
            _ => Some(vec![FaultNote::ProcessCrashed(node), FaultNote::DiskLost(node)]),
        }
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        let Some(node) = self.node else { return };
        if matches!(cluster.part(node), Part::Coordinator(_)) {
            cluster.spend_coordinator();
        }
        cluster.replace_disk(node);
        cluster.start(node);
        self.struck = true;
    }

    fn took_effect(&self, _before: &Effects, _now: &Effects) -> bool {
        self.struck
    }
}
