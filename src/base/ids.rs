//! Identifiers and epochs. Each is a type of its own, so that a leader epoch can never be
//! compared with a broker epoch.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A broker, `broker.id` in its configuration; 0 or more.
    BrokerId(i32)
}
id! {
    /// A coordinator server within its ensemble; 1 or more.
    ServerId(u32)
}
id! {
    /// One incarnation of a broker: the zxid of the write by which it took it (KIP-631, KIP-903; decision 0006).
    BrokerEpoch(i64)
}
id! {
    /// Raised at every controller election; fences every write of an older controller.
    ControllerEpoch(i32)
}
id! {
    /// Raised at every leader election of a partition (KIP-101). -1 on the wire means none.
    LeaderEpoch(i32)
}
id! {
    /// An idempotent or transactional producer (KIP-98). -1 on the wire means none.
    ProducerId(i64)
}
id! {
    /// One incarnation of a producer id; older ones are fenced (KIP-98, KIP-360).
    ProducerEpoch(i16)
}
id! {
    /// A term of the coordinator's consensus (Raft §5.1); stays below 2^31.
    Term(u32)
}
id! {
    /// A client session of the coordinator.
    SessionId(i64)
}
id! {
    /// The position of a change in the coordinator's history: `term << 32 | counter`.
    Zxid(i64)
}

impl Zxid {
    /// The zxid with this `counter` in this `term`. The term's first no-op takes counter 0.
    #[must_use]
    pub fn new(term: Term, counter: u32) -> Self {
        Zxid((i64::from(term.0) << 32) | i64::from(counter))
    }

    /// The term in its upper half.
    #[must_use]
    pub fn term(self) -> Term {
        Term((self.0 >> 32) as u32)
    }

    /// The counter in its lower half.
    #[must_use]
    pub fn counter(self) -> u32 {
        self.0 as u32
    }
}

/// The 16 bytes that name a topic for ever, whatever is later created under its name (KIP-516).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// The id that stands for "none" on the wire.
    pub const ZERO: TopicId = TopicId([0; 16]);
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A partition by topic name and index. Cloning does not copy the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_orders_by_term_before_counter() {
        let early = Zxid::new(Term(1), u32::MAX);
        let late = Zxid::new(Term(2), 0);
        assert!(early < late);
        assert_eq!((early.term(), early.counter()), (Term(1), u32::MAX));
    }
}
