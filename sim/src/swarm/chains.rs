//! Chains: two to five faults around one partition or one ensemble, each aimed at a moment of the
//! protocol. Faults that are drawn one by one seldom meet; in a real cluster they come together, since
//! a rack, a deployment or an overload causes them all.
//!
//! Nothing here knows of a particular bug. A chain draws a few happenings, a few roles and a few kinds
//! of faults, each with the same weight, and every fault of it one of each. That its faults have those
//! in common is what makes them meet.

use wyrdlog::base::ids::TopicPartition;

use super::Drawing;
use crate::schedule::{Action, FaultEvent, FaultKind, Happening, Shape, Target, Trigger};

/// Seeds of a hundred with faults that have chains, and with linked ones.
const CHAINED_PERCENT: [u64; 2] = [60, 80];
/// Of a hundred of those so many have nothing else: what meets is not disturbed by what does not.
const ALONE_PERCENT: u64 = 50;
/// One chain more for so many milliseconds with faults, and one linked one.
const CHAIN_PER_MS: [u64; 2] = [8_000, 3_000];
/// Of linked chains those of a hundred whose faults wait for each other.
const LINKED_PERCENT: u64 = 60;
/// The longest that a fault waits after what it is aimed at, in milliseconds.
const DELAY_MS_MAX: u64 = 20;
/// How many faults a chain has, at least and at most.
const LINKS: (u64, u64) = (2, 5);

/// What the faults of a chain have in common.
#[derive(Clone, Debug)]
enum Focus {
    /// A partition, and how many followers it has.
    Partition(TopicPartition, u32),
    /// The coordinators and the controller.
    Ensemble,
}

impl Focus {
    /// What can be waited for around it.
    fn happenings(&self, has_brokers: bool) -> Vec<Happening> {
        let all = Happening::ALL.iter().copied();
        all.filter(|happening| match self {
            Focus::Partition(..) => true,
            Focus::Ensemble => !happening.has_partition() && (has_brokers || happening.is_of_coordinators()),
        })
        .collect()
    }

    fn partition_of(&self, happening: Happening) -> Option<TopicPartition> {
        match self {
            Focus::Partition(partition, _) if happening.has_partition() => Some(partition.clone()),
            _ => None,
        }
    }
}

