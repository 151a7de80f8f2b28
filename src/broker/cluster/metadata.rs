//! Metadata, DescribeCluster and FindCoordinator, from what this broker knows of the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::plane::{Plane, address};
use super::topics::{auto_create, check_name};
use crate::base::ids::{BrokerId, TopicId};
use crate::base::partition_state::PartitionState;
use crate::controller::metadata::{BrokerMetadata, ClusterMetadata, TopicMetadata};
use crate::message;
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::messages::describe_cluster_response::DescribeClusterBroker;
use crate::wire::kafka::messages::find_coordinator_response::Coordinator;
use crate::wire::kafka::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::wire::kafka::messages::{
    DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest,
    MetadataResponse, StrBytes, topic_id, uuid,
};

/// `endpoint_type` of brokers; 2 would be KRaft's controllers.
const BROKERS: i8 = 1;
/// What Kafka says for "no broker".
const NOBODY: i32 = -1;
/// From this version on, an error of FindCoordinator stands beside each key.
const COORDINATORS_BY_KEY_FROM: i16 = 4;
/// From this version on, no topics means none; before, it means all.
const EMPTY_MEANS_NONE_FROM: i16 = 1;
/// From this version on, a client says whether topics may be created.
const ASKS_FOR_CREATION_FROM: i16 = 4;
/// Why there is no coordinator of groups or transactions (Settled 14).
const NO_COORDINATOR: &str = "this cluster has no coordinator for groups or transactions";

/// What a client asked about.
enum Asked {
    ByName(StrBytes),
    ById(TopicId),
}

/// Answers Metadata. Creates topics that are not there where both the client and the configuration
/// allow it.
pub async fn metadata<R: Runtime>(plane: &Plane<R>, version: i16, request: &MetadataRequest) -> MetadataResponse {
    let asked = asked(version, request);
    let mut failed = BTreeMap::new();
    let allowed = version < ASKS_FOR_CREATION_FROM || request.allow_auto_topic_creation;
    if allowed && plane.shared.config.auto_create_topics {
        let missing = missing(plane, asked.as_deref().unwrap_or_default());
        if !missing.is_empty() {
            failed = auto_create(plane, &missing).await;
            // Created, and this broker has not come to hear of it yet.
            for name in missing {
                failed.entry(name).or_insert(ErrorCode::LeaderNotAvailable);
            }
        }
    }
    let cache = plane.shared.metadata();
    let metadata = cache.metadata();
    let topics = match &asked {
        None => metadata.topics.iter().map(|(name, topic)| described(metadata, name, topic)).collect(),
        Some(asked) => asked.iter().map(|asked| answer_one(metadata, asked, &failed)).collect(),
    };
    message!(MetadataResponse {
        brokers: metadata.brokers.iter().filter_map(broker).collect(),
        cluster_id: plane.cluster_id.get().map(|id| StrBytes::from(&**id)),
        controller_id: cache.controller().map_or(NOBODY, |(controller, _)| controller.0),
        topics: topics,
    })
}

/// None for all topics.
fn asked(version: i16, request: &MetadataRequest) -> Option<Vec<Asked>> {
    let topics = request.topics.as_ref()?;
    if topics.is_empty() && version < EMPTY_MEANS_NONE_FROM {
        return None;
    }
    let one = |topic: &crate::wire::kafka::messages::metadata_request::MetadataRequestTopic| match &topic.name {
        Some(name) => Asked::ByName(name.clone()),
        None => Asked::ById(topic_id(topic.topic_id)),
    };
    Some(topics.iter().map(one).collect())
}

