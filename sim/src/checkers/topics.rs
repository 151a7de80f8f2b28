//! Topics that are deleted and created again: what their clients were told and read, name by name.
//!
//! A name is used by one client, so that what exists follows from its own operations, in order. Judged are
//!
//! - *right_refusal*: a creation or deletion is refused with a code that is legal at some state between
//!   invocation and completion, and what has to be refused is. In a stretch that faults disturb a controller
//!   that was deposed without knowing so may answer from what was true before it. Where nothing is disturbed,
//!   whoever leads a topic knows none by the id of the one before it (KIP-516);
//! - *lands_where_sent*: a value is read only from the partition and the incarnation that it was sent to;
//! - *duplicate*, *inconsistent-offsets*: each value is at one offset, the one acknowledged, and no two at one;
//! - *aborted-read*: no value is read that was refused;
//! - *unseen*: what was acknowledged is not missing below where a read came to;
//! - *availability*: in `topics_served.rs`.
//!
//! False positives avoided: a broker that has not heard of a deletion yet serves the old topic to whoever
//! names it (Kafka's requests by name are the same), so that of an incarnation that is not the name's first
//! only what was sent and read after every broker had told the new topic's id is judged. Durability is
//! promised as in `docs/FAULTS.md` with `min.insync.replicas` 1: to the synced class while no disk of a broker
//! was lost or damaged since the creation, to the page cache while none lost power or a sync either. After
//! an unknown outcome a name is judged no further.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::partition_state::Durability;
use wyrdlog::wire::kafka::ErrorCode;

use crate::history::cluster::ClusterHistory;
use crate::history::topics::{Call, Expected, NameIndex, PartitionRead, Reply, Shape, TopicOp, TopicsHistory};
use crate::history::{OpId, Outcome};
use crate::observed::seconds;
use crate::verdict::{Findings, Property};

/// What was true in a disturbed stretch may show so long before its first fault was seen.
const LEARN_NS: u64 = 1_000_000_000;

/// When something disturbed the cluster, so that requests may go unanswered and deposed controllers speak.
pub(super) struct Disturbed(Vec<(u64, u64)>);

impl Disturbed {
    pub(super) fn of(met: &ClusterHistory) -> Self {
        let formed_ns = met.first_led_ns.unwrap_or(u64::MAX).saturating_add(met.settle_ns);
        let mut spans = vec![(0, formed_ns)];
        for (from_ns, to_ns) in met.disturbed(LEARN_NS) {
            match spans.last_mut().filter(|last| last.1 >= from_ns) {
                Some(last) => last.1 = last.1.max(to_ns),
                None => spans.push((from_ns, to_ns)),
            }
        }
        Disturbed(spans)
    }

    /// When the disturbed stretch began that overlaps a span.
    pub(super) fn since(&self, from_ns: u64, to_ns: u64) -> Option<u64> {
        let next = self.0.partition_point(|(_, end_ns)| *end_ns < from_ns);
        self.0.get(next).filter(|(begin_ns, _)| *begin_ns <= to_ns).map(|(begin_ns, _)| *begin_ns)
    }
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acknowledged(i64),
    Refused,
    Unknown,
}

/// One value, and where it was sent.
#[derive(Clone, Copy, Debug)]
struct Value {
    op: OpId,
    name: NameIndex,
    incarnation: u32,
    partition: i32,
    /// Whether every broker knew the topic when it was sent, or no other of its name had been.
    is_certain: bool,
    fate: Fate,
}

/// A name between a creation and the deletion.
#[derive(Clone, Copy, Debug)]
struct Incarnation {
    number: u32,
    shape: Shape,
    created_ns: u64,
    is_certain: bool,
}

impl Incarnation {
    /// Whether nothing struck that may take away what it had, by the end of `operation`.
    fn is_promised(&self, expected: &Expected, operation: &TopicOp) -> bool {
        let (from_ns, to_ns) = (self.created_ns, operation.completed_ns.unwrap_or(u64::MAX));
        let struck = |times: &[u64]| times.iter().any(|at_ns| (from_ns..=to_ns).contains(at_ns));
        let cut = self.shape.durability == Durability::PageCache && struck(&expected.cuts_ns);
        !cut && !struck(&expected.disks_ns)
    }
}

