//! Clients of the coordinator that know no better: an operator's tool, an older or a newer version, half a script.
//!
//! Where brokers and topics are registered they write what nobody can read (`meddling/flaws.rs`), under names that are
//! theirs alone, and remove it again: some at once, some only when the load is about to end. In between they ask
//! brokers what there is, and to create or delete what cannot be read. What an outcome that is unknown leaves behind
//! belongs to nobody, and stays.

mod flaws;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use wyrdlog::base::address::Address;
use wyrdlog::base::ids::BrokerId;
use wyrdlog::base::time::Instant;
use wyrdlog::base::znode::{Acl, CreateMode, ErrorCode};
use wyrdlog::client::admin::AdminError;
use wyrdlog::client::coordinator::{Config, CoordinatorClient, CoordinatorError, SessionState};
use wyrdlog::client::{Admin, ClientConfig, Cluster, NewTopic};
use wyrdlog::message;
use wyrdlog::runtime::{Clock, Random, timeout};
use wyrdlog::wire::kafka::messages::metadata_request::MetadataRequestTopic;
use wyrdlog::wire::kafka::messages::{MetadataRequest, MetadataResponse, StrBytes};
use wyrdlog::wire::kafka::{ErrorCode as Code, Request, Response};
use wyrdlog::wire::zookeeper::{CreateRequest, MultiOp, WatchEvent};

use super::Load;
use crate::engine::SimRuntime;
use crate::history::Client;
use crate::history::meddling::{Change, FIRST_BROKER, Look, MeddlingHistory, PREFIX, Told, ToldTopic, Wish};
use flaws::{REGISTRATIONS, TOPICS, Znodes};

/// So long before the load ends everything is removed.
const REMOVED: Duration = Duration::from_secs(2);
/// Between two attempts to remove what is left then.
const AGAIN: Duration = Duration::from_millis(200);
/// What is removed soon stays so long at most.
const SOON: Duration = Duration::from_secs(4);
/// After so long an answer of a broker is waited for no more.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the controller may take to create or delete a topic.
const CHANGE_WAIT: Duration = Duration::from_secs(4);
/// After so long a change is given up.
const CHANGE_PATIENCE: Duration = Duration::from_secs(6);
/// So much is there at once at most.
const THERE_MAX: usize = 12;
/// Names of one client.
const NAMES: i64 = 100_000;
/// Matches every version.
const ANY_VERSION: i32 = -1;

/// What all clients of the workload share.
pub struct Meddling {
    servers: Vec<Address>,
    brokers: Vec<(BrokerId, Address)>,
    session_timeout: Duration,
    load: Load,
    history: Mutex<MeddlingHistory>,
}

/// One client at its work.
struct Meddler {
    shared: Arc<Meddling>,
    runtime: SimRuntime,
    client: Client,
    cluster: Cluster<SimRuntime>,
    /// How many names it has used.
    named: i64,
    there: Vec<Written>,
}

/// What is there, or may be.
struct Written {
    /// Parents first.
    paths: Vec<Arc<str>>,
    /// The topic, if it is one.
    topic: Option<String>,
    /// Whether it is certain to be there.
    is_certain: bool,
    /// When it is removed; at last if never.
    removed: Option<Instant>,
}

impl Meddling {
    /// The workload against the ensemble `servers` and the cluster of `brokers`.
    #[must_use]
    pub fn new(
        servers: Vec<Address>,
        brokers: Vec<(BrokerId, Address)>,
        session_timeout: Duration,
        load: Load,
    ) -> Self {
        let known = brokers.iter().map(|(id, _)| *id).collect();
        let history = Mutex::new(MeddlingHistory { brokers: known, ..MeddlingHistory::default() });
        Meddling { servers, brokers, session_timeout, load, history }
    }

    fn history(&self) -> MutexGuard<'_, MeddlingHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What brokers told.
    #[must_use]
    pub fn take_history(&self) -> MeddlingHistory {
        std::mem::take(&mut self.history())
    }

