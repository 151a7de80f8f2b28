//! A node's clocks run at another rate. It takes effect at once.

use super::Fault;
use crate::cluster::Cluster;
use crate::engine::{DRIFT_PPB_MAX, Effects};
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct ClockDrift {
    pub(super) node: Option<Node>,
    pub(super) ppm: i64,
}

impl Fault for ClockDrift {
    fn aim(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.map(|_| Vec::new())
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            let id = cluster.id(node);
            let drift_ppb = self.ppm.saturating_mul(1_000).clamp(-DRIFT_PPB_MAX, DRIFT_PPB_MAX);
            cluster.simulation.set_clock_drift_ppb(id, drift_ppb);
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            let id = cluster.id(node);
            cluster.simulation.set_clock_drift_ppb(id, 0);
        }
    }

    fn took_effect(&self, _before: &Effects, _now: &Effects) -> bool {
        self.ppm != 0
    }
}
