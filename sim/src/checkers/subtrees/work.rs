//! Requests within a subtree, and what came: compared with the model, reply by reply.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wyrdlog::base::ids::{SessionId, Zxid};
use wyrdlog::base::znode::{ErrorCode, EventKind, Stat};
use wyrdlog::wire::zookeeper::{MultiResult, ReplyHeader, Request, Response, ServerMessage, WatchEvent, Xid};

use super::model::{At, Tree};
use super::{ANSWERS_NS, Judge, Judged};
use crate::history::subtrees::{ConnectionIndex, Step};
use crate::observed::seconds;

/// What is known of a subtree.
#[derive(Default)]
pub(super) struct Subtree {
    tree: Tree,
    /// What each change's time is.
    times: BTreeMap<i64, i64>,
    /// The highest zxid of a reply.
    zxid: i64,
    /// Whether a write's outcome is unknown, or something was wrong already.
    is_unknown: bool,
}

/// A request that is not answered yet.
struct Asked<'h> {
    time_ns: u64,
    xid: Xid,
    request: &'h Request,
}

/// One connection.
struct Work<'j, 'h, 's> {
    judge: &'j mut Judge<'h>,
    index: ConnectionIndex,
    subtree: &'s mut Subtree,
    session: Option<SessionId>,
    asked: VecDeque<Asked<'h>>,
    pings: VecDeque<u64>,
    /// Events whose reply has not come.
    events: Vec<WatchEvent>,
    /// The entry that is looked at, and when the last frame came before it.
    entry: usize,
    last_ns: u64,
    /// Whether nothing comes any more, and the server ends the connection.
    has_ended: bool,
    /// Whether that is because its session expired.
    has_expired: bool,
}

fn is_write(request: &Request) -> bool {
    use Request::{CloseSession, Create, Create2, Delete, Multi, SetAcl, SetData};
    matches!(request, Create(_) | Create2(_) | Delete { .. } | SetData { .. } | SetAcl { .. } | Multi(_) | CloseSession)
}

/// Judges a connection, and takes on what it did to the subtree.
pub(super) fn check(judge: &mut Judge<'_>, index: ConnectionIndex, subtree: &mut Subtree) {
    if subtree.is_unknown {
        return;
    }
    let connection = &judge.history.connections[index as usize];
    let Some(hello) = &connection.hello else { return };
    subtree.tree.forget_watches();
    let (asked, pings, events) = (VecDeque::new(), VecDeque::new(), Vec::new());
    let mut work = Work {
        judge,
        index,
        subtree,
        session: None,
        asked,
        pings,
        events,
        entry: 0,
        last_ns: 0,
        has_ended: false,
        has_expired: false,
    };
    let mut ended = None;
    for (at, entry) in connection.entries.iter().enumerate() {
        let time_ns = entry.time_ns;
        work.entry = at;
        let holds = match &entry.step {
            Step::Sent(xid, request) => work.sent(time_ns, *xid, request),
            Step::SentOdd(_) => true,
            Step::Came(frame) if work.session.is_none() && !work.has_ended => {
                let granted = work.judge.greets(index, time_ns, hello, frame);
                work.session = granted.as_ref().map(|granted| granted.session);
                work.has_ended = work.session == Some(SessionId(0));
                granted.is_some()
            }
            Step::Came(frame) => work.came(time_ns, frame),
            Step::Closed | Step::GaveUp => {
                ended = Some((time_ns, entry.step == Step::Closed));
                true
            }
        };
        if matches!(entry.step, Step::Came(_)) {
            work.last_ns = time_ns;
        }
        if !holds {
            work.subtree.is_unknown = true;
            return;
        }
    }
    if work.session.is_none() {
        return work.judge.not_greeted(index, hello);
    }
    work.end(ended);
}

impl<'h> Work<'_, 'h, '_> {
    fn wrong(&mut self, time_ns: u64, what: impl FnOnce() -> String) -> bool {
        self.judge.holds(self.index, time_ns, false, what)
    }

    fn sent(&mut self, time_ns: u64, xid: Xid, request: &'h Request) -> bool {
        match request {
            Request::Ping => self.pings.push_back(time_ns),
            _ => self.asked.push_back(Asked { time_ns, xid, request }),
        }
        true
    }

