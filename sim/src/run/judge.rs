//! Judging a run that has ended: every checker and invariant, and what there is to count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Driver, Evaluated, Findings, Property, Record, Requests, Run, Verdict};
use crate::checkers::availability::{AfterHealing, PartitionHealth};
use crate::checkers::failover::LEAVES_NS;
use crate::checkers::restarts::Restarts;
use crate::checkers::{
    bounded_effort, check_met, clean_stops, meddling, protocol, quorum_heard, replay_equals_live, restarts,
    right_refusal, session_length, session_wire, subtrees, topics,
};
use crate::cluster::Part;
use crate::engine::NodeId;
use crate::faults::Struck;
use crate::history::cluster::{ClusterHistory, Disturbance};
use crate::history::coordinator::CoordinatorHistory;
use crate::history::effort::{self, EffortHistory};
use crate::history::kafka::{Expected, KafkaHistory};
use crate::history::protocol::ProtocolHistory;
use crate::history::sessions::{Fact, SessionHistory};
use crate::history::subtrees::SubtreesHistory;
use crate::history::topics::TopicsHistory;
use crate::history::{Client, Operation};
use crate::invariants::model::{Partition, Replica, Role};
use crate::observed::{FaultNote, Left, Node};
use crate::occasions::Occasions;
use crate::scenario::Workload;
use crate::schedule::FaultKind;

/// A request that nothing disturbs is answered within so long, and what follows: less than the shortest
/// time-out that might bring forward what is stuck.
const ANSWER_NS: u64 = 300_000_000;
/// A new partition takes so many syncs at most, and a broker makes one after the other (measured: about eight).
const SYNCS_TO_MAKE: u64 = 10;
/// So many round trips and syncs, behind others that wait for the same.
const ROUND_TRIPS: u64 = 20;

