//! A log against a naive model, through random appends, syncs, truncations, deletions, crashes and
//! power cuts. What must hold:
//!
//! - the synced prefix always survives, byte for byte;
//! - a crash of the process alone loses nothing that was appended;
//! - whatever is found was appended by somebody, in this order, or is a tail that a truncation
//!   removed and did not yet sync;
//! - recovery finds the same again, and the producers' state is that of the batches.

use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;

use super::batches::{end_marker, trusted};
use super::test_batches::Recipe;
use super::test_disk::{Draws, TestDisk, now};
use super::*;
use crate::base::batch_header::BatchHeader;
use crate::base::ids::{ProducerId, TopicPartition};
use crate::producer_state::Origin;

#[derive(Clone, Debug)]
enum Step {
    Append {
        records: u32,
        value_bytes: usize,
        producer: Option<i64>,
    },
    NextEpoch,
    Sync,
    /// Begun before the steps that follow and completed at the next sync point.
    BeginSync,
    Truncate(u16),
    Restart(u8),
    AdvanceStart(u16),
    Read(u16),
    Crash,
    PowerCut(u64),
    CleanShutdown,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1..4u32, 1..200usize, proptest::option::of(0..3i64))
            .prop_map(|(records, value_bytes, producer)| Step::Append { records, value_bytes, producer }),
        1 => Just(Step::NextEpoch),
        3 => Just(Step::Sync),
        2 => Just(Step::BeginSync),
        2 => any::<u16>().prop_map(Step::Truncate),
        1 => any::<u8>().prop_map(Step::Restart),
        1 => any::<u16>().prop_map(Step::AdvanceStart),
        2 => any::<u16>().prop_map(Step::Read),
        1 => Just(Step::Crash),
        3 => any::<u64>().prop_map(Step::PowerCut),
        1 => Just(Step::CleanShutdown),
    ]
}

/// The model: the batches that are there, in order, and how much of that is promised.
#[derive(Debug)]
struct World {
    disk: TestDisk,
    log: Log<TestDisk>,
    batches: Vec<(BatchHeader, Bytes)>,
    log_start: i64,
    synced_end: i64,
    epoch: i32,
    sequences: [i32; 3],
    appended: u8,
    /// Records were removed from the end since the last sync.
    is_cut: bool,
    /// What was there at each removal since the last sync: a power cut may bring one of them back.
    earlier: Vec<Vec<(BatchHeader, Bytes)>>,
    config: LogConfig,
}

fn open(disk: &TestDisk, config: &LogConfig) -> (Log<TestDisk>, Opened) {
    let opened = now(Log::open(disk.clone(), Path::new("logs"), &TopicPartition::new("t", 0), None, config.clone()));
    opened.expect("nothing rots here, so nothing is damaged")
}

impl World {
    fn new(tail_bytes: usize, durable_point_bytes: u64) -> World {
        let config = LogConfig {
            segment_bytes: 1_500,
            index_interval_bytes: 200,
            tail_bytes,
            durable_point_bytes,
            ..LogConfig::new(Durability::Synced)
        };
        let disk = TestDisk::default();
        let log = open(&disk, &config).0;
        World {
            disk,
            log,
            batches: Vec::new(),
            log_start: 0,
            synced_end: 0,
            epoch: 0,
            sequences: [0; 3],
            appended: 0,
            is_cut: false,
            earlier: Vec::new(),
            config,
        }
    }

    fn log_end(&self) -> i64 {
        self.batches.last().map_or(self.log_start, |(header, _)| header.next_offset())
    }

    fn append(&mut self, records: u32, value_bytes: usize, producer: Option<i64>) {
        if self.is_cut {
            self.sync();
        }
        self.appended = self.appended.wrapping_add(1);
        let identity = producer.map(|id| {
            let next = self.log.producers().get(ProducerId(id)).and_then(|entry| entry.last_batch());
            // A producer that the log does not know begins at 0, unless its records were removed.
            let first = if self.log.log_start() == 0 { 0 } else { self.sequences[id as usize] };
            let sequence = next.map_or(first, |last| last.last_sequence + 1);
            self.sequences[id as usize] = sequence;
            (id, 0, sequence)
        });
        let recipe = Recipe {
            records,
            value_bytes,
            base_timestamp: i64::from(self.appended),
            fill: self.appended,
            producer: identity,
            attributes: 0,
        };
        let appended = self.log.append_as_leader(recipe.make(), LeaderEpoch(self.epoch), Origin::Client);
        let Appended::New(info) = appended.expect("it is in sequence") else { panic!("it is new") };
        assert_eq!(info.base_offset, self.log_end());
        self.take(&info.bytes);
        assert_eq!(info.log_end, self.log_end());
    }

