//! *availability* while nothing is wrong: where no fault is at work, none is being overcome, and every
//! topic is there, a request is answered, and soon. So it is in the warm-up, in the liveness phase
//! behind its bound, and wherever a schedule leaves the cluster alone for long enough.
//!
//! The bound has an argument: the shortest time-out that could bring forward what is stuck is 500 ms (an
//! election, `fetch.max.wait.ms`), so that an answer which waits for one is late; what is left is a
//! producer's linger and some round trips and syncs, as drawn. A correct product showed no unknown
//! outcome in a calm stretch of 65 seeds of `standard`, `young` and `swarm` each, and 192 ms at most.
//!
//! A producer sends to a partition in order: a send's time begins when the one before it was answered. One that is
//! asked for more than its limits let it send falls behind without end, and is no slower for it (`swarm` seed 31363).
//!
//! What brokers refuse is judged by the codes (`broker_refusal.rs`).
//!
//! False positives avoided: the first second of a topic; sends whose producer was given up, or that
//! its own limits refused (the history has them as failed); what the calm does not outlast; sends of a
//! producer that holds records for a partition past the budget, which nobody leads: they have their part
//! of its one buffer until they time out, and it may be full (`swarm` seed 90). That could hide a producer
//! that waits for one partition before it serves the next; wherever a partition is within the budget, its
//! progress is still asked for.

use std::collections::BTreeMap;

use crate::history::cluster::ClusterHistory;
use crate::history::coordinator::CoordinatorHistory;
use crate::history::kafka::{Call, KafkaHistory, PartitionIndex, Reply};
use crate::history::{Client, OpId, Operation, Outcome};
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

/// For so long after it was formed, or its topics were made, a cluster may still be busy with that.
const YOUNG_NS: u64 = 1_000_000_000;

/// Asks of each request of a calm stretch whether and when it was answered.
#[must_use]
pub fn check(met: &ClusterHistory, log: &KafkaHistory, registers: &CoordinatorHistory) -> Findings {
    let mut findings = Findings::new(Property::Availability);
    for (op, due_ns) in judged_sends(met, log) {
        let operation = &log.operations[op as usize];
        let name = log.name(operation.call.partition());
        judge(&mut findings, op, operation, due_ns, || format!("a send to {name}"));
    }
    let calm = met.first_led_ns.map_or(Vec::new(), |led_ns| met.calm_of_coordinator(led_ns + YOUNG_NS));
    for (op, operation) in (0..).zip(&registers.operations) {
        if outlasts(&calm, operation.invoked_ns, met.answer_ns) {
            let what = || format!("{:?} of the coordinator", operation.call.call);
            judge(&mut findings, op, operation, operation.invoked_ns + met.answer_ns, what);
        }
    }
    findings
}

/// The sends that have to be answered, and by when.
#[must_use]
pub fn judged_sends(met: &ClusterHistory, log: &KafkaHistory) -> Vec<(OpId, u64)> {
    let (calm, patience_ns) = (calm_of_log(met, log), met.answer_ns + met.linger_ns);
    let held = held_for_nobody(log);
    let is_free = |operation: &Operation<Call, Reply>, due_ns: u64| {
        let held = held.get(&operation.client).map_or(&[][..], Vec::as_slice);
        held.iter().all(|(from_ns, to_ns)| *to_ns < operation.invoked_ns || due_ns < *from_ns)
    };
    let mut before: BTreeMap<(Client, PartitionIndex), u64> = BTreeMap::new();
    let mut judged = Vec::new();
    for (op, operation) in (0..).zip(&log.operations) {
        if !matches!(operation.call, Call::Send { .. }) || log.given_up.contains(&op) {
            continue;
        }
        let answered_ns = operation.completed_ns.unwrap_or(u64::MAX);
        let line = (operation.client, operation.call.partition());
        let first_ns = before.insert(line, answered_ns).unwrap_or(0).max(operation.invoked_ns);
        let Some(due_ns) = first_ns.checked_add(patience_ns) else { continue };
        if is_judged(log, operation, &calm, due_ns) && is_free(operation, due_ns) {
            judged.push((op, due_ns));
        }
    }
    judged
}

