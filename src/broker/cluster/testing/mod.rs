//! What the tests of this module share: a broker's cluster plane in a world that the test plays.

mod ensemble;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::MetadataSink;
use super::controller::Command;
use super::plane::{COMMANDS_WAITING_MAX, Plane, UPDATES_WAITING_MAX};
use super::updates::Update;
use crate::base::address::Address;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicPartition};
use crate::base::partition_state::{Durability, PartitionState};
use crate::broker::config::Config;
use crate::broker::shared::{Shared, lock};
use crate::client::coordinator::{self, CoordinatorClient};
use crate::controller::metadata::{
    Applied, BrokerMetadata, ClusterMetadata, Endpoint, MetadataContent, MetadataUpdate, TopicMetadata, TopicSettings,
};
use crate::replication::InSyncAnswer;

pub use ensemble::{Ensemble, SESSION};
pub use world::World;

/// The broker whose plane it is.
pub const OWN: BrokerId = BrokerId(1);
/// Its incarnation.
pub const OWN_EPOCH: BrokerEpoch = BrokerEpoch(7);

/// A broker's cluster plane, without its tasks: what it tells them comes out here.
pub struct Node {
    pub world: World,
    pub plane: Arc<Plane<World>>,
    /// What the controller's task would be told.
    pub commands: mpsc::Receiver<Command>,
    /// What the task that applies metadata would be given.
    pub updates: mpsc::Receiver<Update>,
    learned: i32,
}

impl Node {
    /// A broker that is not registered and knows nothing.
    pub fn new() -> Self {
        let world = World::default();
        let listens = Address::new("b1", 9092);
        let config = Config::new(OWN, listens.clone(), vec![coordinators()]);
        let (shared, _, _) = Shared::new(world.clone(), config);
        let (controller, commands) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (update, updates) = mpsc::channel(UPDATES_WAITING_MAX);
        let plane = Arc::new(Plane::new(shared, listens, controller, update));
        Node { world, plane, commands, updates, learned: 0 }
    }

    /// A registered broker that knows `metadata` from `controller`.
    pub fn that_knows(controller: BrokerId, metadata: ClusterMetadata) -> Self {
        let mut node = Node::new();
        node.plane.shared.broker_epoch.send_replace(Some(OWN_EPOCH));
        node.learns(controller, metadata);
        node
    }

    /// Tells it of the cluster.
    pub fn learns(&mut self, controller: BrokerId, metadata: ClusterMetadata) {
        self.learned += 1;
        let content = MetadataContent::Snapshot(Arc::new(metadata));
        let controller_epoch = ControllerEpoch(self.learned);
        let update = MetadataUpdate { controller, controller_epoch, broker_epoch: OWN_EPOCH, sequence: 0, content };
        let applied = self.plane.shared.metadata().apply(OWN_EPOCH, &update);
        assert!(matches!(applied, Applied::Replaced(_)), "{applied:?}");
    }

    /// The coordinators that it is configured with.
    pub fn ensemble(&self) -> Ensemble {
        Ensemble::start(&self.world, coordinators())
    }

    /// Begins a session with them.
    pub fn begin_session(&self) -> CoordinatorClient {
        let shared = &self.plane.shared;
        let config = coordinator::Config::new(shared.config.coordinators.clone(), shared.config.session_timeout);
        let (client, _) = CoordinatorClient::start(&self.world, config);
        self.plane.session.send_replace(Some(client.clone()));
        client
    }

    /// How often it has paused before it tried something again.
    pub fn pauses(&self) -> usize {
        self.world.draws("cluster-backoff")
    }
}

fn coordinators() -> Address {
    Address::new("c1", 2181)
}

/// An incarnation of a broker at `host`.
pub fn broker_at(host: &str, broker_epoch: i64) -> BrokerMetadata {
    let endpoints = vec![Endpoint { listener: "PLAINTEXT".into(), host: host.into(), port: 9092 }];
    BrokerMetadata { broker_epoch: BrokerEpoch(broker_epoch), endpoints, rack: None }
}

/// A cluster of one topic, led by [`OWN`].
pub fn cluster_of(topic: &str, id: TopicId, partitions: usize) -> ClusterMetadata {
    let settings = TopicSettings { min_in_sync: 1, durability: Durability::PageCache, configs: BTreeMap::new() };
    let (leader, replicas) = (Some(OWN), vec![OWN]);
    let state = PartitionState { leader, replicas, leader_epoch: LeaderEpoch(1), ..PartitionState::default() };
    let topic_metadata = TopicMetadata { id, settings, partitions: vec![state; partitions] };
    ClusterMetadata { topics: BTreeMap::from([(topic.into(), topic_metadata)]), ..ClusterMetadata::default() }
}

/// A data plane that notes what it is told.
#[derive(Clone, Default)]
pub struct Sink(Arc<Mutex<Vec<String>>>);

impl Sink {
    /// What it was told.
    pub fn told(&self) -> Vec<String> {
        lock(&self.0).clone()
    }
}

impl MetadataSink<World> for Sink {
    async fn apply(&self, _: &Shared<World>, applied: &Applied) {
        lock(&self.0).push(format!("{applied:?}"));
    }

    fn registered(&self, broker_epoch: BrokerEpoch) {
        lock(&self.0).push(format!("registered {broker_epoch}"));
    }

    fn in_sync_answer(&self, partition: &TopicPartition, _: LeaderEpoch, _: i32, answer: InSyncAnswer) {
        lock(&self.0).push(format!("{partition:?} {answer:?}"));
    }
}
