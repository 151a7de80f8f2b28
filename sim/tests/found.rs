//! Seeds that found a bug, kept: each must pass. A seed's run changes when the workload or the
//! engine does, so each bug also has a test of its own beside its fix where one is possible.

use wyrdlog_sim::run::{Options, run_seed};
use wyrdlog_sim::scenario::Scenario;

/// The seed, and what it found.
const FOUND: &[(u64, &str)] = &[
    (1, "a read behind a pending sync showed the effect of a later write of its own session"),
    (7, "the search for a linearization spent its whole budget on a history that has one"),
    (67, "a lossy link delayed a connection by all time-outs one after the other, long after it had healed"),
    (92, "a log that was cached but not durable after a failed sync was counted as durable after a restart"),
    (113, "the same, under another schedule"),
];

#[test]
fn seeds_that_found_a_bug_pass() {
    let scenario = Scenario::parse(include_str!("../scenarios/coordinator.toml")).expect("it comes with the program");
    for (seed, found) in FOUND {
        let run = run_seed(&scenario, *seed, None, &Options::default()).expect("the scenario can be run");
        assert!(run.verdict.passed(), "seed {seed}, which found that {found}: {:?}", run.verdict.violations);
    }
}
