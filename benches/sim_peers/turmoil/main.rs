//! The workload over turmoil.
//!
//! Time goes on there in ticks of a millisecond, its default (tokio's paused clock, which hosts and
//! links share, knows no shorter span), and a message arrives at the first tick after its latency.

#![allow(clippy::disallowed_methods, reason = "turmoil simulates tokio's own clock and tasks")]

#[path = "../workload/mod.rs"]
mod workload;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use turmoil::net::{TcpListener, TcpStream};
use workload::{NODES, PORT, Peer, Plan, name};

#[derive(Clone)]
struct Node;

impl Peer for Node {
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }

    async fn listen(&self) -> TcpListener {
        TcpListener::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), PORT)).await.expect("the port is free")
    }

    async fn accept(listener: &mut TcpListener) -> TcpStream {
        listener.accept().await.expect("nothing fails here").0
    }

    async fn connect(&self, node: usize) -> TcpStream {
        TcpStream::connect((name(node), PORT)).await.expect("everyone listens")
    }
}

fn run(plan: Arc<Plan>) {
    let mut builder = turmoil::Builder::new();
    builder.rng_seed(plan.seed).simulation_duration(Duration::from_secs(1_000_000));
    builder.min_message_latency(plan.latency()).max_message_latency(plan.latency() + plan.jitter());
    let mut simulation = builder.build();
    for me in 0..NODES {
        let plan = plan.clone();
        simulation.client(name(me), async move {
            workload::node(Node, me, plan).await;
            Ok(())
        });
    }
    simulation.run().expect("every node ends");
}

fn main() {
    workload::main("turmoil", run);
}

#[cfg(test)]
mod tests {
    use super::*;
    use workload::plan::Shape;

    #[test]
    fn turmoil_delivers_all_that_was_planned() {
        for clients in [1, 10] {
            let plan = Arc::new(Plan::new(1, Shape { messages: 600, clients, ..Shape::default() }));
            run(plan.clone());
            assert_eq!(plan.result().delivered, 600);
        }
    }
}
