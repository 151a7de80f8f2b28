//! `wyrd dev`: three coordinators and three brokers in one process, without configuration.
//!
//! The directory is the cluster: its ports are kept there, and a second start goes on where the
//! first one ended. Every node has its own runtime, directory and lock, as if it were a process.

mod cluster;
mod layout;

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::logging::LogArgs;
use super::{node, output, stop};
use cluster::DevCluster;

/// Where it lies.
#[derive(Args, Debug)]
pub(super) struct DevArgs {
    /// Where the cluster lies; made if it does not exist
    #[arg(long, value_name = "DIR", default_value = "wyrd-data")]
    data_dir: PathBuf,
}

/// Runs the cluster until it is told to stop or one of its nodes fails.
pub(super) fn execute(args: &DevArgs, log: &LogArgs) -> Result<(), Failure> {
    log.start("warn")?;
    node::block_on(async {
        let runtime = node::open("dev", &args.data_dir, None)?;
        let stop = stop::on_signal(&runtime)?;
        let mut cluster = DevCluster::start(&runtime, &args.data_dir).await?;
        if cluster.ready(&runtime, stop.clone()).await? {
            output::print(&greeting(&cluster, args))?;
        }
        cluster.serve(stop).await
    })
}

fn greeting(cluster: &DevCluster, args: &DevArgs) -> String {
    let list = |addresses: Vec<_>| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let (brokers, coordinators) = (list(cluster.brokers()), list(cluster.coordinators()));
    let one = brokers.split(',').next().unwrap_or_default();
    let directory = args.data_dir.display();
    format!(
        "Three coordinators and three brokers are running; their data is in {directory}.

  bootstrap     {brokers}
  coordinators  {coordinators}

  echo hello | kcat -b {one} -t greetings -P
  kcat -b {one} -t greetings -C -e

Topics are created when they are first used, with three replicas of which two must have a record
before it is acknowledged. Ctrl-C stops; the same directory starts the same cluster again.
"
    )
}