    /// One client, until the load ends.
    pub async fn run(self: Arc<Self>, runtime: SimRuntime, client: Client) {
        let config = ClientConfig {
            client_id: format!("client-{client}"),
            request_timeout: CHANGE_PATIENCE,
            connect_timeout: Duration::from_secs(1),
            ..ClientConfig::default()
        };
        let addresses = self.brokers.iter().map(|(_, address)| address.clone()).collect();
        let cluster = Cluster::new(runtime, addresses, config);
        let mut meddler = Meddler { shared: self, runtime, client, cluster, named: 0, there: Vec::new() };
        while !meddler.shared.load.is_over() {
            let config = Config::new(meddler.shared.servers.clone(), meddler.shared.session_timeout);
            let (coordinator, events) = CoordinatorClient::start(&runtime, config);
            meddler.meddle(&coordinator, events).await;
        }
    }
}

impl Meddler {
    fn below(&self, bound: usize) -> usize {
        self.runtime.random_below("meddling", bound as u64) as usize
    }

    fn one_of<'t, T>(&self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    /// How long it is until everything is removed.
    fn left(&self) -> Duration {
        let load = &self.shared.load;
        let ends_ns = load.ends_ns.saturating_sub(REMOVED.as_nanos() as u64);
        Duration::from_nanos(ends_ns.saturating_sub(load.view.now_ns()))
    }

    /// Until the session or the load is over.
    async fn meddle(&mut self, coordinator: &CoordinatorClient, mut events: mpsc::UnboundedReceiver<WatchEvent>) {
        while !self.shared.load.is_over() {
            self.pause().await;
            while events.try_recv().is_ok() {}
            if matches!(*coordinator.state().borrow(), SessionState::Expired | SessionState::Closed) {
                return;
            }
            self.remove_what_is_due(coordinator).await;
            if !self.left().is_zero() && self.there.len() < THERE_MAX {
                self.write(coordinator).await;
            }
            match self.below(5) {
                0 if !self.left().is_zero() => self.wish().await,
                _ => self.look().await,
            }
        }
        // A session that could not be closed expires.
        let _ = coordinator.close().await;
    }

    async fn pause(&self) {
        let pause = self.runtime.random_duration("meddling pause", Duration::ZERO, self.shared.load.pause * 2);
        let left = self.left();
        self.runtime.sleep(if left.is_zero() { AGAIN } else { pause.min(left) }).await;
    }

    /// Children before their parents, all at once. What is gone already is no longer there.
    async fn remove_what_is_due(&mut self, coordinator: &CoordinatorClient) {
        let (is_last, now) = (self.left().is_zero(), self.runtime.now());
        for mut written in std::mem::take(&mut self.there) {
            if !is_last && written.removed.is_none_or(|due| due > now) {
                self.there.push(written);
                continue;
            }
            let delete = |path: &Arc<str>| MultiOp::Delete { path: path.clone(), version: ANY_VERSION };
            let removed = coordinator.multi(written.paths.iter().rev().map(delete).collect()).await;
            let is_gone = match &removed {
                Ok(_) => true,
                Err(error) => error.failed_operation().is_some_and(|(_, error)| error == ErrorCode::NoNode),
            };
            if !is_gone {
                written.is_certain = false;
                self.there.push(written);
            }
        }
    }

    async fn write(&mut self, coordinator: &CoordinatorClient) {
        self.named += 1;
        let (znodes, topic, mode) = if self.below(3) > 0 {
            let flaw = self.one_of(TOPICS);
            let brokers: Vec<i32> = self.shared.brokers.iter().map(|(id, _)| id.0).collect();
            let name = format!("{PREFIX}{}-{}", self.client, self.named);
            let (name, znodes) = flaw.topic(name, *self.one_of(&brokers));
            (znodes, Some(name), CreateMode::Persistent)
        } else {
            let flaw = self.one_of(REGISTRATIONS);
            let number = FIRST_BROKER + i64::from(self.client) * NAMES + self.named;
            // One whose name another might be read from outlives its session.
            let mode = if flaw.is_named_oddly() { CreateMode::Persistent } else { CreateMode::Ephemeral };
            (flaw.registration(number), None, mode)
        };
        let removed = self.runtime.now() + self.runtime.random_duration("meddling lasts", Duration::ZERO, SOON);
        let removed = (self.below(2) == 0).then_some(removed);
        let paths = znodes.iter().map(|(path, _)| path.clone()).collect();
        let created = self.create(coordinator, znodes, mode).await;
        if !is_refused(&created) {
            self.there.push(Written { paths, topic, is_certain: created.is_ok(), removed });
        }
    }

