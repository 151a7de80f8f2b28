//! The product's processes, as the simulator starts them: the one place that knows how a
//! coordinator server or a broker is run.
//!
//! Both end with a reason where they fail, so that a run can tell an orderly stop from one that
//! the node decided on by itself.

use std::path::Path;

use wyrdlog::base::ids::ServerId;
use wyrdlog::base::stop_cause::StopCause;
use wyrdlog::broker;
use wyrdlog::coordinator::{self, Listeners};
use wyrdlog::runtime::{Disk, Network, OpenMode, watch};

use crate::engine::SimRuntime;

/// How a process ended.
pub type Ended = Result<(), Stop>;

/// Why a process stopped by itself, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// As a type.
    pub cause: StopCause,
    /// In words.
    pub reason: String,
}

impl Stop {
    fn other(error: impl ToString) -> Self {
        Stop { cause: StopCause::Other, reason: error.to_string() }
    }
}

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
    let listeners = Listeners::bind(&runtime, &config).await.map_err(Stop::other)?;
    let ended = coordinator::run(runtime, config, listeners, stop).await;
    ended.map_err(|error| Stop { cause: error.stop_cause(), reason: error.to_string() })
}

/// Runs a broker until `stop` becomes true or it fails.
pub async fn broker(runtime: SimRuntime, config: broker::Config, stop: watch::Receiver<bool>) -> Ended {
    let listener = runtime.listen(&config.listen_address).await.map_err(Stop::other)?;
    let ended = broker::run(runtime, config, listener, stop).await;
    ended.map_err(|error| Stop { cause: error.stop_cause(), reason: error.to_string() })
}

/// What an operator does once, before the first start.
async fn format_if_empty(runtime: &SimRuntime, server: ServerId, directory: Directory) -> Ended {
    if runtime.open(Path::new("format"), OpenMode::Read).is_ok() {
        return Ok(());
    }
    let replacement = directory == Directory::Replacement;
    let formatted = coordinator::format(runtime, server, replacement).await;
    formatted.map_err(|error| Stop { cause: error.stop_cause(), reason: error.to_string() })
}
