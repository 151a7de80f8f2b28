//! Faults: how each kind of [`Action`] is carried out on the simulated world, what it means that
//! it took effect, and how it heals. One file per kind.
//!
//! [`Injector`] strikes and heals what the schedule says is due, asks the fault budget before it
//! admits a fault, tells the invariants what was taken away, and keeps a record of each.
//!
//! What a fault draws is keyed by its id in the schedule, so that leaving out one changes no draw of
//! another.
//!
//! An effect is told by what the engine counted between strike and healing; where faults overlap
//! in time, one may be credited with what another did.
//!
//! Some faults take something away only when they end, or end in several steps: `Fault::at_end`
//! and `Fault::heal_part`.

mod bit_rot;
mod clock_drift;
mod clock_jump;
mod crash;
mod directory_sync_failure;
mod disk_full;
pub mod form;
mod fsync_failure;
mod io_error;
mod lossy_link;
mod partition;
mod pause;
mod power_loss;
mod replace;
mod reset_connections;
mod restart;
mod slow_disk;
mod slow_link;
mod swap_disk;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cluster::Cluster;
use crate::draw::Draw;
use crate::engine::Effects;
use crate::faults::form::Form;
use crate::invariants::Invariants;
use crate::observed::{FaultNote, Node};
use crate::schedule::{Action, BudgetMode, FaultKind, Roles, Schedule, Shape};

/// One fault of a run.
pub(crate) trait Fault {
    /// What it would take away from the nodes' disks and processes; none if there is nothing to
    /// strike at this instant. Changes nothing but the fault's own choices.
    fn aim(&mut self, cluster: &Cluster) -> Option<Vec<FaultNote>>;

    /// Does it.
    fn strike(&mut self, cluster: &mut Cluster);

    /// What its end takes away from disks and processes; none if it does not end by itself now, and
    /// is only to be taken back. Asked before [`Fault::heal_part`].
    fn at_end(&mut self, _cluster: &Cluster) -> Option<Vec<FaultNote>> {
        Some(Vec::new())
    }

    /// Ends it, or a part of it: gives the virtual nanoseconds until the next part is to end.
    fn heal_part(&mut self, cluster: &mut Cluster) -> Option<u64> {
        self.heal(cluster);
        None
    }

    /// Ends it at once and as a whole; what would only have come at its end does not come.
    fn heal(&mut self, _cluster: &mut Cluster) {}

    /// In which special forms it took effect, if it did.
    fn forms(&self, _before: &Effects, _now: &Effects) -> Vec<Form> {
        Vec::new()
    }

    /// Whether it did anything, by what the engine counted at its strike and by now.
    fn took_effect(&self, before: &Effects, now: &Effects) -> bool;
}

/// What became of a fault of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Its trigger never came.
    NeverTriggered,
    /// Nobody had the part that it was to hit, or there was nothing to strike.
    NoTarget,
    /// It would have gone past the fault budget, and was left out.
    OverBudget,
    /// It struck, and nothing came of it.
    NoEffect,
    /// It struck and took effect.
    TookEffect,
}

/// A fault of the schedule and its fate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Struck {
    /// Its index in the schedule.
    pub fault: usize,
    /// Its kind.
    pub kind: FaultKind,
    /// What became of it.
    pub fate: Fate,
    /// From when to when it lasted, in virtual nanoseconds.
    pub lasted_ns: Option<(u64, u64)>,
    /// The nodes that it hit.
    pub nodes: Vec<Node>,
    /// The special forms in which it took effect.
    pub forms: BTreeSet<Form>,
}

impl Struck {
    /// Whether it was at work at `at_ns`. What is over as soon as it strikes is at work in that
    /// instant only, whatever it leaves behind.
    #[must_use]
    pub fn is_active_at(&self, at_ns: u64) -> bool {
        let within = |(from, to): (u64, u64)| (from..=if self.kind.is_instant() { from } else { to }).contains(&at_ns);
        self.fate == Fate::TookEffect && self.lasted_ns.is_some_and(within)
    }
}

