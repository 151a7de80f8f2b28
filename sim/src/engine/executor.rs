//! Tasks: where their futures are, how they become ready, and which runs next.
//!
//! A task's waker is made once. Waking pushes its key to a queue beside the world, so that it
//! works whoever wakes and whatever is borrowed, and neither it nor cloning a waker allocates.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::config::{EngineConfig, Schedule};
use super::hash::What;
use super::random::Stream;
use super::slab::{Key, Slab};
use super::wakes::Wakeup;
use super::world::{self, NodeId, World};

pub(super) type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

struct TaskWaker {
    world: u64,
    task: Key,
    is_queued: AtomicBool,
}

struct Ready {
    world: Cell<u64>,
    queue: RefCell<Vec<Key>>,
}

thread_local! {
    static READY: Ready = const { Ready { world: Cell::new(0), queue: RefCell::new(Vec::new()) } };
}

/// Empties the ready queue and dedicates it to `world`.
pub(super) fn dedicate_ready_queue(world: u64) {
    READY.with(|ready| {
        ready.world.set(world);
        ready.queue.borrow_mut().clear();
    });
}

fn push_ready(world: u64, task: Key) {
    // The queue may be gone while the thread ends; then nothing runs any more.
    let _ = READY.try_with(|ready| {
        if ready.world.get() == world {
            ready.queue.borrow_mut().push(task);
        }
    });
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_in(self.world);
    }
}

impl TaskWaker {
    fn wake_in(&self, world: u64) {
        // One thread runs a simulation, so that a load and a store are enough.
        if !self.is_queued.load(Ordering::Relaxed) {
            self.is_queued.store(true, Ordering::Relaxed);
            push_ready(world, self.task);
        }
    }
}

/// A task that has not ended.
pub(super) struct Body {
    pub node: NodeId,
    pub what: What,
    /// None while it is being polled.
    future: Option<BoxFuture>,
    /// None while it is being polled.
    waker: Option<Waker>,
    shared: Arc<TaskWaker>,
    joiner: Option<Wakeup>,
    priority: u64,
}

impl Body {
    pub(super) fn is_polled(&self) -> bool {
        self.future.is_none()
    }
}

/// A task taken out to be polled.
pub(super) struct Polling {
    pub key: Key,
    pub future: BoxFuture,
    pub waker: Waker,
}

/// Chooses the next ready task.
pub(super) struct Chooser {
    schedule: Schedule,
    stream: Stream,
    polls: u64,
    /// The polls at which the running task loses its priority, the next one last.
    changes: Vec<u64>,
    lowest: u64,
}

/// Drawn priorities are above this; lowered ones count down from it.
const LOWERED: u64 = 1 << 62;

impl Chooser {
    pub fn new(config: &EngineConfig, seed: u64) -> Self {
        let mut stream = Stream::new(config.schedule_seed.unwrap_or(seed), "engine", 0, 0, "schedule");
        let mut changes = Vec::new();
        if let Schedule::Pct { change_points, expected_polls } = config.schedule {
            changes.extend((0..change_points).map(|_| stream.below(expected_polls)));
            changes.sort_unstable_by(|a, b| b.cmp(a));
        }
        Chooser { schedule: config.schedule, stream, polls: 0, changes, lowest: LOWERED }
    }

    fn initial_priority(&mut self) -> u64 {
        match self.schedule {
            Schedule::Random => 0,
            Schedule::Pct { .. } => LOWERED + (self.stream.next() >> 2),
        }
    }

    fn lower(&mut self) -> u64 {
        self.lowest -= 1;
        self.lowest
    }

    fn choose(&mut self, ready: &mut Vec<Key>, tasks: &mut Slab<Body>) -> Option<Key> {
        if ready.len() <= 1 && self.changes.is_empty() {
            return ready.pop();
        }
        match self.schedule {
            Schedule::Random => Some(ready.swap_remove(self.stream.below(ready.len() as u64) as usize)),
            Schedule::Pct { .. } => self.choose_by_priority(ready, tasks),
        }
    }

    fn choose_by_priority(&mut self, ready: &mut Vec<Key>, tasks: &mut Slab<Body>) -> Option<Key> {
        let priority = |key: &Key| tasks.get(*key).map_or(u64::MAX, |body| body.priority);
        let highest = (0..ready.len()).max_by_key(|&at| (priority(&ready[at]), ready[at]))?;
        let key = ready.swap_remove(highest);
        self.polls += 1;
        if self.changes.last().is_some_and(|&change| change <= self.polls) {
            self.changes.pop();
            let lowered = self.lower();
            if let Some(body) = tasks.get_mut(key) {
                body.priority = lowered;
            }
        }
        Some(key)
    }
}

impl World {
    /// Adds a task, ready to run.
    pub fn spawn(&mut self, node: NodeId, name: &'static str, future: BoxFuture) -> Key {
        let key = self.tasks.next_key();
        let shared = Arc::new(TaskWaker { world: self.id, task: key, is_queued: AtomicBool::new(true) });
        let waker = Some(Waker::from(shared.clone()));
        let priority = self.chooser.initial_priority();
        self.tasks.insert(Body {
            node,
            what: What::new(name),
            future: Some(future),
            waker,
            shared,
            joiner: None,
            priority,
        });
        push_ready(self.id, key);
        key
    }

