//! The machines of a run: coordinators, brokers and clients on a simulated world, their processes,
//! and what an operator does for them (start them again, replace a lost disk).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wyrdlog::base::address::Address;
use wyrdlog::base::ids::{BrokerId, ServerId};
use wyrdlog::base::plants::Plants;
use wyrdlog::base::stop_cause::StopCause;
use wyrdlog::broker;
use wyrdlog::coordinator::{self, Config, Member};
use wyrdlog::runtime::watch;

use crate::broker_disk::{checkpointed, has_marker, logs_among, unsynced_among};
use crate::checkers::clean_stops::CleanStop;
use crate::checkers::noted_names::Look;
use crate::checkers::restarts::Held;
use crate::coordinator_disk::held_on;
use crate::disk_log::ViewedDisk;
use crate::draw::Draw;
use crate::engine::{
    DiskFault, DiskImage, DiskOperation, EngineConfig, LinkParams, NodeId, Schedule, ServerBytes, SimRuntime,
    Simulation, View,
};
use crate::history::Client;
use crate::invariants::model::{Retention, TopicConfig, Topology};
use crate::links::Links;
use crate::narrate::Names;
use crate::observed::{FaultNote, Left, Node};
use crate::product::{self, Directory, Ended};
use crate::scenario::{Cluster as Shape, Plan};
use crate::schedule::Roles;
use crate::session_wire::{SessionWire, Told};

/// Where coordinators listen for each other.
const PEER_PORT: u16 = 2888;
/// Where coordinators listen for clients.
const CLIENT_PORT: u16 = 2181;
/// Where brokers listen.
pub const BROKER_PORT: u16 = 9092;
/// An operator starts a process that ended by itself again after so long, at least and at most.
const RESTART_MS: (u64, u64) = (50, 2_000);

/// What a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A coordinator server.
    Coordinator(ServerId),
    /// A broker.
    Broker(BrokerId),
    /// A client of the workload.
    Client(Client),
}

/// One machine.
#[derive(Debug)]
struct Machine {
    id: NodeId,
    part: Part,
    directory: Directory,
    /// Tells the running process to stop.
    stop: Option<watch::Sender<bool>>,
    /// How often its process ended by itself.
    exits: u32,
    /// When its process was started.
    started_ns: u64,
    /// When an operator starts it again.
    starts_ns: Option<u64>,
    /// Faults that keep it from being started.
    held_down: u32,
    /// Faults that make calls of its disk fail at present.
    disk_faults: usize,
    /// How many of them waited for a sync when that was last asked.
    syncs_armed: usize,
    /// Whether there was one since the process was started: then it may stop by itself.
    had_disk_trouble: bool,
    /// Files of which bytes at rest were damaged since it was given its disk.
    rotted: BTreeSet<String>,
}

impl Machine {
    /// Whether bytes at rest were damaged in this very file, or in any that there is if none is named.
    fn has_rot_in(&self, path: Option<&Path>) -> bool {
        match path {
            Some(path) => self.rotted.iter().any(|rotted| Path::new(rotted) == path),
            None => !self.rotted.is_empty(),
        }
    }
}

/// A copy of a machine's disk.
#[derive(Clone, Debug)]
pub struct DiskCopy {
    image: DiskImage,
    /// The files of it of which bytes at rest were damaged.
    pub rotted: BTreeSet<String>,
}

/// A process that stopped by itself, without a fault of its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// When, in virtual nanoseconds.
    pub time_ns: u64,
    /// Which machine.
    pub node: Node,
    /// What it said.
    pub reason: String,
}

/// A workload's process on one client machine, which may be killed and started again.
pub type ClientMain = Arc<dyn Fn(SimRuntime) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>;

