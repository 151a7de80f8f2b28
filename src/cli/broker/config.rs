//! A broker's configuration from settings with Kafka's names.

use std::path::PathBuf;

use crate::base::address::Address;
use crate::base::ids::BrokerId;
use crate::base::partition_state::Durability;
use crate::broker::Config;
use crate::cli::failure::Failure;
use crate::cli::settings::{Key, Settings};
use crate::cli::values::{addresses, at_least, boolean, millis, text};

/// Kafka's port for clients.
const DEFAULT_LISTENER: &str = "PLAINTEXT://:9092";
const EVERYWHERE: &str = "0.0.0.0";
const NO_POOLS: &str = "tasks share one executor, there are no pools to size";
const BY_SIZE: &str = "records are kept by size, see log.retention.bytes";
const NOT_OFFERED: &str = "this broker does not offer what it is about";

/// The settings that a broker knows.
pub(super) const KEYS: &[Key] = &[
    Key::used("broker.id"),
    Key::used("listeners"),
    Key::used("advertised.listeners"),
    Key::used("zookeeper.connect"),
    Key::used("zookeeper.session.timeout.ms"),
    Key::used("log.dirs"),
    Key::used("log.dir"),
    Key::used("num.partitions"),
    Key::used("default.replication.factor"),
    Key::used("min.insync.replicas"),
    Key::used("log.flush.interval.messages"),
    Key::used("auto.create.topics.enable"),
    Key::used("replica.lag.time.max.ms"),
    Key::used("replica.fetch.wait.max.ms"),
    Key::used("replica.fetch.max.bytes"),
    Key::used("replica.high.watermark.checkpoint.interval.ms"),
    Key::used("message.max.bytes"),
    Key::used("log.segment.bytes"),
    Key::used("log.index.interval.bytes"),
    Key::used("log.retention.bytes"),
    Key::used("log.retention.check.interval.ms"),
    Key::without_effect("num.network.threads", NO_POOLS),
    Key::without_effect("num.io.threads", NO_POOLS),
    Key::without_effect("num.replica.fetchers", NO_POOLS),
    Key::without_effect("num.recovery.threads.per.data.dir", NO_POOLS),
    Key::without_effect("background.threads", NO_POOLS),
    Key::without_effect("socket.*", "buffers and frame limits are fixed"),
    Key::without_effect("zookeeper.connection.timeout.ms", "a broker waits for its coordinators as long as it takes"),
    Key::without_effect("log.retention.hours", BY_SIZE),
    Key::without_effect("log.retention.minutes", BY_SIZE),
    Key::without_effect("log.retention.ms", BY_SIZE),
    Key::without_effect("log.cleaner.*", NOT_OFFERED),
    Key::without_effect("offsets.*", NOT_OFFERED),
    Key::without_effect("transaction.state.*", NOT_OFFERED),
    Key::without_effect("group.*", NOT_OFFERED),
    Key::without_effect("delete.topic.enable", "topics can always be deleted"),
    Key::without_effect(
        "unclean.leader.election.enable",
        "a replica outside the in-sync and eligible sets never leads",
    ),
];

/// A broker's configuration and its directory.
#[derive(Debug)]
pub(super) struct BrokerSettings {
    /// What the broker is told.
    pub(super) config: Config,
    /// `log.dirs`.
    pub(super) data_directory: PathBuf,
}

impl BrokerSettings {
    /// Reads and checks all of them.
    pub(super) fn from(settings: &Settings) -> Result<Self, Failure> {
        settings.check(KEYS)?;
        let id = BrokerId(settings.require("broker.id", at_least(0_i32))?);
        let coordinators = settings.require("zookeeper.connect", coordinators)?;
        let listen = settings.get("listeners", listener)?;
        let listen = listen.map_or_else(|| listener(DEFAULT_LISTENER).map_err(Failure::failed), Ok)?;
        let advertised = settings.get("advertised.listeners", listener)?;
        if advertised.is_none() && is_everywhere(&listen) {
            let what = "listeners names no host, so that others cannot be told where this broker is: \
                        set advertised.listeners=PLAINTEXT://HOST:PORT, or name the host in listeners";
            return Err(Failure::unusable(what));
        }
        if advertised.as_ref().is_some_and(is_everywhere) {
            return Err(settings.bad("advertised.listeners", "names no host that others could connect to"));
        }
        let mut config = Config::new(id, listen, coordinators);
        config.advertised_address = advertised;
        // The log directory is the node's whole disk, so that files lie where Kafka lays them.
        config.log_directory = PathBuf::new();
        topics(settings, &mut config)?;
        replication(settings, &mut config)?;
        logs(settings, &mut config)?;
        Ok(BrokerSettings { config, data_directory: log_directory(settings)? })
    }
}

fn topics(settings: &Settings, config: &mut Config) -> Result<(), Failure> {
    set(&mut config.default_partitions, settings.get("num.partitions", at_least(1_i32))?);
    set(&mut config.default_replication, settings.get("default.replication.factor", at_least(1_i16))?);
    set(&mut config.min_in_sync, settings.get("min.insync.replicas", at_least(1_usize))?);
    set(&mut config.auto_create_topics, settings.get("auto.create.topics.enable", boolean)?);
    set(&mut config.durability, settings.get("log.flush.interval.messages", durability)?);
    Ok(())
}

