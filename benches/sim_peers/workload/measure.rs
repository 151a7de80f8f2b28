//! A peer's command line and what it prints: one JSON object a line.
//!
//! CPU time is this process's threads' time on a processor as the scheduler accounts it, in
//! nanoseconds (`/proc/self/task/*/schedstat`).

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it measures this process, outside of any simulation"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use super::plan::{Plan, Shape, Tally};

const USAGE: &str =
    "[--seed S] [--messages N] [--clients C] [--latency-us L] [--jitter-us J] [--simulations K [--flat-kib F]]";

struct Options {
    seed: u64,
    shape: Shape,
    simulations: Option<u64>,
    flat_kib: Option<u64>,
}

/// Runs the peer called `peer`: `run` simulates one plan, from nothing to nothing.
///
/// # Panics
/// If the run did not do what was planned, or grew although it must stay flat.
pub fn main(peer: &str, run: fn(Arc<Plan>)) {
    let Some(options) = options() else {
        eprintln!("usage: {} {USAGE}", env::args().next().unwrap_or_default());
        std::process::exit(2);
    };
    match options.simulations {
        None => once(peer, run, &options),
        Some(simulations) => many(peer, run, &options, simulations),
    }
}

fn options() -> Option<Options> {
    let mut options = Options { seed: 1, shape: Shape::default(), simulations: None, flat_kib: None };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next()?.parse().ok()?;
        match &*argument {
            "--seed" => options.seed = value,
            "--messages" => options.shape.messages = value,
            "--clients" => options.shape.clients = value.max(1),
            "--latency-us" => options.shape.latency_us = value,
            "--jitter-us" => options.shape.jitter_us = value,
            "--simulations" => options.simulations = Some(value),
            "--flat-kib" => options.flat_kib = Some(value),
            _ => return None,
        }
    }
    Some(options)
}

fn simulate(run: fn(Arc<Plan>), seed: u64, options: &Options) -> Tally {
    let plan = Arc::new(Plan::new(seed, options.shape));
    run(plan.clone());
    plan.result()
}

fn once(peer: &str, run: fn(Arc<Plan>), options: &Options) {
    let (wall, cpu_ns) = (Instant::now(), cpu_ns());
    let tally = simulate(run, options.seed, options);
    let (cpu_seconds, wall_seconds) = ((self::cpu_ns() - cpu_ns) as f64 / 1e9, wall.elapsed().as_secs_f64());
    println!(
        "{{\"peer\":\"{peer}\",\"seed\":{},\"messages\":{},\"timer_fires\":{},\"digest\":\"{:016x}\",\
         \"cpu_seconds\":{cpu_seconds:.6},\"wall_seconds\":{wall_seconds:.6},\"rss_kib\":{},\
         \"deliveries_per_cpu_second\":{:.0}}}",
        options.seed,
        tally.delivered,
        tally.timer_fires,
        tally.digest,
        resident_kib(),
        tally.delivered as f64 / cpu_seconds,
    );
}

/// Runs one simulation after the other and prints the memory at every power of ten from a hundred.
fn many(peer: &str, run: fn(Arc<Plan>), options: &Options, simulations: u64) {
    let mut at_thousand = None;
    let mut report_at = 100;
    for done in 1..=simulations {
        simulate(run, options.seed.wrapping_add(done), options);
        if done == report_at || done == simulations {
            let rss_kib = resident_kib();
            println!("{{\"peer\":\"{peer}\",\"simulations\":{done},\"rss_kib\":{rss_kib}}}");
            report_at *= 10;
            if done == 1_000 {
                at_thousand = Some(rss_kib);
            }
        }
    }
    if let Some(flat_kib) = options.flat_kib {
        let (before, after) = (at_thousand.expect("at least 1000 simulations"), resident_kib());
        assert!(after <= before + flat_kib, "it grew from {before} KiB after 1000 simulations to {after} KiB");
    }
}

/// The scheduler brings its account up to date when it sets a thread aside (or at its tick, some
/// milliseconds apart): a short sleep makes it do so.
fn cpu_ns() -> u64 {
    thread::sleep(Duration::from_micros(100));
    let threads = fs::read_dir("/proc/self/task").expect("Linux tells of this process");
    let of_thread = |thread: std::io::Result<fs::DirEntry>| -> u64 {
        let text = fs::read_to_string(thread.expect("an entry").path().join("schedstat")).expect("schedstat");
        text.split_whitespace().next().and_then(|first| first.parse().ok()).expect("nanoseconds")
    };
    threads.map(of_thread).sum()
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells of this process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line VmRSS");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("KiB")
}
