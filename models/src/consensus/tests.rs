//! Small bounds, explored in every test run.

use wyrdlog::base::plants::{Plant, Plants};

use super::bounds::{Bounds, FULL_REACHES};
use super::claims::sight;
use super::ensemble::Ensemble;
use crate::report::{Options, Report};

/// One election, one record, one crash.
const SMALL: Bounds = Bounds { elections: 1, records: 1, losses: 0, ..Bounds::FULL };

fn explore(bounds: Bounds, plants: Plants) -> Report {
    let options = Options { plants, ..Options::default() };
    let model = Ensemble::new(bounds, FULL_REACHES, plants);
    Report::explore("consensus", None, format!("{bounds:?}"), model, &options)
}

#[test]
fn a_small_ensemble_is_safe_in_every_state() {
    let report = explore(SMALL, Plants::NONE);
    assert!(report.exhausted && !report.is_refuted(), "{}", report.to_text());
    assert!(report.unique_states > 5_000, "{}", report.to_text());
    let shown = |verdict: &&crate::report::Verdict| verdict.holds && verdict.states > 0;
    let shown: Vec<_> = report.verdicts.iter().filter(shown).map(|verdict| verdict.property).collect();
    for name in [sight::ELECTION, sight::TRUNCATION, sight::COMMITTED, sight::LOST_ENTRIES] {
        assert!(shown.contains(&name), "{name}: {}", report.to_text());
    }
}

#[test]
fn acknowledging_before_it_is_durable_loses_what_was_committed() {
    let report = explore(SMALL, Plants::only(Plant::Zk3911));
    assert!(report.is_refuted(), "{}", report.to_text());
    assert!(report.counterexample.iter().any(|action| action.starts_with("Crash")), "{}", report.to_text());
}
