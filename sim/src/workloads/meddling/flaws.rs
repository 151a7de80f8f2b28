//! What can be wrong with the znodes of a topic or of a broker: each flaw is one edit of what would be good without.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::history::meddling::PREFIX;

/// Paths and data, parents first.
pub(super) type Znodes = Vec<(Arc<str>, Bytes)>;

/// So many partitions a topic has.
const PARTITIONS: i32 = 2;
/// No broker has this number.
const STRANGER: i32 = 999_999;

/// What a topic's znodes hold; what is none is missing.
pub(super) struct Topic {
    name: String,
    assignment: Option<Value>,
    settings: Option<Value>,
    /// Of each partition.
    state: Option<Value>,
    /// What stands in place of one of them, and is no JSON.
    instead: Option<(Kind, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Assignment,
    Settings,
    State,
}

/// A topic with one thing wrong.
pub(super) struct TopicFlaw(fn(&mut Topic));

impl TopicFlaw {
    /// The topic's name and its znodes; `broker` would have its replicas.
    pub(super) fn topic(&self, name: String, broker: i32) -> (String, Znodes) {
        let mut topic = good_topic(name, broker);
        (self.0)(&mut topic);
        let Topic { name, assignment, settings, state, instead } = topic;
        let data = |kind: Kind, value: Option<Value>| {
            let text = instead.filter(|(of, _)| *of == kind).map(|(_, text)| Bytes::from_static(text.as_bytes()));
            text.or_else(|| value.map(|value| value.to_string().into()))
        };
        let mut znodes: Vec<(String, Option<Bytes>)> = vec![
            (format!("/config/topics/{name}"), data(Kind::Settings, settings)),
            (format!("/brokers/topics/{name}"), data(Kind::Assignment, assignment)),
            (format!("/brokers/topics/{name}/partitions"), Some(Bytes::new())),
        ];
        for index in 0..PARTITIONS {
            let path = format!("/brokers/topics/{name}/partitions/{index}");
            znodes.push((path.clone(), Some(Bytes::new())));
            znodes.push((format!("{path}/state"), data(Kind::State, state.clone())));
        }
        let there = znodes.into_iter().filter_map(|(path, data)| Some((path.into(), data?)));
        (name, there.collect())
    }
}

fn good_topic(name: String, broker: i32) -> Topic {
    let assignment =
        json!({"version": 3, "topic_id": "AAAAAAAAAAAAAAAAAAAAAQ", "partitions": {"0": [broker], "1": [broker]}});
    let settings = json!({"version": 1, "config": {}, "min_in_sync": 1, "durability": "synced"});
    let state = json!({
        "controller_epoch": 1, "leader": broker, "version": 1, "leader_epoch": 0, "isr": [broker],
        "isr_broker_epochs": [1], "eligible_leaders": [], "eligible_leaders_broker_epochs": [], "last_known_leader": null,
    });
    let (assignment, settings, state) = (Some(assignment), Some(settings), Some(state));
    Topic { name, assignment, settings, state, instead: None }
}

impl Topic {
    /// The broker that would lead.
    fn broker(&self) -> Value {
        self.state.as_ref().map_or(Value::Null, |state| state["leader"].clone())
    }

