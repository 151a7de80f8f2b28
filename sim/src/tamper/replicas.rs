//! Edits of what replicas and the controller told: elections, truncations, acknowledgements, epochs,
//! sequences and recoveries.
//!
//! What is added stands before the first fault, so that everything is promised there.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::event::{BrokerEvent, ControllerEvent, Event, LogEvent, ReplicaEvent};
use wyrdlog::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, ProducerEpoch, ProducerId, TopicPartition, Zxid};
use wyrdlog::base::partition_state::PartitionState;

use super::{Entry, Tamper};
use crate::draw::Draw;
use crate::observed::{FaultNote, Node, Observed};

/// What is known of a partition at some entry.
#[derive(Clone, Debug, Default)]
struct Known {
    state: PartitionState,
    zxid: Zxid,
    leader: Option<(LeaderEpoch, Node)>,
    exposed: i64,
    ends: BTreeMap<Node, i64>,
}

/// An entry behind which something may be added: a leader's move of its high watermark.
struct Place {
    at: usize,
    name: TopicPartition,
    known: Known,
    /// A member of the committed in-sync set that does not lead, with its log end.
    member: (Node, i64),
}

/// What came before the first fault.
pub(super) fn calm(entries: &[Entry]) -> &[Entry] {
    let fault = entries.iter().position(|entry| matches!(entry, Entry::Fault { .. }));
    &entries[..fault.unwrap_or(entries.len())]
}

fn places(entries: &[Entry]) -> Vec<Place> {
    let mut brokers: BTreeMap<(BrokerId, BrokerEpoch), Node> = BTreeMap::new();
    let mut all: BTreeMap<TopicPartition, Known> = BTreeMap::new();
    let mut found = Vec::new();
    for (at, entry) in calm(entries).iter().enumerate() {
        let Entry::Event(Observed { node, event, .. }) = entry else { continue };
        match event {
            Event::Broker(BrokerEvent::Registered { broker, broker_epoch, .. }) => {
                brokers.retain(|(known, _), _| known != broker);
                brokers.insert((*broker, *broker_epoch), *node);
            }
            Event::Controller(ControllerEvent::Committed { partition, state, zxid, .. }) => {
                let known = all.entry(partition.clone()).or_default();
                (known.state, known.zxid) = (state.clone(), *zxid);
            }
            Event::Log(name, LogEvent::Appended { log_end, .. } | LogEvent::Truncated { log_end, .. }) => {
                all.entry(name.clone()).or_default().ends.insert(*node, *log_end);
            }
            Event::Replica(name, ReplicaEvent::BecameLeader { leader_epoch, .. }) => {
                all.entry(name.clone()).or_default().leader = Some((*leader_epoch, *node));
            }
            Event::Replica(name, ReplicaEvent::HighWatermark { leads: true, high_watermark, .. }) => {
                let known = all.entry(name.clone()).or_default();
                known.exposed = *high_watermark;
                let is_leader = known.leader.is_some_and(|(_, leader)| leader == *node);
                let members = known.state.in_sync.iter();
                let mut nodes = members.filter_map(|one| brokers.get(&(one.broker, one.broker_epoch)).copied());
                let other = nodes.find(|member| member != node);
                let member = other.and_then(|member| Some((member, *known.ends.get(&member)?)));
                if let Some(member) = member.filter(|(_, end)| is_leader && *high_watermark > 0 && *end > 0) {
                    found.push(Place { at, name: name.clone(), known: known.clone(), member });
                }
            }
            _ => {}
        }
    }
    found
}

/// A member of the in-sync set loses its log, and is elected, is called eligible, or stays a member.
pub(super) fn truncate_member(entries: &mut Vec<Entry>, kind: Tamper, draw: &mut Draw) -> Option<()> {
    let found = places(entries);
    let at = draw.below(found.len().max(1) as u64) as usize;
    let Place { at, name, known, member: (node, end) } = found.get(at)?;
    let Entry::Event(observed) = entries[*at].clone() else { return None };
    let incarnation = entries[..*at].iter().rev().find_map(|entry| match entry {
        Entry::Event(one) if one.node == *node => Some(one.incarnation),
        _ => None,
    })?;
    let add = |node: Node, event| Entry::Event(Observed { node, incarnation, event, ..observed.clone() });
    let truncated = add(*node, Event::Log(name.clone(), LogEvent::Truncated { from: *end, log_end: 0 }));
    let then = match kind {
        Tamper::ElectTruncated => {
            let (leader_epoch, _) = known.leader?;
            let leader_epoch = LeaderEpoch(leader_epoch.0 + 1);
            let member = known.state.in_sync.first()?;
            let leads = ReplicaEvent::BecameLeader {
                leader_epoch,
                broker_epoch: member.broker_epoch,
                log_end: 0,
                high_watermark: 0,
            };
            Some(add(*node, Event::Replica(name.clone(), leads)))
        }
        Tamper::TruncateEligible => {
            let mut state = known.state.clone();
            state.partition_epoch += 1;
            state.eligible_leaders = std::mem::take(&mut state.in_sync);
            let written = entries.iter().find_map(|entry| match entry {
                Entry::Event(Observed {
                    event: Event::Controller(ControllerEvent::Committed { controller_epoch, .. }),
                    ..
                }) => Some(*controller_epoch),
                _ => None,
            })?;
            let zxid = Zxid(known.zxid.0 + 1);
            let committed =
                ControllerEvent::Committed { partition: name.clone(), state, controller_epoch: written, zxid };
            Some(add(observed.node, Event::Controller(committed)))
        }
        _ => None,
    };
    let behind = at + 1;
    entries.splice(behind..behind, [truncated].into_iter().chain(then));
    Some(())
}

