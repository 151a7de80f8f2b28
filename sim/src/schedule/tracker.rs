//! Follows the events of a run: which fault events are due, and who is meant by a target.
//!
//! Pure: no clock, no engine. The atlas feeds events and time, and carries out what is due.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::event::{ControllerEvent, CoordinatorEvent, Event, LogEvent, ReplicaEvent};
use wyrdlog::base::ids::{BrokerId, LeaderEpoch, ServerId, TopicPartition};

use super::{FaultEvent, Happening, Target, Trigger};
use crate::observed::{Node, Observed};

/// A fault event that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When, in virtual nanoseconds.
    pub at_ns: u64,
    /// Its index in the schedule's faults.
    pub fault: usize,
    /// Whether it heals instead of striking.
    pub heals: bool,
}

/// Who is what at this instant, as events show it.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    /// The brokers' machines.
    pub brokers: BTreeMap<BrokerId, Node>,
    /// The coordinator servers' machines.
    pub servers: BTreeMap<ServerId, Node>,
    /// The clients' machines.
    pub clients: BTreeMap<u16, Node>,
    leaders: BTreeMap<TopicPartition, (LeaderEpoch, Node)>,
    replicas: BTreeMap<TopicPartition, BTreeSet<Node>>,
    in_sync: BTreeMap<TopicPartition, usize>,
    controller: Option<(i32, Node)>,
    coordinator: Option<(u32, Node)>,
}

impl Roles {
    /// The node that `target` means now; none while nobody has that part.
    #[must_use]
    pub fn resolve(&self, target: &Target) -> Option<Node> {
        match target {
            Target::Leader(partition) => self.leaders.get(partition).map(|(_, node)| *node),
            Target::Follower(partition, place) => {
                let leader = self.leaders.get(partition).map(|(_, node)| *node);
                let mut followers = self.replicas.get(partition)?.iter().filter(|node| Some(**node) != leader);
                followers.nth(*place as usize).copied()
            }
            Target::Controller => self.controller.map(|(_, node)| node),
            Target::CoordinatorLeader => self.coordinator.map(|(_, node)| node),
            Target::Broker(id) => self.brokers.get(&BrokerId(*id)).copied(),
            Target::Coordinator(id) => self.servers.get(&ServerId(*id)).copied(),
            Target::Client(number) => self.clients.get(number).copied(),
        }
    }

    /// The nodes that `targets` mean now, each once; those that nobody is are left out.
    #[must_use]
    pub fn resolve_all(&self, targets: &[Target]) -> BTreeSet<Node> {
        targets.iter().filter_map(|target| self.resolve(target)).collect()
    }

    /// Takes an event; gives back what of the waited-for kind it was.
    fn take(&mut self, observed: &Observed) -> Option<(Happening, Option<TopicPartition>)> {
        let node = observed.node;
        match &observed.event {
            Event::Log(partition, event) => {
                let happening = self.take_log(partition, node, event)?;
                Some((happening, Some(partition.clone())))
            }
            Event::Replica(partition, event) => {
                let happening = self.take_replica(partition, node, event)?;
                Some((happening, Some(partition.clone())))
            }
            Event::Controller(ControllerEvent::Elected { controller_epoch }) => {
                self.controller = self.controller.max(Some((controller_epoch.0, node)));
                Some((Happening::ControllerElected, None))
            }
            Event::Controller(
                ControllerEvent::Committed { partition, state, .. } | ControllerEvent::Found { partition, state, .. },
            ) => {
                let now = state.in_sync.len();
                let before = self.in_sync.insert(partition.clone(), now)?;
                let happening = match now.cmp(&before) {
                    std::cmp::Ordering::Less => Happening::InSyncShrunk,
                    std::cmp::Ordering::Greater => Happening::InSyncGrown,
                    std::cmp::Ordering::Equal => return None,
                };
                Some((happening, Some(partition.clone())))
            }
            Event::Coordinator(CoordinatorEvent::Elected { term, .. }) => {
                self.coordinator = self.coordinator.max(Some((term.0, node)));
                Some((Happening::CoordinatorElected, None))
            }
            Event::Coordinator(CoordinatorEvent::Applied { .. }) => Some((Happening::EntryApplied, None)),
            Event::Coordinator(CoordinatorEvent::SessionEnded { .. }) => Some((Happening::SessionEnded, None)),
            _ => None,
        }
    }

