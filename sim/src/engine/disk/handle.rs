//! What nodes hold of their disk, and the time that the device takes.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use wyrdlog::runtime::{File, OpenMode};

use super::super::runtime::{SimRuntime, ended};
use super::super::slab::Key;
use super::super::world::{self, Due, NodeId, World};
use super::names::normalise;
use super::{Disk, Work};

impl World {
    /// Changes names and folds the change in.
    pub fn change_names(
        &mut self,
        node: NodeId,
        change: impl FnOnce(&mut Disk, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let now_ns = self.now_ns;
        let disk = &mut self.node_mut(node).disk;
        let before = disk.names.sequence();
        let result = change(disk, now_ns);
        let sequence = disk.names.sequence();
        if sequence != before {
            disk.note_change();
        }
        disk.write_back_names(now_ns);
        self.trace.mixer.fold(sequence);
        result
    }

    pub fn begin_directory_sync(&mut self, node: NodeId, directory: &Path) -> io::Result<Key> {
        let disk = &mut self.node_mut(node).disk;
        let directory = disk.check_directory(directory)?;
        let sequence = disk.names.sequence();
        Ok(self.begin_work(node, Work::SyncDirectory { directory, sequence }))
    }

    fn begin_work(&mut self, node: NodeId, work: Work) -> Key {
        let (operation, latency_ns) = self.node_mut(node).disk.begin(work);
        self.queue.push(self.now_ns.saturating_add(latency_ns), Due::Device { node, operation });
        operation
    }

    pub fn set_disk_slowness(&mut self, id: NodeId, factor: u32) {
        let before = std::mem::replace(&mut self.node_mut(id).disk.slowness, factor);
        let now_ns = self.now_ns;
        for key in self.queue.keys(|due| matches!(due, Due::Device { node, .. } if *node == id)) {
            let left_ns = self.queue.due(key).map_or(0, |due_ns| due_ns.saturating_sub(now_ns));
            let left_ns = u128::from(left_ns) * u128::from(factor) / u128::from(before);
            self.queue.reschedule(key, now_ns.saturating_add(u64::try_from(left_ns).unwrap_or(u64::MAX)));
        }
    }

    /// The device is done with an operation.
    pub fn device_done(&mut self, node: NodeId, operation: Key) {
        self.trace.step(self.now_ns, node.0, "device", u64::from(operation.place));
        let now_ns = self.now_ns;
        let disk = &mut self.nodes[node.index()].disk;
        let waker = disk.complete(operation, now_ns);
        let failed = disk.operations.get(operation).filter(|op| matches!(op.done, Some(Err(_))));
        match failed.map(|op| &op.work) {
            Some(Work::Read { .. }) => self.effects.reads_failed += 1,
            Some(Work::Sync { .. }) => self.effects.syncs_failed += 1,
            Some(Work::SyncDirectory { .. }) => self.effects.directory_syncs_failed += 1,
            None => {}
        }
        self.wake(waker);
    }
}

/// Waits for an operation of the device. Dropping the wait does not undo the operation.
struct Wait {
    runtime: SimRuntime,
    operation: Key,
}

impl Wait {
    fn poll(&self, context: &Context<'_>) -> Poll<io::Result<Bytes>> {
        let look = |world: &mut World| {
            let World { nodes, wakes, .. } = world;
            let operations = &mut nodes[self.runtime.node.index()].disk.operations;
            let Some(operation) = operations.get_mut(self.operation) else { return Poll::Ready(Err(ended())) };
            if operation.done.is_none() {
                wakes.keep(&mut operation.waker, context.waker());
                return Poll::Pending;
            }
            match operations.remove(self.operation).and_then(|operation| operation.done) {
                Some(result) => Poll::Ready(result),
                None => Poll::Ready(Err(ended())),
            }
        };
        self.runtime.live(look).unwrap_or_else(|| Poll::Ready(Err(ended())))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let detach = |world: &mut World| world.node_mut(self.runtime.node).disk.detach(self.operation);
        drop(self.runtime.live(detach));
    }
}

/// Completes with the operation, or at once with the error that kept it from beginning.
pub(in super::super) fn finish(
    runtime: SimRuntime,
    operation: io::Result<Key>,
) -> impl Future<Output = io::Result<()>> + Send + 'static {
    let wait = operation.map(|operation| Wait { runtime, operation });
    async move {
        let wait = wait?;
        poll_fn(|context| wait.poll(context)).await.map(drop)
    }
}

#[derive(Debug)]
struct Handle {
    runtime: SimRuntime,
    file: Key,
    is_writable: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.runtime.live(|world| {
            let disk = &mut world.node_mut(self.runtime.node).disk;
            if let Some(content) = disk.files.get_mut(self.file) {
                content.handles = content.handles.saturating_sub(1);
                if content.is_unlinked {
                    disk.collect();
                }
            }
        });
    }
}

