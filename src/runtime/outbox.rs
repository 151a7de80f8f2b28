//! What is to be written to a connection, and who writes it.
//!
//! Whoever has bytes writes them at once, as far as the connection takes them: that crosses no task. The rest is
//! left to the connection's own task, which can wait for room. While it does, nobody else writes, so that the
//! order stays and the task's waker is the one that the connection keeps.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Buf;
use tokio::io::AsyncWrite;
use tokio::sync::Notify;

/// So many slices go into one write.
const SLICES_MAX: usize = 32;

/// A queue of bytes before a connection.
pub struct Outbox<Q> {
    state: Mutex<State<Q>>,
    /// Something was left to the connection's task.
    left: Notify,
}

struct State<Q> {
    queue: Q,
    /// None once all is written that ever will be.
    writer: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// The connection's task has the rest, or is to be told why there is none.
    is_left: bool,
    is_finished: bool,
    failure: Option<io::Error>,
}

impl<Q: Buf> Outbox<Q> {
    /// `queue` before `writer`.
    pub fn new(writer: impl AsyncWrite + Send + 'static, queue: Q) -> Self {
        let writer: Pin<Box<dyn AsyncWrite + Send>> = Box::pin(writer);
        let state = State { queue, writer: Some(writer), is_left: false, is_finished: false, failure: None };
        Outbox { state: Mutex::new(state), left: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<Q>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().queue.remaining()
    }

    /// Whether none do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds to the queue. [`Outbox::write_now`] writes it.
    pub fn add<T>(&self, add: impl FnOnce(&mut Q) -> T) -> T {
        add(&mut self.state().queue)
    }

    /// Writes what the connection takes at once, and leaves the rest to its task.
    pub fn write_now(&self) {
        let mut state = self.state();
        if state.is_left {
            return;
        }
        let mut context = Context::from_waker(Waker::noop());
        while state.queue.has_remaining() {
            match state.poll_write(&mut context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(failure)) => {
                    state.failure = Some(failure);
                    return self.leave(state);
                }
                Poll::Pending => return self.leave(state),
            }
        }
    }

    fn leave(&self, mut state: MutexGuard<'_, State<Q>>) {
        state.is_left = true;
        drop(state);
        self.left.notify_one();
    }

    /// Nothing more will be added: once all is written the connection's writing half is dropped.
    pub fn finish(&self) {
        let mut state = self.state();
        state.is_finished = true;
        if !state.is_left {
            state.writer = None;
        }
        drop(state);
        self.left.notify_one();
    }

    /// Waits until something is left to the connection's task; false if nothing ever will be. Cancel-safe.
    pub async fn wait(&self) -> bool {
        loop {
            {
                let state = self.state();
                if state.is_left || state.is_finished {
                    return state.is_left;
                }
            }
            self.left.notified().await;
        }
    }

    /// Writes some of what was left, at least one byte. Cancel-safe.
    pub async fn write_some(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_write_left(context)).await
    }

    fn poll_write_left(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if let Some(failure) = state.failure.take() {
            return Poll::Ready(Err(failure));
        }
        if state.queue.has_remaining() {
            ready!(state.poll_write(context))?;
        }
        if !state.queue.has_remaining() {
            state.is_left = false;
            if state.is_finished {
                state.writer = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<Q: Buf> State<Q> {
    /// Writes once. Sockets need no flush: see [`super::StreamWriter`].
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(writer) = &mut self.writer else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.queue.chunks_vectored(&mut slices);
        let written = ready!(writer.as_mut().poll_write_vectored(context, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.queue.advance(written);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, duplex};

    use super::*;
    use crate::runtime::tokio_runtime;

    fn outbox(room: usize) -> (Arc<Outbox<VecDeque<u8>>>, tokio::io::DuplexStream) {
        let (writer, peer) = duplex(room);
        (Arc::new(Outbox::new(writer, VecDeque::new())), peer)
    }

    async fn write_the_rest(outbox: &Outbox<VecDeque<u8>>) -> io::Result<()> {
        while outbox.wait().await {
            outbox.write_some().await?;
        }
        Ok(())
    }

    #[test]
    fn what_the_connection_takes_is_written_without_its_task() {
        let (outbox, mut peer) = outbox(64);
        outbox.add(|queue| queue.extend(b"at once"));
        outbox.write_now();
        assert!(outbox.is_empty());
        outbox.finish();
        let mut read = String::new();
        tokio_runtime::run(peer.read_to_string(&mut read)).expect("a runtime").expect("ends");
        assert_eq!(read, "at once");
    }

    #[test]
    fn what_it_does_not_take_is_written_by_its_task_in_order_and_before_it_ends() {
        let (outbox, mut peer) = outbox(3);
        for text in ["one", "two", "three"] {
            outbox.add(|queue| queue.extend(text.as_bytes()));
            outbox.write_now();
        }
        assert_eq!(outbox.len(), 8);
        outbox.finish();
        let mut read = String::new();
        let both = async { tokio::join!(write_the_rest(&outbox), peer.read_to_string(&mut read)) };
        let (written, ended) = tokio_runtime::run(both).expect("a runtime");
        written.expect("written");
        ended.expect("ends");
        assert_eq!(read, "onetwothree");
    }

    #[test]
    fn a_write_that_fails_at_once_is_told_to_the_connections_task() {
        let (outbox, peer) = outbox(3);
        drop(peer);
        outbox.add(|queue| queue.extend(b"to nobody"));
        outbox.write_now();
        let told = tokio_runtime::run(write_the_rest(&outbox)).expect("a runtime");
        assert_eq!(told.map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
    }
}
