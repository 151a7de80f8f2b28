//! Connections between the servers of an ensemble.
//!
//! Each server opens one connection to every other and sends over it; answers come over the other
//! server's own. Messages may be lost (the queue is full, the connection broke), never reordered
//! within one connection. Whoever sends something that needs an answer bears that.

mod message;

use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

pub use message::PeerMessage;

use super::server::{Inbox, Input};
use crate::base::address::Address;
use crate::base::ids::ServerId;
use crate::base::limits::JUTE_BYTES_MAX;
use crate::runtime::{Listener, Runtime, Stream, Task, timeout};
use crate::wire::frame::FrameDecoder;

/// Messages that wait for one peer. Consensus repeats what is lost.
pub const QUEUE_MESSAGES_MAX: usize = 1024;
/// The largest frame of a peer: a batch of entries, or one of the largest size.
const FRAME_BYTES_MAX: usize = 4 * JUTE_BYTES_MAX;
/// Bytes that are gathered into one write.
const WRITE_BYTES_MAX: usize = 256 * 1024;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);
/// How long a write may stand still before the connection is given up.
const WRITE_TIMEOUT: Duration = Duration::from_millis(3000);
/// How long to wait before connecting anew, at least and at most.
const RECONNECT_DELAY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(300));

/// Where to reach one peer.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The sender.
    pub own: ServerId,
    /// The receiver.
    pub id: ServerId,
    /// Where it listens.
    pub address: Address,
}

/// Sends what comes out of `queue` to `peer`, connecting as often as needed, until the queue is
/// closed. Tells the server whenever messages that it queued may have been lost.
pub async fn send_all<R: Runtime>(runtime: R, peer: Peer, mut queue: mpsc::Receiver<Bytes>, inbox: Inbox) {
    while !queue.is_closed() {
        if let Ok(Ok(stream)) = timeout(&runtime, CONNECT_TIMEOUT, runtime.connect(&peer.address)).await {
            let (_reader, mut writer) = stream.split();
            // What waited while there was no connection is old; consensus repeats what matters.
            while queue.try_recv().is_ok() {}
            if inbox.send(Input::MessagesLost(peer.id)).await.is_err() {
                return;
            }
            let ended = write_all(&runtime, &peer, &mut writer, &mut queue).await;
            if inbox.send(Input::MessagesLost(peer.id)).await.is_err() || ended.is_ok() {
                return;
            }
        }
        let (shortest, longest) = RECONNECT_DELAY;
        runtime.sleep(runtime.random_duration("peer reconnect", shortest, longest)).await;
    }
}

async fn write_all<R: Runtime>(
    runtime: &R,
    peer: &Peer,
    writer: &mut (impl AsyncWriteExt + Unpin),
    queue: &mut mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    put_frame(&mut buffer, &message::hello(peer.own, peer.id));
    loop {
        let written = timeout(runtime, WRITE_TIMEOUT, writer.write_all(&buffer)).await;
        written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        buffer.clear();
        let Some(first) = queue.recv().await else { return Ok(()) };
        put_frame(&mut buffer, &first);
        while buffer.len() < WRITE_BYTES_MAX {
            let Ok(next) = queue.try_recv() else { break };
            put_frame(&mut buffer, &next);
        }
    }
}

fn put_frame(buffer: &mut BytesMut, content: &[u8]) {
    let len = i32::try_from(content.len()).expect("messages are far below 2 GiB");
    buffer.put_i32(len);
    buffer.put_slice(content);
}

/// Accepts peers and hands their messages to the server, until it has stopped.
pub async fn accept_all<R: Runtime>(runtime: R, own: ServerId, listener: R::Listener, inbox: Inbox) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let inbox = inbox.clone();
                runtime.spawn("peer reader", async move { read_all::<R>(own, stream, inbox).await }).detach();
            }
            Err(_) => runtime.sleep(RECONNECT_DELAY.0).await,
        }
    }
}

async fn read_all<R: Runtime>(own: ServerId, stream: R::Stream, inbox: Inbox) {
    let (mut reader, writer) = stream.split();
    let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
    let mut from = None;
    loop {
        loop {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return tracing::warn!(%error, "closing a peer's connection"),
            };
            let input = match from {
                None => message::read_hello(frame, own).map(|peer| {
                    from = Some(peer);
                    None
                }),
                Some(from) => PeerMessage::decode(frame).map(|message| Some(Input::Peer { from, message })),
            };
            match input {
                Ok(None) => {}
                Ok(Some(input)) => {
                    if inbox.send(input).await.is_err() {
                        return;
                    }
                }
                Err(error) => return tracing::warn!(%error, "closing a peer's connection"),
            }
        }
        match reader.read_buf(decoder.room()).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
    drop(writer);
}
