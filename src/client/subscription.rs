//! Where a consumer stands in each of its partitions, without I/O.
//!
//! A position is an offset and the leader epoch of the record before it. When the leader's epoch
//! has moved on, the position is checked against the new leader's history before anything is
//! fetched (KIP-320), so that a truncation is seen instead of silently read past. A position that
//! is out of range or truncated is given up and reported; where to go on is for the caller to say.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::config::Isolation;
use super::connection::RequestFailed;
use crate::base::ids::{LeaderEpoch, TopicPartition};
use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::batch::Header;
use crate::wire::kafka::fetch::{AbortedTransaction, FetchedPartition};
use crate::wire::kafka::records::{BadRecords, DecodedBatch, batches};

/// The next record to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its offset, or a later one's.
    pub offset: i64,
    /// The leader epoch of the record before it, if one was read.
    pub epoch: Option<LeaderEpoch>,
}

/// A place that a broker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first record that is still there.
    Earliest,
    /// After the last record that may be read.
    Latest,
    /// The first record with this timestamp or a later one.
    AtTime(i64),
}

impl OffsetSpec {
    /// As ListOffsets has it.
    #[must_use]
    pub fn to_wire(self) -> i64 {
        match self {
            OffsetSpec::Earliest => -2,
            OffsetSpec::Latest => -1,
            OffsetSpec::AtTime(timestamp_ms) => timestamp_ms,
        }
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// Where from.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// The epoch of the leader that took it.
    pub leader_epoch: LeaderEpoch,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<Header>,
}

/// Why a partition gave no records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The position is not within the log. It is given up: seek.
    #[error("offset {0} is out of range")]
    OutOfRange(i64),
    /// The log was truncated below the position (KIP-320). It is given up: seek.
    #[error("the log was truncated to offset {diverging_offset}, below the position {position}")]
    Truncated {
        /// Where the consumer stood.
        position: i64,
        /// Where the leader's history departs from what was read; -1 if it knows no such epoch.
        diverging_offset: i64,
    },
    /// What came is damaged.
    #[error(transparent)]
    Damaged(#[from] BadRecords),
    /// The broker refused.
    #[error("{0}")]
    Broker(ErrorCode),
    /// The broker did not answer.
    #[error("{0}")]
    Request(RequestFailed),
    /// No leader is known.
    #[error("no leader is known")]
    NoLeader,
}

#[derive(Clone, Debug, Default)]
struct State {
    position: Option<Position>,
    /// To be asked of the leader, then it becomes the position.
    seek: Option<OffsetSpec>,
    /// The leader epoch against which the position was checked last.
    checked_epoch: Option<LeaderEpoch>,
}

/// The partitions of a consumer and where it stands in them.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    partitions: BTreeMap<TopicPartition, State>,
    isolation: Isolation,
}

impl Subscription {
    /// No partitions.
    #[must_use]
    pub fn new(isolation: Isolation) -> Self {
        Subscription { partitions: BTreeMap::new(), isolation }
    }

