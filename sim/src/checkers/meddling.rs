//! *answers_by_protocol*, where somebody else writes to the coordinator's tree too: what no broker can read is no
//! topic and no broker to anybody.
//!
//! Nobody creates a topic of a name that belongs to those who meddle, and each of theirs has something wrong with it
//! (`workloads/meddling/flaws.rs`): at no time is there one. Its name is taken all the same: who asks to create it is told
//! that it exists, and who asks to delete it that there is none. In a stretch that faults disturb there may be no
//! controller, or no broker to give replicas to. That everything else goes on is every other checker's.

use wyrdlog::wire::kafka::ErrorCode;

use super::topics::Disturbed;
use crate::history::cluster::ClusterHistory;
use crate::history::meddling::{Change, Look, MeddlingHistory, PREFIX, Wish};
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

/// Judges every answer.
#[must_use]
pub fn check(history: &MeddlingHistory, met: &ClusterHistory) -> Findings {
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
    let disturbed = Disturbed::of(met);
    for (ordinal, change) in (0_u64..).zip(&history.changes) {
        let is_disturbed = disturbed.since(change.asked_ns, change.told_ns).is_some();
        findings.check(is_legal(change, is_disturbed), change.told_ns, [ordinal], || {
            let Change { client, wish, topic, answer, .. } = change;
            let (asked, answer) = (seconds(change.asked_ns), answer.name());
            let disturbed = if is_disturbed { "something" } else { "nothing" };
            format!(
                "client {client} asked at {asked} for the {wish:?} of {topic}, whose znodes cannot be understood, while {disturbed} disturbed the cluster: the answer was {answer}"
            )
        });
    }
    findings
}

fn is_legal(change: &Change, is_disturbed: bool) -> bool {
    let due = match change.wish {
        Wish::Creation if is_no_name(&change.topic) => ErrorCode::InvalidTopic,
        Wish::Creation => ErrorCode::TopicAlreadyExists,
        Wish::Deletion => ErrorCode::UnknownTopicOrPartition,
    };
    let excused = [ErrorCode::NotController, ErrorCode::InvalidReplicationFactor];
    change.answer == due || is_disturbed && excused.contains(&change.answer)
}

/// Whether a topic may not be called so.
fn is_no_name(topic: &str) -> bool {
    topic.contains(' ')
}

fn judge(history: &MeddlingHistory, look: &Look) -> Result<(), String> {
    if let Some(strange) = look.told.brokers.iter().find(|broker| !history.brokers.contains(broker)) {
        return Err(format!("{strange} is told to be a broker, and what registers it cannot be understood"));
    }
    let Some(asked) = &look.topic else {
        let foreign = look.told.topics.iter().find(|topic| topic.name.starts_with(PREFIX));
        return foreign.map_or(Ok(()), |topic| Err(format!("{topic:?} is told of, whose znodes cannot be understood")));
    };
    let code = if is_no_name(asked) { ErrorCode::InvalidTopic } else { ErrorCode::UnknownTopicOrPartition };
    match look.told.topics.as_slice() {
        [topic] if topic.name == *asked && topic.error == code.to_wire() && topic.partitions == 0 => Ok(()),
        told => Err(format!("{told:?} is told of a topic whose znodes cannot be understood")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::meddling::{Told, ToldTopic};
    use wyrdlog::base::ids::BrokerId;

    const UNKNOWN: i16 = 3;
    const INVALID: i16 = 17;

    fn topic(name: &str, error: i16, partitions: usize) -> ToldTopic {
        ToldTopic { name: name.to_owned(), error, partitions }
    }

    fn violated(asked: Option<&str>, topics: Vec<ToldTopic>, brokers: &[i32]) -> u64 {
        let told = Told { topics, brokers: brokers.iter().copied().map(BrokerId).collect() };
        let topic = asked.map(str::to_owned);
        let look = Look { client: 4, broker: BrokerId(1), topic, asked_ns: 1, told_ns: 2, told };
        let (brokers, looks) = ([1, 2].map(BrokerId).into(), vec![look]);
        let findings = check(&MeddlingHistory { brokers, looks, changes: vec![] }, &ClusterHistory::default());
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
    fn a_name_is_taken_by_what_cannot_be_read_and_there_is_nothing_to_delete() {
        let legal = |wish, topic: &str, answer, is_disturbed| {
            let topic = topic.to_owned();
            is_legal(&Change { client: 4, wish, topic, asked_ns: 1, told_ns: 2, answer }, is_disturbed)
        };
        assert!(legal(Wish::Creation, "foreign-1", ErrorCode::TopicAlreadyExists, false));
        assert!(legal(Wish::Creation, "foreign-1 ?", ErrorCode::InvalidTopic, false));
        assert!(legal(Wish::Deletion, "foreign-1", ErrorCode::UnknownTopicOrPartition, false));
        assert!(legal(Wish::Creation, "foreign-1", ErrorCode::NotController, true));
        assert!(!legal(Wish::Creation, "foreign-1", ErrorCode::NotController, false));
        assert!(!legal(Wish::Creation, "foreign-1", ErrorCode::None, true));
        assert!(!legal(Wish::Deletion, "foreign-1", ErrorCode::None, true));
        assert!(!legal(Wish::Deletion, "foreign-1", ErrorCode::TopicAlreadyExists, false));
    }

    #[test]
    fn a_change_is_judged_by_what_disturbed_the_cluster_meanwhile() {
        let (asked_ns, told_ns, topic) = (50, 60, "foreign-1".to_owned());
        let change =
            |answer| Change { client: 4, wish: Wish::Creation, topic: topic.clone(), asked_ns, told_ns, answer };
        let violated = |answer, met: &ClusterHistory| {
            check(&MeddlingHistory { changes: vec![change(answer)], ..MeddlingHistory::default() }, met).violated
        };
        let calm = ClusterHistory { first_led_ns: Some(1), ..ClusterHistory::default() };
        assert_eq!(violated(ErrorCode::TopicAlreadyExists, &calm), 0);
        assert_eq!(violated(ErrorCode::NotController, &calm), 1);
        assert_eq!(violated(ErrorCode::NotController, &ClusterHistory::default()), 0, "it was never formed");
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