/// The machines of one run.
pub struct Cluster {
    /// The world that they are in.
    pub simulation: Simulation,
    /// The links between them.
    pub links: Links,
    /// Processes that stopped although their disks were well.
    pub stopped: Vec<Stopped>,
    /// Processes that were told to stop in good order, by the time at which they were told.
    pub left: Vec<Left>,
    /// What the disk of a coordinator held when it was started.
    pub found: Vec<(u64, Node, Held)>,
    /// What brokers' processes that ended without an error left.
    pub clean_stops: Vec<CleanStop>,
    /// What brokers had noted of their logs, and which they had.
    pub looks: Vec<Look>,
    machines: Vec<Machine>,
    client_mains: BTreeMap<Client, ClientMain>,
    coordinator: coordinator::Config,
    broker: broker::Config,
    ended: Arc<Mutex<BTreeMap<u16, Ended>>>,
    seed: u64,
    replaced_coordinators: usize,
}

impl Cluster {
    /// The machines that `plan` asks for, with `clients` client machines; nothing runs yet.
    #[must_use]
    pub fn new(plan: &Plan, clients: u16, plants: Plants, trace: Option<std::ops::Range<u64>>) -> Self {
        let config = engine_config(plan, trace);
        let links = Links::new(config.network.link);
        let mut simulation = Simulation::new(plan.schedule.product_seed, config);
        let machines = parts(&plan.cluster, clients).map(|part| Machine {
            id: simulation.add_node(&host(part)),
            part,
            directory: Directory::New,
            stop: None,
            exits: 0,
            started_ns: 0,
            starts_ns: None,
            held_down: 0,
            disk_faults: 0,
            syncs_armed: 0,
            had_disk_trouble: false,
            rotted: BTreeSet::new(),
        });
        let machines = machines.collect();
        Cluster {
            simulation,
            links,
            stopped: Vec::new(),
            left: Vec::new(),
            found: Vec::new(),
            clean_stops: Vec::new(),
            looks: Vec::new(),
            machines,
            client_mains: BTreeMap::new(),
            coordinator: coordinator_config(plan, plants),
            broker: broker_config(plan, plants),
            ended: Arc::default(),
            seed: plan.schedule.product_seed,
            replaced_coordinators: 0,
        }
    }

    /// Starts all servers.
    pub fn start_servers(&mut self) {
        for at in 0..self.machines.len() {
            self.start(Node(at as u16));
        }
    }

    /// Starts a workload's process, which is what the machine runs from now on.
    ///
    /// # Panics
    /// If there is no such client machine, which is ours to prevent.
    pub fn start_client(&mut self, client: Client, main: ClientMain) {
        let machine = self.machines.iter().find(|machine| machine.part == Part::Client(client));
        let id = machine.map(|machine| machine.id).expect("one machine was made for each client");
        self.client_mains.insert(client, main.clone());
        self.simulation.start(id, move |runtime| main(runtime));
    }

    /// Ends all clients for good.
    pub fn end_clients(&mut self) {
        self.client_mains.clear();
        for machine in self.machines.iter().filter(|machine| matches!(machine.part, Part::Client(_))) {
            self.simulation.crash(machine.id);
        }
    }

    /// Who is who, for the invariants.
    #[must_use]
    pub fn topology(&self, plan: &Plan) -> Topology {
        let topic = |topic: &crate::scenario::Topic| {
            let (min_in_sync, replicas) = (topic.min_in_sync as usize, topic.replicas as usize);
            (Arc::from(topic.name.as_str()), TopicConfig { min_in_sync, replicas, durability: topic.durability })
        };
        let roles = self.roles();
        Topology {
            brokers: roles.brokers,
            servers: roles.servers,
            topics: plan.cluster.topics.iter().map(topic).collect(),
            index_interval_bytes: self.broker.index_interval_bytes,
            retention: Retention {
                segment_bytes: self.broker.segment_bytes,
                bytes: self.broker.retention_bytes,
                interval_ms: self.broker.retention_interval.as_millis() as u64,
            },
            unclean_election: false,
        }
    }

    /// Who is who, for targets of faults.
    #[must_use]
    pub fn roles(&self) -> Roles {
        let mut roles = Roles::default();
        for (at, machine) in self.machines.iter().enumerate() {
            let node = Node(at as u16);
            match machine.part {
                Part::Coordinator(id) => drop(roles.servers.insert(id, node)),
                Part::Broker(id) => drop(roles.brokers.insert(id, node)),
                Part::Client(number) => drop(roles.clients.insert(number, node)),
            }
        }
        roles
    }

