//! Edits of what the coordinator's servers, and the sessions of its clients, left for judgement.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::event::{CoordinatorEvent, Event};
use wyrdlog::base::ids::{SessionId, Zxid};
use wyrdlog::base::znode::ErrorCode;

use super::{Entry, FOREIGN_VALUE, Tamper};
use crate::checkers::replay_equals_live::Replays;
use crate::checkers::session_length::expires_by;
use crate::draw::Draw;
use crate::history::Outcome;
use crate::history::coordinator::{Answer, Call as CoordinatorCall, CoordinatorHistory};
use crate::history::sessions::{Fact, SessionHistory};
use crate::observed::{Incarnation, Node, Observed};

fn event_at(entry: &Entry) -> Option<(&Observed, &CoordinatorEvent)> {
    match entry {
        Entry::Event(observed) => match &observed.event {
            Event::Coordinator(event) => Some((observed, event)),
            _ => None,
        },
        Entry::Unjudged(_) | Entry::Disk { .. } | Entry::Segments { .. } | Entry::Fault { .. } => None,
    }
}

/// Applied entries in the middle of an uninterrupted stretch of three: (the one before, this one,
/// the one after).
fn stretches(entries: &[Entry]) -> Vec<[usize; 3]> {
    let mut last: BTreeMap<(Node, Incarnation), Vec<usize>> = BTreeMap::new();
    let mut found = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let Some((observed, event)) = event_at(entry) else { continue };
        let stretch = last.entry((observed.node, observed.incarnation)).or_default();
        match event {
            CoordinatorEvent::Applied { .. } => stretch.push(at),
            CoordinatorEvent::SnapshotInstalled { .. } => stretch.clear(),
            _ => {}
        }
        if let [.., before, this, after] = stretch.as_slice()
            && *after == at
        {
            found.push([*before, *this, *after]);
        }
    }
    found
}

/// Drops, repeats or swaps applied entries of one server.
pub(super) fn edit_applied(entries: &mut Vec<Entry>, kind: Tamper, draw: &mut Draw) -> Option<()> {
    let [_, this, after] = *draw.pick(&stretches(entries))?;
    match kind {
        Tamper::DropApplied => drop(entries.remove(this)),
        Tamper::DuplicateApplied => {
            let again = entries[this].clone();
            entries.insert(this + 1, again);
        }
        _ => entries.swap(this, after),
    }
    Some(())
}

/// One ephemeral of an ended session is not among those that went with it, or goes twice.
pub(super) fn edit_ephemerals(entries: &mut Vec<Entry>, kind: Tamper, draw: &mut Draw) -> Option<()> {
    let mut applied = BTreeSet::new();
    let mut choices = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let Some((observed, event)) = event_at(entry) else { continue };
        // Of a server nothing is judged before an entry of its was seen.
        let life = (observed.node, observed.incarnation);
        let chosen = match event {
            CoordinatorEvent::Applied { .. } => {
                applied.insert(life);
                false
            }
            CoordinatorEvent::SessionEnded { ephemerals, .. } => {
                kind == Tamper::KeepEphemeral && !ephemerals.is_empty() && applied.contains(&life)
            }
            CoordinatorEvent::EphemeralCreated { .. } => kind == Tamper::DuplicateEphemeral && applied.contains(&life),
            _ => false,
        };
        choices.extend(chosen.then_some(at));
    }
    let at = *draw.pick(&choices)?;
    let again = entries[at].clone();
    if let Entry::Event(Observed {
        event: Event::Coordinator(CoordinatorEvent::SessionEnded { ephemerals, .. }), ..
    }) = &mut entries[at]
    {
        ephemerals.pop();
    } else {
        entries.insert(at + 1, again);
    }
    Some(())
}

/// A watch event is delivered behind the reply that shows its change, or never.
pub(super) fn edit_watch(entries: &mut Vec<Entry>, kind: Tamper, draw: &mut Draw) -> Option<()> {
    let choices: Vec<(usize, usize)> =
        (0..entries.len()).filter_map(|at| Some((at, reply_that_shows(&entries[at..])? + at))).collect();
    let (notified, replied) = *draw.pick(&choices)?;
    let event = entries.remove(notified);
    if kind == Tamper::SwapWatch {
        entries.insert(replied, event);
    }
    Some(())
}

