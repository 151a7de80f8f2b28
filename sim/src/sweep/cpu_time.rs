//! How much CPU a piece of work took on this thread.

use std::time::Duration;
#[allow(clippy::disallowed_types, reason = "it measures simulations from outside")]
use std::time::Instant;

/// What `work` gives, and the CPU time that it took on this thread; where the operating system
/// does not tell, the time that passed.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures simulations from outside")]
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let (began, cpu_before) = (Instant::now(), of_this_thread());
    let result = work();
    let cpu = of_this_thread().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    (result, cpu.unwrap_or_else(|| began.elapsed()))
}

/// Linux: the first number of `schedstat` is the time on the CPU, in nanoseconds.
#[allow(clippy::disallowed_methods, reason = "it measures simulations from outside")]
fn of_this_thread() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