    /// Gives both partitions these replicas.
    fn assign(&mut self, replicas: Value) {
        put(&mut self.assignment, "partitions", json!({"0": replicas.clone(), "1": replicas}));
    }
}

fn put(json: &mut Option<Value>, key: &str, value: Value) {
    if let Some(object) = json.as_mut().and_then(Value::as_object_mut) {
        object.insert(key.to_owned(), value);
    }
}

fn take(json: &mut Option<Value>, key: &str) {
    if let Some(object) = json.as_mut().and_then(Value::as_object_mut) {
        object.remove(key);
    }
}

/// All that can be wrong with a topic.
pub(super) const TOPICS: &[TopicFlaw] = &[
    // What `/brokers/topics/T` says.
    TopicFlaw(|topic| topic.instead = Some((Kind::Assignment, ""))),
    TopicFlaw(|topic| topic.instead = Some((Kind::Assignment, "{\"version\":3,"))),
    TopicFlaw(|topic| topic.assignment = Some(json!([3]))),
    TopicFlaw(|topic| topic.assignment = Some(json!(null))),
    TopicFlaw(|topic| put(&mut topic.assignment, "version", json!(0))),
    TopicFlaw(|topic| put(&mut topic.assignment, "version", json!(2))),
    TopicFlaw(|topic| put(&mut topic.assignment, "version", json!(4))),
    TopicFlaw(|topic| put(&mut topic.assignment, "version", json!("3"))),
    TopicFlaw(|topic| take(&mut topic.assignment, "version")),
    TopicFlaw(|topic| take(&mut topic.assignment, "topic_id")),
    TopicFlaw(|topic| put(&mut topic.assignment, "topic_id", json!(""))),
    TopicFlaw(|topic| put(&mut topic.assignment, "topic_id", json!("AAAAAAAAAAAAAAAAAAAAA"))),
    TopicFlaw(|topic| put(&mut topic.assignment, "topic_id", json!("AAAAAAAAAAAAAAAAAAAAAAQ"))),
    TopicFlaw(|topic| put(&mut topic.assignment, "topic_id", json!("AAAAAAAAAAAAAAAAAAAA+Q"))),
    TopicFlaw(|topic| put(&mut topic.assignment, "topic_id", json!("AAAAAAAAAAAAAAAAAAAAAB"))),
    TopicFlaw(|topic| take(&mut topic.assignment, "partitions")),
    TopicFlaw(|topic| put(&mut topic.assignment, "partitions", json!({}))),
    TopicFlaw(|topic| put(&mut topic.assignment, "partitions", json!([[1]]))),
    TopicFlaw(|topic| {
        let replicas = json!([topic.broker()]);
        put(&mut topic.assignment, "partitions", json!({"1": replicas.clone(), "2": replicas}));
    }),
    TopicFlaw(|topic| {
        let replicas = json!([topic.broker()]);
        put(&mut topic.assignment, "partitions", json!({"0": replicas.clone(), "2": replicas}));
    }),
    TopicFlaw(|topic| {
        let replicas = json!([topic.broker()]);
        put(&mut topic.assignment, "partitions", json!({"-1": replicas.clone(), "0": replicas}));
    }),
    TopicFlaw(|topic| {
        let replicas = json!([topic.broker()]);
        put(&mut topic.assignment, "partitions", json!({"0": replicas.clone(), "one": replicas}));
    }),
    TopicFlaw(|topic| topic.assign(json!([topic.broker(), -1]))),
    TopicFlaw(|topic| topic.assign(json!([topic.broker(), topic.broker()]))),
    TopicFlaw(|topic| topic.assign(json!([topic.broker().to_string()]))),
    TopicFlaw(|topic| {
        topic.assign(json!([]));
        put(&mut topic.state, "leader", json!(-1));
        put(&mut topic.state, "isr", json!([]));
        put(&mut topic.state, "isr_broker_epochs", json!([]));
    }),
    TopicFlaw(|topic| topic.name.push_str(" ?")),
    // What `/config/topics/T` says.
    TopicFlaw(|topic| topic.settings = None),
    TopicFlaw(|topic| topic.instead = Some((Kind::Settings, "min.insync.replicas=1"))),
    TopicFlaw(|topic| topic.settings = Some(json!("synced"))),
    TopicFlaw(|topic| put(&mut topic.settings, "version", json!(0))),
    TopicFlaw(|topic| put(&mut topic.settings, "version", json!(2))),
    TopicFlaw(|topic| take(&mut topic.settings, "version")),
    TopicFlaw(|topic| put(&mut topic.settings, "min_in_sync", json!(0))),
    TopicFlaw(|topic| put(&mut topic.settings, "min_in_sync", json!(-1))),
    TopicFlaw(|topic| take(&mut topic.settings, "min_in_sync")),
    TopicFlaw(|topic| put(&mut topic.settings, "durability", json!("eventual"))),
    TopicFlaw(|topic| take(&mut topic.settings, "durability")),
    TopicFlaw(|topic| put(&mut topic.settings, "config", json!([]))),
    TopicFlaw(|topic| put(&mut topic.settings, "config", json!({"segment.bytes": 6144}))),
    TopicFlaw(|topic| take(&mut topic.settings, "config")),
    // What `/brokers/topics/T/partitions/P/state` says.
    TopicFlaw(|topic| topic.state = None),
    TopicFlaw(|topic| topic.instead = Some((Kind::State, "leader"))),
    TopicFlaw(|topic| topic.state = Some(json!([]))),
    TopicFlaw(|topic| put(&mut topic.state, "version", json!(0))),
    TopicFlaw(|topic| put(&mut topic.state, "version", json!(2))),
    TopicFlaw(|topic| take(&mut topic.state, "version")),
    TopicFlaw(|topic| take(&mut topic.state, "controller_epoch")),
    TopicFlaw(|topic| take(&mut topic.state, "leader_epoch")),
    TopicFlaw(|topic| take(&mut topic.state, "leader")),
    TopicFlaw(|topic| put(&mut topic.state, "leader", json!(null))),
    TopicFlaw(|topic| put(&mut topic.state, "leader", json!(STRANGER))),
    TopicFlaw(|topic| put(&mut topic.state, "isr", json!([STRANGER]))),
    TopicFlaw(|topic| {
        let twice = json!([topic.broker(), topic.broker()]);
        put(&mut topic.state, "isr", twice);
        put(&mut topic.state, "isr_broker_epochs", json!([1, 1]));
    }),
    TopicFlaw(|topic| put(&mut topic.state, "isr_broker_epochs", json!([]))),
    TopicFlaw(|topic| put(&mut topic.state, "eligible_leaders_broker_epochs", json!([1]))),
    TopicFlaw(|topic| {
        put(&mut topic.state, "eligible_leaders", json!([STRANGER]));
        put(&mut topic.state, "eligible_leaders_broker_epochs", json!([1]));
    }),
    // As Kafka writes it.
    TopicFlaw(|topic| {
        ["isr_broker_epochs", "eligible_leaders", "eligible_leaders_broker_epochs"]
            .iter()
            .for_each(|key| take(&mut topic.state, key));
    }),
];

/// A registration with one thing wrong.
pub(super) enum RegistrationFlaw {
    /// It holds this text.
    Text(&'static str),
    /// It is edited so.
    Edit(fn(&mut Option<Value>)),
    /// Its name, in place of the number.
    Name(fn(i64) -> String),
}

impl RegistrationFlaw {
    /// Whether what is wrong is the name.
    pub(super) fn is_named_oddly(&self) -> bool {
        matches!(self, RegistrationFlaw::Name(_))
    }

