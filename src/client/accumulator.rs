//! The producer's state, without I/O: records in, requests out, results in, outcomes out.
//!
//! Per partition: a queue of batches in the order in which records came, and the batches in
//! flight. What it promises:
//!
//! - **Order.** Batches of a partition are sent in order. Once one has to be sent again, nothing
//!   else of its partition is until what is in flight has come back.
//! - **Once** (with idempotence, KIP-98). A batch keeps its sequence over all its attempts. When a
//!   batch is given up, or the broker no longer knows the sequence, the epoch is raised before
//!   anything else is sent (KIP-360), so that a late copy of it is fenced; a batch that may have
//!   been written is never sent again under another sequence.
//! - **Exact outcomes.** A record is *failed* only if no attempt can have been written.
//!
//! Tokens of type `T` stand for whoever waits for a record. Time is an argument.

use crate::base::plants::Plant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::config::{Acks, ProducerConfig};
use super::connection::RequestFailed;
use crate::base::batch_header::{HEADER_BYTES, sequence_after};
use crate::base::ids::{BrokerId, ProducerEpoch, ProducerId, TopicPartition};
use crate::base::time::Instant;
use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};

/// How many batches per producer a broker remembers for telling duplicates (KIP-98).
pub const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is written, as `acks` asked for.
    Acknowledged {
        /// Its offset; none with acks=0, where the broker does not answer.
        offset: Option<i64>,
    },
    /// It is not written and never will be.
    Failed(SendError),
    /// It may be written, now or later, or not.
    Unknown(SendError),
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The broker said so.
    #[error("{0}")]
    Broker(ErrorCode),
    /// `delivery.timeout.ms` was over.
    #[error("the delivery timed out")]
    TimedOut,
    /// The connection could not be made or broke.
    #[error("{0}")]
    Request(RequestFailed),
    /// There was no room in `buffer.memory` within `max.block.ms`.
    #[error("the buffer was full")]
    BufferFull,
    /// The record exceeds `max.request.size`.
    #[error("the record has {bytes} bytes, max.request.size is {limit}")]
    TooLarge {
        /// A bound on its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The records cannot be put into a batch.
    #[error("{0}")]
    CannotBuild(String),
    /// The producer was closed or dropped.
    #[error("the producer is closed")]
    Closed,
}

/// Who the producer is to brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: ProducerId,
    /// Raised to fence its own late requests.
    pub epoch: ProducerEpoch,
}

/// A request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceCall {
    /// Given back with the result.
    pub id: u64,
    /// To whom.
    pub broker: BrokerId,
    /// One batch per partition.
    pub batches: Vec<(TopicPartition, Bytes)>,
}

/// The broker's answer for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionResult {
    /// Written from this offset on.
    Written {
        /// The first record's offset; none with acks=0.
        base_offset: Option<i64>,
    },
    /// Refused, or worse.
    Error(ErrorCode),
}

/// What the state waits for besides results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A producer id.
    pub identity: bool,
    /// Leaders of partitions of these topics.
    pub metadata: BTreeSet<Arc<str>>,
    /// Nothing: a planted bug was met.
    pub taken: Option<Plant>,
}

#[derive(Debug)]
struct Batch<T> {
    /// Its place among all batches of the producer.
    order: u64,
    builder: RecordBatchBuilder,
    tokens: Vec<T>,
    /// No more records are added.
    sealed: bool,
    /// As sent; kept so that every attempt is the same to the byte.
    encoded: Option<Bytes>,
    created: Instant,
    attempts: u32,
    not_before: Instant,
    /// Whether an attempt may have been written.
    maybe_written: bool,
    /// The call that it is in flight with.
    call: u64,
}

#[derive(Debug)]
struct Partition<T> {
    queue: VecDeque<Batch<T>>,
    in_flight: VecDeque<Batch<T>>,
    identity: Option<Identity>,
    next_sequence: i32,
    /// A batch of this identity was written: whoever leads knows the producer from then on.
    known: bool,
    /// The sequence has a hole: a new epoch is needed before anything else is sent.
    broken: bool,
}

impl<T> Default for Partition<T> {
    fn default() -> Self {
        let (queue, in_flight) = (VecDeque::new(), VecDeque::new());
        Partition { queue, in_flight, identity: None, next_sequence: 0, known: false, broken: false }
    }
}

