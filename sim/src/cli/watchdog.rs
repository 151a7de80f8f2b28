//! A watchdog over all simulations of the process: one that stands still, in a poll that never ends or
//! in a judgement, is a failure with the seed and the task's name, and ends the process.
//!
//! It acts on a hang alone and reads nothing that a run reads, so that a run that ends is the same with it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it watches simulations from outside, by the process's own clock"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::process::exit;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::FAILED;
use super::out::{say, tell};
use crate::engine::pulse::{self, Beat};
use crate::observed::seconds;
use crate::verdict::Property;

/// How long what stands still is left alone. It counts looks, not time, so that a process that was
/// stopped and goes on is not taken for one that hangs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// Between two looks.
    pub(super) look_every: Duration,
    /// One poll may last for so many looks. Polls take microseconds.
    pub(super) poll_looks: u32,
    /// All that is done between polls, judging a seed included, may last for so many.
    pub(super) other_looks: u32,
}

impl Default for Bound {
    fn default() -> Self {
        Bound { look_every: Duration::from_secs(1), poll_looks: 60, other_looks: 600 }
    }
}

/// A simulation that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hang(pub(super) Beat);

impl Hang {
    /// Why, without what differs from seed to seed.
    pub(super) fn reason(&self) -> String {
        match &self.0.polled {
            Some((node, task)) => format!("a poll of task {task} of {} does not end", node.replace('-', " ")),
            None => "judging the run does not end".to_owned(),
        }
    }
}

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (property, statement) = (Property::StaysUp, Property::StaysUp.statement());
        writeln!(f, "{property} is violated at {}: {statement}", seconds(self.0.time_ns))?;
        write!(f, "  seed {}, after {} polls: {}", self.0.seed, self.0.polls, self.reason())
    }
}

/// What a command does with what it knows, before a hang ends it.
type OnHang = Box<dyn FnOnce(&Hang) + Send>;

static ON_HANG: Mutex<Option<OnHang>> = Mutex::new(None);

/// Sets what is done with what is known, should a simulation hang from now on.
pub(super) fn on_hang(act: impl FnOnce(&Hang) + Send + 'static) {
    *ON_HANG.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(act));
}

/// Watches from now on.
pub(super) fn start(bound: Bound) {
    pulse::watch();
    std::thread::spawn(move || {
        let hang = wait_for_hang(bound);
        say!("{hang}");
        let act = ON_HANG.lock().unwrap_or_else(PoisonError::into_inner).take();
        match act {
            Some(act) => act(&hang),
            None => tell!("what was asked for ends here"),
        }
        exit(i32::from(FAILED));
    });
}

/// Looks until a simulation stands still for too long.
fn wait_for_hang(bound: Bound) -> Hang {
    let mut seen: BTreeMap<usize, (Beat, u32)> = BTreeMap::new();
    loop {
        std::thread::sleep(bound.look_every);
        let mut now = BTreeMap::new();
        for (which, beat) in pulse::beats() {
            let looks = seen.get(&which).filter(|(last, _)| *last == beat).map_or(0, |(_, looks)| looks + 1);
            let looks_max = if beat.polled.is_some() { bound.poll_looks } else { bound.other_looks };
            if looks >= looks_max {
                return Hang(beat);
            }
            now.insert(which, (beat, looks));
        }
        seen = now;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::engine::{EngineConfig, Simulation};
    use wyrdlog::runtime::{Clock, Tasks};

    /// One poll of a task that never ended hung a whole sweep, in silence.
    #[test]
    fn a_poll_that_does_not_end_is_told_with_the_seed_and_the_task() {
        pulse::watch();
        let released = Arc::new(AtomicBool::new(false));
        let flag = released.clone();
        let hanging = std::thread::spawn(move || {
            let mut simulation = Simulation::new(4711, EngineConfig::default());
            let node = simulation.add_node("broker-2");
            simulation.start(node, |runtime| async move {
                runtime.sleep(Duration::from_secs(2)).await;
                let spinner = runtime.spawn("log work", async move {
                    while !flag.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                });
                spinner.await;
            });
            simulation.run_for(Duration::from_secs(3));
        });
        let bound = Bound { look_every: Duration::from_millis(20), poll_looks: 20, other_looks: u32::MAX };
        let hang = loop {
            // Tests of other threads are watched as well; none of them hangs for good.
            let hang = wait_for_hang(bound);
            if hang.0.seed == 4711 {
                break hang;
            }
        };
        released.store(true, Ordering::Relaxed);
        hanging.join().expect("it went on");
        let said = hang.to_string();
        assert!(said.starts_with("stays-up is violated at 2.0"), "{said}");
        assert!(said.contains("polls: a poll of task log work of broker 2 does not end"), "{said}");
    }
}
