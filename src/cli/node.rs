//! A process's node: its data directory, checked and locked before anything else happens to it.

use std::future::Future;
use std::path::Path;

use super::failure::Failure;
use crate::runtime::Disk;
use crate::runtime::tokio_runtime::{TokioRuntime, run};

/// Runs a command's future to its end on an executor of its own.
pub(super) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run(command).map_err(|error| Failure::failed(format!("cannot start: {error}")))?
}

/// The node `name` in `directory`, which is locked for this process. `missing` says what to do
/// where there is no such directory; where that is nothing, it is made.
#[allow(clippy::disallowed_methods, reason = "whether there is a directory is asked before there is a node")]
pub(super) fn open(name: impl Into<String>, directory: &Path, missing: Option<&str>) -> Result<TokioRuntime, Failure> {
    let place = directory.display();
    match std::fs::metadata(directory) {
        Ok(found) if !found.is_dir() => return Err(Failure::unusable(format!("{place}: is no directory"))),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if let Some(remedy) = missing {
                return Err(Failure::unusable(format!("{place}: the data directory does not exist: {remedy}")));
            }
        }
        Err(error) => return Err(Failure::unusable(format!("{place}: {error}"))),
    }
    let runtime =
        TokioRuntime::new(name, directory).map_err(|error| Failure::unusable(format!("cannot use {error}")))?;
    runtime.lock().map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Failure::unusable(format!(
            "{place}: another process uses this data directory: stop that one, or choose another directory"
        )),
        _ => Failure::unusable(format!("{place}: {error}")),
    })?;
    Ok(runtime)
}

/// A node for a client, which uses no disk.
pub(super) fn client() -> Result<TokioRuntime, Failure> {
    TokioRuntime::new("client", &std::env::temp_dir())
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))
}
