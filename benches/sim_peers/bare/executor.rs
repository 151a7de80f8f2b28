//! The least that runs the workload: a ready queue in order, a heap of what is due, and byte queues
//! with a latency. The floor that an engine can be held against.
//!
//! It promises the workload's messages in order and nothing else. There is no hash, no drawn order
//! of tasks, no bound on buffers, no process that could end, no fault, no timer that could be
//! cancelled and no connection that could close.

use std::cell::RefCell;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::workload::{NODES, Plan};

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

struct TaskWaker(usize);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        READY.with_borrow_mut(|ready| ready.push_back(self.0));
    }
}

enum Due {
    Wake(Waker),
    Arrival(usize),
}

struct Event {
    at_ns: u64,
    sequence: u64,
    due: Due,
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_ns, self.sequence).cmp(&(other.at_ns, other.sequence))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}

/// One direction of a connection. Segments arrive in the order in which they were sent.
#[derive(Default)]
struct Pipe {
    under_way: VecDeque<Bytes>,
    last_arrival_ns: u64,
    received: VecDeque<Bytes>,
    reader: Option<Waker>,
}

#[derive(Default)]
struct Listening {
    queue: VecDeque<Stream>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct World {
    now_ns: u64,
    sequence: u64,
    random: u64,
    latency_ns: u64,
    jitter_ns: u64,
    tasks: Vec<Option<(BoxFuture, Waker)>>,
    running: usize,
    events: BinaryHeap<Reverse<Event>>,
    pipes: Vec<Pipe>,
    listening: [Listening; NODES],
}

thread_local! {
    static READY: RefCell<VecDeque<usize>> = const { RefCell::new(VecDeque::new()) };
    static WORLD: RefCell<World> = RefCell::new(World::default());
}

impl World {
    fn push(&mut self, at_ns: u64, due: Due) {
        self.sequence += 1;
        self.events.push(Reverse(Event { at_ns, sequence: self.sequence, due }));
    }

    /// Splitmix64: a multiplication or two a draw.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(mixed ^ (mixed >> 31)) * u128::from(bound)) >> 64) as u64
    }

    fn send(&mut self, pipe: usize, bytes: Bytes) {
        let latency_ns = self.latency_ns + self.below(self.jitter_ns);
        let at_ns = (self.now_ns + latency_ns).max(self.pipes[pipe].last_arrival_ns);
        self.pipes[pipe].last_arrival_ns = at_ns;
        self.pipes[pipe].under_way.push_back(bytes);
        self.push(at_ns, Due::Arrival(pipe));
    }

    /// Moves time to what is due next. Whom that wakes.
    fn next_due(&mut self) -> Option<Waker> {
        while let Some(Reverse(event)) = self.events.pop() {
            self.now_ns = event.at_ns;
            let waker = match event.due {
                Due::Wake(waker) => Some(waker),
                Due::Arrival(pipe) => {
                    let pipe = &mut self.pipes[pipe];
                    pipe.received.extend(pipe.under_way.pop_front());
                    pipe.reader.take()
                }
            };
            if waker.is_some() {
                return waker;
            }
        }
        None
    }
}

/// Runs `start` and all tasks that come of it until they have ended.
pub fn run(plan: &Plan, start: impl FnOnce()) {
    let (latency_ns, jitter_ns) = (plan.latency().as_nanos() as u64, plan.jitter().as_nanos() as u64);
    WORLD.with_borrow_mut(|world| *world = World { random: plan.seed, latency_ns, jitter_ns, ..World::default() });
    start();
    loop {
        while let Some(task) = READY.with_borrow_mut(VecDeque::pop_front) {
            poll(task);
        }
        let Some(waker) = WORLD.with_borrow_mut(World::next_due) else { break };
        waker.wake();
    }
    let world = WORLD.take();
    assert_eq!(world.running, 0, "tasks that wait for nothing");
}

fn poll(task: usize) {
    let taken = WORLD.with_borrow_mut(|world| world.tasks[task].take());
    let Some((mut future, waker)) = taken else { return };
    match future.as_mut().poll(&mut Context::from_waker(&waker)) {
        Poll::Pending => WORLD.with_borrow_mut(|world| world.tasks[task] = Some((future, waker))),
        Poll::Ready(()) => WORLD.with_borrow_mut(|world| world.running -= 1),
    }
}

/// Adds a task, ready to run.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    let future = Box::pin(future);
    WORLD.with_borrow_mut(|world| {
        let waker = Waker::from(Arc::new(TaskWaker(world.tasks.len())));
        READY.with_borrow_mut(|ready| ready.push_back(world.tasks.len()));
        world.tasks.push(Some((future, waker)));
        world.running += 1;
    });
}

/// A timer. Polled before it is due only by a task that nothing else wakes.
pub struct Sleep {
    /// How long it takes from its first poll.
    pub duration_ns: u64,
    /// When it is due, once it was polled.
    pub due_ns: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        WORLD.with_borrow_mut(|world| match self.due_ns {
            Some(due_ns) if world.now_ns >= due_ns => Poll::Ready(()),
            Some(_) => Poll::Pending,
            None => {
                let due_ns = world.now_ns + self.duration_ns;
                self.due_ns = Some(due_ns);
                world.push(due_ns, Due::Wake(context.waker().clone()));
                Poll::Pending
            }
        })
    }
}

/// One end of a connection: the pipe that it reads and the one that it writes.
pub struct Stream {
    reads: usize,
    writes: usize,
}

/// Connects to a node, which can accept the connection at once.
pub fn connect(node: usize) -> Stream {
    let waker = WORLD.with_borrow_mut(|world| {
        world.pipes.extend([Pipe::default(), Pipe::default()]);
        let (out, back) = (world.pipes.len() - 2, world.pipes.len() - 1);
        world.listening[node].queue.push_back(Stream { reads: out, writes: back });
        (world.listening[node].waker.take(), Stream { reads: back, writes: out })
    });
    waker.0.into_iter().for_each(Waker::wake);
    waker.1
}

/// The next connection to a node.
pub fn poll_accept(node: usize, context: &Context<'_>) -> Poll<Stream> {
    WORLD.with_borrow_mut(|world| {
        let listening = &mut world.listening[node];
        if let Some(stream) = listening.queue.pop_front() {
            return Poll::Ready(stream);
        }
        listening.waker = Some(context.waker().clone());
        Poll::Pending
    })
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        WORLD.with_borrow_mut(|world| {
            let pipe = &mut world.pipes[self.reads];
            let Some(first) = pipe.received.front_mut() else {
                pipe.reader = Some(context.waker().clone());
                return Poll::Pending;
            };
            let count = first.len().min(buffer.remaining());
            buffer.put_slice(&first[..count]);
            first.advance(count);
            if first.is_empty() {
                pipe.received.pop_front();
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        WORLD.with_borrow_mut(|world| world.send(self.writes, Bytes::copy_from_slice(buffer)));
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
