//! Many simulations in one process leave nothing behind. A test binary of its own, because it
//! measures the memory of the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // Helpers of tests: an unmet expectation is a failed test.
#![allow(clippy::disallowed_methods, reason = "it asks the operating system how large this process is")]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wyrdlog::base::address::Address;
use wyrdlog::runtime::{Clock, Disk, File, Listener, Network, OpenMode, Stream, Task, Tasks};
use wyrdlog_sim::engine::{EngineConfig, SimRuntime, Simulation, Stop};

/// Memory that may differ for reasons of the allocator.
const NOISE_KIB: u64 = 512;
const SIMULATIONS: u64 = 100_000;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn store(runtime: SimRuntime) {
    let listener = runtime.listen(&Address::new("server", 1)).await.unwrap();
    let file = runtime.open("log".as_ref(), OpenMode::Create).unwrap();
    let (mut reader, _writer) = listener.accept().await.unwrap().0.split();
    let mut buffer = [0; 9];
    while reader.read(&mut buffer).await.is_ok_and(|count| count > 0) {
        file.write_at(0, &[std::io::IoSlice::new(&buffer)]).unwrap();
        file.sync().await.unwrap();
    }
}

async fn send(runtime: SimRuntime) {
    let (_reader, mut writer) = runtime.connect(&Address::new("server", 1)).await.unwrap().split();
    runtime.spawn("idle", async move { runtime.sleep(Duration::from_secs(9)).await }).detach();
    for _ in 0..5 {
        writer.write_all(b"hello").await.unwrap();
        runtime.sleep(Duration::from_millis(3)).await;
    }
    runtime.sleep(Duration::from_secs(9)).await;
}

fn simulate(seed: u64) {
    let mut simulation = Simulation::new(seed, EngineConfig::default());
    let (server, client) = (simulation.add_node("server"), simulation.add_node("client"));
    simulation.start(server, store);
    simulation.start(client, send);
    assert_eq!(simulation.run_for(Duration::from_millis(10)), Stop::Deadline);
    match seed % 3 {
        0 => drop(simulation.crash(client)),
        1 => assert!(simulation.power_off(server).writes_kept < 100),
        _ => {}
    }
    let stop = simulation.run_for(Duration::from_millis(5));
    assert!(!matches!(stop, Stop::Failed(_)), "{stop:?}");
}

#[test]
fn a_hundred_thousand_simulations_do_not_grow_the_process() {
    (0..2_000).for_each(simulate);
    let before = resident_kib();
    (0..SIMULATIONS).for_each(simulate);
    let after = resident_kib();
    assert!(after <= before + NOISE_KIB, "from {before} to {after} KiB");
}