impl Drawing<'_> {
    /// Draws the chains of one seed, if it has any, in the place of `single` faults or beside them.
    pub(super) fn chains(&mut self, single: &mut Vec<FaultEvent>) {
        let (any, alone) =
            (self.draw.percent(CHAINED_PERCENT[usize::from(self.linked)]), self.draw.percent(ALONE_PERCENT));
        if !any {
            return;
        }
        if alone {
            single.clear();
        }
        let most = 1 + self.phases.faults_ms / CHAIN_PER_MS[usize::from(self.linked)];
        for _ in 0..self.draw.between(1, most) {
            let chain = self.chain(single.len());
            single.extend(chain);
        }
    }

    /// A chain that begins at `place` of the schedule. Each of its faults waits for the one before, or all
    /// of them for the clock alone.
    fn chain(&mut self, place: usize) -> Vec<FaultEvent> {
        let focus = self.focus();
        let happenings = self.some_of(&focus.happenings(self.cluster.brokers > 0), 4);
        let roles = self.some_of(&self.roles(&focus), 3);
        let kinds = if self.linked { self.some_kinds(3) } else { self.some_of(FaultKind::ALL, 3) };
        let is_linked = self.linked && self.draw.percent(LINKED_PERCENT);
        let mut from_ms = self.phases.warm_up_ms + self.draw.below(self.phases.faults_ms.max(1));
        let mut chain = Vec::new();
        for _ in 0..self.draw.between(LINKS.0, LINKS.1) {
            let Some((happening, kind)) = self.draw.pick(&happenings).copied().zip(self.draw.pick(&kinds).copied())
            else {
                continue;
            };
            let action = self.aimed(kind, &focus, &roles);
            let (nth, delay_ms) = (1, self.draw.below(DELAY_MS_MAX + 1));
            let partition = focus.partition_of(happening);
            // What does not happen in its time is not what makes the rest of them wait.
            let within_ms = self.linked.then(|| self.draw.between(500, 6_000));
            let when = Trigger::After { happening, partition, nth, from_ms, delay_ms, within_ms };
            let span_ms = self.span_ms();
            let behind = (is_linked && !chain.is_empty()).then_some((place + chain.len()).saturating_sub(1) as u32);
            let for_ms = (!action.kind().is_instant()).then_some(span_ms);
            chain.push(FaultEvent { id: None, behind, when, action, for_ms });
            // The next one strikes while this one lasts, or soon after it.
            from_ms = if is_linked { 0 } else { from_ms };
            from_ms += self.draw.pick(&[0, span_ms / 2, span_ms, span_ms + 200]).copied().unwrap_or(0);
        }
        chain
    }

    fn focus(&mut self) -> Focus {
        let topic = self.draw.pick(&self.cluster.topics);
        let ensemble = self.draw.percent(25);
        match topic {
            Some(topic) if !ensemble => {
                let index = self.draw.below(u64::from(topic.partitions)) as i32;
                let partition = TopicPartition::new(topic.name.as_str(), index);
                Focus::Partition(partition, topic.replicas.saturating_sub(1))
            }
            _ => Focus::Ensemble,
        }
    }

    /// Who has a part in what happens there.
    fn roles(&self, focus: &Focus) -> Vec<Target> {
        let has_brokers = self.cluster.brokers > 0;
        let mut roles = vec![Target::CoordinatorLeader];
        roles.extend(has_brokers.then_some(Target::Controller));
        match focus {
            Focus::Partition(partition, followers) => {
                roles.push(Target::Leader(partition.clone()));
                roles.extend((0..*followers).map(|place| Target::Follower(partition.clone(), place)));
            }
            Focus::Ensemble => roles.extend((1..=self.cluster.coordinators).map(Target::Coordinator)),
        }
        roles.extend((0..self.clients).map(|number| Target::Client(number as u16)).take(2));
        roles
    }

    /// One to `most` of them, in the order in which they stand.
    fn some_of<T: Clone>(&mut self, all: &[T], most: u64) -> Vec<T> {
        let count = self.draw.between(1, most.min(all.len() as u64)) as usize;
        let mut places: Vec<usize> = (0..all.len()).collect();
        for next in 0..count.min(all.len()) {
            let taken = next + self.draw.below((places.len() - next) as u64) as usize;
            places.swap(next, taken);
        }
        places.truncate(count);
        places.sort_unstable();
        places.into_iter().map(|place| all[place].clone()).collect()
    }

    /// One to `most` kinds of faults: those that end a node or cut it off are drawn most often.
    fn some_kinds(&mut self, most: usize) -> Vec<FaultKind> {
        let weighted: Vec<(FaultKind, u32)> = FaultKind::ALL.iter().map(|kind| (*kind, weight(*kind))).collect();
        let count = self.draw.between(1, most as u64) as usize;
        let mut kinds: Vec<FaultKind> = Vec::new();
        for _ in 0..count {
            kinds.extend(self.draw.weighted(&weighted).copied());
        }
        kinds
    }

    /// A fault of `kind` that strikes one of `roles`, or several where it can: at times all who take
    /// part in what happens at the focus.
    fn aimed(&mut self, kind: FaultKind, focus: &Focus, roles: &[Target]) -> Action {
        let one = self.draw.pick(roles).cloned().unwrap_or(Target::CoordinatorLeader);
        let mut action = self.action(kind);
        if let Some(targets) = action.targets_mut() {
            *targets = match self.draw.below(3) {
                0 => vec![one],
                1 => self.some_of(roles, 3),
                _ => self.all_at(focus),
            };
            let is_between = matches!(action, Action::Partition { shape: Shape::Between, .. });
            if let Some(targets) = action.targets_mut().filter(|targets| is_between && targets.len() < 2) {
                // What is cut from each other is two at least.
                *targets = self.all_at(focus);
            }
        } else if let Some(target) = action.target_mut() {
            *target = one;
        }
        action
    }

    /// Every replica of the partition, or every server of the ensemble.
    fn all_at(&self, focus: &Focus) -> Vec<Target> {
        match focus {
            Focus::Partition(partition, followers) => {
                let followers = (0..*followers).map(|place| Target::Follower(partition.clone(), place));
                std::iter::once(Target::Leader(partition.clone())).chain(followers).collect()
            }
            Focus::Ensemble => (1..=self.cluster.coordinators).map(Target::Coordinator).collect(),
        }
    }

    /// As likely ten milliseconds as a second as ten of them.
    fn span_ms(&mut self) -> u64 {
        let longest_ms = self.draw.pick(&[100, 500, 2_000, 5_000, 10_000]).copied().unwrap_or(2_000);
        self.draw.between(20, longest_ms)
    }
}

/// How often a chain has a kind of fault: what ends a node or separates it from others changes who leads and who is
/// in sync, and a chain is about that.
fn weight(kind: FaultKind) -> u32 {
    match kind {
        FaultKind::Crash | FaultKind::PowerLoss | FaultKind::Partition | FaultKind::Pause => 6,
        FaultKind::SlowLink | FaultKind::Restart | FaultKind::Replace => 3,
        FaultKind::SlowDisk | FaultKind::FsyncFailure | FaultKind::LossyLink | FaultKind::ResetConnections => 2,
        _ => 1,
    }
}
