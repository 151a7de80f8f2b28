//! What lies on the disks at a run's end, held to what is so.

use std::path::Path;

use wyrdlog::base::address::Address;
use wyrdlog::base::ids::{BrokerId, TopicPartition};

use super::{Driver, Findings, Watcher};
use crate::checkers::noted_names::{self, NotedNames};
use crate::checkers::znodes;
use crate::cluster::{BROKER_PORT, Part, host};
use crate::coordinator_disk::znodes_on;
use crate::disk_log::{DiskView, LOG_DIRECTORY, ViewedDisk};
use crate::history::cluster::ClusterHistory;
use crate::history::meddling;
use crate::invariants::derived_files::verify_derived_files;
use crate::invariants::model::Model;
use crate::invariants::nothing_garbage::verify_against_disk;
use crate::invariants::retention_justified::verify_segments;
use crate::invariants::{litter, one_writer, points};
use crate::observed::Node;

impl Driver<'_> {
    /// Compares the logs with what was appended.
    pub(super) fn on_disk(&self, model: &Model) -> Findings {
        let disk_of = |node| ViewedDisk { view: self.cluster.view(), id: self.cluster.id(node) };
        verify_against_disk(model, disk_of, Path::new(LOG_DIRECTORY), self.cluster.simulation.now_ns())
    }

    /// Compares what logs keep beside their batches with these.
    pub(super) fn derived(&self, model: &Model, killed: &[Node]) -> [Findings; 2] {
        let disk_of = |node| ViewedDisk { view: self.cluster.view(), id: self.cluster.id(node) };
        let now_ns = self.cluster.simulation.now_ns();
        let time = (now_ns, self.has_final_reads);
        verify_derived_files(model, disk_of, Path::new(LOG_DIRECTORY), killed, time)
    }

    /// Holds what the next controller would read to what is so, where all is healed and nobody goes beyond the budget.
    pub(super) fn znodes(&self, watcher: &Watcher, met: &ClusterHistory) -> Option<Findings> {
        let model = watcher.invariants.model();
        let is_whole = self.has_final_reads && !watcher.invariants.budget().is_coordinator_beyond();
        let brokers = self.topology.brokers.iter().filter(|(_, node)| self.cluster.is_running(**node));
        let servers =
            watcher.applied.iter().filter(|(node, _)| self.cluster.is_running(**node) && !watcher.is_spoilt(**node));
        let (server, (applied, _)) = servers.max_by_key(|(_, applied)| **applied).filter(|_| is_whole)?;
        let disk = ViewedDisk { view: self.cluster.view(), id: self.cluster.id(*server) };
        let mut znodes = znodes_on(&disk, |index, _| index <= *applied)?;
        // What clients wrote that nobody can read is not asked for here.
        znodes.retain(|path, _| !meddling::is_foreign(path));
        let registered = |(id, node): (&BrokerId, &Node)| {
            let epoch = model.lives.get(node)?.broker_epoch?;
            Some((*id, (Address::new(host(Part::Broker(*id)), BROKER_PORT), epoch)))
        };
        let of_scenario = |name: &TopicPartition| self.topology.topics.contains_key(&name.topic);
        let states = model.partitions.iter().filter(|one| of_scenario(&one.name));
        let producers = model.partitions.iter().filter_map(|one| one.producers.keys().next_back().map(|id| id.0));
        let controller =
            met.controllers.last().and_then(|(_, at)| self.topology.brokers.iter().find(|(_, node)| *node == at));
        let expected = znodes::Expected {
            topics: self.topology.topics.clone(),
            states: states.filter_map(|one| Some((one.name.clone(), one.state.clone()?.1))).collect(),
            brokers: brokers.filter_map(registered).collect(),
            controller: controller.map(|(id, _)| *id),
            producer_id: producers.max(),
        };
        (!expected.brokers.is_empty()).then(|| znodes::check(&znodes, &expected, self.cluster.simulation.now_ns()))
    }

    /// Holds what brokers note for their next start to their files and replicas.
    pub(super) fn noted(&self, model: &Model) -> Findings {
        let disk_of = |node| ViewedDisk { view: self.cluster.view(), id: self.cluster.id(node) };
        points::check(
            model,
            disk_of,
            Path::new(LOG_DIRECTORY),
            (self.cluster.simulation.now_ns(), self.has_final_reads),
        )
    }

    /// Holds the names that brokers note to the logs that they have.
    pub(super) fn noted_names(&self, watcher: &Watcher) -> Findings {
        noted_names::check(&NotedNames {
            looks: self.cluster.looks.clone(),
            opened: watcher.opened.clone(),
            struck: watcher.struck.clone(),
            kept: self.topology.topics.keys().cloned().collect(),
        })
    }

    /// Asks every disk whether it was changed by a process that had not locked it.
    pub(super) fn one_writer(&self) -> Findings {
        let (view, now_ns) = (self.cluster.view(), self.cluster.simulation.now_ns());
        let disks =
            self.cluster.servers().into_iter().map(|node| (node, view.was_changed_unlocked(self.cluster.id(node))));
        one_writer::check(disks, now_ns)
    }

    /// Looks for files that nobody has a use for.
    pub(super) fn litter(&self, watcher: &mut Watcher) -> Vec<Findings> {
        let mut held = std::mem::take(&mut watcher.started_with);
        if !self.has_final_reads {
            return vec![litter::of_coordinators(&held)];
        }
        let disk_of = |node| ViewedDisk { view: self.cluster.view(), id: self.cluster.id(node) };
        let now_ns = self.cluster.simulation.now_ns();
        let is_whole = |node: &Node| self.cluster.is_running(*node) && !watcher.is_spoilt(*node);
        let coordinators = watcher.applied.keys().copied().filter(is_whole);
        held.extend(coordinators.map(|node| (now_ns, node, disk_of(node).list(Path::new("")))));
        vec![
            litter::of_logs(watcher.invariants.model(), disk_of, Path::new(LOG_DIRECTORY), now_ns),
            litter::of_coordinators(&held),
        ]
    }

    /// Compares the segment files with what was configured.
    pub(super) fn segments(&self, model: &Model) -> Findings {
        let disk_of = |node| ViewedDisk { view: self.cluster.view(), id: self.cluster.id(node) };
        let now_ns = self.cluster.simulation.now_ns();
        let quiet_ms = if self.has_final_reads { (now_ns / 1_000_000).saturating_sub(self.load_ends_ms()) } else { 0 };
        verify_segments(model, disk_of, Path::new(LOG_DIRECTORY), (now_ns, quiet_ms))
    }
}
