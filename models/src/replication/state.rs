//! A state of the world: the brokers, the tree, whoever is the controller, and what an observer of
//! everything remembers.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use wyrdlog::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicPartition};
use wyrdlog::base::partition_state::{InSyncReplica, PartitionState};
use wyrdlog::controller::{AlterPartition, Change, Controller, LastShutdown, Lineage, Registration, WriteId};
use wyrdlog::replication::{EpochStart, Input, LeaderRequest, Replica};

/// How many brokers there are.
pub const BROKERS: usize = 3;
/// `min.insync.replicas`: one power loss is within the budget.
pub const MIN_IN_SYNC: usize = 2;

/// A record: the epoch it was appended in, and which one it is.
pub type Record = (LeaderEpoch, u8);

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broker {
    pub up: bool,
    pub registered: bool,
    /// Its last registration, whether its session lives or not.
    pub registration: Registration,
    /// Of one that is down: what is left of its log.
    pub shutdown: LastShutdown,
    pub lineage: Lineage,
    /// Of one that is down: as its log will be opened.
    pub replica: Replica,
    pub log: Vec<Record>,
    /// How many of them no power loss takes; 0 where nothing is synced.
    pub synced: usize,
    /// Completions of log effects that are not reported yet.
    pub persisting: VecDeque<Input>,
    /// States that the controller pushed and that are on their way.
    pub states: VecDeque<Arc<PartitionState>>,
    pub request: Option<(LeaderRequest, BrokerEpoch)>,
    pub answer: Option<Answered>,
    pub proposal: Option<AlterPartition>,
}

impl Broker {
    /// Whether `member` names what runs here.
    pub fn runs(&self, member: &InSyncReplica) -> bool {
        self.up && self.lineage.last() == member.broker_epoch
    }
}

/// An answer on its way, with the records that it carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answered {
    pub input: Input,
    pub records: Vec<Record>,
}

/// A write of a controller that is on its way to the tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    pub id: WriteId,
    pub changes: Vec<Change>,
    pub fenced: bool,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    pub produced: u8,
    pub expiries: u8,
    pub crashes: u8,
    pub kills: u8,
    pub disk_losses: u8,
    pub losses: u8,
    pub repetitions: u8,
    pub lag_checks: u8,
    pub failovers: u8,
    pub unknown: u8,
    /// Writes of a deposed controller that reached the tree.
    pub late: u8,
}

/// A state of the world.
#[derive(Clone, Debug)]
pub struct State {
    pub brokers: [Arc<Broker>; BROKERS],
    /// The partition's znode.
    pub tree: Arc<PartitionState>,
    pub controller: Arc<Controller>,
    /// Whether the controller's writes take time.
    pub slow_writes: bool,
    /// The write of the controller that is on its way, where writes take time.
    pub write: Option<Arc<Write>>,
    /// The controller before, and its write, which is still on its way.
    pub deposed: Option<Arc<(Controller, Write)>>,
    /// The longest prefix that was ever exposed by a leader, or acknowledged.
    pub promised: Vec<Record>,
    pub last_broker_epoch: i64,
    pub spent: Spent,
    /// The first promise that was broken in a step.
    pub broken: Option<Broken>,
}

/// What can go wrong within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Two leaders exposed different records at one offset.
    Promise,
    /// The high watermark passed the log end of a member of the maximal set.
    PassedMember,
    /// It moved while the set was too small.
    TooFew,
    /// A leader answered a follower of an earlier leader epoch.
    StaleFollower,
    /// A deposed controller changed the tree.
    DeposedWrite,
    /// A controller stays in office although the tree has refused its epoch.
    StaysInOffice,
}

impl State {
    /// All that matters of a state; counters of writes and pushes do not, unless a write can be on
    /// its way: then what a controller has planned is not told by what is committed.
    fn essence(&self) -> impl Hash + PartialEq + '_ {
        let planned = self.slow_writes.then_some((&self.controller, &self.write, &self.deposed, &self.tree));
        let counts = (self.spent, self.last_broker_epoch, self.broken);
        (&self.brokers, self.controller.metadata(), planned, &self.promised, counts)
    }

    /// Whether a broker holds everything that was promised.
    pub fn is_complete(&self, broker: usize) -> bool {
        self.brokers[broker].log.starts_with(&self.promised)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.essence().hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }
}

pub fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

pub fn id(broker: usize) -> BrokerId {
    BrokerId(i32::try_from(broker).expect("three brokers"))
}

pub fn index(broker: BrokerId) -> usize {
    usize::try_from(broker.0).expect("brokers are numbered from 0")
}

pub fn offset(length: usize) -> i64 {
    i64::try_from(length).expect("a few records")
}

pub fn length(offset: i64) -> usize {
    usize::try_from(offset).expect("offsets are not negative")
}

/// Where leader epochs begin in `records`, the first of which is at `base`.
pub fn epochs_of(records: &[Record], base: usize) -> Vec<EpochStart> {
    let mut starts: Vec<EpochStart> = Vec::new();
    for (at, (leader_epoch, _)) in records.iter().enumerate() {
        if starts.last().is_none_or(|last| last.leader_epoch != *leader_epoch) {
            starts.push(EpochStart { leader_epoch: *leader_epoch, start_offset: offset(base + at) });
        }
    }
    starts
}
