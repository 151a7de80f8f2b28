//! What watches a run: every event, in the step in which a node observed it, is given to the
//! invariants, to the tracker of triggers and to the record of what the coordinator committed.
//!
//! Watching changes nothing in the world. That a fault strikes because of an event is the driver's
//! doing, and the same with every report switched off.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use wyrdlog::base::event::{
    BrokerEvent, ClientEvent, ControllerEvent, CoordinatorEvent, Event, LogEvent, ReplicaEvent,
};
use wyrdlog::base::ids::{BrokerId, TopicPartition, Zxid};
use wyrdlog::base::plants::Plant;
use wyrdlog::broker::cluster::znodes;
use wyrdlog::wire::kafka::ErrorCode;

use crate::checkers::committed::Committed;
use crate::checkers::replay_equals_live::{Rebuilt, Replays};
use crate::checkers::right_refusal::Nodes;
use crate::coordinator_disk::state_on;
use crate::disk_log::{DiskView, LOG_DIRECTORY, ViewedDisk, read_log, segment_sizes};
use crate::engine::{NodeId, Observation, View};
use crate::history::cluster::{ClusterHistory, Disturbance, Refused as RefusedByBroker, Registered};
use crate::history::coordinator::{PathIndex, Register};
use crate::history::protocol::OWN;
use crate::history::sessions::{Answered, Entry as SessionEntry, Event as SessionEvent, Fact, Refused, Secret};
use crate::invariants::Invariants;
use crate::observed::{FaultNote, Incarnation, Node, Observed};
use crate::occasions::Occasions;
use crate::schedule::TriggerTracker;
use crate::tamper::Entry;
use crate::verdict::Property;
use crate::workloads::topics::PREFIX;

/// After so many entries a server's disk is asked again for its state.
const REPLAYED_ENTRIES: u64 = 700;

/// A process that is seen again was down for at most so long, unless a fault kept it down.
const RESTART_NS: u64 = 3_000_000_000;

/// The state of whoever watches.
pub struct Watcher {
    /// What must hold after every event.
    pub invariants: Invariants,
    /// Which faults are due.
    pub tracker: TriggerTracker,
    /// What the registers were.
    pub committed: Committed,
    /// What servers' disks made of the tree.
    pub replays: Replays,
    /// Whose disks' bytes rotted, and in which incarnation each was first asked for its state.
    spoilt: BTreeSet<Node>,
    looked_at: BTreeMap<Node, Incarnation>,
    /// Each coordinator server's last applied index and state digest.
    pub applied: BTreeMap<Node, (u64, u64)>,
    /// How often each planted bug's branch was executed.
    pub plants_taken: BTreeMap<Plant, u64>,
    /// What is known of sessions, from here and from the servers' sockets.
    pub sessions: Rc<RefCell<Vec<SessionEntry>>>,
    /// What servers refused their clients.
    pub refused: Rc<RefCell<Vec<Refused>>>,
    /// Of which changes servers told their clients.
    pub told: Rc<RefCell<Vec<SessionEvent>>>,
    /// The passwords of sessions.
    pub secrets: Rc<RefCell<Vec<Secret>>>,
    /// Which syncs and writes were answered, by the same bytes.
    pub answered: Rc<RefCell<Vec<Answered>>>,
    /// Which nodes of the tree there were.
    pub nodes: Nodes,
    /// Spans of virtual nanoseconds in which a coordinator server was down, at least.
    pub server_restarts: Vec<(u64, u64)>,
    /// What clients of brokers met.
    pub cluster: ClusterHistory,
    /// From what coordinators said to start: term, vote and last entry.
    pub claimed: Vec<(u64, Node, [u64; 3])>,
    /// The names that were in the directory of each coordinator then.
    pub started_with: Vec<(u64, Node, Vec<String>)>,
    /// When logs were opened last.
    pub opened: BTreeMap<(Node, TopicPartition), u64>,
    /// The faults that took effect on disks and processes.
    pub struck: Vec<(u64, FaultNote)>,
    lives: BTreeMap<Node, Incarnation>,
    seen_lives: BTreeMap<Node, Incarnation>,
    /// Which occasions there were for properties that need one.
    pub occasions: Occasions,
    /// How many events there were.
    pub events: u64,
    /// Which properties end the run as soon as one of them is violated.
    pub stop_at: BTreeSet<Property>,
    /// Whether one of them was.
    pub stops: bool,
    /// Everything, if it is to be kept.
    pub entries: Option<Vec<Entry>>,
    violated: u64,
    paths: BTreeMap<Arc<str>, PathIndex>,
}

/// The driver is brought back because a fault is due, or because the run is to end.
const DUE: u64 = 0;
const ENDS: u64 = 1;

