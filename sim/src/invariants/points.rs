//! *recovered_prefix* of what a broker notes for its next start: a log's durable point, and the high watermarks of
//! all its logs. The next start believes both, so that what they say is held to the files and to the replicas: what
//! is called durable is on the device, and no high watermark is above what was ever exposed.
//!
//! False positives avoided: high watermarks may have been noted before a log was opened that has lost some of its records.
//! A snapshot below the log's start is of no use to anybody, and the next start removes it while the point that names it
//! is still the newest (`swarm` seed 82015).
//!
//! Both files are parsed here anew. A run's end is when they are looked at, of logs that are open, on disks that no
//! fault has struck. Where it is quiet and the class is *synced*, the point is at the log's end.

use std::collections::BTreeMap;
use std::path::Path;

use wyrdlog::base::checksum::crc32c;
use wyrdlog::base::ids::TopicPartition;
use wyrdlog::base::partition_state::Durability;

use super::derived_files::{Placed, number, parse_segment};
use super::model::{Model, Replica, Suffered};
use crate::disk_log::DiskView;
use crate::observed::Node;
use crate::verdict::{Findings, Property};

const DURABLE_POINT: &str = "durable-point";
/// The checkpoint of high watermarks, as Kafka names it.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";

/// A slot of a log's durable point, as `src/log/durable_point.rs` lays it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    sequence: i64,
    log_start: i64,
    /// Everything below it is on the device.
    pub recovery_point: i64,
    /// The newest snapshot of the producers that is, or -1.
    snapshot: i64,
}

impl Point {
    /// The newer of the two slots that are whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Point> {
        let slot = |at: usize| {
            let slot = bytes.get(at..at + 40)?;
            let field = |at: usize| i64::from_be_bytes(std::array::from_fn(|index| slot[at + index]));
            let sum = u32::from_be_bytes(std::array::from_fn(|index| slot[4 + index]));
            let point =
                Point { sequence: field(8), log_start: field(16), recovery_point: field(24), snapshot: field(32) };
            (sum == crc32c(&slot[8..])).then_some(point)
        };
        [0, 512].into_iter().filter_map(slot).max()
    }
}

/// Looks at what brokers note. Where it is quiet, nothing was appended for a while.
#[must_use]
pub fn check<D: DiskView>(
    model: &Model,
    disk_of: impl Fn(Node) -> D,
    log_directory: &Path,
    (time_ns, is_quiet): (u64, bool),
) -> Findings {
    let mut findings = Findings::new(Property::RecoveredPrefix);
    for partition in &model.partitions {
        for (node, replica) in &partition.replicas {
            let is_sound = replica.suffered == Suffered::default() && !model.has_rot_in(*node, &partition.name);
            if !replica.is_open || !is_sound {
                continue;
            }
            let disk = disk_of(*node);
            let noted = Noted { disk: &disk, directory: &log_directory.join(partition.name.to_string()), replica };
            let is_settled = is_quiet && partition.durability == Durability::Synced;
            let wrong = noted.point(is_settled).err();
            let name = &partition.name;
            findings.check(wrong.is_none(), time_ns, [], || format!("{node}, {name}: {}", wrong.unwrap_or_default()));
            let Some(text) = disk.read(&log_directory.join(HIGH_WATERMARKS)) else { continue };
            let says = high_watermarks(&text).map(|noted| noted.get(name).copied());
            let highest = partition.ever_exposed;
            let is_fine = says.is_some_and(|says| says.map_or(!is_quiet, |says| says <= highest));
            findings.check(is_fine, time_ns, [], || {
                format!("{node} notes {says:?} as the high watermark of {name}, which was never above {highest}")
            });
        }
    }
    findings
}

struct Noted<'d, D> {
    disk: &'d D,
    directory: &'d Path,
    replica: &'d Replica,
}

impl<D: DiskView> Noted<'_, D> {
    fn point(&self, is_settled: bool) -> Result<(), String> {
        let bytes = self.disk.read(&self.directory.join(DURABLE_POINT)).unwrap_or_default();
        let point = Point::read(&bytes).ok_or("its durable point cannot be read")?;
        let mut names = self.disk.list(self.directory);
        names.sort_unstable();
        let segments = names.iter().filter_map(|name| Some((name, number(name, ".log")?)));
        for (name, _) in segments.take_while(|(_, base)| *base < point.recovery_point) {
            let path = self.directory.join(name);
            let bytes = self.disk.read(&path).unwrap_or_default();
            let durable = self.disk.durable(&path).unwrap_or_default();
            let below =
                parse_segment(&bytes).into_iter().take_while(|one| one.header.base_offset < point.recovery_point);
            let end = below.last().map_or(0, |Placed { position, header }| position as usize + header.size);
            if durable.get(..end) != bytes.get(..end) {
                return Err(format!("{name} is not on the device up to {}, its durable point", point.recovery_point));
            }
        }
        let snapshots = names.iter().filter_map(|name| number(name, ".snapshot"));
        let newest = snapshots.clone().max().unwrap_or(-1);
        let is_of_use = point.snapshot >= 0 && point.snapshot >= self.replica.log.start;
        if is_of_use && !snapshots.clone().any(|offset| offset == point.snapshot) {
            return Err(format!("its durable point names the snapshot {}, which is not there", point.snapshot));
        }
        let (start, end) = (self.replica.log.start, self.replica.log.end);
        if point.recovery_point > end
            || is_settled && point != (Point { log_start: start, recovery_point: end, snapshot: newest, ..point })
        {
            return Err(format!("its durable point is {point:?}, and it has {start}..{end} and the snapshot {newest}"));
        }
        Ok(())
    }
}

