//! One partition's replica on this broker: the pure core and its log under one lock, and the
//! section in which both change together.
//!
//! **Promises.** A core's step and the appends that it orders happen in one section without an
//! await; every event is observed in that section, in the order of the effects. Truncations are
//! carried out by the partition's one piece of log work at a time (see [`super::log_work`]); what
//! the core ordered after one waits for it, and so does every later state.
//!
//! **Left to others.** Producing ([`super::append`]), reading ([`super::reading`]), work that waits
//! for the device ([`super::log_work`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::log_work::Work;
use super::reading::Reader;
use super::shared::{PartitionProposal, Shared, lock};
use super::waiters::{WaitingFetches, WaitingProducers};
use crate::base::event::{Event, LogEvent, ReplicaEvent};
use crate::base::ids::{TopicId, TopicPartition};
use crate::base::partition_state::PartitionState;
use crate::base::plants::Plant;
use crate::log::{Appended, Log, LogConfig, LogError};
use crate::producer_state::Origin;
use crate::replication::{Acknowledge, Acks, Effect, EpochEnd, Fault, Input, LeaderRequest, Refusal, Replica};
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;

/// A partition's replica on this broker.
pub struct Partition<R: Runtime> {
    pub(super) name: TopicPartition,
    pub(super) topic_id: TopicId,
    pub(super) shared: Arc<Shared<R>>,
    core: Mutex<Core<R>>,
    /// Raised whenever the log's work has come to rest.
    pub(super) rested: Notify,
}

/// What the lock guards.
pub(super) struct Core<R: Runtime> {
    pub(super) replica: Replica,
    pub(super) log: Log<R>,
    pub(super) message_bytes_max: usize,
    pub(super) producers: WaitingProducers,
    /// Those of consumers, which wait for the high watermark.
    consumers: WaitingFetches,
    /// Those of followers, which wait for records.
    followers: WaitingFetches,
    pub(super) work: Work,
    /// States that came while a truncation was under way.
    deferred: VecDeque<PartitionState>,
    /// Raised when this replica may want something of its leader.
    follower: Option<Arc<Notify>>,
    has_failed: bool,
    is_closed: bool,
}

/// What a step gives back to the handler that made it.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) refusal: Option<Refusal>,
    pub(super) epoch_end: Option<EpochEnd>,
    /// A batch was appended, or could not be.
    pub(super) appended: Option<Result<NewBatch, LogError>>,
}

/// A batch that was just appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewBatch {
    pub(super) base_offset: i64,
    pub(super) acknowledge: Acknowledge,
}

/// The partition while its lock is held.
pub(super) struct Section<'p, R: Runtime> {
    partition: &'p Partition<R>,
    pub(super) core: &'p mut Core<R>,
    pub(super) outcome: Outcome,
    /// What an [`Effect::Append`] appends.
    batch: BytesMut,
    acks: Acks,
    waiting: Option<tokio::sync::oneshot::Sender<super::waiters::Verdict>>,
    /// What an [`Effect::AppendFetched`] appends, in pieces that each fit into a segment.
    fetched: Vec<Bytes>,
}

impl<R: Runtime> Partition<R> {
    pub(super) fn new(
        name: TopicPartition,
        topic_id: TopicId,
        shared: Arc<Shared<R>>,
        replica: Replica,
        log: Log<R>,
    ) -> Self {
        let core = Core {
            replica,
            log,
            message_bytes_max: shared.config.message_bytes_max,
            producers: WaitingProducers::default(),
            consumers: WaitingFetches::default(),
            followers: WaitingFetches::default(),
            work: Work::default(),
            deferred: VecDeque::new(),
            follower: None,
            has_failed: false,
            is_closed: false,
        };
        Partition { name, topic_id, shared, core: Mutex::new(core), rested: Notify::new() }
    }

