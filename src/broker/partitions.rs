//! The partitions of which this broker has a replica, and how metadata reaches them.
//!
//! **Promises.** Changes are applied in the order in which they come; a topic's settings reach a
//! replica before its states do. What is looked up is a snapshot that a change replaces, so that
//! handlers hold no lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::disk_logs::DiskLogs;
use super::fetcher::Fetchers;
use super::shared::{Shared, lock};
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::base::partition_state::PartitionState;
use crate::controller::metadata::{Applied, ClusterMetadata, MetadataChange, TopicMetadata, TopicSettings};
use crate::log::{LogConfig, LogError};
use crate::replication::{InSyncAnswer, Input};
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::messages::{Uuid, topic_id};

use super::partition::Partition;

/// All partitions here. Clones share them.
pub struct Partitions<R: Runtime> {
    inner: Arc<Inner<R>>,
}

impl<R: Runtime> Clone for Partitions<R> {
    fn clone(&self) -> Self {
        Partitions { inner: self.inner.clone() }
    }
}

struct Inner<R: Runtime> {
    shared: Arc<Shared<R>>,
    disk_logs: DiskLogs<R>,
    index: Mutex<Arc<Index<R>>>,
    fetchers: Fetchers<R>,
}

/// What is here, by name and by id.
pub(super) struct Index<R: Runtime> {
    topics: BTreeMap<Arc<str>, HostedTopic<R>>,
    names: BTreeMap<TopicId, Arc<str>>,
    /// Nothing is added any more: see [`Partitions::close`].
    is_closed: bool,
}

struct HostedTopic<R: Runtime> {
    id: TopicId,
    partitions: BTreeMap<i32, Arc<Partition<R>>>,
}

impl<R: Runtime> Clone for HostedTopic<R> {
    fn clone(&self) -> Self {
        HostedTopic { id: self.id, partitions: self.partitions.clone() }
    }
}

impl<R: Runtime> Clone for Index<R> {
    fn clone(&self) -> Self {
        Index { topics: self.topics.clone(), names: self.names.clone(), is_closed: self.is_closed }
    }
}

impl<R: Runtime> Index<R> {
    fn get(&self, topic: &str, partition: i32) -> Option<&Arc<Partition<R>>> {
        self.topics.get(topic)?.partitions.get(&partition)
    }

    fn name_of(&self, id: TopicId) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Partition<R>>> {
        self.topics.values().flat_map(|topic| topic.partitions.values())
    }

    /// Adds `partition`, unless it comes too late; says whether it did.
    fn insert(&mut self, partition: Arc<Partition<R>>) -> bool {
        if self.is_closed {
            return false;
        }
        let name = partition.name.topic.clone();
        self.names.insert(partition.topic_id, name.clone());
        let empty = HostedTopic { id: partition.topic_id, partitions: BTreeMap::new() };
        self.topics.entry(name).or_insert(empty).partitions.insert(partition.name.partition, partition);
        true
    }
}

/// How a request names a topic. Which of the two it is the request's version says: an id of zeros is no name.
#[derive(Clone, Copy)]
pub(super) enum TopicRef<'n> {
    /// By its name.
    Name(&'n str),
    /// By its id (KIP-516).
    Id(TopicId),
}

impl<'n> TopicRef<'n> {
    /// From this version on, Produce and Fetch name topics by their ids.
    const IDS_FROM: i16 = 13;

    /// Of a topic of a Produce or Fetch request.
    pub(super) fn of(version: i16, name: &'n str, id: Uuid) -> Self {
        if version >= Self::IDS_FROM { TopicRef::Id(topic_id(id)) } else { TopicRef::Name(name) }
    }
}

impl<R: Runtime> Partitions<R> {
    pub(super) fn new(shared: Arc<Shared<R>>, disk_logs: DiskLogs<R>) -> Self {
        let index = Index { topics: BTreeMap::new(), names: BTreeMap::new(), is_closed: false };
        let fetchers = Fetchers::new(shared.clone());
        Partitions { inner: Arc::new(Inner { shared, disk_logs, index: Mutex::new(Arc::new(index)), fetchers }) }
    }

    pub(super) fn index(&self) -> Arc<Index<R>> {
        lock(&self.inner.index).clone()
    }

    pub(super) fn disk_logs(&self) -> &DiskLogs<R> {
        &self.inner.disk_logs
    }

