//! Length-prefixed frames, as both protocols have them: a big-endian `i32` and that many bytes.
//!
//! [`FrameDecoder`] cuts a byte stream into frames without knowing where the bytes come from. An
//! announced length reserves nothing: room grows with what was *received*, so a hostile prefix
//! costs its sender the bytes. [`FrameQueue`] is what is to be written: shared slices, handed to
//! vectored writes without being copied together.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// The length of the prefix.
pub const PREFIX_BYTES: usize = 4;
/// The room that is made for reads, and all that an idle connection holds.
const READ_BYTES_MIN: usize = 4 * 1024;
/// With so much room left, and enough for a frame as large as the one before, no more is made: small
/// frames share a piece of memory.
const ROOM_BYTES_MIN: usize = 512;
/// The most room that is offered on the strength of the frames before.
const READ_BYTES_LEARNED_MAX: usize = 256 * 1024;

/// Why a stream cannot be cut into frames. The connection is of no further use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// A negative length.
    #[error("a frame announces the impossible length {0}")]
    Negative(i32),
    /// A length beyond the limit.
    #[error("a frame announces {announced} bytes, the limit is {limit}")]
    TooLarge {
        /// The length in the prefix.
        announced: usize,
        /// The most that is accepted.
        limit: usize,
    },
}

/// Cuts a byte stream into frames. Feed bytes into [`room`](Self::room), then take frames from
/// [`next_frame`](Self::next_frame) until it has none.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    limit: usize,
    last_frame_bytes: usize,
}

impl FrameDecoder {
    /// A decoder that accepts frames of up to `limit` bytes, prefix not counted.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        FrameDecoder { buffer: BytesMut::new(), limit, last_frame_bytes: 0 }
    }

    /// Where the next bytes of the stream go (append only), with free capacity for a read. The
    /// capacity doubles with the bytes at hand, or follows the size of the frame before.
    pub fn room(&mut self) -> &mut BytesMut {
        let have = self.buffer.len();
        let missing = match self.announced() {
            Some(Ok(announced)) => (announced + PREFIX_BYTES).saturating_sub(have),
            Some(Err(_)) | None => self.last_frame_bytes.max(ROOM_BYTES_MIN),
        };
        let free = self.buffer.capacity() - have;
        if free == 0 || free < missing.min(READ_BYTES_MIN) {
            let learned = self.last_frame_bytes.min(READ_BYTES_LEARNED_MAX);
            self.buffer.reserve(have.max(learned).max(READ_BYTES_MIN));
        }
        &mut self.buffer
    }

    /// The bytes received that are not yet part of a frame handed out.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.buffer
    }

    /// The next complete frame without its prefix; none until more bytes have come. The frame
    /// shares memory with the bytes received.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, BadFrame> {
        let Some(announced) = self.announced().transpose()? else {
            return Ok(None);
        };
        if self.buffer.len() < PREFIX_BYTES + announced {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        self.last_frame_bytes = announced + PREFIX_BYTES;
        Ok(Some(self.buffer.split_to(announced).freeze()))
    }

    fn announced(&self) -> Option<Result<usize, BadFrame>> {
        let prefix = self.buffer.first_chunk::<PREFIX_BYTES>()?;
        let announced = i32::from_be_bytes(*prefix);
        Some(match usize::try_from(announced) {
            Err(_) => Err(BadFrame::Negative(announced)),
            Ok(announced) if announced > self.limit => Err(BadFrame::TooLarge { announced, limit: self.limit }),
            Ok(announced) => Ok(announced),
        })
    }
}

/// Bytes to be written, in order, as shared slices. It is a [`Buf`] that offers all of its slices
/// to a vectored write, so `write_all_buf` and `write_buf` send it without copying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameQueue {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl FrameQueue {
    /// Nothing to write.
    #[must_use]
    pub fn new() -> Self {
        FrameQueue::default()
    }

    /// Adds `part` at the end.
    pub fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.bytes += part.len();
            self.parts.push_back(part);
        }
    }

    /// Moves all of `other` to the end.
    pub fn append(&mut self, mut other: FrameQueue) {
        self.bytes += other.bytes;
        self.parts.append(&mut other.parts);
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is left to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The slices in order.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.parts.iter()
    }

    /// All bytes in one piece; copies unless there is one slice only.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        if self.parts.len() == 1 {
            return self.parts.pop_front().unwrap_or_default();
        }
        self.copy_to_bytes(self.bytes)
    }
}

