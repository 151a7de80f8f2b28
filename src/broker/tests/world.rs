//! A world in memory: one thread, a clock that moves only when a test says so, a disk, sockets, and
//! whatever was observed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::base::address::Address;
use crate::base::event::Event;
use crate::base::time::Instant;
use crate::runtime::test_disk::{TestDisk, TestFile};
use crate::runtime::{Clock, Disk, Entry, Listener, Network, Observe, OpenMode, Random, Runtime, Task, Tasks};

/// What a socket holds that its peer has not read.
const SOCKET_BYTES: usize = 1024;
/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Whoever asks for the time so often before it moves goes round in circles.
const LOOKS_MAX: u32 = 10_000;

/// The world, as its one node sees it. Clones are handles of the same.
#[derive(Clone, Default)]
pub struct World {
    /// Its disk.
    pub disk: TestDisk,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    now: Instant,
    looks: u32,
    next_timer: u64,
    timers: BTreeMap<(Instant, u64), Waker>,
    ready: VecDeque<Arc<TestTask>>,
    spawned: Vec<Arc<TestTask>>,
    events: Vec<Event>,
    listeners: BTreeMap<u16, mpsc::UnboundedSender<io::Result<DuplexStream>>>,
    closed_to_reads: BTreeSet<PathBuf>,
    disk_operations: Vec<String>,
    device_is_held: bool,
}

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task, or the handle of one.
struct TestTask {
    name: &'static str,
    world: Arc<Mutex<State>>,
    job: Mutex<Option<Job>>,
    is_cancelled: AtomicBool,
    has_ended: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Wake for TestTask {
    fn wake(self: Arc<Self>) {
        self.world.lock().unwrap().ready.push_back(self.clone());
    }
}

impl TestTask {
    fn poll(self: Arc<Self>) {
        let Some(mut job) = self.job.lock().unwrap().take() else { return };
        let waker = Waker::from(self.clone());
        let is_cancelled = self.is_cancelled.load(Ordering::Relaxed);
        if !is_cancelled && job.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            *self.job.lock().unwrap() = Some(job);
            return;
        }
        drop(job);
        self.has_ended.store(true, Ordering::Relaxed);
        if let Some(waiting) = self.waiting.lock().unwrap().take() {
            waiting.wake();
        }
    }
}

/// Wakes nobody; tells whether it was asked to.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Lets all tasks run until each waits for something.
    pub fn settle(&self) {
        loop {
            let next = self.state().ready.pop_front();
            let Some(task) = next else { return };
            task.poll();
        }
    }

    /// Lets all tasks and `future` run until each waits for something; gives what came of it.
    pub fn ready<F: Future>(&self, mut future: Pin<&mut F>) -> Option<F::Output> {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(woken.clone());
        while woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Some(output);
            }
            self.settle();
        }
        None
    }

    /// Lets time go on until `future` is done.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let end = self.state().now + PATIENCE;
        loop {
            if let Some(output) = self.ready(future.as_mut()) {
                return output;
            }
            let next = self.state().timers.keys().next().map(|(deadline, _)| *deadline);
            self.move_to(next.filter(|next| *next < end).expect("what is waited for never comes"));
        }
    }

    /// Lets time go on for so long, timer by timer.
    pub fn pass(&self, duration: Duration) {
        self.settle();
        let end = self.state().now + duration;
        loop {
            let next = self.state().timers.keys().next().map(|(deadline, _)| *deadline);
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.move_to(next);
        }
        self.move_to(end);
    }

    fn move_to(&self, now: Instant) {
        let due = {
            let mut state = self.state();
            (state.now, state.looks) = (state.now.max(now), 0);
            let later = state.timers.split_off(&(Instant(now.0 + 1), 0));
            std::mem::replace(&mut state.timers, later)
        };
        due.into_values().for_each(Waker::wake);
        self.settle();
    }

    /// How many tasks of that name were begun, and how many of them have not ended.
    pub fn tasks(&self, name: &str) -> (usize, usize) {
        self.settle();
        let state = self.state();
        let named = || state.spawned.iter().filter(|task| task.name == name);
        (named().count(), named().filter(|task| !task.has_ended.load(Ordering::Relaxed)).count())
    }

    /// What was observed since the last time it was asked.
    pub fn observed(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().events)
    }

    /// Has the listener on `port` fail at its next accept.
    pub fn fail_accept(&self, port: u16) {
        let listener = self.state().listeners[&port].clone();
        listener.send(Err(io::Error::other("out of descriptors"))).unwrap();
    }

    /// Has this file fail to be opened.
    pub fn close_to_reads(&self, path: &str) {
        self.state().closed_to_reads.insert(path.into());
    }

    /// Renames, removals and syncs of directories, in order.
    pub fn disk_operations(&self) -> Vec<String> {
        self.state().disk_operations.clone()
    }

    /// Has syncs of directories wait, or no longer.
    pub fn hold_device(&self, hold: bool) {
        self.state().device_is_held = hold;
    }

    fn note(&self, operation: String) {
        self.state().disk_operations.push(operation);
    }
}