/// A read of an incarnation that is judged for what it brought.
#[derive(Clone, Copy, Debug)]
pub struct JudgedRead {
    /// The read.
    pub op: OpId,
    /// Of which incarnation, from 0.
    pub incarnation: u32,
    /// Whether what was acknowledged must not be missing.
    pub is_promised: bool,
}

/// The operations up to the one that loses track of its name, each with what there was before it.
fn tracked<'h>(operations: &[(OpId, &'h TopicOp)]) -> Vec<(OpId, &'h TopicOp, Known)> {
    let mut known = Known::default();
    let mut tracked = Vec::new();
    for (op, operation) in operations {
        if loses_track(operation) {
            break;
        }
        tracked.push((*op, *operation, known.clone()));
        known.take(operation);
    }
    tracked
}

/// The reads in which a value of another incarnation has no excuse.
#[must_use]
pub fn judged_reads(history: &TopicsHistory) -> Vec<JudgedRead> {
    let mut reads = Vec::new();
    for operations in history.by_name().into_values() {
        for (op, operation, known) in tracked(&operations) {
            let read = matches!(operation.outcome, Outcome::Ok(Reply::Read(_)));
            if let Some(present) = known.present.filter(|present| read && present.is_certain) {
                let is_promised = present.is_promised(&history.expected, operation);
                reads.push(JudgedRead { op, incarnation: present.number, is_promised });
            }
        }
    }
    reads
}

/// The refusals of creations and deletions that are judged.
#[must_use]
pub fn judged_refusals(history: &TopicsHistory) -> Vec<OpId> {
    let is_refused = |operation: &TopicOp| {
        let is_change = matches!(operation.call, Call::Create { .. } | Call::Delete { .. });
        is_change && matches!(operation.outcome, Outcome::Ok(Reply::Refused(_)))
    };
    let of_all = history.by_name().into_values().flat_map(|operations| tracked(&operations));
    of_all.filter(|(_, operation, _)| is_refused(operation)).map(|(op, _, _)| op).collect()
}

/// All findings about the topics' clients.
#[must_use]
pub fn check(history: &TopicsHistory, met: &ClusterHistory) -> Vec<Findings> {
    let values = values(history);
    let disturbed = Disturbed::of(met);
    let mut judge = Judge::new(history, &values, &disturbed);
    for (name, operations) in history.by_name() {
        judge.judge(name, &operations);
    }
    let mut findings = judge.findings();
    findings.push(super::topics_served::check(history, met, &disturbed));
    findings
}

/// What there is of a name, as its operations make it.
#[derive(Clone, Debug, Default)]
struct Known {
    present: Option<Incarnation>,
    made: u32,
    /// Until when each earlier state lasted at most, and whether the topic existed in it.
    before: Vec<(u64, bool)>,
}

impl Known {
    fn take(&mut self, operation: &TopicOp) {
        let Outcome::Ok(Reply::Done) = operation.outcome else { return };
        let ended_ns = operation.completed_ns.unwrap_or(u64::MAX);
        match operation.call {
            Call::Create { shape, .. } => {
                self.before.push((ended_ns, self.present.is_some()));
                let created_ns = operation.invoked_ns;
                let (number, is_certain) = (self.made, self.made == 0);
                self.present = Some(Incarnation { number, shape, created_ns, is_certain });
                self.made += 1;
            }
            Call::Delete { .. } => {
                self.before.push((ended_ns, self.present.is_some()));
                self.present = None;
            }
            Call::Settle { .. } => {
                if let Some(present) = &mut self.present {
                    present.is_certain = true;
                }
            }
            _ => {}
        }
    }

    /// Whether the topic existed, or did not, at some instant since then.
    fn was(&self, exists: bool, since_ns: u64) -> bool {
        let earlier = self.before.iter().any(|(until_ns, existed)| *until_ns >= since_ns && *existed == exists);
        earlier || self.present.is_some() == exists
    }
}

