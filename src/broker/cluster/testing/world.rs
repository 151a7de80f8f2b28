//! A node's world that a test plays: one thread, a clock that goes on only when nothing else can, a disk in
//! memory, and a network whose other ends are the test's.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, ReadHalf, WriteHalf, duplex};

use crate::base::address::Address;
use crate::base::event::Event;
use crate::base::time::Instant;
use crate::broker::shared::lock;
use crate::runtime::test_disk::{Draws, TestDisk, TestFile};
use crate::runtime::{
    Clock, Disk, Entry, Listener, Network, Observe, OpenMode, Random, Runtime, Stream, StreamReader, StreamWriter,
    Task, Tasks,
};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
type Peer = Arc<dyn Fn(DuplexStream) -> Work + Send + Sync>;

/// Whoever needs more turns than this goes in circles.
const TURNS_MAX: usize = 10_000;
/// What fits into one direction of a connection.
const PIPE_BYTES: usize = 1024 * 1024;

/// The world. Clones are handles of the same one.
#[derive(Clone, Default)]
pub struct World {
    state: Arc<Mutex<State>>,
    disk: TestDisk,
}

#[derive(Default)]
struct State {
    now: Instant,
    last_id: u64,
    tasks: BTreeMap<u64, Running>,
    timers: BTreeMap<(Instant, u64), Waker>,
    draws: BTreeMap<&'static str, usize>,
    peers: BTreeMap<Address, Peer>,
}

impl State {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

struct Running {
    name: &'static str,
    woken: Arc<Woken>,
    /// None while it is polled.
    work: Option<Work>,
}

struct Woken(AtomicBool);

impl Woken {
    fn new() -> Arc<Self> {
        Arc::new(Woken(AtomicBool::new(true)))
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets `peer` have the other end of each connection to `address`. Nobody listens elsewhere.
    pub fn serve<F: Future<Output = ()> + Send + 'static>(
        &self,
        address: Address,
        peer: impl Fn(DuplexStream) -> F + Send + Sync + 'static,
    ) {
        self.state().peers.insert(address, Arc::new(move |stream| Box::pin(peer(stream))));
    }

    /// How many tasks of this name there are.
    pub fn running(&self, name: &str) -> usize {
        self.state().tasks.values().filter(|task| task.name == name).count()
    }

    /// How often something was drawn for `purpose`.
    pub fn draws(&self, purpose: &str) -> usize {
        self.state().draws.get(purpose).copied().unwrap_or(0)
    }

    /// What `future` comes to. Time goes on from timer to timer.
    ///
    /// # Panics
    /// If it cannot come to an end.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        let (mut future, woken) = (pin!(future), Woken::new());
        let waker = Waker::from(woken.clone());
        for _ in 0..TURNS_MAX {
            let was_woken = woken.0.swap(false, Ordering::Relaxed);
            if was_woken && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            if !self.poll_tasks() && !was_woken {
                self.elapse();
            }
        }
        panic!("the node goes in circles");
    }

    /// Lets the tasks do all that they can do before any time goes by.
    pub fn settle(&self) {
        let turns = (0..TURNS_MAX).take_while(|_| self.poll_tasks()).count();
        assert!(turns < TURNS_MAX, "the node goes in circles");
    }

    fn elapse(&self) {
        let mut state = self.state();
        let ((at, _), waker) = state.timers.pop_first().expect("everything waits for ever");
        state.now = state.now.max(at);
        waker.wake();
    }

    /// Whether there was one that could go on.
    fn poll_tasks(&self) -> bool {
        let is_due = |(_, task): &(&u64, &Running)| task.woken.0.load(Ordering::Relaxed);
        let due: Vec<u64> = self.state().tasks.iter().filter(is_due).map(|(id, _)| *id).collect();
        due.iter().for_each(|id| self.poll_task(*id));
        !due.is_empty()
    }