/// What became of a fault when it was to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// What its end took away.
    pub notes: Vec<FaultNote>,
    /// When the next part of it is to end, in virtual nanoseconds.
    pub again_ns: Option<u64>,
}

struct Active {
    fault: Box<dyn Fault>,
    since_ns: u64,
    before: Effects,
}

/// Carries out a schedule's faults.
pub struct Injector {
    actions: Vec<Action>,
    ids: Vec<u32>,
    seed: u64,
    budget: BudgetMode,
    active: BTreeMap<usize, Active>,
    struck: Vec<Struck>,
}

impl Injector {
    /// Nothing has struck yet.
    #[must_use]
    pub fn new(schedule: &Schedule) -> Self {
        let actions: Vec<Action> = schedule.faults.iter().map(|fault| fault.action.clone()).collect();
        let fate = |(fault, action): (usize, &Action)| Struck {
            fault,
            kind: action.kind(),
            fate: Fate::NeverTriggered,
            lasted_ns: None,
            nodes: Vec::new(),
            forms: BTreeSet::new(),
        };
        let struck = actions.iter().enumerate().map(fate).collect();
        let (ids, seed) = (schedule.ids().collect(), schedule.product_seed);
        Injector { actions, ids, seed, budget: schedule.budget, active: BTreeMap::new(), struck }
    }

    /// Fault number `at` is due. Gives what it took away.
    pub fn strike(
        &mut self,
        at: usize,
        cluster: &mut Cluster,
        roles: &Roles,
        invariants: &mut Invariants,
    ) -> Vec<FaultNote> {
        let nodes: Vec<Node> = roles.resolve_all(self.actions[at].targets()).into_iter().collect();
        self.struck[at].nodes.clone_from(&nodes);
        let mut fault = build(&self.actions[at], &nodes, Draw::new(self.seed, &format!("fault {}", self.ids[at])));
        let Some(notes) = fault.aim(cluster) else {
            self.struck[at].fate = Fate::NoTarget;
            return Vec::new();
        };
        if !self.is_admitted(invariants, &notes) {
            self.struck[at].fate = Fate::OverBudget;
            return Vec::new();
        }
        let (since_ns, before) = (cluster.simulation.now_ns(), cluster.simulation.effects());
        notes.iter().for_each(|note| invariants.fault(since_ns, note));
        fault.strike(cluster);
        self.struck[at].lasted_ns = Some((since_ns, since_ns));
        self.active.insert(at, Active { fault, since_ns, before });
        notes
    }

    fn is_admitted(&self, invariants: &Invariants, notes: &[FaultNote]) -> bool {
        self.budget == BudgetMode::Beyond || !notes.iter().any(|note| invariants.would_exceed_budget(note))
    }

    /// Fault number `at` has lasted as long as it was to last, or a part of it has. What its end
    /// would take away is subject to the budget as well.
    pub fn heal(&mut self, at: usize, cluster: &mut Cluster, invariants: &mut Invariants) -> Ended {
        let Some(mut active) = self.active.remove(&at) else { return Ended::default() };
        let notes = active.fault.at_end(cluster);
        let Some(notes) = notes.filter(|notes| self.is_admitted(invariants, notes)) else {
            active.fault.heal(cluster);
            self.close(at, &active, cluster);
            return Ended::default();
        };
        let now_ns = cluster.simulation.now_ns();
        notes.iter().for_each(|note| invariants.fault(now_ns, note));
        let after_ns = active.fault.heal_part(cluster);
        if after_ns.is_some() {
            self.active.insert(at, active);
        } else {
            self.close(at, &active, cluster);
        }
        Ended { notes, again_ns: after_ns.map(|after_ns| now_ns + after_ns) }
    }

