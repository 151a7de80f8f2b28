//! Logs of which a client is the only writer: what it is told follows from what it did.
//!
//! A batch lies where the one before it ended; one that was sent before, among the last five of its producer,
//! is told where it is and not written again; one behind a gap, of an older epoch, or that begins a new one with
//! another sequence than 0 is refused (KIP-98, KIP-360). A read brings what was written, from the offset on that
//! was asked for. All of that holds through failovers and restarts, but for one thing: what a broker writes down of a
//! producer is its last batch, in Kafka's format, so that one that started anew may know no other (`swarm` seeds 41152, and 73095
//! of one that had stopped in good order).
//!
//! False positives avoided: what nobody knows the outcome of ends a log's judgement; so does the first disk that is
//! lost, rots or fails to sync, for there may be one replica. Of a compressed batch a lookup may tell any offset.
//! A producer that a log does not know begins with sequence 0, where nothing was ever removed: Kafka takes any.

use std::collections::BTreeMap;

use wyrdlog::base::ids::TopicPartition;
use wyrdlog::wire::kafka::ErrorCode as Code;
use wyrdlog::wire::kafka::records::batches;

use super::{Judged, Oracle, holds, one_of, same};
use crate::history::protocol::{OwnLog, OwnStep, Stamp, Step, Told};
use crate::observed::seconds;
use crate::verdict::Findings;
use crate::workloads::protocol::is_definite;

/// How many batches of a producer are remembered.
const REMEMBERED: usize = 5;
/// What may be said of any partition: its leader is on the move, or too few are in sync.
const ON_THE_MOVE: [Code; 9] = [
    Code::NotLeaderOrFollower,
    Code::UnknownTopicOrPartition,
    Code::UnknownTopicId,
    Code::LeaderNotAvailable,
    Code::KafkaStorageError,
    Code::NotEnoughReplicas,
    Code::NotEnoughReplicasAfterAppend,
    Code::RequestTimedOut,
    Code::OffsetNotAvailable,
];

/// What the log has to hold.
#[derive(Default)]
struct Model {
    /// Times, values and the first offset of the batch if that is compressed, by offset.
    records: Vec<(i64, u64, Option<i64>)>,
    producers: BTreeMap<i64, Producer>,
    /// Where leader epochs end that are over, as was told.
    ends: BTreeMap<i32, i64>,
}

/// What is known of the time in which a step was asked for and told.
#[derive(Clone, Copy)]
struct When {
    /// Nothing disturbed, for long enough.
    is_calm: bool,
    /// The leader's epoch; none if it changed meanwhile.
    epoch: Option<i32>,
    /// Within so long something is answered.
    patience_ns: u64,
}

#[derive(Default)]
struct Producer {
    epoch: i16,
    /// First sequence, count of records and first offset.
    batches: Vec<(i32, usize, i64)>,
    /// So many of them were not the last one when a broker started anew.
    forgettable: usize,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Appended,
    /// It is there already.
    Known(i64),
    /// It is, too, and who leads may have forgotten that it is its producer's.
    Forgettable(i64),
    Refused(Vec<Code>),
}

impl Model {
    fn end(&self) -> i64 {
        self.records.len() as i64
    }

    /// A broker started anew.
    fn restarted(&mut self) {
        for producer in self.producers.values_mut() {
            producer.forgettable = producer.batches.len().saturating_sub(1);
        }
    }

    fn fate(&self, stamp: Option<Stamp>, count: usize) -> Fate {
        let Some(stamp) = stamp else { return Fate::Appended };
        let Some(producer) = self.producers.get(&stamp.id) else {
            // Nothing was ever removed: whoever is unknown begins, and begins with sequence 0.
            let begins = stamp.base_sequence == 0;
            return if begins { Fate::Appended } else { Fate::Refused(vec![Code::OutOfOrderSequenceNumber]) };
        };
        if stamp.epoch < producer.epoch {
            return Fate::Refused(vec![Code::InvalidProducerEpoch]);
        }
        let next = producer.batches.last().map_or(0, |(first, count, _)| after(*first, *count));
        if stamp.epoch > producer.epoch {
            let is_first = stamp.base_sequence == 0;
            return if is_first { Fate::Appended } else { Fate::Refused(vec![Code::OutOfOrderSequenceNumber]) };
        }
        let last = producer.batches.iter().enumerate().rev().take(REMEMBERED);
        let again = last.into_iter().find(|(_, (first, many, _))| (*first, *many) == (stamp.base_sequence, count));
        match again {
            Some((at, (_, _, base_offset))) if at < producer.forgettable => Fate::Forgettable(*base_offset),
            Some((_, (_, _, base_offset))) => Fate::Known(*base_offset),
            None if stamp.base_sequence == next => Fate::Appended,
            None => Fate::Refused(vec![Code::OutOfOrderSequenceNumber, Code::DuplicateSequenceNumber]),
        }
    }

