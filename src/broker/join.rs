//! The two halves of a broker, put together.

use super::cluster::{self, ClusterHandle, MetadataSink};
use super::config::Config;
use super::partitions::Partitions;
use super::server::ClusterApi;
use super::shared::Shared;
use super::start::{BrokerError, ClusterPlane, Foundation, run_with};
use crate::base::ids::{BrokerEpoch, LeaderEpoch, TopicPartition};
use crate::controller::metadata::Applied;
use crate::replication::InSyncAnswer;
use crate::runtime::{Runtime, watch};
use crate::wire::kafka::header::RequestHeader;
use crate::wire::kafka::{Request, Response};

/// Runs a broker on `listener` until `stop` becomes true or it fails. It is reached at the advertised
/// address of its configuration or, without one, where it listens.
pub async fn run<R: Runtime>(
    runtime: R,
    config: Config,
    listener: R::Listener,
    stop: watch::Receiver<bool>,
) -> Result<(), BrokerError> {
    let join = |foundation: Foundation<R>| async move {
        let Foundation { shared, partitions, proposals, clean, advertised } = foundation;
        cluster::start(shared, partitions, proposals, clean, advertised).await.map_err(|error| error.to_string())
    };
    // On the heap: the types of a broker's futures nest deeply, and who runs one nests them further.
    Box::pin(run_with(runtime, config, listener, stop, join)).await
}

impl<R: Runtime> MetadataSink<R> for Partitions<R> {
    async fn apply(&self, shared: &Shared<R>, applied: &Applied) {
        Partitions::apply(self, shared, applied).await;
    }

    fn registered(&self, broker_epoch: BrokerEpoch) {
        Partitions::registered(self, broker_epoch);
    }

    fn in_sync_answer(
        &self,
        partition: &TopicPartition,
        leader_epoch: LeaderEpoch,
        partition_epoch: i32,
        answer: InSyncAnswer,
    ) {
        Partitions::in_sync_answer(self, partition, leader_epoch, partition_epoch, answer);
    }
}

impl<R: Runtime> ClusterApi for ClusterHandle<R> {
    async fn handle(&self, header: RequestHeader, request: Request) -> Response {
        ClusterHandle::handle(self, header, request).await
    }
}

impl<R: Runtime> ClusterPlane for ClusterHandle<R> {
    async fn stop(&self) {
        ClusterHandle::stop(self).await;
    }
}
