//! A partition of the network. It takes effect when a segment was held or a connection was reset. It
//! heals in one instant or in parts: node by node, in a drawn order.

use super::Fault;
use super::form::Form;
use crate::cluster::{Cluster, Part};
use crate::draw::Draw;
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};
use crate::schedule::Shape;

/// Between two parts of healing, in milliseconds.
const PART_MS: (u64, u64) = (1, 3_000);

/// See the module's doc.
pub(super) struct Partition {
    shape: Shape,
    targets: Vec<Node>,
    resets: bool,
    in_parts: bool,
    draw: Draw,
    /// What is cut, by direction.
    cuts: Vec<(Node, Node)>,
    parts_healed: u32,
    cuts_client: bool,
}

impl Partition {
    pub(super) fn new(shape: Shape, targets: Vec<Node>, resets: bool, in_parts: bool, draw: Draw) -> Self {
        Partition { shape, targets, resets, in_parts, draw, cuts: Vec::new(), parts_healed: 0, cuts_client: false }
    }

    /// Whether a link of `node` is cut.
    fn is_cut(&self, node: Node) -> bool {
        self.cuts.iter().any(|(from, to)| *from == node || *to == node)
    }

    /// Heals the cuts that `which` picks.
    fn heal_some(&mut self, cluster: &mut Cluster, which: impl Fn(&(Node, Node)) -> bool) {
        let (healed, kept) = std::mem::take(&mut self.cuts).into_iter().partition(which);
        self.cuts = kept;
        let healed: Vec<(Node, Node)> = healed;
        for (from, to) in healed {
            let (from, to) = (cluster.id(from), cluster.id(to));
            cluster.links.heal(&mut cluster.simulation, from, to);
        }
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
            Shape::FromServers => {
                let servers = others.iter().filter(|node| !matches!(cluster.part(**node), Part::Client(_)));
                let servers: Vec<Node> = servers.copied().collect();
                targets.iter().for_each(|a| servers.iter().for_each(|b| self.cut_both(*a, *b)));
            }
            Shape::Between => {
                for (at, one) in targets.iter().enumerate() {
                    targets[at + 1..]
                        .iter()
                        .filter(|other| *other != one)
                        .for_each(|other| self.cut_both(*one, *other));
                }
            }
        }
        (!self.cuts.is_empty()).then(Vec::new)
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        let is_client = |node: &Node| matches!(cluster.part(*node), Part::Client(_));
        self.cuts_client = self.targets.iter().any(is_client);
        for (from, to) in &self.cuts {
            let (from, to) = (cluster.id(*from), cluster.id(*to));
            cluster.links.cut(&mut cluster.simulation, from, to);
            if self.resets {
                cluster.simulation.reset_connections(from, to);
            }
        }
    }

    fn heal_part(&mut self, cluster: &mut Cluster) -> Option<u64> {
        let cut: Vec<Node> = cluster.nodes().into_iter().filter(|node| self.is_cut(*node)).collect();
        match self.draw.pick(&cut).copied().filter(|_| self.in_parts) {
            Some(node) => self.heal_some(cluster, |(from, to)| *from == node || *to == node),
            None => self.heal(cluster),
        }
        if self.cuts.is_empty() {
            return None;
        }
        self.parts_healed += 1;
        let (shortest, longest) = PART_MS;
        Some(self.draw.between(shortest, longest) * 1_000_000)
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        self.heal_some(cluster, |_| true);
    }

    fn took_effect(&self, before: &Effects, now: &Effects) -> bool {
        now.segments_held > before.segments_held || self.resets && now.connections_reset > before.connections_reset
    }
    fn forms(&self, before: &Effects, now: &Effects) -> Vec<Form> {
        let mut forms = vec![match self.shape {
            Shape::Symmetric => Form::PartitionSymmetric,
            Shape::OneWay => Form::PartitionOneWay,
            Shape::OneFromAll => Form::PartitionOneFromAll,
            Shape::Bridge => Form::PartitionBridge,
            Shape::MajorityRing => Form::PartitionMajorityRing,
            Shape::Between => Form::PartitionBetween,
            Shape::FromServers => Form::PartitionFromServers,
        }];
        let resets = self.resets && now.connections_reset > before.connections_reset;
        forms.extend(resets.then_some(Form::PartitionResets));
        forms.extend((self.parts_healed > 0).then_some(Form::PartitionInParts));
        forms.extend(self.cuts_client.then_some(Form::PartitionOfClient));
        forms
    }
}
