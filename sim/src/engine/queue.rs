//! What is due and when, ordered by (time, sequence). An entry can be cancelled or moved, and
//! leaves nothing behind: what is held is what is pending and no more.
//!
//! A simulation holds hundreds of timers that are seconds away, while most of what happens are
//! messages that are milliseconds away. So the entries are in two places: a short sorted list of
//! those that were due soon when they were added, which costs a scan to add to and nothing to take
//! from, and an indexed 4-ary heap of all others. The first entry is the lesser of the two firsts,
//! so that the order is that of one heap.

use super::slab::{Key, Slab};

#[derive(Clone, Copy, Debug)]
struct Entry {
    time: u64,
    sequence: u64,
    key: Key,
}

impl Entry {
    fn order(&self) -> u128 {
        (u128::from(self.time) << 64) | u128::from(self.sequence)
    }

    fn is_before(&self, other: &Entry) -> bool {
        self.order() < other.order()
    }
}

/// Values with a due time, in nanoseconds.
#[derive(Debug)]
pub(super) struct EventQueue<T> {
    /// The next one last.
    soon: Vec<Entry>,
    heap: Vec<Entry>,
    items: Slab<T>,
    /// By the place of an entry's key: its index in the heap, or [`IN_SOON`].
    positions: Vec<u32>,
    sequence: u64,
    /// The due time of what was removed last.
    now: u64,
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        let (soon, heap) = (Vec::new(), Vec::new());
        EventQueue { soon, heap, items: Slab::default(), positions: Vec::new(), sequence: 0, now: 0 }
    }
}

const ARITY: usize = 4;

/// What is due within this is due soon: 17 ms.
const SOON_NS: u64 = 1 << 24;

/// So many entries are in the list of what is due soon at most: a scan of more costs more than a heap.
const SOON_MAX: usize = 64;

/// The position of an entry that is not in the heap.
const IN_SOON: u32 = u32::MAX;

impl<T> EventQueue<T> {
    /// Adds `value`, due at `time`, after all that is already due then.
    pub fn push(&mut self, time: u64, value: T) -> Key {
        let key = self.items.insert(value);
        if key.place as usize >= self.positions.len() {
            self.positions.push(IN_SOON);
        }
        let entry = Entry { time, sequence: self.next_sequence(), key };
        self.add(entry);
        key
    }

    #[inline]
    fn add(&mut self, entry: Entry) {
        if self.soon.len() < SOON_MAX && entry.time.saturating_sub(self.now) <= SOON_NS {
            // Its sequence is the greatest: it is before those that are later in time, and no others.
            let later = self.soon.iter().map(|other| usize::from(other.time > entry.time)).sum();
            self.soon.insert(later, entry);
            self.positions[entry.key.place as usize] = IN_SOON;
        } else {
            self.heap.push(entry);
            self.sift_up(self.heap.len() - 1, entry);
        }
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Removes an entry that is still pending.
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        let value = self.items.remove(key)?;
        self.take_out(key);
        Some(value)
    }

    /// Moves an entry that is still pending to `time`, after all that is already due then.
    pub fn reschedule(&mut self, key: Key, time: u64) {
        if self.items.get(key).is_some() {
            self.take_out(key);
            let entry = Entry { time, sequence: self.next_sequence(), key };
            self.add(entry);
        }
    }

    /// When an entry that is still pending is due.
    pub fn due(&self, key: Key) -> Option<u64> {
        self.items.get(key)?;
        match self.positions[key.place as usize] {
            IN_SOON => self.soon.iter().find(|entry| entry.key == key).map(|entry| entry.time),
            at => Some(self.heap[at as usize].time),
        }
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.items.get_mut(key)
    }

    /// When the first entry is due.
    pub fn next_time(&self) -> Option<u64> {
        match (self.soon.last(), self.heap.first()) {
            (Some(soon), Some(other)) => Some(soon.time.min(other.time)),
            (first, None) | (None, first) => first.map(|first| first.time),
        }
    }

    /// Removes the first entry if it is due at or before `limit`.
    pub fn pop_until(&mut self, limit: u64) -> Option<(u64, T)> {
        let (soon, other) = (self.soon.last(), self.heap.first());
        let is_soon = soon.is_some_and(|soon| other.is_none_or(|other| soon.is_before(other)));
        let first = *if is_soon { soon } else { other }.filter(|first| first.time <= limit)?;
        let value = self.items.remove(first.key)?;
        self.now = first.time;
        if is_soon {
            self.soon.pop();
        } else {
            self.remove_at(0);
        }
        Some((first.time, value))
    }

    pub fn keys(&self, wanted: impl FnMut(&T) -> bool) -> Vec<Key> {
        self.items.keys(wanted)
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        self.items.get(key)
    }

