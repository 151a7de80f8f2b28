//! Edits of what clients met: answers, refusals, elections and lookups.

use wyrdlog::base::ids::TopicPartition;
use wyrdlog::base::partition_state::PartitionState;
use wyrdlog::wire::kafka::ErrorCode;

use super::Record;
use crate::checkers::offset_for_time::may_be_stale;
use crate::checkers::sightings::Sightings;
use crate::checkers::{calm, failover, steady_leaders};
use crate::draw::Draw;
use crate::history::cluster::ClusterHistory;
use crate::history::effort::EffortHistory;
use crate::history::kafka::{Call, KafkaHistory, Reply};
use crate::history::{OpId, Outcome};

/// A send that nothing disturbed, and of which nobody knows what became.
pub(super) fn drop_answer(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let (op, _) = *draw.pick(&calm::judged_sends(&record.met, &record.kafka))?;
    record.kafka.operations[op as usize].outcome = Outcome::Unknown;
    Some(())
}

/// A refusal of a partition of which something is promised.
pub(super) fn corrupt_refusal(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let Record { met, kafka, .. } = record;
    let is_beyond = |name| (0..).zip(&kafka.partitions).any(|(index, one)| one == name && kafka.is_beyond(index));
    let of_promised = (0..met.refused.len()).filter(|at| !is_beyond(&met.refused[*at].partition));
    let at = *draw.pick(&of_promised.collect::<Vec<_>>())?;
    met.refused[at].error = ErrorCode::UnknownServerError;
    Some(())
}

/// An election that was due does not come in time.
pub(super) fn stall_failover(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let due = failover::due(&record.met, &record.kafka);
    let (ended_ns, index, until_ns) = *draw.pick(&due)?;
    let name = record.kafka.partitions.get(usize::from(index))?;
    record.met.states.get_mut(name)?.retain(|(at_ns, _)| *at_ns <= ended_ns || *at_ns > until_ns);
    Some(())
}

/// A broker that stops in good order is followed only once it has ended.
pub(super) fn stall_hand_over(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let due = failover::handed_over(&record.met, &record.kafka);
    let (told_ns, index, _, until_ns) = *draw.pick(&due)?;
    let name = record.kafka.partitions.get(usize::from(index))?;
    for (at_ns, _) in record.met.states.get_mut(name)? {
        if (told_ns + 1..=until_ns).contains(at_ns) {
            *at_ns = until_ns + 1;
        }
    }
    Some(())
}

/// When the load ends, a leader that nothing has struck of late is gone.
pub(super) fn drop_leader(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let Record { met, kafka, .. } = record;
    let at_ns = met.load_ends_ns;
    let is_steady = |state: &PartitionState| {
        let node = state.leader.and_then(|leader| met.brokers.get(&leader));
        node.is_some_and(|node| !steady_leaders::is_struck(met, *node, at_ns))
    };
    let last = |name: &TopicPartition| met.states.get(name)?.last().map(|(_, state)| state.clone());
    let promised = (0..).zip(&kafka.partitions).filter(|(index, _)| !kafka.is_beyond(*index));
    let led = promised.filter_map(|(_, name)| Some((name.clone(), last(name).filter(is_steady)?)));
    let (name, mut state) = draw.pick(&led.collect::<Vec<_>>())?.clone();
    state.leader = None;
    state.leader_epoch.0 += 1;
    state.partition_epoch += 1;
    met.commit(at_ns, &name, &state);
    Some(())
}

/// A lookup that found a record which somebody had seen before.
pub(super) fn drop_lookup(met: &ClusterHistory, history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let seen = Sightings::of(history).promised(history);
    let was_seen = |op: &OpId| {
        let operation = &history.operations[*op as usize];
        let (Call::OffsetForTime { partition, timestamp_ms }, Some(Reply::OffsetFound { offset: Some(found) })) =
            (operation.call, operation.reply())
        else {
            return false;
        };
        if may_be_stale(met, history, operation) {
            return false;
        }
        let is_young = |value| history.timestamps.get(&value).is_some_and(|at_ms| *at_ms >= timestamp_ms);
        let log_start = history.log_start_at(partition, operation.ended_ns());
        let mut of_partition = seen.of_partition(partition).iter();
        of_partition.any(|one| {
            one.offset == *found && one.offset >= log_start && one.time_ns < operation.invoked_ns && is_young(one.value)
        })
    };
    let found: Vec<OpId> = (0..history.operations.len() as OpId).filter(was_seen).collect();
    let op = *draw.pick(&found)?;
    history.operations[op as usize].outcome = Outcome::Ok(Reply::OffsetFound { offset: None });
    Some(())
}

/// A server's busiest second becomes that of a storm.
pub(super) fn repeat_work(history: &mut EffortHistory, draw: &mut Draw) -> Option<()> {
    let at = draw.below(history.servers.len().max(1) as u64) as usize;
    let server = history.servers.get_mut(at)?;
    let second = server.seconds.iter_mut().max_by_key(|second| second.sends)?;
    (second.sends, second.connects) = (50 * second.sends + 50_000, 50 * second.connects);
    Some(())
}

#[cfg(test)]
pub(super) mod examples {
    use super::*;
    use crate::checkers::broker_refusal::examples::{S, met, refused, state};
    use crate::history::cluster::Disturbance;
    use crate::observed::{Left, Node};
    use wyrdlog::base::event::Asked;

    /// A send in a calm stretch, a lookup, a legal refusal, a leader that ends and is followed by
    /// another, and one that hands over before it stops.
    pub fn add(log: &mut KafkaHistory) -> ClusterHistory {
        let mut met = met();
        let name = log.partitions[0].clone();
        for other in &log.partitions[1..] {
            met.commit(S, other, &state(0, 3, &[1, 2, 3]));
        }
        met.refused.push(refused(S + 2_000, Asked::ListOffsets, ErrorCode::NotLeaderOrFollower));
        met.controllers.push((S, Node(3)));
        met.left.push(Left { told_ns: 28 * S, ended_ns: Some(28 * S + S / 2), node: Node(2) });
        met.ended.push((20 * S, Node(1)));
        met.disturbances.push(Disturbance { from_ns: 20 * S, to_ns: 30 * S, nodes: vec![Node(1)] });
        met.disturbances.push(Disturbance { from_ns: 28 * S, to_ns: 28 * S, nodes: vec![Node(2)] });
        met.commit(23 * S, &name, &state(1, 2, &[2, 3]));
        met.commit(28 * S + S / 4, &name, &state(2, 3, &[2, 3]));
        let call = Call::Send { partition: 0, value: 106, acks: -1, idempotent: Some(1) };
        let op = log.invoke(0, 10 * S, call);
        log.complete(op, 10 * S + 1, Outcome::Ok(Reply::Sent { offset: Some(6) }));
        log.timestamps.insert(100, 5);
        let op = log.invoke(0, 10 * S, Call::OffsetForTime { partition: 0, timestamp_ms: 5 });
        log.complete(op, 10 * S + 1, Outcome::Ok(Reply::OffsetFound { offset: Some(0) }));
        let last = log.invoke(9, 40 * S, Call::Poll { partition: 0, from: 6, last_phase: true });
        log.complete_poll(last, 41 * S, [(6, 106)]);
        met
    }
}
