//! *availability* of topics that come and go: within the bound after healing each client that creates and
//! deletes topics gets through a whole round (create, send, read, delete, create again under the same name,
//! read nothing of the old), and where nothing disturbs the cluster each creation and deletion is answered.
//! A deleted topic leaves nothing on the disk of a broker that heard of its deletion.
//!
//! False positives avoided: a run whose load ends before a round fits behind the bound; what the end of the
//! load cut off; disks of brokers that anything disturbed between the creation of a topic and the end, since
//! one that was down at the deletion keeps what it has (`src/broker/disk_logs.rs`). A broker that ended leaves
//! connections behind which look open, until the first request on one is answered by a reset: then the client
//! cannot know, once for each end (`swarm` seed 20439). A broker that hangs up on one request in its life passes.

use std::collections::BTreeMap;

use super::topics::{Disturbed, describe};
use crate::history::cluster::ClusterHistory;
use crate::history::topics::{Call, Reply, TopicsHistory};
use crate::history::{Client, Outcome};
use crate::observed::{Node, seconds};
use crate::verdict::{Findings, Property};

/// A round takes no longer than this where nothing is in its way: the pauses between its steps, and some
/// dozens of syncs at 32 ms.
pub const ROUND_NS: u64 = 5_000_000_000;
/// So long after the deletion a broker may still be busy with it.
const REMOVED_NS: u64 = 3_000_000_000;

/// Judges what clients got through, and what is left on disks.
pub(super) fn check(history: &TopicsHistory, met: &ClusterHistory, disturbed: &Disturbed) -> Findings {
    let mut findings = Findings::new(Property::Availability);
    rounds(&mut findings, history);
    changes(&mut findings, history, met, disturbed);
    directories(&mut findings, history, met);
    findings
}

fn rounds(findings: &mut Findings, history: &TopicsHistory) {
    let expected = &history.expected;
    if expected.bound_ns + ROUND_NS > expected.load_ends_ns {
        return;
    }
    let mut done: BTreeMap<Client, u32> = history.clients.iter().map(|client| (*client, 0)).collect();
    for operation in &history.operations {
        let ends_ns = operation.completed_ns.filter(|at_ns| *at_ns <= expected.load_ends_ns);
        let is_round = matches!(operation.call, Call::Round { .. }) && operation.reply().is_some();
        if is_round && ends_ns.is_some_and(|at_ns| at_ns >= expected.healed_ns) {
            *done.entry(operation.client).or_default() += 1;
        }
    }
    for (client, done) in done {
        findings.check(done > 0, expected.load_ends_ns, [], || {
            let (from, to) = (seconds(expected.healed_ns), seconds(expected.load_ends_ns));
            format!(
                "client {client} did not once create a topic, use it, delete it and create it again between {from}, when all was healed, and {to}"
            )
        });
    }
}

fn changes(findings: &mut Findings, history: &TopicsHistory, met: &ClusterHistory, disturbed: &Disturbed) {
    let mut excused: BTreeMap<Client, usize> = BTreeMap::new();
    for (op, operation) in (0_u64..).zip(&history.operations) {
        let is_change = matches!(operation.call, Call::Create { .. } | Call::Delete { .. });
        let due_ns = operation.invoked_ns + ROUND_NS;
        let is_cut_off = due_ns > history.expected.load_ends_ns;
        if !is_change || is_cut_off || disturbed.since(operation.invoked_ns, due_ns).is_some() {
            continue;
        }
        let answered = matches!(operation.outcome, Outcome::Ok(Reply::Done | Reply::Refused(_)));
        let in_time = operation.completed_ns.is_some_and(|at_ns| at_ns <= due_ns);
        let ends = met.ended.iter().filter(|(at_ns, node)| *at_ns < operation.invoked_ns && is_broker(met, *node));
        let excused = excused.entry(operation.client).or_default();
        if operation.outcome == Outcome::Unknown && in_time && *excused < ends.count() {
            *excused += 1;
            continue;
        }
        findings.check(answered && in_time, due_ns, [op], || {
            let (what, at, due) = (describe(history, &operation.call), seconds(operation.invoked_ns), seconds(due_ns));
            format!(
                "op {op}: client {} asked at {at} for {what}, which nothing disturbed, and was told by {due} no more than {:?}",
                operation.client, operation.outcome
            )
        });
    }
}

fn is_broker(met: &ClusterHistory, node: Node) -> bool {
    met.brokers.values().any(|broker| *broker == node)
}

fn directories(findings: &mut Findings, history: &TopicsHistory, met: &ClusterHistory) {
    let seen_ns = history.expected.seen_ns;
    for (name, created_ns) in deleted(history, seen_ns) {
        for node in met.brokers.values().filter(|node| is_undisturbed(met, **node, created_ns)) {
            let of_topic = |directory: &str| directory.rsplit_once('-').is_some_and(|(topic, _)| topic == name);
            let left = history.expected.directories.iter().find(|(at, directory)| at == node && of_topic(directory));
            findings.check(left.is_none(), seen_ns, [], || {
                format!(
                    "{node} still holds {} of a topic that was deleted",
                    left.map_or("", |(_, directory)| directory)
                )
            });
        }
    }
}

/// The names whose last topic was deleted in good time, and when the first was created.
fn deleted(history: &TopicsHistory, seen_ns: u64) -> Vec<(&str, u64)> {
    let mut deleted = Vec::new();
    for (name, operations) in history.by_name() {
        let changes = operations.iter().filter(|(_, operation)| {
            let is_change = matches!(operation.call, Call::Create { .. } | Call::Delete { .. });
            is_change && !matches!(operation.outcome, Outcome::Ok(Reply::Refused(_)) | Outcome::Failed)
        });
        let changes: Vec<_> = changes.map(|(_, operation)| operation).collect();
        let (Some(first), Some(last)) = (changes.first(), changes.last()) else { continue };
        let is_deleted = matches!(last.call, Call::Delete { .. }) && last.reply().is_some();
        if is_deleted && last.completed_ns.is_some_and(|at_ns| at_ns + REMOVED_NS <= seen_ns) {
            deleted.push((history.name(name), first.invoked_ns));
        }
    }
    deleted
}

fn is_undisturbed(met: &ClusterHistory, node: Node, since_ns: u64) -> bool {
    let hits = |nodes: &[Node]| nodes.is_empty() || nodes.contains(&node);
    let disturbed = met.disturbances.iter().any(|one| one.to_ns >= since_ns && hits(&one.nodes));
    let ended = met.ended.iter().any(|(at_ns, ended)| *ended == node && *at_ns >= since_ns);
    !disturbed && !ended
}