    fn take(&mut self, bytes: &Bytes) {
        for (at, header) in trusted(bytes) {
            self.batches.push((header, bytes.slice(at..at + header.size)));
        }
    }

    fn sync(&mut self) {
        let outcome = now(self.log.begin_sync().unwrap());
        assert_eq!(self.log.complete(outcome).unwrap(), Completed::Synced { synced_end: self.log_end() });
        self.synced_end = self.log_end();
        self.is_cut = false;
        self.earlier.clear();
    }

    fn cut(&mut self) {
        self.is_cut = true;
        self.earlier.push(self.batches.clone());
    }

    fn sync_while_appending(&mut self) {
        if self.is_cut {
            self.sync();
        }
        let pending = self.log.begin_sync().unwrap();
        let end = self.log_end();
        self.append(2, 300, Some(0));
        self.append(1, 900, None);
        let outcome = now(pending);
        self.append(1, 500, None);
        assert_eq!(self.log.complete(outcome).unwrap(), Completed::Synced { synced_end: end });
        self.synced_end = end;
    }

    fn pick(&self, draw: u16) -> i64 {
        self.log_start + i64::from(draw) % (self.log_end() - self.log_start + 1)
    }

    fn truncate(&mut self, offset: i64) {
        self.cut();
        let outcome = now(self.log.begin_truncate(offset).unwrap());
        self.log.complete(outcome).unwrap();
        self.batches.retain(|(header, _)| header.next_offset() <= offset && offset > self.log_start);
        self.synced_end = self.synced_end.min(self.log_end());
        // Whoever truncates has learned of a newer epoch.
        self.epoch += 1;
    }

    fn restart_at(&mut self, offset: i64) {
        self.cut();
        let outcome = now(self.log.begin_restart_at(offset).unwrap());
        self.log.complete(outcome).unwrap();
        self.batches.clear();
        (self.log_start, self.synced_end) = (offset, offset);
        self.epoch += 1;
    }

    fn advance_start(&mut self, offset: i64) {
        let outcome = now(self.log.begin_advance_start(offset, self.synced_end).unwrap());
        self.log.complete(outcome).unwrap();
        self.log_start = offset;
        self.batches.retain(|(header, _)| header.next_offset() > offset);
    }

    fn crash(&mut self) {
        self.log = open(&self.disk, &self.config).0;
        self.check();
    }

    fn power_cut(&mut self, seed: u64) {
        self.disk = self.disk.power_cut(&mut Draws(seed));
        let (log, opened) = open(&self.disk, &self.config);
        assert!(opened.log_end >= self.synced_end, "{opened:?} but {} was synced", self.synced_end);
        self.log = log;
        let found = self.read(self.log.log_start());
        let promised = self.batches.iter().filter(|(header, _)| {
            header.next_offset() <= self.synced_end && header.next_offset() > self.log.log_start()
        });
        for ((_, expected), (_, found)) in promised.zip(&found) {
            assert_eq!(expected, found, "the synced prefix survives");
        }
        let log_start = self.log.log_start();
        let is_prefix = |whole: &Vec<(BatchHeader, Bytes)>| {
            let kept: Vec<_> = whole.iter().filter(|(header, _)| header.next_offset() > log_start).collect();
            kept.len() >= found.len() && kept.iter().zip(&found).all(|(kept, found)| *kept == found)
        };
        let was = self.earlier.iter().chain([&self.batches]).any(is_prefix);
        assert!(was, "what is found is the beginning of what the log once was");
        self.is_cut = false;
        self.earlier.clear();
        self.batches = found;
        self.log_start = self.log.log_start();
        self.synced_end = self.log.synced_end();
        assert_eq!(self.log_end(), self.log.log_end());
        self.epoch = self.epoch.max(self.log.latest_epoch().map_or(0, |epoch| epoch.0)) + 1;
        let again = open(&self.disk, &self.config);
        assert_eq!((again.1.log_end, again.1.torn_bytes), (self.log.log_end(), 0), "recovery is idempotent");
        assert_eq!(again.0.epochs(), self.log.epochs());
        self.log = again.0;
        self.check();
    }

    fn read(&self, from: i64) -> Vec<(BatchHeader, Bytes)> {
        let mut found = Vec::new();
        let mut from = from;
        while from < self.log.log_end() {
            let read = now(self.log.read(from, 700, self.log.log_end())).expect("what is there is whole");
            assert!(read.next_offset > from, "a read goes on");
            from = read.next_offset;
            let bytes = read.into_bytes();
            found.extend(trusted(&bytes).map(|(at, header)| (header, bytes.slice(at..at + header.size))));
        }
        found
    }

