//! `wyrd coordinator`: one server of the ensemble, and what goes with it.

mod config;
mod format;
mod run;
mod tree;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::logging::LogArgs;
use super::settings::Settings;

/// What to do.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct CoordinatorArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: Option<CoordinatorCommand>,
}

#[derive(Debug, Subcommand)]
enum CoordinatorCommand {
    /// Marks an empty data directory as this server's, once
    Format(format::FormatArgs),
    /// Prints the nodes of the tree that an ensemble keeps
    Tree(tree::TreeArgs),
}

/// Which server, and how it is configured.
#[derive(Args, Debug)]
struct ServerArgs {
    /// A properties file with ZooKeeper's names: dataDir, clientPort, server.N, …
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, which counts more than the file's
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Which server of the ensemble this is; otherwise `myid` says it
    #[arg(long, value_name = "N")]
    id: Option<u32>,
}

impl ServerArgs {
    fn read(&self) -> Result<config::ServerSettings, Failure> {
        let id = self.id.map(|id| format!("myid={id}"));
        let flags: Vec<String> = self.set.iter().cloned().chain(id).collect();
        if self.config.is_none() && flags.is_empty() {
            let what = "a coordinator needs a configuration: --config FILE, or --set dataDir=… and --set server.1=HOST:PEERPORT";
            return Err(Failure::unusable(what));
        }
        config::ServerSettings::from(&Settings::read(self.config.as_deref(), &flags)?)
    }
}

/// Does it.
pub(super) fn execute(args: CoordinatorArgs, log: &LogArgs) -> Result<(), Failure> {
    match args.command {
        None => run::execute(&args.server, log),
        Some(CoordinatorCommand::Format(args)) => format::execute(&args, log),
        Some(CoordinatorCommand::Tree(args)) => tree::execute(&args, log),
    }
}
