//! A graceful stop: what SIGTERM and SIGINT ask for.

use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use crate::runtime::tokio_runtime::TokioRuntime;
use crate::runtime::{Either, Task, Tasks, select, watch};

/// A flag that is raised by the first SIGTERM or SIGINT. From then on a second one ends the
/// process at once, as if nobody listened.
pub(super) fn on_signal(runtime: &TokioRuntime) -> Result<watch::Receiver<bool>, Failure> {
    let unable = |error| Failure::failed(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(unable)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unable)?;
    let (raise, stop) = watch::channel(false);
    let listen = async move {
        select(terminate.recv(), interrupt.recv()).await;
        tracing::info!("stopping");
        // Those who waited may have stopped for a reason of their own.
        raise.send_replace(true);
        let which = select(terminate.recv(), interrupt.recv()).await;
        let signal = if matches!(which, Either::First(_)) { 15 } else { 2 };
        tracing::warn!("stopping at once");
        std::process::exit(128 + signal);
    };
    runtime.spawn("signals", listen).detach();
    Ok(stop)
}
