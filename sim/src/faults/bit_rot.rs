//! Bytes at rest are damaged, half of the time hidden by the cache until it is evicted or the
//! power is cut. It takes effect when bytes changed.
//!
//! A coordinator whose disk was damaged may have to be replaced, and what replaces it never votes
//! again: so no more than a minority of them is ever hit.

use super::Fault;
use super::form::Form;
use crate::cluster::{Cluster, Part};
use crate::draw::Draw;
use crate::engine::{Damage, Effects};
use crate::observed::{FaultNote, Node};
use crate::schedule::Victim;

/// What is damaged in the place of what a disk has not, the rarest first.
const IN_PLACE: [Victim; 4] = [Victim::Index, Victim::Snapshot, Victim::Checkpoint, Victim::Log];

/// See the module's doc.
pub(super) struct BitRot {
    node: Option<Node>,
    victim: Victim,
    bytes: u32,
    draw: Draw,
    path: String,
}

impl BitRot {
    pub(super) fn new(node: Option<Node>, victim: Victim, bytes: u32, draw: Draw) -> Self {
        BitRot { node, victim, bytes, draw, path: String::new() }
    }
}

fn is_victim(part: Part, victim: Victim, path: &str) -> bool {
    match (part, victim) {
        (Part::Coordinator(_), Victim::Log) => path.contains("wal-"),
        (Part::Coordinator(_), Victim::Snapshot) => path.contains("snapshot-"),
        (Part::Broker(_), Victim::Log) => path.ends_with(".log"),
        (Part::Broker(_), Victim::Index) => path.ends_with("index"),
        (Part::Broker(_), Victim::Checkpoint) => path.contains("checkpoint"),
        (Part::Broker(_), Victim::Snapshot) => path.ends_with(".snapshot"),
        _ => false,
    }
}

impl Fault for BitRot {
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>> {
        let node = self.node?;
        let part = cluster.part(node);
        if matches!(part, Part::Coordinator(_)) && cluster.spare_coordinators() == 0 {
            return None;
        }
        let (view, id) = (cluster.view(), cluster.id(node));
        let mut files = view.files(id);
        files.retain(|path| view.visible_file(id, path).is_some_and(|bytes| !bytes.is_empty()));
        // A disk that has none of what was drawn has something else.
        let victims = std::iter::once(self.victim).chain(IN_PLACE);
        let of_kind = |victim| files.iter().filter(move |path| is_victim(part, victim, path)).collect::<Vec<&String>>();
        let mut found = victims.map(|victim| (victim, of_kind(victim)));
        let (victim, files) = found.find(|(_, files)| !files.is_empty())?;
        (self.victim, self.path) = (victim, (*self.draw.pick(&files)?).clone());
        Some(vec![FaultNote::Rotted { node, path: self.path.clone() }])
    }

    fn strike(&mut self, cluster: &mut Cluster) {
        let Some(node) = self.node else { return };
        cluster.disk_rots(node, &self.path);
        if matches!(cluster.part(node), Part::Coordinator(_)) {
            cluster.spend_coordinator();
        }
        let id = cluster.id(node);
        let len = cluster.view().visible_file(id, &self.path).map_or(0, |bytes| bytes.len() as u64);
        let offset = self.draw.below(len);
        let how = self.draw.pick(&[Damage::FlipBit, Damage::Zeros, Damage::Garbage]).copied().unwrap_or(Damage::Zeros);
        let hidden = self.draw.percent(50);
        cluster.simulation.damage(id, &self.path, offset, self.bytes as usize, how, hidden);
    }

    fn took_effect(&self, before: &Effects, now: &Effects) -> bool {
        now.bytes_damaged > before.bytes_damaged
    }

    fn forms(&self, _before: &Effects, _now: &Effects) -> Vec<Form> {
        vec![match self.victim {
            Victim::Log => Form::DamagedLog,
            Victim::Index => Form::DamagedIndex,
            Victim::Checkpoint => Form::DamagedCheckpoint,
            Victim::Snapshot => Form::DamagedSnapshot,
        }]
    }
}
