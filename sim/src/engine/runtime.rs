//! [`SimRuntime`]: the runtime traits, on a simulated world.

use std::future::{Future, pending};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wyrdlog::base::address::Address;
use wyrdlog::base::event::Event;
use wyrdlog::base::time::Instant;
use wyrdlog::runtime::{Clock, Disk, Entry, Network, Observe, OpenMode, Random, Runtime, Tasks};

use super::disk::SimFile;
use super::executor::{SimTask, Yield};
use super::network::{self, SimListener, SimStream};
use super::observe::{self, Observation};
use super::random::Stream;
use super::slab::Key;
use super::world::{self, Due, NodeId, World};

/// One incarnation of a node's process, as the code that runs in it sees the world. A plain id:
/// when the process or the simulation has ended, it does nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimRuntime {
    pub(super) world: u64,
    pub(super) node: NodeId,
    pub(super) incarnation: u32,
}

/// What an operation of an ended process fails with.
pub(super) fn ended() -> io::Error {
    io::Error::other("the process has ended")
}

impl SimRuntime {
    /// The node that it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Which of the node's processes it is; the first is 1.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Calls `f` with the world while this incarnation lives.
    #[inline]
    pub(super) fn live<R>(&self, f: impl FnOnce(&mut World) -> R) -> Option<R> {
        let if_live = |world: &mut World| world.is_live(self.node, self.incarnation).then(|| f(world));
        world::with(self.world, if_live).flatten()
    }

    pub(super) fn live_io<R>(&self, f: impl FnOnce(&mut World) -> io::Result<R>) -> io::Result<R> {
        self.live(f).unwrap_or_else(|| Err(ended()))
    }
}

impl Runtime for SimRuntime {
    const PLANTS: bool = true;
}

impl Clock for SimRuntime {
    fn now(&self) -> Instant {
        let now = |world: &mut World| world.node(self.node).clock.monotonic_ns(world.now_ns);
        Instant(world::with(self.world, now).unwrap_or(0))
    }

    fn wall_clock_ms(&self) -> i64 {
        let now = |world: &mut World| world.node(self.node).clock.wall_clock_ms(world.now_ns);
        world::with(self.world, now).unwrap_or(0)
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + 'static {
        Sleep { runtime: *self, deadline_ns: deadline.0, timer: Key::NOWHERE }
    }
}

/// A timer while it is pending.
struct Sleep {
    runtime: SimRuntime,
    deadline_ns: u64,
    timer: Key,
}

impl Sleep {
    fn poll_in(&mut self, world: &mut World, context: &Context<'_>) -> Poll<()> {
        if world.node(self.runtime.node).clock.monotonic_ns(world.now_ns) >= self.deadline_ns {
            return Poll::Ready(());
        }
        let World { queue, wakes, .. } = world;
        if let Some(Due::Timer { waker, .. }) = queue.get_mut(self.timer) {
            if !wakes.is_kept(waker, context.waker()) {
                let replaced = std::mem::replace(waker, wakes.wakeup(context.waker()));
                wakes.extend([replaced]);
            }
            return Poll::Pending;
        }
        let due_ns = world.node(self.runtime.node).clock.due_ns(self.deadline_ns, world.now_ns);
        let (node, deadline_ns, waker) = (self.runtime.node, self.deadline_ns, world.wakes.wakeup(context.waker()));
        self.timer = world.queue.push(due_ns, Due::Timer { node, deadline_ns, waker });
        Poll::Pending
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let runtime = self.runtime;
        runtime.live(|world| self.poll_in(world, context)).unwrap_or(Poll::Pending)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.timer != Key::NOWHERE {
            let cancelled = world::with(self.runtime.world, |world| world.queue.cancel(self.timer));
            drop(cancelled);
        }
    }
}

impl Tasks for SimRuntime {
    type Task = SimTask;

    fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> SimTask {
        let future = Box::pin(future);
        let mut future = Some(future);
        let key = self.live(|world| future.take().map(|future| world.spawn(self.node, name, future))).flatten();
        // What an ended process would spawn is dropped here, with nothing borrowed.
        drop(future);
        SimTask::new(self.world, key.unwrap_or(Key::NOWHERE))
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let (sender, receiver) = oneshot::channel();
        let step = async move {
            // Nobody waits any more if this fails; the work was to be done all the same.
            let _ = sender.send(work());
        };
        wyrdlog::runtime::Task::detach(self.spawn("blocking", step));
        async move {
            match receiver.await {
                Ok(result) => result,
                Err(_) => pending().await,
            }
        }
    }

    fn yield_now(&self) -> impl Future<Output = ()> + Send + 'static {
        Yield { world: self.world, has_yielded: false }
    }
}

impl Random for SimRuntime {
    fn random_u64(&self, purpose: &'static str) -> u64 {
        self.live(|world| {
            let (seed, node, incarnation) = (world.seed, u64::from(self.node.0), u64::from(self.incarnation));
            let make = || Stream::new(seed, "node", node, incarnation, purpose);
            let (tag, value) = world.node_mut(self.node).streams.next(purpose, make);
            world.trace.mixer.fold(tag ^ node);
            world.trace.mixer.fold(value);
            value
        })
        .unwrap_or(0)
    }
}

impl Observe for SimRuntime {
    fn observe(&self, event: impl FnOnce() -> Event) {
        if !observe::is_observed() {
            return;
        }
        if let Some(time_ns) = self.live(|world| world.now_ns) {
            observe::tell(Observation { time_ns, node: self.node, incarnation: self.incarnation, event: event() });
        }
    }
}

impl Network for SimRuntime {
    type Listener = SimListener;
    type Stream = SimStream;

    async fn listen(&self, address: &Address) -> io::Result<SimListener> {
        network::listen(*self, address)
    }

    async fn connect(&self, address: &Address) -> io::Result<SimStream> {
        network::connect(*self, address).await
    }
}

impl Disk for SimRuntime {
    type File = SimFile;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        SimFile::open(*self, path, mode)
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.live_io(|world| world.change_names(self.node, |disk, now_ns| disk.create_directories(path, now_ns)))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.live_io(|world| world.node(self.node).disk.list(directory))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.live_io(|world| world.change_names(self.node, |disk, now_ns| disk.rename(from, to, now_ns)))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.live_io(|world| world.change_names(self.node, |disk, now_ns| disk.remove_file(path, now_ns)))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.live_io(|world| world.change_names(self.node, |disk, now_ns| disk.remove_directory(path, now_ns)))
    }

    async fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let operation = self.live_io(|world| world.begin_directory_sync(self.node, directory));
        super::disk::finish(*self, operation).await
    }

    fn boot_id(&self) -> u128 {
        let boot = self.live(|world| world.node(self.node).boot).unwrap_or_default();
        u128::from(self.node.0) << 64 | u128::from(boot)
    }

    fn lock(&self) -> io::Result<()> {
        self.live_io(|world| world.node_mut(self.node).disk.lock(self.incarnation))
    }
}
