//! Clients of the coordinator that share a few registers: sets, compare-and-sets, creations,
//! deletions, multis, synchronised and plain reads, listings. Some requests are pipelined.
//!
//! The history has exact outcomes: what may have taken effect is unknown, and what was refused is
//! an answer. Clients guess versions from what they saw last, so that many compare-and-sets
//! conflict.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use wyrdlog::base::address::Address;
use wyrdlog::base::ids::{SessionId, Zxid};
use wyrdlog::base::znode::{Acl, CreateMode, ErrorCode};
use wyrdlog::client::coordinator::{Config, CoordinatorClient, CoordinatorError, PendingReply, SessionState};
use wyrdlog::runtime::{Clock, Either, Random, select, watch};
use wyrdlog::wire::zookeeper::{CreateRequest, MultiOp, MultiResult, Request, Response};

use super::Load;
use crate::engine::SimRuntime;
use crate::history::coordinator::{Answer, Call, CoordinatorHistory, PathIndex, Refusal, Register, Reply, Write};
use crate::history::{Client, OpId, Outcome};

/// The registers' parent.
const PARENT: &str = "/registers";
/// How long to wait before the preparation is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// So many reads of a session that only reads wait for their answers at most.
const READS_WAITING_MAX: usize = 256;

/// The path of register number `index`.
#[must_use]
pub fn path(index: PathIndex) -> Arc<str> {
    format!("{PARENT}/r{index}").into()
}

/// The value that a register's data is; all ones for data that no client wrote.
#[must_use]
pub fn value_of(data: &[u8]) -> u64 {
    data.try_into().map_or(u64::MAX, u64::from_be_bytes)
}

fn data_of(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

/// What all clients of the workload share.
pub struct Registers {
    /// The registers' paths.
    pub paths: Vec<Arc<str>>,
    servers: Vec<Address>,
    session_timeout: Duration,
    load: Load,
    /// Sessions of a hundred that only read, in quarters.
    readers_percent: u32,
    history: Mutex<CoordinatorHistory>,
    values: AtomicU64,
}

impl Registers {
    /// The workload over `registers` registers.
    #[must_use]
    pub fn new(
        servers: Vec<Address>,
        session_timeout: Duration,
        load: Load,
        registers: u32,
        readers_percent: u32,
    ) -> Self {
        let paths: Vec<Arc<str>> = (0..registers as PathIndex).map(path).collect();
        let history = CoordinatorHistory::new(paths.iter().map(|path| path.to_string()).collect());
        let (history, values) = (Mutex::new(history), AtomicU64::new(1));
        Registers { paths, servers, session_timeout, load, readers_percent, history, values }
    }

    fn history(&self) -> MutexGuard<'_, CoordinatorHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the clients did, once the load has ended.
    #[must_use]
    pub fn take_history(&self) -> CoordinatorHistory {
        std::mem::take(&mut self.history())
    }

    fn next_value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed)
    }

    fn invoke(&self, client: Client, session: SessionId, call: Call) -> OpId {
        self.history().invoke(client, session, self.load.view.now_ns(), call)
    }

    fn complete(&self, op: OpId, outcome: Outcome<Reply>) {
        self.history().complete(op, self.load.view.now_ns(), outcome);
    }

    async fn settled(&self, one: UnderWay) {
        let op = one.op;
        let outcome = outcome_of_all(one).await;
        self.complete(op, outcome);
    }

    /// One client, until the load ends.
    pub async fn run(self: Arc<Self>, runtime: SimRuntime, client: Client) {
        while !self.load.is_over() {
            let Some(mut session) = Session::open(&self, runtime, client).await else { return };
            session.work().await;
        }
    }
}

/// A client with one session.
struct Session<'w> {
    workload: &'w Registers,
    runtime: SimRuntime,
    client: Client,
    session: SessionId,
    coordinator: CoordinatorClient,
    state: watch::Receiver<SessionState>,
    /// The versions that this client saw last.
    versions: Vec<i32>,
    /// A session that only reads is never kept waiting by a write of its own: a leader that is cut off
    /// from its peers goes on being asked what it still believes.
    only_reads: bool,
}

