//! The coordinator's client: one session, kept alive across servers, over the ZooKeeper protocol.
//! It works with any ZooKeeper ensemble.
//!
//! - Requests take effect in the order of [`CoordinatorClient::submit`]; any number may be on
//!   their way. Every other method submits when it is first polled.
//! - When a request's reply has come, every watch event up to the state that it shows is already in
//!   the receiver of events. Watches are one-shot, and follow the session to another server.
//! - An error says whether the request may have taken effect
//!   ([`CoordinatorError::is_ambiguous`]). When a connection is lost, all requests on their way
//!   end as unknown, and none is ever sent twice.
//! - [`CoordinatorClient::state`] shows connection, loss and expiry. After expiry a new client is
//!   needed. Dropping the last handle abandons the session to its time-out, as a crash would;
//!   [`CoordinatorClient::close`] ends it at once.
//!
//! `protocol` is what it says and understands, without a connection; `connection` is the task
//! that has one.

mod connection;
mod error;
mod protocol;
mod watch_set;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use connection::{Command, Connection, Outcome};
use protocol::Protocol;

use crate::base::address::Address;
use crate::base::ids::Zxid;
use crate::base::znode::{Acl, CreateMode, ErrorCode, Stat};
use crate::runtime::{Runtime, Task, watch};
use crate::wire::zookeeper::{CreateRequest, MultiOp, MultiResult, Request, Response, WatchEvent};

pub use error::CoordinatorError;
pub use protocol::SessionState;

/// How many requests may wait to be sent.
const QUEUED_MAX: usize = 1024;

/// Which ensemble, and how patiently.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers; at least one. They are tried in random order.
    pub servers: Vec<Address>,
    /// The session time-out to ask for; the server bounds it.
    pub session_timeout: Duration,
    /// A server gets its share of the session time-out to be connected and to answer, a third at most, but
    /// no less than this.
    pub connect_timeout_min: Duration,
    /// The longest pause between two attempts; its length is drawn at random.
    pub reconnect_backoff_max: Duration,
}

impl Config {
    /// The usual patience with these servers.
    #[must_use]
    pub fn new(servers: Vec<Address>, session_timeout: Duration) -> Self {
        Config {
            servers,
            session_timeout,
            connect_timeout_min: Duration::from_millis(100),
            reconnect_backoff_max: Duration::from_millis(200),
        }
    }
}

/// A handle of a session. Clones share it.
#[derive(Clone, Debug)]
pub struct CoordinatorClient {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<SessionState>,
}

/// The outcome of a submitted request, when it comes. Dropping it does not undo the request.
#[derive(Debug)]
pub struct PendingReply(oneshot::Receiver<Outcome>);

impl PendingReply {
    /// The outcome with the zxid of the reply's header: a write's own, or for a read the last
    /// that the server had applied. None where no reply came.
    pub async fn with_zxid(self) -> (Result<Response, CoordinatorError>, Option<Zxid>) {
        // The task is gone only when its node is; what it had sent has an unknown outcome.
        self.0.await.unwrap_or((Err(CoordinatorError::ConnectionLoss), None))
    }
}

impl Future for PendingReply {
    type Output = Result<Response, CoordinatorError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let lost = |_| (Err(CoordinatorError::ConnectionLoss), None);
        Pin::new(&mut self.0).poll(context).map(|received| received.unwrap_or_else(lost).0)
    }
}

impl CoordinatorClient {
    /// A client that begins to look for a server at once, and the events of its watches. Each
    /// watch that was left gives one event at most, so what is not received is bounded by what was
    /// asked for.
    ///
    /// # Panics
    /// If no server is configured.
    pub fn start<R: Runtime>(runtime: &R, config: Config) -> (Self, mpsc::UnboundedReceiver<WatchEvent>) {
        assert!(!config.servers.is_empty(), "a client needs a server");
        let (commands_in, commands) = mpsc::channel(QUEUED_MAX);
        let (events, events_out) = mpsc::unbounded_channel();
        let (state, state_out) = watch::channel(SessionState::Disconnected);
        let timeout_ms = i32::try_from(config.session_timeout.as_millis()).unwrap_or(i32::MAX);
        let protocol = Protocol::new(timeout_ms);
        let connection = Connection { runtime: runtime.clone(), config, commands, events, state, protocol };
        runtime.spawn("coordinator-client", connection.run()).detach();
        (CoordinatorClient { commands: commands_in, state: state_out }, events_out)
    }

