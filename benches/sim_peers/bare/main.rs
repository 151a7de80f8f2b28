//! The workload over a bare executor: what the workload itself costs, with the least around it.

mod executor;
#[allow(dead_code, reason = "its nodes have numbers, and neither names nor ports")]
#[path = "../workload/mod.rs"]
mod workload;

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use executor::{Sleep, Stream};
use workload::{NODES, Peer, Plan};

#[derive(Clone)]
struct Node(usize);

impl Peer for Node {
    type Listener = usize;
    type Stream = Stream;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        executor::spawn(task);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        Sleep { duration_ns: duration.as_nanos() as u64, due_ns: None }
    }

    async fn listen(&self) -> usize {
        self.0
    }

    async fn accept(listener: &mut usize) -> Stream {
        poll_fn(|context| executor::poll_accept(*listener, context)).await
    }

    async fn connect(&self, node: usize) -> Stream {
        executor::connect(node)
    }
}

fn run(plan: Arc<Plan>) {
    executor::run(&plan, || {
        (0..NODES).for_each(|me| executor::spawn(workload::node(Node(me), me, plan.clone())));
    });
}

fn main() {
    workload::main("bare", run);
}

#[cfg(test)]
mod tests {
    use super::*;
    use workload::plan::Shape;

    #[test]
    fn the_bare_executor_delivers_all_that_was_planned() {
        for clients in [1, 10] {
            let plan = Arc::new(Plan::new(1, Shape { messages: 6_000, clients, ..Shape::default() }));
            run(plan.clone());
            assert_eq!(plan.result().delivered, 6_000);
        }
    }
}
