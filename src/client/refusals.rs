//! What brokers refuse a client, told to whoever observes it: most refusals are met by asking again,
//! and show nowhere else.

use super::cluster::Cluster;
use crate::base::event::{Asked, ClientEvent, Event};
use crate::base::ids::{BrokerId, TopicPartition};
use crate::base::time::Instant;
use crate::runtime::Runtime;
use crate::wire::kafka::ErrorCode;

/// A request on its way to a broker.
pub(super) struct Pending<R: Runtime> {
    cluster: Cluster<R>,
    broker: BrokerId,
    since: Instant,
}

impl<R: Runtime> Pending<R> {
    /// One that is about to be sent.
    pub(super) fn new(cluster: &Cluster<R>, broker: BrokerId) -> Self {
        Pending { cluster: cluster.clone(), broker, since: cluster.runtime().now() }
    }

    /// Tells that the broker refused what was asked of `partition`.
    pub(super) fn refused(&self, partition: &TopicPartition, asked: Asked, error: ErrorCode) {
        let runtime = self.cluster.runtime();
        let refused = || ClientEvent::Refused {
            broker: self.broker,
            asked,
            error_code: error.to_wire(),
            after: runtime.now() - self.since,
        };
        runtime.observe(|| Event::Client(partition.clone(), refused()));
    }
}
