//! What every broker knows of the cluster, and how the controller keeps it current.
//!
//! The controller pushes one stream of numbered updates to each incarnation of each broker: a
//! snapshot first, then deltas. [`MetadataCache`] takes an update only if it comes from the newest
//! controller, is meant for this incarnation and follows the one before; else it says whether the
//! update is stale or a gap has opened, which a snapshot closes.
//!
//! A broker applies a topic's settings to a replica **before** that topic's states: a leader that
//! took a shrunk set under an older, smaller `min.insync.replicas` would commit without a replica
//! that the controller counts as eligible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicId, TopicPartition};
use crate::base::partition_state::{Durability, PartitionState};

/// Where clients of one listener connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The advertised host.
    pub host: Arc<str>,
    /// The advertised port.
    pub port: u16,
}

/// A live broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BrokerMetadata {
    /// Its incarnation.
    pub broker_epoch: BrokerEpoch,
    /// Where to reach it.
    pub endpoints: Vec<Endpoint>,
    /// Its rack, if it told.
    pub rack: Option<Arc<str>>,
}

/// The part of a topic's configuration that replication goes by, and all of it as given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TopicSettings {
    /// `min.insync.replicas`, at least 1.
    pub min_in_sync: usize,
    /// What counts as replicated.
    pub durability: Durability,
    /// The overrides that were set, by Kafka's names.
    pub configs: BTreeMap<Arc<str>, Arc<str>>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TopicMetadata {
    /// Its id.
    pub id: TopicId,
    /// Its settings.
    pub settings: TopicSettings,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionState>,
}

/// The cluster as the controller knows it to be committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterMetadata {
    /// The live brokers.
    pub brokers: BTreeMap<BrokerId, BrokerMetadata>,
    /// The topics by name.
    pub topics: BTreeMap<Arc<str>, TopicMetadata>,
    /// The names of topics whose znodes cannot be understood: they are not served, and not deleted either.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unreadable: BTreeSet<Arc<str>>,
}

/// One change of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MetadataChange {
    /// A broker started, restarted or, with none, ended.
    Broker {
        /// The broker.
        broker: BrokerId,
        /// What it is now.
        now: Option<BrokerMetadata>,
    },
    /// A topic was created, its settings changed or it got more partitions.
    Topic {
        /// Its name.
        topic: Arc<str>,
        /// What it is now.
        now: TopicMetadata,
    },
    /// A topic was deleted.
    TopicDeleted {
        /// Its name.
        topic: Arc<str>,
        /// Its id.
        id: TopicId,
    },
    /// A partition's state changed.
    Partition {
        /// The partition.
        partition: TopicPartition,
        /// What it is now.
        now: PartitionState,
    },
}

/// What an update brings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MetadataContent {
    /// Everything.
    Snapshot(Arc<ClusterMetadata>),
    /// What changed since the update before.
    Delta(Arc<Vec<MetadataChange>>),
}

/// One message of the stream from the controller to one incarnation of one broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MetadataUpdate {
    /// The controller's broker.
    pub controller: BrokerId,
    /// The controller's epoch; an older one is fenced.
    pub controller_epoch: ControllerEpoch,
    /// The incarnation it is meant for.
    pub broker_epoch: BrokerEpoch,
    /// The message's number in the stream.
    pub sequence: u64,
    /// The news.
    pub content: MetadataContent,
}

impl ClusterMetadata {
    /// A partition's state.
    #[must_use]
    pub fn partition(&self, partition: &TopicPartition) -> Option<&PartitionState> {
        let index = usize::try_from(partition.partition).ok()?;
        self.topics.get(&partition.topic)?.partitions.get(index)
    }

    /// Takes over one change. A change of something unknown changes nothing.
    pub fn apply(&mut self, change: &MetadataChange) {
        match change {
            MetadataChange::Broker { broker, now: Some(now) } => {
                self.brokers.insert(*broker, now.clone());
            }
            MetadataChange::Broker { broker, now: None } => {
                self.brokers.remove(broker);
            }
            MetadataChange::Topic { topic, now } => {
                self.unreadable.remove(topic);
                self.topics.insert(topic.clone(), now.clone());
            }
            MetadataChange::TopicDeleted { topic, .. } => {
                self.topics.remove(topic);
            }
            MetadataChange::Partition { partition, now } => {
                if let Some(state) = self.partition_mut(partition) {
                    *state = now.clone();
                }
            }
        }
    }

    /// Whether `topic` is known to be gone where it was known by `id`.
    #[must_use]
    pub fn lacks(&self, topic: &str, id: TopicId) -> bool {
        match self.topics.get(topic) {
            Some(known) => known.id != id,
            None => !self.unreadable.contains(topic),
        }
    }

    fn partition_mut(&mut self, partition: &TopicPartition) -> Option<&mut PartitionState> {
        let index = usize::try_from(partition.partition).ok()?;
        self.topics.get_mut(&partition.topic)?.partitions.get_mut(index)
    }
}

/// A broker's copy of the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataCache {
    metadata: ClusterMetadata,
    position: Option<Position>,
}

/// Up to where the stream was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    controller: BrokerId,
    controller_epoch: ControllerEpoch,
    broker_epoch: BrokerEpoch,
    sequence: u64,
}

/// What became of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Everything was replaced; here is what was known before, so that what is gone can be dropped.
    Replaced(ClusterMetadata),
    /// These changes were applied.
    Changed(Arc<Vec<MetadataChange>>),
    /// It is of an older controller or incarnation, or was applied already. Nothing to do.
    Stale,
    /// An update was lost: ask the controller for a snapshot.
    Gap,
}

