//! The newest batches of a log, kept in memory as they were verified and written, so that
//! consumers and followers at the end of the log cause no reads.

use std::collections::VecDeque;

use bytes::Bytes;

use super::batches::trusted;
use crate::base::batch_header::BatchHeader;

#[derive(Debug)]
struct Chunk {
    base_offset: i64,
    next_offset: i64,
    bytes: Bytes,
}

/// The tail of a log, bounded in bytes.
#[derive(Debug, Default)]
pub(super) struct Tail {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Tail {
    /// Adds whole batches that were just appended; lets go of the oldest above `bound` bytes.
    pub fn push(&mut self, base_offset: i64, next_offset: i64, bytes: Bytes, bound: usize) {
        assert!(self.chunks.back().is_none_or(|last| last.next_offset == base_offset));
        self.bytes += bytes.len();
        self.chunks.push_back(Chunk { base_offset, next_offset, bytes });
        while self.bytes > bound {
            let Some(oldest) = self.chunks.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// Lets go of everything.
    pub fn clear(&mut self) {
        *self = Tail::default();
    }

    /// Whole batches from the one that holds `from` on, if that one is here.
    pub fn read(&self, from: i64, max_bytes: usize, upper_bound: i64) -> Option<ReadBatches> {
        let first = self.chunks.partition_point(|chunk| chunk.next_offset <= from);
        if self.chunks.get(first)?.base_offset > from {
            return None;
        }
        let mut read = ReadBatches::empty(from);
        for chunk in self.chunks.iter().skip(first) {
            if !read.take(&chunk.bytes, max_bytes, upper_bound) {
                break;
            }
        }
        Some(read)
    }
}

/// Whole batches, byte for byte as they were appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBatches {
    /// The batches, in order; a part ends at the end of a batch.
    pub parts: Vec<Bytes>,
    /// How many bytes they are.
    pub bytes: usize,
    /// The offset after the last record, or the requested offset if there is none.
    pub next_offset: i64,
}

impl ReadBatches {
    pub(super) fn empty(from: i64) -> Self {
        ReadBatches { parts: Vec::new(), bytes: 0, next_offset: from }
    }

    /// All of it in one piece: without a copy where it is one part.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        if self.parts.len() <= 1 { self.parts.pop().unwrap_or_default() } else { self.parts.concat().into() }
    }

    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Adds a verified batch.
    pub(super) fn add(&mut self, header: &BatchHeader, batch: Bytes) {
        self.bytes += header.size;
        self.next_offset = header.next_offset();
        self.parts.push(batch);
    }

    /// Takes the batches of a verified chunk that reach beyond `next_offset`, end at or before
    /// `upper_bound` and fit into `max_bytes`; the first batch always fits (KIP-74). Says whether
    /// the chunk's end was reached.
    pub(super) fn take(&mut self, chunk: &Bytes, max_bytes: usize, upper_bound: i64) -> bool {
        let (mut start, mut end, mut whole) = (chunk.len(), 0, true);
        for (position, header) in trusted(chunk) {
            if header.next_offset() <= self.next_offset {
                continue;
            }
            let fits = self.bytes == 0 || self.bytes + header.size <= max_bytes;
            if header.next_offset() > upper_bound || !fits {
                whole = false;
                break;
            }
            start = start.min(position);
            end = position + header.size;
            self.bytes += header.size;
            self.next_offset = header.next_offset();
        }
        if start < end {
            self.parts.push(chunk.slice(start..end));
        }
        whole
    }
}
