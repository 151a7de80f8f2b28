//! Walking over record batches: in memory, and in a file whose bytes are not trusted.

use std::path::PathBuf;

use bytes::{Buf, Bytes};

use super::error::LogError;
use super::index::BatchPlace;
use crate::base::batch_header::{BadBatch, BatchHeader, HEADER_BYTES, MAGIC, MAGIC_AT, verify};
use crate::producer_state::EndMarker;
use crate::runtime::File;

/// How much is read from a file at once when all of it is wanted.
pub(super) const SCAN_CHUNK_BYTES: usize = 1024 * 1024;
/// What is left of an interrupted write is looked at up to so many bytes; no batch is larger.
const CUT_SHORT_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The batches of bytes that were verified before.
pub(super) fn trusted(bytes: &[u8]) -> impl Iterator<Item = (usize, BatchHeader)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = BatchHeader::read(bytes.get(at..).filter(|rest| !rest.is_empty())?);
        let header = header.expect("these bytes were verified when they were appended");
        let position = at;
        at += header.size;
        Some((position, header))
    })
}

/// The end marker of a control batch that ends a transaction; other control batches have none.
pub(super) fn end_marker(header: &BatchHeader, batch: &[u8]) -> Option<EndMarker> {
    if !header.is_control() || header.compression() != 0 {
        return None;
    }
    let mut record = batch.get(HEADER_BYTES..header.size)?;
    let _length = varint(&mut record)?;
    let _attributes = record.try_get_i8().ok()?;
    let _timestamp_delta = varint(&mut record)?;
    let _offset_delta = varint(&mut record)?;
    let mut key = field(&mut record)?;
    let mut value = field(&mut record)?;
    let _version = key.try_get_i16().ok()?;
    let committed = match key.try_get_i16().ok()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let _version = value.try_get_i16().ok()?;
    Some(EndMarker { committed, coordinator_epoch: value.try_get_i32().ok()? })
}

/// A signed varint as records have it: zigzag, seven bits a byte, at most ten bytes.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let field = bytes.get(..length)?;
    bytes.advance(length);
    Some(field)
}

/// Whether `rest`, from where a file's batches are bad up to its end, is what an interrupted write leaves:
/// the beginning of one batch, which therefore never counted. A whole batch whose length field was
/// damaged looks much like it: then the checksum holds up to the end, or the next batch is there.
pub(super) fn is_cut_short(rest: &[u8]) -> bool {
    let header = match BatchHeader::read(rest) {
        Ok(header) => header,
        Err(bad) => return matches!(bad, BadBatch::Short { .. }),
    };
    let next = header.next_offset().to_be_bytes();
    let is_next = |at: &[u8]| at.starts_with(&next) && at[MAGIC_AT] == MAGIC;
    header.size > rest.len() && !header.is_checksum_of(rest) && !rest[HEADER_BYTES..].windows(MAGIC_AT + 1).any(is_next)
}

/// A batch in a file.
#[derive(Clone, Debug)]
pub(super) struct FoundBatch {
    pub position: u64,
    pub header: BatchHeader,
    pub bytes: Bytes,
}

impl FoundBatch {
    /// What an index notes of it.
    pub fn place_in(&self, base_offset: i64) -> BatchPlace {
        BatchPlace {
            last_relative_offset: u32::try_from(self.header.last_offset() - base_offset).unwrap_or(u32::MAX),
            position: u32::try_from(self.position).unwrap_or(u32::MAX),
            size: u32::try_from(self.header.size).unwrap_or(u32::MAX),
            max_timestamp_ms: self.header.max_timestamp,
        }
    }
}

/// What [`Scanner::next`] came upon.
#[derive(Debug)]
pub(super) enum Step {
    Batch(FoundBatch),
    /// From the position on, the bytes are no batch.
    Invalid(BadBatch),
    End,
}

/// Goes through a segment's batches, reading ahead by chunks. Trusts nothing that it reads: an
/// announced length is held against the file's end before anything is reserved for it.
pub(super) struct Scanner<F> {
    file: F,
    path: PathBuf,
    position: u64,
    end: u64,
    chunk: Bytes,
    chunk_bytes: usize,
}

