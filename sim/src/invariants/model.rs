//! The cluster as events show it: every replica's log and part, every partition's committed state
//! and what was ever exposed of it, every broker's running incarnation.
//!
//! The model is rebuilt from events alone and never asks the product. It checks nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use wyrdlog::base::batch_header::sequence_after;
use wyrdlog::base::event::{AppendedBatch, BrokerEvent, ControllerEvent, Event, LogEvent, ReplicaEvent};
use wyrdlog::base::ids::{
    BrokerEpoch, BrokerId, LeaderEpoch, ProducerEpoch, ProducerId, ServerId, TopicPartition, Zxid,
};
use wyrdlog::base::partition_state::{Durability, InSyncReplica, PartitionState};

use super::Seen;
use super::budget::Budget;
use super::replica_log::ReplicaLog;
use super::retention_justified;
use crate::observed::{BadBytes, DiskLog, FaultNote, Incarnation, Node, Segments};

/// What a topic was configured with, by the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `min.insync.replicas`.
    pub min_in_sync: usize,
    /// How many replicas each partition has.
    pub replicas: usize,
    /// Its durability class.
    pub durability: Durability,
}

impl TopicConfig {
    /// How many members the committed in-sync set must have before the high watermark may move.
    #[must_use]
    pub fn effective_min_in_sync(&self) -> usize {
        self.min_in_sync.min(self.replicas).max(1)
    }
}

/// The brokers' retention, by the scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// `log.segment.bytes`.
    pub segment_bytes: u64,
    /// `log.retention.bytes`; none keeps everything.
    pub bytes: Option<u64>,
    /// `log.retention.check.interval.ms`.
    pub interval_ms: u64,
}

/// Who is who, and what was configured.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// `log.index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// The brokers' machines.
    pub brokers: BTreeMap<BrokerId, Node>,
    /// The coordinator servers' machines.
    pub servers: BTreeMap<ServerId, Node>,
    /// What each topic was configured with.
    pub topics: BTreeMap<Arc<str>, TopicConfig>,
    /// How long records are kept.
    pub retention: Retention,
    /// Whether `unclean.leader.election.enable` is on. Where it is off, every leader counts as clean.
    pub unclean_election: bool,
}

/// What a replica does in its partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing yet in this incarnation.
    #[default]
    None,
    /// It leads.
    Leader,
    /// It follows.
    Follower,
}

/// What happened to a replica's disk since its log was last opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suffered {
    /// The power was cut.
    pub power_lost: bool,
    /// The disk was lost or swapped.
    pub disk_lost: bool,
    /// Calls failed: what was being written may be there in part, or not at all.
    pub calls_failed: bool,
    /// Bytes at rest were damaged.
    pub damaged: bool,
}

/// One replica.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// Its log.
    pub log: ReplicaLog,
    /// The offset after the last durable record.
    pub synced_end: i64,
    /// Whether the log was opened in the running incarnation.
    pub is_open: bool,
    /// What it does.
    pub role: Role,
    /// In which epoch; none before it has a role in this incarnation.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Its high watermark.
    pub high_watermark: i64,
    /// As a leader: the committed set that it was last told.
    pub told_in_sync: Vec<InSyncReplica>,
    /// As a leader: everyone whom its proposals named since.
    pub named: Vec<InSyncReplica>,
    /// When it truncated last in this incarnation, in virtual nanoseconds.
    pub truncated_ns: Option<u64>,
    /// What its disk went through.
    pub suffered: Suffered,
    /// Each producer's last batch that it appended since its log was opened or last begun anew, or that it has still.
    pub producers: BTreeMap<ProducerId, ProducerTail>,
}

impl Replica {
    /// The log end that counts as replicated in this durability class.
    #[must_use]
    pub fn counted_end(&self, durability: Durability) -> i64 {
        match durability {
            Durability::Synced => self.synced_end.min(self.log.end),
            Durability::PageCache => self.log.end,
        }
    }
}

/// The last batch of a producer in the leader's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerTail {
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// The batch's first offset.
    pub base_offset: i64,
}

