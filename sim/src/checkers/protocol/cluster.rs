//! Answers about the cluster: brokers, topics, versions, coordinators, producer ids, and what brokers say
//! among themselves.

use std::collections::BTreeSet;

use wyrdlog::base::ids::TopicId;
use wyrdlog::base::partition_state::PartitionState;
use wyrdlog::wire::kafka::ErrorCode as Code;
use wyrdlog::wire::kafka::messages::create_topics_request::CreatableTopic;
use wyrdlog::wire::kafka::messages::create_topics_response::CreatableTopicResult;
use wyrdlog::wire::kafka::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use wyrdlog::wire::kafka::messages::{
    ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, MetadataResponse, StrBytes, topic_id,
};
use wyrdlog::wire::private::{PrivateRequest, PrivateResponse};

use super::{Around, Judged, Oracle, holds, one_of, same};
use crate::history::protocol::ASKED_FOR;

/// What brokers say that they speak: keys, and the lowest and highest version.
const VERSIONS: [(i16, i16, i16); 11] = [
    (0, 0, 13),
    (1, 4, 17),
    (2, 1, 10),
    (3, 0, 13),
    (10, 0, 6),
    (18, 0, 4),
    (19, 2, 7),
    (20, 1, 6),
    (22, 0, 5),
    (23, 2, 4),
    (60, 0, 2),
];

/// Where leadership or the controller may have been on the move.
const ON_THE_MOVE: [Code; 2] = [Code::NotController, Code::RequestTimedOut];

/// Everything that is spoken, and with this error.
pub(super) fn api_versions(told: &ApiVersionsResponse, error: Code) -> Judged {
    one_of(told.error_code, &[error])?;
    let versions: Vec<_> = told.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
    same("the list of versions", &versions, &VERSIONS.to_vec())
}

/// There is none.
pub(super) fn find_coordinator(version: i16, asked: &FindCoordinatorRequest, told: &FindCoordinatorResponse) -> Judged {
    if version < 4 {
        one_of(told.error_code, &[Code::CoordinatorNotAvailable])?;
        return same("the coordinator", &(told.node_id, told.port), &(-1, -1));
    }
    let keys: Vec<&StrBytes> = told.coordinators.iter().map(|one| &one.key).collect();
    same("the list of keys", &keys, &asked.coordinator_keys.iter().collect())?;
    told.coordinators.iter().try_for_each(|one| {
        one_of(one.error_code, &[Code::CoordinatorNotAvailable])?;
        same("the coordinator", &(one.node_id, one.port), &(-1, -1))
    })
}

/// Kafka's rule for the names of topics.
fn is_legal(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !["", ".", ".."].contains(&name) && name.len() <= 249 && name.bytes().all(is_legal)
}

