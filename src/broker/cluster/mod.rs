//! The cluster plane: what this broker is to the cluster, and the cluster to it.
//!
//! It registers this broker with the coordinators, runs the controller while this broker is elected,
//! takes the controller's metadata updates, carries leaders' proposals to the controller, hands out
//! producer ids, and answers the requests that are about the cluster and not about records.
//!
//! **What it promises.** The incarnation that it announces is the one under which the coordinators
//! know this broker, and it is on disk before anyone acts on it. Updates reach the partitions in the
//! order of the controller's stream, each once. Writes of the controller are fenced by its epoch. A
//! request that may have been carried out is never called failed.
//!
//! **What it leaves to others.** Decisions (`crate::controller`), records and replicas (the data
//! plane, through [`MetadataSink`]).
//!
//! | file | what |
//! |------|------|
//! | `znodes/` | paths and JSON |
//! | `tree`, `writes` | reading the tree; changes to multis, results to outcomes |
//! | `session` | registration, election, watches |
//! | `controller`, `pushes` | the task that owns the core; updates to brokers |
//! | `updates` | applying updates |
//! | `proposals`, `shutdown` | messages to the controller, and its answers |
//! | `topics`, `topic_configs`, `metadata`, `producer_ids` | handlers |
//! | `incarnation` | what the disk knows of this broker's last incarnation |

mod controller;
mod incarnation;
mod metadata;
mod plane;
mod producer_ids;
mod proposals;
mod pushes;
mod session;
mod shutdown;
#[cfg(test)]
mod testing;
mod topic_configs;
mod topics;
mod tree;
mod updates;
mod writes;
pub mod znodes;

use std::future::Future;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::shared::{PartitionProposal, Shared};
use crate::base::address::Address;
use crate::base::ids::{BrokerEpoch, LeaderEpoch, TopicPartition};
use crate::controller::metadata::Applied;
use crate::replication::InSyncAnswer;
use crate::runtime::Runtime;
use crate::wire::kafka::header::RequestHeader;
use crate::wire::kafka::{ErrorCode, Request, Response};
use crate::wire::private::{PrivateRequest, PrivateResponse, UpdateMetadata, UpdateMetadataResult};
use incarnation::Past;
use plane::{COMMANDS_WAITING_MAX, Plane, UPDATES_WAITING_MAX};

pub use topic_configs::{FLUSH_MESSAGES, MESSAGE_BYTES_MAX, MIN_IN_SYNC, RETENTION_BYTES, SEGMENT_BYTES};

/// The data plane, as the cluster plane sees it.
pub trait MetadataSink<R: Runtime>: Clone + Send + Sync + 'static {
    /// Acts on an update that [`Shared::metadata`] shows already. Called for one update at a time, in
    /// order.
    fn apply(&self, shared: &Shared<R>, applied: &Applied) -> impl Future<Output = ()> + Send;

    /// This broker runs as another incarnation from now on. Called at the first registration too.
    fn registered(&self, broker_epoch: BrokerEpoch);

    /// The controller's definite answer to a proposal.
    fn in_sync_answer(
        &self,
        partition: &TopicPartition,
        leader_epoch: LeaderEpoch,
        partition_epoch: i32,
        answer: InSyncAnswer,
    );
}

/// Why the cluster plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The disk did not tell which incarnation wrote last.
    #[error("cannot read which incarnation wrote to the log directory: {0}")]
    Incarnation(#[source] std::io::Error),
}

/// The running cluster plane. When the last clone is dropped, it ends as in a crash: the session is
/// left to its time-out.
pub struct ClusterHandle<R: Runtime> {
    plane: Arc<Plane<R>>,
    _tasks: Arc<Vec<R::Task>>,
}

impl<R: Runtime> Clone for ClusterHandle<R> {
    fn clone(&self) -> Self {
        ClusterHandle { plane: self.plane.clone(), _tasks: self._tasks.clone() }
    }
}

