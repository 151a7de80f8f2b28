//! The fault budget: what is promised, as a function of durability class, acks,
//! `min.insync.replicas` and the faults so far; and the question whether one more fault may be
//! admitted. Written down before it is tested, and the same function answers both.
//!
//! - **Synced.** Any number of power cuts and failed syncs. Fewer than `min.insync.replicas` lost or
//!   damaged disks.
//! - **Page cache.** Any number of process crashes and failed reads and writes. Power cuts, failed
//!   syncs or disk losses on at most `min.insync.replicas - 1` replicas of a partition until those were re-admitted to the in-sync
//!   set in a new incarnation.
//! - **Both.** An intact copy up to the highest exposed high watermark remains on a member of the
//!   in-sync or the eligible-leader set. Two good copies elsewhere are not enough: with the set
//!   shrunk to {C}, C alone losing its tail and coming back as leader makes A and B truncate (KIP-966).
//!   A member whose process crashed since it was admitted holds an intact copy too, but nothing
//!   tells its crash from a power cut, so an unclean start takes it out of both sets: it does not
//!   count as the copy that remains.
//! - **Coordinators** always sync: any number of power cuts, and a minority of lost disks until
//!   those have caught up again.
//!
//! Past the budget a partition stays past it for the rest of the run.

use std::collections::{BTreeMap, BTreeSet};

use wyrdlog::base::event::{BrokerEvent, CoordinatorEvent, Event};
use wyrdlog::base::ids::{BrokerEpoch, BrokerId};
use wyrdlog::base::partition_state::Durability;

use super::Seen;
use super::model::{Model, Partition, is_segment_in};
use crate::observed::{FaultNote, Node};

/// What is counted against one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Replicas that lost power, a sync or a disk and were not re-admitted since.
    pub lost: BTreeSet<Node>,
    /// Replicas whose disk was lost or damaged and that were not re-admitted since.
    pub disks: BTreeSet<Node>,
    /// Those of them whose log may hold damaged bytes that nobody has read yet: to be re-admitted
    /// does not repair them, another disk does.
    pub rotted: BTreeSet<Node>,
    /// Replicas whose process ended since they were last admitted.
    pub unproven: BTreeSet<Node>,
    /// Since when nothing is promised any more, in virtual nanoseconds.
    pub beyond_since_ns: Option<u64>,
}

/// The budget of a whole cluster.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    /// By the partition's index in the model.
    partitions: BTreeMap<usize, Spent>,
    /// Coordinator servers whose disk was lost or damaged, with the index that they must reach again.
    coordinators: BTreeMap<Node, u64>,
    /// The highest index that any coordinator server applied.
    applied: u64,
    coordinator_beyond_ns: Option<u64>,
    /// Whose sync is going to fail: whatever they are re-admitted with may be lost by that.
    armed: BTreeSet<Node>,
    /// All that struck, and when each incarnation registered: a partition may be learned of only when its
    /// replicas have already lost something.
    struck: Vec<(u64, FaultNote)>,
    registered: BTreeMap<(BrokerId, BrokerEpoch), u64>,
    /// The partitions whose state is known.
    stated: BTreeSet<usize>,
}

/// Whether the loss of an acknowledged record is a broken promise. `replicas_cut` counts replicas
/// of the partition that lost power or a disk since they were last re-admitted, `disks_lost` those
/// among them that lost or damaged a disk, and `intact_member` says whether a member of the
/// in-sync or eligible set still holds everything that was exposed.
#[must_use]
pub fn is_promised(
    class: Durability,
    acks: i16,
    min_in_sync: usize,
    replicas_cut: usize,
    disks_lost: usize,
    intact_member: bool,
) -> bool {
    let spent = match class {
        Durability::Synced => disks_lost,
        Durability::PageCache => replicas_cut,
    };
    acks == -1 && spent < min_in_sync.max(1) && (spent == 0 || intact_member)
}

impl Budget {
    /// Whether nothing is promised of the partition at this index of the model any more.
    #[must_use]
    pub fn is_beyond(&self, partition: usize) -> bool {
        self.partitions.get(&partition).is_some_and(|spent| spent.beyond_since_ns.is_some())
    }

    /// Whether nothing is promised of the coordinator any more.
    #[must_use]
    pub fn is_coordinator_beyond(&self) -> bool {
        self.coordinator_beyond_ns.is_some()
    }

    /// Since when nothing is promised of the partition at this index of the model, in virtual nanoseconds.
    #[must_use]
    pub fn beyond_since_ns(&self, partition: usize) -> Option<u64> {
        self.partitions.get(&partition).and_then(|spent| spent.beyond_since_ns)
    }

    /// Whether anything went past the budget: then the whole run counts as one beyond it.
    #[must_use]
    pub fn is_anything_beyond(&self) -> bool {
        self.is_coordinator_beyond() || self.partitions.values().any(|spent| spent.beyond_since_ns.is_some())
    }

