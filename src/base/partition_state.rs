//! The state of a partition that the cluster agrees on. It lives in one znode per partition and
//! changes only by a conditional multi that the controller epoch fences.

use serde::{Deserialize, Serialize};

use super::ids::{BrokerEpoch, BrokerId, LeaderEpoch};

/// A member of the in-sync set, in the incarnation that was admitted (KIP-903). A broker that
/// has since restarted has another epoch and is *not* the replica that is named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InSyncReplica {
    /// The broker.
    pub broker: BrokerId,
    /// Its incarnation when it was admitted.
    pub broker_epoch: BrokerEpoch,
}

/// Who leads a partition and which replicas hold every committed record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartitionState {
    /// The leader, or none while no eligible replica lives.
    pub leader: Option<BrokerId>,
    /// Raised whenever the leader changes *or restarts*: one epoch never holds two histories.
    pub leader_epoch: LeaderEpoch,
    /// Raised by every change of this state; equals the version of the znode.
    pub partition_epoch: i32,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The replicas that hold everything below the high watermark, ordered by broker.
    pub in_sync: Vec<InSyncReplica>,
    /// Replicas out of the in-sync set that still hold everything below the high watermark,
    /// because the set was smaller than `min.insync.replicas` since they left it (KIP-966), as the
    /// incarnations that left it; ordered by broker.
    pub eligible_leaders: Vec<InSyncReplica>,
    /// The last leader, kept while the in-sync and eligible sets are empty (KIP-966).
    pub last_known_leader: Option<BrokerId>,
}

impl PartitionState {
    /// The incarnation of `broker` that is in the in-sync set.
    #[must_use]
    pub fn in_sync_epoch(&self, broker: BrokerId) -> Option<BrokerEpoch> {
        self.in_sync.iter().find(|member| member.broker == broker).map(|member| member.broker_epoch)
    }

    /// Whether `broker` is in the eligible set, as whatever incarnation.
    #[must_use]
    pub fn is_eligible(&self, broker: BrokerId) -> bool {
        self.eligible_leaders.iter().any(|member| member.broker == broker)
    }

    /// Whether `broker` is in the in-sync set, in whatever incarnation.
    #[must_use]
    pub fn is_in_sync(&self, broker: BrokerId) -> bool {
        self.in_sync_epoch(broker).is_some()
    }
}

/// What is promised about a record that counts as replicated (`flush.messages`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Kafka's default: a write counts when the operating system has it. Survives process
    /// crashes, and power cuts on at most `min.insync.replicas - 1` replicas.
    #[default]
    PageCache,
    /// `flush.messages=1`: leader and followers count only synced offsets.
    Synced,
}