impl Driver<'_> {
    /// Ends the run and judges it.
    pub(super) fn judge(mut self) -> Run {
        let registers = self.clients.registers.as_ref().map(|registers| registers.take_history()).unwrap_or_default();
        let topics = self.clients.topics.as_ref().map(|topics| topics.take_history());
        let subtrees = self.clients.subtrees.as_ref().map(|subtrees| subtrees.take_history());
        let mut log = self.clients.produce_consume.as_ref().map(|workload| workload.take_history()).unwrap_or_default();
        self.expect(&mut log);
        let after_healing = self.after_healing(&registers);
        let cut_short = self.is_cut_short();
        self.cluster.look_at_brokers();
        let mut watcher = self.watcher.borrow_mut();
        if !cut_short {
            watcher.invariants.finish(self.cluster.simulation.now_ns());
        }
        let committed = std::mem::take(&mut watcher.committed);
        let mut findings = watcher.invariants.findings();
        findings.push(self.on_disk(watcher.invariants.model()));
        findings.push(self.segments(watcher.invariants.model()));
        let killed: Vec<Node> = watcher.cluster.ended.iter().map(|(_, node)| *node).collect();
        findings.extend(self.derived(watcher.invariants.model(), &killed));
        findings.extend(self.litter(&mut watcher));
        findings.push(self.one_writer());
        findings.push(self.noted(watcher.invariants.model()));
        findings.push(self.stays_up());
        findings.push(clean_stops::check(&self.cluster.clean_stops, &watcher.cluster, &watcher.struck));
        findings.push(self.noted_names(&watcher));
        findings
            .push(restarts::check(&Restarts { found: self.cluster.found.clone(), claimed: watcher.claimed.clone() }));
        findings.extend(super::check_kafka(&log));
        findings.extend(super::check_coordinator(&registers, &committed));
        self.look_at_trees(&mut watcher);
        let replays = std::mem::take(&mut watcher.replays);
        findings.push(replay_equals_live::check(&replays));
        let sessions = self.sessions(&watcher, subtrees.as_ref());
        let mut nodes = std::mem::take(&mut watcher.nodes);
        nodes.is_void = watcher.invariants.budget().is_coordinator_beyond();
        findings.push(session_length::check(&sessions));
        findings.extend(session_wire::check(&sessions));
        findings.push(quorum_heard::check(&sessions));
        let effort = self.effort();
        findings.push(bounded_effort::check(&effort));
        findings.push(right_refusal::check(&sessions, &nodes));
        let met = self.met(&mut watcher);
        findings.extend(self.znodes(&watcher, &met));
        let budget = watcher.invariants.budget();
        let (beyond_budget, coordinator_beyond) = (budget.is_anything_beyond(), budget.is_coordinator_beyond());
        // After a node failed for good, and without a coordinator, what remains is no promise.
        if self.failure.is_none() && !coordinator_beyond && !cut_short {
            findings.push(super::availability::check(&after_healing, &log));
        }
        if !coordinator_beyond {
            findings.extend(check_met(&met, &log, &registers));
        }
        let is_promised = !coordinator_beyond && self.failure.is_none();
        let topics = topics.filter(|_| is_promised).map(|topics| self.expect_of_topics(topics, &watcher, &met));
        findings.extend(topics.iter().flat_map(|topics| judge_topics(topics, &met, cut_short)));
        let subtrees = subtrees.filter(|_| is_promised);
        let meddled = self.clients.meddling.as_ref().map(|meddling| meddling.take_history());
        findings.extend(meddled.as_ref().map(|history| meddling::check(history, &met)));
        findings.extend(subtrees.iter().map(|subtrees| subtrees::check(subtrees, &met)));
        let protocol = self.protocol(&watcher).filter(|_| is_promised);
        findings.extend(protocol.as_ref().map(|history| protocol::check(&met, history)));
        watcher.occasions.take_history(&log, &registers);
        watcher.occasions.answers_known = subtrees.is_some() || protocol.is_some() || meddled.is_some();
        if cut_short && self.has_final_reads {
            // Read in part, which shows nothing.
            findings.retain(|one| !matches!(one.property, Property::LostWrite | Property::Unseen));
        }
        if coordinator_beyond {
            findings.retain(|one| !one.property.is_durability() || one.violated == 0);
        }
        let requests = Requests::of(&log, &registers, self.injector.struck());
        let verdict = self.verdict(&watcher, findings, requests, beyond_budget, cut_short);
        let entries = watcher.entries.take();
        drop(watcher);
        let record = entries.map(|entries| Record {
            entries,
            kafka: log,
            coordinator: registers,
            committed,
            effort,
            sessions,
            nodes,
            replays,
            after_healing,
            met,
            topics,
            protocol,
            subtrees,
        });
        Run { verdict, record, names: self.cluster.names(), topology: self.topology }
    }

    fn verdict(
        &self,
        watcher: &super::Watcher,
        findings: Vec<Findings>,
        requests: Requests,
        beyond_budget: bool,
        cut_short: bool,
    ) -> Verdict {
        let schedule = &self.plan.schedule;
        let evaluated =
            |one: &Findings| Evaluated { property: one.property, evaluations: one.evaluations, violated: one.violated };
        let topics = self.plan.cluster.topics.iter();
        let names = self.cluster.names();
        Verdict {
            seed: schedule.seed,
            scenario: schedule.scenario.clone(),
            plant: schedule.plant.clone(),
            plant_taken: watcher.plants_taken.values().sum(),
            schedule_hash: format!("{:032x}", self.cluster.simulation.hash()),
            findings: merge(findings.iter().map(evaluated)),
            violations: findings.into_iter().flat_map(|one| one.violations).map(|one| one.named(&names)).collect(),
            inapplicable: inapplicable(watcher.occasions, beyond_budget, cut_short),
            probes: watcher.invariants.probes().counts().map(|(probe, count)| (probe.id().to_owned(), count)).collect(),
            faults: self.injector.struck().to_vec(),
            requests,
            unsynced_power_cuts: self.cluster.simulation.effects().power_losses_unsynced,
            beyond_budget,
            vacuous: super::vacuous::lacking(self.plan, &requests, self.injector.struck()),
            stratum: self.plan.stratum.clone(),
            parameters: self.plan.parameters.clone(),
            durability: topics.map(|topic| (topic.name.clone(), format!("{:?}", topic.durability))).collect(),
            cut_short,
            simulated_ns: self.cluster.simulation.now_ns(),
            steps: self.cluster.simulation.steps(),
            events: watcher.events,
        }
    }

    fn stays_up(&self) -> Findings {
        let mut findings = Findings::new(Property::StaysUp);
        let now_ns = self.cluster.simulation.now_ns();
        let failure = self.failure.as_ref();
        findings.check(failure.is_none(), failure.map_or(now_ns, |failure| failure.time_ns), [], || {
            failure.map_or(String::new(), ToString::to_string)
        });
        for stopped in &self.cluster.stopped {
            findings.check(false, stopped.time_ns, [], || format!("{} stopped: {}", stopped.node, stopped.reason));
        }
        findings
    }

    /// What the disks of the servers that run make of the tree at the end.
    fn look_at_trees(&self, watcher: &mut super::Watcher) {
        let view = self.cluster.view();
        for (node, (applied, _)) in watcher.applied.clone() {
            if self.cluster.is_running(node) {
                let now_ns = self.cluster.simulation.now_ns();
                watcher.look_at_tree(now_ns, node, self.cluster.id(node), applied, view);
            }
        }
    }

    /// What is known of sessions, and when they could not be held to anything.
    fn sessions(&self, watcher: &super::Watcher, subtrees: Option<&SubtreesHistory>) -> SessionHistory {
        let spans = self.injector.struck().iter().filter_map(|struck| {
            let (from_ns, to_ns) = struck.lasted_ns?;
            Some((from_ns, if struck.kind.is_instant() { from_ns } else { to_ns }))
        });
        let cuts = self.cut_frames().map(|(at_ns, _)| (at_ns, at_ns));
        let mut disturbed_ns: Vec<_> = spans.chain(cuts).chain(watcher.server_restarts.iter().copied()).collect();
        disturbed_ns.push((0, 0));
        if watcher.invariants.budget().is_coordinator_beyond() {
            disturbed_ns.push((0, u64::MAX));
        }
        disturbed_ns.sort_unstable();
        let (entries, refused) = (watcher.sessions.take(), watcher.refused.take());
        let (events, secrets, answered) = (watcher.told.take(), watcher.secrets.take(), watcher.answered.take());
        let ended_ns = self.cluster.simulation.now_ns();
        let bounds_ms = self.cluster.session_bounds_ms();
        let voters = self.plan.cluster.coordinators;
        let mut sessions =
            SessionHistory { bounds_ms, entries, refused, events, secrets, voters, answered, disturbed_ns, ended_ns };
        leave_to_subtrees(&mut sessions, subtrees);
        sessions
    }

    /// Writes down what was promised of the topics that clients created.
    fn expect_of_topics(
        &self,
        mut topics: TopicsHistory,
        watcher: &super::Watcher,
        met: &ClusterHistory,
    ) -> TopicsHistory {
        let brokers = &self.topology.brokers;
        let hits = |note: &FaultNote| note.nodes().iter().any(|node| brokers.values().any(|broker| broker == node));
        let of_brokers = watcher.struck.iter().filter(|(_, note)| hits(note));
        let expected = &mut topics.expected;
        for (time_ns, note) in of_brokers {
            match note {
                FaultNote::PowerLost(_) | FaultNote::SyncFails(_) | FaultNote::SyncFailed(_) => {
                    expected.cuts_ns.push(*time_ns);
                }
                FaultNote::DiskLost(_) | FaultNote::Rotted { .. } => expected.disks_ns.push(*time_ns),
                FaultNote::ProcessCrashed(_) | FaultNote::CallsFail(_) | FaultNote::CallsWork(_) => {}
            }
        }
        let phases = self.plan.phases;
        expected.brokers = brokers.len();
        expected.healed_ns = (phases.warm_up_ms + phases.faults_ms) * 1_000_000;
        (expected.bound_ns, expected.load_ends_ns) = (self.bound_ns(), met.load_ends_ns);
        expected.seen_ns = self.cluster.simulation.now_ns();
        let view = self.cluster.view();
        for node in brokers.values().filter(|node| self.cluster.is_running(**node)) {
            let files = view.files(self.cluster.id(*node));
            let directory = |file: &String| Some(Path::new(file).parent()?.file_name()?.to_str()?.to_owned());
            let all: BTreeSet<String> = files.iter().filter_map(directory).collect();
            expected.directories.extend(all.into_iter().map(|name| (*node, name)));
        }
        topics
    }

    /// What clients asked that speak every version, and until when their own logs are promised.
    fn protocol(&self, watcher: &super::Watcher) -> Option<ProtocolHistory> {
        let mut history = self.clients.protocol.as_ref()?.take_history();
        let is_lost = |note: &FaultNote| {
            matches!(note, FaultNote::DiskLost(_) | FaultNote::Rotted { .. } | FaultNote::SyncFails(_))
        };
        let lost = watcher.struck.iter().find(|(_, note)| is_lost(note));
        history.void_from_ns = lost.map_or(u64::MAX, |(time_ns, _)| *time_ns);
        Some(history)
    }

    /// What servers did, and what clients asked of them meanwhile.
    fn effort(&self) -> EffortHistory {
        let view = self.cluster.view();
        let mut history = EffortHistory::default();
        for node in self.cluster.nodes() {
            let seconds = view.efforts(self.cluster.id(node));
            let part = match self.cluster.part(node) {
                Part::Broker(_) => effort::Part::Broker,
                Part::Coordinator(_) => effort::Part::Coordinator,
                Part::Client(_) => {
                    history.asked.resize(history.asked.len().max(seconds.len()), 0);
                    let asked = history.asked.iter_mut().zip(&seconds);
                    asked.for_each(|(asked, done)| *asked += u64::from(done.sends));
                    continue;
                }
            };
            history.servers.push(effort::Server { part, node, seconds });
        }
        history
    }

    /// When a frame was cut short, and between whom.
    fn cut_frames(&self) -> impl Iterator<Item = (u64, [Node; 2])> {
        let ids = self.cluster.ids();
        let node = move |id: NodeId| ids.iter().position(|other| *other == id).map(|index| Node(index as u16));
        let cuts = self.cluster.simulation.cut_frames().into_iter();
        cuts.filter_map(move |(at_ns, from, to)| Some((at_ns, [node(from)?, node(to)?])))
    }

    /// What clients met, and what disturbed the cluster meanwhile.
    fn met(&self, watcher: &mut super::Watcher) -> ClusterHistory {
        let mut met = std::mem::take(&mut watcher.cluster);
        let of_fault = |struck: &Struck| {
            let (from_ns, to_ns) = struck.lasted_ns?;
            let to_ns = if struck.kind.is_instant() { from_ns } else { to_ns };
            Some(Disturbance { from_ns, to_ns, nodes: self.injector.disturbed(struck) })
        };
        // No promise depends on a wall clock, and a drift is within what is granted.
        let is_of_clock = |struck: &&Struck| matches!(struck.kind, FaultKind::ClockJump | FaultKind::ClockDrift);
        let disturbs = self.injector.struck().iter().filter(|struck| !is_of_clock(struck));
        met.disturbances.extend(disturbs.filter_map(of_fault));
        // A frame is cut short when it is written, which may be long after the fault.
        met.disturbances.extend(self.cut_frames().map(|(at_ns, nodes)| Disturbance {
            from_ns: at_ns,
            to_ns: at_ns,
            nodes: nodes.to_vec(),
        }));
        met.disturbances.sort_by_key(|one| one.from_ns);
        met.left = left_in_good_order(&self.cluster.left, self.injector.struck());
        met.told.clone_from(&self.cluster.left);
        met.healed_ns = (self.plan.phases.warm_up_ms + self.plan.phases.faults_ms) * 1_000_000;
        met.ended_ns = self.cluster.simulation.now_ns();
        let roles = self.cluster.roles();
        met.ensemble = self.topology.servers.values().copied().collect();
        met.brokers.clone_from(&self.topology.brokers);
        met.clients = roles.clients.into_values().collect();
        met.topics.clone_from(&self.topology.topics);
        met.segment_bytes = self.topology.retention.segment_bytes;
        let (phases, shape) = (self.plan.phases, &self.plan.cluster);
        met.session_timeout_ns = shape.session_timeout_ms * 1_000_000;
        met.settle_ns = self.bound_ns() - (phases.warm_up_ms + phases.faults_ms) * 1_000_000;
        let partitions: u64 = shape.topics.iter().map(|topic| u64::from(topic.partitions)).sum();
        let asked_ms = self.plan.workloads.iter().filter_map(Workload::session_timeout_ms).map(u64::from).max();
        met.silence_ns = asked_ms.unwrap_or(shape.session_timeout_ms) * 1_000_000 / 3;
        met.made_ns = SYNCS_TO_MAKE * partitions * shape.sync_latency_us * 1_000;
        let round_trip_us = 2 * (shape.link_latency_us + shape.link_jitter_us);
        met.answer_ns = ANSWER_NS + ROUND_TRIPS * 1_000 * (round_trip_us + shape.sync_latency_us);
        let linger_ms = self.plan.workloads.iter().map(Workload::linger_ms).max().unwrap_or(0);
        met.linger_ns = u64::from(linger_ms) * 1_000_000;
        met.load_ends_ns = (self.load_ends_ms() * 1_000_000).min(self.cluster.simulation.now_ns());
        met
    }

    pub(super) fn load_ends_ms(&self) -> u64 {
        self.plan.phases.total_ms() - self.plan.phases.final_reads_ms
    }

    /// Writes down what was promised of each partition, for the checkers of the history.
    fn expect(&self, log: &mut KafkaHistory) {
        let watcher = self.watcher.borrow();
        let (model, budget) = (watcher.invariants.model(), watcher.invariants.budget());
        log.is_compressed = self.plan.workloads.iter().any(Workload::compresses);
        log.has_final_reads = self.has_final_reads && self.failure.is_none();
        for (index, name) in (0..).zip(&log.partitions) {
            let Some(at) = model.partitions.iter().position(|partition| partition.name == *name) else { continue };
            let partition = &model.partitions[at];
            let expected = Expected {
                beyond_since_ns: budget.beyond_since_ns(at),
                exposed: partition.exposed,
                retained: partition.retained.clone(),
            };
            log.expected.insert(index, expected);
        }
    }

    /// Whether nothing is left to wait for: every promised partition is whole and was read to its end.
    pub(super) fn has_converged(&self) -> bool {
        let watcher = self.watcher.borrow();
        let (model, budget) = (watcher.invariants.model(), watcher.invariants.budget());
        let read = self.clients.produce_consume.as_ref().map(|workload| workload.read_at_last()).unwrap_or_default();
        let is_whole = |(at, partition): (usize, &Partition)| {
            let health = health(partition, (0, 0));
            let equal = health.logs.windows(2).all(|pair| (pair[0].1, pair[0].2) == (pair[1].1, pair[1].2));
            let reached = read.get(&partition.name).copied().unwrap_or(0);
            let is_read = reached >= partition.exposed || partition.exposed <= partition.justified_start();
            budget.is_beyond(at) || (health.has_leader && health.in_sync == health.replicas && equal && is_read)
        };
        let applied: Vec<_> = self.topology.servers.values().map(|node| watcher.applied.get(node)).collect();
        model.partitions.iter().enumerate().all(is_whole) && applied.windows(2).all(|pair| pair[0] == pair[1])
    }

    fn after_healing(&self, registers: &CoordinatorHistory) -> AfterHealing {
        let phases = self.plan.phases;
        let healed_ns = (phases.warm_up_ms + phases.faults_ms) * 1_000_000;
        let load_ends_ns = self.load_ends_ms() * 1_000_000;
        let clients = self.clients.of_coordinator.iter();
        let mut completed: BTreeMap<Client, u32> = clients.map(|client| (*client, 0)).collect();
        count_completed(&mut completed, &registers.operations, healed_ns);
        let watcher = self.watcher.borrow();
        let health_at_end =
            |partition: &Partition| health(partition, self.at_bound.get(&partition.name).copied().unwrap_or_default());
        let servers = self.topology.servers.values();
        let coordinators = servers.map(|node| {
            let (index, digest) = watcher.applied.get(node).copied().unwrap_or_default();
            (*node, index, digest)
        });
        AfterHealing {
            healed_ns,
            bound_ns: self.bound_ns(),
            stopped_ns: watcher
                .cluster
                .ended
                .iter()
                .map(|(at_ns, _)| *at_ns)
                .filter(|at_ns| *at_ns > healed_ns)
                .collect(),
            load_ends_ns,
            seen_ns: self.cluster.simulation.now_ns(),
            completed,
            fetches_little: self.plan.workloads.iter().any(Workload::fetches_little),
            partitions: watcher.invariants.model().partitions.iter().map(health_at_end).collect(),
            coordinators: coordinators.collect(),
        }
    }
}

