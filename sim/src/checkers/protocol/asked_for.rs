//! Answers about topics that a broker creates because somebody asks about them (`auto.create.topics.enable`).
//!
//! Where brokers create none, or nobody who asked allowed it, there is none. Who allows it, while nothing
//! disturbs, is told of the topic, or that it has no leader yet; from then on it is there.

use std::collections::BTreeMap;

use wyrdlog::base::ids::TopicId;
use wyrdlog::wire::kafka::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use wyrdlog::wire::kafka::messages::{MetadataRequest, topic_id};
use wyrdlog::wire::kafka::{ErrorCode as Code, Request};

use super::{Around, Judged, LEARN_NS, Oracle, holds, one_of, same};
use crate::history::protocol::{ASKED_FOR, ProtocolHistory, Sent};

/// From this version on a client says whether what it asks about may be created; before, it may.
const SAYS_FROM: i16 = 4;

/// What is known of these topics.
#[derive(Debug, Default)]
pub(super) struct AskedFor {
    /// When each was first asked about by somebody who allowed its creation.
    allowed_ns: BTreeMap<String, u64>,
    /// When the answer came from which on each is there.
    there_ns: BTreeMap<String, u64>,
}

fn allows(version: i16, asked: &MetadataRequest) -> bool {
    version < SAYS_FROM || asked.allow_auto_topic_creation
}

impl AskedFor {
    pub(super) fn of(history: &ProtocolHistory) -> Self {
        let mut asked_for = AskedFor::default();
        for exchange in &history.exchanges {
            let Sent::Request { version, request, .. } = &exchange.sent else { continue };
            let Request::Metadata(asked) = &**request else { continue };
            let names = asked.topics.iter().flatten().filter_map(|topic| topic.name.as_ref());
            for name in names.filter(|name| name.starts_with(ASKED_FOR) && allows(*version, asked)) {
                let first_ns = asked_for.allowed_ns.entry(name.to_string()).or_insert(exchange.sent_ns);
                *first_ns = exchange.sent_ns.min(*first_ns);
            }
        }
        asked_for
    }
}

