//! A node's connections are reset, one of them in mid-frame: when next somebody writes to it, if that is before
//! all is healed. It takes effect when an end was told.

use super::Fault;
use super::form::Form;
use crate::cluster::Cluster;
use crate::draw::Draw;
use crate::engine::{Effects, NodeId};
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct ResetConnections {
    pub(super) node: Option<Node>,
    pub(super) draw: Draw,
    /// The way over which the next frame is to be cut short.
    pub(super) in_mid_frame: Option<(NodeId, NodeId)>,
}

impl Fault for ResetConnections {
    fn aim(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        self.node.map(|_| Vec::new())
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        let Some(node) = self.node else { return };
        let (node, mut others) = (cluster.id(node), cluster.ids());
        others.retain(|other| *other != node);
        let in_mid_frame = self.draw.pick(&others).copied();
        for other in others {
            if Some(other) == in_mid_frame {
                cluster.simulation.reset_mid_frame(node, other);
                self.in_mid_frame = Some((node, other));
            } else {
                cluster.simulation.reset_connections(node, other);
            }
        }
    }

    fn heal(&mut self, cluster: &mut Cluster) {
        if let Some((from, to)) = self.in_mid_frame {
            cluster.simulation.spare_frame(from, to);
        }
    }

    fn took_effect(&self, before: &Effects, now: &Effects) -> bool {
        now.connections_reset > before.connections_reset || now.frames_cut > before.frames_cut
    }

    fn forms(&self, before: &Effects, now: &Effects) -> Vec<Form> {
        (now.frames_cut > before.frames_cut).then_some(Form::ResetInMidFrame).into_iter().collect()
    }
}