/// An open file of a simulated node.
#[derive(Clone, Debug)]
pub struct SimFile(Arc<Handle>);

impl SimFile {
    pub(in super::super) fn open(runtime: SimRuntime, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        let (mut file, mut is_made) = (Key::NOWHERE, false);
        runtime.live_io(|world| {
            world.change_names(runtime.node, |disk, now_ns| {
                let before = disk.names.sequence();
                file = disk.open(path, mode, now_ns)?;
                is_made = disk.names.sequence() > before;
                Ok(())
            })?;
            world.effort(runtime.node).files_made += u32::from(is_made);
            Ok(())
        })?;
        Ok(SimFile(Arc::new(Handle { runtime, file, is_writable: mode != OpenMode::Read })))
    }

    fn with_disk<R>(&self, f: impl FnOnce(&mut Disk, u64) -> io::Result<R>) -> io::Result<R> {
        self.0.runtime.live_io(|world| {
            let now_ns = world.now_ns;
            f(&mut world.node_mut(self.0.runtime.node).disk, now_ns)
        })
    }

    /// Makes a change that counts as failed if it fails.
    fn change(&self, f: impl FnOnce(&mut World) -> io::Result<()>) -> io::Result<()> {
        if !self.0.is_writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.0.runtime.live_io(|world| {
            world.node_mut(self.0.runtime.node).disk.note_change();
            let result = f(world);
            world.effects.writes_failed += u64::from(result.is_err());
            result
        })
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.with_disk(|disk, _| Ok(disk.content(self.0.file)?.len() as u64))
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let (runtime, file) = (self.0.runtime, self.0.file);
        let hit = runtime.live_io(|world| {
            let effort = world.effort(runtime.node);
            effort.reads += 1;
            effort.read_bytes += len as u64;
            let disk = &mut world.node_mut(runtime.node).disk;
            if disk.read_misses(file) {
                return Ok(Err(world.begin_work(runtime.node, Work::Read { file, offset, len })));
            }
            let result = disk.read(file, offset, len);
            world.effects.reads_failed += u64::from(result.is_err());
            result.map(Ok)
        })?;
        match hit {
            Ok(bytes) => Ok(bytes),
            Err(operation) => {
                let wait = Wait { runtime, operation };
                poll_fn(|context| wait.poll(context)).await
            }
        }
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.change(|world| {
            world.trace.mixer.fold(offset ^ u64::from(self.0.runtime.node.0) << 48);
            parts.iter().for_each(|part| world.trace.mixer.fold_bytes(part));
            let effort = world.effort(self.0.runtime.node);
            effort.writes += 1;
            effort.written_bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
            let now_ns = world.now_ns;
            world.node_mut(self.0.runtime.node).disk.write(self.0.file, offset, parts, now_ns)
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(|world| {
            world.trace.mixer.fold(!len);
            let now_ns = world.now_ns;
            world.node_mut(self.0.runtime.node).disk.truncate(self.0.file, len, now_ns)
        })
    }

    fn sync(&self) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (runtime, file) = (self.0.runtime, self.0.file);
        let operation = runtime.live_io(|world| {
            world.effort(runtime.node).syncs += 1;
            let sequence = world.node_mut(runtime.node).disk.content(file)?.sequence();
            Ok(world.begin_work(runtime.node, Work::Sync { file, sequence }))
        });
        finish(runtime, operation)
    }
}

impl World {
    /// Reads what checkers look at. `path` as nodes name it.
    pub fn visible_file(&self, node: NodeId, path: &str) -> Option<Vec<u8>> {
        let path = normalise(Path::new(path)).ok()?;
        self.nodes.get(node.index())?.disk.visible_bytes(&path).map(<[u8]>::to_vec)
    }

    pub fn durable_file(&self, node: NodeId, path: &str) -> Option<Vec<u8>> {
        let path = normalise(Path::new(path)).ok()?;
        self.nodes.get(node.index())?.disk.durable_bytes(&path)
    }
}

/// Reads a file's range without taking any simulated time.
pub(in super::super) fn visible_range(id: u64, node: NodeId, path: &str, offset: u64, len: usize) -> Option<Vec<u8>> {
    world::with(id, |world| {
        let path = normalise(Path::new(path)).ok()?;
        let bytes = world.nodes.get(node.index())?.disk.visible_bytes(&path)?;
        let start = usize::try_from(offset).ok()?.min(bytes.len());
        Some(bytes[start..start.saturating_add(len).min(bytes.len())].to_vec())
    })
    .flatten()
}
