//! What is known of the cluster as its clients meet it: which states of partitions were committed,
//! what brokers refused clients, and when faults and restarts disturbed whom.
//!
//! A refusal is a client's word for what came over its connection; states are those that the
//! coordinator confirmed; disturbances are the faults' own facts and the ends of processes. All of
//! it is in the order of time.

use std::collections::BTreeMap;
use std::sync::Arc;

use wyrdlog::base::event::Asked;
use wyrdlog::base::ids::{BrokerEpoch, BrokerId, TopicPartition};
use wyrdlog::base::partition_state::PartitionState;
use wyrdlog::wire::kafka::ErrorCode;

use crate::invariants::model::TopicConfig;
use crate::observed::{Left, Node};

/// What is left to do for a client once it has given a silent server up: a pause, another connection, a sync.
const ATTACHED_NS: u64 = 1_000_000_000;

/// A request that a broker refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When the client was told, in virtual nanoseconds.
    pub time_ns: u64,
    /// When it had asked.
    pub since_ns: u64,
    /// The client's machine.
    pub client: Node,
    /// Who refused.
    pub broker: BrokerId,
    /// What the request was about.
    pub partition: TopicPartition,
    /// What was asked.
    pub asked: Asked,
    /// The answer.
    pub error: ErrorCode,
}

/// A broker registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// When it ran as that incarnation, in virtual nanoseconds.
    pub time_ns: u64,
    /// Its machine.
    pub node: Node,
    /// The incarnation.
    pub broker_epoch: BrokerEpoch,
    /// Since which one nothing was lost that was written, as it says.
    pub written_since: BrokerEpoch,
}

/// A span in which a fault was at work, or a process was down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// When it began, in virtual nanoseconds.
    pub from_ns: u64,
    /// When it ended. What follows from it may last longer.
    pub to_ns: u64,
    /// Whom it hit.
    pub nodes: Vec<Node>,
}

/// See the module's doc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterHistory {
    /// Each partition's committed states, and since when.
    pub states: BTreeMap<TopicPartition, Vec<(u64, PartitionState)>>,
    /// What was refused.
    pub refused: Vec<Refused>,
    /// What disturbed, by its beginning. What a clock does disturbs nobody.
    pub disturbances: Vec<Disturbance>,
    /// When processes ended, by a fault.
    pub ended: Vec<(u64, Node)>,
    /// Processes that were told to stop in good order, and that nothing else struck about then.
    pub left: Vec<Left>,
    /// All that were told to.
    pub told: Vec<Left>,
    /// When machines lost power, with all that ran on them.
    pub cut: Vec<(u64, Node)>,
    /// When machines were given another disk.
    pub swapped: Vec<(u64, Node)>,
    /// When brokers registered, and what each said of its logs.
    pub registered: Vec<Registered>,
    /// When all faults were over, and when the run ended.
    pub healed_ns: u64,
    /// See above.
    pub ended_ns: u64,
    /// When the registrations of brokers went with their sessions, on the servers that applied it.
    pub unregistered: Vec<(u64, BrokerId)>,
    /// Which brokers said that they are the controller, and since when.
    pub controllers: Vec<(u64, Node)>,
    /// When a server of the ensemble led it for the first time.
    pub first_led_ns: Option<u64>,
    /// The machines of the coordinator's ensemble.
    pub ensemble: Vec<Node>,
    /// The brokers' machines.
    pub brokers: BTreeMap<BrokerId, Node>,
    /// The clients' machines.
    pub clients: Vec<Node>,
    /// What each topic was configured with.
    pub topics: BTreeMap<Arc<str>, TopicConfig>,
    /// `log.segment.bytes`.
    pub segment_bytes: u64,
    /// `zookeeper.session.timeout.ms`, in nanoseconds.
    pub session_timeout_ns: u64,
    /// For how long after a disturbance the cluster may still be busy with it, in nanoseconds.
    pub settle_ns: u64,
    /// How long a client of the coordinator may wait for a server that went silent: a third of the session
    /// time-out that it asked for.
    pub silence_ns: u64,
    /// How long brokers may take to make the directories of new partitions, one after the other.
    pub made_ns: u64,
    /// How long an answer may take while nothing disturbs, without a producer's linger, in nanoseconds.
    pub answer_ns: u64,
    /// `linger.ms` of the producers, in nanoseconds.
    pub linger_ns: u64,
    /// When the load ended.
    pub load_ends_ns: u64,
}

