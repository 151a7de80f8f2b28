//! How one partition's log is kept. Names follow Kafka's topic configuration.

use crate::base::partition_state::Durability;
use crate::base::plants::Plants;

/// How far the durable point of a page-cache log may lag before a sync is due, in bytes: it bounds
/// how much a restart has to read (0.1 s at several GB/s).
pub const DURABLE_POINT_BYTES: u64 = 256 * 1024 * 1024;

/// In the synced class it never lags: each sync makes it durable too, before anything counts as
/// synced. Were there acknowledged records above it, rot in them could not be told from a torn tail,
/// and after a power cut this replica would lead without them (`standard` seed 1051).
const SYNCED_DURABLE_POINT_BYTES: u64 = 1;

/// The largest segment: positions are 31 bits wide in Kafka's index.
pub const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// When a segment is full (`segment.bytes`); at most [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// How many bytes of records one index entry stands for (`index.interval.bytes`).
    pub index_interval_bytes: u64,
    /// How much of the log is kept, or all of it (`retention.bytes`).
    pub retention_bytes: Option<u64>,
    /// What counts: what the operating system has, or what was synced (`flush.messages`).
    pub durability: Durability,
    /// From so many synced bytes beyond the persisted durable point on, a sync persists it anew.
    /// Above that point damage cannot be told from a torn tail.
    pub durable_point_bytes: u64,
    /// How much of the tail is kept in memory.
    pub tail_bytes: usize,
    /// Planted bugs; empty on a real runtime.
    pub plants: Plants,
}

impl LogConfig {
    /// Kafka's defaults, for a class of durability.
    #[must_use]
    pub fn new(durability: Durability) -> Self {
        LogConfig {
            segment_bytes: 1024 * 1024 * 1024,
            index_interval_bytes: 4096,
            retention_bytes: None,
            durability,
            durable_point_bytes: match durability {
                Durability::PageCache => DURABLE_POINT_BYTES,
                Durability::Synced => SYNCED_DURABLE_POINT_BYTES,
            },
            tail_bytes: 1024 * 1024,
            plants: Plants::NONE,
        }
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes.min(SEGMENT_BYTES_MAX)
    }
}
