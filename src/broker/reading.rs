//! Reading a partition: for consumers up to the high watermark, for followers up to the log end.
//!
//! The bound is taken under the lock together with what is in memory; what has to come from the
//! disk is read without the lock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::errors;
use super::partition::{Core, Partition};
use super::waiters::WaitingFetch;
use crate::base::event::{Event, ReplicaEvent};
use crate::base::ids::LeaderEpoch;
use crate::base::plants::Plant;
use crate::log::{LogError, ReadBatches};
use crate::replication::{EpochEnd, FollowerFetch, Input, Refusal};
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;

/// How often a read is tried again that raced with a truncation.
const RACES_MAX: usize = 3;

/// Who reads, and so how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Up to the high watermark.
    Consumer {
        /// Or up to the last stable offset only.
        committed: bool,
    },
    /// Up to the log end.
    Follower,
}

/// What is asked of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadRequest {
    pub(super) reader: Reader,
    /// The epoch that the reader believes in, if it says so (KIP-320).
    pub(super) leader_epoch: Option<LeaderEpoch>,
    pub(super) offset: i64,
    pub(super) bytes_max: usize,
}

/// The offsets that go with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) log_start: i64,
}

/// A read that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RefusedRead {
    pub(super) error: ErrorCode,
    /// With OFFSET_OUT_OF_RANGE, where a follower may begin anew.
    pub(super) log_start: i64,
}

impl RefusedRead {
    fn new(error: ErrorCode) -> Self {
        RefusedRead { error, log_start: -1 }
    }

    fn refusal(refusal: Refusal) -> Self {
        let log_start = match refusal {
            Refusal::OffsetOutOfRange { log_start, .. } => log_start,
            _ => -1,
        };
        RefusedRead { error: errors::of_refusal(refusal), log_start }
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<ReadBatches, LogError>> + Send>>;

/// Records at hand, or on their way from the disk.
enum Planned {
    Ready(ReadBatches),
    Cold(Reading),
}

impl<R: Runtime> Partition<R> {
    /// A follower's fetch, which acknowledges everything below its offset.
    pub(super) fn follower_fetches(self: &Arc<Self>, fetch: FollowerFetch) -> Result<(), RefusedRead> {
        let outcome = self.section(|section| section.ask(Input::FollowerFetch(fetch)));
        outcome.refusal.map_or(Ok(()), |refusal| Err(RefusedRead::refusal(refusal)))
    }

    /// Reads whole batches within the reader's bound.
    pub(super) async fn read(self: &Arc<Self>, request: ReadRequest) -> Result<(Bounds, ReadBatches), RefusedRead> {
        let unfenced = request.reader == Reader::Follower && self.shared.plants.is(Plant::Kip320);
        let request = ReadRequest { leader_epoch: request.leader_epoch.filter(|_| !unfenced), ..request };
        if self.shared.plants.is(Plant::Kafka9835) && request.reader != Reader::Follower {
            self.shared.runtime.observe(|| Event::PlantTaken(Plant::Kafka9835));
        }
        for _ in 0..RACES_MAX {
            let (bounds, planned) = self.view(|core| core.plan(request))?;
            let reading = match planned {
                Planned::Ready(read) => return Ok((bounds, read)),
                Planned::Cold(reading) => reading,
            };
            if self.shared.plants.is(Plant::UncheckedChecksums) {
                self.shared.runtime.observe(|| Event::PlantTaken(Plant::UncheckedChecksums));
            }
            match reading.await {
                Ok(read) => return Ok((bounds, read)),
                Err(LogError::Raced) => {}
                Err(error) => return Err(self.read_failed(&error)),
            }
        }
        Err(RefusedRead::new(ErrorCode::NotLeaderOrFollower))
    }

    /// Where the reads of a removed partition end is nobody's fault.
    pub(super) fn read_failed(self: &Arc<Self>, error: &LogError) -> RefusedRead {
        if self.view(Core::is_closed) {
            return RefusedRead::new(ErrorCode::NotLeaderOrFollower);
        }
        let of_disk = errors::of_log(error);
        if of_disk == ErrorCode::KafkaStorageError {
            self.fail(error);
        }
        RefusedRead::new(of_disk)
    }

    /// Has `fetch` woken by what `reader` may read then, until it is dropped: a follower by appends, a consumer
    /// by moves of the high watermark.
    pub(super) fn wake_on_news(self: &Arc<Self>, reader: Reader, fetch: &Arc<WaitingFetch>) {
        self.section(|section| section.core.fetches_of(reader).push(fetch));
    }

    /// Records were handed to a consumer.
    pub(super) fn observe_served(&self, end: i64, high_watermark: i64) {
        let served = || ReplicaEvent::Served { end, high_watermark };
        self.shared.runtime.observe(|| Event::Replica(self.name.clone(), served()));
    }

    /// Where a leader epoch ends (KIP-101, KIP-279); none of one that is yet to come.
    pub(super) fn epoch_end(
        self: &Arc<Self>,
        leader_epoch: Option<LeaderEpoch>,
        requested: LeaderEpoch,
    ) -> Result<Option<EpochEnd>, ErrorCode> {
        let (outcome, own) = self.section(|section| {
            (section.ask(Input::EpochEndQuery { leader_epoch, requested }), section.core.replica.leader_epoch())
        });
        match (outcome.epoch_end, outcome.refusal) {
            (Some(end), _) => Ok(Some(end).filter(|_| requested <= own)),
            (None, Some(refusal)) => Err(errors::of_refusal(refusal)),
            (None, None) => Err(ErrorCode::UnknownServerError),
        }
    }
}

impl<R: Runtime> Core<R> {
    fn plan(&self, request: ReadRequest) -> Result<(Bounds, Planned), RefusedRead> {
        if self.is_closed() {
            return Err(RefusedRead::new(ErrorCode::NotLeaderOrFollower));
        }
        let high_watermark = self.replica.consumer_bound(request.leader_epoch).map_err(RefusedRead::refusal)?;
        let last_stable_offset = self.last_stable_offset();
        let log_start = self.log.log_start();
        let bounds = Bounds { high_watermark, last_stable_offset, log_start };
        let upper_bound = match request.reader {
            Reader::Consumer { committed: true } => last_stable_offset,
            Reader::Consumer { committed: false } => high_watermark,
            Reader::Follower => self.log.log_end(),
        };
        if !(log_start..=self.log.log_end()).contains(&request.offset) {
            return Err(RefusedRead { error: ErrorCode::OffsetOutOfRange, log_start });
        }
        let planned = match self.log.read_tail(request.offset, request.bytes_max, upper_bound) {
            Some(read) => Planned::Ready(read),
            None => Planned::Cold(Box::pin(self.log.read(request.offset, request.bytes_max, upper_bound))),
        };
        Ok((bounds, planned))
    }
}

impl<R: Runtime> Partition<R> {
    /// This broker has no part in the partition any more.
    pub(super) fn observe_stopped(&self) {
        self.shared.runtime.observe(|| Event::Replica(self.name.clone(), ReplicaEvent::Stopped));
    }
}