    /// The registration of broker `number`.
    pub(super) fn registration(&self, number: i64) -> Znodes {
        let mut json = Some(json!({
            "version": 5, "host": "nowhere", "port": 9092, "endpoints": ["PLAINTEXT://nowhere:9092"],
            "listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT"}, "broker_epoch": 1,
        }));
        let mut name = number.to_string();
        let data = match self {
            RegistrationFlaw::Text(text) => Bytes::from_static(text.as_bytes()),
            RegistrationFlaw::Edit(edit) => {
                edit(&mut json);
                json.map(|json| json.to_string()).unwrap_or_default().into()
            }
            RegistrationFlaw::Name(named) => {
                name = named(number);
                json.map(|json| json.to_string()).unwrap_or_default().into()
            }
        };
        vec![(format!("/brokers/ids/{name}").into(), data)]
    }
}

/// All that can be wrong with a registration.
pub(super) const REGISTRATIONS: &[RegistrationFlaw] = &[
    RegistrationFlaw::Text(""),
    RegistrationFlaw::Text("nowhere:9092"),
    RegistrationFlaw::Text("[5]"),
    RegistrationFlaw::Text("null"),
    RegistrationFlaw::Edit(|json| put(json, "version", json!(1))),
    RegistrationFlaw::Edit(|json| put(json, "version", json!(6))),
    RegistrationFlaw::Edit(|json| put(json, "version", json!(99))),
    RegistrationFlaw::Edit(|json| take(json, "version")),
    RegistrationFlaw::Edit(|json| take(json, "endpoints")),
    RegistrationFlaw::Edit(|json| put(json, "endpoints", json!([]))),
    RegistrationFlaw::Edit(|json| put(json, "endpoints", json!(["nowhere:9092"]))),
    RegistrationFlaw::Edit(|json| put(json, "endpoints", json!(["PLAINTEXT://nowhere"]))),
    RegistrationFlaw::Edit(|json| put(json, "endpoints", json!(["PLAINTEXT://nowhere:99999"]))),
    RegistrationFlaw::Edit(|json| put(json, "last_shutdown", json!("sudden"))),
    RegistrationFlaw::Name(|number| format!("{PREFIX}{number}")),
    RegistrationFlaw::Name(|number| format!("-{number}")),
    RegistrationFlaw::Name(|number| format!("+{number}")),
    RegistrationFlaw::Name(|number| format!("0{number}")),
    RegistrationFlaw::Name(|number| format!("{number}0000000")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::meddling::{FIRST_BROKER, is_foreign};
    use std::collections::BTreeSet;

    #[test]
    fn each_flaw_leaves_something_else_than_what_is_good_under_names_of_its_own() {
        let good = TopicFlaw(|_| {}).topic("foreign-1".to_owned(), 1).1;
        let topics = TOPICS.iter().map(|flaw| flaw.topic("foreign-1".to_owned(), 1).1);
        let registrations = REGISTRATIONS.iter().map(|flaw| flaw.registration(FIRST_BROKER));
        let all: Vec<Znodes> = topics.chain(registrations).collect();
        assert!(all.iter().flatten().all(|(path, _)| is_foreign(path)));
        assert!(all.iter().all(|znodes| *znodes != good));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), TOPICS.len() + REGISTRATIONS.len());
    }

    #[test]
    fn what_the_cluster_writes_itself_is_not_foreign() {
        for path in ["/brokers/ids/1", "/brokers/topics/synced", "/config/topics/churn-1-0", "/controller"] {
            assert!(!is_foreign(path), "{path}");
        }
    }
}
