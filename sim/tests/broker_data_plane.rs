//! The broker's data plane on the engine, under hand-made metadata: records go in and come out over
//! the wire, followers follow, leaders change, and every invariant watches.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

#[path = "data_plane/truth.rs"]
mod truth;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use truth::{PORT, Plane, Truth, host};
use wyrdlog::base::address::Address;
use wyrdlog::base::event::{Event, LogEvent, ReplicaEvent};
use wyrdlog::base::ids::{BrokerId, TopicPartition};
use wyrdlog::base::partition_state::Durability;
use wyrdlog::base::plants::{Plant, Plants};
use wyrdlog::broker::{Config, run_with};
use wyrdlog::client::consumer::OffsetSpec;
use wyrdlog::client::{ClientConfig, Cluster, Consumer, ConsumerConfig, Outcome, Producer, ProducerConfig};
use wyrdlog::runtime::{Clock, Network, watch};
use wyrdlog::wire::kafka::batch::NewRecord;
use wyrdlog_sim::engine::{EngineConfig, NodeId, SimRuntime, Simulation, Stop};
use wyrdlog_sim::invariants::model::{TopicConfig, Topology};
use wyrdlog_sim::invariants::{Depth, Invariants};
use wyrdlog_sim::observed::{FaultNote, Node, Observed};

const TOPICS: [(&str, Durability); 2] = [("cached", Durability::PageCache), ("synced", Durability::Synced)];

/// What a producer was told: value → offset, by topic.
type Acknowledged = Arc<Mutex<BTreeMap<(String, String), i64>>>;
/// What a consumer read: offset → value, by topic.
type Read = Arc<Mutex<BTreeMap<(String, i64), String>>>;

struct World {
    simulation: Simulation,
    brokers: Vec<(BrokerId, NodeId)>,
    client: NodeId,
    truth: Truth,
    invariants: Rc<RefCell<Invariants>>,
    events: Rc<RefCell<Vec<Event>>>,
    stops: BTreeMap<BrokerId, watch::Sender<bool>>,
    plants: Plants,
    retention_bytes: Option<u64>,
}

impl World {
    fn new(seed: u64, brokers: usize, min_in_sync: usize) -> Self {
        let mut simulation = Simulation::new(seed, EngineConfig::default());
        let ids: Vec<BrokerId> = (1..=brokers as i32).map(BrokerId).collect();
        let nodes = ids.iter().map(|id| (*id, simulation.add_node(&host(*id))));
        let brokers: Vec<(BrokerId, NodeId)> = nodes.collect();
        let client = simulation.add_node("client");
        let node = |node: NodeId| Node(u16::try_from(node.index()).unwrap());
        let replicas = brokers.len();
        let config_of = |durability: Durability| TopicConfig { min_in_sync, replicas, durability };
        let topology = Topology {
            brokers: brokers.iter().map(|(id, at)| (*id, node(*at))).collect(),
            topics: TOPICS.iter().map(|(name, class)| (Arc::from(*name), config_of(*class))).collect(),
            ..Topology::default()
        };
        let invariants = Rc::new(RefCell::new(Invariants::new(topology, Depth::Recomputed)));
        let events = Rc::new(RefCell::new(Vec::new()));
        let (watching, seen) = (invariants.clone(), events.clone());
        simulation.set_observer(Some(Box::new(move |observation| {
            seen.borrow_mut().push(observation.event.clone());
            watching.borrow_mut().observe(&Observed {
                time_ns: observation.time_ns,
                node: node(observation.node),
                incarnation: observation.incarnation,
                event: observation.event,
            });
        })));
        let truth = Truth::new(&ids, &TOPICS, min_in_sync);
        World {
            simulation,
            brokers,
            client,
            truth,
            invariants,
            events,
            stops: BTreeMap::new(),
            plants: Plants::NONE,
            retention_bytes: None,
        }
    }

    fn node(&self, broker: i32) -> NodeId {
        self.brokers.iter().find(|(id, _)| id.0 == broker).unwrap().1
    }

