//! One run: a scenario and a schedule in, a [`Verdict`] out.
//!
//! The phases are those of the scenario: calm, faults, healing (the liveness phase), final reads.
//! A run is a function of its scenario and schedule: nothing that is reported, recorded or traced
//! changes [`Verdict::schedule_hash`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wyrdlog::base::ids::BrokerId;
use wyrdlog::base::ids::TopicPartition;
use wyrdlog::base::plants::{Plant, Plants, UnknownPlant};

use crate::checkers::availability::{self, AGAIN_WITHIN_NS, BOUND_MS};
use crate::checkers::{check_coordinator, check_kafka};
use crate::cluster::{ClientMain, Cluster};
use crate::engine::{Failure, Stop};
use crate::faults::{Ended, Fate, Injector, Struck};
use crate::history::Client;
use crate::invariants::model::{Partition, Replica, Role, Topology};
use crate::invariants::{Depth, Invariants};
use crate::narrate::Names;
use crate::observed::FaultNote;
use crate::scenario::{Parameters, Plan, Scenario, Workload};
use crate::schedule::{Due, Schedule, TriggerTracker};
use crate::session_wire::Told;
use crate::tamper::Record;
use crate::verdict::{Findings, Property, Violation};
use crate::watcher::Watcher;
use crate::workloads::Load;
use crate::workloads::coordinator_registers::Registers;
use crate::workloads::meddling::Meddling;
use crate::workloads::produce_consume::ProduceConsume;
use crate::workloads::protocol::Protocol;
use crate::workloads::sessions::Sessions;
use crate::workloads::subtrees::Subtrees;
use crate::workloads::topics::Topics;

mod disks;
mod judge;
mod requests;
mod vacuous;

pub use requests::Requests;

/// A run that has not converged goes on for so many simulated seconds at most.
const PROLONGED_S_MAX: u32 = 20;
/// Of so many seeds one has its invariants recomputed from everything.
const RECOMPUTED_OF: u64 = 50;

/// What a run leaves besides its verdict, and when it may end early. None of it changes the run up to there.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keep every event and history, to be tampered with.
    pub keep_record: bool,
    /// Record the engine's steps of this range.
    pub trace: Option<Range<u64>>,
    /// End the run as soon as an invariant finds that one of these is violated. What only the end of a
    /// run shows, such as what clients read at last, is not judged then.
    pub stop_at: BTreeSet<Property>,
}

/// How often a property was evaluated and violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Which.
    pub property: Property,
    /// How often something was compared that could have been wrong.
    pub evaluations: u64,
    /// How often it was.
    pub violated: u64,
}

/// The outcome of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// The scenario's name or path.
    pub scenario: String,
    /// The planted bug.
    pub plant: Option<String>,
    /// How often the planted bug's branch was executed.
    pub plant_taken: u64,
    /// The hash of all that happened, in hexadecimal.
    pub schedule_hash: String,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// Every property that was checked.
    pub findings: Vec<Evaluated>,
    /// Properties that this run gave no occasion to evaluate: nothing of their kind happened, or the
    /// run went past the budget.
    pub inapplicable: Vec<Property>,
    /// Which rare states were reached, and how often.
    pub probes: BTreeMap<String, u64>,
    /// Every fault of the schedule and its fate.
    pub faults: Vec<Struck>,
    /// Requests of clients.
    pub requests: Requests,
    /// How often a host lost power while its disk held bytes that were not synced.
    pub unsynced_power_cuts: u64,
    /// Whether the run went past the fault budget, so that durability was not promised.
    pub beyond_budget: bool,
    /// What this run lacked to mean anything, if it did: load, or faults that took effect.
    pub vacuous: Option<String>,
    /// The stratum of the mixture that the seed is of, if the scenario is one.
    pub stratum: Option<String>,
    /// What was drawn of what the scenario gives a range.
    pub parameters: Parameters,
    /// The topics' durability classes, by name.
    pub durability: BTreeMap<String, String>,
    /// Whether it ended before its end: at a violation that was waited for, or at the schedule's horizon.
    pub cut_short: bool,
    /// How long it was, in virtual nanoseconds.
    pub simulated_ns: u64,
    /// Polls and events of the engine.
    pub steps: u64,
    /// Events that nodes observed.
    pub events: u64,
}

