//! White-box invariants: what must hold after every event of a simulation.
//!
//! One file per property. [`Invariants`] feeds each event to a [`model::Model`] of the cluster,
//! rebuilt from events alone, and to every invariant, before and after the model takes it. An
//! invariant costs what changed; on sampled seeds ([`Depth::Recomputed`]) it is compared with a
//! computation over everything.
//!
//! Past the fault budget ([`budget::Budget`]) the properties that promise durability say nothing
//! about the partition concerned; all others go on.

pub mod budget;
pub mod committed_survives;
pub mod damage_explained;
pub mod derived_files;
pub mod eligible_completeness;
pub mod fenced_stays_fenced;
pub mod high_watermark_progress;
pub mod high_watermark_safety;
pub mod idempotent_order;
pub mod isr_completeness;
pub mod leader_completeness;
pub mod litter;
pub mod log_matching;
pub mod model;
pub mod nothing_garbage;
pub mod one_leader_per_epoch;
pub mod one_writer;
pub mod points;
pub mod recovered_prefix;
pub mod replica_log;
pub mod retention_justified;
pub mod session_safety;
pub mod state_machine_safety;
pub mod watch_order;

use wyrdlog::base::ids::TopicPartition;

use crate::observed::{DiskLog, FaultNote, Node, Observed, Segments};
use crate::probes::Probes;
use crate::verdict::Findings;
use budget::Budget;
use model::{Model, Topology};

/// How much an invariant looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// What the event changed.
    #[default]
    Incremental,
    /// Also everything, as a check of the incremental computation.
    Recomputed,
}

/// An event with its number in the run and, where it concerns one, the model's partition.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'e> {
    /// Its ordinal in the run, from 0.
    pub ordinal: u64,
    /// The event.
    pub observed: &'e Observed,
    /// The index of its partition in [`Model::partitions`].
    pub partition: Option<usize>,
}

impl Seen<'_> {
    /// When.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.observed.time_ns
    }

    /// Where.
    #[must_use]
    pub fn node(&self) -> Node {
        self.observed.node
    }
}

/// What an invariant may look at besides the event.
#[derive(Clone, Copy, Debug)]
pub struct World<'w> {
    /// The cluster as events show it.
    pub model: &'w Model,
    /// What is promised of it.
    pub budget: &'w Budget,
    /// How much to look at.
    pub depth: Depth,
}

/// One property.
pub trait Invariant: Send {
    /// Looks at an event that the model has not taken yet.
    fn before(&mut self, _world: &World<'_>, _seen: &Seen<'_>) {}

    /// Looks at an event that the model has taken.
    fn after(&mut self, _world: &World<'_>, _seen: &Seen<'_>) {}

    /// Looks at the model at the end of the run.
    fn finish(&mut self, _world: World<'_>, _time_ns: u64) {}

    /// What it found so far.
    fn findings(&self) -> &Findings;
}

/// All invariants over one run.
pub struct Invariants {
    model: Model,
    budget: Budget,
    depth: Depth,
    invariants: Vec<Box<dyn Invariant>>,
    probes: Probes,
    ordinal: u64,
}

impl Invariants {
    /// All invariants, at the start of a run.
    #[must_use]
    pub fn new(topology: Topology, depth: Depth) -> Self {
        let invariants: Vec<Box<dyn Invariant>> = vec![
            Box::new(one_leader_per_epoch::OneLeaderPerEpoch::new()),
            Box::new(log_matching::LogMatching::new()),
            Box::new(recovered_prefix::RecoveredPrefix::new()),
            Box::new(leader_completeness::LeaderCompleteness::new()),
            Box::new(committed_survives::CommittedSurvives::new()),
            Box::new(high_watermark_safety::HighWatermarkSafety::new()),
            Box::new(high_watermark_progress::HighWatermarkProgress::new()),
            Box::new(isr_completeness::IsrCompleteness::new()),
            Box::new(eligible_completeness::EligibleCompleteness::new()),
            Box::new(damage_explained::DamageExplained::new()),
            Box::new(retention_justified::RetentionJustified::new()),
            Box::new(fenced_stays_fenced::FencedStaysFenced::new()),
            Box::new(idempotent_order::IdempotentOrder::new()),
            Box::new(state_machine_safety::StateMachineSafety::new()),
            Box::new(session_safety::SessionSafety::new()),
            Box::new(watch_order::WatchOrder::new()),
        ];
        let (model, budget, probes) = (Model::new(topology), Budget::default(), Probes::default());
        Invariants { model, budget, depth, invariants, probes, ordinal: 0 }
    }

