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
/// IDM: idempotent order and uniqueness.
const IDEMPOTENCE: &[Property] = &[Property::IdempotentOrder, Property::Duplicate, Property::NonmonotonicSend];
/// LIVE: progress after healing, and of the high watermark at any time.
const LIVENESS: &[Property] = &[Property::Availability, Property::HighWatermarkProgress];
/// COORD: a committed znode survives in order.
const COORDINATOR: &[Property] =
    &[Property::StateMachineSafety, Property::Linearizability, Property::SnapshotRead, Property::SessionOrder];
const GARBAGE: &[Property] = &[Property::NothingGarbage];
const WATCHES: &[Property] = &[Property::WatchOrder];

/// What `plant` is said to break.
#[must_use]
pub fn breaks(plant: Plant) -> &'static [Property] {
    match plant {
        Plant::Kip101 | Plant::AsyncIsr | Plant::Kip903 | Plant::Kip966 | Plant::Canary => DURABILITY,
        Plant::Kip279 => LOG,
        Plant::Kip320 => DURABILITY_AND_LOG,
        Plant::Kafka6082 => IN_SYNC,
        Plant::Kafka9892 => IDEMPOTENCE,
        Plant::Kafka13091 => LIVENESS,
        Plant::Zk3911 => COORDINATOR,
        Plant::UncheckedChecksums => GARBAGE,
        Plant::LateWatch => WATCHES,
    }
}
