//! A broker's power is cut, its disk is copied, it starts again; when the fault ends the power is cut
//! once more, and the copy takes the disk's place. It takes effect when the old copy was put in.
//!
//! A broker tells the old copy by the incarnation that it names. A coordinator cannot tell one: its
//! vote would be forgotten, so its disk is never swapped.

use super::Fault;
use crate::cluster::{Cluster, DiskCopy, Part};
use crate::draw::Draw;
use crate::engine::Effects;
use crate::observed::{FaultNote, Node};

/// See the module's doc.
pub(super) struct SwapDisk {
    node: Option<Node>,
    draw: Draw,
    copy: Option<DiskCopy>,
    swapped: bool,
}

impl SwapDisk {
    pub(super) fn new(node: Option<Node>, draw: Draw) -> Self {
        SwapDisk { node, draw, copy: None, swapped: false }
    }
}

impl Fault for SwapDisk {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        let node = self.node.filter(|node| matches!(cluster.part(*node), Part::Broker(_)))?;
        Some(vec![FaultNote::PowerLost(vec![node])])
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        let Some(node) = self.node else { return };
        let id = cluster.id(node);
        cluster.simulation.power_off_drawn_by(id, self.draw.number());
        self.copy = Some(cluster.copy_disk(node));
        cluster.start(node);
    }

    fn at_end(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        let (node, copy) = (self.node?, self.copy.as_ref()?);
        let mut notes = vec![FaultNote::PowerLost(vec![node]), FaultNote::DiskLost(node)];
        notes.extend(copy.rotted.iter().map(|path| FaultNote::Rotted { node, path: path.clone() }));
        Some(notes)
    }

    fn heal_part(&mut self, cluster: &mut Cluster) -> Option<u64> {
        let (node, copy) = (self.node?, self.copy.take()?);
        let id = cluster.id(node);
        cluster.simulation.power_off_drawn_by(id, self.draw.number());
        cluster.swap_disk(node, &copy);
        cluster.start(node);
        self.swapped = true;
        None
    }

    fn took_effect(&self, _before: &Effects, _now: &Effects) -> bool {
        self.swapped
    }
}