    /// What people call the machines.
    #[must_use]
    pub fn names(&self) -> Names {
        Names::new(self.machines.iter().map(|machine| name(machine.part)).collect())
    }

    /// The engine's handle of a machine.
    ///
    /// # Panics
    /// If there is no such machine, which is ours to prevent.
    #[must_use]
    pub fn id(&self, node: Node) -> NodeId {
        self.machines[usize::from(node.0)].id
    }

    /// What a machine is for.
    #[must_use]
    pub fn part(&self, node: Node) -> Part {
        self.machines[usize::from(node.0)].part
    }

    /// All machines.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        (0..self.machines.len() as u16).map(Node).collect()
    }

    /// All machines that serve.
    #[must_use]
    pub fn servers(&self) -> Vec<Node> {
        self.nodes().into_iter().filter(|node| !matches!(self.part(*node), Part::Client(_))).collect()
    }

    /// The engine's handles of all machines.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.machines.iter().map(|machine| machine.id).collect()
    }

    /// Where clients reach the coordinators.
    #[must_use]
    pub fn coordinator_addresses(&self) -> Vec<Address> {
        self.coordinator.ensemble.iter().map(|member| member.client_address.clone()).collect()
    }

    /// Where coordinators reach each other.
    #[must_use]
    pub fn peer_addresses(&self) -> Vec<Address> {
        self.coordinator.ensemble.iter().map(|member| member.peer_address.clone()).collect()
    }

    /// Where clients reach the brokers.
    #[must_use]
    pub fn broker_addresses(&self) -> Vec<Address> {
        let brokers = self.machines.iter().filter(|machine| matches!(machine.part, Part::Broker(_)));
        brokers.map(|machine| Address::new(host(machine.part), BROKER_PORT)).collect()
    }

    /// Listens to what coordinator servers read and write; `tell` is told what of it concerns sessions.
    pub fn listen_to_sessions(&mut self, mut tell: impl FnMut(Told) + 'static) {
        let server = |node: Node| match self.part(node) {
            Part::Coordinator(ServerId(id)) => Some((id, node)),
            Part::Broker(_) | Part::Client(_) => None,
        };
        let mut wire = SessionWire::new(CLIENT_PORT, self.nodes().into_iter().filter_map(server).collect());
        let tap = move |bytes: ServerBytes<'_>| wire.take(&bytes, &mut tell);
        self.simulation.set_tap(&[CLIENT_PORT, PEER_PORT], Some(Box::new(tap)));
    }

    /// The shortest and the longest session time-out that coordinators are configured to grant, in
    /// milliseconds.
    #[must_use]
    pub fn session_bounds_ms(&self) -> (u64, u64) {
        let Config { session_timeout_min, session_timeout_max, .. } = &self.coordinator;
        (session_timeout_min.as_millis() as u64, session_timeout_max.as_millis() as u64)
    }

    /// A view of the world, for whoever records.
    #[must_use]
    pub fn view(&self) -> View {
        self.simulation.view()
    }

    /// Whether a process runs on `node`.
    #[must_use]
    pub fn is_running(&self, node: Node) -> bool {
        self.simulation.is_running(self.id(node))
    }

    // What an operator does.

    /// Starts the process of a machine, if it does not run and nothing holds it down.
    pub fn start(&mut self, node: Node) {
        let machine = &mut self.machines[usize::from(node.0)];
        machine.starts_ns = None;
        if machine.held_down > 0 || self.simulation.is_running(machine.id) {
            return;
        }
        machine.had_disk_trouble = machine.disk_faults > 0;
        machine.started_ns = self.simulation.now_ns();
        let (stop, stopped) = watch::channel(false);
        let (directory, ended) = (machine.directory, self.ended.clone());
        let note = move |result| drop(ended.lock().unwrap_or_else(PoisonError::into_inner).insert(node.0, result));
        match machine.part {
            Part::Coordinator(id) => {
                let disk = ViewedDisk { view: self.simulation.view(), id: machine.id };
                self.found.push((self.simulation.now_ns(), node, held_on(&disk)));
                let config = coordinator::Config { id, ..self.coordinator.clone() };
                self.simulation.start(machine.id, |runtime| async move {
                    note(product::coordinator(runtime, config, directory, stopped).await);
                });
            }
            Part::Broker(id) => {
                let listen_address = Address::new(host(machine.part), BROKER_PORT);
                let config = broker::Config { id, listen_address, ..self.broker.clone() };
                self.looks.push(look_at(&self.simulation, (node, machine.id), true));
                self.simulation.start(machine.id, |runtime| async move {
                    note(product::broker(runtime, config, stopped).await);
                });
            }
            Part::Client(number) => {
                if let Some(main) = self.client_mains.get(&number).cloned() {
                    self.simulation.start(machine.id, move |runtime| main(runtime));
                }
                return;
            }
        }
        machine.stop = Some(stop);
    }

    /// Keeps a machine's process from being started again until [`Cluster::release`].
    pub fn hold_down(&mut self, node: Node) {
        self.machines[usize::from(node.0)].held_down += 1;
    }

    /// Takes back one [`Cluster::hold_down`], and starts the process if it was the last.
    pub fn release(&mut self, node: Node) {
        let machine = &mut self.machines[usize::from(node.0)];
        machine.held_down = machine.held_down.saturating_sub(1);
        self.start(node);
    }

    /// Asks the process on `node` to stop in good order. It is started again when it has.
    /// Says whether one ran.
    pub fn restart_cleanly(&mut self, node: Node) -> bool {
        let machine = &self.machines[usize::from(node.0)];
        let running = self.simulation.is_running(machine.id);
        let is_told = running && machine.stop.as_ref().is_some_and(|stop| !stop.send_replace(true));
        if is_told {
            self.left.push(Left { told_ns: self.simulation.now_ns(), ended_ns: None, node });
        }
        is_told
    }

    /// Calls of its disk may fail from now on, so that its process may stop by itself.
    pub fn disk_fault_begins(&mut self, node: Node) {
        let machine = &mut self.machines[usize::from(node.0)];
        machine.disk_faults += 1;
        machine.had_disk_trouble = true;
    }

    /// The calls of its disk succeed again, unless another fault of it goes on.
    pub fn disk_fault_ends(&mut self, node: Node) {
        self.machines[usize::from(node.0)].disk_faults -= 1;
    }

    /// The next sync of that kind fails.
    pub fn arm_sync_failure(&mut self, node: Node, operation: DiskOperation) {
        let id = self.id(node);
        self.simulation.arm_disk_fault(id, DiskFault::error(operation).once());
        self.machines[usize::from(node.0)].syncs_armed = self.simulation.syncs_armed(id);
    }

    /// Bytes at rest are damaged, so that whichever process reads them may stop by itself.
    pub fn disk_rots(&mut self, node: Node, path: &str) {
        self.machines[usize::from(node.0)].rotted.insert(path.to_owned());
    }

    /// What the disk holds now.
    #[must_use]
    pub fn copy_disk(&self, node: Node) -> DiskCopy {
        let machine = &self.machines[usize::from(node.0)];
        DiskCopy { image: self.simulation.disk_image(machine.id), rotted: machine.rotted.clone() }
    }

    /// Puts a copy in the place of the disk of a machine on which nothing runs.
    pub fn swap_disk(&mut self, node: Node, copy: &DiskCopy) {
        let machine = &mut self.machines[usize::from(node.0)];
        self.simulation.replace_disk(machine.id, &copy.image);
        machine.rotted.clone_from(&copy.rotted);
    }

    /// How many coordinators may still be given an empty disk: one that was never votes again.
    #[must_use]
    pub fn spare_coordinators(&self) -> usize {
        let minority = (self.coordinator.ensemble.len() - 1) / 2;
        minority.saturating_sub(self.replaced_coordinators)
    }

    /// A coordinator's disk is spoilt or lost: one fewer may be.
    pub fn spend_coordinator(&mut self) {
        self.replaced_coordinators += 1;
    }

    /// Ends the process and gives the machine an empty disk.
    pub fn replace_disk(&mut self, node: Node) {
        let id = self.id(node);
        self.simulation.crash(id);
        self.simulation.replace_disk(id, &DiskImage::default());
        let machine = &mut self.machines[usize::from(node.0)];
        machine.directory = Directory::Replacement;
        machine.rotted.clear();
    }

    /// The process on a machine ended by itself: it is started again after a while. Gives back what
    /// that takes away. Where it found its disk damaged, and bytes at rest of that very file had been,
    /// the operator does what the message says: the machine is given an empty disk. A node that
    /// stops for damage without rot, for its disk without a fault of it, or for anything else has
    /// failed.
    pub fn exited(&mut self, id: NodeId) -> Vec<FaultNote> {
        let node = Node(id.index() as u16);
        let result = self.ended.lock().unwrap_or_else(PoisonError::into_inner).remove(&node.0);
        let time_ns = self.simulation.now_ns();
        let machine = &mut self.machines[id.index()];
        if matches!(machine.part, Part::Client(_)) {
            return Vec::new();
        }
        let (shortest, longest) = RESTART_MS;
        machine.exits += 1;
        let mut draw = Draw::new(self.seed, &format!("restart {} of {node}", machine.exits));
        machine.starts_ns = Some(time_ns + draw.between(shortest, longest) * 1_000_000);
        let Some(Err(stop)) = result else {
            if let Some(left) = self.left.iter_mut().rfind(|left| left.node == node) {
                left.ended_ns.get_or_insert(time_ns);
            }
            if result.is_some() && matches!(machine.part, Part::Broker(_)) {
                let disk = ViewedDisk { view: self.simulation.view(), id };
                let (started_ns, ended_ns) = (machine.started_ns, time_ns);
                let (has_marker, unsynced) = (has_marker(&disk), unsynced_among(&disk, disk.view.files(id)));
                self.clean_stops.push(CleanStop { started_ns, ended_ns, node, has_marker, unsynced });
            }
            return Vec::new();
        };
        let mut notes = vec![FaultNote::ProcessCrashed(node)];
        if machine.syncs_armed > 0 {
            machine.syncs_armed = self.simulation.syncs_armed(id);
            if machine.syncs_armed == 0 {
                notes.push(FaultNote::SyncFailed(node));
            }
        }
        let explained = match &stop.cause {
            StopCause::Damage { path } => machine.has_rot_in(path.as_deref()),
            StopCause::Disk => machine.had_disk_trouble,
            StopCause::Other => false,
        };
        if !explained {
            self.stopped.push(Stopped { time_ns, node, reason: stop.reason });
        } else if matches!(stop.cause, StopCause::Damage { .. }) {
            self.replace_disk(node);
            notes.push(FaultNote::DiskLost(node));
        }
        notes
    }

    /// Looks at what every broker that runs has noted of its logs.
    pub fn look_at_brokers(&mut self) {
        for node in self.nodes() {
            if matches!(self.part(node), Part::Broker(_)) && self.is_running(node) {
                self.looks.push(look_at(&self.simulation, (node, self.id(node)), false));
            }
        }
    }

    /// When the next process is started again.
    #[must_use]
    pub fn next_start_ns(&self) -> Option<u64> {
        self.machines.iter().filter_map(|machine| machine.starts_ns).min()
    }

    /// Starts what is to be started again by now.
    pub fn start_due(&mut self) {
        let now_ns = self.simulation.now_ns();
        for node in self.nodes() {
            if self.machines[usize::from(node.0)].starts_ns.is_some_and(|at_ns| at_ns <= now_ns) {
                self.start(node);
            }
        }
    }

    /// Starts every server that does not run.
    pub fn start_all(&mut self) {
        for node in self.servers() {
            self.machines[usize::from(node.0)].held_down = 0;
            self.start(node);
        }
    }
}

