//! The contract on the simulation engine.

use std::future::{Future, pending};
use std::sync::Arc;

use wyrdlog_sim::engine::{EngineConfig, SimRuntime, Simulation, Stop};

use crate::conformance::{Node, World};

/// Nodes of one simulation.
struct OnEngine;

impl World for OnEngine {
    type Runtime = SimRuntime;

    const FOREIGN_HOST: &'static str = "elsewhere";

    fn run<Test>(nodes: usize, test: impl FnOnce(Vec<Node<SimRuntime>>) -> Test)
    where
        Test: Future<Output = ()> + Send + 'static,
    {
        let mut simulation = Simulation::new(7, EngineConfig::default());
        let hosts: Vec<Arc<str>> = (0..nodes).map(|index| format!("node-{index}").into()).collect();
        let ids: Vec<_> = hosts.iter().map(|host| simulation.add_node(host)).collect();
        let others: Vec<_> = ids[1..].iter().map(|id| simulation.start(*id, |_| pending())).collect();
        simulation.start(ids[0], move |first| {
            let runtimes = std::iter::once(first).chain(others);
            test(runtimes.zip(hosts).map(|(runtime, host)| Node { runtime, host }).collect())
        });
        loop {
            match simulation.run_until(u64::MAX) {
                Stop::Exited(node) if node == ids[0] => return,
                Stop::Exited(_) | Stop::Wakeup(_) | Stop::Interrupted(_) => {}
                Stop::Failed(failure) => panic!("{failure}"),
                Stop::Idle | Stop::Deadline => panic!("the check can never end"),
            }
        }
    }
}

crate::conformance!(OnEngine);