/// Of entries that begin with the delivery of a watch event: where the same server next replies to the
/// same session and shows the change, with the session still there.
fn reply_that_shows(entries: &[Entry]) -> Option<usize> {
    let (first, CoordinatorEvent::Notified { session: to, zxid: change, .. }) = event_at(entries.first()?)? else {
        return None;
    };
    for (at, entry) in entries.iter().enumerate().skip(1) {
        let Some((observed, event)) = event_at(entry) else { continue };
        match event {
            CoordinatorEvent::Replied { session, zxid, .. } if session == to => {
                let is_here = (observed.node, observed.incarnation) == (first.node, first.incarnation);
                return (is_here && zxid >= change).then_some(at);
            }
            CoordinatorEvent::SessionAttached { session, .. } | CoordinatorEvent::SessionEnded { session, .. }
                if session == to =>
            {
                return None;
            }
            CoordinatorEvent::WatchTriggered { session, .. } | CoordinatorEvent::Notified { session, .. }
                if session == to && (observed.node, observed.incarnation) != (first.node, first.incarnation) =>
            {
                return None;
            }
            _ => {}
        }
    }
    None
}

/// A session that was granted, where its expiry was proposed, and where its end came first.
struct Expired {
    session: SessionId,
    /// The shortest and the longest time-out that may be in force.
    shortest_ms: i32,
    longest_ms: i32,
    heard_ns: u64,
    proposed: usize,
}

fn expired(history: &SessionHistory) -> Vec<Expired> {
    let mut granted = BTreeMap::new();
    let mut proposed = BTreeMap::new();
    let mut found: Vec<Expired> = Vec::new();
    for (at, entry) in history.entries.iter().enumerate() {
        match entry.fact {
            Fact::Granted { session, granted_ms, .. } => {
                let known = granted.entry(session).or_insert((granted_ms, granted_ms, entry.time_ns));
                *known = (known.0.min(granted_ms), known.1.max(granted_ms), entry.time_ns);
            }
            Fact::Heard { session, directly: true } => {
                granted.entry(session).and_modify(|(.., heard_ns)| *heard_ns = entry.time_ns);
            }
            // Whether it came into force is not known.
            Fact::Asked { session, asked_ms } => {
                let granted = granted.entry(session);
                let asked_ms = asked_ms.max(i32::try_from(history.bounds_ms.0).unwrap_or(i32::MAX));
                granted.and_modify(|known| *known = (known.0.min(asked_ms), known.1.max(asked_ms), entry.time_ns));
            }
            Fact::ExpiryProposed { session } => drop(proposed.insert(session, at)),
            Fact::Ended { session, expired: true } if !found.iter().any(|one| one.session == session) => {
                if let (Some(known), Some(proposed)) = (granted.get(&session), proposed.get(&session)) {
                    let (shortest_ms, longest_ms, heard_ns) = *known;
                    found.push(Expired { session, shortest_ms, longest_ms, heard_ns, proposed: *proposed });
                }
            }
            _ => {}
        }
    }
    found
}

fn concerns(fact: &Fact, wanted: SessionId) -> bool {
    match *fact {
        Fact::ExpiryProposed { session } | Fact::Ended { session, .. } => session == wanted,
        _ => false,
    }
}

/// A session expires early, late, never, unannounced, or was granted another time-out.
pub(super) fn edit_sessions(history: &mut SessionHistory, kind: Tamper, draw: &mut Draw) -> Option<()> {
    if kind == Tamper::CorruptGrant {
        let is_grant = |at: &usize| matches!(history.entries[*at].fact, Fact::Granted { .. });
        let grants: Vec<usize> = (0..history.entries.len()).filter(is_grant).collect();
        let at = *draw.pick(&grants)?;
        if let Fact::Granted { granted_ms, .. } = &mut history.entries[at].fact {
            *granted_ms += 1;
        }
        return Some(());
    }
    let mut choices = expired(history);
    if kind == Tamper::StallExpiry {
        let is_judged = |one: &Expired| {
            let by_ns = expires_by(history, one.heard_ns, one.longest_ms);
            by_ns.is_some_and(|by_ns| by_ns < history.ended_ns)
        };
        choices.retain(is_judged);
    }
    let at = draw.below(choices.len().max(1) as u64) as usize;
    let one = choices.get(at)?;
    match kind {
        Tamper::HastenExpiry => {
            let mut heard = history.entries[one.proposed];
            let early_ns = one.shortest_ms.max(0) as u64 * 1_000_000 / 2;
            heard.fact = Fact::Heard { session: one.session, directly: false };
            heard.clock_ns = heard.clock_ns.saturating_sub(early_ns);
            history.entries.insert(one.proposed, heard);
        }
        Tamper::DropProposal => {
            let proposes = |fact: &Fact| matches!(fact, Fact::ExpiryProposed { session } if *session == one.session);
            history.entries.retain(|entry| !proposes(&entry.fact));
        }
        _ => history.entries.retain(|entry| !concerns(&entry.fact, one.session)),
    }
    Some(())
}

