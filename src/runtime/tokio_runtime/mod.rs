//! The real world: tokio's clock, tasks and sockets, and the operating system's files.
//!
//! Promises what the traits of [`crate::runtime`] say, for one node whose files lie below one
//! directory. A process may hold several nodes, each with a handle and a directory of its own
//! (`wyrd dev` does). Planted bugs cannot be switched on here.
//!
//! Leaves to others: which nodes run, when they stop, and where logs and metrics go. This module
//! is the one place of the library that may reach the operating system; the bans of `.clippy.toml`
//! are lifted in its files, one by one and with their reasons.

mod clock;
mod disk;
mod network;
mod random;
mod tasks;

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};

use super::{Observe, Runtime};
use crate::base::event::Event;
use clock::NodeClock;
use disk::DataDirectory;
use random::RandomStreams;

pub use disk::TokioFile;
pub use network::{TokioListener, TokioReader, TokioStream, TokioWriter};
pub use tasks::TokioTask;

/// The target of events in traces: `RUST_LOG=wyrd::event=debug` shows them.
pub const EVENT_TARGET: &str = "wyrd::event";

/// A node of the real world. Clones are handles of the same node.
#[derive(Clone, Debug)]
pub struct TokioRuntime {
    node: Arc<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    executor: Handle,
    clock: NodeClock,
    disk: DataDirectory,
    random: RandomStreams,
}

impl TokioRuntime {
    /// The node `name`, as logs call it, with its files below `data_directory`, which is created
    /// if it does not exist. To be called on the executor that shall run the node's tasks (see
    /// [`run`]); fails elsewhere.
    #[allow(clippy::disallowed_methods, reason = "a node runs on the executor that it was made on")]
    pub fn new(name: impl Into<String>, data_directory: &Path) -> io::Result<Self> {
        let executor = Handle::try_current().map_err(io::Error::other)?;
        let node = Node {
            name: name.into(),
            clock: NodeClock::start(),
            disk: DataDirectory::open(data_directory)?,
            random: RandomStreams::from_entropy()?,
            executor,
        };
        Ok(TokioRuntime { node: Arc::new(node) })
    }

    /// The name that was given to [`TokioRuntime::new`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.node.name
    }
}

/// Runs `main` to its end on a multi-threaded executor, for the life of a process. Tasks that are
/// still running then are dropped; blocking work is not waited for.
pub fn run<T>(main: impl Future<Output = T>) -> io::Result<T> {
    let executor = Builder::new_multi_thread().enable_all().thread_name("wyrd").build()?;
    let output = executor.block_on(main);
    executor.shutdown_background();
    Ok(output)
}

impl Runtime for TokioRuntime {
    const PLANTS: bool = false;
}

impl Observe for TokioRuntime {
    fn observe(&self, event: impl FnOnce() -> Event) {
        if tracing::enabled!(target: EVENT_TARGET, tracing::Level::DEBUG) {
            tracing::debug!(target: EVENT_TARGET, node = %self.node.name, event = ?event());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_needs_an_executor_to_run_on() {
        let error = TokioRuntime::new("homeless", Path::new("unused")).expect_err("no executor here");
        assert_eq!(error.kind(), io::ErrorKind::Other);
    }

    #[test]
    fn plants_are_compiled_out() {
        const { assert!(!TokioRuntime::PLANTS) };
    }
}