    /// The log is the model's, and what is derived from the batches agrees with them.
    fn check(&self) {
        assert_eq!((self.log.log_start(), self.log.log_end()), (self.log_start, self.log_end()));
        let found = self.read(self.log_start);
        assert_eq!(found, self.batches);
        for (header, _) in &found {
            assert_eq!(self.log.epoch_at(header.base_offset.max(self.log_start)), Some(header.leader_epoch));
        }
        for id in 0..3 {
            let last = found.iter().rev().find(|(header, _)| header.producer_id.0 == id);
            let known = self.log.producers().get(ProducerId(id)).and_then(|entry| entry.last_batch());
            if let Some((header, bytes)) = last {
                assert!(end_marker(header, bytes).is_none());
                assert_eq!(known.map(|known| known.last_offset), Some(header.last_offset()), "producer {id}");
            } else {
                // It may be known of records that retention removed, never of any above the end.
                assert!(known.is_none_or(|known| known.last_offset < self.log_start.max(1)), "producer {id}");
            }
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Append { records, value_bytes, producer } => self.append(records, value_bytes, producer),
            Step::NextEpoch => {
                self.epoch += 1;
                self.log.start_epoch(LeaderEpoch(self.epoch));
            }
            Step::Sync => self.sync(),
            Step::BeginSync => self.sync_while_appending(),
            Step::Truncate(draw) => self.truncate(self.pick(draw)),
            Step::Restart(draw) => self.restart_at(self.log_end() + i64::from(draw % 8)),
            Step::AdvanceStart(draw) => {
                let reach = (self.synced_end - self.log_start).max(0);
                self.advance_start(self.log_start + i64::from(draw) % (reach + 1));
            }
            Step::Read(draw) => {
                let from = self.pick(draw);
                let expected: Vec<_> =
                    self.batches.iter().filter(|(header, _)| header.next_offset() > from).cloned().collect();
                assert_eq!(self.read(from), expected);
            }
            Step::Crash => self.crash(),
            Step::PowerCut(seed) => self.power_cut(seed),
            Step::CleanShutdown => {
                let outcome = now(self.log.begin_clean_shutdown().unwrap());
                self.log.complete(outcome).unwrap();
                self.synced_end = self.log_end();
                self.is_cut = false;
                self.earlier.clear();
                self.crash();
                assert_eq!(self.log.synced_end(), self.log_end());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_shrink_iters: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_keeps_what_it_promised_through_any_faults(
        steps in proptest::collection::vec(step(), 1..60),
        tail_bytes in prop_oneof![Just(0usize), Just(600), Just(1 << 20)],
        durable_point_bytes in prop_oneof![Just(0u64), Just(2_000), Just(1 << 20)],
    ) {
        let mut world = World::new(tail_bytes, durable_point_bytes);
        for step in &steps {
            world.run(step);
        }
        world.check();
    }
}

/// A run of the test above found it. The log was begun anew at offset 3; then the power failed, which brought the old
/// segment back, and an old checkpoint of leader epochs with it. The durable point was the new one, and what the two
/// had been synced with at different times was called damaged, so that the log was not opened any more.
#[test]
fn what_was_there_before_a_log_was_begun_anew_is_not_called_damaged() {
    use Step::{BeginSync, CleanShutdown, PowerCut, Restart, Sync, Truncate};
    let append = |records, value_bytes| Step::Append { records, value_bytes, producer: None };
    #[rustfmt::skip]
    let steps = [
        PowerCut(241_074_030_841_025_558), CleanShutdown, PowerCut(0), PowerCut(0), append(2, 1), Sync, PowerCut(0),
        append(2, 25), BeginSync, append(1, 131), Truncate(10_189), append(1, 1), PowerCut(565_578_786_410_323_430),
        Sync, append(1, 125), append(3, 149), CleanShutdown, Sync, append(1, 1), Sync,
        PowerCut(10_018_297_164_233_144_044), PowerCut(2_028_294_354_758_046_247), Sync, append(2, 1),
        PowerCut(6_820_340_560_903_123_921), PowerCut(12_174_066_532_556_183_189), append(3, 1), CleanShutdown,
        Truncate(16_287), append(1, 131), BeginSync, Truncate(55_135), BeginSync, Truncate(9_352), Restart(75),
        PowerCut(12_098_175_996_005_346_815),
    ];
    let mut world = World::new(0, 2_000);
    steps.iter().for_each(|step| world.run(step));
    world.check();
}