    /// Runs `change` as one section, then has the log's work begun that it left to do.
    pub(super) fn section<T>(self: &Arc<Self>, change: impl FnOnce(&mut Section<'_, R>) -> T) -> T {
        let mut core = lock(&self.core);
        let mut section = Section {
            partition: self,
            core: &mut core,
            outcome: Outcome::default(),
            batch: BytesMut::new(),
            acks: Acks::None,
            waiting: None,
            fetched: Vec::new(),
        };
        let result = change(&mut section);
        if core.begins_work() {
            let work = super::log_work::run(self.clone());
            crate::runtime::Task::detach(self.shared.runtime.spawn("log work", work));
        }
        result
    }

    /// Looks without changing anything.
    pub(super) fn view<T>(&self, look: impl FnOnce(&Core<R>) -> T) -> T {
        look(&lock(&self.core))
    }

    /// Tells the replica something that needs no answer.
    pub(super) fn tell(self: &Arc<Self>, input: Input) {
        self.section(|section| section.step(input));
    }

    /// Takes a state of the controller; it waits for a truncation that is under way.
    pub(super) fn take_state(self: &Arc<Self>, state: PartitionState) {
        self.section(|section| section.take_state(state));
    }

    /// Takes how the log is kept from now on.
    pub(super) fn configure(self: &Arc<Self>, config: LogConfig, message_bytes_max: usize) {
        self.section(|section| {
            section.core.log.set_config(config);
            section.core.message_bytes_max = message_bytes_max;
        });
    }

    /// Sets who is woken when this replica may want something of its leader.
    pub(super) fn set_follower(&self, follower: Option<Arc<Notify>>) {
        lock(&self.core).follower = follower;
    }

    /// What the replica wants of its leader.
    pub(super) fn next_request(&self) -> Option<LeaderRequest> {
        self.view(|core| core.replica.next_request().filter(|_| !core.is_closed))
    }

    /// A read or some work found the disk failing.
    pub(super) fn fail(self: &Arc<Self>, error: &LogError) {
        self.section(|section| section.fail(error));
    }

    /// Ends the partition here: nothing is appended any more, nobody waits any more. Returns when
    /// the log's work has come to rest.
    pub(super) async fn close(self: &Arc<Self>, error: ErrorCode) {
        self.section(|section| {
            section.core.is_closed = true;
            section.core.producers.refuse_all(error);
            section.core.wake_fetches();
        });
        loop {
            // Before the look: work that rests after it is not missed.
            let rested = self.rested.notified();
            if !self.view(|core| core.work.is_under_way()) {
                return;
            }
            rested.await;
        }
    }
}

impl<R: Runtime> Core<R> {
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Below it everything is decided: the bound of read_committed readers.
    pub(super) fn last_stable_offset(&self) -> i64 {
        let high_watermark = self.replica.high_watermark();
        self.log.producers().first_undecided_offset().map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// Where the fetches of such a reader wait.
    pub(super) fn fetches_of(&mut self, reader: Reader) -> &mut WaitingFetches {
        match reader {
            Reader::Consumer { .. } => &mut self.consumers,
            Reader::Follower => &mut self.followers,
        }
    }

    /// Has all fetches look again, whoever waits.
    fn wake_fetches(&mut self) {
        self.consumers.wake_all();
        self.followers.wake_all();
    }

    pub(super) fn wake_follower(&self) {
        if let Some(follower) = &self.follower {
            follower.notify_one();
        }
    }
}

impl<R: Runtime> Section<'_, R> {
    pub(super) fn observe(&self, event: impl FnOnce() -> ReplicaEvent) {
        let name = &self.partition.name;
        self.partition.shared.runtime.observe(|| Event::Replica(name.clone(), event()));
    }

    pub(super) fn observe_plant(&self, plant: Plant) {
        self.partition.shared.runtime.observe(|| Event::PlantTaken(plant));
    }

    pub(super) fn observe_log(&self, event: impl FnOnce() -> LogEvent) {
        let name = &self.partition.name;
        self.partition.shared.runtime.observe(|| Event::Log(name.clone(), event()));
    }