impl Verdict {
    /// Whether nothing was violated.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }

    /// The properties that were violated, as the shrinker wants them.
    #[must_use]
    pub fn violated(&self) -> crate::shrink::Verdict {
        let mut first_ns = BTreeMap::new();
        for violation in &self.violations {
            let first = first_ns.entry(violation.property).or_insert(violation.time_ns);
            *first = violation.time_ns.min(*first);
        }
        crate::shrink::Verdict {
            violated: first_ns.keys().copied().collect(),
            first_ns,
            lasted_ns: self.simulated_ns,
            ..Default::default()
        }
    }

    /// How many faults came to `fate`.
    #[must_use]
    pub fn faults_that(&self, fate: Fate) -> usize {
        self.faults.iter().filter(|struck| struck.fate == fate).count()
    }
}

/// A run that has ended.
pub struct Run {
    /// The outcome.
    pub verdict: Verdict,
    /// Everything that it was judged by, if it was kept.
    pub record: Option<Record>,
    /// Who was who.
    pub topology: Topology,
    /// What people call the machines.
    pub names: Names,
}

/// Why a run cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRun {
    /// The schedule names a plant that does not exist.
    #[error(transparent)]
    Plant(#[from] UnknownPlant),
}

/// Runs `seed` of `scenario`.
pub fn run_seed(scenario: &Scenario, seed: u64, plant: Option<Plant>, options: &Options) -> Result<Run, CannotRun> {
    let mut plan = scenario.draw(seed);
    if let Some(plant) = plant {
        plan.schedule.plant = Some(plant.id().to_owned());
    }
    run_plan(&plan, options)
}

/// Runs `schedule`, which was recorded from a seed of `scenario`.
pub fn run_schedule(scenario: &Scenario, schedule: &Schedule, options: &Options) -> Result<Run, CannotRun> {
    run_plan(&scenario.draw(schedule.product_seed).with(schedule), options)
}

/// Runs `plan`.
pub fn run_plan(plan: &Plan, options: &Options) -> Result<Run, CannotRun> {
    let plant: Option<Plant> = plan.schedule.plant.as_deref().map(str::parse).transpose()?;
    let plants = plant.map_or(Plants::NONE, Plants::only);
    let mut driver = Driver::new(plan, plants, options);
    driver.go();
    Ok(driver.judge())
}

/// The workloads of a run.
#[derive(Default)]
struct Clients {
    registers: Option<Arc<Registers>>,
    produce_consume: Option<Arc<ProduceConsume>>,
    topics: Option<Arc<Topics>>,
    protocol: Option<Arc<Protocol>>,
    subtrees: Option<Arc<Subtrees>>,
    meddling: Option<Arc<Meddling>>,
    /// The clients of the coordinator that are to be served again after healing.
    of_coordinator: Vec<Client>,
}

struct Driver<'p> {
    plan: &'p Plan,
    cluster: Cluster,
    watcher: Rc<RefCell<Watcher>>,
    injector: Injector,
    clients: Clients,
    topology: Topology,
    failure: Option<Failure>,
    /// The log start of each partition's leader, and up to where it was exposed, when all was to be well again.
    at_bound: BTreeMap<TopicPartition, (i64, i64)>,
    has_final_reads: bool,
}

