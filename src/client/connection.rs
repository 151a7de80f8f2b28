//! One pipelined connection to a broker.
//!
//! Requests are written in the order in which [`Connection::send`] took them, and answered in
//! that order, as Kafka promises. A response that does not fit the oldest request, or does not
//! come in time, ends the connection: what the peer did with the others is then unknown.
//!
//! Dropping the connection cancels its tasks; whoever waits for a reply learns that it is lost.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::config::ClientConfig;
use crate::base::address::Address;
use crate::base::time::Instant;
use crate::message;
use crate::runtime::{Outbox, Runtime, Stream, timeout_at};
use crate::wire::frame::{FrameDecoder, FrameQueue};
use crate::wire::kafka::api::Versions;
use crate::wire::kafka::client::{correlation_id, decode_response, encode_request};
use crate::wire::kafka::messages::{ApiVersionsRequest, ApiVersionsResponse, StrBytes};
use crate::wire::kafka::{ApiKey, ErrorCode, Request, Response};

/// Why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailed {
    /// It was not sent: the peer cannot have acted on it.
    #[error("the request was not sent: {0}")]
    NotSent(String),
    /// It may have been sent and acted upon: the connection broke or the time was over.
    #[error("the fate of the request is unknown: {0}")]
    Lost(String),
}

impl RequestFailed {
    /// Whether the peer may have acted on the request.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, RequestFailed::Lost(_))
    }
}

/// A connection that has been opened and knows what its peer speaks.
pub struct Connection<R: Runtime> {
    runtime: R,
    config: ClientConfig,
    versions: BTreeMap<ApiKey, Versions>,
    client_id: StrBytes,
    shared: Arc<Shared>,
    _writer: R::Task,
    _reader: R::Task,
}

/// What the handle, its tasks and its replies share.
struct Shared {
    /// One permit per request that is not answered yet; closed with the connection. It bounds the
    /// queue of outgoing frames too.
    in_flight: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: Option<String>,
    /// To the peer; bounded by `in_flight`. The writing half ends when this is gone.
    outgoing: Option<Arc<Outbox<FrameQueue>>>,
    next_correlation_id: i32,
    /// Requests that were sent and not answered, oldest first.
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    correlation_id: i32,
    api: ApiKey,
    version: i16,
    reply: oneshot::Sender<Result<Response, RequestFailed>>,
    _permit: OwnedSemaphorePermit,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection for all. Those who wait learn `reason`.
    fn close(&self, reason: &str) {
        let (pending, outgoing) = {
            let mut state = self.state();
            state.closed.get_or_insert_with(|| reason.to_owned());
            (std::mem::take(&mut state.pending), state.outgoing.take())
        };
        if let Some(outgoing) = outgoing {
            outgoing.finish();
        }
        self.in_flight.close();
        for one in pending {
            // A waiter that has gone no longer wants to know.
            let _ = one.reply.send(Err(RequestFailed::Lost(reason.to_owned())));
        }
    }

    fn closed_reason(&self) -> String {
        self.state().closed.clone().unwrap_or_else(|| "the connection is closed".to_owned())
    }
}

impl<R: Runtime> Connection<R> {
    /// Connects to `address` and asks what the broker there speaks.
    pub async fn open(runtime: &R, address: &Address, config: &ClientConfig) -> Result<Self, RequestFailed> {
        let not_sent = |reason: String| RequestFailed::NotSent(format!("{address}: {reason}"));
        let deadline = runtime.now() + config.connect_timeout;
        let stream = timeout_at(runtime, deadline, runtime.connect(address))
            .await
            .map_err(|_| not_sent("connecting timed out".to_owned()))?
            .map_err(|error| not_sent(error.to_string()))?;
        let mut connection = Connection::start(runtime.clone(), stream, config.clone());
        let handshake = timeout_at(runtime, deadline, connection.handshake()).await;
        connection.versions = handshake
            .map_err(|_| not_sent("the handshake timed out".to_owned()))?
            .map_err(|error| not_sent(error.to_string()))?;
        Ok(connection)
    }

