//! `Clock`: monotonic, and never early.

use std::future::{pending, ready};
use std::pin::pin;
use std::time::Duration;

use wyrdlog::base::time::Instant;
use wyrdlog::runtime::{Clock, Tasks, TimedOut, timeout, timeout_at};

use super::{World, on_one, poll_once, start};

pub fn now_never_goes_back<W: World>() {
    on_one::<W, _>(async |node| {
        let mut last = node.now();
        for _ in 0..1000 {
            node.yield_now().await;
            let now = node.now();
            assert!(now >= last, "{now:?} after {last:?}");
            last = now;
        }
    });
}

pub fn a_timer_is_never_early<W: World>() {
    on_one::<W, _>(async |node| {
        for microseconds in [0, 1, 999, 1000, 1001, 2500, 20_000] {
            let duration = Duration::from_micros(microseconds);
            let start = node.now();
            node.sleep(duration).await;
            assert!(node.now() >= start + duration, "{duration:?} took {:?}", node.now().since(start));

            let deadline = node.now() + duration;
            node.sleep_until(deadline).await;
            assert!(node.now() >= deadline);
        }
    });
}

pub fn a_deadline_that_has_passed_completes<W: World>() {
    on_one::<W, _>(async |node| {
        node.sleep(Duration::from_millis(5)).await;
        node.sleep_until(Instant::default()).await;
        node.sleep_until(node.now()).await;
    });
}

pub fn timers_of_many_tasks_run_side_by_side<W: World>() {
    on_one::<W, _>(async |node| {
        let tasks: Vec<_> = (0..200)
            .map(|index| {
                let clock = node.clone();
                start(&node, "sleeper", async move {
                    let deadline = clock.now() + Duration::from_micros(index * 100);
                    clock.sleep_until(deadline).await;
                    assert!(clock.now() >= deadline);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
}

pub fn dropped_timers_hold_up_nothing<W: World>() {
    on_one::<W, _>(async |node| {
        for _ in 0..1000 {
            let sleep = pin!(node.sleep(Duration::from_secs(100 * 365 * 24 * 3600)));
            assert!(poll_once(sleep).await.is_pending());
        }
        node.sleep(Duration::from_millis(1)).await;
    });
}

pub fn timeout_gives_the_output_that_comes_in_time<W: World>() {
    on_one::<W, _>(async |node| {
        let slow = async {
            node.sleep(Duration::from_millis(1)).await;
            7
        };
        assert_eq!(timeout(&node, Duration::from_secs(3600), slow).await, Ok(7));
    });
}

pub fn timeout_elapses_not_before_its_deadline<W: World>() {
    on_one::<W, _>(async |node| {
        let deadline = node.now() + Duration::from_millis(5);
        assert_eq!(timeout_at(&node, deadline, pending::<()>()).await, Err(TimedOut));
        assert!(node.now() >= deadline);
    });
}

pub fn timeout_prefers_an_output_that_is_ready_at_the_deadline<W: World>() {
    on_one::<W, _>(async |node| {
        assert_eq!(timeout_at(&node, Instant::default(), ready(7)).await, Ok(7));
    });
}