    /// Whether `note`, if it took effect now, would leave something unpromised that is promised.
    #[must_use]
    pub fn would_exceed(&self, model: &Model, note: &FaultNote) -> bool {
        let coordinators_lost = self.coordinators_lost_after(model, note).len();
        let coordinator_exceeds = coordinators_lost > minority(model) && !self.is_coordinator_beyond();
        let none = Spent::default();
        coordinator_exceeds
            || model.partitions.iter().enumerate().any(|(at, partition)| {
                let before = self.partitions.get(&at).unwrap_or(&none);
                before.beyond_since_ns.is_none()
                    && concerns(partition, note)
                    && !keeps_promise(model, partition, &spend(before, partition, note))
            })
    }

    /// Takes note of a fault, before the model does.
    pub fn fault(&mut self, model: &Model, time_ns: u64, note: &FaultNote) {
        for (at, partition) in model.partitions.iter().enumerate().filter(|(_, partition)| concerns(partition, note)) {
            let spent = self.partitions.entry(at).or_default();
            *spent = spend(spent, partition, note);
            if spent.beyond_since_ns.is_none() && !keeps_promise(model, partition, spent) {
                spent.beyond_since_ns = Some(time_ns);
            }
        }
        match note {
            FaultNote::SyncFails(node) => drop(self.armed.insert(*node)),
            FaultNote::SyncFailed(node) | FaultNote::CallsWork(node) => drop(self.armed.remove(node)),
            _ => {}
        }
        self.struck.push((time_ns, note.clone()));
        for node in self.coordinators_lost_after(model, note) {
            self.coordinators.entry(node).or_insert(self.applied);
        }
        if self.coordinators.len() > minority(model) {
            self.coordinator_beyond_ns.get_or_insert(time_ns);
        }
    }

    /// Takes an event that the model has taken: a replica was re-admitted, a coordinator server
    /// caught up.
    pub fn take(&mut self, model: &Model, seen: Seen<'_>) {
        match &seen.observed.event {
            Event::Broker(BrokerEvent::Registered { broker, broker_epoch, .. }) => {
                self.registered.insert((*broker, *broker_epoch), seen.time_ns());
            }
            Event::Controller(_) => {
                self.meet(model, seen);
                if let Some((at, spent)) = seen.partition.and_then(|at| Some((at, self.partitions.get_mut(&at)?))) {
                    let admitted = model.partitions[at].running_in_sync(model).map(|(node, _)| node);
                    let proven: Vec<Node> =
                        admitted.filter(|node| !spent.rotted.contains(node) && !self.armed.contains(node)).collect();
                    for node in proven {
                        spent.lost.remove(&node);
                        spent.disks.remove(&node);
                        spent.unproven.remove(&node);
                    }
                }
            }
            Event::Coordinator(
                CoordinatorEvent::Applied { index, .. } | CoordinatorEvent::SnapshotInstalled { index, .. },
            ) => {
                self.applied = self.applied.max(*index);
                if self.coordinators.get(&seen.node()).is_some_and(|reach| index >= reach) {
                    self.coordinators.remove(&seen.node());
                }
            }
            _ => {}
        }
    }

    /// The state of a partition is seen for the first time. It may have been committed by a controller that
    /// never learned so: what struck its members since the incarnations that it names counts.
    fn meet(&mut self, model: &Model, seen: Seen<'_>) {
        let Some(at) = seen.partition else { return };
        let partition = &model.partitions[at];
        let Some((_, state)) = partition.state.as_ref().filter(|_| self.stated.insert(at)) else { return };
        let spent = self.partitions.entry(at).or_default();
        for member in state.in_sync.iter().chain(&state.eligible_leaders) {
            let Some(node) = model.topology.brokers.get(&member.broker) else { continue };
            let lives = (member.broker, BrokerEpoch(i64::MIN))..=(member.broker, member.broker_epoch);
            let since_ns = self.registered.range(lives).next_back().map_or(0, |(_, time_ns)| *time_ns);
            if self.armed.contains(node) {
                *spent = spend(spent, partition, &FaultNote::SyncFails(*node));
            }
            for (_, note) in self.struck.iter().filter(|(time_ns, _)| *time_ns >= since_ns) {
                if let Some(note) = note.on(*node).filter(|note| concerns(partition, note)) {
                    *spent = spend(spent, partition, &note);
                }
            }
        }
        if spent.beyond_since_ns.is_none() && !keeps_promise(model, partition, spent) {
            spent.beyond_since_ns = Some(seen.time_ns());
        }
    }