/// Whether it ends what is known of a name.
fn loses_track(operation: &TopicOp) -> bool {
    let is_change = matches!(operation.call, Call::Create { .. } | Call::Delete { .. } | Call::Send { .. });
    is_change && operation.outcome == Outcome::Unknown
}

/// Every value that was sent.
fn values(history: &TopicsHistory) -> BTreeMap<u64, Value> {
    let mut values = BTreeMap::new();
    for (name, operations) in history.by_name() {
        let mut known = Known::default();
        for (op, operation) in operations {
            known.take(operation);
            let (Call::Send { partition, value, .. }, Some(present)) = (operation.call, known.present) else {
                continue;
            };
            let fate = match operation.outcome {
                Outcome::Ok(Reply::Sent { offset }) => Fate::Acknowledged(offset),
                Outcome::Unknown => Fate::Unknown,
                Outcome::Ok(_) | Outcome::Failed => Fate::Refused,
            };
            let (incarnation, is_certain) = (present.number, present.is_certain);
            values.insert(value, Value { op, name, incarnation, partition, is_certain, fate });
        }
    }
    values
}

struct Judge<'h> {
    history: &'h TopicsHistory,
    values: &'h BTreeMap<u64, Value>,
    disturbed: &'h Disturbed,
    refusals: Findings,
    lands: Findings,
    garbage: Findings,
    duplicate: Findings,
    offsets: Findings,
    aborted: Findings,
    unseen: Findings,
    /// What is at each offset, and where each value is, of one incarnation.
    at: BTreeMap<(i32, i64), u64>,
    places: BTreeMap<u64, i64>,
}

impl<'h> Judge<'h> {
    fn new(history: &'h TopicsHistory, values: &'h BTreeMap<u64, Value>, disturbed: &'h Disturbed) -> Self {
        Judge {
            history,
            values,
            disturbed,
            refusals: Findings::new(Property::RightRefusal),
            lands: Findings::new(Property::LandsWhereSent),
            garbage: Findings::new(Property::NothingGarbage),
            duplicate: Findings::new(Property::Duplicate),
            offsets: Findings::new(Property::InconsistentOffsets),
            aborted: Findings::new(Property::AbortedRead),
            unseen: Findings::new(Property::Unseen),
            at: BTreeMap::new(),
            places: BTreeMap::new(),
        }
    }

    fn findings(self) -> Vec<Findings> {
        let Judge { refusals, lands, garbage, duplicate, offsets, aborted, unseen, .. } = self;
        vec![refusals, lands, garbage, duplicate, offsets, aborted, unseen]
    }

    fn judge(&mut self, name: NameIndex, operations: &[(OpId, &TopicOp)]) {
        let mut known = Known::default();
        self.at.clear();
        self.places.clear();
        for (op, operation) in operations {
            self.judge_change(name, &known, *op, operation);
            if loses_track(operation) {
                return;
            }
            let made = known.made;
            known.take(operation);
            if known.made > made {
                self.at.clear();
                self.places.clear();
            }
            let Some(present) = known.present else { continue };
            match (&operation.call, &operation.outcome) {
                (Call::Send { partition, value, .. }, Outcome::Ok(Reply::Sent { offset })) => {
                    let promised = present.is_promised(&self.history.expected, operation);
                    self.judge_place((*partition, *offset, *value), *op, operation, promised && present.is_certain);
                }
                (Call::Read { .. }, Outcome::Ok(Reply::Read(read))) => self.judge_read(&present, *op, operation, read),
                _ => {}
            }
        }
    }

