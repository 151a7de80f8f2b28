//! `/brokers/topics/T/partitions/P/state`: who leads a partition and who is in sync. The version of
//! the znode is the partition epoch.
//!
//! Kafka's fields (`leader` is -1 where there is none) and four of ours: `isr_broker_epochs` in the
//! order of `isr`, `eligible_leaders` and `eligible_leaders_broker_epochs` likewise,
//! `last_known_leader`. Replicas stand in the topic's znode.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadZnode, check_version, from_json, to_json, topic};
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition};
use crate::base::partition_state::{InSyncReplica, PartitionState};

const VERSION: i32 = 1;

/// The parent of a topic's partitions.
#[must_use]
pub fn parent(name: &str) -> String {
    format!("{}/partitions", topic::path(name))
}

/// The parent of a partition's state.
#[must_use]
pub fn partition_path(partition: &TopicPartition) -> String {
    format!("{}/{}", parent(&partition.topic), partition.partition)
}

/// The path of a partition's state.
#[must_use]
pub fn path(partition: &TopicPartition) -> String {
    format!("{}/state", partition_path(partition))
}

#[derive(Serialize, Deserialize)]
struct Json {
    controller_epoch: ControllerEpoch,
    leader: i32,
    version: i32,
    leader_epoch: LeaderEpoch,
    isr: Vec<BrokerId>,
    isr_broker_epochs: Vec<BrokerEpoch>,
    eligible_leaders: Vec<BrokerId>,
    eligible_leaders_broker_epochs: Vec<BrokerEpoch>,
    last_known_leader: Option<BrokerId>,
}

/// The data of `state`, written by the controller of `controller_epoch`.
#[must_use]
pub fn encode(state: &PartitionState, controller_epoch: ControllerEpoch) -> Bytes {
    to_json(&Json {
        controller_epoch,
        leader: state.leader.map_or(-1, |leader| leader.0),
        version: VERSION,
        leader_epoch: state.leader_epoch,
        isr: brokers(&state.in_sync),
        isr_broker_epochs: broker_epochs(&state.in_sync),
        eligible_leaders: brokers(&state.eligible_leaders),
        eligible_leaders_broker_epochs: broker_epochs(&state.eligible_leaders),
        last_known_leader: state.last_known_leader,
    })
}

/// The state of `partition`, whose replicas and znode's version are given, and the epoch of the
/// controller that wrote it.
pub fn decode(
    partition: &TopicPartition,
    replicas: Vec<BrokerId>,
    partition_epoch: i32,
    data: &[u8],
) -> Result<(PartitionState, ControllerEpoch), BadZnode> {
    let path = path(partition);
    let json: Json = from_json(&path, data)?;
    check_version(&path, json.version, VERSION..=VERSION)?;
    let in_sync = members(json.isr, json.isr_broker_epochs)
        .ok_or_else(|| BadZnode::new(&path, "isr and isr_broker_epochs differ in length"))?;
    let eligible_leaders = members(json.eligible_leaders, json.eligible_leaders_broker_epochs)
        .ok_or_else(|| BadZnode::new(&path, "eligible_leaders and eligible_leaders_broker_epochs differ in length"))?;
    let leader = Some(BrokerId(json.leader)).filter(|leader| leader.0 >= 0);
    if leader.is_some_and(|leader| !replicas.contains(&leader)) {
        return Err(BadZnode::new(&path, "the leader has no replica"));
    }
    if !are_of(&replicas, &in_sync) || !are_of(&replicas, &eligible_leaders) {
        return Err(BadZnode::new(&path, "isr and eligible_leaders name replicas, each once"));
    }
    let state = PartitionState {
        leader,
        leader_epoch: json.leader_epoch,
        partition_epoch,
        replicas,
        in_sync,
        eligible_leaders,
        last_known_leader: json.last_known_leader,
    };
    Ok((state, json.controller_epoch))
}

/// Whether each of `members`, which are ordered, is another one of `replicas`.
fn are_of(replicas: &[BrokerId], members: &[InSyncReplica]) -> bool {
    let twice = members.windows(2).any(|pair| pair[0].broker == pair[1].broker);
    !twice && members.iter().all(|member| replicas.contains(&member.broker))
}

fn brokers(members: &[InSyncReplica]) -> Vec<BrokerId> {
    members.iter().map(|member| member.broker).collect()
}

fn broker_epochs(members: &[InSyncReplica]) -> Vec<BrokerEpoch> {
    members.iter().map(|member| member.broker_epoch).collect()
}