    fn coordinators_lost_after(&self, model: &Model, note: &FaultNote) -> BTreeSet<Node> {
        let mut lost: BTreeSet<Node> = self.coordinators.keys().copied().collect();
        if matches!(note, FaultNote::DiskLost(_) | FaultNote::Rotted { .. }) {
            let servers: BTreeSet<&Node> = model.topology.servers.values().collect();
            lost.extend(note.nodes().iter().filter(|node| servers.contains(node)));
        }
        lost
    }
}

fn minority(model: &Model) -> usize {
    model.topology.servers.len().saturating_sub(1) / 2
}

/// Whether it may cost the partition something. An index is made anew from the log, which is as it was: whoever holds it
/// goes on with all that it had.
fn concerns(partition: &Partition, note: &FaultNote) -> bool {
    let costs_nothing = matches!(note, FaultNote::Rotted { path, .. } if path.ends_with("index"));
    !costs_nothing && note.nodes().iter().any(|node| partition.replicas.contains_key(node))
}

fn spend(before: &Spent, partition: &Partition, note: &FaultNote) -> Spent {
    let mut spent = before.clone();
    for node in note.nodes().iter().filter(|node| partition.replicas.contains_key(node)) {
        match note {
            FaultNote::CallsWork(_) => continue,
            FaultNote::ProcessCrashed(_) | FaultNote::CallsFail(_) => {}
            FaultNote::PowerLost(_) | FaultNote::SyncFails(_) | FaultNote::SyncFailed(_) => {
                spent.lost.insert(*node);
            }
            FaultNote::DiskLost(_) | FaultNote::Rotted { .. } => {
                spent.lost.insert(*node);
                spent.disks.insert(*node);
            }
        }
        spent.unproven.insert(*node);
        match note {
            FaultNote::DiskLost(_) => drop(spent.rotted.remove(node)),
            FaultNote::Rotted { path, .. } if is_log_of(partition, path) => drop(spent.rotted.insert(*node)),
            _ => {}
        }
    }
    spent
}

fn is_log_of(partition: &Partition, path: &str) -> bool {
    is_segment_in(path, &partition.name.to_string())
}

fn keeps_promise(model: &Model, partition: &Partition, spent: &Spent) -> bool {
    // A partition in which nothing was exposed has nothing to lose.
    let nothing_exposed = partition.exposed == 0;
    let intact = nothing_exposed || has_intact_member(model, partition, spent);
    is_promised(partition.durability, -1, partition.min_in_sync, spent.lost.len(), spent.disks.len(), intact)
}

