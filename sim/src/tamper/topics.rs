//! Edits of what clients did with topics of their own.

use wyrdlog::wire::kafka::ErrorCode;

use crate::checkers::topics::{JudgedRead, judged_reads, judged_refusals};
use crate::checkers::topics_served::ROUND_NS;
use crate::draw::Draw;
use crate::history::topics::{Call, PartitionRead, Reply, TopicsHistory};
use crate::history::{OpId, Outcome};

fn parts(history: &mut TopicsHistory, op: OpId) -> Option<&mut Vec<PartitionRead>> {
    match &mut history.operations[op as usize].outcome {
        Outcome::Ok(Reply::Read(parts)) => Some(parts),
        _ => None,
    }
}

/// A read brings a value of an earlier topic of the same name.
pub(super) fn revive_record(history: &mut TopicsHistory, draw: &mut Draw) -> Option<()> {
    let mut choices = Vec::new();
    for JudgedRead { op, incarnation, .. } in judged_reads(history) {
        let name = history.operations[op as usize].call.name();
        let creations = |before: usize| {
            let of_name = history.operations[..before].iter().filter(|one| one.call.name() == name);
            of_name
                .filter(|one| matches!(one.call, Call::Create { .. }) && one.outcome == Outcome::Ok(Reply::Done))
                .count()
        };
        choices.extend(history.operations[..op as usize].iter().enumerate().filter_map(|(at, one)| match one.call {
            Call::Send { name: to, partition, value } if to == name && creations(at) <= incarnation as usize => {
                Some((op, partition, value))
            }
            _ => None,
        }));
    }
    let (op, partition, value) = *draw.pick(&choices)?;
    let parts = parts(history, op)?;
    let part = match parts.iter().position(|part| part.partition == partition) {
        Some(at) => &mut parts[at],
        None => {
            parts.push(PartitionRead { partition, ..PartitionRead::default() });
            parts.last_mut()?
        }
    };
    part.records.push((part.reached, value));
    Some(())
}

/// A read leaves out a record that was acknowledged.
pub(super) fn drop_record(history: &mut TopicsHistory, draw: &mut Draw) -> Option<()> {
    let mut choices = Vec::new();
    for JudgedRead { op, .. } in judged_reads(history).into_iter().filter(|read| read.is_promised) {
        let read = &history.operations[op as usize];
        let Outcome::Ok(Reply::Read(parts)) = &read.outcome else { continue };
        for (part, value) in parts.iter().flat_map(|part| part.records.iter().map(move |(_, value)| (part, *value))) {
            let is_acknowledged = history.operations.iter().any(|one| {
                let is_it = matches!(one.call, Call::Send { value: sent, .. } if sent == value);
                let is_sent = matches!(one.outcome, Outcome::Ok(Reply::Sent { offset }) if offset < part.reached);
                is_it && is_sent && one.completed_ns.is_some_and(|at_ns| at_ns <= read.invoked_ns)
            });
            choices.extend(is_acknowledged.then_some((op, value)));
        }
    }
    // What was sent before its topic was known everywhere may have gone to the one before it.
    let is_first = |op: OpId| judged_reads(history).iter().any(|read| read.op == op && read.incarnation == 0);
    choices.retain(|(op, _)| is_first(*op));
    let (op, value) = *draw.pick(&choices)?;
    parts(history, op)?.iter_mut().for_each(|part| part.records.retain(|(_, read)| *read != value));
    Some(())
}

/// A creation or deletion is refused with a code that none deserves.
pub(super) fn corrupt_refusal(history: &mut TopicsHistory, draw: &mut Draw) -> Option<()> {
    let op = *draw.pick(&judged_refusals(history))?;
    history.operations[op as usize].outcome = Outcome::Ok(Reply::Refused(ErrorCode::UnknownServerError));
    Some(())
}

/// A client gets through no round after healing.
pub(super) fn stall_rounds(history: &mut TopicsHistory, draw: &mut Draw) -> Option<()> {
    if history.expected.bound_ns + ROUND_NS > history.expected.load_ends_ns {
        return None;
    }
    let client = *draw.pick(&history.clients)?;
    for operation in history.operations.iter_mut().filter(|one| one.client == client) {
        if let Call::Round { .. } = operation.call {
            operation.outcome = Outcome::Unknown;
        }
    }
    Some(())
}
