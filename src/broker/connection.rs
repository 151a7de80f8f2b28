//! One client's connection: frames in, answers out, in order.
//!
//! One task reads, serves and writes, so that a request which can be answered at once crosses no
//! task. Requests in flight and bytes that wait to be written are bounded; beyond, the connection
//! is not read. A client that breaks the protocol, or that neither sends nor takes anything for
//! long, is dropped, once it has the answers to what it asked before. One that broke the protocol may have
//! sent more than was read: that is read and dropped for a moment, for a socket that is closed over it is
//! reset, and a reset may take the answers away that the client has not read yet (RFC 9112, section 9.6, has
//! the same for HTTP).

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::server::{Answer, ClusterApi, Pending, Server};
use super::waiters::WaitingFetch;
use crate::base::address::Address;
use crate::base::limits::FRAME_BYTES_MAX;
use crate::base::time::Instant;
use crate::runtime::{Listener, Runtime, Stream, Task, timeout, watch};
use crate::wire::frame::{FrameDecoder, FrameQueue};
use crate::wire::kafka::request::{RequestError, decode};
use crate::wire::kafka::response::encode;
use crate::wire::kafka::{ApiKey, Response};

/// Connections of one broker; another one is closed at once.
pub(super) const CONNECTIONS_MAX: usize = 16 * 1024;
/// Requests of one connection whose answers are not out yet.
const REQUESTS_IN_FLIGHT_MAX: usize = 128;
/// Bytes that wait to be written before another answer is encoded.
const OUTGOING_BYTES_MAX: usize = 1024 * 1024;
/// How long nothing may move on a connection (`connections.max.idle.ms`).
const IDLE_MAX: Duration = Duration::from_secs(600);
/// How long a connection that ended is still read, for what its client sent before it knows.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// So much of it.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// How much of it at once.
const LINGER_READ_BYTES: usize = 16 * 1024;
/// How long to wait after an accept failed: the system is out of something.
const ACCEPT_DELAY: Duration = Duration::from_millis(50);

/// Accepts clients, so many at a time, until `stop` is raised.
pub(super) async fn accept_all<R: Runtime, C: ClusterApi>(
    server: Arc<Server<R, C>>,
    listener: R::Listener,
    connections_max: usize,
    mut stop: watch::Receiver<bool>,
) {
    let connections = Arc::new(Semaphore::new(connections_max));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            server.shared.runtime.sleep(ACCEPT_DELAY).await;
            continue;
        };
        let Ok(permit) = connections.clone().try_acquire_owned() else {
            tracing::warn!(%peer, limit = connections_max, "too many connections");
            continue;
        };
        let (client, stop) = (server.clone(), stop.clone());
        let serving = async move {
            serve(client, stream, peer, stop).await;
            drop(permit);
        };
        server.shared.runtime.spawn("client", serving).detach();
    }
}

async fn serve<R: Runtime, C: ClusterApi>(
    server: Arc<Server<R, C>>,
    stream: R::Stream,
    peer: Address,
    mut stop: watch::Receiver<bool>,
) {
    let (reader, writer) = stream.split();
    let connection = Connection {
        server,
        decoder: FrameDecoder::new(FRAME_BYTES_MAX),
        in_flight: VecDeque::new(),
        outgoing: FrameQueue::new(),
        ending: None,
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stopped| *stopped) => {}
        ended = connection.run(reader, writer) => tracing::debug!(%peer, reason = %ended, "connection closed"),
    }
}

struct Connection<R: Runtime, C> {
    server: Arc<Server<R, C>>,
    decoder: FrameDecoder,
    in_flight: VecDeque<InFlight>,
    outgoing: FrameQueue,
    /// Why nothing more is read: the connection ends when all answers are out.
    ending: Option<Ended>,
}

/// A request whose answer is not out yet.
struct InFlight {
    api: ApiKey,
    correlation_id: i32,
    version: i16,
    answer: Awaited,
}

