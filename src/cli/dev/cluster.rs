//! Starting, awaiting and stopping the nodes of one process.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use super::layout::Layout;
use crate::base::address::Address;
use crate::base::ids::{BrokerId, ServerId};
use crate::broker;
use crate::cli::broker::serve as serve_broker;
use crate::cli::failure::Failure;
use crate::cli::node;
use crate::client::{ClientConfig, Cluster};
use crate::coordinator::{self, Listeners, Member};
use crate::runtime::tokio_runtime::{TokioListener, TokioRuntime};
use crate::runtime::{Clock, Disk, Either, Listener, Network, Task, Tasks, select, timeout, watch};

const LOOPBACK: &str = "127.0.0.1";
const COORDINATORS: u32 = 3;
const BROKERS: i32 = 3;
const REPLICATION: i16 = 3;
const MIN_IN_SYNC: usize = 2;
/// Shorter than Kafka's default: after `kill -9` of the process, the controller that was is waited
/// for as long as its session lives.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// How long the brokers may take to find each other.
const READY_MAX: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(100);

/// Which of a node's kinds has ended, and how.
struct Ended {
    name: String,
    result: Result<(), Failure>,
}

/// Nodes of one kind, which are stopped together.
struct Nodes {
    addresses: Vec<Address>,
    running: usize,
    stop: watch::Sender<bool>,
    ends: mpsc::Receiver<Ended>,
    ended: mpsc::Sender<Ended>,
}

impl Nodes {
    fn new() -> Self {
        let (ended, ends) = mpsc::channel(16);
        Nodes { addresses: Vec::new(), running: 0, stop: watch::Sender::new(false), ends, ended }
    }

    /// Runs `life` as one of them.
    fn run(
        &mut self,
        runtime: &TokioRuntime,
        address: Address,
        life: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) {
        let (name, ended) = (runtime.name().to_owned(), self.ended.clone());
        self.addresses.push(address);
        self.running += 1;
        let life = async move {
            let result = life.await;
            // Nobody waits any more when the process ends.
            let _ = ended.send(Ended { name, result }).await;
        };
        runtime.spawn("node", life).detach();
    }

    /// The next of them that ends, which it should not do before it is told to.
    async fn next_end(&mut self) -> Failure {
        let Some(Ended { name, result }) = self.ends.recv().await else { return Failure::failed("no node is left") };
        self.running -= 1;
        let line = result.err().map_or_else(|| "stopped by itself".to_owned(), |failure| failure.to_string());
        Failure::failed(format!("{name}: {line}"))
    }

    /// Stops all of them and waits until they have ended; gives what went wrong.
    async fn stop(&mut self) -> Option<Failure> {
        self.stop.send_replace(true);
        let mut failure = None;
        while self.running > 0 {
            let Some(Ended { name, result }) = self.ends.recv().await else { break };
            self.running -= 1;
            if let Err(what) = result {
                failure = failure.or(Some(Failure::failed(format!("{name}: {what}"))));
            }
        }
        failure
    }
}

/// The nodes of one directory.
pub(super) struct DevCluster {
    coordinators: Nodes,
    brokers: Nodes,
}

impl DevCluster {
    /// Starts all nodes of `directory`, which `root` has locked. A directory that is new gets its
    /// ports and its marks; in one that is not, a coordinator that lost its disk stays down.
    pub(super) async fn start(root: &TokioRuntime, directory: &Path) -> Result<Self, Failure> {
        let about = |problem: String| Failure::unusable(format!("{}: {problem}", directory.display()));
        let kept = Layout::read(root).await.map_err(about)?;
        let is_new = kept.is_none();
        let mut layout = kept.unwrap_or_else(|| Layout::with_free_ports(COORDINATORS, BROKERS));
        let coordinators = bind_coordinators(directory, &mut layout).await?;
        let brokers = bind_brokers(directory, &mut layout).await?;
        if is_new {
            for coordinator in &coordinators {
                format_if_empty(coordinator).await?;
            }
            layout.write(root).await.map_err(|error| about(error.to_string()))?;
        }
        let ensemble: Vec<Member> = coordinators.iter().map(BoundCoordinator::member).collect();
        let mut cluster = DevCluster { coordinators: Nodes::new(), brokers: Nodes::new() };
        coordinators.into_iter().for_each(|one| cluster.run_coordinator(one, &ensemble));
        brokers.into_iter().for_each(|one| cluster.run_broker(one));
        Ok(cluster)
    }

    fn run_coordinator(&mut self, coordinator: BoundCoordinator, ensemble: &[Member]) {
        let BoundCoordinator { id, runtime, listeners } = coordinator;
        let config = coordinator::Config::new(id, ensemble.to_vec());
        let (address, stop) = (listeners.clients.local_address().clone(), self.coordinators.stop.subscribe());
        let node = runtime.clone();
        let life = async move { coordinator::run(node, config, listeners, stop).await.map_err(Failure::failed) };
        self.coordinators.run(&runtime, address, life);
    }

    fn run_broker(&mut self, broker: BoundBroker) {
        let BoundBroker { id, runtime, listener } = broker;
        let address = listener.local_address().clone();
        let mut config = broker::Config::new(id, address.clone(), self.coordinators.addresses.clone());
        config.default_replication = REPLICATION;
        config.min_in_sync = MIN_IN_SYNC;
        config.session_timeout = SESSION_TIMEOUT;
        config.auto_create_topics = true;
        let life = serve_broker(runtime.clone(), config, listener, self.brokers.stop.subscribe());
        self.brokers.run(&runtime, address, life);
    }

