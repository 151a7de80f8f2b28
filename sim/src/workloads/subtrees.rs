//! Clients of the coordinator that own a subtree each, so that they can know every answer.
//!
//! They speak the protocol themselves, over streams of their own: what the product's client never sends, they
//! send; and whatever comes is recorded as it came. A client is the only one that writes below its root; as
//! soon as the outcome of a write is unknown it begins another subtree. Between its connections it does what
//! no sound client does (`odd.rs`).

mod odd;
mod requests;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use wyrdlog::base::address::Address;
use wyrdlog::base::ids::{SessionId, Zxid};
use wyrdlog::runtime::{Clock, Random};
use wyrdlog::wire::zookeeper::{ConnectRequest, ConnectResponse, Request, SetWatches};

use super::Load;
use crate::engine::SimRuntime;
use crate::history::Client;
use crate::history::subtrees::{Purpose, SubtreeIndex, SubtreesHistory};

use requests::Names;
use wire::{Greeted, Wire};

/// The names of the roots begin so.
pub const PREFIX: &str = "/subtree-";
/// The most requests that are on their way at once.
const PIPELINED_MAX: u64 = 8;
/// The most rounds of requests on one connection, and connections on one subtree.
const ROUNDS_MAX: u64 = 8;
const CONNECTIONS_MAX: u64 = 5;
/// After so long a client does not wait for answers any more.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// So long it waits now and then, while its session lives.
const LONG_PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(200);

/// What all clients of the workload share.
pub struct Subtrees {
    servers: Vec<Address>,
    peers: Vec<Address>,
    load: Load,
    history: Mutex<SubtreesHistory>,
}

/// A session that can be attached again.
#[derive(Clone, Debug)]
struct Held {
    session: SessionId,
    password: Bytes,
}

/// One client at its work.
struct Worker {
    shared: Arc<Subtrees>,
    runtime: SimRuntime,
    client: Client,
    /// The highest zxid that it was told.
    seen: Zxid,
}

/// What a connection's end leaves.
enum Left {
    /// All is known: the subtree can be used on, in this session or in the next.
    Known(Option<Held>),
    /// It cannot.
    Unknown,
}

impl Subtrees {
    /// The workload against `servers`, whose own connections go to `peers`.
    #[must_use]
    pub fn new(servers: Vec<Address>, peers: Vec<Address>, load: Load, bounds_ms: (u64, u64)) -> Self {
        Subtrees {
            servers,
            peers,
            load,
            history: Mutex::new(SubtreesHistory { bounds_ms, ..SubtreesHistory::default() }),
        }
    }

    fn history(&self) -> MutexGuard<'_, SubtreesHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was sent and what came.
    #[must_use]
    pub fn take_history(&self) -> SubtreesHistory {
        std::mem::take(&mut self.history())
    }

    /// One client, until the load ends.
    pub async fn run(self: Arc<Self>, runtime: SimRuntime, client: Client) {
        let mut worker = Worker { shared: self, runtime, client, seen: Zxid(0) };
        while !worker.is_over() {
            worker.use_a_subtree().await;
            if worker.percent(50) && !worker.is_over() {
                worker.do_something_odd().await;
            }
        }
    }
}

impl Worker {
    fn is_over(&self) -> bool {
        self.shared.load.is_over()
    }

    fn below(&self, bound: u64) -> u64 {
        self.runtime.random_below("subtrees", bound)
    }

    fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn a_server(&self) -> usize {
        self.below(self.shared.servers.len() as u64) as usize
    }

    fn new_root(&self) -> (SubtreeIndex, String) {
        let mut history = self.shared.history();
        let (index, client) = (history.roots.len(), self.client);
        let root = format!("{PREFIX}{client}-{index}");
        history.roots.push(root.clone());
        (index as SubtreeIndex, root)
    }

    /// Which time-out is asked for.
    fn timeout_ms(&self) -> i32 {
        match self.below(8) {
            0 => 0,
            1 => -1 - self.below(1_000_000) as i32,
            2 => i32::MAX,
            3 => 40_000 + self.below(40_000) as i32,
            _ => 400 + self.below(8_000) as i32,
        }
    }

    /// The first frame of a connection that asks for `held`, or for a new session.
    fn hello(&self, held: Option<&Held>) -> ConnectRequest {
        let new = Held { session: SessionId(0), password: Bytes::from_static(&[0; 16]) };
        let Held { session, password } = held.cloned().unwrap_or(new);
        let read_only = [None, Some(false), Some(true)][self.below(3) as usize];
        let (last_zxid_seen, timeout_ms) = (self.seen, self.timeout_ms());
        ConnectRequest { protocol_version: 0, last_zxid_seen, timeout_ms, session, password, read_only }
    }

