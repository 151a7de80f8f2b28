//! An append-only file of checksummed records: the coordinator's write-ahead log.
//!
//! It promises that after any crash or power cut, opening gives back exactly the records up to
//! some point at or after the last completed sync, or says that durable bytes were damaged. It
//! does not look into the records.
//!
//! | offset | bytes | field                                                        |
//! |-------:|------:|--------------------------------------------------------------|
//! |      0 |     4 | length of the payload, big-endian like all that follows      |
//! |      4 |     4 | CRC-32C of everything behind this field                      |
//! |      8 |     8 | position of this record in the file                          |
//! |     16 |     8 | how much of the file was durable when this record was written|
//! |     24 |     1 | version of this layout, 1                                    |
//! |     25 |     – | payload                                                      |
//!
//! **A torn tail is told from damage** by the third field. Between two syncs a disk may keep any
//! of the writes and lose others, so an unreadable record may well be followed by a good one. If
//! one of those that follow says that the unreadable place was already durable, then the disk lost
//! what it had promised: that is damage, and the server stops. Otherwise everything from the
//! unreadable record on was never acknowledged, and is cut. Damage within the very last synced
//! records, with nothing behind them, cannot be told from a torn tail; see `docs/FAULTS.md`.
//!
//! The position guards against a block that an earlier use of the space left behind.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};

use crate::base::checksum::crc32c;
use crate::runtime::{Disk, File, OpenMode};

const HEADER_BYTES: usize = 25;
const VERSION: u8 = 1;
/// How much is read at once while opening.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// Why a write-ahead log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// Durable bytes are unreadable.
    #[error(
        "{path}: the record at byte {position} is damaged although it was durable; \
         this server must not vote with what is left: remove its data directory and let it catch up from the others"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        position: u64,
    },
    /// The disk failed.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

/// An open log. After any failed write or sync it must be dropped and the server must stop.
pub struct Wal<D: Disk> {
    path: PathBuf,
    file: D::File,
    len: u64,
    durable: u64,
    buffer: BytesMut,
}

/// What reading found.
pub struct Recovered {
    /// The payloads, in the order in which they were appended.
    pub records: Vec<Bytes>,
    /// Bytes of a torn tail that were left out.
    pub torn_bytes: u64,
}

impl<D: Disk> Wal<D> {
    /// Makes a new log, empty and with its name not yet durable.
    pub fn create(disk: &D, path: &Path) -> Result<Self, WalError> {
        let file = disk.open(path, OpenMode::Create).map_err(|error| io_error(path, error))?;
        file.truncate(0).map_err(|error| io_error(path, error))?;
        Ok(Wal { path: path.to_owned(), file, len: 0, durable: 0, buffer: BytesMut::new() })
    }

    /// Adds a record to those that the next [`Wal::write`] writes.
    pub fn push(&mut self, payload: &[&[u8]]) {
        let at = self.buffer.len();
        let position = self.len + at as u64;
        let payload_len: usize = payload.iter().map(|part| part.len()).sum();
        // Entries are bounded by the frame limits of both protocols, far below 4 GiB.
        let payload_len = u32::try_from(payload_len).expect("a record is bounded by the frame limit");
        self.buffer.extend_from_slice(&payload_len.to_be_bytes());
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&position.to_be_bytes());
        self.buffer.extend_from_slice(&self.durable.to_be_bytes());
        self.buffer.extend_from_slice(&[VERSION]);
        payload.iter().for_each(|part| self.buffer.extend_from_slice(part));
        let crc = crc32c(&self.buffer[at + 8..]);
        self.buffer[at + 4..at + 8].copy_from_slice(&crc.to_be_bytes());
    }

    /// Writes the records that were pushed, in one call.
    pub fn write(&mut self) -> Result<(), WalError> {
        self.file.write_at(self.len, &[IoSlice::new(&self.buffer)]).map_err(|error| io_error(&self.path, error))?;
        self.len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes everything that was written durable.
    pub async fn sync(&mut self) -> Result<(), WalError> {
        assert!(self.buffer.is_empty(), "records are written before they are synced");
        let len = self.len;
        self.file.sync().await.map_err(|error| io_error(&self.path, error))?;
        assert!(self.durable <= len, "what is durable only grows");
        self.durable = len;
        Ok(())
    }

    /// The length in bytes of what was written.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.len
    }
}

/// Reads a log up to its torn tail, if it has one. Nothing is changed: what an earlier process left
/// in the operating system's cache may not be on the medium although a sync would succeed now, for
/// one that failed has marked its pages clean ("fsyncgate"). So what is read here counts only once
/// it was written to a new file and synced there.
pub async fn read<D: Disk>(disk: &D, path: &Path) -> Result<Recovered, WalError> {
    let failed = |error| io_error(path, error);
    let file = disk.open(path, OpenMode::Read).map_err(failed)?;
    let bytes = read_whole(&file).await.map_err(failed)?;
    let (records, len) = parse(&bytes);
    if let Some(position) = damage(&bytes, len) {
        return Err(WalError::Damaged { path: path.to_owned(), position });
    }
    Ok(Recovered { records, torn_bytes: (bytes.len() - len) as u64 })
}