impl<F: File> Scanner<F> {
    pub fn new(file: F, path: PathBuf, position: u64, end: u64, chunk_bytes: usize) -> Self {
        Scanner { file, path, position, end, chunk: Bytes::new(), chunk_bytes }
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether what is left, which is no batch, is what an interrupted write leaves.
    pub async fn is_cut_short(&mut self) -> Result<bool, LogError> {
        let left = self.end.saturating_sub(self.position);
        if left > CUT_SHORT_BYTES_MAX {
            return Ok(false);
        }
        self.fill(left as usize).await?;
        Ok(is_cut_short(&self.chunk))
    }

    /// Moves on to the next whole batch, if there is one: only a planted bug does.
    pub async fn skip_to_whole(&mut self) -> Result<bool, LogError> {
        self.fill(self.end.saturating_sub(self.position) as usize).await?;
        let Some(at) = (1..self.chunk.len()).find(|at| verify(&self.chunk[*at..]).is_ok()) else { return Ok(false) };
        self.chunk.advance(at);
        self.position += at as u64;
        Ok(true)
    }

    /// The next batch. Its checksum is verified if `checked`; its header always is.
    pub async fn next(&mut self, checked: bool) -> Result<Step, LogError> {
        let left = self.end.saturating_sub(self.position);
        if left == 0 {
            return Ok(Step::End);
        }
        self.fill(HEADER_BYTES).await?;
        let header = match BatchHeader::read(&self.chunk) {
            Ok(header) => header,
            Err(bad) => return Ok(Step::Invalid(bad)),
        };
        if header.size as u64 > left {
            return Ok(Step::Invalid(BadBatch::Short { have: left as usize, need: header.size }));
        }
        self.fill(header.size).await?;
        if self.chunk.len() < header.size {
            return Ok(Step::Invalid(BadBatch::Short { have: self.chunk.len(), need: header.size }));
        }
        if checked && let Err(bad) = verify(&self.chunk[..header.size]) {
            return Ok(Step::Invalid(bad));
        }
        let found = FoundBatch { position: self.position, header, bytes: self.chunk.split_to(header.size) };
        self.position += header.size as u64;
        Ok(Step::Batch(found))
    }

    /// Makes the chunk begin at the position and hold `need` bytes, if the file has them.
    async fn fill(&mut self, need: usize) -> Result<(), LogError> {
        if self.chunk.len() >= need {
            return Ok(());
        }
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let len = need.max(self.chunk_bytes).min(left);
        self.chunk = self.file.read_at(self.position, len).await.map_err(LogError::io(&self.path, "read"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_batches::{Recipe, marker};
    use super::*;
    use crate::base::batch_header::assign;
    use crate::base::ids::LeaderEpoch;

    #[test]
    fn what_an_interrupted_write_leaves_is_told_from_a_damaged_length() {
        let batch = |records, offset| {
            let mut batch = Recipe { records, ..Recipe::default() }.make();
            assign(&mut batch, offset, LeaderEpoch(1));
            batch
        };
        let (first, second) = (batch(3, 7), batch(2, 10));
        for cut in 1..first.len() {
            assert!(is_cut_short(&first[..cut]), "{cut} of {} bytes", first.len());
        }
        for bit in 0..32 {
            let mut damaged = first.clone();
            damaged[8 + bit / 8] ^= 0x80 >> (bit % 8);
            assert!(!is_cut_short(&damaged), "bit {bit} of the length");
            damaged.extend_from_slice(&second);
            assert!(!is_cut_short(&damaged), "bit {bit} of the length, and another batch behind it");
        }
        let mut damaged = first.clone();
        *damaged.last_mut().expect("a batch has bytes") ^= 1;
        assert!(!is_cut_short(&damaged));
    }

    #[test]
    fn a_marker_says_whether_its_transaction_was_committed_and_by_which_coordinator() {
        for committed in [true, false] {
            let batch = marker((9, 0), committed, 4);
            let header = BatchHeader::read(&batch).expect("it was just made");
            assert_eq!(end_marker(&header, &batch), Some(EndMarker { committed, coordinator_epoch: 4 }));
        }
    }

    #[test]
    fn a_varint_is_zigzag_and_bounded() {
        for (bytes, value) in [(&[0u8][..], 0), (&[1], -1), (&[2], 1), (&[0xd8, 0x04], 300), (&[0xff; 9], i64::MIN)] {
            let mut whole = bytes.to_vec();
            if value == i64::MIN {
                whole.push(1);
            }
            assert_eq!(varint(&mut &whole[..]), Some(value));
        }
        assert_eq!(varint(&mut &[0xff; 11][..]), None);
        assert_eq!(varint(&mut &[0x80][..]), None);
    }
}
