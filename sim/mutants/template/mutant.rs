//! The switch of a mutated copy: which one of its mutants is on.
//!
//! The generator puts this file into the copy as `src/base/mutant.rs`; the product has no such
//! module. The mutant is chosen once, before anything runs: by [`select`], or by the environment
//! where the process is a test.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// No choice was made yet.
const UNREAD: u32 = u32::MAX;

static SELECTED: AtomicU32 = AtomicU32::new(UNREAD);
static EXECUTED: AtomicU64 = AtomicU64::new(0);

/// Switches `mutant` on for the rest of the process; 0 is the code as it ships.
pub fn select(mutant: u32) {
    SELECTED.store(mutant, Relaxed);
}

/// How often the mutated code was executed up to now.
pub fn executed() -> u64 {
    EXECUTED.load(Relaxed)
}

/// Whether `mutant` is on. Counts that its code is executed.
#[inline]
pub fn is(mutant: u32) -> bool {
    let mut selected = SELECTED.load(Relaxed);
    if selected == UNREAD {
        selected = read();
    }
    if selected != mutant {
        return false;
    }
    EXECUTED.fetch_add(1, Relaxed);
    true
}

#[cold]
fn read() -> u32 {
    let selected = std::env::var("WYRD_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    SELECTED.store(selected, Relaxed);
    selected
}
