//! Exhaustive exploration of the pure cores that ship.

mod replication;

use std::process::ExitCode;

use replication::Bounds;

/// Explores without bugs, or with the plant that is named; `bounds` after it are, in order: records,
/// leader epochs, partition epochs, expiries, crashes, losses, lag checks, messages in flight.
fn main() -> ExitCode {
    let plant = std::env::args().nth(1).and_then(|name| name.parse().ok());
    let numbers: Vec<u8> = std::env::args().skip(2).filter_map(|number| number.parse().ok()).collect();
    let otherwise = if plant.is_some() { Bounds::small() } else { Bounds::default() };
    let report = replication::check(plant, bounds(&numbers).unwrap_or(otherwise), 2);
    print!("{report}");
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::from(42) }
}

fn bounds(numbers: &[u8]) -> Option<Bounds> {
    let &[records, leader_epochs, partition_epochs, expiries, crashes, losses, lag_checks, in_flight] = numbers else {
        return None;
    };
    Some(Bounds {
        records,
        leader_epochs: leader_epochs.into(),
        partition_epochs: partition_epochs.into(),
        expiries,
        crashes,
        losses,
        lag_checks,
        in_flight: in_flight.into(),
    })
}
