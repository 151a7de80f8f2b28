//! Claims about producer state, and the whole of it against a model that remembers everything.

use proptest::prelude::*;

use super::*;
use crate::base::ids::LeaderEpoch;

fn batch(id: i64, epoch: i16, sequence: i32, records: i32, base_offset: i64) -> BatchHeader {
    BatchHeader {
        base_offset,
        size: 100,
        leader_epoch: LeaderEpoch(0),
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: 0,
        max_timestamp: base_offset,
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        record_count: records,
    }
}

fn with_attributes(attributes: i16, batch: BatchHeader) -> BatchHeader {
    BatchHeader { attributes, ..batch }
}

const COMMIT: Option<EndMarker> = Some(EndMarker { committed: true, coordinator_epoch: 2 });

#[test]
fn sequences_continue_from_zero_after_the_largest() {
    let mut states = ProducerStates::new(0);
    states.apply(&batch(1, 0, i32::MAX - 1, 3, 0), None);
    assert_eq!(states.get(ProducerId(1)).and_then(|entry| entry.last_batch()).map(|last| last.last_sequence), Some(0));
    assert_eq!(states.check(&batch(1, 0, 1, 1, 3), None, Origin::Client), Ok(Verdict::Append));
    let duplicate = states.check(&batch(1, 0, i32::MAX - 1, 3, 3), None, Origin::Client);
    assert!(matches!(duplicate, Ok(Verdict::Duplicate(known)) if known.base_offset() == 0));
}

#[test]
fn a_sixth_batch_makes_the_first_one_unknown() {
    let mut states = ProducerStates::new(0);
    for at in 0..6 {
        states.apply(&batch(1, 0, at, 1, i64::from(at)), None);
    }
    let oldest = states.check(&batch(1, 0, 0, 1, 6), None, Origin::Client);
    assert!(matches!(oldest, Err(Refused::OutOfOrder { expected: 6, found: 0, .. })));
    let known = states.check(&batch(1, 0, 1, 1, 6), None, Origin::Client);
    assert!(matches!(known, Ok(Verdict::Duplicate(known)) if known.last_offset == 1));
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    let mut states = ProducerStates::new(0);
    states.apply(&batch(1, 3, 0, 5, 0), None);
    let late = states.check(&batch(1, 4, 5, 1, 5), None, Origin::Client);
    assert!(matches!(late, Err(Refused::OutOfOrder { expected: 0, found: 5, .. })));
    states.apply(&batch(1, 4, 0, 1, 5), None);
    let fenced = states.check(&batch(1, 3, 5, 1, 6), None, Origin::Client);
    assert!(matches!(fenced, Err(Refused::InvalidProducerEpoch { current: ProducerEpoch(4), .. })));
}

/// KIP-360: state goes with retention or expiry, and the producer does not know.
#[test]
fn a_producer_without_state_may_start_anywhere() {
    let states = ProducerStates::new(0);
    assert_eq!(states.check(&batch(1, 0, 77, 1, 0), None, Origin::Client), Ok(Verdict::Append));
    assert!(states.check(&batch(1, 0, -1, 1, 0), None, Origin::Client).is_err());
}

#[test]
fn a_batch_without_a_producer_leaves_no_state() {
    let mut states = ProducerStates::new(0);
    states.apply(&batch(-1, -1, -1, 3, 0), None);
    assert!(states.is_empty());
    assert_eq!(states.end_offset(), 3);
}

#[test]
fn a_transaction_is_open_until_its_marker() {
    let mut states = ProducerStates::new(0);
    states.apply(&with_attributes(0x10, batch(1, 0, 0, 2, 10)), None);
    assert_eq!(states.first_undecided_offset(), Some(10));
    let plain = states.check(&batch(1, 0, 2, 1, 12), None, Origin::Client);
    assert!(matches!(plain, Err(Refused::InvalidTransactionState { .. })));
    states.expire(i64::MAX, 1);
    assert_eq!(states.len(), 1, "an open transaction keeps its producer");
    let marker = with_attributes(0x30, batch(1, 0, -1, 1, 12));
    assert_eq!(states.check(&marker, COMMIT, Origin::Coordinator), Ok(Verdict::Append));
    states.apply(&marker, COMMIT);
    assert_eq!((states.first_undecided_offset(), states.end_offset()), (None, 13));
    let newer = with_attributes(0x30, batch(1, 1, -1, 1, 13));
    states.apply(&newer, COMMIT);
    let of_an_older_epoch = states.check(&marker, COMMIT, Origin::Coordinator);
    assert!(matches!(of_an_older_epoch, Err(Refused::InvalidProducerEpoch { .. })), "{of_an_older_epoch:?}");
    assert_eq!(states.check(&newer, COMMIT, Origin::Coordinator), Ok(Verdict::Append), "of the same coordinator");
    let marker = newer;
    let zombie = Some(EndMarker { committed: false, coordinator_epoch: 1 });
    assert!(matches!(states.check(&marker, zombie, Origin::Coordinator), Err(Refused::CoordinatorFenced { .. })));
    states.expire(1_000, 500);
    assert!(states.is_empty());
}

