//! What a broker is told when it starts. Names in a properties file are Kafka's.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::address::Address;
use crate::base::ids::BrokerId;
use crate::base::partition_state::Durability;
use crate::base::plants::Plants;

/// The configuration of one broker.
#[derive(Clone, Debug)]
pub struct Config {
    /// `broker.id`.
    pub id: BrokerId,
    /// `listeners`: where it listens for clients and other brokers.
    pub listen_address: Address,
    /// `advertised.listeners`: where others reach it; the listening address with the port that was
    /// chosen if none is given.
    pub advertised_address: Option<Address>,
    /// `zookeeper.connect`: the coordinators.
    pub coordinators: Vec<Address>,
    /// `zookeeper.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `log.dir`, relative to the data directory.
    pub log_directory: PathBuf,
    /// `num.partitions` of a topic that is created automatically or with -1.
    pub default_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication: i16,
    /// `min.insync.replicas` where a topic does not say.
    pub min_in_sync: usize,
    /// The class of topics that do not say (`flush.messages`).
    pub durability: Durability,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_max: Duration,
    /// `replica.fetch.wait.max.ms`.
    pub replica_fetch_wait: Duration,
    /// `replica.fetch.max.bytes`, for one partition.
    pub replica_fetch_bytes: usize,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub checkpoint_interval: Duration,
    /// `message.max.bytes`.
    pub message_bytes_max: usize,
    /// `log.segment.bytes`.
    pub segment_bytes: u64,
    /// `log.index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// `log.retention.bytes`; none keeps everything.
    pub retention_bytes: Option<u64>,
    /// `log.retention.check.interval.ms`.
    pub retention_interval: Duration,
    /// Planted bugs; without effect on a real runtime.
    pub plants: Plants,
}

impl Config {
    /// Broker `id` on `listen_address` with Kafka's defaults, except that topics get three replicas.
    #[must_use]
    pub fn new(id: BrokerId, listen_address: Address, coordinators: Vec<Address>) -> Self {
        Config {
            id,
            listen_address,
            advertised_address: None,
            coordinators,
            session_timeout: Duration::from_secs(18),
            log_directory: PathBuf::from("logs"),
            default_partitions: 1,
            default_replication: 1,
            min_in_sync: 1,
            durability: Durability::PageCache,
            auto_create_topics: true,
            replica_lag_max: Duration::from_secs(30),
            replica_fetch_wait: Duration::from_millis(500),
            replica_fetch_bytes: 1024 * 1024,
            checkpoint_interval: Duration::from_secs(5),
            message_bytes_max: 1_048_588,
            segment_bytes: 1024 * 1024 * 1024,
            index_interval_bytes: 4096,
            retention_bytes: None,
            retention_interval: Duration::from_secs(300),
            plants: Plants::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that an operator who comes from Kafka counts on.
    #[test]
    fn what_is_not_set_is_as_in_kafka() {
        let config = Config::new(BrokerId(1), Address::new("b", 9092), Vec::new());
        assert_eq!((config.default_partitions, config.default_replication, config.min_in_sync), (1, 1, 1));
        assert!(config.auto_create_topics, "auto.create.topics.enable");
        assert_eq!((config.message_bytes_max, config.segment_bytes), (1_048_588, 1 << 30));
        assert_eq!(
            (config.replica_lag_max, config.session_timeout),
            (Duration::from_secs(30), Duration::from_secs(18))
        );
        assert_eq!((config.retention_bytes, config.index_interval_bytes), (None, 4096));
    }
}