    fn came(&mut self, time_ns: u64, frame: &Bytes) -> bool {
        let is_event = matches!(ServerMessage::decode(frame.clone()), Ok(ServerMessage::Event(_)));
        if self.has_ended && !(self.has_expired && is_event) {
            return self.wrong(time_ns, || "something came behind the end".to_owned());
        }
        match ServerMessage::decode(frame.clone()) {
            Ok(ServerMessage::Event(event)) if encoded(|out| event.put(out)) == *frame => self.event(time_ns, event),
            Ok(ServerMessage::Reply(header, _)) if header.xid == Xid::PING => {
                let is_asked = self.pings.pop_front().is_some() && header.error == ErrorCode::Ok;
                self.judge.holds(self.index, time_ns, is_asked, || format!("a ping was answered: {header:?}"))
            }
            Ok(ServerMessage::Reply(header, body)) => self.reply(time_ns, header, body),
            Ok(ServerMessage::Event(_)) | Err(_) => self.wrong(time_ns, || format!("a frame that is none: {frame:?}")),
        }
    }

    fn event(&mut self, time_ns: u64, event: WatchEvent) -> bool {
        let changes = |asked: &Asked<'_>| is_write(asked.request) || matches!(asked.request, Request::SetWatches(_));
        let may_be = self.asked.iter().any(changes);
        self.events.push(event.clone());
        if !may_be && self.goes_with_session(&event) {
            (self.has_ended, self.has_expired) = (true, true);
            return true;
        }
        may_be || self.wrong(time_ns, || format!("{event:?}, and nothing was to change"))
    }

    /// Whether it tells of what goes with the session, should that have expired: then it is the last that comes.
    fn goes_with_session(&self, event: &WatchEvent) -> bool {
        let session = self.session.map_or(0, |session| session.0);
        let told_of = |owned: &str| match event.kind {
            EventKind::NodeDeleted => *owned == *event.path,
            EventKind::NodeChildrenChanged => owned.rsplit_once('/').is_some_and(|(above, _)| *above == *event.path),
            EventKind::NodeCreated | EventKind::NodeDataChanged => false,
        };
        self.subtree.tree.owned(session).any(told_of)
    }

    fn reply(&mut self, time_ns: u64, header: ReplyHeader, body: Bytes) -> bool {
        let Some(asked) = self.asked.pop_front() else {
            return self.wrong(time_ns, || format!("{header:?} answers nothing"));
        };
        let (request, is_in_order) = (asked.request, header.xid == asked.xid);
        let before = self.subtree.zxid;
        let at = At { zxid: header.zxid.0, session: self.session.map_or(0, |session| session.0) };
        let answer = self.subtree.tree.answer(request, at);
        // Nothing goes on behind the body, and a refusal has none.
        let is_whole = |response: &Response| encoded(|out| response.put(out)) == body;
        let given = match header.error {
            ErrorCode::Ok => Response::decode(request.op_code(), body.clone()).map(Ok).map_err(drop),
            error => Ok(Err(error)),
        };
        let is_whole = match &given {
            Ok(Ok(response)) => is_whole(response),
            _ => body.is_empty(),
        };
        let is_right = match (&given, &answer.result) {
            (Ok(Ok(given)), Ok(due)) => self.is_same(given, due),
            (Ok(Err(given)), Err(due)) => due.contains(given),
            _ => false,
        };
        let makes = is_write(request) && header.error == ErrorCode::Ok;
        let is_zxid = if makes { at.zxid > before } else { at.zxid >= before };
        let holds = is_in_order && is_right && is_whole && is_zxid;
        let holds = self.judge.holds(self.index, time_ns, holds, || {
            let due = answer.result.as_ref().map_err(|codes| format!("one of {codes:?}"));
            let (op, xid) = (request.op_code(), asked.xid);
            format!("{op:?} was answered {:?} where {due:?} is due: {request:?} under {xid:?} behind zxid {before:#x}: {header:?} {given:?}, nothing behind it: {is_whole}", header.error)
        });
        let since_ns = asked.time_ns.max(self.last_ns);
        let greeted_ns = self.judge.greeted_ns(self.index).unwrap_or(0);
        let is_due = self.judge.is_calm(greeted_ns, since_ns + ANSWERS_NS);
        let (connection, entry, request_of_it) = (self.index, self.entry, request.clone());
        self.judge.judged.push(Judged { connection, entry, request: request_of_it, since_ns, is_due });
        self.subtree.zxid = before.max(at.zxid);
        self.has_ended = *request == Request::CloseSession;
        holds && self.events_before(time_ns, request, at, answer.events, answer.perhaps)
    }

