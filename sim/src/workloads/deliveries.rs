//! The deliveries that a client waits for beside what it does: each outcome is recorded in the instant in which
//! it comes, by the client's own task.
//!
//! A task for each would be polled twice a record, and most of what a client does is to send records.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use wyrdlog::client::producer::Delivery;
use wyrdlog::runtime::{Task, Tasks};

use super::produce_consume::ProduceConsume;
use crate::engine::SimRuntime;
use crate::history::OpId;

/// What became of sends is recorded as it comes. What is left when this is dropped is waited for elsewhere.
pub(super) struct Deliveries {
    workload: Arc<ProduceConsume>,
    runtime: SimRuntime,
    awaited: Vec<(OpId, Delivery)>,
}

impl Deliveries {
    pub(super) fn new(workload: Arc<ProduceConsume>, runtime: SimRuntime) -> Self {
        Deliveries { workload, runtime, awaited: Vec::new() }
    }

    /// From now on, the outcome of `op` is waited for.
    pub(super) fn push(&mut self, op: OpId, delivery: Delivery) {
        self.awaited.push((op, delivery));
    }

    /// Records what comes while `future` is waited for.
    pub(super) async fn beside<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            record_all(&self.workload, &mut self.awaited, context);
            future.as_mut().poll(context)
        })
        .await
    }
}

/// Records what has come.
fn record_all(workload: &ProduceConsume, awaited: &mut Vec<(OpId, Delivery)>, context: &mut Context<'_>) {
    awaited.retain_mut(|(op, delivery)| match Pin::new(delivery).poll(context) {
        Poll::Ready(outcome) => {
            workload.sent(*op, outcome);
            false
        }
        Poll::Pending => true,
    });
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        let (mut awaited, workload) = (std::mem::take(&mut self.awaited), self.workload.clone());
        if awaited.is_empty() {
            return;
        }
        let rest = poll_fn(move |context| {
            record_all(&workload, &mut awaited, context);
            if awaited.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        self.runtime.spawn("delivery", rest).detach();
    }
}