    fn close(&mut self, at: usize, active: &Active, cluster: &Cluster) {
        let (before, now) = (&active.before, cluster.simulation.effects());
        let struck = &mut self.struck[at];
        struck.lasted_ns = Some((active.since_ns, cluster.simulation.now_ns()));
        struck.fate = if active.fault.took_effect(before, &now) { Fate::TookEffect } else { Fate::NoEffect };
        if struck.fate == Fate::TookEffect {
            struck.forms = active.fault.forms(before, &now).into_iter().collect();
        }
    }

    /// The run ends while faults last: what became of them so far.
    pub fn close_all(&mut self, cluster: &Cluster) {
        for (at, active) in std::mem::take(&mut self.active) {
            self.close(at, &active, cluster);
        }
    }

    /// Ends all that still lasts, and starts all that is down. From now on every disk works.
    pub fn heal_all(&mut self, cluster: &mut Cluster) -> Vec<FaultNote> {
        for (at, mut active) in std::mem::take(&mut self.active) {
            active.fault.heal(cluster);
            self.close(at, &active, cluster);
        }
        let notes = cluster.servers().into_iter().map(FaultNote::CallsWork).collect();
        cluster.start_all();
        notes
    }

    /// Whom a fault that struck kept from others; none if that may be anybody, whoever it was aimed at.
    #[must_use]
    pub fn disturbed(&self, struck: &Struck) -> Vec<Node> {
        match self.actions[struck.fault] {
            Action::Partition { shape: Shape::Bridge | Shape::MajorityRing, .. } => Vec::new(),
            _ => struck.nodes.clone(),
        }
    }

    /// Every fault of the schedule and its fate so far.
    #[must_use]
    pub fn struck(&self) -> &[Struck] {
        &self.struck
    }
}

fn build(action: &Action, nodes: &[Node], draw: Draw) -> Box<dyn Fault> {
    let one = nodes.first().copied();
    match action {
        Action::Partition { shape, resets, in_parts, .. } => {
            Box::new(partition::Partition::new(*shape, nodes.to_vec(), *resets, *in_parts, draw))
        }
        Action::SlowLink { latency_ms, bytes_per_s, .. } => {
            Box::new(slow_link::SlowLink::new(one, *latency_ms, *bytes_per_s))
        }
        Action::LossyLink { lost_per_mille, late_per_mille, late_ms, .. } => {
            Box::new(lossy_link::LossyLink::new(one, *lost_per_mille, *late_per_mille, *late_ms))
        }
        Action::ResetConnections { .. } => {
            Box::new(reset_connections::ResetConnections { node: one, draw, in_mid_frame: None })
        }
        Action::Crash { .. } => Box::new(crash::Crash::new(nodes.to_vec())),
        Action::PowerLoss { .. } => Box::new(power_loss::PowerLoss::new(nodes.to_vec(), draw)),
        Action::Pause { .. } => Box::new(pause::Pause { node: one }),
        Action::ClockJump { by_ms, .. } => Box::new(clock_jump::ClockJump { node: one, by_ms: *by_ms }),
        Action::ClockDrift { ppm, .. } => Box::new(clock_drift::ClockDrift { node: one, ppm: *ppm }),
        Action::IoError { sticky, .. } => Box::new(io_error::IoError { node: one, sticky: *sticky }),
        Action::FsyncFailure { .. } => Box::new(fsync_failure::FsyncFailure { node: one }),
        Action::DiskFull { .. } => Box::new(disk_full::DiskFull { node: one }),
        Action::SlowDisk { factor, .. } => Box::new(slow_disk::SlowDisk { node: one, factor: *factor }),
        Action::BitRot { victim, bytes, .. } => Box::new(bit_rot::BitRot::new(one, *victim, *bytes, draw)),
        Action::Restart { .. } => Box::new(restart::Restart::new(one)),
        Action::Replace { .. } => Box::new(replace::Replace::new(one)),
        Action::DirectorySyncFailure { .. } => Box::new(directory_sync_failure::DirectorySyncFailure { node: one }),
        Action::SwapDisk { .. } => Box::new(swap_disk::SwapDisk::new(one, draw)),
    }
}