/// A call that is under way: its place in the history, and the replies that are due. Of several,
/// the last one answers.
struct UnderWay {
    op: OpId,
    call: Call,
    replies: Vec<Result<PendingReply, CoordinatorError>>,
}

impl<'w> Session<'w> {
    /// A new session, with the registers' parent in place; none if the load has ended meanwhile.
    async fn open(workload: &'w Registers, runtime: SimRuntime, client: Client) -> Option<Session<'w>> {
        let config = Config::new(workload.servers.clone(), workload.session_timeout);
        // The events themselves are judged where they are handed out.
        let (coordinator, _events) = CoordinatorClient::start(&runtime, config);
        while !workload.load.is_over() {
            let made = coordinator.create(PARENT, Bytes::new(), Acl::open(), CreateMode::Persistent).await;
            if made.is_ok() || made.is_err_and(|error| error.is(ErrorCode::NodeExists)) {
                let state = coordinator.state();
                let SessionState::Connected { session } = *state.borrow() else { continue };
                let versions = vec![0; workload.paths.len()];
                let drawn = 25 * runtime.random_below("only reads", 4);
                let only_reads = drawn < u64::from(workload.readers_percent);
                return Some(Session { workload, runtime, client, session, coordinator, state, versions, only_reads });
            }
            if matches!(*coordinator.state().borrow(), SessionState::Expired) {
                return Box::pin(Session::open(workload, runtime, client)).await;
            }
            runtime.sleep(RETRY).await;
        }
        None
    }

    fn is_over(&self) -> bool {
        matches!(*self.state.borrow(), SessionState::Expired | SessionState::Closed)
    }

    async fn work(&mut self) {
        if self.only_reads {
            return self.read_on().await;
        }
        while !self.is_over() {
            if self.workload.load.is_over() {
                // Whether it is closed or expires later makes no difference to the history.
                let _ = self.coordinator.close().await;
                return;
            }
            self.workload.load.pause(&self.runtime).await;
            let burst = if self.draw("burst", 10) == 0 { 2 + self.draw("burst", 3) } else { 1 };
            let mut under_way = Vec::new();
            for _ in 0..burst {
                under_way.push(self.submit().await);
            }
            for one in under_way {
                self.settle(one).await;
            }
        }
    }

    /// Goes on asking at the workload's pace, whatever is not answered yet: who waits for a server that
    /// stands still, or that only its clients reach, has asked nothing new by the time that shows.
    async fn read_on(&mut self) {
        let workload = self.workload;
        let mut waiting = VecDeque::new();
        let mut front: Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = None;
        while !self.is_over() && !workload.load.is_over() {
            let mut pause = pin!(workload.load.pause(&self.runtime));
            loop {
                let next = || waiting.pop_front().map(|one| Box::pin(workload.settled(one)) as Pin<Box<_>>);
                front = front.take().or_else(next);
                let Some(asked) = &mut front else {
                    pause.await;
                    break;
                };
                match select(pause.as_mut(), asked.as_mut()).await {
                    Either::First(()) => break,
                    Either::Second(()) => front = None,
                }
            }
            if waiting.len() < READS_WAITING_MAX {
                waiting.push_back(self.submit().await);
            }
        }
        if workload.load.is_over() {
            let _ = self.coordinator.close().await;
        }
    }

    fn draw(&self, purpose: &'static str, below: u64) -> u64 {
        self.runtime.random_below(purpose, below)
    }

    fn draw_path(&self) -> PathIndex {
        self.draw("register", self.versions.len() as u64) as PathIndex
    }

    async fn submit(&self) -> UnderWay {
        let call = self.draw_call();
        let op = self.workload.invoke(self.client, self.session, call.clone());
        let mut replies = Vec::new();
        for request in self.requests(&call) {
            replies.push(self.coordinator.submit(request).await);
        }
        UnderWay { op, call, replies }
    }

    fn draw_call(&self) -> Call {
        let path = self.draw_path();
        let drawn = self.draw("call", 100);
        // The last of the hundred are reads.
        match if self.only_reads { 71 + drawn % 29 } else { drawn } {
            0..=29 => Call::Write(self.set(path, true)),
            30..=41 => Call::Write(self.set(path, false)),
            42..=53 => Call::Write(self.create(path)),
            54..=60 => Call::Write(self.delete(path)),
            61..=70 => Call::Multi(self.draw_multi()),
            71..=82 => Call::SyncRead(path),
            83..=94 => Call::Read(path),
            _ => Call::SyncChildren((0..self.versions.len() as PathIndex).collect()),
        }
    }

    fn draw_multi(&self) -> Vec<Write> {
        let count = 1 + self.draw("multi", 3);
        let draw = |_| {
            let path = self.draw_path();
            match self.draw("multi", 6) {
                0 => self.create(path),
                1 => self.delete(path),
                2 => Write::Check { path, version: self.guess(path, true) },
                3 => self.set(path, true),
                _ => self.set(path, false),
            }
        };
        (0..count).map(draw).collect()
    }

    fn create(&self, path: PathIndex) -> Write {
        Write::Create { path, value: self.workload.next_value() }
    }

    fn set(&self, path: PathIndex, compares: bool) -> Write {
        Write::Set { path, value: self.workload.next_value(), version: self.guess(path, compares) }
    }

    fn delete(&self, path: PathIndex) -> Write {
        let compares = self.draw("delete", 2) == 0;
        Write::Delete { path, version: self.guess(path, compares) }
    }

    fn guess(&self, path: PathIndex, compares: bool) -> Option<i32> {
        compares.then(|| self.versions[usize::from(path)])
    }

    fn requests(&self, call: &Call) -> Vec<Request> {
        let name = |path: PathIndex| self.workload.paths[usize::from(path)].clone();
        // A third of all reads leave a watch.
        let watch = self.draw("watch", 3) == 0;
        match call {
            Call::Write(write) => vec![self.write_request(write)],
            Call::Multi(writes) => vec![Request::Multi(writes.iter().map(|write| self.multi_op(write)).collect())],
            Call::SyncRead(path) => {
                vec![Request::Sync { path: name(*path) }, Request::GetData { path: name(*path), watch }]
            }
            Call::Read(path) => vec![Request::GetData { path: name(*path), watch }],
            Call::SyncChildren(_) => {
                let parent: Arc<str> = PARENT.into();
                vec![Request::Sync { path: parent.clone() }, Request::GetChildren2 { path: parent, watch }]
            }
        }
    }

    fn write_request(&self, write: &Write) -> Request {
        match self.multi_op(write) {
            MultiOp::Create(create) | MultiOp::Create2(create) => Request::Create(create),
            MultiOp::Delete { path, version } => Request::Delete { path, version },
            MultiOp::SetData { path, data, version } => Request::SetData { path, data, version },
            MultiOp::Check { path, version } => Request::Check { path, version },
        }
    }

    fn multi_op(&self, write: &Write) -> MultiOp {
        let path = self.workload.paths[usize::from(write.path())].clone();
        match *write {
            Write::Create { value, .. } => {
                MultiOp::Create(CreateRequest { path, data: Some(data_of(value)), acl: Acl::open(), flags: 0 })
            }
            Write::Set { value, version, .. } => {
                MultiOp::SetData { path, data: Some(data_of(value)), version: version.unwrap_or(-1) }
            }
            Write::Delete { version, .. } => MultiOp::Delete { path, version: version.unwrap_or(-1) },
            Write::Check { version, .. } => MultiOp::Check { path, version: version.unwrap_or(-1) },
        }
    }

    async fn settle(&mut self, one: UnderWay) {
        let (op, call) = (one.op, one.call.clone());
        let outcome = outcome_of_all(one).await;
        self.learn(&call, &outcome);
        self.workload.complete(op, outcome);
    }

    /// Keeps the versions that the answer shows.
    fn learn(&mut self, call: &Call, outcome: &Outcome<Reply>) {
        let Outcome::Ok(Reply { answer, .. }) = outcome else { return };
        match (call, answer) {
            (Call::SyncRead(path) | Call::Read(path), Answer::Value(Some(register))) => {
                self.versions[usize::from(*path)] = register.version;
            }
            (Call::Write(Write::Set { path, version: Some(version), .. }), Answer::Done) => {
                self.versions[usize::from(*path)] = version + 1;
            }
            (Call::Write(Write::Create { path, .. }), Answer::Done) => self.versions[usize::from(*path)] = 0,
            _ => {}
        }
    }
}

/// What became of a call, once all of its replies are there.
async fn outcome_of_all(one: UnderWay) -> Outcome<Reply> {
    let mut outcome = Outcome::Unknown;
    for reply in one.replies {
        let (result, zxid) = match reply {
            Ok(pending) => pending.with_zxid().await,
            Err(error) => (Err(error), None),
        };
        outcome = outcome_of(&one.call, result, zxid);
        // Without its sync, a read proves nothing.
        if !matches!(outcome, Outcome::Ok(_)) {
            break;
        }
    }
    outcome
}

/// What became of a call, by its last reply.
fn outcome_of(call: &Call, result: Result<Response, CoordinatorError>, zxid: Option<Zxid>) -> Outcome<Reply> {
    let is_read = matches!(call, Call::SyncRead(_) | Call::Read(_));
    let answer = match result {
        Ok(Response::Data { data, stat }) if is_read => {
            let value = value_of(&data.unwrap_or_default());
            Answer::Value(Some(Register { version: stat.version, value }))
        }
        Ok(Response::Multi(results)) if !fit(call, &results) => Answer::Children(vec![PathIndex::MAX]),
        Ok(Response::Children2 { children, .. }) => Answer::Children(indexes(&children)),
        Ok(_) => Answer::Done,
        Err(CoordinatorError::MultiRefused(errors)) if !has_as_many(call, errors.len()) => {
            Answer::Children(vec![PathIndex::MAX])
        }
        Err(CoordinatorError::Refused(ErrorCode::NoNode)) if is_read => Answer::Value(None),
        Err(error) => {
            let code = error.failed_operation().map(|(_, code)| code);
            let code = code.or(if let CoordinatorError::Refused(code) = error { Some(code) } else { None });
            match code {
                Some(ErrorCode::NoNode) => Answer::Refused(Refusal::NoNode),
                Some(ErrorCode::NodeExists) => Answer::Refused(Refusal::NodeExists),
                Some(ErrorCode::BadVersion) => Answer::Refused(Refusal::BadVersion),
                _ if error.is_ambiguous() => return Outcome::Unknown,
                _ => return Outcome::Failed,
            }
        }
    };
    // An answer that came has a zxid; without one it proves nothing.
    zxid.map_or(Outcome::Unknown, |zxid| Outcome::Ok(Reply { answer, zxid }))
}

/// Whether a multi's results are those of its writes, one by one. Others are an answer that no state explains.
fn fit(call: &Call, results: &[MultiResult]) -> bool {
    let Call::Multi(writes) = call else { return false };
    let fits = |(write, result): (&Write, &MultiResult)| {
        matches!(
            (write, result),
            (Write::Create { .. }, MultiResult::Create { .. })
                | (Write::Set { .. }, MultiResult::SetData { .. })
                | (Write::Delete { .. }, MultiResult::Delete)
                | (Write::Check { .. }, MultiResult::Check)
        )
    };
    has_as_many(call, results.len()) && writes.iter().zip(results).all(fits)
}

fn has_as_many(call: &Call, results: usize) -> bool {
    matches!(call, Call::Multi(writes) if writes.len() == results)
}

/// The registers among a node's children, in ascending order. A foreign name is a register that
/// does not exist, which no state explains.
fn indexes(children: &[Arc<str>]) -> Vec<PathIndex> {
    let index =
        |name: &Arc<str>| name.strip_prefix('r').and_then(|number| number.parse().ok()).unwrap_or(PathIndex::MAX);
    let mut indexes: Vec<PathIndex> = children.iter().map(index).collect();
    indexes.sort_unstable();
    indexes
}
