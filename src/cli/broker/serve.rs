//! The one place where the command line starts a broker.

use crate::broker::{self, Config};
use crate::cli::failure::Failure;
use crate::runtime::tokio_runtime::TokioRuntime;
use crate::runtime::{Network, watch};

/// Runs a broker until `stop` becomes true or it fails.
pub(in crate::cli) async fn serve(
    runtime: TokioRuntime,
    config: Config,
    listener: <TokioRuntime as Network>::Listener,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let id = config.id;
    broker::run(runtime, config, listener, stop).await.map_err(|error| Failure::failed(format!("broker {id}: {error}")))
}
