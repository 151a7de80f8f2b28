//! Carries leaders' proposals of in-sync sets to the controller (KIP-497), and answers those of
//! others while this broker is the controller.
//!
//! One request is on its way at a time; what comes meanwhile goes with the next one. Only a definite
//! answer reaches the leader, which repeats what was not answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::MetadataSink;
use super::controller::Command;
use super::plane::{MESSAGE_TIMEOUT, Plane};
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::base::partition_state::PartitionState;
use crate::broker::shared::PartitionProposal;
use crate::controller::{self, Answer, Refusal, Request};
use crate::replication::InSyncAnswer;
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;
use crate::wire::private::{
    AlterPartition, AlterPartitionResult, AlteredPartition, PrivateRequest, PrivateResponse, ProposedPartition,
};

/// The most proposals in one request.
pub const PROPOSALS_PER_REQUEST_MAX: usize = 1000;

/// Carries proposals for as long as leaders can make them.
pub async fn carry_all<R: Runtime, P: MetadataSink<R>>(
    plane: Arc<Plane<R>>,
    partitions: P,
    mut proposals: mpsc::Receiver<PartitionProposal>,
) {
    while let Some(first) = proposals.recv().await {
        // Of two for one partition, the later one is the leader's last word.
        let mut batch = BTreeMap::from([(first.partition.clone(), first)]);
        while batch.len() < PROPOSALS_PER_REQUEST_MAX {
            let Ok(next) = proposals.try_recv() else { break };
            batch.insert(next.partition.clone(), next);
        }
        if let Some(result) = plane.within(MESSAGE_TIMEOUT, carry(&plane, &batch)).await.flatten() {
            deliver(&plane, &partitions, &batch, &result);
        }
    }
}

/// The controller's result, if there is one.
async fn carry<R: Runtime>(
    plane: &Plane<R>,
    batch: &BTreeMap<TopicPartition, PartitionProposal>,
) -> Option<AlterPartitionResult> {
    let broker_epoch = plane.broker_epoch()?;
    let (controller, _) = plane.known_controller()?;
    let partitions = batch.values().map(proposed).collect();
    let message = AlterPartition { broker: plane.own(), broker_epoch, partitions };
    if controller == plane.own() {
        return Some(answer(plane, message).await);
    }
    match plane.tell(&plane.address_of(controller)?, PrivateRequest::AlterPartition(message)).await {
        Ok(PrivateResponse::AlterPartition(result)) => Some(result),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%controller, %error, "proposals have no answer");
            None
        }
    }
}

fn proposed(one: &PartitionProposal) -> ProposedPartition {
    let proposal = &one.proposal;
    ProposedPartition {
        topic: one.topic_id,
        partition: one.partition.partition,
        leader_epoch: proposal.leader_epoch,
        partition_epoch: proposal.partition_epoch,
        min_in_sync: i32::try_from(proposal.min_in_sync).unwrap_or(i32::MAX),
        in_sync: proposal.in_sync.clone(),
    }
}

fn deliver<R: Runtime, P: MetadataSink<R>>(
    plane: &Plane<R>,
    partitions: &P,
    batch: &BTreeMap<TopicPartition, PartitionProposal>,
    result: &AlterPartitionResult,
) {
    let key = |topic: TopicId, partition| (topic, partition);
    let altered: BTreeMap<_, _> =
        result.partitions.iter().map(|altered| (key(altered.topic, altered.partition), altered)).collect();
    for (partition, sent) in batch {
        let Some(altered) = altered.get(&key(sent.topic_id, partition.partition)) else { continue };
        let replicas = {
            let cache = plane.shared.metadata();
            cache.metadata().partition(partition).map(|state| state.replicas.clone())
        };
        if let Some(answer) = definite(sent, altered, replicas) {
            let proposal = &sent.proposal;
            partitions.in_sync_answer(partition, proposal.leader_epoch, proposal.partition_epoch, answer);
        }
    }
}

/// What the leader may be told; none if the outcome is not known, or if more was decided than the
/// answer can carry: then the state comes with the metadata.
fn definite(
    sent: &PartitionProposal,
    altered: &AlteredPartition,
    replicas: Option<Vec<BrokerId>>,
) -> Option<InSyncAnswer> {
    match altered.error {
        ErrorCode::None => committed(sent, altered, replicas?).map(InSyncAnswer::Accepted),
        ErrorCode::IneligibleReplica => {
            Some(InSyncAnswer::Ineligible(altered.in_sync.iter().map(|member| member.broker).collect()))
        }
        ErrorCode::RequestTimedOut | ErrorCode::UnknownServerError => None,
        _ => Some(InSyncAnswer::Refused),
    }
}

