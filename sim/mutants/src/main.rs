//! The `mutants` binary, which `cargo sim mutants` runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    wyrdlog_mutants::cli::main()
}