    fn append(&mut self, stamp: Option<Stamp>, records: &[(i64, u64)], is_compressed: bool) {
        let base = self.end();
        let of_batch = is_compressed.then_some(base);
        self.records.extend(records.iter().map(|(time, value)| (*time, *value, of_batch)));
        let Some(stamp) = stamp else { return };
        let producer = self.producers.entry(stamp.id).or_default();
        if producer.epoch != stamp.epoch {
            *producer = Producer { epoch: stamp.epoch, ..Producer::default() };
        }
        producer.batches.push((stamp.base_sequence, records.len(), base));
    }

    fn judge(&mut self, step: &OwnStep, When { is_calm, epoch: now, patience_ns }: When) -> Judged {
        match (&step.step, &step.told) {
            (_, Told::Nothing) => Ok(()),
            (Step::Produce { stamp, records, is_compressed }, Told::Produced { error, base_offset }) => {
                let fate = self.fate(*stamp, records.len());
                let definite = match &fate {
                    Fate::Appended | Fate::Known(_) => vec![Code::None],
                    Fate::Forgettable(_) => {
                        vec![Code::None, Code::OutOfOrderSequenceNumber, Code::DuplicateSequenceNumber]
                    }
                    Fate::Refused(codes) => codes.clone(),
                };
                one_of(*error, &[&definite[..], &ON_THE_MOVE].concat())?;
                match fate {
                    _ if *error != 0 => same("the offset of what was refused", base_offset, &-1),
                    Fate::Known(known) | Fate::Forgettable(known) => {
                        same("the offset of a batch that was sent before", base_offset, &known)
                    }
                    _ => {
                        same("the batch's offset", base_offset, &self.end())?;
                        self.append(*stamp, records, *is_compressed);
                        Ok(())
                    }
                }
            }
            (Step::Fetch { offset }, Told::Fetched { error, high_watermark, records }) => {
                let definite = if *offset > self.end() { Code::OffsetOutOfRange } else { Code::None };
                // A new leader's high watermark may be behind for a while.
                let besides = if is_calm { &[][..] } else { &[Code::OffsetOutOfRange] };
                one_of(*error, &[&[definite][..], besides, &ON_THE_MOVE].concat())?;
                if *error != 0 { Ok(()) } else { self.fetched(*offset, *high_watermark, records, is_calm) }
            }
            (Step::Await { offset, written_ns }, Told::Fetched { error, high_watermark, records }) => {
                one_of(*error, &[&[Code::None][..], &ON_THE_MOVE].concat())?;
                let waited_ns = step.told_ns - written_ns;
                let is_soon = !is_calm || waited_ns <= patience_ns;
                holds(&format!("what was awaited came {} ms after it was written", waited_ns / 1_000_000), is_soon)?;
                // It may have waited for so long that it came back with nothing.
                if *error != 0 || records.is_empty() {
                    Ok(())
                } else {
                    self.fetched(*offset, *high_watermark, records, false)
                }
            }
            (Step::Lookup { timestamp }, Told::Found { error, timestamp: time, offset }) => {
                one_of(*error, &[&[Code::None][..], &ON_THE_MOVE].concat())?;
                if *error != 0 { Ok(()) } else { self.found(*timestamp, (*time, *offset), is_calm) }
            }
            (Step::EpochEnd { epoch }, Told::End { error, leader_epoch, end_offset }) => {
                one_of(*error, &[&[Code::None][..], &ON_THE_MOVE].concat())?;
                holds(&format!("an epoch ends at {end_offset}, beyond {}", self.end()), *end_offset <= self.end())?;
                if *error != 0 {
                    return Ok(());
                }
                let is_own = is_calm && now == Some(*epoch);
                holds(
                    &format!("a leader tells of epoch {leader_epoch} in its own, {epoch}"),
                    !is_own || leader_epoch == epoch,
                )?;
                if leader_epoch != epoch {
                    return Ok(());
                }
                let ends_now = *end_offset == self.end() || now != Some(*epoch) || !is_calm;
                holds(&format!("epoch {leader_epoch} ends at {end_offset} of {}", self.end()), ends_now)?;
                if now.is_none_or(|now| now <= *epoch) {
                    return Ok(());
                }
                let before = *self.ends.entry(*epoch).or_insert(*end_offset);
                same(&format!("the end of epoch {epoch}, which is over"), end_offset, &before)
            }
            _ => Err("the answer is that of another request".to_owned()),
        }
    }