impl Oracle<'_> {
    /// With the codes that are legal besides where something was on the move.
    fn told_by_controller(around: &Around<'_>, told: i16, legal: &[Code]) -> Judged {
        let besides = if around.is_calm { &[][..] } else { &ON_THE_MOVE };
        one_of(told, &[legal, besides].concat())
    }

    fn brokers(
        &self,
        around: &Around<'_>,
        told: &[(i32, &StrBytes, i32)],
        controller: i32,
        cluster: Option<&StrBytes>,
    ) -> Judged {
        let known = self.history.brokers.iter();
        let known: Vec<(i32, &str, i32)> = known.map(|(id, at)| (id.0, &*at.host, i32::from(at.port))).collect();
        let told: Vec<(i32, &str, i32)> = told.iter().map(|(id, host, port)| (*id, host.as_str(), *port)).collect();
        let strange = told.iter().find(|one| !known.contains(one));
        holds(&format!("{strange:?} is no broker of this cluster, which are {known:?}"), strange.is_none())?;
        let ids: BTreeSet<i32> = told.iter().map(|(id, ..)| *id).collect();
        same("the number of brokers that are told once", &ids.len(), &told.len())?;
        let gone = super::gone::gone(self.met, around.exchange);
        let kept = gone.iter().find(|broker| ids.contains(&broker.0) || controller == broker.0);
        holds(&format!("{kept:?} is gone, and its registration with it"), kept.is_none())?;
        holds("there is no such controller", controller == -1 || known.iter().any(|(id, ..)| *id == controller))?;
        if !around.is_calm {
            return Ok(());
        }
        same("the number of brokers", &told.len(), &known.len())?;
        let until_ns = around.exchange.ended_ns.unwrap_or(u64::MAX);
        if let Some((_, node)) = self.met.controllers.iter().rfind(|(at_ns, _)| *at_ns <= until_ns) {
            let is_it = self.met.brokers.iter().any(|(id, at)| id.0 == controller && at == node);
            holds(&format!("the controller is told to be {controller}"), is_it)?;
        }
        holds("the cluster has no id", cluster.is_some_and(|id| !id.is_empty()))
    }

    fn same_cluster(&mut self, told: Option<&StrBytes>) -> Judged {
        let Some(told) = told.filter(|told| !told.is_empty()) else { return Ok(()) };
        same("the cluster's id", told, self.cluster_id.get_or_insert_with(|| told.clone()))
    }

    pub(super) fn metadata(
        &mut self,
        around: &Around<'_>,
        version: i16,
        asked: &MetadataRequest,
        told: &MetadataResponse,
    ) -> Judged {
        let brokers: Vec<_> = told.brokers.iter().map(|one| (one.node_id, &one.host, one.port)).collect();
        let (controller, cluster) =
            if version >= 1 { (told.controller_id, told.cluster_id.as_ref()) } else { (-1, None) };
        if version >= 2 {
            self.brokers(around, &brokers, controller, cluster)?;
            self.same_cluster(cluster)?;
        }
        let wanted = asked.topics.as_ref().filter(|topics| !topics.is_empty() || version >= 1);
        let Some(wanted) = wanted else {
            let names: BTreeSet<&str> =
                told.topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.as_str())).collect();
            let missing = self.history.topics.iter().find(|(name, ..)| !names.contains(&**name));
            holds(&format!("{missing:?} is missing"), !around.is_calm || missing.is_none())?;
            let is_of_scenario = |topic: &&MetadataResponseTopic| {
                topic.name.as_ref().is_some_and(|name| self.partitions_of(name).is_some())
            };
            let of_scenario: Vec<_> = told.topics.iter().filter(is_of_scenario).collect();
            return of_scenario.into_iter().try_for_each(|topic| self.topic(around, version, topic));
        };
        same("the number of topics", &told.topics.len(), &wanted.len())?;
        wanted.iter().zip(&told.topics).try_for_each(|(wanted, topic)| {
            if let Some(name) = &wanted.name {
                same("the topic's name", &topic.name.as_ref(), &Some(name))?;
                if self.partitions_of(name).is_some() {
                    return self.topic(around, version, topic);
                }
                if name.starts_with(ASKED_FOR) {
                    return self.asked_for(around, (version, asked), name, topic);
                }
                let code = if is_legal(name) { Code::UnknownTopicOrPartition } else { Code::InvalidTopic };
                return one_of(topic.error_code, &[code]);
            }
            let id = topic_id(wanted.topic_id);
            match self.name_of(id).map(str::to_owned) {
                Some(name) => {
                    if topic.error_code != Code::UnknownTopicId.to_wire() || around.is_calm {
                        same("the topic's name", &topic.name.as_ref().map(StrBytes::as_str), &Some(name.as_str()))?;
                        return self.topic(around, version, topic);
                    }
                    Ok(())
                }
                None => one_of(topic.error_code, &[Code::UnknownTopicId]),
            }
        })
    }

    /// One that the scenario has.
    fn topic(&mut self, around: &Around<'_>, version: i16, told: &MetadataResponseTopic) -> Judged {
        let name = told.name.as_ref().map(StrBytes::as_str).unwrap_or_default().to_owned();
        if told.error_code != 0 && !around.is_calm {
            return one_of(told.error_code, &[Code::UnknownTopicOrPartition, Code::LeaderNotAvailable]);
        }
        one_of(told.error_code, &[Code::None])?;
        if version >= 10 {
            let id = topic_id(told.topic_id);
            holds("the topic has no id", id != TopicId::ZERO)?;
            same("the topic's id", &id, self.ids.entry(name.clone()).or_insert(id))?;
        }
        let indexes: Vec<i32> = told.partitions.iter().map(|one| one.partition_index).collect();
        same("the list of partitions", &indexes, &(0..self.partitions_of(&name).unwrap_or(0)).collect())?;
        told.partitions.iter().try_for_each(|partition| self.partition(around, version, &name, partition))
    }

    pub(super) fn partition(
        &self,
        around: &Around<'_>,
        version: i16,
        name: &str,
        told: &MetadataResponsePartition,
    ) -> Judged {
        let index = told.partition_index;
        let states = self.states(around, name, index);
        let is_it = |state: &&&PartitionState| {
            let in_sync = state.in_sync.iter().map(|member| member.broker.0);
            let leads = told.leader_id == -1 || state.leader.is_some_and(|leader| leader.0 == told.leader_id);
            leads
                && (version < 7 || told.leader_epoch == state.leader_epoch.0)
                && in_sync.eq(told.isr_nodes.iter().copied())
                && state.replicas.iter().map(|one| one.0).eq(told.replica_nodes.iter().copied())
        };
        let Some(state) = states.iter().rfind(is_it) else {
            return Err(format!("{name}-{index} never was as it is told: {told:?}, but {states:?}"));
        };
        let code = if told.leader_id == -1 { Code::LeaderNotAvailable } else { Code::None };
        one_of(told.error_code, &[code])?;
        let is_known = !around.is_calm || state.leader.is_none() || told.leader_id != -1;
        holds(&format!("{name}-{index} has a leader, and none is told"), is_known)?;
        let offline = &told.offline_replicas;
        holds("somebody is offline who has no replica", offline.iter().all(|one| told.replica_nodes.contains(one)))?;
        holds("a replica is told to be offline", !around.is_calm || offline.is_empty())
    }

    pub(super) fn describe(
        &mut self,
        around: &Around<'_>,
        asked: &DescribeClusterRequest,
        told: &DescribeClusterResponse,
    ) -> Judged {
        if asked.endpoint_type != 1 {
            return one_of(told.error_code, &[Code::UnsupportedEndpointType]);
        }
        one_of(told.error_code, &[Code::None])?;
        let brokers: Vec<_> = told.brokers.iter().map(|one| (one.broker_id, &one.host, one.port)).collect();
        self.brokers(around, &brokers, told.controller_id, Some(&told.cluster_id))?;
        self.same_cluster(Some(&told.cluster_id))
    }

    pub(super) fn create(
        &self,
        around: &Around<'_>,
        version: i16,
        asked: &CreateTopicsRequest,
        told: &CreateTopicsResponse,
    ) -> Judged {
        let names: BTreeSet<&StrBytes> = asked.topics.iter().map(|topic| &topic.name).collect();
        same("the set of topics", &told.topics.iter().map(|topic| &topic.name).collect(), &names)?;
        same("the number of topics", &told.topics.len(), &names.len())?;
        let is_twice = asked.topics.len() > names.len();
        asked.topics.iter().zip(&told.topics).try_for_each(|(topic, result)| {
            let mut legal =
                if is_twice { vec![Code::InvalidRequest] } else { self.of_creation(topic, asked.validate_only) };
            // Brokers that are down are not there to be given replicas.
            if !around.is_calm {
                legal.extend([Code::InvalidReplicaAssignment, Code::InvalidReplicationFactor]);
                // Nor is a topic that a broker has not heard of.
                legal.extend(legal.contains(&Code::TopicAlreadyExists).then_some(Code::None));
            }
            Self::told_by_controller(around, result.error_code, &legal)?;
            if result.error_code == 0 { would_be(version, topic, result) } else { Ok(()) }
        })
    }

    /// What a creation is answered.
    fn of_creation(&self, topic: &CreatableTopic, validate_only: bool) -> Vec<Code> {
        let brokers: BTreeSet<i32> = self.history.brokers.iter().map(|(id, _)| id.0).collect();
        let by_count = topic.assignments.is_empty();
        let counts = (topic.num_partitions, i32::from(topic.replication_factor));
        let is_bad = |ids: &Vec<i32>| {
            let distinct: BTreeSet<&i32> = ids.iter().collect();
            ids.is_empty() || distinct.len() != ids.len() || ids.iter().any(|id| !brokers.contains(id))
        };
        let first = topic.assignments.first().map_or(0, |one| one.broker_ids.len());
        let code = if !by_count && counts != (-1, -1) {
            Code::InvalidRequest
        } else if topic.assignments.iter().any(|one| is_bad(&one.broker_ids) || one.broker_ids.len() != first) {
            Code::InvalidReplicaAssignment
        } else if by_count && (counts.0 == 0 || counts.0 < -1) {
            Code::InvalidPartitions
        } else if by_count && (counts.1 == 0 || counts.1 < -1 || counts.1 as usize > brokers.len() && counts.1 != -1) {
            Code::InvalidReplicationFactor
        } else if topic.configs.iter().any(|config| !is_config(config.name.as_str(), config.value.as_deref())) {
            Code::InvalidConfig
        } else if !is_legal(&topic.name) {
            Code::InvalidTopic
        } else if self.partitions_of(&topic.name).is_some() {
            Code::TopicAlreadyExists
        } else {
            assert!(validate_only, "the workload creates nothing");
            Code::None
        };
        vec![code]
    }

    pub(super) fn delete(
        &self,
        around: &Around<'_>,
        version: i16,
        asked: &DeleteTopicsRequest,
        told: &DeleteTopicsResponse,
    ) -> Judged {
        if version < 6 {
            same("the number of topics", &told.responses.len(), &asked.topic_names.len())?;
            return asked.topic_names.iter().zip(&told.responses).try_for_each(|(name, result)| {
                same("the topic's name", &result.name.as_ref(), &Some(name))?;
                Self::told_by_controller(around, result.error_code, &[Code::UnknownTopicOrPartition])
            });
        }
        same("the number of topics", &told.responses.len(), &asked.topics.len())?;
        asked.topics.iter().zip(&told.responses).try_for_each(|(topic, result)| {
            same("the topic's name", &result.name, &topic.name)?;
            let code = if topic.name.is_some() { Code::UnknownTopicOrPartition } else { Code::UnknownTopicId };
            if topic.name.is_none() {
                same("the topic's id", &result.topic_id, &topic.topic_id)?;
            }
            Self::told_by_controller(around, result.error_code, &[code])
        })
    }

    pub(super) fn init(
        &mut self,
        around: &Around<'_>,
        asked: &InitProducerIdRequest,
        told: &InitProducerIdResponse,
    ) -> Judged {
        if asked.transactional_id.is_some() || (asked.producer_id < 0) != (asked.producer_epoch < 0) {
            return one_of(told.error_code, &[Code::InvalidRequest]);
        }
        let besides = if around.is_calm { &[][..] } else { &[Code::CoordinatorNotAvailable, Code::RequestTimedOut] };
        one_of(told.error_code, &[&[Code::None][..], besides].concat())?;
        if told.error_code != 0 {
            return same("the producer", &(told.producer_id, told.producer_epoch), &(-1, -1));
        }
        same("the epoch of a new producer id", &told.producer_epoch, &0)?;
        holds(&format!("producer id {} is below 0", told.producer_id), told.producer_id >= 0)?;
        let is_new = self.producer_ids.insert(told.producer_id);
        holds(&format!("producer id {} was given to another before", told.producer_id), is_new)
    }

    /// All are of an incarnation that never was.
    pub(super) fn private(&self, around: &Around<'_>, asked: &PrivateRequest, told: &PrivateResponse) -> Judged {
        let until_ns = around.exchange.ended_ns.unwrap_or(u64::MAX);
        let last = self.met.controllers.iter().rfind(|(at_ns, _)| *at_ns <= until_ns).map(|(_, node)| *node);
        let leads = last.is_some() && last == self.node(around.exchange.broker);
        let both = [Code::NotController, Code::StaleBrokerEpoch];
        let of_controller = match (around.is_calm, leads) {
            (true, true) => &both[1..],
            (true, false) => &both[..1],
            _ => &[Code::NotController, Code::StaleBrokerEpoch, Code::RequestTimedOut][..],
        };
        match (asked, told) {
            (PrivateRequest::ControlledShutdown(_), PrivateResponse::ControlledShutdown(told)) => {
                one_of(told.error.to_wire(), of_controller)
            }
            (PrivateRequest::UpdateMetadata(_), PrivateResponse::UpdateMetadata(told)) => {
                one_of(told.error.to_wire(), &[Code::StaleBrokerEpoch])
            }
            (PrivateRequest::AlterPartition(asked), PrivateResponse::AlterPartition(told)) => {
                let of_topics = told.partitions.iter().map(|one| one.error);
                let errors: Vec<Code> =
                    of_topics.chain([told.error].into_iter().filter(|error| *error != Code::None)).collect();
                same("the number of errors", &errors.len(), &asked.partitions.len())?;
                // A topic that the broker does not know, it says so before it asks who proposes.
                let unknown = asked.partitions.iter().any(|one| !around.is_calm || self.name_of(one.topic).is_none());
                let besides = if unknown { &[Code::UnknownTopicOrPartition][..] } else { &[] };
                errors.iter().try_for_each(|error| one_of(error.to_wire(), &[of_controller, besides].concat()))
            }
            _ => Err("the answer is that of another request".to_owned()),
        }
    }
}

/// Whether a topic may be configured so.
fn is_config(name: &str, value: Option<&str>) -> bool {
    matches!((name, value), ("flush.messages", Some("1")) | ("min.insync.replicas", Some("1")))
}

/// What is said of a topic that could be created.
fn would_be(version: i16, topic: &CreatableTopic, told: &CreatableTopicResult) -> Judged {
    if version < 5 {
        return Ok(());
    }
    let by_assignment =
        (topic.assignments.len() as i32, topic.assignments.first().map_or(0, |one| one.broker_ids.len()) as i16);
    let counts =
        if topic.assignments.is_empty() { (topic.num_partitions, topic.replication_factor) } else { by_assignment };
    same("the numbers of partitions and replicas", &(told.num_partitions, told.replication_factor), &counts)?;
    same("the id of what is only validated", &topic_id(told.topic_id), &TopicId::ZERO)?;
    let configs = told.configs.iter().flatten();
    let configs: Vec<_> = configs.map(|one| (one.name.clone(), one.value.clone(), one.config_source)).collect();
    let asked = topic.configs.iter().map(|one| (one.name.clone(), one.value.clone(), 1)).collect();
    same("the configuration", &configs, &asked)
}
