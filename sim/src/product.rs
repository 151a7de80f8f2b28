//! The product's processes, as the simulator starts them: the one place that knows how a
//! coordinator server or a broker is run.
//!
//! Both end with a reason where they fail, so that a run can tell an orderly stop from one that
//! the node decided on by itself.

use std::path::Path;

use wyrdlog::base::ids::ServerId;
use wyrdlog::broker;
use wyrdlog::coordinator::{self, Listeners};
use wyrdlog::runtime::{Disk, Network, OpenMode, watch};

use crate::engine::SimRuntime;

/// How a process ended.
pub type Ended = Result<(), String>;

/// What a server's empty directory is formatted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directory {
    /// A member's, when the ensemble is made.
    New,
    /// That of a server that lost its disk: it catches up and serves, and never votes.
    Replacement,
}

/// Runs a coordinator server until `stop` becomes true or it fails.
pub async fn coordinator(
    runtime: SimRuntime,
    config: coordinator::Config,
    directory: Directory,
    stop: watch::Receiver<bool>,
) -> Ended {
    format_if_empty(&runtime, config.id, directory).await?;
    let listeners = Listeners::bind(&runtime, &config).await.map_err(|error| error.to_string())?;
    coordinator::run(runtime, config, listeners, stop).await.map_err(|error| error.to_string())
}

/// Runs a broker until `stop` becomes true or it fails.
pub async fn broker(runtime: SimRuntime, config: broker::Config, stop: watch::Receiver<bool>) -> Ended {
    let listener = runtime.listen(&config.listen_address).await.map_err(|error| error.to_string())?;
    broker::run(runtime, config, listener, stop).await.map_err(|error| error.to_string())
}

/// What an operator does once, before the first start.
async fn format_if_empty(runtime: &SimRuntime, server: ServerId, directory: Directory) -> Ended {
    if runtime.open(Path::new("format"), OpenMode::Read).is_ok() {
        return Ok(());
    }
    let replacement = directory == Directory::Replacement;
    coordinator::format(runtime, server, replacement).await.map_err(|error| error.to_string())
}