    fn fetched(&self, offset: i64, high_watermark: i64, records: &bytes::Bytes, is_calm: bool) -> Judged {
        let is_known = high_watermark <= self.end() && (high_watermark == self.end() || !is_calm);
        holds(&format!("the high watermark is {high_watermark}, the log's end {}", self.end()), is_known)?;
        let mut next = offset;
        for batch in batches(records.clone()) {
            let batch = batch.map_err(|error| error.to_string())?;
            for record in batch.records.iter().filter(|record| record.offset >= offset) {
                same("the next offset", &record.offset, &next)?;
                let value = record.value.as_ref().and_then(|value| value[..].try_into().ok()).map(u64::from_be_bytes);
                let known = self.records.get(next as usize).map(|(time, value, _)| (*time, *value));
                same(&format!("the record at {next}"), &value.map(|value| (record.timestamp_ms, value)), &known)?;
                next += 1;
            }
        }
        holds("nothing was read, where there is something", next > offset || offset >= high_watermark)
    }

    fn found(&self, asked: i64, (time, offset): (i64, i64), is_calm: bool) -> Judged {
        let is_end = |expected: i64| offset == expected || !is_calm && (0..=expected).contains(&offset);
        match asked {
            -1 => return holds(&format!("the latest offset is {offset} of {}", self.end()), is_end(self.end())),
            -2 => return same("the earliest offset", &offset, &0),
            _ => {}
        }
        let largest = self.records.iter().map(|(time, ..)| *time).max();
        let wanted = if asked == -3 { largest.unwrap_or(i64::MAX) } else { asked };
        let first = self.records.iter().position(|(time, ..)| *time >= wanted);
        let Some(first) = first else { return same("what is found", &(time, offset), &(-1, -1)) };
        let (at, _, of_batch) = self.records[first];
        let batch_of = |at: i64| usize::try_from(at).ok().and_then(|at| self.records.get(at)).and_then(|one| one.2);
        if (time, offset) == (at, first as i64) || of_batch.is_some() && batch_of(offset) == of_batch {
            return Ok(());
        }
        // What is above the high watermark of a new leader is not found yet, or found later.
        let may_be = !is_calm && (offset == -1 || asked == -3);
        holds(&format!("offset {offset} of time {time} is found for {asked} in place of {first} of time {at}"), may_be)
    }
}

/// So many sequences later.
fn after(sequence: i32, count: usize) -> i32 {
    ((i64::from(sequence) + count as i64) % (1 << 31)) as i32
}

