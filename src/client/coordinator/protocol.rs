//! A session's side of the protocol, without a connection: frames in, bytes and effects out.
//!
//! Order of calls: [`Protocol::connected`] when a connection stands, then [`Protocol::receive`]
//! for each frame, [`Protocol::request`] while [`Protocol::accepts`], [`Protocol::ping`], and
//! [`Protocol::disconnected`] when the connection is gone; and again. Effects are to be carried
//! out in order: an event comes before the completion of any reply that shows its change.

use std::collections::VecDeque;

use bytes::Bytes;

use super::error::CoordinatorError;
use super::watch_set::{WantedWatch, WatchSet};
use crate::base::ids::{SessionId, Zxid};
use crate::base::limits::JUTE_BYTES_MAX;
use crate::base::znode::ErrorCode;
use crate::wire::zookeeper::{
    ConnectRequest, ConnectResponse, DecodeError, LENGTH_BYTES, MultiResult, OpCode, ReplyHeader, Request, Response,
    ServerMessage, WatchEvent, Xid, put_frame,
};

/// How many requests may wait for their replies at once.
const IN_FLIGHT_MAX: usize = 1000;

/// How it stands with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// There is no connection, at the beginning or after one was lost. The session may live or may
    /// have expired: only a server can tell.
    Disconnected,
    /// A server holds the session.
    Connected {
        /// The session; the same after a reconnection.
        session: SessionId,
    },
    /// A server said that the session has expired. Final.
    Expired,
    /// The client was closed. Final.
    Closed,
}

/// Something to be done.
#[derive(Debug)]
pub(super) enum Effect<T> {
    /// A request has its outcome.
    Complete(T, Result<Response, CoordinatorError>),
    /// A watch has fired.
    Event(WatchEvent),
    /// The state has changed.
    State(SessionState),
}

/// Why a connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("reply {got:?} came where {expected:?} was due")]
    OutOfOrder { got: Xid, expected: Option<Xid> },
}

struct Pending<T> {
    xid: Xid,
    op_code: OpCode,
    wanted: Option<WantedWatch>,
    /// Who waits; none for requests of the protocol's own.
    token: Option<T>,
}

enum Phase {
    Disconnected,
    /// The first response is due.
    Greeting,
    Connected,
    /// Expired or closed.
    Ended,
}

/// See the module's doc. `T` stands for who waits for a reply.
pub(super) struct Protocol<T> {
    phase: Phase,
    session: SessionId,
    password: Bytes,
    timeout_ms: i32,
    /// The highest zxid that was seen at all: what a server must not be behind.
    seen: Zxid,
    /// The highest zxid of a reply: all events up to it have come. Higher zxids of events do not
    /// count, since one change may owe several events.
    confirmed: Zxid,
    /// While watches are being left again: what was confirmed before, and how many replies are due.
    restoring: Option<(Zxid, usize)>,
    last_xid: i32,
    pending: VecDeque<Pending<T>>,
    watches: WatchSet,
    /// The zxid of the reply that is being settled.
    reply_zxid: Option<Zxid>,
}

impl<T> Protocol<T> {
    /// A session that is to be created with this time-out.
    pub(super) fn new(timeout_ms: i32) -> Self {
        Protocol {
            phase: Phase::Disconnected,
            session: SessionId(0),
            password: Bytes::from_static(&[0; 16]),
            timeout_ms,
            seen: Zxid(0),
            confirmed: Zxid(0),
            restoring: None,
            last_xid: 0,
            pending: VecDeque::new(),
            watches: WatchSet::default(),
            reply_zxid: None,
        }
    }

    /// The zxid of the reply that the last call completed a request with; none if the request was
    /// completed without a reply.
    pub(super) fn reply_zxid(&self) -> Option<Zxid> {
        self.reply_zxid
    }

    /// The time-out that was negotiated, or that is asked for before.
    pub(super) fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    /// Whether a server holds the session.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Whether the session is over for good.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Whether a request may be given now.
    pub(super) fn accepts(&self) -> bool {
        self.is_connected() && self.pending.len() < IN_FLIGHT_MAX
    }

