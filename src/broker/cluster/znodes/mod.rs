//! The znodes that brokers share, one file per kind: path, JSON, and nothing else.
//!
//! Paths and fields are those of Apache Kafka's ZooKeeper mode, so that its tools read what we
//! write. What it does not know (incarnations of in-sync members, eligible leaders, what a broker's
//! last shutdown left) stands in further fields, which its parsers pass over, as ours pass over
//! fields that they do not know. Bytes that are not what they should be are a [`BadZnode`].

pub mod broker;
pub mod broker_epoch;
pub mod cluster_id;
pub mod controller;
pub mod partition_state;
pub mod producer_ids;
pub mod topic;
pub mod topic_config;

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The parents that every broker makes sure of before it registers, parents first.
pub const PARENTS: [&str; 8] = [
    "/brokers",
    broker::PARENT,
    broker_epoch::PARENT,
    topic::PARENT,
    SEQUENCE,
    "/config",
    topic_config::PARENT,
    "/cluster",
];

/// The znode whose version counts, as Kafka's brokers do for generated ids. Its data stays empty.
pub const SEQUENCE: &str = "/brokers/seqid";

/// A znode whose data is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data of znode {path} cannot be understood: {reason}")]
pub struct BadZnode {
    /// Which.
    pub path: Arc<str>,
    /// What is wrong with it.
    pub reason: String,
}

impl BadZnode {
    fn new(path: &str, reason: impl ToString) -> Self {
        BadZnode { path: path.into(), reason: reason.to_string() }
    }

    /// There is none at `path`, where one belongs.
    #[must_use]
    pub fn missing(path: &str) -> Self {
        BadZnode::new(path, "it is missing")
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("our structs have text keys and no floats").into()
}

fn from_json<T: DeserializeOwned>(path: &str, data: &[u8]) -> Result<T, BadZnode> {
    serde_json::from_slice(data).map_err(|error| BadZnode::new(path, error))
}

/// `{"version":1,…}`, the version that every znode's JSON begins with, checked.
fn check_version(path: &str, found: i32, known: std::ops::RangeInclusive<i32>) -> Result<(), BadZnode> {
    if known.contains(&found) { Ok(()) } else { Err(BadZnode::new(path, format!("unknown version {found}"))) }
}
