//! One entry, applied: sessions, order, and the result that the waiting server hands on.

use std::sync::Arc;

use super::session::{Password, Refusal, Session};
use super::txn::{Op, Origin, Txn, Write};
use super::write::Section;
use super::{Tree, path};
use crate::base::ids::{SessionId, Zxid};
use crate::base::znode::{ErrorCode, EventKind, Stat};

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Applied {
    /// The entry's place in history.
    pub zxid: Zxid,
    /// Who waits for the result.
    pub origin: Origin,
    /// The session that it belongs to.
    pub session: SessionId,
    /// For the reply.
    pub result: Result<Reply, Failure>,
    /// What changed in the tree, in order, for watches.
    pub changes: Vec<Change>,
    /// The session that ended by it.
    pub ended: Option<EndedSession>,
}

/// A success.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Done, and there is nothing to say.
    Done,
    /// The session is attached.
    Attached {
        /// The number of this attachment.
        attachment: u64,
        /// What the client must show to attach again.
        password: Password,
        /// The time-out that holds from now on.
        timeout_ms: u32,
    },
    /// A node was created.
    Created {
        /// Its path, with the counter of a sequential node.
        path: Arc<str>,
        /// Its statistics.
        stat: Stat,
    },
    /// A node was changed.
    Changed {
        /// Its statistics afterwards.
        stat: Stat,
    },
    /// All writes of a multi were done.
    Multi(Vec<Reply>),
    /// A multi changed nothing. One result per write, as ZooKeeper gives them: `Ok` before the one
    /// that failed, `RuntimeInconsistency` after it.
    MultiFailed(Vec<ErrorCode>),
}

/// A failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The operation took its place in the client's order, and failed.
    Error(ErrorCode),
    /// The entry had no place in the client's order: its connection ends.
    Refused(Refusal),
}

impl Failure {
    /// What the client is told, if it is told anything.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Failure::Error(error) => error,
            Failure::Refused(Refusal::NoSession) => ErrorCode::SessionExpired,
            Failure::Refused(Refusal::Moved { .. }) => ErrorCode::SessionMoved,
            Failure::Refused(Refusal::Gap { .. } | Refusal::Duplicate { .. }) => ErrorCode::ConnectionLoss,
        }
    }
}

impl From<ErrorCode> for Failure {
    fn from(error: ErrorCode) -> Self {
        Failure::Error(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

/// A change of one node. A creation and a deletion change the parent's children too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// What happened; never `NodeChildrenChanged`, which follows from the others.
    pub kind: EventKind,
    /// To which node.
    pub path: Arc<str>,
    /// The session that owns or owned the node; 0 for a persistent one.
    pub ephemeral_owner: SessionId,
}

impl Change {
    /// The parent whose children changed with it.
    #[must_use]
    pub fn changed_parent(&self) -> Option<&str> {
        if self.kind == EventKind::NodeDataChanged { None } else { path::parent(&self.path) }
    }
}

/// A session that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndedSession {
    /// Its id.
    pub session: SessionId,
    /// Whether it timed out instead of being closed.
    pub expired: bool,
    /// The nodes that went with it, in order.
    pub ephemerals: Vec<Arc<str>>,
}

impl Tree {
    /// Applies the next entry. Deterministic: the same entries give the same state and the same
    /// results on every server.
    ///
    /// # Panics
    /// If `zxid` is not above the last one: the log's order is consensus' own invariant.
    pub fn apply(&mut self, zxid: Zxid, time_ms: i64, txn: &Txn) -> Applied {
        assert!(zxid > self.last_zxid, "zxids only grow, and {zxid:?} comes after {:?}", self.last_zxid);
        let nodes_before = self.nodes.len();
        self.last_zxid = zxid;
        let mut applied = Applied {
            zxid,
            origin: txn.origin,
            session: txn.session,
            result: Ok(Reply::Done),
            changes: Vec::new(),
            ended: None,
        };
        let result = self.dispatch(time_ms, txn, &mut applied);
        applied.result = result;
        assert!(applied.result.is_ok() || applied.changes.is_empty(), "a failed entry changed the tree");
        assert!(self.nodes.len() == nodes_before || !applied.changes.is_empty(), "a node came or went unnoticed");
        applied
    }

