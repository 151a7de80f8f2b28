//! *replay_equals_live* of what a log keeps beside its batches: its indexes, where its leader epochs begin, and its
//! producers' state. All of that follows from the batches, and a log that is opened trusts it where it can; so every
//! file says what the batches say, and the shipped readers read it as it stands there.
//!
//! *recovered_prefix*: a segment that is closed is on the device, whatever the log's durability.
//!
//! The files are parsed here anew, from Kafka's formats. A run's end is when they are looked at: those of logs that
//! are open, on disks that no fault has struck since.
//!
//! Not judged: the indexes of the segment that is written to, which are in memory; epochs at and above the durable
//! point, which whoever opens the log takes from the batches (`swarm` seed 458); producers whose batches retention had
//! removed when the log was opened (later it may not forget them: KIP-360). A process that was killed may have left a
//! file that it had begun to write, which counts for nothing.

use std::collections::BTreeMap;
use std::path::Path;

use wyrdlog::base::batch_header::{BatchHeader, verify};
use wyrdlog::base::checksum::crc32c;
use wyrdlog::base::ids::ProducerId;
use wyrdlog::log::LeaderEpochs;
use wyrdlog::producer_state::decode_snapshot;

use super::model::{Model, Replica, Suffered};
use super::points::Point;
use crate::disk_log::DiskView;
use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// An attribute of batches that are no producer's.
const CONTROL: i16 = 0x20;
const SNAPSHOT_HEADER_BYTES: usize = 10;
const SNAPSHOT_ENTRY_BYTES: usize = 46;

/// Looks at the files of every log that is open. `killed` are the machines of processes that were killed;
/// where it is quiet, nothing was appended for a while.
#[must_use]
pub fn verify_derived_files<D: DiskView>(
    model: &Model,
    disk_of: impl Fn(Node) -> D,
    log_directory: &Path,
    killed: &[Node],
    (time_ns, is_quiet): (u64, bool),
) -> [Findings; 2] {
    let [mut findings, mut of_devices] = [Property::ReplayEqualsLive, Property::RecoveredPrefix].map(Findings::new);
    for partition in &model.partitions {
        for (node, replica) in &partition.replicas {
            let is_sound = replica.suffered == Suffered::default() && !model.has_rot_in(*node, &partition.name);
            if !replica.is_open || !is_sound {
                continue;
            }
            let directory = log_directory.join(partition.name.to_string());
            let index_interval_bytes = model.topology.index_interval_bytes;
            let files = Files { disk: &disk_of(*node), directory: &directory, replica, index_interval_bytes };
            let was_killed = killed.contains(node);
            for wrong in files.look(was_killed) {
                let (name, wrong) = (&partition.name, wrong.err());
                findings
                    .check(wrong.is_none(), time_ns, [], || format!("{node}, {name}: {}", wrong.unwrap_or_default()));
            }
            for (path, unsynced) in files.closed().into_iter().filter(|_| is_quiet) {
                of_devices.check(unsynced.is_none(), time_ns, [], || {
                    let (name, from) = (&partition.name, unsynced.unwrap_or_default());
                    format!("{node} has closed {path} of {name} and not synced it from byte {from} on")
                });
            }
        }
    }
    [findings, of_devices]
}

/// What is looked at, and what is wrong with it.
type Look = Result<(), String>;

/// A batch, and where it stands in its file.
pub(super) struct Placed {
    pub position: u64,
    pub header: BatchHeader,
}

struct Segment {
    base: i64,
    batches: Vec<Placed>,
}

struct Files<'d, D> {
    disk: &'d D,
    directory: &'d Path,
    replica: &'d Replica,
    /// So much of a segment at most, and the batches at its ends, is without an entry.
    index_interval_bytes: u64,
}