    /// Takes exactly these partitions; keeps the positions of those that stay.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        let wanted: BTreeSet<_> = partitions.into_iter().collect();
        self.partitions.retain(|partition, _| wanted.contains(partition));
        for partition in wanted {
            self.partitions.entry(partition).or_default();
        }
    }

    /// The partitions.
    pub fn assigned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// Goes to `position`. Without effect on partitions that are not assigned.
    pub fn seek(&mut self, partition: &TopicPartition, position: Position) {
        if let Some(state) = self.partitions.get_mut(partition) {
            *state = State { position: Some(position), seek: None, checked_epoch: None };
        }
    }

    /// Goes to a place that the leader is asked for.
    pub fn seek_to(&mut self, partition: &TopicPartition, spec: OffsetSpec) {
        if let Some(state) = self.partitions.get_mut(partition) {
            *state = State { position: None, seek: Some(spec), checked_epoch: None };
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<Position> {
        self.partitions.get(partition)?.position
    }

    /// The places that leaders have to be asked for.
    #[must_use]
    pub fn seeks(&self) -> Vec<(TopicPartition, OffsetSpec)> {
        self.partitions.iter().filter_map(|(partition, state)| Some((partition.clone(), state.seek?))).collect()
    }

    /// The partition's position and its epoch, if that must be checked against a leader of
    /// `leader_epoch` before fetching.
    #[must_use]
    pub fn to_check(&self, partition: &TopicPartition, leader_epoch: LeaderEpoch) -> Option<(Position, LeaderEpoch)> {
        let state = self.partitions.get(partition)?;
        let position = state.position?;
        let unchecked = state.checked_epoch.is_none_or(|checked| checked < leader_epoch);
        (unchecked && leader_epoch.0 >= 0).then_some((position, position.epoch?))
    }

    /// Takes the answer to a [check](Self::to_check): where the epoch of the position ends in the
    /// history of the leader of `leader_epoch`.
    pub fn checked(
        &mut self,
        partition: &TopicPartition,
        leader_epoch: LeaderEpoch,
        told_epoch: i32,
        end_offset: i64,
    ) -> Result<(), Problem> {
        let Some(state) = self.partitions.get_mut(partition) else { return Ok(()) };
        let Some(position) = state.position else { return Ok(()) };
        if told_epoch < 0 || end_offset < position.offset {
            *state = State::default();
            return Err(Problem::Truncated { position: position.offset, diverging_offset: end_offset });
        }
        state.checked_epoch = Some(leader_epoch);
        Ok(())
    }

    /// Gives up a position that is out of range, if it still is the one that was fetched from.
    pub fn out_of_range(&mut self, partition: &TopicPartition, fetched_from: i64) -> Option<Problem> {
        let state = self.partitions.get_mut(partition)?;
        state.position.filter(|position| position.offset == fetched_from)?;
        *state = State::default();
        Some(Problem::OutOfRange(fetched_from))
    }

    /// Takes what was fetched from the position, and advances it. Records below the position,
    /// which come when it is within a batch, are left out, as are control records and, for
    /// read_committed, what was aborted. With damage, the records before it count.
    pub fn take(
        &mut self,
        partition: &TopicPartition,
        fetched_from: i64,
        fetched: FetchedPartition,
    ) -> (Vec<ConsumedRecord>, Option<Problem>) {
        let isolation = self.isolation;
        let position = self.partitions.get_mut(partition).and_then(|state| state.position.as_mut());
        let Some(position) = position.filter(|position| position.offset == fetched_from) else {
            return (Vec::new(), None);
        };
        let mut aborted = Aborted::new(isolation, fetched.aborted_transactions.unwrap_or_default());
        let bytes = match <[Bytes; 1]>::try_from(fetched.records) {
            Ok([bytes]) => bytes,
            Err(parts) => Bytes::from(parts.concat()),
        };
        let mut records = Vec::new();
        for batch in batches(bytes) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return (records, Some(error.into())),
            };
            let (next, epoch) = (batch.header.next_offset(), batch.header.leader_epoch);
            if next <= position.offset {
                continue;
            }
            if !aborted.hides(&batch) {
                let new = batch.records.into_iter().filter(|record| record.offset >= position.offset);
                records.extend(new.map(|record| consumed(partition, record)));
            }
            *position = Position { offset: next, epoch: Some(epoch).filter(|epoch| epoch.0 >= 0) };
        }
        (records, None)
    }
}

