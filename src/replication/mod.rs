//! One partition's replica on one broker, as a pure state machine: what to append, what to
//! truncate, whom to count, and how far the high watermark may move.
//!
//! **What it promises.** Kafka's four rules as KIP-320's specification distils them: a follower
//! truncates to match before it fetches in a new leader epoch (KIP-101, KIP-279); truncation and
//! fetching are fenced by that epoch (KIP-320); the high watermark advances on acknowledgements of
//! the same epoch only, over the maximal in-sync set (KIP-497), in the incarnations which that set
//! names (KIP-903), and never while the committed set is smaller than `min.insync.replicas`
//! (KIP-966); a replica is proposed for the in-sync set only when it has reached both the high
//! watermark and the start of the leader's epoch.
//!
//! **What it leaves to others.** Bytes, files and checksums (the log); sockets, retries, delays and
//! waiting requests (the broker's shell); elections and the in-sync set itself (the controller, and
//! the tree behind it); producer sequences and transactions (their own cores).
//!
//! # Contract with the shell
//!
//! 1. Every change goes through [`Replica::step`]. Effects are carried out **in order**, and effects
//!    on the log ([`Effect::Append`], [`Effect::AppendFetched`], [`Effect::Truncate`],
//!    [`Effect::ResetLog`]) before any later step's effects on the same replica. The
//!    core's state already reflects them: `log_end` is the end once they are done.
//! 2. An append, truncation or reset that is done is reported with the generation that its effect
//!    carried. So is a sync: it takes [`Replica::log_generation`] when it *starts*. A completion of
//!    an older generation changes nothing, for the records it speaks of may be gone.
//! 3. A log effect that fails is reported as [`Input::LogFailed`]; the replica is out of service
//!    until the process recovers its log anew.
//! 4. After each step of a follower the shell asks [`Replica::next_request`] what to send to the
//!    leader. There is at most one such request; it stays the same until it is answered, so a lost
//!    answer is repaired by sending it again. An answer comes back with the epoch that was asked in.
//! 5. A leader's outstanding proposal is [`Replica::proposal`]; it is sent when an
//!    [`Effect::ProposeInSync`] says so, and said again at each [`Input::InSyncCheck`] until answered
//!    or overtaken by a newer state. Only *definite* answers are reported; an unknown outcome is not.
//! 6. [`Input::InSyncCheck`] comes every `replica.lag.time.max.ms`: a member that has not reached
//!    the leader's log end between two checks is proposed for removal.

mod effect;
mod follower;
mod high_watermark;
mod in_sync;
mod input;
mod leader;
mod leader_epochs;
mod log_view;
mod role;
#[cfg(test)]
mod tests;

pub use effect::{Acknowledge, Effect, EpochEnd, Fault, LeaderRequest, Proposal, Refusal};
pub use input::{Acks, FetchAnswer, FetchedBatches, FollowerFetch, InSyncAnswer, Input, Recovered};
pub use leader_epochs::{EpochStart, LeaderEpochs};

use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch};
use crate::base::partition_state::{Durability, InSyncReplica, PartitionState};
use crate::base::plants::{Plant, Plants};
use log_view::LogView;
use role::{Leading, Role};

/// Who a replica is and under which rules it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaConfig {
    /// This broker.
    pub broker: BrokerId,
    /// This broker's incarnation.
    pub broker_epoch: BrokerEpoch,
    /// `min.insync.replicas` of the topic, at least 1.
    pub min_in_sync: usize,
    /// What counts as replicated.
    pub durability: Durability,
}

/// The replica of one partition on one broker. See the module's contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    config: ReplicaConfig,
    plants: Plants,
    state: Option<PartitionState>,
    log: LogView,
    high_watermark: i64,
    role: Role,
}

impl Replica {
    /// A replica over a log that was just opened. It serves nothing until a state is delivered.
    #[must_use]
    pub fn new(config: ReplicaConfig, recovered: Recovered, plants: Plants) -> Self {
        assert!(config.min_in_sync >= 1, "min.insync.replicas is at least 1");
        let high_watermark = recovered.trusted_high_watermark();
        Replica { config, plants, state: None, log: LogView::new(recovered), high_watermark, role: Role::Idle }
    }

