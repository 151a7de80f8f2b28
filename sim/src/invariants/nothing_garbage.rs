//! *nothing_garbage*, on the disks: no byte that fails its checksum is counted as a replica
//! (protocol-aware recovery, FAST'18), and what the disk holds is what the events said.
//!
//! Reads the simulated disks themselves, never what the product says about them. What clients were
//! given is judged by the `phantom_read` checker.
//!
//! False positives avoided: a replica whose disk was damaged since its log was opened holds bytes
//! that it has not looked at yet, and is left out; so is one whose log is not open, and one with
//! bytes that were damaged at rest and that nobody has asked for yet: below the durable point a
//! restart does not read them. They end with the disk.

use std::path::Path;

use wyrdlog::base::event::AppendedBatch;

use super::model::{Model, Partition, Replica, Suffered, is_segment_in};
use super::replica_log::{describe, same};
use crate::disk_log::{DiskView, read_log};
use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// Compares every open, undamaged replica with its disk. `log_directory` is the broker's.
#[must_use]
pub fn verify_against_disk<D: DiskView>(
    model: &Model,
    disk_of: impl Fn(Node) -> D,
    log_directory: &Path,
    time_ns: u64,
) -> Findings {
    let mut findings = Findings::new(Property::NothingGarbage);
    for partition in &model.partitions {
        for (node, replica) in &partition.replicas {
            let suffered = replica.suffered;
            if replica.is_open && suffered == Suffered::default() {
                let compared = Compared { model, partition, node: *node, replica };
                compared.verify(&mut findings, &disk_of(*node), log_directory, time_ns);
            }
        }
    }
    findings
}

struct Compared<'m> {
    model: &'m Model,
    partition: &'m Partition,
    node: Node,
    replica: &'m Replica,
}

impl Compared<'_> {
    fn verify(&self, findings: &mut Findings, disk: &impl DiskView, log_directory: &Path, time_ns: u64) {
        let directory = log_directory.join(self.partition.name.to_string());
        let found = read_log(disk, &directory);
        let is_rotted = self
            .model
            .rotted
            .iter()
            .any(|(node, path)| *node == self.node && is_segment_in(path, &self.partition.name.to_string()));
        if is_rotted {
            return;
        }
        let (node, name, replica) = (self.node, &self.partition.name, self.replica);
        if let Some(bad) = found.bad().next() {
            findings.check(false, time_ns, [], || format!("{node}, {name}: {bad}"));
            return;
        }
        let kept = |batch: &AppendedBatch| batch.last_offset >= replica.log.start;
        let found: Vec<AppendedBatch> = found.batches().filter(|batch| kept(batch)).copied().collect();
        let differs = replica.log.batches.iter().zip(&found).find(|(known, stored)| !same(known, stored));
        let holds = differs.is_none() && found.len() == replica.log.batches.len();
        findings.check(holds, time_ns, [], || match differs {
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
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Cluster, N3};
    use super::*;
    use crate::disk_log::appended;
    use crate::disk_log::examples::{Files, bytes_of};
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use wyrdlog::base::batch_header::verify;

    /// The disk of one node: only N3 has files.
    struct FilesOf<'f>(Node, &'f Files);

    impl DiskView for FilesOf<'_> {
        fn list(&self, directory: &Path) -> Vec<String> {
            if self.0 == N3 { self.1.list(directory) } else { Vec::new() }
        }

        fn read(&self, path: &Path) -> Option<Vec<u8>> {
            self.1.read(path).filter(|_| self.0 == N3)
        }
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
        verify_against_disk(cluster.invariants.model(), |node| FilesOf(node, files), Path::new("logs"), 1)
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
    fn bytes_that_rotted_at_rest_are_left_out_until_the_disk_is_replaced() {
        use crate::observed::FaultNote;
        let (mut cluster, mut files) = two_batches();
        let path = "logs/t-0/00000000000000000001.log";
        files.0.get_mut(Path::new(path)).expect("there")[62] ^= 1;
        cluster.fault(FaultNote::Rotted { node: N3, path: path.to_owned() });
        cluster.restart(N3, 0, 2);
        assert_eq!(judge(&cluster, &files).violated, 0);
        cluster.fault(FaultNote::DiskLost(N3));
        cluster.restart(N3, 0, 2);
        assert_eq!(judge(&cluster, &files).violated, 1);
    }

    #[test]
    fn a_replica_whose_disk_was_damaged_is_left_out() {
        let (mut cluster, mut files) = two_batches();
        cluster.fault(crate::observed::FaultNote::CallsFail(N3));
        files.0.clear();
        assert_eq!(judge(&cluster, &files).violated, 0);
    }
}
