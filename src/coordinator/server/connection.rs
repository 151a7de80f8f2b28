//! A client's connection: frames in, frames out. What they mean is the server's business.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};

use super::{Inbox, Input};
use crate::base::limits::JUTE_BYTES_MAX;
use crate::runtime::{Listener, Runtime, Stream, Task, select, timeout};
use crate::wire::frame::FrameDecoder;

/// Requests of one connection that are under way. The connection is not read while there are as
/// many, so that a client that sends without reading is slowed down and not served.
pub(super) const REQUESTS_MAX: usize = 1024;
/// Replies and watch events that wait to be written to one connection; it is closed beyond.
const OUTGOING_FRAMES_MAX: usize = 4 * REQUESTS_MAX;
/// Bytes that are gathered into one write.
const WRITE_BYTES_MAX: usize = 128 * 1024;
/// How long to wait after an accept failed: the system is out of something.
const ACCEPT_DELAY: Duration = Duration::from_millis(50);
/// How long a client may take none of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Numbers the connections of one server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Accepts clients until the server has stopped.
pub(super) async fn accept_all<R: Runtime>(runtime: R, listener: R::Listener, inbox: Inbox) {
    let mut last = 0;
    while !inbox.is_closed() {
        match listener.accept().await {
            Ok((stream, _)) => {
                last += 1;
                let client = serve(runtime.clone(), stream, ConnectionId(last), inbox.clone());
                runtime.spawn("coordinator client", client).detach();
            }
            Err(_) => runtime.sleep(ACCEPT_DELAY).await,
        }
    }
}

/// Serves one connection until either side ends it. The server ends it by dropping its queue.
async fn serve<R: Runtime>(runtime: R, stream: R::Stream, connection: ConnectionId, inbox: Inbox) {
    let (reader, writer) = stream.split();
    let (outgoing, queue) = mpsc::channel(OUTGOING_FRAMES_MAX);
    let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
    let opened = Input::Connected { connection, outgoing, permits: permits.clone() };
    if inbox.send(opened).await.is_err() {
        return;
    }
    select(write_all(&runtime, writer, queue), read_all(reader, connection, &permits, &inbox)).await;
    // The server may be gone too; then nobody needs to know.
    let _ = inbox.send(Input::Gone(connection)).await;
}

async fn write_all<R: Runtime>(runtime: &R, mut writer: impl AsyncWriteExt + Unpin, mut queue: mpsc::Receiver<Bytes>) {
    let mut buffer = BytesMut::new();
    while let Some(first) = queue.recv().await {
        buffer.extend_from_slice(&first);
        while buffer.len() < WRITE_BYTES_MAX {
            let Ok(next) = queue.try_recv() else { break };
            buffer.extend_from_slice(&next);
        }
        if !matches!(timeout(runtime, WRITE_TIMEOUT, writer.write_all(&buffer)).await, Ok(Ok(()))) {
            return;
        }
        buffer.clear();
    }
    // An orderly end; what it tells is only that the connection was already broken.
    let _ = writer.shutdown().await;
}

async fn read_all(mut reader: impl AsyncReadExt + Unpin, connection: ConnectionId, permits: &Semaphore, inbox: &Inbox) {
    let mut decoder = FrameDecoder::new(JUTE_BYTES_MAX);
    loop {
        loop {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return tracing::debug!(%connection, %error, "closing a client's connection"),
            };
            // The permit is given back by the server, when it has answered.
            let Ok(permit) = permits.acquire().await else { return };
            permit.forget();
            if inbox.send(Input::Frame { connection, frame }).await.is_err() {
                return;
            }
        }
        match reader.read_buf(decoder.room()).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
}
