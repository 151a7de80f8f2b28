//! The clients' history: operations with invocation, completion and outcome, kept as Jepsen keeps
//! them, in a few flat vectors per run.
//!
//! An operation that timed out, was disconnected, or was answered NOT_ENOUGH_REPLICAS_AFTER_APPEND
//! is *unknown*, never failed: it may take effect at any later time. The recorder decides that
//! (see [`kafka::KafkaHistory::complete`]); the checkers believe it.

pub mod cluster;
pub mod coordinator;
pub mod effort;
pub mod kafka;
pub mod meddling;
pub mod protocol;
pub mod sessions;
pub mod subtrees;
pub mod topics;

use serde::{Deserialize, Serialize};

/// A simulated client.
pub type Client = u16;

/// The number of an operation: its index in its history.
pub type OpId = u32;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<R> {
    /// Nobody knows; it may have happened, or happen later. Also that of a pending operation.
    Unknown,
    /// It did not happen and never will.
    Failed,
    /// It happened, between invocation and completion.
    Ok(R),
}

/// One operation: `C` is what was asked, `R` what was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation<C, R> {
    /// Who asked.
    pub client: Client,
    /// When, in virtual nanoseconds.
    pub invoked_ns: u64,
    /// When the client learned the outcome; none while it has not.
    pub completed_ns: Option<u64>,
    /// What was asked.
    pub call: C,
    /// What became of it.
    pub outcome: Outcome<R>,
}

impl<C, R> Operation<C, R> {
    /// The answer, if it is known to have happened.
    #[must_use]
    pub fn reply(&self) -> Option<&R> {
        match &self.outcome {
            Outcome::Ok(reply) => Some(reply),
            Outcome::Unknown | Outcome::Failed => None,
        }
    }

    /// Its last instant: of an operation whose outcome is unknown, the end of time.
    #[must_use]
    pub fn ended_ns(&self) -> u64 {
        match self.outcome {
            Outcome::Unknown => u64::MAX,
            Outcome::Failed | Outcome::Ok(_) => self.completed_ns.unwrap_or(u64::MAX),
        }
    }
}
