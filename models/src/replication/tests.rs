//! Small bounds, explored in every test run.

use wyrdlog::base::plants::{Plant, Plants};

use super::bounds::Bounds;
use super::world::World;
use crate::report::{Options, Report};

fn explore(bounds: Bounds, plants: Plants) -> Report {
    let options = Options { plants, ..Options::default() };
    Report::explore("replication", None, format!("{bounds:?}"), World::new(bounds, &[], plants), &options)
}

#[test]
fn no_state_within_the_least_bounds_breaks_a_promise() {
    let report = explore(Bounds::LEAST, Plants::NONE);
    assert!(report.holds() && report.exhausted, "{}", report.to_text());
    assert!(report.unique_states > 1_000, "{}", report.to_text());
}

#[test]
fn truncating_to_the_high_watermark_is_refuted() {
    let report = explore(Bounds::LEAST, Plants::only(Plant::Kip101));
    assert!(report.is_refuted() && !report.counterexample.is_empty(), "{}", report.to_text());
}
