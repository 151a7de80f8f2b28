//! A hand-driven cluster for the invariants' tests: three coordinators on nodes 0 to 2, three
//! brokers 1 to 3 on nodes 3 to 5, one partition `t-0` with `min.insync.replicas` 2.

use std::collections::BTreeMap;
use std::sync::Arc;

use wyrdlog::base::event::{
    AppendedBatch, BrokerEvent, ControllerEvent, CoordinatorEvent, Event, LogEvent, ReplicaEvent,
};
use wyrdlog::base::ids::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, ProducerEpoch, ProducerId, ServerId, TopicPartition, Zxid,
};
use wyrdlog::base::partition_state::{Durability, InSyncReplica, PartitionState};

use super::model::{Retention, TopicConfig, Topology};
use super::{Depth, Invariants};
use crate::observed::{FaultNote, Incarnation, Node, Observed};
use crate::tamper::Entry;
use crate::verdict::{Findings, Property};

pub const N3: Node = Node(3);
pub const N4: Node = Node(4);
pub const N5: Node = Node(5);

pub fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// A batch whose bytes are a function of its place.
pub fn batch(base_offset: i64, last_offset: i64, epoch: i32) -> AppendedBatch {
    AppendedBatch {
        base_offset,
        last_offset,
        leader_epoch: LeaderEpoch(epoch),
        crc: (base_offset * 31 + last_offset * 7) as u32 + epoch as u32,
        producer_id: ProducerId(-1),
        producer_epoch: ProducerEpoch(-1),
        base_sequence: -1,
    }
}

/// A batch of an idempotent producer.
pub fn produced(base_offset: i64, last_offset: i64, producer_epoch: i16, base_sequence: i32) -> AppendedBatch {
    AppendedBatch {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(producer_epoch),
        base_sequence,
        ..batch(base_offset, last_offset, 1)
    }
}

pub struct Cluster {
    pub invariants: Invariants,
    pub lives: BTreeMap<Node, Incarnation>,
    pub now_ns: u64,
    pub zxid: i64,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    /// Everything that was fed, in order.
    pub entries: Vec<Entry>,
}

impl Cluster {
    pub fn page_cache() -> Self {
        Cluster::of_class(Durability::PageCache)
    }

    pub fn synced() -> Self {
        Cluster::of_class(Durability::Synced)
    }

    /// A page-cache cluster that keeps so many bytes, in segments of 1,000.
    pub fn with_retention(bytes: Option<u64>) -> Self {
        let mut topology = Self::topology(Durability::PageCache);
        topology.retention.bytes = bytes;
        Cluster::of(topology, Durability::PageCache)
    }

    fn of_class(durability: Durability) -> Self {
        Cluster::of(Self::topology(durability), durability)
    }

    fn of(topology: Topology, durability: Durability) -> Self {
        let mut cluster = Cluster::unopened(topology);
        for node in [N3, N4, N5] {
            cluster.log(node, LogEvent::Opened { log_start: 0, log_end: 0, torn_bytes: 0, durability });
        }
        cluster
    }

    /// Its brokers are registered; nothing is known of the partition.
    pub fn unopened(topology: Topology) -> Self {
        let mut cluster = Cluster {
            invariants: Invariants::new(topology, Depth::Recomputed),
            lives: BTreeMap::new(),
            now_ns: 0,
            zxid: 100,
            leader_epoch: 0,
            partition_epoch: 0,
            entries: Vec::new(),
        };
        [N3, N4, N5].into_iter().for_each(|node| cluster.register(node));
        cluster
    }

    pub fn topology(durability: Durability) -> Topology {
        Topology {
            brokers: (1..=3).map(|broker| (BrokerId(broker), Node(broker as u16 + 2))).collect(),
            servers: (1..=3).map(|server| (ServerId(server), Node(server as u16 - 1))).collect(),
            topics: BTreeMap::from([(Arc::from("t"), TopicConfig { min_in_sync: 2, replicas: 3, durability })]),
            index_interval_bytes: 4_096,
            retention: Retention { segment_bytes: 1_000, bytes: None, interval_ms: 1_000 },
            unclean_election: false,
        }
    }

    pub fn see(&mut self, node: Node, event: Event) {
        self.now_ns += 1;
        let incarnation = *self.lives.entry(node).or_insert(1);
        let observed = Observed { time_ns: self.now_ns, node, incarnation, event };
        self.invariants.observe(&observed);
        self.entries.push(Entry::Event(observed));
    }

    pub fn log(&mut self, node: Node, event: LogEvent) {
        self.see(node, Event::Log(partition(), event));
    }

