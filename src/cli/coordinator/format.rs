//! `wyrd coordinator format`: makes an empty directory a server's own.

use clap::Args;

use super::ServerArgs;
use super::run::failure;
use crate::cli::failure::Failure;
use crate::cli::logging::LogArgs;
use crate::cli::{node, output};
use crate::coordinator;

/// Which server.
#[derive(Args, Debug)]
pub(super) struct FormatArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The disk replaces one that was lost: this server catches up and serves, but never votes,
    /// because it has forgotten what it voted
    #[arg(long)]
    replacement: bool,
}

/// Writes the marker.
pub(super) fn execute(args: &FormatArgs, log: &LogArgs) -> Result<(), Failure> {
    log.start("warn")?;
    let settings = args.server.read()?;
    let (id, directory) = (settings.config.id, settings.data_directory);
    node::block_on(async {
        let runtime = node::open(format!("coordinator-{id}"), &directory, None)?;
        let formatted = coordinator::format(&runtime, id, args.replacement).await;
        formatted.map_err(|error| failure(&directory, &error))
    })?;
    let what = if args.replacement { "as a replacement, which will not vote" } else { "which votes" };
    output::print(&format!("{}: formatted for coordinator server {id}, {what}", directory.display()))
}
