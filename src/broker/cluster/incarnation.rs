//! `broker.epoch` in the log directory: the incarnation that last wrote there, and since which
//! earlier one nothing that was written, or synced, has been lost.
//!
//! A registration names them as those whose logs it continues (KIP-966). It is durable before a new
//! incarnation takes part in anything, so whatever was written after it was written by that
//! incarnation. A directory without it is new, or its disk was replaced: nothing is left.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::base::ids::BrokerEpoch;
use crate::controller::{LastShutdown, Lineage};
use crate::runtime::{Disk, File, OpenMode};

/// The file's name.
pub const FILE: &str = "broker.epoch";
const TEMPORARY: &str = "broker.epoch.tmp";
/// More than any three numbers take.
const BYTES_MAX: usize = 80;

/// What a registration says of the logs that it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Whose logs they are.
    pub previous: Option<Lineage>,
    /// What is left of them.
    pub shutdown: LastShutdown,
}

impl Past {
    /// Of a process that lives and registers anew.
    #[must_use]
    pub fn alive(lineage: Lineage) -> Self {
        Past { previous: Some(lineage), shutdown: LastShutdown::Clean }
    }

    /// The lineage of the incarnation that has this past.
    #[must_use]
    pub fn continued(self, broker_epoch: BrokerEpoch) -> Lineage {
        Lineage::continued(self.previous, self.shutdown, broker_epoch)
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

async fn read<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<Lineage>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = file.read_at(0, BYTES_MAX).await?;
    // One that cannot be read names nobody, which is the careful answer.
    Ok(std::str::from_utf8(&text).ok().and_then(parse))
}

/// `LAST WRITTEN_SINCE SYNCED_SINCE`, or the last alone, of which nothing more is known.
fn parse(text: &str) -> Option<Lineage> {
    let numbers: Vec<BrokerEpoch> =
        text.split_ascii_whitespace().map(|word| word.parse().ok().map(BrokerEpoch)).collect::<Option<_>>()?;
    match *numbers.as_slice() {
        [last] => Some(Lineage::of(last)),
        [last, written_since, synced_since] => Some(Lineage { last, written_since, synced_since }),
        _ => None,
    }
}

/// Durably replaces the incarnation.
pub async fn write<D: Disk>(disk: &D, log_directory: &Path, lineage: Lineage) -> io::Result<()> {
    disk.create_directories(log_directory)?;
    let (temporary, path) = (log_directory.join(TEMPORARY), log_directory.join(FILE));
    let file = disk.open(&temporary, OpenMode::Create)?;
    let Lineage { last, written_since, synced_since } = lineage;
    let text = format!("{last} {written_since} {synced_since}\n");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_one_number_names_one_incarnation_and_nonsense_nobody() {
        assert_eq!(parse("7\n"), Some(Lineage::of(BrokerEpoch(7))));
        let line = Lineage { last: BrokerEpoch(9), written_since: BrokerEpoch(8), synced_since: BrokerEpoch(3) };
        assert_eq!(parse("9 8 3\n"), Some(line));
        for nonsense in ["", "x", "9 8", "9 8 3 1", "9 8 \0"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }
}
