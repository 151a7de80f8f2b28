//! *right_refusal* of brokers: an oracle names the codes that are legal for a refusal, from what was
//! committed and configured and from what the faults did, at some instant between the question and the
//! answer. What a leader has not learned yet counts for as long as it may take to learn: a second, and
//! in a stretch that faults disturb, the whole stretch before the question.
//!
//! | code | legal only |
//! | --- | --- |
//! | NOT_ENOUGH_REPLICAS (and _AFTER_APPEND) | for acks=all, where the in-sync set had fewer members than `min.insync.replicas` |
//! | NOT_LEADER_OR_FOLLOWER, the leader epoch's, OFFSET_NOT_AVAILABLE, LEADER_NOT_AVAILABLE | where another led, leadership changed, or faults disturbed |
//! | UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID | the same, and before the partition was known |
//! | OFFSET_OUT_OF_RANGE | for a fetch from below a start that retention justified |
//! | sequence and producer epoch | after faults, or behind a refusal of the same client's earlier batch |
//! | RECORD_LIST_TOO_LARGE, MESSAGE_TOO_LARGE | for a batch that is larger than a segment |
//! | REQUEST_TIMED_OUT | after the time-out that the request named |
//! | KAFKA_STORAGE_ERROR | of a broker that a fault struck before |
//! | all others | never |
//!
//! False positives avoided: past the fault budget a partition may have lost anything.

use wyrdlog::base::event::Asked;
use wyrdlog::wire::kafka::ErrorCode;

use crate::history::cluster::{ClusterHistory, Refused};
use crate::history::kafka::KafkaHistory;
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

/// So long a broker may take to learn what was committed while nothing disturbs it.
const LEARN_NS: u64 = 1_000_000_000;
/// Within so long the sender of a refused batch has others under way behind it.
const BEHIND_NS: u64 = 2_000_000_000;
/// Requests of the workload name 4 s; a clock may be slow.
const REQUEST_TIMEOUT_NS: u64 = 3_700_000_000;

/// Asks of every refusal whether its code was legal.
#[must_use]
pub fn check(met: &ClusterHistory, log: &KafkaHistory) -> Findings {
    let mut findings = Findings::new(Property::RightRefusal);
    let disturbed = met.disturbed(LEARN_NS);
    for (ordinal, one) in (0_u64..).zip(&met.refused) {
        let index = log.partitions.iter().position(|name| *name == one.partition).map(|at| at as u16);
        if index.is_some_and(|index| log.is_beyond(index)) {
            continue;
        }
        let around = Around::new(met, &disturbed, one);
        let retained = index.map_or(0, |index| log.log_start_at(index, one.time_ns));
        findings.check(around.allow(retained), one.time_ns, [ordinal], || {
            let states: Vec<_> =
                met.states_during(&one.partition, around.from_ns, one.time_ns).map(|(_, state)| state).collect();
            format!(
                "broker {} refused {} {:?} of {} with {}, asked at {}: {}in the states since {}: {states:?}",
                one.broker,
                one.client,
                one.asked,
                one.partition,
                one.error.name(),
                seconds(one.since_ns),
                if around.is_disturbed { "" } else { "nothing disturbed the cluster, and it is not legal " },
                seconds(around.from_ns),
            )
        });
    }
    findings
}

/// What may bear on a refusal.
struct Around<'h> {
    met: &'h ClusterHistory,
    refused: &'h Refused,
    /// Since when what was true may show.
    from_ns: u64,
    is_disturbed: bool,
}

impl<'h> Around<'h> {
    fn new(met: &'h ClusterHistory, disturbed: &[(u64, u64)], refused: &'h Refused) -> Self {
        let asked_ns = refused.since_ns.saturating_sub(LEARN_NS);
        let next = disturbed.partition_point(|(_, to_ns)| *to_ns < asked_ns);
        let stretch = disturbed.get(next).filter(|(from_ns, _)| *from_ns <= refused.time_ns);
        let from_ns = stretch.map_or(asked_ns, |(from_ns, _)| asked_ns.min(*from_ns));
        Around { met, refused, from_ns, is_disturbed: stretch.is_some() }
    }