impl Watcher {
    /// Nothing seen yet. `paths` are the registers whose states are recorded.
    #[must_use]
    pub fn new(invariants: Invariants, tracker: TriggerTracker, paths: &[Arc<str>], keep: bool) -> Self {
        Watcher {
            invariants,
            tracker,
            committed: Committed::default(),
            replays: Replays::default(),
            spoilt: BTreeSet::new(),
            looked_at: BTreeMap::new(),
            applied: BTreeMap::new(),
            plants_taken: BTreeMap::new(),
            sessions: Rc::default(),
            refused: Rc::default(),
            told: Rc::default(),
            secrets: Rc::default(),
            answered: Rc::default(),
            nodes: Nodes::default(),
            server_restarts: Vec::new(),
            cluster: ClusterHistory::default(),
            claimed: Vec::new(),
            started_with: Vec::new(),
            opened: BTreeMap::new(),
            struck: Vec::new(),
            lives: BTreeMap::new(),
            seen_lives: BTreeMap::new(),
            occasions: Occasions::default(),
            events: 0,
            stop_at: BTreeSet::new(),
            stops: false,
            entries: keep.then(Vec::new),
            violated: 0,
            paths: paths.iter().cloned().zip(0..).collect(),
        }
    }

    /// Takes an event. Brings the driver back if a fault is due earlier than it knows.
    pub fn observe(&mut self, observation: Observation, view: View) {
        let Observation { time_ns, node, incarnation, event } = observation;
        let observed = Observed { time_ns, node: Node(node.index() as u16), incarnation, event };
        self.events += 1;
        if let Event::Log(name, LogEvent::Opened { .. }) = &observed.event {
            self.opened.insert((observed.node, name.clone()), time_ns);
        }
        if !self.is_judged(&observed.event) {
            return self.pass_over(observed, view);
        }
        self.note(&observed);
        if let Event::Coordinator(event) = &observed.event {
            self.note_applied(&observed, event, view, node);
            self.note_sessions(&observed, event, view.monotonic_ns(node));
            self.look_at_names(&observed, event, ViewedDisk { view, id: node });
        }
        self.note_cluster(&observed);
        match &observed.event {
            Event::Log(name, LogEvent::Opened { .. }) => {
                self.look_at_disk(observed.node, node, name, view);
                self.look_at_segments(observed.node, node, name, view);
            }
            Event::Log(name, LogEvent::StartAdvanced { .. }) => {
                self.look_at_segments(observed.node, node, name, view);
            }
            _ => {}
        }
        let violated = self.invariants.observe(&observed);
        if violated > self.violated {
            self.violated = violated;
            self.end_if_waited_for(view);
        }
        self.track(&observed, view);
        if let Some(entries) = &mut self.entries {
            entries.push(Entry::Event(observed));
        }
    }

    /// Whether the invariants look at it. Topics that clients create and delete come back under their names
    /// with other logs, of which events do not tell; what their clients see is judged instead.
    fn is_judged(&self, event: &Event) -> bool {
        let partition = match event {
            Event::Log(partition, _) | Event::Replica(partition, _) | Event::Client(partition, _) => partition,
            Event::Controller(
                ControllerEvent::Committed { partition, .. } | ControllerEvent::Found { partition, .. },
            ) => partition,
            _ => return true,
        };
        !partition.topic.starts_with(PREFIX)
    }

    /// Takes an event at which no invariant looks.
    fn pass_over(&mut self, observed: Observed, view: View) {
        if let Event::Log(_, LogEvent::Opened { .. }) = &observed.event {
            self.restarted(&observed);
        }
        // A topic that never comes back under its name is known by it.
        if let Event::Controller(
            ControllerEvent::Committed { partition, state, .. } | ControllerEvent::Found { partition, state, .. },
        ) = &observed.event
            && partition.topic.starts_with(OWN)
        {
            self.cluster.commit(observed.time_ns, partition, state);
        }
        self.track(&observed, view);
        if let Some(entries) = &mut self.entries {
            entries.push(Entry::Unjudged(observed));
        }
    }

    /// Brings the driver back if a fault is due earlier than it knows.
    fn track(&mut self, observed: &Observed, view: View) {
        let known = self.tracker.next_due_ns();
        self.tracker.observe(observed);
        let due = self.tracker.next_due_ns();
        if due != known && due.is_some_and(|due| known.is_none_or(|known| due < known)) {
            view.interrupt(DUE);
        }
    }

    /// Ends the run if what is violated now was waited for, and was promised.
    fn end_if_waited_for(&mut self, view: View) {
        let beyond_budget = self.invariants.budget().is_coordinator_beyond();
        let promised = |property: Property| !(beyond_budget && property.is_durability());
        let waited_for = |property: Property| self.stop_at.contains(&property) && promised(property);
        if self.invariants.findings().iter().any(|one| one.violated > 0 && waited_for(one.property)) {
            self.stops = true;
            view.interrupt(ENDS);
        }
    }

