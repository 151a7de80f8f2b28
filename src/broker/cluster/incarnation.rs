//! `broker.epoch` in the log directory: the incarnation that last wrote there.
//!
//! A registration names it as the one whose logs it continues (KIP-966). It is durable before a new
//! incarnation takes part in anything, so whatever was written after it was written by that
//! incarnation. A directory without it is new, or its disk was replaced: nothing is left.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::base::ids::BrokerEpoch;
use crate::controller::LastShutdown;
use crate::runtime::{Disk, File, OpenMode};

/// The file's name.
pub const FILE: &str = "broker.epoch";
const TEMPORARY: &str = "broker.epoch.tmp";
/// More than any number takes.
const BYTES_MAX: usize = 32;

/// What a registration says of the logs that it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Whose logs they are.
    pub previous: Option<BrokerEpoch>,
    /// What is left of them.
    pub shutdown: LastShutdown,
}

impl Past {
    /// Of a process that lives and registers anew.
    #[must_use]
    pub fn alive(broker_epoch: BrokerEpoch) -> Self {
        Past { previous: Some(broker_epoch), shutdown: LastShutdown::Clean }
    }

    /// As the disk tells. `clean` says whether the marker of a clean shutdown was found.
    pub async fn read<D: Disk>(disk: &D, log_directory: &Path, clean: bool) -> io::Result<Self> {
        let previous = read(disk, &log_directory.join(FILE)).await?;
        let shutdown = match previous {
            None => LastShutdown::Blank,
            Some(_) if clean => LastShutdown::Clean,
            Some(_) => LastShutdown::Unclean,
        };
        Ok(Past { previous, shutdown })
    }
}

async fn read<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<BrokerEpoch>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = file.read_at(0, BYTES_MAX).await?;
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim_end().parse().ok());
    // One that cannot be read names nobody, which is the careful answer.
    Ok(number.map(BrokerEpoch))
}

/// Durably replaces the incarnation.
pub async fn write<D: Disk>(disk: &D, log_directory: &Path, broker_epoch: BrokerEpoch) -> io::Result<()> {
    disk.create_directories(log_directory)?;
    let (temporary, path) = (log_directory.join(TEMPORARY), log_directory.join(FILE));
    let file = disk.open(&temporary, OpenMode::Create)?;
    let text = format!("{broker_epoch}\n");
    file.truncate(0)?;
    file.write_at(0, &[IoSlice::new(text.as_bytes())])?;
    file.sync().await?;
    disk.rename(&temporary, &path)?;
    for directory in ancestors(log_directory) {
        disk.sync_directory(&directory).await?;
    }
    Ok(())
}

/// The directory and all above it, whose names may be new too.
fn ancestors(directory: &Path) -> Vec<PathBuf> {
    directory.ancestors().map(Path::to_owned).collect()
}