enum Awaited {
    Ready(Response),
    Encoded(FrameQueue),
    Later(Pending, Option<Arc<WaitingFetch>>),
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client closed it")]
    ByClient,
    #[error("nothing moved for {}s", IDLE_MAX.as_secs())]
    Idle,
    #[error("{0}")]
    Protocol(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// What to do next.
enum Next {
    Read(usize),
    Wrote,
    Answered(Response),
    CheckIdle,
}

/// Ends what goes out, and drops what still comes in until the client closes too.
async fn linger(reader: &mut (impl AsyncReadExt + Unpin), writer: &mut (impl AsyncWriteExt + Unpin)) {
    if writer.shutdown().await.is_err() {
        return;
    }
    let (mut dropped, mut bytes) = (0, BytesMut::with_capacity(LINGER_READ_BYTES));
    while dropped < LINGER_BYTES_MAX {
        bytes.clear();
        match reader.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(count) => dropped += count,
        }
    }
}

impl<R: Runtime, C: ClusterApi> Connection<R, C> {
    async fn run(mut self, mut reader: impl AsyncReadExt + Unpin, mut writer: impl AsyncWriteExt + Unpin) -> Ended {
        let ended = match self.serve(&mut reader, &mut writer).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        if matches!(ended, Ended::Protocol(_)) {
            // A client that neither closes nor stops sending is left to the reset.
            let _ = timeout(&self.server.shared.runtime, LINGER_MAX, linger(&mut reader, &mut writer)).await;
        }
        ended
    }

    async fn serve(
        &mut self,
        reader: &mut (impl AsyncReadExt + Unpin),
        writer: &mut (impl AsyncWriteExt + Unpin),
    ) -> Result<std::convert::Infallible, Ended> {
        let runtime = self.server.shared.runtime.clone();
        let mut moved_at = runtime.now();
        let mut idle = Box::pin(runtime.sleep_until(moved_at + IDLE_MAX));
        loop {
            self.take_frames();
            self.encode_ready()?;
            if self.in_flight.is_empty()
                && self.outgoing.is_empty()
                && let Some(ended) = self.ending.take()
            {
                return Err(ended);
            }
            match self.next(reader, writer, idle.as_mut()).await? {
                Next::Read(0) => return Err(Ended::ByClient),
                Next::Read(_) => moved_at = runtime.now(),
                Next::Wrote => {
                    moved_at = runtime.now();
                    if self.outgoing.is_empty() {
                        writer.flush().await?;
                    }
                }
                Next::Answered(response) => self.answer_first(response),
                Next::CheckIdle => {
                    let until = self.check_idle(runtime.now(), moved_at)?;
                    idle = Box::pin(runtime.sleep_until(until));
                }
            }
        }
    }

