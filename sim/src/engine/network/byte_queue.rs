//! The bytes of one direction of a connection, from their writing to their reading.

/// How much memory an empty queue keeps at most.
const KEPT_BYTES: usize = 64 * 1024;

/// Bytes in order, contiguous: what is appended is copied once and what is taken is copied once,
/// and a queue that runs empty again and again uses the same memory again and again.
#[derive(Debug, Default)]
pub(super) struct ByteQueue {
    bytes: Vec<u8>,
    /// Before this, all is taken.
    start: usize,
}

impl ByteQueue {
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        // Moving what is left pays when more than that was taken.
        if self.start > self.bytes.len() / 2 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `count` bytes.
    #[inline]
    pub fn first(&self, count: usize) -> &[u8] {
        &self.bytes[self.start..self.start + count]
    }

    /// The last `count` bytes.
    #[inline]
    pub fn last(&self, count: usize) -> &[u8] {
        &self.bytes[self.bytes.len() - count..]
    }

    /// Drops the first `count` bytes.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.start += count;
        self.reuse_if_empty();
    }

    /// Drops all but the first `count` bytes.
    pub fn truncate(&mut self, count: usize) {
        self.bytes.truncate(self.start + count);
        self.reuse_if_empty();
    }

    /// Drops the last `count` bytes.
    pub fn drop_last(&mut self, count: usize) {
        self.truncate(self.bytes.len() - self.start - count);
    }

    /// Drops `count` bytes after the first `kept`.
    pub fn remove(&mut self, kept: usize, count: usize) {
        let from = self.start + kept;
        self.bytes.drain(from..from + count);
        self.reuse_if_empty();
    }

    #[inline]
    fn reuse_if_empty(&mut self) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes.shrink_to(KEPT_BYTES);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Append(Vec<u8>),
        Advance(usize),
        Truncate(usize),
        DropLast(usize),
        Remove(usize, usize),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let count = any::<usize>;
        prop_oneof![
            4 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Operation::Append),
            4 => count().prop_map(Operation::Advance),
            1 => count().prop_map(Operation::Truncate),
            1 => count().prop_map(Operation::DropLast),
            1 => (count(), count()).prop_map(|(kept, count)| Operation::Remove(kept, count)),
        ]
    }

    proptest! {
        #[test]
        fn the_queue_agrees_with_a_plain_list(operations in proptest::collection::vec(operation(), 0..100)) {
            let (mut queue, mut model) = (ByteQueue::default(), Vec::new());
            for operation in operations {
                let within = |count: usize, len: usize| count % (len + 1);
                match operation {
                    Operation::Append(bytes) => {
                        queue.append(&bytes);
                        model.extend(bytes);
                    }
                    Operation::Advance(count) => {
                        let count = within(count, model.len());
                        prop_assert_eq!(queue.first(count), &model[..count]);
                        queue.advance(count);
                        model.drain(..count);
                    }
                    Operation::Truncate(count) => {
                        let count = within(count, model.len());
                        queue.truncate(count);
                        model.truncate(count);
                    }
                    Operation::DropLast(count) => {
                        let count = within(count, model.len());
                        queue.drop_last(count);
                        model.truncate(model.len() - count);
                    }
                    Operation::Remove(kept, count) => {
                        let kept = within(kept, model.len());
                        let count = within(count, model.len() - kept);
                        queue.remove(kept, count);
                        model.drain(kept..kept + count);
                    }
                }
                prop_assert_eq!(queue.first(model.len()), &*model);
                prop_assert_eq!(queue.last(model.len()), &*model);
            }
        }
    }

    #[test]
    fn a_queue_that_was_long_once_keeps_little_when_it_is_empty() {
        let mut queue = ByteQueue::default();
        queue.append(&vec![7; 1 << 20]);
        queue.advance(1 << 20);
        assert!(queue.bytes.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn a_queue_that_never_runs_empty_stays_small() {
        let mut queue = ByteQueue::default();
        queue.append(&[7; 100]);
        for _ in 0..100_000 {
            queue.append(&[7; 256]);
            queue.advance(256);
        }
        assert!(queue.bytes.capacity() <= 4096, "{} bytes", queue.bytes.capacity());
    }
}
