//! Swarm testing: each seed draws its own subset of fault kinds, rates and durations, sometimes
//! none, and from those the concrete list of fault events. Most seeds have chains as well: faults
//! that meet.
//!
//! Of all seeds less than a tenth are free of faults, less than a tenth may go past the fault
//! budget, and at least three tenths cut power.

mod apart;
mod chains;
mod conditions;

use wyrdlog::base::ids::TopicPartition;

use crate::draw::Draw;
use crate::scenario::{Cluster, FaultMix, Phases};
use crate::schedule::{Action, BudgetMode, FaultEvent, FaultKind, Happening, Schedule, Shape, Target, Trigger, Victim};

/// Seeds of a hundred without any fault, where the scenario leaves it open.
pub const FAULT_FREE_PERCENT: u64 = 7;
/// Seeds of a hundred that may go past the budget, where the scenario leaves it open.
pub const BEYOND_BUDGET_PERCENT: u64 = 7;
/// Seeds of a hundred with faults that have power cuts among them for certain.
pub const POWER_PERCENT: u64 = 45;

/// Seeds of a hundred in which servers of the ensemble stand still, or lose their peers and keep their clients; and
/// of those with an ensemble alone.
pub const ESTRANGED_PERCENT: [u64; 2] = [50, 80];
/// So many times in a seed at most.
const ESTRANGED_MAX: [u64; 2] = [3, 6];

/// Draws the budget mode and the fault events into `schedule`: `per_minute` of them, where the scenario
/// says so. `clients` machines have clients.
pub fn draw_faults(
    schedule: &mut Schedule,
    mix: &FaultMix,
    per_minute: Option<u64>,
    cluster: &Cluster,
    clients: u32,
    phases: Phases,
    draw: &mut Draw,
) {
    // Everything that a scenario may fix is drawn all the same, so that fixing it shifts nothing.
    let none = draw.percent(FAULT_FREE_PERCENT);
    let beyond = draw.percent(BEYOND_BUDGET_PERCENT);
    let drawn_weights = draw_weights(draw);
    let drawn_rate = draw.between(10, 60);
    schedule.budget = mix.budget.unwrap_or(if beyond { BudgetMode::Beyond } else { BudgetMode::Within });
    if mix.none.unwrap_or(none) {
        return;
    }
    let fixed = mix.weights.as_ref();
    let weights = fixed.map_or(drawn_weights, |fixed| fixed.iter().map(|(kind, weight)| (*kind, *weight)).collect());
    let per_minute = per_minute.unwrap_or(drawn_rate);
    let count = (per_minute * phases.faults_ms / 60_000).max(1);
    let linked = mix.linked_chains;
    let mut drawing = Drawing { cluster, clients, phases, draw, linked };
    for _ in 0..count {
        if let Some(kind) = drawing.draw.weighted(&weights).copied() {
            schedule.faults.push(drawing.event(kind));
        }
    }
    if fixed.is_none() {
        drawing.chains(&mut schedule.faults);
    }
    // Whatever else a seed has: that it cuts power is decided once, and rot often finds nothing to strike.
    let more: &[FaultKind] =
        if fixed.is_none() { &[FaultKind::PowerLoss, FaultKind::BitRot] } else { &[FaultKind::PowerLoss] };
    for kind in more {
        if weights.iter().any(|(drawn, weight)| drawn == kind && *weight > 0) {
            let event = drawing.event(*kind);
            schedule.faults.push(event);
        }
    }
    if fixed.is_none() && linked && cluster.coordinators > 1 {
        let own = &mut Draw::new(schedule.seed, "estranged servers");
        let mut drawing = Drawing { cluster, clients, phases, draw: own, linked };
        schedule.faults.extend(drawing.estranged());
    }
    if fixed.is_none() && linked {
        let own = &mut Draw::new(schedule.seed, "lasting condition");
        let mut drawing = Drawing { cluster, clients, phases, draw: own, linked };
        schedule.faults.extend(drawing.condition());
        let own = &mut Draw::new(schedule.seed, "faults apart");
        let mut drawing = Drawing { cluster, clients, phases, draw: own, linked };
        schedule.faults = drawing.apart().unwrap_or_else(|| std::mem::take(&mut schedule.faults));
    }
}

