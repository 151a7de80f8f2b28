//! *replay_equals_live* of the controller: what the next one would read from the coordinator at a run's end is what
//! was committed. The znodes are parsed here anew, as Kafka's brokers lay them out in ZooKeeper, with the fields that
//! are ours; operators read them with ZooKeeper's own tools.
//!
//! They are those that a running server's disk makes; that the disk makes what is live is a check of its own. What
//! they are held to: the scenario's topics and what they are configured with, the states of partitions that were
//! committed, the brokers that run and where, the elections that were seen, the ids that producers have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use wyrdlog::base::address::Address;
use wyrdlog::base::ids::{BrokerEpoch, BrokerId, TopicPartition};
use wyrdlog::base::partition_state::{Durability, InSyncReplica, PartitionState};

use crate::invariants::model::TopicConfig;
use crate::verdict::{Findings, Property};

/// A znode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Znode {
    /// What it holds.
    pub data: Vec<u8>,
    /// How often that was changed.
    pub version: i32,
    /// Whether it goes with a session.
    pub is_ephemeral: bool,
}

/// What the znodes are held to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The scenario's topics.
    pub topics: BTreeMap<Arc<str>, TopicConfig>,
    /// The committed states of their partitions.
    pub states: BTreeMap<TopicPartition, PartitionState>,
    /// The brokers that run, where, and the incarnation that each was registered as.
    pub brokers: BTreeMap<BrokerId, (Address, BrokerEpoch)>,
    /// Who said last to be the controller.
    pub controller: Option<BrokerId>,
    /// The largest producer id in any log.
    pub producer_id: Option<i64>,
}

/// Compares what the next controller would read at `time_ns` with what is so.
#[must_use]
pub fn check(znodes: &BTreeMap<String, Znode>, expected: &Expected, time_ns: u64) -> Findings {
    let mut findings = Findings::new(Property::ReplayEqualsLive);
    let tree = Tree { znodes, expected };
    let mut looks: Vec<Look> = expected.topics.iter().map(|(name, config)| tree.topic(name, config)).collect();
    looks.extend(expected.states.iter().map(|(name, state)| tree.state(name, state)));
    looks.push(tree.brokers());
    looks.push(tree.controller());
    looks.push(tree.producer_ids());
    for look in looks {
        findings.check(look.is_ok(), time_ns, [], || look.err().unwrap_or_default());
    }
    findings
}

type Look = Result<(), String>;

struct Tree<'t> {
    znodes: &'t BTreeMap<String, Znode>,
    expected: &'t Expected,
}

impl<'t> Tree<'t> {
    fn json(&self, path: &str) -> Result<(Value, &'t Znode), String> {
        let znode = self.znodes.get(path).ok_or_else(|| format!("{path} is missing"))?;
        let value = serde_json::from_slice(&znode.data).map_err(|error| format!("{path} is no JSON: {error}"))?;
        Ok((value, znode))
    }

    fn topic(&self, name: &Arc<str>, config: &TopicConfig) -> Look {
        let path = format!("/brokers/topics/{name}");
        let (json, _) = self.json(&path)?;
        is(&path, &json, "version", &Value::from(3))?;
        let of_topic = self.expected.states.iter().filter(|(partition, _)| partition.topic == *name);
        let replicas: serde_json::Map<String, Value> =
            of_topic.map(|(partition, state)| (partition.partition.to_string(), ids(&state.replicas))).collect();
        is(&path, &json, "partitions", &Value::Object(replicas))?;
        let path = format!("/config/topics/{name}");
        let (json, _) = self.json(&path)?;
        is(&path, &json, "version", &Value::from(1))?;
        let min_in_sync = &json["min_in_sync"];
        let durability = match config.durability {
            Durability::Synced => "synced",
            Durability::PageCache => "page_cache",
        };
        is(&path, &json, "durability", &Value::from(durability))?;
        if min_in_sync.as_u64() != Some(config.min_in_sync as u64) {
            return Err(format!("{path} has min_in_sync {min_in_sync}, which is configured as {}", config.min_in_sync));
        }
        let overrides = json["config"].as_object().ok_or_else(|| format!("{path} has no config"))?;
        let over = |key: &str, value: String| overrides.get(key).is_none_or(|told| told.as_str() == Some(&value));
        let fits = over("min.insync.replicas", config.min_in_sync.to_string())
            && (config.durability != Durability::Synced || over("flush.messages", "1".to_owned()));
        fits.then_some(()).ok_or_else(|| format!("{path} overrides {overrides:?}, where {config:?} is configured"))
    }