    /// A partition that has a replica here, or the error that tells a client where else to look.
    pub(super) fn find(&self, topic: TopicRef<'_>, partition: i32) -> Result<Arc<Partition<R>>, ErrorCode> {
        let index = self.index();
        let found = match topic {
            TopicRef::Name(name) => index.get(name, partition),
            TopicRef::Id(id) => index.name_of(id).and_then(|name| index.get(name, partition)),
        };
        found.cloned().ok_or_else(|| self.elsewhere(topic, partition))
    }

    fn elsewhere(&self, topic: TopicRef<'_>, partition: i32) -> ErrorCode {
        let cache = self.inner.shared.metadata();
        let topics = &cache.metadata().topics;
        let found = match topic {
            TopicRef::Name(name) => topics.get(name),
            TopicRef::Id(id) => topics.values().find(|metadata| metadata.id == id),
        };
        let exists =
            |metadata: &TopicMetadata| usize::try_from(partition).is_ok_and(|index| index < metadata.partitions.len());
        match found {
            Some(metadata) if exists(metadata) => ErrorCode::NotLeaderOrFollower,
            None if matches!(topic, TopicRef::Id(_)) => ErrorCode::UnknownTopicId,
            _ => ErrorCode::UnknownTopicOrPartition,
        }
    }

    /// Takes what an update of the metadata changed. Calls come one after the other, each after the
    /// update was applied to the cache.
    pub async fn apply(&self, shared: &Shared<R>, applied: &Applied) {
        let done = match applied {
            Applied::Stale | Applied::Gap => Ok(()),
            Applied::Changed(changes) => self.apply_changes(changes).await,
            Applied::Replaced(before) => {
                let now = shared.metadata().metadata().clone();
                self.replace(before, &now).await
            }
        };
        if let Err(error) = done {
            shared.fail_for_log(error.to_string(), &error);
        }
    }

    async fn apply_changes(&self, changes: &[MetadataChange]) -> Result<(), LogError> {
        for change in changes {
            match change {
                MetadataChange::Broker { .. } => {}
                MetadataChange::Topic { topic, now } => self.take_topic(topic, now).await?,
                MetadataChange::TopicDeleted { topic, id } => self.remove_topic(topic, *id).await?,
                MetadataChange::Partition { partition, now } => self.take_state(partition, now).await?,
            }
        }
        Ok(())
    }

    async fn replace(&self, before: &ClusterMetadata, now: &ClusterMetadata) -> Result<(), LogError> {
        // What could not be read for a while is hosted still, and known no more.
        let hosted: Vec<_> = self.index().topics.iter().map(|(topic, hosted)| (topic.clone(), hosted.id)).collect();
        let known = before.topics.iter().map(|(topic, old)| (topic.clone(), old.id));
        for (topic, id) in known.chain(hosted) {
            if now.lacks(&topic, id) {
                self.remove_topic(&topic, id).await?;
            }
        }
        for (topic, metadata) in &now.topics {
            self.take_topic(topic, metadata).await?;
        }
        Ok(())
    }

    async fn take_topic(&self, topic: &Arc<str>, now: &TopicMetadata) -> Result<(), LogError> {
        let other = self.index().topics.get(topic).map(|hosted| hosted.id).filter(|id| *id != now.id);
        if let Some(other) = other {
            self.remove_topic(topic, other).await?;
        }
        for (partition, state) in (0..).zip(&now.partitions) {
            let name = TopicPartition::new(topic.clone(), partition);
            self.take_partition(&name, now.id, &now.settings, state).await?;
        }
        Ok(())
    }

    /// A state alone; the settings that it goes with were delivered before.
    async fn take_state(&self, name: &TopicPartition, state: &PartitionState) -> Result<(), LogError> {
        let topic = self.inner.shared.metadata().metadata().topics.get(&name.topic).cloned();
        match topic {
            Some(topic) => self.take_partition(name, topic.id, &topic.settings, state).await,
            None => Ok(()),
        }
    }

    async fn take_partition(
        &self,
        name: &TopicPartition,
        topic_id: TopicId,
        settings: &TopicSettings,
        state: &PartitionState,
    ) -> Result<(), LogError> {
        let own = self.inner.shared.config.id;
        let index = self.index();
        if index.is_closed {
            return Ok(());
        }
        let partition = match index.get(&name.topic, name.partition).cloned() {
            Some(partition) => Some(partition),
            None if state.replicas.contains(&own) => self.open(name, topic_id, settings).await?,
            None => None,
        };
        let Some(partition) = partition else { return Ok(()) };
        partition.configure(self.inner.disk_logs.log_config(settings), self.message_bytes_max(settings));
        // A leader that took a smaller in-sync set under older settings could commit too early.
        partition.tell(Input::Settings { min_in_sync: settings.min_in_sync, durability: settings.durability });
        partition.take_state(state.clone());
        self.inner.fetchers.follow(&partition, leader_to_follow(own, state));
        Ok(())
    }

