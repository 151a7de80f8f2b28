//! What producers, consumers and admins share: one connection per broker, and what is known of
//! leaders.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use super::config::ClientConfig;
use super::connection::{Connection, RequestFailed};
use super::metadata::ClusterView;
use crate::base::address::Address;
use crate::base::ids::BrokerId;
use crate::base::time::Instant;
use crate::message;
use crate::runtime::Runtime;
use crate::wire::kafka::messages::metadata_request::MetadataRequestTopic;
use crate::wire::kafka::messages::{MetadataRequest, StrBytes};
use crate::wire::kafka::{Request, Response};

/// A line per broker: whoever needs the connection while it is being opened waits here.
type Slot<R> = Arc<AsyncMutex<Option<Arc<Connection<R>>>>>;

/// A handle to a cluster; clones share connections and knowledge. When the last one is dropped
/// the connections are closed.
pub struct Cluster<R: Runtime> {
    inner: Arc<Inner<R>>,
}

struct Inner<R: Runtime> {
    runtime: R,
    config: ClientConfig,
    bootstrap: Vec<Address>,
    known: Mutex<Known>,
    connections: Mutex<BTreeMap<Address, Slot<R>>>,
}

#[derive(Default)]
struct Known {
    view: Arc<ClusterView>,
    /// When each topic was asked about last.
    refreshed: BTreeMap<Arc<str>, Instant>,
}

impl<R: Runtime> Clone for Cluster<R> {
    fn clone(&self) -> Self {
        Cluster { inner: self.inner.clone() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: Runtime> Cluster<R> {
    /// A cluster that is found through any of the `bootstrap` addresses. Connects when needed.
    #[must_use]
    pub fn new(runtime: R, bootstrap: Vec<Address>, config: ClientConfig) -> Self {
        let (known, connections) = (Mutex::default(), Mutex::default());
        Cluster { inner: Arc::new(Inner { runtime, config, bootstrap, known, connections }) }
    }

    /// The node that this client runs on.
    #[must_use]
    pub fn runtime(&self) -> &R {
        &self.inner.runtime
    }

    /// What it was told.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// What is known at this moment.
    #[must_use]
    pub fn view(&self) -> Arc<ClusterView> {
        lock(&self.inner.known).view.clone()
    }

    /// Whether what is known of one of `topics` is older than `metadata.max.age.ms`.
    #[must_use]
    pub fn is_stale(&self, topics: &[Arc<str>]) -> bool {
        let (now, known) = (self.runtime().now(), lock(&self.inner.known));
        let is_old = |at: &Instant| now - *at >= self.config().metadata_max_age;
        topics.iter().any(|topic| known.refreshed.get(topic).is_none_or(is_old))
    }

    /// Asks a broker about `topics`, or about all topics. Topics are not created by asking.
    pub async fn refresh(&self, topics: Option<&[Arc<str>]>) -> Result<Arc<ClusterView>, RequestFailed> {
        let name = |topic: &Arc<str>| message!(MetadataRequestTopic { name: Some(StrBytes::from(&**topic)) });
        let request = Request::Metadata(message!(MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(name).collect()),
            allow_auto_topic_creation: false,
        }));
        match self.ask_any(&request).await? {
            Response::Metadata(response) => {
                let mut known = lock(&self.inner.known);
                Arc::make_mut(&mut known.view).apply(&response);
                let now = self.runtime().now();
                let told = response.topics.iter().filter_map(|topic| topic.name.as_ref());
                known.refreshed.extend(told.map(|name| (Arc::from(name.as_str()), now)));
                Ok(known.view.clone())
            }
            other => Err(RequestFailed::Lost(format!("{:?} instead of Metadata", other.api()))),
        }
    }

    /// Sends `request` to brokers in turn, known ones first, until one answers.
    pub async fn ask_any(&self, request: &Request) -> Result<Response, RequestFailed> {
        let mut addresses: Vec<Address> = self.view().brokers.values().cloned().collect();
        let count = addresses.len();
        let first = self.runtime().random_below("client-broker", count as u64) as usize;
        addresses.rotate_left(first.min(count));
        addresses.extend(self.inner.bootstrap.iter().cloned());
        let mut failed = RequestFailed::NotSent("no broker is known".to_owned());
        for address in addresses {
            match self.ask_at(&address, request).await {
                Ok(response) => return Ok(response),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn ask_at(&self, address: &Address, request: &Request) -> Result<Response, RequestFailed> {
        self.connection_to(address).await?.request(request).await
    }

    /// Sends `request` to `broker`.
    pub async fn ask(&self, broker: BrokerId, request: &Request) -> Result<Response, RequestFailed> {
        self.connection(broker).await?.request(request).await
    }

    /// The connection to `broker`, opened if there is none.
    pub async fn connection(&self, broker: BrokerId) -> Result<Arc<Connection<R>>, RequestFailed> {
        let address = self.view().brokers.get(&broker).cloned();
        let address = address.ok_or_else(|| RequestFailed::NotSent(format!("broker {broker} is not known")))?;
        self.connection_to(&address).await
    }

    /// The connection to the broker at `address`, opened if there is none.
    pub async fn connection_to(&self, address: &Address) -> Result<Arc<Connection<R>>, RequestFailed> {
        let slot = lock(&self.inner.connections).entry(address.clone()).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(open) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(open.clone());
        }
        *slot = None;
        // On the heap: it is rarely done, and large in all that may have to do it.
        let opened = Box::pin(Connection::open(self.runtime(), address, self.config())).await?;
        let opened = Arc::new(opened);
        *slot = Some(opened.clone());
        Ok(opened)
    }

    /// Opens a new connection to the broker at `address` when the next one is needed: whoever listened there is
    /// gone. What is under way on the old one goes on.
    pub fn forget(&self, address: &Address) {
        lock(&self.inner.connections).remove(address);
    }

    /// How long to wait before attempt number `attempt` + 1: exponential, with jitter (KIP-580).
    #[must_use]
    pub fn backoff(&self, attempt: u32) -> Duration {
        let config = self.config();
        let exponential = config.retry_backoff.saturating_mul(1 << attempt.min(16));
        let wait = exponential.min(config.retry_backoff_max);
        self.runtime().random_duration("client-backoff", wait * 4 / 5, wait * 6 / 5)
    }
}
