//! The messages of the private API, version 0.
//!
//! Every message names the incarnations that it holds for, so that nothing of an older controller
//! or an older incarnation of a broker takes effect (KIP-631, KIP-903): the receiver compares the
//! controller epoch with the highest it knows, and the broker epoch with its own.

use bytes::Bytes;

use super::codec::{Reader, Writer};
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId};
use crate::base::partition_state::InSyncReplica;
use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::request::Malformed;

const IN_SYNC_REPLICA_BYTES: usize = 12;
const PROPOSED_PARTITION_BYTES_MIN: usize = 16 + 4 + 4 + 4 + 4 + 4;
const ALTERED_PARTITION_BYTES_MIN: usize = 16 + 4 + 2 + 4 + 4 + 4 + 4;

/// Controller to broker: what changed in the cluster since the message before.
///
/// | bytes | field                                                        |
/// |------:|--------------------------------------------------------------|
/// |     4 | controller                                                   |
/// |     4 | controller epoch                                             |
/// |     8 | broker epoch of the receiver                                 |
/// |     8 | sequence                                                     |
/// |     1 | payload: 0 delta, 1 snapshot                                 |
/// |   4+n | its bytes                                                    |
///
/// Within one (controller epoch, broker epoch) sequences begin with 0, which is a snapshot, and
/// go up by one. A broker that sees a gap answers with the sequence that it expects, and gets a
/// snapshot under whatever sequence the controller has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateMetadata {
    /// Who sends.
    pub controller: BrokerId,
    /// Fences older controllers.
    pub controller_epoch: ControllerEpoch,
    /// The incarnation of the receiver that is meant.
    pub broker_epoch: BrokerEpoch,
    /// Counts the messages to this incarnation.
    pub sequence: i64,
    /// What changed.
    pub payload: MetadataPayload,
}

/// What an [`UpdateMetadata`] carries, in the controller's own encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataPayload {
    /// The changes since the sequence before.
    Delta(Bytes),
    /// All there is, whatever was known before.
    Snapshot(Bytes),
}

impl UpdateMetadata {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        let (kind, payload) = match &self.payload {
            MetadataPayload::Delta(bytes) => (0, bytes),
            MetadataPayload::Snapshot(bytes) => (1, bytes),
        };
        writer.i32(self.controller.0).i32(self.controller_epoch.0).i64(self.broker_epoch.0).i64(self.sequence);
        writer.u8(kind).bytes(payload);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(UpdateMetadata {
            controller: BrokerId(reader.i32()?),
            controller_epoch: ControllerEpoch(reader.i32()?),
            broker_epoch: BrokerEpoch(reader.i64()?),
            sequence: reader.i64()?,
            payload: match reader.u8()? {
                0 => MetadataPayload::Delta(reader.bytes()?),
                1 => MetadataPayload::Snapshot(reader.bytes()?),
                kind => return Err(reader.error(format!("unknown payload {kind}"))),
            },
        })
    }
}

/// A broker's answer to [`UpdateMetadata`].
///
/// | bytes | field                                    |
/// |------:|------------------------------------------|
/// |     2 | error code                               |
/// |     4 | the highest controller epoch known       |
/// |     8 | the next sequence expected               |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateMetadataResult {
    /// `None` if it was applied, `StaleControllerEpoch` and `StaleBrokerEpoch` if it was fenced,
    /// `InvalidUpdateVersion` at a gap.
    pub error: ErrorCode,
    /// What fenced the sender, if that is the error.
    pub controller_epoch: ControllerEpoch,
    /// What to send next; after a gap, as a snapshot.
    pub next_sequence: i64,
}

impl UpdateMetadataResult {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.i16(self.error.to_wire()).i32(self.controller_epoch.0).i64(self.next_sequence);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(UpdateMetadataResult {
            error: ErrorCode::from_wire(reader.i16()?),
            controller_epoch: ControllerEpoch(reader.i32()?),
            next_sequence: reader.i64()?,
        })
    }
}

/// Leader to controller: in-sync sets that it proposes (KIP-497), with the incarnation of each
/// member (KIP-903).
///
/// | bytes | field                                                               |
/// |------:|---------------------------------------------------------------------|
/// |     4 | broker                                                              |
/// |     8 | its broker epoch                                                    |
/// |  4+n× | (topic id 16, partition 4, leader epoch 4, partition epoch 4, min in sync 4, 4+n× (broker 4, broker epoch 8)) |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterPartition {
    /// The leader.
    pub broker: BrokerId,
    /// Its incarnation.
    pub broker_epoch: BrokerEpoch,
    /// What it proposes.
    pub partitions: Vec<ProposedPartition>,
}

/// A proposal for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition's index.
    pub partition: i32,
    /// The epoch under which the sender leads.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that the proposal replaces: the change is conditional on it.
    pub partition_epoch: i32,
    /// The `min.insync.replicas` that the leader goes by.
    pub min_in_sync: i32,
    /// The proposed in-sync set.
    pub in_sync: Vec<InSyncReplica>,
}

