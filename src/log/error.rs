//! What can go wrong with a log, each with the place and the remedy.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::batch_header::BadBatch;
use crate::base::ids::{LeaderEpoch, TopicId};
use crate::base::stop_cause::StopCause;
use crate::producer_state::Refused;

/// Why the log did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The disk failed.
    #[error("cannot {operation} {}: {source}; check the disk, then restart the broker", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// An earlier failure made the log unusable (KAFKA-10778): reopen it after a failed write,
    /// restart the process after a failed sync.
    #[error("the log in {} is offline: {reason}", directory.display())]
    Offline {
        /// The log's directory.
        directory: PathBuf,
        /// The failure.
        reason: String,
    },
    /// Recovery found damage below the durable point: not a torn tail, so nothing may be cut.
    #[error(
        "{} is damaged at position {position} (offset {offset}, below the durable point): {reason}; \
         move the directory away and restart, the replica is then fetched from the leader",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// The offset from which on nothing can be trusted.
        offset: i64,
        /// What is wrong.
        reason: String,
    },
    /// A read found bytes that are not what was appended. They are not served.
    #[error(
        "{} is damaged at position {position} (offset {offset}): {reason}; \
         stop the broker, move the directory away and restart, the replica is then fetched from the leader",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        position: u64,
        /// The offset from which on nothing can be trusted.
        offset: i64,
        /// What is wrong.
        reason: String,
    },
    /// OFFSET_OUT_OF_RANGE.
    #[error("offset {requested} is not within the log, {log_start} to {log_end}")]
    OffsetOutOfRange {
        /// What was asked for.
        requested: i64,
        /// The first offset that is kept.
        log_start: i64,
        /// The offset after the last record.
        log_end: i64,
    },
    /// CORRUPT_MESSAGE or INVALID_RECORD: the sender's bytes are not record batches.
    #[error("not appended: {0}")]
    BadBatch(#[from] BadBatch),
    /// RECORD_LIST_TOO_LARGE.
    #[error("not appended: {bytes} bytes do not fit into a segment of {segment_bytes}; raise segment.bytes")]
    TooLarge {
        /// What was to be appended.
        bytes: u64,
        /// The segment's bound.
        segment_bytes: u64,
    },
    /// The producer's state forbids it.
    #[error("not appended: {0}")]
    Refused(#[from] Refused),
    /// The leader sent batches that do not continue this log; truncate and fetch again.
    #[error("not appended: the leader sent offset {found} where {expected} is next")]
    NotContiguous {
        /// This log's end.
        expected: i64,
        /// The batch's base offset.
        found: i64,
    },
    /// A batch of an epoch older than the log's last one.
    #[error("not appended: the batch is of leader epoch {found}, but the log has reached epoch {latest}")]
    StaleLeaderEpoch {
        /// The log's latest.
        latest: LeaderEpoch,
        /// The batch's.
        found: LeaderEpoch,
    },
    /// The directory belongs to another topic of the same name (KIP-516).
    #[error("{} is of topic id {found}, not {expected}; move the directory away and restart", path.display())]
    WrongTopic {
        /// The metadata file.
        path: PathBuf,
        /// The id in it.
        found: TopicId,
        /// The id that was asked for.
        expected: TopicId,
    },
    /// Another sync, truncation or deletion of this log is under way; wait for it.
    #[error("another sync, truncation or deletion of the log is under way")]
    Busy,
    /// The log was truncated while it was read; read again.
    #[error("the log was truncated while it was read; read again")]
    Raced,
}

impl LogError {
    pub(super) fn io(path: &Path, operation: &'static str) -> impl FnOnce(io::Error) -> LogError {
        move |source| LogError::Io { path: path.to_owned(), operation, source: Arc::new(source) }
    }

    /// Whether something that was written before may be gone: after a failed sync it may (fsyncgate),
    /// after a failed write or read it is not.
    #[must_use]
    pub fn may_have_lost_writes(&self) -> bool {
        match self {
            LogError::Io { operation, .. } => *operation == "sync",
            LogError::Offline { .. } | LogError::Corrupt { .. } | LogError::Damaged { .. } => true,
            _ => false,
        }
    }

    /// What this means for the node that stops because of it.
    #[must_use]
    pub fn stop_cause(&self) -> StopCause {
        match self {
            LogError::Corrupt { path, .. } | LogError::Damaged { path, .. } => StopCause::damage_in(path),
            LogError::Io { .. } | LogError::Offline { .. } => StopCause::Disk,
            _ => StopCause::Other,
        }
    }

    /// The offset from which on the log cannot be trusted, where the error says so.
    #[must_use]
    pub fn damaged_from(&self) -> Option<i64> {
        match self {
            LogError::Corrupt { offset, .. } | LogError::Damaged { offset, .. } => Some(*offset),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_may_be_lost_after_a_failed_sync_and_where_damage_was_found_and_not_otherwise() {
        let (path, reason) = (PathBuf::from("a.log"), String::new());
        let io = |operation| LogError::Io {
            path: path.clone(),
            operation,
            source: Arc::new(io::Error::other("the disk is gone")),
        };
        let offset = 7;
        let lost = [
            io("sync"),
            LogError::Offline { directory: path.clone(), reason: reason.clone() },
            LogError::Corrupt { path: path.clone(), position: 1, offset, reason: reason.clone() },
            LogError::Damaged { path: path.clone(), position: 1, offset, reason },
        ];
        assert!(lost.iter().all(LogError::may_have_lost_writes));
        let kept = [
            io("write"),
            io("read"),
            LogError::OffsetOutOfRange { requested: 9, log_start: 0, log_end: 3 },
            LogError::TooLarge { bytes: 9, segment_bytes: 3 },
        ];
        assert!(!kept.iter().any(LogError::may_have_lost_writes));
    }
}