    /// How it stands with the session, now and from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.state.clone()
    }

    /// Submits a request: it takes effect after all that were submitted before. Waits only while
    /// the queue is full.
    pub async fn submit(&self, request: Request) -> Result<PendingReply, CoordinatorError> {
        let (reply, outcome) = oneshot::channel();
        let sent = self.commands.send(Command { request, reply }).await;
        sent.map(|()| PendingReply(outcome)).map_err(|_| match *self.state.borrow() {
            SessionState::Expired => CoordinatorError::SessionExpired,
            _ => CoordinatorError::Closed,
        })
    }

    async fn ask(&self, request: Request) -> Result<Response, CoordinatorError> {
        self.submit(request).await?.await
    }

    /// Creates a node. Gives its path, with the counter of a sequential node.
    pub async fn create(
        &self,
        path: impl Into<Arc<str>>,
        data: impl Into<Bytes>,
        acl: Vec<Acl>,
        mode: CreateMode,
    ) -> Result<Arc<str>, CoordinatorError> {
        let create = CreateRequest { path: path.into(), data: Some(data.into()), acl, flags: mode.flags() };
        match self.ask(Request::Create(create)).await? {
            Response::Path { path } => Ok(path),
            other => Err(unexpected(&other)),
        }
    }

    /// Creates a node. Gives its path and statistics.
    pub async fn create_with_stat(
        &self,
        path: impl Into<Arc<str>>,
        data: impl Into<Bytes>,
        acl: Vec<Acl>,
        mode: CreateMode,
    ) -> Result<(Arc<str>, Stat), CoordinatorError> {
        let create = CreateRequest { path: path.into(), data: Some(data.into()), acl, flags: mode.flags() };
        match self.ask(Request::Create2(create)).await? {
            Response::Created { path, stat } => Ok((path, stat)),
            other => Err(unexpected(&other)),
        }
    }

    /// Deletes a node, if it has `version`.
    pub async fn delete(&self, path: impl Into<Arc<str>>, version: Option<i32>) -> Result<(), CoordinatorError> {
        self.ask(Request::Delete { path: path.into(), version: wire_version(version) }).await.map(drop)
    }

    /// A node's statistics; none if it does not exist. A watch is left in both cases.
    pub async fn exists(&self, path: impl Into<Arc<str>>, watch: bool) -> Result<Option<Stat>, CoordinatorError> {
        match self.ask(Request::Exists { path: path.into(), watch }).await {
            Ok(Response::Stat { stat }) => Ok(Some(stat)),
            Ok(other) => Err(unexpected(&other)),
            Err(error) if error.is(ErrorCode::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A node's data and statistics. No watch is left if the node does not exist.
    pub async fn get_data(&self, path: impl Into<Arc<str>>, watch: bool) -> Result<(Bytes, Stat), CoordinatorError> {
        match self.ask(Request::GetData { path: path.into(), watch }).await? {
            Response::Data { data, stat } => Ok((data.unwrap_or_default(), stat)),
            other => Err(unexpected(&other)),
        }
    }

    /// Sets a node's data, if it has `version`.
    pub async fn set_data(
        &self,
        path: impl Into<Arc<str>>,
        data: impl Into<Bytes>,
        version: Option<i32>,
    ) -> Result<Stat, CoordinatorError> {
        let (path, data, version) = (path.into(), Some(data.into()), wire_version(version));
        self.ask(Request::SetData { path, data, version }).await.and_then(stat)
    }

    /// The names of a node's children, and its statistics. No watch is left if it does not exist.
    pub async fn get_children(
        &self,
        path: impl Into<Arc<str>>,
        watch: bool,
    ) -> Result<(Vec<Arc<str>>, Stat), CoordinatorError> {
        match self.ask(Request::GetChildren2 { path: path.into(), watch }).await? {
            Response::Children2 { children, stat } => Ok((children, stat)),
            other => Err(unexpected(&other)),
        }
    }

    /// A node's access control list and statistics.
    pub async fn get_acl(&self, path: impl Into<Arc<str>>) -> Result<(Vec<Acl>, Stat), CoordinatorError> {
        match self.ask(Request::GetAcl { path: path.into() }).await? {
            Response::Acl { acl, stat } => Ok((acl, stat)),
            other => Err(unexpected(&other)),
        }
    }

    /// Sets a node's access control list, if that has `version`.
    pub async fn set_acl(
        &self,
        path: impl Into<Arc<str>>,
        acl: Vec<Acl>,
        version: Option<i32>,
    ) -> Result<Stat, CoordinatorError> {
        self.ask(Request::SetAcl { path: path.into(), acl, version: wire_version(version) }).await.and_then(stat)
    }

    /// Waits until the server has seen all that was committed when this was submitted.
    pub async fn sync(&self, path: impl Into<Arc<str>>) -> Result<(), CoordinatorError> {
        self.ask(Request::Sync { path: path.into() }).await.map(drop)
    }

    /// All of `ops`, or none ([`CoordinatorError::MultiRefused`]).
    pub async fn multi(&self, ops: Vec<MultiOp>) -> Result<Vec<MultiResult>, CoordinatorError> {
        match self.ask(Request::Multi(ops)).await? {
            Response::Multi(results) => Ok(results),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends the session: its ephemerals go at once.
    pub async fn close(&self) -> Result<(), CoordinatorError> {
        self.ask(Request::CloseSession).await.map(drop)
    }
}

/// The protocol's number for the version that a node must have.
fn wire_version(version: Option<i32>) -> i32 {
    version.unwrap_or(-1)
}

fn stat(response: Response) -> Result<Stat, CoordinatorError> {
    match response {
        Response::Stat { stat } => Ok(stat),
        other => Err(unexpected(&other)),
    }
}

/// A body is decoded by the request that it answers, so it has that request's shape.
fn unexpected(response: &Response) -> CoordinatorError {
    debug_assert!(false, "a reply of another shape: {response:?}");
    CoordinatorError::Refused(ErrorCode::MarshallingError)
}
