//! The cluster of a scenario, and that of one seed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wyrdlog::base::partition_state::Durability;

use super::NODES_MAX;
use super::drawn::{Drawn, Draws};
use crate::draw::Draw;

/// The most that the first broker may be called.
const FIRST_BROKER_MAX: u64 = 1_000;
/// A segment that is full every few seconds at the standard load, so that retention has work.
const SMALL_SEGMENT_BYTES: u64 = 6 * 1024;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic<N = u32> {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: N,
    /// How many replicas each. Where that is drawn, at most as many as there are brokers.
    pub replicas: N,
    /// `min.insync.replicas`. Where that is drawn, at most as many as there are replicas.
    pub min_in_sync: N,
    /// What is promised.
    pub durability: Durability,
}

/// The cluster, as far as the scenario fixes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterShape {
    /// Coordinator servers: 1, 3 or 5.
    pub coordinators: Option<Drawn>,
    /// Brokers.
    pub brokers: Option<Drawn>,
    /// The id of the first of them; the others follow.
    pub first_broker: Option<Drawn>,
    /// `zookeeper.session.timeout.ms` of the brokers.
    pub session_timeout_ms: Option<Drawn>,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_max_ms: Option<Drawn>,
    /// `log.segment.bytes`.
    pub segment_bytes: Option<Drawn>,
    /// `log.index.interval.bytes`.
    pub index_interval_bytes: Option<Drawn>,
    /// `log.retention.bytes`, in segments; 0 keeps everything.
    pub retention_segments: Option<Drawn>,
    /// `log.retention.check.interval.ms`.
    pub retention_interval_ms: Option<Drawn>,
    /// `num.partitions` of topics that brokers create when somebody asks about them; 0 has them create none.
    pub auto_create_partitions: Option<Drawn>,
    /// After so many entries a coordinator takes a snapshot.
    pub snapshot_entries: Option<Drawn>,
    /// So many entries a coordinator keeps behind its snapshot.
    pub trailing_entries: Option<Drawn>,
    /// A coordinator's write-ahead log that has grown by so many bytes is begun anew behind a snapshot.
    pub log_roll_bytes: Option<Drawn>,
    /// How long a link takes at least, in microseconds; some packets take up to twice as long more.
    pub link_latency_us: Option<Drawn>,
    /// How long a sync of a disk takes, in microseconds.
    pub sync_latency_us: Option<Drawn>,
    /// The topics; where absent, one of each durability class.
    pub topics: Option<Vec<Topic<Drawn>>>,
}

/// A cluster without anything left open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Coordinator servers, with ids from 1.
    pub coordinators: u32,
    /// Brokers.
    pub brokers: u32,
    /// The id of the first of them; the others follow.
    #[serde(default = "first_broker", skip_serializing_if = "is_one")]
    pub first_broker: u32,
    /// `zookeeper.session.timeout.ms` of the brokers.
    pub session_timeout_ms: u64,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_max_ms: u64,
    /// `log.segment.bytes`.
    pub segment_bytes: u64,
    /// `log.index.interval.bytes`.
    #[serde(default = "index_interval_bytes", skip_serializing_if = "is_usual_interval")]
    pub index_interval_bytes: u64,
    /// `log.retention.bytes`; none keeps everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// `log.retention.check.interval.ms`.
    pub retention_interval_ms: u64,
    /// `num.partitions` of topics that brokers create when somebody asks about them; 0 has them create none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub auto_create_partitions: u32,
    /// After so many entries a coordinator takes a snapshot.
    pub snapshot_entries: u64,
    /// So many entries a coordinator keeps behind its snapshot.
    pub trailing_entries: u64,
    /// A coordinator's write-ahead log that has grown by so many bytes is begun anew behind a snapshot.
    #[serde(default = "log_roll_bytes", skip_serializing_if = "is_usual")]
    pub log_roll_bytes: u64,
    /// The largest piece of a snapshot that a coordinator sends.
    pub snapshot_chunk_bytes: usize,
    /// How long a link takes at least, in microseconds.
    pub link_latency_us: u64,
    /// How much longer some packets take, in microseconds.
    pub link_jitter_us: u64,
    /// How long a sync of a disk takes, in microseconds.
    pub sync_latency_us: u64,
    /// How many times PCT changes priorities among tasks; none for a uniform choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_points: Option<u32>,
    /// The topics.
    #[serde(default)]
    pub topics: Vec<Topic>,
}

