//! A broker's data plane over a [`World`], and the metadata that it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::world::World;
use crate::base::address::Address;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, ProducerEpoch, ProducerId, TopicId};
use crate::base::partition_state::{Durability, InSyncReplica, PartitionState};
use crate::broker::config::Config;
use crate::broker::disk_logs::DiskLogs;
use crate::broker::partition::Partition;
use crate::broker::partitions::{Partitions, TopicRef};
use crate::broker::server::ClusterApi;
use crate::broker::shared::{Failure, Shared};
use crate::broker::start::ClusterPlane;
use crate::controller::metadata::{
    Applied, BrokerMetadata, ClusterMetadata, Endpoint, MetadataContent, MetadataUpdate, TopicMetadata, TopicSettings,
};
use crate::wire::kafka::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};
use crate::wire::kafka::header::RequestHeader;
use crate::wire::kafka::{Request, Response};

/// This broker.
pub const OWN: BrokerId = BrokerId(1);
/// Its topic's id.
pub const ID: TopicId = TopicId([7; 16]);
/// The incarnation of everybody.
const EPOCH: BrokerEpoch = BrokerEpoch(5);

/// A cluster plane that answers nobody.
#[derive(Clone)]
pub struct Silent;

impl ClusterApi for Silent {
    async fn handle(&self, _header: RequestHeader, _request: Request) -> Response {
        std::future::pending().await
    }
}

impl ClusterPlane for Silent {
    async fn stop(&self) {}
}

/// A running data plane.
pub struct Node {
    pub world: World,
    pub shared: Arc<Shared<World>>,
    pub partitions: Partitions<World>,
    pub failed: mpsc::Receiver<Failure>,
}

/// As broker 1 on port 9092.
pub fn config() -> Config {
    Config::new(OWN, Address::new("broker", 9092), Vec::new())
}

/// A state in which all `in_sync` are in sync, of a partition on the brokers 1 and 2.
pub fn state(leader: i32, leader_epoch: i32, in_sync: &[i32]) -> PartitionState {
    let member = |broker: &i32| InSyncReplica { broker: BrokerId(*broker), broker_epoch: EPOCH };
    PartitionState {
        leader: Some(BrokerId(leader)),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: leader_epoch,
        replicas: vec![BrokerId(1), BrokerId(2)],
        in_sync: in_sync.iter().map(member).collect(),
        ..PartitionState::default()
    }
}

/// The settings of a topic that says nothing.
pub fn settings() -> TopicSettings {
    TopicSettings { min_in_sync: 1, durability: Durability::PageCache, configs: BTreeMap::new() }
}

/// The topic `t` with these partitions, in a cluster whose broker N listens on port 9000 + N.
pub fn cluster(settings: TopicSettings, partitions: Vec<PartitionState>) -> ClusterMetadata {
    let broker = |id: i32| {
        let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: "peer".into(), port: 9000 + id as u16 };
        (BrokerId(id), BrokerMetadata { broker_epoch: EPOCH, endpoints: vec![endpoint], rack: None })
    };
    let topic = TopicMetadata { id: ID, settings, partitions };
    ClusterMetadata {
        brokers: [2, 3].map(broker).into(),
        topics: BTreeMap::from([("t".into(), topic)]),
        ..ClusterMetadata::default()
    }
}

impl Node {
    /// One that is registered and hosts nothing yet.
    pub fn start() -> Node {
        Node::over(World::default(), config())
    }

    pub fn over(world: World, config: Config) -> Node {
        let (shared, _, failed) = Shared::new(world.clone(), config);
        shared.broker_epoch.send_replace(Some(EPOCH));
        world.disk_directory("logs");
        let disk_logs = world.wait(DiskLogs::open(shared.clone(), true, false)).unwrap();
        Node { partitions: Partitions::new(shared.clone(), disk_logs), world, shared, failed }
    }

    /// One that leads `t-0` in epoch 1 with these in sync.
    pub fn leading(in_sync: &[i32]) -> Node {
        let node = Node::start();
        node.learn(cluster(settings(), vec![state(1, 1, in_sync)]));
        node
    }

    /// Learns of the whole cluster.
    pub fn learn(&self, metadata: ClusterMetadata) {
        learn(&self.world, &self.shared, &self.partitions, metadata);
    }

    /// Learns that `t` has these partitions.
    pub fn learn_states(&self, partitions: Vec<PartitionState>) {
        self.learn(cluster(settings(), partitions));
    }

    /// The partition `t-0`.
    pub fn partition(&self) -> Arc<Partition<World>> {
        self.partitions.find(TopicRef::Name("t"), 0).unwrap()
    }
}

/// Has a data plane learn of the whole cluster.
pub fn learn(world: &World, shared: &Shared<World>, partitions: &Partitions<World>, metadata: ClusterMetadata) {
    let applied = hear(shared, metadata);
    world.wait(partitions.apply(shared, &applied));
    world.settle();
}

/// Notes a new cluster, of which the partitions have yet to learn.
pub fn hear(shared: &Shared<World>, metadata: ClusterMetadata) -> Applied {
    let mut cache = shared.metadata();
    let next = cache.controller().map_or(1, |(_, epoch)| epoch.0 + 1);
    let update = MetadataUpdate {
        controller: BrokerId(3),
        controller_epoch: ControllerEpoch(next),
        broker_epoch: EPOCH,
        sequence: 0,
        content: MetadataContent::Snapshot(Arc::new(metadata)),
    };
    cache.apply(EPOCH, &update)
}

impl World {
    /// Makes sure of a directory.
    pub fn disk_directory(&self, path: &str) {
        crate::runtime::Disk::create_directories(&self.disk, path.as_ref()).unwrap();
    }
}

/// A batch of one record.
pub fn batch() -> Bytes {
    stamped(ProducerStamp::NONE)
}

/// The first batch of an idempotent producer.
pub fn idempotent_batch() -> Bytes {
    stamped(ProducerStamp { id: ProducerId(9), epoch: ProducerEpoch(0), base_sequence: 0 })
}

fn stamped(stamp: ProducerStamp) -> Bytes {
    let mut builder = RecordBatchBuilder::new();
    builder.push(NewRecord { value: Some(Bytes::from_static(b"value")), ..NewRecord::default() });
    builder.build(stamp).unwrap()
}

/// A little while.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