    fn allow(&self, retained: i64) -> bool {
        use ErrorCode as Code;
        let Refused { asked, error, time_ns, since_ns, .. } = *self.refused;
        match (error, asked) {
            (Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend, Asked::Produce { acks: -1, .. }) => {
                self.had_too_few_in_sync()
            }
            (Code::NotLeaderOrFollower | Code::LeaderNotAvailable | Code::ReplicaNotAvailable, _)
            | (Code::FencedLeaderEpoch | Code::UnknownLeaderEpoch | Code::OffsetNotAvailable, _)
            | (Code::UnknownTopicOrPartition | Code::UnknownTopicId, _) => self.is_disturbed || self.leads_no_more(),
            (Code::OffsetOutOfRange, Asked::Fetch { offset }) => offset < retained,
            (Code::OutOfOrderSequenceNumber | Code::DuplicateSequenceNumber, Asked::Produce { .. })
            | (Code::UnknownProducerId | Code::InvalidProducerEpoch, Asked::Produce { .. }) => {
                self.is_disturbed || self.is_behind_another()
            }
            (Code::RecordListTooLarge | Code::MessageTooLarge, Asked::Produce { bytes, .. }) => {
                bytes as u64 > self.met.segment_bytes
            }
            (Code::RequestTimedOut, _) => time_ns - since_ns >= REQUEST_TIMEOUT_NS,
            (Code::KafkaStorageError, _) => self.was_struck(),
            _ => false,
        }
    }

    fn had_too_few_in_sync(&self) -> bool {
        let Refused { partition, time_ns, .. } = self.refused;
        let configured = self.met.topics.get(&partition.topic).map_or(1, |topic| topic.effective_min_in_sync());
        let mut states = self.met.states_during(partition, self.from_ns, *time_ns);
        states.any(|(_, state)| state.in_sync.len() < configured.min(state.replicas.len()))
    }

    /// Whether the broker did not lead all the time, in one and the same epoch.
    fn leads_no_more(&self) -> bool {
        let Refused { partition, broker, time_ns, .. } = self.refused;
        let mut states = self.met.states_during(partition, self.from_ns, *time_ns);
        let Some((at_ns, first)) = states.next() else { return true };
        let leads = |state: &wyrdlog::base::partition_state::PartitionState| state.leader == Some(*broker);
        // A broker makes the partitions that it learns of one after the other.
        let is_young = first.partition_epoch == 0 && *at_ns + self.met.made_ns > self.from_ns;
        is_young
            || *at_ns > self.from_ns
            || !leads(first)
            || states.any(|(_, state)| state.leader_epoch != first.leader_epoch)
    }

    /// Whether an earlier batch of the same client was refused, so that this one came out of its order.
    fn is_behind_another(&self) -> bool {
        let Refused { partition, client, time_ns, since_ns, .. } = self.refused;
        let is_before = |one: &&Refused| one.time_ns + BEHIND_NS >= *since_ns && one.time_ns <= *time_ns;
        let is_another = |one: &&Refused| !std::ptr::eq(*one, self.refused);
        let mut of_client = self.met.refused.iter().filter(|one| one.client == *client && one.partition == *partition);
        of_client.any(|one| is_before(&one) && is_another(&one) && matches!(one.asked, Asked::Produce { .. }))
    }

    fn was_struck(&self) -> bool {
        let node = self.met.brokers.get(&self.refused.broker);
        let before = self.met.disturbances.iter().take_while(|one| one.from_ns <= self.refused.time_ns);
        node.is_some_and(|node| before.into_iter().any(|one| one.nodes.contains(node)))
    }
}

#[cfg(test)]
pub(crate) mod examples {
    //! A partition `t-0` that broker 1 leads from 1 s on, with three replicas in sync.