fn io_error(path: &Path, error: io::Error) -> WalError {
    WalError::Io { path: path.to_owned(), error }
}

async fn read_whole(file: &impl File) -> io::Result<Bytes> {
    let len = file.len()?;
    let mut bytes = BytesMut::new();
    while (bytes.len() as u64) < len {
        let part = file.read_at(bytes.len() as u64, READ_BYTES).await?;
        if part.is_empty() {
            break;
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}

/// The payload of the record at `position` and how much of the file it says was durable.
fn record_at(bytes: &Bytes, position: usize) -> Option<(Bytes, u64)> {
    let mut header = bytes.get(position..position + HEADER_BYTES)?;
    let payload_len = header.get_u32() as usize;
    let crc = header.get_u32();
    if header.get_u64() != position as u64 {
        return None;
    }
    let durable = header.get_u64();
    if header.get_u8() != VERSION {
        return None;
    }
    let end = position.checked_add(HEADER_BYTES)?.checked_add(payload_len)?;
    let checked = bytes.get(position + 8..end)?;
    (crc32c(checked) == crc).then(|| (bytes.slice(position + HEADER_BYTES..end), durable))
}

/// The records from the start up to the first unreadable one, and where that begins.
pub(super) fn parse(bytes: &Bytes) -> (Vec<Bytes>, usize) {
    let mut records = Vec::new();
    let mut position = 0;
    while let Some((payload, _)) = record_at(bytes, position) {
        position += HEADER_BYTES + payload.len();
        records.push(payload);
    }
    (records, position)
}

/// `readable` if a record behind it says that more than that was durable.
fn damage(bytes: &Bytes, readable: usize) -> Option<u64> {
    let was_durable =
        |position: usize| record_at(bytes, position).is_some_and(|(_, durable)| durable > readable as u64);
    (readable + 1..bytes.len()).any(was_durable).then_some(readable as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test_disk::TestDisk;

    /// The bytes of records, each given with how much it says was durable.
    fn file_of(records: &[(&[u8], u64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (payload, durable) in records {
            let mut record = Vec::new();
            record.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            record.extend_from_slice(&durable.to_be_bytes());
            record.push(VERSION);
            record.extend_from_slice(payload);
            bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&crc32c(&record).to_be_bytes());
            bytes.extend_from_slice(&record);
        }
        bytes
    }

    #[test]
    fn an_unreadable_record_that_nothing_calls_durable_is_a_torn_tail() {
        let mut bytes = file_of(&[(b"first", 0), (b"second", 30), (b"third", 30)]);
        bytes[40] ^= 1;
        let bytes = Bytes::from(bytes);
        let (records, end) = parse(&bytes);
        assert_eq!((records.len(), end), (1, 30));
        assert_eq!(damage(&bytes, end), None);
    }

    #[test]
    fn an_unreadable_record_that_a_later_one_calls_durable_is_damage() {
        let mut bytes = file_of(&[(b"first", 0), (b"second", 30), (b"third", 61)]);
        bytes[40] ^= 1;
        let bytes = Bytes::from(bytes);
        let (records, end) = parse(&bytes);
        assert_eq!((records.len(), end), (1, 30));
        assert_eq!(damage(&bytes, end), Some(30));
    }

    #[test]
    fn a_record_that_lies_elsewhere_than_it_says_is_not_read() {
        let bytes = file_of(&[(b"first", 0), (b"second", 0)]);
        let shifted = Bytes::copy_from_slice(&bytes[30..]);
        assert_eq!(parse(&shifted).1, 0);
    }

    #[test]
    fn a_new_log_holds_nothing_of_a_file_that_had_its_name() {
        let (disk, path) = (TestDisk::default(), Path::new("wal-1.tmp"));
        let earlier = disk.open(path, OpenMode::Create).expect("opens");
        earlier.write_at(0, &[IoSlice::new(&[b'x'; 200])]).expect("writes");
        let mut wal = Wal::create(&disk, path).expect("creates");
        wal.push(&[b"first"]);
        wal.write().expect("writes");
        assert_eq!(disk.contents("wal-1.tmp"), file_of(&[(b"first", 0)]));
    }

    #[test]
    fn no_length_or_cut_makes_reading_fail_otherwise_than_by_ending() {
        let whole = file_of(&[(b"first", 0), (b"second", 30)]);
        for cut in 0..whole.len() {
            let (records, end) = parse(&Bytes::copy_from_slice(&whole[..cut]));
            assert!(end <= cut && records.len() <= 1, "cut at {cut}");
        }
        let mut huge = whole.clone();
        huge[0..4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(parse(&Bytes::from(huge)).1, 0);
    }
}
