//! Wyrd: a Kafka-compatible replicated log and a ZooKeeper-compatible coordinator.
//!
//! The same code runs as a real cluster on tokio and inside a seeded simulator. See
//! `docs/ARCHITECTURE.md` for the layers, the code map and the invariants.

pub mod base;
#[cfg(feature = "tokio")]
pub mod broker;
#[cfg(feature = "tokio")]
pub mod cli;
#[cfg(feature = "tokio")]
pub mod client;
pub mod consensus;
pub mod controller;
pub mod coordinator;
#[cfg(feature = "tokio")]
pub mod log;
pub mod producer_state;
pub mod replication;
#[cfg(feature = "tokio")]
pub mod runtime;
pub mod wire;