/// Between when each client's producer had records of a partition past the budget in its buffer.
fn held_for_nobody(log: &KafkaHistory) -> BTreeMap<Client, Vec<(u64, u64)>> {
    let mut held = BTreeMap::<Client, Vec<(u64, u64)>>::new();
    let sends = log.operations.iter().filter(|operation| matches!(operation.call, Call::Send { .. }));
    for send in sends.filter(|send| log.is_beyond(send.call.partition())) {
        let (from_ns, to_ns) = (send.invoked_ns, send.completed_ns.unwrap_or(u64::MAX));
        let held = held.entry(send.client).or_default();
        match held.last_mut() {
            Some((_, last_ns)) if from_ns <= *last_ns => *last_ns = to_ns.max(*last_ns),
            _ => held.push((from_ns, to_ns)),
        }
    }
    held
}

fn calm_of_log(met: &ClusterHistory, log: &KafkaHistory) -> Vec<(u64, u64)> {
    let created_ns = |name| met.states.get(name).and_then(|states| states.first()).map(|(at_ns, _)| *at_ns);
    let created_ns: Option<Vec<u64>> = log.partitions.iter().map(created_ns).collect();
    created_ns
        .and_then(|all| all.into_iter().max())
        .map_or(Vec::new(), |last_ns| met.calm(last_ns + met.made_ns + YOUNG_NS))
}

fn is_judged(log: &KafkaHistory, send: &Operation<Call, Reply>, calm: &[(u64, u64)], due_ns: u64) -> bool {
    send.outcome != Outcome::Failed
        && !log.is_beyond(send.call.partition())
        && outlasts(calm, send.invoked_ns, due_ns - send.invoked_ns)
}

fn outlasts(calm: &[(u64, u64)], from_ns: u64, patience_ns: u64) -> bool {
    let next = calm.partition_point(|(_, to_ns)| *to_ns < from_ns + patience_ns);
    calm.get(next).is_some_and(|(begin_ns, _)| *begin_ns <= from_ns)
}

fn judge<C, R>(findings: &mut Findings, op: OpId, operation: &Operation<C, R>, due_ns: u64, what: impl Fn() -> String) {
    let is_known = !matches!(operation.outcome, Outcome::Unknown);
    let answered_ns = operation.completed_ns.filter(|_| is_known);
    findings.check(answered_ns.is_some_and(|at_ns| at_ns <= due_ns), due_ns, [u64::from(op)], || {
        let (client, from) = (operation.client, seconds(operation.invoked_ns));
        let (until, then) = (seconds(due_ns), operation.completed_ns.map_or("never".to_owned(), seconds));
        let known = if is_known { "" } else { ", and only that nobody knows" };
        format!(
            "op {op}: {} by client {client} at {from} was to be answered by {until}, as nothing disturbed the cluster: answered {then}{known}",
            what()
        )
    });
}

#[cfg(test)]
mod tests {
    use super::super::linearizability::examples as registers;
    use super::super::sightings::examples::Script;
    use super::*;
    use crate::history::cluster::Disturbance;
    use crate::history::kafka::Expected;
    use wyrdlog::base::partition_state::PartitionState;

    const MS: u64 = 1_000_000;

    /// A topic that is made at 1 s, a fault from 10 s to 12 s, and answers within 300 ms.
    fn met(script: &Script) -> ClusterHistory {
        let mut met = ClusterHistory {
            disturbances: vec![Disturbance { from_ns: 10_000 * MS, to_ns: 12_000 * MS, nodes: Vec::new() }],
            first_led_ns: Some(500 * MS),
            settle_ns: 5_000 * MS,
            answer_ns: 300 * MS,
            load_ends_ns: 30_000 * MS,
            ..ClusterHistory::default()
        };
        met.commit(1_000 * MS, &script.history.partitions[0], &PartitionState::default());
        met
    }

    fn send(at_ms: u64, took_ms: Option<u64>, outcome: Outcome<Reply>) -> Findings {
        let mut script = Script::new();
        let call = Call::Send { partition: 0, value: 1, acks: -1, idempotent: Some(1) };
        let op = script.history.invoke(0, at_ms * MS, call);
        if let Some(took_ms) = took_ms {
            script.history.complete(op, (at_ms + took_ms) * MS, outcome);
        }
        check(&met(&script), &script.history, &CoordinatorHistory::default())
    }

