//! The state of the network between machines while faults overlap: each cut and each degradation
//! is counted, so that healing one leaves the others in place.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::{LinkParams, NodeId, Simulation};

/// A node's links are worse than they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degraded {
    /// Whose links, in both directions.
    pub node: NodeId,
    /// Added to each direction's latency.
    pub latency: Duration,
    /// How many bytes a second go in each direction, if that is less than before.
    pub bytes_per_s: Option<u64>,
    /// How many of a million packets are lost.
    pub loss_per_million: u32,
    /// How many of a million packets are late, and by how much at most.
    pub tail: (u32, Duration),
}

/// All links.
#[derive(Debug)]
pub struct Links {
    normal: LinkParams,
    cuts: BTreeMap<(NodeId, NodeId), u32>,
    degraded: BTreeMap<u64, Degraded>,
    last_degradation: u64,
}

impl Links {
    /// All links are `normal`.
    #[must_use]
    pub fn new(normal: LinkParams) -> Self {
        Links { normal, cuts: BTreeMap::new(), degraded: BTreeMap::new(), last_degradation: 0 }
    }

    /// Cuts `from` → `to`. Says whether it was whole.
    pub fn cut(&mut self, simulation: &mut Simulation, from: NodeId, to: NodeId) {
        let cuts = self.cuts.entry((from, to)).or_default();
        *cuts += 1;
        if *cuts == 1 {
            simulation.partition(from, to, true);
        }
    }

    /// Takes back one cut of `from` → `to`.
    pub fn heal(&mut self, simulation: &mut Simulation, from: NodeId, to: NodeId) {
        let Some(cuts) = self.cuts.get_mut(&(from, to)) else { return };
        *cuts -= 1;
        if *cuts == 0 {
            self.cuts.remove(&(from, to));
            simulation.partition(from, to, false);
        }
    }

    /// Makes a node's links worse; gives the number under which that is taken back.
    pub fn degrade(&mut self, simulation: &mut Simulation, nodes: &[NodeId], how: Degraded) -> u64 {
        self.last_degradation += 1;
        self.degraded.insert(self.last_degradation, how);
        self.refresh(simulation, nodes, how.node);
        self.last_degradation
    }

    /// Takes back one degradation.
    pub fn restore(&mut self, simulation: &mut Simulation, nodes: &[NodeId], number: u64) {
        if let Some(how) = self.degraded.remove(&number) {
            self.refresh(simulation, nodes, how.node);
        }
    }

    fn refresh(&self, simulation: &mut Simulation, nodes: &[NodeId], node: NodeId) {
        for other in nodes.iter().copied().filter(|other| *other != node) {
            let params = self.params(node, other);
            simulation.set_link(node, other, params);
            simulation.set_link(other, node, params);
        }
    }

    fn params(&self, one: NodeId, other: NodeId) -> LinkParams {
        let concerned = self.degraded.values().filter(|how| how.node == one || how.node == other);
        concerned.fold(self.normal, |params, how| LinkParams {
            latency: params.latency + how.latency,
            bandwidth_bytes_per_second: params.bandwidth_bytes_per_second.into_iter().chain(how.bytes_per_s).min(),
            loss_per_million: params.loss_per_million.max(how.loss_per_million),
            tail_per_million: params.tail_per_million.max(how.tail.0),
            tail: params.tail.max(how.tail.1),
            ..params
        })
    }
}