    fn start(&mut self, broker: i32) {
        let (id, node) = (BrokerId(broker), self.node(broker));
        let (stop, stopped) = watch::channel(false);
        self.stops.insert(id, stop);
        let (truth, plants, retention_bytes) = (self.truth.clone(), self.plants, self.retention_bytes);
        self.simulation.start(node, move |runtime| async move {
            let address = Address::new(host(id), PORT);
            let listener = runtime.listen(&address).await.unwrap();
            let mut config = Config::new(id, address, Vec::new());
            config.replica_lag_max = Duration::from_secs(2);
            config.segment_bytes = 4 * 1024;
            (config.retention_bytes, config.retention_interval) = (retention_bytes, Duration::from_secs(1));
            config.plants = plants;
            let join = |foundation| Plane::join(truth, foundation);
            run_with::<SimRuntime, Plane, _>(runtime, config, listener, stopped, join).await.expect("the broker runs");
        });
    }

    fn start_all(&mut self) {
        for broker in 1..=self.brokers.len() as i32 {
            self.start(broker);
        }
        self.run(Duration::from_millis(200));
        self.truth.found(BrokerId(1));
        self.observe_commits();
    }

    /// Commits of the test itself.
    fn observe_commits(&mut self) {
        for commit in self.truth.take_commits() {
            let time_ns = self.simulation.now_ns();
            let event = Event::Controller(commit);
            let node = Node(u16::try_from(self.client.index()).unwrap());
            self.invariants.borrow_mut().observe(&Observed { time_ns, node, incarnation: 1, event });
        }
    }