impl<D: DiskView> Files<'_, D> {
    fn look(&self, was_killed: bool) -> Vec<Look> {
        let mut names = self.disk.list(self.directory);
        names.sort_unstable();
        let segments: Vec<Segment> = names.iter().filter_map(|name| self.segment(name)).collect();
        let mut looks = Vec::new();
        for closed in segments.split_last().map_or(&[][..], |(_, closed)| closed) {
            looks.push(self.offset_index(closed));
            looks.push(self.time_index(closed));
        }
        let batches: Vec<&BatchHeader> =
            segments.iter().flat_map(|segment| segment.batches.iter().map(|placed| &placed.header)).collect();
        if let Some(text) = self.read("leader-epoch-checkpoint") {
            looks.push(self.epochs(&text, &batches));
        }
        for (name, offset) in names.iter().filter_map(|name| Some((name, number(name, ".snapshot")?))) {
            let look = self.snapshot(name, offset, &batches);
            looks.extend((look.is_ok() || !was_killed).then_some(look));
        }
        looks
    }

    /// The segments that are closed, and the first byte of each that is not on the device.
    fn closed(&self) -> Vec<(String, Option<usize>)> {
        let mut names = self.disk.list(self.directory);
        names.retain(|name| number(name, ".log").is_some());
        names.sort_unstable();
        names.pop();
        let unsynced = |name: String| {
            let path = self.directory.join(&name);
            let (durable, visible) = (self.disk.durable(&path), self.disk.read(&path));
            let is_there = |(at, byte): (usize, &u8)| (durable.as_ref()?.get(at) != Some(byte)).then_some(at);
            let first = visible.iter().flatten().enumerate().find_map(is_there);
            let is_whole = durable == visible;
            let len = visible.as_ref().map_or(0, Vec::len);
            (name, (!is_whole).then(|| first.unwrap_or(len)))
        };
        names.into_iter().map(unsynced).collect()
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.disk.read(&self.directory.join(name))
    }

    fn segment(&self, name: &str) -> Option<Segment> {
        let base = number(name, ".log")?;
        Some(Segment { base, batches: parse_segment(&self.read(name)?) })
    }

    fn offset_index(&self, segment: &Segment) -> Look {
        let name = format!("{:020}.index", segment.base);
        let bytes = self.read(&name).ok_or_else(|| format!("{name} is missing"))?;
        let largest = segment.batches.iter().map(|placed| placed.header.size as u64).max().unwrap_or(0);
        let mut last: Option<(u32, u64)> = None;
        for entry in entries(&name, &bytes, 8)? {
            let (relative, position) = (u32_at(entry, 0), u64::from(u32_at(entry, 4)));
            let batch = segment.batches.iter().find(|placed| placed.position == position);
            let fits = batch.is_some_and(|batch| batch.header.last_offset() - segment.base == i64::from(relative));
            let is_next = last.is_none_or(|(before, at)| before < relative && at < position);
            if !fits || !is_next {
                return Err(format!("{name} says that relative offset {relative} is at {position}, where it is not"));
            }
            let gap = position - last.map_or(0, |(_, at)| at);
            if gap > self.index_interval_bytes + 2 * largest {
                return Err(format!("{name} has nothing for {gap} bytes before {position}"));
            }
            last = Some((relative, position));
        }
        let end = segment.batches.last().map_or(0, |placed| placed.position);
        let gap = end - last.map_or(0, |(_, at)| at);
        let is_dense = gap <= self.index_interval_bytes + 2 * largest;
        is_dense.then_some(()).ok_or_else(|| format!("{name} has nothing for the last {gap} bytes"))
    }

    fn time_index(&self, segment: &Segment) -> Look {
        let name = format!("{:020}.timeindex", segment.base);
        let bytes = self.read(&name).ok_or_else(|| format!("{name} is missing"))?;
        let mut last: Option<(i64, u32)> = None;
        for entry in entries(&name, &bytes, 12)? {
            let (timestamp, relative) = (i64_at(entry, 0), u32_at(entry, 8));
            let offset = segment.base + i64::from(relative);
            let up_to = segment.batches.iter().take_while(|placed| placed.header.last_offset() <= offset);
            let (mut largest, mut found) = (i64::MIN, None);
            for placed in up_to {
                largest = largest.max(placed.header.max_timestamp);
                found = Some(placed.header);
            }
            let fits = found.is_some_and(|one| one.last_offset() == offset && one.max_timestamp == timestamp);
            let is_next = last.is_none_or(|(before, at)| before < timestamp && at < relative);
            if !fits || largest != timestamp || !is_next {
                return Err(format!(
                    "{name} says that relative offset {relative} is the first as young as {timestamp}"
                ));
            }
            last = Some((timestamp, relative));
        }
        let youngest = segment.batches.iter().map(|placed| placed.header.max_timestamp).max().filter(|one| *one >= 0);
        let ends = youngest == last.map(|(timestamp, _)| timestamp);
        ends.then_some(())
            .ok_or_else(|| format!("{name} does not end in the segment's largest timestamp, {youngest:?}"))
    }

    fn epochs(&self, text: &[u8], batches: &[&BatchHeader]) -> Look {
        let wrong = |why: &str| format!("leader-epoch-checkpoint {why}: {}", String::from_utf8_lossy(text));
        let known = parse_epochs(text).ok_or_else(|| wrong("is none"))?;
        let shipped = LeaderEpochs::decode(text);
        let read: Option<Vec<_>> =
            shipped.map(|epochs| epochs.entries().iter().map(|(epoch, start)| (epoch.0, *start)).collect());
        if read.as_ref() != Some(&known) {
            return Err(wrong("is not read as it stands there"));
        }
        let durable =
            self.read("durable-point").and_then(|bytes| Point::read(&bytes)).map_or(0, |point| point.recovery_point);
        let known = &known[..known.partition_point(|(_, start)| *start < durable)];
        for batch in batches.iter().filter(|batch| batch.last_offset() >= self.replica.log.start) {
            let offset = batch.base_offset.max(self.replica.log.start);
            let covering = known.partition_point(|(_, start)| *start <= offset);
            let is_last = covering == known.len();
            let says = covering.checked_sub(1).map(|at| known[at].0);
            let lags = is_last && says.is_none_or(|epoch| epoch < batch.leader_epoch.0);
            if says != Some(batch.leader_epoch.0) && !lags {
                let (at, is) = (batch.base_offset, batch.leader_epoch);
                return Err(wrong(&format!("contradicts the batch at {at}, which is of epoch {is}")));
            }
        }
        Ok(())
    }

    fn snapshot(&self, name: &str, offset: i64, batches: &[&BatchHeader]) -> Look {
        let bytes = self.read(name).ok_or_else(|| format!("{name} is missing"))?;
        let known = parse_snapshot(&bytes).ok_or_else(|| format!("{name} is no snapshot"))?;
        let log_end = batches.last().map_or(self.replica.log.start, |batch| batch.last_offset() + 1);
        if offset > log_end {
            return Err(format!("{name} is of what the log does not have, which ends at {log_end}"));
        }
        let shipped = decode_snapshot(&bytes).map_err(|error| format!("{name} is not read: {error}"))?;
        let read = shipped.iter().map(|(id, entry)| {
            let last = entry.last_batch().map(|last| (last.last_sequence, last.last_offset, last.offset_delta));
            (*id, Producer { epoch: entry.epoch.0, last, timestamp_ms: entry.last_timestamp_ms })
        });
        if read.collect::<BTreeMap<_, _>>() != known {
            return Err(format!("{name} is not read as it stands there"));
        }
        let below = |batch: &&&BatchHeader| batch.base_offset < offset && batch.last_offset() >= self.replica.log.start;
        let of_producers = batches.iter().filter(below).filter(|batch| batch.producer_id.0 >= 0);
        let mut wanted = BTreeMap::new();
        for batch in of_producers.filter(|batch| batch.attributes & CONTROL == 0) {
            let delta = batch.last_offset_delta;
            let last_sequence = ((i64::from(batch.base_sequence) + i64::from(delta)) % (1 << 31)) as i32;
            let last = Some((last_sequence, batch.last_offset(), delta));
            let timestamp_ms = batch.max_timestamp;
            wanted.insert(batch.producer_id, Producer { epoch: batch.producer_epoch.0, last, timestamp_ms });
        }
        for (id, wants) in &wanted {
            if known.get(id) != Some(wants) {
                return Err(format!(
                    "{name} has {:?} of producer {}, whose last batch is {wants:?}",
                    known.get(id),
                    id.0
                ));
            }
        }
        let gone =
            self.replica.producers.iter().filter(|(_, tail)| tail.base_offset < offset.min(self.replica.log.start));
        for (id, tail) in gone.filter(|(id, _)| !wanted.contains_key(id)) {
            let has =
                |one: &Producer| one.epoch == tail.epoch.0 && one.last.is_some_and(|last| last.0 == tail.last_sequence);
            if !known.get(id).is_some_and(has) {
                let told = known.get(id);
                return Err(format!("{name} has {told:?} of producer {}, whose last batch, {tail:?}, is gone", id.0));
            }
        }
        let is_gone = |one: &Producer| one.last.is_none_or(|(_, last_offset, _)| last_offset < self.replica.log.start);
        match known.iter().find(|(id, one)| !wanted.contains_key(id) && !is_gone(one)) {
            Some((id, one)) => Err(format!("{name} has {one:?} of producer {}, which wrote no such batch", id.0)),
            None => Ok(()),
        }
    }
}

