//! Edits of the order of sends and polls.

use super::committed_and_read;
use crate::checkers::sightings::Sightings;
use crate::draw::Draw;
use crate::history::OpId;
use crate::history::Outcome;
use crate::history::kafka::{Call, KafkaHistory, Reply};

/// A poll leaves out a record between two others, which the final phase returns.
pub(super) fn skip_record(history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let committed = committed_and_read(history);
    let mut choices = Vec::new();
    for operation in &history.operations {
        let (Call::Poll { partition, last_phase: false, .. }, Some(Reply::Polled { start, end })) =
            (operation.call, operation.reply())
        else {
            continue;
        };
        let inner = (*start as usize + 1)..(*end as usize).saturating_sub(1);
        choices.extend(inner.filter(|at| {
            let (offset, value) = history.records[*at];
            committed.binary_search(&(partition, offset, value)).is_ok()
        }));
    }
    let at = *draw.pick(&choices)?;
    history.records.remove(at);
    for operation in &mut history.operations {
        if let Outcome::Ok(Reply::Polled { start, end }) = &mut operation.outcome {
            *start -= u32::from(*start as usize > at);
            *end -= u32::from(*end as usize > at);
        }
    }
    Some(())
}

/// The acknowledged sends of which something is promised: (op, partition, offset), and which producer's.
fn acknowledged(history: &KafkaHistory) -> Vec<(OpId, (u16, u16, u32), i64)> {
    let sends =
        (0..).zip(&history.operations).filter_map(|(op, operation)| match (operation.call, operation.reply()) {
            (
                Call::Send { partition, acks: -1, idempotent: Some(producer), .. },
                Some(Reply::Sent { offset: Some(offset) }),
            ) if !history.is_beyond(partition) => Some((op, (operation.client, partition, producer), *offset)),
            _ => None,
        });
    sends.collect()
}

/// Two sends of one producer take effect in each other's place.
pub(super) fn swap_sends(history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let mut sends = acknowledged(history);
    sends.sort_by_key(|(op, producer, _)| (*producer, *op));
    let choices: Vec<(OpId, OpId)> =
        sends.windows(2).filter(|pair| pair[0].1 == pair[1].1).map(|pair| (pair[0].0, pair[1].0)).collect();
    let (earlier, later) = *draw.pick(&choices)?;
    let (first, second) = (&history.operations[earlier as usize], &history.operations[later as usize]);
    let (before, after) = ((first.call, first.outcome.clone()), (second.call, second.outcome.clone()));
    let place = |operation: &mut crate::history::kafka::KafkaOp, (call, outcome)| {
        (operation.call, operation.outcome) = (call, outcome);
    };
    place(&mut history.operations[earlier as usize], after);
    place(&mut history.operations[later as usize], before);
    Some(())
}

/// A send is invoked after something above its offset was known.
pub(super) fn delay_send(history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let seen = Sightings::of(history);
    let mut choices = Vec::new();
    for (op, (_, partition, _), offset) in acknowledged(history) {
        let above = seen.of_partition(partition).iter().find(|one| one.offset > offset);
        choices.extend(above.map(|one| (op, one.time_ns)));
    }
    let (op, known_ns) = *draw.pick(&choices)?;
    history.operations[op as usize].invoked_ns = known_ns + 1;
    Some(())
}
