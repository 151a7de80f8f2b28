//! The `wyrd` command line: nouns, then verbs; one file for each.
//!
//! It promises that whatever cannot be used (a configuration, an address, a port, a directory) is
//! said in one line on standard error with exit code 2 before anything is begun, that what was
//! begun and failed ends with 1, and that results go to standard output and logs to standard
//! error. What the nodes do is theirs; this only configures, starts and stops them.

mod broker;
mod coordinator;
mod dev;
mod failure;
mod log;
mod logging;
mod node;
mod output;
mod settings;
mod stop;
mod suggestion;
mod topic;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;
use logging::LogArgs;

/// A distributed log that speaks Kafka's protocol, with a coordinator that speaks ZooKeeper's.
#[derive(Debug, Parser)]
#[command(name = "wyrd", version, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one server of the coordinator ensemble
    Coordinator(coordinator::CoordinatorArgs),
    /// Runs one broker
    Broker(broker::BrokerArgs),
    /// Runs three coordinators and three brokers in this process, without configuration
    Dev(dev::DevArgs),
    /// Creates, lists, describes and deletes topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Looks into log files
    #[command(subcommand)]
    Log(log::LogCommand),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    match execute(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("wyrd: {failure}");
            failure.exit_code()
        }
    }
}

fn execute(arguments: Arguments) -> Result<(), Failure> {
    let log = &arguments.log;
    match arguments.command {
        Command::Coordinator(args) => coordinator::execute(args, log),
        Command::Broker(args) => broker::execute(&args, log),
        Command::Dev(args) => dev::execute(&args, log),
        Command::Topic(command) => topic::execute(&command, log),
        Command::Log(command) => log::execute(&command, log),
    }
}
