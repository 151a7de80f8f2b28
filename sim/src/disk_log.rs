//! A partition's log as it lies on a simulated disk: read from the disk itself, never from what the
//! product says about it.
//!
//! Segments are found as Kafka lays them out: `<log directory>/<topic>-<partition>/<base offset, 20
//! digits>.log`.

use std::path::{Path, PathBuf};

use wyrdlog::base::batch_header::{BatchHeader, verify};
use wyrdlog::base::event::AppendedBatch;

use crate::engine::{NodeId, View};
use crate::observed::{BadBytes, DiskLog, DiskSegment, Segments};

/// Where brokers keep their logs.
pub const LOG_DIRECTORY: &str = "logs";

/// One node's disk, as the node would see it at this instant.
pub trait DiskView {
    /// The names in a directory, or nothing where it does not exist.
    fn list(&self, directory: &Path) -> Vec<String>;

    /// The whole file, unaltered by any fault that only shows on read.
    fn read(&self, path: &Path) -> Option<Vec<u8>>;

    /// What would be left of the file if the power was cut at this instant, at least.
    fn durable(&self, path: &Path) -> Option<Vec<u8>> {
        self.read(path)
    }
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

    fn durable(&self, path: &Path) -> Option<Vec<u8>> {
        self.view.durable_file(self.id, path.to_str()?)
    }
}

/// The log in a partition's `directory`: each segment up to its first bytes that are no valid batch.
#[must_use]
pub fn read_log(disk: &impl DiskView, directory: &Path) -> DiskLog {
    let segments = segments(disk, directory).into_iter();
    let read = |(base_offset, path): (i64, PathBuf)| {
        let bytes = disk.read(&path)?;
        Some(read_segment(&bytes, base_offset, path.display().to_string()))
    };
    DiskLog { segments: segments.filter_map(read).collect() }
}

fn read_segment(bytes: &[u8], base_offset: i64, path: String) -> DiskSegment {
    let mut batches = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match verify(&bytes[at..]) {
            Ok(header) => {
                at += header.size;
                batches.push(appended(&header));
            }
            Err(why) => {
                let bad = BadBytes { path: path.clone(), position: at as u64, reason: why.to_string() };
                return DiskSegment { path, base_offset, batches, bad: Some(bad) };
            }
        }
    }
    DiskSegment { path, base_offset, batches, bad: None }
}

/// The segment files in a partition's `directory`, in order.
#[must_use]
pub fn segment_sizes(disk: &impl DiskView, directory: &Path) -> Segments {
    let size_of = |(base, path): (i64, PathBuf)| Some((base, disk.read(&path)?.len() as u64));
    segments(disk, directory).into_iter().filter_map(size_of).collect()
}

fn segments(disk: &impl DiskView, directory: &Path) -> Vec<(i64, PathBuf)> {
    let segment = |name: String| {
        let base = name.strip_suffix(".log").filter(|base| base.len() == 20)?;
        let is_number = base.bytes().all(|byte| byte.is_ascii_digit());
        Some((base.parse().ok().filter(|_| is_number)?, directory.join(&name)))
    };
    let mut segments: Vec<(i64, PathBuf)> = disk.list(directory).into_iter().filter_map(segment).collect();
    segments.sort_unstable();
    segments
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

#[cfg(test)]
pub(crate) mod examples {
    //! Files and batches by hand.

    use std::collections::BTreeMap;

    use wyrdlog::base::batch_header::{HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC, assign};
    use wyrdlog::base::checksum::crc32c;
    use wyrdlog::base::ids::LeaderEpoch;

    use super::*;

    /// A disk's files, by path.
    pub(crate) struct Files(pub BTreeMap<PathBuf, Vec<u8>>);

    impl DiskView for Files {
        fn list(&self, directory: &Path) -> Vec<String> {
            let here = self.0.keys().filter(|path| path.parent() == Some(directory));
            here.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
        }

        fn read(&self, path: &Path) -> Option<Vec<u8>> {
            self.0.get(path).cloned()
        }
    }

    /// A batch of one record whose bytes are `payload`.
    pub(crate) fn bytes_of(base_offset: i64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend_from_slice(payload);
        let length = (bytes.len() - LOG_OVERHEAD_BYTES) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = MAGIC;
        bytes[60] = 1;
        let crc = crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        assign(&mut bytes, base_offset, LeaderEpoch(1));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::examples::{Files, bytes_of};
    use super::*;

    #[test]
    fn a_log_is_read_on_behind_a_segment_that_rotted() {
        let mut rotted = [bytes_of(0, b"zero"), bytes_of(1, b"one"), bytes_of(2, b"two")].concat();
        let second = bytes_of(0, b"zero").len();
        rotted[second + 62] ^= 1;
        let file = |base: i64| PathBuf::from(format!("logs/t-0/{base:020}.log"));
        let whole = [bytes_of(3, b"three"), bytes_of(4, b"four")].concat();
        let files = [(file(0), rotted), (file(3), whole), (PathBuf::from("logs/t-0/x.log"), vec![1])];
        let log = read_log(&Files(files.into_iter().collect()), Path::new("logs/t-0"));
        let offsets: Vec<i64> = log.batches().map(|batch| batch.base_offset).collect();
        assert_eq!(offsets, [0, 3, 4]);
        let bad: Vec<(String, u64)> = log.bad().map(|bad| (bad.path.clone(), bad.position)).collect();
        assert_eq!(bad, [(file(0).display().to_string(), second as u64)]);
        assert_eq!(log.segments.iter().map(|segment| segment.read_end()).collect::<Vec<_>>(), [1, 5]);
    }
}