    /// Takes note of a fault for the record.
    pub fn fault(&mut self, time_ns: u64, note: FaultNote) {
        if let FaultNote::ProcessCrashed(_) | FaultNote::PowerLost(_) = note {
            self.cluster.ended.extend(note.nodes().iter().map(|node| (time_ns, *node)));
        }
        if let FaultNote::PowerLost(nodes) = &note {
            self.cluster.cut.extend(nodes.iter().map(|node| (time_ns, *node)));
        }
        if let FaultNote::DiskLost(node) = &note {
            self.cluster.swapped.push((time_ns, *node));
        }
        self.struck.push((time_ns, note.clone()));
        match &note {
            FaultNote::Rotted { node, .. } => drop(self.spoilt.insert(*node)),
            FaultNote::DiskLost(node) => drop(self.spoilt.remove(node)),
            _ => {}
        }
        if let Some(entries) = &mut self.entries {
            entries.push(Entry::Fault { time_ns, note });
        }
    }

    /// What is on a disk is read from it, not taken from what the product says.
    fn look_at_disk(&mut self, node: Node, id: NodeId, partition: &TopicPartition, view: View) {
        let log = read_log(&ViewedDisk { view, id }, &Path::new(LOG_DIRECTORY).join(partition.to_string()));
        self.invariants.disk_log(node, partition.clone(), log.clone());
        if let Some(entries) = &mut self.entries {
            entries.push(Entry::Disk { node, partition: partition.clone(), log });
        }
    }

    /// Remembers what is live, and asks the disk now and then what it would make of it.
    fn note_applied(&mut self, observed: &Observed, event: &CoordinatorEvent, view: View, id: NodeId) {
        let (CoordinatorEvent::Applied { index, zxid, state_digest, .. }
        | CoordinatorEvent::SnapshotInstalled { index, zxid, state_digest }) = *event
        else {
            return;
        };
        self.replays.live.insert(index, (zxid, state_digest));
        let is_installed = matches!(event, CoordinatorEvent::SnapshotInstalled { .. });
        let is_recovered = self.looked_at.insert(observed.node, observed.incarnation) != Some(observed.incarnation);
        if is_installed || is_recovered || index.is_multiple_of(REPLAYED_ENTRIES) {
            self.look_at_tree(observed.time_ns, observed.node, id, index, view);
        }
    }

    /// Whether bytes of the disk of `node` have rotted.
    #[must_use]
    pub fn is_spoilt(&self, node: Node) -> bool {
        self.spoilt.contains(&node)
    }

    /// What the disk of a server, which has applied entry `applied`, makes of the tree.
    pub fn look_at_tree(&mut self, time_ns: u64, node: Node, id: NodeId, applied: u64, view: View) {
        if self.spoilt.contains(&node) {
            return;
        }
        let live = &self.replays.live;
        let is_live =
            |index: u64, zxid: Zxid| index <= applied && live.get(&index).is_none_or(|(known, _)| *known == zxid);
        let state = state_on(&ViewedDisk { view, id }, is_live);
        self.replays.rebuilt.push(Rebuilt { time_ns, node, applied, state });
    }

    /// What a start leaves in the directory of a coordinator.
    fn look_at_names(&mut self, observed: &Observed, event: &CoordinatorEvent, disk: ViewedDisk) {
        let has_started = matches!(event, CoordinatorEvent::Recovered { .. });
        if has_started && !self.spoilt.contains(&observed.node) {
            self.started_with.push((observed.time_ns, observed.node, disk.list(Path::new(""))));
        }
    }

    fn note_sessions(&mut self, observed: &Observed, event: &CoordinatorEvent, clock_ns: u64) {
        let Observed { time_ns, node, incarnation, .. } = *observed;
        let before = self.lives.insert(node, incarnation);
        if before.is_some_and(|before| before != incarnation) {
            self.server_restarts.push((time_ns.saturating_sub(RESTART_NS), time_ns));
        }
        let fact = match *event {
            CoordinatorEvent::Elected { .. } => Fact::Elected,
            CoordinatorEvent::ExpiryProposed { session } => Fact::ExpiryProposed { session },
            CoordinatorEvent::SessionEnded { session, expired, .. } => Fact::Ended { session, expired },
            _ => return,
        };
        self.sessions.borrow_mut().push(SessionEntry { time_ns, clock_ns, node, incarnation, fact });
    }

