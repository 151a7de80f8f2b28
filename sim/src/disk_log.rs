//! A partition's log as it lies on a simulated disk: read from the disk itself, never from what the
//! product says about it.
//!
//! Segments are found as Kafka lays them out: `<log directory>/<topic>-<partition>/<base offset, 20
//! digits>.log`.

use std::path::{Path, PathBuf};

use wyrdlog::base::batch_header::{BatchHeader, verify};
use wyrdlog::base::event::AppendedBatch;

use crate::engine::{NodeId, View};
use crate::observed::{BadBytes, DiskLog, Segments};

/// Where brokers keep their logs.
pub const LOG_DIRECTORY: &str = "logs";

/// One node's disk, as the node would see it at this instant.
pub trait DiskView {
    /// The names in a directory, or nothing where it does not exist.
    fn list(&self, directory: &Path) -> Vec<String>;

    /// The whole file, unaltered by any fault that only shows on read.
    fn read(&self, path: &Path) -> Option<Vec<u8>>;
}

/// A node's disk in a running simulation.
#[derive(Clone, Copy, Debug)]
pub struct ViewedDisk {
    /// The world.
    pub view: View,
    /// The node.
    pub id: NodeId,
}

impl DiskView for ViewedDisk {
    fn list(&self, directory: &Path) -> Vec<String> {
        let here = |path: &String| {
            let path = Path::new(path);
            (path.parent() == Some(directory)).then(|| path.file_name()?.to_str().map(str::to_owned)).flatten()
        };
        self.view.files(self.id).iter().filter_map(here).collect()
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.view.visible_file(self.id, path.to_str()?)
    }
}

/// The log in a partition's `directory`, up to the first bytes that are no valid batch.
#[must_use]
pub fn read_log(disk: &impl DiskView, directory: &Path) -> DiskLog {
    let mut log = DiskLog::default();
    for path in segments(disk, directory) {
        let Some(bytes) = disk.read(&path) else { continue };
        let mut at = 0;
        while at < bytes.len() {
            match verify(&bytes[at..]) {
                Ok(header) => {
                    at += header.size;
                    log.batches.push(appended(&header));
                }
                Err(why) => {
                    let path = path.display().to_string();
                    log.bad = Some(BadBytes { path, position: at as u64, reason: why.to_string() });
                    return log;
                }
            }
        }
    }
    log
}

/// The segment files in a partition's `directory`, in order.
#[must_use]
pub fn segment_sizes(disk: &impl DiskView, directory: &Path) -> Segments {
    let size_of = |path: PathBuf| {
        let base = path.file_stem()?.to_str()?.parse().ok()?;
        Some((base, disk.read(&path)?.len() as u64))
    };
    segments(disk, directory).into_iter().filter_map(size_of).collect()
}

fn segments(disk: &impl DiskView, directory: &Path) -> Vec<PathBuf> {
    let is_segment = |name: &String| {
        name.strip_suffix(".log").is_some_and(|base| base.len() == 20 && base.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut names: Vec<String> = disk.list(directory).into_iter().filter(is_segment).collect();
    names.sort_unstable();
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// A batch as events tell of it.
#[must_use]
pub fn appended(header: &BatchHeader) -> AppendedBatch {
    AppendedBatch {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        leader_epoch: header.leader_epoch,
        crc: header.crc,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    }
}
