//! What clients with a session ask for: writes become entries, reads are answered from the tree.

use std::sync::Arc;

use bytes::Bytes;

use super::clients::Pending;
use super::{ConnectionId, ReadPurpose, Server};
use crate::base::event::{CoordinatorEvent, Event};
use crate::base::ids::{SessionId, Zxid};
use crate::base::znode::{AuthId, CreateMode, ErrorCode};
use crate::consensus::{self, ReadContext};
use crate::coordinator::tree::watches::Restored;
use crate::coordinator::tree::{Failure, Op, Origin, Refusal, Reply, Txn, WatchKind, Write};
use crate::runtime::Runtime;
use crate::wire::zookeeper::{
    CreateRequest, DecodeError, MultiOp, MultiResult, ReplyHeader, Request, RequestHeader, Response, SetWatches, Xid,
    put_frame,
};

/// Watches that one connection may leave.
const WATCHES_MAX: usize = 100_000;

/// A request that is answered from this server's state.
pub(super) enum ReadRequest {
    Exists { path: Arc<str>, watch: bool },
    GetData { path: Arc<str>, watch: bool },
    GetAcl { path: Arc<str> },
    GetChildren { path: Arc<str>, watch: bool, with_stat: bool },
    SetWatches(SetWatches),
}

/// What the reply to a write looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriteShape {
    Path,
    PathAndStat,
    Stat,
    Deleted,
    Empty,
    /// The result of each operation.
    Multi(Vec<WriteShape>),
    /// As `Empty`, and the connection ends with it.
    Close,
}

/// What a request turns into.
enum Turned {
    Write(Op, WriteShape),
    Read(ReadRequest),
    Sync(Arc<str>),
    Ping,
    Refused(ErrorCode),
    /// ZooKeeper answers so, and ends the connection.
    AuthFailed,
}

fn turn(request: Request) -> Turned {
    match request {
        Request::Create(create) => write(create_op(create), WriteShape::Path),
        Request::Create2(create) => write(create_op(create), WriteShape::PathAndStat),
        Request::Delete { path, version } => write(Ok(Write::Delete { path, version }), WriteShape::Deleted),
        Request::SetData { path, data, version } => write(Ok(Write::SetData { path, data, version }), WriteShape::Stat),
        Request::SetAcl { path, acl, version } => write(Ok(Write::SetAcl { path, acl, version }), WriteShape::Stat),
        Request::Multi(ops) => multi(ops),
        Request::CloseSession => Turned::Write(Op::CloseSession, WriteShape::Close),
        Request::Exists { path, watch } => Turned::Read(ReadRequest::Exists { path, watch }),
        Request::GetData { path, watch } => Turned::Read(ReadRequest::GetData { path, watch }),
        Request::GetAcl { path } => Turned::Read(ReadRequest::GetAcl { path }),
        Request::GetChildren { path, watch } => {
            Turned::Read(ReadRequest::GetChildren { path, watch, with_stat: false })
        }
        Request::GetChildren2 { path, watch } => {
            Turned::Read(ReadRequest::GetChildren { path, watch, with_stat: true })
        }
        Request::SetWatches(watches) => Turned::Read(ReadRequest::SetWatches(watches)),
        Request::Sync { path } => Turned::Sync(path),
        Request::Ping => Turned::Ping,
        // Outside of a multi it has no meaning.
        Request::Check { .. } => Turned::Refused(ErrorCode::Unimplemented),
        Request::Auth(_) => Turned::AuthFailed,
    }
}

fn write(write: Result<Write, ErrorCode>, shape: WriteShape) -> Turned {
    match write {
        Ok(write) => Turned::Write(Op::Write(write), shape),
        Err(error) => Turned::Refused(error),
    }
}

fn create_op(create: CreateRequest) -> Result<Write, ErrorCode> {
    let CreateRequest { path, data, acl, flags } = create;
    Ok(Write::Create { path, data, acl, mode: CreateMode::from_flags(flags)? })
}

