//! One file's bytes: what its node sees, and what a power cut would leave.
//!
//! The visible bytes are kept whole. Each change since the last sync remembers what it replaced,
//! so that the durable bytes are the visible ones with those changes taken back: an append costs
//! no copy. Only when cache and medium part ways for another reason (a failed sync, rot under a
//! cached page) a durable image is kept of its own.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::draws::FileKey;

#[derive(Clone, Debug)]
enum Kind {
    Write {
        offset: usize,
        len: usize,
        overwritten: Vec<u8>,
    },
    /// A truncation or an extension, with the bytes that were cut off.
    Resize {
        len: usize,
        cut: Vec<u8>,
    },
}

/// A change that is not known to be durable.
#[derive(Clone, Debug)]
struct Change {
    sequence: u64,
    at_ns: u64,
    /// The length before.
    old_len: usize,
    kind: Kind,
}

/// A change with all that is needed to make it again.
#[derive(Clone, Debug)]
pub(super) enum Redo {
    Write { offset: usize, bytes: Vec<u8> },
    Resize { len: usize },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    visible: Vec<u8>,
    changes: VecDeque<Change>,
    sequence: u64,
    durable: Option<Vec<u8>>,
    /// What its draws are keyed by.
    pub draws_key: FileKey,
    /// How many draws there were.
    pub drawn: u64,
    /// Open handles of the present process.
    pub handles: u32,
    /// No visible name leads here any more.
    pub is_unlinked: bool,
}

