//! What is due and when, ordered by (time, sequence). An entry can be cancelled or moved, and
//! leaves nothing behind: what is held is what is pending and no more.
//!
//! Two indexed 4-ary heaps: what was due soon when it was added, and the rest. A simulation holds
//! hundreds of timers that are seconds away, and most of what happens are messages that are
//! milliseconds away; apart, they do not sift through each other. The first entry is the lesser of
//! the two roots, so that the order is that of one heap.

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

/// Where an entry is: its heap, and its index there.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    heap: u8,
    at: u32,
}

/// Values with a due time, in nanoseconds.
#[derive(Debug)]
pub(super) struct EventQueue<T> {
    heaps: [Vec<Entry>; 2],
    items: Slab<T>,
    /// By the place of an entry's key.
    positions: Vec<Position>,
    sequence: u64,
    /// The due time of what was removed last.
    now: u64,
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        let heaps = [Vec::new(), Vec::new()];
        EventQueue { heaps, items: Slab::default(), positions: Vec::new(), sequence: 0, now: 0 }
    }
}

const ARITY: usize = 4;

/// What is due within this is due soon: 17 ms.
const SOON_NS: u64 = 1 << 24;

impl<T> EventQueue<T> {
    /// Adds `value`, due at `time`, after all that is already due then.
    pub fn push(&mut self, time: u64, value: T) -> Key {
        let key = self.items.insert(value);
        if key.place as usize >= self.positions.len() {
            self.positions.push(Position::default());
        }
        let heap = usize::from(time.saturating_sub(self.now) > SOON_NS);
        let entry = Entry { time, sequence: self.next_sequence(), key };
        let at = self.heaps[heap].len();
        self.heaps[heap].push(entry);
        self.sift_up(heap, at, entry);
        key
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Removes an entry that is still pending.
    pub fn cancel(&mut self, key: Key) -> Option<T> {
        let value = self.items.remove(key)?;
        let Position { heap, at } = self.positions[key.place as usize];
        self.remove_at(usize::from(heap), at as usize);
        Some(value)
    }

    /// Moves an entry that is still pending to `time`, after all that is already due then.
    pub fn reschedule(&mut self, key: Key, time: u64) {
        if self.items.get(key).is_none() {
            return;
        }
        let Position { heap, at } = self.positions[key.place as usize];
        let entry = Entry { time, sequence: self.next_sequence(), key };
        self.settle(usize::from(heap), at as usize, entry);
    }

    /// When an entry that is still pending is due.
    pub fn due(&self, key: Key) -> Option<u64> {
        self.items.get(key)?;
        let Position { heap, at } = self.positions[key.place as usize];
        Some(self.heaps[usize::from(heap)][at as usize].time)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.items.get_mut(key)
    }

    /// The heap whose root is the first entry, and that entry.
    fn first(&self) -> Option<(usize, Entry)> {
        match (self.heaps[0].first(), self.heaps[1].first()) {
            (Some(soon), Some(later)) if later.is_before(soon) => Some((1, *later)),
            (Some(soon), _) => Some((0, *soon)),
            (None, later) => later.map(|later| (1, *later)),
        }
    }

    /// When the first entry is due.
    pub fn next_time(&self) -> Option<u64> {
        self.first().map(|(_, entry)| entry.time)
    }

    /// Removes the first entry if it is due at or before `limit`.
    pub fn pop_until(&mut self, limit: u64) -> Option<(u64, T)> {
        let (heap, entry) = self.first().filter(|(_, entry)| entry.time <= limit)?;
        let value = self.items.remove(entry.key)?;
        self.now = entry.time;
        self.remove_at(heap, 0);
        Some((entry.time, value))
    }

    pub fn keys(&self, wanted: impl FnMut(&T) -> bool) -> Vec<Key> {
        self.items.keys(wanted)
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        self.items.get(key)
    }

    pub fn len(&self) -> usize {
        self.heaps.iter().map(Vec::len).sum()
    }

    fn remove_at(&mut self, heap: usize, at: usize) {
        let Some(last) = self.heaps[heap].pop() else { return };
        if at < self.heaps[heap].len() {
            self.settle(heap, at, last);
        }
    }

    /// Puts `entry` where it belongs, given a hole at `at`.
    fn settle(&mut self, heap: usize, at: usize, entry: Entry) {
        if at > 0 && entry.is_before(&self.heaps[heap][(at - 1) / ARITY]) {
            self.sift_up(heap, at, entry);
        } else {
            self.sift_down(heap, at, entry);
        }
    }

    fn place(&mut self, heap: usize, at: usize, entry: Entry) {
        self.heaps[heap][at] = entry;
        self.positions[entry.key.place as usize] = Position { heap: heap as u8, at: at as u32 };
    }

    fn sift_up(&mut self, heap: usize, mut at: usize, entry: Entry) {
        while at > 0 {
            let parent = (at - 1) / ARITY;
            let above = self.heaps[heap][parent];
            if !entry.is_before(&above) {
                break;
            }
            self.place(heap, at, above);
            at = parent;
        }
        self.place(heap, at, entry);
    }

    fn sift_down(&mut self, heap: usize, mut at: usize, entry: Entry) {
        loop {
            let first = at * ARITY + 1;
            let entries = &self.heaps[heap];
            let children = first..(first + ARITY).min(entries.len());
            let Some(least) = children.reduce(|a, b| if entries[b].is_before(&entries[a]) { b } else { a }) else {
                break;
            };
            let below = entries[least];
            if !below.is_before(&entry) {
                break;
            }
            self.place(heap, at, below);
            at = least;
        }
        self.place(heap, at, entry);
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

    /// Some soon and some later, so that both heaps are in use and equal times are frequent.
    fn time() -> impl Strategy<Value = u64> {
        prop_oneof![0..50u64, (0..50u64).prop_map(|time| time * SOON_NS / 8)]
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            3 => time().prop_map(Operation::Push),
            1 => any::<usize>().prop_map(Operation::Cancel),
            1 => (any::<usize>(), time()).prop_map(|(which, time)| Operation::Move(which, time)),
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
        let is_small = queue.heaps.iter().all(|heap| heap.capacity() <= 8) && queue.positions.len() == 1;
        assert_eq!((queue.len(), is_small), (0, true));
    }
}