impl<'p> Driver<'p> {
    fn new(plan: &'p Plan, plants: Plants, options: &Options) -> Self {
        let clients = plan.workloads.iter().map(Workload::clients).sum::<u32>() as u16;
        let cluster = Cluster::new(plan, clients, plants, options.trace.clone());
        let topology = cluster.topology(plan);
        let depth =
            if plan.schedule.seed.is_multiple_of(RECOMPUTED_OF) { Depth::Recomputed } else { Depth::Incremental };
        let invariants = Invariants::new(topology.clone(), depth);
        let tracker = TriggerTracker::new(&plan.schedule.faults, cluster.roles());
        let (clients, mains) = workloads(plan, plants, &cluster);
        let paths = clients.registers.as_ref().map_or(Vec::new(), |registers| registers.paths.clone());
        let watcher = Rc::new(RefCell::new(Watcher::new(invariants, tracker, &paths, options.keep_record)));
        let injector = Injector::new(&plan.schedule);
        watcher.borrow_mut().stop_at.clone_from(&options.stop_at);
        let mut driver = Driver {
            plan,
            cluster,
            watcher,
            injector,
            clients,
            topology,
            failure: None,
            at_bound: BTreeMap::new(),
            has_final_reads: false,
        };
        driver.watch();
        driver.cluster.start_servers();
        for (client, main) in mains {
            driver.cluster.start_client(client, main);
        }
        driver
    }

    fn watch(&mut self) {
        let (watcher, view) = (self.watcher.clone(), self.cluster.view());
        self.cluster
            .simulation
            .set_observer(Some(Box::new(move |observation| watcher.borrow_mut().observe(observation, view))));
        let sessions = self.watcher.borrow().sessions.clone();
        let refused = self.watcher.borrow().refused.clone();
        let (events, secrets) = (self.watcher.borrow().told.clone(), self.watcher.borrow().secrets.clone());
        let answered = self.watcher.borrow().answered.clone();
        self.cluster.listen_to_sessions(move |told| match told {
            Told::Entry(entry) => sessions.borrow_mut().push(entry),
            Told::Refused(one) => refused.borrow_mut().push(one),
            Told::Event(event) => events.borrow_mut().push(event),
            Told::Secret(secret) => secrets.borrow_mut().push(secret),
            Told::Answered(one) => answered.borrow_mut().push(one),
        });
    }

    fn go(&mut self) {
        let phases = self.plan.phases;
        let nanoseconds = |ms: u64| ms * 1_000_000;
        let healed_ns = nanoseconds(phases.warm_up_ms + phases.faults_ms);
        if self.until(healed_ns, true) {
            return self.injector.close_all(&self.cluster);
        }
        let notes = self.injector.heal_all(&mut self.cluster);
        self.note_all(notes);
        self.until(self.bound_ns(), false);
        self.cluster.look_at_brokers();
        let load_ends_ns = healed_ns + nanoseconds(phases.healing_ms);
        if self.bound_ns() + AGAIN_WITHIN_NS <= load_ends_ns {
            self.at_bound = self.spans();
        }
        if self.until(load_ends_ns, false) {
            return;
        }
        self.begin_final_reads();
        let mut ends_ns = nanoseconds(phases.total_ms());
        if self.until(ends_ns, false) {
            return;
        }
        // Slowness is no failure to converge.
        for _ in 0..PROLONGED_S_MAX {
            if self.failure.is_some() || self.has_converged() {
                return;
            }
            ends_ns += 1_000_000_000;
            self.until(ends_ns, false);
        }
    }

    /// When what is promised after healing has to hold.
    fn bound_ns(&self) -> u64 {
        let (phases, cluster) = (self.plan.phases, &self.plan.cluster);
        let bound_ms = cluster.session_timeout_ms + cluster.replica_lag_max_ms + BOUND_MS;
        (phases.warm_up_ms + phases.faults_ms + bound_ms.min(phases.healing_ms)) * 1_000_000
    }

    /// Where each partition's leader has its log begin, and up to where it was exposed so far.
    fn spans(&self) -> BTreeMap<TopicPartition, (i64, i64)> {
        let watcher = self.watcher.borrow();
        let span = |partition: &Partition| {
            let leads = |replica: &&Replica| replica.role == Role::Leader;
            let start = partition.replicas.values().find(leads).map_or(0, |leader| leader.log.start);
            (partition.name.clone(), (start, partition.exposed))
        };
        watcher.invariants.model().partitions.iter().map(span).collect()
    }

