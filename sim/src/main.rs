//! The `wyrd-sim` binary.

use std::process::ExitCode;

/// A simulation allocates and frees some hundred thousand small pieces a second.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wyrdlog_sim::cli::main()
}
