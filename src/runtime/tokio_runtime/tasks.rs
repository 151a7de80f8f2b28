//! Tasks on tokio's executor, and blocking work on its thread pool.

#![allow(clippy::disallowed_methods, reason = "these are the tasks that others are given")]

use std::any::Any;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use super::TokioRuntime;
use crate::runtime::{Task, Tasks};

/// A running task. Dropping it cancels the task.
#[derive(Debug)]
pub struct TokioTask {
    handle: JoinHandle<()>,
    detached: bool,
}

impl Tasks for TokioRuntime {
    type Task = TokioTask;

    fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> TokioTask {
        let node = self.clone();
        let handle = self.node.executor.spawn(log_panic(node, name, future));
        TokioTask { handle, detached: false }
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let work = self.node.executor.spawn_blocking(work);
        async move {
            match work.await {
                Ok(output) => output,
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                // The executor is being shut down, and with it whoever waits here.
                Err(_) => pending().await,
            }
        }
    }

    fn yield_now(&self) -> impl Future<Output = ()> + Send + 'static {
        tokio::task::yield_now()
    }
}

impl Task for TokioTask {
    fn detach(mut self) {
        self.detached = true;
    }

    fn cancel(&self) {
        self.handle.abort();
    }
}

impl Future for TokioTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // An error means that it was cancelled, or panicked in a destructor: it ended.
        Pin::new(&mut self.handle).poll(context).map(|_| ())
    }
}

impl Drop for TokioTask {
    fn drop(&mut self) {
        if !self.detached {
            self.handle.abort();
        }
    }
}

/// Ends the task where `future` panics, and says so: nobody may be waiting for its handle.
async fn log_panic(node: TokioRuntime, name: &'static str, future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    poll_fn(|context| {
        // The future is not polled again after a panic, so nobody sees what it left half done.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(panic) => {
                tracing::error!(node = node.name(), task = name, "panicked: {}", message(panic.as_ref()));
                Poll::Ready(())
            }
        }
    })
    .await;
}

/// What `panic!` was given.
fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (None, Some(message)) => message,
        (None, None) => "(no message)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_panic_is_kept() {
        for (panic, expected) in [
            (Box::new("literal") as Box<dyn Any + Send>, "literal"),
            (Box::new(String::from("formatted")), "formatted"),
            (Box::new(7), "(no message)"),
        ] {
            assert_eq!(message(panic.as_ref()), expected);
        }
    }
}
