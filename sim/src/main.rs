//! The `wyrd-sim` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    wyrdlog_sim::cli::main()
}
