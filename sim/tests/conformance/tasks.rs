//! `Tasks` and `Task`: concurrent, cancelled on drop, and ended when the handle says so.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wyrdlog::runtime::{Clock, Runtime, Task, Tasks};

use super::{World, on_one, poll_once, until};

/// Set by a task that runs, or by the drop of what it owns.
#[derive(Clone, Default)]
struct Flag(Arc<AtomicBool>);

impl Flag {
    fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Raises its flag when the task that owns it is dropped.
struct RaisedOnDrop(Flag);

impl Drop for RaisedOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

/// A task that counts its polls for ever, and raises the flag when it is dropped.
fn spawn_counter<R: Runtime>(node: &R) -> (R::Task, Arc<AtomicU64>, Flag) {
    let (ticks, dropped) = (Arc::new(AtomicU64::new(0)), Flag::default());
    let (clock, count, guard) = (node.clone(), Arc::clone(&ticks), RaisedOnDrop(dropped.clone()));
    let task = node.spawn("counter", async move {
        let _guard = guard;
        loop {
            count.fetch_add(1, Ordering::SeqCst);
            clock.sleep(Duration::from_millis(1)).await;
        }
    });
    (task, ticks, dropped)
}

pub fn a_handle_completes_after_its_task_ran_to_its_end<W: World>() {
    on_one::<W, _>(async |node| {
        let done = Flag::default();
        let (clock, raised) = (node.clone(), done.clone());
        let task = node.spawn("worker", async move {
            clock.sleep(Duration::from_millis(2)).await;
            raised.raise();
        });
        assert!(!done.is_raised());
        task.await;
        assert!(done.is_raised());
    });
}

pub fn dropping_the_handle_cancels_the_task<W: World>() {
    on_one::<W, _>(async |node| {
        let (task, ticks, dropped) = spawn_counter(&node);
        until(&node, || ticks.load(Ordering::SeqCst) >= 3).await;
        drop(task);
        until(&node, || dropped.is_raised()).await;
        let last = ticks.load(Ordering::SeqCst);
        node.sleep(Duration::from_millis(10)).await;
        assert_eq!(ticks.load(Ordering::SeqCst), last, "a cancelled task was polled");
    });
}

pub fn a_detached_task_runs_on<W: World>() {
    on_one::<W, _>(async |node| {
        let (task, ticks, dropped) = spawn_counter(&node);
        task.detach();
        until(&node, || ticks.load(Ordering::SeqCst) >= 5).await;
        assert!(!dropped.is_raised());
    });
}

pub fn a_cancelled_task_is_dropped_before_its_handle_completes<W: World>() {
    on_one::<W, _>(async |node| {
        let (task, ticks, dropped) = spawn_counter(&node);
        until(&node, || ticks.load(Ordering::SeqCst) >= 1).await;
        task.cancel();
        task.await;
        assert!(dropped.is_raised());
    });
}

pub fn a_task_that_never_awaits_time_can_be_cancelled<W: World>() {
    on_one::<W, _>(async |node| {
        let dropped = Flag::default();
        let (tasks, guard) = (node.clone(), RaisedOnDrop(dropped.clone()));
        let task = node.spawn("spinner", async move {
            let _guard = guard;
            loop {
                tasks.yield_now().await;
            }
        });
        node.yield_now().await;
        task.cancel();
        task.await;
        assert!(dropped.is_raised());
    });
}

pub fn cancelling_an_ended_task_does_nothing<W: World>() {
    on_one::<W, _>(async |node| {
        let done = Flag::default();
        let raised = done.clone();
        let task = node.spawn("brief", async move { raised.raise() });
        until(&node, || done.is_raised()).await;
        task.cancel();
        task.cancel();
        task.await;
    });
}

pub fn a_task_can_spawn_tasks<W: World>() {
    on_one::<W, _>(async |node| {
        let ended = Arc::new(AtomicU64::new(0));
        let (parent, count) = (node.clone(), Arc::clone(&ended));
        let task = node.spawn("parent", async move {
            let children: Vec<_> = (0..50)
                .map(|_| {
                    let count = Arc::clone(&count);
                    parent.spawn("child", async move {
                        count.fetch_add(1, Ordering::SeqCst);
                    })
                })
                .collect();
            for child in children {
                child.await;
            }
        });
        task.await;
        assert_eq!(ended.load(Ordering::SeqCst), 50);
    });
}

pub fn yielding_lets_other_tasks_run<W: World>() {
    on_one::<W, _>(async |node| {
        let done = Flag::default();
        let raised = done.clone();
        let task = node.spawn("other", async move { raised.raise() });
        while !done.is_raised() {
            node.yield_now().await;
        }
        task.await;
    });
}

pub fn blocking_work_gives_its_result<W: World>() {
    on_one::<W, _>(async |node| {
        let owned = [1_u64, 2, 3];
        assert_eq!(node.blocking(move || owned.iter().sum::<u64>()).await, 6);
        let both = [1, 2].map(|output| node.blocking(move || output));
        let mut results = Vec::new();
        for work in both {
            results.push(work.await);
        }
        assert_eq!(results, [1, 2]);
    });
}

pub fn blocking_work_outlives_its_future<W: World>() {
    on_one::<W, _>(async |node| {
        let done = Flag::default();
        let raised = done.clone();
        {
            let mut work = pin!(node.blocking(move || raised.raise()));
            let _ = poll_once(work.as_mut()).await;
        }
        until(&node, || done.is_raised()).await;
    });
}
