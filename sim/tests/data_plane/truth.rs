//! A stand-in for the cluster plane: the truth about the cluster as one value that all brokers of a
//! test share, outside of any simulated network. It registers brokers, commits their proposals and
//! elects leaders when the test says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;
use wyrdlog::base::address::Address;
use wyrdlog::base::event::{BrokerEvent, ControllerEvent, Event};
use wyrdlog::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicPartition, Zxid};
use wyrdlog::base::partition_state::{Durability, InSyncReplica, PartitionState};
use wyrdlog::broker::server::ClusterApi;
use wyrdlog::broker::shared::{PartitionProposal, Shared};
use wyrdlog::broker::{ClusterPlane, Foundation, Partitions};
use wyrdlog::controller::metadata::{
    BrokerMetadata, ClusterMetadata, Endpoint, MetadataContent, MetadataUpdate, TopicMetadata, TopicSettings,
};
use wyrdlog::message;
use wyrdlog::replication::InSyncAnswer;
use wyrdlog::runtime::{Observe, Task, Tasks};
use wyrdlog::wire::kafka::header::RequestHeader;
use wyrdlog::wire::kafka::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use wyrdlog::wire::kafka::messages::{InitProducerIdResponse, MetadataRequest, MetadataResponse, uuid};
use wyrdlog::wire::kafka::{Request, Response};
use wyrdlog_sim::engine::SimRuntime;

pub const PORT: u16 = 9092;

/// The truth, shared by the brokers of a test and by its driver.
#[derive(Clone)]
pub struct Truth(Arc<Mutex<State>>);

struct State {
    metadata: ClusterMetadata,
    zxid: i64,
    producer_ids: i64,
    streams: BTreeMap<BrokerId, Stream>,
    /// Commits that no node has observed yet.
    commits: Vec<ControllerEvent>,
}

struct Stream {
    broker_epoch: BrokerEpoch,
    sequence: u64,
    updates: mpsc::UnboundedSender<MetadataUpdate>,
}

pub fn host(broker: BrokerId) -> String {
    format!("broker-{broker}")
}

