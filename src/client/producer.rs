//! The producer: batches records, sends them in order, retries, and is exact about their fate.
//!
//! All decisions are those of [`Accumulator`]; here are the tasks around it. One task turns the
//! accumulator's wishes into requests; per broker a lane keeps them in order.
//!
//! Dropping the producer cancels its tasks. Records that were never sent have then failed, others
//! are unknown.

use crate::base::event::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::accumulator::{Accumulator, Identity, PartitionResult, ProduceCall};
use super::cluster::Cluster;
use super::config::ProducerConfig;
use super::connection::RequestFailed;
use super::lane;
use crate::base::ids::{BrokerId, ProducerEpoch, ProducerId, TopicPartition};
use crate::base::time::Instant;
use crate::message;
use crate::runtime::{Runtime, timeout};
use crate::wire::kafka::batch::NewRecord;
use crate::wire::kafka::messages::InitProducerIdRequest;
use crate::wire::kafka::{ErrorCode, Request, Response};

pub use super::accumulator::{Outcome, SendError};

/// Writes records. See the module's doc.
pub struct Producer<R: Runtime> {
    cluster: Cluster<R>,
    config: ProducerConfig,
    shared: Arc<Shared>,
    /// `buffer.memory`, one permit per byte.
    memory: Arc<Semaphore>,
    _task: R::Task,
}

struct Shared {
    accumulator: Mutex<Accumulator<Waiter>>,
    /// Something to send may be there.
    wake: Notify,
    /// The fate of some record was decided.
    progress: Notify,
}

/// Whoever waits for a record, and the room that the record takes.
struct Waiter {
    fate: oneshot::Sender<Outcome>,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Shared {
    fn accumulator(&self) -> MutexGuard<'_, Accumulator<Waiter>> {
        self.accumulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self) {
        let finished = self.accumulator().take_finished();
        if finished.is_empty() {
            return;
        }
        for (waiter, outcome) in finished {
            // Who no longer waits does not want to know.
            let _ = waiter.fate.send(outcome);
        }
        self.progress.notify_waiters();
    }
}

/// The fate of a record, to come.
#[derive(Debug)]
pub struct Delivery {
    fate: oneshot::Receiver<Outcome>,
}

impl Future for Delivery {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let fate = Pin::new(&mut self.fate).poll(context);
        fate.map(|fate| fate.unwrap_or(Outcome::Unknown(SendError::Closed)))
    }
}

impl<R: Runtime> Producer<R> {
    /// A producer over `cluster`.
    #[must_use]
    pub fn new(cluster: Cluster<R>, config: ProducerConfig) -> Self {
        let config = ProducerConfig { plants: config.plants.for_runtime(R::PLANTS), ..config };
        let shared = Arc::new(Shared {
            accumulator: Mutex::new(Accumulator::new(config.clone())),
            wake: Notify::new(),
            progress: Notify::new(),
        });
        let sender = Sender::new(cluster.clone(), config.clone(), shared.clone());
        let task = cluster.runtime().spawn("producer", sender.run());
        let memory = Arc::new(Semaphore::new(config.buffer_bytes.min(Semaphore::MAX_PERMITS)));
        Producer { cluster, config, shared, memory, _task: task }
    }

