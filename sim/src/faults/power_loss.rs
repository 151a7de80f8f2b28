//! The power of several nodes is cut in one instant: silent, and what was not synced is kept, lost
//! or torn. It takes effect when a host had power. It heals when the power is back and the
//! processes are started.

use super::Fault;
use super::form::Form;
use crate::cluster::Cluster;
use crate::draw::Draw;
use crate::engine::{Effects, PowerLoss as Lost};
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct PowerLoss {
    nodes: Vec<Node>,
    draw: Draw,
    /// How many of them had power.
    powered: u64,
    lost: Vec<Lost>,
}

impl PowerLoss {
    pub(super) fn new(nodes: Vec<Node>, draw: Draw) -> Self {
        PowerLoss { nodes, draw, powered: 0, lost: Vec::new() }
    }
}

impl Fault for PowerLoss {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        let servers = cluster.servers();
        self.nodes.retain(|node| servers.contains(node));
        (!self.nodes.is_empty()).then(|| vec![FaultNote::PowerLost(self.nodes.clone())])
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        let before = cluster.simulation.effects().power_losses;
        let key = self.draw.number();
        for node in &self.nodes {
            cluster.hold_down(*node);
            let id = cluster.id(*node);
            self.lost.push(cluster.simulation.power_off_drawn_by(id, key));
        }
        self.powered = cluster.simulation.effects().power_losses - before;
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        self.nodes.iter().for_each(|node| cluster.release(*node));
    }

    fn took_effect(&self, _before: &Effects, _now: &Effects) -> bool {
        self.powered > 0
    }

    fn forms(&self, _before: &Effects, _now: &Effects) -> Vec<Form> {
        let any = |count: fn(&Lost) -> u64| self.lost.iter().any(|lost| count(lost) > 0);
        let forms = [
            (Form::CorrelatedPowerLoss, self.powered > 1),
            (Form::LostWrite, any(|lost| lost.writes_lost)),
            (Form::TornWrite, any(|lost| lost.writes_torn)),
            (Form::LostName, any(|lost| lost.names_rolled_back)),
        ];
        forms.into_iter().filter(|(_, felt)| *felt).map(|(form, _)| form).collect()
    }
}
