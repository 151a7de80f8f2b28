//! Who waits for something to happen in a partition: producers for the high watermark, fetches for
//! records.
//!
//! Both lists are bounded by those who still wait: what timed out or lost its connection is swept
//! out whenever a list has doubled, so that a partition that cannot commit holds no garbage.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::{Notify, oneshot};

use crate::base::ids::LeaderEpoch;
use crate::wire::kafka::ErrorCode;

/// Below so many, nothing is swept.
const SWEEP_FROM: usize = 64;

/// What a producer is told in the end.
pub type Verdict = Result<(), ErrorCode>;

/// A batch whose producer waits for the whole in-sync set.
#[derive(Debug)]
pub struct WaitingProducer {
    /// The epoch in which it was appended.
    pub leader_epoch: LeaderEpoch,
    /// Its first offset.
    pub base_offset: i64,
    /// Its last offset.
    pub last_offset: i64,
    /// Takes the answer; closed once nobody waits any more.
    pub answer: oneshot::Sender<Verdict>,
}

/// The producers that wait for the high watermark, in the order of their offsets.
#[derive(Debug)]
pub struct WaitingProducers {
    queue: VecDeque<WaitingProducer>,
    sweep_at: usize,
}

impl Default for WaitingProducers {
    fn default() -> Self {
        WaitingProducers { queue: VecDeque::new(), sweep_at: SWEEP_FROM }
    }
}

impl WaitingProducers {
    /// Adds one. A retried batch may lie before others.
    pub fn push(&mut self, producer: WaitingProducer) {
        if self.queue.len() >= self.sweep_at {
            self.queue.retain(|waiting| !waiting.answer.is_closed());
            self.sweep_at = (2 * self.queue.len()).max(SWEEP_FROM);
        }
        let at = self.queue.partition_point(|waiting| waiting.last_offset <= producer.last_offset);
        self.queue.insert(at, producer);
    }

    /// The next one that the high watermark has passed and that still waits.
    pub fn pop_below(&mut self, high_watermark: i64) -> Option<WaitingProducer> {
        while self.queue.front().is_some_and(|first| first.last_offset < high_watermark) {
            match self.queue.pop_front() {
                Some(passed) if !passed.answer.is_closed() => return Some(passed),
                _ => {}
            }
        }
        None
    }

    /// Tells all of them that it did not work out.
    pub fn refuse_all(&mut self, error: ErrorCode) {
        for waiting in self.queue.drain(..) {
            // Who has gone no longer wants to know.
            let _ = waiting.answer.send(Err(error));
        }
    }
}

/// A fetch that waits for records, or for a reason to answer without.
#[derive(Debug, Default)]
pub struct WaitingFetch {
    /// Raised when it should look again.
    pub wake: Notify,
    hurried: AtomicBool,
}

impl WaitingFetch {
    /// The client has sent another request: it must not wait behind this one.
    pub fn hurry(&self) {
        self.hurried.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether it should answer with what there is.
    pub fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Acquire)
    }
}

/// The fetches that wait at one partition.
#[derive(Debug)]
pub struct WaitingFetches {
    list: Vec<Weak<WaitingFetch>>,
    sweep_at: usize,
}

impl Default for WaitingFetches {
    fn default() -> Self {
        WaitingFetches { list: Vec::new(), sweep_at: SWEEP_FROM }
    }
}

impl WaitingFetches {
    /// Adds one, which is woken until it is dropped.
    pub fn push(&mut self, fetch: &Arc<WaitingFetch>) {
        if self.list.len() >= self.sweep_at {
            self.list.retain(|waiting| waiting.strong_count() > 0);
            self.sweep_at = (2 * self.list.len()).max(SWEEP_FROM);
        }
        self.list.push(Arc::downgrade(fetch));
    }

    /// Has all of them look again.
    pub fn wake_all(&mut self) {
        self.list.retain(|waiting| waiting.upgrade().inspect(|fetch| fetch.wake.notify_one()).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(base_offset: i64, last_offset: i64) -> (WaitingProducer, oneshot::Receiver<Verdict>) {
        let (answer, receiver) = oneshot::channel();
        (WaitingProducer { leader_epoch: LeaderEpoch(1), base_offset, last_offset, answer }, receiver)
    }

    #[test]
    fn producers_are_answered_in_the_order_of_their_offsets_and_not_before_the_high_watermark() {
        let mut waiting = WaitingProducers::default();
        let mut receivers = Vec::new();
        for (base, last) in [(10, 14), (15, 15), (2, 4)] {
            let (producer, receiver) = producer(base, last);
            waiting.push(producer);
            receivers.push(receiver);
        }
        let passed: Vec<i64> =
            std::iter::from_fn(|| waiting.pop_below(15)).map(|producer| producer.base_offset).collect();
        assert_eq!(passed, [2, 10]);
        waiting.refuse_all(ErrorCode::NotLeaderOrFollower);
        assert_eq!(receivers[1].try_recv(), Ok(Err(ErrorCode::NotLeaderOrFollower)));
    }

    #[test]
    fn producers_that_gave_up_are_neither_answered_nor_kept() {
        let mut waiting = WaitingProducers::default();
        let (kept, _receiver) = producer(0, 0);
        waiting.push(kept);
        for offset in 1..10_000 {
            waiting.push(producer(offset, offset).0);
            assert!(waiting.queue.len() <= 2 * SWEEP_FROM);
        }
        assert_eq!(waiting.pop_below(i64::MAX).map(|producer| producer.base_offset), Some(0));
        assert!(waiting.pop_below(i64::MAX).is_none());
    }

    #[test]
    fn producers_are_swept_out_when_the_queue_is_full_and_not_before() {
        let mut waiting = WaitingProducers::default();
        let lengths: Vec<usize> = (0..2 * SWEEP_FROM as i64)
            .map(|offset| {
                waiting.push(producer(offset, offset).0);
                waiting.queue.len()
            })
            .collect();
        let filling: Vec<usize> = (1..=SWEEP_FROM).collect();
        assert_eq!(lengths, [filling.clone(), filling].concat());
    }

    #[test]
    fn fetches_that_are_gone_are_not_kept() {
        let mut waiting = WaitingFetches::default();
        let kept = Arc::new(WaitingFetch::default());
        waiting.push(&kept);
        for _ in 0..10_000 {
            waiting.push(&Arc::new(WaitingFetch::default()));
            assert!(waiting.list.len() <= 2 * SWEEP_FROM);
        }
        waiting.wake_all();
        assert_eq!(waiting.list.len(), 1);
    }
}
