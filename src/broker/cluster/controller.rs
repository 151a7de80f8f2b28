//! The task that owns the controller core: commands in, effects carried out.
//!
//! It never waits for the network. A write or a read of the tree runs beside it and reports through
//! the same inbox; pushes go into a line per broker. The core decides; what is decided here is only
//! which report still belongs to the present office.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::plane::Plane;
use super::pushes::Line;
use super::tree;
use super::writes::{self, Office};
use crate::base::event::Event;
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::client::coordinator::{CoordinatorClient, CoordinatorError};
use crate::controller::{
    Answer, Change, Controller, Effect, Input, Outcome, Refusal, Registration, Request, RequestId, Tree, WriteId,
};
use crate::runtime::{Runtime, Task, timeout};
use crate::wire::zookeeper::{MultiOp, MultiResult};

/// What the controller's task is told.
pub enum Command {
    /// This broker was elected, raised the epoch and read the tree through `client`.
    Elected { office: Office, client: CoordinatorClient, tree: Tree },
    /// The office is lost.
    Deposed,
    /// These brokers live.
    Brokers(Vec<Registration>),
    /// A request of a client or broker.
    Request { request: Request, reply: oneshot::Sender<Result<Answer, Refusal>> },
    /// An update could not be delivered.
    SnapshotRequested { broker: BrokerId, broker_epoch: BrokerEpoch },
    /// A write ended.
    Written { write: WriteId, outcome: Outcome },
    /// The tree was read again.
    TreeRead { office: Office, tree: Tree },
}

/// The time in office.
struct Term<R: Runtime> {
    office: Office,
    client: CoordinatorClient,
    /// Who lives, as the watches told last: the one source of it, so that a read of the tree that
    /// began before cannot bring anyone back.
    brokers: Vec<Registration>,
    /// The write or read under way. What a dropped one has sent may still take effect.
    _work: Option<R::Task>,
}

/// The task's state.
pub struct ControllerTask<R: Runtime> {
    plane: Arc<Plane<R>>,
    core: Controller,
    term: Option<Term<R>>,
    lines: BTreeMap<BrokerId, Line<R>>,
    replies: BTreeMap<RequestId, oneshot::Sender<Result<Answer, Refusal>>>,
    last_request: u64,
}

impl<R: Runtime> ControllerTask<R> {
    /// A controller out of office.
    pub fn new(plane: Arc<Plane<R>>) -> Self {
        let core = Controller::new(plane.own(), plane.shared.plants);
        ControllerTask { plane, core, term: None, lines: BTreeMap::new(), replies: BTreeMap::new(), last_request: 0 }
    }