    /// Has a producer's batch appended. `waiting` is told when the high watermark has passed it.
    pub(super) fn append(
        &mut self,
        records: i64,
        batch: BytesMut,
        acks: Acks,
        waiting: Option<tokio::sync::oneshot::Sender<super::waiters::Verdict>>,
    ) -> Outcome {
        (self.batch, self.acks, self.waiting) = (batch, acks, waiting);
        self.ask(Input::Produce { records, acks })
    }

    /// Feeds an answer of the leader, with the pieces of records that it brought.
    pub(super) fn take_fetched(&mut self, input: Input, pieces: Vec<Bytes>) {
        if !self.core.is_closed {
            self.fetched = pieces;
            self.step(input);
        }
    }

    /// Steps and gives back what came of it.
    pub(super) fn ask(&mut self, input: Input) -> Outcome {
        self.step(input);
        std::mem::take(&mut self.outcome)
    }

    pub(super) fn take_state(&mut self, state: PartitionState) {
        if self.core.work.is_truncating() {
            self.core.deferred.push_back(state);
            return;
        }
        self.step(Input::State(state));
        self.core.wake_follower();
    }

    pub(super) fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.replica.step(input, &mut effects);
        self.carry_out_all(effects.into());
    }

    /// In order. What comes after a truncation waits for it.
    pub(super) fn carry_out_all(&mut self, mut effects: VecDeque<Effect>) {
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Truncate { generation, to } => {
                    return self.core.work.order_truncation(generation, to, false, effects);
                }
                Effect::ResetLog { generation, to } => {
                    return self.core.work.order_truncation(generation, to, true, effects);
                }
                effect => self.carry_out(effect),
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Append { generation, base_offset, acknowledge, .. } => {
                self.append_now(generation, base_offset, acknowledge);
            }
            Effect::AppendFetched { generation, end, .. } => self.append_fetched_now(generation, end),
            Effect::Truncate { .. } | Effect::ResetLog { .. } => unreachable!("ordered by the caller"),
            Effect::AdvanceLogStart { log_start } => self.core.work.order_advance(log_start),
            Effect::RecordEpoch(begun) => {
                assert_eq!(begun.start_offset, self.core.log.log_end(), "an epoch begins at the log end");
                self.core.log.start_epoch(begun.leader_epoch);
            }
            Effect::HighWatermark { high_watermark } => self.high_watermark_moved(high_watermark),
            // The handler goes on unless it is refused.
            Effect::ServeFollower { .. } => {}
            Effect::EpochEnd(end) => self.outcome.epoch_end = Some(end),
            Effect::Refused(refusal) => self.outcome.refusal = Some(refusal),
            Effect::ProposeInSync(proposal) => self.propose(proposal),
            Effect::UnderMinInSync => self.core.producers.refuse_all(ErrorCode::NotEnoughReplicasAfterAppend),
            Effect::Resigned => {
                self.core.producers.refuse_all(ErrorCode::NotLeaderOrFollower);
                self.core.wake_fetches();
            }
            Effect::Fault(fault) => self.faulted(&fault),
            Effect::Observe(event) => self.observe(|| event),
            Effect::PlantTaken(plant) => self.partition.shared.runtime.observe(|| Event::PlantTaken(plant)),
        }
    }

    fn append_now(&mut self, generation: u32, base_offset: i64, acknowledge: Acknowledge) {
        let batch = std::mem::take(&mut self.batch);
        let leader_epoch = self.core.replica.leader_epoch();
        let info = match self.core.log.append_as_leader(batch, leader_epoch, Origin::Client) {
            Ok(Appended::New(info)) => info,
            Ok(Appended::Duplicate(_)) => unreachable!("duplicates were recognised before the replica was asked"),
            Err(error) => {
                self.fail(&error);
                self.outcome.appended = Some(Err(error));
                return;
            }
        };
        assert_eq!(info.base_offset, base_offset, "replica and log agree on the log end");
        self.observe_appended(&info);
        let last_offset = info.log_end - 1;
        if let (Acknowledge::AtHighWatermark, Some(answer)) = (acknowledge, self.waiting.take()) {
            let waiting = super::waiters::WaitingProducer { leader_epoch, base_offset, last_offset, answer };
            self.core.producers.push(waiting);
        }
        self.outcome.appended = Some(Ok(NewBatch { base_offset, acknowledge }));
        self.appended(generation, info.log_end);
        if acknowledge == Acknowledge::AtAppend && self.acks != Acks::None {
            let acks = wire_acks(self.acks);
            self.observe(|| ReplicaEvent::Acknowledged { leader_epoch, base_offset, last_offset, acks });
        }
    }

    /// They were verified and seen to continue the log before the replica was asked.
    fn append_fetched_now(&mut self, generation: u32, end: i64) {
        self.core.log.forget_empty_epochs();
        for piece in std::mem::take(&mut self.fetched) {
            match self.core.log.append_as_follower(piece) {
                Ok(info) => self.observe_appended(&info),
                Err(error) => return self.fail(&error),
            }
        }
        assert_eq!(self.core.log.log_end(), end, "replica and log agree on the log end");
        self.appended(generation, end);
    }

    fn observe_appended(&self, info: &crate::log::AppendInfo) {
        if info.rolled {
            self.observe_log(|| LogEvent::Rolled { base_offset: info.base_offset });
        }
        for (batch, log_end) in info.batches() {
            self.observe_log(|| LogEvent::Appended { batch, log_end });
        }
    }

    fn appended(&mut self, generation: u32, end: i64) {
        self.core.followers.wake_all();
        self.step(Input::Appended { generation, end });
    }

    fn high_watermark_moved(&mut self, high_watermark: i64) {
        while let Some(producer) = self.core.producers.pop_below(high_watermark) {
            self.acknowledge_all(producer.leader_epoch, producer.base_offset, producer.last_offset);
            // It may have given up in this very moment; its record is committed none the less.
            let _ = producer.answer.send(Ok(()));
        }
        self.core.consumers.wake_all();
    }

    /// An acks=all batch is committed and its producer is told.
    pub(super) fn acknowledge_all(
        &self,
        leader_epoch: crate::base::ids::LeaderEpoch,
        base_offset: i64,
        last_offset: i64,
    ) {
        self.observe(|| ReplicaEvent::Acknowledged { leader_epoch, base_offset, last_offset, acks: -1 });
    }

    fn propose(&self, proposal: crate::replication::Proposal) {
        let Partition { name, topic_id, shared, .. } = self.partition;
        let proposal = PartitionProposal { partition: name.clone(), topic_id: *topic_id, proposal };
        // One that finds the queue full is made again at the next check.
        if shared.proposals.try_send(proposal).is_err() {
            tracing::debug!(partition = %name, "too many proposals wait for the controller");
        }
    }

    fn faulted(&mut self, fault: &Fault) {
        let partition = &self.partition.name;
        tracing::error!(%partition, %fault, "the replica is out of service");
    }

    /// The log cannot be trusted any more: the node stops until it is repaired.
    pub(super) fn fail(&mut self, error: &LogError) {
        if std::mem::replace(&mut self.core.has_failed, true) {
            return;
        }
        let offset = error.damaged_from().unwrap_or(self.core.log.synced_end());
        self.observe_log(|| LogEvent::Damaged { offset });
        self.partition.shared.fail_for_log(format!("partition {}: {error}", self.partition.name), error);
        self.step(Input::LogFailed);
    }

    /// The truncation is done: what waited for it goes on.
    pub(super) fn truncation_done(&mut self, then: VecDeque<Effect>) {
        self.carry_out_all(then);
        while !self.core.work.is_truncating() {
            let Some(state) = self.core.deferred.pop_front() else { break };
            self.step(Input::State(state));
        }
        self.core.wake_follower();
    }
}

fn wire_acks(acks: Acks) -> i16 {
    match acks {
        Acks::None => 0,
        Acks::Leader => 1,
        Acks::All => -1,
    }
}
