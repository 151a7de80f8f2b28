//! Which of Kafka's error codes stands for which refusal.

use crate::log::LogError;
use crate::producer_state;
use crate::replication::Refusal;
use crate::wire::kafka::ErrorCode;

/// A replica's refusal.
#[must_use]
pub fn of_refusal(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::NotLeader => ErrorCode::NotLeaderOrFollower,
        Refusal::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
        Refusal::UnknownLeaderEpoch => ErrorCode::UnknownLeaderEpoch,
        Refusal::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
        Refusal::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        Refusal::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
        Refusal::StaleBrokerEpoch => ErrorCode::StaleBrokerEpoch,
        Refusal::NotAReplica => ErrorCode::UnknownTopicOrPartition,
        Refusal::Faulted => ErrorCode::KafkaStorageError,
    }
}

/// What a log says to an append or a read. What concerns the disk is KAFKA_STORAGE_ERROR.
#[must_use]
pub fn of_log(error: &LogError) -> ErrorCode {
    match error {
        LogError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        LogError::BadBatch(_) => ErrorCode::CorruptMessage,
        LogError::TooLarge { .. } => ErrorCode::RecordListTooLarge,
        LogError::Refused(refused) => of_producer(refused),
        LogError::Raced | LogError::StaleLeaderEpoch { .. } => ErrorCode::NotLeaderOrFollower,
        LogError::Io { .. }
        | LogError::Offline { .. }
        | LogError::Corrupt { .. }
        | LogError::Damaged { .. }
        | LogError::NotContiguous { .. }
        | LogError::WrongTopic { .. }
        | LogError::Busy => ErrorCode::KafkaStorageError,
    }
}

/// A refusal by the state of an idempotent producer.
#[must_use]
pub fn of_producer(refused: &producer_state::Refused) -> ErrorCode {
    match refused {
        producer_state::Refused::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
        producer_state::Refused::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        producer_state::Refused::InvalidTransactionState { .. } => ErrorCode::InvalidTxnState,
        producer_state::Refused::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
    }
}