    /// Writing comes first, so that what is answered is out before more is taken in.
    async fn next(
        &mut self,
        reader: &mut (impl AsyncReadExt + Unpin),
        writer: &mut (impl AsyncWriteExt + Unpin),
        idle: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Next, Ended> {
        let (decoder, outgoing, in_flight) = (&mut self.decoder, &mut self.outgoing, &mut self.in_flight);
        let may_read =
            self.ending.is_none() && in_flight.len() < REQUESTS_IN_FLIGHT_MAX && outgoing.len() < OUTGOING_BYTES_MAX;
        let (has_outgoing, may_answer) = (!outgoing.is_empty(), outgoing.len() < OUTGOING_BYTES_MAX);
        let first = match in_flight.front_mut() {
            Some(InFlight { answer: Awaited::Later(pending, _), .. }) if may_answer => Some(pending),
            _ => None,
        };
        let awaits = first.is_some();
        let answered = async {
            match first {
                Some(pending) => pending.await,
                None => std::future::pending().await,
            }
        };
        let mut answered = pin!(answered);
        tokio::select! {
            biased;
            wrote = writer.write_buf(outgoing), if has_outgoing => match wrote? {
                0 => Err(Ended::ByClient),
                _ => Ok(Next::Wrote),
            },
            response = answered.as_mut(), if awaits => Ok(Next::Answered(response)),
            read = reader.read_buf(decoder.room()), if may_read => Ok(Next::Read(read?)),
            () = idle => Ok(Next::CheckIdle),
        }
    }

    /// When to look again.
    fn check_idle(&self, now: Instant, moved_at: Instant) -> Result<Instant, Ended> {
        // One that is ending is not read, so that nobody would notice that its client has gone.
        let awaits_answer = self.ending.is_none() && !self.in_flight.is_empty() && self.outgoing.is_empty();
        match now.since(moved_at) >= IDLE_MAX {
            true if awaits_answer => Ok(now + IDLE_MAX),
            true => Err(Ended::Idle),
            false => Ok(moved_at + IDLE_MAX),
        }
    }

    /// Takes the requests that have come in whole.
    fn take_frames(&mut self) {
        while self.ending.is_none() && self.in_flight.len() < REQUESTS_IN_FLIGHT_MAX {
            let taken = match self.decoder.next_frame() {
                Ok(Some(frame)) => self.take_frame(frame),
                Ok(None) => break,
                Err(error) => Err(Ended::Protocol(error.to_string())),
            };
            if let Err(ended) = taken {
                self.hurry();
                self.ending = Some(ended);
            }
        }
    }

    fn take_frame(&mut self, frame: bytes::Bytes) -> Result<(), Ended> {
        let (header, request) = match decode(frame) {
            Ok(decoded) => decoded,
            Err(error) => return self.cannot_serve(error),
        };
        self.hurry();
        let (api, version, correlation_id) = (header.api, header.version, header.correlation_id);
        tracing::trace!(?api, version, correlation_id, "request");
        let answer = match self.server.take(header, request) {
            Answer::Ready(response) => Awaited::Ready(response),
            Answer::Later(pending) => Awaited::Later(pending, None),
            Answer::LongPoll(pending, waiting) => Awaited::Later(pending, Some(waiting)),
            Answer::Nothing => return Ok(()),
            Answer::Close(reason) => return Err(Ended::Protocol(reason.to_owned())),
        };
        self.in_flight.push_back(InFlight { api, correlation_id, version, answer });
        Ok(())
    }

    /// A request that waits behind a long poll ends it.
    fn hurry(&self) {
        if let Some(InFlight { answer: Awaited::Later(_, Some(waiting)), .. }) = self.in_flight.back() {
            waiting.hurry();
        }
    }

    fn cannot_serve(&mut self, error: RequestError) -> Result<(), Ended> {
        let (RequestError::UnsupportedVersion { api, version, correlation_id }, Some(answer)) =
            (&error, error.answer())
        else {
            return Err(Ended::Protocol(error.to_string()));
        };
        let (api, version, correlation_id) = (*api, *version, *correlation_id);
        self.hurry();
        self.in_flight.push_back(InFlight { api, correlation_id, version, answer: Awaited::Encoded(answer) });
        Ok(())
    }

    fn answer_first(&mut self, response: Response) {
        if let Some(first) = self.in_flight.front_mut() {
            first.answer = Awaited::Ready(response);
        }
    }

    /// Puts the answers that are there into the line of bytes, as far as the bound allows.
    fn encode_ready(&mut self) -> Result<(), Ended> {
        while self.outgoing.len() < OUTGOING_BYTES_MAX {
            match self.in_flight.pop_front() {
                Some(InFlight { api, correlation_id, version, answer: Awaited::Ready(response) }) => {
                    assert_eq!(response.api(), api, "a handler answers what it was asked");
                    let frame = encode(correlation_id, version, &response);
                    self.outgoing.append(frame.map_err(|error| {
                        // A handler filled in what this version does not have: never the client's doing.
                        tracing::warn!(?api, version, %error, "an answer cannot be encoded");
                        Ended::Protocol(error.to_string())
                    })?);
                }
                Some(InFlight { answer: Awaited::Encoded(frame), .. }) => self.outgoing.append(frame),
                Some(waiting) => {
                    self.in_flight.push_front(waiting);
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }
}
