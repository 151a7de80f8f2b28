//! Exhaustive exploration of the pure cores that ship.

mod replication;

fn main() -> std::process::ExitCode {
    let plant = std::env::args().nth(1).and_then(|name| name.parse::<wyrdlog::base::plants::Plant>().ok());
    let mut bounds = replication::Bounds::default();
    if let Some(text) = std::env::args().nth(2) {
        let n: Vec<u8> = text.split(',').filter_map(|n| n.parse().ok()).collect();
        bounds = replication::Bounds {
            records: n[0],
            leader_epochs: n[1].into(),
            partition_epochs: n[2].into(),
            expiries: n[3],
            crashes: n[4],
            losses: n[5],
            lag_checks: n[6],
        };
    }
    let report = replication::check(plant, bounds, 2);
    print!("{report}");
    if report.passed() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::from(42) }
}