fn has_intact_member(model: &Model, partition: &Partition, spent: &Spent) -> bool {
    let Some((_, state)) = &partition.state else { return false };
    state.in_sync.iter().chain(&state.eligible_leaders).any(|member| {
        let node = model.topology.brokers.get(&member.broker);
        node.filter(|node| !spent.unproven.contains(node))
            .and_then(|node| partition.replicas.get(node))
            .is_some_and(|replica| replica.counted_end(partition.durability) >= partition.exposed)
    })
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Cluster, N3, N4, N5};
    use super::*;

    #[test]
    fn the_promise_is_the_table_of_the_classes() {
        use Durability::{PageCache, Synced};
        assert!(is_promised(Synced, -1, 2, 3, 0, false), "any number of power cuts");
        assert!(is_promised(Synced, -1, 2, 3, 1, true), "fewer than min.insync.replicas disks");
        assert!(!is_promised(Synced, -1, 2, 3, 2, true));
        assert!(is_promised(PageCache, -1, 2, 1, 0, true));
        assert!(!is_promised(PageCache, -1, 2, 1, 0, false), "the cut replica was the last member");
        assert!(!is_promised(PageCache, -1, 2, 2, 0, true));
        assert!(!is_promised(PageCache, -1, 1, 1, 0, true), "min.insync.replicas=1 promises nothing over a cut");
        assert!(!is_promised(Synced, 1, 2, 0, 0, true), "acks=1 promises nothing");
    }

    #[test]
    fn a_damaged_index_costs_nobody_anything_and_a_damaged_log_a_disk() {
        let mut cluster = Cluster::synced();
        cluster.commit_three_batches();
        let rots = |node, path: &str| FaultNote::Rotted { node, path: path.to_owned() };
        for (node, file) in [(N3, "00000000000000000000.index"), (N4, "00000000000000000000.timeindex")] {
            cluster.fault(rots(node, &format!("log/synced-0/{file}")));
        }
        let log = "log/synced-0/00000000000000000000.log";
        assert!(!cluster.exceeds(rots(N3, log)));
        cluster.fault(rots(N3, log));
        assert!(cluster.exceeds(rots(N4, log)));
        assert!(!cluster.exceeds(rots(N4, "log/synced-0/00000000000000000000.index")));
    }

    #[test]
    fn one_power_cut_of_a_page_cache_replica_is_admitted_and_a_second_is_not() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        assert!(!cluster.exceeds(FaultNote::PowerLost(vec![N3])));
        assert!(cluster.exceeds(FaultNote::PowerLost(vec![N3, N4])));
        cluster.fault(FaultNote::PowerLost(vec![N3]));
        assert!(cluster.exceeds(FaultNote::PowerLost(vec![N4])));
        assert!(!cluster.exceeds(FaultNote::ProcessCrashed(N4)));
        assert!(!cluster.invariants.budget().is_anything_beyond());
    }

    #[test]
    fn the_last_member_of_a_shrunk_set_may_not_lose_power() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.commit_state(N5, &[N5]);
        assert!(cluster.exceeds(FaultNote::PowerLost(vec![N5])));
        assert!(
            !cluster.exceeds(FaultNote::PowerLost(vec![N3])),
            "a replica outside of the set holds nothing promised"
        );
    }

    #[test]
    fn a_cut_replica_counts_until_it_is_re_admitted_in_a_new_incarnation() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.fault(FaultNote::PowerLost(vec![N5]));
        cluster.commit_state(N3, &[N3, N4]);
        cluster.restart(N5, 0, 6);
        assert!(cluster.exceeds(FaultNote::PowerLost(vec![N4])), "registered, not yet re-admitted");
        cluster.commit_state(N3, &[N3, N4, N5]);
        assert!(!cluster.exceeds(FaultNote::PowerLost(vec![N4])));
    }

    #[test]
    fn the_synced_class_admits_a_cut_of_every_node() {
        let mut cluster = Cluster::synced();
        cluster.commit_three_batches();
        assert!(!cluster.exceeds(FaultNote::PowerLost(vec![N3, N4, N5])));
        assert!(!cluster.exceeds(FaultNote::DiskLost(N3)));
        cluster.fault(FaultNote::DiskLost(N3));
        assert!(cluster.exceeds(FaultNote::DiskLost(N4)));
    }

    #[test]
    fn a_replica_is_not_re_admitted_for_good_while_its_sync_is_still_to_fail() {
        let mut cluster = Cluster::page_cache();
        cluster.commit_three_batches();
        cluster.fault(FaultNote::SyncFails(N3));
        cluster.commit_state(N3, &[N3, N4, N5]);
        assert!(cluster.exceeds(FaultNote::PowerLost(vec![N4])), "what it holds may be lost yet");
        cluster.fault(FaultNote::SyncFailed(N3));
        cluster.commit_state(N3, &[N3, N4, N5]);
        assert!(!cluster.exceeds(FaultNote::PowerLost(vec![N4])));
    }

    #[test]
    fn a_failed_call_spends_nothing_and_a_failed_sync_what_the_page_cache_held() {
        let mut synced = Cluster::synced();
        synced.commit_three_batches();
        [N3, N4, N5].into_iter().for_each(|node| synced.fault(FaultNote::SyncFails(node)));
        assert!(!synced.invariants.budget().is_anything_beyond());
        let mut cached = Cluster::page_cache();
        cached.commit_three_batches();
        [N3, N4].into_iter().for_each(|node| cached.fault(FaultNote::CallsFail(node)));
        assert!(!cached.exceeds(FaultNote::CallsFail(N5)), "nothing that was written is lost by it");
        cached.fault(FaultNote::SyncFails(N3));
        assert!(cached.exceeds(FaultNote::SyncFails(N4)));
    }

    #[test]
    fn what_struck_a_replica_before_its_partition_was_known_counts_from_the_incarnation_that_is_a_member() {
        let beyond = |struck_before: &[Node], struck_since: &[Node]| {
            let mut cluster = Cluster::unopened(Cluster::topology(Durability::PageCache));
            for node in struck_before {
                cluster.fault(FaultNote::PowerLost(vec![*node]));
                cluster.begin_anew(*node);
            }
            let members = cluster.members(&[N3, N4, N5]);
            cluster.fault(FaultNote::PowerLost(struck_since.to_vec()));
            struck_since.iter().for_each(|node| cluster.begin_anew(*node));
            cluster.find_state(N5, members);
            cluster.invariants.budget().is_anything_beyond()
        };
        assert!(beyond(&[], &[N3, N4]));
        assert!(!beyond(&[], &[N3]));
        assert!(!beyond(&[N3, N4, N5], &[N3]));
    }

    #[test]
    fn a_majority_of_coordinators_must_keep_their_disks() {
        let mut cluster = Cluster::page_cache();
        assert!(!cluster.exceeds(FaultNote::DiskLost(Node(0))));
        cluster.fault(FaultNote::DiskLost(Node(0)));
        assert!(cluster.exceeds(FaultNote::DiskLost(Node(1))));
        assert!(!cluster.exceeds(FaultNote::PowerLost(vec![Node(0), Node(1), Node(2)])));
    }
}