    fn judge_change(&mut self, name: NameIndex, known: &Known, op: OpId, operation: &TopicOp) {
        let Some(completed_ns) = operation.completed_ns else { return };
        let stretch_ns = self.disturbed.since(operation.invoked_ns, completed_ns);
        let since_ns = stretch_ns.map_or(operation.invoked_ns, |begin_ns| begin_ns.min(operation.invoked_ns));
        let may = Legal { history: self.history, known, since_ns, is_disturbed: stretch_ns.is_some() };
        let (is_legal, answer) = match (&operation.call, &operation.outcome) {
            (Call::Create { shape, .. }, Outcome::Ok(Reply::Done)) => (may.be_created(name, shape), "done".to_owned()),
            (Call::Create { shape, .. }, Outcome::Ok(Reply::Refused(error))) => {
                (may.refuse_creation(name, shape, *error), error.name().to_owned())
            }
            (Call::Delete { .. }, Outcome::Ok(Reply::Done)) => (known.present.is_some(), "done".to_owned()),
            (Call::Delete { .. }, Outcome::Ok(Reply::Refused(error))) => {
                (may.refuse_deletion(*error), error.name().to_owned())
            }
            (Call::FetchFormer { .. }, Outcome::Ok(Reply::Done)) => (may.is_disturbed, "done".to_owned()),
            (Call::FetchFormer { .. }, Outcome::Ok(Reply::Refused(error))) => {
                (may.is_disturbed || *error == ErrorCode::UnknownTopicId, error.name().to_owned())
            }
            _ => return,
        };
        let history = self.history;
        self.refusals.check(is_legal, completed_ns, [u64::from(op)], || {
            let exists = if known.present.is_some() { "existed" } else { "did not exist" };
            let (asked, name) = (seconds(operation.invoked_ns), history.name(name));
            let disturbed = stretch_ns.map_or("nothing disturbed the cluster".to_owned(), |since_ns| {
                format!("the cluster was disturbed since {}", seconds(since_ns))
            });
            format!(
                "op {op}: client {} asked at {asked} for {}: the answer was {answer}, although {name} {exists} and {disturbed}",
                operation.client,
                describe(history, &operation.call),
            )
        });
    }

    fn judge_read(&mut self, present: &Incarnation, op: OpId, operation: &TopicOp, read: &[PartitionRead]) {
        let is_promised = present.is_promised(&self.history.expected, operation);
        let time_ns = operation.completed_ns.unwrap_or(0);
        for part in read {
            for (offset, value) in &part.records {
                self.judge_record(present, op, operation, (part.partition, *offset, *value), is_promised);
            }
            if is_promised && present.is_certain {
                self.judge_missing(operation.call.name(), present, op, time_ns, part);
            }
        }
    }

    fn judge_record(
        &mut self,
        present: &Incarnation,
        op: OpId,
        operation: &TopicOp,
        (partition, offset, value): (i32, i64, u64),
        is_promised: bool,
    ) {
        let (history, time_ns, name) = (self.history, operation.completed_ns.unwrap_or(0), operation.call.name());
        let place = || format!("op {op}: {}-{partition}@{offset}", history.name(name));
        let sent = self.values.get(&value).copied();
        self.garbage.check(sent.is_some(), time_ns, [u64::from(op)], || {
            format!("{} holds {value}, which nobody sent to such a topic", place())
        });
        let Some(sent) = sent else { return };
        let is_here = sent.name == name && sent.partition == partition && sent.incarnation == present.number;
        // Whoever has not heard of a deletion serves the topic that was.
        let is_stale = sent.name == name && sent.partition == partition && !present.is_certain;
        if is_here || !is_stale {
            self.lands.check(is_here, time_ns, [u64::from(sent.op), u64::from(op)], || {
                format!(
                    "{} of incarnation {} holds value {value}, which op {} sent to {}-{} of incarnation {}",
                    place(),
                    present.number,
                    sent.op,
                    history.name(sent.name),
                    sent.partition,
                    sent.incarnation
                )
            });
        }
        if !is_here {
            return;
        }
        self.aborted.check(sent.fate != Fate::Refused, time_ns, [u64::from(sent.op), u64::from(op)], || {
            format!("{} holds value {value}, whose send {} was refused", place(), sent.op)
        });
        self.judge_place((partition, offset, value), op, operation, is_promised && present.is_certain);
    }

    /// A value is known to be at an offset.
    fn judge_place(
        &mut self,
        (partition, offset, value): (i32, i64, u64),
        op: OpId,
        operation: &TopicOp,
        judged: bool,
    ) {
        if !judged {
            return;
        }
        let (history, time_ns) = (self.history, operation.completed_ns.unwrap_or(0));
        let name = history.name(operation.call.name());
        let there = *self.at.entry((partition, offset)).or_insert(value);
        self.offsets.check(there == value, time_ns, [u64::from(op)], || {
            format!("op {op}: {name}-{partition}@{offset} is {value}, and was {there} before")
        });
        let place = *self.places.entry(value).or_insert(offset);
        self.duplicate.check(place == offset, time_ns, [u64::from(op)], || {
            format!("op {op}: value {value} is at {name}-{partition}@{offset}, and was at {place} before")
        });
    }