/// Starts the cluster plane and waits until this broker is registered. `clean` says whether the
/// marker of a clean shutdown was found; `advertised` is where others reach this broker.
pub async fn start<R: Runtime, P: MetadataSink<R>>(
    shared: Arc<Shared<R>>,
    partitions: P,
    proposals: mpsc::Receiver<PartitionProposal>,
    clean: bool,
    advertised: Address,
) -> Result<ClusterHandle<R>, ClusterError> {
    let directory = &shared.config.log_directory;
    let past = Past::read(&shared.runtime, directory, clean).await.map_err(ClusterError::Incarnation)?;
    let (controller, commands) = mpsc::channel(COMMANDS_WAITING_MAX);
    let (updates, updates_waiting) = mpsc::channel(UPDATES_WAITING_MAX);
    let plane = Arc::new(Plane::new(shared.clone(), advertised, controller, updates));
    let core = controller::ControllerTask::new(plane.clone());
    let runtime = &shared.runtime;
    let tasks = vec![
        runtime.spawn("controller", core.run(commands)),
        runtime.spawn("metadata-updates", updates::apply_all(shared.clone(), partitions.clone(), updates_waiting)),
        runtime.spawn("proposals", proposals::carry_all(plane.clone(), partitions.clone(), proposals)),
        runtime.spawn("session", session::keep(plane.clone(), partitions, past)),
    ];
    // The sender lives as long as `shared`.
    let _ = shared.broker_epoch.subscribe().wait_for(Option::is_some).await;
    Ok(ClusterHandle { plane, _tasks: Arc::new(tasks) })
}

impl<R: Runtime> ClusterHandle<R> {
    /// Answers a request that is about the cluster: Metadata, CreateTopics, DeleteTopics,
    /// DescribeCluster, FindCoordinator, InitProducerId and the private ones.
    ///
    /// # Panics
    /// For any other API, which is not for the caller to hand over.
    pub async fn handle(&self, header: RequestHeader, request: Request) -> Response {
        let plane = &*self.plane;
        match request {
            Request::Metadata(request) => metadata::metadata(plane, header.version, &request).await.into(),
            Request::CreateTopics(request) => topics::create(plane, &header, request).await.into(),
            Request::DeleteTopics(request) => topics::delete(plane, &header, request).await.into(),
            Request::DescribeCluster(request) => metadata::describe_cluster(plane, &request).into(),
            Request::FindCoordinator(request) => metadata::find_coordinator(header.version, &request).into(),
            Request::InitProducerId(request) => producer_ids::init(plane, &request).await.into(),
            Request::Private(request) => self.handle_private(request).await.into(),
            other => panic!("{:?} is not about the cluster", other.api()),
        }
    }

    async fn handle_private(&self, request: PrivateRequest) -> PrivateResponse {
        match request {
            PrivateRequest::UpdateMetadata(message) => PrivateResponse::UpdateMetadata(self.update(&message).await),
            PrivateRequest::AlterPartition(message) => {
                PrivateResponse::AlterPartition(proposals::answer(&self.plane, message).await)
            }
            PrivateRequest::ControlledShutdown(message) => {
                PrivateResponse::ControlledShutdown(shutdown::answer(&self.plane, message).await)
            }
        }
    }

    async fn update(&self, message: &UpdateMetadata) -> UpdateMetadataResult {
        let error = match updates::decode(message) {
            Ok(update) => match self.plane.update(update).await {
                Some(result) => return result,
                None => ErrorCode::UnknownServerError,
            },
            Err(error) => {
                tracing::warn!(%error, "a metadata update cannot be understood");
                ErrorCode::InvalidRequest
            }
        };
        UpdateMetadataResult { error, controller_epoch: message.controller_epoch, next_sequence: 0 }
    }

    /// Hands leadership over and closes the session, within bounded time. The broker goes on serving
    /// until then. No other session follows.
    pub async fn stop(&self) {
        shutdown::leave(&self.plane).await;
    }
}
