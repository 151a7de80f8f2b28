//! The coordinator's disk: hard state, log and snapshots.
//!
//! | file                     | holds                                                             |
//! |--------------------------|-------------------------------------------------------------------|
//! | `format`                 | who this directory belongs to; written once, when it is formatted |
//! | `wal-N`                  | the log since some snapshot; the one with the largest N counts    |
//! | `snapshot-INDEX-ZXID`    | the whole state after that entry; the largest index counts        |
//! | `incoming`, `*.tmp`      | not yet whole; removed at the start                               |
//!
//! A whole file gets its name by a rename after its content is durable, and the file that it
//! replaces is removed only after that name is durable. So at any instant, one whole log and, if
//! the log does not begin at the first entry, one snapshot that reaches it, are durable.

mod format;
mod rebuild;
mod record;
mod snapshot_files;
mod task;
#[cfg(test)]
mod tests;
mod wal;

use std::path::{Path, PathBuf};

use bytes::Bytes;

pub use format::{Format, FormatError};
pub use rebuild::rebuild;
pub use record::{BadRecord, LogState};
pub use snapshot_files::SnapshotFiles;
pub use task::{StorageOp, Stored, work};
pub use wal::WalError;

use crate::base::stop_cause::StopCause;
use crate::consensus::{PersistOp, Position};
use crate::runtime::Disk;
use wal::Wal;

/// Why a coordinator's directory cannot be used, or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The write-ahead log.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// Its records.
    #[error("{path}: {bad}; remove this server's data directory and let it catch up from the others")]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        bad: BadRecord,
    },
    /// The marker.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Any other file.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
}

impl StorageError {
    /// What this means for the server that stops because of it.
    #[must_use]
    pub fn stop_cause(&self) -> StopCause {
        match self {
            StorageError::Wal(WalError::Damaged { path, .. }) | StorageError::Record { path, .. } => {
                StopCause::damage_in(path)
            }
            StorageError::Format(FormatError::Unreadable(_)) => StopCause::Damage { path: None },
            StorageError::Wal(WalError::Io { .. })
            | StorageError::Format(FormatError::Io { .. })
            | StorageError::Io { .. } => StopCause::Disk,
            StorageError::Format(_) => StopCause::Other,
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StorageError + '_ {
        move |error| StorageError::Io { path: path.to_owned(), error }
    }
}

/// What a start finds.
pub struct Opened<D: Disk> {
    /// To go on with.
    pub storage: Storage<D>,
    /// The hard state and the log.
    pub log: LogState,
    /// The latest snapshot and its bytes.
    pub snapshot: Option<(Position, Bytes)>,
    /// Bytes of a torn tail that were cut from the log.
    pub torn_bytes: u64,
}

/// The open files. After any error it must be dropped and the server must stop.
pub struct Storage<D: Disk> {
    disk: D,
    wal: Wal<D>,
    wal_number: u64,
    log: LogState,
    snapshots: SnapshotFiles<D>,
    roll_bytes: u64,
}

impl<D: Disk + Clone> Storage<D> {
    /// Opens the directory, or begins an empty log in it. A log that has grown by `roll_bytes` since it was
    /// begun is begun anew at the next compaction.
    pub async fn open(disk: D, roll_bytes: u64) -> Result<Opened<D>, StorageError> {
        let root = Path::new("");
        let entries = disk.list(root).map_err(StorageError::io(root))?;
        for entry in entries.iter().filter(|entry| entry.name.ends_with(".tmp")) {
            let path = Path::new(&entry.name);
            disk.remove_file(path).map_err(StorageError::io(path))?;
        }
        let mut snapshots = SnapshotFiles::new(disk.clone());
        let snapshot = snapshots.open().await?;
        let mut numbers: Vec<u64> = entries.iter().filter_map(|entry| wal_number(&entry.name)).collect();
        numbers.sort_unstable();
        let newest = numbers.last().copied();
        let (log, torn_bytes) = match newest {
            Some(number) => read_wal(&disk, number).await?,
            None => (LogState::default(), 0),
        };
        // A vote or an acknowledgement may follow from what was found: it is written to a log of its
        // own and synced there, whatever the old one's bytes went through.
        let wal_number = newest.unwrap_or(0) + 1;
        let wal = begin_wal(&disk, wal_number, &log).await?;
        for number in numbers {
            let path = wal_path(number);
            disk.remove_file(&path).map_err(StorageError::io(&path))?;
        }
        let storage = Storage { disk, wal, wal_number, log: log.clone(), snapshots, roll_bytes };
        Ok(Opened { storage, log, snapshot, torn_bytes })
    }

    /// Makes `ops` durable with one write and one sync.
    pub async fn persist(&mut self, ops: &[PersistOp]) -> Result<(), StorageError> {
        for op in ops {
            self.log.apply(op).expect("consensus appends entries without gaps");
            record::push_op(&mut self.wal, op);
        }
        self.wal.write()?;
        self.wal.sync().await?;
        Ok(())
    }

    /// Forgets log entries that a durable snapshot covers.
    pub async fn compact(&mut self, through: Position) -> Result<(), StorageError> {
        self.log.compact(through);
        if self.wal.written_bytes() < self.roll_bytes {
            return Ok(());
        }
        let old = wal_path(self.wal_number);
        self.wal = begin_wal(&self.disk, self.wal_number + 1, &self.log).await?;
        self.wal_number += 1;
        self.disk.remove_file(&old).map_err(StorageError::io(&old))
    }

    /// The snapshots.
    pub fn snapshots(&mut self) -> &mut SnapshotFiles<D> {
        &mut self.snapshots
    }
}

fn wal_path(number: u64) -> PathBuf {
    PathBuf::from(format!("wal-{number}"))
}

fn wal_number(name: &str) -> Option<u64> {
    name.strip_prefix("wal-")?.parse().ok()
}

async fn read_wal<D: Disk>(disk: &D, number: u64) -> Result<(LogState, u64), StorageError> {
    let path = wal_path(number);
    let recovered = wal::read(disk, &path).await?;
    let log = LogState::replay(&recovered.records).map_err(|bad| StorageError::Record { path, bad })?;
    Ok((log, recovered.torn_bytes))
}

/// Writes a whole new log and gives it its name.
async fn begin_wal<D: Disk>(disk: &D, number: u64, log: &LogState) -> Result<Wal<D>, StorageError> {
    let (path, root) = (wal_path(number), Path::new(""));
    let temporary = PathBuf::from(format!("wal-{number}.tmp"));
    let mut wal = Wal::create(disk, &temporary)?;
    record::push_state(&mut wal, log);
    wal.write()?;
    wal.sync().await?;
    disk.rename(&temporary, &path).map_err(StorageError::io(&path))?;
    disk.sync_directory(root).await.map_err(StorageError::io(root))?;
    Ok(wal)
}
