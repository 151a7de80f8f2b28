//! The accumulator against a model of a broker and a network that loses, delays and repeats, for
//! many seeds: in each partition's log every record is there at most once and in order;
//! acknowledged ones are where they were said to be; failed ones are nowhere, even after every
//! late copy has arrived.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::*;
use crate::base::batch_header::{BatchHeader, verify};
use crate::wire::kafka::records::batches;

const SEEDS: u8 = 200;
const STEPS: u32 = 400;
const PARTITIONS: i32 = 2;

/// A partition as its leader keeps it: the log and what idempotence needs (KIP-98).
#[derive(Default)]
struct Leader {
    log: Vec<u32>,
    producer: Option<(i64, i16)>,
    next_sequence: i32,
    /// First sequence and base offset of the batches that duplicates are told by.
    remembered: VecDeque<(i32, i64)>,
}

impl Leader {
    fn append(&mut self, batch: &Bytes) -> PartitionResult {
        let header = verify(batch).expect("a valid batch");
        match self.check(&header) {
            Err(result) => result,
            Ok(()) => {
                let base_offset = self.log.len() as i64;
                for record in batches(batch.clone()).flat_map(|batch| batch.expect("valid").records) {
                    let value = record.value.expect("each has one");
                    self.log.push(u32::from_be_bytes(value[..4].try_into().expect("a token")));
                }
                self.next_sequence = header.base_sequence + header.record_count;
                self.remembered.push_back((header.base_sequence, base_offset));
                if self.remembered.len() > IDEMPOTENT_IN_FLIGHT_MAX {
                    self.remembered.pop_front();
                }
                PartitionResult::Written { base_offset: Some(base_offset) }
            }
        }
    }

    fn check(&mut self, header: &BatchHeader) -> Result<(), PartitionResult> {
        let from = (header.producer_id.0, header.producer_epoch.0);
        let error = |code| Err(PartitionResult::Error(code));
        match self.producer {
            Some(known) if from < known => return error(ErrorCode::InvalidProducerEpoch),
            Some(known) if from == known => {}
            _ if header.base_sequence != 0 => return error(ErrorCode::OutOfOrderSequenceNumber),
            _ => {
                self.producer = Some(from);
                self.next_sequence = 0;
                self.remembered.clear();
            }
        }
        if let Some((_, base_offset)) = self.remembered.iter().find(|(first, _)| *first == header.base_sequence) {
            return Err(PartitionResult::Written { base_offset: Some(*base_offset) });
        }
        match header.base_sequence.cmp(&self.next_sequence) {
            std::cmp::Ordering::Less => error(ErrorCode::DuplicateSequenceNumber),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => error(ErrorCode::OutOfOrderSequenceNumber),
        }
    }
}

struct World {
    random: TestRng,
    accumulator: Accumulator<(i32, u32)>,
    leaders: BTreeMap<i32, Leader>,
    now: Instant,
    next_token: u32,
    /// On the connection, in order.
    wire: VecDeque<ProduceCall>,
    /// Left behind by lost connections; each may still arrive.
    ghosts: VecDeque<ProduceCall>,
    outcomes: BTreeMap<(i32, u32), Outcome>,
    faulty: bool,
}

