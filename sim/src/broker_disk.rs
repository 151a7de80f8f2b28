//! What a broker's simulated disk shows of the broker's own files: the logs that have a directory, what the checkpoint
//! names, the marker of a clean stop, and what a power cut could still take away.

use std::collections::BTreeSet;
use std::path::Path;

use wyrdlog::base::ids::TopicPartition;

use crate::disk_log::{DiskView, LOG_DIRECTORY};
use crate::invariants::points::{HIGH_WATERMARKS, high_watermarks};

/// The marker of a clean stop, as Kafka names it.
const CLEAN_STOP: &str = ".kafka_cleanshutdown";

/// The partitions that have a directory among `files`.
#[must_use]
pub fn logs_among(files: &[String]) -> BTreeSet<TopicPartition> {
    let log = |file: &String| {
        let directory = Path::new(file).parent()?;
        let (topic, partition) = directory.file_name()?.to_str()?.rsplit_once('-')?;
        let is_here = directory.parent() == Some(Path::new(LOG_DIRECTORY));
        Some(TopicPartition::new(topic, partition.parse().ok().filter(|_| is_here)?))
    };
    files.iter().filter_map(log).collect()
}

/// The partitions that the checkpoint of high watermarks names; none if there is no whole one.
#[must_use]
pub fn checkpointed(disk: &impl DiskView) -> Option<BTreeSet<TopicPartition>> {
    let text = disk.read(&Path::new(LOG_DIRECTORY).join(HIGH_WATERMARKS))?;
    Some(high_watermarks(&text)?.into_keys().collect())
}

/// Whether the next start will find that this broker stopped cleanly.
#[must_use]
pub fn has_marker(disk: &impl DiskView) -> bool {
    disk.read(&Path::new(LOG_DIRECTORY).join(CLEAN_STOP)).is_some_and(|marker| !marker.is_empty())
}

/// Those of `files` of which a power cut could leave something else than what is read now.
#[must_use]
pub fn unsynced_among(disk: &impl DiskView, files: Vec<String>) -> Vec<String> {
    let is_unsynced = |file: &String| disk.durable(Path::new(file)) != disk.read(Path::new(file));
    files.into_iter().filter(is_unsynced).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::disk_log::examples::Files;

    fn file(name: &str, contents: &str) -> (PathBuf, Vec<u8>) {
        (Path::new(LOG_DIRECTORY).join(name), contents.as_bytes().to_vec())
    }

    #[test]
    fn a_log_is_a_directory_that_is_named_after_a_partition() {
        let files = ["logs/a-b-7/0.log", "logs/a-b-7/0.index", "logs/boot.id", "logs/x-0-delete/0.log", "a-1/0.log"];
        assert_eq!(logs_among(&files.map(str::to_owned)), BTreeSet::from([TopicPartition::new("a-b", 7)]));
    }

    #[test]
    fn a_checkpoint_names_partitions_if_it_is_whole() {
        let named = |text| checkpointed(&Files(BTreeMap::from([file("replication-offset-checkpoint", text)])));
        assert_eq!(named("0\n1\nt 3 9\n"), Some(BTreeSet::from([TopicPartition::new("t", 3)])));
        assert_eq!([named("0\n2\nt 3 9\n"), checkpointed(&Files(BTreeMap::new()))], [None, None]);
    }

    #[test]
    fn an_empty_marker_is_none() {
        let has = |files: &[_]| has_marker(&Files(files.iter().cloned().collect()));
        let marker = |contents| file(CLEAN_STOP, contents);
        assert_eq!([has(&[]), has(&[marker("")]), has(&[marker("{}")])], [false, false, true]);
    }
}