    /// Takes a record for `partition`, waiting for room in the buffer for up to `max.block.ms`.
    /// Records of one partition are sent in the order in which these calls return. Dropping this
    /// future withdraws the record; dropping the [`Delivery`] does not.
    pub async fn send(&self, partition: TopicPartition, record: NewRecord) -> Delivery {
        let (fate, delivery) = oneshot::channel();
        let bytes = record.encoded_bytes_max().min(self.config.buffer_bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let runtime = self.cluster.runtime();
        let room = timeout(runtime, self.config.max_block, self.memory.clone().acquire_many_owned(bytes)).await;
        if let Ok(Ok(permit)) = room {
            let waiter = Waiter { fate, _memory: Some(permit) };
            self.shared.accumulator().append(partition, record, waiter, runtime.now());
            self.shared.wake.notify_one();
        } else {
            // The receiver is at hand, so this cannot fail.
            let _ = fate.send(Outcome::Failed(SendError::BufferFull));
        }
        Delivery { fate: delivery }
    }

    /// Sends what lingers, and completes when the fate of all records taken so far is decided.
    pub async fn flush(&self) {
        loop {
            let progress = self.shared.progress.notified();
            {
                let mut accumulator = self.shared.accumulator();
                let idle = accumulator.is_idle();
                accumulator.set_flushing(!idle);
                if idle {
                    return;
                }
            }
            self.shared.wake.notify_one();
            progress.await;
        }
    }
}

impl<R: Runtime> Drop for Producer<R> {
    fn drop(&mut self) {
        self.shared.accumulator().close();
        self.shared.deliver();
    }
}

/// What the sender's helpers tell it.
pub(super) enum Told {
    Answered(Bound, Result<BTreeMap<TopicPartition, PartitionResult>, RequestFailed>),
    Identity(Option<Identity>),
    Refreshed,
}

/// A call, and the connection it may be sent on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) call: u64,
    pub(super) broker: BrokerId,
    pub(super) connection: u64,
}

/// The task that sends.
struct Sender<R: Runtime> {
    cluster: Cluster<R>,
    config: ProducerConfig,
    shared: Arc<Shared>,
    lanes: BTreeMap<BrokerId, Lane<R>>,
    tell: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
    /// Asking for an identity, if it is.
    identifying: Option<R::Task>,
    identity_attempts: u32,
    /// Asking for leaders, if it is.
    refreshing: Option<R::Task>,
    refresh_attempts: u32,
    topics_to_refresh: BTreeSet<Arc<str>>,
}

/// Requests to one broker, in order. At most `in_flight_max` are in it.
///
/// A call is bound to the lane's present connection. What was handed over before the sender heard that
/// a call had failed is not sent on the next one: it would overtake the call that failed, and a broker
/// that knows nothing of the producer takes a later sequence for its first (KIP-360; `swarm` seed 281).
struct Lane<R: Runtime> {
    calls: mpsc::UnboundedSender<(Bound, ProduceCall)>,
    /// Counts the connections: another one once a call has failed, or when none is under way.
    connection: u64,
    under_way: usize,
    _task: R::Task,
}

