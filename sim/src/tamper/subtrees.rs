//! Edits of what came to clients that own a subtree.

use bytes::Bytes;
use wyrdlog::base::znode::{ErrorCode, Stat};
use wyrdlog::wire::zookeeper::{MultiResult, ReplyHeader, Request, Response, ServerMessage};

use super::{Record, Tamper};
use crate::checkers::subtrees::{ANSWERS_NS, Judged, judged};
use crate::draw::Draw;
use crate::history::subtrees::{ConnectionIndex, Entry, Step};

/// Edits a reply, or several.
pub(super) fn edit(record: &mut Record, kind: Tamper, draw: &mut Draw) -> Option<()> {
    match kind {
        Tamper::DropReply => drop_reply(record, draw),
        Tamper::CorruptReplyCode => corrupt_code(record, draw),
        Tamper::CorruptReplyStat => corrupt_stat(record, draw),
        Tamper::SwapReplies => swap_replies(record, draw),
        Tamper::DropReplyEvent => drop_event(record, draw),
        Tamper::StallReplies => stall_replies(record, draw),
        _ => None,
    }
}

/// The replies that are judged.
fn replies(record: &Record) -> Vec<Judged> {
    record.subtrees.as_ref().map_or(Vec::new(), |history| judged(history, &record.met))
}

/// Those that another one follows on their connection, each with that.
fn pairs(record: &Record) -> Vec<(Judged, Judged)> {
    let replies = replies(record);
    let both = replies.windows(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    let is_pair = |(first, second): &(Judged, Judged)| {
        let of_watches = |one: &Judged| matches!(one.request, Request::SetWatches(_));
        first.connection == second.connection && !(of_watches(first) && of_watches(second))
    };
    both.filter(is_pair).collect()
}

fn entries(record: &mut Record, connection: ConnectionIndex) -> Option<&mut Vec<Entry>> {
    Some(&mut record.subtrees.as_mut()?.connections.get_mut(connection as usize)?.entries)
}

fn frame(record: &Record, reply: &Judged) -> Option<(ReplyHeader, Bytes)> {
    let connection = record.subtrees.as_ref()?.connections.get(reply.connection as usize)?;
    let Step::Came(frame) = &connection.entries.get(reply.entry)?.step else { return None };
    let mut body = frame.clone();
    Some((ReplyHeader::take(&mut body).ok()?, body))
}

fn replace(record: &mut Record, reply: &Judged, header: ReplyHeader, body: &[u8]) -> Option<()> {
    let mut frame = Vec::new();
    header.put(&mut frame);
    frame.extend_from_slice(body);
    entries(record, reply.connection)?.get_mut(reply.entry)?.step = Step::Came(frame.into());
    Some(())
}

fn drop_reply(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let (reply, _) = draw.pick(&pairs(record))?.clone();
    entries(record, reply.connection)?.remove(reply.entry);
    Some(())
}

fn corrupt_code(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let reply = draw.pick(&replies(record))?.clone();
    let (header, body) = frame(record, &reply)?;
    replace(record, &reply, ReplyHeader { error: ErrorCode::DataInconsistency, ..header }, &body)
}

fn stat_of(response: &mut Response) -> Option<&mut Stat> {
    match response {
        Response::Created { stat, .. }
        | Response::Stat { stat }
        | Response::Data { stat, .. }
        | Response::Acl { stat, .. }
        | Response::Children2 { stat, .. } => Some(stat),
        Response::Multi(results) => results.iter_mut().find_map(|result| match result {
            MultiResult::Create2 { stat, .. } | MultiResult::SetData { stat } => Some(stat),
            _ => None,
        }),
        Response::Empty | Response::Path { .. } | Response::Children { .. } => None,
    }
}

fn corrupt_stat(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let with_stat = replies(record).into_iter().filter_map(|reply| {
        let (header, body) = frame(record, &reply).filter(|(header, _)| header.error == ErrorCode::Ok)?;
        let mut response = Response::decode(reply.request.op_code(), body).ok()?;
        stat_of(&mut response)?;
        Some((reply, header, response))
    });
    let (reply, header, mut response) = draw.pick(&with_stat.collect::<Vec<_>>())?.clone();
    let stat = stat_of(&mut response)?;
    match draw.below(8) {
        0 => stat.version += 1,
        1 => stat.cversion += 1,
        2 => stat.aversion += 1,
        3 => stat.data_length += 1,
        4 => stat.num_children += 1,
        5 => stat.ephemeral_owner += 1,
        6 => stat.pzxid += 1,
        _ => stat.mzxid += 1,
    }
    let mut body = Vec::new();
    response.put(&mut body);
    replace(record, &reply, header, &body)
}

fn swap_replies(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let (first, second) = draw.pick(&pairs(record))?.clone();
    let entries = entries(record, first.connection)?;
    let step = entries.get(first.entry)?.step.clone();
    entries[first.entry].step = std::mem::replace(&mut entries.get_mut(second.entry)?.step, step);
    Some(())
}

fn drop_event(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let mut choices = Vec::new();
    for reply in replies(record) {
        let Some((header, _)) = frame(record, &reply).filter(|_| reply.request != Request::CloseSession) else {
            continue;
        };
        let before = entries(record, reply.connection)?.get(..reply.entry)?;
        choices.extend((0..).zip(before).filter_map(|(at, entry): (usize, _)| match &entry.step {
            Step::Came(frame) => match ServerMessage::decode(frame.clone()) {
                Ok(ServerMessage::Event(event)) if event.zxid == header.zxid => Some((reply.connection, at)),
                _ => None,
            },
            _ => None,
        }));
    }
    let (connection, at) = *draw.pick(&choices)?;
    entries(record, connection)?.remove(at);
    Some(())
}

fn stall_replies(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let due: Vec<Judged> = replies(record).into_iter().filter(|reply| reply.is_due).collect();
    let reply = draw.pick(&due)?.clone();
    let entries = entries(record, reply.connection)?;
    entries.truncate(reply.entry);
    // What had come for it would make it known to have happened.
    entries.push(Entry { time_ns: reply.since_ns + 2 * ANSWERS_NS, step: Step::GaveUp });
    Some(())
}