fn look_at(simulation: &Simulation, (node, id): (Node, NodeId), is_start: bool) -> Look {
    let disk = ViewedDisk { view: simulation.view(), id };
    let (logs, named) = (logs_among(&disk.view.files(id)), checkpointed(&disk));
    Look { time_ns: simulation.now_ns(), node, is_start, logs, named }
}

/// The machines of a cluster with so many clients, in the order of their indices.
pub fn parts(shape: &Shape, clients: u16) -> impl Iterator<Item = Part> {
    let coordinators = (1..=shape.coordinators).map(|id| Part::Coordinator(ServerId(id)));
    let ids = shape.first_broker..shape.first_broker + shape.brokers;
    let brokers = ids.map(|id| Part::Broker(BrokerId(id as i32)));
    coordinators.chain(brokers).chain((0..clients).map(Part::Client))
}

/// What people call a machine.
#[must_use]
pub fn name(part: Part) -> String {
    host(part).replace('-', " ")
}

/// The host name of a machine.
#[must_use]
pub fn host(part: Part) -> String {
    match part {
        Part::Coordinator(id) => format!("coordinator-{id}"),
        Part::Broker(id) => format!("broker-{id}"),
        Part::Client(number) => format!("client-{number}"),
    }
}

/// A seed that takes more steps does not end: the standard load takes half a million.
const STEPS_MAX: u64 = 200_000_000;