    async fn create(
        &self,
        coordinator: &CoordinatorClient,
        znodes: Znodes,
        mode: CreateMode,
    ) -> Result<(), CoordinatorError> {
        let create = |(path, data): (Arc<str>, Bytes)| {
            MultiOp::Create(CreateRequest { path, data: Some(data), acl: Acl::open(), flags: mode.flags() })
        };
        coordinator.multi(znodes.into_iter().map(create).collect()).await.map(drop)
    }

    /// Asks a broker for all topics, or for one that is there and cannot be read.
    async fn look(&self) {
        let (broker, address) = self.one_of(&self.shared.brokers).clone();
        let there: Vec<&String> = self.there.iter().filter_map(|written| written.topic.as_ref()).collect();
        let topic = (!there.is_empty() && self.below(2) == 0).then(|| (*self.one_of(&there)).clone());
        let named = |name: &String| message!(MetadataRequestTopic { name: Some(StrBytes::from(name.as_str())) });
        let topics = topic.as_ref().map(|name| vec![named(name)]);
        let request = Request::Metadata(message!(MetadataRequest { topics, allow_auto_topic_creation: false }));
        let asked_ns = self.shared.load.view.now_ns();
        let asked = async { self.cluster.connection_to(&address).await?.request(&request).await };
        if let Ok(Ok(Response::Metadata(response))) = timeout(&self.runtime, PATIENCE, asked).await {
            let (client, told_ns) = (self.client, self.shared.load.view.now_ns());
            let look = Look { client, broker, topic, asked_ns, told_ns, told: told(&response) };
            self.shared.history().looks.push(look);
        }
    }

    /// Asks for the creation or the deletion of a topic that is there and cannot be read. What stands in the way of a
    /// creation that may still come is never removed.
    async fn wish(&mut self) {
        let is_topic = |at: &usize| self.there[*at].is_certain && self.there[*at].topic.is_some();
        let topics: Vec<usize> = (0..self.there.len()).filter(is_topic).collect();
        if topics.is_empty() {
            return;
        }
        let at = *self.one_of(&topics);
        let Some(topic) = self.there[at].topic.clone() else { return };
        let (_, address) = self.one_of(&self.shared.brokers).clone();
        let admin = Admin::via(self.cluster.clone(), address);
        let wish = if self.below(3) > 0 { Wish::Creation } else { Wish::Deletion };
        let asked_ns = self.shared.load.view.now_ns();
        let asked = async {
            match wish {
                Wish::Creation => {
                    let new = [NewTopic::new(topic.as_str(), 1, 1)];
                    let results = admin.create_topics(&new, CHANGE_WAIT).await;
                    results.map(|mut results| results.remove(&topic).map(|result| result.map(drop)))
                }
                Wish::Deletion => {
                    let results = admin.delete_topics(std::slice::from_ref(&topic), CHANGE_WAIT).await;
                    results.map(|mut results| results.remove(&topic))
                }
            }
        };
        let answer = match timeout(&self.runtime, CHANGE_PATIENCE, asked).await {
            Ok(Ok(Some(result))) => result,
            Ok(Err(error)) => Err(error),
            Ok(Ok(None)) | Err(_) => return drop(self.there.swap_remove(at)),
        };
        let answer = match answer {
            Ok(()) => Code::None,
            Err(error) if error.is_unknown() => return drop(self.there.swap_remove(at)),
            Err(AdminError::Broker { error, .. }) => error,
            Err(AdminError::Request(_)) => return,
        };
        let (client, told_ns) = (self.client, self.shared.load.view.now_ns());
        self.shared.history().changes.push(Change { client, wish, topic, asked_ns, told_ns, answer });
    }
}

/// Whether it is certain that nothing was written.
fn is_refused(result: &Result<(), CoordinatorError>) -> bool {
    result.as_ref().is_err_and(|error| !error.is_ambiguous())
}

fn told(response: &MetadataResponse) -> Told {
    let topics = response.topics.iter().map(|topic| ToldTopic {
        name: topic.name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default(),
        error: topic.error_code,
        partitions: topic.partitions.len(),
    });
    let brokers = response.brokers.iter().map(|broker| BrokerId(broker.node_id));
    Told { topics: topics.collect(), brokers: brokers.collect() }
}