    /// Where the brokers listen.
    pub(super) fn brokers(&self) -> Vec<Address> {
        self.brokers.addresses.clone()
    }

    /// Where the coordinators listen for clients.
    pub(super) fn coordinators(&self) -> Vec<Address> {
        self.coordinators.addresses.clone()
    }

    /// Waits until every broker knows of every other. False if it was told to stop before.
    pub(super) async fn ready(
        &mut self,
        runtime: &TokioRuntime,
        mut stop: watch::Receiver<bool>,
    ) -> Result<bool, Failure> {
        let clusters = self.brokers.addresses.iter().map(|address| {
            let config = ClientConfig { connect_timeout: Duration::from_secs(1), ..ClientConfig::default() };
            Cluster::new(runtime.clone(), vec![address.clone()], config)
        });
        let (clusters, expected): (Vec<_>, _) = (clusters.collect(), self.brokers.addresses.len());
        let all_known = async {
            for cluster in &clusters {
                loop {
                    let view = cluster.refresh(Some(&[])).await;
                    if view.is_ok_and(|view| view.brokers.len() == expected && view.controller.is_some()) {
                        break;
                    }
                    runtime.sleep(READY_POLL).await;
                }
            }
        };
        let any_end = select(self.coordinators.next_end(), self.brokers.next_end());
        let stopped = async { stop.wait_for(|stop| *stop).await.is_ok() };
        match select(any_end, select(stopped, timeout(runtime, READY_MAX, all_known))).await {
            Either::First(Either::First(failure) | Either::Second(failure)) => Err(failure),
            Either::Second(Either::First(_)) => Ok(false),
            Either::Second(Either::Second(Ok(()))) => Ok(true),
            Either::Second(Either::Second(Err(_))) => {
                let seconds = READY_MAX.as_secs();
                Err(Failure::failed(format!("the brokers did not find each other within {seconds} s: see --log info")))
            }
        }
    }

    /// Serves until `stop` is raised or a node ends by itself, then stops the brokers while the
    /// coordinators are still there, and then the coordinators.
    pub(super) async fn serve(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
        let stopped = stop.wait_for(|stop| *stop);
        let any_end = select(self.coordinators.next_end(), self.brokers.next_end());
        let first = match select(stopped, any_end).await {
            Either::First(_) => None,
            Either::Second(Either::First(failure) | Either::Second(failure)) => Some(failure),
        };
        let of_brokers = self.brokers.stop().await;
        let of_coordinators = self.coordinators.stop().await;
        first.or(of_brokers).or(of_coordinators).map_or(Ok(()), Err)
    }
}

struct BoundCoordinator {
    id: ServerId,
    runtime: TokioRuntime,
    listeners: Listeners<TokioRuntime>,
}

impl BoundCoordinator {
    fn member(&self) -> Member {
        let (peers, clients) = (&self.listeners.peers, &self.listeners.clients);
        let (peer_address, client_address) = (peers.local_address().clone(), clients.local_address().clone());
        Member { id: self.id, peer_address, client_address }
    }
}

struct BoundBroker {
    id: BrokerId,
    runtime: TokioRuntime,
    listener: TokioListener,
}

async fn bind_coordinators(directory: &Path, layout: &mut Layout) -> Result<Vec<BoundCoordinator>, Failure> {
    let mut bound = Vec::new();
    for ports in &mut layout.coordinators {
        let name = format!("coordinator-{}", ports.id);
        let runtime = node::open(&name, &directory.join(&name), None)?;
        let peers = bind(&runtime, &mut ports.peers).await?;
        let clients = bind(&runtime, &mut ports.clients).await?;
        bound.push(BoundCoordinator { id: ServerId(ports.id), runtime, listeners: Listeners { peers, clients } });
    }
    Ok(bound)
}

async fn bind_brokers(directory: &Path, layout: &mut Layout) -> Result<Vec<BoundBroker>, Failure> {
    let mut bound = Vec::new();
    for port in &mut layout.brokers {
        let name = format!("broker-{}", port.id);
        let runtime = node::open(&name, &directory.join(&name), None)?;
        let listener = bind(&runtime, &mut port.clients).await?;
        bound.push(BoundBroker { id: BrokerId(port.id), runtime, listener });
    }
    Ok(bound)
}

/// Listens on `port`, which becomes the one that was chosen if it was 0.
async fn bind(runtime: &TokioRuntime, port: &mut u16) -> Result<TokioListener, Failure> {
    let address = Address::new(LOOPBACK, *port);
    let busy = |error| {
        let remedy = "this cluster's port; end whatever has it, or use another --data-dir";
        Failure::unusable(format!("cannot listen on {address} for {}: {error}: {remedy}", runtime.name()))
    };
    let listener = runtime.listen(&address).await.map_err(busy)?;
    *port = listener.local_address().port;
    Ok(listener)
}

/// An earlier first start may have been cut short after some directories were formatted.
async fn format_if_empty(coordinator: &BoundCoordinator) -> Result<(), Failure> {
    let runtime = &coordinator.runtime;
    let about = |problem: String| Failure::unusable(format!("{}: {problem}", runtime.name()));
    if runtime.list(Path::new("")).map_err(|error| about(error.to_string()))?.is_empty() {
        let formatted = coordinator::format(runtime, coordinator.id, false).await;
        formatted.map_err(|error| about(error.to_string()))?;
    }
    Ok(())
}
