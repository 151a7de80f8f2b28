//! The workload over madsim.
//!
//! Messages have the latency that is asked for; sleeps are rounded up to a millisecond, which the
//! timers' period is a multiple of. Its streams have no bound, and so no back-pressure.

#[path = "../../workload/mod.rs"]
mod workload;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use madsim::net::{TcpListener, TcpStream};
use madsim::runtime::{Handle, Runtime};
use madsim::{Config, task, time};
use workload::{NODES, PORT, Peer, Plan, name};

#[derive(Clone)]
struct Node;

fn address(node: usize) -> IpAddr {
    IpAddr::from(Ipv4Addr::new(10, 0, 0, node as u8 + 1))
}

impl Peer for Node {
    type Listener = TcpListener;
    type Stream = TcpStream;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(task::spawn(task));
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        time::sleep(duration)
    }

    async fn listen(&self) -> TcpListener {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await.expect("the port is free")
    }

    async fn accept(listener: &mut TcpListener) -> TcpStream {
        listener.accept().await.expect("nothing fails here").0
    }

    async fn connect(&self, node: usize) -> TcpStream {
        TcpStream::connect((address(node), PORT)).await.expect("everyone listens")
    }
}

async fn cluster(plan: Arc<Plan>) {
    let nodes: Vec<_> = (0..NODES)
        .map(|me| {
            let node = Handle::current().create_node().name(name(me)).ip(address(me)).build();
            node.spawn(workload::node(Node, me, plan.clone()))
        })
        .collect();
    for node in nodes {
        node.await.expect("every node ends");
    }
}

fn run(plan: Arc<Plan>) {
    let mut config = Config::default();
    config.net.send_latency = plan.latency()..plan.latency() + plan.jitter();
    Runtime::with_seed_and_config(plan.seed, config).block_on(cluster(plan));
}

fn main() {
    workload::main("madsim", run);
}