impl ClusterHistory {
    /// Takes a partition's state that was committed, or found, at `time_ns`.
    pub fn commit(&mut self, time_ns: u64, partition: &TopicPartition, state: &PartitionState) {
        let Some(states) = self.states.get_mut(partition) else {
            self.states.insert(partition.clone(), vec![(time_ns, state.clone())]);
            return;
        };
        if states.last().is_none_or(|(_, last)| last.partition_epoch < state.partition_epoch) {
            states.push((time_ns, state.clone()));
        }
    }

    /// The states of `partition` that were in force at some instant of a span. The first is missing
    /// where the partition is younger than the span.
    pub fn states_during<'h>(
        &'h self,
        partition: &TopicPartition,
        from_ns: u64,
        to_ns: u64,
    ) -> impl Iterator<Item = &'h (u64, PartitionState)> + use<'h> {
        let states = self.states.get(partition).map_or(&[][..], Vec::as_slice);
        let first = states.partition_point(|(at_ns, _)| *at_ns <= from_ns).saturating_sub(1);
        states[first..].iter().take_while(move |(at_ns, _)| *at_ns <= to_ns)
    }

    /// The stretches in which something disturbed the cluster or it was still busy with that, each
    /// from `before_ns` before its beginning on.
    #[must_use]
    pub fn disturbed(&self, before_ns: u64) -> Vec<(u64, u64)> {
        self.disturbed_until(before_ns, self.settle_ns)
    }

    fn disturbed_until(&self, before_ns: u64, settle_ns: u64) -> Vec<(u64, u64)> {
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for one in &self.disturbances {
            let (from_ns, to_ns) = (one.from_ns.saturating_sub(before_ns), one.to_ns.saturating_add(settle_ns));
            match merged.last_mut().filter(|last| last.1 >= from_ns) {
                Some(last) => last.1 = last.1.max(to_ns),
                None => merged.push((from_ns, to_ns)),
            }
        }
        merged
    }

    /// The stretches of time, from `from_ns` to the end of the load, in which nothing disturbed the
    /// cluster and what had disturbed it before has been overcome.
    #[must_use]
    pub fn calm(&self, from_ns: u64) -> Vec<(u64, u64)> {
        self.calm_settled(from_ns, self.settle_ns)
    }

    /// The same for clients of the coordinator: one whose server went silent while it attached may first have
    /// to wait for that in vain.
    #[must_use]
    pub fn calm_of_coordinator(&self, from_ns: u64) -> Vec<(u64, u64)> {
        self.calm_settled(from_ns, self.settle_ns.max(self.silence_ns + ATTACHED_NS))
    }

    fn calm_settled(&self, from_ns: u64, settle_ns: u64) -> Vec<(u64, u64)> {
        let (mut calm, mut from_ns) = (Vec::new(), from_ns);
        for (begin_ns, end_ns) in self.disturbed_until(0, settle_ns) {
            calm.push((from_ns, begin_ns.min(self.load_ends_ns)));
            from_ns = from_ns.max(end_ns);
        }
        calm.push((from_ns, self.load_ends_ns));
        calm.retain(|(from_ns, to_ns)| from_ns < to_ns);
        calm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_disturbances_and_what_follows_from_them_is_calm() {
        let disturbance = |from_ns, to_ns| Disturbance { from_ns, to_ns, nodes: Vec::new() };
        let disturbances = vec![disturbance(20, 30), disturbance(25, 26), disturbance(38, 60)];
        let history = ClusterHistory { disturbances, settle_ns: 5, load_ends_ns: 100, ..ClusterHistory::default() };
        assert_eq!(history.disturbed(0), vec![(20, 35), (38, 65)]);
        assert_eq!(history.disturbed(4), vec![(16, 65)]);
        assert_eq!(history.calm(10), vec![(10, 20), (35, 38), (65, 100)]);
        assert_eq!(history.calm(70), vec![(70, 100)]);
        assert_eq!(history.calm(100), vec![]);
        assert_eq!(history.calm_of_coordinator(0), vec![(0, 20)]);
    }

    #[test]
    fn a_state_is_in_force_until_the_next_is_committed() {
        let name = TopicPartition::new("t", 0);
        let mut history = ClusterHistory::default();
        for epoch in 0..3 {
            let state = PartitionState { partition_epoch: epoch, ..PartitionState::default() };
            history.commit(10 * epoch as u64 + 10, &name, &state);
            history.commit(10 * epoch as u64 + 11, &name, &state);
        }
        let during = |from_ns, to_ns| -> Vec<i32> {
            history.states_during(&name, from_ns, to_ns).map(|(_, state)| state.partition_epoch).collect()
        };
        assert_eq!(during(12, 19), vec![0]);
        assert_eq!(during(12, 20), vec![0, 1]);
        assert_eq!(during(20, 90), vec![1, 2]);
        assert_eq!(during(0, 9), Vec::<i32>::new());
    }
}
