//! From a request to its answer: which handler takes it, and what of it is done at once.
//!
//! What changes something here (an append, a follower's acknowledgement of its fetch) is done when
//! the request is taken off the connection or when its turn comes, in the order of the requests;
//! answers go out in that order too.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::partitions::Partitions;
use super::shared::Shared;
use super::waiters::WaitingFetch;
use super::{epoch_ends, fetch, list_offsets, produce};
use crate::runtime::Runtime;
use crate::wire::kafka::header::RequestHeader;
use crate::wire::kafka::response::api_versions;
use crate::wire::kafka::{ErrorCode, Request, Response};

/// The part of the protocol that is about the cluster: metadata, topics, coordinators, producer ids,
/// and what brokers say among themselves.
pub trait ClusterApi: Clone + Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, header: RequestHeader, request: Request) -> impl Future<Output = Response> + Send;
}

/// An answer that is not there yet.
pub(super) type Pending = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What becomes of a request.
pub(super) enum Answer {
    /// Here it is.
    Ready(Response),
    /// It comes. Polled when all answers before it are out.
    Later(Pending),
    /// It comes when there are records or time is over, or when another request waits behind it.
    LongPoll(Pending, Arc<WaitingFetch>),
    /// None is expected.
    Nothing,
    /// Nothing can be said to this client but by closing its connection.
    Close(&'static str),
}

/// What every connection needs.
pub(super) struct Server<R: Runtime, C> {
    pub(super) shared: Arc<Shared<R>>,
    pub(super) partitions: Partitions<R>,
    pub(super) cluster: C,
}

impl<R: Runtime, C: ClusterApi> Server<R, C> {
    /// Takes one request.
    pub(super) fn take(&self, header: RequestHeader, request: Request) -> Answer {
        match request {
            Request::ApiVersions(_) => Answer::Ready(api_versions(ErrorCode::None).into()),
            Request::Produce(request) => produce::take(&self.shared, &self.partitions, header.version, request),
            Request::Fetch(request) => fetch::take(&self.shared, &self.partitions, header.version, request),
            Request::ListOffsets(request) => {
                Answer::Later(Box::pin(list_offsets::answer(self.partitions.clone(), header.version, request)))
            }
            Request::OffsetForLeaderEpoch(request) => {
                Answer::Ready(epoch_ends::answer(&self.partitions, &request).into())
            }
            request => {
                let cluster = self.cluster.clone();
                Answer::Later(Box::pin(async move { cluster.handle(header, request).await }))
            }
        }
    }
}