    #[test]
    fn a_request_that_is_answered_soon_is_accepted() {
        let sent = Outcome::Ok(Reply::Sent { offset: Some(0) });
        assert!(send(3_000, Some(299), sent.clone()).passed());
        assert!(send(20_000, Some(20), sent).passed());
    }

    #[test]
    fn a_request_that_is_answered_late_or_never_or_with_nothing_known_is_rejected_where_it_is_calm() {
        let sent = Outcome::Ok(Reply::Sent { offset: Some(0) });
        for at_ms in [3_000, 9_000, 17_500, 29_000] {
            assert_eq!(send(at_ms, Some(301), sent.clone()).violated, 1, "{at_ms}");
            assert_eq!(send(at_ms, None, sent.clone()).violated, 1, "{at_ms}");
            assert_eq!(send(at_ms, Some(10), Outcome::Unknown).violated, 1, "{at_ms}");
        }
        for at_ms in [1_500, 9_900, 11_000, 16_900, 29_900] {
            assert_eq!(send(at_ms, None, sent.clone()).evaluations, 0, "{at_ms}");
        }
    }

    #[test]
    fn a_send_is_late_by_when_the_one_before_it_was_answered() {
        let sends = |took_ms: [u64; 3]| {
            let mut script = Script::new();
            for (value, took_ms) in (1..).zip(took_ms) {
                let call = Call::Send { partition: 0, value, acks: -1, idempotent: Some(1) };
                let op = script.history.invoke(0, 20_000 * MS, call);
                let sent = Outcome::Ok(Reply::Sent { offset: Some(value as i64) });
                script.history.complete(op, (20_000 + took_ms) * MS, sent);
            }
            check(&met(&script), &script.history, &CoordinatorHistory::default()).violated
        };
        assert_eq!([sends([300, 600, 900]), sends([300, 601, 901]), sends([301, 302, 303])], [0, 1, 1]);
    }

    #[test]
    fn a_producer_that_holds_records_for_a_partition_past_the_budget_may_be_slow() {
        for (at_ms, other, evaluations) in [(2_900, 0, 0), (3_200, 0, 0), (2_900, 1, 1), (3_400, 0, 1)] {
            let mut script = Script::new();
            script.history.partitions.push(wyrdlog::base::ids::TopicPartition::new("lost", 0));
            let lost = Expected { beyond_since_ns: Some(1), ..Expected::default() };
            script.history.expected.insert(1, lost);
            let send = |partition| Call::Send { partition, value: 1, acks: -1, idempotent: Some(1) };
            let mut invoked = [(3_000, 0, 0), (at_ms, other, 1)];
            invoked.sort_unstable();
            for (at_ms, client, partition) in invoked {
                script.history.invoke(client, at_ms * MS, send(partition));
            }
            let mut met = met(&script);
            met.commit(1_000 * MS, &script.history.partitions[1], &PartitionState::default());
            let findings = check(&met, &script.history, &CoordinatorHistory::default());
            assert_eq!(findings.evaluations, evaluations, "held from {at_ms} ms by client {other}");
        }
    }

    #[test]
    fn what_a_producer_refuses_itself_and_what_was_given_up_is_no_answer_of_a_broker() {
        assert_eq!(send(3_000, Some(9_000), Outcome::Failed).evaluations, 0);
        let mut script = Script::new();
        let call = Call::Send { partition: 0, value: 1, acks: -1, idempotent: Some(1) };
        let op = script.history.invoke(0, 3_000 * MS, call);
        script.history.given_up.insert(op);
        assert_eq!(check(&met(&script), &script.history, &CoordinatorHistory::default()).evaluations, 0);
    }

    #[test]
    fn the_coordinator_answers_soon_too() {
        for (took_ms, violated) in [(299, 0), (301, 1)] {
            let mut script = registers::Script::new();
            script.ok(
                2_000 * MS,
                (2_000 + took_ms) * MS,
                registers::create(0, 10),
                crate::history::coordinator::Answer::Done,
                1,
            );
            let findings = check(&met(&Script::new()), &KafkaHistory::default(), &script.history);
            assert_eq!((findings.evaluations, findings.violated), (1, violated));
        }
    }
}
