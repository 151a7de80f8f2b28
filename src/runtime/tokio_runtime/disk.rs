//! The operating system's files below one directory.
//!
//! Reads and writes run inline: the page cache absorbs them, and a hand-over to another thread
//! costs as much as a round trip. Only what waits for the device by design, a sync, is handed to
//! the blocking pool.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the disk that others are given")]

use std::fs::{self, File as SystemFile, OpenOptions, TryLockError};
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::TokioRuntime;
use crate::runtime::{Disk, Entry, File, OpenMode};

/// The file whose lock says that a process uses the directory. It is no file of the node: listings
/// of the root leave it out.
const LOCK_FILE: &str = ".lock";

/// Parts below this size are gathered, so that a batch header, its records and the next header do
/// not cost a system call each.
const GATHERED_PART_BYTES_MAX: usize = 4 * 1024;

/// The most that is gathered before it is written.
const GATHER_BYTES_MAX: usize = 32 * 1024;

/// A read of no more than this allocates what was asked for; a longer one first asks how much of it
/// the file has.
const TRUSTED_READ_BYTES_MAX: usize = 64 * 1024;

/// A directory that holds all files of one node.
#[derive(Debug)]
pub(super) struct DataDirectory {
    root: PathBuf,
    /// The locked file, held until the node's last handle is gone.
    lock: Mutex<Option<SystemFile>>,
    boot_id: u128,
}

/// The kernel's own id of this boot, or a random one where it tells none.
fn boot_id() -> io::Result<u128> {
    let told = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let digits = told.map(|text| text.trim().replace('-', ""));
    if let Some(id) = digits.and_then(|digits| u128::from_str_radix(&digits, 16).ok()) {
        return Ok(id);
    }
    let mut drawn = [0; 16];
    getrandom::fill(&mut drawn)?;
    Ok(u128::from_be_bytes(drawn))
}

/// An open file.
#[derive(Clone, Debug)]
pub struct TokioFile {
    file: Arc<SystemFile>,
    executor: Handle,
}

impl DataDirectory {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory).map_err(|error| about(directory, &error))?;
        let root = directory.canonicalize().map_err(|error| about(directory, &error))?;
        Ok(DataDirectory { root, lock: Mutex::new(None), boot_id: boot_id()? })
    }

    /// Where `path` lies, if it does not leave the root.
    fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        let outside = || about(path, &io::Error::new(ErrorKind::InvalidInput, "leaves the data directory"));
        let mut inner = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => inner.push(name),
                Component::CurDir => {}
                Component::ParentDir if inner.pop() => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
            }
        }
        Ok(self.root.join(inner))
    }

    /// As [`DataDirectory::locate`], for what would move or remove the root itself.
    fn locate_below(&self, path: &Path) -> io::Result<PathBuf> {
        let located = self.locate(path)?;
        if located == self.root {
            return Err(about(path, &io::Error::new(ErrorKind::InvalidInput, "is the data directory itself")));
        }
        Ok(located)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let located = self.locate(directory)?;
        let mut entries = Vec::new();
        for found in fs::read_dir(&located)? {
            let found = found?;
            let name = found.file_name().to_string_lossy().into_owned();
            if located == self.root && name == LOCK_FILE {
                continue;
            }
            match fs::metadata(found.path()) {
                Ok(metadata) if metadata.is_dir() => entries.push(Entry { name, is_directory: true, len: 0 }),
                Ok(metadata) => entries.push(Entry { name, is_directory: false, len: metadata.len() }),
                // Removed since the directory was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn lock(&self) -> io::Result<()> {
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Ok(());
        }
        let path = self.root.join(LOCK_FILE);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                *held = Some(file);
                Ok(())
            }
            Err(TryLockError::WouldBlock) => {
                Err(about(&path, &io::Error::new(ErrorKind::WouldBlock, "another process uses the data directory")))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The error with the path that it concerns; its kind is kept.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn options(mode: OpenMode) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    match mode {
        OpenMode::Read => &mut options,
        OpenMode::Write => options.write(true),
        OpenMode::Create => options.write(true).create(true).truncate(false),
        OpenMode::CreateNew => options.write(true).create_new(true),
    };
    options
}

impl Disk for TokioRuntime {
    type File = TokioFile;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<TokioFile> {
        let located = self.node.disk.locate(path)?;
        let file = options(mode).open(located).map_err(|error| about(path, &error))?;
        Ok(TokioFile { file: Arc::new(file), executor: self.node.executor.clone() })
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(self.node.disk.locate(path)?).map_err(|error| about(path, &error))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.node.disk.list(directory).map_err(|error| about(directory, &error))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let disk = &self.node.disk;
        fs::rename(disk.locate_below(from)?, disk.locate_below(to)?).map_err(|error| about(from, &error))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.node.disk.locate_below(path)?).map_err(|error| about(path, &error))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(self.node.disk.locate_below(path)?).map_err(|error| about(path, &error))
    }

    async fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let located = self.node.disk.locate(directory)?;
        let synced = off_thread(&self.node.executor, move || SystemFile::open(located)?.sync_all());
        synced.await.map_err(|error| about(directory, &error))
    }

    fn boot_id(&self) -> u128 {
        self.node.disk.boot_id
    }

    fn lock(&self) -> io::Result<()> {
        self.node.disk.lock()
    }
}

/// Starts `work` now, whether or not the future is polled.
fn off_thread(
    executor: &Handle,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    let work = executor.spawn_blocking(work);
    async move { work.await.map_err(io::Error::other)? }
}

impl File for TokioFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let len = if len > TRUSTED_READ_BYTES_MAX {
            let available = self.len()?.saturating_sub(offset);
            len.min(usize::try_from(available).unwrap_or(usize::MAX))
        } else {
            len
        };
        read_inline(&self.file, offset, len)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut position = offset;
        let mut gathered = Vec::new();
        for part in parts {
            if gathered.len() + part.len() > GATHER_BYTES_MAX || part.len() > GATHERED_PART_BYTES_MAX {
                position = write_inline(&self.file, position, &gathered)?;
                gathered.clear();
            }
            if part.len() > GATHERED_PART_BYTES_MAX {
                position = write_inline(&self.file, position, part)?;
            } else {
                gathered.extend_from_slice(part);
            }
        }
        write_inline(&self.file, position, &gathered).map(drop)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let file = Arc::clone(&self.file);
        // Covers the length too: fdatasync(2) leaves out only what reading back does not need.
        off_thread(&self.executor, move || file.sync_data())
    }
}

/// Up to `len` bytes, fewer only at the end of the file.
fn read_inline(file: &SystemFile, offset: u64, len: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

/// Writes all of `bytes` and gives the position after them.
fn write_inline(file: &SystemFile, offset: u64, bytes: &[u8]) -> io::Result<u64> {
    let end = offset.checked_add(bytes.len() as u64).ok_or(ErrorKind::InvalidInput)?;
    if !bytes.is_empty() {
        file.write_all_at(bytes, offset)?;
    }
    Ok(end)
}