fn multi(ops: Vec<MultiOp>) -> Turned {
    let (mut writes, mut shapes) = (Vec::with_capacity(ops.len()), Vec::with_capacity(ops.len()));
    for op in ops {
        let (write, shape) = match op {
            MultiOp::Create(create) => (create_op(create), WriteShape::Path),
            MultiOp::Create2(create) => (create_op(create), WriteShape::PathAndStat),
            MultiOp::Delete { path, version } => (Ok(Write::Delete { path, version }), WriteShape::Deleted),
            MultiOp::SetData { path, data, version } => (Ok(Write::SetData { path, data, version }), WriteShape::Stat),
            MultiOp::Check { path, version } => (Ok(Write::Check { path, version }), WriteShape::Empty),
        };
        match write {
            Ok(write) => writes.push(write),
            Err(error) => return Turned::Refused(error),
        }
        shapes.push(shape);
    }
    Turned::Write(Op::Multi(writes), WriteShape::Multi(shapes))
}

fn multi_result(shape: &WriteShape, reply: Reply) -> MultiResult {
    match (shape, reply) {
        (WriteShape::Path, Reply::Created { path, .. }) => MultiResult::Create { path },
        (WriteShape::PathAndStat, Reply::Created { path, stat }) => MultiResult::Create2 { path, stat },
        (WriteShape::Stat, Reply::Changed { stat }) => MultiResult::SetData { stat },
        (WriteShape::Deleted, _) => MultiResult::Delete,
        (WriteShape::Empty, _) => MultiResult::Check,
        (shape, reply) => unreachable!("a write of shape {shape:?} was answered with {reply:?}"),
    }
}

impl<R: Runtime> Server<R> {
    /// A request of an attached session.
    pub(super) fn request(&mut self, connection: ConnectionId, session: SessionId, attachment: u64, mut frame: Bytes) {
        let Ok(header) = RequestHeader::take(&mut frame) else { return self.close_client(connection) };
        let request = match Request::decode(header.op_code, frame) {
            Ok(request) => turn(request),
            Err(DecodeError::UnknownOperation(_)) => Turned::Refused(ErrorCode::Unimplemented),
            Err(error) => {
                tracing::debug!(%connection, %error, "closing a connection after a malformed request");
                return self.close_client(connection);
            }
        };
        let (xid, now) = (header.xid, self.runtime.now());
        let pending = match request {
            Turned::Ping => return self.reply_out_of_turn(connection, Xid::PING, ErrorCode::Ok),
            Turned::AuthFailed => {
                self.reply_out_of_turn(connection, Xid::AUTH, ErrorCode::AuthFailed);
                return self.close_client(connection);
            }
            Turned::Refused(error) => Pending::Refused { xid, error },
            Turned::Read(request) => Pending::Read { xid, request },
            Turned::Sync(path) => {
                let number = self.number();
                self.reads.insert(number, ReadPurpose::Sync(connection));
                self.enqueue(connection, Pending::Sync { number, xid, path, since: now, ready: false });
                return self.step(consensus::Input::ReadIndex { context: ReadContext(number) });
            }
            Turned::Write(op, shape) => {
                let request = self.number();
                self.waiting.insert(request, connection);
                self.enqueue(connection, Pending::Write { request, xid, shape, since: now, done: None });
                return self.submit_write(connection, request, session, attachment, op);
            }
        };
        self.enqueue(connection, pending);
        self.pump(connection);
    }

    fn enqueue(&mut self, connection: ConnectionId, pending: Pending) {
        if let Some(client) = self.clients.get_mut(connection) {
            client.queue.push_back(pending);
        }
    }

    fn submit_write(&mut self, connection: ConnectionId, request: u64, session: SessionId, attachment: u64, op: Op) {
        let Some(client) = self.clients.get_mut(connection) else { return };
        client.sequence += 1;
        let (sequence, origin) = (client.sequence, Origin { server: self.config.id, request });
        let txn = Txn { origin, session, attachment, sequence, ids: own_ids(), op };
        self.submit(connection, request, &txn);
    }

    /// A `sync`'s round is confirmed.
    pub(super) fn sync_ready(&mut self, connection: ConnectionId, round: u64) {
        let Some(client) = self.clients.get_mut(connection) else { return };
        for pending in &mut client.queue {
            if let Pending::Sync { number, ready, .. } = pending
                && *number == round
            {
                *ready = true;
            }
        }
        self.pump(connection);
    }

