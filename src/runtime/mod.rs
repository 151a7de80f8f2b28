//! The world as one node sees it: its clock, its tasks, its network, its disk, its randomness and
//! whoever observes it.
//!
//! A [`Runtime`] is a cloneable handle of *one node*. All that a node can reach travels with that
//! handle, so that a node cannot reach outside itself by accident. Nodes are generic over it; the
//! same code runs on [`tokio_runtime`] and inside a simulator. No method says which world it is.
//!
//! Each method's doc is a contract, and one conformance suite holds every implementation to it.
//!
//! **After the end.** A node that was stopped, crashed or cut off from power is dead *before* its
//! tasks are dropped: from then on its handles do nothing. Operations fail, writes are ignored and
//! nothing is observed, so that no destructor can send a byte, write a marker or tell a story.

pub mod disk;
pub mod join;
pub mod network;
pub mod outbox;
pub mod select;
#[cfg(test)]
pub(crate) mod test_disk;
#[cfg(test)]
mod test_stream;
pub mod timeout;
pub mod tokio_runtime;
pub mod watch;

use std::future::Future;
use std::time::Duration;

use crate::base::event::Event;
use crate::base::time::Instant;

pub use disk::{Disk, Entry, File, OpenMode};
pub use join::join_all;
pub use network::{Listener, Network, Stream, StreamReader, StreamWriter};
pub use outbox::Outbox;
pub use select::{Either, select};
pub use timeout::{TimedOut, timeout, timeout_at};

/// Everything that a node may reach.
pub trait Runtime: Clock + Tasks + Network + Disk + Random + Observe + Clone + Send + Sync + 'static {
    /// Whether planted bugs can be switched on. False wherever real clients are served: the
    /// branches of plants are then compiled out (see [`crate::base::plants`]).
    const PLANTS: bool;
}

/// A node's clocks.
pub trait Clock: Send + Sync {
    /// The monotonic clock: never goes back within one incarnation, and goes on while the node is
    /// paused. Its rate may differ slightly from another node's.
    fn now(&self) -> Instant;

    /// The wall clock, in milliseconds since the Unix epoch. It may jump in either direction at
    /// any instant, and may be wrong by any amount: it stamps records and nothing is decided by it.
    fn wall_clock_ms(&self) -> i64;

    /// Completes when the monotonic clock has reached `deadline`, never before, and at once if it
    /// has already. Dropping the future cancels the timer and frees all that it held.
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + 'static;

    /// Completes after `duration`, as [`Clock::sleep_until`].
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.sleep_until(self.now() + duration)
    }
}

/// A node's concurrent tasks. Their order of execution is not defined; each poll runs alone on its
/// thread, and code between two awaits of one task is never interleaved with itself.
pub trait Tasks: Send + Sync {
    /// A running task. Dropping it cancels the task.
    type Task: Task;

    /// Runs `future` concurrently. `name` appears in logs and traces. A panic in the task ends the
    /// node's process in a simulation and is logged on a real runtime; it is always our bug.
    fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Self::Task;

    /// Runs `work`, which may compute for long or block, away from the tasks, and completes with
    /// its result. Dropping the future does not stop the work.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static;

    /// Lets other ready tasks run first.
    fn yield_now(&self) -> impl Future<Output = ()> + Send + 'static;
}

/// A handle of a spawned task. As a future it completes when the task has ended, whether it ran to
/// its end or was cancelled.
pub trait Task: Future<Output = ()> + Send + Sync + Unpin + 'static {
    /// Lets the task run on without its handle, until it ends or its node does.
    fn detach(self);

    /// Cancels the task: it is dropped at its present await, soon and without being polled again.
    fn cancel(&self);
}

/// A node's randomness: one stream per purpose, so that one more draw in one place shifts no other.
pub trait Random: Send + Sync {
    /// The next value of the stream named `purpose`, uniform over all 64-bit values. In a
    /// simulation it depends on the seed, the node, its incarnation, `purpose` and how often that
    /// stream was drawn from, and on nothing else.
    fn random_u64(&self, purpose: &'static str) -> u64;

    /// A value in `0..bound`; 0 if `bound` is 0. Its bias is below 2^-32 for bounds below 2^32.
    fn random_below(&self, purpose: &'static str, bound: u64) -> u64 {
        ((u128::from(self.random_u64(purpose)) * u128::from(bound)) >> 64) as u64
    }

    /// A duration in `shortest..=longest`, uniform in nanoseconds.
    fn random_duration(&self, purpose: &'static str, shortest: Duration, longest: Duration) -> Duration {
        let spread = longest.saturating_sub(shortest).as_nanos();
        let spread = u64::try_from(spread).unwrap_or(u64::MAX - 1);
        shortest + Duration::from_nanos(self.random_below(purpose, spread + 1))
    }
}

/// Whoever watches the node.
pub trait Observe: Send + Sync {
    /// Tells the observers of the event that `event` makes, in the very step in which it happened.
    /// Does not call `event` when nobody looks. Observing never changes the run: an observer draws
    /// no randomness, takes no time and sends nothing.
    fn observe(&self, event: impl FnOnce() -> Event);
}
