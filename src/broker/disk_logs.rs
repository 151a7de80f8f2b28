//! The logs on this broker's disk: opened before it registers, adopted by the partitions that the
//! controller says it has, removed with their topics.
//!
//! Every directory is opened at the start, so that damage ends the node with its reason before it
//! has promised anything. A log that no topic claims stays where it is: deleting is for those who
//! were told that the topic is gone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::checkpoint;
use super::shared::{Shared, lock};
use crate::base::event::{Event, LogEvent};
use crate::base::ids::{BrokerEpoch, LeaderEpoch, TopicId, TopicPartition};
use crate::base::partition_state::Durability;
use crate::base::plants::Plant;
use crate::controller::metadata::TopicSettings;
use crate::log::names::{parse_partition_directory, partition_directory};
use crate::log::{Completed, Log, LogConfig, LogError, Opened};
use crate::replication::{EpochStart, LeaderEpochs, Recovered, Replica, ReplicaConfig};
use crate::runtime::{Runtime, join_all};

/// So many logs are opened at once: a start waits for the device several times for each that has to be written again,
/// and devices do several things at a time (`num.recovery.threads.per.data.dir`).
const OPENED_AT_ONCE: usize = 8;
/// How the directory of a log ends that is being removed.
const REMOVED_SUFFIX: &str = "-delete";

/// The logs that no partition has adopted yet, and where all of them are.
pub(super) struct DiskLogs<R: Runtime> {
    shared: Arc<Shared<R>>,
    unopened: Mutex<BTreeMap<TopicPartition, Found<R>>>,
    /// High watermarks as they were last checkpointed.
    checkpointed: BTreeMap<TopicPartition, i64>,
    is_clean: bool,
}

/// A log that was found and recovered.
struct Found<R: Runtime> {
    log: Log<R>,
    opened: Opened,
}