impl AlterPartition {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.i32(self.broker.0).i64(self.broker_epoch.0);
        writer.list(&self.partitions, |writer, proposed| {
            writer.fixed(&proposed.topic.0).i32(proposed.partition);
            writer.i32(proposed.leader_epoch.0).i32(proposed.partition_epoch).i32(proposed.min_in_sync);
            write_in_sync(writer, &proposed.in_sync);
        });
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(AlterPartition {
            broker: BrokerId(reader.i32()?),
            broker_epoch: BrokerEpoch(reader.i64()?),
            partitions: reader.list(PROPOSED_PARTITION_BYTES_MIN, |reader| {
                Ok(ProposedPartition {
                    topic: TopicId(reader.fixed()?),
                    partition: reader.i32()?,
                    leader_epoch: LeaderEpoch(reader.i32()?),
                    partition_epoch: reader.i32()?,
                    min_in_sync: reader.i32()?,
                    in_sync: read_in_sync(reader)?,
                })
            })?,
        })
    }
}

/// The controller's answer to [`AlterPartition`].
///
/// | bytes | field                                                                         |
/// |------:|-------------------------------------------------------------------------------|
/// |     2 | error code of the whole request                                               |
/// |  4+n× | (topic id 16, partition 4, error 2, leader 4, leader epoch 4, partition epoch 4, 4+n× (broker 4, broker epoch 8)) |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterPartitionResult {
    /// `StaleBrokerEpoch` or `NotController`, in which case nothing was done.
    pub error: ErrorCode,
    /// What became of each proposal.
    pub partitions: Vec<AlteredPartition>,
}

/// What became of one proposal, and the state that holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlteredPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition's index.
    pub partition: i32,
    /// `None` if it was accepted; `FencedLeaderEpoch`, `InvalidUpdateVersion`,
    /// `IneligibleReplica`, `UnknownTopicId`, `NewLeaderElected` otherwise.
    pub error: ErrorCode,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the partition's state.
    pub partition_epoch: i32,
    /// The in-sync set; with `IneligibleReplica`, the proposed members that were refused.
    pub in_sync: Vec<InSyncReplica>,
}

impl AlterPartitionResult {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.i16(self.error.to_wire()).list(&self.partitions, |writer, altered| {
            writer.fixed(&altered.topic.0).i32(altered.partition).i16(altered.error.to_wire());
            writer.i32(altered.leader.map_or(-1, |leader| leader.0));
            writer.i32(altered.leader_epoch.0).i32(altered.partition_epoch);
            write_in_sync(writer, &altered.in_sync);
        });
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(AlterPartitionResult {
            error: ErrorCode::from_wire(reader.i16()?),
            partitions: reader.list(ALTERED_PARTITION_BYTES_MIN, |reader| {
                Ok(AlteredPartition {
                    topic: TopicId(reader.fixed()?),
                    partition: reader.i32()?,
                    error: ErrorCode::from_wire(reader.i16()?),
                    leader: Some(BrokerId(reader.i32()?)).filter(|leader| leader.0 >= 0),
                    leader_epoch: LeaderEpoch(reader.i32()?),
                    partition_epoch: reader.i32()?,
                    in_sync: read_in_sync(reader)?,
                })
            })?,
        })
    }
}

fn write_in_sync(writer: &mut Writer<'_>, members: &[InSyncReplica]) {
    writer.list(members, |writer, member| {
        writer.i32(member.broker.0).i64(member.broker_epoch.0);
    });
}

fn read_in_sync(reader: &mut Reader) -> Result<Vec<InSyncReplica>, Malformed> {
    reader.list(IN_SYNC_REPLICA_BYTES, |reader| {
        Ok(InSyncReplica { broker: BrokerId(reader.i32()?), broker_epoch: BrokerEpoch(reader.i64()?) })
    })
}

/// Broker to controller: move leadership away from this incarnation, it is about to stop.
///
/// | bytes | field             |
/// |------:|-------------------|
/// |     4 | broker            |
/// |     8 | its broker epoch  |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlledShutdown {
    /// Who stops.
    pub broker: BrokerId,
    /// Its incarnation.
    pub broker_epoch: BrokerEpoch,
}

impl ControlledShutdown {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.i32(self.broker.0).i64(self.broker_epoch.0);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(ControlledShutdown { broker: BrokerId(reader.i32()?), broker_epoch: BrokerEpoch(reader.i64()?) })
    }
}

/// The controller's answer to [`ControlledShutdown`].
///
/// | bytes | field                                            |
/// |------:|--------------------------------------------------|
/// |     2 | error code                                       |
/// |     4 | partitions that the broker still leads           |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlledShutdownResult {
    /// `None`, `StaleBrokerEpoch` or `NotController`.
    pub error: ErrorCode,
    /// How many partitions have no other leader yet: ask again, or stop nevertheless.
    pub remaining_partitions: i32,
}

impl ControlledShutdownResult {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.i16(self.error.to_wire()).i32(self.remaining_partitions);
    }

    pub(super) fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(ControlledShutdownResult { error: ErrorCode::from_wire(reader.i16()?), remaining_partitions: reader.i32()? })
    }
}