    use super::*;
    use crate::invariants::model::TopicConfig;
    use crate::observed::Node;
    use std::sync::Arc;
    use wyrdlog::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicPartition};
    use wyrdlog::base::partition_state::{Durability, InSyncReplica, PartitionState};

    pub const S: u64 = 1_000_000_000;

    pub fn state(epoch: i32, leader: i32, in_sync: &[i32]) -> PartitionState {
        let member = |broker: &i32| InSyncReplica { broker: BrokerId(*broker), broker_epoch: BrokerEpoch(1) };
        PartitionState {
            leader: Some(BrokerId(leader)),
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: epoch,
            replicas: [1, 2, 3].map(BrokerId).to_vec(),
            in_sync: in_sync.iter().map(member).collect(),
            ..PartitionState::default()
        }
    }

    pub fn refused(at_ns: u64, asked: Asked, error: ErrorCode) -> Refused {
        let (client, broker, partition) = (Node(9), BrokerId(1), TopicPartition::new("t", 0));
        Refused { time_ns: at_ns, since_ns: at_ns - 1_000, client, broker, partition, asked, error }
    }

    pub fn met() -> ClusterHistory {
        let config = TopicConfig { min_in_sync: 2, replicas: 3, durability: Durability::PageCache };
        let mut met = ClusterHistory {
            ensemble: vec![Node(0)],
            brokers: [1, 2, 3].map(|broker| (BrokerId(broker), Node(broker as u16))).into(),
            topics: [(Arc::from("t"), config)].into(),
            segment_bytes: 1_000,
            session_timeout_ns: 2 * S,
            settle_ns: 5 * S,
            answer_ns: S / 3,
            load_ends_ns: 100 * S,
            first_led_ns: Some(0),
            ..ClusterHistory::default()
        };
        met.commit(S, &TopicPartition::new("t", 0), &state(0, 1, &[1, 2, 3]));
        met
    }
}

#[cfg(test)]
mod tests {
    use super::examples::{S, met, refused, state};
    use super::*;
    use crate::history::cluster::Disturbance;
    use crate::history::kafka::Expected;
    use crate::observed::Node;
    use wyrdlog::base::ids::TopicPartition;

    const ALL: Asked = Asked::Produce { acks: -1, bytes: 90 };

    fn log() -> KafkaHistory {
        KafkaHistory::new(vec![TopicPartition::new("t", 0)])
    }

    fn is_legal(mut met: ClusterHistory, one: Refused) -> bool {
        met.refused.push(one);
        let findings = check(&met, &log());
        assert!(findings.evaluations > 0);
        findings.violated == 0
    }

    #[test]
    fn not_enough_replicas_is_legal_only_while_the_set_is_too_small() {
        let one = || refused(20 * S, ALL, ErrorCode::NotEnoughReplicas);
        assert!(!is_legal(met(), one()), "three of three are in sync");
        let shrunk = |at_ns: u64, again_ns: u64| {
            let mut met = met();
            let name = TopicPartition::new("t", 0);
            met.commit(at_ns, &name, &state(1, 1, &[1]));
            met.commit(again_ns, &name, &state(2, 1, &[1, 2]));
            met
        };
        assert!(is_legal(shrunk(15 * S, 25 * S), one()));
        assert!(is_legal(shrunk(15 * S, 20 * S - 500), one()), "it was too small when it was asked");
        assert!(!is_legal(shrunk(10 * S, 15 * S), one()), "it has been large enough for long");
        assert!(!is_legal(shrunk(21 * S, 25 * S), one()), "it became too small later");
        let acks_1 = Asked::Produce { acks: 1, bytes: 90 };
        assert!(!is_legal(shrunk(15 * S, 25 * S), refused(20 * S, acks_1, ErrorCode::NotEnoughReplicas)));
    }

