//! Exhaustive exploration of the pure cores that ship.

mod replication;

fn main() -> std::process::ExitCode {
    let plant = match std::env::args().nth(1).map(|name| name.parse::<wyrdlog::base::plants::Plant>()).transpose() {
        Ok(plant) => plant,
        Err(error) => {
            eprintln!("{error}");
            return std::process::ExitCode::from(2);
        }
    };
    let report = replication::check(plant, replication::Bounds::default(), 2);
    print!("{report}");
    if report.passed() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::from(42) }
}
