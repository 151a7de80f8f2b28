//! [`Simulation`]: what a driver does with a world. It adds nodes, starts and ends processes, lets
//! time go on, and injects faults between steps.

use std::cell::Cell;
use std::cmp::Reverse;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::config::{EngineConfig, LinkParams, nanos};
use super::disk::{Damage, DiskFault, DiskImage, PowerLoss};
use super::effects::Effects;
use super::executor::{Polling, dedicate_ready_queue};
use super::hash::{Checkpoint, TraceEntry};
use super::network::Farewell;
use super::observe::{self, Observer};
use super::process::MAIN;
use super::runtime::SimRuntime;
use super::slab::Key;
use super::tap::{self, Tap};
use super::view::View;
use super::world::{self, NodeId, Stop, World};

thread_local! {
    static WORLDS_MADE: Cell<u64> = const { Cell::new(0) };
}

/// A simulated world and the right to drive it. A thread has at most one at a time.
///
/// Everything is deterministic: the same seed, configuration and calls give the same
/// [`Simulation::hash`]. Dropping it frees all.
pub struct Simulation {
    id: u64,
    /// A world belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

/// What the next step is.
enum Next {
    Bury,
    Wake(Vec<Waker>),
    Poll,
    Stop(Stop),
}

impl Simulation {
    /// An empty world at time zero.
    ///
    /// # Panics
    /// If this thread has a simulation already.
    #[must_use]
    pub fn new(seed: u64, config: EngineConfig) -> Self {
        let id = WORLDS_MADE.with(|made| {
            made.set(made.get() + 1);
            made.get()
        });
        let is_installed = world::install(Box::new(World::new(id, seed, config))).is_ok();
        assert!(is_installed, "this thread runs a simulation already; drop it first");
        dedicate_ready_queue(id);
        Simulation { id, _not_send: PhantomData }
    }

    fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        world::with(self.id, f).expect("the world lives as long as its Simulation, which cannot leave the thread")
    }

    /// A read-only view that observers may keep and use while the simulation runs.
    #[must_use]
    pub fn view(&self) -> View {
        View { world: self.id }
    }

    /// Sets who is told of every event that a node observes, in the very step; replaces the last.
    pub fn set_observer(&mut self, observer: Option<Observer>) {
        observe::set(observer);
    }

    /// Replaces whoever listens to what servers' processes read and write on `ports`.
    pub fn set_tap(&mut self, ports: &[u16], tap: Option<Tap>) {
        tap::set(ports, tap);
    }

    // Nodes and processes.

    /// Adds a host called `name`, with power, an empty disk and no process.
    ///
    /// # Panics
    /// If there is a node of that name.
    pub fn add_node(&mut self, name: &str) -> NodeId {
        self.with(|world| world.add_node(name))
    }