    #[test]
    fn in_a_disturbed_stretch_what_was_true_before_may_still_show_and_what_never_was_may_not() {
        let one = || refused(20 * S, ALL, ErrorCode::NotEnoughReplicas);
        let mut disturbed = met();
        disturbed.disturbances.push(Disturbance { from_ns: 12 * S, to_ns: 19 * S, nodes: vec![Node(2)] });
        assert!(!is_legal(disturbed.clone(), one()));
        let name = TopicPartition::new("t", 0);
        disturbed.commit(13 * S, &name, &state(1, 1, &[1]));
        disturbed.commit(14 * S, &name, &state(2, 1, &[1, 2]));
        assert!(is_legal(disturbed, one()));
    }

    #[test]
    fn not_leader_is_legal_only_where_leadership_was_elsewhere_changing_or_disturbed() {
        for error in [ErrorCode::NotLeaderOrFollower, ErrorCode::UnknownTopicOrPartition] {
            let one = |at_ns| refused(at_ns, Asked::Fetch { offset: 3 }, error);
            assert!(!is_legal(met(), one(20 * S)));
            assert!(is_legal(met(), one(S + 2_000)), "it has just been made");
            let mut moved = met();
            moved.commit(15 * S, &TopicPartition::new("t", 0), &state(1, 2, &[1, 2, 3]));
            assert!(is_legal(moved.clone(), one(20 * S)));
            assert!(!is_legal(moved, one(14 * S)));
            let mut disturbed = met();
            disturbed.disturbances.push(Disturbance { from_ns: 19 * S, to_ns: 19 * S, nodes: vec![Node(2)] });
            assert!(is_legal(disturbed, one(20 * S)));
        }
    }

    #[test]
    fn a_sequence_is_out_of_order_only_behind_a_refusal_or_faults() {
        let one = |at_ns| refused(at_ns, ALL, ErrorCode::OutOfOrderSequenceNumber);
        assert!(!is_legal(met(), one(20 * S)));
        let mut behind = met();
        behind.refused.push(refused(20 * S - 5_000, ALL, ErrorCode::NotLeaderOrFollower));
        behind.commit(20 * S - 6_000, &TopicPartition::new("t", 0), &state(1, 1, &[1, 2, 3]));
        assert!(is_legal(behind, one(20 * S)));
    }

    #[test]
    fn sizes_starts_time_outs_and_disks_are_compared_with_what_they_were() {
        let fetch = Asked::Fetch { offset: 3 };
        let large = |bytes| refused(20 * S, Asked::Produce { acks: 1, bytes }, ErrorCode::RecordListTooLarge);
        assert!(is_legal(met(), large(1_001)) && !is_legal(met(), large(999)));
        let mut late = refused(20 * S, ALL, ErrorCode::RequestTimedOut);
        assert!(!is_legal(met(), late.clone()));
        late.since_ns -= 4 * S;
        assert!(is_legal(met(), late));
        let disk = || refused(20 * S, fetch, ErrorCode::KafkaStorageError);
        assert!(!is_legal(met(), disk()));
        let mut struck = met();
        struck.disturbances.push(Disturbance { from_ns: S, to_ns: S, nodes: vec![Node(1)] });
        assert!(is_legal(struck, disk()));
        for (start, violated) in [(4, 0), (3, 1)] {
            let (mut met, mut log) = (met(), log());
            met.refused.push(refused(20 * S, fetch, ErrorCode::OffsetOutOfRange));
            log.expected.insert(0, Expected { retained: vec![(5, start)], ..Expected::default() });
            assert_eq!(check(&met, &log).violated, violated);
        }
    }

    #[test]
    fn a_code_that_is_never_legal_is_rejected_and_past_the_budget_nothing_is() {
        let (mut met, mut log) = (met(), log());
        met.refused.push(refused(20 * S, ALL, ErrorCode::UnknownServerError));
        assert_eq!(check(&met, &log).violated, 1);
        log.expected.insert(0, Expected { beyond_since_ns: Some(1), ..Expected::default() });
        assert_eq!(check(&met, &log).evaluations, 0);
    }
}
