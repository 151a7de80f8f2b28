//! `wyrd coordinator --config FILE`: runs a server until it is told to stop.

use super::ServerArgs;
use super::config::ServerSettings;
use crate::base::address::Address;
use crate::cli::failure::Failure;
use crate::cli::logging::LogArgs;
use crate::cli::{node, stop};
use crate::coordinator::{self, CoordinatorError, Listeners};
use crate::runtime::tokio_runtime::TokioRuntime;
use crate::runtime::{Listener, Network};

const NOT_FORMATTED: &str =
    "run `wyrd coordinator format` with the same configuration, once, when the ensemble is made";

/// Runs a server.
pub(super) fn execute(args: &ServerArgs, log: &LogArgs) -> Result<(), Failure> {
    log.start("info")?;
    let settings = args.read()?;
    node::block_on(serve(settings))
}

async fn serve(settings: ServerSettings) -> Result<(), Failure> {
    let ServerSettings { config, data_directory, peer_bind, client_bind } = settings;
    let runtime = node::open(format!("coordinator-{}", config.id), &data_directory, Some(NOT_FORMATTED))?;
    coordinator::check(&runtime, config.id).await.map_err(|error| failure(&data_directory, &error))?;
    let peers = listen(&runtime, "other servers", &peer_bind).await?;
    let clients = listen(&runtime, "clients", &client_bind).await?;
    let stop = stop::on_signal(&runtime)?;
    tracing::info!(server = %config.id, peers = %peers.local_address(), clients = %clients.local_address(), "starting");
    let ended = coordinator::run(runtime, config, Listeners { peers, clients }, stop).await;
    ended.map_err(|error| failure(&data_directory, &error))?;
    tracing::info!("stopped");
    Ok(())
}

async fn listen(
    runtime: &TokioRuntime,
    whom: &str,
    address: &Address,
) -> Result<<TokioRuntime as Network>::Listener, Failure> {
    let busy = |error| Failure::unusable(format!("cannot listen on {address} for {whom}: {error}"));
    runtime.listen(address).await.map_err(busy)
}

/// What a server says about its directory, with the directory.
pub(super) fn failure(data_directory: &std::path::Path, error: &CoordinatorError) -> Failure {
    let line = format!("{}: {error}", data_directory.display());
    match error {
        CoordinatorError::Fault(_) | CoordinatorError::Entry { .. } => Failure::failed(error),
        CoordinatorError::Listen { .. } | CoordinatorError::NotAMember(_) => Failure::unusable(error),
        _ => Failure::unusable(line),
    }
}
