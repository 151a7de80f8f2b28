//! ListOffsets: the earliest and latest offset, the one of the largest timestamp, and the first at
//! or after a time.

use std::sync::Arc;

use super::errors;
use super::partition::{Core, Partition};
use super::partitions::{Partitions, TopicRef};
use crate::base::ids::LeaderEpoch;
use crate::log::TimestampedOffset;
use crate::message;
use crate::runtime::Runtime;
use crate::wire::kafka::messages::list_offsets_request::ListOffsetsPartition;
use crate::wire::kafka::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use crate::wire::kafka::messages::{ListOffsetsRequest, ListOffsetsResponse};
use crate::wire::kafka::{ErrorCode, Response};

/// Timestamps that stand for something else.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// From this version on clients know OFFSET_NOT_AVAILABLE (KIP-207).
const OFFSET_NOT_AVAILABLE_FROM: i16 = 5;
/// From this version on an answer has a leader epoch (KIP-320). The field may not be set before.
const LEADER_EPOCH_FROM: i16 = 4;

/// The outcome for one partition.
struct Found {
    timestamp_ms: i64,
    offset: i64,
    leader_epoch: i32,
}

/// What still has to be looked up on the disk.
enum Lookup {
    Known(Found),
    MaxTimestamp(i64),
    /// From this time on, below this bound; and what is said where nothing is found, if that is not
    /// the whole truth: a new leader's high watermark may be behind what was once exposed (KIP-207).
    AtOrAfter(i64, i64, Option<ErrorCode>),
}

/// Answers, reading from the disk where a time is asked for.
pub(super) async fn answer<R: Runtime>(
    partitions: Partitions<R>,
    version: i16,
    request: ListOffsetsRequest,
) -> Response {
    let is_committed = request.isolation_level == 1;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut answers = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let name = TopicRef::Name(topic.name.as_str());
            let found = match partitions.find(name, asked.partition_index) {
                Ok(partition) => partition.offset_for(asked, is_committed, request.replica_id >= 0).await,
                Err(error) => Err(error),
            };
            answers.push(partition_response(asked, version, found));
        }
        topics.push(message!(ListOffsetsTopicResponse { name: topic.name.clone(), partitions: answers }));
    }
    message!(ListOffsetsResponse { topics }).into()
}

fn partition_response(
    asked: &ListOffsetsPartition,
    version: i16,
    found: Result<Found, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    match found {
        Ok(Found { timestamp_ms, offset, leader_epoch }) => message!(ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            timestamp: timestamp_ms,
            offset,
            leader_epoch: if version >= LEADER_EPOCH_FROM { leader_epoch } else { -1 },
        }),
        Err(error) => {
            let unknown = error == ErrorCode::OffsetNotAvailable && version < OFFSET_NOT_AVAILABLE_FROM;
            let error = if unknown { ErrorCode::LeaderNotAvailable } else { error };
            message!(ListOffsetsPartitionResponse {
                partition_index: asked.partition_index,
                error_code: error.to_wire(),
                timestamp: -1,
                offset: -1,
                leader_epoch: -1,
            })
        }
    }
}

impl<R: Runtime> Partition<R> {
    async fn offset_for(
        self: &Arc<Self>,
        asked: &ListOffsetsPartition,
        is_committed: bool,
        is_follower: bool,
    ) -> Result<Found, ErrorCode> {
        let claimed = Some(LeaderEpoch(asked.current_leader_epoch)).filter(|epoch| epoch.0 >= 0);
        let lookup = self.view(|core| core.look_up(asked.timestamp, claimed, is_committed, is_follower))?;
        let found = match lookup {
            Lookup::Known(found) => return Ok(found),
            Lookup::MaxTimestamp(bound) => self.view(|core| core.log.offset_of_max_timestamp(bound)).await,
            Lookup::AtOrAfter(time, bound, withheld) => {
                let found = self.view(|core| core.log.offset_for_timestamp(time, bound)).await;
                match (&found, withheld) {
                    (Ok(None), Some(error)) => return Err(error),
                    _ => found,
                }
            }
        };
        found.map(Found::of_record).map_err(|error| self.read_failed(&error).error)
    }
}

impl Found {
    fn of_record(record: Option<TimestampedOffset>) -> Found {
        let none = Found { timestamp_ms: -1, offset: -1, leader_epoch: -1 };
        record.map_or(none, |record| Found {
            timestamp_ms: record.timestamp_ms,
            offset: record.offset,
            leader_epoch: record.leader_epoch.0,
        })
    }
}

impl<R: Runtime> Core<R> {
    fn look_up(
        &self,
        timestamp: i64,
        claimed: Option<LeaderEpoch>,
        is_committed: bool,
        is_follower: bool,
    ) -> Result<Lookup, ErrorCode> {
        let high_watermark = self.replica.consumer_bound(claimed).map_err(errors::of_refusal)?;
        let bound = if is_committed { self.last_stable_offset() } else { high_watermark };
        match timestamp {
            LATEST if is_follower => Ok(self.known(self.log.log_end())),
            LATEST => {
                let latest = self.replica.latest_offset(claimed).map_err(errors::of_refusal)?;
                Ok(self.known(latest.min(bound)))
            }
            EARLIEST | EARLIEST_LOCAL => Ok(self.known(self.log.log_start())),
            MAX_TIMESTAMP => Ok(Lookup::MaxTimestamp(bound)),
            LATEST_TIERED => Ok(Lookup::Known(Found::of_record(None))),
            time if time >= 0 => {
                let withheld = self.replica.latest_offset(claimed).err().map(errors::of_refusal);
                Ok(Lookup::AtOrAfter(time, bound, withheld))
            }
            _ => Err(ErrorCode::UnsupportedVersion),
        }
    }

    fn known(&self, offset: i64) -> Lookup {
        let leader_epoch = self.log.epoch_at(offset).map_or(-1, |epoch| epoch.0);
        Lookup::Known(Found { timestamp_ms: -1, offset, leader_epoch })
    }
}
