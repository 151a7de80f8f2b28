//! A node's links lose packets, which come only by retransmission, or delay some of them. It takes
//! effect when one was lost or late.

use std::time::Duration;

use super::Fault;
use super::form::Form;
use crate::cluster::Cluster;
use crate::engine::Effects;
use crate::links::Degraded;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct LossyLink {
    node: Option<Node>,
    loss_per_million: u32,
    tail: (u32, Duration),
    number: u64,
}

impl LossyLink {
    pub(super) fn new(node: Option<Node>, lost_per_mille: u32, late_per_mille: u32, late_ms: u32) -> Self {
        let per_million = |per_mille: u32| per_mille.saturating_mul(1_000).min(1_000_000);
        let tail = (per_million(late_per_mille), Duration::from_millis(u64::from(late_ms)));
        LossyLink { node, loss_per_million: per_million(lost_per_mille), tail, number: 0 }
    }
}

impl Fault for LossyLink {
    fn aim(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.map(|_| Vec::new())
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        let Some(node) = self.node else { return };
        let node = cluster.id(node);
        let how = Degraded {
            node,
            latency: Duration::ZERO,
            bytes_per_s: None,
            loss_per_million: self.loss_per_million,
            tail: self.tail,
        };
        let ids = cluster.ids();
        self.number = cluster.links.degrade(&mut cluster.simulation, &ids, how);
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        let ids = cluster.ids();
        cluster.links.restore(&mut cluster.simulation, &ids, self.number);
    }

    fn took_effect(&self, before: &Effects, now: &Effects) -> bool {
        now.segments_lost > before.segments_lost || self.tail.0 > 0 && now.segments_late > before.segments_late
    }

    fn forms(&self, before: &Effects, now: &Effects) -> Vec<Form> {
        let is_late = self.tail.0 > 0 && now.segments_late > before.segments_late;
        is_late.then_some(Form::ReorderingLink).into_iter().collect()
    }
}