/// Judges what clients did with topics of their own. A run that is cut short may not have come to what is due.
fn judge_topics(topics: &TopicsHistory, met: &ClusterHistory, cut_short: bool) -> impl Iterator<Item = Findings> {
    let judged = topics::check(topics, met).into_iter();
    judged.filter(move |one| !cut_short || one.property != Property::Availability)
}

/// What clients that own a subtree ask for may deserve other refusals than are known of elsewhere; who asks for
/// a session that is not its own is to be told that there is none; and where a session was asked for with another
/// time-out, and no answer came, either may be in force.
fn leave_to_subtrees(sessions: &mut SessionHistory, subtrees: Option<&SubtreesHistory>) {
    let Some(subtrees) = subtrees else { return };
    let theirs: BTreeSet<_> = subtrees.sessions().collect();
    let (not_theirs, uncertain): (BTreeSet<_>, BTreeSet<_>) =
        (subtrees.not_theirs().collect(), subtrees.uncertain().collect());
    sessions.refused.retain(|one| !theirs.contains(&one.session));
    sessions.entries.retain(|one| match one.fact {
        Fact::Expelled { session } => !not_theirs.contains(&session),
        Fact::Granted { session, .. } => !uncertain.contains(&session),
        _ => true,
    });
}

fn inapplicable(occasions: Occasions, beyond_budget: bool, cut_short: bool) -> Vec<Property> {
    let of_the_end = |property: Property| (beyond_budget || cut_short) && property == Property::Availability;
    let unpromised = |property: Property| beyond_budget && property.is_durability() || of_the_end(property);
    let all = Property::ALL.iter().copied();
    // Whether one of a few lookups is answered is chance.
    let by_chance = |property: Property| property == Property::OffsetForTime;
    all.filter(|property| !occasions.allow(*property) || unpromised(*property) || by_chance(*property)).collect()
}