    fn take_log(&mut self, partition: &TopicPartition, node: Node, event: &LogEvent) -> Option<Happening> {
        match event {
            LogEvent::Opened { .. } => {
                self.replicas.entry(partition.clone()).or_default().insert(node);
                Some(Happening::LogOpened)
            }
            LogEvent::Appended { .. } => {
                let leads = self.leaders.get(partition).is_some_and(|(_, leader)| *leader == node);
                Some(if leads { Happening::Appended } else { Happening::Fetched })
            }
            LogEvent::Rolled { .. } => {
                let leads = self.leaders.get(partition).is_some_and(|(_, leader)| *leader == node);
                leads.then_some(Happening::SegmentRolled)
            }
            LogEvent::Truncated { .. } => Some(Happening::Truncated),
            _ => None,
        }
    }

    fn take_replica(&mut self, partition: &TopicPartition, node: Node, event: &ReplicaEvent) -> Option<Happening> {
        match event {
            ReplicaEvent::BecameLeader { leader_epoch, .. } => {
                let leader = self.leaders.entry(partition.clone()).or_insert((*leader_epoch, node));
                *leader = (*leader).max((*leader_epoch, node));
                Some(Happening::LeaderElected)
            }
            ReplicaEvent::HighWatermark { leads: true, .. } => Some(Happening::HighWatermarkAdvanced),
            ReplicaEvent::InSync { proposed: Some(_), .. } => Some(Happening::InSyncProposed),
            ReplicaEvent::Acknowledged { acks: -1, .. } => Some(Happening::Acknowledged),
            _ => None,
        }
    }
}

/// A fault that waits for something to happen so many more times.
#[derive(Clone, Debug)]
struct Waiting {
    fault: usize,
    happening: Happening,
    partition: Option<TopicPartition>,
    left: u32,
    /// From when on it is counted; nothing counts until the fault that it is behind has struck.
    from_ns: u64,
    behind: Option<usize>,
    delay_ns: u64,
    /// From when it is counted on it strikes without it, so much later.
    within_ns: Option<u64>,
}

impl Waiting {
    /// When it strikes at the latest; unknown while it waits for another fault.
    fn latest(&self) -> Option<Due> {
        let at_ns = self.from_ns.saturating_add(self.within_ns?);
        self.behind.is_none().then_some(Due { at_ns, fault: self.fault, heals: false })
    }
}

/// Which faults are due.
#[derive(Clone, Debug)]
pub struct TriggerTracker {
    /// Who is what.
    pub roles: Roles,
    waiting: Vec<Waiting>,
    due: BTreeSet<Due>,
    healing_ns: Vec<Option<u64>>,
}

impl TriggerTracker {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(faults: &[FaultEvent], roles: Roles) -> Self {
        let healing_ns = faults.iter().map(|fault| fault.for_ms.map(nanoseconds)).collect();
        let mut tracker = TriggerTracker { roles, waiting: Vec::new(), due: BTreeSet::new(), healing_ns };
        let id_of = |place: usize, fault: &FaultEvent| fault.id.map_or(place, |id| id as usize);
        let place_of =
            |id: u32| faults.iter().enumerate().position(|(place, fault)| id_of(place, fault) == id as usize);
        for (fault, event) in faults.iter().enumerate() {
            match &event.when {
                Trigger::At { at_ms } => {
                    tracker.due.insert(Due { at_ns: nanoseconds(*at_ms), fault, heals: false });
                }
                Trigger::AtNs { at_ns } => drop(tracker.due.insert(Due { at_ns: *at_ns, fault, heals: false })),
                Trigger::After { happening, partition, nth, from_ms, delay_ms, within_ms } => tracker.wait(Waiting {
                    fault,
                    happening: *happening,
                    partition: partition.clone(),
                    left: *nth,
                    from_ns: nanoseconds(*from_ms),
                    behind: event.behind.and_then(place_of),
                    delay_ns: nanoseconds(*delay_ms),
                    within_ns: within_ms.map(nanoseconds),
                }),
            }
        }
        tracker
    }

    fn wait(&mut self, waiting: Waiting) {
        self.due.extend(waiting.latest());
        self.waiting.push(waiting);
    }