    /// Takes one input and says what is to be done, in order. Nothing else changes the replica.
    pub fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::State(state) => self.on_state(state, effects),
            Input::Settings { min_in_sync, durability } => self.on_settings(min_in_sync, durability, effects),
            Input::Registered { broker_epoch } => self.on_registered(broker_epoch, effects),
            Input::Produce { records, acks } => self.on_produce(records, acks, effects),
            Input::Appended { generation, end } => self.on_appended(generation, end, effects),
            Input::Synced { generation, end } => self.on_synced(generation, end, effects),
            Input::Truncated { generation } => self.log.truncated(generation),
            Input::LogStart { log_start } => self.on_log_start(log_start),
            Input::LogFailed => self.fail(Fault::Log, effects),
            Input::FollowerFetch(fetch) => self.on_follower_fetch(fetch, effects),
            Input::EpochEndQuery { leader_epoch, requested } => {
                self.on_epoch_end_query(leader_epoch, requested, effects);
            }
            Input::EpochEndAnswer { leader_epoch, requested, answer } => {
                self.on_epoch_end(leader_epoch, requested, answer, effects);
            }
            Input::FetchAnswer { leader_epoch, offset, answer } => self.on_fetch(leader_epoch, offset, answer, effects),
            Input::InSyncCheck => self.on_in_sync_check(effects),
            Input::InSyncAnswer { leader_epoch, partition_epoch, answer } => {
                self.on_in_sync_answer(leader_epoch, partition_epoch, answer, effects);
            }
        }
        self.check_invariants();
    }

    /// What must hold between any two steps, whatever the world did.
    fn check_invariants(&self) {
        self.log.check_invariants();
        assert!(self.high_watermark <= self.log.log_end, "the high watermark never passes the log end");
        if let Role::Leader(leading) = &self.role {
            assert!(leading.epoch_start <= self.log.log_end, "a leader never truncates its own epoch");
            assert_eq!(self.log.epochs.latest(), Some(self.leader_epoch()), "a leader's epoch is in its log");
        }
    }

    /// This broker's incarnation, as the replica names it to leaders and in the in-sync set.
    #[must_use]
    pub fn broker_epoch(&self) -> BrokerEpoch {
        self.config.broker_epoch
    }

    /// The newest state that was delivered.
    #[must_use]
    pub fn state(&self) -> Option<&PartitionState> {
        self.state.as_ref()
    }

    /// The leader epoch of that state; -1 before the first one.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.state.as_ref().map_or(LeaderEpoch(-1), |state| state.leader_epoch)
    }

    /// Whether this replica leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Why the replica is out of service, if it is.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match &self.role {
            Role::Faulted(fault) => Some(fault),
            _ => None,
        }
    }

    /// The offset below which everything is committed; the value for the checkpoint file.
    #[must_use]
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The first offset that is kept.
    #[must_use]
    pub fn log_start(&self) -> i64 {
        self.log.log_start
    }

    /// The offset after the last record, once all effects are carried out.
    #[must_use]
    pub fn log_end(&self) -> i64 {
        self.log.log_end
    }

    /// The offset up to which this replica counts: written or synced, as the class has it.
    #[must_use]
    pub fn counted_end(&self) -> i64 {
        self.log.counted_end(self.config.durability)
    }

    /// The number that completions of log effects and syncs carry; raised by each truncation.
    #[must_use]
    pub fn log_generation(&self) -> u32 {
        self.log.generation
    }

    /// Where each leader epoch begins in this log.
    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.log.epochs
    }

    /// The in-sync set that a leader knows to be committed; empty elsewhere.
    #[must_use]
    pub fn committed_in_sync(&self) -> &[InSyncReplica] {
        match (&self.role, &self.state) {
            (Role::Leader(_), Some(state)) => &state.in_sync,
            _ => &[],
        }
    }

    /// The committed in-sync set united with everything that was proposed since (KIP-497).
    #[must_use]
    pub fn maximal_in_sync(&self) -> Vec<InSyncReplica> {
        match (&self.role, &self.state) {
            (Role::Leader(leading), Some(state)) => leading.maximal_in_sync(&state.in_sync),
            _ => Vec::new(),
        }
    }

    /// Up to where a follower is known to hold the log, and in which incarnation; none if this
    /// replica does not lead or has not heard of it in this epoch.
    #[must_use]
    pub fn acknowledged(&self, follower: BrokerId) -> Option<(BrokerEpoch, i64)> {
        self.leading()?.followers.get(&follower)?.fetched
    }

    /// The proposal that still awaits its outcome.
    #[must_use]
    pub fn proposal(&self) -> Option<Proposal> {
        let leading = self.leading()?;
        let pending = leading.pending.as_ref()?;
        let state = self.state.as_ref()?;
        Some(Proposal {
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            in_sync: pending.members.clone(),
            min_in_sync: self.config.min_in_sync,
        })
    }

    /// How far a consumer may read: up to the high watermark. `leader_epoch` is the epoch that the
    /// client believes in, if it says so (KIP-320).
    pub fn consumer_bound(&self, leader_epoch: Option<LeaderEpoch>) -> Result<i64, Refusal> {
        self.check_leader_epoch(leader_epoch)?;
        if self.plants.is(Plant::Kafka9835) {
            return Ok(self.counted_end());
        }
        Ok(self.high_watermark)
    }

    /// The answer to "latest offset". After an election it is withheld until the high watermark has
    /// reached the start of the epoch, for until then it may be behind what was once exposed.
    pub fn latest_offset(&self, leader_epoch: Option<LeaderEpoch>) -> Result<i64, Refusal> {
        self.check_leader_epoch(leader_epoch)?;
        let epoch_start = self.leading().map_or(0, |leading| leading.epoch_start);
        if self.high_watermark < epoch_start { Err(Refusal::OffsetNotAvailable) } else { Ok(self.high_watermark) }
    }

    /// `min.insync.replicas`, or the number of replicas where that is smaller.
    #[must_use]
    pub fn effective_min_in_sync(&self) -> usize {
        let replicas = self.state.as_ref().map_or(1, |state| state.replicas.len());
        self.config.min_in_sync.min(replicas).max(1)
    }

    fn leading(&self) -> Option<&Leading> {
        match &self.role {
            Role::Leader(leading) => Some(leading),
            _ => None,
        }
    }

    /// Refuses who asks a replica that does not lead, or in another epoch than the one it leads in.
    fn check_leader_epoch(&self, claimed: Option<LeaderEpoch>) -> Result<(), Refusal> {
        match (&self.role, claimed) {
            (Role::Faulted(_), _) => Err(Refusal::Faulted),
            (Role::Leader(_), Some(claimed)) if claimed < self.leader_epoch() => Err(Refusal::FencedLeaderEpoch),
            (Role::Leader(_), Some(claimed)) if claimed > self.leader_epoch() => Err(Refusal::UnknownLeaderEpoch),
            (Role::Leader(_), _) => Ok(()),
            _ => Err(Refusal::NotLeader),
        }
    }

    /// Takes the replica out of service for good.
    fn fail(&mut self, fault: Fault, effects: &mut Vec<Effect>) {
        self.resign(effects);
        self.role = Role::Faulted(fault.clone());
        effects.push(Effect::Fault(fault));
    }
}
