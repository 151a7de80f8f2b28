//! A process is frozen while clocks, network and disk go on. It takes effect when a task wanted to
//! run meanwhile.

use super::Fault;
use crate::cluster::Cluster;
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct Pause {
    pub(super) node: Option<Node>,
}

impl Fault for Pause {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.filter(|node| cluster.is_running(*node)).map(|_| Vec::new())
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            let id = cluster.id(node);
            cluster.simulation.pause(id);
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            let id = cluster.id(node);
            cluster.simulation.resume(id);
        }
    }

    fn took_effect(&self, before: &Effects, now: &Effects) -> bool {
        now.polls_frozen > before.polls_frozen
    }
}