    /// Takes an event.
    pub fn observe(&mut self, observed: &Observed) {
        let Some((happening, partition)) = self.roles.take(observed) else { return };
        let due = &mut self.due;
        self.waiting.retain_mut(|waiting| {
            if waiting.happening != happening {
                return true;
            }
            let here = waiting.partition.is_none() || waiting.partition == partition;
            let counts = waiting.behind.is_none() && observed.time_ns >= waiting.from_ns;
            if !here || !counts {
                return true;
            }
            waiting.left -= 1;
            if waiting.left == 0 {
                if let Some(latest) = waiting.latest() {
                    due.remove(&latest);
                }
                let at_ns = observed.time_ns.saturating_add(waiting.delay_ns);
                due.insert(Due { at_ns, fault: waiting.fault, heals: false });
            }
            waiting.left > 0
        });
    }

    /// The instant of the next due fault, as far as is known now.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.due.first().map(|due| due.at_ns)
    }

    /// Takes out the next fault that is due at `now_ns`. One that strikes is due again when it heals.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<Due> {
        let due = self.due.pop_first_if(|due| due.at_ns <= now_ns)?;
        if !due.heals {
            self.waiting.retain(|waiting| waiting.fault != due.fault);
        }
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.behind == Some(due.fault) && !due.heals) {
            waiting.from_ns = due.at_ns.saturating_add(waiting.from_ns);
            waiting.behind = None;
            self.due.extend(waiting.latest());
        }
        if let (false, Some(for_ns)) = (due.heals, self.healing_ns[due.fault]) {
            self.due.insert(Due { at_ns: due.at_ns.saturating_add(for_ns), heals: true, ..due });
        }
        Some(due)
    }

    /// Another part of `fault` ends at `at_ns`.
    pub fn ends_again(&mut self, fault: usize, at_ns: u64) {
        self.due.insert(Due { at_ns, fault, heals: true });
    }

    /// The faults whose trigger never came.
    #[must_use]
    pub fn never_triggered(&self) -> Vec<usize> {
        self.waiting.iter().map(|waiting| waiting.fault).collect()
    }
}

fn nanoseconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_mul(1_000_000)
}

/// `BTreeSet::pop_first` on a condition.
trait PopFirstIf<T> {
    fn pop_first_if(&mut self, condition: impl FnOnce(&T) -> bool) -> Option<T>;
}