    fn dispatch(&mut self, time_ms: i64, txn: &Txn, applied: &mut Applied) -> Result<Reply, Failure> {
        match &txn.op {
            Op::Noop => Ok(Reply::Done),
            Op::CreateSession { password, timeout_ms } => self.create_session(txn.session, *password, *timeout_ms),
            Op::AttachSession { password, timeout_ms } => self.attach_session(txn.session, *password, *timeout_ms),
            Op::ExpireSession => {
                let session = self.sessions.get(&txn.session).ok_or(Refusal::NoSession)?;
                session.check_attachment(txn.attachment)?;
                self.end_session(txn.session, true, time_ms, applied);
                Ok(Reply::Done)
            }
            Op::SetConfig { data } => {
                let mut section = Section::new(self, time_ms, SessionId(0), &[]);
                let reply = section.set_config(data.clone())?;
                applied.changes = section.commit();
                Ok(reply)
            }
            op => {
                self.take_turn(txn)?;
                self.perform(op, time_ms, txn, applied)
            }
        }
    }

    fn perform(&mut self, op: &Op, time_ms: i64, txn: &Txn, applied: &mut Applied) -> Result<Reply, Failure> {
        match op {
            Op::CloseSession => self.end_session(txn.session, false, time_ms, applied),
            Op::Write(write) => {
                let mut section = Section::new(self, time_ms, txn.session, &txn.ids);
                let reply = section.perform(write)?;
                applied.changes = section.commit();
                return Ok(reply);
            }
            Op::Multi(writes) => {
                let section = Section::new(self, time_ms, txn.session, &txn.ids);
                let (reply, changes) = perform_all(section, writes);
                applied.changes = changes;
                return Ok(reply);
            }
            // The others do not come here: they belong to no client's order.
            Op::Noop
            | Op::CreateSession { .. }
            | Op::AttachSession { .. }
            | Op::ExpireSession
            | Op::SetConfig { .. } => {}
        }
        Ok(Reply::Done)
    }

    /// A number that is taken is refused, so that no session is ever handed to a second client.
    fn create_session(&mut self, id: SessionId, password: Password, timeout_ms: u32) -> Result<Reply, Failure> {
        if id == SessionId(0) {
            return Err(ErrorCode::BadArguments.into());
        }
        if let Some(session) = self.sessions.get(&id) {
            return Err(Refusal::Moved { attachment: session.attachment }.into());
        }
        let session = Session::new(password, timeout_ms);
        let attachment = session.attachment;
        self.replace_session(id, Some(Arc::new(session)));
        Ok(Reply::Attached { attachment, password, timeout_ms })
    }

    /// A wrong password is answered as if there were no session, as ZooKeeper does.
    fn attach_session(&mut self, id: SessionId, password: Password, timeout_ms: u32) -> Result<Reply, Failure> {
        let session = self.sessions.get(&id).filter(|session| session.password == password);
        let mut session = Session::clone(session.ok_or(Refusal::NoSession)?);
        session.attachment += 1;
        session.sequence = 0;
        session.timeout_ms = timeout_ms;
        let attachment = session.attachment;
        self.replace_session(id, Some(Arc::new(session)));
        Ok(Reply::Attached { attachment, password, timeout_ms })
    }

    /// Takes the entry's place in its client's order, whatever will become of the operation.
    fn take_turn(&mut self, txn: &Txn) -> Result<(), Refusal> {
        let slot = self.sessions.get_mut(&txn.session).ok_or(Refusal::NoSession)?;
        slot.check_order(txn.attachment, txn.sequence)?;
        let before = slot.digest(txn.session);
        let session = Arc::make_mut(slot);
        session.sequence = txn.sequence;
        let after = session.digest(txn.session);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
        Ok(())
    }

    fn end_session(&mut self, id: SessionId, expired: bool, time_ms: i64, applied: &mut Applied) {
        let ephemerals: Vec<Arc<str>> = self.ephemerals_of(id).cloned().collect();
        let mut section = Section::new(self, time_ms, id, &[]);
        for path in &ephemerals {
            section.remove(path);
        }
        applied.changes = section.commit();
        let ended = self.replace_session(id, None);
        assert!(ended.is_some_and(|session| session.ephemerals.is_empty()), "an ephemeral outlives its session");
        applied.ended = Some(EndedSession { session: id, expired, ephemerals });
    }
}

/// All of `writes`, or none.
fn perform_all(mut section: Section<'_>, writes: &[Write]) -> (Reply, Vec<Change>) {
    let mut replies = Vec::new();
    for (at, write) in writes.iter().enumerate() {
        match section.perform(write) {
            Ok(reply) => replies.push(reply),
            Err(error) => {
                section.roll_back();
                let mut results = vec![ErrorCode::Ok; at];
                results.push(error);
                results.resize(writes.len(), ErrorCode::RuntimeInconsistency);
                return (Reply::MultiFailed(results), Vec::new());
            }
        }
    }
    (Reply::Multi(replies), section.commit())
}
