//! A partition of the network. It takes effect when a segment was held or a connection was reset.

use super::Fault;
use crate::cluster::Cluster;
use crate::draw::Draw;
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};
use crate::schedule::Shape;

/// See the module's doc.
pub(super) struct Partition {
    shape: Shape,
    targets: Vec<Node>,
    resets: bool,
    draw: Draw,
    /// What is cut, by direction.
    cuts: Vec<(Node, Node)>,
}

impl Partition {
    pub(super) fn new(shape: Shape, targets: Vec<Node>, resets: bool, draw: Draw) -> Self {
        Partition { shape, targets, resets, draw, cuts: Vec::new() }
    }

    fn shuffled(&mut self, mut nodes: Vec<Node>) -> Vec<Node> {
        for last in (1..nodes.len()).rev() {
            let other = self.draw.below(last as u64 + 1) as usize;
            nodes.swap(last, other);
        }
        nodes
    }

    fn cut_both(&mut self, one: Node, other: Node) {
        self.cuts.extend([(one, other), (other, one)]);
    }

    /// Two halves of the servers that only the first target reaches.
    fn bridge(&mut self, cluster: &Cluster) {
        let bridge = self.targets[0];
        let others = cluster.servers().into_iter().filter(|node| *node != bridge).collect();
        let others = self.shuffled(others);
        let (one, other) = others.split_at(others.len() / 2);
        one.iter().for_each(|a| other.iter().for_each(|b| self.cut_both(*a, *b)));
    }

    /// Every server hears the majority that begins with itself in a drawn ring.
    fn majority_ring(&mut self, cluster: &Cluster) {
        let ring = self.shuffled(cluster.servers());
        let count = ring.len();
        for (at, hears) in ring.iter().enumerate() {
            for step in count / 2 + 1..count {
                self.cuts.push((ring[(at + step) % count], *hears));
            }
        }
    }
}

impl Fault for Partition {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        if self.targets.is_empty() && self.shape != Shape::MajorityRing {
            return None;
        }
        let targets = self.targets.clone();
        let others: Vec<Node> = cluster.nodes().into_iter().filter(|node| !targets.contains(node)).collect();
        match self.shape {
            Shape::Symmetric => targets.iter().for_each(|a| others.iter().for_each(|b| self.cut_both(*a, *b))),
            Shape::OneWay => {
                self.cuts = targets.iter().flat_map(|from| others.iter().map(|to| (*from, *to))).collect();
            }
            Shape::OneFromAll => {
                for (at, one) in targets.iter().enumerate() {
                    others.iter().chain(&targets[at + 1..]).for_each(|other| self.cut_both(*one, *other));
                }
            }
            Shape::Bridge => self.bridge(cluster),
            Shape::MajorityRing => self.majority_ring(cluster),
        }
        (!self.cuts.is_empty()).then(Vec::new)
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        for (from, to) in &self.cuts {
            let (from, to) = (cluster.id(*from), cluster.id(*to));
            cluster.links.cut(&mut cluster.simulation, from, to);
            if self.resets {
                cluster.simulation.reset_connections(from, to);
            }
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        // Healing in parts would need time between them; here it is one instant.
        for (from, to) in &self.cuts {
            let (from, to) = (cluster.id(*from), cluster.id(*to));
            cluster.links.heal(&mut cluster.simulation, from, to);
        }
    }

    fn took_effect(&self, before: &Effects, now: &Effects) -> bool {
        now.segments_held > before.segments_held || self.resets && now.connections_reset > before.connections_reset
    }
}
