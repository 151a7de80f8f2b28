//! A wall clock jumps. It takes effect at once, and nothing takes it back.

use super::Fault;
use crate::cluster::Cluster;
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct ClockJump {
    pub(super) node: Option<Node>,
    pub(super) by_ms: i64,
}

impl Fault for ClockJump {
    fn aim(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.map(|_| Vec::new())
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        if let Some(node) = self.node {
            let id = cluster.id(node);
            cluster.simulation.jump_wall_clock(id, self.by_ms);
        }
    }

    fn took_effect(&self, _before: &Effects, _now: &Effects) -> bool {
        self.by_ms != 0
    }
}