impl<R: Runtime> Sender<R> {
    fn new(cluster: Cluster<R>, config: ProducerConfig, shared: Arc<Shared>) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        Sender {
            cluster,
            config,
            shared,
            lanes: BTreeMap::new(),
            tell,
            told,
            identifying: None,
            identity_attempts: 0,
            refreshing: None,
            refresh_attempts: 0,
            topics_to_refresh: BTreeSet::new(),
        }
    }

    async fn run(mut self) {
        loop {
            let wakeup = self.dispatch();
            self.shared.deliver();
            self.ask();
            let shared = self.shared.clone();
            let runtime = self.cluster.runtime().clone();
            let sleep = async move {
                match wakeup {
                    Some(at) => runtime.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                told = self.told.recv() => if let Some(told) = told { self.hear(told) },
                () = shared.wake.notified() => {}
                () = sleep => {}
            }
        }
    }

    /// Sends all that can be sent now; gives the time at which more can.
    fn dispatch(&mut self) -> Option<Instant> {
        let now = self.cluster.runtime().now();
        let view = self.cluster.view();
        loop {
            let call = self.shared.accumulator().next_call(now, |partition| view.leader(partition));
            let Some(call) = call else { break };
            self.launch(call);
        }
        let mut accumulator = self.shared.accumulator();
        let needs = accumulator.take_needs();
        self.topics_to_refresh.extend(needs.metadata);
        if let Some(plant) = needs.taken {
            self.cluster.runtime().observe(|| Event::PlantTaken(plant));
        }
        if needs.identity && self.identifying.is_none() {
            let wakeup = accumulator.next_wakeup(now);
            drop(accumulator);
            self.identify();
            return wakeup;
        }
        accumulator.next_wakeup(now)
    }

    fn launch(&mut self, call: ProduceCall) {
        let (cluster, broker) = (self.cluster.clone(), call.broker);
        let (tell, config) = (self.tell.clone(), self.config.clone());
        let lane = self.lanes.entry(broker).or_insert_with(|| {
            let (calls, receiver) = mpsc::unbounded_channel();
            let task =
                cluster.runtime().spawn("producer-lane", lane::run(cluster.clone(), config, broker, receiver, tell));
            Lane { calls, connection: 0, under_way: 0, _task: task }
        });
        lane.connection += u64::from(lane.under_way == 0);
        lane.under_way += 1;
        let bound = Bound { call: call.id, broker, connection: lane.connection };
        if lane.calls.send((bound, call)).is_err() {
            self.lanes.remove(&broker);
            let failed = RequestFailed::NotSent("the lane has ended".to_owned());
            self.hear(Told::Answered(bound, Err(failed)));
        }
    }

    /// Starts asking for leaders, unless that is under way.
    fn ask(&mut self) {
        if self.refreshing.is_some() || self.topics_to_refresh.is_empty() {
            return;
        }
        let topics: Vec<_> = std::mem::take(&mut self.topics_to_refresh).into_iter().collect();
        let (cluster, tell) = (self.cluster.clone(), self.tell.clone());
        let attempts = self.refresh_attempts;
        self.refresh_attempts = attempts.saturating_add(1);
        let refresh = async move {
            if attempts > 0 {
                cluster.runtime().sleep(cluster.backoff(attempts - 1)).await;
            }
            // A failure shows in that the leaders are still unknown, which asks again.
            let _ = cluster.refresh(Some(&topics)).await;
            let _ = tell.send(Told::Refreshed);
        };
        self.refreshing = Some(self.cluster.runtime().spawn("producer-metadata", refresh));
    }

    fn identify(&mut self) {
        let (cluster, tell) = (self.cluster.clone(), self.tell.clone());
        let attempts = self.identity_attempts;
        self.identity_attempts = attempts.saturating_add(1);
        let identify = async move {
            if attempts > 0 {
                cluster.runtime().sleep(cluster.backoff(attempts - 1)).await;
            }
            let request = message!(InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: i32::MAX });
            let response = cluster.ask_any(&Request::InitProducerId(request)).await;
            let _ = tell.send(Told::Identity(response.ok().and_then(identity_of)));
        };
        self.identifying = Some(self.cluster.runtime().spawn("producer-identity", identify));
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Answered(Bound { call, broker, connection }, result) => {
                if result.is_ok() {
                    self.refresh_attempts = 0;
                }
                if let Some(lane) = self.lanes.get_mut(&broker) {
                    lane.under_way = lane.under_way.saturating_sub(1);
                    let next = connection + u64::from(result.is_err());
                    lane.connection = lane.connection.max(next);
                }
                let now = self.cluster.runtime().now();
                let backoff = |attempt| self.cluster.backoff(attempt);
                self.shared.accumulator().complete(call, &result, now, backoff);
            }
            Told::Identity(identity) => {
                self.identifying = None;
                if let Some(identity) = identity {
                    self.identity_attempts = 0;
                    self.shared.accumulator().set_identity(identity);
                }
            }
            Told::Refreshed => self.refreshing = None,
        }
    }
}

fn identity_of(response: Response) -> Option<Identity> {
    match response {
        Response::InitProducerId(body) if ErrorCode::check(body.error_code).is_ok() => {
            Some(Identity { id: ProducerId(body.producer_id), epoch: ProducerEpoch(body.producer_epoch) })
        }
        _ => None,
    }
}
