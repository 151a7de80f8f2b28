//! A node's disk: what is visible and what is durable, as the contract in
//! [`wyrdlog::runtime::disk`] has it, and what may go wrong with it.
//!
//! `content` is a file's bytes, `names` the directory tree, `power` what a power cut leaves,
//! `fault` what is armed to strike, `draws` what all draws are keyed by, `handle` what nodes hold.

mod content;
mod draws;
mod fault;
mod handle;
mod names;
mod power;

use std::io::{self, IoSlice};
use std::path::Path;

use bytes::Bytes;
use wyrdlog::runtime::{Entry, OpenMode};

use super::config::{DiskConfig, nanos};
use super::hash::Mixer;
use super::random::Stream;
use super::slab::{Key, Slab};
use super::wakes::Wakeup;
use content::Content;
use fault::Armed;
use names::{Name, Names, normalise};

pub(super) use draws::DiskDraws;
pub use fault::{Damage, DiskEffect, DiskFault, DiskOperation};
pub use handle::SimFile;
pub(super) use handle::{finish, visible_range};
pub use power::PowerLoss;

/// What the device does in the background.
#[derive(Clone, Debug)]
enum Work {
    Read { file: Key, offset: u64, len: usize },
    Sync { file: Key, sequence: u64 },
    SyncDirectory { directory: String, sequence: u64 },
}

#[derive(Debug)]
struct Operation {
    work: Work,
    done: Option<io::Result<Bytes>>,
    waker: Option<Wakeup>,
    /// Nobody waits for it any more.
    is_detached: bool,
}

/// What a disk holds, to be put into a node again.
#[derive(Clone, Debug, Default)]
pub struct DiskImage {
    files: Vec<(String, Option<Vec<u8>>)>,
}

pub(super) struct Disk {
    config: DiskConfig,
    files: Slab<Content>,
    names: Names,
    operations: Slab<Operation>,
    locked_by: Option<u32>,
    /// Whether it was ever changed by a process that had not locked it.
    pub was_changed_unlocked: bool,
    faults: Vec<Armed>,
    pub faults_struck: u64,
    /// Device times are multiplied by this.
    pub slowness: u32,
    pub capacity_bytes: Option<u64>,
    draws: DiskDraws,
}

impl Disk {
    pub fn new(config: DiskConfig, draws: DiskDraws) -> Self {
        Disk {
            capacity_bytes: config.capacity_bytes,
            config,
            files: Slab::default(),
            names: Names::default(),
            operations: Slab::default(),
            locked_by: None,
            was_changed_unlocked: false,
            faults: Vec::new(),
            faults_struck: 0,
            slowness: 1,
            draws,
        }
    }

    fn strike(&mut self, operation: DiskOperation, path: impl FnOnce(&Self) -> String) -> Option<DiskEffect> {
        if self.faults.is_empty() {
            return None;
        }
        let path = path(self);
        let struck = fault::strike(&mut self.faults, operation, &path);
        self.faults_struck += u64::from(struck.is_some());
        struck
    }

    fn path_of(&self, file: Key) -> String {
        let named = self.names.visible.iter().find(|(_, name)| **name == Name::File(file));
        named.map(|(path, _)| path.clone()).unwrap_or_default()
    }

    pub fn arm(&mut self, fault: DiskFault) {
        self.faults.push(Armed { fault, draws: self.draws.of_armed() });
    }

    /// How many faults wait for a sync.
    pub fn syncs_armed(&self) -> usize {
        let waits =
            |armed: &&Armed| matches!(armed.fault.operation, DiskOperation::Sync | DiskOperation::SyncDirectory);
        self.faults.iter().filter(waits).count()
    }

    pub fn disarm_all(&mut self) {
        self.faults.clear();
    }

    /// The number that the next operation on `file` draws.
    fn draw_of(&mut self, file: Key) -> u64 {
        let Some(content) = self.files.get_mut(file) else { return 0 };
        content.drawn += 1;
        self.draws.of_file(content.draws_key, content.drawn)
    }

    /// What strikes a range of `file` draws from this.
    fn draws_at(&self, file: Key, offset: u64, len: usize) -> Stream {
        let key = self.files.get(file).map(|content| content.draws_key).unwrap_or_default();
        self.draws.of_place(key, offset, len)
    }

