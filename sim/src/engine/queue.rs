//! What is due and when: an indexed 4-ary heap ordered by (time, sequence). An entry can be
//! cancelled or moved, and leaves nothing behind: the heap holds what is pending and no more.

use super::slab::{Key, Slab};

#[derive(Clone, Copy, Debug)]
struct Entry {
    time: u64,
    sequence: u64,
    key: Key,
}

impl Entry {
    fn is_before(&self, other: &Entry) -> bool {
        (self.time, self.sequence) < (other.time, other.sequence)
    }
}

#[derive(Debug)]
struct Item<T> {
    position: u32,
    value: T,
}

/// Values with a due time, in nanoseconds.
#[derive(Debug)]
pub(super) struct EventQueue<T> {
    heap: Vec<Entry>,
    items: Slab<Item<T>>,
    sequence: u64,
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        EventQueue { heap: Vec::new(), items: Slab::default(), sequence: 0 }
    }
}

const ARITY: usize = 4;

impl<T> EventQueue<T> {
    /// Adds `value`, due at `time`, after all that is already due then.
    pub fn push(&mut self, time: u64, value: T) -> Key {
        let at = self.heap.len();
        let key = self.items.insert(Item { position: at as u32, value });
        self.sequence += 1;
        self.heap.push(Entry { time, sequence: self.sequence, key });
        self.sift_up(at);
        key
    }

    /// Removes an entry that is still pending.
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        let item = self.items.remove(key)?;
        self.remove_at(item.position as usize);
        Some(item.value)
    }

    /// Moves an entry that is still pending to `time`, after all that is already due then.
    pub fn reschedule(&mut self, key: Key, time: u64) {
        let Some(item) = self.items.get(key) else { return };
        let at = item.position as usize;
        self.sequence += 1;
        self.heap[at] = Entry { time, sequence: self.sequence, key };
        self.sift_up(at);
        self.sift_down(at);
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.items.get_mut(key).map(|item| &mut item.value)
    }

    /// When the first entry is due.
    pub fn next_time(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.time)
    }

    /// Removes the first entry if it is due at or before `limit`.
    pub fn pop_until(&mut self, limit: u64) -> Option<(u64, T)> {
        let entry = *self.heap.first().filter(|entry| entry.time <= limit)?;
        let item = self.items.remove(entry.key)?;
        self.remove_at(0);
        Some((entry.time, item.value))
    }

    pub fn keys(&self, mut wanted: impl FnMut(&T) -> bool) -> Vec<Key> {
        self.items.keys(|item| wanted(&item.value))
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        self.items.get(key).map(|item| &item.value)
    }

    pub fn len(&self) -> usize {
        self.heap.len()
    }

    fn remove_at(&mut self, at: usize) {
        self.heap.swap_remove(at);
        if at < self.heap.len() {
            self.sift_up(at);
            self.sift_down(at);
        }
    }

    fn place(&mut self, at: usize, entry: Entry) {
        self.heap[at] = entry;
        if let Some(item) = self.items.get_mut(entry.key) {
            item.position = at as u32;
        }
    }

    fn sift_up(&mut self, mut at: usize) {
        let entry = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if !entry.is_before(&self.heap[parent]) {
                break;
            }
            let above = self.heap[parent];
            self.place(at, above);
            at = parent;
        }
        self.place(at, entry);
    }

    fn sift_down(&mut self, mut at: usize) {
        let entry = self.heap[at];
        loop {
            let first = at * ARITY + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let Some(least) = children.reduce(|a, b| if self.heap[b].is_before(&self.heap[a]) { b } else { a }) else {
                break;
            };
            if !self.heap[least].is_before(&entry) {
                break;
            }
            let below = self.heap[least];
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

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            3 => (0..50u64).prop_map(Operation::Push),
            1 => any::<usize>().prop_map(Operation::Cancel),
            1 => (any::<usize>(), 0..50u64).prop_map(|(which, time)| Operation::Move(which, time)),
            2 => Just(Operation::Pop),
        ]
    }

    proptest! {
        #[test]
        fn the_queue_agrees_with_a_sorted_list(operations in proptest::collection::vec(operation(), 0..200)) {
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
    fn a_million_cancelled_timers_leave_nothing_behind() {
        let mut queue = EventQueue::default();
        for time in 0..1_000_000 {
            let key = queue.push(time, ());
            queue.cancel(key);
        }
        assert_eq!((queue.len(), queue.heap.capacity() <= 8), (0, true));
    }
}