/// The world of a seed: its latencies and the way tasks are chosen.
fn engine_config(plan: &Plan, trace: Option<std::ops::Range<u64>>) -> EngineConfig {
    let shape = &plan.cluster;
    let mut config = EngineConfig { trace, ..EngineConfig::default() };
    config.schedule_seed = Some(plan.schedule.scheduling_seed);
    config.steps_max = STEPS_MAX;
    if let Some(change_points) = shape.change_points {
        config.schedule = Schedule::Pct { change_points, expected_polls: 400_000 };
    }
    let [latency, jitter] = [shape.link_latency_us, shape.link_jitter_us].map(Duration::from_micros);
    config.network.link = LinkParams::lan(latency, jitter);
    config.disk.sync_latency = Duration::from_micros(shape.sync_latency_us);
    config
}

fn coordinator_config(plan: &Plan, plants: Plants) -> coordinator::Config {
    let member = |id| {
        let host: Arc<str> = host(Part::Coordinator(ServerId(id))).into();
        let (peer_address, client_address) = (Address::new(host.clone(), PEER_PORT), Address::new(host, CLIENT_PORT));
        Member { id: ServerId(id), peer_address, client_address }
    };
    let mut config = coordinator::Config::new(ServerId(1), (1..=plan.cluster.coordinators).map(member).collect());
    config.session_timeout_min = Duration::from_millis(500);
    config.snapshot_entries = plan.cluster.snapshot_entries;
    config.log_roll_bytes = plan.cluster.log_roll_bytes;
    config.limits.trailing_entries = plan.cluster.trailing_entries;
    config.limits.snapshot_chunk_bytes_max = plan.cluster.snapshot_chunk_bytes;
    config.plants = plants;
    config
}

fn broker_config(plan: &Plan, plants: Plants) -> broker::Config {
    let coordinator = |id| Address::new(host(Part::Coordinator(ServerId(id))), CLIENT_PORT);
    let coordinators = (1..=plan.cluster.coordinators).map(coordinator).collect();
    let unset = Address::new("unset", BROKER_PORT);
    let mut config = broker::Config::new(BrokerId(0), unset, coordinators);
    config.session_timeout = Duration::from_millis(plan.cluster.session_timeout_ms);
    config.replica_lag_max = Duration::from_millis(plan.cluster.replica_lag_max_ms);
    config.segment_bytes = plan.cluster.segment_bytes;
    config.index_interval_bytes = plan.cluster.index_interval_bytes;
    config.retention_bytes = plan.cluster.retention_bytes;
    config.retention_interval = Duration::from_millis(plan.cluster.retention_interval_ms);
    config.auto_create_topics = plan.cluster.auto_create_partitions > 0;
    config.default_partitions = plan.cluster.auto_create_partitions.max(1) as i32;
    config.plants = plants;
    config
}