    fn note_cluster(&mut self, observed: &Observed) {
        let (time_ns, node) = (observed.time_ns, observed.node);
        match &observed.event {
            Event::Client(partition, ClientEvent::Refused { broker, asked, error_code, after }) => {
                let (partition, error) = (partition.clone(), ErrorCode::from_wire(*error_code));
                let since_ns = time_ns.saturating_sub(after.as_nanos() as u64);
                let (broker, asked) = (*broker, *asked);
                let one = RefusedByBroker { time_ns, since_ns, client: node, broker, partition, asked, error };
                self.cluster.refused.push(one);
            }
            Event::Controller(
                ControllerEvent::Committed { partition, state, .. } | ControllerEvent::Found { partition, state, .. },
            ) => self.cluster.commit(time_ns, partition, state),
            Event::Controller(ControllerEvent::Elected { .. }) => {
                self.cluster.controllers.push((time_ns, observed.node));
            }
            Event::Coordinator(CoordinatorEvent::SessionEnded { ephemerals, .. }) => {
                let registered = |path: &String| {
                    path.strip_prefix(znodes::broker::PARENT)?.strip_prefix('/')?.parse().ok().map(BrokerId)
                };
                self.cluster.unregistered.extend(ephemerals.iter().filter_map(registered).map(|one| (time_ns, one)));
            }
            Event::Coordinator(CoordinatorEvent::Recovered { term, voted_for, last_index }) => {
                let vote = voted_for.map_or(0, |server| u64::from(server.0));
                self.claimed.push((time_ns, observed.node, [u64::from(term.0), vote, *last_index]));
            }
            Event::Coordinator(CoordinatorEvent::Elected { .. }) => {
                self.cluster.first_led_ns.get_or_insert(time_ns);
                self.restarted(observed);
            }
            // What a life of a process does first.
            Event::Coordinator(CoordinatorEvent::Applied { .. } | CoordinatorEvent::SnapshotInstalled { .. })
            | Event::Log(_, LogEvent::Opened { .. }) => self.restarted(observed),
            Event::Broker(BrokerEvent::Registered { broker_epoch, written_since, .. }) => {
                let (node, broker_epoch, written_since) = (observed.node, *broker_epoch, *written_since);
                self.cluster.registered.push(Registered { time_ns, node, broker_epoch, written_since });
                self.restarted(observed);
            }
            _ => {}
        }
    }

    /// A process that is seen in another life was down.
    fn restarted(&mut self, observed: &Observed) {
        let Observed { time_ns, node, incarnation, .. } = *observed;
        let before = self.seen_lives.insert(node, incarnation);
        if before.is_some_and(|before| before != incarnation) {
            let (from_ns, nodes) = (time_ns.saturating_sub(RESTART_NS), vec![node]);
            self.cluster.disturbances.push(Disturbance { from_ns, to_ns: time_ns, nodes });
        }
    }

    fn look_at_segments(&mut self, node: Node, id: NodeId, partition: &TopicPartition, view: View) {
        let directory = Path::new(LOG_DIRECTORY).join(partition.to_string());
        let segments = segment_sizes(&ViewedDisk { view, id }, &directory);
        self.invariants.disk_segments(node, partition.clone(), segments.clone());
        if let Some(entries) = &mut self.entries {
            entries.push(Entry::Segments { node, partition: partition.clone(), segments });
        }
    }

    fn note(&mut self, observed: &Observed) {
        match &observed.event {
            Event::Coordinator(CoordinatorEvent::Applied { index, state_digest, .. })
            | Event::Coordinator(CoordinatorEvent::SnapshotInstalled { index, state_digest, .. }) => {
                self.applied.insert(observed.node, (*index, *state_digest));
            }
            Event::Coordinator(CoordinatorEvent::NodeChanged { zxid, path, content }) => {
                self.nodes.record(path, *zxid, content.is_some());
                if let Some(path) = self.paths.get(path) {
                    let register = content.as_ref().map(|(version, data)| Register {
                        version: *version,
                        value: crate::workloads::coordinator_registers::value_of(data),
                    });
                    self.committed.record(*path, *zxid, register);
                }
            }
            Event::Log(_, LogEvent::Opened { log_end, .. }) if observed.incarnation > 1 && *log_end > 0 => {
                self.occasions.log_opened_again = true
            }
            Event::Replica(_, ReplicaEvent::BecameLeader { leader_epoch, .. }) if leader_epoch.0 > 0 => {
                self.occasions.leader_changed = true;
            }
            Event::Controller(ControllerEvent::Committed { state, .. } | ControllerEvent::Found { state, .. })
                if state.partition_epoch > 0 =>
            {
                self.occasions.partition_changed = true
            }
            Event::PlantTaken(plant) => *self.plants_taken.entry(*plant).or_default() += 1,
            _ => {}
        }
    }
}