    /// What was acknowledged by then, and is not in a read that came by it.
    fn judge_missing(&mut self, name: NameIndex, present: &Incarnation, op: OpId, time_ns: u64, part: &PartitionRead) {
        let found: BTreeSet<u64> = part.records.iter().map(|(_, value)| *value).collect();
        let history = self.history;
        let invoked_ns = history.operations[op as usize].invoked_ns;
        let here = self.values.iter().filter(|(_, sent)| {
            sent.name == name && sent.partition == part.partition && sent.incarnation == present.number
        });
        for (value, sent) in here {
            let Fate::Acknowledged(offset) = sent.fate else { continue };
            let acked_ns = history.operations[sent.op as usize].completed_ns.unwrap_or(u64::MAX);
            if offset >= part.reached || acked_ns > invoked_ns || !sent.is_certain {
                continue;
            }
            self.unseen.check(found.contains(value), time_ns, [u64::from(sent.op), u64::from(op)], || {
                format!(
                    "op {op}: value {value}, acknowledged at {}-{}@{offset} by op {}, is not in what was read up to {}",
                    history.name(name),
                    part.partition,
                    sent.op,
                    part.reached
                )
            });
        }
    }
}

/// What may be answered.
struct Legal<'h> {
    history: &'h TopicsHistory,
    known: &'h Known,
    since_ns: u64,
    is_disturbed: bool,
}

impl Legal<'_> {
    fn is_name(&self, name: NameIndex) -> bool {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        self.history.name(name).bytes().all(legal)
    }

    fn has_room(&self, shape: &Shape) -> bool {
        usize::try_from(shape.replicas).is_ok_and(|replicas| replicas <= self.history.expected.brokers)
    }

    fn be_created(&self, name: NameIndex, shape: &Shape) -> bool {
        self.known.present.is_none() && self.is_name(name) && shape.partitions > 0 && self.has_room(shape)
    }

    fn refuse_creation(&self, name: NameIndex, shape: &Shape, error: ErrorCode) -> bool {
        match error {
            ErrorCode::TopicAlreadyExists => self.known.was(true, self.since_ns),
            ErrorCode::InvalidTopic => !self.is_name(name),
            ErrorCode::InvalidPartitions => shape.partitions <= 0,
            // A broker that is down, or was not seen yet, has no replicas.
            ErrorCode::InvalidReplicationFactor => !self.has_room(shape) || self.is_disturbed,
            _ => self.refuse_any(error),
        }
    }

    fn refuse_deletion(&self, error: ErrorCode) -> bool {
        match error {
            ErrorCode::UnknownTopicOrPartition => self.known.was(false, self.since_ns),
            _ => self.refuse_any(error),
        }
    }

    /// What has nothing to do with the topic.
    fn refuse_any(&self, error: ErrorCode) -> bool {
        error == ErrorCode::NotController && self.is_disturbed
    }
}

/// What was asked, in words.
pub(super) fn describe(history: &TopicsHistory, call: &Call) -> String {
    let name = history.name(call.name());
    match call {
        Call::Create { shape: Shape { partitions, replicas, .. }, .. } => {
            format!("the creation of {name} with {partitions} partitions of {replicas} replicas")
        }
        Call::Delete { .. } => format!("the deletion of {name}"),
        Call::Settle { .. } => format!("{name} at every broker"),
        Call::FetchFormer { .. } => format!("the topic that was called {name} before, by its id"),
        Call::Send { partition, .. } => format!("a send to {name}-{partition}"),
        Call::Read { .. } => format!("all of {name}"),
        Call::Round { .. } => format!("a round on {name}"),
    }
}

#[cfg(test)]
#[path = "topics_tests.rs"]
pub(crate) mod tests;
