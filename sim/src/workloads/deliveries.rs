//! The deliveries that a client waits for beside what it does: each outcome is recorded in the instant in which
//! it comes, by the client's own task.
//!
//! A task for each would be polled twice a record, and most of what a client does is to send records. The
//! deliveries wake the client through [`Bell`], which tells its other wake-ups from theirs: thirty are under
//! way at a time, and nearly always none of them has come.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use wyrdlog::client::producer::Delivery;
use wyrdlog::runtime::{Task, Tasks};

use super::produce_consume::ProduceConsume;
use crate::engine::SimRuntime;
use crate::history::OpId;

/// What became of sends is recorded as it comes. What is left when this is dropped is waited for elsewhere.
pub(super) struct Deliveries {
    workload: Arc<ProduceConsume>,
    runtime: SimRuntime,
    awaited: Awaited,
}

/// Deliveries, and what tells that one has come.
struct Awaited {
    deliveries: Vec<(OpId, Delivery)>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// What deliveries wake: it remembers that it rang, and wakes the task.
#[derive(Default)]
struct Bell {
    rang: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        task.iter().for_each(Waker::wake_by_ref);
    }
}

impl Bell {
    /// From now on it wakes the task of `context`.
    fn wakes(&self, context: &Context<'_>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
    }
}

impl Deliveries {
    pub(super) fn new(workload: Arc<ProduceConsume>, runtime: SimRuntime) -> Self {
        Deliveries { workload, runtime, awaited: Awaited::new() }
    }

    /// From now on, the outcome of `op` is waited for.
    pub(super) fn push(&mut self, op: OpId, delivery: Delivery) {
        self.awaited.push(&self.workload, op, delivery);
    }

    /// Records what comes while `future` is waited for.
    pub(super) async fn beside<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.awaited.record(&self.workload, context);
            future.as_mut().poll(context)
        })
        .await
    }
}

impl Awaited {
    fn new() -> Self {
        let bell = Arc::new(Bell::default());
        Awaited { deliveries: Vec::new(), waker: Waker::from(bell.clone()), bell }
    }

    /// It is asked once at once, so that it knows whom to wake.
    fn push(&mut self, workload: &ProduceConsume, op: OpId, mut delivery: Delivery) {
        match Pin::new(&mut delivery).poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(outcome) => workload.sent(op, outcome),
            Poll::Pending => self.deliveries.push((op, delivery)),
        }
    }

    /// Records what has come.
    fn record(&mut self, workload: &ProduceConsume, context: &Context<'_>) {
        self.bell.wakes(context);
        if !self.bell.rang.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut context = Context::from_waker(&self.waker);
        self.deliveries.retain_mut(|(op, delivery)| match Pin::new(delivery).poll(&mut context) {
            Poll::Ready(outcome) => {
                workload.sent(*op, outcome);
                false
            }
            Poll::Pending => true,
        });
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        let (mut awaited, workload) = (std::mem::replace(&mut self.awaited, Awaited::new()), self.workload.clone());
        if awaited.deliveries.is_empty() {
            return;
        }
        let rest = poll_fn(move |context| {
            awaited.record(&workload, context);
            if awaited.deliveries.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        self.runtime.spawn("delivery", rest).detach();
    }
}
