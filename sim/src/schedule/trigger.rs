//! When a fault strikes: after something happened, not when it was drawn. So a schedule survives
//! unrelated changes of the code, and can be shrunk.

use serde::{Deserialize, Serialize};
use wyrdlog::base::ids::TopicPartition;

use super::target::parse_partition;

/// Something that can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    /// A replica became leader of the partition.
    LeaderElected,
    /// A leader appended a batch to the partition.
    Appended,
    /// A follower appended a batch to the partition.
    Fetched,
    /// A leader closed a segment of the partition and began another.
    SegmentRolled,
    /// acks=all was acknowledged.
    Acknowledged,
    /// The leader's high watermark moved.
    HighWatermarkAdvanced,
    /// The partition's in-sync set became smaller.
    InSyncShrunk,
    /// The partition's in-sync set became larger.
    InSyncGrown,
    /// The leader proposed another in-sync set.
    InSyncProposed,
    /// A replica truncated its log.
    Truncated,
    /// A replica's log was opened in a new incarnation.
    LogOpened,
    /// A broker became controller.
    ControllerElected,
    /// A coordinator server became leader.
    CoordinatorElected,
    /// A coordinator server applied an entry.
    EntryApplied,
    /// A session ended.
    SessionEnded,
}

impl Happening {
    /// All of them.
    pub const ALL: &'static [Happening] = &[
        Happening::LeaderElected,
        Happening::Appended,
        Happening::Fetched,
        Happening::SegmentRolled,
        Happening::Acknowledged,
        Happening::HighWatermarkAdvanced,
        Happening::InSyncShrunk,
        Happening::InSyncGrown,
        Happening::InSyncProposed,
        Happening::Truncated,
        Happening::LogOpened,
        Happening::ControllerElected,
        Happening::CoordinatorElected,
        Happening::EntryApplied,
        Happening::SessionEnded,
    ];

    /// Whether it happens to a partition, so that one may be named.
    #[must_use]
    pub fn has_partition(self) -> bool {
        !self.is_of_coordinators() && self != Happening::ControllerElected
    }

    /// Whether it happens without brokers, too.
    #[must_use]
    pub fn is_of_coordinators(self) -> bool {
        matches!(self, Happening::CoordinatorElected | Happening::EntryApplied | Happening::SessionEnded)
    }

    /// Whether it happens all the time, not only when something is amiss.
    #[must_use]
    pub fn is_frequent(self) -> bool {
        use Happening::{Acknowledged, Appended, EntryApplied, Fetched, HighWatermarkAdvanced};
        matches!(self, Appended | Fetched | Acknowledged | HighWatermarkAdvanced | EntryApplied)
    }
}

/// When a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Trigger {
    /// At an instant of the run.
    At {
        /// Virtual milliseconds since the start of the run.
        at_ms: u64,
    },
    /// At an instant of the run, to the nanosecond: what a shrunk schedule ties a fault to.
    AtNs {
        /// Virtual nanoseconds since the start of the run.
        at_ns: u64,
    },
    /// Some time after something happened.
    After {
        /// What.
        happening: Happening,
        /// Where; anywhere if none.
        partition: Option<TopicPartition>,
        /// The how manieth time, from 1.
        nth: u32,
        /// Counted from this virtual millisecond of the run on, so that it does not matter how often it
        /// happened before.
        from_ms: u64,
        /// How long after it.
        delay_ms: u64,
        /// It strikes without it, so long after it began to be counted; where absent, it waits for ever.
        within_ms: Option<u64>,
    },
}

/// A trigger as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Happening>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nth: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within_ms: Option<u64>,
}

impl TryFrom<Written> for Trigger {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written {
                at_ms,
                at_ns,
                after: None,
                partition: None,
                nth: None,
                from_ms: None,
                delay_ms: None,
                within_ms: None,
            }
                if at_ms.is_some() != at_ns.is_some() =>
            {
                Ok(match at_ns {
                    Some(at_ns) => Trigger::AtNs { at_ns },
                    None => Trigger::At { at_ms: at_ms.unwrap_or_default() },
                })
            }
            Written { at_ms: None, at_ns: None, after: Some(happening), partition, nth, from_ms, delay_ms, within_ms } => {
                let partition = partition.map(|name| {
                    let parsed = parse_partition(&name).filter(|_| happening.has_partition());
                    parsed.ok_or_else(|| format!("'{name}' is no partition that {happening:?} can happen to; write one such as \"t-0\", or leave it out"))
                });
                let nth = nth.unwrap_or(1);
                if nth == 0 {
                    return Err("nth counts from 1".to_owned());
                }
                Ok(Trigger::After {
                    happening,
                    partition: partition.transpose()?,
                    nth,
                    from_ms: from_ms.unwrap_or(0),
                    delay_ms: delay_ms.unwrap_or(0),
                    within_ms,
                })
            }
            _ => Err("a trigger has either at_ms or at_ns alone, or after with partition, nth, from_ms, delay_ms and within_ms"
                .to_owned()),
        }
    }
}

impl From<Trigger> for Written {
    fn from(trigger: Trigger) -> Written {
        match trigger {
            Trigger::At { at_ms } => Written { at_ms: Some(at_ms), ..Written::default() },
            Trigger::AtNs { at_ns } => Written { at_ns: Some(at_ns), ..Written::default() },
            Trigger::After { happening, partition, nth, from_ms, delay_ms, within_ms } => Written {
                at_ms: None,
                at_ns: None,
                after: Some(happening),
                partition: partition.map(|partition| partition.to_string()),
                nth: Some(nth),
                from_ms: (from_ms > 0).then_some(from_ms),
                delay_ms: Some(delay_ms),
                within_ms,
            },
        }
    }
}