impl<R: Runtime> DiskLogs<R> {
    /// Opens every log there is. `stopped_cleanly` says whether the clean shutdown's marker was
    /// found; `same_boot`, that the host has not lost power since, so that even a killed process
    /// lost nothing but what it had not yet written.
    pub(super) async fn open(shared: Arc<Shared<R>>, stopped_cleanly: bool, same_boot: bool) -> Result<Self, LogError> {
        let root = shared.config.log_directory.clone();
        let runtime = &shared.runtime;
        let entries = runtime.list(&root).map_err(io_error(&root, "list"))?;
        let mut unopened = BTreeMap::new();
        let mut is_whole = stopped_cleanly || same_boot;
        let mut names = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.is_directory) {
            if entry.name.ends_with(REMOVED_SUFFIX) {
                let path = root.join(&entry.name);
                runtime.remove_directory(&path).map_err(io_error(&path, "remove"))?;
            } else {
                names.extend(parse_partition_directory(&entry.name));
            }
        }
        for some in names.chunks(OPENED_AT_ONCE) {
            let open = |name| {
                let config = LogConfig {
                    index_interval_bytes: shared.config.index_interval_bytes,
                    plants: shared.plants,
                    ..LogConfig::new(shared.config.durability)
                };
                open_log(&shared, name, None, config)
            };
            for (name, opening) in some.iter().zip(join_all(some.iter().map(open)).await) {
                let (log, opened) = opening?;
                // Without a power cut a tail is torn only where a write was interrupted, which counted for
                // nothing. What is cut besides was damaged, and may have counted.
                is_whole &= !opened.damaged_tail && !opened.durable_point_missing;
                unopened.insert(name.clone(), Found { log, opened });
            }
        }
        let checkpointed = checkpoint::read(runtime, &root).await?;
        Ok(DiskLogs { shared, unopened: Mutex::new(unopened), checkpointed, is_clean: is_whole })
    }

    /// Whether everything that was written is there.
    pub(super) fn is_clean(&self) -> bool {
        self.is_clean
    }

    /// How logs of a topic with these settings are kept.
    pub(super) fn log_config(&self, settings: &TopicSettings) -> LogConfig {
        super::partitions::log_config(&self.shared, settings)
    }

    /// The log of a partition that this broker has from now on, and a replica over it. The log is
    /// durable up to its end, as a replica takes for granted.
    pub(super) async fn adopt(
        &self,
        name: &TopicPartition,
        topic_id: TopicId,
        settings: &TopicSettings,
    ) -> Result<(Replica, Log<R>), LogError> {
        let (log, opened) = match self.take(name, topic_id).await? {
            Some(found) => found,
            None => open_log(&self.shared, name, Some(topic_id), self.log_config(settings)).await?,
        };
        self.observe_opened(name, &opened, settings.durability);
        let high_watermark = self.checkpointed.get(name).copied().unwrap_or(0);
        let recovered = Recovered {
            log_start: log.log_start(),
            log_end: log.log_end(),
            epochs: LeaderEpochs::new(log.epochs().iter().map(epoch_start)),
            high_watermark: if opened.created { 0 } else { high_watermark },
            complete: opened.created || self.is_clean,
        };
        let broker_epoch = (*self.shared.broker_epoch.borrow()).unwrap_or(BrokerEpoch(-1));
        let config = ReplicaConfig {
            broker: self.shared.config.id,
            broker_epoch,
            min_in_sync: settings.min_in_sync.max(1),
            durability: settings.durability,
        };
        Ok((Replica::new(config, recovered, self.shared.plants), log))
    }

    /// The log as it was found at the start. One of another topic of that name goes; one that does
    /// not know its topic is opened again, to be told.
    async fn take(&self, name: &TopicPartition, topic_id: TopicId) -> Result<Option<(Log<R>, Opened)>, LogError> {
        let Some(found) = lock(&self.unopened).remove(name) else { return Ok(None) };
        match found.log.topic_id() {
            Some(id) if id == topic_id => Ok(Some((found.log, found.opened))),
            Some(other) => {
                drop(found);
                self.remove(name, other).await?;
                Ok(None)
            }
            None => {
                let config = found.log.config().clone();
                drop(found.log);
                let (log, _) = open_log(&self.shared, name, Some(topic_id), config).await?;
                Ok(Some((log, found.opened)))
            }
        }
    }

    fn observe_opened(&self, name: &TopicPartition, opened: &Opened, durability: Durability) {
        let Opened { log_start, log_end, torn_bytes, .. } = *opened;
        let observe = |event: LogEvent| self.shared.runtime.observe(|| Event::Log(name.clone(), event));
        observe(LogEvent::Opened { log_start, log_end, torn_bytes, durability });
        observe(LogEvent::Synced { synced_end: log_end });
    }

    /// Removes a log that nobody uses any more: out of the way durably, then for good.
    pub(super) async fn remove(&self, name: &TopicPartition, topic_id: TopicId) -> Result<(), LogError> {
        let root = &self.shared.config.log_directory;
        let runtime = &self.shared.runtime;
        let from = partition_directory(root, name);
        // Without the topic's name, which may be as long as a file name can be.
        let to = root.join(format!("{topic_id}-{}{REMOVED_SUFFIX}", name.partition));
        runtime.rename(&from, &to).map_err(io_error(&from, "rename"))?;
        runtime.sync_directory(root).await.map_err(io_error(root, "sync"))?;
        runtime.remove_directory(&to).map_err(io_error(&to, "remove"))
    }

    /// Removes what a deleted topic left on this disk while this broker had no part in it.
    pub(super) async fn remove_unopened(&self, topic: &Arc<str>, id: TopicId) -> Result<(), LogError> {
        let of_topic =
            |name: &TopicPartition, found: &Found<R>| name.topic == *topic && found.log.topic_id() == Some(id);
        let names: Vec<TopicPartition> = lock(&self.unopened)
            .iter()
            .filter(|(name, found)| of_topic(name, found))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            lock(&self.unopened).remove(&name);
            self.remove(&name, id).await?;
        }
        Ok(())
    }

    /// High watermarks of logs that no partition has adopted, for the next checkpoint.
    pub(super) fn unadopted_high_watermarks(&self) -> BTreeMap<TopicPartition, i64> {
        let unopened = lock(&self.unopened);
        let known = self.checkpointed.iter().filter(|(name, _)| unopened.contains_key(*name));
        known.map(|(name, high_watermark)| (name.clone(), *high_watermark)).collect()
    }
}

/// Opens a log and makes it durable up to its end.
async fn open_log<R: Runtime>(
    shared: &Shared<R>,
    name: &TopicPartition,
    topic_id: Option<TopicId>,
    config: LogConfig,
) -> Result<(Log<R>, Opened), LogError> {
    let root = &shared.config.log_directory;
    let opening = Log::open(shared.runtime.clone(), root, name, topic_id, config).await;
    let (mut log, opened) = opening.inspect_err(|error| {
        if let Some(offset) = error.damaged_from() {
            shared.runtime.observe(|| Event::Log(name.clone(), LogEvent::Damaged { offset }));
        }
    })?;
    let taken = [
        (Plant::Kafka9892, !opened.created),
        (Plant::UncheckedChecksums, !opened.created),
        (Plant::Kafka3968, opened.created),
        (Plant::Commonware4546, opened.went_on_behind),
    ];
    for (plant, taken) in taken {
        if shared.plants.is(plant) && taken {
            shared.runtime.observe(|| Event::PlantTaken(plant));
        }
    }
    let outcome = log.begin_sync()?.await;
    let completed = log.complete(outcome)?;
    assert_eq!(completed, Completed::Synced { synced_end: log.log_end() }, "nothing is appended meanwhile");
    Ok((log, opened))
}

fn epoch_start(entry: &(LeaderEpoch, i64)) -> EpochStart {
    EpochStart { leader_epoch: entry.0, start_offset: entry.1 }
}

pub(super) fn io_error(path: &Path, operation: &'static str) -> impl FnOnce(std::io::Error) -> LogError {
    let path: PathBuf = path.to_owned();
    move |source| LogError::Io { path, operation, source: Arc::new(source) }
}