    fn latency_ns(&self, least_ns: u64, number: u64) -> u64 {
        let jitter_ns = draws::up_to(number, nanos(self.config.jitter));
        (least_ns + jitter_ns).saturating_mul(u64::from(self.slowness))
    }

    /// Lets the operating system write back what is old enough.
    fn write_back_names(&mut self, now_ns: u64) {
        if let Some(after) = self.config.writeback_after {
            self.names.settle_older(now_ns.saturating_sub(nanos(after)));
        }
    }

    pub fn used_bytes(&self) -> u64 {
        self.files.iter().map(|(_, content)| content.len() as u64).sum()
    }

    // Names.

    fn open(&mut self, path: &Path, mode: OpenMode, now_ns: u64) -> io::Result<Key> {
        let path = normalise(path)?;
        if self.strike(DiskOperation::Open, |_| path.clone()).is_some() {
            return Err(fault::eio());
        }
        let file = match self.names.get(&path) {
            Some(Name::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Name::File(_)) if mode == OpenMode::CreateNew => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(Name::File(file)) => file,
            None if matches!(mode, OpenMode::Read | OpenMode::Write) => return Err(io::ErrorKind::NotFound.into()),
            None => {
                self.names.check_parent(&path)?;
                let draws_key = self.draws.make_file(&path);
                let file = self.files.insert(Content::new(draws_key));
                self.names.make(now_ns, path, Name::File(file));
                file
            }
        };
        if let Some(content) = self.files.get_mut(file) {
            content.handles += 1;
        }
        Ok(file)
    }

