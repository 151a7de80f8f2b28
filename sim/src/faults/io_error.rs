//! Reads and writes of a disk fail, once or for as long as the fault lasts. It takes effect when a
//! call failed.
//!
//! A node may stop for it, and finds all that it had written once the disk works again: nothing that
//! was promised is taken away.

use super::Fault;
use super::form::Form;
use crate::cluster::{Cluster, Part};
use crate::engine::{DiskFault, DiskOperation, Effects};
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct IoError {
    pub(super) node: Option<Node>,
    pub(super) sticky: bool,
}

fn notes(cluster: &Cluster, node: Node) -> Option<Vec<FaultNote>> {
    match cluster.part(node) {
        Part::Client(_) => None,
        Part::Coordinator(_) => Some(Vec::new()),
        Part::Broker(_) => Some(vec![FaultNote::CallsFail(node)]),
    }
}

impl Fault for IoError {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.and_then(|node| notes(cluster, node))
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        let Some(node) = self.node else { return };
        cluster.disk_fault_begins(node);
        let id = cluster.id(node);
        for operation in [DiskOperation::Read, DiskOperation::Write] {
            let fault = DiskFault::error(operation);
            cluster.simulation.arm_disk_fault(id, if self.sticky { fault } else { fault.once() });
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
        now.reads_failed + now.writes_failed > before.reads_failed + before.writes_failed
    }

    fn forms(&self, _before: &Effects, _now: &Effects) -> Vec<Form> {
        self.sticky.then_some(Form::StickyIoError).into_iter().collect()
    }
}
