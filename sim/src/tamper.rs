//! Tampering: a passing run's record is edited, and the checker named by the edit must reject it,
//! every time. A checker that lets an edited record pass does not check.
//!
//! Each edit picks an entry where the rejection is *guaranteed*, not merely likely; where a record
//! has no such entry, [`tamper`] gives nothing.

mod coordinator;
mod met;
mod protocol;
mod replicas;
mod sends;
mod subtrees;
mod topics;

use std::collections::BTreeSet;

use wyrdlog::base::event::{Event, LogEvent, ReplicaEvent};
use wyrdlog::base::ids::TopicPartition;

use crate::checkers::availability::{self, AfterHealing};
use crate::checkers::committed::Committed;
use crate::checkers::protocol as checkers_of_protocol;
use crate::checkers::replay_equals_live::{self, Replays};
use crate::checkers::right_refusal::{self, Nodes};
use crate::checkers::subtrees as checkers_of_subtrees;
use crate::checkers::topics as checkers_of_topics;
use crate::checkers::{
    bounded_effort, check_coordinator, check_kafka, check_met, quorum_heard, session_length, session_wire,
    sightings::Sightings,
};
use crate::draw::Draw;
use crate::history::cluster::ClusterHistory;
use crate::history::coordinator::CoordinatorHistory;
use crate::history::effort::EffortHistory;
use crate::history::kafka::{Call, KafkaHistory, Reply, ResetReason};
use crate::history::protocol::ProtocolHistory;
use crate::history::sessions::SessionHistory;
use crate::history::subtrees::SubtreesHistory;
use crate::history::topics::TopicsHistory;
use crate::history::{OpId, Outcome};
use crate::invariants::model::Topology;
use crate::invariants::{Depth, Invariants};
use crate::observed::{DiskLog, FaultNote, Node, Observed, Segments};
use crate::verdict::{Findings, Property};

/// A value that no workload sends.
const FOREIGN_VALUE: u64 = u64::MAX;

/// What was recorded at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A node observed something.
    Event(Observed),
    /// A node observed something at which no invariant looks: it is told, and that is all.
    Unjudged(Observed),
    /// What a disk held of a log that is about to be seen opened.
    Disk {
        /// Whose disk.
        node: Node,
        /// Which log.
        partition: TopicPartition,
        /// The log.
        log: DiskLog,
    },
    /// What segment files a disk held of a log that is about to be seen opened or shortened.
    Segments {
        /// Whose disk.
        node: Node,
        /// Which log.
        partition: TopicPartition,
        /// Its files.
        segments: Segments,
    },
    /// A fault took effect.
    Fault {
        /// When, in virtual nanoseconds.
        time_ns: u64,
        /// What.
        note: FaultNote,
    },
}

/// All that a run left for judgement.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Events and faults, in order.
    pub entries: Vec<Entry>,
    /// What producers and consumers did.
    pub kafka: KafkaHistory,
    /// What the coordinator's clients did.
    pub coordinator: CoordinatorHistory,
    /// What the coordinator's registers were.
    pub committed: Committed,
    /// What is known of sessions.
    pub sessions: SessionHistory,
    /// Which nodes of the tree there were.
    pub nodes: Nodes,
    /// What servers' disks made of the tree.
    pub replays: Replays,
    /// What servers did for what was asked of them.
    pub effort: EffortHistory,
    /// What the liveness phase saw.
    pub after_healing: AfterHealing,
    /// What clients met while faults did what they did.
    pub met: ClusterHistory,
    /// What clients did with topics of their own.
    pub topics: Option<TopicsHistory>,
    /// What clients asked that speak every version, and what came.
    pub protocol: Option<ProtocolHistory>,
    /// What clients with a subtree of their own sent and received.
    pub subtrees: Option<SubtreesHistory>,
}

impl Record {
    /// Whether `property` is violated.
    #[must_use]
    pub fn violates(&self, topology: &Topology, property: Property) -> bool {
        let is_violated = |all: &[Findings]| all.iter().any(|one| one.property == property && one.violated > 0);
        let mut invariants = Invariants::new(topology.clone(), Depth::Incremental);
        let of_events = invariants.findings().iter().any(|one| one.property == property);
        if of_events {
            let mut before = 0;
            for entry in &self.entries {
                let violated = replay(&mut invariants, entry);
                if violated > before && is_violated(&invariants.findings()) {
                    return true;
                }
                before = violated;
            }
        }
        is_violated(&self.judge_histories())
    }

    /// Judges the record by every checker and invariant.
    #[must_use]
    pub fn judge(&self, topology: &Topology) -> Vec<Findings> {
        let mut invariants = Invariants::new(topology.clone(), Depth::Incremental);
        for entry in &self.entries {
            replay(&mut invariants, entry);
        }
        let mut findings = invariants.findings();
        findings.extend(self.judge_histories());
        findings
    }

    fn judge_histories(&self) -> Vec<Findings> {
        let mut findings = Vec::new();
        findings.extend(check_kafka(&self.kafka));
        findings.extend(check_coordinator(&self.coordinator, &self.committed));
        findings.push(session_length::check(&self.sessions));
        findings.extend(session_wire::check(&self.sessions));
        findings.push(quorum_heard::check(&self.sessions));
        findings.push(bounded_effort::check(&self.effort));
        findings.push(right_refusal::check(&self.sessions, &self.nodes));
        findings.push(replay_equals_live::check(&self.replays));
        findings.push(availability::check(&self.after_healing, &self.kafka));
        findings.extend(check_met(&self.met, &self.kafka, &self.coordinator));
        findings.extend(self.topics.iter().flat_map(|history| checkers_of_topics::check(history, &self.met)));
        findings.extend(self.protocol.iter().map(|history| checkers_of_protocol::check(&self.met, history)));
        findings.extend(self.subtrees.iter().map(|history| checkers_of_subtrees::check(history, &self.met)));
        findings
    }
}

