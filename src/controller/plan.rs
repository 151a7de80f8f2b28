//! From a request to the changes that carry it out, or to its refusal. Nothing is changed here.

use super::active::Active;
use super::assignment::first_states;
use super::election::{Rules, lead};
use super::message::{AlterPartition, Answer, Assignment, Change, Refusal, Request};
use super::metadata::{TopicMetadata, TopicSettings};
use crate::base::ids::{BrokerId, TopicId, TopicPartition};
use crate::base::limits::TOPIC_NAME_BYTES_MAX;
use crate::base::partition_state::{InSyncReplica, PartitionState};
use crate::base::plants::{Plant, Plants};
use std::sync::Arc;

/// What a request takes.
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    /// The answer once they are committed.
    pub(super) answer: Answer,
    /// Plants whose branch was taken on the way.
    pub(super) taken: Vec<Plant>,
}

impl Plan {
    fn done(changes: Vec<Change>) -> Self {
        Plan { changes, answer: Answer::Done, taken: Vec::new() }
    }
}

/// Plans `request` on the state that `active` knows to be committed.
pub(super) fn plan(active: &Active, plants: Plants, request: &Request) -> Result<Plan, Refusal> {
    match request {
        Request::AlterPartition(proposal) => alter_partition(active, plants, proposal),
        Request::CreateTopic { topic, id, assignment, settings } => {
            create_topic(active, topic, *id, assignment, settings)
        }
        Request::AddPartitions { topic, assignment } => add_partitions(active, topic, assignment),
        Request::SetTopic { topic, settings } => set_topic(active, plants, topic, settings),
        Request::DeleteTopic { topic } => delete_topic(active, topic),
        // Whatever it led has been moved before requests are planned.
        Request::ControlledShutdown { broker, broker_epoch } => controlled_shutdown(active, *broker, *broker_epoch),
        Request::ElectPreferred { partitions } => elect_preferred(active, partitions.as_deref()),
    }
}

fn topic<'a>(active: &'a Active, topic: &Arc<str>) -> Result<&'a TopicMetadata, Refusal> {
    active.metadata.topics.get(topic).ok_or(Refusal::UnknownTopicOrPartition)
}

/// The change of `partition` from one state to the next.
pub(super) fn state_change(partition: TopicPartition, old: &PartitionState, state: PartitionState) -> Change {
    assert_eq!(state.partition_epoch, old.partition_epoch + 1, "each change raises the partition epoch by one");
    assert!(state.leader_epoch >= old.leader_epoch, "leader epochs never go back");
    Change::State { partition, expected_version: old.partition_epoch, state }
}

fn alter_partition(active: &Active, plants: Plants, proposal: &AlterPartition) -> Result<Plan, Refusal> {
    let settings = &topic(active, &proposal.partition.topic)?.settings;
    let old = active.metadata.partition(&proposal.partition).ok_or(Refusal::UnknownTopicOrPartition)?;
    check_proposer(active, proposal, old)?;
    if proposal.min_in_sync != settings.min_in_sync {
        return Err(Refusal::TryAgain);
    }
    let mut taken = Vec::new();
    let in_sync = check_members(active, plants, proposal, old, &mut taken)?;
    let chosen = Rules { live: &active.live, settings, plants }.propose(old, in_sync);
    taken.extend(chosen.taken);
    let answer = Answer::AlterPartition(chosen.state.clone());
    Ok(Plan { changes: vec![state_change(proposal.partition.clone(), old, chosen.state)], answer, taken })
}

fn check_proposer(active: &Active, proposal: &AlterPartition, old: &PartitionState) -> Result<(), Refusal> {
    let live = active.live.brokers.get(&proposal.broker);
    if live.is_none_or(|live| live.broker_epoch != proposal.broker_epoch) {
        return Err(Refusal::StaleBrokerEpoch);
    }
    if proposal.leader_epoch > old.leader_epoch || proposal.partition_epoch > old.partition_epoch {
        // The leader has seen more than we have: somebody else is the controller.
        return Err(Refusal::NotController);
    }
    if proposal.leader_epoch < old.leader_epoch || old.leader != Some(proposal.broker) {
        return Err(Refusal::FencedLeaderEpoch);
    }
    if proposal.partition_epoch < old.partition_epoch {
        return Err(Refusal::StalePartitionEpoch);
    }
    Ok(())
}

fn check_members(
    active: &Active,
    plants: Plants,
    proposal: &AlterPartition,
    old: &PartitionState,
    taken: &mut Vec<Plant>,
) -> Result<Vec<InSyncReplica>, Refusal> {
    let mut members = proposal.in_sync.clone();
    members.sort_unstable();
    if members.windows(2).any(|pair| pair[0].broker == pair[1].broker) {
        return Err(Refusal::InvalidRequest("a broker is proposed twice"));
    }
    if !members.iter().any(|member| member.broker == proposal.broker && member.broker_epoch == proposal.broker_epoch) {
        return Err(Refusal::InvalidRequest("the leader is not in the proposed set"));
    }
    if !members.iter().all(|member| old.replicas.contains(&member.broker)) {
        return Err(Refusal::InvalidRequest("a proposed broker is not a replica"));
    }
    if plants.is(Plant::Kip903) {
        admit_whatever_lives(active, &mut members, taken);
    }
    let ineligible: Vec<BrokerId> =
        members.iter().filter(|member| !active.live.is_available(member)).map(|member| member.broker).collect();
    if ineligible.is_empty() { Ok(members) } else { Err(Refusal::Ineligible(ineligible)) }
}