    /// Takes an event. Call it in the step in which the node observed it. Gives back how many
    /// violations there are now.
    pub fn observe(&mut self, observed: &Observed) -> u64 {
        let partition = self.model.partition_of(&observed.event);
        let seen = Seen { ordinal: self.ordinal, observed, partition };
        self.ordinal += 1;
        let world = World { model: &self.model, budget: &self.budget, depth: self.depth };
        for invariant in &mut self.invariants {
            invariant.before(&world, &seen);
        }
        self.probes.observe(&self.model, seen);
        self.model.take(seen);
        self.budget.take(&self.model, seen);
        self.model.forget_lost(seen, &self.budget);
        let world = World { model: &self.model, budget: &self.budget, depth: self.depth };
        for invariant in &mut self.invariants {
            invariant.after(&world, &seen);
        }
        self.violated()
    }

    /// What the disk of `node` holds of a log at this moment. Call it before the event that says
    /// that the log was opened.
    pub fn disk_log(&mut self, node: Node, partition: TopicPartition, mut log: DiskLog) {
        self.model.leave_out_rot(node, &partition, &mut log);
        self.model.on_disk = Some((node, partition, log));
    }

    /// What segment files the disk of `node` holds of a log at this moment. Call it before the event
    /// that says that the log was opened, or begins later.
    pub fn disk_segments(&mut self, node: Node, partition: TopicPartition, segments: Segments) {
        self.model.segments = Some((node, partition, segments));
    }

    /// Takes note of a fault that took effect. Call it in the instant of the fault, before any
    /// event of what follows from it.
    pub fn fault(&mut self, time_ns: u64, note: &FaultNote) {
        self.budget.fault(&self.model, time_ns, note);
        self.model.fault(note);
    }

    /// Whether `note`, if it took effect now, would put a promised record at risk: the question
    /// that is asked before a fault is admitted.
    #[must_use]
    pub fn would_exceed_budget(&self, note: &FaultNote) -> bool {
        self.budget.would_exceed(&self.model, note)
    }

    /// Ends the run: what can only be judged at the end.
    pub fn finish(&mut self, time_ns: u64) {
        let world = World { model: &self.model, budget: &self.budget, depth: self.depth };
        for invariant in &mut self.invariants {
            invariant.finish(world, time_ns);
        }
    }

    /// How many violations there are.
    #[must_use]
    pub fn violated(&self) -> u64 {
        self.invariants.iter().map(|invariant| invariant.findings().violated).sum()
    }

    /// What each invariant found.
    #[must_use]
    pub fn findings(&self) -> Vec<Findings> {
        self.invariants.iter().map(|invariant| invariant.findings().clone()).collect()
    }

    /// Which rare states were reached, and how often.
    #[must_use]
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// The cluster as events show it.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What is promised of it.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

#[cfg(test)]
pub(crate) mod examples;

#[cfg(test)]
mod model_tests;

#[cfg(test)]
mod tests {
    use super::examples::{Cluster, N3, N4, N5, batch};

    #[test]
    fn a_calm_run_of_many_batches_violates_nothing_and_evaluates_what_it_shows() {
        let mut cluster = Cluster::synced();
        cluster.commit_three_batches();
        for offset in 6..3_000 {
            for node in [N3, N4, N5] {
                cluster.append(node, batch(offset, offset, 1));
                cluster.sync(node, offset + 1);
            }
            cluster.expose(N3, offset + 1, &[N3, N4, N5]);
            cluster.acknowledge(N3, offset, offset);
        }
        cluster.elect(N4);
        cluster.invariants.finish(cluster.now_ns);
        cluster.assert_clean(crate::verdict::Property::CommittedSurvives);
        let model = &cluster.invariants.model().partitions[0];
        assert_eq!((model.exposed, model.committed.len(), model.acknowledged.len()), (3_000, 2_997, 2_997));
    }
}