#[test]
fn a_snapshot_has_kafkas_bytes() {
    let mut states = ProducerStates::new(0);
    states.apply(&with_attributes(0x10, batch(0x0102, 3, 4, 2, 0x10)), None);
    let bytes = encode_snapshot(&states);
    let entry = [
        &0x0102i64.to_be_bytes()[..],
        &3i16.to_be_bytes(),
        &5i32.to_be_bytes(),
        &0x11i64.to_be_bytes(),
        &1i32.to_be_bytes(),
        &0x10i64.to_be_bytes(),
        &(-1i32).to_be_bytes(),
        &0x10i64.to_be_bytes(),
    ]
    .concat();
    assert_eq!(bytes[..2], [0, 1]);
    assert_eq!(bytes[6..], [&1i32.to_be_bytes()[..], &entry].concat());
    assert_eq!(bytes[2..6], crate::base::checksum::crc32c(&bytes[6..]).to_be_bytes());
    assert_eq!(ProducerStates::from_entries(decode_snapshot(&bytes).expect("valid"), 0x12), states);
    for at in 0..bytes.len() {
        let mut bad = bytes.to_vec();
        bad[at] ^= 1;
        assert!(decode_snapshot(&bad).is_err(), "byte {at}");
        assert!(decode_snapshot(&bytes[..at]).is_err(), "cut at {at}");
    }
}

/// The model: every batch that was accepted, for ever.
#[derive(Default)]
struct Model(Vec<BatchHeader>);

impl Model {
    fn judge(&self, batch: &BatchHeader) -> Option<Option<i64>> {
        let own: Vec<_> = self.0.iter().filter(|old| old.producer_id == batch.producer_id).collect();
        let Some(last) = own.last() else { return Some(None) };
        let epoch: Vec<_> = own.iter().filter(|old| old.producer_epoch == last.producer_epoch).collect();
        let same = |old: &&&&BatchHeader| {
            (old.producer_epoch, old.base_sequence, old.record_count)
                == (batch.producer_epoch, batch.base_sequence, batch.record_count)
        };
        if let Some(old) = epoch.iter().rev().take(BATCHES_REMEMBERED).rev().find(same) {
            return Some(Some(old.base_offset));
        }
        let next = (i64::from(last.base_sequence) + i64::from(last.record_count)) % (1 << 31);
        let next = if batch.producer_epoch == last.producer_epoch { next } else { 0 };
        let in_order = batch.producer_epoch >= last.producer_epoch && i64::from(batch.base_sequence) == next;
        in_order.then_some(None)
    }
}

proptest! {
    #[test]
    fn the_state_judges_as_a_model_that_forgets_nothing(
        draws in proptest::collection::vec((0..3i64, 0..3i16, 0..4u8, 1..4i32, any::<bool>()), 0..80),
    ) {
        let (mut model, mut states) = (Model::default(), ProducerStates::new(0));
        for (id, epoch, kind, records, restore) in draws {
            let last = model.0.iter().rev().find(|old| old.producer_id.0 == id);
            let next = last.map_or(i32::MAX - 4, |old| sequence_after(old.base_sequence, old.record_count));
            let sequence = match kind {
                0 | 1 => next,
                2 => 0,
                _ => last.map_or(0, |old| old.base_sequence),
            };
            let batch = batch(id, epoch, sequence, records, states.end_offset());
            let judged = match states.check(&batch, None, Origin::Client) {
                Ok(Verdict::Append) => Some(None),
                Ok(Verdict::Duplicate(known)) => Some(Some(known.base_offset())),
                Err(_) => None,
            };
            prop_assert_eq!(judged, model.judge(&batch));
            if judged == Some(None) {
                states.apply(&batch, None);
                model.0.push(batch);
            }
            if restore {
                let entries = decode_snapshot(&encode_snapshot(&states)).expect("valid");
                let restored = ProducerStates::from_entries(entries, states.end_offset());
                for (id, entry) in states.iter() {
                    let known = restored.get(id).expect("restored");
                    prop_assert_eq!((known.epoch, known.last_batch()), (entry.epoch, entry.last_batch()));
                }
            }
        }
    }
}