/// The members, ordered by broker; none if the lists differ in length.
fn members(brokers: Vec<BrokerId>, broker_epochs: Vec<BrokerEpoch>) -> Option<Vec<InSyncReplica>> {
    let equally_long = brokers.len() == broker_epochs.len();
    let both = brokers.into_iter().zip(broker_epochs);
    let mut members: Vec<_> = both.map(|(broker, broker_epoch)| InSyncReplica { broker, broker_epoch }).collect();
    members.sort_unstable();
    equally_long.then_some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> PartitionState {
        let member = |broker, epoch| InSyncReplica { broker: BrokerId(broker), broker_epoch: BrokerEpoch(epoch) };
        PartitionState {
            leader: Some(BrokerId(2)),
            leader_epoch: LeaderEpoch(7),
            partition_epoch: 4,
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            in_sync: vec![member(1, 30), member(2, 40)],
            eligible_leaders: vec![member(3, 20)],
            last_known_leader: None,
        }
    }

    #[test]
    fn a_state_looks_as_kafkas_does_and_reads_back() {
        let partition = TopicPartition::new("t", 5);
        assert_eq!(path(&partition), "/brokers/topics/t/partitions/5/state");
        let data = encode(&state(), ControllerEpoch(9));
        let text = r#"{"controller_epoch":9,"leader":2,"version":1,"leader_epoch":7,"isr":[1,2],"isr_broker_epochs":[30,40],"eligible_leaders":[3],"eligible_leaders_broker_epochs":[20],"last_known_leader":null}"#;
        assert_eq!(std::str::from_utf8(&data).expect("text"), text);
        assert_eq!(decode(&partition, state().replicas, 4, &data), Ok((state(), ControllerEpoch(9))));
    }

    #[test]
    fn members_are_ordered_by_broker_each_with_its_incarnation() {
        let text = br#"{"controller_epoch":9,"leader":2,"version":1,"leader_epoch":7,"isr":[2,1],"isr_broker_epochs":[40,30],"eligible_leaders":[3],"eligible_leaders_broker_epochs":[20],"last_known_leader":null}"#;
        let read = decode(&TopicPartition::new("t", 5), state().replicas, 4, text);
        assert_eq!(read, Ok((state(), ControllerEpoch(9))));
    }

    #[test]
    fn a_partition_without_a_leader_survives() {
        let state = PartitionState { leader: None, last_known_leader: Some(BrokerId(2)), ..state() };
        let data = encode(&state, ControllerEpoch(9));
        assert_eq!(
            decode(&TopicPartition::new("t", 0), state.replicas.clone(), 4, &data),
            Ok((state, ControllerEpoch(9)))
        );
    }

    #[test]
    fn a_set_without_incarnations_and_a_newer_version_are_refused() {
        let kafkas = br#"{"controller_epoch":9,"leader":2,"version":1,"leader_epoch":7,"isr":[1,2]}"#;
        let short =
            br#"{"controller_epoch":9,"leader":2,"version":1,"leader_epoch":7,"isr":[1],"isr_broker_epochs":[]}"#;
        let eligible = br#"{"controller_epoch":9,"leader":2,"version":1,"leader_epoch":7,"isr":[],"isr_broker_epochs":[],"eligible_leaders":[3],"eligible_leaders_broker_epochs":[],"last_known_leader":null}"#;
        let newer = String::from_utf8(encode(&state(), ControllerEpoch(9)).to_vec()).expect("text");
        let newer = newer.replace("\"version\":1", "\"version\":99");
        for data in [&kafkas[..], short, eligible, b"null", newer.as_bytes()] {
            let error = decode(&TopicPartition::new("t", 5), vec![], 0, data).expect_err("bad");
            assert_eq!(&*error.path, "/brokers/topics/t/partitions/5/state");
        }
    }

    #[test]
    fn a_state_of_others_than_the_replicas_is_refused() {
        let member = |broker, epoch| InSyncReplica { broker: BrokerId(broker), broker_epoch: BrokerEpoch(epoch) };
        let states = [
            PartitionState { leader: Some(BrokerId(4)), ..state() },
            PartitionState { in_sync: vec![member(2, 40), member(4, 50)], ..state() },
            PartitionState { in_sync: vec![member(2, 40), member(2, 50)], ..state() },
            PartitionState { eligible_leaders: vec![member(4, 50)], ..state() },
        ];
        for state in states {
            let data = encode(&state, ControllerEpoch(9));
            assert!(decode(&TopicPartition::new("t", 0), state.replicas.clone(), 4, &data).is_err(), "{state:?}");
        }
    }

    #[test]
    fn broker_0_leads_as_any_other() {
        let replicas = [0, 1, 2, 3].map(BrokerId).to_vec();
        let state = PartitionState { leader: Some(BrokerId(0)), replicas, ..state() };
        let read = decode(&TopicPartition::new("t", 0), state.replicas.clone(), 4, &encode(&state, ControllerEpoch(9)));
        assert_eq!(read.expect("reads").0.leader, Some(BrokerId(0)));
    }
}