/// One row per property, although several checkers may look at one.
fn merge(all: impl Iterator<Item = Evaluated>) -> Vec<Evaluated> {
    let mut merged: BTreeMap<Property, Evaluated> = BTreeMap::new();
    for one in all {
        let row = merged.entry(one.property).or_insert(Evaluated { evaluations: 0, violated: 0, ..one });
        row.evaluations += one.evaluations;
        row.violated += one.violated;
    }
    merged.into_values().collect()
}

fn health(partition: &Partition, (start_at_bound, exposed_at_bound): (i64, i64)) -> PartitionHealth {
    let state = partition.state.as_ref().map(|(_, state)| state);
    let live = partition.replicas.iter().filter(|(_, replica)| replica.role != Role::None);
    // Retention may be under way: what one replica has removed already is no difference.
    let kept_by_all = live.clone().map(|(_, replica)| replica.log.start).max().unwrap_or(0);
    let digest = |replica: &Replica| {
        let kept = replica.log.batches.iter().filter(|batch| batch.base_offset >= kept_by_all);
        let crcs = kept.map(|batch| u64::from(batch.crc));
        crcs.fold(0_u64, |digest, crc| digest.wrapping_mul(0x0100_0000_01b3).wrapping_add(crc))
    };
    PartitionHealth {
        partition: partition.name.clone(),
        replicas: state.map_or(partition.replicas.len(), |state| state.replicas.len()),
        in_sync: state.map_or(0, |state| state.in_sync.len()),
        has_leader: state.is_some_and(|state| state.leader.is_some()),
        start_at_bound,
        exposed_at_bound,
        starts: live.clone().map(|(node, replica)| (*node, replica.log.start)).collect(),
        logs: live.map(|(node, replica)| (*node, replica.log.end, digest(replica))).collect(),
    }
}

fn count_completed<C, R>(completed: &mut BTreeMap<Client, u32>, operations: &[Operation<C, R>], healed_ns: u64) {
    for operation in operations {
        if operation.reply().is_some() && operation.completed_ns.is_some_and(|at_ns| at_ns >= healed_ns) {
            *completed.entry(operation.client).or_default() += 1;
        }
    }
}

/// Those that no other fault on the same machine came close to.
fn left_in_good_order(left: &[Left], struck: &[Struck]) -> Vec<Left> {
    let is_alone = |left: &&Left| {
        let ends_ns = left.ended_ns.unwrap_or(left.told_ns) + LEAVES_NS;
        let hits = |one: &Struck| {
            let Some((from_ns, to_ns)) = one.lasted_ns.filter(|_| one.nodes.contains(&left.node)) else { return false };
            let is_itself = one.kind == FaultKind::Restart && from_ns == left.told_ns;
            !is_itself && from_ns <= ends_ns && left.told_ns <= to_ns.max(from_ns) + LEAVES_NS
        };
        !struck.iter().any(hits)
    };
    left.iter().filter(is_alone).copied().collect()
}
