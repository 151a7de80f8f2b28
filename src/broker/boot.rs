//! `boot.id` in the log directory: under which boot of the host this broker last ran.
//!
//! A process that was killed loses nothing that it wrote: the operating system has it. A host that
//! lost power may lose all that was not synced. A broker that finds the boot of its last life still
//! going on therefore continues its logs as after a clean shutdown. Without this, killing every
//! replica of a partition would leave nobody who may lead it (KIP-966).
//!
//! It is noted once the disk names this incarnation and since which one nothing has been lost (`incarnation`), and
//! before the broker registers. Noted any earlier, a life that ended at once would hide from the next one that the
//! power had been cut (`standard` seed 145: the next one called itself clean, and led with an empty log). Noted any
//! later, a process that is killed as soon as it is registered would come back as one that may have lost what it led,
//! and a partition without another replica would never be led again (`swarm` seed 88896). A broker that fails because a sync failed, or because
//! it found damage, removes it: what is lost then is lost without any loss of power. A write that
//! failed, on a full disk say, takes nothing away that was written before.

use std::io::{self, IoSlice};
use std::path::Path;

use crate::runtime::{Disk, File, OpenMode};

const FILE: &str = "boot.id";
const TEMPORARY: &str = "boot.id.tmp";
/// More than 128 bits take in hexadecimal.
const BYTES_MAX: usize = 64;

/// Whether the last life that took an incarnation was under this same boot.
pub(super) async fn is_same<D: Disk>(disk: &D, log_directory: &Path) -> io::Result<bool> {
    Ok(read(disk, &log_directory.join(FILE)).await? == text(disk).as_bytes())
}

fn text<D: Disk>(disk: &D) -> String {
    format!("{:032x}\n", disk.boot_id())
}

/// Notes this boot durably, if it is not noted yet.
pub(super) async fn note<D: Disk>(disk: &D, log_directory: &Path) -> io::Result<()> {
    if is_same(disk, log_directory).await? {
        return Ok(());
    }
    disk.create_directories(log_directory)?;
    let now = text(disk);
    let temporary = log_directory.join(TEMPORARY);
    let file = disk.open(&temporary, OpenMode::Create)?;
    file.truncate(0)?;
    file.write_at(0, &[IoSlice::new(now.as_bytes())])?;
    file.sync().await?;
    disk.rename(&temporary, &log_directory.join(FILE))?;
    disk.sync_directory(log_directory).await
}

async fn read<D: Disk>(disk: &D, path: &Path) -> io::Result<bytes::Bytes> {
    match disk.open(path, OpenMode::Read) {
        Ok(file) => file.read_at(0, BYTES_MAX).await,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(bytes::Bytes::new()),
        Err(error) => Err(error),
    }
}

/// Forgets the boot, because the disk failed. As far as the disk still lets it.
pub(super) async fn forget<D: Disk>(disk: &D, log_directory: &Path) {
    let removed = disk.remove_file(&log_directory.join(FILE));
    let synced = disk.sync_directory(log_directory).await;
    if let Err(error) = removed.and(synced) {
        tracing::warn!(%error, "the disk cannot even note that it failed");
    }
}
