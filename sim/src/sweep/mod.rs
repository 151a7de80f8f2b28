//! Many seeds: one simulation a thread, some of them twice to check determinism, and a canary that
//! must fail.
//!
//! What a seed comes to does not depend on the thread that runs it, nor on how many there are.

pub mod coverage;
pub mod cpu_time;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use wyrdlog::base::plants::Plant;

use crate::faults::Fate;
use crate::narrate::signature;
use crate::run::{CannotRun, Evaluated, Options, Verdict, run_seed};
use crate::scenario::Scenario;
use crate::tamper::{Tamper, tamper};
use crate::verdict::Property;

/// Of so many seeds one is run twice.
pub const AGAIN_OF: u64 = 16;
/// A canary gets so many seeds to fail in.
pub const CANARY_SEEDS: u64 = 20;
/// After so many seeds all that is kept between seeds has been made once.
pub const MEMORY_SEEDS: u64 = 500;
/// The least of so many readings, one a seed, is what is kept between seeds.
pub const MEMORY_WINDOW: usize = 100;
/// By so much of a hundred resident memory may grow from then on.
pub const MEMORY_GROWTH_PERCENT_MAX: u64 = 5;
/// How many failures are kept in full.
pub const FAILURES_KEPT_MAX: usize = 100;

/// What a sweep is told.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenario.
    pub scenario: Scenario,
    /// The seeds.
    pub seeds: Range<u64>,
    /// How many threads.
    pub jobs: usize,
    /// A planted bug to switch on.
    pub plant: Option<Plant>,
    /// Edit every passing run's record and see the checkers reject it.
    pub tamper: bool,
    /// Stop after the first failure.
    pub until_failure: bool,
}

/// One seed, run.
#[derive(Clone, Debug)]
pub struct Swept {
    /// The outcome.
    pub verdict: Verdict,
    /// What it took.
    pub cpu: Duration,
    /// The hash of the second run, if there was one and it differed.
    pub diverged: Option<String>,
    /// Edits that the checker they name did not reject.
    pub unnoticed: Vec<Tamper>,
    /// Which edits were tried.
    pub tampered: BTreeSet<Tamper>,
}

/// What a sweep came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Seeds that ran.
    pub seeds: u64,
    /// CPU time in all, in milliseconds.
    pub cpu_ms: u64,
    /// Simulated time in all, in milliseconds.
    pub simulated_ms: u64,
    /// Requests of clients that were judged.
    pub requests: u64,
    /// Of these, the batches that were sent.
    pub requests_sends: u64,
    /// Of these, the polls that returned records.
    pub requests_polls: u64,
    /// Of these, the operations on the coordinator.
    pub requests_coordinator: u64,
    /// Of these, those whose outcome nobody knows.
    pub requests_unknown: u64,
    /// Of these, those that were invoked while a fault lasted.
    pub requests_under_fault: u64,
    /// Seeds that failed, by property.
    pub failed: BTreeMap<Property, BTreeSet<u64>>,
    /// Seeds that failed, by signature: what showed first, without what differs from seed to seed.
    pub signatures: BTreeMap<String, BTreeSet<u64>>,
    /// Seeds of which a second run had another hash.
    pub diverged: BTreeSet<u64>,
    /// Seeds that were run twice.
    pub again: u64,
    /// Faults of all schedules, by their fate.
    pub faults: BTreeMap<Fate, u64>,
    /// In how many seeds each rare state was reached.
    pub probes: BTreeMap<String, u64>,
    /// How often each property was evaluated.
    pub evaluations: BTreeMap<Property, u64>,
    /// Seeds that went past the fault budget.
    pub beyond_budget: u64,
    /// Edits of passing records, and those that went unnoticed, as `seed edit`.
    pub tampered: (u64, Vec<String>),
    /// How many edits were made that violate each property.
    pub tampered_properties: BTreeMap<Property, u64>,
    /// What was covered.
    pub coverage: coverage::Coverage,
    /// What was not covered although it was to be; any makes the sweep red.
    pub misses: Vec<String>,
    /// The least resident memory of [`MEMORY_WINDOW`] seeds in a row, in KiB: the most that it was within the first
    /// [`MEMORY_SEEDS`] seeds, and what it was at the end. Where there were more seeds, and the system tells.
    pub memory_kib: Option<(u64, u64)>,
    /// The seed in which the canary was found, if one was looked for and found.
    pub canary: Option<u64>,
    /// The hash of each seed.
    pub schedule_hashes: BTreeMap<u64, String>,
    /// The failures in full.
    #[serde(skip)]
    pub failures: Vec<Verdict>,
}

