//! A bound on how long a future may take, on any [`Clock`].

use std::future::Future;
use std::time::Duration;

use super::{Clock, Either, select};
use crate::base::time::Instant;

/// The time was over before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct TimedOut;

/// Polls `future` for at most `duration`. Dropping the result drops both the future and its timer.
pub async fn timeout<C: Clock, F: Future>(clock: &C, duration: Duration, future: F) -> Result<F::Output, TimedOut> {
    race(future, clock.sleep(duration)).await
}

/// Polls `future` until `deadline` at the latest.
pub async fn timeout_at<C: Clock, F: Future>(clock: &C, deadline: Instant, future: F) -> Result<F::Output, TimedOut> {
    race(future, clock.sleep_until(deadline)).await
}

/// The future comes first, so that a result that is ready at the deadline still counts.
async fn race<F: Future>(future: F, sleep: impl Future<Output = ()>) -> Result<F::Output, TimedOut> {
    match select(future, sleep).await {
        Either::First(output) => Ok(output),
        Either::Second(()) => Err(TimedOut),
    }
}
