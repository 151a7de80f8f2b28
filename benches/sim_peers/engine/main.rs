//! The workload over the simulation engine, with everything on that a run of the product has: the
//! running hash, drawn latencies, reads and writes that are split at random, bounded buffers.

#[path = "../workload/mod.rs"]
mod workload;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Join;
use wyrdlog::base::address::Address;
use wyrdlog::runtime::{Clock, Listener, Network, Stream, Task, Tasks};
use wyrdlog_sim::engine::{EngineConfig, LinkParams, SimListener, SimReader, SimRuntime, SimWriter, Simulation, Stop};

use workload::{NODES, PORT, Peer, Plan, name};

#[derive(Clone)]
struct Node(SimRuntime);

impl Peer for Node {
    type Listener = SimListener;
    type Stream = Join<SimReader, SimWriter>;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn("task", task).detach();
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        self.0.sleep(duration)
    }

    async fn listen(&self) -> SimListener {
        self.0.listen(&Address::new("0.0.0.0", PORT)).await.expect("the port is free")
    }

    async fn accept(listener: &mut SimListener) -> Self::Stream {
        let (reader, writer) = listener.accept().await.expect("nothing fails here").0.split();
        tokio::io::join(reader, writer)
    }

    async fn connect(&self, node: usize) -> Self::Stream {
        let address = Address::new(&*name(node), PORT);
        let (reader, writer) = self.0.connect(&address).await.expect("everyone listens").split();
        tokio::io::join(reader, writer)
    }
}

fn run(plan: Arc<Plan>) {
    let mut config = EngineConfig::default();
    config.network.link = LinkParams::lan(plan.latency(), plan.jitter());
    let mut simulation = Simulation::new(plan.seed, config);
    for me in 0..NODES {
        let node = simulation.add_node(&name(me));
        simulation.start(node, |runtime| workload::node(Node(runtime), me, plan.clone()));
    }
    let mut running = NODES;
    while running > 0 {
        match simulation.run_until(u64::MAX) {
            Stop::Exited(_) => running -= 1,
            stop => panic!("{running} nodes were still running: {stop:?}"),
        }
    }
    // The hash is part of what is measured: it is worked out as after any run.
    assert_ne!(simulation.hash(), 0);
}

fn main() {
    workload::main("engine", run);
}

#[cfg(test)]
mod tests {
    use super::*;
    use workload::plan::Shape;

    #[test]
    fn the_engine_delivers_all_that_was_planned() {
        for clients in [1, 10] {
            let plan = Arc::new(Plan::new(1, Shape { messages: 6_000, clients, ..Shape::default() }));
            run(plan.clone());
            assert_eq!(plan.result().delivered, 6_000);
        }
    }
}