    /// Starts a process on `node`: a new incarnation, on a host with power (it is switched on if
    /// need be). When `main` ends the process has ended: its other tasks are dropped, its sockets
    /// closed, its files kept.
    ///
    /// # Panics
    /// If a process runs there.
    pub fn start<F>(&mut self, node: NodeId, main: impl FnOnce(SimRuntime) -> F) -> SimRuntime
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let incarnation = self.with(|world| world.begin_incarnation(node));
        let runtime = SimRuntime { world: self.id, node, incarnation };
        // `main` is code of the node: nothing is borrowed while it makes its future.
        let future = Box::pin(main(runtime));
        self.with(|world| {
            let key = world.spawn(node, MAIN, future);
            world.node_mut(node).main = key;
        });
        runtime
    }

    /// Kills the process (`kill -9`): its tasks are dropped at once, its peers get resets, what it
    /// wrote is with the operating system. Says whether a process ran.
    pub fn crash(&mut self, node: NodeId) -> bool {
        let was_running = self.is_running(node);
        self.with(|world| {
            world.effects.crashes += u64::from(was_running);
            world.end_process(node, Farewell::Reset);
        });
        self.bury();
        was_running
    }

    /// Cuts the host's power: the process ends without a word to anybody, and what was not synced
    /// is decided in this instant. For a correlated cut call it for each node at one time.
    pub fn power_off(&mut self, node: NodeId) -> PowerLoss {
        self.cut_power(node, None)
    }

    /// [`Simulation::power_off`], with what is lost drawn by `key` instead of by how often the host lost
    /// its power before.
    pub fn power_off_drawn_by(&mut self, node: NodeId, key: u64) -> PowerLoss {
        self.cut_power(node, Some(key))
    }

    fn cut_power(&mut self, node: NodeId, key: Option<u64>) -> PowerLoss {
        let loss = self.with(|world| world.power_off(node, key));
        self.bury();
        loss
    }

    /// Switches the host on without starting a process: it refuses connections from now on.
    pub fn power_on(&mut self, node: NodeId) {
        self.with(|world| world.node_mut(node).is_powered = true);
    }

    /// Freezes the process (SIGSTOP): no task runs, while clocks, network and disk go on.
    pub fn pause(&mut self, node: NodeId) {
        self.with(|world| world.pause(node, true));
    }

    /// Lets a frozen process go on.
    pub fn resume(&mut self, node: NodeId) {
        self.with(|world| world.pause(node, false));
    }

    /// Whether a process runs on `node`, frozen or not.
    #[must_use]
    pub fn is_running(&self, node: NodeId) -> bool {
        self.with(|world| world.node(node).is_running)
    }

    /// Whether the process on `node` is frozen.
    #[must_use]
    pub fn is_paused(&self, node: NodeId) -> bool {
        self.with(|world| world.node(node).is_paused)
    }

    /// The last incarnation that was started on `node`; 0 if none was.
    #[must_use]
    pub fn incarnation(&self, node: NodeId) -> u32 {
        self.with(|world| world.node(node).incarnation)
    }

    /// The name of `node`, which is its host name.
    #[must_use]
    pub fn name(&self, node: NodeId) -> Arc<str> {
        self.with(|world| world.node(node).name.clone())
    }

    // Time.

    /// Simulated nanoseconds since the start.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.with(|world| world.now_ns)
    }

    /// Makes [`Simulation::run_until`] come back at `at_ns` with [`Stop::Wakeup`]. Wake-ups are
    /// the driver's own: they do not change what nodes see, nor the hash.
    pub fn schedule_wakeup(&mut self, at_ns: u64, token: u64) {
        self.with(|world| {
            world.driver_wakeups_made += 1;
            let wakeup = (at_ns.max(world.now_ns), world.driver_wakeups_made, token);
            world.driver_wakeups.push(Reverse(wakeup));
        });
    }

    /// Runs until all that is due at `deadline_ns` or before has run, or something stops it.
    pub fn run_until(&mut self, deadline_ns: u64) -> Stop {
        let mut polling = None;
        loop {
            match self.with(|world| world.next(&mut polling, deadline_ns)) {
                Next::Poll => self.poll(&mut polling),
                Next::Bury => self.bury(),
                Next::Wake(wakers) => wakers.into_iter().for_each(Waker::wake),
                Next::Stop(stop) => {
                    self.with(|world| world.pulse.as_ref().map(|pulse| pulse.rest()));
                    return stop;
                }
            }
        }
    }

    /// [`Simulation::run_until`] the present instant plus `duration`.
    pub fn run_for(&mut self, duration: Duration) -> Stop {
        self.run_until(self.now_ns().saturating_add(nanos(duration)))
    }

    /// Drops the futures of tasks that are no more, with nothing borrowed.
    fn bury(&mut self) {
        loop {
            let dead = self.with(|world| std::mem::take(&mut world.graveyard));
            if dead.is_empty() {
                return;
            }
            for future in dead {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
                    let message = format!("while it was dropped: {}", message_of(&*panic));
                    self.with(|world| world.fail(NodeId(0), "dropped", message));
                }
            }
        }
    }

    /// Polls a task. It stays in its slot, to be put back, if it has not ended.
    fn poll(&mut self, slot: &mut Option<Polling>) {
        let Some(Polling { key, future, waker }) = slot else { return };
        let key = *key;
        let mut context = Context::from_waker(waker);
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(())) => self.with(|world| world.task_ended(key)),
            Err(panic) => self.with(|world| world.task_panicked(key, message_of(&*panic))),
        }
        let ended = slot.take();
        self.with(|world| world.graveyard.extend(ended.map(|ended| ended.future)));
        self.bury();
    }

    // Clocks.

    /// Sets the rate of a node's clocks, in parts per billion off; up to
    /// [`super::DRIFT_PPB_MAX`] either way. Pending timers follow.
    pub fn set_clock_drift_ppb(&mut self, node: NodeId, drift_ppb: i64) {
        self.with(|world| {
            let now_ns = world.now_ns;
            world.node_mut(node).clock.set_drift_ppb(now_ns, drift_ppb);
            world.rearm_timers(node);
        });
    }

    /// Moves a node's wall clock, forth or back.
    pub fn jump_wall_clock(&mut self, node: NodeId, by_ms: i64) {
        self.with(|world| world.node_mut(node).clock.jump_wall_clock(by_ms.saturating_mul(1_000_000)));
    }

    // Network.

    /// Sets how the link `from` → `to` is.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, params: LinkParams) {
        self.with(|world| world.set_link(from, to, params));
    }

    /// Cuts (or heals) the link `from` → `to`, in that direction alone. What meets a cut link is
    /// held and retransmitted, as TCP does.
    pub fn partition(&mut self, from: NodeId, to: NodeId, is_cut: bool) {
        self.with(|world| world.set_blocked(from, to, is_cut));
    }

    /// Cuts (or heals) both directions.
    pub fn partition_both(&mut self, a: NodeId, b: NodeId, is_cut: bool) {
        self.partition(a, b, is_cut);
        self.partition(b, a, is_cut);
    }

    /// Heals every link.
    pub fn heal_all(&mut self) {
        self.with(|world| {
            let nodes = world.nodes.len() as u32;
            for from in 0..nodes {
                (0..nodes).for_each(|to| world.set_blocked(NodeId(from), NodeId(to), false));
            }
        });
    }

    /// Resets all connections between two hosts, at once and at both ends, as a middlebox does.
    /// Returns how many lived.
    pub fn reset_connections(&mut self, a: NodeId, b: NodeId) -> usize {
        self.with(|world| world.reset_connections(a, b))
    }

    /// Cuts the next write over `from` → `to` short and resets its connection: a reset in
    /// mid-frame. [`Effects::frames_cut`] says how many struck, [`Simulation::cut_frames`] when.
    pub fn reset_mid_frame(&mut self, from: NodeId, to: NodeId) {
        self.with(|world| world.arm_cut(from, to));
    }

    /// Takes one [`Simulation::reset_mid_frame`] back that has not struck yet, if there is one.
    pub fn spare_frame(&mut self, from: NodeId, to: NodeId) {
        self.with(|world| world.disarm_cut(from, to));
    }

    /// Every frame that was cut short: when, by virtual nanoseconds, from whom and to whom.
    #[must_use]
    pub fn cut_frames(&self) -> Vec<(u64, NodeId, NodeId)> {
        self.with(|world| world.net.cut_frames.clone())
    }

    // Disks.

    /// Arms a fault of a node's disk.
    pub fn arm_disk_fault(&mut self, node: NodeId, fault: DiskFault) {
        self.with(|world| world.node_mut(node).disk.arm(fault));
    }

    /// How many faults of a node's disk wait for a sync.
    #[must_use]
    pub fn syncs_armed(&self, node: NodeId) -> usize {
        self.with(|world| world.node(node).disk.syncs_armed())
    }

    /// Disarms all faults of a node's disk.
    pub fn disarm_disk_faults(&mut self, node: NodeId) {
        self.with(|world| world.node_mut(node).disk.disarm_all());
    }

    /// Sets how many bytes fit on a node's disk; none for unlimited.
    pub fn set_disk_capacity(&mut self, node: NodeId, bytes: Option<u64>) {
        self.with(|world| world.node_mut(node).disk.capacity_bytes = bytes);
    }

    /// Multiplies the times that a node's disk takes; 1 is normal. What it is at work on goes on at the
    /// new pace.
    pub fn set_disk_slowness(&mut self, node: NodeId, factor: u32) {
        self.with(|world| world.set_disk_slowness(node, factor.max(1)));
    }

    /// Damages `len` bytes of a file at rest. Where the cache hides it, it shows after
    /// [`Simulation::evict`] or a power cut. Returns how many bytes changed.
    pub fn damage(
        &mut self,
        node: NodeId,
        path: &str,
        offset: u64,
        len: usize,
        how: Damage,
        is_hidden_by_cache: bool,
    ) -> u64 {
        self.with(|world| {
            let changed = world.node_mut(node).disk.damage(path, offset, len, how, is_hidden_by_cache);
            world.effects.bytes_damaged += changed;
            world.trace.step(world.now_ns, node.0, "damage", changed);
            changed
        })
    }

    /// Drops a file's cached pages: what the medium has shows from now on.
    pub fn evict(&mut self, node: NodeId, path: &str) {
        self.with(|world| {
            let now_ns = world.now_ns;
            world.node_mut(node).disk.evict(path, now_ns);
        });
    }

    /// What a node's disk holds now, to be put back later or elsewhere.
    #[must_use]
    pub fn disk_image(&self, node: NodeId) -> DiskImage {
        self.with(|world| world.node(node).disk.image())
    }

    /// Replaces a node's disk, by an empty one with [`DiskImage::default`].
    ///
    /// # Panics
    /// If a process runs there.
    pub fn replace_disk(&mut self, node: NodeId, image: &DiskImage) {
        self.with(|world| world.replace_disk(node, image));
    }

    // Results.

    /// The hash of all that happened so far and of what the disks hold. Equal for two runs if and
    /// (but for one in 2^64) only if they did the same.
    #[must_use]
    pub fn hash(&self) -> u128 {
        self.with(|world| {
            let mut mixer = world.trace.mixer;
            world.nodes.iter().for_each(|node| node.disk.fold_into(&mut mixer));
            mixer.value()
        })
    }

    /// How many polls and events there were.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.with(|world| world.trace.steps())
    }

    /// The schedule's hash at bounded intervals; see [`super::first_divergence`].
    #[must_use]
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        self.with(|world| world.trace.checkpoints().to_vec())
    }

    /// The steps in the window that [`EngineConfig::trace`] asked for.
    #[must_use]
    pub fn trace(&self) -> Vec<TraceEntry> {
        self.with(|world| world.trace.entries().to_vec())
    }

    /// What faults did so far.
    #[must_use]
    pub fn effects(&self) -> Effects {
        self.with(|world| {
            let disk_faults_struck = world.nodes.iter().map(|node| node.disk.faults_struck).sum();
            Effects { disk_faults_struck, ..world.effects }
        })
    }

    /// How much the engine holds: tasks, pending events, connections, then changes, files and
    /// operations of all disks. What goes on for long must not let these grow.
    #[must_use]
    pub fn kept(&self) -> [usize; 6] {
        self.with(|world| {
            let mut kept = [world.tasks.len(), world.queue.len(), world.net.connection_count(), 0, 0, 0];
            for node in &world.nodes {
                node.disk.kept().iter().enumerate().for_each(|(at, count)| kept[3 + at] += count);
            }
            kept
        })
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // First everyone is dead, then tasks are dropped, then the world.
        world::with(self.id, |world| {
            world.nodes.iter_mut().for_each(|node| node.is_running = false);
            for key in world.tasks.keys(|_| true) {
                world.remove_task(key);
            }
        });
        self.bury();
        observe::set(None);
        tap::set(&[], None);
        drop(world::uninstall(self.id));
        dedicate_ready_queue(0);
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

impl World {
    /// Puts back what was polled, and goes on until something must be done with nothing borrowed.
    /// What is to be polled is in `slot` then.
    fn next(&mut self, slot: &mut Option<Polling>, deadline_ns: u64) -> Next {
        if let Some(polled) = slot.take() {
            self.put_back(polled);
        }
        loop {
            if !self.graveyard.is_empty() {
                return Next::Bury;
            }
            self.wake_tasks();
            if self.wakes.has_others() {
                return Next::Wake(self.wakes.take_others());
            }
            if let Some(stop) = self.pending_stop() {
                return Next::Stop(stop);
            }
            *slot = self.next_ready();
            if let Some(polling) = slot {
                self.polls_this_instant += 1;
                if self.polls_this_instant > self.config.polls_per_instant_max {
                    self.stand_still(polling.key);
                }
                if self.trace.steps() > self.config.steps_max {
                    self.go_on_for_ever(polling.key);
                }
                return Next::Poll;
            }
            if let Some(stop) = self.move_on(deadline_ns) {
                return Next::Stop(stop);
            }
        }
    }

    /// What the driver is to be told before anything else runs.
    #[inline]
    fn pending_stop(&mut self) -> Option<Stop> {
        if let Some(failure) = &self.failure {
            return Some(Stop::Failed(failure.clone()));
        }
        if let Some(token) = self.interrupts.pop_front() {
            return Some(Stop::Interrupted(token));
        }
        self.exits.pop_front().map(Stop::Exited)
    }

    fn stand_still(&mut self, task: Key) {
        let message = format!("polled {} times while the time stood still", self.polls_this_instant);
        self.fail_in(task, message);
    }

    fn go_on_for_ever(&mut self, task: Key) {
        let message = format!("polled although {} steps were taken already", self.config.steps_max);
        self.fail_in(task, message);
    }

    fn fail_in(&mut self, task: Key, message: String) {
        let (node, name) = self.tasks.get(task).map_or((NodeId(0), MAIN), |body| (body.node, body.what.name));
        self.fail(node, name, message);
    }

    /// Nothing is ready: the time goes on to what is due next, which happens. Says why not, if it does not.
    fn move_on(&mut self, deadline_ns: u64) -> Option<Stop> {
        if let Some(Reverse((at_ns, _, token))) = self.driver_wakeups.peek().copied()
            && at_ns <= deadline_ns
            && self.queue.next_time().is_none_or(|due_ns| at_ns <= due_ns)
        {
            self.driver_wakeups.pop();
            self.set_time(at_ns);
            return Some(Stop::Wakeup(token));
        }
        if let Some((at_ns, due)) = self.queue.pop_until(deadline_ns) {
            self.set_time(at_ns);
            self.handle(due);
            return None;
        }
        if self.queue.next_time().is_none() && self.driver_wakeups.is_empty() {
            if deadline_ns < u64::MAX {
                self.set_time(deadline_ns);
            }
            return Some(Stop::Idle);
        }
        self.set_time(deadline_ns);
        Some(Stop::Deadline)
    }

    fn set_time(&mut self, now_ns: u64) {
        if now_ns > self.now_ns {
            self.now_ns = now_ns;
            self.polls_this_instant = 0;
        }
    }

    /// A task ran to its end; with the first one its process ends.
    fn task_ended(&mut self, key: Key) {
        self.wakes.end_poll();
        let Some(node) = self.tasks.get(key).map(|body| body.node) else { return };
        self.remove_task(key);
        if self.node(node).main == key {
            self.end_process(node, Farewell::Close);
            self.exits.push_back(node);
        }
    }

    fn task_panicked(&mut self, key: Key, message: String) {
        self.wakes.end_poll();
        if let Some((node, name)) = self.tasks.get(key).map(|body| (body.node, body.what.name)) {
            self.remove_task(key);
            self.fail(node, name, message);
        } else {
            self.fail(NodeId(0), "ended", message);
        }
    }
}