    /// Whether the events came that are due, and no others that no later write may have caused.
    fn events_before(
        &mut self,
        time_ns: u64,
        request: &Request,
        at: At,
        due: Vec<super::model::Due>,
        perhaps: Vec<super::model::Due>,
    ) -> bool {
        let is_of_change = is_write(request);
        let zxid = Zxid(at.zxid);
        let mut take = |(kind, path): &super::model::Due| {
            let is_it = |one: &WatchEvent| {
                one.kind == *kind && *one.path == **path && (!is_of_change || one.zxid == zxid || one.zxid.0 == -1)
            };
            let at = self.events.iter().position(is_it);
            at.map(|at| self.events.remove(at)).is_some()
        };
        let missing: Vec<_> = due.iter().filter(|one| !take(one)).cloned().collect();
        for one in &perhaps {
            take(one);
        }
        let changes = |asked: &Asked<'_>| is_write(asked.request) || matches!(asked.request, Request::SetWatches(_));
        let is_done = !self.asked.iter().any(changes);
        let undue = if is_done { std::mem::take(&mut self.events) } else { Vec::new() };
        if due.is_empty() && undue.is_empty() {
            return true;
        }
        let holds = missing.is_empty() && undue.is_empty();
        self.judge.holds(self.index, time_ns, holds, || {
            format!(
                "before the answer to {request:?} {missing:?} were due and did not come; {undue:?} came and were not"
            )
        })
    }

    /// Compares bodies, but for the order of children; the times are those of the changes.
    fn is_same(&mut self, given: &Response, due: &Response) -> bool {
        let mut given = given.clone();
        let stats: Vec<&mut Stat> = match &mut given {
            Response::Created { stat, .. } | Response::Stat { stat } | Response::Data { stat, .. } => vec![stat],
            Response::Acl { stat, .. } => vec![stat],
            Response::Children2 { stat, children } => {
                children.sort();
                vec![stat]
            }
            Response::Children { children } => {
                children.sort();
                Vec::new()
            }
            Response::Multi(results) => results.iter_mut().filter_map(stat_of).collect(),
            Response::Empty | Response::Path { .. } => Vec::new(),
        };
        let mut is_timed = true;
        for stat in stats {
            for (zxid, time_ms) in [(stat.czxid, stat.ctime_ms), (stat.mzxid, stat.mtime_ms)] {
                is_timed &= *self.subtree.times.entry(zxid).or_insert(time_ms) == time_ms && time_ms > 0;
            }
            (stat.ctime_ms, stat.mtime_ms) = (0, 0);
        }
        is_timed && given == *due
    }

    /// The connection has ended, or the run has.
    fn end(&mut self, ended: Option<(u64, bool)>) {
        let is_unknown = |asked: &Asked<'_>| is_write(asked.request);
        let has_expired = self.has_expired || self.session == Some(SessionId(0));
        self.subtree.is_unknown |= self.asked.iter().any(is_unknown) || has_expired;
        let ended_ns = ended.map(|(at_ns, _)| at_ns);
        let is_closed = ended.is_some_and(|(_, by_server)| by_server);
        if self.has_ended {
            let last_ns = self.last_ns;
            if !is_closed && ended_ns.is_some_and(|at_ns| at_ns >= last_ns + ANSWERS_NS) {
                self.judge.misses(self.index, last_ns, ended_ns, || "the server did not end it".to_owned());
            }
            return;
        }
        // A connection that is open and says nothing: what was asked under faults has to be answered once they are over.
        if let (Some(first), Some(at_ns), false) = (self.asked.front(), ended_ns, is_closed)
            && self.judge.had_time(first.time_ns, at_ns)
        {
            let (asked_ns, request) = (first.time_ns, first.request.clone());
            let asked = move || format!("{request:?}, asked at {}, was never answered", seconds(asked_ns));
            self.judge.holds(self.index, at_ns, false, asked);
            return;
        }
        let oldest = self.asked.iter().map(|asked| asked.time_ns).chain(self.pings.iter().copied()).min();
        let last_ns = self.last_ns;
        if let Some(since_ns) = oldest
            && ended_ns.is_none_or(|at_ns| is_closed || at_ns >= since_ns.max(last_ns) + ANSWERS_NS)
        {
            let asked = self.asked.front().map(|asked| format!("{:?}", asked.request));
            return self.judge.misses(self.index, since_ns.max(last_ns), ended_ns, || {
                format!("{} was not answered", asked.unwrap_or("a ping".to_owned()))
            });
        }
        if is_closed {
            let since_ns = ended_ns.unwrap_or(last_ns);
            self.judge
                .misses(self.index, since_ns, ended_ns, || "the server ended it, and nothing says why".to_owned());
        }
    }
}

/// A record's bytes.
pub(super) fn encoded(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

fn stat_of(result: &mut MultiResult) -> Option<&mut Stat> {
    match result {
        MultiResult::Create2 { stat, .. } | MultiResult::SetData { stat } => Some(stat),
        MultiResult::Create { .. } | MultiResult::Delete | MultiResult::Check | MultiResult::Error(_) => None,
    }
}