    /// Starts the tasks of a connection over `stream`, before any handshake.
    fn start(runtime: R, stream: R::Stream, config: ClientConfig) -> Self {
        let (reader, writer) = stream.split();
        let outgoing = Arc::new(Outbox::new(writer, FrameQueue::new()));
        let shared = Arc::new(Shared {
            in_flight: Arc::new(Semaphore::new(config.in_flight_max)),
            state: Mutex::new(State { outgoing: Some(outgoing.clone()), ..State::default() }),
        });
        let decoder = FrameDecoder::new(config.response_bytes_max);
        Connection {
            _writer: runtime.spawn("client-writer", write_frames(outgoing, shared.clone())),
            _reader: runtime.spawn("client-reader", read_frames(reader, decoder, shared.clone())),
            client_id: StrBytes::from(config.client_id.as_str()),
            versions: BTreeMap::new(),
            runtime,
            config,
            shared,
        }
    }

    async fn handshake(&self) -> Result<BTreeMap<ApiKey, Versions>, RequestFailed> {
        let request = message!(ApiVersionsRequest {
            client_software_name: "wyrd".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        });
        let newest = ApiKey::ApiVersions.served().max;
        let mut body = self.ask_versions(newest, request).await?;
        if ErrorCode::from_wire(body.error_code) == ErrorCode::UnsupportedVersion {
            body = self.ask_versions(0, ApiVersionsRequest::default()).await?;
        }
        ErrorCode::check(body.error_code).map_err(|error| RequestFailed::NotSent(error.to_string()))?;
        let known = |entry: &crate::wire::kafka::messages::api_versions_response::ApiVersion| {
            let versions = Versions { min: entry.min_version, max: entry.max_version };
            Some((ApiKey::from_wire(entry.api_key)?, versions))
        };
        Ok(body.api_keys.iter().filter_map(known).collect())
    }

    async fn ask_versions(
        &self,
        version: i16,
        request: ApiVersionsRequest,
    ) -> Result<ApiVersionsResponse, RequestFailed> {
        match self.send_version(version, &Request::ApiVersions(request)).await?.await? {
            Response::ApiVersions(body) => Ok(body),
            other => Err(RequestFailed::NotSent(format!("{:?} instead of ApiVersions", other.api()))),
        }
    }

    /// The highest version of `api` that both sides speak. The private API is not advertised; that
    /// a peer speaks it is for the caller to know.
    #[must_use]
    pub fn version(&self, api: ApiKey) -> Option<i16> {
        match api {
            ApiKey::Private => Some(api.served().max),
            _ => self.versions.get(&api)?.highest_common(api.served()),
        }
    }

    /// Whether it can no longer be used.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.state().closed.is_some()
    }

    /// Sends `request` in the highest version that both sides speak and waits for the response.
    pub async fn request(&self, request: &Request) -> Result<Response, RequestFailed> {
        self.send(request).await?.await
    }

    /// Puts `request` in line, in the highest version that both sides speak. Waits only while too
    /// many requests are unanswered. Requests go out in the order in which these calls return.
    pub async fn send(&self, request: &Request) -> Result<Reply, RequestFailed> {
        let api = request.api();
        let version =
            self.version(api).ok_or_else(|| RequestFailed::NotSent(format!("the peer does not speak {api:?}")))?;
        self.send_version(version, request).await
    }

    /// [`send`](Self::send) in the given version.
    pub async fn send_version(&self, version: i16, request: &Request) -> Result<Reply, RequestFailed> {
        let deadline = self.runtime.now() + self.config.request_timeout;
        let permit = match self.shared.in_flight.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait_for_permit(deadline).await?,
        };
        let (reply, receiver) = oneshot::channel();
        let expects_response = request.expects_response();
        let (correlation_id, frame) = self.encode(version, request)?;
        if expects_response {
            let pending = Pending { correlation_id, api: request.api(), version, reply, _permit: permit };
            self.enqueue(frame, Some(pending))?;
        } else {
            self.enqueue(frame, None)?;
        }
        Ok(Reply::new(self.runtime.clone(), self.shared.clone(), deadline, expects_response.then_some(receiver)))
    }

    async fn wait_for_permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, RequestFailed> {
        let permit = timeout_at(&self.runtime, deadline, self.shared.in_flight.clone().acquire_owned()).await;
        permit
            .map_err(|_| RequestFailed::NotSent("too many requests are unanswered".to_owned()))?
            .map_err(|_| RequestFailed::NotSent(self.shared.closed_reason()))
    }

    fn encode(&self, version: i16, request: &Request) -> Result<(i32, FrameQueue), RequestFailed> {
        let correlation_id = {
            let mut state = self.shared.state();
            state.next_correlation_id = state.next_correlation_id.wrapping_add(1) & i32::MAX;
            state.next_correlation_id
        };
        let frame = encode_request(correlation_id, version, Some(&self.client_id), request)
            .map_err(|error| RequestFailed::NotSent(error.to_string()))?;
        Ok((correlation_id, frame))
    }

    /// Into the line of frames and the line of pending requests, in one step, and out if there is room.
    fn enqueue(&self, frame: FrameQueue, pending: Option<Pending>) -> Result<(), RequestFailed> {
        let mut state = self.shared.state();
        if let Some(reason) = &state.closed {
            return Err(RequestFailed::NotSent(reason.clone()));
        }
        let State { outgoing: Some(outgoing), pending: line, .. } = &mut *state else {
            return Err(RequestFailed::NotSent("the connection has ended".to_owned()));
        };
        line.extend(pending);
        outgoing.add(|queue| queue.append(frame));
        outgoing.write_now();
        Ok(())
    }
}

