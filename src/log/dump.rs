//! What a segment's file holds, batch by batch, bad ones included: for `wyrd log dump`.

use std::path::Path;

use super::batches::{SCAN_CHUNK_BYTES, Scanner, Step};
use super::error::LogError;
use crate::base::batch_header::{BadBatch, BatchHeader, verify};
use crate::runtime::{Disk, File, OpenMode};

/// One line of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dumped {
    /// A batch, and what is wrong with its checksum if anything is.
    Batch {
        /// Where in the file.
        position: u64,
        /// Its header.
        header: BatchHeader,
        /// None if the checksum matches.
        bad: Option<BadBatch>,
    },
    /// From here on there is no batch to be made out.
    Unreadable {
        /// Where in the file.
        position: u64,
        /// How many bytes are left.
        bytes: u64,
        /// Why this is no batch.
        bad: BadBatch,
    },
}

/// Goes through the segment file at `path` and hands each batch to `print`, until it says false.
pub async fn dump_segment<D: Disk>(
    disk: &D,
    path: &Path,
    mut print: impl FnMut(Dumped) -> bool + Send,
) -> Result<(), LogError> {
    let file = disk.open(path, OpenMode::Read).map_err(LogError::io(path, "open"))?;
    let len = file.len().map_err(LogError::io(path, "measure"))?;
    let mut scanner = Scanner::new(file, path.to_owned(), 0, len, SCAN_CHUNK_BYTES);
    loop {
        let position = scanner.position();
        let line = match scanner.next(false).await? {
            Step::End => return Ok(()),
            Step::Batch(found) => Dumped::Batch { position, header: found.header, bad: verify(&found.bytes).err() },
            Step::Invalid(bad) => Dumped::Unreadable { position, bytes: len - position, bad },
        };
        let ended = matches!(line, Dumped::Unreadable { .. });
        if !print(line) || ended {
            return Ok(());
        }
    }
}
