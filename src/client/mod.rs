//! Clients that nodes and workloads use.

pub mod coordinator;
