//! A disk in memory for tests: what is visible apart from what is durable, power cuts that keep,
//! lose or tear each unsynced write by itself, and calls that fail on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::runtime::{Disk, Entry, File, OpenMode};

/// Runs a future that never has to wait.
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing in these tests waits"),
    }
}

/// SplitMix64: all that a test draws.
#[derive(Clone, Debug)]
pub struct Draws(pub u64);

impl Draws {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(u64, Change)>,
}

#[derive(Debug, Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names, each atomic: paths and what they name from then on.
    pending_names: Vec<Vec<(PathBuf, Option<usize>)>>,
    directories: BTreeSet<PathBuf>,
    durable_directories: BTreeSet<PathBuf>,
    changes: u64,
    reads: u64,
    read_bytes: u64,
    /// Files and directories that were synced since a test last asked, in order.
    synced: Vec<String>,
    fail_writes: bool,
    /// Writes to files whose name ends so fail.
    fail_writes_to: Option<&'static str>,
    fail_syncs: bool,
    /// How many more operations that change something succeed.
    left: Option<u64>,
}

impl World {
    fn may_go_on(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::Error::other("the process has ended")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn name_of(&self, id: usize) -> String {
        let named = self.names.iter().find(|(_, named)| **named == id);
        named.map(|(path, _)| path.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn fails_writes_to(&self, id: usize) -> bool {
        self.fail_writes || self.fail_writes_to.is_some_and(|end| self.name_of(id).ends_with(end))
    }

    /// With the files in it, at once.
    fn rename_directory(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.directories.insert(to.to_owned());
        let inside: Vec<PathBuf> = self.names.keys().filter(|name| name.starts_with(from)).cloned().collect();
        let mut change = Vec::new();
        for name in inside {
            let id = self.names.remove(&name);
            let moved = to.join(name.strip_prefix(from).unwrap());
            self.names.extend(id.map(|id| (moved.clone(), id)));
            change.extend([(name, None), (moved, id)]);
        }
        self.pending_names.push(change);
        Ok(())
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate(len) => bytes.resize(*len as usize, 0),
        Change::Write(at, data) => {
            let end = *at as usize + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at as usize..end].copy_from_slice(data);
        }
    }
}

/// A disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct TestDisk(Arc<Mutex<World>>);

/// An open file of it.
#[derive(Clone, Debug)]
pub struct TestFile(Arc<Mutex<World>>, usize);

impl TestDisk {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub fn fail_writes(&self, fail: bool) {
        self.world().fail_writes = fail;
    }

    pub fn fail_writes_to(&self, end: Option<&'static str>) {
        self.world().fail_writes_to = end;
    }

    pub fn fail_syncs(&self, fail: bool) {
        self.world().fail_syncs = fail;
    }

    /// Lets the process end after so many more operations that change something.
    pub fn end_after(&self, operations: u64) {
        self.world().left = Some(operations);
    }

    pub fn reads(&self) -> u64 {
        self.world().reads
    }

    pub fn read_bytes(&self) -> u64 {
        self.world().read_bytes
    }

    /// What was synced since this was last asked.
    pub fn take_synced(&self) -> Vec<String> {
        std::mem::take(&mut self.world().synced)
    }

    pub fn contents(&self, path: &str) -> Vec<u8> {
        let world = self.world();
        let id = world.names.get(Path::new(path)).unwrap_or_else(|| panic!("{path} does not exist"));
        world.inodes[*id].live.clone()
    }

    pub fn exists(&self, path: &str) -> bool {
        self.world().names.contains_key(Path::new(path))
    }

    /// Changes what is on the medium, behind the log's back.
    pub fn rot(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let id = world.names[Path::new(path)];
        let inode = &mut world.inodes[id];
        change(&mut inode.live);
        inode.durable = inode.live.clone();
        inode.pending.clear();
    }

    /// What remains after a power cut. Open files of the old world are of no use any more.
    pub fn power_cut(&self, draws: &mut Draws) -> TestDisk {
        let world = self.world();
        let mut after = World { durable_directories: world.durable_directories.clone(), ..World::default() };
        for directory in world.directories.difference(&world.durable_directories) {
            if draws.below(2) == 0 {
                after.durable_directories.insert(directory.clone());
            }
        }
        after.directories = after.durable_directories.clone();
        after.inodes = world.inodes.iter().map(|inode| survive(inode, draws)).collect();
        let mut names = world.durable_names.clone();
        for change in &world.pending_names {
            if draws.below(2) == 0 {
                for (path, id) in change {
                    match id {
                        Some(id) => names.insert(path.clone(), *id),
                        None => names.remove(path),
                    };
                }
            }
        }
        names.retain(|path, _| {
            path.parent().is_none_or(|parent| parent == Path::new("") || after.directories.contains(parent))
        });
        after.durable_names = names.clone();
        after.names = names;
        TestDisk(Arc::new(Mutex::new(after)))
    }
}

fn survive(inode: &Inode, draws: &mut Draws) -> Inode {
    let mut bytes = inode.durable.clone();
    // Most power cuts are mixed; some keep or lose everything.
    let mood = draws.below(4);
    for (_, change) in &inode.pending {
        match (mood, draws.below(4), change) {
            (0, _, _) | (2.., 0 | 1, _) => apply(&mut bytes, change),
            (2.., 2, Change::Write(at, data)) => {
                // Torn: some part of it was written, and the file may have grown for the rest.
                let from = draws.below(data.len() as u64) as usize;
                let to = from + draws.below((data.len() - from) as u64 + 1) as usize;
                apply(&mut bytes, &Change::Write(at + from as u64, data[from..to].to_vec()));
                if draws.below(2) == 0 && (bytes.len() as u64) < at + data.len() as u64 {
                    bytes.resize(*at as usize + data.len(), 0);
                }
            }
            _ => {}
        }
    }
    Inode { live: bytes.clone(), durable: bytes, pending: Vec::new() }
}

fn not_found() -> io::Error {
    ErrorKind::NotFound.into()
}

impl Disk for TestDisk {
    type File = TestFile;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<TestFile> {
        let mut world = self.world();
        if let Some(id) = world.names.get(path) {
            let exists = Err(ErrorKind::AlreadyExists.into());
            return if mode == OpenMode::CreateNew { exists } else { Ok(TestFile(self.0.clone(), *id)) };
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        let has_parent = parent == Path::new("") || world.directories.contains(parent);
        if matches!(mode, OpenMode::Read | OpenMode::Write) || !has_parent {
            return Err(not_found());
        }
        let id = world.inodes.len();
        world.inodes.push(Inode::default());
        world.names.insert(path.to_owned(), id);
        world.pending_names.push(vec![(path.to_owned(), Some(id))]);
        Ok(TestFile(self.0.clone(), id))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        for directory in path.ancestors().filter(|directory| *directory != Path::new("")) {
            world.directories.insert(directory.to_owned());
        }
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let world = self.world();
        let entry = |path: &Path, is_directory, len| Entry {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            is_directory,
            len,
        };
        let is_here = |path: &&PathBuf| path.parent() == Some(directory);
        let files = world.names.iter().filter(|(path, _)| is_here(path));
        let files = files.map(|(path, id)| entry(path, false, world.inodes[*id].live.len() as u64));
        let directories = world.directories.iter().filter(is_here).map(|path| entry(path, true, 0));
        let mut entries: Vec<Entry> = files.chain(directories).collect();
        entries.sort();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.may_go_on()?;
        if world.directories.remove(from) {
            return world.rename_directory(from, to);
        }
        let id = world.names.remove(from).ok_or_else(not_found)?;
        world.names.insert(to.to_owned(), id);
        world.pending_names.push(vec![(from.to_owned(), None), (to.to_owned(), Some(id))]);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.may_go_on()?;
        world.names.remove(path).ok_or_else(not_found)?;
        world.pending_names.push(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.names.retain(|name, _| !name.starts_with(path));
        world.directories.remove(path);
        Ok(())
    }

    async fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.may_go_on()?;
        if world.fail_syncs {
            return Err(io::Error::other("injected sync failure"));
        }
        world.synced.push(directory.to_string_lossy().into_owned());
        let children: Vec<_> = world.directories.iter().filter(|d| d.parent() == Some(directory)).cloned().collect();
        world.durable_directories.extend(children);
        let pending = std::mem::take(&mut world.pending_names);
        for change in pending {
            if change.iter().all(|(path, _)| path.parent() != Some(directory)) {
                world.pending_names.push(change);
                continue;
            }
            for (path, id) in change {
                match id {
                    Some(id) => world.durable_names.insert(path, id),
                    None => world.durable_names.remove(&path),
                };
            }
        }
        Ok(())
    }

    fn boot_id(&self) -> u128 {
        0
    }

    fn lock(&self) -> io::Result<()> {
        Ok(())
    }
}

impl TestFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        world.may_go_on()?;
        world.changes += 1;
        let (sequence, failing) = (world.changes, world.fails_writes_to(self.1));
        let inode = &mut world.inodes[self.1];
        if failing {
            if let Change::Write(at, data) = &change {
                apply(&mut inode.live, &Change::Write(*at, data[..data.len() / 2].to_vec()));
            }
            return Err(ErrorKind::StorageFull.into());
        }
        apply(&mut inode.live, &change);
        inode.pending.push((sequence, change));
        Ok(())
    }
}

impl File for TestFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().inodes[self.1].live.len() as u64)
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut world = self.0.lock().unwrap();
        world.reads += 1;
        let live = &world.inodes[self.1].live;
        let start = (offset as usize).min(live.len());
        let end = start.saturating_add(len).min(live.len());
        let bytes = Bytes::copy_from_slice(&live[start..end]);
        world.read_bytes += bytes.len() as u64;
        Ok(bytes)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let data = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.change(Change::Write(offset, data))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        if self.len()? == len { Ok(()) } else { self.change(Change::Truncate(len)) }
    }

    fn sync(&self) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let file = self.clone();
        let covers = file.0.lock().unwrap().changes;
        async move {
            let mut world = file.0.lock().unwrap();
            world.may_go_on()?;
            let fails = world.fail_syncs;
            let inode = &mut world.inodes[file.1];
            if fails {
                // Its pages are marked clean: they are seen, and no later sync writes them.
                inode.pending.clear();
                return Err(io::Error::other("injected sync failure"));
            }
            let later =
                inode.pending.iter().position(|(sequence, _)| *sequence > covers).unwrap_or(inode.pending.len());
            for (_, change) in inode.pending.drain(..later) {
                apply(&mut inode.durable, &change);
            }
            let name = world.name_of(file.1);
            world.synced.push(name);
            Ok(())
        }
    }
}