    pub fn create_directories(&mut self, path: &Path, now_ns: u64) -> io::Result<()> {
        let path = normalise(path)?;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends.collect::<Vec<_>>() {
            match self.names.get(&path[..end]) {
                Some(Name::Directory) => {}
                Some(Name::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => self.names.make(now_ns, path[..end].to_owned(), Name::Directory),
            }
        }
        Ok(())
    }

    fn check_directory(&self, path: &Path) -> io::Result<String> {
        let path = normalise(path)?;
        match self.names.get(&path) {
            Some(Name::Directory) => Ok(path),
            Some(Name::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let directory = self.check_directory(directory)?;
        let skip = if directory.is_empty() { 0 } else { directory.len() + 1 };
        let children = names::below(&self.names.visible, &directory).filter(|(path, _)| !path[skip..].contains('/'));
        Ok(children.map(|(path, name)| self.entry(&path[skip..], name)).collect())
    }

    fn entry(&self, name: &str, what: Name) -> Entry {
        match what {
            Name::Directory => Entry { name: name.to_owned(), is_directory: true, len: 0 },
            Name::File(file) => {
                let len = self.files.get(file).map_or(0, |content| content.len() as u64);
                Entry { name: name.to_owned(), is_directory: false, len }
            }
        }
    }

    pub fn rename(&mut self, from: &Path, to: &Path, now_ns: u64) -> io::Result<()> {
        let (from, to) = (normalise(from)?, normalise(to)?);
        let moved = self.names.visible.get(&from).copied().ok_or(io::ErrorKind::NotFound)?;
        self.names.check_parent(&to)?;
        if to.starts_with(&format!("{from}/")) || to.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let replaced = self.names.get(&to);
        match (moved, replaced) {
            _ if from == to => return Ok(()),
            (Name::File(_), Some(Name::Directory)) => return Err(io::ErrorKind::IsADirectory.into()),
            (Name::Directory, Some(Name::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
            (Name::Directory, Some(Name::Directory)) if names::below(&self.names.visible, &to).next().is_some() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            _ => {}
        }
        self.names.rename(now_ns, from, to, moved);
        self.unlink(replaced.into_iter());
        Ok(())
    }

    pub fn remove_file(&mut self, path: &Path, now_ns: u64) -> io::Result<()> {
        let path = normalise(path)?;
        match self.names.get(&path) {
            Some(name @ Name::File(_)) => {
                self.names.remove(now_ns, path);
                self.unlink([name].into_iter());
                Ok(())
            }
            Some(Name::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub fn remove_directory(&mut self, path: &Path, now_ns: u64) -> io::Result<()> {
        let path = self.check_directory(path)?;
        if path.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let inside: Vec<Name> = names::below(&self.names.visible, &path).map(|(_, name)| name).collect();
        self.names.remove(now_ns, path);
        self.unlink(inside.into_iter());
        Ok(())
    }

    fn unlink(&mut self, names: impl Iterator<Item = Name>) {
        for name in names {
            if let Name::File(file) = name
                && let Some(content) = self.files.get_mut(file)
            {
                content.is_unlinked = true;
            }
        }
        self.collect();
    }

    /// Forgets files to which nothing leads any more.
    fn collect(&mut self) {
        for file in self.files.keys(|content| content.is_unlinked && content.handles == 0) {
            if !self.names.files().any(|named| named == file) {
                self.files.remove(file);
            }
        }
    }

    pub fn lock(&mut self, incarnation: u32) -> io::Result<()> {
        match self.locked_by {
            Some(holder) if holder != incarnation => Err(io::ErrorKind::WouldBlock.into()),
            _ => {
                self.locked_by = Some(incarnation);
                Ok(())
            }
        }
    }

    /// A process changes files or names.
    pub fn note_change(&mut self) {
        self.was_changed_unlocked |= self.locked_by.is_none();
    }

    // Bytes.

    fn content(&mut self, file: Key) -> io::Result<&mut Content> {
        self.files.get_mut(file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// How many of `len` more bytes at `offset` fit.
    fn room(&self, file: Key, offset: usize, len: usize) -> usize {
        let Some(capacity) = self.capacity_bytes else { return len };
        let own = self.files.get(file).map_or(0, Content::len);
        let free = usize::try_from(capacity.saturating_sub(self.used_bytes())).unwrap_or(usize::MAX);
        own.saturating_add(free).saturating_sub(offset).min(len)
    }

    fn write(&mut self, file: Key, offset: u64, parts: &[IoSlice<'_>], now_ns: u64) -> io::Result<()> {
        let mut offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let writeback = self.config.writeback_after.map(|after| now_ns.saturating_sub(nanos(after)));
        let mut flipped = Vec::new();
        match self.strike(DiskOperation::Write, |disk| disk.path_of(file)) {
            Some(DiskEffect::Error) => {
                let written = self.draws_at(file, offset as u64, len).up_to(len as u64) as usize;
                self.content(file)?.write(now_ns, offset, parts, written);
                return Err(fault::eio());
            }
            Some(DiskEffect::Forget) => return Ok(()),
            Some(DiskEffect::Misdirect(by)) => offset = offset.saturating_add_signed(by as isize),
            Some(DiskEffect::FlipBit) if len > 0 => {
                parts.iter().for_each(|part| flipped.extend_from_slice(part));
                flip_bit(&mut flipped, &mut self.draws_at(file, offset as u64, len));
            }
            Some(DiskEffect::FlipBit) | None => {}
        }
        let limit = self.room(file, offset, len);
        let content = self.content(file)?;
        if let Some(before_ns) = writeback {
            content.settle_older(before_ns);
        }
        if len == 0 {
            return Ok(());
        }
        let flipped = [IoSlice::new(&flipped)];
        let parts = if flipped[0].is_empty() { parts } else { &flipped };
        if limit > 0 {
            content.write(now_ns, offset, parts, limit);
        }
        if limit < len { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, file: Key, len: u64, now_ns: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        if self.strike(DiskOperation::Write, |disk| disk.path_of(file)).is_some() {
            return Err(fault::eio());
        }
        let own = self.files.get(file).map_or(0, Content::len);
        if len > own && self.room(file, own, len - own) < len - own {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.content(file)?.resize(now_ns, len);
        Ok(())
    }

    fn read(&mut self, file: Key, offset: u64, len: usize) -> io::Result<Bytes> {
        let struck = self.strike(DiskOperation::Read, |disk| disk.path_of(file));
        if struck == Some(DiskEffect::Error) {
            return Err(fault::eio());
        }
        let flips = struck == Some(DiskEffect::FlipBit);
        let mut draws = flips.then(|| self.draws_at(file, offset, len));
        let visible = self.content(file)?.visible();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(visible.len());
        let end = start.saturating_add(len).min(visible.len());
        if let Some(draws) = &mut draws {
            let mut bytes = visible[start..end].to_vec();
            flip_bit(&mut bytes, draws);
            return Ok(bytes.into());
        }
        Ok(Bytes::copy_from_slice(&visible[start..end]))
    }

    /// Whether the next read of `file` has to wait for the device.
    fn read_misses(&mut self, file: Key) -> bool {
        let per_million = u64::from(self.config.read_miss_per_million);
        draws::up_to(self.draw_of(file), 999_999) < per_million
    }

    /// Begins `work`; says when it will be done.
    fn begin(&mut self, work: Work) -> (Key, u64) {
        let least = match work {
            Work::Read { .. } => self.config.read_latency,
            _ => self.config.sync_latency,
        };
        let number = match &work {
            Work::Read { file, .. } | Work::Sync { file, .. } => self.draw_of(*file),
            Work::SyncDirectory { directory, .. } => self.draws.of_directory(directory),
        };
        let latency_ns = self.latency_ns(nanos(least), number);
        (self.operations.insert(Operation { work, done: None, waker: None, is_detached: false }), latency_ns)
    }

    /// The device has done what `key` names. Gives the one who waits.
    fn complete(&mut self, key: Key, now_ns: u64) -> Option<Wakeup> {
        let work = self.operations.get(key)?.work.clone();
        let result = match work {
            Work::Read { file, offset, len } => self.read(file, offset, len),
            Work::Sync { file, sequence } => self.sync(file, sequence),
            Work::SyncDirectory { directory, sequence } => self.sync_directory(&directory, sequence, now_ns),
        };
        let operation = self.operations.get_mut(key)?;
        operation.done = Some(result);
        let waker = operation.waker.take();
        if operation.is_detached {
            self.operations.remove(key);
        }
        waker
    }

    fn sync(&mut self, file: Key, sequence: u64) -> io::Result<Bytes> {
        let struck = self.strike(DiskOperation::Sync, |disk| disk.path_of(file));
        let content = self.content(file)?;
        if struck.is_some() {
            content.abandon(sequence);
            return Err(fault::eio());
        }
        content.settle(sequence);
        Ok(Bytes::new())
    }

    fn sync_directory(&mut self, directory: &str, sequence: u64, now_ns: u64) -> io::Result<Bytes> {
        if self.strike(DiskOperation::SyncDirectory, |_| directory.to_owned()).is_some() {
            return Err(fault::eio());
        }
        self.names.settle(directory, sequence);
        self.write_back_names(now_ns);
        self.collect();
        Ok(Bytes::new())
    }

    // Ends and faults.

    /// The process is gone: its handles and its lock with it. What it wrote stays, and what the
    /// device was asked to sync is still synced.
    pub fn process_ended(&mut self) {
        self.locked_by = None;
        for file in self.files.keys(|content| content.handles > 0) {
            if let Some(content) = self.files.get_mut(file) {
                content.handles = 0;
            }
        }
        for key in self.operations.keys(|_| true) {
            self.detach(key);
        }
        self.collect();
    }

    /// Nobody waits for an operation any more. Gives its waker, to be dropped elsewhere.
    fn detach(&mut self, key: Key) -> Option<Wakeup> {
        let operation = self.operations.get_mut(key)?;
        operation.is_detached = true;
        let waker = operation.waker.take();
        if operation.done.is_some() {
            self.operations.remove(key);
        }
        waker
    }

    /// Decides what is left, drawn by `cut` for each file by itself.
    pub fn lose_power(&mut self, now_ns: u64, cut: u64) -> PowerLoss {
        let mut loss = PowerLoss::default();
        self.operations = Slab::default();
        let before_ns = self.config.writeback_after.map_or(0, |after| now_ns.saturating_sub(nanos(after)));
        self.names.settle_older(before_ns);
        for key in self.files.keys(|_| true) {
            if let Some(content) = self.files.get_mut(key) {
                content.settle_older(before_ns);
                power::cut(content, &mut self.draws.of_cut(cut, content.draws_key), &mut loss);
            }
        }
        let before = std::mem::take(&mut self.names.visible);
        loss.names_rolled_back = self.names.lose_power(&mut self.draws.of_names(cut));
        let has_moved = |(path, name): &(&String, &Name)| self.names.visible.get(*path) != Some(name);
        loss.files_vanished = before.iter().filter(has_moved).count() as u64;
        let named: std::collections::BTreeSet<Key> = self.names.files().collect();
        for key in self.files.keys(|_| true) {
            if !named.contains(&key) {
                self.files.remove(key);
            } else if let Some(content) = self.files.get_mut(key) {
                (content.is_unlinked, content.handles) = (false, 0);
            }
        }
        loss
    }

    fn file_at(&mut self, path: &str) -> Option<&mut Content> {
        match self.names.visible.get(path) {
            Some(Name::File(file)) => self.files.get_mut(*file),
            _ => None,
        }
    }

    /// Damages up to `len` bytes of a file from `offset` on; returns how many bytes changed.
    pub fn damage(&mut self, path: &str, offset: u64, len: usize, how: Damage, is_hidden: bool) -> u64 {
        let Some(Name::File(file)) = self.names.visible.get(path).copied() else { return 0 };
        let mut draws = self.draws_at(file, offset, len);
        let Some(content) = self.files.get_mut(file) else { return 0 };
        let mut garbage = vec![0; len];
        match how {
            Damage::Garbage => draws.fill(&mut garbage),
            Damage::FlipBit => garbage.iter_mut().take(1).for_each(|byte| *byte = 1 << draws.below(8)),
            Damage::Zeros => {}
        }
        let mut changed = 0;
        content.damage(is_hidden, |bytes| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            for (byte, new) in bytes[start..].iter_mut().zip(&garbage) {
                let new = if how == Damage::FlipBit { *byte ^ new } else { *new };
                changed += u64::from(*byte != new);
                *byte = new;
            }
        });
        changed
    }

    pub fn evict(&mut self, path: &str, now_ns: u64) {
        if let Some(content) = self.file_at(path) {
            content.evict(now_ns);
        }
    }

    pub fn image(&self) -> DiskImage {
        let bytes = |name: &Name| match name {
            Name::Directory => None,
            Name::File(file) => self.files.get(*file).map(|content| content.visible().to_vec()),
        };
        DiskImage { files: self.names.visible.iter().map(|(path, name)| (path.clone(), bytes(name))).collect() }
    }

    /// Puts `image` in, durable, in the place of all that was there.
    pub fn replace(&mut self, image: &DiskImage) {
        self.operations = Slab::default();
        (self.files, self.names) = (Slab::default(), Names::default());
        for (path, bytes) in &image.files {
            let name = match bytes {
                None => Name::Directory,
                Some(bytes) => {
                    let mut content = Content::new(self.draws.make_file(path));
                    content.become_durable(bytes.clone());
                    Name::File(self.files.insert(content))
                }
            };
            self.names.durable.insert(path.clone(), name);
        }
        self.names.visible = self.names.durable.clone();
    }

    // Looking.

    pub fn visible_bytes(&self, path: &str) -> Option<&[u8]> {
        match self.names.visible.get(path)? {
            Name::File(file) => self.files.get(*file).map(Content::visible),
            Name::Directory => None,
        }
    }

    pub fn durable_bytes(&self, path: &str) -> Option<Vec<u8>> {
        match self.names.durable.get(path)? {
            Name::File(file) => self.files.get(*file).map(Content::durable),
            Name::Directory => None,
        }
    }

    pub fn file_paths(&self) -> impl Iterator<Item = &str> {
        let files = self.names.visible.iter().filter(|(_, name)| matches!(name, Name::File(_)));
        files.map(|(path, _)| path.as_str())
    }

    pub fn fold_into(&self, mixer: &mut Mixer) {
        for (path, name) in self.names.visible.iter().chain(&self.names.durable) {
            mixer.fold_bytes(path.as_bytes());
            if let Name::File(file) = name
                && let Some(content) = self.files.get(*file)
            {
                mixer.fold_bytes(content.visible());
                mixer.fold_bytes(&content.durable());
            }
        }
    }

    /// Changes, files and operations that are kept: what must not grow.
    pub fn kept(&self) -> [usize; 3] {
        let changes: usize = self.files.iter().map(|(_, content)| content.unsynced_changes()).sum();
        [changes + self.names.unsynced_changes(), self.files.len(), self.operations.len()]
    }
}

fn flip_bit(bytes: &mut [u8], draws: &mut Stream) {
    if !bytes.is_empty() {
        let bit = draws.below(bytes.len() as u64 * 8) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}