    /// The disk of `node` holds these segments when the next event comes.
    pub fn segments(&mut self, node: Node, segments: &[(i64, u64)]) {
        self.invariants.disk_segments(node, partition(), segments.to_vec());
    }

    pub fn replica(&mut self, node: Node, event: ReplicaEvent) {
        self.see(node, Event::Replica(partition(), event));
    }

    pub fn coordinator(&mut self, node: u16, event: CoordinatorEvent) {
        self.see(Node(node), Event::Coordinator(event));
    }

    pub fn fault(&mut self, note: FaultNote) {
        self.now_ns += 1;
        self.invariants.fault(self.now_ns, &note);
        self.entries.push(Entry::Fault { time_ns: self.now_ns, note });
    }

    pub fn exceeds(&self, note: FaultNote) -> bool {
        self.invariants.would_exceed_budget(&note)
    }

    fn broker(node: Node) -> BrokerId {
        BrokerId(i32::from(node.0) - 2)
    }

    pub fn broker_epoch(&self, node: Node) -> BrokerEpoch {
        let life = self.lives.get(&node).copied().unwrap_or(1);
        BrokerEpoch(i64::from(node.0) + 10 * i64::from(life))
    }

    /// A new life of `node`, whose log nobody opened.
    pub fn begin_anew(&mut self, node: Node) {
        *self.lives.entry(node).or_insert(1) += 1;
        self.register(node);
    }

    fn register(&mut self, node: Node) {
        let broker_epoch = self.broker_epoch(node);
        self.see(
            node,
            Event::Broker(BrokerEvent::Registered {
                broker: Self::broker(node),
                broker_epoch,
                clean: false,
                written_since: broker_epoch,
            }),
        );
    }

    /// A new life of `node`, whose log holds `[log_start, log_end)`.
    pub fn restart(&mut self, node: Node, log_start: i64, log_end: i64) {
        *self.lives.entry(node).or_insert(1) += 1;
        let durability = self.invariants.model().partitions[0].durability;
        self.log(node, LogEvent::Opened { log_start, log_end, torn_bytes: 0, durability });
        self.register(node);
    }

    pub fn members(&self, nodes: &[Node]) -> Vec<InSyncReplica> {
        let member =
            |node: &Node| InSyncReplica { broker: Self::broker(*node), broker_epoch: self.broker_epoch(*node) };
        nodes.iter().map(member).collect()
    }

    /// The controller commits a state under the present leader epoch.
    pub fn commit_state(&mut self, leader: Node, in_sync: &[Node]) {
        self.commit_state_as(1, leader, in_sync);
    }

    pub fn commit_state_as(&mut self, controller_epoch: i32, leader: Node, in_sync: &[Node]) {
        self.commit(controller_epoch, leader, in_sync, Vec::new());
    }

    /// A controller finds a state that an earlier one committed.
    pub fn find_state(&mut self, leader: Node, in_sync: Vec<InSyncReplica>) {
        let state = self.next_state(leader, in_sync, Vec::new());
        let found = ControllerEvent::Found { partition: partition(), state, written: None };
        self.see(N3, Event::Controller(found));
    }

    fn next_state(
        &mut self,
        leader: Node,
        in_sync: Vec<InSyncReplica>,
        eligible_leaders: Vec<InSyncReplica>,
    ) -> PartitionState {
        self.zxid += 1;
        self.partition_epoch += 1;
        PartitionState {
            leader: Some(Self::broker(leader)),
            leader_epoch: LeaderEpoch(self.leader_epoch),
            partition_epoch: self.partition_epoch,
            replicas: [N3, N4, N5].map(Self::broker).to_vec(),
            in_sync,
            eligible_leaders,
            last_known_leader: None,
        }
    }

    fn commit(&mut self, controller_epoch: i32, leader: Node, in_sync: &[Node], eligible_leaders: Vec<InSyncReplica>) {
        let in_sync = self.members(in_sync);
        let state = self.next_state(leader, in_sync, eligible_leaders);
        let committed = ControllerEvent::Committed {
            partition: partition(),
            state,
            controller_epoch: ControllerEpoch(controller_epoch),
            zxid: Zxid(self.zxid),
        };
        self.see(N3, Event::Controller(committed));
    }

    /// The controller commits a state with an eligible-leader set.
    pub fn commit_eligible(&mut self, leader: Node, in_sync: &[Node], eligible: &[Node]) {
        let eligible_leaders = self.members(eligible);
        self.commit(1, leader, in_sync, eligible_leaders);
    }

