//! Which properties each planted bug is said to break: what finds it must be one of these. A bug
//! that only shows as something else, a run that hangs say, has not been caught.
//!
//! The catalogue names classes of guarantees; a class is one or more properties.

use wyrdlog::base::plants::Plant;

use crate::verdict::Property;

/// DUR: an acknowledged record survives.
const DURABILITY: &[Property] = &[
    Property::CommittedSurvives,
    Property::LeaderCompleteness,
    Property::LostWrite,
    Property::Unseen,
    Property::InconsistentOffsets,
];
/// DUR and LOG where it is lost at a restart: what was synced is recovered, and nothing else counts.
const RECOVERY: &[Property] = &[
    Property::RecoveredPrefix,
    Property::CommittedSurvives,
    Property::LeaderCompleteness,
    Property::LostWrite,
    Property::Unseen,
    Property::InconsistentOffsets,
    Property::LogMatching,
];
/// LOG: logs match up to the high watermark.
const LOG: &[Property] = &[Property::LogMatching];
/// DUR and LOG.
const DURABILITY_AND_LOG: &[Property] = &[
    Property::CommittedSurvives,
    Property::LeaderCompleteness,
    Property::LostWrite,
    Property::Unseen,
    Property::InconsistentOffsets,
    Property::LogMatching,
];
/// ISR: membership implies completeness, and only the controller of the newest epoch decides on it.
const IN_SYNC: &[Property] = &[Property::IsrCompleteness, Property::FencedStaysFenced];
/// DUR, by whom is taken for one that has lost nothing.
const WHOLENESS: &[Property] = &[
    Property::EligibleCompleteness,
    Property::RecoveredPrefix,
    Property::CommittedSurvives,
    Property::LeaderCompleteness,
    Property::LostWrite,
    Property::Unseen,
    Property::InconsistentOffsets,
];
/// IDM: idempotent order and uniqueness.
const IDEMPOTENCE: &[Property] = &[Property::IdempotentOrder, Property::Duplicate, Property::NonmonotonicSend];
/// IDM, where what is known of producers is lost.
const PRODUCER_STATE: &[Property] =
    &[Property::IdempotentOrder, Property::Duplicate, Property::NonmonotonicSend, Property::ReplayEqualsLive];
/// LIVE: progress after healing, and of the high watermark at any time.
const LIVENESS: &[Property] = &[Property::Availability, Property::HighWatermarkProgress];
/// COORD: a committed znode survives in order.
const COORDINATOR: &[Property] =
    &[Property::StateMachineSafety, Property::Linearizability, Property::SnapshotRead, Property::SessionOrder];
/// HW: reads are repeatable and never pass the high watermark.
const HIGH_WATERMARK: &[Property] =
    &[Property::HighWatermarkSafety, Property::InconsistentOffsets, Property::RetentionJustified];
/// ISR, and a high watermark that waits for whom the leader has forgotten.
const IN_SYNC_AND_PROGRESS: &[Property] = &[
    Property::IsrCompleteness,
    Property::HighWatermarkSafety,
    Property::HighWatermarkProgress,
    Property::CommittedSurvives,
    Property::LeaderCompleteness,
    Property::LostWrite,
    Property::Unseen,
    Property::InconsistentOffsets,
];
/// ISR and what follows from a member that lacks something.
const IN_SYNC_AND_DURABILITY: &[Property] = &[
    Property::IsrCompleteness,
    Property::HighWatermarkSafety,
    Property::CommittedSurvives,
    Property::LeaderCompleteness,
    Property::LostWrite,
    Property::Unseen,
    Property::InconsistentOffsets,
];
/// COORD, and one leader a term.
const COORDINATOR_ORDER: &[Property] = &[
    Property::OneLeaderPerEpoch,
    Property::StateMachineSafety,
    Property::Linearizability,
    Property::SnapshotRead,
    Property::SessionOrder,
];
/// COORD, where a vote that was durable is not recovered.
const VOTES: &[Property] = &[
    Property::RecoveredPrefix,
    Property::OneLeaderPerEpoch,
    Property::StateMachineSafety,
    Property::Linearizability,
    Property::SnapshotRead,
    Property::SessionOrder,
];
/// SES: sessions last as long as was agreed.
const SESSIONS: &[Property] = &[Property::SessionLength, Property::SessionSafety];
const GARBAGE: &[Property] = &[Property::NothingGarbage];
const WATCHES: &[Property] = &[Property::WatchOrder];

/// What `plant` is said to break.
#[must_use]
pub fn breaks(plant: Plant) -> &'static [Property] {
    match plant {
        Plant::Kip101 | Plant::AsyncIsr | Plant::Kip903 | Plant::Kip966 | Plant::Canary => DURABILITY,
        Plant::Kip106 | Plant::Kafka19522 => DURABILITY,
        Plant::Kafka10471 => WHOLENESS,
        Plant::Kafka3968 | Plant::Commonware4546 => RECOVERY,
        Plant::Kip279 => LOG,
        Plant::Kip320 => DURABILITY_AND_LOG,
        Plant::Kafka7128 => IN_SYNC_AND_DURABILITY,
        Plant::Kafka12686 => IN_SYNC_AND_PROGRESS,
        Plant::Kafka9835 | Plant::Kafka5634 => HIGH_WATERMARK,
        Plant::Kafka9491 => LIVENESS,
        Plant::Kip360 => PRODUCER_STATE,
        Plant::Librdkafka4953 => IDEMPOTENCE,
        Plant::Zk2845 => COORDINATOR_ORDER,
        Plant::Keeper113654 => VOTES,
        Plant::Zk1366 => SESSIONS,
        Plant::Kafka6082 => IN_SYNC,
        Plant::Kafka9892 => IDEMPOTENCE,
        Plant::Kafka13091 => LIVENESS,
        Plant::Zk3911 => COORDINATOR,
        Plant::UncheckedChecksums => GARBAGE,
        Plant::LateWatch => WATCHES,
    }
}
