//! The one place where the command line starts a broker.

use tokio::sync::watch;

use crate::broker::Config;
use crate::cli::failure::Failure;
use crate::runtime::Network;
use crate::runtime::tokio_runtime::TokioRuntime;

/// Runs a broker until `stop` becomes true or it fails.
pub(in crate::cli) async fn serve(
    _runtime: TokioRuntime,
    config: Config,
    _listener: <TokioRuntime as Network>::Listener,
    _stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    Err(Failure::failed(format!("broker {}: this build has no broker yet", config.id)))
}
