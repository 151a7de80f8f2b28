//! Many seeds: one simulation a thread.

pub mod cpu_time;
