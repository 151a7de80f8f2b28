//! Whom to wake, and when it is safe to.
//!
//! Almost always a task of this world waits, and by its own waker: then its key is kept and nothing
//! is counted or cloned. Any other waker (of a combinator that polls its parts separately, or of
//! another executor) is code of a node, and is kept aside until nothing is borrowed.

use std::task::{RawWakerVTable, Waker};

use super::slab::Key;

/// Whom to wake.
#[derive(Debug)]
pub(super) enum Wakeup {
    /// A task of this world.
    Task(Key),
    /// Whoever stands behind a waker.
    Other(Waker),
}

/// The task that is being polled, known by what its waker points to.
#[derive(Debug)]
struct Polled {
    data: *const (),
    vtable: &'static RawWakerVTable,
    task: Key,
}

/// Who is to be woken before anything else happens.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    pending: Vec<Wakeup>,
    polled: Option<Polled>,
}

impl Wakes {
    /// From now on `task` is polled, with `waker`.
    pub fn begin_poll(&mut self, task: Key, waker: &Waker) {
        self.polled = Some(Polled { data: waker.data(), vtable: waker.vtable(), task });
    }

    /// Whatever was polled is not polled any more: its waker may be freed and its address reused.
    pub fn end_poll(&mut self) {
        self.polled = None;
    }

    /// The task whose own waker this is, if that is the one that is being polled.
    fn task_of(&self, waker: &Waker) -> Option<Key> {
        let polled = self.polled.as_ref()?;
        (waker.data() == polled.data && std::ptr::eq(waker.vtable(), polled.vtable)).then_some(polled.task)
    }

    /// What to keep of a waker.
    pub fn wakeup(&self, waker: &Waker) -> Wakeup {
        self.task_of(waker).map_or_else(|| Wakeup::Other(waker.clone()), Wakeup::Task)
    }

    /// Whether waking `kept` wakes whom `waker` wakes.
    pub fn is_kept(&self, kept: &Wakeup, waker: &Waker) -> bool {
        match kept {
            Wakeup::Task(task) => self.task_of(waker) == Some(*task),
            Wakeup::Other(kept) => kept.will_wake(waker),
        }
    }

    /// Stores `waker` in `slot` unless it is there already. What it replaces is woken too, as it
    /// must not be dropped here.
    pub fn keep(&mut self, slot: &mut Option<Wakeup>, waker: &Waker) {
        if slot.as_ref().is_some_and(|kept| self.is_kept(kept, waker)) {
            return;
        }
        let replaced = slot.replace(self.wakeup(waker));
        self.extend(replaced);
    }

    /// Remembers to wake them.
    pub fn extend(&mut self, wakeups: impl IntoIterator<Item = Wakeup>) {
        self.pending.extend(wakeups);
    }

    /// Remembers to wake all of `wakeups`, which is empty afterwards.
    pub fn append(&mut self, wakeups: &mut Vec<Wakeup>) {
        self.pending.append(wakeups);
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes those of other kinds, in their order; each task is given to `wake_task`.
    pub fn take(&mut self, mut wake_task: impl FnMut(Key)) -> Vec<Waker> {
        let mut others = Vec::new();
        for wakeup in self.pending.drain(..) {
            match wakeup {
                Wakeup::Task(task) => wake_task(task),
                Wakeup::Other(waker) => others.push(waker),
            }
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }

    const TASK: Key = Key { place: 3, generation: 1 };

    #[test]
    fn a_task_that_is_polled_is_kept_by_its_key_and_its_waker_is_not_cloned() {
        let shared = Arc::new(Nobody);
        let waker = Waker::from(shared.clone());
        let mut wakes = Wakes::default();
        wakes.begin_poll(TASK, &waker);
        let mut slot = None;
        wakes.keep(&mut slot, &waker);
        wakes.keep(&mut slot, &waker);
        assert!(matches!(slot, Some(Wakeup::Task(TASK))) && wakes.is_empty());
        assert_eq!(Arc::strong_count(&shared), 2);
    }

    #[test]
    fn a_waker_of_another_is_kept_itself_and_what_it_replaces_is_woken() {
        let (own, other) = (Waker::from(Arc::new(Nobody)), Waker::from(Arc::new(Nobody)));
        let mut wakes = Wakes::default();
        wakes.begin_poll(TASK, &own);
        let mut slot = None;
        wakes.keep(&mut slot, &own);
        wakes.keep(&mut slot, &other);
        assert!(matches!(&slot, Some(Wakeup::Other(kept)) if kept.will_wake(&other)));
        let mut woken = Vec::new();
        assert!(wakes.take(|task| woken.push(task)).is_empty());
        assert_eq!((woken, wakes.is_empty()), (vec![TASK], true));
        wakes.extend(slot);
        assert_eq!(wakes.take(|_| ()).len(), 1);
    }

    #[test]
    fn after_its_poll_a_waker_is_nobodys_in_particular() {
        let waker = Waker::from(Arc::new(Nobody));
        let mut wakes = Wakes::default();
        wakes.begin_poll(TASK, &waker);
        wakes.end_poll();
        assert!(matches!(wakes.wakeup(&waker), Wakeup::Other(_)));
    }
}