/// One partition.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its name.
    pub name: TopicPartition,
    /// What is promised of its records.
    pub durability: Durability,
    /// `min.insync.replicas`, no more than there are replicas.
    pub min_in_sync: usize,
    /// Its replicas.
    pub replicas: BTreeMap<Node, Replica>,
    /// The state that the coordinator holds, with its zxid.
    pub state: Option<(Zxid, PartitionState)>,
    /// The moves of the log's start that its configuration or its leader's start justified: when, and
    /// where to, ascending. Nobody is promised what is below the last.
    pub retained: Vec<(u64, i64)>,
    /// The highest high watermark that a leader ever had.
    pub exposed: i64,
    /// The same, what was lost with leave included.
    pub ever_exposed: i64,
    /// The highest high watermark that leaders of each epoch had.
    pub exposed_in: BTreeMap<LeaderEpoch, i64>,
    /// All batches below it, as the leader that exposed them held them.
    pub committed: Vec<AppendedBatch>,
    /// The batches acknowledged with acks=all, by first offset.
    pub acknowledged: BTreeMap<i64, AppendedBatch>,
    /// The highest leader epoch that a leader took up, and which node.
    pub leading: Option<(LeaderEpoch, Node)>,
    /// Each producer's last batch in that leader's log.
    pub producers: BTreeMap<ProducerId, ProducerTail>,
    /// The eligible-leader set from which the present leader may have come.
    pub eligible_before: Vec<InSyncReplica>,
    /// Whether a leader was elected from outside of the in-sync and eligible sets, as configured.
    pub unclean: bool,
}

/// A broker's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// The process's life.
    pub incarnation: Incarnation,
    /// Whether it runs, as far as events and faults tell.
    pub runs: bool,
    /// The broker epoch under which this very life is registered.
    pub broker_epoch: Option<BrokerEpoch>,
    /// The highest broker epoch of any life.
    pub latest_epoch: Option<BrokerEpoch>,
}

/// The cluster.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Who is who.
    pub topology: Topology,
    /// The partitions, in the order of their first event.
    pub partitions: Vec<Partition>,
    /// The nodes' processes.
    pub lives: BTreeMap<Node, Life>,
    /// What a disk holds of the log whose opening is the next event, where somebody looked.
    pub on_disk: Option<(Node, TopicPartition, DiskLog)>,
    /// What segment files a disk holds of the log whose opening or new start is the next event.
    pub segments: Option<(Node, TopicPartition, Segments)>,
    /// Files whose bytes at rest were damaged. Nobody need have noticed yet.
    pub rotted: BTreeSet<(Node, String)>,
    /// Nodes on whose disks calls fail at present, with how many faults make them.
    failing: BTreeMap<Node, usize>,
    names: BTreeMap<TopicPartition, usize>,
}

