//! The `wyrd` binary: a real cluster on tokio, and its tools.

use std::process::ExitCode;

fn main() -> ExitCode {
    wyrdlog::cli::main()
}