impl ClusterShape {
    /// What contradicts itself, and the remedy.
    pub(super) fn contradiction(&self) -> Option<(String, String)> {
        let ensemble = |drawn: &Drawn| drawn.all(|count| [1, 3, 5].contains(&count));
        if self.coordinators.as_ref().is_some_and(|drawn| !ensemble(drawn)) {
            return Some((
                "an ensemble has 1, 3 or 5 coordinators".to_owned(),
                "set cluster.coordinators = 3".to_owned(),
            ));
        }
        let brokers = self.brokers.as_ref().map_or(Some((3, 5)), Drawn::bounds).map(|(_, most)| most);
        let Some(brokers) = brokers.filter(|brokers| *brokers <= u64::from(NODES_MAX)) else {
            return Some((
                format!("there may be {NODES_MAX} brokers at most"),
                "set cluster.brokers = 3, or 0 for the coordinator alone".to_owned(),
            ));
        };
        let first = self.first_broker.as_ref().map_or(Some((1, 1)), Drawn::bounds).map(|(_, most)| most);
        if first.is_none_or(|first| first > FIRST_BROKER_MAX) {
            return Some((
                format!("brokers may be numbered from {FIRST_BROKER_MAX} at most"),
                "set cluster.first_broker = 0, or leave it out for 1".to_owned(),
            ));
        }
        let brokers = if self.brokers.is_none() { u64::from(NODES_MAX) } else { brokers };
        let mut names = BTreeSet::new();
        self.topics.iter().flatten().find_map(|topic| {
            if !names.insert(topic.name.as_str()) {
                let remedy = "give each topic a name of its own".to_owned();
                return Some((format!("two topics are named {}", topic.name), remedy));
            }
            topic.contradiction(brokers)
        })
    }

    /// The cluster of `seed`. What the scenario says nothing of is drawn all the same, so that saying
    /// it shifts nothing.
    pub(super) fn draw(&self, seed: u64, draws: &mut Draws) -> Cluster {
        let mut open = draw_open(seed);
        let mut set = |name: &str, number: &mut u64, to: &Option<Drawn>| {
            if let Some(drawn) = to {
                *number = draws.number(name, drawn);
            }
        };
        let (mut coordinators, mut brokers) = (u64::from(open.coordinators), u64::from(open.brokers));
        set("coordinators", &mut coordinators, &self.coordinators);
        set("brokers", &mut brokers, &self.brokers);
        (open.coordinators, open.brokers) = (coordinators as u32, brokers as u32);
        let mut first = u64::from(first_broker());
        set("first_broker", &mut first, &self.first_broker);
        open.first_broker = first as u32;
        set("session_timeout_ms", &mut open.session_timeout_ms, &self.session_timeout_ms);
        set("replica_lag_max_ms", &mut open.replica_lag_max_ms, &self.replica_lag_max_ms);
        set("segment_bytes", &mut open.segment_bytes, &self.segment_bytes);
        set("retention_interval_ms", &mut open.retention_interval_ms, &self.retention_interval_ms);
        set("snapshot_entries", &mut open.snapshot_entries, &self.snapshot_entries);
        set("trailing_entries", &mut open.trailing_entries, &self.trailing_entries);
        set("log_roll_bytes", &mut open.log_roll_bytes, &self.log_roll_bytes);
        set("sync_latency_us", &mut open.sync_latency_us, &self.sync_latency_us);
        set("link_latency_us", &mut open.link_latency_us, &self.link_latency_us);
        set("index_interval_bytes", &mut open.index_interval_bytes, &self.index_interval_bytes);
        let mut auto_create_partitions = 0;
        set("auto_create_partitions", &mut auto_create_partitions, &self.auto_create_partitions);
        open.auto_create_partitions = auto_create_partitions as u32;
        if self.link_latency_us.is_some() {
            open.link_jitter_us = 2 * open.link_latency_us;
        }
        if let Some(drawn) = &self.retention_segments {
            let segments = draws.number("retention_segments", drawn);
            open.retention_bytes = (segments > 0).then_some(segments * open.segment_bytes);
        }
        open.topics = match &self.topics {
            Some(topics) => topics.iter().map(|topic| topic.draw(open.brokers, draws)).collect(),
            None => cap_replicas(open.topics, open.brokers),
        };
        open
    }
}

impl Topic<Drawn> {
    fn contradiction(&self, brokers: u64) -> Option<(String, String)> {
        let Topic { name, partitions, replicas, min_in_sync, .. } = self;
        let least = |drawn: &Drawn| drawn.bounds().map_or(0, |(least, _)| least);
        // What is drawn is bounded when it is; what is fixed is taken at its word.
        if least(replicas) == 0 || replicas.fixed().is_some_and(|replicas| replicas > brokers) {
            let remedy = format!("set its replicas between 1 and {brokers}");
            return Some((format!("topic {name} has {} replicas on {brokers} brokers", least(replicas)), remedy));
        }
        let fixed = min_in_sync.fixed().zip(replicas.fixed());
        let possible = fixed.is_none_or(|(min_in_sync, replicas)| min_in_sync <= replicas);
        let possible = possible && least(min_in_sync) > 0 && least(partitions) > 0;
        (!possible).then(|| {
            let message =
                format!("topic {name} has min_in_sync {} and {} partitions", least(min_in_sync), least(partitions));
            let most = replicas.bounds().map_or(1, |(_, most)| most);
            (message, format!("set min_in_sync between 1 and {most} and at least one partition"))
        })
    }

