//! The one workload that every peer runs: six nodes, each a client of all others, 256-byte
//! requests and responses over streams, and 200 periodic timers.
//!
//! A node has a number of clients. Each has a connection to each other node and one request on its
//! way at a time, to the others in turn. With one client a node, six messages are under way at any
//! time, which is far more than in a cluster of the product at its standard load (about one per
//! simulated millisecond); with more, whatever a simulator spends per instant is shared by more.
//!
//! What a simulator must offer is [`Peer`]. The nodes count what they received and add up what it
//! said, so that two peers that claim the same work did the same work. Sequence numbers are
//! checked by both ends: a lost, repeated or reordered message fails the run.

mod measure;
pub mod plan;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

pub use measure::main;
pub use plan::Plan;
use plan::Tally;

/// How many nodes there are. Each connects to each other one.
pub const NODES: usize = 6;
/// How long a request is, and a response.
pub const MESSAGE_BYTES: usize = 256;
/// How many periodic timers there are, spread over the nodes.
pub const TIMERS: usize = 200;
/// The port on which every node listens.
pub const PORT: u16 = 9000;
/// Until everyone listens, and until the last message has surely arrived.
const SETTLE: Duration = Duration::from_millis(100);

/// The host name of a node.
#[must_use]
pub fn name(node: usize) -> String {
    format!("node-{node}")
}

/// What a simulator offers one of its nodes.
pub trait Peer: Clone + Send + Sync + 'static {
    /// A listening socket.
    type Listener: Send + Sync + 'static;
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Runs `task` concurrently on this node.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
    /// Listens on [`PORT`].
    fn listen(&self) -> impl Future<Output = Self::Listener> + Send;
    /// The next connection.
    fn accept(listener: &mut Self::Listener) -> impl Future<Output = Self::Stream> + Send;
    /// Connects to a node.
    fn connect(&self, node: usize) -> impl Future<Output = Self::Stream> + Send;
}

/// What node `me` does, from its start to its end.
pub async fn node<P: Peer>(peer: P, me: usize, plan: Arc<Plan>) {
    // Each task holds a sender until it ends: the channel is closed when all have.
    let (running, mut all_ended) = mpsc::channel::<()>(1);
    let listener = peer.listen().await;
    peer.spawn(serve_all(peer.clone(), listener, plan.clone(), running.clone()));
    peer.sleep(SETTLE).await;
    for _ in 0..plan.shape.clients {
        peer.spawn(request_all(peer.clone(), me, plan.clone(), running.clone()));
    }
    for _ in (0..TIMERS).filter(|timer| timer % NODES == me) {
        peer.spawn(tick(peer.clone(), plan.clone(), running.clone()));
    }
    drop(running);
    while all_ended.recv().await.is_some() {}
    peer.sleep(SETTLE).await;
}

async fn serve_all<P: Peer>(peer: P, mut listener: P::Listener, plan: Arc<Plan>, running: mpsc::Sender<()>) {
    for _ in 0..plan.shape.clients * (NODES as u64 - 1) {
        let stream = P::accept(&mut listener).await;
        peer.spawn(serve::<P>(stream, plan.clone(), running.clone()));
    }
}

/// Answers each request of one connection.
async fn serve<P: Peer>(mut stream: P::Stream, plan: Arc<Plan>, _running: mpsc::Sender<()>) {
    let mut tally = Tally::default();
    let mut message = [0; MESSAGE_BYTES];
    for round in 0..plan.rounds {
        stream.read_exact(&mut message).await.expect("the client sends every request");
        tally.receive(&message, round);
        message[8] ^= 0xFF;
        stream.write_all(&message).await.expect("the client stays until it has every response");
        stream.flush().await.expect("the client stays until it has every response");
    }
    plan.add(&tally);
}

/// Makes all requests of one client, one after the other, to the other nodes in turn.
async fn request_all<P: Peer>(peer: P, me: usize, plan: Arc<Plan>, _running: mpsc::Sender<()>) {
    let mut streams = Vec::new();
    for other in (0..NODES).filter(|&other| other != me) {
        streams.push(peer.connect(other).await);
    }
    let mut tally = Tally::default();
    let mut request = [me as u8; MESSAGE_BYTES];
    let mut response = [0; MESSAGE_BYTES];
    for round in 0..plan.rounds {
        for (to, stream) in streams.iter_mut().enumerate() {
            request[..8].copy_from_slice(&round.to_le_bytes());
            request[9] = to as u8;
            stream.write_all(&request).await.expect("the server stays until it has answered");
            stream.flush().await.expect("the server stays until it has answered");
            stream.read_exact(&mut response).await.expect("the server answers every request");
            tally.receive(&response, round);
        }
    }
    plan.add(&tally);
}

async fn tick<P: Peer>(peer: P, plan: Arc<Plan>, _running: mpsc::Sender<()>) {
    let mut tally = Tally::default();
    for _ in 0..plan.fires {
        peer.sleep(plan.timer_period()).await;
        tally.timer_fires += 1;
    }
    plan.add(&tally);
}
