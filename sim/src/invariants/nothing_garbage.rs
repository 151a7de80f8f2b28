//! *nothing_garbage*, on the disks: no byte that fails its checksum is counted as a replica
//! (protocol-aware recovery, FAST'18), and what the disk holds is what the events said.
//!
//! Reads the simulated disks themselves, never what the product says about them. Segments are
//! found as Kafka lays them out: `<log directory>/<topic>-<partition>/<base offset, 20 digits>.log`.
//! What clients were given is judged by the `phantom_read` checker.
//!
//! False positives avoided: a replica whose disk was damaged since its log was opened holds bytes
//! that it has not looked at yet, and is left out; so is one whose log is not open.

use std::path::{Path, PathBuf};

use wyrdlog::base::batch_header::{BatchHeader, verify};
use wyrdlog::base::event::AppendedBatch;

use super::model::{Model, Partition, Replica};
use super::replica_log::{describe, same};
use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// The simulated disks, as a node would see them at this instant.
pub trait Disks {
    /// The names in a directory, or nothing where it does not exist.
    fn list(&self, node: Node, directory: &Path) -> Vec<String>;

    /// The whole file, unaltered by any fault that only shows on read.
    fn read(&self, node: Node, path: &Path) -> Option<Vec<u8>>;
}

/// Compares every open, undamaged replica with its disk. `log_directory` is the broker's.
#[must_use]
pub fn verify_against_disk(model: &Model, disks: &impl Disks, log_directory: &Path, time_ns: u64) -> Findings {
    let mut findings = Findings::new(Property::NothingGarbage);
    for partition in &model.partitions {
        for (node, replica) in &partition.replicas {
            let suffered = replica.suffered;
            if replica.is_open && !suffered.damaged && !suffered.disk_lost && !suffered.power_lost {
                verify_replica(&mut findings, disks, log_directory, time_ns, (partition, *node, replica));
            }
        }
    }
    findings
}

fn verify_replica(
    findings: &mut Findings,
    disks: &impl Disks,
    log_directory: &Path,
    time_ns: u64,
    (partition, node, replica): (&Partition, Node, &Replica),
) {
    let directory = log_directory.join(partition.name.to_string());
    let name = &partition.name;
    let found = match batches_on_disk(disks, node, &directory) {
        Ok(found) => found,
        Err(why) => {
            findings.check(false, time_ns, [], || format!("{node}, {name}: {why}"));
            return;
        }
    };
    let found: Vec<AppendedBatch> = found.into_iter().filter(|batch| batch.last_offset >= replica.log.start).collect();
    let differs = replica.log.batches.iter().zip(&found).find(|(known, stored)| !same(known, stored));
    findings.check(differs.is_none() && found.len() == replica.log.batches.len(), time_ns, [], || match differs {
        Some((known, stored)) => {
            format!("{node} appended to {name} {}, but its disk holds {}", describe(known), describe(stored))
        }
        None => format!(
            "{node} has {} batches of {name} by its events, but {} on its disk",
            replica.log.batches.len(),
            found.len()
        ),
    });
}

fn batches_on_disk(disks: &impl Disks, node: Node, directory: &Path) -> Result<Vec<AppendedBatch>, String> {
    let mut batches = Vec::new();
    for path in segments(disks, node, directory) {
        let bytes = disks.read(node, &path).ok_or_else(|| format!("{} cannot be read", path.display()))?;
        let mut at = 0;
        while at < bytes.len() {
            let header = verify(&bytes[at..]).map_err(|why| format!("{} at byte {at}: {why}", path.display()))?;
            at += header.size;
            batches.push(appended(&header));
        }
    }
    Ok(batches)
}

fn segments(disks: &impl Disks, node: Node, directory: &Path) -> Vec<PathBuf> {
    let is_segment = |name: &String| {
        name.strip_suffix(".log").is_some_and(|base| base.len() == 20 && base.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut names: Vec<String> = disks.list(node, directory).into_iter().filter(is_segment).collect();
    names.sort_unstable();
    names.into_iter().map(|name| directory.join(name)).collect()
}

fn appended(header: &BatchHeader) -> AppendedBatch {
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
mod tests {
    use super::super::examples::{Cluster, N3};
    use super::*;
    use std::collections::BTreeMap;
    use wyrdlog::base::batch_header::{HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC, assign};
    use wyrdlog::base::checksum::crc32c;
    use wyrdlog::base::ids::LeaderEpoch;

    struct Files(BTreeMap<PathBuf, Vec<u8>>);

    impl Disks for Files {
        fn list(&self, node: Node, directory: &Path) -> Vec<String> {
            let here = self.0.keys().filter(|path| node == N3 && path.parent() == Some(directory));
            here.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
        }

        fn read(&self, node: Node, path: &Path) -> Option<Vec<u8>> {
            self.0.get(path).filter(|_| node == N3).cloned()
        }
    }

    fn bytes_of(base_offset: i64, payload: &[u8]) -> Vec<u8> {
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

    fn two_batches() -> (Cluster, Files) {
        let mut cluster = Cluster::page_cache();
        let mut files = BTreeMap::new();
        for (base, payload) in [(0, b"one".as_slice()), (1, b"two".as_slice())] {
            let bytes = bytes_of(base, payload);
            cluster.append(N3, appended(&verify(&bytes).expect("a batch")));
            files.insert(PathBuf::from(format!("logs/t-0/{base:020}.log")), bytes);
        }
        files.insert(PathBuf::from("logs/t-0/00000000000000000000.index"), vec![1]);
        (cluster, Files(files))
    }

    fn judge(cluster: &Cluster, files: &Files) -> Findings {
        verify_against_disk(cluster.invariants.model(), files, Path::new("logs"), 1)
    }

    #[test]
    fn a_disk_that_holds_what_was_appended_is_accepted() {
        let (cluster, files) = two_batches();
        assert!(judge(&cluster, &files).passed());
    }

    #[test]
    fn damaged_missing_and_foreign_bytes_are_rejected() {
        let (cluster, mut files) = two_batches();
        let second = PathBuf::from("logs/t-0/00000000000000000001.log");
        files.0.insert(second.clone(), bytes_of(1, b"TWO"));
        assert_eq!(judge(&cluster, &files).violated, 1);
        files.0.get_mut(&second).expect("there")[62] ^= 1;
        assert!(judge(&cluster, &files).violations[0].evidence.contains("checksum"));
        files.0.remove(&second);
        assert_eq!(judge(&cluster, &files).violated, 1);
    }

    #[test]
    fn a_replica_whose_disk_was_damaged_is_left_out() {
        let (mut cluster, mut files) = two_batches();
        cluster.fault(crate::observed::FaultNote::DiskDamaged(N3));
        files.0.clear();
        assert_eq!(judge(&cluster, &files).violated, 0);
    }
}
