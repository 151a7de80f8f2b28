//! The pulse of a simulation: what it polls at present, for whoever watches from another thread.
//!
//! A poll that never ends cannot be ended from within: the thread that runs it is the one that would
//! have to. Whoever watches the process sees that the count stands still, and whose poll it is. No
//! simulation reads any of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Whether somebody watches.
static IS_WATCHED: AtomicBool = AtomicBool::new(false);
/// The simulations of all threads, while somebody watches.
static PULSES: Mutex<Vec<Weak<Pulse>>> = Mutex::new(Vec::new());

/// One simulation's pulse.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Beat>);

/// What a simulation did last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Its seed.
    pub seed: u64,
    /// How many polls it began.
    pub polls: u64,
    /// The simulated time, in nanoseconds.
    pub time_ns: u64,
    /// The node and the task that are polled; none while the driver has control, or judges.
    pub polled: Option<(Arc<str>, &'static str)>,
}

/// From now on all new simulations of this process can be watched.
pub fn watch() {
    IS_WATCHED.store(true, Ordering::Relaxed);
}

/// What each simulation that is there did last, with a number that stays its own.
#[must_use]
pub fn beats() -> Vec<(usize, Beat)> {
    let mut pulses = PULSES.lock().unwrap_or_else(PoisonError::into_inner);
    pulses.retain(|pulse| pulse.strong_count() > 0);
    let there = pulses.iter().filter_map(Weak::upgrade);
    there.map(|pulse| (Arc::as_ptr(&pulse) as usize, pulse.read())).collect()
}

impl Pulse {
    /// A new simulation's, if somebody watches.
    pub fn of(seed: u64) -> Option<Arc<Pulse>> {
        if !IS_WATCHED.load(Ordering::Relaxed) {
            return None;
        }
        let pulse = Arc::new(Pulse(Mutex::new(Beat { seed, ..Beat::default() })));
        PULSES.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&pulse));
        Some(pulse)
    }

    fn read(&self) -> Beat {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A poll begins.
    pub fn beat(&self, time_ns: u64, node: &Arc<str>, task: &'static str) {
        let mut beat = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beat.polls += 1;
        beat.time_ns = time_ns;
        match &mut beat.polled {
            Some((polled, name)) if Arc::ptr_eq(polled, node) => *name = task,
            polled => *polled = Some((node.clone(), task)),
        }
    }

    /// The driver has control.
    pub fn rest(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).polled = None;
    }
}
