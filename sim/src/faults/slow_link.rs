//! A node's links become slow. It takes effect at once: all that the node sends and receives.

use std::time::Duration;

use super::Fault;
use crate::cluster::Cluster;
use crate::engine::Effects;
use crate::links::Degraded;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct SlowLink {
    node: Option<Node>,
    latency: Duration,
    number: u64,
}

impl SlowLink {
    pub(super) fn new(node: Option<Node>, latency_ms: u64) -> Self {
        SlowLink { node, latency: Duration::from_millis(latency_ms), number: 0 }
    }
}

impl Fault for SlowLink {
    fn aim(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.map(|_| Vec::new())
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        let Some(node) = self.node else { return };
        let how = Degraded { node: cluster.id(node), latency: self.latency, loss_per_million: 0 };
        let ids = cluster.ids();
        self.number = cluster.links.degrade(&mut cluster.simulation, &ids, how);
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        let ids = cluster.ids();
        cluster.links.restore(&mut cluster.simulation, &ids, self.number);
    }

    fn took_effect(&self, _before: &Effects, _now: &Effects) -> bool {
        self.latency > Duration::ZERO
    }
}