impl MetadataCache {
    /// What is known of the cluster.
    #[must_use]
    pub fn metadata(&self) -> &ClusterMetadata {
        &self.metadata
    }

    /// The controller whose update was last applied, and its epoch.
    #[must_use]
    pub fn controller(&self) -> Option<(BrokerId, ControllerEpoch)> {
        self.position.map(|position| (position.controller, position.controller_epoch))
    }

    /// Applies an update that reached the incarnation `own`.
    pub fn apply(&mut self, own: BrokerEpoch, update: &MetadataUpdate) -> Applied {
        let known = self.position;
        let older = known.is_some_and(|known| update.controller_epoch < known.controller_epoch);
        if older || update.broker_epoch != own {
            return Applied::Stale;
        }
        let stream = (update.controller_epoch, update.broker_epoch);
        let read = known.filter(|known| (known.controller_epoch, known.broker_epoch) == stream);
        if read.is_some_and(|read| update.sequence <= read.sequence) {
            return Applied::Stale;
        }
        let applied = match &update.content {
            MetadataContent::Snapshot(snapshot) => {
                Applied::Replaced(std::mem::replace(&mut self.metadata, ClusterMetadata::clone(snapshot)))
            }
            MetadataContent::Delta(changes) if read.is_some_and(|read| update.sequence == read.sequence + 1) => {
                changes.iter().for_each(|change| self.metadata.apply(change));
                Applied::Changed(changes.clone())
            }
            MetadataContent::Delta(_) => return Applied::Gap,
        };
        self.position = Some(Position {
            controller: update.controller,
            controller_epoch: update.controller_epoch,
            broker_epoch: update.broker_epoch,
            sequence: update.sequence,
        });
        applied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(controller_epoch: i32, sequence: u64, content: MetadataContent) -> MetadataUpdate {
        MetadataUpdate {
            controller: BrokerId(1),
            controller_epoch: ControllerEpoch(controller_epoch),
            broker_epoch: BrokerEpoch(7),
            sequence,
            content,
        }
    }

    fn snapshot() -> MetadataContent {
        MetadataContent::Snapshot(Arc::default())
    }

    fn delta() -> MetadataContent {
        let now = BrokerMetadata { broker_epoch: BrokerEpoch(9), endpoints: Vec::new(), rack: None };
        MetadataContent::Delta(Arc::new(vec![MetadataChange::Broker { broker: BrokerId(2), now: Some(now) }]))
    }

    #[test]
    fn a_lost_update_opens_a_gap_that_a_snapshot_closes() {
        let mut cache = MetadataCache::default();
        let own = BrokerEpoch(7);
        assert_eq!(cache.apply(own, &update(1, 1, delta())), Applied::Gap, "a stream begins with a snapshot");
        assert!(matches!(cache.apply(own, &update(1, 0, snapshot())), Applied::Replaced(_)));
        assert!(matches!(cache.apply(own, &update(1, 1, delta())), Applied::Changed(_)));
        assert!(cache.metadata().brokers.contains_key(&BrokerId(2)));
        assert_eq!(cache.apply(own, &update(1, 3, delta())), Applied::Gap);
        assert!(matches!(cache.apply(own, &update(1, 4, snapshot())), Applied::Replaced(_)));
        assert!(matches!(cache.apply(own, &update(1, 5, delta())), Applied::Changed(_)));
    }

    #[test]
    fn a_broker_that_has_gone_is_not_known_any_more() {
        let mut cache = MetadataCache::default();
        let own = BrokerEpoch(7);
        cache.apply(own, &update(1, 0, snapshot()));
        cache.apply(own, &update(1, 1, delta()));
        assert!(cache.metadata().brokers.contains_key(&BrokerId(2)));
        let gone = Arc::new(vec![MetadataChange::Broker { broker: BrokerId(2), now: None }]);
        cache.apply(own, &update(1, 2, MetadataContent::Delta(gone)));
        assert!(!cache.metadata().brokers.contains_key(&BrokerId(2)));
    }

    #[test]
    fn an_update_is_applied_once() {
        let mut cache = MetadataCache::default();
        let own = BrokerEpoch(7);
        cache.apply(own, &update(1, 0, snapshot()));
        cache.apply(own, &update(1, 1, delta()));
        assert_eq!(cache.apply(own, &update(1, 1, delta())), Applied::Stale);
        assert_eq!(cache.apply(own, &update(1, 0, snapshot())), Applied::Stale);
    }

    #[test]
    fn a_deposed_controller_and_an_earlier_incarnation_are_fenced() {
        let mut cache = MetadataCache::default();
        let own = BrokerEpoch(7);
        cache.apply(own, &update(2, 0, snapshot()));
        assert_eq!(cache.apply(own, &update(1, 1, delta())), Applied::Stale);
        assert_eq!(cache.apply(BrokerEpoch(8), &update(2, 1, delta())), Applied::Stale);
        assert_eq!(cache.apply(own, &update(3, 1, delta())), Applied::Gap, "a new controller begins anew");
        assert_eq!(cache.controller(), Some((BrokerId(1), ControllerEpoch(2))));
    }

    #[test]
    fn an_update_survives_its_encoding() {
        let sent = update(2, 5, delta());
        let json = serde_json::to_vec(&sent).expect("encodes");
        assert_eq!(serde_json::from_slice::<MetadataUpdate>(&json).expect("decodes"), sent);
    }
}