impl<T: Ord> PopFirstIf<T> for BTreeSet<T> {
    fn pop_first_if(&mut self, condition: impl FnOnce(&T) -> bool) -> Option<T> {
        if self.first().is_some_and(condition) { self.pop_first() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::crash_of_the_leader;
    use super::super::{Action, parse_partition};
    use super::*;
    use wyrdlog::base::ids::{BrokerEpoch, Term};
    use wyrdlog::base::partition_state::Durability;

    fn partition() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn elected(time_ns: u64, node: u16, epoch: i32) -> Observed {
        let leader_epoch = LeaderEpoch(epoch);
        let event =
            ReplicaEvent::BecameLeader { leader_epoch, broker_epoch: BrokerEpoch(1), log_end: 0, high_watermark: 0 };
        Observed { time_ns, node: Node(node), incarnation: 1, event: Event::Replica(partition(), event) }
    }

    fn opened(node: u16) -> Observed {
        let event = LogEvent::Opened { log_start: 0, log_end: 0, torn_bytes: 0, durability: Durability::PageCache };
        Observed { time_ns: 0, node: Node(node), incarnation: 1, event: Event::Log(partition(), event) }
    }

    #[test]
    fn a_fault_strikes_after_the_nth_happening_and_heals_after_its_span() {
        let mut tracker = TriggerTracker::new(&[crash_of_the_leader(2)], Roles::default());
        tracker.observe(&elected(1_000, 3, 1));
        assert_eq!(tracker.next_due_ns(), None);
        tracker.observe(&elected(2_000, 4, 2));
        let strikes = 2_000 + 130_000_000;
        assert_eq!(tracker.next_due_ns(), Some(strikes));
        assert_eq!(tracker.pop_due(strikes - 1), None);
        assert_eq!(tracker.pop_due(strikes), Some(Due { at_ns: strikes, fault: 0, heals: false }));
        let heals = strikes + 2_000_000_000;
        assert_eq!(tracker.pop_due(u64::MAX), Some(Due { at_ns: heals, fault: 0, heals: true }));
        assert_eq!(tracker.pop_due(u64::MAX), None);
    }

    #[test]
    fn what_happened_before_a_trigger_counts_is_not_counted() {
        let mut fault = crash_of_the_leader(1);
        if let Trigger::After { from_ms, .. } = &mut fault.when {
            *from_ms = 2;
        }
        let mut tracker = TriggerTracker::new(&[fault], Roles::default());
        tracker.observe(&elected(1_999_999, 3, 1));
        assert_eq!(tracker.next_due_ns(), None);
        tracker.observe(&elected(2_000_000, 4, 2));
        assert_eq!(tracker.next_due_ns(), Some(132_000_000));
    }

    #[test]
    fn what_does_not_happen_in_its_time_is_not_waited_for() {
        let mut fault = crash_of_the_leader(1);
        if let Trigger::After { from_ms, within_ms, .. } = &mut fault.when {
            (*from_ms, *within_ms) = (2, Some(10));
        }
        let faults = [fault];
        let mut late = TriggerTracker::new(&faults, Roles::default());
        assert_eq!(late.pop_due(12_000_000).map(|due| due.at_ns), Some(12_000_000));
        late.observe(&elected(13_000_000, 3, 1));
        assert_eq!(late.pop_due(1_000_000_000), None, "it has struck");
        let mut in_time = TriggerTracker::new(&faults, Roles::default());
        in_time.observe(&elected(11_000_000, 3, 1));
        assert_eq!(in_time.pop_due(u64::MAX).map(|due| due.at_ns), Some(141_000_000));
    }

    #[test]
    fn a_fault_behind_another_counts_from_its_strike() {
        let mut second = crash_of_the_leader(1);
        second.behind = Some(0);
        if let Trigger::After { from_ms, within_ms, .. } = &mut second.when {
            (*from_ms, *within_ms) = (5, Some(10));
        }
        let faults = [crash_of_the_leader(1), second];
        let mut tracker = TriggerTracker::new(&faults, Roles::default());
        tracker.observe(&elected(1_000_000, 3, 1));
        assert_eq!(tracker.never_triggered(), vec![1], "the same election is not counted twice");
        let first = Due { at_ns: 131_000_000, fault: 0, heals: false };
        assert_eq!(tracker.pop_due(131_000_000), Some(first));
        tracker.observe(&elected(135_000_000, 4, 2));
        assert_eq!(tracker.next_due_ns(), Some(146_000_000), "too early; the end of its time is what is left");
        tracker.observe(&elected(136_000_000, 5, 3));
        assert_eq!(tracker.next_due_ns(), Some(266_000_000));
    }

    #[test]
    fn another_partition_does_not_trigger() {
        let mut fault = crash_of_the_leader(1);
        if let Trigger::After { partition, .. } = &mut fault.when {
            *partition = parse_partition("other-0");
        }
        let mut tracker = TriggerTracker::new(&[fault], Roles::default());
        tracker.observe(&elected(1, 3, 1));
        assert_eq!(tracker.never_triggered(), vec![0]);
    }

    #[test]
    fn instants_come_in_order() {
        let at = |at_ms| FaultEvent {
            id: None,
            behind: None,
            when: Trigger::At { at_ms },
            action: Action::Pause { target: Target::Controller },
            for_ms: None,
        };
        let mut tracker = TriggerTracker::new(&[at(9), at(3)], Roles::default());
        assert_eq!(tracker.pop_due(u64::MAX).map(|due| due.fault), Some(1));
        assert_eq!(tracker.pop_due(u64::MAX).map(|due| due.fault), Some(0));
    }

    #[test]
    fn targets_follow_the_roles() {
        let mut tracker = TriggerTracker::new(&[], Roles::default());
        let target = |text: &str| text.parse::<Target>().expect(text);
        assert_eq!(tracker.roles.resolve(&target("leader(t-0)")), None);
        for node in [3, 4, 5] {
            tracker.observe(&opened(node));
        }
        tracker.observe(&elected(1, 4, 2));
        tracker.observe(&elected(2, 3, 1)); // a late report of an older epoch
        let term = CoordinatorEvent::Elected { server: ServerId(1), term: Term(3) };
        tracker.observe(&Observed { time_ns: 3, node: Node(0), incarnation: 1, event: Event::Coordinator(term) });
        assert_eq!(tracker.roles.resolve(&target("leader(t-0)")), Some(Node(4)));
        assert_eq!(tracker.roles.resolve(&target("follower(t-0, 0)")), Some(Node(3)));
        assert_eq!(tracker.roles.resolve(&target("follower(t-0, 1)")), Some(Node(5)));
        assert_eq!(tracker.roles.resolve(&target("coordinator-leader")), Some(Node(0)));
        assert_eq!(tracker.roles.resolve(&target("controller")), None);
    }
}