/// See the module's doc.
#[derive(Debug)]
pub struct Accumulator<T> {
    config: ProducerConfig,
    partitions: BTreeMap<TopicPartition, Partition<T>>,
    calls: BTreeMap<u64, (BrokerId, Vec<TopicPartition>)>,
    next_call: u64,
    next_order: u64,
    identity: Option<Identity>,
    needs: Needs,
    finished: Vec<(T, Outcome)>,
    /// Where the last request ended, so that no partition starves behind the others.
    cursor: Option<TopicPartition>,
    flushing: bool,
}

impl<T> Accumulator<T> {
    /// A producer's state. With idempotence at most five batches of a partition are in flight.
    #[must_use]
    pub fn new(mut config: ProducerConfig) -> Self {
        config.in_flight_max = config.in_flight_max.max(1);
        if config.idempotent {
            config.in_flight_max = config.in_flight_max.min(IDEMPOTENT_IN_FLIGHT_MAX);
            config.acks = Acks::All;
        }
        Accumulator {
            config,
            partitions: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            next_order: 0,
            identity: None,
            needs: Needs::default(),
            finished: Vec::new(),
            cursor: None,
            flushing: false,
        }
    }

    /// Takes a record. It is sent after `linger.ms`, or as soon as its batch is full.
    pub fn append(&mut self, partition: TopicPartition, record: NewRecord, token: T, now: Instant) {
        let bytes = HEADER_BYTES + record.encoded_bytes_max();
        if bytes > self.config.request_bytes_max {
            let limit = self.config.request_bytes_max;
            return self.finished.push((token, Outcome::Failed(SendError::TooLarge { bytes, limit })));
        }
        let (batch_bytes, order) = (self.config.batch_bytes, self.next_order);
        let queue = &mut self.partitions.entry(partition).or_default().queue;
        if let Some(last) = queue.back_mut().filter(|last| !last.sealed) {
            if last.builder.bytes_max() + record.encoded_bytes_max() <= batch_bytes {
                last.builder.push(record);
                return last.tokens.push(token);
            }
            last.sealed = true;
        }
        let mut builder = RecordBatchBuilder::new().compression(self.config.compression);
        builder.push(record);
        let sealed = builder.bytes_max() >= batch_bytes;
        let batch = Batch {
            order,
            builder,
            tokens: vec![token],
            sealed,
            encoded: None,
            created: now,
            attempts: 0,
            not_before: now,
            maybe_written: false,
            call: 0,
        };
        queue.push_back(batch);
        self.next_order += 1;
    }

