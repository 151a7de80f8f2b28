//! Whom a fault hits, by what a node *is* at that instant: `leader(t-0)`, `follower(t-0, 1)`,
//! `controller`, `coordinator-leader`, `broker(2)`, `coordinator(1)`, `client(3)`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wyrdlog::base::ids::TopicPartition;

/// A node, named by its part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// The latest leader of the partition.
    Leader(TopicPartition),
    /// The replica that follows, by its place among the followers, from 0.
    Follower(TopicPartition, u32),
    /// The broker that is the controller.
    Controller,
    /// The coordinator server that leads.
    CoordinatorLeader,
    /// A broker by its id.
    Broker(i32),
    /// A coordinator server by its id.
    Coordinator(u32),
    /// A client by its number.
    Client(u16),
}

/// A text that names no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no target: write leader(TOPIC-PARTITION), follower(TOPIC-PARTITION, N), controller, coordinator-leader, broker(ID), coordinator(ID) or client(N)"
)]
pub struct BadTarget(pub String);

/// The partition that `text` names, such as `t-0`.
#[must_use]
pub fn parse_partition(text: &str) -> Option<TopicPartition> {
    let (topic, partition) = text.rsplit_once('-')?;
    let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
    (!topic.is_empty()).then(|| TopicPartition::new(topic, partition))
}

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let bad = || BadTarget(text.to_owned());
        let Some((name, rest)) = text.split_once('(') else {
            return match text {
                "controller" => Ok(Target::Controller),
                "coordinator-leader" => Ok(Target::CoordinatorLeader),
                _ => Err(bad()),
            };
        };
        let inside = rest.strip_suffix(')').ok_or_else(bad)?.trim();
        let target = match name {
            "leader" => parse_partition(inside).map(Target::Leader),
            "follower" => inside.split_once(',').and_then(|(partition, place)| {
                Some(Target::Follower(parse_partition(partition.trim())?, place.trim().parse().ok()?))
            }),
            "broker" => inside.parse().ok().map(Target::Broker),
            "coordinator" => inside.parse().ok().map(Target::Coordinator),
            "client" => inside.parse().ok().map(Target::Client),
            _ => None,
        };
        target.ok_or_else(bad)
    }
}

impl TryFrom<String> for Target {
    type Error = BadTarget;

    fn try_from(text: String) -> Result<Self, BadTarget> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Leader(partition) => write!(f, "leader({partition})"),
            Target::Follower(partition, place) => write!(f, "follower({partition}, {place})"),
            Target::Controller => f.write_str("controller"),
            Target::CoordinatorLeader => f.write_str("coordinator-leader"),
            Target::Broker(id) => write!(f, "broker({id})"),
            Target::Coordinator(id) => write!(f, "coordinator({id})"),
            Target::Client(number) => write!(f, "client({number})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_prints_as_it_is_read() {
        let texts = [
            "leader(t-0)",
            "follower(my-topic-12, 1)",
            "controller",
            "coordinator-leader",
            "broker(2)",
            "coordinator(1)",
            "client(3)",
        ];
        for text in texts {
            assert_eq!(text.parse::<Target>().map(|target| target.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_remedy() {
        for text in ["", "leader", "leader(t)", "leader(t-0", "follower(t-0)", "broker(x)", "boss", "leader(-0)"] {
            let error = text.parse::<Target>().expect_err(text).to_string();
            assert!(error.contains("coordinator-leader"), "{error}");
        }
    }
}