impl World {
    fn new(seed: u8) -> Self {
        let config = ProducerConfig {
            batch_bytes: 300,
            linger: Duration::from_millis(2),
            delivery_timeout: Duration::from_millis(300),
            ..ProducerConfig::default()
        };
        let mut accumulator = Accumulator::new(config);
        accumulator.set_identity(Identity { id: ProducerId(1), epoch: ProducerEpoch(0) });
        World {
            random: TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]),
            accumulator,
            leaders: BTreeMap::new(),
            now: Instant(0),
            next_token: 0,
            wire: VecDeque::new(),
            ghosts: VecDeque::new(),
            outcomes: BTreeMap::new(),
            faulty: true,
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.next_u32() % 100 < percent
    }

    fn step(&mut self) {
        match self.random.next_u32() % 10 {
            0..=2 if self.faulty => self.append(),
            0..=5 => self.send(),
            6..=7 => self.deliver(),
            8 => self.deliver_ghost(),
            _ => self.now = self.now + Duration::from_millis(u64::from(self.random.next_u32() % 20)),
        }
        self.outcomes.extend(self.accumulator.take_finished());
    }

    fn append(&mut self) {
        let partition = (self.random.next_u32() % PARTITIONS as u32) as i32;
        let mut value = self.next_token.to_be_bytes().to_vec();
        value.resize(4 + self.random.next_u32() as usize % 150, 0);
        let record = NewRecord { value: Some(Bytes::from(value)), ..NewRecord::default() };
        self.accumulator.append(TopicPartition::new("t", partition), record, (partition, self.next_token), self.now);
        self.next_token += 1;
    }

    fn send(&mut self) {
        if let Some(call) = self.accumulator.next_call(self.now, |_| Some(BrokerId(0))) {
            self.wire.push_back(call);
        }
    }

    fn deliver(&mut self) {
        if self.faulty && self.chance(15) {
            return self.lose_connection();
        }
        let Some(call) = self.wire.pop_front() else { return };
        let answer = |(partition, batch): &(TopicPartition, Bytes)| (partition.clone(), self.apply(partition, batch));
        let results = call.batches.iter().map(answer).collect();
        self.accumulator.complete(call.id, &Ok(results), self.now, |_| Duration::from_millis(5));
    }

    fn apply(&mut self, partition: &TopicPartition, batch: &Bytes) -> PartitionResult {
        let fault = if self.faulty { self.random.next_u32() % 100 } else { 100 };
        match fault {
            0..=4 => return PartitionResult::Error(ErrorCode::NotEnoughReplicas),
            5..=6 => return PartitionResult::Error(ErrorCode::MessageTooLarge),
            _ => {}
        }
        let result = self.leaders.entry(partition.partition).or_default().append(batch);
        match (fault, result) {
            (7..=11, PartitionResult::Written { .. }) => PartitionResult::Error(ErrorCode::RequestTimedOut),
            (12..=16, PartitionResult::Written { .. }) => {
                PartitionResult::Error(ErrorCode::NotEnoughReplicasAfterAppend)
            }
            _ => result,
        }
    }

    /// All that is on the wire is lost to the producer; some of it has been, or will be, received.
    fn lose_connection(&mut self) {
        while let Some(call) = self.wire.pop_front() {
            let lost = Err(RequestFailed::Lost("reset".to_owned()));
            self.accumulator.complete(call.id, &lost, self.now, |_| Duration::from_millis(5));
            self.ghosts.push_back(call);
        }
        if self.chance(50) {
            (0..self.ghosts.len()).for_each(|_| self.deliver_ghost());
        }
    }

    fn deliver_ghost(&mut self) {
        let Some(call) = self.ghosts.pop_front() else { return };
        if self.faulty && self.chance(30) {
            return;
        }
        for (partition, batch) in &call.batches {
            self.leaders.entry(partition.partition).or_default().append(batch);
        }
    }

    fn settle(&mut self) {
        self.faulty = false;
        self.accumulator.set_flushing(true);
        for _ in 0..10_000 {
            if self.accumulator.is_idle() && self.ghosts.is_empty() {
                break;
            }
            self.step();
        }
        assert!(self.accumulator.is_idle(), "everything is decided once the faults have ended");
    }

    fn check(&self, seed: u8) {
        assert_eq!(self.outcomes.len(), self.next_token as usize, "seed {seed}: each record has one outcome");
        for (partition, leader) in &self.leaders {
            let in_order = leader.log.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(in_order, "seed {seed}: partition {partition} has {:?}", leader.log);
        }
        for ((partition, token), outcome) in &self.outcomes {
            let log = self.leaders.get(partition).map_or(&[][..], |leader| &leader.log);
            match outcome {
                Outcome::Acknowledged { offset } => {
                    let at = offset.and_then(|offset| log.get(offset as usize));
                    assert_eq!(at, Some(token), "seed {seed}: acknowledged at {offset:?}");
                }
                Outcome::Failed(error) => {
                    assert!(!log.contains(token), "seed {seed}: {token} failed by {error} and is written");
                }
                Outcome::Unknown(_) => {}
            }
        }
    }
}

#[test]
fn whatever_the_network_does_records_are_written_once_in_order_and_outcomes_are_true() {
    let mut counts = [0; 3];
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step());
        world.settle();
        world.check(seed);
        for outcome in world.outcomes.values() {
            counts[match outcome {
                Outcome::Acknowledged { .. } => 0,
                Outcome::Failed(_) => 1,
                Outcome::Unknown(_) => 2,
            }] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 100), "each outcome was seen: {counts:?}");
}