impl<R: Runtime> Drop for Connection<R> {
    fn drop(&mut self) {
        self.shared.close("the connection was dropped");
    }
}

/// A response to come.
pub struct Reply {
    wait: Pin<Box<dyn Future<Output = Result<Response, RequestFailed>> + Send>>,
}

impl Reply {
    fn new<R: Runtime>(
        runtime: R,
        shared: Arc<Shared>,
        deadline: Instant,
        receiver: Option<oneshot::Receiver<Result<Response, RequestFailed>>>,
    ) -> Self {
        let wait = async move {
            let Some(receiver) = receiver else {
                return Err(RequestFailed::Lost("no response is asked for".to_owned()));
            };
            match timeout_at(&runtime, deadline, receiver).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(RequestFailed::Lost(shared.closed_reason())),
                Err(_) => {
                    shared.close("a request timed out");
                    Err(RequestFailed::Lost("the request timed out".to_owned()))
                }
            }
        };
        Reply { wait: Box::pin(wait) }
    }
}

impl Future for Reply {
    type Output = Result<Response, RequestFailed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.wait.as_mut().poll(context)
    }
}

/// Writes what did not go out at once.
async fn write_frames(outgoing: Arc<Outbox<FrameQueue>>, shared: Arc<Shared>) {
    while outgoing.wait().await {
        if let Err(error) = outgoing.write_some().await {
            return shared.close(&format!("writing failed: {error}"));
        }
    }
}

async fn read_frames<D: tokio::io::AsyncRead + Unpin>(mut reader: D, mut decoder: FrameDecoder, shared: Arc<Shared>) {
    loop {
        let read = reader.read_buf(decoder.room()).await;
        match read {
            Ok(0) => return shared.close("the peer closed the connection"),
            Err(error) => return shared.close(&format!("reading failed: {error}")),
            Ok(_) => {}
        }
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    if let Err(reason) = accept(&shared, frame) {
                        return shared.close(&reason);
                    }
                }
                Ok(None) => break,
                Err(error) => return shared.close(&error.to_string()),
            }
        }
    }
}

/// Hands a response to the oldest request. An error ends the connection.
fn accept(shared: &Shared, frame: bytes::Bytes) -> Result<(), String> {
    let correlation_id = correlation_id(&frame).map_err(|error| error.to_string())?;
    let pending = shared.state().pending.pop_front().ok_or("a response to no request")?;
    if pending.correlation_id != correlation_id {
        let reason = format!("a response to request {correlation_id} instead of {}", pending.correlation_id);
        let _ = pending.reply.send(Err(RequestFailed::Lost(reason.clone())));
        return Err(reason);
    }
    match decode_response(pending.api, pending.version, frame) {
        Ok((_, response)) => {
            let _ = pending.reply.send(Ok(response));
            Ok(())
        }
        Err(error) => {
            let _ = pending.reply.send(Err(RequestFailed::Lost(error.to_string())));
            Err(error.to_string())
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
