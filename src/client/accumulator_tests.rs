//! The accumulator's promises: order, once, exact outcomes, bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::base::batch_header::{BatchHeader, verify};

const BACKOFF: Duration = Duration::from_millis(100);
const LINGER: Duration = Duration::from_millis(5);

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn record(bytes: usize) -> NewRecord {
    NewRecord { value: Some(Bytes::from(vec![0; bytes])), ..NewRecord::default() }
}

fn config() -> ProducerConfig {
    ProducerConfig {
        linger: LINGER,
        batch_bytes: 1_000,
        request_bytes_max: 10_000,
        delivery_timeout: Duration::from_secs(10),
        ..ProducerConfig::default()
    }
}

/// An accumulator with an identity, a clock and one broker that leads everything.
struct Scene {
    accumulator: Accumulator<u32>,
    now: Instant,
    next_token: u32,
}

impl Scene {
    fn new(config: ProducerConfig) -> Self {
        let mut accumulator = Accumulator::new(config);
        accumulator.set_identity(Identity { id: ProducerId(9), epoch: ProducerEpoch(0) });
        Scene { accumulator, now: Instant(1), next_token: 0 }
    }

    /// The same, where a first batch was written to each of so many partitions: sequence 0.
    fn known(config: ProducerConfig, partitions: i32) -> Self {
        let mut scene = Scene::new(config);
        for partition in 0..partitions {
            scene.append_batch(partition);
            let call = scene.call().expect("the first batch");
            scene.answer(&call, written(0));
        }
        scene.finished();
        scene.next_token = 0;
        scene
    }

    /// One record that fills a batch, so that each is a batch of its own.
    fn append_batch(&mut self, partition: i32) -> u32 {
        self.append(partition, 950)
    }

