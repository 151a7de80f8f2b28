//! `meta.properties`: which broker a log directory belongs to, as Kafka writes it.
//!
//! Written at the first start. A directory that holds logs and no such file was not this broker's,
//! or lost it; a broker with another's logs would serve them as its own.

use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;

use crate::base::ids::BrokerId;
use crate::runtime::{Disk, File, OpenMode};

const FILE: &str = "meta.properties";
const TEMPORARY: &str = "meta.properties.tmp";
/// The file is a few dozen bytes.
const BYTES_MAX: usize = 4096;

/// Checks that the disk is `broker`'s, or makes an empty one its own, durably.
pub(super) async fn claim<D: Disk>(disk: &D, broker: BrokerId) -> Result<(), String> {
    match read(disk).await.map_err(failed)? {
        Some(text) => check(&text, broker),
        None if disk.list(Path::new("")).map_err(failed)?.iter().all(|entry| entry.name == TEMPORARY) => {
            write(disk, broker).await.map_err(failed)
        }
        None => Err(format!("the directory is not empty and has no {FILE}: it is not a broker's log directory")),
    }
}

fn failed(error: io::Error) -> String {
    error.to_string()
}

fn check(text: &str, broker: BrokerId) -> Result<(), String> {
    let value = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
    match (value("version"), value("broker.id").map(str::parse)) {
        (Some("0"), Some(Ok(id))) if BrokerId(id) == broker => Ok(()),
        (Some("0"), Some(Ok(id))) => {
            Err(format!("this directory belongs to broker {id}, not to broker {broker}: use its own directory"))
        }
        _ => Err(format!("{FILE} was not written by this version: expected version=0 and broker.id=…")),
    }
}

async fn read<D: Disk>(disk: &D) -> io::Result<Option<String>> {
    let file = match disk.open(Path::new(FILE), OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = file.read_at(0, BYTES_MAX).await?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

async fn write<D: Disk>(disk: &D, broker: BrokerId) -> io::Result<()> {
    let file = disk.open(Path::new(TEMPORARY), OpenMode::Create)?;
    file.truncate(0)?;
    file.write_at(0, &[IoSlice::new(format!("version=0\nbroker.id={broker}\n").as_bytes())])?;
    file.sync().await?;
    disk.rename(Path::new(TEMPORARY), Path::new(FILE))?;
    disk.sync_directory(Path::new("")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_broker_is_refused() {
        assert_eq!(check("#Sun Nov 22\nversion=0\nbroker.id=1\n", BrokerId(1)), Ok(()));
        let error = check("version=0\nbroker.id=2\n", BrokerId(1)).expect_err("foreign");
        assert!(error.contains("belongs to broker 2, not to broker 1"), "{error}");
        for text in ["", "version=1\nnode.id=1\n", "version=0\nbroker.id=x\n", "broker.id=1\n"] {
            assert!(check(text, BrokerId(1)).expect_err(text).contains("not written by this version"));
        }
    }
}