    /// A write of a connection here is about to be applied: answers what was asked before it from
    /// the state before it, so that no request shows the effect of a later one of its session. A
    /// `sync` among them is satisfied: the write was proposed after it came, so all that was
    /// committed when it came stands before the write, and is applied.
    pub(super) fn answer_before(&mut self, origin: Origin) {
        if origin.server != self.config.id {
            return;
        }
        let Some(&connection) = self.waiting.get(&origin.request) else { return };
        let Some(client) = self.clients.get_mut(connection) else { return };
        let mut satisfied = Vec::new();
        for pending in &mut client.queue {
            match pending {
                Pending::Write { request, .. } if *request == origin.request => break,
                Pending::Sync { number, ready, .. } if !*ready => {
                    *ready = true;
                    satisfied.push(*number);
                }
                _ => {}
            }
        }
        self.reads.retain(|number, _| !satisfied.contains(number));
        if !satisfied.is_empty() {
            self.pump(connection);
        }
    }

    /// Answers requests from the front of the queue for as long as their turn has come.
    pub(super) fn pump(&mut self, connection: ConnectionId) {
        let turn_has_come = |pending: &mut Pending| match pending {
            Pending::Write { done, .. } => done.is_some(),
            Pending::Sync { ready, .. } => *ready,
            Pending::Read { .. } | Pending::Refused { .. } => true,
        };
        while let Some(client) = self.clients.get_mut(connection) {
            let Some(pending) = client.queue.pop_front_if(turn_has_come) else { return };
            client.answered();
            self.answer(connection, pending);
        }
    }

    fn answer(&mut self, connection: ConnectionId, pending: Pending) {
        match pending {
            Pending::Write { xid, shape, done: Some((zxid, result)), .. } => {
                self.answer_write(connection, xid, zxid, &shape, result);
            }
            Pending::Write { done: None, .. } => unreachable!("its turn comes when it is done"),
            Pending::Sync { xid, path, .. } => self.reply(connection, xid, Ok(Response::Path { path })),
            Pending::Read { xid, request } => {
                let response = self.read(connection, request);
                self.reply(connection, xid, response);
            }
            Pending::Refused { xid, error } => self.reply(connection, xid, Err(error)),
        }
    }

    fn answer_write(
        &mut self,
        connection: ConnectionId,
        xid: Xid,
        zxid: Zxid,
        shape: &WriteShape,
        result: Result<Reply, Failure>,
    ) {
        let response = match result {
            Ok(reply) => Ok(response_of(shape, reply)),
            Err(Failure::Error(error)) => Err(error),
            Err(Failure::Refused(refusal)) => {
                if let Refusal::Gap { .. } | Refusal::Duplicate { .. } | Refusal::Moved { .. } = refusal {
                    return self.close_client(connection);
                }
                Err(ErrorCode::SessionExpired)
            }
        };
        self.reply_at(connection, xid, zxid, response);
        if matches!(shape, WriteShape::Close) {
            self.close_client(connection);
        }
    }

    /// Answers from the tree and leaves the watch that was asked for.
    fn read(&mut self, connection: ConnectionId, request: ReadRequest) -> Result<Response, ErrorCode> {
        let ids = own_ids();
        match request {
            ReadRequest::Exists { path, watch } => {
                self.watch_if(watch, connection, WatchKind::Data, &path)?;
                self.tree.stat(&path).map(|stat| Response::Stat { stat })
            }
            ReadRequest::GetData { path, watch } => {
                let node = self.tree.readable(&path, &ids)?;
                let (data, stat) = (node.data.clone(), node.stat());
                self.watch_if(watch, connection, WatchKind::Data, &path)?;
                Ok(Response::Data { data, stat })
            }
            ReadRequest::GetAcl { path } => {
                let (acl, stat) = self.tree.acl(&path, &ids)?;
                Ok(Response::Acl { acl, stat })
            }
            ReadRequest::GetChildren { path, watch, with_stat } => {
                let stat = self.tree.readable(&path, &ids)?.stat();
                let children = self.tree.children(&path).map(Arc::from).collect();
                self.watch_if(watch, connection, WatchKind::Children, &path)?;
                Ok(if with_stat { Response::Children2 { children, stat } } else { Response::Children { children } })
            }
            ReadRequest::SetWatches(lost) => self.restore_watches(connection, &lost),
        }
    }