    fn run(&mut self, duration: Duration) {
        let until = self.simulation.now_ns() + duration.as_nanos() as u64;
        loop {
            match self.simulation.run_until(until) {
                Stop::Deadline | Stop::Idle => return,
                Stop::Failed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
    }

    /// The process dies, or the power goes.
    fn crash(&mut self, broker: i32, next: i32, cuts_power: bool) {
        let node = self.node(broker);
        let hit = Node(u16::try_from(node.index()).unwrap());
        let note = if cuts_power { FaultNote::PowerLost(vec![hit]) } else { FaultNote::ProcessCrashed(hit) };
        self.invariants.borrow_mut().fault(self.simulation.now_ns(), &note);
        if cuts_power {
            self.simulation.power_off(node);
        } else {
            self.simulation.crash(node);
        }
        self.truth.fail(BrokerId(broker), BrokerId(next));
        self.observe_commits();
    }

    /// Runs the client until it ends.
    fn client<F>(&mut self, main: impl FnOnce(SimRuntime) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.simulation.start(self.client, main);
    }

    fn wait_for_client(&mut self) {
        for _ in 0..600 {
            if !self.simulation.is_running(self.client) {
                return;
            }
            self.run(Duration::from_millis(100));
        }
        panic!("the client does not come to its end");
    }

    fn bootstrap(&self) -> Vec<Address> {
        self.brokers.iter().map(|(id, _)| Address::new(host(*id), PORT)).collect()
    }

    fn produce(&mut self, acknowledged: &Acknowledged, values: std::ops::Range<u32>) {
        let (bootstrap, acknowledged) = (self.bootstrap(), acknowledged.clone());
        self.client(move |runtime| produce(runtime, bootstrap, acknowledged, values));
    }

    fn read_all(&mut self) -> BTreeMap<(String, i64), String> {
        let read = Read::default();
        let (bootstrap, to) = (self.bootstrap(), read.clone());
        self.client(move |runtime| consume(runtime, bootstrap, to));
        self.wait_for_client();
        read.lock().unwrap().clone()
    }

    fn assert_no_violation(&self) {
        let mut evaluations = 0;
        for findings in self.invariants.borrow().findings() {
            assert_eq!(findings.violated, 0, "{:?}", findings.violations);
            evaluations += findings.evaluations;
        }
        assert!(evaluations > 100, "{evaluations}");
    }

    fn count(&self, matches: impl Fn(&Event) -> bool) -> usize {
        self.events.borrow().iter().filter(|event| matches(event)).count()
    }
}

async fn produce(
    runtime: SimRuntime,
    bootstrap: Vec<Address>,
    acknowledged: Acknowledged,
    values: std::ops::Range<u32>,
) {
    let client = ClientConfig { request_timeout: Duration::from_secs(2), ..ClientConfig::default() };
    let cluster = Cluster::new(runtime, bootstrap, client);
    let producer = Producer::new(cluster, ProducerConfig { linger: Duration::ZERO, ..ProducerConfig::default() });
    for value in values {
        let mut deliveries = Vec::new();
        for (topic, _) in TOPICS {
            let value = format!("{topic} {value}");
            let record = NewRecord { value: Some(Bytes::from(value.clone())), ..NewRecord::default() };
            deliveries.push((topic, value, producer.send(TopicPartition::new(topic, 0), record).await));
        }
        for (topic, value, delivery) in deliveries {
            if let Outcome::Acknowledged { offset: Some(offset) } = delivery.await {
                acknowledged.lock().unwrap().insert((topic.to_owned(), value), offset);
            }
        }
        runtime.sleep(Duration::from_millis(2)).await;
    }
}

async fn consume(runtime: SimRuntime, bootstrap: Vec<Address>, read: Read) {
    let cluster = Cluster::new(runtime, bootstrap, ClientConfig::default());
    let mut consumer = Consumer::new(cluster, ConsumerConfig::default());
    let partitions = TOPICS.map(|(topic, _)| TopicPartition::new(topic, 0));
    consumer.assign(partitions.clone());
    partitions.iter().for_each(|partition| consumer.seek_to(partition, OffsetSpec::Earliest));
    let mut quiet = 0;
    while quiet < 3 {
        let polled = consumer.poll().await;
        quiet = if polled.records.is_empty() && polled.problems.is_empty() { quiet + 1 } else { 0 };
        for record in polled.records {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            let at = (record.partition.topic.to_string(), record.offset);
            assert_eq!(read.lock().unwrap().insert(at, value), None, "read twice");
        }
    }
}

/// Every acknowledged value is where its producer was told, and no value is there twice.
fn assert_all_there(acknowledged: &Acknowledged, read: &BTreeMap<(String, i64), String>) {
    for ((topic, value), offset) in acknowledged.lock().unwrap().iter() {
        assert_eq!(read.get(&(topic.clone(), *offset)), Some(value), "{topic}@{offset}");
    }
    let mut values: Vec<&String> = read.values().collect();
    values.sort();
    let before = values.len();
    values.dedup();
    assert_eq!(values.len(), before, "a value is there twice");
}

#[test]
fn records_come_out_as_they_went_in_and_survive_a_clean_restart() {
    let mut world = World::new(1, 1, 1);
    world.start_all();
    let acknowledged = Acknowledged::default();
    world.produce(&acknowledged, 0..100);
    world.wait_for_client();
    assert_eq!(acknowledged.lock().unwrap().len(), 200);
    let read = world.read_all();
    assert_all_there(&acknowledged, &read);
    world.stops[&BrokerId(1)].send_replace(true);
    world.run(Duration::from_secs(1));
    assert!(!world.simulation.is_running(world.node(1)), "the broker stops when it is asked to");
    world.start(1);
    world.run(Duration::from_millis(200));
    world.truth.found(BrokerId(1));
    world.observe_commits();
    assert_eq!(world.read_all(), read);
    world.assert_no_violation();
    let opened_again =
        |event: &Event| matches!(event, Event::Log(_, LogEvent::Opened { log_end: 100, torn_bytes: 0, .. }));
    assert_eq!(world.count(opened_again), 2);
}

#[test]
fn followers_hold_what_is_acknowledged_and_one_of_them_takes_over() {
    for seed in 0..16 {
        let mut world = World::new(seed, 3, 2);
        world.start_all();
        let acknowledged = Acknowledged::default();
        world.produce(&acknowledged, 0..150);
        world.run(Duration::from_millis(150 + 40 * seed));
        world.crash(1, 2 + (seed % 2) as i32, seed % 4 >= 2);
        world.run(Duration::from_millis(300));
        world.start(1);
        world.wait_for_client();
        world.run(Duration::from_secs(3));
        let read = world.read_all();
        assert_all_there(&acknowledged, &read);
        assert_eq!(acknowledged.lock().unwrap().len(), 300, "seed {seed}");
        world.assert_no_violation();
        for (topic, _) in TOPICS {
            assert_eq!(world.truth.partition(topic).in_sync.len(), 3, "seed {seed}: {topic} is in sync again");
        }
        assert!(
            world.count(|event| matches!(event, Event::Replica(_, ReplicaEvent::Acknowledged { acks: -1, .. }))) >= 300
        );
    }
}

#[test]
fn an_acknowledgement_before_replication_is_seen() {
    let mut world = World::new(1, 3, 2);
    world.plants = Plants::only(Plant::Canary);
    world.start_all();
    world.produce(&Acknowledged::default(), 0..5);
    world.wait_for_client();
    assert!(world.count(|event| *event == Event::PlantTaken(Plant::Canary)) >= 10);
    assert!(world.invariants.borrow().violated() > 0);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let hash = |seed| {
        let mut world = World::new(seed, 3, 2);
        world.start_all();
        world.produce(&Acknowledged::default(), 0..50);
        world.run(Duration::from_millis(100));
        world.crash(1, 2, true);
        world.wait_for_client();
        world.simulation.hash()
    };
    assert_eq!(hash(5), hash(5));
    assert_ne!(hash(5), hash(6));
}

#[test]
fn a_follower_cuts_what_its_new_leader_does_not_have() {
    let mut world = World::new(3, 3, 1);
    world.start_all();
    let acknowledged = Acknowledged::default();
    world.produce(&acknowledged, 0..20);
    world.wait_for_client();
    // Cut off, the leader goes on taking records that nobody fetches; the others elect another.
    let (old, next, third) = (world.node(1), world.node(2), world.node(3));
    world.simulation.partition_both(old, next, true);
    world.simulation.partition_both(old, third, true);
    let bootstrap = vec![Address::new(host(BrokerId(1)), PORT)];
    world.client(move |runtime| produce_unacknowledged(runtime, bootstrap));
    world.run(Duration::from_millis(300));
    world.truth.elect(BrokerId(2));
    world.observe_commits();
    world.simulation.heal_all();
    world.wait_for_client();
    world.run(Duration::from_secs(10));
    assert!(world.count(|event| matches!(event, Event::Log(_, LogEvent::Truncated { log_end: 20, .. }))) > 0);
    let read = world.read_all();
    assert_all_there(&acknowledged, &read);
    assert_eq!(read.len(), 40, "nothing of what was cut is read");
    world.assert_no_violation();
}

/// Records with acks=1 to whoever leads at first.
async fn produce_unacknowledged(runtime: SimRuntime, bootstrap: Vec<Address>) {
    let config = ProducerConfig {
        acks: wyrdlog::client::Acks::Leader,
        idempotent: false,
        retries: 0,
        linger: Duration::ZERO,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(Cluster::new(runtime, bootstrap, ClientConfig::default()), config);
    for value in 0..5 {
        let record = NewRecord { value: Some(Bytes::from(format!("lost {value}"))), ..NewRecord::default() };
        for (topic, _) in TOPICS {
            let delivery = producer.send(TopicPartition::new(topic, 0), record.clone()).await;
            assert!(matches!(delivery.await, Outcome::Acknowledged { .. }), "the old leader does not know better");
        }
    }
}

#[test]
fn leadership_may_go_round_under_load() {
    for seed in 0..4 {
        let mut world = World::new(seed, 3, 2);
        world.start_all();
        let acknowledged = Acknowledged::default();
        world.produce(&acknowledged, 0..200);
        for round in 0..6 {
            world.run(Duration::from_millis(70 + 10 * seed));
            let in_sync = world.truth.partition("cached").in_sync;
            let next = in_sync[round % in_sync.len()].broker;
            let everywhere = TOPICS.iter().all(|(topic, _)| world.truth.partition(topic).is_in_sync(next));
            if everywhere {
                world.truth.elect(next);
                world.observe_commits();
            }
        }
        world.wait_for_client();
        let read = world.read_all();
        assert_all_there(&acknowledged, &read);
        assert_eq!(acknowledged.lock().unwrap().len(), 400, "seed {seed}");
        world.assert_no_violation();
    }
}

/// One record alone, and five more from a second on, each a batch of its own, to a partition that has heard
/// of this producer never before. Their offsets in the order in which they were sent.
async fn produce_in_order(runtime: SimRuntime, bootstrap: Vec<Address>, offsets: Arc<Mutex<Vec<i64>>>) {
    let client = ClientConfig { connect_timeout: Duration::from_secs(3), ..ClientConfig::default() };
    let config = ProducerConfig { linger: Duration::ZERO, batch_bytes: 100, ..ProducerConfig::default() };
    let producer = Producer::new(Cluster::new(runtime, bootstrap, client), config);
    let record = NewRecord { value: Some(Bytes::from(vec![7; 50])), ..NewRecord::default() };
    let first = producer.send(TopicPartition::new("cached", 0), record.clone()).await;
    assert!(matches!(first.await, Outcome::Acknowledged { .. }));
    runtime.sleep(Duration::from_secs(1)).await;
    let mut deliveries = Vec::new();
    for _ in 0..5 {
        deliveries.push(producer.send(TopicPartition::new("synced", 0), record.clone()).await);
        runtime.sleep(Duration::from_millis(50)).await;
    }
    for delivery in deliveries {
        let outcome = delivery.await;
        let Outcome::Acknowledged { offset: Some(offset) } = outcome else { panic!("{outcome:?}") };
        offsets.lock().unwrap().push(offset);
    }
}

/// `swarm` seed 281: the first batch found no connection, and the second, already handed over, made one
/// before the first was sent again. The broker, which knew nothing of the producer and whose log began above 0,
/// took it for the first (KIP-360).
#[test]
fn a_batch_does_not_overtake_one_that_found_no_connection() {
    for healed_after_ms in (400..6_400).step_by(300) {
        let mut world = World::new(5, 1, 1);
        world.retention_bytes = Some(4 * 1024);
        world.start_all();
        world.produce(&Acknowledged::default(), 0..200);
        world.wait_for_client();
        world.run(Duration::from_secs(2));
        assert!(world.count(|event| matches!(event, Event::Log(_, LogEvent::StartAdvanced { .. }))) > 0);
        let offsets = Arc::<Mutex<Vec<i64>>>::default();
        let (bootstrap, told) = (world.bootstrap(), offsets.clone());
        world.client(move |runtime| produce_in_order(runtime, bootstrap, told));
        world.run(Duration::from_millis(900));
        let (client, broker) = (world.client, world.node(1));
        world.simulation.partition_both(client, broker, true);
        world.simulation.reset_connections(client, broker);
        world.run(Duration::from_millis(healed_after_ms));
        world.simulation.heal_all();
        world.wait_for_client();
        assert_eq!(*offsets.lock().unwrap(), [200, 201, 202, 203, 204], "healed after {healed_after_ms} ms");
    }
}

/// Reads both topics, and once their leaders have begun another epoch goes on with a lookup in the first one.
/// How many partitions were refused by each of the polls after it.
async fn poll_after_a_lookup(runtime: SimRuntime, bootstrap: Vec<Address>, refused: Arc<Mutex<Vec<usize>>>) {
    let mut consumer =
        Consumer::new(Cluster::new(runtime, bootstrap, ClientConfig::default()), ConsumerConfig::default());
    let partitions = TOPICS.map(|(topic, _)| TopicPartition::new(topic, 0));
    consumer.assign(partitions.clone());
    partitions.iter().for_each(|partition| consumer.seek_to(partition, OffsetSpec::Earliest));
    while consumer.poll().await.records.is_empty() {}
    runtime.sleep(Duration::from_secs(2)).await;
    for _ in 0..4 {
        let polled = consumer.poll().await;
        refused.lock().unwrap().push(polled.problems.len());
        consumer.list_offsets(&[(partitions[0].clone(), OffsetSpec::Latest)]).await;
    }
}

/// `swarm` seed 10103, with chains that wait for each other: a lookup in one topic learned its leader anew, and with
/// that the consumer took all that it knew for new. Its polls of the other topic were fenced for as long as it looked
/// something up between them.
#[test]
fn what_is_learned_of_one_topic_does_not_pass_for_news_of_another() {
    let mut world = World::new(7, 1, 1);
    world.start_all();
    world.produce(&Acknowledged::default(), 0..20);
    world.wait_for_client();
    let refused = Arc::<Mutex<Vec<usize>>>::default();
    let (bootstrap, told) = (world.bootstrap(), refused.clone());
    world.client(move |runtime| poll_after_a_lookup(runtime, bootstrap, told));
    world.run(Duration::from_secs(1));
    world.truth.elect(BrokerId(1));
    world.observe_commits();
    world.wait_for_client();
    assert_eq!(*refused.lock().unwrap(), [2, 0, 0, 0], "partitions that were refused, poll by poll");
    world.assert_no_violation();
}
