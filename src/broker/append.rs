//! Appending a producer's batch to a partition that this broker leads.
//!
//! Everything that the log could refuse for the sender's sake is checked before the replica is
//! asked, for the replica takes an append that it orders as done.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::errors;
use super::partition::{Core, Partition, Section};
use super::waiters::Verdict;
use crate::base::batch_header::BatchHeader;
use crate::base::event::ReplicaEvent;
use crate::log::SEGMENT_BYTES_MAX;
use crate::producer_state::{KnownBatch, Origin, Refused, Verdict as ProducerVerdict};
use crate::replication::{Acknowledge, Acks};
use crate::runtime::Runtime;
use crate::wire::kafka::{ErrorCode, validate};

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Produced {
    /// It is appended, and that is all its producer waits for.
    Done(Place),
    /// It is appended, and the in-sync set is waited for.
    Waiting(Place, oneshot::Receiver<Verdict>),
    /// Nothing was appended.
    Refused(ErrorCode, Option<String>),
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its first offset.
    pub(super) base_offset: i64,
    /// The log's start.
    pub(super) log_start: i64,
}

impl<R: Runtime> Partition<R> {
    /// Appends what a client sent for this partition, in one section.
    pub(super) fn produce(self: &Arc<Self>, records: &Bytes, version: i16, acks: Acks) -> Produced {
        let message_bytes_max = self.view(|core| core.message_bytes_max);
        let header = match validate::producer_batch(records, message_bytes_max) {
            Ok(header) => header,
            Err(refused) => return Produced::Refused(refused.error_code(), Some(refused.to_string())),
        };
        if let Err(error) = check_supported(&header, version) {
            return Produced::Refused(error, None);
        }
        // The log sets offset and epoch in place, and keeps the batch when the frame is long gone.
        let batch = BytesMut::from(&records[..]);
        self.section(|section| section.produce(&header, batch, acks))
    }
}

/// What no client can ask for yet, or not in this version.
fn check_supported(header: &BatchHeader, version: i16) -> Result<(), ErrorCode> {
    const ZSTD: u8 = 4;
    const ZSTD_FROM_VERSION: i16 = 7;
    if header.compression() == ZSTD && version < ZSTD_FROM_VERSION {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    // Without a transaction coordinator no transaction of this producer can be open (KIP-890).
    if header.is_transactional() {
        return Err(ErrorCode::InvalidTxnState);
    }
    Ok(())
}

impl<R: Runtime> Core<R> {
    fn check_append(&self, header: &BatchHeader, acks: Acks) -> Result<(), ErrorCode> {
        if self.is_closed() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if !self.replica.leads() {
            // The replica itself says why.
            return self.replica.consumer_bound(None).map(|_| ()).map_err(errors::of_refusal);
        }
        let in_sync = self.replica.committed_in_sync().len();
        if acks == Acks::All && in_sync < self.replica.effective_min_in_sync() {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        if header.size as u64 > self.log.config().segment_bytes.min(SEGMENT_BYTES_MAX) {
            return Err(ErrorCode::RecordListTooLarge);
        }
        let room = i64::MAX - self.log.log_end();
        if i64::from(header.last_offset_delta) >= room { Err(ErrorCode::InvalidRecord) } else { Ok(()) }
    }
}

impl<R: Runtime> Section<'_, R> {
    fn produce(&mut self, header: &BatchHeader, batch: BytesMut, acks: Acks) -> Produced {
        if let Err(error) = self.core.check_append(header, acks) {
            return Produced::Refused(error, None);
        }
        match self.core.log.check_sequence(header, None, Origin::Client) {
            Ok(ProducerVerdict::Append) => self.produce_new(header, batch, acks),
            Ok(ProducerVerdict::Duplicate(known)) => self.produce_again(known, acks),
            Err(refused) => {
                if matches!(refused, Refused::InvalidProducerEpoch { .. }) {
                    self.observe(|| ReplicaEvent::Fenced);
                }
                Produced::Refused(errors::of_producer(&refused), Some(refused.to_string()))
            }
        }
    }

    fn produce_new(&mut self, header: &BatchHeader, batch: BytesMut, acks: Acks) -> Produced {
        let (answer, receiver) = oneshot::channel();
        let waiting = (acks == Acks::All).then_some(answer);
        let outcome = self.append(i64::from(header.last_offset_delta) + 1, batch, acks, waiting);
        match outcome.appended {
            Some(Ok(appended)) => {
                let place = self.place(appended.base_offset);
                match appended.acknowledge {
                    Acknowledge::AtAppend => Produced::Done(place),
                    Acknowledge::AtHighWatermark => Produced::Waiting(place, receiver),
                }
            }
            Some(Err(error)) => Produced::Refused(errors::of_log(&error), None),
            None => Produced::Refused(ErrorCode::UnknownServerError, None),
        }
    }

    /// A retry of what is in the log. With acks=all it is not acknowledged before it is committed:
    /// the first attempt may be waiting still, or have lost its leader.
    fn produce_again(&mut self, known: KnownBatch, acks: Acks) -> Produced {
        let (base_offset, last_offset) = (known.base_offset(), known.last_offset);
        self.observe(|| ReplicaEvent::Deduplicated { base_offset });
        let place = self.place(base_offset);
        if acks != Acks::All {
            return Produced::Done(place);
        }
        let leader_epoch = self.core.log.epoch_at(base_offset).unwrap_or(self.core.replica.leader_epoch());
        if last_offset < self.core.replica.high_watermark() {
            self.acknowledge_all(leader_epoch, base_offset, last_offset);
            return Produced::Done(place);
        }
        let (answer, receiver) = oneshot::channel();
        let waiting = super::waiters::WaitingProducer { leader_epoch, base_offset, last_offset, answer };
        self.core.producers.push(waiting);
        Produced::Waiting(place, receiver)
    }

    fn place(&self, base_offset: i64) -> Place {
        Place { base_offset, log_start: self.core.replica.log_start() }
    }
}
