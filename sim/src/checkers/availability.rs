//! *availability*: after healing, without restarting live processes, and within the session time-out +
//! the replica lag time + 5 s as drawn, **each partition** acknowledges an acks=all write, and again
//! every 2 s from then on; each producer gets through on each partition that it sends to; each consumer
//! reaches each partition's end; final reads reach the end that was ever exposed; in-sync sets are full,
//! replicas equal and begin where the leader did or later, coordinator digests agree.
//!
//! A partition past the fault budget promises none of this, and silences no other.
//!
//! False positives avoided: a partition to which nobody sent need not acknowledge; what is sent in the
//! last moments of the load need not be answered; a consumer whose own limits let a fetch bring a batch or two may
//! still be behind when the load ends, as long as it went on in each partition all the time (`swarm` seed 30008).
//! A broker that serves such a consumer more slowly than it could passes.

use std::collections::BTreeMap;

use wyrdlog::base::ids::TopicPartition;

use crate::history::kafka::{Call, KafkaHistory, PartitionIndex, Reply};
use crate::history::{Client, Outcome};
use crate::observed::{Node, seconds};
use crate::verdict::{Findings, Property};

/// What a healed cluster has besides session time-out and replica lag time, in virtual milliseconds.
pub const BOUND_MS: u64 = 5_000;
/// After that, each partition acknowledges something within so long, in virtual nanoseconds.
pub const AGAIN_WITHIN_NS: u64 = 2_000_000_000;
/// Each client completes at least so many operations on the coordinator once all is healed: no pause of
/// the workload is longer then than 0.8 s.
pub const OPERATIONS_MIN: u32 = 20;

/// What the liveness phase saw by its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AfterHealing {
    /// When the last fault was healed.
    pub healed_ns: u64,
    /// When what is promised after healing has to hold.
    pub bound_ns: u64,
    /// When processes stopped since healing: for damage that a fault left behind, which somebody came upon.
    pub stopped_ns: Vec<u64>,
    /// When the load ended.
    pub load_ends_ns: u64,
    /// When all below was looked at.
    pub seen_ns: u64,
    /// How many operations each client of the coordinator completed since healing, without an error.
    pub completed: BTreeMap<Client, u32>,
    /// Whether the consumers' own limits let a fetch bring little.
    pub fetches_little: bool,
    /// Each partition's state.
    pub partitions: Vec<PartitionHealth>,
    /// Each coordinator server's last applied index and state digest, once load has ceased.
    pub coordinators: Vec<(Node, u64, u64)>,
}

/// One partition after healing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionHealth {
    /// Which.
    pub partition: TopicPartition,
    /// How many replicas it has.
    pub replicas: usize,
    /// How many of them are in the in-sync set.
    pub in_sync: usize,
    /// Whether it has a leader.
    pub has_leader: bool,
    /// Each replica's log end and a digest of its log from the highest log start of all on, once load
    /// has ceased.
    pub logs: Vec<(Node, i64, u64)>,
    /// The offset below which everything had been exposed at the bound: every consumer reads it.
    pub exposed_at_bound: i64,
    /// The log start of the leader at the bound: no replica begins below it in the end.
    pub start_at_bound: i64,
    /// Each replica's log start, once load has ceased.
    pub starts: Vec<(Node, i64)>,
}

/// Judges the liveness phase: the states of the cluster, and what its clients did.
#[must_use]
pub fn check(seen: &AfterHealing, history: &KafkaHistory) -> Findings {
    let mut findings = Findings::new(Property::Availability);
    let at = seen.seen_ns;
    for (client, completed) in &seen.completed {
        findings.check(*completed >= OPERATIONS_MIN, at, [], || {
            format!(
                "client {client} completed {completed} operations on the coordinator since healing, fewer than {OPERATIONS_MIN}"
            )
        });
    }
    for (index, name) in (0..).zip(&history.partitions) {
        if history.is_beyond(index) {
            continue;
        }
        let health = seen.partitions.iter().find(|health| health.partition == *name);
        findings.check(health.is_some(), at, [], || format!("{name} was never created"));
        if let Some(health) = health {
            check_partition(&mut findings, at, health);
            check_clients(&mut findings, seen, history, index, health);
        }
    }
    for pair in seen.coordinators.windows(2) {
        findings.check((pair[0].1, pair[0].2) == (pair[1].1, pair[1].2), at, [], || {
            format!("coordinators differ after healing: {:?}", seen.coordinators)
        });
    }
    findings
}

