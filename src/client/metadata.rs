//! What a client knows of the cluster: brokers, topics, leaders. A plain value.
//!
//! An answer of a broker that is behind never replaces what is newer: a leader is kept while its
//! epoch is above the one that is told (KIP-320).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::address::Address;
use crate::base::ids::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use crate::wire::kafka::messages::{MetadataResponse, topic_id};

/// Who leads a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// Its epoch; -1 if the broker did not tell.
    pub leader_epoch: LeaderEpoch,
    /// All replicas.
    pub replicas: Vec<BrokerId>,
    /// The in-sync ones.
    pub in_sync: Vec<BrokerId>,
    /// What the broker said of it.
    pub error: Option<ErrorCode>,
}

/// A topic and its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicView {
    /// [`TopicId::ZERO`] if the broker did not tell.
    pub id: TopicId,
    /// By index.
    pub partitions: BTreeMap<i32, PartitionView>,
}

/// What a client knows of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The controller, or whom brokers name as such.
    pub controller: Option<BrokerId>,
    /// Where the brokers are.
    pub brokers: BTreeMap<BrokerId, Address>,
    /// The topics that were asked about and exist.
    pub topics: BTreeMap<Arc<str>, TopicView>,
    /// Topics that were asked about and have an error.
    pub errors: BTreeMap<Arc<str>, ErrorCode>,
    /// Topics that were known until a broker did not know them, for their leader epochs: it may be one
    /// that has just started.
    gone: BTreeMap<Arc<str>, TopicView>,
}

impl ClusterView {
    /// Takes in an answer. Topics that it does not mention are kept.
    pub fn apply(&mut self, response: &MetadataResponse) {
        if !response.brokers.is_empty() {
            let address = |port: i32| u16::try_from(port).unwrap_or(0);
            self.brokers = response
                .brokers
                .iter()
                .map(|one| (BrokerId(one.node_id), Address::new(one.host.as_str(), address(one.port))))
                .collect();
        }
        self.cluster_id = response.cluster_id.as_ref().map(|id| id.as_str().to_owned()).or(self.cluster_id.take());
        self.controller = Some(BrokerId(response.controller_id)).filter(|broker| broker.0 >= 0);
        for topic in &response.topics {
            self.apply_topic(topic);
        }
    }

    fn apply_topic(&mut self, told: &MetadataResponseTopic) {
        let Some(name) = told.name.as_ref().map(|name| Arc::<str>::from(name.as_str())) else { return };
        if let Err(error) = ErrorCode::check(told.error_code) {
            if matches!(error, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId) {
                let known = self.topics.remove(&name);
                self.gone.extend(known.map(|known| (name.clone(), known)));
            }
            self.errors.insert(name, error);
            return;
        }
        self.errors.remove(&name);
        let id = topic_id(told.topic_id);
        let gone = self.gone.remove(&name).unwrap_or_default();
        let known = self.topics.entry(name).or_insert(gone);
        if known.id != id {
            *known = TopicView { id, ..TopicView::default() };
        }
        let partitions = std::mem::take(&mut known.partitions);
        known.partitions = told
            .partitions
            .iter()
            .map(|one| (one.partition_index, newer(partitions.get(&one.partition_index), one)))
            .collect();
    }

    /// The partition, if it is known.
    #[must_use]
    pub fn partition(&self, partition: &TopicPartition) -> Option<&PartitionView> {
        self.topics.get(&partition.topic)?.partitions.get(&partition.partition)
    }

    /// Who leads the partition, as far as it is known.
    #[must_use]
    pub fn leader(&self, partition: &TopicPartition) -> Option<BrokerId> {
        self.partition(partition)?.leader
    }

    /// The name of the topic with this id.
    #[must_use]
    pub fn name_of(&self, id: TopicId) -> Option<&Arc<str>> {
        self.topics.iter().find(|(_, topic)| topic.id == id && id != TopicId::ZERO).map(|(name, _)| name)
    }
}

fn newer(known: Option<&PartitionView>, told: &MetadataResponsePartition) -> PartitionView {
    let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    match known {
        Some(known) if told.leader_epoch >= 0 && told.leader_epoch < known.leader_epoch.0 => known.clone(),
        _ => PartitionView {
            leader: Some(BrokerId(told.leader_id)).filter(|leader| leader.0 >= 0),
            leader_epoch: LeaderEpoch(told.leader_epoch),
            replicas: brokers(&told.replica_nodes),
            in_sync: brokers(&told.isr_nodes),
            error: ErrorCode::check(told.error_code).err(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;
    use crate::wire::kafka::messages::{Uuid, metadata_response::MetadataResponseBroker};

    fn told(id: u8, leader: i32, epoch: i32) -> MetadataResponse {
        let partition = message!(MetadataResponsePartition { leader_id: leader, leader_epoch: epoch });
        let topic = message!(MetadataResponseTopic {
            name: Some("t".into()),
            topic_id: Uuid::from_bytes([id; 16]),
            partitions: vec![partition],
        });
        let broker = message!(MetadataResponseBroker { node_id: 1, host: "h".into(), port: 9_092 });
        message!(MetadataResponse { brokers: vec![broker], topics: vec![topic], controller_id: 1 })
    }

    #[test]
    fn an_older_leader_epoch_does_not_replace_a_newer_one() {
        let mut view = ClusterView::default();
        let partition = TopicPartition::new("t", 0);
        view.apply(&told(1, 1, 5));
        view.apply(&told(1, 2, 4));
        assert_eq!(view.leader(&partition), Some(BrokerId(1)));
        view.apply(&told(1, 2, 6));
        assert_eq!(view.leader(&partition), Some(BrokerId(2)));
    }

    #[test]
    fn a_topic_that_was_created_anew_starts_from_epoch_zero() {
        let mut view = ClusterView::default();
        view.apply(&told(1, 1, 5));
        view.apply(&told(2, 3, 0));
        assert_eq!(view.leader(&TopicPartition::new("t", 0)), Some(BrokerId(3)));
        assert_eq!(view.name_of(TopicId([2; 16])).map(|name| &**name), Some("t"));
        assert_eq!(view.name_of(TopicId([1; 16])), None);
    }

    /// A broker that had just started knew no topic, and a deposed leader was asked next: the consumer went to
    /// that one, whose log ended long before (`standard` seed 2000).
    #[test]
    fn a_topic_that_one_broker_does_not_know_keeps_its_leader_epoch() {
        let mut view = ClusterView::default();
        view.apply(&told(1, 2, 5));
        let mut unknown = told(1, 2, 5);
        unknown.topics[0].error_code = ErrorCode::UnknownTopicOrPartition.to_wire();
        view.apply(&unknown);
        view.apply(&told(1, 1, 4));
        assert_eq!(view.leader(&TopicPartition::new("t", 0)), Some(BrokerId(2)));
    }

    #[test]
    fn a_topic_that_is_gone_is_forgotten_and_its_error_kept() {
        let mut view = ClusterView::default();
        view.apply(&told(1, 1, 5));
        let mut gone = told(1, 1, 5);
        gone.topics[0].error_code = ErrorCode::UnknownTopicOrPartition.to_wire();
        view.apply(&gone);
        assert!(view.topics.is_empty());
        assert_eq!(view.errors.get("t"), Some(&ErrorCode::UnknownTopicOrPartition));
    }
}