    pub fn append(&mut self, node: Node, batch: AppendedBatch) {
        self.log(node, LogEvent::Appended { batch, log_end: batch.last_offset + 1 });
    }

    pub fn sync(&mut self, node: Node, synced_end: i64) {
        self.log(node, LogEvent::Synced { synced_end });
    }

    /// `leader` takes up the next epoch; the others follow.
    pub fn elect(&mut self, leader: Node) {
        self.leader_epoch += 1;
        self.lead(leader);
        for node in [N3, N4, N5].into_iter().filter(|node| *node != leader) {
            self.follow(node);
        }
    }

    pub fn lead(&mut self, node: Node) {
        let log_end = self.log_end(node);
        let leader_epoch = LeaderEpoch(self.leader_epoch);
        let broker_epoch = self.broker_epoch(node);
        self.replica(node, ReplicaEvent::BecameLeader { leader_epoch, broker_epoch, log_end, high_watermark: 0 });
    }

    pub fn follow(&mut self, node: Node) {
        let log_end = self.log_end(node);
        let leader_epoch = LeaderEpoch(self.leader_epoch);
        self.replica(node, ReplicaEvent::BecameFollower { leader_epoch, leader: None, log_end });
    }

    fn log_end(&self, node: Node) -> i64 {
        let partitions = &self.invariants.model().partitions;
        partitions.first().and_then(|partition| partition.replicas.get(&node)).map_or(0, |replica| replica.log.end)
    }

    pub fn expose(&mut self, leader: Node, high_watermark: i64, set: &[Node]) {
        let maximal_in_sync = self.members(set);
        let leader_epoch = LeaderEpoch(self.leader_epoch);
        self.replica(
            leader,
            ReplicaEvent::HighWatermark { leads: true, leader_epoch, high_watermark, maximal_in_sync, min_in_sync: 2 },
        );
    }

    /// What comes next comes in the instant of what came last.
    pub fn in_the_same_instant(&mut self) {
        self.now_ns -= 1;
    }

    /// `leader` was told that `follower` holds everything below `offset`.
    pub fn told(&mut self, leader: Node, follower: Node, offset: i64, keeps_up: bool) {
        let fetched = Some((self.broker_epoch(follower), offset));
        self.replica(leader, ReplicaEvent::FollowerProgress { broker: Self::broker(follower), fetched, keeps_up });
    }

    /// `leader` knows of this committed set, and of a proposal on its way.
    pub fn in_sync(&mut self, leader: Node, committed: &[Node], proposed: Option<&[Node]>) {
        let leader_epoch = LeaderEpoch(self.leader_epoch);
        let (committed, proposed) = (self.members(committed), proposed.map(|nodes| self.members(nodes)));
        self.replica(leader, ReplicaEvent::InSync { leader_epoch, committed, proposed });
    }

    pub fn acknowledge(&mut self, leader: Node, base_offset: i64, last_offset: i64) {
        let leader_epoch = LeaderEpoch(self.leader_epoch);
        self.replica(leader, ReplicaEvent::Acknowledged { leader_epoch, base_offset, last_offset, acks: -1 });
    }

    /// Node 3 leads epoch 1; three batches, offsets 0 to 5, are on all replicas, synced, exposed
    /// and acknowledged.
    pub fn commit_three_batches(&mut self) {
        self.elect(N3);
        self.commit_state(N3, &[N3, N4, N5]);
        self.in_sync(N3, &[N3, N4, N5], None);
        for node in [N3, N4, N5] {
            for (base, last) in [(0, 1), (2, 4), (5, 5)] {
                self.append(node, batch(base, last, 1));
            }
            self.sync(node, 6);
        }
        self.told(N3, N4, 6, true);
        self.told(N3, N5, 6, true);
        self.in_the_same_instant();
        self.expose(N3, 6, &[N3, N4, N5]);
        for (base, last) in [(0, 1), (2, 4), (5, 5)] {
            self.acknowledge(N3, base, last);
        }
    }

    pub fn findings(&self, property: Property) -> Findings {
        let all = self.invariants.findings();
        all.into_iter().find(|findings| findings.property == property).expect("an invariant of that name")
    }

    pub fn violated(&self, property: Property) -> u64 {
        self.findings(property).violated
    }

    /// Nothing at all is violated, and `property` was evaluated.
    pub fn assert_clean(&self, property: Property) {
        for findings in self.invariants.findings() {
            assert_eq!(findings.violated, 0, "{:?}", findings.violations);
        }
        assert!(self.findings(property).evaluations > 0, "{property} never evaluated");
    }
}