/// What a snapshot says of a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// The last batch: its last sequence, its last offset, and that less its first one.
    last: Option<(i32, i64, i32)>,
    /// The largest timestamp of that batch.
    timestamp_ms: i64,
}

/// A segment up to its first bytes that are no batch.
pub(super) fn parse_segment(bytes: &[u8]) -> Vec<Placed> {
    let (mut at, mut batches) = (0, Vec::new());
    while let Some(Ok(header)) = bytes.get(at..).filter(|rest| !rest.is_empty()).map(verify) {
        batches.push(Placed { position: at as u64, header });
        at += header.size;
    }
    batches
}

/// The number that a file is named after.
pub(super) fn number(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix).filter(|digits| digits.len() == 20)?;
    digits.parse().ok()
}

fn entries<'b>(name: &str, bytes: &'b [u8], entry_bytes: usize) -> Result<std::slice::ChunksExact<'b, u8>, String> {
    let is_whole = bytes.len().is_multiple_of(entry_bytes);
    is_whole.then(|| bytes.chunks_exact(entry_bytes)).ok_or_else(|| format!("{name} has {} bytes", bytes.len()))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn parse_epochs(text: &[u8]) -> Option<Vec<(i32, i64)>> {
    let mut lines = std::str::from_utf8(text).ok()?.lines();
    let (version, count) = (lines.next()?, lines.next()?.parse::<usize>().ok()?);
    let entry = |line: &str| {
        let (epoch, start) = line.split_once(' ')?;
        Some((epoch.parse().ok()?, start.parse().ok()?))
    };
    let entries: Vec<(i32, i64)> = lines.map(entry).collect::<Option<_>>()?;
    let ascends = entries.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
    (version == "0" && entries.len() == count && ascends).then_some(entries)
}

