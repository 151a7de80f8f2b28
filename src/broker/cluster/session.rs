//! The sessions with the coordinators, one after the other: in each, this broker registers, watches
//! its registration, and stands for controller.
//!
//! The three things that go on in a session are futures of one task, so that they end together and
//! at once when the session ends. Watch events only wake; what holds is read anew, with the next
//! watch, so that no event can be missed or misread.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::super::boot;
use super::MetadataSink;
use super::controller::{Command, read_until_it_succeeds};
use super::incarnation::{self, Past};
use super::plane::Plane;
use super::tree;
use super::writes::{self, Office};
use super::znodes::{self, broker, broker_epoch, cluster_id, controller, producer_ids, topic};
use crate::base::event::{BrokerEvent, Event};
use crate::base::ids::{BrokerEpoch, ControllerEpoch, SessionId, TopicId, Zxid};
use crate::base::znode::{Acl, CreateMode, ErrorCode, Stat};
use crate::client::coordinator::{Config, CoordinatorClient, CoordinatorError, SessionState};
use crate::controller::metadata::Endpoint;
use crate::controller::{LastShutdown, Registration};
use crate::runtime::{Runtime, select, watch};
use crate::wire::zookeeper::{MultiResult, WatchEvent};

/// The name of the one listener.
const LISTENER: &str = "PLAINTEXT";

/// Why this broker cannot take part any more.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the incarnation could not be made durable: {0}")]
    Disk(#[from] std::io::Error),
    #[error("another process has registered as broker {0}: each broker needs an id of its own")]
    Replaced(crate::base::ids::BrokerId),
}

/// What ends an attempt.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// Tried again.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// Tried again: an operator may mend it.
    #[error(transparent)]
    Znode(#[from] znodes::BadZnode),
    /// The broker stops.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// Keeps a session for as long as the broker runs.
pub async fn keep<R: Runtime, P: MetadataSink<R>>(plane: Arc<Plane<R>>, partitions: P, mut past: Past) {
    loop {
        let config = Config::new(plane.shared.config.coordinators.clone(), plane.shared.config.session_timeout);
        let (client, events) = CoordinatorClient::start(&plane.shared.runtime, config);
        plane.session.send_replace(Some(client.clone()));
        let state = client.state();
        let session = Session {
            plane: &plane,
            client,
            registration_changed: Notify::new(),
            controller_changed: Notify::new(),
            brokers_changed: Notify::new(),
            registered: watch::Sender::new(false),
        };
        let registering = session.keep_registered(&partitions, &mut past);
        let standing = session.stand_for_controller();
        select(has_ended(state), select(session.pump(events), select(registering, standing))).await;
        // The task is there as long as this one.
        let _ = plane.controller.send(Command::Deposed).await;
        if *plane.stopping.borrow() {
            return;
        }
        tracing::warn!("the session with the coordinators has expired");
    }
}

async fn has_ended(mut state: watch::Receiver<SessionState>) {
    // An error says that the client's task is gone, which ends the session too.
    let _ = state.wait_for(|state| matches!(state, SessionState::Expired | SessionState::Closed)).await;
}

struct Session<'a, R: Runtime> {
    plane: &'a Arc<Plane<R>>,
    client: CoordinatorClient,
    registration_changed: Notify,
    controller_changed: Notify,
    brokers_changed: Notify,
    registered: watch::Sender<bool>,
}

/// A registration that was tried.
#[derive(Clone, Copy)]
struct Attempt {
    broker_epoch: BrokerEpoch,
    /// What it says of the incarnation before.
    shutdown: LastShutdown,
    /// The first incarnation since which nothing that was written is lost.
    written_since: BrokerEpoch,
}