    fn state(&self, name: &TopicPartition, state: &PartitionState) -> Look {
        let path = format!("/brokers/topics/{}/partitions/{}/state", name.topic, name.partition);
        let (json, znode) = self.json(&path)?;
        let brokers =
            |members: &[InSyncReplica]| members.iter().map(|one| Value::from(one.broker.0)).collect::<Vec<_>>();
        let epochs =
            |members: &[InSyncReplica]| members.iter().map(|one| Value::from(one.broker_epoch.0)).collect::<Vec<_>>();
        let wanted = [
            ("version", Value::from(1)),
            ("leader", Value::from(state.leader.map_or(-1, |leader| leader.0))),
            ("leader_epoch", Value::from(state.leader_epoch.0)),
            ("isr", brokers(&state.in_sync).into()),
            ("isr_broker_epochs", epochs(&state.in_sync).into()),
            ("eligible_leaders", brokers(&state.eligible_leaders).into()),
            ("eligible_leaders_broker_epochs", epochs(&state.eligible_leaders).into()),
            ("last_known_leader", state.last_known_leader.map_or(Value::Null, |one| Value::from(one.0))),
        ];
        wanted.iter().try_for_each(|(key, value)| is(&path, &json, key, value))?;
        let elections = self.elections()?;
        let elected = json["controller_epoch"].as_i64();
        if !elected.is_some_and(|epoch| (1..=elections).contains(&epoch)) || znode.version != state.partition_epoch {
            let version = znode.version;
            return Err(format!(
                "{path} is of controller epoch {elected:?} of {elections} and version {version}, the partition epoch is {}",
                state.partition_epoch
            ));
        }
        Ok(())
    }

    fn elections(&self) -> Result<i64, String> {
        let znode = self.znodes.get("/controller_epoch").ok_or("/controller_epoch is missing")?;
        let text = String::from_utf8_lossy(&znode.data);
        text.parse().map_err(|_| format!("/controller_epoch is {text:?}"))
    }

    fn brokers(&self) -> Look {
        let known: BTreeSet<&str> = self.znodes.keys().filter_map(|path| path.strip_prefix("/brokers/ids/")).collect();
        let ids: Vec<String> = self.expected.brokers.keys().map(|id| id.0.to_string()).collect();
        let wanted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        if known != wanted {
            return Err(format!("/brokers/ids has {known:?}, and {wanted:?} run"));
        }
        self.expected.brokers.iter().try_for_each(|(id, (address, epoch))| {
            let path = format!("/brokers/ids/{}", id.0);
            let (json, znode) = self.json(&path)?;
            is(&path, &json, "version", &Value::from(5))?;
            is(&path, &json, "host", &Value::from(&*address.host))?;
            is(&path, &json, "port", &Value::from(address.port))?;
            is(&path, &json, "endpoints", &Value::from(vec![format!("PLAINTEXT://{address}")]))?;
            is(&path, &json, "broker_epoch", &Value::from(epoch.0))?;
            znode.is_ephemeral.then_some(()).ok_or_else(|| format!("{path} does not go with its session"))
        })
    }

    fn controller(&self) -> Look {
        self.elections()?;
        let Some(controller) = self.expected.controller else { return Ok(()) };
        let (json, znode) = self.json("/controller")?;
        is("/controller", &json, "brokerid", &Value::from(controller.0))?;
        znode.is_ephemeral.then_some(()).ok_or_else(|| "/controller does not go with its session".to_owned())
    }

    /// The block that was taken last is above all ids that are in use, or holds the last of them.
    fn producer_ids(&self) -> Look {
        let Some(highest) = self.expected.producer_id else { return Ok(()) };
        let path = "/latest_producer_id_block";
        let (json, _) = self.json(path)?;
        let number = |key: &str| json[key].as_str().and_then(|text| text.parse::<i64>().ok());
        match (number("block_start"), number("block_end")) {
            (Some(start), Some(end)) if start % 1_000 == 0 && end == start + 999 && highest <= end => Ok(()),
            block => Err(format!("{path} is {block:?}, and a producer has the id {highest}")),
        }
    }
}

fn ids(brokers: &[BrokerId]) -> Value {
    brokers.iter().map(|broker| Value::from(broker.0)).collect()
}

