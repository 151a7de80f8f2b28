//! OffsetForLeaderEpoch: where leader epochs end, for followers and for consumers that check their
//! position (KIP-101, KIP-279, KIP-320).

use super::partitions::{Partitions, TopicRef};
use crate::base::ids::LeaderEpoch;
use crate::message;
use crate::runtime::Runtime;
use crate::wire::kafka::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use crate::wire::kafka::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use crate::wire::kafka::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

/// Answers from memory.
pub(super) fn answer<R: Runtime>(
    partitions: &Partitions<R>,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let asks = if request.replica_id >= 0 { Asks::Follower } else { Asks::Consumer };
    let topics = request.topics.iter().map(|topic| {
        let ends = topic.partitions.iter().map(|asked| end_of(partitions, topic.topic.as_str(), asked, asks)).collect();
        message!(OffsetForLeaderTopicResult { topic: topic.topic.clone(), partitions: ends })
    });
    message!(OffsetForLeaderEpochResponse { topics: topics.collect() })
}

/// Who asks.
#[derive(Clone, Copy)]
enum Asks {
    Follower,
    Consumer,
}

impl Asks {
    /// How an epoch is answered that is older than the log. Kafka answers with the epoch itself, which
    /// tells a consumer to go on at the log start. A follower must know that nothing is shared.
    fn unknown(self, requested: i32) -> i32 {
        match self {
            Asks::Follower => -1,
            Asks::Consumer => requested,
        }
    }
}

fn end_of<R: Runtime>(
    partitions: &Partitions<R>,
    topic: &str,
    asked: &OffsetForLeaderPartition,
    asks: Asks,
) -> EpochEndOffset {
    let claimed = Some(LeaderEpoch(asked.current_leader_epoch)).filter(|epoch| epoch.0 >= 0);
    let end = partitions
        .find(TopicRef::Name(topic), asked.partition)
        .and_then(|partition| partition.epoch_end(claimed, LeaderEpoch(asked.leader_epoch)));
    match end {
        Ok(None) => message!(EpochEndOffset { partition: asked.partition, leader_epoch: -1, end_offset: -1 }),
        Ok(Some(end)) => message!(EpochEndOffset {
            partition: asked.partition,
            leader_epoch: end.leader_epoch.map_or_else(|| asks.unknown(asked.leader_epoch), |epoch| epoch.0),
            end_offset: end.end_offset,
        }),
        Err(error) => message!(EpochEndOffset {
            partition: asked.partition,
            error_code: error.to_wire(),
            leader_epoch: -1,
            end_offset: -1,
        }),
    }
}
