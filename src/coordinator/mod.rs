//! The coordinator: an ensemble that keeps a small tree of nodes, speaks ZooKeeper's protocol, and
//! is the truth about the cluster.
//!
//! [`tree`] is the replicated state, pure; [`crate::consensus`] replicates it. The rest is the
//! shell around the two: the server decides, the storage keeps, the peers carry.

pub mod tree;

#[cfg(feature = "tokio")]
mod config;
#[cfg(feature = "tokio")]
mod entry;
#[cfg(feature = "tokio")]
mod expiry;
#[cfg(feature = "tokio")]
mod peers;
#[cfg(feature = "tokio")]
mod server;
#[cfg(feature = "tokio")]
mod storage;
#[cfg(all(test, feature = "tokio"))]
mod test_runtime;

#[cfg(feature = "tokio")]
pub use config::{Config, Member};
#[cfg(feature = "tokio")]
pub use server::{CoordinatorError, Listeners, check, format, run};
#[cfg(feature = "tokio")]
pub use storage::rebuild;