impl From<Bytes> for FrameQueue {
    fn from(part: Bytes) -> Self {
        let mut queue = FrameQueue::new();
        queue.push(part);
        queue
    }
}

impl Buf for FrameQueue {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.bytes, "advanced {count} bytes of {}", self.bytes);
        self.bytes -= count;
        let mut left = count;
        while left > 0 {
            let Some(part) = self.parts.front_mut() else { break };
            if part.len() > left {
                part.advance(left);
                break;
            }
            left -= part.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as i32).to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let mut stream = frame(b"one");
        stream.extend(frame(b""));
        stream.extend(frame(&[7; 10_000]));
        for step in [1, 2, 3, 5, 4096, stream.len()] {
            let mut decoder = FrameDecoder::new(10_000);
            let mut frames = Vec::new();
            for piece in stream.chunks(step) {
                decoder.room().extend_from_slice(piece);
                while let Some(frame) = decoder.next_frame().expect("valid") {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [Bytes::from_static(b"one"), Bytes::new(), Bytes::from(vec![7; 10_000])]);
            assert!(decoder.pending().is_empty());
        }
    }

    #[test]
    fn an_announced_length_reserves_no_more_than_was_received() {
        let mut decoder = FrameDecoder::new(i32::MAX as usize);
        decoder.room().extend_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.room().capacity() <= 2 * READ_BYTES_MIN);
        for _ in 0..64 {
            decoder.room().extend_from_slice(&[0; 1024]);
            let received = decoder.pending().len();
            assert!(decoder.room().capacity() <= 3 * received.max(2 * READ_BYTES_MIN), "{received}");
        }
    }

    #[test]
    fn impossible_and_excessive_lengths_are_errors_and_stay_errors() {
        for (prefix, error) in [
            (-1i32, BadFrame::Negative(-1)),
            (i32::MIN, BadFrame::Negative(i32::MIN)),
            (11, BadFrame::TooLarge { announced: 11, limit: 10 }),
        ] {
            let mut decoder = FrameDecoder::new(10);
            decoder.room().extend_from_slice(&prefix.to_be_bytes());
            assert_eq!(decoder.next_frame(), Err(error.clone()));
            decoder.room().extend_from_slice(&[0; 32]);
            assert_eq!(decoder.next_frame(), Err(error));
        }
    }

    #[test]
    fn small_frames_share_a_piece_of_memory() {
        let mut decoder = FrameDecoder::new(1 << 20);
        let mut pieces = std::collections::BTreeSet::new();
        for _ in 0..20 {
            decoder.room().extend_from_slice(&frame(&[1; 96]));
            let taken = decoder.next_frame().expect("valid").expect("whole");
            pieces.insert(taken.as_ptr() as usize / (2 * READ_BYTES_MIN));
        }
        assert!(pieces.len() <= 2, "{}", pieces.len());
    }

    #[test]
    fn a_large_frame_makes_room_for_the_next_of_its_size() {
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.room().extend_from_slice(&frame(&[1; 100_000]));
        assert!(decoder.next_frame().expect("valid").is_some());
        let room = decoder.room();
        assert!(room.capacity() - room.len() >= 100_000);
    }

    #[test]
    fn a_queue_gives_its_bytes_in_order_across_partial_writes() {
        let mut queue = FrameQueue::new();
        for part in [&b"abc"[..], b"", b"defg", b"h"] {
            queue.push(Bytes::copy_from_slice(part));
        }
        assert_eq!((queue.len(), queue.parts().len()), (8, 3));
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(queue.chunks_vectored(&mut slices), 2);
        queue.advance(4);
        assert_eq!(queue.chunk(), b"efg");
        queue.append(FrameQueue::from(Bytes::from_static(b"ij")));
        assert_eq!(queue.clone().into_bytes(), Bytes::from_static(b"efghij"));
        queue.advance(6);
        assert!(queue.is_empty() && queue.chunk().is_empty());
    }
}
