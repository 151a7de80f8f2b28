//! The configuration that a topic can have: what is supported, and what it means for replication.
//!
//! Nothing is accepted that has no effect: a client that asks for what is not there is told so.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::partition_state::Durability;
use crate::broker::config::Config;
use crate::controller::metadata::TopicSettings;

/// `min.insync.replicas`.
pub const MIN_IN_SYNC: &str = "min.insync.replicas";
/// `flush.messages`: 1 for [`Durability::Synced`], Kafka's default for [`Durability::PageCache`].
pub const FLUSH_MESSAGES: &str = "flush.messages";
/// `segment.bytes`.
pub const SEGMENT_BYTES: &str = "segment.bytes";
/// `retention.bytes`; -1 keeps everything.
pub const RETENTION_BYTES: &str = "retention.bytes";
/// `max.message.bytes`.
pub const MESSAGE_BYTES_MAX: &str = "max.message.bytes";
/// `cleanup.policy`: `delete` alone.
pub const CLEANUP_POLICY: &str = "cleanup.policy";

/// Kafka's smallest segment.
const SEGMENT_BYTES_MIN: i64 = 14;
/// Kafka's default of `flush.messages`: never.
const NEVER: i64 = i64::MAX;

/// A configuration that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value} is not supported: {expected}")]
pub struct BadConfig {
    name: String,
    value: String,
    expected: &'static str,
}

/// The settings of a topic with these overrides, on a broker of this configuration. An override
/// without a value stands for the default.
pub fn settings<'a>(
    config: &Config,
    overrides: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<TopicSettings, BadConfig> {
    let (min_in_sync, durability) = (config.min_in_sync.max(1), config.durability);
    let mut settings = TopicSettings { min_in_sync, durability, configs: BTreeMap::new() };
    for (name, value) in overrides {
        let text = value.unwrap_or("null");
        let bad = |expected| BadConfig { name: name.to_owned(), value: text.to_owned(), expected };
        check_known(name).map_err(bad)?;
        if let Some(value) = value {
            set(&mut settings, name, value).map_err(bad)?;
            settings.configs.insert(Arc::from(name), Arc::from(value));
        }
    }
    Ok(settings)
}

fn check_known(name: &str) -> Result<(), &'static str> {
    match name {
        MIN_IN_SYNC | FLUSH_MESSAGES | SEGMENT_BYTES | RETENTION_BYTES | MESSAGE_BYTES_MAX | CLEANUP_POLICY => Ok(()),
        _ => Err("topics have min.insync.replicas, flush.messages, segment.bytes, retention.bytes, \
                  max.message.bytes and cleanup.policy"),
    }
}

fn set(settings: &mut TopicSettings, name: &str, value: &str) -> Result<(), &'static str> {
    match name {
        MIN_IN_SYNC => {
            let value = number(value, 1, i64::from(i32::MAX), "a number from 1")?;
            settings.min_in_sync = usize::try_from(value).unwrap_or(usize::MAX);
        }
        FLUSH_MESSAGES => {
            settings.durability = match number(value, 1, NEVER, "1 or 9223372036854775807")? {
                1 => Durability::Synced,
                NEVER => Durability::PageCache,
                _ => return Err("1, every batch is synced before it counts, or 9223372036854775807, the default"),
            }
        }
        SEGMENT_BYTES => drop(number(value, SEGMENT_BYTES_MIN, i64::from(i32::MAX), "a number from 14 to 2147483647")?),
        RETENTION_BYTES => drop(number(value, -1, i64::MAX, "-1 or a number of bytes")?),
        MESSAGE_BYTES_MAX => drop(number(value, 0, i64::from(i32::MAX), "a number from 0 to 2147483647")?),
        _ if value == "delete" => {}
        _ => return Err("delete is the one policy"),
    }
    Ok(())
}

fn number(value: &str, least: i64, most: i64, expected: &'static str) -> Result<i64, &'static str> {
    value.trim().parse().ok().filter(|number| (least..=most).contains(number)).ok_or(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::address::Address;
    use crate::base::ids::BrokerId;

    fn settings_of(overrides: &[(&str, Option<&str>)]) -> Result<TopicSettings, BadConfig> {
        let address = Address::new("localhost", 0);
        settings(&Config::new(BrokerId(1), address.clone(), vec![address]), overrides.iter().copied())
    }

    #[test]
    fn overrides_are_kept_as_given_and_decide_replication() {
        let given = [(MIN_IN_SYNC, Some("2")), (FLUSH_MESSAGES, Some("1")), (CLEANUP_POLICY, Some("delete"))];
        let settings = settings_of(&given).expect("supported");
        assert_eq!((settings.min_in_sync, settings.durability), (2, Durability::Synced));
        assert_eq!(settings.configs.len(), 3);
        let defaults = settings_of(&[(MIN_IN_SYNC, None)]).expect("supported");
        assert_eq!((defaults.min_in_sync, defaults.durability), (1, Durability::PageCache));
        assert!(defaults.configs.is_empty());
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (name, value) in [
            ("compression.type", Some("gzip")),
            ("retention.ms", None),
            (CLEANUP_POLICY, Some("compact")),
            (FLUSH_MESSAGES, Some("10000")),
            (MIN_IN_SYNC, Some("0")),
            (SEGMENT_BYTES, Some("1x")),
            (RETENTION_BYTES, Some("-2")),
        ] {
            let error = settings_of(&[(name, value)]).expect_err(name).to_string();
            assert!(error.starts_with(name) && error.contains(value.unwrap_or("null")), "{error}");
        }
    }

    #[test]
    fn a_topic_that_does_not_say_has_the_brokers_minimum_and_at_least_one() {
        let address = Address::new("localhost", 0);
        let of = |min_in_sync| {
            let config = Config { min_in_sync, ..Config::new(BrokerId(1), address.clone(), vec![address.clone()]) };
            settings(&config, std::iter::empty()).expect("supported").min_in_sync
        };
        assert_eq!([0, 1, 2].map(of), [1, 1, 2]);
    }
}
