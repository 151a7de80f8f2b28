//! Clients: of brokers, over Kafka's protocol.
//!
//! [`Cluster`] knows where brokers and leaders are and keeps one pipelined [`Connection`] to each;
//! [`Producer`], [`Consumer`] and [`Admin`] share one. All are generic over the runtime, so that
//! brokers use them among themselves and simulated workloads use the very code that users do.
//!
//! What they promise above all is to be exact about what they do not know: an operation that may
//! have taken effect is *unknown*, never failed.

pub mod accumulator;
pub mod admin;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod consumer;
pub mod coordinator;
mod fetches;
mod lane;
pub mod metadata;
pub mod producer;
mod refusals;
pub mod subscription;

pub use admin::{Admin, NewTopic};
pub use cluster::Cluster;
pub use config::{Acks, ClientConfig, ConsumerConfig, Isolation, ProducerConfig};
pub use connection::{Connection, Reply, RequestFailed};
pub use consumer::{ConsumedRecord, Consumer, Polled, Problem};
pub use metadata::ClusterView;
pub use producer::{Delivery, Outcome, Producer};
