//! A value that one side sets and others wait on.
//!
//! As tokio's channel of that name, with one difference: waiters are woken in the order in which
//! they began to wait. Tokio's spreads them over lists that it draws from a generator of the
//! thread, so that one seed had as many runs as there were threads (`standard` seed 145, in which
//! a broker that stopped woke its clients in another order each time).

use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;

#[derive(Debug)]
struct Shared<T> {
    state: RwLock<State<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    value: T,
    version: u64,
    is_closed: bool,
}

impl<T> Shared<T> {
    // A panic elsewhere has been reported as such; the value is whole at any time.
    fn read(&self) -> RwLockReadGuard<'_, State<T>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets the value. When it is dropped, receivers learn that no change will come.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// Sees the value and waits for it to change.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The value, held for as long as this is: not across an await.
#[derive(Debug)]
pub struct Ref<'s, T>(RwLockReadGuard<'s, State<T>>);

/// The sender is gone: the value does not change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody is left to change the value")]
pub struct Closed;

/// A sender and a receiver of `value`.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// A sender that nobody listens to yet.
    pub fn new(value: T) -> Self {
        let state = RwLock::new(State { value, version: 0, is_closed: false });
        Sender { shared: Arc::new(Shared { state, changed: Notify::new() }) }
    }

    /// A receiver that has seen the present value.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: self.shared.clone(), seen: self.shared.read().version }
    }

    /// The present value.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// Changes the value in place and wakes everybody who waits.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        {
            let mut state = self.shared.write();
            change(&mut state.value);
            state.version += 1;
        }
        self.shared.changed.notify_waiters();
    }

    /// Sets the value, wakes everybody who waits, and gives back the value before.
    pub fn send_replace(&self, mut value: T) -> T {
        self.send_modify(|present| std::mem::swap(present, &mut value));
        value
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.write().is_closed = true;
        self.shared.changed.notify_waiters();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T> Receiver<T> {
    /// The present value. It does not count as seen.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// Waits for a value that was not seen yet, and has seen it.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        let seen = self.seen;
        self.until(|state| state.version != seen).await
    }

    /// Waits until the value, the present one included, is as `wanted`.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
        self.until(|state| wanted(&state.value)).await?;
        Ok(self.borrow())
    }

    async fn until(&mut self, mut is_reached: impl FnMut(&State<T>) -> bool) -> Result<(), Closed> {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            // Before the look: what changes after it is not missed.
            changed.as_mut().enable();
            let is_closed = {
                let state = self.shared.read();
                if is_reached(&state) {
                    self.seen = state.version;
                    return Ok(());
                }
                state.is_closed
            };
            if is_closed {
                return Err(Closed);
            }
            changed.await;
        }
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_receiver_waits_for_a_value_that_it_has_not_seen() {
        let (sender, mut receiver) = channel(1);
        assert!(poll(pin!(receiver.changed())).is_pending());
        assert_eq!(sender.send_replace(2), 1);
        assert!(poll(pin!(receiver.changed())).is_ready());
        assert!(poll(pin!(receiver.changed())).is_pending());
        assert_eq!((*receiver.borrow(), *sender.borrow()), (2, 2));
    }

    #[test]
    fn a_value_that_is_there_already_is_waited_for_in_no_time() {
        let (sender, mut receiver) = channel(1);
        assert!(poll(pin!(receiver.wait_for(|value| *value == 1))).is_ready());
        {
            let mut waiting = pin!(receiver.wait_for(|value| *value == 3));
            assert!(poll(waiting.as_mut()).is_pending());
            sender.send_replace(2);
            assert!(poll(waiting.as_mut()).is_pending());
            sender.send_modify(|value| *value += 1);
            assert!(poll(waiting.as_mut()).is_ready());
        }
        assert_eq!(*receiver.borrow(), 3);
    }

    #[test]
    fn receivers_learn_that_the_sender_is_gone_after_its_last_value() {
        let (sender, mut receiver) = channel(1);
        sender.send_replace(2);
        drop(sender);
        assert_eq!(poll(pin!(receiver.changed())), Poll::Ready(Ok(())));
        assert_eq!(poll(pin!(receiver.changed())), Poll::Ready(Err(Closed)));
    }

    /// Takes down when it was woken.
    struct Woken(AtomicUsize, Arc<AtomicUsize>);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(self.1.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    #[test]
    fn waiters_are_woken_in_the_order_in_which_they_began_to_wait() {
        let (sender, receiver) = channel(0);
        let order = Arc::new(AtomicUsize::new(0));
        let woken: Vec<Arc<Woken>> = (0..100).map(|_| Arc::new(Woken(AtomicUsize::new(0), order.clone()))).collect();
        let mut receivers = vec![receiver; woken.len()];
        let mut waiting: Vec<Pin<Box<_>>> = receivers.iter_mut().map(|receiver| Box::pin(receiver.changed())).collect();
        for (future, waker) in waiting.iter_mut().zip(&woken) {
            let waker = Waker::from(waker.clone());
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        sender.send_replace(1);
        let positions: Vec<usize> = woken.iter().map(|one| one.0.load(Ordering::Relaxed)).collect();
        assert_eq!(positions, (1..=woken.len()).collect::<Vec<_>>());
    }
}
