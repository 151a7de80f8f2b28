//! Each rule as a claim. Broker 1 is under test; brokers 2 and 3 are its peers.

mod follower;
mod in_sync;
mod leader;

use super::*;
use crate::base::event::ReplicaEvent;
use crate::base::plants::Plant;

pub(super) const OWN: BrokerEpoch = BrokerEpoch(10);

pub(super) fn member(broker: i32) -> InSyncReplica {
    InSyncReplica { broker: BrokerId(broker), broker_epoch: BrokerEpoch(i64::from(broker) * 10) }
}

pub(super) fn state(leader: Option<i32>, leader_epoch: i32, partition_epoch: i32, in_sync: &[i32]) -> PartitionState {
    PartitionState {
        leader: leader.map(BrokerId),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch,
        replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        in_sync: in_sync.iter().map(|broker| member(*broker)).collect(),
        ..PartitionState::default()
    }
}

/// A replica with its shell reduced to reporting each append at once.
pub(super) struct Shell {
    pub(super) replica: Replica,
    pub(super) effects: Vec<Effect>,
}

impl Shell {
    pub(super) fn new(min_in_sync: usize, plants: Plants) -> Self {
        Self::recovered(min_in_sync, Durability::PageCache, Recovered::empty(), plants)
    }

    pub(super) fn recovered(min_in_sync: usize, durability: Durability, log: Recovered, plants: Plants) -> Self {
        let config = ReplicaConfig { broker: BrokerId(1), broker_epoch: OWN, min_in_sync, durability };
        Shell { replica: Replica::new(config, log, plants), effects: Vec::new() }
    }

    /// Steps, reports what the log did, and returns all effects.
    pub(super) fn step(&mut self, input: Input) -> Vec<Effect> {
        self.effects.clear();
        self.replica.step(input, &mut self.effects);
        let done: Vec<_> = self.effects.iter().filter_map(|effect| self.completion(effect)).collect();
        done.into_iter().for_each(|input| self.replica.step(input, &mut self.effects));
        self.effects.clone()
    }

    fn completion(&self, effect: &Effect) -> Option<Input> {
        match effect {
            Effect::Append { generation, .. } | Effect::AppendFetched { generation, .. } => {
                Some(Input::Appended { generation: *generation, end: self.replica.log_end() })
            }
            Effect::Truncate { generation, .. } | Effect::ResetLog { generation, .. } => {
                Some(Input::Truncated { generation: *generation })
            }
            _ => None,
        }
    }

    pub(super) fn state(
        &mut self,
        leader: Option<i32>,
        epoch: i32,
        partition_epoch: i32,
        in_sync: &[i32],
    ) -> Vec<Effect> {
        self.step(Input::State(state(leader, epoch, partition_epoch, in_sync)))
    }

    pub(super) fn produce(&mut self, records: i64) -> Vec<Effect> {
        self.step(Input::Produce { records, acks: Acks::All })
    }

    pub(super) fn fetch(&mut self, broker: i32, leader_epoch: i32, offset: i64) -> Vec<Effect> {
        self.fetch_as(broker, i64::from(broker) * 10, leader_epoch, offset)
    }

    pub(super) fn fetch_as(&mut self, broker: i32, broker_epoch: i64, leader_epoch: i32, offset: i64) -> Vec<Effect> {
        self.step(Input::FollowerFetch(FollowerFetch {
            replica: BrokerId(broker),
            broker_epoch: BrokerEpoch(broker_epoch),
            leader_epoch: LeaderEpoch(leader_epoch),
            offset,
        }))
    }

    pub(super) fn epoch_end(&mut self, leader_epoch: i32, requested: i32, answer: (i32, i64)) -> Vec<Effect> {
        self.step(Input::EpochEndAnswer {
            leader_epoch: LeaderEpoch(leader_epoch),
            requested: LeaderEpoch(requested),
            answer: EpochEnd { leader_epoch: Some(LeaderEpoch(answer.0)), end_offset: answer.1 },
        })
    }

    /// The leader's answer to a fetch at the log end, with records of one epoch.
    pub(super) fn fetched(&mut self, leader_epoch: i32, records: i64, high_watermark: i64) -> Vec<Effect> {
        let offset = self.replica.log_end();
        let leader_epoch = LeaderEpoch(leader_epoch);
        let batches = (records > 0).then(|| FetchedBatches {
            base_offset: offset,
            end: offset + records,
            epochs: vec![EpochStart { leader_epoch, start_offset: offset }],
        });
        let answer = FetchAnswer::Accepted { high_watermark, log_start: 0, batches };
        self.step(Input::FetchAnswer { leader_epoch, offset, answer })
    }

    pub(super) fn high_watermark(&self) -> i64 {
        self.replica.high_watermark()
    }
}

pub(super) fn log(epochs: &[(i32, i64)], log_end: i64) -> Recovered {
    let epochs =
        epochs.iter().map(|&(epoch, start_offset)| EpochStart { leader_epoch: LeaderEpoch(epoch), start_offset });
    Recovered { log_end, epochs: LeaderEpochs::new(epochs), ..Recovered::empty() }
}

pub(super) fn refused(effects: &[Effect]) -> Option<Refusal> {
    effects.iter().find_map(|effect| match effect {
        Effect::Refused(refusal) => Some(*refusal),
        _ => None,
    })
}

pub(super) fn proposed(effects: &[Effect]) -> Option<Vec<i32>> {
    effects.iter().find_map(|effect| match effect {
        Effect::ProposeInSync(proposal) => Some(proposal.in_sync.iter().map(|member| member.broker.0).collect()),
        _ => None,
    })
}

pub(super) fn truncated_to(effects: &[Effect]) -> Option<i64> {
    effects.iter().find_map(|effect| match effect {
        Effect::Truncate { to, .. } => Some(*to),
        _ => None,
    })
}

pub(super) fn took(effects: &[Effect], plant: Plant) -> bool {
    effects.contains(&Effect::PlantTaken(plant))
}

#[test]
fn a_stale_state_is_ignored_and_counted_as_fenced() {
    let mut shell = Shell::new(1, Plants::NONE);
    shell.state(Some(1), 2, 5, &[1, 2]);
    let effects = shell.state(Some(2), 1, 4, &[1, 2]);
    assert_eq!(effects, [Effect::Observe(ReplicaEvent::Fenced)]);
    assert!(shell.replica.leads());
}