/// A set that is large enough has no eligible leaders beside it, by the controller's own rule. Who
/// is eligible beside a smaller one only the controller knows.
fn committed(sent: &PartitionProposal, altered: &AlteredPartition, replicas: Vec<BrokerId>) -> Option<PartitionState> {
    let enough = sent.proposal.min_in_sync.min(replicas.len()).max(1);
    (altered.leader.is_some() && altered.in_sync.len() >= enough).then(|| PartitionState {
        leader: altered.leader,
        leader_epoch: altered.leader_epoch,
        partition_epoch: altered.partition_epoch,
        replicas,
        in_sync: altered.in_sync.clone(),
        eligible_leaders: Vec::new(),
        last_known_leader: None,
    })
}

/// As the controller, if this broker is it.
pub async fn answer<R: Runtime>(plane: &Plane<R>, message: AlterPartition) -> AlterPartitionResult {
    let names = names_of(plane, message.partitions.iter().map(|proposed| proposed.topic).collect());
    let mut answers = Vec::new();
    for proposed in &message.partitions {
        let (reply, answer) = oneshot::channel();
        match names.get(&proposed.topic) {
            None => {
                // The receiver is below.
                let _ = reply.send(Err(Refusal::UnknownTopicOrPartition));
            }
            Some(name) => {
                let request = request(message.broker, message.broker_epoch, name, proposed);
                // A task that is gone drops the request, which is then unknown.
                let _ = plane.controller.send(Command::Request { request, reply }).await;
            }
        }
        answers.push(answer);
    }
    let mut result = AlterPartitionResult { error: ErrorCode::None, partitions: Vec::new() };
    for (proposed, answer) in message.partitions.iter().zip(answers) {
        let answer = plane.within(MESSAGE_TIMEOUT, answer).await.and_then(Result::ok).unwrap_or(Err(Refusal::Unknown));
        match answer {
            Err(Refusal::NotController) => result.error = ErrorCode::NotController,
            Err(Refusal::StaleBrokerEpoch) => result.error = ErrorCode::StaleBrokerEpoch,
            other => result.partitions.push(altered(proposed, other)),
        }
    }
    result
}

fn names_of<R: Runtime>(plane: &Plane<R>, wanted: BTreeSet<TopicId>) -> BTreeMap<TopicId, Arc<str>> {
    let cache = plane.shared.metadata();
    let topics = cache.metadata().topics.iter().filter(|(_, topic)| wanted.contains(&topic.id));
    topics.map(|(name, topic)| (topic.id, name.clone())).collect()
}

fn request(broker: BrokerId, broker_epoch: BrokerEpoch, name: &Arc<str>, proposed: &ProposedPartition) -> Request {
    Request::AlterPartition(controller::AlterPartition {
        broker,
        broker_epoch,
        partition: TopicPartition::new(name.clone(), proposed.partition),
        leader_epoch: proposed.leader_epoch,
        partition_epoch: proposed.partition_epoch,
        in_sync: proposed.in_sync.clone(),
        min_in_sync: usize::try_from(proposed.min_in_sync).unwrap_or(0),
    })
}

fn altered(proposed: &ProposedPartition, answer: Result<Answer, Refusal>) -> AlteredPartition {
    let mut altered = AlteredPartition {
        topic: proposed.topic,
        partition: proposed.partition,
        error: ErrorCode::None,
        leader: None,
        leader_epoch: LeaderEpoch(-1),
        partition_epoch: -1,
        in_sync: Vec::new(),
    };
    match answer {
        Ok(Answer::AlterPartition(state)) => {
            altered.leader = state.leader;
            altered.leader_epoch = state.leader_epoch;
            altered.partition_epoch = state.partition_epoch;
            altered.in_sync = state.in_sync;
        }
        Ok(Answer::Done) => altered.error = ErrorCode::UnknownServerError,
        Err(refusal) => {
            altered.error = error_code(&refusal);
            if let Refusal::Ineligible(brokers) = refusal {
                let refused = proposed.in_sync.iter().filter(|member| brokers.contains(&member.broker));
                altered.in_sync = refused.copied().collect();
            }
        }
    }
    altered
}