fn is(path: &str, json: &Value, key: &str, wanted: &Value) -> Look {
    let told = &json[key];
    (told == wanted).then_some(()).ok_or_else(|| format!("{path} has {key} {told}, and it is {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyrdlog::base::ids::LeaderEpoch;

    fn expected() -> Expected {
        let config = TopicConfig { min_in_sync: 2, replicas: 2, durability: Durability::Synced };
        let member = |id| InSyncReplica { broker: BrokerId(id), broker_epoch: BrokerEpoch(7) };
        let state = PartitionState {
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(3),
            partition_epoch: 4,
            replicas: vec![BrokerId(2), BrokerId(1)],
            in_sync: vec![member(1)],
            eligible_leaders: vec![member(2)],
            last_known_leader: None,
        };
        let broker = |id: i32| (BrokerId(id), (Address::new(format!("broker-{id}"), 9092), BrokerEpoch(7)));
        Expected {
            topics: BTreeMap::from([("t".into(), config)]),
            states: BTreeMap::from([(TopicPartition::new("t", 0), state)]),
            brokers: [1, 2].map(broker).into(),
            controller: Some(BrokerId(2)),
            producer_id: Some(1_005),
        }
    }

    fn tree() -> BTreeMap<String, (i32, bool, String)> {
        let broker = |id: i32| {
            let json = format!(
                r#"{{"version":5,"host":"broker-{id}","port":9092,"endpoints":["PLAINTEXT://broker-{id}:9092"],"broker_epoch":7}}"#
            );
            (format!("/brokers/ids/{id}"), (0, true, json))
        };
        let state = r#"{"controller_epoch":2,"leader":1,"version":1,"leader_epoch":3,"isr":[1],"isr_broker_epochs":[7],"eligible_leaders":[2],"eligible_leaders_broker_epochs":[7],"last_known_leader":null}"#;
        let config = r#"{"version":1,"config":{"flush.messages":"1"},"min_in_sync":2,"durability":"synced"}"#;
        let block = r#"{"version":1,"broker":1,"block_start":"1000","block_end":"1999"}"#;
        let lasting = |path: &str, version: i32, text: &str| (path.to_owned(), (version, false, text.to_owned()));
        BTreeMap::from([
            lasting("/brokers/topics/t", 0, r#"{"version":3,"topic_id":"x","partitions":{"0":[2,1]}}"#),
            lasting("/brokers/topics/t/partitions/0/state", 4, state),
            lasting("/config/topics/t", 0, config),
            lasting("/controller_epoch", 3, "3"),
            lasting("/latest_producer_id_block", 1, block),
            ("/controller".to_owned(), (0, true, r#"{"version":1,"brokerid":2}"#.to_owned())),
            broker(1),
            broker(2),
        ])
    }

    fn violated(tree: BTreeMap<String, (i32, bool, String)>) -> u64 {
        let znode =
            |(version, is_ephemeral, text): (i32, bool, String)| Znode { data: text.into(), version, is_ephemeral };
        let znodes = tree.into_iter().map(|(path, znode_of)| (path, znode(znode_of))).collect();
        check(&znodes, &expected(), 1).violated
    }

    #[test]
    fn what_a_controller_left_is_accepted() {
        assert_eq!(violated(tree()), 0);
    }

    #[test]
    fn each_field_that_says_something_else_is_rejected() {
        let edits = [
            ("/brokers/topics/t", "[2,1]", "[1,2]"),
            ("/brokers/topics/t/partitions/0/state", r#""isr":[1]"#, r#""isr":[1,2]"#),
            ("/brokers/topics/t/partitions/0/state", r#""isr_broker_epochs":[7]"#, r#""isr_broker_epochs":[6]"#),
            ("/brokers/topics/t/partitions/0/state", r#""leader":1"#, r#""leader":2"#),
            ("/brokers/topics/t/partitions/0/state", r#""leader_epoch":3"#, r#""leader_epoch":2"#),
            ("/brokers/topics/t/partitions/0/state", r#""controller_epoch":2"#, r#""controller_epoch":4"#),
            ("/brokers/topics/t/partitions/0/state", r#""eligible_leaders":[2]"#, r#""eligible_leaders":[]"#),
            ("/config/topics/t", r#""min_in_sync":2"#, r#""min_in_sync":1"#),
            ("/config/topics/t", "synced", "page_cache"),
            ("/config/topics/t", r#""1""#, r#""10""#),
            ("/controller", "2}", "1}"),
            ("/latest_producer_id_block", "1999", "2001"),
            ("/latest_producer_id_block", r#""1000","block_end":"1999"#, r#""0","block_end":"999"#),
            ("/brokers/ids/1", r#""broker_epoch":7"#, r#""broker_epoch":6"#),
            ("/brokers/ids/2", "9092,", "9093,"),
        ];
        for (path, from, to) in edits {
            let mut tree = tree();
            let text = &mut tree.get_mut(path).expect("it is there").2;
            assert!(text.contains(from), "{path}");
            *text = text.replacen(from, to, 1);
            assert_eq!(violated(tree), 1, "{path}: {from} -> {to}");
        }
    }

    #[test]
    fn what_is_missing_stays_behind_or_outlives_its_session_is_rejected() {
        for path in tree().keys() {
            let mut tree = tree();
            tree.remove(path);
            assert!(violated(tree) > 0, "{path}");
        }
        let mut with_stranger = tree();
        with_stranger.insert("/brokers/ids/9".to_owned(), (0, true, String::new()));
        assert_eq!(violated(with_stranger), 1);
        for path in ["/controller", "/brokers/ids/1"] {
            let mut tree = tree();
            tree.get_mut(path).expect("it is there").1 = false;
            assert_eq!(violated(tree), 1, "{path}");
        }
        let mut tree = tree();
        tree.get_mut("/brokers/topics/t/partitions/0/state").expect("it is there").0 = 5;
        assert_eq!(violated(tree), 1, "its version is no partition epoch");
    }
}
