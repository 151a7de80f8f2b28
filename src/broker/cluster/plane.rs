//! What the tasks of the cluster plane share, and its named limits.

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use super::controller::Command;
use super::updates::Update;
use crate::base::address::Address;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch};
use crate::broker::shared::{Shared, lock};
use crate::client::config::ClientConfig;
use crate::client::coordinator::CoordinatorClient;
use crate::client::{Cluster, Connection, RequestFailed};
use crate::controller::metadata::{BrokerMetadata, MetadataUpdate};
use crate::controller::{Answer, Refusal, Request};
use crate::runtime::{Runtime, timeout, watch};
use crate::wire::private::{PrivateRequest, PrivateResponse};

/// Commands that wait for the controller's task.
pub const COMMANDS_WAITING_MAX: usize = 1024;
/// Metadata updates that wait to be applied; each connection has one at most.
pub const UPDATES_WAITING_MAX: usize = 16;
/// How long one message to another broker may take.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest and longest pause before something is tried again.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// What our brokers call themselves where they send a client's request on: it is not sent further.
pub const FORWARDER: &str = "__wyrd_broker";

/// What the tasks of the cluster plane share.
pub struct Plane<R: Runtime> {
    pub shared: Arc<Shared<R>>,
    /// Where others reach this broker.
    pub advertised: Address,
    /// To the controller's task.
    pub controller: mpsc::Sender<Command>,
    /// To the task that applies metadata.
    pub updates: mpsc::Sender<Update>,
    /// The present session with the coordinators.
    pub session: watch::Sender<Option<CoordinatorClient>>,
    /// Known from the first registration on.
    pub cluster_id: OnceLock<Arc<str>>,
    /// The rest of the block of producer ids that was taken last.
    pub producer_ids: AsyncMutex<std::ops::Range<i64>>,
    /// Set once, when the broker leaves.
    pub stopping: watch::Sender<bool>,
    /// Connections for messages among brokers.
    messages: Cluster<R>,
    /// Connections for clients' requests, which may take long and must not hold up messages.
    forwards: Cluster<R>,
    /// The incarnation to which the last of them went.
    forwarded_to: Mutex<Option<(BrokerId, BrokerEpoch)>>,
}

impl<R: Runtime> Plane<R> {
    /// Nothing is known and nobody is connected yet.
    pub fn new(
        shared: Arc<Shared<R>>,
        advertised: Address,
        controller: mpsc::Sender<Command>,
        updates: mpsc::Sender<Update>,
    ) -> Self {
        let config = |request_timeout| ClientConfig {
            client_id: FORWARDER.to_owned(),
            request_timeout,
            connect_timeout: MESSAGE_TIMEOUT,
            ..ClientConfig::default()
        };
        let connections = |request_timeout| Cluster::new(shared.runtime.clone(), Vec::new(), config(request_timeout));
        Plane {
            messages: connections(MESSAGE_TIMEOUT),
            forwards: connections(ClientConfig::default().request_timeout),
            forwarded_to: Mutex::default(),
            shared,
            advertised,
            controller,
            updates,
            session: watch::Sender::new(None),
            cluster_id: OnceLock::new(),
            producer_ids: AsyncMutex::new(0..0),
            stopping: watch::Sender::new(false),
        }
    }

    /// This broker.
    pub fn own(&self) -> BrokerId {
        self.shared.config.id
    }

    /// This incarnation, once it is registered.
    pub fn broker_epoch(&self) -> Option<BrokerEpoch> {
        *self.shared.broker_epoch.borrow()
    }

    /// Who is the controller, as far as this broker knows.
    pub fn known_controller(&self) -> Option<(BrokerId, ControllerEpoch)> {
        self.shared.metadata().controller()
    }

    /// A pause of random length before something is tried again.
    pub async fn pause(&self) {
        let pause = self.shared.runtime.random_duration("cluster-backoff", BACKOFF.0, BACKOFF.1);
        self.shared.runtime.sleep(pause).await;
    }

    /// At most `duration` for `future`.
    pub async fn within<F: Future>(&self, duration: Duration, future: F) -> Option<F::Output> {
        timeout(&self.shared.runtime, duration, future).await.ok()
    }

