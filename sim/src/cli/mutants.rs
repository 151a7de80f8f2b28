//! `wyrd-sim mutants`: the mutation suite, which is a program of its own, for it parses, copies and
//! builds the product anew.

use std::ffi::OsString;
use std::process::Command;

use super::{FAILED, Trouble, USAGE};

/// What `mutants` is told: it is handed on as it is.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct Arguments {
    /// See `cargo sim mutants --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Carries it out, with the cargo and in the profile in which this program was built.
pub(super) fn run(arguments: &Arguments) -> Result<u8, Trouble> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--package", "wyrdlog-mutants", "--bin", "mutants", "--"])
        .args(&arguments.arguments)
        .status()?;
    Ok(match status.code() {
        Some(code) => u8::try_from(code).unwrap_or(USAGE),
        None => FAILED,
    })
}
