//! *answers_by_protocol*, where somebody else writes to the coordinator's tree too: what no broker can read is no
//! topic and no broker to anybody.
//!
//! Nobody creates a topic of a name that belongs to those who meddle, and each of theirs has something wrong with it
//! (`workloads/meddling/flaws.rs`): at no time is there one. That everything else goes on is every other checker's.

use crate::history::meddling::{Look, MeddlingHistory, PREFIX};
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

/// UNKNOWN_TOPIC_OR_PARTITION.
const UNKNOWN: i16 = 3;
/// INVALID_TOPIC_EXCEPTION.
const INVALID: i16 = 17;

/// Judges every answer.
#[must_use]
pub fn check(history: &MeddlingHistory) -> Findings {
    let mut findings = Findings::new(Property::AnswersByProtocol);
    for (ordinal, look) in (0_u64..).zip(&history.looks) {
        let judged = judge(history, look);
        findings.check(judged.is_ok(), look.told_ns, [ordinal], || {
            let what = judged.err().unwrap_or_default();
            let asked_for = look.topic.as_deref().unwrap_or("all topics");
            let (client, broker, asked) = (look.client, look.broker, seconds(look.asked_ns));
            format!("broker {broker}, asked by client {client} at {asked} for {asked_for}: {what}")
        });
    }
    findings
}

fn judge(history: &MeddlingHistory, look: &Look) -> Result<(), String> {
    if let Some(strange) = look.told.brokers.iter().find(|broker| !history.brokers.contains(broker)) {
        return Err(format!("{strange} is told to be a broker, and what registers it cannot be understood"));
    }
    let Some(asked) = &look.topic else {
        let foreign = look.told.topics.iter().find(|topic| topic.name.starts_with(PREFIX));
        return foreign.map_or(Ok(()), |topic| Err(format!("{topic:?} is told of, whose znodes cannot be understood")));
    };
    let code = if asked.contains(' ') { INVALID } else { UNKNOWN };
    match look.told.topics.as_slice() {
        [topic] if topic.name == *asked && topic.error == code && topic.partitions == 0 => Ok(()),
        told => Err(format!("{told:?} is told of a topic whose znodes cannot be understood")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::meddling::{Told, ToldTopic};
    use wyrdlog::base::ids::BrokerId;

    fn topic(name: &str, error: i16, partitions: usize) -> ToldTopic {
        ToldTopic { name: name.to_owned(), error, partitions }
    }

    fn violated(asked: Option<&str>, topics: Vec<ToldTopic>, brokers: &[i32]) -> u64 {
        let told = Told { topics, brokers: brokers.iter().copied().map(BrokerId).collect() };
        let topic = asked.map(str::to_owned);
        let look = Look { client: 4, broker: BrokerId(1), topic, asked_ns: 1, told_ns: 2, told };
        let findings = check(&MeddlingHistory { brokers: [1, 2].map(BrokerId).into(), looks: vec![look] });
        assert_eq!(findings.evaluations, 1);
        findings.violated
    }

    #[test]
    fn who_is_told_of_the_clusters_own_alone_is_content() {
        assert_eq!(violated(None, vec![topic("t", 0, 3)], &[1, 2]), 0);
        assert_eq!(violated(Some("foreign-1"), vec![topic("foreign-1", UNKNOWN, 0)], &[2]), 0);
        assert_eq!(violated(Some("foreign-1 ?"), vec![topic("foreign-1 ?", INVALID, 0)], &[2]), 0);
        assert_eq!(violated(None, vec![], &[]), 0);
    }

    #[test]
    fn a_topic_or_a_broker_that_nobody_can_read_is_rejected() {
        assert_eq!(violated(None, vec![topic("t", 0, 3), topic("foreign-1", 0, 1)], &[1]), 1);
        assert_eq!(violated(None, vec![topic("foreign-1", 5, 0)], &[1]), 1, "not even with an error");
        assert_eq!(violated(Some("foreign-1"), vec![topic("foreign-1", 0, 1)], &[1]), 1);
        assert_eq!(violated(Some("foreign-1"), vec![topic("foreign-1", UNKNOWN, 1)], &[1]), 1);
        assert_eq!(violated(Some("foreign-1"), vec![], &[1]), 1, "nothing is no answer");
        assert_eq!(violated(None, vec![topic("t", 0, 3)], &[1, 1_000_007]), 1);
    }
}