    fn draw(&self, brokers: u32, draws: &mut Draws) -> Topic {
        let name = |what: &str| format!("topics.{}.{what}", self.name);
        let partitions = draws.number(&name("partitions"), &self.partitions) as u32;
        let replicas = draws.number_up_to(&name("replicas"), &self.replicas, u64::from(brokers));
        let min_in_sync = draws.number_up_to(&name("min_in_sync"), &self.min_in_sync, replicas) as u32;
        Topic {
            name: self.name.clone(),
            partitions,
            replicas: replicas as u32,
            min_in_sync,
            durability: self.durability,
        }
    }
}

/// The cluster of `seed` where the scenario says nothing.
fn draw_open(seed: u64) -> Cluster {
    let draw = &mut Draw::new(seed, "cluster");
    let coordinators = draw.weighted(&[(1, 1), (3, 8), (5, 1)]).copied().unwrap_or(3);
    let brokers = draw.weighted(&[(3, 8), (4, 1), (5, 1)]).copied().unwrap_or(3);
    let session_timeout_ms = draw.between(1_000, 4_000);
    let replica_lag_max_ms = draw.between(500, 5_000);
    let topics = [("synced", Durability::Synced), ("cached", Durability::PageCache)].map(|(name, durability)| {
        let partitions = draw.between(1, 3) as u32;
        Topic { name: name.to_owned(), partitions, replicas: 3, min_in_sync: 2, durability }
    });
    let draw = &mut Draw::new(seed, "broker");
    let sizes = [SMALL_SEGMENT_BYTES, SMALL_SEGMENT_BYTES, 64 * 1024, 1024 * 1024];
    let segment_bytes = draw.pick(&sizes).copied().unwrap_or(1024 * 1024);
    let (mut retention_bytes, mut retention_interval_ms) = (None, 300_000);
    if segment_bytes == SMALL_SEGMENT_BYTES {
        let segments = draw.pick(&[None, Some(1), Some(1), Some(2)]).copied().flatten();
        retention_bytes = segments.map(|segments: u64| segments * SMALL_SEGMENT_BYTES);
        retention_interval_ms = draw.between(500, 5_000);
    }
    let world = &mut Draw::new(seed, "world");
    let change_points = world.percent(20).then(|| world.between(1, 10) as u32);
    let draw = &mut Draw::new(seed, "coordinator");
    Cluster {
        coordinators,
        brokers,
        first_broker: first_broker(),
        session_timeout_ms,
        replica_lag_max_ms,
        segment_bytes,
        index_interval_bytes: index_interval_bytes(),
        retention_bytes,
        retention_interval_ms,
        auto_create_partitions: 0,
        snapshot_entries: draw.pick(&[50, 200, 1_000, 100_000]).copied().unwrap_or(1_000),
        trailing_entries: draw.pick(&[0, 20, 200, 10_000]).copied().unwrap_or(10_000),
        log_roll_bytes: log_roll_bytes(),
        snapshot_chunk_bytes: draw.pick(&[256, 4_096, 262_144]).copied().unwrap_or(262_144),
        link_latency_us: world.between(50, 1_000),
        link_jitter_us: world.between(20, 2_000),
        sync_latency_us: world.between(100, 3_000),
        change_points,
        topics: topics.to_vec(),
    }
}

/// Where nothing is said of it.
fn first_broker() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_one(number: &u32) -> bool {
    *number == first_broker()
}

/// What brokers do where nothing is set.
fn index_interval_bytes() -> u64 {
    4096
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_usual_interval(bytes: &u64) -> bool {
    *bytes == index_interval_bytes()
}

/// What the coordinator does where nothing is set.
fn log_roll_bytes() -> u64 {
    1024 * 1024
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_usual(bytes: &u64) -> bool {
    *bytes == log_roll_bytes()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Drawn topics on a cluster that the scenario made smaller.
fn cap_replicas(topics: Vec<Topic>, brokers: u32) -> Vec<Topic> {
    if brokers == 0 {
        return Vec::new();
    }
    let cap = |topic: Topic| {
        let replicas = topic.replicas.min(brokers);
        Topic { replicas, min_in_sync: topic.min_in_sync.min(replicas), ..topic }
    };
    topics.into_iter().map(cap).collect()
}
