//! Whichever of two futures is ready first, without a draw: the first one is polled first.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// The output of one of two futures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first future's.
    First(A),
    /// The second future's.
    Second(B),
}

/// Polls both until one is ready and drops the other. Of two that are ready, the first counts.
pub async fn select<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let mut first = pin!(first);
    let mut second = pin!(second);
    poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}
