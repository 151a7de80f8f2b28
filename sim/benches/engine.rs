//! What the engine's two staples cost: a message between two nodes, and a timer.
//!
//! `cargo bench -p wyrdlog-sim --bench engine`. For a comparison with other simulators see
//! `benches/sim_peers`.

#![allow(clippy::unwrap_used)] // Nothing fails here: an unmet expectation ends the measurement.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wyrdlog::base::address::Address;
use wyrdlog::runtime::{Clock, Listener, Network, Stream, Task, Tasks};
use wyrdlog_sim::engine::{EngineConfig, SimRuntime, Simulation, Stop};

const PAIRS: u64 = 1_000;
const MESSAGE_BYTES: usize = 256;
const TIMERS: u64 = 200;
const FIRES: u64 = 50;

async fn answer(runtime: SimRuntime) {
    let listener = runtime.listen(&Address::new("server", 1)).await.unwrap();
    let (mut reader, mut writer) = listener.accept().await.unwrap().0.split();
    let mut message = [0; MESSAGE_BYTES];
    for _ in 0..PAIRS {
        reader.read_exact(&mut message).await.unwrap();
        writer.write_all(&message).await.unwrap();
    }
    runtime.sleep(Duration::from_secs(1)).await;
}

async fn ask(runtime: SimRuntime) {
    runtime.sleep(Duration::from_millis(1)).await;
    let (mut reader, mut writer) = runtime.connect(&Address::new("server", 1)).await.unwrap().split();
    let mut message = [7; MESSAGE_BYTES];
    for _ in 0..PAIRS {
        writer.write_all(&message).await.unwrap();
        reader.read_exact(&mut message).await.unwrap();
    }
    runtime.sleep(Duration::from_secs(1)).await;
}

fn exchange() {
    let mut simulation = Simulation::new(1, EngineConfig::default());
    let (server, client) = (simulation.add_node("server"), simulation.add_node("client"));
    simulation.start(server, answer);
    simulation.start(client, ask);
    assert!(matches!(simulation.run_until(u64::MAX), Stop::Exited(_)));
    assert!(matches!(simulation.run_until(u64::MAX), Stop::Exited(_)));
}

async fn tick(runtime: SimRuntime) {
    for timer in 0..TIMERS {
        let ticking = async move {
            for _ in 0..FIRES {
                runtime.sleep(Duration::from_micros(1_000 + timer)).await;
            }
        };
        runtime.spawn("tick", ticking).detach();
    }
    runtime.sleep(Duration::from_secs(1)).await;
}

fn timers() {
    let mut simulation = Simulation::new(1, EngineConfig::default());
    let node = simulation.add_node("node");
    simulation.start(node, tick);
    assert!(matches!(simulation.run_until(u64::MAX), Stop::Exited(_)));
}

fn engine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(2 * PAIRS)).bench_function("messages", |bencher| bencher.iter(exchange));
    group.throughput(Throughput::Elements(TIMERS * FIRES)).bench_function("timers", |bencher| bencher.iter(timers));
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