impl Model {
    /// A cluster of which nothing was seen yet.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        Model { topology, ..Model::default() }
    }

    /// The index of the partition that `event` is about; makes room for a new one.
    pub fn partition_of(&mut self, event: &Event) -> Option<usize> {
        let name = match event {
            Event::Log(name, _) | Event::Replica(name, _) => name,
            Event::Controller(
                ControllerEvent::Committed { partition, .. } | ControllerEvent::Found { partition, .. },
            ) => partition,
            _ => return None,
        };
        if let Some(index) = self.names.get(name) {
            return Some(*index);
        }
        let config = self.topology.topics.get(&name.topic);
        let min_in_sync = config.map_or(1, TopicConfig::effective_min_in_sync);
        let durability = config.map_or_else(Durability::default, |config| config.durability);
        self.names.insert(name.clone(), self.partitions.len());
        self.partitions.push(Partition {
            name: name.clone(),
            durability,
            min_in_sync,
            replicas: BTreeMap::new(),
            state: None,
            retained: Vec::new(),
            exposed: 0,
            ever_exposed: 0,
            exposed_in: BTreeMap::new(),
            committed: Vec::new(),
            acknowledged: BTreeMap::new(),
            leading: None,
            producers: BTreeMap::new(),
            eligible_before: Vec::new(),
            unclean: false,
        });
        Some(self.partitions.len() - 1)
    }

    /// The replica on the event's node.
    #[must_use]
    pub fn replica(&self, seen: Seen<'_>) -> Option<&Replica> {
        self.partitions[seen.partition?].replicas.get(&seen.node())
    }

    /// Rot may have changed what no checksum covers, such as a batch's offset and epoch: of a damaged
    /// segment the batches count up to the first that is not in its place, or where its replica had
    /// another. Beyond the replica's end there may be some whose write failed half way, so that nobody
    /// told of them.
    pub(super) fn leave_out_rot(&self, node: Node, partition: &TopicPartition, log: &mut DiskLog) {
        let Some(at) = self.names.get(partition) else { return };
        let Some(replica) = self.partitions[*at].replicas.get(&node) else { return };
        let had = |batch: &AppendedBatch| batch.base_offset >= replica.log.end || replica.log.holds(batch);
        for segment in &mut log.segments {
            if !self.rotted.contains(&(node, segment.path.clone())) {
                continue;
            }
            let mut next = segment.base_offset;
            let in_place = |batch: &&AppendedBatch| {
                let holds = batch.base_offset == next && had(batch);
                next = batch.last_offset + 1;
                holds
            };
            let counted = segment.batches.iter().take_while(in_place).count();
            if counted < segment.batches.len() {
                segment.batches.truncate(counted);
                let reason = "bytes at rest were damaged".to_owned();
                segment.bad = Some(BadBytes { path: segment.path.clone(), position: 0, reason });
            }
        }
    }

    /// What the disk of the event's node holds of the log that the event is about.
    #[must_use]
    pub fn on_disk(&self, seen: Seen<'_>) -> Option<&DiskLog> {
        let (Event::Log(name, _), Some((node, partition, log))) = (&seen.observed.event, &self.on_disk) else {
            return None;
        };
        (*node == seen.node() && partition == name).then_some(log)
    }

    /// Whether calls of this disk fail at present.
    #[must_use]
    pub fn calls_fail(&self, node: Node) -> bool {
        self.failing.get(&node).is_some_and(|faults| *faults > 0)
    }

    /// Whether bytes at rest were damaged in a file of this replica.
    #[must_use]
    pub fn has_rot_in(&self, node: Node, partition: &TopicPartition) -> bool {
        let directory = partition.to_string();
        self.rotted.iter().any(|(at, path)| *at == node && is_file_in(path, &directory))
    }

    /// The machine of `broker`, if it runs as `broker_epoch` at this moment.
    #[must_use]
    pub fn runs_as(&self, broker: BrokerId, broker_epoch: BrokerEpoch) -> Option<Node> {
        let node = *self.topology.brokers.get(&broker)?;
        let life = self.lives.get(&node)?;
        (life.runs && life.broker_epoch == Some(broker_epoch)).then_some(node)
    }

    /// Takes an event.
    pub fn take(&mut self, seen: Seen<'_>) {
        self.note_life(seen);
        let node = seen.node();
        match (&seen.observed.event, seen.partition) {
            (Event::Log(_, event), Some(at)) => {
                let on_disk = self.on_disk(seen).cloned();
                let calls_fail = self.calls_fail(node);
                self.note_start(seen, at, event);
                self.partitions[at].take_log(node, event, on_disk.as_ref(), calls_fail);
                self.on_disk = None;
                self.segments = None;
            }
            (Event::Replica(_, event), Some(at)) => {
                if let ReplicaEvent::BecameLeader { broker_epoch, .. } = event {
                    self.register(node, *broker_epoch);
                }
                self.partitions[at].take_replica(node, event);
            }
            (Event::Controller(ControllerEvent::Committed { state, zxid, .. }), Some(at)) => {
                let unclean_allowed = self.topology.unclean_election;
                self.partitions[at].take_state(&self.topology.brokers, *zxid, state, unclean_allowed);
            }
            (Event::Controller(ControllerEvent::Found { state, written, .. }), Some(at)) => {
                let known = self.partitions[at].state.as_ref();
                if known.is_none_or(|(_, known)| known.partition_epoch < state.partition_epoch) {
                    let after_known = known.map_or(Zxid(0), |(zxid, _)| Zxid(zxid.0 + 1));
                    let zxid = written.map_or(after_known, |(_, zxid)| zxid);
                    let unclean_allowed = self.topology.unclean_election;
                    self.partitions[at].take_state(&self.topology.brokers, zxid, state, unclean_allowed);
                }
            }
            (Event::Controller(ControllerEvent::BrokerStarted { broker, broker_epoch, .. }), _) => {
                if let Some(node) = self.topology.brokers.get(broker).copied() {
                    self.register_if_newer(node, *broker_epoch);
                }
            }
            (Event::Broker(BrokerEvent::Registered { broker_epoch, .. }), _) => self.register(node, *broker_epoch),
            _ => {}
        }
    }

    /// Takes a log's new start for what is promised, where it is justified.
    fn note_start(&mut self, seen: Seen<'_>, at: usize, event: &LogEvent) {
        if let LogEvent::Truncated { .. } = event
            && let Some(replica) = self.partitions[at].replicas.get_mut(&seen.node())
        {
            replica.truncated_ns = Some(seen.time_ns());
        }
        let (LogEvent::StartAdvanced { log_start } | LogEvent::Opened { log_start, .. }) = event else { return };
        let justified = retention_justified::is_justified(self, seen, *log_start) == Some(true);
        let partition = &mut self.partitions[at];
        if justified && *log_start > partition.justified_start() && *log_start <= partition.exposed {
            partition.retained.push((seen.time_ns(), *log_start));
        }
    }

    /// Takes note of a fault.
    pub fn fault(&mut self, note: &FaultNote) {
        match note {
            FaultNote::DiskLost(lost) => self.rotted.retain(|(node, _)| node != lost),
            FaultNote::Rotted { node, path } => drop(self.rotted.insert((*node, path.clone()))),
            FaultNote::CallsFail(node) | FaultNote::SyncFails(node) => *self.failing.entry(*node).or_default() += 1,
            FaultNote::CallsWork(node) => {
                let failing = self.failing.entry(*node).or_default();
                *failing = failing.saturating_sub(1);
            }
            _ => {}
        }
        for node in note.nodes() {
            if matches!(note, FaultNote::ProcessCrashed(_) | FaultNote::PowerLost(_)) {
                let life = self.lives.entry(*node).or_default();
                (life.runs, life.broker_epoch) = (false, None);
            }
            for partition in &mut self.partitions {
                let Some(replica) = partition.replicas.get_mut(node) else { continue };
                match note {
                    FaultNote::ProcessCrashed(_) | FaultNote::CallsWork(_) | FaultNote::SyncFailed(_) => {}
                    FaultNote::PowerLost(_) => replica.suffered.power_lost = true,
                    FaultNote::DiskLost(_) => replica.suffered.disk_lost = true,
                    FaultNote::CallsFail(_) | FaultNote::SyncFails(_) => replica.suffered.calls_failed = true,
                    // What rots in another log, or beside all of them, is no excuse for this one.
                    FaultNote::Rotted { path, .. } => {
                        replica.suffered.damaged |= is_file_in(path, &partition.name.to_string());
                    }
                }
            }
        }
    }

    /// Where nothing is promised any more, what was committed is what the present leader holds.
    pub fn forget_lost(&mut self, seen: Seen<'_>, budget: &Budget) {
        let Event::Replica(_, ReplicaEvent::BecameLeader { .. }) = &seen.observed.event else { return };
        let Some(at) = seen.partition else { return };
        let partition = &mut self.partitions[at];
        if partition.unclean || budget.is_beyond(at) {
            partition.forget_what_is_not_on(seen.node());
        }
    }

    fn note_life(&mut self, seen: Seen<'_>) {
        let life = self.lives.entry(seen.node()).or_default();
        let started = life.incarnation != seen.observed.incarnation;
        life.runs = true;
        if started {
            life.incarnation = seen.observed.incarnation;
            life.broker_epoch = None;
            for partition in &mut self.partitions {
                if let Some(replica) = partition.replicas.get_mut(&seen.observed.node) {
                    (replica.is_open, replica.role, replica.leader_epoch) = (false, Role::None, None);
                    (replica.high_watermark, replica.truncated_ns) = (0, None);
                }
            }
        }
    }

    fn register(&mut self, node: Node, broker_epoch: BrokerEpoch) {
        let life = self.lives.entry(node).or_default();
        life.broker_epoch = Some(broker_epoch);
        life.latest_epoch = life.latest_epoch.max(Some(broker_epoch));
    }

    /// The controller may still look at an earlier life's registration; only a new one counts.
    fn register_if_newer(&mut self, node: Node, broker_epoch: BrokerEpoch) {
        let life = self.lives.entry(node).or_default();
        if life.runs && life.latest_epoch < Some(broker_epoch) {
            self.register(node, broker_epoch);
        }
    }
}