fn replication(settings: &Settings, config: &mut Config) -> Result<(), Failure> {
    set(&mut config.session_timeout, settings.get("zookeeper.session.timeout.ms", millis)?);
    set(&mut config.replica_lag_max, settings.get("replica.lag.time.max.ms", millis)?);
    set(&mut config.replica_fetch_wait, settings.get("replica.fetch.wait.max.ms", millis)?);
    set(&mut config.replica_fetch_bytes, settings.get("replica.fetch.max.bytes", at_least(1_usize))?);
    let checkpoint = settings.get("replica.high.watermark.checkpoint.interval.ms", millis)?;
    set(&mut config.checkpoint_interval, checkpoint);
    Ok(())
}

fn logs(settings: &Settings, config: &mut Config) -> Result<(), Failure> {
    set(&mut config.message_bytes_max, settings.get("message.max.bytes", at_least(1_usize))?);
    set(&mut config.segment_bytes, settings.get("log.segment.bytes", at_least(14_u64))?);
    set(&mut config.index_interval_bytes, settings.get("log.index.interval.bytes", at_least(0_u64))?);
    set(&mut config.retention_bytes, settings.get("log.retention.bytes", retention)?);
    set(&mut config.retention_interval, settings.get("log.retention.check.interval.ms", millis)?);
    Ok(())
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

/// 1 makes every record durable before it counts; Kafka's default, the largest number, leaves it
/// to the operating system. There is nothing between the two.
fn durability(text: &str) -> Result<Durability, String> {
    match at_least(1_i64)(text)? {
        1 => Ok(Durability::Synced),
        i64::MAX => Ok(Durability::PageCache),
        _ => Err(format!("expected 1 (every record is synced) or {} (none is)", i64::MAX)),
    }
}

fn retention(text: &str) -> Result<Option<u64>, String> {
    if text == "-1" { Ok(None) } else { at_least(0_u64)(text).map(Some) }
}

/// `PLAINTEXT://[HOST]:PORT`.
fn listener(text: &str) -> Result<Address, String> {
    let expected = || "expected PLAINTEXT://HOST:PORT".to_owned();
    if text.contains(',') {
        return Err("one listener is supported".to_owned());
    }
    let (protocol, place) = text.split_once("://").ok_or_else(expected)?;
    if !protocol.eq_ignore_ascii_case("PLAINTEXT") {
        return Err(format!("{protocol} is not supported: {}", expected()));
    }
    match place.strip_prefix(':') {
        Some(port) => at_least(0_u16)(port).map(|port| Address::new(EVERYWHERE, port)).map_err(|_| expected()),
        None => place.parse().map_err(|_| expected()),
    }
}

fn is_everywhere(address: &Address) -> bool {
    [EVERYWHERE, "::"].contains(&&*address.host)
}

fn coordinators(text: &str) -> Result<Vec<Address>, String> {
    if text.contains('/') {
        return Err("a path behind the addresses (chroot) is not supported".to_owned());
    }
    addresses(text)
}

fn log_directory(settings: &Settings) -> Result<PathBuf, Failure> {
    let name = if settings.get("log.dirs", text)?.is_some() { "log.dirs" } else { "log.dir" };
    let directory = settings.require(name, text)?;
    if directory.contains(',') {
        return Err(settings.bad(name, "one log directory is supported"));
    }
    Ok(PathBuf::from(directory))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LEAST: [&str; 4] =
        ["broker.id=1", "log.dirs=/data", "listeners=PLAINTEXT://localhost:9092", "zookeeper.connect=a:2181,b:2181"];

    fn broker(settings: &[&str]) -> Result<BrokerSettings, Failure> {
        let flags: Vec<String> = LEAST.iter().chain(settings).map(|&flag| flag.to_owned()).collect();
        BrokerSettings::from(&Settings::read(None, &flags)?)
    }

    #[test]
    fn settings_of_kafka_are_understood() {
        let read = broker(&[
            "advertised.listeners=PLAINTEXT://example.org:19092",
            "default.replication.factor=3",
            "min.insync.replicas=2",
            "log.flush.interval.messages=1",
            "log.retention.bytes=-1",
            "replica.lag.time.max.ms=10000",
            "num.io.threads=8",
        ])
        .expect("valid");
        assert_eq!(read.data_directory, PathBuf::from("/data"));
        let config = read.config;
        assert_eq!(config.coordinators, [Address::new("a", 2181), Address::new("b", 2181)]);
        assert_eq!(config.advertised_address, Some(Address::new("example.org", 19092)));
        assert_eq!((config.default_replication, config.min_in_sync), (3, 2));
        assert_eq!((config.durability, config.retention_bytes), (Durability::Synced, None));
        assert_eq!(config.replica_lag_max, Duration::from_secs(10));
    }

    #[test]
    fn what_a_broker_cannot_use_is_refused_in_one_line() {
        for (setting, said) in [
            ("listeners=PLAINTEXT://:9092", "set advertised.listeners="),
            ("listeners=SSL://a:9092", "SSL is not supported"),
            ("listeners=PLAINTEXT://a:1,PLAINTEXT://b:2", "one listener is supported"),
            ("listeners=a:9092", "expected PLAINTEXT://HOST:PORT"),
            ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "names no host"),
            ("zookeeper.connect=a:2181/kafka", "chroot"),
            ("log.dirs=/a,/b", "one log directory"),
            ("log.flush.interval.messages=1000", "expected 1 (every record is synced)"),
            ("broker.id=-1", "expected a whole number from 0 on"),
            ("min.insync.replica=2", "did you mean 'min.insync.replicas'?"),
        ] {
            let error = broker(&[setting]).expect_err(setting).to_string();
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        }
    }
}
