//! `/config/topics/T`: a topic's settings.
//!
//! Kafka's `config` holds the overrides. What replication goes by is resolved once, when the topic
//! is made, and stands beside it: a controller with other defaults must not come to another
//! conclusion about who is eligible.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadZnode, check_version, from_json, to_json};
use crate::base::partition_state::Durability;
use crate::controller::metadata::TopicSettings;

/// The parent of all topics' settings.
pub const PARENT: &str = "/config/topics";

const VERSION: i32 = 1;

/// The path of topic `topic`.
#[must_use]
pub fn path(topic: &str) -> String {
    format!("{PARENT}/{topic}")
}

#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    config: BTreeMap<Arc<str>, Arc<str>>,
    min_in_sync: usize,
    durability: Durability,
}

/// The data of `settings`.
#[must_use]
pub fn encode(settings: &TopicSettings) -> Bytes {
    let TopicSettings { min_in_sync, durability, configs } = settings.clone();
    to_json(&Json { version: VERSION, config: configs, min_in_sync, durability })
}

/// The settings of topic `topic`.
pub fn decode(topic: &str, data: &[u8]) -> Result<TopicSettings, BadZnode> {
    let path = path(topic);
    let json: Json = from_json(&path, data)?;
    check_version(&path, json.version, VERSION..=VERSION)?;
    if json.min_in_sync == 0 {
        return Err(BadZnode::new(&path, "min_in_sync is at least 1"));
    }
    Ok(TopicSettings { min_in_sync: json.min_in_sync, durability: json.durability, configs: json.config })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_look_as_kafkas_do_and_read_back() {
        let configs = BTreeMap::from([("flush.messages".into(), "1".into())]);
        let settings = TopicSettings { min_in_sync: 2, durability: Durability::Synced, configs };
        let data = encode(&settings);
        let text = r#"{"version":1,"config":{"flush.messages":"1"},"min_in_sync":2,"durability":"synced"}"#;
        assert_eq!(std::str::from_utf8(&data).expect("text"), text);
        assert_eq!(decode("t", &data), Ok(settings));
        assert_eq!(&*decode("t", b"{}").expect_err("bad").path, "/config/topics/t");
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert!(decode("t", newer.as_bytes()).is_err(), "what a newer program wrote is not guessed at");
    }

    #[test]
    fn a_topic_that_asks_for_nobody_in_sync_is_refused() {
        let settings = TopicSettings { min_in_sync: 0, durability: Durability::Synced, configs: BTreeMap::new() };
        assert_eq!(&*decode("t", &encode(&settings)).expect_err("bad").path, "/config/topics/t");
    }
}