impl<R: Runtime> Session<'_, R> {
    async fn pump(&self, mut events: mpsc::UnboundedReceiver<WatchEvent>) {
        let own = broker::path(self.plane.own());
        while let Some(event) = events.recv().await {
            if *event.path == *controller::PATH {
                self.controller_changed.notify_one();
            }
            if *event.path == *own {
                self.registration_changed.notify_one();
            }
            if event.path.starts_with(broker::PARENT) {
                self.brokers_changed.notify_one();
            }
        }
        pending().await
    }

    /// The session, while a server holds it.
    fn id(&self) -> Option<SessionId> {
        match *self.client.state().borrow() {
            SessionState::Connected { session } => Some(session),
            _ => None,
        }
    }

    fn owns(&self, stat: &Stat) -> bool {
        self.id().is_some_and(|session| session.0 == stat.ephemeral_owner)
    }

    async fn keep_registered(&self, partitions: &impl MetadataSink<R>, past: &mut Past) {
        let mut noted = None;
        loop {
            match self.register_and_watch(partitions, past, &mut noted).await {
                Ok(()) => tracing::warn!("the registration was removed"),
                Err(Failed::Unfit(reason)) => {
                    match &reason {
                        Unfit::Disk(_) => self.plane.shared.fail_for_disk(reason.to_string()),
                        Unfit::Replaced(_) => self.plane.shared.fail(reason.to_string()),
                    }
                    return pending().await;
                }
                Err(error) => tracing::info!(%error, "not registered yet"),
            }
            self.plane.pause().await;
        }
    }

    /// Ends without an error if somebody removed the registration.
    async fn register_and_watch(
        &self,
        partitions: &impl MetadataSink<R>,
        past: &mut Past,
        noted: &mut Option<Attempt>,
    ) -> Result<(), Failed> {
        self.make_parents().await?;
        let (created, attempt) = self.register(past, noted).await?;
        self.begin(partitions, attempt).await?;
        loop {
            match self.client.exists(broker::path(self.plane.own()), true).await {
                Ok(Some(stat)) if stat.czxid == created.0 => self.registration_changed.notified().await,
                Ok(Some(_)) => return Err(Unfit::Replaced(self.plane.own()).into()),
                Ok(None) => return Ok(()),
                // It may well be there: a lost connection says nothing about it.
                Err(_) => self.plane.pause().await,
            }
        }
    }

    /// From here on this broker runs as the incarnation that it registered.
    async fn begin(&self, partitions: &impl MetadataSink<R>, attempt: Attempt) -> Result<(), Failed> {
        let (plane, broker) = (self.plane, self.plane.own());
        let Attempt { broker_epoch, written_since, .. } = attempt;
        let clean = attempt.shutdown == LastShutdown::Clean;
        let runtime = &plane.shared.runtime;
        plane.shared.broker_epoch.send_replace(Some(broker_epoch));
        let registered = BrokerEvent::Registered { broker, broker_epoch, clean, written_since };
        runtime.observe(|| Event::Broker(registered));
        partitions.registered(broker_epoch);
        self.registered.send_replace(true);
        tracing::info!(%broker, %broker_epoch, "registered");
        Ok(())
    }

    async fn make_parents(&self) -> Result<(), Failed> {
        for path in znodes::PARENTS {
            self.make(path, bytes::Bytes::new()).await?;
        }
        self.make(&broker_epoch::path(self.plane.own()), bytes::Bytes::new()).await?;
        self.make(controller::EPOCH_PATH, controller::encode_epoch(ControllerEpoch(0))).await?;
        self.make(producer_ids::PATH, bytes::Bytes::new()).await?;
        self.learn_cluster_id().await
    }

    /// Creates a node unless it exists.
    async fn make(&self, path: &str, data: bytes::Bytes) -> Result<(), Failed> {
        if self.client.exists(path, false).await?.is_some() {
            return Ok(());
        }
        match self.client.create(path, data, Acl::open(), CreateMode::Persistent).await {
            Err(error) if !error.is(ErrorCode::NodeExists) => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn learn_cluster_id(&self) -> Result<(), Failed> {
        if self.plane.cluster_id.get().is_none() {
            let draw = |_| self.plane.shared.runtime.random_u64("cluster-id").to_be_bytes();
            let halves = [0, 1].map(draw);
            let drawn = TopicId(std::array::from_fn(|at| halves[at / 8][at % 8]));
            self.make(cluster_id::PATH, cluster_id::encode(&topic::encode_id(drawn).into())).await?;
            let (data, _) = self.client.get_data(cluster_id::PATH, false).await?;
            let id = cluster_id::decode(&data)?;
            self.plane.cluster_id.get_or_init(|| id);
        }
        Ok(())
    }

    /// Creates the registration, in place of one that an earlier session of this broker left
    /// (Settled 4). Gives its creation's zxid.
    ///
    /// What an ambiguous attempt has left is recognised by its owner and by the incarnation that was noted
    /// last: whoever registers as one that the disk does not name could be elected, lose its power, and
    /// come back as one that has nothing to do with it (`swarm` seed 1046). So could one whose session expires before
    /// it hears of its registration: what is noted is its past from then on, come of it what may (seed 102).
    async fn register(&self, past: &mut Past, noted: &mut Option<Attempt>) -> Result<(Zxid, Attempt), Failed> {
        let (own, path) = (self.plane.own(), broker::path(self.plane.own()));
        self.client.sync(&*path).await?;
        let stale = self.client.exists(&*path, false).await?;
        if let (Some(stat), Some(attempt)) = (stale.filter(|stat| self.owns(stat)), *noted) {
            let (data, _) = self.client.get_data(&*path, false).await?;
            let left = broker::decode(own, BrokerEpoch(stat.czxid), &data)?;
            if left.broker_epoch == attempt.broker_epoch {
                return Ok((Zxid(stat.czxid), attempt));
            }
        }
        let taken = self.client.set_data(broker_epoch::path(own), bytes::Bytes::new(), None).await?;
        let lineage = past.continued(BrokerEpoch(taken.mzxid));
        let (runtime, config) = (&self.plane.shared.runtime, &self.plane.shared.config);
        incarnation::write(runtime, &config.log_directory, &lineage).await.map_err(Unfit::from)?;
        boot::note(runtime, &config.log_directory).await.map_err(Unfit::from)?;
        let registration = self.registration(past, lineage.last());
        let (broker_epoch, shutdown) = (registration.broker_epoch, registration.shutdown);
        let attempt = Attempt { broker_epoch, shutdown, written_since: lineage.written_since() };
        (*noted, *past) = (Some(attempt), Past::alive(lineage));
        let data = broker::encode(&registration, runtime.wall_clock_ms());
        let ops = writes::registration(own, data, taken.version, stale.map(|stat| stat.version));
        match self.client.multi(ops).await?.last() {
            Some(MultiResult::Create2 { stat, .. }) => Ok((Zxid(stat.czxid), attempt)),
            _ => Err(CoordinatorError::Refused(ErrorCode::MarshallingError).into()),
        }
    }

    fn registration(&self, past: &Past, broker_epoch: BrokerEpoch) -> Registration {
        let advertised = &self.plane.advertised;
        let (host, port) = (advertised.host.clone(), advertised.port);
        Registration {
            broker: self.plane.own(),
            broker_epoch,
            previous: past.previous.clone(),
            shutdown: past.shutdown,
            endpoints: vec![Endpoint { listener: LISTENER.into(), host, port }],
            rack: None,
        }
    }

    async fn stand_for_controller(&self) {
        // The sender lives as long as this future.
        let _ = self.registered.subscribe().wait_for(|registered| *registered).await;
        while !*self.plane.stopping.borrow() {
            match self.try_to_win().await {
                Ok(Some(office)) => {
                    self.hold(office).await;
                    // As above.
                    let _ = self.plane.controller.send(Command::Deposed).await;
                }
                Ok(None) => self.controller_changed.notified().await,
                Err(error) => {
                    tracing::info!(%error, "no controller was elected");
                    self.plane.pause().await;
                }
            }
        }
        pending().await
    }

    /// None if somebody else is elected; then a watch is left.
    async fn try_to_win(&self) -> Result<Option<Office>, Failed> {
        if let Some(stat) = self.client.exists(controller::PATH, true).await? {
            if !self.owns(&stat) {
                return Ok(None);
            }
            // An attempt of ours whose answer was lost, or an office that was given up: begin anew.
            self.client.delete(controller::PATH, Some(stat.version)).await?;
        }
        let (data, stat) = self.client.get_data(controller::EPOCH_PATH, false).await?;
        let controller_epoch = ControllerEpoch(controller::decode_epoch(&data)?.0 + 1);
        let office = Office { controller_epoch, epoch_version: stat.version + 1 };
        let now_ms = self.plane.shared.runtime.wall_clock_ms();
        match self.client.multi(writes::election(self.plane.own(), now_ms, office)).await {
            Ok(_) => Ok(Some(office)),
            Err(error) if error.failed_operation().is_some() => {
                // Somebody was faster. The next look shows whom.
                self.plane.pause().await;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Is the controller until the office is lost.
    async fn hold(&self, office: Office) {
        let Some(brokers) = self.live_brokers().await else { return };
        let mut tree = read_until_it_succeeds(self.plane, &self.client).await;
        tree.brokers = brokers;
        let elected = Command::Elected { office, client: self.client.clone(), tree };
        if self.plane.controller.send(elected).await.is_err() {
            return;
        }
        while let Some(brokers) = self.live_brokers().await {
            if self.plane.controller.send(Command::Brokers(brokers)).await.is_err() {
                return;
            }
            select(self.controller_changed.notified(), self.brokers_changed.notified()).await;
        }
    }

    /// Who lives, while this broker is the controller; watches are left on both. None once it is not.
    async fn live_brokers(&self) -> Option<Vec<Registration>> {
        loop {
            match self.client.exists(controller::PATH, true).await {
                Ok(Some(stat)) if self.owns(&stat) => match tree::registrations(&self.client).await {
                    Ok(brokers) => return Some(brokers),
                    Err(error) => tracing::info!(%error, "the live brokers could not be read"),
                },
                // Without a connection nobody's office can be judged.
                Ok(Some(_)) if self.id().is_none() => {}
                Ok(_) => return None,
                Err(error) => tracing::info!(%error, "the election could not be read"),
            }
            self.plane.pause().await;
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