    /// Takes the next task to poll, if one is ready on a node that is not paused.
    pub fn next_ready(&mut self) -> Option<Polling> {
        loop {
            let choose = |ready: &Ready| self.chooser.choose(&mut ready.queue.borrow_mut(), &mut self.tasks);
            let key = READY.with(choose)?;
            let Some(body) = self.tasks.get_mut(key) else { continue };
            let node = &mut self.nodes[body.node.index()];
            if node.is_paused {
                node.frozen.push(key);
                continue;
            }
            body.shared.is_queued.store(false, Ordering::Relaxed);
            let (Some(future), Some(waker)) = (body.future.take(), body.waker.take()) else { continue };
            self.trace.step(self.now_ns, body.node.0, body.what, u64::from(key.place));
            if let Some(pulse) = &self.pulse {
                pulse.beat(self.now_ns, &node.name, body.what.name);
            }
            self.wakes.begin_poll(key, &waker);
            return Some(Polling { key, future, waker });
        }
    }

    /// Wakes the tasks that are to be woken. The wakers of others are left, for when nothing is
    /// borrowed.
    pub fn wake_tasks(&mut self) {
        let World { wakes, tasks, id, .. } = self;
        wakes.wake_tasks(|task| {
            if let Some(body) = tasks.get(task) {
                body.shared.wake_in(*id);
            }
        });
    }

    /// Puts a task back that is not ready. If it was cancelled or its process ended meanwhile, its
    /// future is dropped later.
    pub fn put_back(&mut self, polled: Polling) {
        self.wakes.end_poll();
        match self.tasks.get_mut(polled.key) {
            Some(body) => {
                body.future = Some(polled.future);
                body.waker = Some(polled.waker);
            }
            None => self.graveyard.push(polled.future),
        }
    }

    /// Removes a task: cancelled, ended, or its process is no more. Its future is dropped later.
    pub fn remove_task(&mut self, key: Key) {
        let future = self.take_task(key);
        self.graveyard.extend(future);
    }

    /// Removes a task and gives its future, unless it is being polled, to be dropped with nothing
    /// borrowed.
    fn take_task(&mut self, key: Key) -> Option<BoxFuture> {
        let body = self.tasks.remove(key)?;
        self.wakes.extend(body.joiner);
        body.future
    }

    /// Lets the tasks run that became ready while their node was paused.
    pub fn thaw(&mut self, node: NodeId) {
        let mut frozen = std::mem::take(&mut self.node_mut(node).frozen);
        frozen.drain(..).for_each(|key| push_ready(self.id, key));
        self.node_mut(node).frozen = frozen;
    }

    /// After a yield others go first, also under priorities; else a task that yields in a loop
    /// would keep the time from going on.
    fn lower_priority(&mut self, key: Key) {
        if matches!(self.chooser.schedule, Schedule::Pct { .. }) {
            let lowered = self.chooser.lower();
            if let Some(body) = self.tasks.get_mut(key) {
                body.priority = lowered;
            }
        }
    }
}

/// A handle of a task; see the contract of [`wyrdlog::runtime::Task`].
#[derive(Debug)]
pub struct SimTask {
    world: u64,
    key: Key,
}

impl SimTask {
    pub(super) fn new(world: u64, key: Key) -> Self {
        SimTask { world, key }
    }

    /// The task is dropped here and now: whoever awaits the handle finds it dropped.
    fn remove(&self) {
        let future = world::with(self.world, |world| world.take_task(self.key)).flatten();
        drop(future);
    }
}

impl Future for SimTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let register = |world: &mut World| {
            let World { tasks, wakes, .. } = world;
            let body = tasks.get_mut(self.key)?;
            wakes.keep(&mut body.joiner, context.waker());
            Some(())
        };
        match world::with(self.world, register).flatten() {
            Some(()) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }
}

impl Drop for SimTask {
    fn drop(&mut self) {
        self.remove();
    }
}

impl wyrdlog::runtime::Task for SimTask {
    fn detach(mut self) {
        self.key = Key::NOWHERE;
    }

    fn cancel(&self) {
        self.remove();
    }
}

/// Pending once, and ready again behind all that is ready now.
#[derive(Debug)]
pub(super) struct Yield {
    pub world: u64,
    pub has_yielded: bool,
}

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.has_yielded {
            return Poll::Ready(());
        }
        self.has_yielded = true;
        world::with(self.world, World::yielded);
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl World {
    /// The task that is being polled is the one whose future is taken out.
    fn yielded(&mut self) {
        if matches!(self.chooser.schedule, Schedule::Random) {
            return;
        }
        for key in self.tasks.keys(|body| body.future.is_none()) {
            self.lower_priority(key);
        }
    }
}