impl Oracle<'_> {
    /// One that nobody creates but a broker that is asked about it.
    pub(super) fn asked_for(
        &mut self,
        around: &Around<'_>,
        (version, asked): (i16, &MetadataRequest),
        name: &str,
        told: &MetadataResponseTopic,
    ) -> Judged {
        let (sent_ns, ended_ns) = (around.exchange.sent_ns, around.exchange.ended_ns.unwrap_or(u64::MAX));
        let may_be = |allowed_ns: &u64| self.history.auto_create_partitions > 0 && *allowed_ns <= ended_ns;
        if !self.asked_for.allowed_ns.get(name).is_some_and(may_be) {
            return one_of(told.error_code, &[Code::UnknownTopicOrPartition]);
        }
        let is_there = self.asked_for.there_ns.get(name).is_some_and(|there_ns| there_ns + LEARN_NS <= sent_ns);
        let legal: &[Code] = match (around.is_calm, allows(version, asked)) {
            (true, _) if is_there => &[Code::None],
            (true, true) => &[Code::None, Code::LeaderNotAvailable],
            (true, false) => &[Code::None, Code::UnknownTopicOrPartition],
            // No broker may be registered that could have it.
            (false, _) => {
                &[Code::None, Code::UnknownTopicOrPartition, Code::LeaderNotAvailable, Code::InvalidReplicationFactor]
            }
        };
        one_of(told.error_code, legal)?;
        if told.error_code == 0 || around.is_calm && allows(version, asked) {
            self.asked_for.there_ns.entry(name.to_owned()).or_insert(ended_ns);
        }
        if told.error_code != 0 {
            return Ok(());
        }
        if version >= 10 {
            let id = topic_id(told.topic_id);
            holds("the topic has no id", id != TopicId::ZERO)?;
            same("the topic's id", &id, self.ids.entry(name.to_owned()).or_insert(id))?;
        }
        let indexes: Vec<i32> = told.partitions.iter().map(|one| one.partition_index).collect();
        same("the list of partitions", &indexes, &(0..self.history.auto_create_partitions).collect())?;
        told.partitions.iter().try_for_each(|partition| self.made_by_itself(around, partition))
    }

    /// Its states are not followed: a partition with one replica, which leads or does not live.
    fn made_by_itself(&self, around: &Around<'_>, told: &MetadataResponsePartition) -> Judged {
        let [replica] = told.replica_nodes[..] else {
            return Err(format!("{} replicas are told of a partition that has one", told.replica_nodes.len()));
        };
        let is_broker = self.history.brokers.iter().any(|(id, _)| id.0 == replica);
        holds(&format!("its replica {replica} is no broker"), is_broker)?;
        let leads = told.leader_id == replica;
        // Without its leader nobody is in sync, and its only replica is eligible (KIP-966).
        let in_sync = if leads { &told.replica_nodes[..] } else { &[] };
        holds("another is in sync", told.isr_nodes == told.replica_nodes || told.isr_nodes == in_sync)?;
        holds("its leader has no replica", leads || told.leader_id == -1)?;
        one_of(told.error_code, if leads { &[Code::None] } else { &[Code::LeaderNotAvailable] })?;
        holds("it is told to be offline", leads || !around.is_calm || told.offline_replicas.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use wyrdlog::message;
    use wyrdlog::wire::kafka::messages::metadata_request::MetadataRequestTopic;
    use wyrdlog::wire::kafka::messages::uuid;

    use super::super::super::broker_refusal::examples::{S, met};
    use super::super::check;
    use super::super::tests::{ask, history, text, told};
    use super::*;
    use crate::history::protocol::Exchange;

    const NAME: &str = "churn-asked-9-0";

    /// At this second somebody asks, who may allow the creation, and is told this.
    fn asked(at_s: u64, allows: bool, topic: MetadataResponseTopic) -> Exchange {
        let topics = Some(vec![message!(MetadataRequestTopic { name: Some(text(NAME)) })]);
        let request = message!(MetadataRequest { topics, allow_auto_topic_creation: allows });
        let exchange = ask(1, 12, Request::Metadata(request), told(topic, &[1, 2, 3]));
        let (connected_ns, sent_ns) = (at_s * S - S / 10, at_s * S);
        Exchange { connected_ns, sent_ns, ended_ns: Some(sent_ns + 1_000), ..exchange }
    }

    fn missing(code: Code) -> MetadataResponseTopic {
        message!(MetadataResponseTopic { error_code: code.to_wire(), name: Some(text(NAME)) })
    }

    /// Two partitions on broker 2, which leads them.
    fn made(edit: impl Fn(&mut MetadataResponsePartition)) -> MetadataResponseTopic {
        let partition = |partition_index| {
            let mut partition = message!(MetadataResponsePartition {
                partition_index,
                leader_id: 2,
                replica_nodes: vec![2],
                isr_nodes: vec![2],
            });
            edit(&mut partition);
            partition
        };
        let topic_id = uuid(TopicId([7; 16]));
        message!(MetadataResponseTopic {
            name: Some(text(NAME)),
            topic_id,
            partitions: vec![partition(0), partition(1)]
        })
    }

    fn violated(auto_create_partitions: i32, exchanges: Vec<Exchange>) -> u64 {
        check(&met(), &ProtocolHistory { exchanges, auto_create_partitions, ..history() }).violated
    }

    #[test]
    fn where_brokers_create_nothing_or_nobody_allowed_it_there_is_none() {
        let (unknown, made) = (|| missing(Code::UnknownTopicOrPartition), || made(|_| {}));
        assert_eq!(violated(0, vec![asked(40, true, unknown())]), 0);
        assert_eq!(violated(0, vec![asked(40, true, made())]), 1);
        assert_eq!(violated(2, vec![asked(40, false, unknown())]), 0);
        assert_eq!(violated(2, vec![asked(40, false, made())]), 1);
    }

    #[test]
    fn who_allows_it_is_told_of_the_topic_which_is_there_from_then_on() {
        let (unknown, made) = (|| missing(Code::UnknownTopicOrPartition), || made(|_| {}));
        assert_eq!(violated(2, vec![asked(40, true, made()), asked(45, false, made())]), 0);
        assert_eq!(violated(2, vec![asked(40, true, unknown())]), 1);
        assert_eq!(violated(2, vec![asked(40, true, missing(Code::LeaderNotAvailable))]), 0);
        assert_eq!(violated(2, vec![asked(40, true, made()), asked(45, false, unknown())]), 1);
        let twice = vec![
            asked(40, true, missing(Code::LeaderNotAvailable)),
            asked(45, true, missing(Code::LeaderNotAvailable)),
        ];
        assert_eq!(violated(2, twice), 1, "by then it has its leader");
    }

    #[test]
    fn it_has_the_partitions_that_were_configured_with_one_replica_each_that_leads() {
        let with = |edit: &dyn Fn(&mut MetadataResponsePartition)| violated(2, vec![asked(40, true, made(edit))]);
        assert_eq!(with(&|_| {}), 0);
        assert_eq!(violated(3, vec![asked(40, true, made(|_| {}))]), 1);
        assert_eq!(with(&|told| told.replica_nodes = vec![2, 3]), 1);
        assert_eq!(with(&|told| told.replica_nodes = vec![9]), 1);
        assert_eq!(with(&|told| told.leader_id = 1), 1);
        assert_eq!(with(&|told| told.isr_nodes = vec![3]), 1);
        assert_eq!(with(&|told| told.error_code = Code::LeaderNotAvailable.to_wire()), 1);
    }
}