fn check_partition(findings: &mut Findings, at: u64, health: &PartitionHealth) {
    let name = &health.partition;
    findings.check(health.has_leader, at, [], || format!("{name} has no leader after healing"));
    findings.check(health.in_sync == health.replicas, at, [], || {
        format!("{name} has {} of {} replicas in sync after healing", health.in_sync, health.replicas)
    });
    let equal = health.logs.windows(2).all(|pair| (pair[0].1, pair[0].2) == (pair[1].1, pair[1].2));
    findings.check(equal, at, [], || format!("replicas of {name} differ after healing: {:?}", health.logs));
    let follow = health.starts.iter().all(|(_, start)| *start >= health.start_at_bound);
    findings.check(follow, at, [], || {
        let (start, starts) = (health.start_at_bound, &health.starts);
        format!("replicas of {name} begin at {starts:?}, although the leader began at {start} long before")
    });
}

/// A send of the liveness phase.
struct Send {
    op: u64,
    client: Client,
    invoked_ns: u64,
    acked_ns: Option<u64>,
    ended_ns: Option<u64>,
    acks: i16,
}

fn check_clients(
    findings: &mut Findings,
    seen: &AfterHealing,
    history: &KafkaHistory,
    index: PartitionIndex,
    health: &PartitionHealth,
) {
    let sends = sends_after(history, index, seen.healed_ns);
    acknowledges(findings, seen, &sends, health);
    let mut through: BTreeMap<Client, bool> = BTreeMap::new();
    // What was given up before the bound says nothing of what is promised from then on.
    let counts = |send: &&Send| send.acked_ns.is_some() || send.ended_ns.is_none_or(|at_ns| at_ns >= seen.bound_ns);
    for send in sends.iter().filter(|send| send.acks != 0 && seen.must_answer(send.invoked_ns)).filter(counts) {
        *through.entry(send.client).or_default() |= send.acked_ns.is_some();
    }
    for (client, through) in through {
        let (name, since) = (&health.partition, seconds(seen.healed_ns));
        findings.check(through, seen.load_ends_ns, [], || {
            format!("the producer of client {client} did not get through on {name} since {since}")
        });
    }
    consumers_reach_the_end(findings, seen, history, index, health);
}

impl AfterHealing {
    /// By when a send of the liveness phase has to be answered. A process that stops meanwhile begins the bound anew.
    fn due_ns(&self, invoked_ns: u64) -> u64 {
        let due_ns = self.bound_ns.max(invoked_ns) + AGAIN_WITHIN_NS;
        let again_ns = self.bound_ns.saturating_sub(self.healed_ns) + AGAIN_WITHIN_NS;
        let is_waited_for = |stopped_ns: &u64| (invoked_ns.saturating_sub(again_ns)..=due_ns).contains(stopped_ns);
        let stopped = self.stopped_ns.iter().copied().filter(is_waited_for);
        stopped.map(|stopped_ns| stopped_ns + again_ns).fold(due_ns, u64::max)
    }

    /// Whether these instants leave no long gap from the bound to the end of the load.
    fn is_often(&self, times_ns: &[u64]) -> bool {
        let ends = [self.bound_ns, self.load_ends_ns];
        let all = ends[..1].iter().chain(times_ns).chain(&ends[1..]).copied().collect::<Vec<u64>>();
        all.windows(2).all(|pair| pair[1] <= pair[0] + AGAIN_WITHIN_NS || pair[1] <= self.due_ns(pair[0]))
    }

    fn must_answer(&self, invoked_ns: u64) -> bool {
        self.due_ns(invoked_ns) <= self.load_ends_ns
    }
}

fn sends_after(history: &KafkaHistory, index: PartitionIndex, from_ns: u64) -> Vec<Send> {
    let sends = (0..).zip(&history.operations).filter_map(|(op, operation)| match operation.call {
        Call::Send { partition, acks, .. } if partition == index && operation.invoked_ns >= from_ns => {
            let acked = matches!(operation.outcome, Outcome::Ok(Reply::Sent { .. }));
            let acked_ns = operation.completed_ns.filter(|_| acked);
            let (client, invoked_ns, ended_ns) = (operation.client, operation.invoked_ns, operation.completed_ns);
            Some(Send { op, client, invoked_ns, acked_ns, ended_ns, acks })
        }
        _ => None,
    });
    sends.collect()
}

/// While somebody waits for acks=all, something is acknowledged.
fn acknowledges(findings: &mut Findings, seen: &AfterHealing, sends: &[Send], health: &PartitionHealth) {
    let mut acked: Vec<u64> = sends.iter().filter(|send| send.acks == -1).filter_map(|send| send.acked_ns).collect();
    acked.sort_unstable();
    for send in sends.iter().filter(|send| send.acks == -1 && seen.must_answer(send.invoked_ns)) {
        let due_ns = seen.due_ns(send.invoked_ns);
        let next = acked.partition_point(|at_ns| *at_ns < send.invoked_ns);
        let holds = acked.get(next).is_some_and(|at_ns| *at_ns <= due_ns);
        findings.check(holds, due_ns, [send.op], || {
            let (name, client, from) = (&health.partition, send.client, seconds(send.invoked_ns));
            format!(
                "{name} acknowledged nothing with acks=all between {from}, when client {client} sent to it, and {}",
                seconds(due_ns)
            )
        });
    }
}