    /// Whether the broker of a record is waited for, or the record for its turn.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partitions.values().all(|partition| partition.queue.is_empty() && partition.in_flight.is_empty())
    }

    /// Sends everything without lingering, from now until this is called with false.
    pub fn set_flushing(&mut self, flushing: bool) {
        self.flushing = flushing;
    }

    /// Sets the id that was asked for by [`Needs::identity`].
    pub fn set_identity(&mut self, identity: Identity) {
        self.identity = Some(identity);
    }

    /// What has to be found out before more can be sent; reported once.
    pub fn take_needs(&mut self) -> Needs {
        std::mem::take(&mut self.needs)
    }

    /// Records whose fate is decided.
    pub fn take_finished(&mut self) -> Vec<(T, Outcome)> {
        std::mem::take(&mut self.finished)
    }

    /// The next request, if one can be made now. To be called until there is none.
    pub fn next_call(
        &mut self,
        now: Instant,
        leader: impl Fn(&TopicPartition) -> Option<BrokerId>,
    ) -> Option<ProduceCall> {
        self.expire(now);
        let call = self.next_call;
        let mut to: Option<BrokerId> = None;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for partition in self.turns(now) {
            if !self.prepare(&partition) {
                continue;
            }
            let Some(broker) = leader(&partition) else {
                self.needs.metadata.insert(partition.topic.clone());
                continue;
            };
            if to.is_some_and(|to| to != broker) || self.calls_to(broker) >= self.config.in_flight_max {
                continue;
            }
            if self.config.idempotent && self.is_under_way_elsewhere(&partition, broker) {
                continue;
            }
            let Some(encoded) = self.encode_front(&partition) else { continue };
            if !batches.is_empty() && bytes + encoded.len() > self.config.request_bytes_max {
                continue;
            }
            to = Some(broker);
            bytes += encoded.len();
            self.launch(&partition, call);
            self.cursor = Some(partition.clone());
            batches.push((partition, encoded));
        }
        let broker = to?;
        self.next_call += 1;
        self.calls.insert(call, (broker, batches.iter().map(|(partition, _)| partition.clone()).collect()));
        Some(ProduceCall { id: call, broker, batches })
    }

    /// The partitions with something to send now, beginning after where the last request ended.
    fn turns(&self, now: Instant) -> Vec<TopicPartition> {
        let waiting =
            |(partition, state): (&TopicPartition, &Partition<T>)| self.is_ready(state, now).then(|| partition.clone());
        let Some(cursor) = &self.cursor else {
            return self.partitions.iter().filter_map(waiting).collect();
        };
        let after = self.partitions.range((Bound::Excluded(cursor), Bound::Unbounded)).filter_map(waiting);
        after.chain(self.partitions.range(..=cursor).filter_map(waiting)).collect()
    }

    /// Whether an earlier batch of the partition may still arrive at another broker. A new leader that
    /// knows nothing of this producer would take a later sequence for its first one.
    fn is_under_way_elsewhere(&self, partition: &TopicPartition, broker: BrokerId) -> bool {
        let in_flight = self.partitions.get(partition).map(|state| &state.in_flight);
        let goes_elsewhere = |batch: &Batch<T>| self.calls.get(&batch.call).is_some_and(|(to, _)| *to != broker);
        in_flight.is_some_and(|batches| batches.iter().any(goes_elsewhere))
    }

    fn calls_to(&self, broker: BrokerId) -> usize {
        self.calls.values().filter(|(to, _)| *to == broker).count()
    }

    fn ready_at(&self, batch: &Batch<T>, has_followers: bool) -> Instant {
        if batch.attempts > 0 {
            return batch.not_before;
        }
        let complete = batch.sealed || has_followers || self.flushing || batch.encoded.is_some();
        if complete { batch.created } else { batch.created + self.config.linger }
    }

    fn is_ready(&self, state: &Partition<T>, now: Instant) -> bool {
        let Some(front) = state.queue.front() else { return false };
        // A broker that knows nothing of the producer and whose log has lost its beginning takes whatever comes
        // first for the first (KIP-360), also what stands behind a batch that it has just refused.
        let is_unknown = self.config.idempotent && !state.known;
        let in_order = if is_unknown || state.broken || state.queue.iter().any(|batch| batch.attempts > 0) {
            state.in_flight.is_empty()
        } else {
            state.in_flight.len() < self.config.in_flight_max
        };
        in_order && self.ready_at(front, state.queue.len() > 1) <= now
    }

    /// Sees to it that the partition has an identity whose sequence has no hole.
    fn prepare(&mut self, partition: &TopicPartition) -> bool {
        if !self.config.idempotent {
            return true;
        }
        let Some(state) = self.partitions.get_mut(partition) else { return false };
        if state.broken && state.identity == self.identity {
            self.identity = self.identity.and_then(raised);
        }
        let Some(identity) = self.identity else {
            self.needs.identity = true;
            return false;
        };
        let is_bumped = self.config.plants.is(Plant::Librdkafka4953) && state.in_flight.is_empty();
        if state.broken || state.identity.is_none() || is_bumped && state.identity != self.identity {
            assert!(state.in_flight.is_empty(), "a sequence begins anew while one is under way");
            state.identity = Some(identity);
            state.next_sequence = 0;
            state.known = false;
            state.broken = false;
            self.restamp(partition);
        }
        self.partitions.get(partition).is_some_and(|state| !state.queue.is_empty())
    }

    /// Batches with a sequence of the epoch before: one that may have been written cannot get
    /// another sequence, the others lose theirs.
    fn restamp(&mut self, partition: &TopicPartition) {
        let Some(state) = self.partitions.get_mut(partition) else { return };
        let sends_again = self.config.plants.is(Plant::Librdkafka4953);
        let (given_up, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut state.queue).into_iter().partition(|batch| batch.maybe_written && !sends_again);
        if kept.iter().any(|batch| batch.maybe_written) {
            self.needs.taken = Some(Plant::Librdkafka4953);
        }
        state.queue = kept;
        state.queue.iter_mut().for_each(|batch| batch.encoded = None);
        for batch in given_up {
            let error = SendError::Broker(ErrorCode::OutOfOrderSequenceNumber);
            self.finish(batch, |_| Outcome::Unknown(error.clone()));
        }
    }

    /// The bytes of the batch in front, stamped if it is sent for the first time.
    fn encode_front(&mut self, partition: &TopicPartition) -> Option<Bytes> {
        let state = self.partitions.get_mut(partition)?;
        let batch = state.queue.front_mut()?;
        if let Some(encoded) = &batch.encoded {
            return Some(encoded.clone());
        }
        let stamp = match state.identity.filter(|_| self.config.idempotent) {
            Some(Identity { id, epoch }) => ProducerStamp { id, epoch, base_sequence: state.next_sequence },
            None => ProducerStamp::NONE,
        };
        match batch.builder.clone().build(stamp) {
            Ok(encoded) => {
                let records = i32::try_from(batch.tokens.len()).expect("the batch was built, so its count is an i32");
                state.next_sequence = sequence_after(state.next_sequence, records);
                batch.sealed = true;
                batch.encoded = Some(encoded.clone());
                Some(encoded)
            }
            Err(error) => {
                let batch = state.queue.pop_front()?;
                self.finish(batch, |_| Outcome::Failed(SendError::CannotBuild(error.to_string())));
                None
            }
        }
    }

    fn launch(&mut self, partition: &TopicPartition, call: u64) {
        let state = self.partitions.get_mut(partition).expect("its batch was just encoded");
        let mut batch = state.queue.pop_front().expect("its batch was just encoded");
        batch.call = call;
        state.in_flight.push_back(batch);
    }

    /// Takes the result of a call: what the broker said per partition, or why it said nothing. A
    /// partition that an answer leaves out counts as unknown. `backoff` gives the wait after an
    /// attempt.
    pub fn complete(
        &mut self,
        call: u64,
        result: &Result<BTreeMap<TopicPartition, PartitionResult>, RequestFailed>,
        now: Instant,
        backoff: impl Fn(u32) -> Duration,
    ) {
        let Some((_, partitions)) = self.calls.remove(&call) else { return };
        for partition in partitions {
            let state = self.partitions.get_mut(&partition).expect("a partition stays while a call holds its batch");
            let at = state.in_flight.iter().position(|batch| batch.call == call);
            let batch = at.and_then(|at| state.in_flight.remove(at)).expect("a call's batch stays in flight");
            match result {
                Ok(results) => match results.get(&partition) {
                    Some(PartitionResult::Written { base_offset }) => {
                        state.known = true;
                        self.acknowledge(batch, *base_offset);
                    }
                    Some(PartitionResult::Error(error)) => self.refused(&partition, batch, *error, now, &backoff),
                    None => self.refused(&partition, batch, ErrorCode::UnknownServerError, now, &backoff),
                },
                Err(failed) => {
                    self.needs.metadata.insert(partition.topic.clone());
                    self.unanswered(&partition, batch, failed, now, &backoff);
                }
            }
        }
    }

    fn acknowledge(&mut self, batch: Batch<T>, base_offset: Option<i64>) {
        self.finish(batch, |index| Outcome::Acknowledged { offset: base_offset.map(|base| base + index) });
    }

    fn unanswered(
        &mut self,
        partition: &TopicPartition,
        mut batch: Batch<T>,
        failed: &RequestFailed,
        now: Instant,
        backoff: &impl Fn(u32) -> Duration,
    ) {
        batch.maybe_written |= failed.is_unknown();
        self.retry(partition, batch, SendError::Request(failed.clone()), now, backoff);
    }

    fn refused(
        &mut self,
        partition: &TopicPartition,
        mut batch: Batch<T>,
        error: ErrorCode,
        now: Instant,
        backoff: &impl Fn(u32) -> Duration,
    ) {
        batch.maybe_written |= error.leaves_write_unknown();
        if error.calls_for_metadata() {
            self.needs.metadata.insert(partition.topic.clone());
        }
        if error == ErrorCode::DuplicateSequenceNumber {
            // Written by an attempt whose place the broker no longer remembers.
            return self.finish(batch, |_| Outcome::Unknown(SendError::Broker(error)));
        }
        if self.config.idempotent && is_sequence_error(error) {
            return self.out_of_sequence(partition, batch, error, now, backoff);
        }
        if error.is_retriable() || error == ErrorCode::UnknownServerError && self.config.idempotent {
            return self.retry(partition, batch, SendError::Broker(error), now, backoff);
        }
        self.give_up(partition, batch, SendError::Broker(error));
    }

    /// A broker that does not accept the sequence. While a batch before this one is undecided
    /// that is no wonder, and this one simply waits for it.
    fn out_of_sequence(
        &mut self,
        partition: &TopicPartition,
        batch: Batch<T>,
        error: ErrorCode,
        now: Instant,
        backoff: &impl Fn(u32) -> Duration,
    ) {
        let state = self.partitions.get_mut(partition).expect("it had this batch in flight");
        let follows_another = state
            .queue
            .iter()
            .chain(&state.in_flight)
            .any(|other| other.encoded.is_some() && other.order < batch.order);
        if follows_another && !state.broken {
            return self.retry(partition, batch, SendError::Broker(error), now, backoff);
        }
        state.broken = true;
        if batch.maybe_written {
            return self.finish(batch, |_| Outcome::Unknown(SendError::Broker(error)));
        }
        self.retry(partition, batch, SendError::Broker(error), now, backoff);
    }

    fn retry(
        &mut self,
        partition: &TopicPartition,
        mut batch: Batch<T>,
        error: SendError,
        now: Instant,
        backoff: &impl Fn(u32) -> Duration,
    ) {
        if batch.attempts >= self.config.retries || now >= batch.created + self.config.delivery_timeout {
            return self.give_up(partition, batch, error);
        }
        batch.not_before = now + backoff(batch.attempts);
        batch.attempts += 1;
        let queue = &mut self.partitions.get_mut(partition).expect("it had this batch in flight").queue;
        let at = queue.iter().position(|other| other.order > batch.order).unwrap_or(queue.len());
        queue.insert(at, batch);
    }

    /// Ends a batch without success. If it had a sequence, that now has a hole.
    fn give_up(&mut self, partition: &TopicPartition, batch: Batch<T>, error: SendError) {
        if batch.encoded.is_some() && self.config.idempotent {
            self.partitions.get_mut(partition).expect("it had this batch").broken = true;
        }
        let unknown = batch.maybe_written;
        self.finish(batch, |_| if unknown { Outcome::Unknown(error.clone()) } else { Outcome::Failed(error.clone()) });
    }

    fn finish(&mut self, batch: Batch<T>, outcome: impl Fn(i64) -> Outcome) {
        self.finished.extend((0..).zip(batch.tokens).map(|(index, token)| (token, outcome(index))));
    }

    /// Gives up what waited longer than `delivery.timeout.ms` and is not in flight.
    fn expire(&mut self, now: Instant) {
        let timeout = self.config.delivery_timeout;
        let mut expired = Vec::new();
        for (partition, state) in &mut self.partitions {
            while state.queue.front().is_some_and(|batch| now >= batch.created + timeout) {
                expired.extend(state.queue.pop_front().map(|batch| (partition.clone(), batch)));
            }
        }
        for (partition, batch) in expired {
            self.give_up(&partition, batch, SendError::TimedOut);
        }
        self.partitions.retain(|_, state| {
            let idle = state.queue.is_empty() && state.in_flight.is_empty();
            !idle || state.identity.is_some()
        });
    }

    /// When something becomes ready or expires that is not ready now. What waits for a result,
    /// a leader or an identity has no time.
    #[must_use]
    pub fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let wakeups = |state: &Partition<T>| {
            let front = state.queue.front()?;
            let ready = self.ready_at(front, state.queue.len() > 1);
            [ready, front.created + self.config.delivery_timeout].into_iter().filter(|at| *at > now).min()
        };
        self.partitions.values().filter_map(wakeups).min()
    }

    /// Ends everything: what was never sent has failed, the rest is unknown.
    pub fn close(&mut self) {
        self.calls.clear();
        for (_, state) in std::mem::take(&mut self.partitions) {
            for batch in state.in_flight {
                self.finish(batch, |_| Outcome::Unknown(SendError::Closed));
            }
            for batch in state.queue {
                let unknown = batch.maybe_written;
                self.finish(batch, |_| match unknown {
                    true => Outcome::Unknown(SendError::Closed),
                    false => Outcome::Failed(SendError::Closed),
                });
            }
        }
    }
}

/// The next epoch of the same producer; none after the last, when a new id is needed.
fn raised(identity: Identity) -> Option<Identity> {
    let epoch = identity.epoch.0.checked_add(1)?;
    Some(Identity { epoch: ProducerEpoch(epoch), ..identity })
}

fn is_sequence_error(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId | ErrorCode::InvalidProducerEpoch
    )
}

#[cfg(test)]
#[path = "accumulator_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "accumulator_model_tests.rs"]
mod model_tests;
