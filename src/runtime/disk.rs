//! A node's disk: files below one root, with what is visible kept apart from what is durable.
//!
//! - **Visible.** A write, truncation, creation, rename or removal is visible to its node at once,
//!   and survives the end of the process (the operating system has it).
//! - **Durable.** Bytes and length of a file survive a power cut only after its [`File::sync`] has
//!   completed. Before, *each* write since the last sync may independently have survived, been
//!   lost, or survived in part, and a grown file may read as zeros or garbage where it was lost.
//!   A name (create, rename, remove) is durable only after [`Disk::sync_directory`] of its directory.
//! - **After a failed sync** nothing written since the last good one may be assumed, now or later,
//!   and a sync that succeeds afterwards proves nothing: the node stops (fsyncgate).
//! - **A failed write** may have written any part.
//!
//! What the operating system's cache absorbs is synchronous, so that a protocol step and its
//! append form one section without an await. What waits for the device (reads and syncs) is
//! asynchronous.

use std::future::Future;
use std::io::{self, IoSlice};
use std::path::Path;

use bytes::Bytes;

/// How [`Disk::open`] opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading only; fails with `NotFound`.
    Read,
    /// For reading and writing; fails with `NotFound`.
    Write,
    /// For reading and writing; made empty if it does not exist, kept as it is if it does.
    Create,
    /// For reading and writing; fails with `AlreadyExists`.
    CreateNew,
}

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name within the directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The length in bytes; 0 for a directory.
    pub len: u64,
}

/// The files of one node. Paths are relative to its root and may not leave it (`InvalidInput`).
pub trait Disk: Send + Sync {
    /// An open file.
    type File: File;

    /// Opens or creates a file; its directory must exist.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File>;

    /// Makes a directory and those above it; succeeds if it exists.
    fn create_directories(&self, path: &Path) -> io::Result<()>;

    /// What the directory holds, ordered by name.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;

    /// Renames a file or directory, replacing a file of the new name atomically. Files that are
    /// open stay so.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Those who have it open keep it until they drop it.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that it holds.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `directory` durable: entries that were created, renamed or removed.
    fn sync_directory(&self, directory: &Path) -> impl Future<Output = io::Result<()>> + Send;

    /// Names the time since the host was last started. While it stays the same, every write that any
    /// process made here is still visible, synced or not, unless a sync failed; once it differs, what
    /// was not synced may be lost. Where that cannot be told, it differs for each process.
    fn boot_id(&self) -> u128;

    /// Locks the whole disk for this process until it ends. Fails with `WouldBlock` if another
    /// process holds it.
    fn lock(&self) -> io::Result<()>;
}

/// An open file. Clones share it. Reads and writes name their position, so there is no cursor.
pub trait File: Clone + Send + Sync + 'static {
    /// The visible length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The bytes from `offset`, `len` of them or fewer where the file ends before.
    fn read_at(&self, offset: u64, len: usize) -> impl Future<Output = io::Result<Bytes>> + Send;

    /// Writes all of `parts`, one after the other, from `offset` on; a gap reads as zeros. On an
    /// error (`StorageFull`, EIO) any part may have been written.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Cuts or extends (by zeros) to `len`.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes all that was written before the call durable, bytes and length. See the module's doc
    /// for what a failure means. Several calls may be outstanding. Dropping the future does not
    /// undo it.
    fn sync(&self) -> impl Future<Output = io::Result<()>> + Send + 'static;
}