fn consumers_reach_the_end(
    findings: &mut Findings,
    seen: &AfterHealing,
    history: &KafkaHistory,
    index: PartitionIndex,
    health: &PartitionHealth,
) {
    let (mut reached, mut read_at_last): (BTreeMap<Client, (i64, Vec<u64>)>, i64) = (BTreeMap::new(), 0);
    for operation in &history.operations {
        match operation.call {
            Call::Poll { partition, last_phase, .. } if partition == index => {
                let next = history.polled(operation).iter().map(|(offset, _)| offset + 1).max().unwrap_or(0);
                if last_phase {
                    read_at_last = read_at_last.max(next);
                } else {
                    let (reached, times) = reached.entry(operation.client).or_default();
                    *reached = next.max(*reached);
                    times.extend(operation.completed_ns.filter(|at_ns| *at_ns > seen.bound_ns));
                }
            }
            // It has a consumer, whatever that has read.
            Call::Reposition { partition } if partition == index && operation.invoked_ns < seen.load_ends_ns => {
                reached.entry(operation.client).or_default();
            }
            _ => {}
        }
    }
    let name = &health.partition;
    let wanted = health.exposed_at_bound;
    if wanted > history.log_start(index) {
        for (client, (reached, times)) in reached {
            let goes_on = || seen.fetches_little && seen.is_often(&times);
            findings.check(reached >= wanted || goes_on(), seen.load_ends_ns, [], || {
                format!("client {client} has read {name} up to {reached}, although {wanted} was exposed long before")
            });
        }
    }
    let exposed = history.expected.get(&index).map_or(0, |expected| expected.exposed);
    if history.has_final_reads && exposed > history.log_start(index) {
        findings.check(read_at_last >= exposed, seen.seen_ns, [], || {
            format!("the final read of {name} came up to {read_at_last}, although {exposed} was exposed")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::kafka::Expected;

    const S: u64 = 1_000_000_000;

    struct Healed {
        seen: AfterHealing,
        script: Script,
    }

    impl Healed {
        /// Faults end at 10 s, the bound is 15 s, the load ends at 25 s; a send a second, and a consumer
        /// that reads all.
        fn new() -> Self {
            let logs = vec![(Node(3), 30, 77), (Node(4), 30, 77)];
            let partition = TopicPartition::new("t", 0);
            let health = PartitionHealth {
                partition,
                replicas: 2,
                in_sync: 2,
                has_leader: true,
                logs,
                exposed_at_bound: 15,
                start_at_bound: 3,
                starts: vec![(Node(2), 3), (Node(3), 4)],
            };
            let seen = AfterHealing {
                healed_ns: 10 * S,
                bound_ns: 15 * S,
                stopped_ns: Vec::new(),
                load_ends_ns: 25 * S,
                seen_ns: 30 * S,
                completed: BTreeMap::from([(4, 20)]),
                fetches_little: false,
                partitions: vec![health],
                coordinators: vec![(Node(0), 5, 9), (Node(1), 5, 9)],
            };
            let mut healed = Healed { seen, script: Script::new() };
            healed.script.history.has_final_reads = true;
            healed.script.history.expected.insert(0, Expected { exposed: 24, ..Expected::default() });
            healed
        }

        fn send(&mut self, second: u64, acked: bool) {
            let call = Call::Send { partition: 0, value: second, acks: -1, idempotent: Some(1) };
            let op = self.script.history.invoke(0, second * S, call);
            if acked {
                let reply = Outcome::Ok(Reply::Sent { offset: Some(second as i64) });
                self.script.history.complete(op, second * S + 1, reply);
            }
        }

        fn sends(mut self, acked: impl Fn(u64) -> bool) -> Self {
            (0..24).for_each(|second| self.send(second, acked(second)));
            self
        }

        fn reads(mut self, up_to: i64, at_last: i64) -> Self {
            self.script.seek(1);
            self.script.poll(1, 0, false, &[(0, 0), (up_to - 1, up_to as u64 - 1)]);
            self.script.poll(0, 0, true, &[(0, 0), (at_last - 1, at_last as u64 - 1)]);
            self
        }

        fn violated(&self) -> u64 {
            check(&self.seen, &self.script.history).violated
        }
    }

    #[test]
    fn a_healthy_cluster_is_accepted_whatever_happened_before_the_bound() {
        let healed = Healed::new().sends(|second| second >= 15).reads(24, 24);
        let findings = check(&healed.seen, &healed.script.history);
        assert!(findings.passed(), "{:?}", findings.violations);
    }

    #[test]
    fn a_partition_that_acknowledges_nothing_is_rejected_and_one_that_pauses_again_too() {
        assert!(Healed::new().sends(|_| false).reads(24, 24).violated() > 0);
        assert!(Healed::new().sends(|second| !(18..=21).contains(&second)).reads(24, 24).violated() > 0);
    }

    /// A broker came upon rot seven seconds after all was healed, and stopped; it was followed within its session
    /// (`swarm` seed 1361, once it called the rot by its name).
    #[test]
    fn a_process_that_stops_for_damage_begins_the_bound_anew_and_no_longer_than_that() {
        let pauses = |stopped_s: u64, until_s: u64| {
            let mut healed = Healed::new().sends(|second| !(17..until_s).contains(&second)).reads(24, 24);
            healed.seen.stopped_ns = vec![stopped_s * S + 1];
            healed.violated()
        };
        assert_eq!([pauses(17, 21), pauses(17, 22)], [0; 2]);
        assert!(pauses(9, 21) > 0, "it was long over");
        let mut silent = Healed::new().sends(|second| second < 17).reads(17, 17);
        (silent.seen.load_ends_ns, silent.seen.stopped_ns) = (60 * S, vec![17 * S + 1]);
        assert!(silent.violated() > 0);
    }

    /// A batch that was begun under faults was given up 40 ms before the partition was led again (`swarm`
    /// seed 455); it was all that the client sent to it.
    #[test]
    fn a_producer_that_gave_up_before_the_bound_is_accepted_and_one_that_did_so_after_it_is_not() {
        let given_up = |second: u64| {
            let mut healed = Healed::new().sends(|_| true).reads(24, 24);
            let call = Call::Send { partition: 0, value: 100, acks: -1, idempotent: Some(2) };
            let op = healed.script.history.invoke(3, 11 * S, call);
            healed.script.history.complete(op, second * S, Outcome::Failed);
            healed.violated()
        };
        assert_eq!((given_up(14), given_up(16)), (0, 1));
    }

    #[test]
    fn a_consumer_and_a_final_read_that_stop_before_the_end_are_rejected() {
        assert_eq!(Healed::new().sends(|_| true).reads(14, 24).violated(), 1);
        assert_eq!(Healed::new().sends(|_| true).reads(24, 23).violated(), 1);
    }

    #[test]
    fn a_consumer_that_fetches_little_has_to_go_on_where_it_does_not_come_to_the_end() {
        let slow = |fetches_little: bool, without: u64| {
            let mut healed = Healed::new().sends(|_| true).reads(3, 24);
            (healed.seen.fetches_little, healed.seen.partitions[0].exposed_at_bound) = (fetches_little, 20);
            for second in (15..25).filter(|second| second / 2 != without / 2) {
                let call = Call::Poll { partition: 0, from: second as i64 - 10, last_phase: false };
                let op = healed.script.history.invoke(1, second * S, call);
                healed.script.history.complete_poll(op, second * S + S / 10, [(second as i64 - 10, second - 10)]);
            }
            healed.violated()
        };
        assert_eq!((slow(true, 0), slow(false, 0), slow(true, 20)), (0, 1, 1));
    }

    #[test]
    fn a_consumer_that_never_read_anything_is_rejected() {
        let mut healed = Healed::new().sends(|_| true).reads(24, 24);
        healed.script.history.invoke(7, S, Call::Reposition { partition: 0 });
        assert_eq!(healed.violated(), 1);
    }

    #[test]
    fn a_partition_past_the_budget_promises_nothing() {
        let mut healed = Healed::new().sends(|_| false).reads(3, 3);
        healed.script.history.expected.insert(0, Expected { beyond_since_ns: Some(1), ..Expected::default() });
        assert_eq!(healed.violated(), 0);
    }

    #[test]
    fn each_way_to_stay_ill_is_rejected() {
        let ways: [fn(&mut AfterHealing); 7] = [
            |seen| seen.completed.extend([(4, 19)]),
            |seen| seen.partitions[0].in_sync = 1,
            |seen| seen.partitions[0].has_leader = false,
            |seen| seen.partitions[0].logs[1].2 = 78,
            |seen| seen.partitions[0].starts[1].1 = 2,
            |seen| seen.coordinators[1].2 = 8,
            |seen| seen.partitions.clear(),
        ];
        for way in ways {
            let mut healed = Healed::new().sends(|_| true).reads(24, 24);
            way(&mut healed.seen);
            assert_eq!(healed.violated(), 1, "{:?}", healed.seen);
        }
    }
}