fn parse_snapshot(bytes: &[u8]) -> Option<BTreeMap<ProducerId, Producer>> {
    let head = bytes.get(..SNAPSHOT_HEADER_BYTES)?;
    let entries = bytes[SNAPSHOT_HEADER_BYTES..].chunks_exact(SNAPSHOT_ENTRY_BYTES);
    let is_whole = entries.remainder().is_empty() && u32_at(head, 6) as usize == entries.len();
    if head[..2] != [0, 1] || u32_at(head, 2) != crc32c(&bytes[6..]) || !is_whole {
        return None;
    }
    let producer = |entry: &[u8]| {
        let last_offset = i64_at(entry, 14);
        let last = (u32_at(entry, 10) as i32, last_offset, u32_at(entry, 22) as i32);
        let epoch = i16::from_be_bytes([entry[8], entry[9]]);
        let timestamp_ms = i64_at(entry, 26);
        (ProducerId(i64_at(entry, 0)), Producer { epoch, last: (last_offset >= 0).then_some(last), timestamp_ms })
    };
    Some(entries.map(producer).collect())
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Cluster, N3};
    use super::*;
    use crate::disk_log::appended;
    use crate::disk_log::examples::Files as Named;
    use bytes::BytesMut;
    use std::path::PathBuf;
    use wyrdlog::base::batch_header::assign;
    use wyrdlog::base::ids::{LeaderEpoch, ProducerEpoch};
    use wyrdlog::log::index::{BatchPlace, SegmentIndex};
    use wyrdlog::producer_state::{ProducerStates, encode_snapshot};
    use wyrdlog::wire::kafka::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};

    /// Producer 7's batch number `number`, of two records.
    fn batch(number: i64, timestamp_ms: i64) -> Vec<u8> {
        let mut builder = RecordBatchBuilder::new();
        for _ in 0..2 {
            builder.push(NewRecord { timestamp_ms, ..NewRecord::default() });
        }
        let stamp = ProducerStamp { id: ProducerId(7), epoch: ProducerEpoch(1), base_sequence: 2 * number as i32 };
        let mut bytes = BytesMut::from(&builder.build(stamp).expect("it has records")[..]);
        assign(&mut bytes, 2 * number, LeaderEpoch(if number < 3 { 4 } else { 5 }));
        bytes.to_vec()
    }

    /// Four batches in two segments, as a broker leaves them; the files that `edit` has changed are judged.
    fn wrong(edit: impl FnOnce(&mut BTreeMap<PathBuf, Vec<u8>>), was_killed: bool) -> u64 {
        judged(edit, was_killed, "nothing", true)[0]
    }

    fn judged(
        edit: impl FnOnce(&mut BTreeMap<PathBuf, Vec<u8>>),
        was_killed: bool,
        unsynced: &'static str,
        is_quiet: bool,
    ) -> [u64; 2] {
        let (mut cluster, mut files) = (Cluster::page_cache(), BTreeMap::new());
        let mut states = ProducerStates::new(0);
        let mut index = SegmentIndex::default();
        let path = |name: &str| PathBuf::from("logs/t-0").join(name);
        for (number, timestamp_ms) in [(0, 30), (1, 10), (2, 50), (3, 20)] {
            let bytes = batch(number, timestamp_ms);
            let header = verify(&bytes).expect("a batch");
            cluster.append(N3, appended(&header));
            let base = if number < 3 { 0 } else { 6 };
            let segment: &mut Vec<u8> = files.entry(path(&format!("{base:020}.log"))).or_default();
            if number < 3 {
                let (position, size) = (segment.len() as u32, bytes.len() as u32);
                let last_relative_offset = header.last_offset() as u32;
                let place = BatchPlace { last_relative_offset, position, size, max_timestamp_ms: timestamp_ms };
                index.note(place, 0);
                states.apply(&header, None);
            }
            segment.extend(bytes);
        }
        index.note_largest_timestamp();
        files.insert(path("00000000000000000000.index"), index.encode_offsets().to_vec());
        files.insert(path("00000000000000000000.timeindex"), index.encode_times().to_vec());
        files.insert(path("00000000000000000006.snapshot"), encode_snapshot(&states).to_vec());
        files.insert(path("leader-epoch-checkpoint"), b"0\n2\n4 0\n5 6\n".to_vec());
        edit(&mut files);
        let files = Named(files);
        let disk_of = |node| FilesOf(node, &files, unsynced);
        let killed = if was_killed { vec![N3] } else { Vec::new() };
        let model = cluster.invariants.model();
        verify_derived_files(model, disk_of, Path::new("logs"), &killed, (1, is_quiet)).map(|one| one.violated)
    }

    /// Only N3 has files, and one of them is not on its device.
    struct FilesOf<'f>(Node, &'f Named, &'static str);

    impl DiskView for FilesOf<'_> {
        fn list(&self, directory: &Path) -> Vec<String> {
            if self.0 == N3 { self.1.list(directory) } else { Vec::new() }
        }

        fn read(&self, path: &Path) -> Option<Vec<u8>> {
            self.1.read(path).filter(|_| self.0 == N3)
        }

        fn durable(&self, path: &Path) -> Option<Vec<u8>> {
            self.read(path).filter(|_| !path.ends_with(self.2))
        }
    }

    fn with(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let path = PathBuf::from("logs/t-0").join(name);
        wrong(|files| change(files.get_mut(&path).expect("it is there")), false)
    }

    #[test]
    fn what_a_broker_leaves_is_accepted() {
        assert_eq!(wrong(|_| (), false), 0);
    }

    #[test]
    fn a_closed_segment_that_is_not_on_the_device_is_rejected_once_it_is_quiet() {
        let (closed, open) = ("00000000000000000000.log", "00000000000000000006.log");
        assert_eq!(judged(|_| (), false, closed, true), [0, 1]);
        assert_eq!([judged(|_| (), false, closed, false), judged(|_| (), false, open, true)], [[0; 2]; 2]);
    }

    #[test]
    fn an_index_that_points_elsewhere_or_ends_early_or_is_missing_is_rejected() {
        let names = ["00000000000000000000.index", "00000000000000000000.timeindex"];
        for name in names {
            assert_eq!(with(name, |bytes| bytes[3] ^= 1), 1, "{name}");
            assert_eq!(with(name, |bytes| bytes.truncate(bytes.len() - 1)), 1, "{name}");
            assert_eq!(wrong(|files| drop(files.remove(&PathBuf::from("logs/t-0").join(name))), false), 1, "{name}");
        }
        assert_eq!(with(names[1], |bytes| bytes.truncate(bytes.len() - 12)), 1, "the largest timestamp is missing");
        assert_eq!(with(names[1], |bytes| bytes[7] = 20), 1, "no batch has it");
    }

    #[test]
    fn epochs_that_contradict_the_batches_are_rejected() {
        let epochs = |text: &str, durable: i64| {
            let mut slot = vec![0; 40];
            slot[24..32].copy_from_slice(&durable.to_be_bytes());
            let crc = crc32c(&slot[8..]);
            slot[4..8].copy_from_slice(&crc.to_be_bytes());
            let path = |name: &str| PathBuf::from("logs/t-0").join(name);
            wrong(
                |files| {
                    files.insert(path("leader-epoch-checkpoint"), text.as_bytes().to_vec());
                    files.insert(path("durable-point"), slot);
                },
                false,
            )
        };
        assert_eq!([epochs("0\n2\n4 0\n5 6\n", 8), epochs("0\n1\n4 0\n", 8), epochs("0\n0\n", 0)], [0; 3]);
        let bad = ["0\n2\n3 0\n5 6\n", "0\n2\n4 0\n5 4\n", "0\n2\n4 0\n6 6\n", "0\n2\n4 0\n", "1\n1\n4 0\n", ""];
        for text in bad {
            assert_eq!(epochs(text, 8), 1, "{text}");
        }
        assert_eq!(epochs("0\n2\n4 0\n7 6\n", 6), 0, "what lies at the durable point is not trusted");
    }

    #[test]
    fn a_snapshot_that_tells_another_story_of_a_producer_is_rejected_unless_it_was_cut_short_by_a_kill() {
        let name = "00000000000000000006.snapshot";
        let sealed = |change: fn(&mut Vec<u8>)| {
            with(name, |bytes| {
                change(bytes);
                let crc = crc32c(&bytes[6..]);
                bytes[2..6].copy_from_slice(&crc.to_be_bytes());
            })
        };
        assert_eq!(sealed(|_| ()), 0);
        assert_eq!(sealed(|bytes| bytes[17] ^= 1), 1, "another producer");
        assert_eq!(sealed(|bytes| bytes[23] ^= 1), 1, "another sequence");
        assert_eq!(sealed(|bytes| bytes[31] ^= 1), 1, "another offset");
        assert_eq!(with(name, |bytes| bytes[31] ^= 1), 1, "its checksum is wrong");
        let path = PathBuf::from("logs/t-0").join(name);
        assert_eq!(wrong(|files| files.get_mut(&path).expect("it is there").truncate(9), true), 0);
        let later = PathBuf::from("logs/t-0/00000000000000000009.snapshot");
        let moved = |files: &mut BTreeMap<PathBuf, Vec<u8>>| {
            let bytes = files.remove(&path).expect("it is there");
            files.insert(later, bytes);
        };
        assert_eq!(wrong(moved, false), 1, "the log ends at 8");
    }
}