/// Kafka's error of the same name.
#[must_use]
pub fn error_code(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::NotController => ErrorCode::NotController,
        Refusal::StaleBrokerEpoch => ErrorCode::StaleBrokerEpoch,
        Refusal::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
        Refusal::StalePartitionEpoch => ErrorCode::InvalidUpdateVersion,
        Refusal::Ineligible(_) => ErrorCode::IneligibleReplica,
        Refusal::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
        Refusal::TopicExists => ErrorCode::TopicAlreadyExists,
        Refusal::InvalidTopic => ErrorCode::InvalidTopic,
        Refusal::InvalidPartitions(_) => ErrorCode::InvalidPartitions,
        Refusal::InvalidReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        Refusal::InvalidAssignment => ErrorCode::InvalidReplicaAssignment,
        Refusal::InvalidRequest(_) => ErrorCode::InvalidRequest,
        // Retriable at the controller, once it knows more: what a client makes of this code.
        Refusal::TryAgain => ErrorCode::NotController,
        Refusal::Unknown => ErrorCode::RequestTimedOut,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Node, OWN, Sink, cluster_of};
    use super::*;
    use crate::base::partition_state::InSyncReplica;
    use crate::replication::Proposal;
    use crate::runtime::Tasks;

    fn members(brokers: &[i32]) -> Vec<InSyncReplica> {
        let member = |broker: &i32| InSyncReplica { broker: BrokerId(*broker), broker_epoch: BrokerEpoch(9) };
        brokers.iter().map(member).collect()
    }

    fn sent(in_sync: &[i32]) -> PartitionProposal {
        let (leader_epoch, partition_epoch, in_sync) = (LeaderEpoch(3), 5, members(in_sync));
        let proposal = Proposal { leader_epoch, partition_epoch, in_sync, min_in_sync: 2 };
        PartitionProposal { partition: TopicPartition::new("t", 0), topic_id: TopicId([1; 16]), proposal }
    }

    fn told(in_sync: &[i32], answer: Result<Answer, Refusal>) -> Option<InSyncAnswer> {
        let sent = sent(in_sync);
        definite(&sent, &altered(&proposed(&sent), answer), Some(vec![BrokerId(1), BrokerId(2), BrokerId(3)]))
    }

    fn state(in_sync: &[i32]) -> PartitionState {
        PartitionState {
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(3),
            partition_epoch: 6,
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            in_sync: members(in_sync),
            ..PartitionState::default()
        }
    }

    #[test]
    fn a_committed_set_reaches_the_leader_whole() {
        let answer = Ok(Answer::AlterPartition(state(&[1, 2])));
        assert_eq!(told(&[1, 2], answer), Some(InSyncAnswer::Accepted(state(&[1, 2]))));
    }

    #[test]
    fn a_set_below_the_minimum_comes_with_the_metadata_that_tells_who_is_eligible() {
        let state = PartitionState { eligible_leaders: members(&[2]), ..state(&[1]) };
        assert_eq!(told(&[1], Ok(Answer::AlterPartition(state))), None);
    }

    #[test]
    fn refused_members_are_named() {
        let answer = Err(Refusal::Ineligible(vec![BrokerId(3)]));
        assert_eq!(told(&[1, 2, 3], answer), Some(InSyncAnswer::Ineligible(vec![BrokerId(3)])));
    }

    #[test]
    fn an_unknown_outcome_is_not_an_answer_and_a_refusal_is() {
        assert_eq!(told(&[1, 2], Err(Refusal::Unknown)), None);
        for refusal in [Refusal::TryAgain, Refusal::FencedLeaderEpoch, Refusal::StalePartitionEpoch] {
            assert_eq!(told(&[1, 2], Err(refusal)), Some(InSyncAnswer::Refused));
        }
    }

    #[test]
    fn proposals_that_wait_are_carried_together() {
        let mut node = Node::that_knows(OWN, cluster_of("t", TopicId([1; 16]), 2));
        let (proposals, waiting) = mpsc::channel(2);
        for index in 0..2 {
            let partition = TopicPartition::new("t", index);
            assert!(proposals.try_send(PartitionProposal { partition, ..sent(&[1]) }).is_ok());
        }
        let _task = node.world.spawn("proposals", carry_all(node.plane.clone(), Sink::default(), waiting));
        node.world.settle();
        // None of them has an answer yet.
        for index in 0..2 {
            let Ok(Command::Request { request: Request::AlterPartition(asked), .. }) = node.commands.try_recv() else {
                panic!("partition {index} is not proposed");
            };
            assert_eq!(asked.partition, TopicPartition::new("t", index));
        }
    }
}