/// The state that a disk makes has another digest.
pub(super) fn corrupt_rebuilt(replays: &mut Replays, draw: &mut Draw) -> Option<()> {
    let is_judged = |at: &usize| matches!(replays.rebuilt[*at].state, Ok((1.., ..)));
    let judged: Vec<usize> = (0..replays.rebuilt.len()).filter(is_judged).collect();
    let at = *draw.pick(&judged)?;
    if let Ok((_, _, digest)) = &mut replays.rebuilt[at].state {
        *digest ^= 1;
    }
    Some(())
}

/// The request that left a watch is missing.
pub(super) fn drop_watch_request(history: &mut SessionHistory, draw: &mut Draw) -> Option<()> {
    let at = draw.below(history.events.len() as u64) as usize;
    history.events.get_mut(at)?.is_asked_for = false;
    Some(())
}

/// One server fewer was heard of, where none could be missed.
pub(super) fn drop_word(history: &mut SessionHistory, draw: &mut Draw) -> Option<()> {
    let at = draw.below(history.answered.len() as u64) as usize;
    history.answered.get_mut(at)?.heard = (history.voters / 2) as u16;
    Some(())
}

/// Two sessions have one key.
pub(super) fn swap_password(history: &mut SessionHistory, draw: &mut Draw) -> Option<()> {
    let one = draw.pick(&history.secrets)?.clone();
    let is_other = |at: &usize| history.secrets[*at].session != one.session;
    let others: Vec<usize> = (0..history.secrets.len()).filter(is_other).collect();
    history.secrets[*draw.pick(&others)?].password = one.password;
    Some(())
}

/// A request is refused for what never was a reason.
pub(super) fn corrupt_refusal(history: &mut SessionHistory, draw: &mut Draw) -> Option<()> {
    let at = draw.below(history.refused.len().max(1) as u64) as usize;
    history.refused.get_mut(at)?.code = ErrorCode::NoAuth.code();
    Some(())
}

pub(super) fn corrupt_read(history: &mut CoordinatorHistory, draw: &mut Draw, synced: bool) -> Option<()> {
    let wanted = |call: &CoordinatorCall| match call {
        CoordinatorCall::SyncRead(_) => synced,
        CoordinatorCall::Read(_) => !synced,
        _ => false,
    };
    let reads: Vec<usize> = (0..history.operations.len())
        .filter(|op| {
            let operation = &history.operations[*op];
            wanted(&operation.call.call)
                && matches!(operation.reply(), Some(reply) if matches!(reply.answer, Answer::Value(Some(_))))
        })
        .collect();
    let op = *draw.pick(&reads)?;
    if let Outcome::Ok(reply) = &mut history.operations[op].outcome
        && let Answer::Value(Some(register)) = &mut reply.answer
    {
        register.value = FOREIGN_VALUE;
    }
    Some(())
}

/// One that was asked for once something had been shown.
pub(super) fn age_sync_read(history: &mut CoordinatorHistory, draw: &mut Draw) -> Option<()> {
    let answered = history.operations.iter().filter(|one| one.reply().is_some_and(|reply| reply.zxid.0 > 0));
    let first_ns = answered.filter_map(|one| one.completed_ns).min()?;
    let is_judged = |op: &usize| {
        let one = &history.operations[*op];
        let is_synced = matches!(one.call.call, CoordinatorCall::SyncRead(_) | CoordinatorCall::SyncChildren(_));
        is_synced && one.reply().is_some() && one.invoked_ns > first_ns
    };
    let reads: Vec<usize> = (0..history.operations.len()).filter(is_judged).collect();
    let op = *draw.pick(&reads)?;
    if let Outcome::Ok(reply) = &mut history.operations[op].outcome {
        reply.zxid = Zxid(0);
    }
    Some(())
}

pub(super) fn age_reply(history: &mut CoordinatorHistory, draw: &mut Draw) -> Option<()> {
    let mut begun = BTreeSet::new();
    let mut later = Vec::new();
    for (op, operation) in history.operations.iter().enumerate() {
        if operation.reply().is_some() && !begun.insert(operation.call.session) {
            later.push(op);
        }
    }
    let op = *draw.pick(&later)?;
    if let Outcome::Ok(reply) = &mut history.operations[op].outcome {
        reply.zxid.0 = -1;
    }
    Some(())
}

pub(super) fn corrupt_applied(entries: &mut [Entry], draw: &mut Draw) -> Option<()> {
    let mut first = BTreeSet::new();
    let mut again = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        if let Entry::Event(Observed { event: Event::Coordinator(CoordinatorEvent::Applied { index, .. }), .. }) = entry
            && !first.insert(*index)
        {
            again.push(at);
        }
    }
    let at = *draw.pick(&again)?;
    if let Entry::Event(Observed {
        event: Event::Coordinator(CoordinatorEvent::Applied { entry_digest, .. }), ..
    }) = &mut entries[at]
    {
        *entry_digest ^= 1;
    }
    Some(())
}