    /// Works in a new subtree until something is not known.
    async fn use_a_subtree(&mut self) {
        let (index, root) = self.new_root();
        let mut names = Names::new(root);
        let mut held = None;
        for number in 0..=self.below(CONNECTIONS_MAX) {
            match self.use_a_connection(index, held, &mut names, number == 0).await {
                Left::Known(left) => held = left,
                Left::Unknown => return,
            }
            if self.is_over() {
                return;
            }
        }
    }

    async fn use_a_connection(
        &mut self,
        index: SubtreeIndex,
        held: Option<Held>,
        names: &mut Names,
        is_first: bool,
    ) -> Left {
        let Some((mut wire, granted)) = self.attach(index, held.as_ref()).await else { return Left::Unknown };
        let held = Held { session: granted.session, password: granted.password.clone() };
        let beat = Duration::from_millis(u64::try_from(granted.timeout_ms).unwrap_or(0)) / 3;
        if is_first {
            wire.send(names.root_creation()).await;
        } else if self.percent(60) {
            let watches = self.watches_again(names);
            wire.send(Request::SetWatches(watches)).await;
        }
        for _ in 0..=self.below(ROUNDS_MAX) {
            for _ in 0..=self.below(PIPELINED_MAX) {
                wire.send(names.draw(|bound| self.below(bound))).await;
            }
            let is_answered = self.answered(&mut wire, beat).await;
            names.learn(&wire.paths);
            wire.paths.clear();
            if !is_answered {
                break;
            }
            self.pause(&mut wire, beat).await;
            if self.is_over() {
                break;
            }
        }
        self.seen = self.seen.max(wire.seen);
        self.leave(wire, held).await
    }

    /// Waits until all is answered, now and then for long, with a living session: what a server has forgotten is
    /// never answered. Says whether it is.
    async fn answered(&mut self, wire: &mut Wire, beat: Duration) -> bool {
        if self.below(4) != 0 {
            return wire.answered(PATIENCE).await;
        }
        let until = self.runtime.now() + LONG_PATIENCE;
        while !wire.answered(beat).await {
            if !wire.is_open() || self.is_over() || self.runtime.now() >= until {
                return false;
            }
            wire.send(Request::Ping).await;
        }
        true
    }

    /// Ends a connection: with the session, or without a word.
    async fn leave(&mut self, mut wire: Wire, held: Held) -> Left {
        let is_known = |wire: &Wire| wire.writes_unanswered() == 0;
        if wire.is_open() && self.percent(30) {
            wire.send(Request::CloseSession).await;
            let is_closed = wire.answered(PATIENCE).await && wire.ends(PATIENCE).await;
            self.seen = self.seen.max(wire.seen);
            let is_known = is_known(&wire) && is_closed;
            wire.give_up();
            return if is_known { Left::Known(None) } else { Left::Unknown };
        }
        wire.give_up();
        if is_known(&wire) { Left::Known(Some(held)) } else { Left::Unknown }
    }

    /// Asks for a session for as long as the load lasts; none if it has expired.
    async fn attach(&self, index: SubtreeIndex, held: Option<&Held>) -> Option<(Wire, ConnectResponse)> {
        let hello = self.hello(held);
        while !self.is_over() {
            if let Some(mut wire) =
                Wire::connect(self, Purpose::Work(index), self.a_server(), Some(hello.clone())).await
            {
                match wire.greeted(PATIENCE).await {
                    Greeted::Granted(granted) => return Some((wire, granted)),
                    Greeted::Expired => return None,
                    Greeted::Not => {}
                }
            }
            self.runtime.sleep(AGAIN).await;
        }
        None
    }

    /// Watches that a client might have left before, as of some zxid.
    fn watches_again(&self, names: &Names) -> SetWatches {
        let back = self.below(12) as i64;
        let mut again = SetWatches { relative_zxid: Zxid((self.seen.0 - back).max(0)), ..SetWatches::default() };
        for path in names.all() {
            match self.below(4) {
                0 => again.data.push(path),
                1 => again.exist.push(path),
                2 => again.children.push(path),
                _ => {}
            }
        }
        again
    }

    /// Waits for the next round, and keeps the session alive.
    async fn pause(&self, wire: &mut Wire, beat: Duration) {
        let load = &self.shared.load;
        let left = Duration::from_nanos(load.healed_ns.saturating_sub(load.view.now_ns()));
        let mean = load.pause * (PIPELINED_MAX as u32 / 2);
        let mean = if left.is_zero() { mean.min(PATIENCE / 4) } else { mean };
        let until = self.runtime.now() + self.runtime.random_duration("pause", Duration::ZERO, mean * 2);
        while wire.is_open() && !self.is_over() && self.runtime.now() < until {
            let next = (self.runtime.now() + beat).min(until);
            wire.listen(next).await;
            if self.runtime.now() < until && wire.is_open() {
                wire.send(Request::Ping).await;
            }
        }
    }
}