impl Partition {
    /// The members of the in-sync set that run in the incarnation it names.
    pub fn running_in_sync<'m>(&'m self, model: &'m Model) -> impl Iterator<Item = (Node, &'m Replica)> {
        let members = self.state.iter().flat_map(|(_, state)| &state.in_sync);
        members.filter_map(|member| {
            let node = model.runs_as(member.broker, member.broker_epoch)?;
            self.replicas.get(&node).filter(|replica| replica.is_open).map(|replica| (node, replica))
        })
    }

    /// The maximal in-sync set of the leader `replica`: the committed set that it was last told, all
    /// whom its proposals named since, and what the coordinator holds by now for its epoch.
    pub fn maximal_in_sync(&self, replica: &Replica) -> BTreeSet<InSyncReplica> {
        let committed = self.state.iter().filter(|(_, state)| Some(state.leader_epoch) == replica.leader_epoch);
        let committed = committed.flat_map(|(_, state)| &state.in_sync);
        replica.told_in_sync.iter().chain(&replica.named).chain(committed).copied().collect()
    }

    /// The highest high watermark ever exposed in an epoch up to `leader_epoch`: what a leader of
    /// that epoch must hold. One that learns late of an election, after a later one, need not hold
    /// what was committed in between, and cannot commit anything itself.
    #[must_use]
    pub fn exposed_up_to(&self, leader_epoch: LeaderEpoch) -> i64 {
        self.exposed_in.range(..=leader_epoch).map(|(_, highest)| *highest).max().unwrap_or(0)
    }

    /// The highest log start that was justified so far.
    #[must_use]
    pub fn justified_start(&self) -> i64 {
        self.retained.last().map_or(0, |(_, start)| *start)
    }

    /// Whether `node` was last named as an eligible leader, in whatever incarnation, before it was elected.
    #[must_use]
    pub fn was_eligible(&self, model: &Model, node: Node) -> bool {
        self.eligible_before.iter().any(|member| model.topology.brokers.get(&member.broker) == Some(&node))
    }

    /// Whether `node` is the latest leader. A deposed one that has not heard of it is not.
    #[must_use]
    pub fn is_led_by(&self, node: Node) -> bool {
        let replica = self.replicas.get(&node).filter(|replica| replica.role == Role::Leader);
        let epoch = replica.and_then(|replica| replica.leader_epoch);
        epoch.is_some_and(|epoch| self.leading == Some((epoch, node)))
    }

    fn take_log(&mut self, node: Node, event: &LogEvent, on_disk: Option<&DiskLog>, calls_fail: bool) {
        let replica = self.replicas.entry(node).or_default();
        match event {
            LogEvent::Opened { log_start, log_end, .. } => {
                replica.log.reopen(*log_start, *log_end, on_disk);
                replica.synced_end = replica.synced_end.min(*log_end);
                // A snapshot that was never synced need not outlive a power cut.
                let from = if replica.suffered == Suffered::default() { 0 } else { *log_start };
                replica.producers.retain(|_, tail| (from..*log_end).contains(&tail.base_offset));
                replica.suffered = Suffered { calls_failed: calls_fail, ..Suffered::default() };
                replica.is_open = true;
            }
            LogEvent::Appended { batch, log_end } => {
                replica.log.append(*batch, *log_end);
                note_producer(&mut replica.producers, batch);
                if self.is_led_by(node) {
                    note_producer(&mut self.producers, batch);
                }
            }
            LogEvent::Synced { synced_end } => {
                replica.synced_end = *synced_end;
                replica.log.synced();
            }
            LogEvent::Truncated { log_end, .. } => {
                replica.log.truncate(*log_end);
                replica.producers.retain(|_, tail| tail.base_offset < *log_end);
                replica.synced_end = replica.synced_end.min(*log_end);
            }
            LogEvent::Rolled { .. } => {}
            LogEvent::StartAdvanced { log_start } => {
                // A log that begins anew knows no producers. That it does so, or that all was deleted, looks the same.
                if *log_start >= replica.log.end {
                    replica.producers.clear();
                }
                replica.log.advance_start(*log_start);
            }
            // A claim, which `damage_explained` holds against the faults that struck.
            LogEvent::Damaged { .. } => {}
        }
    }

    fn take_replica(&mut self, node: Node, event: &ReplicaEvent) {
        let replica = self.replicas.entry(node).or_default();
        match event {
            ReplicaEvent::BecameLeader { leader_epoch, high_watermark, .. } => {
                (replica.role, replica.leader_epoch) = (Role::Leader, Some(*leader_epoch));
                replica.high_watermark = *high_watermark;
                replica.told_in_sync.clear();
                replica.named.clear();
                self.lead(node, *leader_epoch);
            }
            ReplicaEvent::BecameFollower { leader_epoch, .. } => {
                (replica.role, replica.leader_epoch) = (Role::Follower, Some(*leader_epoch));
            }
            ReplicaEvent::Stopped => replica.role = Role::None,
            ReplicaEvent::InSync { committed, proposed, .. } => {
                replica.told_in_sync.clone_from(committed);
                match proposed {
                    Some(proposed) => {
                        let new = proposed.iter().filter(|member| !replica.named.contains(member));
                        let new: Vec<InSyncReplica> = new.copied().collect();
                        replica.named.extend(new);
                    }
                    None => replica.named.clear(),
                }
            }
            ReplicaEvent::HighWatermark { leads, leader_epoch, high_watermark, .. } => {
                replica.high_watermark = *high_watermark;
                if *leads {
                    self.expose(node, *leader_epoch, *high_watermark);
                }
            }
            ReplicaEvent::Acknowledged { base_offset, acks: -1, .. } => {
                if let Some(batch) = replica.log.at(*base_offset) {
                    self.acknowledged.insert(batch.base_offset, *batch);
                }
            }
            _ => {}
        }
    }

    fn lead(&mut self, node: Node, leader_epoch: LeaderEpoch) {
        if self.leading.is_none_or(|(epoch, _)| epoch <= leader_epoch) {
            self.leading = Some((leader_epoch, node));
            self.producers.clear();
            if let Some(replica) = self.replicas.get(&node) {
                replica.log.batches.iter().for_each(|batch| note_producer(&mut self.producers, batch));
            }
        }
    }

    fn expose(&mut self, node: Node, leader_epoch: LeaderEpoch, high_watermark: i64) {
        let highest = self.exposed_in.entry(leader_epoch).or_default();
        *highest = high_watermark.max(*highest);
        self.ever_exposed = self.ever_exposed.max(high_watermark);
        if high_watermark > self.exposed {
            let from = self.committed.last().map_or(0, |batch| batch.last_offset + 1);
            if let Some(replica) = self.replicas.get(&node) {
                let exposed = replica.log.from(from).take_while(|batch| batch.last_offset < high_watermark);
                self.committed.extend(exposed.copied());
            }
            self.exposed = high_watermark;
        }
    }

    fn take_state(
        &mut self,
        brokers: &BTreeMap<BrokerId, Node>,
        zxid: Zxid,
        state: &PartitionState,
        unclean_allowed: bool,
    ) {
        if self.state.as_ref().is_some_and(|(known, _)| *known >= zxid) {
            return;
        }
        if let (Some((_, old)), Some(leader), true) = (&self.state, state.leader, unclean_allowed) {
            self.unclean |= !old.is_in_sync(leader) && !old.is_eligible(leader);
        }
        for node in state.replicas.iter().filter_map(|broker| brokers.get(broker)) {
            self.replicas.entry(*node).or_default();
        }
        let elected = self.state.as_ref().filter(|(_, old)| old.leader_epoch < state.leader_epoch);
        if let Some((_, old)) = elected {
            self.eligible_before.clone_from(&old.eligible_leaders);
        }
        self.state = Some((zxid, state.clone()));
    }

    fn forget_what_is_not_on(&mut self, node: Node) {
        let Some(log) = self.replicas.get(&node).map(|replica| &replica.log) else { return };
        self.committed.retain(|batch| log.holds(batch));
        self.acknowledged.retain(|_, batch| log.holds(batch));
        self.exposed = self.exposed.min(log.end);
        self.exposed_in.values_mut().for_each(|highest| *highest = log.end.min(*highest));
    }
}

/// Whether `path` is a segment of the partition whose directory has this name.
pub(super) fn is_segment_in(path: &str, directory: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "log") && is_file_in(path, directory)
}

/// Whether `path` is a file of the partition whose directory has this name.
fn is_file_in(path: &str, directory: &str) -> bool {
    let parent = Path::new(path).parent().and_then(Path::file_name).and_then(OsStr::to_str);
    parent == Some(directory)
}

fn note_producer(producers: &mut BTreeMap<ProducerId, ProducerTail>, batch: &AppendedBatch) {
    // A control batch carries no sequence; it may raise the epoch (KIP-890).
    if batch.producer_id.0 < 0 {
        return;
    }
    let same_epoch = producers.get(&batch.producer_id).filter(|tail| tail.epoch == batch.producer_epoch);
    let before = same_epoch.map_or(-1, |tail| tail.last_sequence);
    let span = (batch.last_offset - batch.base_offset) as i32;
    let last_sequence = if batch.base_sequence < 0 { before } else { sequence_after(batch.base_sequence, span) };
    let tail = ProducerTail { epoch: batch.producer_epoch, last_sequence, base_offset: batch.base_offset };
    producers.insert(batch.producer_id, tail);
}
