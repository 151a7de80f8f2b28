//! The marker that tells a server's directory from an empty or a foreign one.
//!
//! A server that lost its disk has forgotten its votes and acknowledgements, and two empty disks
//! look alike. So a directory is *formatted* exactly once, when the ensemble is made, and without
//! the marker a server refuses to start.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::ids::ServerId;
use crate::runtime::{Disk, File, OpenMode};

const FILE: &str = "format";
const TEMPORARY: &str = "format.tmp";
const VERSION: u32 = 1;
/// The marker is a few dozen bytes; anything larger is not ours.
const BYTES_MAX: usize = 4096;

/// What the marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    version: u32,
    server: ServerId,
    /// Whether the directory replaces one that was lost: such a server never votes.
    replacement: bool,
}

/// Why a directory is not this server's.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// There is no marker.
    #[error(
        "this directory was never formatted for a coordinator: a server without its disk must not vote. \
         Format it when the ensemble is made, or as a replacement for a lost disk"
    )]
    Missing,
    /// It was formatted before.
    #[error("this directory was formatted before: it belongs to coordinator server {0}")]
    Exists(ServerId),
    /// It is another server's.
    #[error("this directory belongs to coordinator server {found}, not to server {expected}: use its own directory")]
    Foreign {
        /// Whose it is.
        found: ServerId,
        /// Whose it should be.
        expected: ServerId,
    },
    /// It cannot be read as a marker of this version.
    #[error("{FILE}: {0}; this directory was not written by this version of the coordinator")]
    Unreadable(String),
    /// The disk failed.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

fn io_error(error: io::Error) -> FormatError {
    FormatError::Io { path: PathBuf::from(FILE), error }
}

impl Format {
    /// Writes the marker for `server`, durably.
    pub async fn write<D: Disk>(disk: &D, server: ServerId, replacement: bool) -> Result<(), FormatError> {
        match Format::find(disk).await {
            Ok(found) => return Err(FormatError::Exists(found.server)),
            Err(FormatError::Missing) => {}
            Err(error) => return Err(error),
        }
        let format = Format { version: VERSION, server, replacement };
        let text = serde_json::to_vec(&format).expect("a struct of numbers can be written as JSON");
        let file = disk.open(Path::new(TEMPORARY), OpenMode::Create).map_err(io_error)?;
        file.truncate(0).map_err(io_error)?;
        file.write_at(0, &[IoSlice::new(&text)]).map_err(io_error)?;
        file.sync().await.map_err(io_error)?;
        disk.rename(Path::new(TEMPORARY), Path::new(FILE)).map_err(io_error)?;
        disk.sync_directory(Path::new("")).await.map_err(io_error)
    }

    /// Reads the marker and checks that it is `server`'s.
    pub async fn read<D: Disk>(disk: &D, server: ServerId) -> Result<Format, FormatError> {
        let format = Format::find(disk).await?;
        if format.server == server {
            Ok(format)
        } else {
            Err(FormatError::Foreign { found: format.server, expected: server })
        }
    }

    async fn find<D: Disk>(disk: &D) -> Result<Format, FormatError> {
        let file = match disk.open(Path::new(FILE), OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FormatError::Missing),
            Err(error) => return Err(io_error(error)),
        };
        let text = file.read_at(0, BYTES_MAX).await.map_err(io_error)?;
        let format: Format =
            serde_json::from_slice(&text).map_err(|error| FormatError::Unreadable(error.to_string()))?;
        if format.version == VERSION {
            Ok(format)
        } else {
            Err(FormatError::Unreadable(format!("version {} is not known", format.version)))
        }
    }

    /// Whether the directory replaces one that was lost.
    #[must_use]
    pub fn is_replacement(self) -> bool {
        self.replacement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test_disk::{TestDisk, now};

    #[test]
    fn a_marker_is_written_over_a_longer_one_that_was_not_finished() {
        let disk = TestDisk::default();
        let unfinished = disk.open(Path::new(TEMPORARY), OpenMode::Create).expect("opens");
        unfinished.write_at(0, &[IoSlice::new(&[b'x'; 200])]).expect("writes");
        now(Format::write(&disk, ServerId(2), true)).expect("formats");
        assert!(now(Format::read(&disk, ServerId(2))).expect("reads").is_replacement());
    }
}