    /// Runs as long as anyone can send commands.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            for input in self.inputs(command) {
                self.step(input);
            }
            let live = self.core.metadata().map(|metadata| &metadata.brokers);
            self.lines.retain(|broker, _| live.is_some_and(|live| live.contains_key(broker)));
        }
    }

    fn inputs(&mut self, command: Command) -> Vec<Input> {
        match command {
            Command::Elected { office, client, tree } => {
                self.lines.clear();
                self.term = Some(Term { office, client, brokers: tree.brokers.clone(), _work: None });
                vec![Input::Elected { controller_epoch: office.controller_epoch, tree }]
            }
            Command::Deposed => {
                self.term = None;
                vec![Input::Deposed]
            }
            Command::Brokers(brokers) => self.changes_of_brokers(brokers),
            Command::Request { request, reply } => {
                self.last_request += 1;
                let id = RequestId(self.last_request);
                self.replies.insert(id, reply);
                vec![Input::Request { id, request }]
            }
            Command::SnapshotRequested { broker, broker_epoch } => {
                vec![Input::SnapshotRequested { broker, broker_epoch }]
            }
            Command::Written { write, outcome } => vec![Input::Written { write, outcome }],
            Command::TreeRead { office, mut tree } => match &self.term {
                Some(term) if term.office == office => {
                    tree.brokers = term.brokers.clone();
                    vec![Input::TreeRead { tree }]
                }
                _ => Vec::new(),
            },
        }
    }

    /// Whoever is new or has another incarnation has started; whoever is gone has ended.
    fn changes_of_brokers(&mut self, brokers: Vec<Registration>) -> Vec<Input> {
        let (Some(term), Some(metadata)) = (&mut self.term, self.core.metadata()) else { return Vec::new() };
        let known = &metadata.brokers;
        let has_ended = |(broker, _): &(&BrokerId, _)| !brokers.iter().any(|live| live.broker == **broker);
        let ended = known.iter().filter(has_ended);
        let ended = ended.map(|(broker, was)| Input::BrokerEnded { broker: *broker, broker_epoch: was.broker_epoch });
        let is_new =
            |live: &&Registration| known.get(&live.broker).is_none_or(|known| known.broker_epoch != live.broker_epoch);
        let started = brokers.iter().filter(is_new).cloned().map(Input::BrokerStarted);
        let inputs = ended.chain(started).collect();
        term.brokers = brokers;
        inputs
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.step(input, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Write { write, changes, fenced } => self.write(write, &changes, fenced),
            Effect::ReadTree => self.read_tree(),
            Effect::Push { broker, update } => self.push(broker, update),
            Effect::Reply { id, result } => {
                if let Some(reply) = self.replies.remove(&id) {
                    // Whoever does not wait any more need not be told.
                    let _ = reply.send(result);
                }
            }
            Effect::Observe(event) => self.plane.shared.runtime.observe(|| Event::Controller(event)),
            Effect::PlantTaken(plant) => self.plane.shared.runtime.observe(|| Event::PlantTaken(plant)),
        }
    }

    fn write(&mut self, write: WriteId, changes: &[Change], fenced: bool) {
        let (Some(term), Some(committed)) = (&mut self.term, self.core.metadata()) else { return };
        let ops = writes::operations(term.office, fenced, changes, committed);
        let (plane, client) = (self.plane.clone(), term.client.clone());
        let goes_on = R::PLANTS && !fenced;
        let work = async move {
            let result = match goes_on {
                true => write_in_whatever_session(&plane, ops).await,
                false => write_once(&plane, &client, ops).await,
            };
            let outcome = writes::outcome(fenced, &result);
            if let Err(error) = result {
                tracing::info!(%error, ?outcome, "a write of the controller failed");
            }
            // The task is there as long as the broker.
            let _ = plane.controller.send(Command::Written { write, outcome }).await;
        };
        let work = self.plane.shared.runtime.spawn("controller-write", work);
        match goes_on {
            // It outlives the office: that it is not fenced is the planted bug.
            true => work.detach(),
            false => term._work = Some(work),
        }
    }

    fn read_tree(&mut self) {
        let Some(term) = &mut self.term else { return };
        let (plane, client, office) = (self.plane.clone(), term.client.clone(), term.office);
        let work = async move {
            let tree = read_until_it_succeeds(&plane, &client).await;
            // As above.
            let _ = plane.controller.send(Command::TreeRead { office, tree }).await;
        };
        term._work = Some(self.plane.shared.runtime.spawn("controller-read", work));
    }

    fn push(&mut self, broker: BrokerId, update: crate::controller::metadata::MetadataUpdate) {
        let Some(address) = self.core.metadata().and_then(|metadata| metadata.brokers.get(&broker)) else { return };
        let Some(address) = super::plane::address(address) else { return };
        let serves = |line: &Line<R>| line.broker_epoch() == update.broker_epoch && *line.address() == address;
        let line = match self.lines.remove(&broker).filter(serves) {
            Some(line) => line,
            None => Line::start(self.plane.clone(), broker, update.broker_epoch, address),
        };
        line.push(update);
        self.lines.insert(broker, line);
    }
}

/// One attempt. A server that does not answer within a session's time-out has lost its quorum;
/// whatever is read afterwards through the same session shows what became of the write.
async fn write_once<R: Runtime>(
    plane: &Plane<R>,
    client: &CoordinatorClient,
    ops: Vec<MultiOp>,
) -> Result<Vec<MultiResult>, CoordinatorError> {
    let patience = plane.shared.config.session_timeout;
    let answer = timeout(&plane.shared.runtime, patience, client.multi(ops)).await;
    answer.unwrap_or(Err(CoordinatorError::ConnectionLoss))
}

/// The planted bug KAFKA-6082: what a controller has begun to write goes on in the next session when
/// its own has expired, without a check of the epoch, whoever is the controller then.
async fn write_in_whatever_session<R: Runtime>(
    plane: &Plane<R>,
    ops: Vec<MultiOp>,
) -> Result<Vec<MultiResult>, CoordinatorError> {
    loop {
        let session = plane.session.borrow().clone();
        let result = match session {
            Some(client) => write_once(plane, &client, ops.clone()).await,
            None => Err(CoordinatorError::ConnectionLoss),
        };
        match result {
            Err(error) if error.is_ambiguous() || error.failed_operation().is_none() => {
                tracing::info!(%error, "a write of the controller goes on");
                plane.pause().await;
            }
            result => return result,
        }
    }
}

/// Ends with the office at the latest, which drops it.
pub async fn read_until_it_succeeds<R: Runtime>(plane: &Plane<R>, client: &CoordinatorClient) -> Tree {
    loop {
        let patience = plane.shared.config.session_timeout;
        match plane.within(patience, tree::read(client)).await {
            Some(Ok(tree)) => return tree,
            Some(Err(error)) => tracing::warn!(%error, "the cluster's state could not be read"),
            None => tracing::warn!("reading the cluster's state timed out"),
        }
        plane.pause().await;
    }
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