    /// Whether the run has ended before its end.
    fn is_cut_short(&self) -> bool {
        let horizon_ms = self.plan.schedule.horizon_ms.filter(|horizon_ms| *horizon_ms < self.plan.phases.total_ms());
        let reached = |horizon_ms: u64| self.cluster.simulation.now_ns() >= horizon_ms.saturating_mul(1_000_000);
        self.watcher.borrow().stops || horizon_ms.is_some_and(reached)
    }

    /// Every client that produced or consumed crashes, and one reads everything.
    fn begin_final_reads(&mut self) {
        let Some(workload) = self.clients.produce_consume.clone() else { return };
        if self.failure.is_some() {
            return;
        }
        self.has_final_reads = true;
        self.cluster.end_clients();
        let main: ClientMain = Arc::new(move |runtime| Box::pin(workload.clone().read_everything(runtime, 0)));
        self.cluster.start_client(0, main);
    }

    /// Lets the world go on until `deadline_ns`; with `faults`, what is due strikes and heals. Says whether
    /// the run ends there before its end.
    fn until(&mut self, deadline_ns: u64, faults: bool) -> bool {
        let horizon_ns = self.plan.schedule.horizon_ms.unwrap_or(u64::MAX).saturating_mul(1_000_000);
        let deadline_ns = deadline_ns.min(horizon_ns);
        while self.failure.is_none() && !self.watcher.borrow().stops {
            if faults {
                self.strike_due();
            }
            self.cluster.start_due();
            let next_ns = self.next_ns(faults).map_or(deadline_ns, |next_ns| next_ns.min(deadline_ns));
            match self.cluster.simulation.run_until(next_ns) {
                Stop::Exited(node) => self.exited(node),
                Stop::Failed(failure) => self.failure = Some(failure),
                Stop::Deadline | Stop::Idle if next_ns == deadline_ns => break,
                Stop::Deadline | Stop::Idle | Stop::Wakeup(_) | Stop::Interrupted(_) => {}
            }
        }
        self.is_cut_short()
    }

    fn exited(&mut self, node: crate::engine::NodeId) {
        let notes = self.cluster.exited(node);
        self.note_all(notes);
    }

    fn note_all(&mut self, notes: Vec<FaultNote>) {
        let now_ns = self.cluster.simulation.now_ns();
        let mut watcher = self.watcher.borrow_mut();
        for note in notes {
            watcher.invariants.fault(now_ns, &note);
            watcher.fault(now_ns, note);
        }
    }

    fn next_ns(&self, faults: bool) -> Option<u64> {
        let due = self.watcher.borrow().tracker.next_due_ns().filter(|_| faults);
        due.into_iter().chain(self.cluster.next_start_ns()).min()
    }

    fn strike_due(&mut self) {
        let now_ns = self.cluster.simulation.now_ns();
        loop {
            let due = self.watcher.borrow_mut().tracker.pop_due(now_ns);
            let Some(Due { fault, heals, .. }) = due else { return };
            let mut watcher = self.watcher.borrow_mut();
            let Watcher { invariants, tracker, .. } = &mut *watcher;
            let notes = if heals {
                let Ended { notes, again_ns } = self.injector.heal(fault, &mut self.cluster, invariants);
                again_ns.into_iter().for_each(|at_ns| tracker.ends_again(fault, at_ns));
                notes
            } else {
                self.injector.strike(fault, &mut self.cluster, &tracker.roles, invariants)
            };
            notes.into_iter().for_each(|note| watcher.fault(now_ns, note));
        }
    }
}

