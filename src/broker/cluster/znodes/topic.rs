//! `/brokers/topics/T`: a topic's id and the replicas of its partitions.
//!
//! Version 3 of Kafka's JSON: the id as Kafka prints ids, 22 characters of URL-safe base 64.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadZnode, check_version, from_json, to_json};
use crate::base::ids::{BrokerId, TopicId};

/// The parent of all topics.
pub const PARENT: &str = "/brokers/topics";

const VERSION: i32 = 3;

/// The path of topic `topic`.
#[must_use]
pub fn path(topic: &str) -> String {
    format!("{PARENT}/{topic}")
}

/// A topic's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// The replicas by partition, the preferred leader first.
    pub replicas: Vec<Vec<BrokerId>>,
}

#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    topic_id: String,
    partitions: BTreeMap<i32, Vec<BrokerId>>,
    #[serde(default)]
    adding_replicas: BTreeMap<i32, Vec<BrokerId>>,
    #[serde(default)]
    removing_replicas: BTreeMap<i32, Vec<BrokerId>>,
}

/// The data of a topic.
#[must_use]
pub fn encode(topic: &Topic) -> Bytes {
    to_json(&Json {
        version: VERSION,
        topic_id: encode_id(topic.id),
        partitions: (0..).zip(topic.replicas.iter().cloned()).collect(),
        adding_replicas: BTreeMap::new(),
        removing_replicas: BTreeMap::new(),
    })
}

/// The topic that `data` of `/brokers/topics/{name}` tells of.
pub fn decode(name: &str, data: &[u8]) -> Result<Topic, BadZnode> {
    let path = path(name);
    let json: Json = from_json(&path, data)?;
    check_version(&path, json.version, VERSION..=VERSION)?;
    let id = decode_id(&json.topic_id).ok_or_else(|| BadZnode::new(&path, "topic_id is not an id"))?;
    let numbered = json.partitions.keys().copied().eq((0..).take(json.partitions.len()));
    if json.partitions.is_empty() || !numbered {
        return Err(BadZnode::new(&path, "partitions are not numbered from 0"));
    }
    if !json.partitions.values().all(|replicas| are_replicas(replicas)) {
        return Err(BadZnode::new(&path, "the replicas of a partition are distinct brokers, at least one"));
    }
    Ok(Topic { id, replicas: json.partitions.into_values().collect() })
}

fn are_replicas(brokers: &[BrokerId]) -> bool {
    let distinct: BTreeSet<_> = brokers.iter().collect();
    !brokers.is_empty() && distinct.len() == brokers.len() && brokers.iter().all(|broker| broker.0 >= 0)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ID_CHARACTERS: usize = 22;

/// An id as Kafka prints it: 128 bits in sixes; the last character carries two bits and four zeros.
#[must_use]
pub fn encode_id(id: TopicId) -> String {
    let bits = u128::from_be_bytes(id.0);
    let six = |place: usize| match place {
        21 => (bits << 4) & 63,
        place => (bits >> (122 - 6 * place)) & 63,
    };
    (0..ID_CHARACTERS).map(|place| char::from(ALPHABET[six(place) as usize])).collect()
}

fn decode_id(text: &str) -> Option<TopicId> {
    let value = |byte: &u8| ALPHABET.iter().position(|known| known == byte).map(|value| value as u128);
    let sixes: Vec<u128> = text.as_bytes().iter().map(value).collect::<Option<_>>()?;
    let (last, others) = sixes.split_last().filter(|(_, others)| others.len() == ID_CHARACTERS - 1)?;
    let bits = others.iter().fold(0, |bits: u128, six| bits << 6 | six);
    (last & 15 == 0).then(|| TopicId((bits << 2 | last >> 4).to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        let replicas = vec![vec![BrokerId(1), BrokerId(2)], vec![BrokerId(2), BrokerId(1)]];
        Topic { id: TopicId([0xff; 16]), replicas }
    }

    #[test]
    fn a_topic_looks_as_kafkas_does_and_reads_back() {
        let data = encode(&topic());
        let text = r#"{"version":3,"topic_id":"_____________________w","partitions":{"0":[1,2],"1":[2,1]},"adding_replicas":{},"removing_replicas":{}}"#;
        assert_eq!(std::str::from_utf8(&data).expect("text"), text);
        assert_eq!(decode("t", &data), Ok(topic()));
    }

    #[test]
    fn an_id_is_written_as_kafka_prints_it() {
        let mut bytes = [0; 16];
        bytes[15] = 1;
        assert_eq!(encode_id(TopicId(bytes)), "AAAAAAAAAAAAAAAAAAAAAQ");
        for seed in 0..=255_u8 {
            let id = TopicId(std::array::from_fn(|at| seed.wrapping_mul(37).wrapping_add((at as u8).wrapping_mul(29))));
            assert_eq!(decode_id(&encode_id(id)), Some(id));
        }
        for bad in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAA!", "AAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(decode_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn partitions_without_a_gap_are_required() {
        let gap = br#"{"version":3,"topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","partitions":{"0":[1],"2":[1]}}"#;
        assert_eq!(&*decode("t", gap).expect_err("a gap").path, "/brokers/topics/t");
    }

    #[test]
    fn a_topic_without_partitions_or_with_replicas_that_cannot_be_is_refused() {
        for partitions in ["{}", r#"{"0":[]}"#, r#"{"0":[1,1]}"#, r#"{"0":[1],"1":[1,-1]}"#, r#"{"-1":[1],"0":[1]}"#] {
            let json = format!(r#"{{"version":3,"topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","partitions":{partitions}}}"#);
            assert_eq!(&*decode("t", json.as_bytes()).expect_err(partitions).path, "/brokers/topics/t");
        }
    }

    #[test]
    fn another_version_is_refused() {
        let of = |version: i32| {
            let json =
                format!(r#"{{"version":{version},"topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","partitions":{{"0":[1]}}}}"#);
            decode("t", json.as_bytes()).is_ok()
        };
        assert_eq!([2, 3, 4].map(of), [false, true, false]);
    }
}