/// The names that could be created.
fn missing<R: Runtime>(plane: &Plane<R>, asked: &[Asked]) -> Vec<String> {
    let cache = plane.shared.metadata();
    let topics = &cache.metadata().topics;
    let mut names: Vec<_> = asked
        .iter()
        .filter_map(|asked| match asked {
            Asked::ByName(name) => Some(name.as_str()),
            Asked::ById(_) => None,
        })
        .filter(|name| !topics.contains_key(*name) && check_name(name).is_ok())
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn answer_one(
    metadata: &ClusterMetadata,
    asked: &Asked,
    failed: &BTreeMap<String, ErrorCode>,
) -> MetadataResponseTopic {
    match asked {
        Asked::ByName(name) => match metadata.topics.get_key_value(name.as_str()) {
            Some((name, topic)) => described(metadata, name, topic),
            None => unknown_name(name, failed.get(name.as_str()).copied()),
        },
        Asked::ById(id) => match metadata.topics.iter().find(|(_, topic)| topic.id == *id) {
            Some((name, topic)) => described(metadata, name, topic),
            None => {
                message!(MetadataResponseTopic {
                    error_code: ErrorCode::UnknownTopicId.to_wire(),
                    name: None,
                    topic_id: uuid(*id),
                })
            }
        },
    }
}

fn unknown_name(name: &StrBytes, failed: Option<ErrorCode>) -> MetadataResponseTopic {
    let error = match failed {
        _ if check_name(name).is_err() => ErrorCode::InvalidTopic,
        // It is being created, or the controller is being elected: a client asks again.
        Some(ErrorCode::NotController | ErrorCode::RequestTimedOut | ErrorCode::TopicAlreadyExists) => {
            ErrorCode::LeaderNotAvailable
        }
        Some(error) => error,
        None => ErrorCode::UnknownTopicOrPartition,
    };
    message!(MetadataResponseTopic { error_code: error.to_wire(), name: Some(name.clone()) })
}

fn described(metadata: &ClusterMetadata, name: &Arc<str>, topic: &TopicMetadata) -> MetadataResponseTopic {
    let partitions = (0..).zip(&topic.partitions).map(|(index, state)| partition(metadata, index, state));
    message!(MetadataResponseTopic {
        name: Some(StrBytes::from(&**name)),
        topic_id: uuid(topic.id),
        partitions: partitions.collect(),
    })
}

/// A leader that does not live is none: clients would only wait for it.
fn partition(metadata: &ClusterMetadata, index: i32, state: &PartitionState) -> MetadataResponsePartition {
    let lives = |broker: &BrokerId| metadata.brokers.contains_key(broker);
    let leader = state.leader.filter(lives);
    let error = if leader.is_none() { ErrorCode::LeaderNotAvailable } else { ErrorCode::None };
    message!(MetadataResponsePartition {
        error_code: error.to_wire(),
        partition_index: index,
        leader_id: leader.map_or(NOBODY, |leader| leader.0),
        leader_epoch: state.leader_epoch.0,
        replica_nodes: state.replicas.iter().map(|broker| broker.0).collect(),
        isr_nodes: state.in_sync.iter().map(|member| member.broker.0).collect(),
        offline_replicas: state.replicas.iter().filter(|broker| !lives(broker)).map(|broker| broker.0).collect(),
    })
}

fn broker((id, broker): (&BrokerId, &BrokerMetadata)) -> Option<MetadataResponseBroker> {
    let address = address(broker)?;
    Some(message!(MetadataResponseBroker {
        node_id: id.0,
        host: StrBytes::from(&*address.host),
        port: i32::from(address.port),
        rack: broker.rack.as_ref().map(|rack| StrBytes::from(&**rack)),
    }))
}

/// Answers DescribeCluster (KIP-700). KRaft's controllers cannot be described: there are none.
pub fn describe_cluster<R: Runtime>(plane: &Plane<R>, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        let reason = "only brokers can be described: the controller is one of them";
        return message!(DescribeClusterResponse {
            error_code: ErrorCode::UnsupportedEndpointType.to_wire(),
            error_message: Some(StrBytes::from(reason)),
        });
    }
    let cache = plane.shared.metadata();
    let described = |(id, live): (&BrokerId, &BrokerMetadata)| {
        let MetadataResponseBroker { node_id, host, port, rack, .. } = broker((id, live))?;
        Some(message!(DescribeClusterBroker { broker_id: node_id, host, port, rack }))
    };
    message!(DescribeClusterResponse {
        error_message: None,
        cluster_id: StrBytes::from(plane.cluster_id.get().map_or("", |id| id)),
        controller_id: cache.controller().map_or(NOBODY, |(controller, _)| controller.0),
        brokers: cache.metadata().brokers.iter().filter_map(described).collect(),
    })
}

/// Answers FindCoordinator: there is none.
#[must_use]
pub fn find_coordinator(version: i16, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let (error_code, node_id, port) = (ErrorCode::CoordinatorNotAvailable.to_wire(), NOBODY, NOBODY);
    let error_message = Some(StrBytes::from(NO_COORDINATOR));
    if version < COORDINATORS_BY_KEY_FROM {
        return message!(FindCoordinatorResponse { error_code, error_message, node_id, port });
    }
    let coordinator = |key: &StrBytes| {
        message!(Coordinator { key: key.clone(), node_id, port, error_code, error_message: error_message.clone() })
    };
    message!(FindCoordinatorResponse { coordinators: request.coordinator_keys.iter().map(coordinator).collect() })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Node, OWN};
    use super::*;
    use crate::wire::kafka::messages::metadata_request::MetadataRequestTopic;

    /// Whether a client that asks about an unknown topic has it created, and what it is told.
    fn asks(version: i16, allow_auto_topic_creation: bool) -> (bool, ErrorCode) {
        let mut node = Node::that_knows(OWN, ClusterMetadata::default());
        let topics = Some(vec![message!(MetadataRequestTopic { name: Some(StrBytes::from("t")) })]);
        let request = message!(MetadataRequest { topics, allow_auto_topic_creation });
        let answer = node.world.run(metadata(&node.plane, version, &request));
        (node.commands.try_recv().is_ok(), ErrorCode::from_wire(answer.topics[0].error_code))
    }

    fn creates(version: i16, allow_auto_topic_creation: bool) -> bool {
        asks(version, allow_auto_topic_creation).0
    }

    #[test]
    fn a_topic_is_created_by_asking_unless_the_client_can_object_and_does() {
        assert_eq!([3, 4, 5].map(|version| creates(version, false)), [true, false, false]);
        assert_eq!([3, 4, 5].map(|version| creates(version, true)), [true, true, true]);
    }

    /// Found by the simulator (`swarm` seed 83964): a broker that was busy opening logs called it unknown.
    #[test]
    fn a_topic_that_was_asked_for_and_is_not_heard_of_yet_has_no_leader_yet() {
        assert_eq!(asks(4, true), (true, ErrorCode::LeaderNotAvailable));
        assert_eq!(asks(4, false), (false, ErrorCode::UnknownTopicOrPartition));
    }

    #[test]
    fn a_topic_that_is_asked_about_twice_is_created_once() {
        let node = Node::new();
        let asked = ["t", "s", "t"].map(|name| Asked::ByName(StrBytes::from(name)));
        assert_eq!(missing(&node.plane, &asked), ["s", "t"]);
    }
}