/// Feeds an entry, and gives back how many violations there are.
fn replay(invariants: &mut Invariants, entry: &Entry) -> u64 {
    match entry {
        Entry::Event(observed) => return invariants.observe(observed),
        Entry::Disk { node, partition, log } => invariants.disk_log(*node, partition.clone(), log.clone()),
        Entry::Segments { node, partition, segments } => {
            invariants.disk_segments(*node, partition.clone(), segments.clone());
        }
        Entry::Fault { time_ns, note } => invariants.fault(*time_ns, note),
        Entry::Unjudged(_) => {}
    }
    invariants.violated()
}

macro_rules! tampers {
    ($($(#[$doc:meta])* $name:ident => $property:ident),* $(,)?) => {
        /// A way to edit a record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Tamper { $($(#[$doc])* $name),* }

        impl Tamper {
            /// All of them.
            pub const ALL: &'static [Tamper] = &[$(Tamper::$name),*];

            /// The property whose checker must reject the edited record.
            #[must_use]
            pub fn rejected_by(self) -> Property { match self { $(Tamper::$name => Property::$property),* } }
        }
    };
}

tampers! {
    /// A committed record is dropped from every poll, below the highest that was read.
    DropRecord => LostWrite,
    /// The highest acknowledged record is dropped from every poll.
    DropLastRecord => Unseen,
    /// A record shows once more, at a new offset.
    DuplicateRecord => Duplicate,
    /// Two records of one poll change places.
    SwapRecords => NonmonotonicPoll,
    /// A polled value becomes one that nobody sent.
    CorruptRecord => NothingGarbage,
    /// A polled value becomes another, where acks=all had acknowledged the first.
    CorruptOffset => InconsistentOffsets,
    /// A send whose value was polled is recorded as failed.
    FailSend => AbortedRead,
    /// A synchronised read of a register answers another value.
    CorruptSyncRead => Linearizability,
    /// A synchronised read shows an older state than a client was shown before it.
    AgeSyncRead => Linearizability,
    /// A server answered a sync or a write without a word from one of those that had to agree.
    DropWord => QuorumHeard,
    /// A plain read of a register answers another value.
    CorruptRead => SnapshotRead,
    /// A reply carries an older zxid than the session has seen.
    AgeReply => SessionOrder,
    /// A server does in one second what it does in fifty, for nobody.
    RepeatWork => BoundedEffort,
    /// A client completes nothing after healing.
    StallClient => Availability,
    /// A partition acknowledges nothing with acks=all after healing.
    StallPartition => Availability,
    /// A consumer is told that its position is out of range.
    ResetConsumer => UnexpectedReset,
    /// A polled value shows in another partition.
    MoveRecord => LandsWhereSent,
    /// A log's start moves, as far as its end, without a look at retention.
    AdvanceStart => RetentionJustified,
    /// A node calls a log damaged that no fault struck.
    ClaimDamage => StaysUp,
    /// A leader was last told an in-sync set of none when it moves its high watermark.
    ShrinkMinInSync => HighWatermarkSafety,
    /// A replica's append is dropped from between two others.
    DropAppend => LogMatching,
    /// A replica's append shows twice.
    DuplicateAppend => LogMatching,
    /// Two successive appends of a replica change places.
    SwapAppends => LogMatching,
    /// A replica's append has other bytes than its twin.
    CorruptAppend => LogMatching,
    /// A member of the in-sync set stops appending while the high watermark moves on.
    StallReplica => HighWatermarkSafety,
    /// A leader does not move its high watermark although it may.
    StallHighWatermark => HighWatermarkProgress,
    /// An applied entry of the coordinator has other bytes than on another server.
    CorruptApplied => StateMachineSafety,
    /// Another node takes up a leader's epoch.
    DuplicateLeader => OneLeaderPerEpoch,
    /// A server of the coordinator leaves out an entry.
    DropApplied => StateMachineSafety,
    /// A server of the coordinator applies an entry twice.
    DuplicateApplied => StateMachineSafety,
    /// Two successive entries of a server of the coordinator change places.
    SwapApplied => StateMachineSafety,
    /// An ephemeral outlives its session.
    KeepEphemeral => SessionSafety,
    /// An ephemeral is created although it is there.
    DuplicateEphemeral => SessionSafety,
    /// A watch event is delivered behind a reply that shows its change.
    SwapWatch => WatchOrder,
    /// A watch event is never delivered.
    DropWatch => WatchOrder,
    /// A client is told of a change for which it left no watch.
    DropWatchRequest => WatchOrder,
    /// A session is given the password of another.
    SwapPassword => SessionSafety,
    /// A session expires although its leader heard of it.
    HastenExpiry => SessionLength,
    /// A session that is silent does not expire.
    StallExpiry => SessionLength,
    /// A session expires although no leader called it overdue.
    DropProposal => SessionLength,
    /// A session is granted another time-out than is due.
    CorruptGrant => SessionLength,
    /// A request is refused with a code that its operation never has.
    CorruptRefusal => RightRefusal,
    /// A disk makes another state of the tree than is live.
    CorruptRebuilt => ReplayEqualsLive,
    /// A poll leaves out a record between two others.
    SkipRecord => PollSkip,
    /// Two sends of one producer take effect in each other's place.
    SwapSends => NonmonotonicSend,
    /// A send is invoked after something above its offset was known.
    DelaySend => WriteCycle,
    /// A replica without its log leads.
    ElectTruncated => LeaderCompleteness,
    /// A member of the in-sync set loses its log.
    TruncateMember => IsrCompleteness,
    /// An eligible leader loses its log.
    TruncateEligible => EligibleCompleteness,
    /// acks=all is acknowledged for what nobody ever exposed.
    AcknowledgeEarly => CommittedSurvives,
    /// A leader appends under another epoch than it leads in.
    CorruptEpoch => FencedStaysFenced,
    /// A leader appends a batch of a producer that leaves a sequence out.
    SkipSequence => IdempotentOrder,
    /// A log that was synced is empty when it is opened again.
    LoseAtRecovery => RecoveredPrefix,
    /// A send of a calm stretch is never answered.
    DropAnswer => Availability,
    /// A broker refuses with a code that no request ever deserves.
    CorruptBrokerRefusal => RightRefusal,
    /// A partition is not led anew after its leader's process ended.
    StallFailover => Availability,
    /// A broker that stops in good order is followed only once it has ended.
    StallHandOver => Availability,
    /// A leader that nothing struck is taken away.
    DropLeader => Availability,
    /// A lookup by time finds nothing where it found a record.
    DropLookup => OffsetForTime,
    /// A value of a topic that was deleted shows in the next one of its name.
    ReviveRecord => LandsWhereSent,
    /// A record that was acknowledged is left out of what was read of a topic that a client created.
    DropTopicRecord => Unseen,
    /// A creation or deletion of a topic is refused with a code that it never deserves.
    CorruptTopicRefusal => RightRefusal,
    /// A client does not once create a topic again after healing.
    StallRounds => Availability,
    /// An answer of a broker bears another request's number.
    DuplicateFrame => AnswersByProtocol,
    /// Two answers of one connection change places.
    SwapFrames => AnswersByProtocol,
    /// An answer says another error than its request deserves.
    CorruptFrame => AnswersByProtocol,
    /// A connection is closed in place of an answer.
    DropFrame => AnswersByProtocol,
    /// An answer is late, although nothing disturbs.
    StallFrame => AnswersByProtocol,
    /// A reply to who owns a subtree is missing, and the next one is there.
    DropReply => AnswersByProtocol,
    /// It has another code.
    CorruptReplyCode => AnswersByProtocol,
    /// It has another number in its stat.
    CorruptReplyStat => AnswersByProtocol,
    /// Two replies change places.
    SwapReplies => AnswersByProtocol,
    /// The event of a client's own change is missing before its reply.
    DropReplyEvent => AnswersByProtocol,
    /// A reply of a calm stretch never comes, nor anything behind it.
    StallReplies => AnswersByProtocol,
}

/// The record with one entry edited by `kind`; which one is drawn from `seed`. None where the
/// record has no entry whose edit must be rejected.
#[must_use]
pub fn tamper(record: &Record, kind: Tamper, seed: u64) -> Option<Record> {
    let mut edited = record.clone();
    let mut draw = Draw::new(seed, "tamper");
    match kind {
        Tamper::DropRecord => drop_record(&mut edited.kafka, &mut draw, false),
        Tamper::DropLastRecord => drop_record(&mut edited.kafka, &mut draw, true),
        Tamper::DuplicateRecord => duplicate_record(&mut edited.kafka, &mut draw),
        Tamper::SwapRecords => swap_records(&mut edited.kafka, &mut draw),
        Tamper::CorruptRecord => corrupt_record(&mut edited.kafka, &mut draw),
        Tamper::CorruptOffset => corrupt_offset(&mut edited.kafka, &mut draw),
        Tamper::FailSend => fail_send(&mut edited.kafka, &mut draw),
        Tamper::AgeSyncRead => coordinator::age_sync_read(&mut edited.coordinator, &mut draw),
        Tamper::CorruptSyncRead => coordinator::corrupt_read(&mut edited.coordinator, &mut draw, true),
        Tamper::CorruptRead => coordinator::corrupt_read(&mut edited.coordinator, &mut draw, false),
        Tamper::AgeReply => coordinator::age_reply(&mut edited.coordinator, &mut draw),
        Tamper::StallClient => {
            let clients: Vec<u16> = edited.after_healing.completed.keys().copied().collect();
            draw.pick(&clients).map(|client| edited.after_healing.completed.extend([(*client, 0)]))
        }
        Tamper::StallPartition => stall_partition(&mut edited, &mut draw),
        Tamper::ResetConsumer => reset_consumer(&mut edited.kafka, &mut draw),
        Tamper::MoveRecord => move_record(&mut edited.kafka, &mut draw),
        Tamper::AdvanceStart => advance_start(&mut edited.entries, &edited.kafka, &mut draw),
        Tamper::ClaimDamage => claim_damage(&mut edited.entries, &mut draw),
        Tamper::ShrinkMinInSync => expose_below_min_in_sync(&mut edited.entries, &mut draw),
        Tamper::DropAppend | Tamper::DuplicateAppend | Tamper::SwapAppends | Tamper::CorruptAppend => {
            edit_append(&mut edited.entries, kind, &mut draw)
        }
        Tamper::StallReplica => stall_replica(&mut edited.entries, &mut draw),
        Tamper::StallHighWatermark => stall_high_watermark(&mut edited.entries, &mut draw),
        Tamper::CorruptApplied => coordinator::corrupt_applied(&mut edited.entries, &mut draw),
        Tamper::DuplicateLeader => duplicate_leader(&mut edited.entries, &mut draw),
        Tamper::DropApplied | Tamper::DuplicateApplied | Tamper::SwapApplied => {
            coordinator::edit_applied(&mut edited.entries, kind, &mut draw)
        }
        Tamper::KeepEphemeral | Tamper::DuplicateEphemeral => {
            coordinator::edit_ephemerals(&mut edited.entries, kind, &mut draw)
        }
        Tamper::SwapWatch | Tamper::DropWatch => coordinator::edit_watch(&mut edited.entries, kind, &mut draw),
        Tamper::HastenExpiry | Tamper::StallExpiry | Tamper::DropProposal | Tamper::CorruptGrant => {
            coordinator::edit_sessions(&mut edited.sessions, kind, &mut draw)
        }
        Tamper::CorruptRefusal => coordinator::corrupt_refusal(&mut edited.sessions, &mut draw),
        Tamper::CorruptRebuilt => coordinator::corrupt_rebuilt(&mut edited.replays, &mut draw),
        Tamper::SkipRecord => sends::skip_record(&mut edited.kafka, &mut draw),
        Tamper::SwapSends => sends::swap_sends(&mut edited.kafka, &mut draw),
        Tamper::DelaySend => sends::delay_send(&mut edited.kafka, &mut draw),
        Tamper::ElectTruncated | Tamper::TruncateMember | Tamper::TruncateEligible => {
            replicas::truncate_member(&mut edited.entries, kind, &mut draw)
        }
        Tamper::AcknowledgeEarly => replicas::acknowledge_early(&mut edited.entries, &mut draw),
        Tamper::CorruptEpoch | Tamper::SkipSequence => {
            replicas::edit_leaders_append(&mut edited.entries, kind, &mut draw)
        }
        Tamper::LoseAtRecovery => replicas::lose_at_recovery(&mut edited.entries, &mut draw),
        Tamper::DropWatchRequest => coordinator::drop_watch_request(&mut edited.sessions, &mut draw),
        Tamper::RepeatWork => met::repeat_work(&mut edited.effort, &mut draw),
        Tamper::DropWord => coordinator::drop_word(&mut edited.sessions, &mut draw),
        Tamper::SwapPassword => coordinator::swap_password(&mut edited.sessions, &mut draw),
        Tamper::DropAnswer => met::drop_answer(&mut edited, &mut draw),
        Tamper::CorruptBrokerRefusal => met::corrupt_refusal(&mut edited, &mut draw),
        Tamper::StallFailover => met::stall_failover(&mut edited, &mut draw),
        Tamper::StallHandOver => met::stall_hand_over(&mut edited, &mut draw),
        Tamper::DropLeader => met::drop_leader(&mut edited, &mut draw),
        Tamper::DropLookup => met::drop_lookup(&edited.met, &mut edited.kafka, &mut draw),
        Tamper::ReviveRecord => topics::revive_record(edited.topics.as_mut()?, &mut draw),
        Tamper::DropTopicRecord => topics::drop_record(edited.topics.as_mut()?, &mut draw),
        Tamper::CorruptTopicRefusal => topics::corrupt_refusal(edited.topics.as_mut()?, &mut draw),
        Tamper::StallRounds => topics::stall_rounds(edited.topics.as_mut()?, &mut draw),
        Tamper::DuplicateFrame | Tamper::SwapFrames | Tamper::CorruptFrame | Tamper::DropFrame | Tamper::StallFrame => {
            protocol::edit(&edited.met, edited.protocol.as_mut()?, kind, &mut draw)
        }
        of_replies => subtrees::edit(&mut edited, of_replies, &mut draw),
    }?;
    Some(edited)
}

/// Some partition of which availability is promised answers no send of the liveness phase.
fn stall_partition(record: &mut Record, draw: &mut Draw) -> Option<()> {
    let Record { kafka, after_healing: seen, .. } = record;
    let due = |operation: &crate::history::kafka::KafkaOp| {
        matches!(operation.call, Call::Send { acks: -1, .. })
            && operation.invoked_ns >= seen.healed_ns
            && operation.invoked_ns.max(seen.bound_ns) + availability::AGAIN_WITHIN_NS <= seen.load_ends_ns
    };
    let sent = kafka.operations.iter().filter(|operation| due(operation)).map(|operation| operation.call.partition());
    let promised: BTreeSet<u16> = sent.filter(|partition| !kafka.is_beyond(*partition)).collect();
    let stalled = *draw.pick(&promised.into_iter().collect::<Vec<_>>())?;
    for operation in &mut kafka.operations {
        let later = operation.completed_ns.is_some_and(|at_ns| at_ns >= seen.healed_ns);
        if later && operation.call.partition() == stalled && matches!(operation.call, Call::Send { .. }) {
            operation.outcome = Outcome::Unknown;
        }
    }
    Some(())
}

fn reset_consumer(history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let polls: Vec<(OpId, i64)> = polls_with(history, 1)
        .into_iter()
        .filter(|(op, ..)| !history.is_beyond(history.operations[*op as usize].call.partition()))
        .map(|(op, start, _)| (op, history.records[start].0))
        .collect();
    let (op, position) = *draw.pick(&polls)?;
    let operation = history.operations[op as usize].clone();
    let partition = operation.call.partition();
    let at_ns = operation.invoked_ns;
    if position < history.log_start_at(partition, at_ns) {
        return None;
    }
    history.invoke(operation.client, at_ns, Call::Reset { partition, position, reason: ResetReason::OutOfRange });
    Some(())
}

fn move_record(history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let polls = polls_with(history, 1);
    let (op, start, end) = *draw.pick(&polls)?;
    let here = history.operations[op as usize].call.partition();
    let elsewhere: Vec<u64> = history
        .operations
        .iter()
        .filter_map(|operation| match operation.call {
            Call::Send { partition, value, .. } if partition != here => Some(value),
            _ => None,
        })
        .collect();
    let value = *draw.pick(&elsewhere)?;
    let at = draw.between(start as u64, end as u64 - 1) as usize;
    history.records[at].1 = value;
    Some(())
}

/// Directly behind an append within the first exposed records, before anything could be retained.
/// Where something is promised of the partition, and retention cannot have decided upon a longer log.
fn advance_start(entries: &mut Vec<Entry>, kafka: &KafkaHistory, draw: &mut Draw) -> Option<()> {
    let is_promised =
        |name: &TopicPartition| (0..).zip(&kafka.partitions).any(|(at, known)| known == name && !kafka.is_beyond(at));
    let mut truncated: BTreeSet<(Node, &TopicPartition)> = BTreeSet::new();
    for entry in entries.iter() {
        if let Entry::Event(Observed { node, event: Event::Log(name, LogEvent::Truncated { .. }), .. }) = entry {
            truncated.insert((*node, name));
        }
    }
    let moved = |entry: &Entry| {
        let Entry::Event(observed) = entry else { return None };
        let Event::Log(name, LogEvent::Appended { log_end, .. }) = &observed.event else { return None };
        let is_judged = is_promised(name) && !truncated.contains(&(observed.node, name));
        is_judged.then(|| (observed.clone(), name.clone(), *log_end))
    };
    let appends: Vec<usize> = (0..entries.len()).filter(|at| moved(&entries[*at]).is_some()).collect();
    let at = *draw.pick(&appends)?;
    let (mut observed, name, log_start) = moved(&entries[at])?;
    let (node, partition) = (observed.node, name.clone());
    observed.event = Event::Log(name, LogEvent::StartAdvanced { log_start });
    entries.insert(at + 1, Entry::Segments { node, partition, segments: vec![(log_start, 0)] });
    entries.insert(at + 2, Entry::Event(observed));
    Some(())
}

/// Before the first fault.
fn claim_damage(entries: &mut Vec<Entry>, draw: &mut Draw) -> Option<()> {
    let calm = entries.iter().position(|entry| matches!(entry, Entry::Fault { .. })).unwrap_or(entries.len());
    let appends: Vec<usize> = (0..calm).filter(|at| append_at(&entries[*at]).is_some()).collect();
    let at = *draw.pick(&appends)?;
    let Entry::Event(mut observed) = entries[at].clone() else { return None };
    let Event::Log(name, _) = &observed.event else { return None };
    observed.event = Event::Log(name.clone(), LogEvent::Damaged { offset: 0 });
    entries.insert(at + 1, Entry::Event(observed));
    Some(())
}

/// Directly before a leader's move of its high watermark.
fn expose_below_min_in_sync(entries: &mut Vec<Entry>, draw: &mut Draw) -> Option<()> {
    let moves = |entry: &Entry| {
        matches!(
            entry,
            Entry::Event(Observed { event: Event::Replica(_, ReplicaEvent::HighWatermark { leads: true, .. }), .. })
        )
    };
    let moves: Vec<usize> = (0..entries.len()).filter(|at| moves(&entries[*at])).collect();
    let at = *draw.pick(&moves)?;
    let Entry::Event(mut observed) = entries[at].clone() else { return None };
    let Event::Replica(name, ReplicaEvent::HighWatermark { leader_epoch, .. }) = &observed.event else { return None };
    let told = ReplicaEvent::InSync { leader_epoch: *leader_epoch, committed: Vec::new(), proposed: None };
    observed.event = Event::Replica(name.clone(), told);
    entries.insert(at, Entry::Event(observed));
    Some(())
}

/// Values acknowledged with acks=all, above the log start of a partition of which something is promised, that the
/// final phase returned: (partition, offset, value), ascending.
fn committed_and_read(history: &KafkaHistory) -> Vec<(u16, i64, u64)> {
    let mut read = BTreeSet::new();
    for operation in &history.operations {
        if let Call::Poll { partition, last_phase: true, .. } = operation.call {
            read.extend(history.polled(operation).iter().map(|&(offset, value)| (partition, offset, value)));
        }
    }
    let acknowledged = history.operations.iter().filter_map(|operation| match (operation.call, operation.reply()) {
        (
            Call::Send { partition, value, acks: -1, idempotent: Some(_) },
            Some(Reply::Sent { offset: Some(offset) }),
        ) => Some((partition, *offset, value)),
        _ => None,
    });
    let is_promised = |partition, offset| !history.is_beyond(partition) && offset >= history.log_start(partition);
    let mut both: Vec<_> = acknowledged.filter(|one| read.contains(one) && is_promised(one.0, one.1)).collect();
    both.sort_unstable();
    both
}

/// Removes the records that `drops` from every poll.
fn filter_polls(history: &mut KafkaHistory, drops: impl Fn(u16, (i64, u64)) -> bool) {
    let polls: Vec<(usize, Vec<(i64, u64)>)> =
        history.operations.iter().enumerate().map(|(op, poll)| (op, history.polled(poll).to_vec())).collect();
    history.records.clear();
    for (op, mut records) in polls {
        let partition = history.operations[op].call.partition();
        if let Outcome::Ok(Reply::Polled { start, end }) = &mut history.operations[op].outcome {
            records.retain(|record| !drops(partition, *record));
            *start = history.records.len() as u32;
            history.records.extend(records);
            *end = history.records.len() as u32;
        }
    }
}

fn drop_record(history: &mut KafkaHistory, draw: &mut Draw, last: bool) -> Option<()> {
    let committed = committed_and_read(history);
    let highest = |partition| {
        let of = committed.iter().filter(|one| one.0 == partition);
        of.map(|one| one.1).max()
    };
    let choices: Vec<_> = committed.iter().filter(|one| (highest(one.0) == Some(one.1)) == last).copied().collect();
    let (partition, at, _) = *draw.pick(&choices)?;
    // The last one goes with everything behind it, which nobody had acknowledged.
    filter_polls(history, |of, (offset, _)| of == partition && if last { offset >= at } else { offset == at });
    Some(())
}

fn duplicate_record(history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let (partition, _, value) = *draw.pick(&committed_and_read(history))?;
    let seen = Sightings::of(history);
    let highest = seen.of_partition(partition).last()?;
    let (offset, time_ns) = (highest.offset + 1, highest.time_ns + 1);
    let op = history.invoke(u16::MAX, time_ns, Call::Poll { partition, from: offset, last_phase: false });
    history.complete_poll(op, time_ns, [(offset, value)]);
    Some(())
}

/// The polls that returned `at_least` records, with the place of their first.
fn polls_with(history: &KafkaHistory, at_least: usize) -> Vec<(OpId, usize, usize)> {
    let polls = (0..).zip(&history.operations).filter_map(|(op, operation)| match operation.reply() {
        Some(Reply::Polled { start, end }) => Some((op, *start as usize, *end as usize)),
        _ => None,
    });
    polls.filter(|(_, start, end)| end - start >= at_least).collect()
}

fn swap_records(history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let (_, start, end) = *draw.pick(&polls_with(history, 2))?;
    let at = draw.between(start as u64, end as u64 - 2) as usize;
    history.records.swap(at, at + 1);
    Some(())
}

fn corrupt_record(history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let (_, start, end) = *draw.pick(&polls_with(history, 1))?;
    let at = draw.between(start as u64, end as u64 - 1) as usize;
    history.records[at].1 = FOREIGN_VALUE;
    Some(())
}

fn corrupt_offset(history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let (partition, offset, value) = *draw.pick(&committed_and_read(history))?;
    let polls = polls_with(history, 1)
        .into_iter()
        .filter(|(op, ..)| history.operations[*op as usize].call.partition() == partition);
    let places: Vec<usize> =
        polls.flat_map(|(_, start, end)| start..end).filter(|at| history.records[*at] == (offset, value)).collect();
    let at = *draw.pick(&places)?;
    history.records[at].1 = FOREIGN_VALUE;
    Some(())
}

fn fail_send(history: &mut KafkaHistory, draw: &mut Draw) -> Option<()> {
    let (_, _, value) = *draw.pick(&committed_and_read(history))?;
    let send = history
        .operations
        .iter_mut()
        .find(|operation| matches!(operation.call, Call::Send { value: sent, .. } if sent == value))?;
    send.outcome = Outcome::Failed;
    Some(())
}

fn append_at(entry: &Entry) -> Option<(&Observed, &wyrdlog::base::event::AppendedBatch)> {
    match entry {
        Entry::Event(observed) => match &observed.event {
            Event::Log(_, LogEvent::Appended { batch, .. }) => Some((observed, batch)),
            _ => None,
        },
        Entry::Unjudged(_) | Entry::Disk { .. } | Entry::Segments { .. } | Entry::Fault { .. } => None,
    }
}

fn partition_of(observed: &Observed) -> Option<&wyrdlog::base::ids::TopicPartition> {
    match &observed.event {
        Event::Log(partition, _) | Event::Replica(partition, _) => Some(partition),
        _ => None,
    }
}

/// Appends that another replica had made before, in the middle of an uninterrupted stretch of
/// three in their own log: (the one before, this one, the one after).
fn twin_appends(entries: &[Entry]) -> Vec<[usize; 3]> {
    let mut written = BTreeSet::new();
    let mut stretches: std::collections::BTreeMap<_, Vec<(usize, bool)>> = std::collections::BTreeMap::new();
    let mut found = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let Entry::Event(observed) = entry else { continue };
        let Some(partition) = partition_of(observed) else { continue };
        let log = (partition, observed.node);
        match (&observed.event, append_at(entry)) {
            (_, Some((_, batch))) => {
                let twin = !written.insert((partition, batch.leader_epoch, batch.base_offset));
                let stretch = stretches.entry(log).or_default();
                stretch.push((at, twin));
                if let [.., (before, true), (this, true), (after, true)] = stretch.as_slice() {
                    found.push([*before, *this, *after]);
                }
            }
            (Event::Log(_, LogEvent::Synced { .. }), None) | (Event::Replica(..), None) => {}
            _ => drop(stretches.remove(&log)),
        }
    }
    found
}

fn edit_append(entries: &mut Vec<Entry>, kind: Tamper, draw: &mut Draw) -> Option<()> {
    let [_, this, after] = *draw.pick(&twin_appends(entries))?;
    match kind {
        Tamper::DropAppend => drop(entries.remove(this)),
        Tamper::DuplicateAppend => {
            let again = entries[this].clone();
            entries.insert(this + 1, again);
        }
        Tamper::SwapAppends => entries.swap(this, after),
        _ => {
            if let Entry::Event(Observed { event: Event::Log(_, LogEvent::Appended { batch, .. }), .. }) =
                &mut entries[this]
            {
                batch.crc ^= 1;
            }
        }
    }
    Some(())
}

/// Drops the last append of a follower before a high watermark that needs it.
fn stall_replica(entries: &mut Vec<Entry>, draw: &mut Draw) -> Option<()> {
    let mut choices = Vec::new();
    // Behind a fault the append may be one of an incarnation that the set does not name any more.
    for (at, entry) in replicas::calm(entries).iter().enumerate() {
        let Entry::Event(observed) = entry else { continue };
        let Event::Replica(partition, ReplicaEvent::HighWatermark { leads: true, high_watermark, maximal_in_sync, .. }) =
            &observed.event
        else {
            continue;
        };
        // Every other replica appended the last exposed batch, and at least two members are needed. One that has
        // appended more by then would have a hole instead, which is another property's.
        let mut seen = BTreeSet::new();
        let needed = entries[..at].iter().enumerate().rev().find(|(_, entry)| {
            append_at(entry).is_some_and(|(append, batch)| {
                let here = partition_of(append) == Some(partition) && append.node != observed.node;
                here && seen.insert(append.node) && batch.last_offset + 1 == *high_watermark
            })
        });
        let all_members = maximal_in_sync.len() >= 3;
        choices.extend(needed.filter(|_| all_members).map(|(append, _)| append));
    }
    let at = *draw.pick(&choices)?;
    entries.remove(at);
    Some(())
}

/// Drops a leader's move of the high watermark, with all three replicas in sync, so that it waits for
/// nobody else, and with a later event of that leader in which it has moved nothing.
fn stall_high_watermark(entries: &mut Vec<Entry>, draw: &mut Draw) -> Option<()> {
    let moves = |observed: &Observed| {
        matches!(&observed.event, Event::Replica(_, ReplicaEvent::HighWatermark { leads: true, maximal_in_sync, .. })
            if maximal_in_sync.len() >= 3)
    };
    let mut choices = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let Entry::Event(observed) = entry else { continue };
        if !moves(observed) {
            continue;
        }
        let of_leader = entries[at + 1..].iter().filter_map(|entry| match entry {
            Entry::Event(next) if next.node == observed.node && partition_of(next) == partition_of(observed) => {
                Some(next)
            }
            _ => None,
        });
        let mut then = of_leader.skip_while(|next| next.time_ns == observed.time_ns && is_of_log_or_client(next));
        let asked = then.next().is_some_and(|next| {
            next.time_ns > observed.time_ns && next.incarnation == observed.incarnation && is_of_log_or_client(next)
        });
        choices.extend(asked.then_some(at));
    }
    let at = *draw.pick(&choices)?;
    entries.remove(at);
    Some(())
}