/// A subset of the kinds, each with a weight of its own.
fn draw_weights(draw: &mut Draw) -> Vec<(FaultKind, u32)> {
    let power = draw.percent(POWER_PERCENT);
    let density = draw.between(15, 70);
    let mut weights = Vec::new();
    for kind in FaultKind::ALL {
        // Rot often finds nothing to strike.
        let most = if *kind == FaultKind::BitRot { 16 } else { 8 };
        let (on, weight) = (draw.percent(density), draw.between(1, most) as u32);
        if on || (power && *kind == FaultKind::PowerLoss) {
            weights.push((*kind, weight));
        }
    }
    if weights.is_empty() {
        weights.push((FaultKind::Crash, 1));
    }
    weights
}

struct Drawing<'d> {
    cluster: &'d Cluster,
    clients: u32,
    phases: Phases,
    draw: &'d mut Draw,
    /// See [`FaultMix::linked_chains`].
    linked: bool,
}

impl Drawing<'_> {
    fn event(&mut self, kind: FaultKind) -> FaultEvent {
        let action = self.action(kind);
        let when = self.trigger();
        // Most faults are short; some outlast every time-out. Those without a span heal at the end.
        let longest_ms = self.draw.pick(&[300, 2_000, 8_000, 20_000, 30_000]).copied().unwrap_or(2_000);
        let span_ms = self.draw.between(20, longest_ms);
        // The end of a swapped disk is what it is about.
        let lasts = kind.is_instant() || self.draw.percent(5) && kind != FaultKind::SwapDisk;
        FaultEvent { id: None, behind: None, when, action, for_ms: (!lasts).then_some(span_ms) }
    }

    /// A server of the ensemble, mostly the one that leads, that stands still or that its peers do not hear,
    /// for some elections long, while clients go on asking it. Where the ensemble is alone, partitions of
    /// another kind cut off its clients, too, and nobody would see what such a server still says.
    fn estranged(&mut self) -> Vec<FaultEvent> {
        let alone = usize::from(self.cluster.brokers == 0);
        let (any, count) = (self.draw.percent(ESTRANGED_PERCENT[alone]), self.draw.between(1, ESTRANGED_MAX[alone]));
        let count = if any { count } else { 0 };
        let mut one = || {
            let when = self.trigger();
            let target = if self.draw.percent(80) { Target::CoordinatorLeader } else { self.coordinator() };
            let (resets, in_parts) = (self.draw.percent(20), self.draw.percent(20));
            let (stands_still, longest_ms) = (self.draw.percent(50), self.draw.pick(&[1_500, 3_000, 6_000]).copied());
            let span_ms = self.draw.between(500, longest_ms.unwrap_or(6_000));
            let action = if stands_still {
                Action::Pause { target }
            } else {
                Action::Partition { shape: Shape::FromServers, targets: vec![target], resets, in_parts }
            };
            FaultEvent { id: None, behind: None, when, action, for_ms: Some(span_ms) }
        };
        (0..count).map(|_| one()).collect()
    }

    fn trigger(&mut self) -> Trigger {
        let latest_ms = self.phases.warm_up_ms + self.phases.faults_ms.saturating_sub(1);
        let at_ms = self.draw.between(self.phases.warm_up_ms, latest_ms.max(self.phases.warm_up_ms));
        if self.draw.percent(60) {
            return Trigger::At { at_ms };
        }
        let has_brokers = self.cluster.brokers > 0;
        let all = Happening::ALL.iter().copied();
        let possible: Vec<Happening> = all.filter(|happening| has_brokers || happening.is_of_coordinators()).collect();
        let happening = self.draw.pick(&possible);
        // The first of those that are seldom belong to the start of the cluster, before any fault.
        let (seldom, often) = (self.draw.between(2, 5) as u32, self.draw.between(50, 600) as u32);
        let nth = if happening.is_some_and(|happening| happening.is_frequent()) { often } else { seldom };
        let Some(happening) = happening.copied() else { return Trigger::At { at_ms } };
        let partition = happening.has_partition().then(|| self.partition()).flatten();
        let delay_ms = self.draw.pick(&[0, 1, 5, 20, 130, 600]).copied().unwrap_or(0);
        Trigger::After { happening, partition, nth, from_ms: 0, delay_ms, within_ms: self.linked.then_some(at_ms) }
    }

    fn action(&mut self, kind: FaultKind) -> Action {
        match kind {
            FaultKind::Partition => self.partition_action(),
            FaultKind::Crash => Action::Crash { targets: self.targets(2) },
            FaultKind::PowerLoss => {
                let most = if self.draw.percent(25) { 6 } else { 1 };
                let mut targets = self.targets(most);
                // The rack of the coordinators, which promise to survive it, and whoever else is in it.
                if self.draw.percent(15) {
                    targets.truncate(1);
                    let rack = (1..=self.cluster.coordinators).map(Target::Coordinator);
                    targets.extend(rack.filter(|target| !targets.contains(target)).collect::<Vec<_>>());
                }
                Action::PowerLoss { targets }
            }
            FaultKind::SlowLink => {
                let (latency_ms, narrow) = (self.draw.between(20, 2_000), self.draw.percent(40));
                let bytes_per_s = self.draw.between(40_000, 1_000_000);
                Action::SlowLink { target: self.anyone(), latency_ms, bytes_per_s: narrow.then_some(bytes_per_s) }
            }
            FaultKind::LossyLink => {
                let (late, loses) = (self.draw.percent(40), self.draw.percent(75));
                let (late_per_mille, late_ms) = (self.draw.between(1, 200) as u32, self.draw.between(1, 500) as u32);
                let (late_per_mille, late_ms) = if late { (late_per_mille, late_ms) } else { (0, 0) };
                let lost_per_mille = self.draw.between(10, 500) as u32;
                let lost_per_mille = if loses || !late { lost_per_mille } else { 0 };
                Action::LossyLink { target: self.anyone(), lost_per_mille, late_per_mille, late_ms }
            }
            FaultKind::ResetConnections => Action::ResetConnections { target: self.anyone() },
            FaultKind::Pause => Action::Pause { target: self.anyone() },
            FaultKind::ClockJump => {
                let by_ms = self.draw.between(100, 7_200_000) as i64;
                Action::ClockJump { target: self.anyone(), by_ms: if self.draw.percent(50) { -by_ms } else { by_ms } }
            }
            FaultKind::ClockDrift => {
                Action::ClockDrift { target: self.anyone(), ppm: self.draw.between(0, 100_000) as i64 - 50_000 }
            }
            FaultKind::IoError => Action::IoError { target: self.target(), sticky: self.draw.percent(50) },
            FaultKind::FsyncFailure => Action::FsyncFailure { target: self.target() },
            FaultKind::DiskFull => Action::DiskFull { target: self.target() },
            FaultKind::SlowDisk => {
                Action::SlowDisk { target: self.target(), factor: self.draw.between(10, 1_000) as u32 }
            }
            FaultKind::BitRot => {
                let victims = [(Victim::Log, 3), (Victim::Index, 22), (Victim::Checkpoint, 3), (Victim::Snapshot, 10)];
                let victim = self.draw.weighted(&victims).copied().unwrap_or(Victim::Log);
                // Coordinators may be hit in a minority only, and have no index.
                let target = if self.draw.percent(75) { self.broker() } else { self.target() };
                Action::BitRot { target, victim, bytes: self.draw.between(1, 512) as u32 }
            }
            FaultKind::Restart => Action::Restart { target: self.target() },
            FaultKind::Replace => Action::Replace { target: self.broker() },
            FaultKind::DirectorySyncFailure => Action::DirectorySyncFailure { target: self.target() },
            FaultKind::SwapDisk => Action::SwapDisk { target: self.broker() },
        }
    }

    fn partition_action(&mut self) -> Action {
        let shapes = [
            (Shape::Symmetric, 3),
            (Shape::OneWay, 2),
            (Shape::OneFromAll, 2),
            (Shape::Bridge, 3),
            (Shape::MajorityRing, 3),
            (Shape::Between, 1),
            (Shape::FromServers, 3),
        ];
        let shape = self.draw.weighted(&shapes).copied().unwrap_or(Shape::Symmetric);
        let (resets, in_parts) = (self.draw.percent(30), self.draw.percent(35));
        let mut targets = self.targets(3);
        while shape == Shape::Between && targets.len() < 2 {
            targets = self.targets(4);
        }
        // The bridge itself serves.
        if !matches!(shape, Shape::Bridge | Shape::FromServers) && self.draw.percent(20) {
            targets.extend(self.client().filter(|client| !targets.contains(client)));
        }
        Action::Partition { shape, targets, resets, in_parts }
    }

    fn targets(&mut self, most: u64) -> Vec<Target> {
        let count = self.draw.between(1, most);
        let mut targets: Vec<Target> = Vec::new();
        for _ in 0..count {
            let target = self.target();
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        targets
    }

    fn target(&mut self) -> Target {
        let by_part = self.partition();
        match (self.draw.below(10), by_part) {
            (0..=5, None) if self.cluster.brokers == 0 => Target::CoordinatorLeader,
            (_, None) if self.cluster.brokers == 0 => self.coordinator(),
            (0..=2, Some(partition)) => Target::Leader(partition),
            (3..=4, Some(partition)) => self.follower(partition),
            (5, _) => Target::Controller,
            (6, _) => Target::CoordinatorLeader,
            (7, _) => self.coordinator(),
            _ => self.broker(),
        }
    }

    /// One of its followers; its leader where it has none.
    fn follower(&mut self, partition: TopicPartition) -> Target {
        let topic = self.cluster.topics.iter().find(|topic| *topic.name == *partition.topic);
        let followers = topic.map_or(0, |topic| topic.replicas.saturating_sub(1));
        let place = self.draw.below(u64::from(followers.max(1))) as u32;
        if followers == 0 { Target::Leader(partition) } else { Target::Follower(partition, place) }
    }

    /// A server, or now and then a client.
    fn anyone(&mut self) -> Target {
        let client = self.client();
        client.filter(|_| self.draw.percent(12)).unwrap_or_else(|| self.target())
    }

    fn client(&mut self) -> Option<Target> {
        let number = self.draw.below(u64::from(self.clients)) as u16;
        (self.clients > 0).then_some(Target::Client(number))
    }

    fn coordinator(&mut self) -> Target {
        Target::Coordinator(self.draw.between(1, u64::from(self.cluster.coordinators)) as u32)
    }

    fn broker(&mut self) -> Target {
        if self.cluster.brokers == 0 {
            return self.coordinator();
        }
        let ordinal = self.draw.between(1, u64::from(self.cluster.brokers)) as i32;
        Target::Broker(ordinal - 1 + self.cluster.first_broker as i32)
    }

    fn partition(&mut self) -> Option<TopicPartition> {
        let topic = self.draw.pick(&self.cluster.topics)?;
        let index = self.draw.below(u64::from(topic.partitions)) as i32;
        Some(TopicPartition::new(topic.name.as_str(), index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Drawn, Plan, Scenario};
    use std::collections::{BTreeMap, BTreeSet};
    use wyrdlog::base::partition_state::Durability;

    fn plans() -> Vec<Plan> {
        (0..1_000).map(|seed| Scenario::default().draw(seed)).collect()
    }

    fn share(plans: &[Plan], of: impl Fn(&Plan) -> bool) -> usize {
        plans.iter().filter(|plan| of(plan)).count()
    }

    #[test]
    fn the_shares_of_a_sweep_are_kept() {
        let plans = plans();
        let free = share(&plans, |plan| plan.schedule.faults.is_empty());
        let beyond = share(&plans, |plan| plan.schedule.budget == BudgetMode::Beyond);
        let cuts = |plan: &Plan| plan.schedule.faults.iter().any(|fault| fault.action.kind() == FaultKind::PowerLoss);
        assert!((30..=100).contains(&free), "{free} of 1000 seeds are fault-free");
        assert!((30..=100).contains(&beyond), "{beyond} of 1000 seeds go past the budget");
        assert!(share(&plans, cuts) >= 300, "{} of 1000 seeds cut power", share(&plans, cuts));
        for class in [Durability::Synced, Durability::PageCache] {
            assert_eq!(share(&plans, |plan| plan.cluster.topics.iter().any(|topic| topic.durability == class)), 1_000);
        }
    }

    #[test]
    fn every_kind_is_drawn_and_each_seed_has_a_subset_of_its_own() {
        let mut seen: BTreeMap<FaultKind, usize> = BTreeMap::new();
        let mut subsets = BTreeSet::new();
        for plan in plans() {
            let kinds: BTreeSet<FaultKind> = plan.schedule.faults.iter().map(|fault| fault.action.kind()).collect();
            kinds.iter().for_each(|kind| *seen.entry(*kind).or_default() += 1);
            subsets.insert(kinds);
        }
        for kind in FaultKind::ALL {
            assert!(seen.get(kind).is_some_and(|count| *count > 50), "{kind:?}: {seen:?}");
        }
        assert!(subsets.len() > 500, "{} subsets", subsets.len());
    }

    #[test]
    fn every_drawn_schedule_reads_back_equal() {
        for plan in plans().iter().take(100) {
            assert_eq!(Schedule::parse(&plan.schedule.print()).as_ref(), Ok(&plan.schedule));
        }
    }

    #[test]
    fn every_happening_is_aimed_at_and_none_much_more_than_another() {
        let mut aimed: BTreeMap<Happening, usize> = BTreeMap::new();
        let mut roles: BTreeSet<String> = BTreeSet::new();
        for fault in plans().iter().flat_map(|plan| &plan.schedule.faults) {
            if let Trigger::After { happening, from_ms: 1.., delay_ms, .. } = &fault.when {
                assert!(*delay_ms <= 20, "{fault:?}");
                *aimed.entry(*happening).or_default() += 1;
                let name = |target: &Target| target.to_string().split('(').next().unwrap_or_default().to_owned();
                roles.extend(fault.action.targets().iter().map(name));
            }
        }
        let (most, least) = (aimed.values().max(), aimed.values().min());
        assert_eq!(aimed.len(), Happening::ALL.len(), "{aimed:?}");
        // Around an ensemble there is less to wait for.
        assert!(most.zip(least).is_some_and(|(most, least)| *most < 6 * least), "{aimed:?}");
        let all = ["client", "controller", "coordinator", "coordinator-leader", "follower", "leader"];
        assert_eq!(roles, all.map(str::to_owned).into());
    }

    #[test]
    fn a_scenario_can_fix_the_mix() {
        let mut scenario = Scenario::default();
        scenario.faults.weights = Some(BTreeMap::from([(FaultKind::Pause, 1)]));
        scenario.faults.per_minute = Some(Drawn::Fixed(60));
        scenario.faults.none = Some(false);
        for seed in 0..20 {
            let faults = scenario.draw(seed).schedule.faults;
            assert_eq!(faults.len(), 35);
            assert!(faults.iter().all(|fault| fault.action.kind() == FaultKind::Pause));
        }
    }
}