impl Summary {
    /// Takes a seed that did not end, for the reason that is given.
    pub fn take_hung(&mut self, seed: u64, reason: &str) {
        self.seeds += 1;
        self.failed.entry(Property::StaysUp).or_default().insert(seed);
        let signature = format!("{}: {reason}", Property::StaysUp);
        self.signatures.entry(signature).or_default().insert(seed);
    }

    /// How many seeds violated something.
    #[must_use]
    pub fn failed_seeds(&self) -> BTreeSet<u64> {
        self.failed.values().flatten().copied().collect()
    }

    /// Takes one seed's outcome.
    pub fn take(&mut self, swept: &Swept) {
        let verdict = &swept.verdict;
        self.seeds += 1;
        self.coverage.take(verdict);
        self.cpu_ms += swept.cpu.as_millis() as u64;
        self.simulated_ms += verdict.simulated_ns / 1_000_000;
        self.requests += verdict.requests.total();
        self.requests_sends += verdict.requests.sends;
        self.requests_polls += verdict.requests.polls;
        self.requests_coordinator += verdict.requests.coordinator;
        self.requests_unknown += verdict.requests.unknown;
        self.requests_under_fault += verdict.requests.under_fault;
        self.beyond_budget += u64::from(verdict.beyond_budget);
        for violation in &verdict.violations {
            self.failed.entry(violation.property).or_default().insert(verdict.seed);
        }
        if let Some(signature) = signature(&verdict.violations) {
            self.signatures.entry(signature).or_default().insert(verdict.seed);
        }
        verdict.faults.iter().for_each(|struck| *self.faults.entry(struck.fate).or_default() += 1);
        for (probe, count) in &verdict.probes {
            *self.probes.entry(probe.clone()).or_default() += u64::from(*count > 0);
        }
        for Evaluated { property, evaluations, .. } in &verdict.findings {
            *self.evaluations.entry(*property).or_default() += evaluations;
        }
        self.again += u64::from(is_run_again(verdict.seed));
        if swept.diverged.is_some() {
            self.diverged.insert(verdict.seed);
        }
        self.tampered.0 += swept.tampered.len() as u64;
        for kind in &swept.tampered {
            *self.tampered_properties.entry(kind.rejected_by()).or_default() += 1;
        }
        self.tampered.1.extend(swept.unnoticed.iter().map(|edit| format!("{} {edit:?}", verdict.seed)));
        self.schedule_hashes.insert(verdict.seed, verdict.schedule_hash.clone());
        if !verdict.passed() && self.failures.len() < FAILURES_KEPT_MAX {
            self.failures.push(verdict.clone());
        }
    }
}

/// Whether a seed is run twice: spread over the seeds, and the same whoever asks.
fn is_run_again(seed: u64) -> bool {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).is_multiple_of(AGAIN_OF)
}

