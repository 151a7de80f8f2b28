//! The operating system's clocks, and tokio's timers.
//!
//! Timers have a resolution of one millisecond and are rounded up, so that none is early.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the clock that others are given")]

use std::future::Future;
use std::time::{self, Duration, SystemTime, UNIX_EPOCH};

use super::TokioRuntime;
use crate::base::time::Instant;
use crate::runtime::Clock;

/// Turns the process's monotonic clock into instants of one node, which start at zero.
#[derive(Debug)]
pub(super) struct NodeClock {
    origin: time::Instant,
}

impl NodeClock {
    pub(super) fn start() -> Self {
        NodeClock { origin: time::Instant::now() }
    }

    fn now(&self) -> Instant {
        Instant::default() + self.origin.elapsed()
    }

    /// None if the operating system's clock never gets there.
    fn to_system(&self, instant: Instant) -> Option<time::Instant> {
        self.origin.checked_add(Duration::from_nanos(instant.0))
    }
}

impl Clock for TokioRuntime {
    fn now(&self) -> Instant {
        self.node.clock.now()
    }

    fn wall_clock_ms(&self) -> i64 {
        milliseconds_since_epoch(SystemTime::now())
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + 'static {
        let deadline = self.node.clock.to_system(deadline);
        async move {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        }
    }
}

/// Negative before 1970; saturates where 64 bits end.
fn milliseconds_since_epoch(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_before_the_epoch_is_negative() {
        assert_eq!(milliseconds_since_epoch(UNIX_EPOCH), 0);
        assert_eq!(milliseconds_since_epoch(UNIX_EPOCH + Duration::from_millis(7)), 7);
        assert_eq!(milliseconds_since_epoch(UNIX_EPOCH - Duration::from_millis(7)), -7);
    }

    #[test]
    fn a_node_starts_at_instant_zero_and_counts_nanoseconds() {
        let clock = NodeClock::start();
        let later = clock.to_system(Instant(5)).expect("within range");
        assert_eq!(later - clock.origin, Duration::from_nanos(5));
    }
}
