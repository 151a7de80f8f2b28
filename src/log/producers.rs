//! Producer snapshots on disk, and the state rebuilt from one of them and the batches after it.
//!
//! A snapshot is used only if the durable point names it or a later one, which it does once files
//! and names were synced (KAFKA-9892). Others may be of a history that a power cut undid.

use std::path::Path;

use super::durable_point::DurablePoint;
use super::error::LogError;
use super::names::{SNAPSHOT_SUFFIX, offset_file, parse_offset_file};
use super::segment::{read_whole, remove_if_there, write_whole};
use super::{Log, LogConfig};
use crate::base::plants::Plant;
use crate::producer_state::{ProducerStates, decode_snapshot, decode_snapshot_unchecked, encode_snapshot};
use crate::runtime::{Disk, Entry};

/// How many snapshots are kept: the newest, and some to fall back on when the log is truncated.
const SNAPSHOTS_KEPT: usize = 3;

impl<D: Disk + Clone + 'static> Log<D> {
    /// Writes the state at the log end, unless it was written. It counts after the next sync.
    pub(super) fn write_producer_snapshot(&mut self) -> Result<(), LogError> {
        assert_eq!(self.producers.end_offset(), self.log_end);
        if self.snapshots.contains_key(&self.log_end) || self.log_end == self.log_start {
            return Ok(());
        }
        let path = self.directory.join(offset_file(self.log_end, SNAPSHOT_SUFFIX));
        write_whole(&self.disk, &path, &encode_snapshot(&self.producers))?;
        self.snapshots.insert(self.log_end, false);
        self.names.note();
        Ok(())
    }

    /// Removes the oldest snapshots; those that were synced after them serve instead.
    pub(super) fn remove_old_snapshots(&mut self) -> Result<(), LogError> {
        let synced = self.snapshots.values().filter(|synced| **synced).count();
        for _ in SNAPSHOTS_KEPT..synced {
            let Some((oldest, _)) = self.snapshots.pop_first() else { break };
            remove_if_there(&self.disk, &self.directory.join(offset_file(oldest, SNAPSHOT_SUFFIX)))?;
            self.names.note();
        }
        Ok(())
    }

    /// Removes snapshots of records that are gone.
    pub(super) fn remove_snapshots_above(&mut self, log_end: i64) -> Result<(), LogError> {
        for offset in self.snapshots.split_off(&(log_end + 1)).into_keys() {
            remove_if_there(&self.disk, &self.directory.join(offset_file(offset, SNAPSHOT_SUFFIX)))?;
            self.names.note();
        }
        Ok(())
    }
}

/// The snapshots that the durable point vouches for: the one it names, and those before it. A
/// truncation removes the names of later ones before the durable point may pass them again. One at the log start
/// holds producers whose records are all gone, and must outlive these (KIP-360; `swarm` seed 415).
pub(super) fn trusted_snapshots(point: DurablePoint, entries: &[Entry]) -> impl DoubleEndedIterator<Item = i64> {
    let newest = point.snapshot_offset.unwrap_or(-1);
    let offsets = entries.iter().filter_map(|entry| parse_offset_file(&entry.name, SNAPSHOT_SUFFIX));
    offsets.filter(move |offset| *offset >= point.log_start && *offset <= newest)
}

/// The state that recovery starts from: the newest trusted snapshot that is whole, else nothing.
/// Batches from its end offset on are to be applied.
pub(super) async fn load_snapshot<D: Disk>(
    disk: &D,
    directory: &Path,
    config: &LogConfig,
    point: DurablePoint,
    entries: &[Entry],
) -> Result<ProducerStates, LogError> {
    if config.plants.is(Plant::Kafka9892) {
        return load_newest_unchecked(disk, directory, point, entries).await;
    }
    load_newest(disk, directory, point.log_start, trusted_snapshots(point, entries).rev()).await
}

/// The state of the first of `offsets` whose snapshot is whole. A damaged one is not missed: there
/// are older ones, and the log.
pub(super) async fn load_newest<D: Disk>(
    disk: &D,
    directory: &Path,
    log_start: i64,
    offsets: impl Iterator<Item = i64>,
) -> Result<ProducerStates, LogError> {
    for offset in offsets {
        let path = directory.join(offset_file(offset, SNAPSHOT_SUFFIX));
        if let Some(Ok(entries)) = read_whole(disk, &path).await?.map(|bytes| decode_snapshot(&bytes)) {
            return Ok(ProducerStates::from_entries(entries, offset));
        }
    }
    Ok(ProducerStates::new(log_start))
}

/// The planted bug: whatever file is newest, synced or not.
async fn load_newest_unchecked<D: Disk>(
    disk: &D,
    directory: &Path,
    point: DurablePoint,
    entries: &[Entry],
) -> Result<ProducerStates, LogError> {
    let newest = entries.iter().filter_map(|entry| parse_offset_file(&entry.name, SNAPSHOT_SUFFIX)).max();
    let Some(offset) = newest.filter(|offset| *offset > point.log_start) else {
        return Ok(ProducerStates::new(point.log_start));
    };
    let bytes = read_whole(disk, &directory.join(offset_file(offset, SNAPSHOT_SUFFIX))).await?.unwrap_or_default();
    Ok(ProducerStates::from_entries(decode_snapshot_unchecked(&bytes), offset))
}