/// Whether an event says nothing of a replica's role, nor of its high watermark.
fn is_of_log_or_client(observed: &Observed) -> bool {
    matches!(
        observed.event,
        Event::Log(_, LogEvent::Appended { .. } | LogEvent::Rolled { .. } | LogEvent::Synced { .. })
            | Event::Replica(
                _,
                ReplicaEvent::Acknowledged { .. } | ReplicaEvent::Served { .. } | ReplicaEvent::FollowerProgress { .. }
            )
    )
}

fn duplicate_leader(entries: &mut Vec<Entry>, draw: &mut Draw) -> Option<()> {
    let leads = |entry: &Entry| {
        matches!(entry, Entry::Event(Observed { event: Event::Replica(_, ReplicaEvent::BecameLeader { .. }), .. }))
    };
    let elections: Vec<usize> = (0..entries.len()).filter(|at| leads(&entries[*at])).collect();
    let at = *draw.pick(&elections)?;
    if let Entry::Event(mut usurper) = entries[at].clone() {
        usurper.node.0 = usurper.node.0.wrapping_add(1);
        entries.insert(at + 1, Entry::Event(usurper));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::availability::PartitionHealth;
    use crate::checkers::linearizability::examples as registers;
    use crate::checkers::sightings::examples::Script;
    use crate::history::coordinator::{Answer, Call as CoordinatorCall, Register};
    use crate::invariants::examples::{Cluster, N3, N5, produced};
    use std::collections::BTreeMap;
    use wyrdlog::base::event::CoordinatorEvent;
    use wyrdlog::base::ids::{SessionId, Zxid};
    use wyrdlog::base::partition_state::Durability;

    /// A session with an ephemeral and a watch, and its end.
    fn sessions(cluster: &mut Cluster, node: u16) {
        let (session, zxid, path) = (SessionId(9), Zxid(3), "/e".to_owned());
        cluster.coordinator(node, CoordinatorEvent::EphemeralCreated { session, zxid, path: path.clone() });
        cluster.coordinator(node, CoordinatorEvent::WatchTriggered { session, zxid, path: path.clone() });
        cluster.coordinator(node, CoordinatorEvent::Notified { session, zxid, path: path.clone() });
        cluster.coordinator(node, CoordinatorEvent::Replied { session, xid: 1, zxid });
        let (zxid, entry_digest) = (Zxid(4), 4);
        cluster.coordinator(node, CoordinatorEvent::Applied { index: 4, zxid, entry_digest, state_digest: 4 });
        cluster.coordinator(node, CoordinatorEvent::SessionEnded { session, expired: true, ephemerals: vec![path] });
    }

    fn passing() -> Record {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        for sequence in 0..3 {
            let offset = 6 + i64::from(sequence);
            cluster.append(N3, produced(offset, offset, 0, sequence));
        }
        for node in [0, 1] {
            for index in 1..=3 {
                let (zxid, entry_digest) = (Zxid(index as i64), index as u32);
                let applied = CoordinatorEvent::Applied { index, zxid, entry_digest, state_digest: index };
                cluster.coordinator(node, applied);
            }
            sessions(&mut cluster, node);
        }
        cluster.sync(N5, 6);
        cluster.restart(N5, 0, 6);
        let mut log = Script::new();
        log.history.partitions.push(TopicPartition::new("t", 1));
        for value in 0..5 {
            log.acked(100 + value, value as i64);
        }
        let elsewhere = Call::Send { partition: 1, value: 99, acks: 1, idempotent: None };
        let op = log.history.invoke(2, 3, elsewhere);
        log.history.complete(op, 4, Outcome::Ok(Reply::Sent { offset: Some(0) }));
        let all: Vec<(i64, u64)> = (0..5).map(|at| (at, 100 + at as u64)).collect();
        log.poll(1, 0, false, &all[..3]);
        log.poll(1, 3, false, &all[3..]);
        log.poll(9, 0, true, &all);
        let mut script = registers::Script::new();
        script.ok(1, 2, registers::create(0, 10), Answer::Done, 1);
        script.ok(3, 4, registers::set(0, 11, None), Answer::Done, 2);
        script.ok(5, 6, CoordinatorCall::SyncRead(0), registers::value(1, 11), 2);
        script.ok(7, 8, CoordinatorCall::Read(0), registers::value(1, 11), 2);
        let mut committed = Committed::default();
        committed.record(0, Zxid(1), Some(Register { version: 0, value: 10 }));
        committed.record(0, Zxid(2), Some(Register { version: 1, value: 11 }));
        let mut sessions = crate::checkers::session_length::examples::passing();
        let (refused, nodes) = right_refusal::examples::passing();
        sessions.refused = refused;
        session_wire::tests::add(&mut sessions);
        quorum_heard::tests::add(&mut sessions);
        let effort = bounded_effort::tests::good();
        let replays = replay_equals_live::examples::passing();
        let completed = BTreeMap::from([(0, 30), (1, 40)]);
        let health = |index| PartitionHealth {
            partition: TopicPartition::new("t", index),
            replicas: 3,
            in_sync: 3,
            has_leader: true,
            logs: Vec::new(),
            exposed_at_bound: 0,
            start_at_bound: 0,
            starts: Vec::new(),
        };
        let load_ends_ns = availability::AGAIN_WITHIN_NS + 1_000;
        let partitions = vec![health(0), health(1)];
        let after_healing = AfterHealing { completed, load_ends_ns, partitions, ..AfterHealing::default() };
        let later = Call::Send { partition: 0, value: 105, acks: -1, idempotent: Some(1) };
        let op = log.history.invoke(0, 900, later);
        log.history.complete(op, 901, Outcome::Ok(Reply::Sent { offset: Some(5) }));
        let last = log.history.invoke(9, 950, Call::Poll { partition: 0, from: 5, last_phase: true });
        log.history.complete_poll(last, 951, [(5, 105)]);
        let met = met::examples::add(&mut log.history);
        Record {
            entries: cluster.entries,
            kafka: log.history,
            coordinator: script.history,
            committed,
            sessions,
            effort,
            nodes,
            replays,
            after_healing,
            met,
            topics: Some(crate::checkers::topics::tests::good()),
            protocol: Some(crate::checkers::protocol::tests::good().1),
            subtrees: Some(crate::checkers::subtrees::tests::good()),
        }
    }

    #[test]
    fn the_record_passes_before_it_is_edited() {
        for findings in passing().judge(&Cluster::topology(Durability::PageCache)) {
            assert_eq!(findings.violated, 0, "{:?}", findings.violations);
        }
    }

    #[test]
    fn every_edit_is_rejected_by_the_checker_that_it_names_every_time() {
        let topology = Cluster::topology(Durability::PageCache);
        let record = passing();
        for kind in Tamper::ALL {
            for seed in 0..20 {
                let edited = tamper(&record, *kind, seed).unwrap_or_else(|| panic!("{kind:?} finds nothing to edit"));
                assert!(edited.violates(&topology, kind.rejected_by()), "{kind:?} with seed {seed}");
            }
        }
    }

    #[test]
    fn every_property_is_tampered_with() {
        let lacking: Vec<&Property> =
            Property::ALL.iter().filter(|one| !Tamper::ALL.iter().any(|kind| kind.rejected_by() == **one)).collect();
        assert!(lacking.is_empty(), "{lacking:?}");
    }

    #[test]
    fn an_empty_record_has_nothing_to_edit() {
        for kind in Tamper::ALL {
            assert!(tamper(&Record::default(), *kind, 1).is_none(), "{kind:?}");
        }
    }
}