impl Truth {
    /// One partition of each topic, whose replicas are all of `brokers`; nobody leads yet.
    pub fn new(brokers: &[BrokerId], topics: &[(&str, Durability)], min_in_sync: usize) -> Self {
        let topics = topics.iter().zip(1..).map(|((name, durability), id)| {
            let state = PartitionState { replicas: brokers.to_vec(), ..PartitionState::default() };
            let settings = TopicSettings { min_in_sync, durability: *durability, configs: BTreeMap::new() };
            (Arc::from(*name), TopicMetadata { id: TopicId([id; 16]), settings, partitions: vec![state] })
        });
        let metadata = ClusterMetadata { topics: topics.collect(), ..ClusterMetadata::default() };
        Truth(Arc::new(Mutex::new(State {
            metadata,
            zxid: 100,
            producer_ids: 0,
            streams: BTreeMap::new(),
            commits: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn partition(&self, topic: &str) -> PartitionState {
        self.state().metadata.topics[topic].partitions[0].clone()
    }

    /// What was committed since the last call.
    pub fn take_commits(&self) -> Vec<ControllerEvent> {
        std::mem::take(&mut self.state().commits)
    }

    /// Everyone who is registered is in sync and `leader` leads everything.
    pub fn found(&self, leader: BrokerId) {
        let mut state = self.state();
        let in_sync: Vec<InSyncReplica> = (state.streams.iter())
            .map(|(broker, stream)| InSyncReplica { broker: *broker, broker_epoch: stream.broker_epoch })
            .collect();
        state.change_all(|partition| {
            partition.in_sync = in_sync.clone();
            partition.leader = Some(leader);
            partition.leader_epoch.0 += 1;
        });
    }

    /// `broker` has died: it leaves the in-sync sets, and `next` leads where it led.
    pub fn fail(&self, broker: BrokerId, next: BrokerId) {
        let mut state = self.state();
        state.metadata.brokers.remove(&broker);
        state.streams.remove(&broker);
        state.change_all(|partition| {
            partition.in_sync.retain(|member| member.broker != broker);
            if partition.leader == Some(broker) {
                partition.leader = Some(next);
                partition.leader_epoch.0 += 1;
            }
        });
    }

    /// `next` leads everything, with the in-sync sets as they are.
    pub fn elect(&self, next: BrokerId) {
        self.state().change_all(|partition| {
            partition.leader = Some(next);
            partition.leader_epoch.0 += 1;
        });
    }
}

impl State {
    fn change_all(&mut self, change: impl Fn(&mut PartitionState)) {
        let names: Vec<Arc<str>> = self.metadata.topics.keys().cloned().collect();
        for topic in names {
            let mut now = self.metadata.topics[&topic].partitions[0].clone();
            change(&mut now);
            self.commit(TopicPartition::new(topic, 0), now);
        }
        self.push();
    }

    fn commit(&mut self, partition: TopicPartition, mut now: PartitionState) {
        now.partition_epoch += 1;
        self.zxid += 1;
        self.metadata.topics.get_mut(&partition.topic).unwrap().partitions[0] = now.clone();
        let (controller_epoch, zxid) = (ControllerEpoch(1), Zxid(self.zxid));
        self.commits.push(ControllerEvent::Committed { partition, state: now, controller_epoch, zxid });
    }

    /// A snapshot to everyone.
    fn push(&mut self) {
        let snapshot = Arc::new(self.metadata.clone());
        for stream in self.streams.values_mut() {
            let update = MetadataUpdate {
                controller: BrokerId(0),
                controller_epoch: ControllerEpoch(1),
                broker_epoch: stream.broker_epoch,
                sequence: stream.sequence,
                content: MetadataContent::Snapshot(snapshot.clone()),
            };
            stream.sequence += 1;
            let _ = stream.updates.send(update);
        }
    }

    fn register(&mut self, broker: BrokerId) -> (BrokerEpoch, mpsc::UnboundedReceiver<MetadataUpdate>) {
        self.zxid += 1;
        let broker_epoch = BrokerEpoch(self.zxid);
        let (updates, receiver) = mpsc::unbounded_channel();
        let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: host(broker).into(), port: PORT };
        let metadata = BrokerMetadata { broker_epoch, endpoints: vec![endpoint], rack: None };
        self.metadata.brokers.insert(broker, metadata);
        self.streams.insert(broker, Stream { broker_epoch, sequence: 0, updates });
        (broker_epoch, receiver)
    }

    /// The state after a proposal, if it is based on the present one and names living incarnations.
    fn accept(&mut self, proposed: &PartitionProposal) -> InSyncAnswer {
        let mut now = self.metadata.topics[&proposed.partition.topic].partitions[0].clone();
        let proposal = &proposed.proposal;
        if (proposal.leader_epoch, proposal.partition_epoch) != (now.leader_epoch, now.partition_epoch) {
            return InSyncAnswer::Refused;
        }
        let lives = |member: &&InSyncReplica| {
            self.streams.get(&member.broker).is_some_and(|stream| stream.broker_epoch == member.broker_epoch)
        };
        let dead: Vec<BrokerId> =
            proposal.in_sync.iter().filter(|member| !lives(member)).map(|member| member.broker).collect();
        if !dead.is_empty() {
            return InSyncAnswer::Ineligible(dead);
        }
        now.in_sync = proposal.in_sync.clone();
        self.commit(proposed.partition.clone(), now);
        self.push();
        InSyncAnswer::Accepted(self.metadata.topics[&proposed.partition.topic].partitions[0].clone())
    }
}

/// One broker's end of it.
#[derive(Clone)]
pub struct Plane {
    truth: Truth,
}

impl Plane {
    pub async fn join(truth: Truth, foundation: Foundation<SimRuntime>) -> Result<Plane, String> {
        let Foundation { shared, partitions, mut proposals, clean, .. } = foundation;
        let broker = shared.config.id;
        let (broker_epoch, updates) = truth.state().register(broker);
        shared.broker_epoch.send_replace(Some(broker_epoch));
        shared.runtime.observe(|| {
            Event::Broker(BrokerEvent::Registered { broker, broker_epoch, clean, written_since: broker_epoch })
        });
        truth.state().push();
        shared.runtime.spawn("updates", take_updates(shared.clone(), partitions.clone(), updates)).detach();
        let (own, runtime) = (truth.clone(), shared.runtime);
        runtime
            .spawn("proposals", async move {
                while let Some(proposed) = proposals.recv().await {
                    let answer = own.state().accept(&proposed);
                    own.take_commits().into_iter().for_each(|commit| runtime.observe(|| Event::Controller(commit)));
                    let (leader_epoch, epoch) = (proposed.proposal.leader_epoch, proposed.proposal.partition_epoch);
                    partitions.in_sync_answer(&proposed.partition, leader_epoch, epoch, answer);
                }
            })
            .detach();
        Ok(Plane { truth })
    }
}

async fn take_updates(
    shared: Arc<Shared<SimRuntime>>,
    partitions: Partitions<SimRuntime>,
    mut updates: mpsc::UnboundedReceiver<MetadataUpdate>,
) {
    while let Some(update) = updates.recv().await {
        let applied = shared.metadata().apply(update.broker_epoch, &update);
        partitions.apply(&shared, &applied).await;
    }
}

impl ClusterPlane for Plane {
    async fn stop(&self) {}
}

impl ClusterApi for Plane {
    async fn handle(&self, _header: RequestHeader, request: Request) -> Response {
        match request {
            Request::Metadata(asked) => metadata(&self.truth.state().metadata, &asked).into(),
            Request::InitProducerId(_) => {
                let mut state = self.truth.state();
                state.producer_ids += 1;
                let producer_id = state.producer_ids;
                message!(InitProducerIdResponse { producer_id, producer_epoch: 0 }).into()
            }
            other => panic!("{other:?} is not asked in these tests"),
        }
    }
}

/// The topics that are asked for; all of them, if none is named.
fn metadata(metadata: &ClusterMetadata, asked: &MetadataRequest) -> MetadataResponse {
    let names = asked.topics.as_ref().map(|topics| topics.iter().filter_map(|topic| topic.name.as_ref()));
    let names: Option<Vec<&str>> = names.map(|names| names.map(|name| name.as_str()).collect());
    let is_asked = |name: &str| names.as_ref().is_none_or(|names| names.contains(&name));
    let brokers = metadata.brokers.iter().map(|(broker, known)| {
        let address = Address::new(known.endpoints[0].host.clone(), known.endpoints[0].port);
        message!(MetadataResponseBroker {
            node_id: broker.0,
            host: (&*address.host).into(),
            port: i32::from(address.port),
        })
    });
    let topics = metadata.topics.iter().filter(|(name, _)| is_asked(name)).map(|(name, topic)| {
        let partition = |(index, state): (i32, &PartitionState)| {
            let LeaderEpoch(leader_epoch) = state.leader_epoch;
            message!(MetadataResponsePartition {
                partition_index: index,
                leader_id: state.leader.map_or(-1, |leader| leader.0),
                leader_epoch,
                replica_nodes: state.replicas.iter().map(|replica| replica.0).collect(),
                isr_nodes: state.in_sync.iter().map(|member| member.broker.0).collect(),
            })
        };
        message!(MetadataResponseTopic {
            name: Some((&**name).into()),
            topic_id: uuid(topic.id),
            partitions: (0..).zip(&topic.partitions).map(partition).collect(),
        })
    });
    message!(MetadataResponse { brokers: brokers.collect(), topics: topics.collect(), controller_id: 0 })
}
