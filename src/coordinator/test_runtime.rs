//! A node for tests: a disk in memory, a clock that a test moves, connections that a test holds the other end of,
//! and tasks that run only when a test says so.

use std::collections::VecDeque;
use std::future::{Future, pending, ready};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::io::DuplexStream;

use crate::base::address::Address;
use crate::base::event::Event;
use crate::base::time::Instant;
use crate::runtime::test_disk::TestDisk;
use crate::runtime::{Clock, Disk, Entry, Listener, Network, Observe, OpenMode, Random, Runtime, Task, Tasks};

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The node. Clones are handles of it.
#[derive(Clone, Default)]
pub struct TestRuntime {
    pub disk: TestDisk,
    world: Arc<World>,
}

#[derive(Default)]
struct World {
    now: AtomicU64,
    drawn: AtomicU64,
    is_locked: AtomicBool,
    tasks: Mutex<Vec<Running>>,
    /// What the next attempts to connect come to.
    connections: Mutex<VecDeque<io::Result<DuplexStream>>>,
    sleeps: Mutex<Vec<Duration>>,
}

impl TestRuntime {
    pub fn advance(&self, by: Duration) {
        self.world.now.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Another process holds the disk.
    pub fn lock_for_another(&self) {
        self.world.is_locked.store(true, Ordering::Relaxed);
    }

    /// The next attempt to connect that has no outcome yet comes to this; without one the host does not answer.
    pub fn connect_next(&self, outcome: io::Result<DuplexStream>) {
        self.connections().push_back(outcome);
    }

    fn connections(&self) -> MutexGuard<'_, VecDeque<io::Result<DuplexStream>>> {
        self.world.connections.lock().expect("no test panics with it")
    }

    /// How long whoever sleeps was to sleep, in the order in which they began.
    pub fn sleeps(&self) -> Vec<Duration> {
        self.world.sleeps.lock().expect("no test panics with it").clone()
    }

    /// Drops all tasks.
    pub fn end_tasks(&self) {
        self.world.tasks.lock().expect("no test panics with it").clear();
    }

    /// Runs all tasks until each of them waits for something that does not come by itself.
    pub fn run(&self) {
        let tasks = || self.world.tasks.lock().expect("no test panics with it");
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(woken.clone());
        while woken.0.swap(false, Ordering::Relaxed) {
            let mut running = std::mem::take(&mut *tasks());
            running.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            tasks().extend(running);
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Runtime for TestRuntime {
    const PLANTS: bool = false;
}

impl Clock for TestRuntime {
    fn now(&self) -> Instant {
        Instant(self.world.now.load(Ordering::Relaxed))
    }

    fn wall_clock_ms(&self) -> i64 {
        0
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + 'static {
        self.world.sleeps.lock().expect("no test panics with it").push(deadline - self.now());
        pending()
    }
}

/// Tasks of tests run on without their handle.
pub struct TestTask;

impl Future for TestTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Task for TestTask {
    fn detach(self) {}

    fn cancel(&self) {}
}

impl Tasks for TestRuntime {
    type Task = TestTask;

    fn spawn(&self, _name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> TestTask {
        self.world.tasks.lock().expect("no test panics with it").push(Box::pin(future));
        TestTask
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        ready(work())
    }

    fn yield_now(&self) -> impl Future<Output = ()> + Send + 'static {
        ready(())
    }
}

impl Random for TestRuntime {
    fn random_u64(&self, _purpose: &'static str) -> u64 {
        self.world.drawn.fetch_add(1 << 32, Ordering::Relaxed)
    }
}

impl Observe for TestRuntime {
    fn observe(&self, _event: impl FnOnce() -> Event) {}
}

/// Where nobody ever connects.
pub struct TestListener(Address);

impl Listener for TestListener {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<(DuplexStream, Address)> {
        pending().await
    }

    fn local_address(&self) -> &Address {
        &self.0
    }
}

impl Network for TestRuntime {
    type Listener = TestListener;
    type Stream = DuplexStream;

    async fn listen(&self, address: &Address) -> io::Result<TestListener> {
        Ok(TestListener(address.clone()))
    }

    async fn connect(&self, _address: &Address) -> io::Result<DuplexStream> {
        let outcome = self.connections().pop_front();
        match outcome {
            Some(outcome) => outcome,
            None => pending().await,
        }
    }
}

impl Disk for TestRuntime {
    type File = <TestDisk as Disk>::File;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File> {
        self.disk.open(path, mode)
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directories(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_directory(path)
    }

    async fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.disk.sync_directory(directory).await
    }

    fn boot_id(&self) -> u128 {
        self.disk.boot_id()
    }

    fn lock(&self) -> io::Result<()> {
        if self.world.is_locked.load(Ordering::Relaxed) { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}