/// acks=all is acknowledged for what nobody ever exposed.
pub(super) fn acknowledge_early(entries: &mut [Entry], draw: &mut Draw) -> Option<()> {
    let of_all = |entry: &Entry| {
        matches!(
            entry,
            Entry::Event(Observed { event: Event::Replica(_, ReplicaEvent::Acknowledged { acks: -1, .. }), .. })
        )
    };
    let choices: Vec<usize> = (0..calm(entries).len()).filter(|at| of_all(&entries[*at])).collect();
    let at = *draw.pick(&choices)?;
    if let Entry::Event(Observed { event: Event::Replica(_, ReplicaEvent::Acknowledged { last_offset, .. }), .. }) =
        &mut entries[at]
    {
        *last_offset += 1_000_000_000;
    }
    Some(())
}

/// What a leader appends: where, and whether its producer goes on there.
fn appends_of_leaders(entries: &[Entry]) -> Vec<(usize, bool)> {
    let mut leaders: BTreeMap<&TopicPartition, (Node, LeaderEpoch)> = BTreeMap::new();
    let mut producers: BTreeSet<(&TopicPartition, ProducerId, ProducerEpoch)> = BTreeSet::new();
    let mut found = Vec::new();
    for (at, entry) in calm(entries).iter().enumerate() {
        let Entry::Event(Observed { node, event, .. }) = entry else { continue };
        match event {
            Event::Replica(name, ReplicaEvent::BecameLeader { leader_epoch, .. }) => {
                leaders.insert(name, (*node, *leader_epoch));
                producers.retain(|(of, ..)| *of != name);
            }
            Event::Log(name, LogEvent::Appended { batch, .. })
                if leaders.get(name) == Some(&(*node, batch.leader_epoch)) =>
            {
                let is_idempotent = batch.producer_id.0 >= 0 && batch.base_sequence >= 0;
                let goes_on = !producers.insert((name, batch.producer_id, batch.producer_epoch));
                found.push((at, is_idempotent && goes_on));
            }
            _ => {}
        }
    }
    found
}

/// A leader appends under another epoch than it leads in, or leaves a sequence out.
pub(super) fn edit_leaders_append(entries: &mut [Entry], kind: Tamper, draw: &mut Draw) -> Option<()> {
    let of_sequence = kind == Tamper::SkipSequence;
    let choices: Vec<_> =
        appends_of_leaders(entries).into_iter().filter(|(_, goes_on)| *goes_on || !of_sequence).collect();
    let (at, _) = *draw.pick(&choices)?;
    if let Entry::Event(Observed { event: Event::Log(_, LogEvent::Appended { batch, .. }), .. }) = &mut entries[at] {
        if of_sequence {
            batch.base_sequence += 1;
        } else {
            batch.leader_epoch.0 += 1;
        }
    }
    Some(())
}

/// A log that was synced is empty when it is opened again, on a disk that kept everything.
pub(super) fn lose_at_recovery(entries: &mut [Entry], draw: &mut Draw) -> Option<()> {
    let mut synced: BTreeMap<(Node, &TopicPartition), i64> = BTreeMap::new();
    let mut spoilt = BTreeSet::new();
    let mut choices = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        match entry {
            Entry::Fault { note: FaultNote::DiskLost(node) | FaultNote::Rotted { node, .. }, .. } => {
                spoilt.insert(*node);
            }
            Entry::Event(Observed { node, event: Event::Log(name, event), .. }) => match event {
                LogEvent::Synced { synced_end } => drop(synced.insert((*node, name), *synced_end)),
                LogEvent::Truncated { .. } | LogEvent::Damaged { .. } => drop(synced.remove(&(*node, name))),
                LogEvent::Opened { log_end, .. } => {
                    let kept = synced.get(&(*node, name)).copied().unwrap_or(0);
                    if kept > 0 && *log_end > 0 && !spoilt.contains(node) {
                        choices.push(at);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    let at = *draw.pick(&choices)?;
    if let Entry::Event(Observed { event: Event::Log(_, LogEvent::Opened { log_start, log_end, .. }), .. }) =
        &mut entries[at]
    {
        (*log_start, *log_end) = (0, 0);
    }
    Some(())
}
