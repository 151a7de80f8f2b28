//! `broker.epoch` in the log directory: the incarnations that wrote there one after the other, and
//! since which of them nothing has been lost. Three lines of text:
//!
//! | line | |
//! |---:|---|
//! | 1 | the version, 2 |
//! | 2 | the first incarnation since which nothing that was written has been lost |
//! | 3 | those since which nothing that was synced has been lost, oldest first, at most 64 |
//!
//! A registration names them as those whose logs it continues (KIP-966). It is durable before a new
//! incarnation registers, so whatever was written after it was written by that
//! incarnation. A directory without it is new, or its disk was replaced: nothing is left.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::base::ids::BrokerEpoch;
use crate::controller::{INCARNATIONS_MAX, LastShutdown, Lineage};
use crate::runtime::{Disk, File, OpenMode};

/// The file's name.
pub const FILE: &str = "broker.epoch";
const TEMPORARY: &str = "broker.epoch.tmp";
const VERSION: &str = "2";
/// More than the version and so many numbers of 64 bits take.
const BYTES_MAX: usize = 20 * (INCARNATIONS_MAX + 2);

/// What a registration says of the logs that it continues.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub fn continued(&self, broker_epoch: BrokerEpoch) -> Lineage {
        Lineage::continued(self.previous.as_ref(), self.shutdown, broker_epoch)
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

fn parse(text: &str) -> Option<Lineage> {
    let number = |word: &str| word.parse().ok().map(BrokerEpoch);
    let mut lines = text.lines();
    let (version, written_since, incarnations) = (lines.next()?, lines.next()?, lines.next()?);
    if version != VERSION || lines.next().is_some() {
        return None;
    }
    let incarnations = incarnations.split_ascii_whitespace().map(number).collect::<Option<_>>()?;
    Lineage::from_parts(incarnations, number(written_since)?)
}

fn print(lineage: &Lineage) -> String {
    let incarnations: Vec<String> = lineage.incarnations().iter().map(ToString::to_string).collect();
    format!("{VERSION}\n{}\n{}\n", lineage.written_since(), incarnations.join(" "))
}

/// Durably replaces the incarnation.
pub async fn write<D: Disk>(disk: &D, log_directory: &Path, lineage: &Lineage) -> io::Result<()> {
    disk.create_directories(log_directory)?;
    let (temporary, path) = (log_directory.join(TEMPORARY), log_directory.join(FILE));
    let file = disk.open(&temporary, OpenMode::Create)?;
    file.truncate(0)?;
    file.write_at(0, &[IoSlice::new(print(lineage).as_bytes())])?;
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
    fn a_lineage_reads_back_as_it_was_written_and_nonsense_names_nobody() {
        let line = Lineage::from_parts([3, 8, 9].map(BrokerEpoch).to_vec(), BrokerEpoch(8)).expect("in order");
        assert_eq!(print(&line), "2\n8\n3 8 9\n");
        assert_eq!(parse(&print(&line)), Some(line));
        for nonsense in
            ["", "7\n", "9 8 3\n", "2\n8\n", "2\n8\n\n", "2\nx\n8\n", "2\n8\n9 8\n", "3\n8\n8\n", "2\n8\n8\n8\n"]
        {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn the_longest_lineage_fits_into_what_is_read() {
        let epochs = (0..INCARNATIONS_MAX as i64).map(|at| BrokerEpoch(i64::MAX - 100 + at)).collect();
        let line = Lineage::from_parts(epochs, BrokerEpoch(i64::MAX)).expect("in order");
        assert!(print(&line).len() <= BYTES_MAX);
    }
}