    /// A connection stands: asks for the session.
    pub(super) fn connected(&mut self, out: &mut Vec<u8>) {
        self.phase = Phase::Greeting;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.seen,
            timeout_ms: self.timeout_ms,
            session: self.session,
            password: self.password.clone(),
            read_only: Some(false),
        };
        put_frame(out, |out| request.put(out));
    }

    /// A request, to be sent in its turn. Its outcome comes as an effect.
    pub(super) fn request(&mut self, token: T, request: &Request, out: &mut Vec<u8>, effects: &mut Vec<Effect<T>>) {
        assert!(self.accepts(), "requests wait until they are accepted");
        self.reply_zxid = None;
        self.last_xid = if self.last_xid == i32::MAX { 1 } else { self.last_xid + 1 };
        let (start, xid) = (out.len(), Xid(self.last_xid));
        put_frame(out, |out| request.put(xid, out));
        let bytes = out.len() - start - LENGTH_BYTES;
        if bytes > JUTE_BYTES_MAX {
            out.truncate(start);
            let error = CoordinatorError::TooLarge { bytes, max: JUTE_BYTES_MAX };
            effects.push(Effect::Complete(token, Err(error)));
            return;
        }
        let wanted = WantedWatch::of(request);
        self.pending.push_back(Pending { xid, op_code: request.op_code(), wanted, token: Some(token) });
    }

    /// A sign of life.
    pub(super) fn ping(&mut self, out: &mut Vec<u8>) {
        put_frame(out, |out| Request::Ping.put(Xid::PING, out));
    }

    /// A frame has come.
    pub(super) fn receive(
        &mut self,
        frame: Bytes,
        out: &mut Vec<u8>,
        effects: &mut Vec<Effect<T>>,
    ) -> Result<(), Broken> {
        if let Phase::Greeting = self.phase {
            let response = ConnectResponse::decode(frame)?;
            self.greeted(response, out, effects);
            return Ok(());
        }
        match ServerMessage::decode(frame)? {
            ServerMessage::Event(event) => {
                self.seen = self.seen.max(event.zxid);
                self.watches.fired(&event);
                effects.push(Effect::Event(event));
                Ok(())
            }
            ServerMessage::Reply(header, _) if header.xid == Xid::PING => Ok(()),
            ServerMessage::Reply(header, body) => self.replied(header, body, effects),
        }
    }

    fn greeted(&mut self, response: ConnectResponse, out: &mut Vec<u8>, effects: &mut Vec<Effect<T>>) {
        if response.timeout_ms <= 0 {
            self.phase = Phase::Ended;
            effects.push(Effect::State(SessionState::Expired));
            return;
        }
        self.phase = Phase::Connected;
        self.session = response.session;
        self.password = response.password;
        self.timeout_ms = response.timeout_ms;
        effects.push(Effect::State(SessionState::Connected { session: self.session }));
        self.restore_watches(out);
    }

    /// If the connection is lost again before all watches were left again, the next attempt counts
    /// from the same zxid as this one: replies in between confirm nothing about the rest.
    fn restore_watches(&mut self, out: &mut Vec<u8>) {
        let base = self.restoring.map_or(self.confirmed, |(base, _)| base);
        let batches = self.watches.restore(base);
        self.restoring = (!batches.is_empty()).then_some((base, batches.len()));
        for batch in batches {
            let request = Request::SetWatches(batch);
            put_frame(out, |out| request.put(Xid::SET_WATCHES, out));
            let op_code = request.op_code();
            self.pending.push_back(Pending { xid: Xid::SET_WATCHES, op_code, wanted: None, token: None });
        }
    }

    fn replied(&mut self, header: ReplyHeader, body: Bytes, effects: &mut Vec<Effect<T>>) -> Result<(), Broken> {
        let expected = self.pending.front().map(|pending| pending.xid);
        let pending = self.pending.pop_front_if(|pending| pending.xid == header.xid);
        let pending = pending.ok_or(Broken::OutOfOrder { got: header.xid, expected })?;
        let result = match header.error {
            ErrorCode::Ok => match Response::decode(pending.op_code, body) {
                Ok(response) => judge(response),
                Err(error) => {
                    // Put back, so that it is told with the others that its outcome is unknown.
                    self.pending.push_front(pending);
                    return Err(error.into());
                }
            },
            error => Err(CoordinatorError::Refused(error)),
        };
        self.reply_zxid = Some(header.zxid);
        self.confirmed = self.confirmed.max(header.zxid);
        self.seen = self.seen.max(header.zxid);
        self.settle(pending, header.error, result, effects);
        Ok(())
    }

    fn settle(
        &mut self,
        pending: Pending<T>,
        error: ErrorCode,
        result: Result<Response, CoordinatorError>,
        effects: &mut Vec<Effect<T>>,
    ) {
        if let Some(wanted) = pending.wanted {
            self.watches.replied(wanted, error);
        }
        let closed = pending.op_code == OpCode::CloseSession && result.is_ok();
        match pending.token {
            Some(token) => effects.push(Effect::Complete(token, result)),
            None => self.restoring = self.restoring.and_then(|(base, due)| (due > 1).then_some((base, due - 1))),
        }
        if closed {
            self.phase = Phase::Ended;
            effects.push(Effect::State(SessionState::Closed));
        }
    }

    /// The connection is gone. What was sent and not answered has an unknown outcome.
    pub(super) fn disconnected(&mut self, effects: &mut Vec<Effect<T>>) {
        self.reply_zxid = None;
        let tokens = self.pending.drain(..).filter_map(|pending| pending.token);
        effects.extend(tokens.map(|token| Effect::Complete(token, Err(CoordinatorError::ConnectionLoss))));
        if !self.is_ended() {
            self.phase = Phase::Disconnected;
            effects.push(Effect::State(SessionState::Disconnected));
        }
    }
}

/// A multi's failure comes in a reply without error.
fn judge(response: Response) -> Result<Response, CoordinatorError> {
    let Response::Multi(results) = &response else { return Ok(response) };
    let error = |result: &MultiResult| match result {
        MultiResult::Error(error) => *error,
        _ => ErrorCode::Ok,
    };
    if results.iter().any(|result| matches!(result, MultiResult::Error(_))) {
        return Err(CoordinatorError::MultiRefused(results.iter().map(error).collect()));
    }
    Ok(response)
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
