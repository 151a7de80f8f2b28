//! The marker of a clean shutdown, `.kafka_cleanshutdown` in the log directory.
//!
//! A broker writes it last when it stops, after every log was made durable, and removes it first
//! when it starts, durably, before it appends anything. So its absence tells an unclean shutdown,
//! after which a broker is in no in-sync or eligible-leader set (KIP-966). Logs do not look at it:
//! each has its durable point (KAFKA-10471 was a marker that told logs too much).

use std::path::Path;

use super::error::LogError;
use super::segment::{read_whole, remove_if_there, write_whole};
use super::sync::sync_ancestors;
use crate::runtime::{Disk, File};

/// The marker's name, as Kafka's.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// What it holds. A file that a power cut left empty or torn is no marker.
const CONTENTS: &[u8] = b"{\"version\":0,\"brokerEpoch\":-1}\n";

/// Writes the marker durably. Call it last.
pub async fn write_marker<D: Disk>(disk: &D, log_directory: &Path) -> Result<(), LogError> {
    let path = log_directory.join(CLEAN_SHUTDOWN);
    let file = write_whole(disk, &path, CONTENTS)?;
    file.sync().await.map_err(LogError::io(&path, "sync"))?;
    disk.sync_directory(log_directory).await.map_err(LogError::io(log_directory, "sync"))?;
    sync_ancestors(disk, log_directory).await
}

/// Removes the marker durably and says whether it was there. Call it first.
pub async fn take_marker<D: Disk>(disk: &D, log_directory: &Path) -> Result<bool, LogError> {
    let path = log_directory.join(CLEAN_SHUTDOWN);
    let Some(contents) = read_whole(disk, &path).await? else { return Ok(false) };
    remove_if_there(disk, &path)?;
    disk.sync_directory(log_directory).await.map_err(LogError::io(log_directory, "sync"))?;
    Ok(contents == CONTENTS)
}
