//! Faults that come one at a time, each with the cluster to itself: what a fault does alone, and what must be
//! over within a bound of it, shows where no other one is in the way. Most seeds have so many faults that little
//! is promised of any single one.

use wyrdlog::base::ids::TopicPartition;

use super::Drawing;
use crate::schedule::{Action, FaultEvent, FaultKind, Shape, Target, Trigger};

/// How they are drawn.
struct Apart {
    /// In so many seeds of a hundred.
    percent: u64,
    /// So long the cluster has to itself before the first one and after each, in milliseconds.
    quiet_ms: u64,
    /// How long one lasts, in milliseconds.
    span_ms: (u64, u64),
    /// What strikes.
    kinds: [FaultKind; 6],
}

impl Apart {
    /// Mostly what ends a broker, for longer than its session lasts: somebody else takes over.
    fn of_brokers(session_ms: u64) -> Apart {
        use FaultKind::{Crash, Partition, Pause, PowerLoss, Restart};
        let span_ms = (session_ms + 500, session_ms + 4_000);
        let kinds = [Crash, PowerLoss, Restart, Pause, Partition, Partition];
        Apart { percent: 15, quiet_ms: session_ms + 6_000, span_ms, kinds }
    }

    /// Mostly what has a server stand still, or lose its peers and keep its clients, for an election or two, while
    /// sessions go on.
    fn of_servers() -> Apart {
        use FaultKind::{Crash, Partition, Pause};
        let kinds = [Pause, Pause, Partition, Partition, Partition, Crash];
        Apart { percent: 35, quiet_ms: 3_000, span_ms: (900, 3_500), kinds }
    }
}

impl Drawing<'_> {
    /// The faults of a seed in which they come one at a time; none if it is no such seed, or too short a one.
    pub(super) fn apart(&mut self) -> Option<Vec<FaultEvent>> {
        let alone = self.cluster.brokers == 0;
        let apart = if alone { Apart::of_servers() } else { Apart::of_brokers(self.cluster.session_timeout_ms) };
        if !self.draw.percent(apart.percent) {
            return None;
        }
        let ends_ms = self.phases.warm_up_ms + self.phases.faults_ms;
        let mut at_ms = apart.quiet_ms.max(self.phases.warm_up_ms) + self.draw.below(1_000);
        let mut faults = Vec::new();
        while at_ms < ends_ms {
            let kind = self.draw.pick(&apart.kinds).copied().unwrap_or(FaultKind::Crash);
            let until_shrunk_ms = if kind == FaultKind::Partition { self.cluster.replica_lag_max_ms } else { 0 };
            let span_ms = self.draw.between(apart.span_ms.0, apart.span_ms.1 + until_shrunk_ms);
            faults.push(self.one_apart(kind, at_ms, span_ms));
            at_ms += span_ms + apart.quiet_ms + self.draw.below(1_000);
        }
        (!faults.is_empty()).then_some(faults)
    }

    fn one_apart(&mut self, kind: FaultKind, at_ms: u64, span_ms: u64) -> FaultEvent {
        let partition = self.partition();
        let replicas = self.replicas_of(partition.as_ref());
        let target = match (self.draw.below(6), partition) {
            (0, _) => Target::CoordinatorLeader,
            _ if self.cluster.brokers == 0 => Target::CoordinatorLeader,
            (1, _) | (_, None) => Target::Controller,
            (_, Some(partition)) => Target::Leader(partition),
        };
        let mut action = self.action(kind);
        if let Action::Partition { shape, targets, .. } = &mut action
            && replicas.len() > 1
            && self.draw.percent(75)
        {
            (*shape, *targets) = (Shape::Between, replicas);
            let for_ms = Some(span_ms);
            return FaultEvent { id: None, behind: None, when: Trigger::At { at_ms }, action, for_ms };
        }
        if let Action::Partition { shape, .. } = &mut action
            && self.cluster.brokers == 0
        {
            *shape = Shape::FromServers;
        }
        if let Some(targets) = action.targets_mut() {
            *targets = vec![target];
        } else if let Some(one) = action.target_mut() {
            *one = target;
        }
        let for_ms = (!kind.is_instant()).then_some(span_ms);
        FaultEvent { id: None, behind: None, when: Trigger::At { at_ms }, action, for_ms }
    }

    /// A leader and all who follow it: cut off from each other, it goes on alone with its clients.
    fn replicas_of(&self, partition: Option<&TopicPartition>) -> Vec<Target> {
        let Some(partition) = partition else { return Vec::new() };
        let topic = self.cluster.topics.iter().find(|topic| *topic.name == *partition.topic);
        let followers = topic.map_or(0, |topic| topic.replicas.saturating_sub(1));
        let followers = (0..followers).map(|place| Target::Follower(partition.clone(), place));
        std::iter::once(Target::Leader(partition.clone())).chain(followers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn in_some_seeds_of_the_mixture_no_fault_begins_before_the_one_before_it_is_long_over() {
        let swarm = Scenario::parse(include_str!("../../scenarios/swarm.toml")).expect("it comes with the program");
        let mut seeds = [0; 2];
        for plan in (0..1_000).map(|seed| swarm.draw(seed)) {
            let begins = |fault: &FaultEvent| match fault.when {
                Trigger::At { at_ms } => Some((at_ms, at_ms + fault.for_ms.unwrap_or(0))),
                _ => None,
            };
            let Some(spans) = plan.schedule.faults.iter().map(begins).collect::<Option<Vec<_>>>() else { continue };
            let is_alone = plan.cluster.brokers == 0;
            let quiet_ms = if is_alone { 3_000 } else { 6_000 + plan.cluster.session_timeout_ms };
            let is_apart = spans.windows(2).all(|pair| pair[0].1 + quiet_ms <= pair[1].0);
            seeds[usize::from(is_alone)] += usize::from(spans.len() > 1 && is_apart && spans[0].0 >= quiet_ms);
        }
        assert!(seeds.iter().all(|count| (20..150).contains(count)), "{seeds:?} of 1000");
    }
}
