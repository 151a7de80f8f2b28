//! The broker: serves Kafka's protocol from partition logs, replicates them, and takes its turn as
//! the controller.
//!
//! A shell: what is decided about a partition is decided by [`crate::replication`], what is decided
//! about the cluster by [`crate::controller`]. Two halves share one [`shared::Shared`]:
//!
//! - the *data plane* ([`server`], [`partitions`], the handlers of records, the fetchers) moves
//!   records between sockets and logs;
//! - the *cluster plane* ([`cluster`]) keeps the registration, runs the controller while this broker
//!   is elected, takes its metadata updates and carries proposals of leaders to it.
//!
//! Metadata flows from the cluster plane to the data plane through
//! [`partitions::Partitions::apply`], proposals the other way through [`shared::Shared::proposals`].

mod append;
mod boot;
mod checkpoint;
pub mod cluster;
mod config;
mod connection;
mod disk_logs;
mod epoch_ends;
mod errors;
mod fetch;
mod fetched;
mod fetcher;
mod join;
mod leader_hints;
mod list_offsets;
mod log_work;
mod partition;
pub mod partitions;
mod produce;
mod reading;
pub mod server;
pub mod shared;
pub mod start;
mod ticks;
mod waiters;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use join::run;
pub use partitions::Partitions;
pub use shared::{PartitionProposal, Shared};
pub use start::{BrokerError, ClusterPlane, Foundation, run_with};