impl Runtime for World {
    const PLANTS: bool = true;
}

/// Until the clock has reached an instant.
struct Sleep {
    world: Arc<Mutex<State>>,
    timer: (Instant, u64),
    is_over: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        assert!(!self.is_over, "a sleep is over once");
        let timer = self.timer;
        let is_over = {
            let mut state = self.world.lock().unwrap();
            let is_over = state.now >= timer.0;
            if !is_over {
                state.timers.insert(timer, context.waker().clone());
            }
            is_over
        };
        self.is_over = is_over;
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.world.lock().unwrap().timers.remove(&self.timer);
    }
}

impl Clock for World {
    fn now(&self) -> Instant {
        let (now, looks) = {
            let mut state = self.state();
            state.looks += 1;
            (state.now, state.looks)
        };
        assert!(looks < LOOKS_MAX, "somebody goes round in circles");
        now
    }

    fn wall_clock_ms(&self) -> i64 {
        1_700_000_000_000
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + Send + 'static {
        let mut state = self.state();
        state.next_timer += 1;
        Sleep { world: self.state.clone(), timer: (deadline, state.next_timer), is_over: false }
    }
}

/// The handle of a task.
pub struct Handle {
    task: Arc<TestTask>,
    is_detached: bool,
}

impl Tasks for World {
    type Task = Handle;

    fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Handle {
        let task = Arc::new(TestTask {
            name,
            world: self.state.clone(),
            job: Mutex::new(Some(Box::pin(future))),
            is_cancelled: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            waiting: Mutex::new(None),
        });
        let mut state = self.state();
        state.ready.push_back(task.clone());
        state.spawned.push(task.clone());
        Handle { task, is_detached: false }
    }

    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        std::future::ready(work())
    }

    fn yield_now(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::ready(())
    }
}

impl Task for Handle {
    fn detach(mut self) {
        self.is_detached = true;
    }

    fn cancel(&self) {
        self.task.is_cancelled.store(true, Ordering::Relaxed);
        self.task.clone().wake();
    }
}

impl Future for Handle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        *self.task.waiting.lock().unwrap() = Some(context.waker().clone());
        if self.task.has_ended.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.is_detached {
            self.cancel();
        }
    }
}

/// A listening socket.
pub struct TestListener {
    address: Address,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<io::Result<DuplexStream>>>,
}

impl Network for World {
    type Listener = TestListener;
    type Stream = DuplexStream;

    async fn listen(&self, address: &Address) -> io::Result<TestListener> {
        let (sender, incoming) = mpsc::unbounded_channel();
        self.state().listeners.insert(address.port, sender);
        Ok(TestListener { address: address.clone(), incoming: tokio::sync::Mutex::new(incoming) })
    }

    async fn connect(&self, address: &Address) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(SOCKET_BYTES);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listener = self.state().listeners.get(&address.port).cloned();
        listener.ok_or_else(refused)?.send(Ok(far)).map_err(|_| refused())?;
        Ok(near)
    }
}

impl Listener for TestListener {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<(DuplexStream, Address)> {
        match self.incoming.lock().await.recv().await {
            Some(incoming) => Ok((incoming?, Address::new("client", 1))),
            None => std::future::pending().await,
        }
    }

    fn local_address(&self) -> &Address {
        &self.address
    }
}

impl Disk for World {
    type File = TestFile;

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<TestFile> {
        if self.state().closed_to_reads.contains(path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.open(path, mode)
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directories(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(format!("rename {}", from.display()));
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.note("remove a directory".to_owned());
        self.disk.remove_directory(path)
    }

    async fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        poll_fn(|_| if self.state().device_is_held { Poll::Pending } else { Poll::Ready(()) }).await;
        self.note(format!("sync {}", directory.display()));
        self.disk.sync_directory(directory).await
    }

    fn boot_id(&self) -> u128 {
        7
    }

    fn lock(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Random for World {
    /// The most, so that what is drawn lasts longest.
    fn random_u64(&self, _purpose: &'static str) -> u64 {
        u64::MAX
    }
}

impl Observe for World {
    fn observe(&self, event: impl FnOnce() -> Event) {
        let event = event();
        self.state().events.push(event);
    }
}