    pub fn len(&self) -> usize {
        self.soon.len() + self.heap.len()
    }

    fn take_out(&mut self, key: Key) {
        match self.positions[key.place as usize] {
            IN_SOON => self.soon.retain(|entry| entry.key != key),
            at => self.remove_at(at as usize),
        }
    }

    fn remove_at(&mut self, at: usize) {
        let Some(last) = self.heap.pop() else { return };
        if at < self.heap.len() {
            self.settle(at, last);
        }
    }

    /// Puts `entry` where it belongs in the heap, given a hole at `at`.
    fn settle(&mut self, at: usize, entry: Entry) {
        if at > 0 && entry.is_before(&self.heap[(at - 1) / ARITY]) {
            self.sift_up(at, entry);
        } else {
            self.sift_down(at, entry);
        }
    }

    fn place(&mut self, at: usize, entry: Entry) {
        self.heap[at] = entry;
        self.positions[entry.key.place as usize] = at as u32;
    }

    fn sift_up(&mut self, mut at: usize, entry: Entry) {
        while at > 0 {
            let parent = (at - 1) / ARITY;
            let above = self.heap[parent];
            if !entry.is_before(&above) {
                break;
            }
            self.place(at, above);
            at = parent;
        }
        self.place(at, entry);
    }

    fn sift_down(&mut self, mut at: usize, entry: Entry) {
        loop {
            let first = at * ARITY + 1;
            let children = self.heap.get(first..).unwrap_or_default();
            let Some((mut below, others)) = children.split_first().map(|(below, others)| (*below, others)) else {
                break;
            };
            let mut least = first;
            for (other, child) in others.iter().take(ARITY - 1).enumerate() {
                if child.is_before(&below) {
                    (below, least) = (*child, first + 1 + other);
                }
            }
            if !below.is_before(&entry) {
                break;
            }
            self.place(at, below);
            at = least;
        }
        self.place(at, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Push(u64),
        Cancel(usize),
        Move(usize, u64),
        Pop,
    }

    /// Some soon and some later, so that list and heap are in use and equal times are frequent.
    fn time() -> impl Strategy<Value = u64> {
        prop_oneof![0..50u64, (0..50u64).prop_map(|time| time * SOON_NS / 8)]
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            6 => time().prop_map(Operation::Push),
            1 => any::<usize>().prop_map(Operation::Cancel),
            1 => (any::<usize>(), time()).prop_map(|(which, time)| Operation::Move(which, time)),
            2 => Just(Operation::Pop),
        ]
    }

    proptest! {
        #[test]
        fn the_queue_agrees_with_a_sorted_list(operations in proptest::collection::vec(operation(), 0..600)) {
            let mut queue = EventQueue::default();
            let mut model: Vec<(u64, usize, usize, Key)> = Vec::new();
            for (count, operation) in operations.into_iter().enumerate() {
                match operation {
                    Operation::Push(time) => model.push((time, count, count, queue.push(time, count))),
                    Operation::Cancel(which) if !model.is_empty() => {
                        let (_, _, value, key) = model.remove(which % model.len());
                        prop_assert_eq!(queue.cancel(key), Some(value));
                        prop_assert_eq!(queue.cancel(key), None);
                    }
                    Operation::Move(which, time) if !model.is_empty() => {
                        let which = which % model.len();
                        (model[which].0, model[which].1) = (time, count);
                        queue.reschedule(model[which].3, time);
                    }
                    Operation::Pop => {
                        model.sort_by_key(|entry| (entry.0, entry.1));
                        let first = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(queue.pop_until(u64::MAX), first.map(|entry| (entry.0, entry.2)));
                    }
                    _ => {}
                }
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }

    #[test]
    fn what_is_too_much_for_the_list_waits_in_the_heap_and_comes_in_its_turn() {
        let mut queue = EventQueue::default();
        let count = 4 * SOON_MAX as u64;
        // Each time once, in a scattered order.
        (0..count).map(|at| at * 37 % count).for_each(|time| _ = queue.push(time, time));
        assert_eq!((queue.soon.len(), queue.heap.len()), (SOON_MAX, 3 * SOON_MAX));
        for time in 0..count {
            assert_eq!(queue.pop_until(u64::MAX), Some((time, time)));
        }
    }

    #[test]
    fn a_million_cancelled_timers_leave_nothing_behind() {
        let mut queue = EventQueue::default();
        for time in 0..1_000_000 {
            let key = queue.push(time, ());
            queue.cancel(key);
        }
        let is_small = queue.soon.capacity() + queue.heap.capacity() <= 16 && queue.positions.len() == 1;
        assert_eq!((queue.len(), is_small), (0, true));
    }
}