/// The workloads of `plan`, and what each client machine runs.
fn workloads(plan: &Plan, plants: Plants, cluster: &Cluster) -> (Clients, Vec<(Client, ClientMain)>) {
    let mut clients = Clients::default();
    let mut mains: Vec<(Client, ClientMain)> = Vec::new();
    let session_timeout = Duration::from_millis(plan.cluster.session_timeout_ms);
    for workload in &plan.workloads {
        let first = mains.len() as Client;
        let numbers = first..first + workload.clients() as Client;
        match *workload {
            Workload::ProduceConsume(ref habits) => {
                let load = Load::new(plan, habits.clients, habits.requests_per_s, cluster.view());
                let (brokers, topics) = (cluster.broker_addresses(), plan.cluster.topics.clone());
                let shared = Arc::new(ProduceConsume::new(brokers, topics, habits.clone(), plants, load));
                clients.produce_consume = Some(shared.clone());
                mains.extend(numbers.map(|client| main(client, &shared, ProduceConsume::run)));
            }
            Workload::Registers { clients: count, requests_per_s, registers, session_timeout_ms, readers_percent } => {
                let asked = session_timeout_ms.map(|ms| Duration::from_millis(u64::from(ms)));
                let session_timeout = asked.unwrap_or(session_timeout);
                let load = Load::new(plan, count, requests_per_s, cluster.view());
                let servers = cluster.coordinator_addresses();
                let readers_percent = readers_percent.unwrap_or(25);
                let shared = Arc::new(Registers::new(servers, session_timeout, load, registers, readers_percent));
                clients.registers = Some(shared.clone());
                clients.of_coordinator.extend(numbers.clone());
                mains.extend(numbers.map(|client| main(client, &shared, Registers::run)));
            }
            Workload::Sessions { clients: count, ends_per_minute } => {
                let load = Load::new(plan, count, 4 * count, cluster.view());
                let servers = cluster.coordinator_addresses();
                let shared = Arc::new(Sessions { servers, session_timeout, load, clients: count, ends_per_minute });
                mains.extend(numbers.map(|client| main(client, &shared, Sessions::run)));
            }
            Workload::Topics { clients: count, changes_per_minute } => {
                let mut load = Load::new(plan, count, 1, cluster.view());
                load.pause = load.pause * 60 / changes_per_minute.max(1);
                let shared = Arc::new(Topics::new(cluster.broker_addresses(), numbers.clone().collect(), load));
                clients.topics = Some(shared.clone());
                mains.extend(numbers.map(|client| main(client, &shared, Topics::run)));
            }
            Workload::Protocol { clients: count, requests_per_s } => {
                let load = Load::new(plan, count, requests_per_s, cluster.view());
                let first = plan.cluster.first_broker as i32;
                let brokers = (first..).map(BrokerId).zip(cluster.broker_addresses()).collect();
                let topics = plan.cluster.topics.iter();
                let topics =
                    topics.map(|topic| (topic.name.as_str().into(), topic.partitions as i32, topic.replicas as usize));
                let shared =
                    Arc::new(Protocol::new(brokers, topics.collect(), load, plan.cluster.auto_create_partitions));
                clients.protocol = Some(shared.clone());
                mains.extend(numbers.map(|client| main(client, &shared, Protocol::run)));
            }
            Workload::Subtrees { clients: count, requests_per_s } => {
                let load = Load::new(plan, count, requests_per_s, cluster.view());
                let (servers, peers) = (cluster.coordinator_addresses(), cluster.peer_addresses());
                let shared = Arc::new(Subtrees::new(servers, peers, load, cluster.session_bounds_ms()));
                clients.subtrees = Some(shared.clone());
                mains.extend(numbers.map(|client| main(client, &shared, Subtrees::run)));
            }
            Workload::Meddling { clients: count, changes_per_minute } => {
                let mut load = Load::new(plan, count, 1, cluster.view());
                load.pause = load.pause * 60 / changes_per_minute.max(1);
                let first = plan.cluster.first_broker as i32;
                let brokers = (first..).map(BrokerId).zip(cluster.broker_addresses()).collect();
                let shared = Arc::new(Meddling::new(cluster.coordinator_addresses(), brokers, session_timeout, load));
                clients.meddling = Some(shared.clone());
                mains.extend(numbers.map(|client| main(client, &shared, Meddling::run)));
            }
        }
    }
    (clients, mains)
}

/// What the machine of `client` runs.
fn main<W, F>(
    client: Client,
    shared: &Arc<W>,
    run: fn(Arc<W>, crate::engine::SimRuntime, Client) -> F,
) -> (Client, ClientMain)
where
    W: Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let shared = shared.clone();
    (client, Arc::new(move |runtime| Box::pin(run(shared.clone(), runtime, client))))
}