fn undo(bytes: &mut Vec<u8>, change: &Change) {
    match &change.kind {
        Kind::Write { offset, overwritten, .. } => {
            bytes.resize(change.old_len.max(offset + overwritten.len()), 0);
            bytes[*offset..offset + overwritten.len()].copy_from_slice(overwritten);
            bytes.truncate(change.old_len);
        }
        Kind::Resize { cut, .. } => {
            bytes.resize(change.old_len.saturating_sub(cut.len()), 0);
            bytes.extend_from_slice(cut);
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

impl Redo {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Redo::Write { offset, bytes: data } => put(bytes, *offset, data),
            Redo::Resize { len } => bytes.resize(*len, 0),
        }
    }
}

impl Content {
    /// Nothing in it yet.
    pub fn new(draws_key: FileKey) -> Self {
        Content { draws_key, ..Content::default() }
    }

    pub fn len(&self) -> usize {
        self.visible.len()
    }

    pub fn visible(&self) -> &[u8] {
        &self.visible
    }

    /// The bytes that are on the medium for certain.
    pub fn durable(&self) -> Vec<u8> {
        self.durable.clone().unwrap_or_else(|| {
            let mut bytes = self.visible.clone();
            self.changes.iter().rev().for_each(|change| undo(&mut bytes, change));
            bytes
        })
    }

    /// The sequence of the last change: what a sync that begins now will cover.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    fn push(&mut self, now_ns: u64, old_len: usize, kind: Kind) {
        self.sequence += 1;
        self.changes.push_back(Change { sequence: self.sequence, at_ns: now_ns, old_len, kind });
    }

    /// Writes the first `limit` bytes of `parts`.
    pub fn write(&mut self, now_ns: u64, offset: usize, parts: &[IoSlice<'_>], limit: usize) {
        let old_len = self.visible.len();
        let total: usize = parts.iter().map(|part| part.len()).sum::<usize>().min(limit);
        let overwritten = self.visible[offset.min(old_len)..(offset + total).min(old_len)].to_vec();
        if offset > old_len {
            self.visible.resize(offset, 0);
        }
        let mut at = offset;
        for part in parts {
            let part = &part[..part.len().min(offset + total - at)];
            let inside = part.len().min(self.visible.len() - at);
            self.visible[at..at + inside].copy_from_slice(&part[..inside]);
            self.visible.extend_from_slice(&part[inside..]);
            at += part.len();
        }
        self.push(now_ns, old_len, Kind::Write { offset, len: total, overwritten });
    }

    pub fn resize(&mut self, now_ns: u64, len: usize) {
        let old_len = self.visible.len();
        let cut = if len < old_len { self.visible.split_off(len) } else { Vec::new() };
        self.visible.resize(len, 0);
        self.push(now_ns, old_len, Kind::Resize { len, cut });
    }

    /// Makes the changes up to `sequence` durable.
    pub fn settle(&mut self, sequence: u64) {
        while self.changes.front().is_some_and(|change| change.sequence <= sequence) {
            let change = self.changes.pop_front();
            if let (Some(durable), Some(change)) = (&mut self.durable, change) {
                match change.kind {
                    Kind::Resize { len, .. } => durable.resize(len, 0),
                    Kind::Write { offset, len, .. } => {
                        let end = (offset + len).min(self.visible.len());
                        put(durable, offset, &self.visible[offset.min(end)..end]);
                    }
                }
            }
        }
    }

    /// The operating system has written back what is older than `before_ns`.
    pub fn settle_older(&mut self, before_ns: u64) {
        let last = self.changes.iter().take_while(|change| change.at_ns < before_ns).last();
        if let Some(sequence) = last.map(|change| change.sequence) {
            self.settle(sequence);
        }
    }

    /// What a failed sync leaves (Rebello et al., ATC 2020): the pages are marked clean and stay
    /// visible, but the medium has none of the changes, and no later sync will write them.
    /// Returns how many changes were lost.
    pub fn abandon(&mut self, sequence: u64) -> usize {
        self.durable = Some(self.durable());
        let before = self.changes.len();
        self.changes.retain(|change| change.sequence > sequence);
        before - self.changes.len()
    }

    /// The changes since the last sync, oldest first, each with the bytes that it wrote.
    pub fn redo(&self) -> Vec<Redo> {
        let mut bytes = self.visible.clone();
        let mut redo: Vec<Redo> = self
            .changes
            .iter()
            .rev()
            .map(|change| {
                let step = match change.kind {
                    Kind::Resize { len, .. } => Redo::Resize { len },
                    Kind::Write { offset, len, .. } => {
                        let mut written = bytes[offset.min(bytes.len())..(offset + len).min(bytes.len())].to_vec();
                        written.resize(len, 0);
                        Redo::Write { offset, bytes: written }
                    }
                };
                undo(&mut bytes, change);
                step
            })
            .collect();
        redo.reverse();
        redo
    }

    /// Drops cached pages: what is read from now on is what the medium has, with the changes that
    /// are still to be written.
    pub fn evict(&mut self, now_ns: u64) {
        if self.durable.is_none() {
            return;
        }
        let redo = self.redo();
        let Some(durable) = self.durable.take() else { return };
        self.visible = durable;
        self.changes.clear();
        for step in redo {
            match step {
                Redo::Write { offset, bytes } => self.write(now_ns, offset, &[IoSlice::new(&bytes)], usize::MAX),
                Redo::Resize { len } => self.resize(now_ns, len),
            }
        }
    }

    /// Changes bytes on the medium; those in the cache too unless they are to hide it.
    pub fn damage(&mut self, is_hidden_by_cache: bool, mut change: impl FnMut(&mut [u8])) {
        if is_hidden_by_cache {
            let mut durable = self.durable();
            change(&mut durable);
            self.durable = Some(durable);
        } else {
            change(&mut self.visible);
            if let Some(durable) = &mut self.durable {
                change(durable);
            }
        }
    }

    /// Whatever was pending is decided: these are the bytes from now on.
    pub fn become_durable(&mut self, bytes: Vec<u8>) {
        self.visible = bytes;
        self.changes.clear();
        self.durable = None;
    }

    pub fn unsynced_changes(&self) -> usize {
        self.changes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, Vec<u8>),
        Resize(usize),
        Sync,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..40usize, proptest::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            2 => (0..60usize).prop_map(Step::Resize),
            1 => Just(Step::Sync),
        ]
    }

    proptest! {
        #[test]
        fn taking_back_what_was_not_synced_gives_the_bytes_of_the_last_sync(steps in proptest::collection::vec(step(), 0..40)) {
            let (mut content, mut visible, mut durable) = (Content::default(), Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Write(offset, bytes) => {
                        let (left, right) = bytes.split_at(bytes.len() / 2);
                        content.write(0, offset, &[IoSlice::new(left), IoSlice::new(right)], usize::MAX);
                        put(&mut visible, offset, &bytes);
                    }
                    Step::Resize(len) => {
                        content.resize(0, len);
                        visible.resize(len, 0);
                    }
                    Step::Sync => {
                        content.settle(content.sequence());
                        durable = visible.clone();
                    }
                }
                prop_assert_eq!(content.visible(), &visible[..]);
                prop_assert_eq!(&content.durable(), &durable);
                let mut again = durable.clone();
                content.redo().iter().for_each(|step| step.apply(&mut again));
                prop_assert_eq!(&again, &visible);
            }
        }
    }

    #[test]
    fn after_a_failed_sync_a_later_good_one_does_not_bring_the_data_back() {
        let mut content = Content::default();
        content.write(0, 0, &[IoSlice::new(b"lost")], usize::MAX);
        assert_eq!(content.abandon(content.sequence()), 1);
        content.write(0, 4, &[IoSlice::new(b"kept")], usize::MAX);
        content.settle(content.sequence());
        assert_eq!(content.visible(), b"lostkept");
        assert_eq!(content.durable(), b"\0\0\0\0kept");
        content.evict(0);
        assert_eq!(content.visible(), b"\0\0\0\0kept");
    }

    #[test]
    fn rot_under_a_cached_page_shows_when_the_page_is_evicted() {
        let mut content = Content::default();
        content.write(0, 0, &[IoSlice::new(b"good")], usize::MAX);
        content.settle(content.sequence());
        content.damage(true, |bytes| bytes[0] ^= 1);
        assert_eq!(content.visible(), b"good");
        content.evict(0);
        assert_eq!(content.visible(), b"food");
    }
}
