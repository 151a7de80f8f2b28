//! What brokers told clients that write what nobody can read to where brokers and topics are registered.

use std::collections::BTreeSet;

use wyrdlog::base::ids::BrokerId;
use wyrdlog::wire::kafka::ErrorCode;

use super::Client;

/// The names of their topics, and of registrations without a number, begin so.
pub const PREFIX: &str = "foreign-";
/// The numbers of brokers that they register begin here.
pub const FIRST_BROKER: i64 = 1_000_000;

/// Whether only such a client writes `path`.
#[must_use]
pub fn is_foreign(path: &str) -> bool {
    let topic = ["/brokers/topics/", "/config/topics/"].iter().find_map(|parent| path.strip_prefix(parent));
    let broker = path.strip_prefix("/brokers/ids/");
    let has_number = |name: &str| name.parse::<i64>().is_ok_and(|number| number.abs() >= FIRST_BROKER);
    topic.or(broker).is_some_and(|name| name.starts_with(PREFIX)) || broker.is_some_and(has_number)
}

/// A topic, as a broker tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldTopic {
    /// Its name.
    pub name: String,
    /// The error's code.
    pub error: i16,
    /// How many partitions it is said to have.
    pub partitions: usize,
}

/// What a broker told of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The topics.
    pub topics: Vec<ToldTopic>,
    /// The brokers.
    pub brokers: Vec<BrokerId>,
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Who asked.
    pub client: Client,
    /// Whom.
    pub broker: BrokerId,
    /// For which topic; for all if none.
    pub topic: Option<String>,
    /// When, in virtual nanoseconds.
    pub asked_ns: u64,
    /// When the answer came.
    pub told_ns: u64,
    /// The answer.
    pub told: Told,
}

/// What was asked about a topic that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To create one of that name.
    Creation,
    /// To delete it.
    Deletion,
}

/// A change that was asked for while what stands in its way was there all the time, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who asked.
    pub client: Client,
    /// For what.
    pub wish: Wish,
    /// Of which topic.
    pub topic: String,
    /// When, in virtual nanoseconds.
    pub asked_ns: u64,
    /// When the answer came.
    pub told_ns: u64,
    /// The answer.
    pub answer: ErrorCode,
}

/// See the module's doc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeddlingHistory {
    /// The cluster's brokers.
    pub brokers: BTreeSet<BrokerId>,
    /// What was asked and answered.
    pub looks: Vec<Look>,
    /// What was asked for and answered.
    pub changes: Vec<Change>,
}
