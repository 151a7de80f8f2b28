//! A node's links become slow, or narrow. It takes effect at once: on all that the node sends and
//! receives.

use std::time::Duration;

use super::Fault;
use super::form::Form;
use crate::cluster::Cluster;
use crate::engine::Effects;
use crate::links::Degraded;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct SlowLink {
    node: Option<Node>,
    latency: Duration,
    bytes_per_s: Option<u64>,
    number: u64,
}

impl SlowLink {
    pub(super) fn new(node: Option<Node>, latency_ms: u64, bytes_per_s: Option<u64>) -> Self {
        SlowLink { node, latency: Duration::from_millis(latency_ms), bytes_per_s, number: 0 }
    }
}

impl Fault for SlowLink {
    fn aim(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.map(|_| Vec::new())
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        let Some(node) = self.node else { return };
        let (latency, bytes_per_s) = (self.latency, self.bytes_per_s);
        let how =
            Degraded { node: cluster.id(node), latency, bytes_per_s, loss_per_million: 0, tail: (0, Duration::ZERO) };
        let ids = cluster.ids();
        self.number = cluster.links.degrade(&mut cluster.simulation, &ids, how);
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        let ids = cluster.ids();
        cluster.links.restore(&mut cluster.simulation, &ids, self.number);
    }

    fn took_effect(&self, _before: &Effects, _now: &Effects) -> bool {
        self.latency > Duration::ZERO || self.bytes_per_s.is_some()
    }

    fn forms(&self, _before: &Effects, _now: &Effects) -> Vec<Form> {
        self.bytes_per_s.map(|_| Form::NarrowLink).into_iter().collect()
    }
}