/// Runs all seeds; `progress` is told of each as it ends.
pub fn sweep(plan: &Plan, progress: impl FnMut(&Swept)) -> Result<Summary, CannotRun> {
    let summary = Mutex::new(Summary::default());
    sweep_into(plan, &summary, progress)?;
    Ok(summary.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Runs all seeds; `summary` holds at any instant what is known of those that have ended.
#[allow(clippy::disallowed_methods, reason = "one simulation a thread, outside of any")]
pub fn sweep_into(plan: &Plan, summary: &Mutex<Summary>, mut progress: impl FnMut(&Swept)) -> Result<(), CannotRun> {
    let left: Mutex<VecDeque<u64>> = Mutex::new(plan.seeds.clone().collect());
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            let (left, sender) = (&left, sender.clone());
            scope.spawn(move || work(plan, left, &sender));
        }
        drop(sender);
        collect(plan, &left, &receiver, summary, &mut progress)
    })
}

fn collect(
    plan: &Plan,
    left: &Mutex<VecDeque<u64>>,
    receiver: &Receiver<Result<Swept, CannotRun>>,
    summary: &Mutex<Summary>,
    progress: &mut impl FnMut(&Swept),
) -> Result<(), CannotRun> {
    let mut trouble = None;
    for swept in receiver {
        match swept {
            Ok(swept) => {
                summary.lock().unwrap_or_else(PoisonError::into_inner).take(&swept);
                progress(&swept);
                if plan.until_failure && !swept.verdict.passed() {
                    left.lock().unwrap_or_else(PoisonError::into_inner).clear();
                }
            }
            Err(error) => trouble = Some(error),
        }
    }
    trouble.map_or(Ok(()), Err)
}

fn work(plan: &Plan, left: &Mutex<VecDeque<u64>>, done: &Sender<Result<Swept, CannotRun>>) {
    loop {
        let seed = left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(seed) = seed else { return };
        let swept = sweep_one(plan, seed);
        let failed = swept.is_err();
        if done.send(swept).is_err() || failed {
            return;
        }
    }
}

/// Runs one seed as a sweep does.
pub fn sweep_one(plan: &Plan, seed: u64) -> Result<Swept, CannotRun> {
    let stop_at = if plan.until_failure { Property::ALL.iter().copied().collect() } else { BTreeSet::new() };
    let options = Options { keep_record: plan.tamper, stop_at, ..Options::default() };
    let (run, cpu) = cpu_time::measured(|| run_seed(&plan.scenario, seed, plan.plant, &options));
    let run = run?;
    let mut swept =
        Swept { verdict: run.verdict, cpu, diverged: None, unnoticed: Vec::new(), tampered: BTreeSet::new() };
    if is_run_again(seed) {
        let again = run_seed(&plan.scenario, seed, plan.plant, &Options { keep_record: false, ..options })?.verdict;
        swept.diverged = (again != swept.verdict).then_some(again.schedule_hash);
    }
    if let Some(record) = run.record.filter(|_| swept.verdict.passed()) {
        for kind in Tamper::ALL {
            let Some(edited) = tamper(&record, *kind, seed) else { continue };
            swept.tampered.insert(*kind);
            if !edited.violates(&run.topology, kind.rejected_by()) {
                swept.unnoticed.push(*kind);
            }
        }
    }
    Ok(swept)
}

/// The plant that must be found in every sweep of `scenario`.
#[must_use]
pub fn canary_of(scenario: &Scenario) -> Plant {
    if scenario.has_brokers() { Plant::Canary } else { Plant::LateWatch }
}

/// The first seed from `from` in which the canary is found, within [`CANARY_SEEDS`]; `progress` is told
/// of each that was tried.
pub fn find_canary(scenario: &Scenario, from: u64, mut progress: impl FnMut()) -> Result<Option<u64>, CannotRun> {
    let plant = canary_of(scenario);
    for seed in from..from + CANARY_SEEDS {
        let stop_at = Property::ALL.iter().copied().collect();
        let passed =
            run_seed(scenario, seed, Some(plant), &Options { stop_at, ..Options::default() })?.verdict.passed();
        progress();
        if !passed {
            return Ok(Some(seed));
        }
    }
    Ok(None)
}