impl Oracle<'_> {
    /// Judges every step with every log.
    pub(super) fn own_logs(&self, findings: &mut Findings) {
        for (ordinal, log) in (0_u64..).zip(&self.history.logs) {
            self.own_log(findings, ordinal, log);
        }
    }

    fn own_log(&self, findings: &mut Findings, ordinal: u64, log: &OwnLog) {
        let (mut model, mut ended) = (Model::default(), 0);
        let killed = self.met.ended.iter().map(|(at_ns, _)| *at_ns);
        let stopped = self.met.told.iter().flat_map(|left| [Some(left.told_ns), left.ended_ns]).flatten();
        let ends_ns: Vec<u64> = killed.chain(stopped).collect();
        for step in log.steps.iter().take_while(|step| step.told_ns < self.history.void_from_ns) {
            let by_now = ends_ns.iter().filter(|at_ns| **at_ns < step.told_ns).count();
            if std::mem::replace(&mut ended, by_now) != by_now {
                model.restarted();
            }
            let begins_ns = step.asked_ns.saturating_sub(super::LEARN_NS);
            let next = self.calm.partition_point(|(_, to_ns)| *to_ns < step.told_ns);
            let is_calm = self.calm.get(next).is_some_and(|(from_ns, _)| *from_ns <= begins_ns);
            let states = self.met.states_during(&TopicPartition::new(&*log.topic, 0), begins_ns, step.told_ns);
            let mut epochs = states.map(|(_, state)| state.leader_epoch.0);
            let first = epochs.next();
            let epoch = first.filter(|first| epochs.all(|other| other == *first));
            let judged = model.judge(step, When { is_calm, epoch, patience_ns: self.met.answer_ns });
            findings.check(judged.is_ok(), step.told_ns, [ordinal], || {
                let OwnStep { broker, version, asked_ns, told_ns, step: asked, .. } = step;
                let (from, until) = (seconds(*asked_ns), seconds(*told_ns));
                let what = judged.as_ref().err().cloned().unwrap_or_default();
                format!(
                    "broker {broker}, asked for {asked:?} of {} in version {version} ({from} to {until}): {what}",
                    log.topic
                )
            });
            let is_known = match (&step.step, &step.told) {
                (Step::Produce { .. }, Told::Produced { error, .. }) => is_definite(*error),
                (Step::Produce { .. }, _) => false,
                _ => true,
            };
            if judged.is_err() || !is_known {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn produce(model: &mut Model, stamp: Option<Stamp>, records: &[(i64, u64)], error: i16, base_offset: i64) -> bool {
        let step = Step::Produce { stamp, records: records.to_vec(), is_compressed: false };
        judged(model, step, Told::Produced { error, base_offset })
    }

    fn judged(model: &mut Model, step: Step, told: Told) -> bool {
        let broker = wyrdlog::base::ids::BrokerId(1);
        let step = OwnStep { broker, version: 9, asked_ns: 1, told_ns: 2, step, told };
        model.judge(&step, When { is_calm: true, epoch: Some(0), patience_ns: 500 }).is_ok()
    }

    fn stamp(epoch: i16, base_sequence: i32) -> Option<Stamp> {
        Some(Stamp { id: 7, epoch, base_sequence })
    }

    /// Records 0 and 1 of one batch, then 2.
    fn written() -> Model {
        let mut model = Model::default();
        assert!(produce(&mut model, stamp(0, 0), &[(5, 100), (3, 101)], 0, 0));
        assert!(produce(&mut model, stamp(0, 2), &[(9, 102)], 0, 2));
        model
    }

    #[test]
    fn a_batch_lies_behind_the_one_before_it() {
        assert!(produce(&mut written(), None, &[(1, 103)], 0, 3));
        assert!(!produce(&mut written(), None, &[(1, 103)], 0, 4));
        assert!(produce(&mut written(), None, &[(1, 103)], 6, -1), "its leader may be on the move");
        assert!(!produce(&mut written(), None, &[(1, 103)], 45, -1));
    }

    #[test]
    fn who_started_anew_may_know_a_producer_s_last_batch_alone() {
        let again = |restarts: bool, base_sequence: i32, (error, offset): (i16, i64)| {
            let mut model = written();
            if restarts {
                model.restarted();
            }
            let records: &[(i64, u64)] = if base_sequence == 0 { &[(5, 100), (3, 101)] } else { &[(9, 102)] };
            produce(&mut model, stamp(0, base_sequence), records, error, offset)
        };
        assert!(again(true, 0, (0, 0)) && again(true, 0, (45, -1)) && again(true, 2, (0, 2)));
        assert!(!again(true, 2, (45, -1)), "it is the last one");
        assert!(!again(true, 0, (0, 3)), "it was written twice");
        assert!(!again(false, 0, (45, -1)), "nobody started anew");
    }

    #[test]
    fn a_batch_that_was_sent_before_is_where_it_was_and_one_out_of_order_nowhere() {
        assert!(produce(&mut written(), stamp(0, 0), &[(5, 100), (3, 101)], 0, 0));
        assert!(!produce(&mut written(), stamp(0, 0), &[(5, 100), (3, 101)], 0, 3));
        assert!(produce(&mut written(), stamp(0, 9), &[(1, 103)], 45, -1));
        assert!(!produce(&mut written(), stamp(0, 9), &[(1, 103)], 0, 3));
        assert!(produce(&mut written(), stamp(1, 0), &[(1, 103)], 0, 3));
        assert!(!produce(&mut written(), stamp(1, 4), &[(1, 103)], 0, 3));
        let mut newer = written();
        assert!(produce(&mut newer, stamp(1, 0), &[(1, 103)], 0, 3));
        assert!(!produce(&mut Model::default(), stamp(0, 3), &[(1, 100)], 0, 0), "it overtook its first batch");
        assert!(produce(&mut newer, stamp(0, 1), &[(1, 104)], 47, -1));
        assert!(!produce(&mut newer, stamp(0, 1), &[(1, 104)], 0, 4));
    }

    #[test]
    fn a_lookup_finds_the_first_that_is_as_young() {
        let found = |asked: i64, timestamp: i64, offset: i64| {
            judged(&mut written(), Step::Lookup { timestamp: asked }, Told::Found { error: 0, timestamp, offset })
        };
        assert!(found(-1, -1, 3) && found(-2, -1, 0) && found(-3, 9, 2) && found(4, 5, 0) && found(6, 9, 2));
        assert!(found(10, -1, -1));
        assert!(!found(-1, -1, 2) && !found(-2, -1, 1) && !found(-3, 5, 0) && !found(4, 9, 2) && !found(10, 9, 2));
        assert!(!found(6, -1, -1));
    }

    #[test]
    fn a_read_brings_what_was_written() {
        use wyrdlog::base::ids::LeaderEpoch;
        use wyrdlog::wire::kafka::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};
        let read = |offset: i64, high_watermark: i64, values: &[(i64, u64)]| {
            let mut builder = RecordBatchBuilder::new().stored_at(0, LeaderEpoch(0));
            for (timestamp_ms, value) in values {
                let value = Some(bytes::Bytes::copy_from_slice(&value.to_be_bytes()));
                builder.push(NewRecord { value, timestamp_ms: *timestamp_ms, ..NewRecord::default() });
            }
            let records = builder.build(ProducerStamp::NONE).unwrap_or_default();
            judged(&mut written(), Step::Fetch { offset }, Told::Fetched { error: 0, high_watermark, records })
        };
        assert!(read(0, 3, &[(5, 100), (3, 101)]) && read(1, 3, &[(5, 100), (3, 101)]));
        assert!(read(3, 3, &[]));
        assert!(!read(0, 3, &[(5, 100), (3, 102)]) && !read(0, 3, &[(5, 100), (4, 101)]), "another record");
        assert!(!read(0, 3, &[]) && !read(0, 2, &[(5, 100)]) && !read(0, 4, &[(5, 100)]));
    }

    #[test]
    fn the_leader_s_epoch_ends_where_the_log_does_and_one_that_is_over_where_it_always_did() {
        let mut model = written();
        let mut end = |epoch: Option<i32>, end_offset: i64| {
            let broker = wyrdlog::base::ids::BrokerId(1);
            let (step, told) = (Step::EpochEnd { epoch: 2 }, Told::End { error: 0, leader_epoch: 2, end_offset });
            let step = OwnStep { broker, version: 3, asked_ns: 1, told_ns: 2, step, told };
            model.judge(&step, When { is_calm: true, epoch, patience_ns: 500 }).is_ok()
        };
        assert!(end(Some(2), 3) && !end(Some(2), 2) && !end(Some(2), 4));
        assert!(end(None, 2), "it changed meanwhile");
        assert!(end(Some(4), 1) && end(Some(4), 1) && !end(Some(5), 2) && !end(Some(5), 4));
    }

    #[test]
    fn a_leader_knows_the_epoch_that_it_leads_in() {
        let mut model = written();
        let mut told = |is_calm: bool, now: i32, leader_epoch: i32, end_offset: i64| {
            let broker = wyrdlog::base::ids::BrokerId(1);
            let (step, told) = (Step::EpochEnd { epoch: 2 }, Told::End { error: 0, leader_epoch, end_offset });
            let step = OwnStep { broker, version: 3, asked_ns: 1, told_ns: 2, step, told };
            model.judge(&step, When { is_calm, epoch: Some(now), patience_ns: 500 }).is_ok()
        };
        assert!(told(true, 2, 2, 3) && !told(true, 2, 1, 3) && !told(true, 2, -1, -1));
        assert!(told(false, 2, 1, 3) && told(true, 3, 1, 3), "it may have led in another, or not know yet");
    }

    #[test]
    fn what_is_awaited_comes_soon_after_it_was_written() {
        let mut model = written();
        let mut awaited = |is_calm: bool, told_ns: u64, error: i16| {
            let broker = wyrdlog::base::ids::BrokerId(1);
            let step = Step::Await { offset: 3, written_ns: 1_000 };
            let told = Told::Fetched { error, high_watermark: 3, records: bytes::Bytes::new() };
            let step = OwnStep { broker, version: 9, asked_ns: 1, told_ns, step, told };
            model.judge(&step, When { is_calm, epoch: Some(0), patience_ns: 500 }).is_ok()
        };
        assert!(awaited(true, 1_500, 0) && !awaited(true, 1_501, 0) && awaited(false, 9_000, 0));
        assert!(awaited(false, 1_100, 6) && !awaited(false, 1_100, 1), "it was within the log");
    }
}
