//! The names of a log's files, as Kafka names them, and of the one file that is ours.

use std::path::{Path, PathBuf};

use crate::base::ids::TopicPartition;

/// Record batches.
pub const LOG_SUFFIX: &str = ".log";
/// Offset → position.
pub const INDEX_SUFFIX: &str = ".index";
/// Timestamp → offset.
pub const TIME_INDEX_SUFFIX: &str = ".timeindex";
/// Producer state as of the offset in the name.
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";
/// What is being written and does not count yet.
pub const TEMPORARY_SUFFIX: &str = ".tmp";
/// Leader epochs and where they start.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// The topic's id.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Ours: up to where the log is known to be durable. Kafka ignores it.
pub const DURABLE_POINT: &str = "durable-point";

/// The directory of a partition's log within the log directory.
#[must_use]
pub fn partition_directory(log_directory: &Path, partition: &TopicPartition) -> PathBuf {
    log_directory.join(partition.to_string())
}

/// The partition that a directory's name stands for: `orders-eu-3` is partition 3 of `orders-eu`.
#[must_use]
pub fn parse_partition_directory(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    let partition = partition.parse().ok().filter(|_| digits && !topic.is_empty())?;
    Some(TopicPartition::new(topic, partition))
}

/// A file named after `offset`, in 20 digits.
#[must_use]
pub fn offset_file(offset: i64, suffix: &str) -> String {
    format!("{offset:020}{suffix}")
}

/// The offset that a file with `suffix` is named after.
#[must_use]
pub fn parse_offset_file(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_kafka_names_them() {
        assert_eq!(offset_file(0, LOG_SUFFIX), "00000000000000000000.log");
        assert_eq!(offset_file(368_769, TIME_INDEX_SUFFIX), "00000000000000368769.timeindex");
        assert_eq!(parse_offset_file("00000000000000368769.log", LOG_SUFFIX), Some(368_769));
        for name in
            ["1.log", "00000000000000368769.log.deleted", "0000000000000036876x.log", "99999999999999999999.log"]
        {
            assert_eq!(parse_offset_file(name, LOG_SUFFIX), None, "{name}");
        }
    }

    #[test]
    fn a_partition_directory_is_read_as_it_is_written() {
        let partition = TopicPartition::new("orders-eu", 3);
        let directory = partition_directory(Path::new("logs"), &partition);
        assert_eq!(directory, Path::new("logs/orders-eu-3"));
        assert_eq!(parse_partition_directory("orders-eu-3"), Some(partition));
        for name in ["orders", "-3", "orders-", "orders-x", "orders-+3"] {
            assert_eq!(parse_partition_directory(name), None, "{name}");
        }
    }
}