    fn append(&mut self, partition: i32, bytes: usize) -> u32 {
        let token = self.next_token;
        self.next_token += 1;
        self.accumulator.append(tp(partition), record(bytes), token, self.now);
        token
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    fn call(&mut self) -> Option<ProduceCall> {
        self.accumulator.next_call(self.now, |_| Some(BrokerId(1)))
    }

    fn answer(&mut self, call: &ProduceCall, result: PartitionResult) {
        let results = call.batches.iter().map(|(partition, _)| (partition.clone(), result)).collect();
        self.accumulator.complete(call.id, &Ok(results), self.now, |_| BACKOFF);
    }

    fn lose(&mut self, call: &ProduceCall) {
        let lost = Err(RequestFailed::Lost("reset".to_owned()));
        self.accumulator.complete(call.id, &lost, self.now, |_| BACKOFF);
    }

    fn finished(&mut self) -> BTreeMap<u32, Outcome> {
        self.accumulator.take_finished().into_iter().collect()
    }
}

fn header(call: &ProduceCall) -> BatchHeader {
    verify(&call.batches[0].1).expect("a valid batch")
}

fn stamp(call: &ProduceCall) -> (i16, i32) {
    (header(call).producer_epoch.0, header(call).base_sequence)
}

fn written(base_offset: i64) -> PartitionResult {
    PartitionResult::Written { base_offset: Some(base_offset) }
}

fn acknowledged(offset: i64) -> Outcome {
    Outcome::Acknowledged { offset: Some(offset) }
}

#[test]
fn records_linger_together_and_each_learns_its_offset() {
    let mut scene = Scene::new(config());
    let tokens = [scene.append(0, 10), scene.append(0, 10), scene.append(0, 10)];
    assert_eq!(scene.call(), None);
    assert_eq!(scene.accumulator.next_wakeup(scene.now), Some(scene.now + LINGER));
    scene.pass(LINGER);
    let call = scene.call().expect("the linger is over");
    assert_eq!(header(&call).record_count, 3);
    scene.answer(&call, written(40));
    let expected: BTreeMap<_, _> = tokens.into_iter().zip([40, 41, 42].map(acknowledged)).collect();
    assert_eq!(scene.finished(), expected);
    assert!(scene.accumulator.is_idle());
}

#[test]
fn a_full_batch_does_not_linger_and_flushing_does_not_either() {
    let mut scene = Scene::known(config(), 2);
    scene.append_batch(0);
    scene.append(0, 900);
    assert_eq!(header(&scene.call().expect("full")).record_count, 1);
    scene.append(1, 1);
    assert_eq!(scene.call(), None);
    scene.accumulator.set_flushing(true);
    assert_eq!(scene.call().expect("flushing").batches.len(), 2);
}

#[test]
fn sequences_count_records_per_partition() {
    let mut scene = Scene::new(config());
    let mut stamps = Vec::new();
    for _ in 0..3 {
        scene.append(0, 1);
        scene.append(0, 1);
        scene.pass(LINGER);
        let call = scene.call().expect("ready");
        stamps.push(stamp(&call));
        scene.answer(&call, written(0));
    }
    assert_eq!(stamps, [(0, 0), (0, 2), (0, 4)]);
    scene.append(1, 1);
    scene.pass(LINGER);
    assert_eq!(stamp(&scene.call().expect("ready")), (0, 0));
}

#[test]
fn at_most_five_batches_of_an_idempotent_partition_are_in_flight() {
    let mut scene = Scene::known(ProducerConfig { in_flight_max: 100, ..config() }, 1);
    for _ in 0..8 {
        scene.append_batch(0);
    }
    let calls: Vec<_> = std::iter::from_fn(|| scene.call()).collect();
    assert_eq!(calls.iter().map(|call| stamp(call).1).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    scene.answer(&calls[0], written(0));
    assert_eq!(stamp(&scene.call().expect("one came back")), (0, 6));
}

/// Three batches of a new producer were in flight to a log that had lost its beginning. The first two were
/// refused for too few in-sync replicas, the set grew, and the third was taken for the first one (KIP-360): the
/// others were written behind it, in another epoch (`swarm` seeds 20384, 20328, 10083).
#[test]
fn nothing_follows_the_first_batch_of_a_producer_before_it_is_written() {
    let mut scene = Scene::new(config());
    scene.append_batch(0);
    scene.append_batch(0);
    let first = scene.call().expect("the first batch");
    assert_eq!(scene.call(), None, "the leader does not know the producer yet");
    scene.answer(&first, PartitionResult::Error(ErrorCode::NotEnoughReplicas));
    scene.pass(BACKOFF);
    assert_eq!(scene.call().expect("sent again").batches, first.batches);
    assert_eq!(scene.call(), None);
    let again = *scene.accumulator.calls.keys().next().expect("one");
    scene.accumulator.complete(again, &Ok([(tp(0), written(0))].into()), scene.now, |_| BACKOFF);
    assert_eq!(stamp(&scene.call().expect("the second batch")), (0, 1));
    // A new epoch begins anew in every respect.
    let mut raised = Scene::known(config(), 1);
    raised.append_batch(0);
    let call = raised.call().expect("ready");
    raised.answer(&call, PartitionResult::Error(ErrorCode::UnknownProducerId));
    raised.append_batch(0);
    raised.pass(BACKOFF);
    assert_eq!(stamp(&raised.call().expect("anew")), (1, 0));
    assert_eq!(raised.call(), None);
}

/// A paused leader held two batches, and the third one was the first that its successor, which knew
/// nothing of the producer, was sent: it took sequence 2, and later 0 and 1 (`swarm` seed 147).
#[test]
fn nothing_goes_to_a_new_leader_while_earlier_batches_are_under_way_to_the_old_one() {
    let mut scene = Scene::new(config());
    scene.append_batch(0);
    let held = scene.call().expect("the first batch");
    let token = scene.append_batch(0);
    let to_the_new_leader =
        |scene: &mut Scene| scene.accumulator.next_call(scene.now, |_: &TopicPartition| Some(BrokerId(2)));
    assert_eq!(to_the_new_leader(&mut scene), None);
    scene.lose(&held);
    scene.pass(BACKOFF);
    let again = to_the_new_leader(&mut scene).expect("the first batch again");
    assert_eq!(again.batches, held.batches);
    scene.answer(&again, written(7));
    let next = to_the_new_leader(&mut scene).expect("the second batch");
    scene.answer(&next, written(8));
    assert_eq!(scene.finished().get(&token), Some(&acknowledged(8)));
}

#[test]
fn a_retry_has_the_same_bytes_and_goes_before_all_later_batches() {
    let mut scene = Scene::known(config(), 1);
    let tokens: Vec<_> = (0..3).map(|_| scene.append_batch(0)).collect();
    let calls: Vec<_> = std::iter::from_fn(|| scene.call()).collect();
    let later = scene.append_batch(0);
    let _ = scene.call();
    // The second gets lost first, then the first is refused; the third is out of order with that.
    scene.lose(&calls[1]);
    scene.answer(&calls[0], PartitionResult::Error(ErrorCode::NotEnoughReplicas));
    assert_eq!(scene.call(), None, "the rest is in flight");
    scene.answer(&calls[2], PartitionResult::Error(ErrorCode::OutOfOrderSequenceNumber));
    assert!(scene.accumulator.calls.len() == 1, "the fourth is in flight");
    let fourth = *scene.accumulator.calls.keys().next().expect("one");
    let results = Ok([(tp(0), PartitionResult::Error(ErrorCode::OutOfOrderSequenceNumber))].into());
    scene.accumulator.complete(fourth, &results, scene.now, |_| BACKOFF);
    assert_eq!(scene.call(), None, "backoff");
    scene.pass(BACKOFF);
    for (again, expected) in calls.iter().enumerate() {
        let call = scene.call().expect("sent again");
        assert_eq!(call.batches, expected.batches);
        scene.answer(&call, written(again as i64));
    }
    let call = scene.call().expect("the fourth");
    assert_eq!(stamp(&call), (0, 4));
    scene.answer(&call, written(3));
    let expected: BTreeMap<_, _> = tokens.into_iter().chain([later]).zip((0..4).map(acknowledged)).collect();
    assert_eq!(scene.finished(), expected);
}

#[test]
fn a_time_out_is_unknown_for_ever_even_if_a_later_attempt_is_refused_for_good() {
    for first in [ErrorCode::RequestTimedOut, ErrorCode::NotEnoughReplicasAfterAppend, ErrorCode::NotLeaderOrFollower] {
        let mut scene = Scene::new(config());
        let token = scene.append_batch(0);
        let call = scene.call().expect("ready");
        scene.answer(&call, PartitionResult::Error(first));
        scene.pass(BACKOFF);
        let call = scene.call().expect("retried");
        scene.answer(&call, PartitionResult::Error(ErrorCode::TopicAuthorizationFailed));
        let outcome = Outcome::Unknown(SendError::Broker(ErrorCode::TopicAuthorizationFailed));
        assert_eq!(scene.finished(), [(token, outcome)].into(), "{first}");
    }
}

#[test]
fn a_refusal_before_anything_can_have_been_written_is_a_failure() {
    let mut scene = Scene::new(config());
    let token = scene.append_batch(0);
    let call = scene.call().expect("ready");
    let not_sent = RequestFailed::NotSent("refused".to_owned());
    scene.accumulator.complete(call.id, &Err(not_sent), scene.now, |_| BACKOFF);
    assert!(scene.accumulator.take_needs().metadata.contains("t"));
    scene.pass(BACKOFF);
    let call = scene.call().expect("retried");
    scene.answer(&call, PartitionResult::Error(ErrorCode::MessageTooLarge));
    let outcome = Outcome::Failed(SendError::Broker(ErrorCode::MessageTooLarge));
    assert_eq!(scene.finished(), [(token, outcome)].into());
}

#[test]
fn without_an_answer_the_deadline_decides_between_failed_and_unknown() {
    let mut scene = Scene::new(config());
    let lost = scene.append_batch(0);
    let call = scene.call().expect("ready");
    scene.lose(&call);
    let never_sent = scene.append_batch(1);
    scene.pass(Duration::from_secs(10));
    assert_eq!(scene.accumulator.next_call(scene.now, |_| None), None);
    let expected = [(lost, Outcome::Unknown(SendError::TimedOut)), (never_sent, Outcome::Failed(SendError::TimedOut))];
    assert_eq!(scene.finished(), expected.into());
}

#[test]
fn giving_up_a_batch_raises_the_epoch_and_the_rest_gets_new_sequences() {
    let mut scene = Scene::known(config(), 1);
    let first = scene.append_batch(0);
    let second = scene.append_batch(0);
    let calls: Vec<_> = std::iter::from_fn(|| scene.call()).collect();
    scene.answer(&calls[0], PartitionResult::Error(ErrorCode::MessageTooLarge));
    scene.answer(&calls[1], PartitionResult::Error(ErrorCode::OutOfOrderSequenceNumber));
    scene.pass(BACKOFF);
    let call = scene.call().expect("the second, anew");
    assert_eq!(stamp(&call), (1, 0));
    scene.answer(&call, written(7));
    let failed = Outcome::Failed(SendError::Broker(ErrorCode::MessageTooLarge));
    assert_eq!(scene.finished(), [(first, failed), (second, acknowledged(7))].into());
    // Another partition goes on under the epoch that it began with until it needs another.
    scene.append_batch(1);
    assert_eq!(stamp(&scene.call().expect("ready")), (1, 0));
}

#[test]
fn a_batch_that_may_be_written_is_never_sent_under_another_sequence() {
    let mut scene = Scene::known(config(), 1);
    let first = scene.append_batch(0);
    let second = scene.append_batch(0);
    let calls: Vec<_> = std::iter::from_fn(|| scene.call()).collect();
    scene.answer(&calls[0], PartitionResult::Error(ErrorCode::MessageTooLarge));
    scene.lose(&calls[1]);
    scene.pass(BACKOFF);
    assert_eq!(scene.call(), None, "it must not be sent again");
    let finished = scene.finished();
    assert!(matches!(finished[&first], Outcome::Failed(_)));
    assert!(matches!(finished[&second], Outcome::Unknown(_)));
}

#[test]
fn an_unknown_producer_id_begins_anew_under_a_raised_epoch() {
    let mut scene = Scene::new(config());
    scene.append_batch(0);
    let call = scene.call().expect("ready");
    scene.answer(&call, written(0));
    let token = scene.append_batch(0);
    let call = scene.call().expect("ready");
    assert_eq!(stamp(&call), (0, 1));
    scene.answer(&call, PartitionResult::Error(ErrorCode::UnknownProducerId));
    scene.pass(BACKOFF);
    let call = scene.call().expect("anew");
    assert_eq!(stamp(&call), (1, 0));
    scene.answer(&call, written(1));
    assert_eq!(scene.finished()[&token], acknowledged(1));
}

#[test]
fn after_the_last_epoch_a_new_producer_id_is_asked_for() {
    let mut scene = Scene::new(config());
    scene.accumulator.set_identity(Identity { id: ProducerId(9), epoch: ProducerEpoch(i16::MAX) });
    scene.append_batch(0);
    let call = scene.call().expect("ready");
    scene.answer(&call, PartitionResult::Error(ErrorCode::UnknownProducerId));
    scene.pass(BACKOFF);
    assert_eq!(scene.call(), None);
    assert!(scene.accumulator.take_needs().identity);
    scene.accumulator.set_identity(Identity { id: ProducerId(10), epoch: ProducerEpoch(0) });
    let call = scene.call().expect("with the new id");
    assert_eq!((header(&call).producer_id, stamp(&call)), (ProducerId(10), (0, 0)));
}

#[test]
fn nothing_is_sent_before_leader_and_identity_are_known() {
    let mut accumulator = Accumulator::new(config());
    accumulator.append(tp(0), record(950), 0, Instant(1));
    let later = Instant(1) + LINGER;
    assert_eq!(accumulator.next_call(later, |_| Some(BrokerId(1))), None);
    assert!(accumulator.take_needs().identity);
    accumulator.set_identity(Identity { id: ProducerId(1), epoch: ProducerEpoch(0) });
    assert_eq!(accumulator.next_call(later, |_| None), None);
    assert!(accumulator.take_needs().metadata.contains("t"));
    assert!(accumulator.next_call(later, |_| Some(BrokerId(1))).is_some());
}

#[test]
fn without_idempotence_batches_carry_no_producer() {
    let mut scene = Scene::new(ProducerConfig { idempotent: false, acks: Acks::None, ..config() });
    let token = scene.append_batch(0);
    let call = scene.call().expect("ready");
    assert!(!header(&call).is_idempotent());
    scene.answer(&call, PartitionResult::Written { base_offset: None });
    assert_eq!(scene.finished(), [(token, Outcome::Acknowledged { offset: None })].into());
}

#[test]
fn a_request_holds_one_batch_a_partition_up_to_its_limit_and_none_starves() {
    let mut scene = Scene::known(ProducerConfig { request_bytes_max: 2_500, ..config() }, 4);
    for partition in 0..4 {
        scene.append_batch(partition);
        scene.append_batch(partition);
    }
    let partitions = |call: &ProduceCall| call.batches.iter().map(|(one, _)| one.partition).collect::<Vec<_>>();
    let calls: Vec<_> = std::iter::from_fn(|| scene.call()).map(|call| partitions(&call)).collect();
    assert_eq!(calls, [[0, 1], [2, 3], [0, 1], [2, 3]]);
}

#[test]
fn a_record_beyond_the_request_limit_fails_at_once() {
    let mut scene = Scene::new(config());
    let token = scene.append(0, 10_000);
    assert!(matches!(scene.finished()[&token], Outcome::Failed(SendError::TooLarge { .. })));
}

#[test]
fn closing_tells_what_was_sent_from_what_was_not() {
    let mut scene = Scene::new(config());
    let sent = scene.append_batch(0);
    let call = scene.call().expect("ready");
    let unsent = scene.append_batch(1);
    scene.accumulator.close();
    let expected = [(sent, Outcome::Unknown(SendError::Closed)), (unsent, Outcome::Failed(SendError::Closed))];
    assert_eq!(scene.finished(), expected.into());
    scene.answer(&call, written(0));
    assert!(scene.finished().is_empty(), "an answer after the end changes nothing");
}