    fn watch_if(&mut self, wanted: bool, by: ConnectionId, kind: WatchKind, path: &Arc<str>) -> Result<(), ErrorCode> {
        if wanted && self.watches.count_of(by) >= WATCHES_MAX {
            return Err(ErrorCode::ThrottledOp);
        }
        if wanted {
            self.watches.add(by, kind, path);
        }
        Ok(())
    }

    fn restore_watches(&mut self, connection: ConnectionId, lost: &SetWatches) -> Result<Response, ErrorCode> {
        let count = lost.data.len() + lost.exist.len() + lost.children.len();
        if self.watches.count_of(connection) + count > WATCHES_MAX {
            return Err(ErrorCode::ThrottledOp);
        }
        let lost = Restored {
            last_zxid_seen: lost.relative_zxid,
            data: &lost.data,
            exist: &lost.exist,
            children: &lost.children,
        };
        let owed = self.watches.restore(connection, &self.tree, &lost);
        for missed in owed {
            let zxid = self.tree.last_zxid();
            self.notify(missed.watcher, missed.kind, &missed.path, zxid);
        }
        Ok(Response::Empty)
    }

    fn reply(&mut self, connection: ConnectionId, xid: Xid, response: Result<Response, ErrorCode>) {
        self.reply_at(connection, xid, self.tree.last_zxid(), response);
    }

    fn reply_at(&mut self, connection: ConnectionId, xid: Xid, zxid: Zxid, response: Result<Response, ErrorCode>) {
        let Some(client) = self.clients.get_mut(connection) else { return };
        let error = response.as_ref().err().copied().unwrap_or(ErrorCode::Ok);
        let mut frame = Vec::new();
        put_frame(&mut frame, |out| {
            ReplyHeader { xid, zxid, error }.put(out);
            if let Ok(response) = &response {
                response.put(out);
            }
        });
        let session = client.session().unwrap_or_default();
        let late = std::mem::take(&mut client.late);
        let sent = client.send(frame.into()) && late.iter().all(|(event, ..)| client.send(event.clone()));
        self.runtime.observe(|| Event::Coordinator(CoordinatorEvent::Replied { session, xid: xid.0, zxid }));
        for (_, zxid, path) in late {
            self.runtime
                .observe(|| Event::Coordinator(CoordinatorEvent::Notified { session, zxid, path: path.to_string() }));
        }
        if !sent {
            self.close_client(connection);
        }
    }

    fn reply_out_of_turn(&mut self, connection: ConnectionId, xid: Xid, error: ErrorCode) {
        if let Some(client) = self.clients.get_mut(connection) {
            client.answered();
        }
        let response = if error == ErrorCode::Ok { Ok(Response::Empty) } else { Err(error) };
        self.reply(connection, xid, response);
    }
}

/// Who a client has proved to be: nobody in particular, as no authentication scheme is offered.
fn own_ids() -> Vec<AuthId> {
    Vec::new()
}

fn response_of(shape: &WriteShape, reply: Reply) -> Response {
    match (shape, reply) {
        (WriteShape::Path, Reply::Created { path, .. }) => Response::Path { path },
        (WriteShape::PathAndStat, Reply::Created { path, stat }) => Response::Created { path, stat },
        (WriteShape::Stat, Reply::Changed { stat }) => Response::Stat { stat },
        (_, Reply::MultiFailed(errors)) => Response::Multi(errors.into_iter().map(MultiResult::Error).collect()),
        (WriteShape::Multi(shapes), Reply::Multi(replies)) => {
            let results = shapes.iter().zip(replies);
            Response::Multi(results.map(|(shape, reply)| multi_result(shape, reply)).collect())
        }
        (WriteShape::Deleted | WriteShape::Empty | WriteShape::Close, _) => Response::Empty,
        (shape, reply) => unreachable!("a write of shape {shape:?} was answered with {reply:?}"),
    }
}