    /// Asks the controller that this broker is, if it is.
    pub async fn ask_own_controller(&self, request: Request) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        let sent = self.controller.send(Command::Request { request, reply }).await;
        sent.map_err(|_| Refusal::NotController)?;
        // The task answers every request, unless the broker ends.
        answer.await.unwrap_or(Err(Refusal::Unknown))
    }

    /// Hands an update to the task that applies it.
    pub async fn update(&self, update: MetadataUpdate) -> Option<crate::wire::private::UpdateMetadataResult> {
        let (reply, result) = oneshot::channel();
        self.updates.send(Update { update, reply }).await.ok()?;
        result.await.ok()
    }

    /// Where `broker` is, as far as this broker knows.
    pub fn address_of(&self, broker: BrokerId) -> Option<Address> {
        address(self.shared.metadata().metadata().brokers.get(&broker)?)
    }

    /// Sends a message to the broker at `address`.
    pub async fn tell(&self, address: &Address, message: PrivateRequest) -> Result<PrivateResponse, RequestFailed> {
        let request = crate::wire::kafka::Request::Private(message);
        let connection = self.messages.connection_to(address).await?;
        match connection.request(&request).await? {
            crate::wire::kafka::Response::Private(response) => Ok(response),
            other => Err(RequestFailed::Lost(format!("{:?} in answer to a private request", other.api()))),
        }
    }

    /// A connection for a client's request to `broker`. One to an incarnation that is gone may not have broken yet:
    /// nobody tells of a power failure (`swarm` seed 40143).
    pub async fn forwarding(&self, broker: BrokerId) -> Result<Arc<Connection<R>>, RequestFailed> {
        let unknown = || RequestFailed::NotSent(format!("broker {broker} is not known"));
        let (address, broker_epoch) = {
            let cache = self.shared.metadata();
            let metadata = cache.metadata().brokers.get(&broker).ok_or_else(unknown)?;
            (address(metadata).ok_or_else(unknown)?, metadata.broker_epoch)
        };
        let before = lock(&self.forwarded_to).replace((broker, broker_epoch));
        if before.is_some_and(|before| before != (broker, broker_epoch)) {
            self.forwards.forget(&address);
        }
        self.forwards.connection_to(&address).await
    }
}

/// Where a broker listens; all that registers has at least one listener.
pub fn address(broker: &BrokerMetadata) -> Option<Address> {
    broker.endpoints.first().map(|endpoint| Address::new(endpoint.host.clone(), endpoint.port))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::super::testing::{Node, OWN, World, broker_at};
    use super::*;
    use crate::controller::metadata::ClusterMetadata;
    use crate::wire::frame::FrameDecoder;
    use crate::wire::kafka::ErrorCode;
    use crate::wire::kafka::request::decode;
    use crate::wire::kafka::response::{api_versions, encode};

    const OTHER: BrokerId = BrokerId(2);

    /// A broker at `host` that shakes hands and counts the connections to it.
    fn listen(world: &World, host: &str) -> Arc<AtomicUsize> {
        let opened = Arc::<AtomicUsize>::default();
        let counter = opened.clone();
        world.serve(Address::new(host, 9092), move |stream| {
            counter.fetch_add(1, Ordering::Relaxed);
            shake_hands(stream)
        });
        opened
    }

    async fn shake_hands(mut stream: DuplexStream) {
        let mut decoder = FrameDecoder::new(1024);
        while stream.read_buf(decoder.room()).await.is_ok_and(|count| count > 0) {
            while let Some(frame) = decoder.next_frame().expect("a frame") {
                let (header, _) = decode(frame).expect("a request");
                let response = api_versions(ErrorCode::None).into();
                let frame = encode(header.correlation_id, header.version, &response).expect("encodes");
                stream.write_all(&frame.into_bytes()).await.expect("room");
            }
        }
    }

    fn cluster(broker_epoch: i64) -> ClusterMetadata {
        ClusterMetadata { brokers: [(OTHER, broker_at("b2", broker_epoch))].into(), ..ClusterMetadata::default() }
    }

    #[test]
    fn clients_requests_to_one_incarnation_share_a_connection_and_the_next_one_gets_another() {
        let mut node = Node::that_knows(OTHER, cluster(5));
        let opened = listen(&node.world, "b2");
        let forward = |node: &Node| {
            node.world.run(node.plane.forwarding(OTHER)).expect("connects");
            opened.load(Ordering::Relaxed)
        };
        assert_eq!([forward(&node), forward(&node)], [1, 1]);
        node.learns(OTHER, cluster(6));
        assert_eq!([forward(&node), forward(&node)], [2, 2]);
    }

    #[test]
    fn a_controller_whose_task_has_ended_is_no_controller() {
        let Node { world, plane, commands, .. } = Node::new();
        drop(commands);
        let (broker, broker_epoch) = (OWN, BrokerEpoch(1));
        let answer = world.run(plane.ask_own_controller(Request::ControlledShutdown { broker, broker_epoch }));
        assert_eq!(answer, Err(Refusal::NotController));
    }
}