/// What a checkpoint says; none where it cannot be read.
pub fn high_watermarks(text: &[u8]) -> Option<BTreeMap<TopicPartition, i64>> {
    let mut lines = std::str::from_utf8(text).ok()?.lines();
    let (version, count) = (lines.next()?, lines.next()?.parse::<usize>().ok()?);
    let entry = |line: &str| {
        let mut fields = line.split(' ');
        let name = TopicPartition::new(fields.next()?, fields.next()?.parse().ok()?);
        let offset = fields.next()?.parse::<i64>().ok()?;
        fields.next().is_none().then_some((name, offset))
    };
    let noted: BTreeMap<TopicPartition, i64> = lines.map(entry).collect::<Option<_>>()?;
    (version == "0" && noted.len() == count).then_some(noted)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::examples::{Cluster, N3};
    use super::*;
    use crate::disk_log::appended;
    use crate::disk_log::examples::{Files, bytes_of};
    use wyrdlog::base::batch_header::verify;

    fn slot(sequence: i64, log_start: i64, recovery_point: i64, snapshot: i64) -> Vec<u8> {
        let fields: Vec<u8> =
            [sequence, log_start, recovery_point, snapshot].iter().flat_map(|field| field.to_be_bytes()).collect();
        [b"WDP\x01", &crc32c(&fields).to_be_bytes()[..], &fields].concat()
    }

    /// The others have nothing in their logs.
    struct OfN3<'f>(Node, &'f Files, usize);

    impl DiskView for OfN3<'_> {
        fn list(&self, directory: &Path) -> Vec<String> {
            if self.0 == N3 { self.1.list(directory) } else { Vec::new() }
        }

        fn read(&self, path: &Path) -> Option<Vec<u8>> {
            match path.file_name()?.to_str()? {
                _ if self.0 == N3 => self.1.read(path),
                DURABLE_POINT => Some(slot(1, 0, 0, -1)),
                _ => Some(b"0\n1\nt 0 0\n".to_vec()),
            }
        }

        fn durable(&self, path: &Path) -> Option<Vec<u8>> {
            let mut bytes = self.read(path)?;
            bytes.truncate(bytes.len() - self.2);
            Some(bytes)
        }
    }

    /// A replica that has one batch, [0, 1), in a log that begins at 0; `unsynced` bytes of it are not on the device.
    fn wrong(cluster: fn() -> Cluster, point: &[u8], high_watermarks: &str, unsynced: usize, is_quiet: bool) -> u64 {
        let mut cluster = cluster();
        let bytes = bytes_of(0, b"a");
        cluster.append(N3, appended(&verify(&bytes).expect("a batch")));
        let path = |name: &str| PathBuf::from("logs").join(name);
        let files = [
            (path("t-0/00000000000000000000.log"), bytes),
            (path("t-0/durable-point"), point.to_vec()),
            (path("replication-offset-checkpoint"), high_watermarks.as_bytes().to_vec()),
        ];
        let files = Files(BTreeMap::from(files));
        let disk_of = |node| OfN3(node, &files, unsynced);
        check(cluster.invariants.model(), disk_of, Path::new("logs"), (1, is_quiet)).violated
    }

    #[test]
    fn the_newer_slot_that_is_whole_counts() {
        let both = |first: Vec<u8>, second: Vec<u8>| {
            let mut bytes = first;
            bytes.resize(512, 0);
            Point::read(&[bytes, second].concat()).map(|point| point.sequence)
        };
        assert_eq!(both(slot(3, 0, 0, -1), slot(4, 0, 0, -1)), Some(4));
        assert_eq!(both(slot(3, 0, 0, -1), vec![0; 40]), Some(3));
        assert_eq!(both(vec![1; 40], vec![0; 40]), None);
    }

    #[test]
    fn a_point_is_at_the_end_of_a_synced_log_once_it_is_quiet_and_never_above_what_is_on_the_device() {
        let judged =
            |point: &[u8], unsynced, is_quiet| wrong(Cluster::synced, point, "0\n1\nt 0 0\n", unsynced, is_quiet);
        assert_eq!([judged(&slot(1, 0, 1, -1), 0, true), judged(&slot(1, 0, 0, -1), 0, false)], [0; 2]);
        assert_eq!(judged(&slot(1, 0, 1, -1), 1, false), 1, "it is not on the device");
        assert_eq!(judged(&slot(1, 0, 2, -1), 0, false), 1, "the log ends before it");
        assert_eq!(judged(&slot(1, 0, 0, -1), 0, true), 1, "it lags");
        assert_eq!(judged(&slot(1, 0, 1, 1), 0, false), 1, "there is no such snapshot");
        assert_eq!(judged(&[0; 40], 0, false), 1, "it cannot be read");
        assert_eq!(wrong(Cluster::page_cache, &slot(1, 0, 0, -1), "0\n1\nt 0 0\n", 1, true), 0, "nothing is promised");
    }

    #[test]
    fn a_high_watermark_that_nobody_exposed_or_that_is_not_noted_is_rejected() {
        let judged = |text: &str| wrong(Cluster::page_cache, &slot(1, 0, 0, -1), text, 0, true);
        assert_eq!(judged("0\n1\nt 0 0\n"), 0);
        for text in ["0\n1\nt 0 9\n", "0\n0\n", "0\n2\nt 0 0\n", "1\n1\nt 0 0\n", ""] {
            assert_eq!(judged(text), 1, "{text}");
        }
    }
}