    /// None if all were closed meanwhile: the log is as it was found.
    async fn open(
        &self,
        name: &TopicPartition,
        topic_id: TopicId,
        settings: &TopicSettings,
    ) -> Result<Option<Arc<Partition<R>>>, LogError> {
        let shared = &self.inner.shared;
        let (replica, log) = self.inner.disk_logs.adopt(name, topic_id, settings).await?;
        let partition = Arc::new(Partition::new(name.clone(), topic_id, shared.clone(), replica, log));
        let added = self.change_index(|index| index.insert(partition.clone()));
        Ok(added.then_some(partition))
    }

    fn change_index<T>(&self, change: impl FnOnce(&mut Index<R>) -> T) -> T {
        let mut index = lock(&self.inner.index);
        change(Arc::make_mut(&mut index))
    }

    /// Once all are closed nothing goes: logs are left in good order, and the next start learns what is gone.
    async fn remove_topic(&self, topic: &Arc<str>, id: TopicId) -> Result<(), LogError> {
        let taken = self.change_index(|index| {
            let hosted = index.topics.get(topic).filter(|hosted| hosted.id == id).cloned();
            if hosted.is_some() && !index.is_closed {
                index.topics.remove(topic);
                index.names.remove(&id);
            }
            (!index.is_closed).then_some(hosted)
        });
        let Some(hosted) = taken else { return Ok(()) };
        for partition in hosted.iter().flat_map(|hosted| hosted.partitions.values()) {
            self.inner.fetchers.follow(partition, None);
            partition.close(ErrorCode::UnknownTopicOrPartition).await;
            partition.observe_stopped();
            self.inner.disk_logs.remove(&partition.name, id).await?;
        }
        self.inner.disk_logs.remove_unopened(topic, id).await
    }

    fn message_bytes_max(&self, settings: &TopicSettings) -> usize {
        let set = settings.configs.get("max.message.bytes").and_then(|value| value.parse().ok());
        set.unwrap_or(self.inner.shared.config.message_bytes_max)
    }

    /// The session expired and the broker registered anew without a restart.
    pub fn registered(&self, broker_epoch: BrokerEpoch) {
        for partition in self.index().all() {
            partition.tell(Input::Registered { broker_epoch });
        }
    }

    /// The controller's definite answer to a proposal.
    pub fn in_sync_answer(
        &self,
        partition: &TopicPartition,
        leader_epoch: LeaderEpoch,
        partition_epoch: i32,
        answer: InSyncAnswer,
    ) {
        if let Some(found) = self.index().get(&partition.topic, partition.partition) {
            found.tell(Input::InSyncAnswer { leader_epoch, partition_epoch, answer });
        }
    }

    /// Ends appending and replication: everybody who waits is told to look for another leader. A
    /// state that comes later, of a cluster that has not heard yet that this broker stops, brings no
    /// partition back to life, and a deletion removes no log.
    pub(super) async fn close(&self) {
        self.change_index(|index| index.is_closed = true);
        self.inner.fetchers.stop();
        for partition in self.index().all() {
            partition.close(ErrorCode::NotLeaderOrFollower).await;
        }
    }
}

/// Whom this broker has to follow, if anyone.
fn leader_to_follow(own: BrokerId, state: &PartitionState) -> Option<BrokerId> {
    state.leader.filter(|leader| *leader != own && state.replicas.contains(&own))
}

/// How a topic's logs are kept: as it says, else as the broker says.
pub(super) fn log_config<R: Runtime>(shared: &Shared<R>, settings: &TopicSettings) -> LogConfig {
    let set = |name: &str| settings.configs.get(name).and_then(|value| value.parse::<i64>().ok());
    let segment_bytes = set("segment.bytes").and_then(|bytes| u64::try_from(bytes).ok());
    let retention_bytes = match set("retention.bytes") {
        // -1 keeps everything.
        Some(bytes) => u64::try_from(bytes).ok(),
        None => shared.config.retention_bytes,
    };
    LogConfig {
        segment_bytes: segment_bytes.unwrap_or(shared.config.segment_bytes),
        index_interval_bytes: shared.config.index_interval_bytes,
        retention_bytes,
        plants: shared.plants,
        ..LogConfig::new(settings.durability)
    }
}
