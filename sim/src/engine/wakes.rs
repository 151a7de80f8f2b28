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
    tasks: Vec<Key>,
    others: Vec<Waker>,
    polled: Option<Polled>,
}

impl Wakes {
    /// From now on `task` is polled, with `waker`.
    #[inline]
    pub fn begin_poll(&mut self, task: Key, waker: &Waker) {
        self.polled = Some(Polled { data: waker.data(), vtable: waker.vtable(), task });
    }

    /// Whatever was polled is not polled any more: its waker may be freed and its address reused.
    #[inline]
    pub fn end_poll(&mut self) {
        self.polled = None;
    }

    /// The task whose own waker this is, if that is the one that is being polled.
    #[inline]
    fn task_of(&self, waker: &Waker) -> Option<Key> {
        let polled = self.polled.as_ref()?;
        (waker.data() == polled.data && std::ptr::eq(waker.vtable(), polled.vtable)).then_some(polled.task)
    }

    /// What to keep of a waker.
    #[inline]
    pub fn wakeup(&self, waker: &Waker) -> Wakeup {
        self.task_of(waker).map_or_else(|| Wakeup::Other(waker.clone()), Wakeup::Task)
    }

    /// Whether waking `kept` wakes whom `waker` wakes.
    #[inline]
    pub fn is_kept(&self, kept: &Wakeup, waker: &Waker) -> bool {
        match kept {
            Wakeup::Task(task) => self.task_of(waker) == Some(*task),
            Wakeup::Other(kept) => kept.will_wake(waker),
        }
    }

    /// Stores `waker` in `slot` unless it is there already. What it replaces is woken too, as it
    /// must not be dropped here.
    #[inline]
    pub fn keep(&mut self, slot: &mut Option<Wakeup>, waker: &Waker) {
        if slot.as_ref().is_some_and(|kept| self.is_kept(kept, waker)) {
            return;
        }
        let replaced = slot.replace(self.wakeup(waker));
        self.extend(replaced);
    }

    /// Remembers to wake them.
    #[inline]
    pub fn extend(&mut self, wakeups: impl IntoIterator<Item = Wakeup>) {
        for wakeup in wakeups {
            match wakeup {
                Wakeup::Task(task) => self.tasks.push(task),
                Wakeup::Other(waker) => self.others.push(waker),
            }
        }
    }

    /// Remembers to wake all of `wakeups`, which is empty afterwards.
    pub fn append(&mut self, wakeups: &mut Vec<Wakeup>) {
        self.extend(wakeups.drain(..));
    }

    /// Gives each task to `wake_task`. The others are left to be taken.
    #[inline]
    pub fn wake_tasks(&mut self, wake_task: impl FnMut(Key)) {
        self.tasks.iter().copied().for_each(wake_task);
        self.tasks.clear();
    }

    #[inline]
    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// The wakers of other kinds, in their order.
    pub fn take_others(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.others)
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
        assert!(matches!(slot, Some(Wakeup::Task(TASK))) && !wakes.has_others());
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
        wakes.wake_tasks(|task| woken.push(task));
        assert_eq!((woken, wakes.has_others()), (vec![TASK], false));
        wakes.extend(slot);
        assert!(wakes.has_others());
        assert_eq!((wakes.take_others().len(), wakes.has_others()), (1, false));
        wakes.wake_tasks(|task| panic!("{task:?} was woken already"));
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
