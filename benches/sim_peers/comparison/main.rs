//! Runs the peers against each other and says what came of it; `../compare` builds and calls it.
//!
//! First the engine against itself: the spread is the noise. Then all peers in one alternating run
//! (A B C D, D C B A, ...), the same seed for all of a round. All must have done the same work, by
//! count and by digest. What is compared is messages per CPU second, as the median of the rounds'
//! ratios with a bootstrap interval; a threshold holds if the whole interval does.

#![allow(clippy::disallowed_methods, reason = "it runs programs")]

mod statistics;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fmt};

use serde_json::Value;
use statistics::{Interval, median, ratio};

/// The engine delivers at least so many times the messages per CPU second.
const THRESHOLDS: [(&str, f64); 2] = [("madsim", 3.0), ("turmoil", 15.0)];

/// How much is run.
struct Extent {
    rounds: u64,
    messages: u64,
    /// Rounds of the shapes that are only shown.
    rounds_shown: u64,
    has_thresholds: bool,
}

const FULL: Extent = Extent { rounds: 10, messages: 600_000, rounds_shown: 5, has_thresholds: true };
const QUICK: Extent = Extent { rounds: 2, messages: 12_000, rounds_shown: 1, has_thresholds: false };

/// Clients per node, and latency and jitter in microseconds.
#[derive(Clone, Copy)]
struct Shape {
    clients: u64,
    latency_us: u64,
    jitter_us: u64,
}

/// What thresholds are about: the default of the workload.
const HEADLINE: Shape = Shape { clients: 1, latency_us: 1_000, jitter_us: 9_000 };

/// What else there is to know: how the ratios move with density and latency.
const SHOWN: [Shape; 3] = [
    Shape { clients: 5, ..HEADLINE },
    Shape { latency_us: 200, jitter_us: 100, ..HEADLINE },
    Shape { clients: 5, latency_us: 200, jitter_us: 100 },
];

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.latency_us, self.latency_us + self.jitter_us);
        write!(f, "{} requests on their way, latency {least} to {most} us", 6 * self.clients)
    }
}

struct Peer {
    name: &'static str,
    program: PathBuf,
}

/// What one run of one peer did.
struct Run {
    /// Messages, timer wakes, digest: the same for all.
    work: (u64, u64, String),
    rate: f64,
    rss_kib: u64,
}

impl Peer {
    fn run(&self, seed: u64, messages: u64, shape: Shape) -> Run {
        let mut command = Command::new(&self.program);
        for (option, value) in [
            ("--seed", seed),
            ("--messages", messages),
            ("--clients", shape.clients),
            ("--latency-us", shape.latency_us),
            ("--jitter-us", shape.jitter_us),
        ] {
            command.arg(option).arg(value.to_string());
        }
        let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {text}{}", self.name, String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", self.name));
        let number = |key: &str| said[key].as_u64().unwrap_or_else(|| panic!("{}: no {key} in {text}", self.name));
        let work = (number("messages"), number("timer_fires"), said["digest"].to_string());
        let cpu_seconds = said["cpu_seconds"].as_f64().unwrap_or_else(|| panic!("no cpu_seconds in {text}"));
        Run { rate: work.0 as f64 / cpu_seconds, work, rss_kib: number("rss_kib") }
    }
}

/// The runs of each peer, round by round.
fn alternate(peers: &[Peer], rounds: u64, messages: u64, shape: Shape) -> Vec<Vec<Run>> {
    let mut runs: Vec<Vec<Run>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..peers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for peer in order {
            runs[peer].push(peers[peer].run(round + 1, messages, shape));
        }
        for (peer, of_peer) in peers.iter().zip(&runs) {
            let (work, first) = (&of_peer[round as usize].work, &runs[0][round as usize].work);
            assert_eq!(work, first, "{} and {} did not do the same work", peer.name, peers[0].name);
        }
    }
    runs
}

/// Ratios of the first peer's rates to another's, round by round.
fn ratios(of: &[Run], to: &[Run]) -> Interval {
    ratio(&of.iter().zip(to).map(|(of, to)| of.rate / to.rate).collect::<Vec<f64>>())
}

/// Prints a table; the ratios of the engine's rate to each peer's.
fn show(peers: &[Peer], runs: &[Vec<Run>], shape: Shape) -> Vec<Interval> {
    let (messages, wakes, _) = &runs[0][0].work;
    println!("\n{shape}; {messages} messages, {wakes} timer wakes, {} rounds", runs[0].len());
    println!("{:<10}{:>18}{:>12}   engine / peer [95 %]", "", "messages / CPU s", "memory KiB");
    let mut intervals = Vec::new();
    for (peer, of_peer) in peers.iter().zip(runs) {
        let rate = median(&of_peer.iter().map(|run| run.rate).collect::<Vec<f64>>());
        let rss_kib = of_peer.iter().map(|run| run.rss_kib).max().unwrap_or(0);
        let interval = ratios(&runs[0], of_peer);
        println!("{:<10}{rate:>18.0}{rss_kib:>12}   {interval}", peer.name);
        intervals.push(interval);
    }
    intervals
}

fn peers(directory: &Path, madsim: PathBuf) -> Vec<Peer> {
    let here = |name, program: &str| Peer { name, program: directory.join(program) };
    vec![
        here("engine", "peer-engine"),
        here("turmoil", "peer-turmoil"),
        Peer { name: "madsim", program: madsim },
        here("bare", "peer-bare"),
    ]
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    arguments.retain(|argument| argument != "--quick");
    let [madsim] = &arguments[..] else {
        eprintln!("usage: compare-sim-peers [--quick] PATH-OF-PEER-MADSIM");
        return ExitCode::from(2);
    };
    let program = env::current_exe().expect("the path of this program");
    let directory = program.parent().expect("a program is in a directory");
    compare(&peers(directory, madsim.into()), if is_quick { &QUICK } else { &FULL })
}

fn compare(peers: &[Peer], extent: &Extent) -> ExitCode {
    let engine = || Peer { name: "engine", program: peers[0].program.clone() };
    let same = alternate(&[engine(), engine()], extent.rounds, extent.messages, HEADLINE);
    println!("The engine against itself: {}", ratios(&same[0], &same[1]));

    let runs = alternate(peers, extent.rounds, extent.messages, HEADLINE);
    let intervals = show(peers, &runs, HEADLINE);
    println!("\nFor information, without thresholds:");
    for shape in SHOWN {
        show(peers, &alternate(peers, extent.rounds_shown, extent.messages, shape), shape);
    }
    println!();
    if !extent.has_thresholds {
        println!("A quick run: all did the same work; no threshold was held against it.");
        return ExitCode::SUCCESS;
    }
    let mut is_met = true;
    for (name, least) in THRESHOLDS {
        let at = peers.iter().position(|peer| peer.name == name).expect("a threshold is about a peer");
        let holds = intervals[at].low >= least;
        println!("{}: at least {least} times {name}: {}", if holds { "holds" } else { "MISSED" }, intervals[at]);
        is_met &= holds;
    }
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