    /// Nothing of a task's is dropped under the lock: its destructors may take it.
    fn poll_task(&self, id: u64) {
        let taken = self.state().tasks.get_mut(&id).map(|task| {
            task.woken.0.store(false, Ordering::Relaxed);
            (task.work.take(), Waker::from(task.woken.clone()))
        });
        let Some((Some(mut work), waker)) = taken else { return };
        let is_pending = work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        let mut state = self.state();
        match state.tasks.get_mut(&id) {
            Some(task) if is_pending => task.work = Some(work),
            _ => {
                state.tasks.remove(&id);
                drop(state);
                drop(work);
            }
        }
    }
}

impl Runtime for World {
    const PLANTS: bool = false;
}

impl Clock for World {
    fn now(&self) -> Instant {
        self.state().now
    }

    fn wall_clock_ms(&self) -> i64 {
        0
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + 'static {
        let id = self.state().next_id();
        Sleep { state: self.state.clone(), timer: (deadline, id) }
    }
}

struct Sleep {
    state: Arc<Mutex<State>>,
    timer: (Instant, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.now >= self.timer.0 {
            return Poll::Ready(());
        }
        state.timers.insert(self.timer, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.state).timers.remove(&self.timer);
    }
}

/// A task's handle.
pub struct WorldTask {
    world: World,
    id: u64,
    is_detached: bool,
}

impl Tasks for World {
    type Task = WorldTask;

    fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> WorldTask {
        let mut state = self.state();
        let id = state.next_id();
        state.tasks.insert(id, Running { name, woken: Woken::new(), work: Some(Box::pin(future)) });
        WorldTask { world: self.clone(), id, is_detached: false }
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

impl Future for WorldTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        unreachable!("nothing here waits for a task");
    }
}

impl Task for WorldTask {
    fn detach(mut self) {
        self.is_detached = true;
    }

    fn cancel(&self) {
        let cancelled = self.world.state().tasks.remove(&self.id);
        drop(cancelled);
    }
}

impl Drop for WorldTask {
    fn drop(&mut self) {
        if !self.is_detached {
            self.cancel();
        }
    }
}

impl Random for World {
    fn random_u64(&self, purpose: &'static str) -> u64 {
        let mut state = self.state();
        let draws = state.draws.entry(purpose).or_default();
        *draws += 1;
        Draws(*draws as u64).next()
    }
}

impl Observe for World {
    fn observe(&self, _: impl FnOnce() -> Event) {}
}

/// Nobody listens here.
pub enum NoListener {}

impl Listener for NoListener {
    type Stream = WorldStream;

    async fn accept(&self) -> io::Result<(WorldStream, Address)> {
        match *self {}
    }

    fn local_address(&self) -> &Address {
        match *self {}
    }
}

impl Network for World {
    type Listener = NoListener;
    type Stream = WorldStream;

    async fn listen(&self, _: &Address) -> io::Result<NoListener> {
        Err(ErrorKind::Unsupported.into())
    }

    async fn connect(&self, address: &Address) -> io::Result<WorldStream> {
        let peer = self.state().peers.get(address).cloned().ok_or(ErrorKind::ConnectionRefused)?;
        let (here, there) = duplex(PIPE_BYTES);
        self.spawn("peer", peer(there)).detach();
        Ok(WorldStream(here))
    }
}

/// A connection.
pub struct WorldStream(DuplexStream);
/// Its receiving half.
pub struct WorldReader(ReadHalf<DuplexStream>);
/// Its sending half.
pub struct WorldWriter(WriteHalf<DuplexStream>);

impl Stream for WorldStream {
    type Reader = WorldReader;
    type Writer = WorldWriter;

    fn split(self) -> (WorldReader, WorldWriter) {
        let (reader, writer) = tokio::io::split(self.0);
        (WorldReader(reader), WorldWriter(writer))
    }
}

impl AsyncRead for WorldReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for WorldWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl StreamReader for WorldReader {}

impl StreamWriter for WorldWriter {
    fn reset(self) {}
}

impl Disk for World {
    type File = TestFile;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<TestFile> {
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

    fn sync_directory(&self, directory: &Path) -> impl Future<Output = io::Result<()>> + Send {
        self.disk.sync_directory(directory)
    }

    fn boot_id(&self) -> u128 {
        self.disk.boot_id()
    }

    fn lock(&self) -> io::Result<()> {
        self.disk.lock()
    }
}
