//! Connections between the servers of an ensemble.
//!
//! Each server opens one connection to every other and sends over it; answers come over the other
//! server's own. Messages may be lost (the queue is full, the connection broke), never reordered
//! within one connection. Whoever sends something that needs an answer bears that.

mod link;
mod message;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;

pub use link::Link;
pub use message::PeerMessage;

use super::server::{Inbox, Input};
use crate::base::address::Address;
use crate::base::ids::ServerId;
use crate::base::limits::JUTE_BYTES_MAX;
use crate::runtime::{Listener, Runtime, Stream, Task, timeout};
use crate::wire::frame::FrameDecoder;

/// The largest frame of a peer: a batch of entries, or one of the largest size.
const FRAME_BYTES_MAX: usize = 4 * JUTE_BYTES_MAX;
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

/// Keeps `link` connected to `peer`, connecting as often as needed, and writes what does not go out at once.
/// Tells the server whenever messages that it sent may have been lost.
pub async fn keep_linked<R: Runtime>(runtime: R, peer: Peer, link: Arc<Link>, inbox: Inbox) {
    loop {
        if let Ok(Ok(stream)) = timeout(&runtime, CONNECT_TIMEOUT, runtime.connect(&peer.address)).await {
            let (_reader, writer) = stream.split();
            let outbox = link.connect(writer, &message::hello(peer.own, peer.id));
            // Before this connection there was none, and what was sent then is lost.
            if inbox.send(Input::MessagesLost(peer.id)).await.is_err() {
                return;
            }
            while outbox.wait().await {
                // A write that fails or stands still ends the connection.
                if !matches!(timeout(&runtime, WRITE_TIMEOUT, outbox.write_some()).await, Ok(Ok(()))) {
                    break;
                }
            }
            link.disconnect();
            if inbox.send(Input::MessagesLost(peer.id)).await.is_err() {
                return;
            }
        }
        let (shortest, longest) = RECONNECT_DELAY;
        runtime.sleep(runtime.random_duration("peer reconnect", shortest, longest)).await;
    }
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
    // Held until the end, for without it the peer would see this side close.
    let (mut reader, _writer) = stream.split();
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
            Ok(0) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::sync::mpsc;

    use super::*;
    use crate::coordinator::test_runtime::TestRuntime;
    use crate::runtime::Tasks;

    #[test]
    fn a_peer_that_refuses_is_left_alone_for_a_while_before_it_is_tried_again() {
        let runtime = TestRuntime::default();
        runtime.connect_next(Err(ErrorKind::ConnectionRefused.into()));
        let peer = Peer { own: ServerId(1), id: ServerId(2), address: Address::new("peer", 1) };
        let (inbox, _inputs) = mpsc::channel(1);
        runtime.spawn("peer writer", keep_linked(runtime.clone(), peer, Arc::default(), inbox)).detach();
        runtime.run();
        let sleeps = runtime.sleeps();
        assert_eq!((sleeps.len(), sleeps[0]), (2, CONNECT_TIMEOUT), "one attempt, and then a pause");
        assert!((RECONNECT_DELAY.0..=RECONNECT_DELAY.1).contains(&sleeps[1]));
    }
}