/// The planted bug: KIP-903 undone, a delayed proposal admits whatever runs under that id now.
fn admit_whatever_lives(active: &Active, members: &mut [InSyncReplica], taken: &mut Vec<Plant>) {
    for member in members {
        if let Some(now) = active.live.available(member.broker).filter(|now| now != member) {
            taken.push(Plant::Kip903);
            *member = now;
        }
    }
}

fn create_topic(
    active: &Active,
    topic: &Arc<str>,
    id: TopicId,
    assignment: &Assignment,
    settings: &TopicSettings,
) -> Result<Plan, Refusal> {
    check_topic_name(topic)?;
    check_settings(settings)?;
    if active.metadata.topics.contains_key(topic) || active.occupied.contains(topic) {
        return Err(Refusal::TopicExists);
    }
    let partitions = first_states(&active.live, assignment, 0)?;
    let metadata = TopicMetadata { id, settings: settings.clone(), partitions };
    Ok(Plan::done(vec![Change::CreateTopic { topic: topic.clone(), metadata }]))
}

fn check_topic_name(topic: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let named = !matches!(topic, "" | "." | "..") && topic.len() <= TOPIC_NAME_BYTES_MAX;
    if named && topic.bytes().all(legal) { Ok(()) } else { Err(Refusal::InvalidTopic) }
}

fn check_settings(settings: &TopicSettings) -> Result<(), Refusal> {
    if settings.min_in_sync == 0 { Err(Refusal::InvalidRequest("min.insync.replicas is at least 1")) } else { Ok(()) }
}

fn add_partitions(active: &Active, name: &Arc<str>, assignment: &Assignment) -> Result<Plan, Refusal> {
    let first = topic(active, name)?.partitions.len();
    let states = first_states(&active.live, assignment, first)?;
    Ok(Plan::done(vec![Change::CreatePartitions { topic: name.clone(), first, states }]))
}

/// The eligible sets follow `min.insync.replicas` in the very write that changes it.
fn set_topic(active: &Active, plants: Plants, name: &Arc<str>, settings: &TopicSettings) -> Result<Plan, Refusal> {
    check_settings(settings)?;
    let rules = Rules { live: &active.live, settings, plants };
    let mut plan = Plan::done(vec![Change::SetTopic { topic: name.clone(), settings: settings.clone() }]);
    for (index, old) in topic(active, name)?.partitions.iter().enumerate() {
        if let Some(chosen) = rules.react(old) {
            plan.taken.extend(chosen.taken);
            plan.changes.push(state_change(partition_at(name, index), old, chosen.state));
        }
    }
    Ok(plan)
}

fn delete_topic(active: &Active, name: &Arc<str>) -> Result<Plan, Refusal> {
    let TopicMetadata { id, partitions, .. } = topic(active, name)?;
    let (topic, id, partitions) = (name.clone(), *id, partitions.len());
    Ok(Plan::done(vec![Change::DeleteTopic { topic, id, partitions }]))
}

fn controlled_shutdown(
    active: &Active,
    broker: BrokerId,
    broker_epoch: crate::base::ids::BrokerEpoch,
) -> Result<Plan, Refusal> {
    let live = active.live.brokers.get(&broker);
    if live.is_some_and(|live| live.broker_epoch == broker_epoch) && active.live.shutting_down.contains(&broker) {
        Ok(Plan::done(Vec::new()))
    } else {
        Err(Refusal::StaleBrokerEpoch)
    }
}

fn elect_preferred(active: &Active, partitions: Option<&[TopicPartition]>) -> Result<Plan, Refusal> {
    let wanted = |partition: &TopicPartition| partitions.is_none_or(|chosen| chosen.contains(partition));
    let changes = active.partitions().filter(|(partition, _)| wanted(partition));
    let changes = changes.filter_map(|(partition, old)| Some(state_change(partition, old, led_by_preferred(old)?)));
    Ok(Plan::done(changes.collect()))
}

/// `old` led by its first replica, if that is in sync and does not lead already.
fn led_by_preferred(old: &PartitionState) -> Option<PartitionState> {
    let preferred = old.replicas.first().copied().filter(|broker| old.is_in_sync(*broker))?;
    if old.leader == Some(preferred) {
        return None;
    }
    let mut state = PartitionState { partition_epoch: old.partition_epoch + 1, ..old.clone() };
    lead(&mut state, preferred);
    Some(state)
}

/// The partition at `index` of `topic`.
pub(super) fn partition_at(topic: &Arc<str>, index: usize) -> TopicPartition {
    let index =
        i32::try_from(index).expect("a topic has fewer than 2^31 partitions, for each write adds 2,000 at most");
    TopicPartition::new(topic.clone(), index)
}