fn consumed(partition: &TopicPartition, record: crate::wire::kafka::records::Record) -> ConsumedRecord {
    ConsumedRecord {
        partition: partition.clone(),
        offset: record.offset,
        leader_epoch: record.leader_epoch,
        timestamp_ms: record.timestamp_ms,
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}

/// The producers whose transaction is being skipped at this place of the log (KIP-98).
struct Aborted {
    isolation: Isolation,
    /// Not yet reached, the nearest last.
    ahead: Vec<AbortedTransaction>,
    skipped: BTreeSet<i64>,
}

impl Aborted {
    fn new(isolation: Isolation, mut ahead: Vec<AbortedTransaction>) -> Self {
        ahead.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Aborted { isolation, ahead, skipped: BTreeSet::new() }
    }

    fn hides(&mut self, batch: &DecodedBatch) -> bool {
        let header = &batch.header;
        while let Some(transaction) = self.ahead.pop_if(|next| next.first_offset <= header.last_offset()) {
            self.skipped.insert(transaction.producer_id);
        }
        if header.is_control() {
            if is_abort_marker(batch) {
                self.skipped.remove(&header.producer_id.0);
            }
            return true;
        }
        self.isolation == Isolation::ReadCommitted
            && header.is_transactional()
            && self.skipped.contains(&header.producer_id.0)
    }
}

/// A control record's key is a version and a type, two bytes each; type 0 aborts.
fn is_abort_marker(batch: &DecodedBatch) -> bool {
    let key = batch.records.first().and_then(|record| record.key.as_ref());
    key.is_some_and(|key| key.len() >= 4 && key[2..4] == [0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::batch_header;
    use crate::base::ids::{ProducerEpoch, ProducerId};
    use crate::wire::kafka::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};

    fn partition() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn batch(base_offset: i64, epoch: i32, records: usize, producer: Option<i64>) -> Bytes {
        let builder = RecordBatchBuilder::new().transactional(producer.is_some());
        let mut builder = builder.stored_at(base_offset, LeaderEpoch(epoch));
        (0..records).for_each(|_| builder.push(NewRecord::default()));
        let stamp = producer.map_or(ProducerStamp::NONE, |id| ProducerStamp {
            id: ProducerId(id),
            epoch: ProducerEpoch(0),
            base_sequence: 0,
        });
        builder.build(stamp).expect("builds")
    }

    fn at(offset: i64) -> Subscription {
        let mut subscription = Subscription::new(Isolation::ReadCommitted);
        subscription.assign([partition()]);
        subscription.seek(&partition(), Position { offset, epoch: None });
        subscription
    }

    fn fetched(records: Vec<Bytes>) -> FetchedPartition {
        FetchedPartition { records, ..FetchedPartition::empty(0) }
    }

    fn offsets(records: &[ConsumedRecord]) -> Vec<i64> {
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn a_position_within_a_batch_leaves_out_the_records_below_it() {
        let mut subscription = at(12);
        let (records, problem) = subscription.take(&partition(), 12, fetched(vec![batch(10, 3, 4, None)]));
        assert_eq!((offsets(&records), problem), (vec![12, 13], None));
        let position = Position { offset: 14, epoch: Some(LeaderEpoch(3)) };
        assert_eq!(subscription.position(&partition()), Some(position));
    }

    #[test]
    fn an_answer_to_a_position_that_was_left_is_ignored() {
        let mut subscription = at(12);
        let (records, problem) = subscription.take(&partition(), 5, fetched(vec![batch(5, 3, 4, None)]));
        assert_eq!((records, problem), (vec![], None));
        assert_eq!(subscription.out_of_range(&partition(), 5), None);
    }

    #[test]
    fn a_new_leader_epoch_is_checked_once_and_a_truncation_is_reported() {
        let mut subscription = at(0);
        assert_eq!(subscription.to_check(&partition(), LeaderEpoch(9)), None, "nothing was read yet");
        let _ = subscription.take(&partition(), 0, fetched(vec![batch(0, 3, 5, None)]));
        let position = Position { offset: 5, epoch: Some(LeaderEpoch(3)) };
        assert_eq!(subscription.to_check(&partition(), LeaderEpoch(4)), Some((position, LeaderEpoch(3))));
        assert_eq!(subscription.checked(&partition(), LeaderEpoch(4), 3, 5), Ok(()));
        assert_eq!(subscription.to_check(&partition(), LeaderEpoch(4)), None);
        assert_eq!(
            subscription.checked(&partition(), LeaderEpoch(5), 3, 2),
            Err(Problem::Truncated { position: 5, diverging_offset: 2 })
        );
        assert_eq!(subscription.position(&partition()), None);
    }

    #[test]
    fn damage_is_reported_after_the_records_before_it() {
        let mut damaged = batch(2, 1, 2, None).to_vec();
        damaged[70] ^= 1;
        let mut subscription = at(0);
        let parts = vec![batch(0, 1, 2, None), Bytes::from(damaged)];
        let (records, problem) = subscription.take(&partition(), 0, fetched(parts));
        assert_eq!(offsets(&records), [0, 1]);
        assert!(matches!(problem, Some(Problem::Damaged(_))));
        assert_eq!(subscription.position(&partition()).map(|position| position.offset), Some(2));
    }

    /// The marker that ends a transaction, of the type that aborts.
    fn abort_marker(offset: i64, producer: i64) -> Bytes {
        let mut builder = RecordBatchBuilder::new().transactional(true).stored_at(offset, LeaderEpoch(0));
        builder.push(NewRecord { key: Some(Bytes::from_static(&[0; 4])), ..NewRecord::default() });
        let stamp = ProducerStamp { id: ProducerId(producer), epoch: ProducerEpoch(0), base_sequence: -1 };
        let mut bytes = builder.build(stamp).expect("builds").to_vec();
        bytes[22] |= 0x20;
        let crc = crate::base::checksum::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        batch_header::verify(&bytes).expect("a control batch");
        Bytes::from(bytes)
    }

    #[test]
    fn an_aborted_transaction_is_hidden_up_to_its_marker_and_the_next_one_is_seen() {
        let mut subscription = at(0);
        let parts = vec![batch(0, 0, 2, Some(7)), batch(2, 0, 1, Some(8)), abort_marker(3, 7), batch(4, 0, 1, Some(7))];
        let aborted = Some(vec![AbortedTransaction { producer_id: 7, first_offset: 0 }]);
        let fetched = FetchedPartition { aborted_transactions: aborted, ..fetched(parts) };
        let (records, problem) = subscription.take(&partition(), 0, fetched);
        assert_eq!((offsets(&records), problem), (vec![2, 4], None));
        assert_eq!(subscription.position(&partition()).map(|position| position.offset), Some(5));
    }
}
