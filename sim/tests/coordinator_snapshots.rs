//! A coordinator's log is bounded by bytes as well as by entries: a few large writes are as good a
//! reason for a snapshot as many small ones, and what lies below it goes.

use std::time::Duration;

use wyrdlog::base::address::Address;
use wyrdlog::base::ids::ServerId;
use wyrdlog::base::znode::{Acl, CreateMode};
use wyrdlog::client::coordinator::{Config as ClientConfig, CoordinatorClient};
use wyrdlog::coordinator::{self, Member};
use wyrdlog::runtime::watch;
use wyrdlog_sim::engine::{EngineConfig, Simulation};
use wyrdlog_sim::product::{self, Directory};

const WRITES: usize = 400;
const WRITE_BYTES: usize = 10_000;
const SNAPSHOT_BYTES: u64 = 100_000;

#[test]
fn a_few_large_writes_are_reason_enough_for_a_snapshot_and_what_is_below_it_goes() {
    let mut simulation = Simulation::new(1, EngineConfig::default());
    let (server, client) = (simulation.add_node("c1"), simulation.add_node("client"));
    let address = Address::new("c1", 2181);
    let client_address = address.clone();
    simulation.start(server, |runtime| async move {
        let member = Member { id: ServerId(1), peer_address: Address::new("c1", 2888), client_address };
        let mut config = coordinator::Config::new(ServerId(1), vec![member]);
        (config.snapshot_bytes, config.limits.trailing_bytes) = (SNAPSHOT_BYTES, SNAPSHOT_BYTES as usize / 2);
        assert!(config.snapshot_entries > 10 * WRITES as u64, "entries are no reason here");
        let (_stay, stop) = watch::channel(false);
        Box::pin(product::coordinator(runtime, config, Directory::New, stop)).await.expect("the coordinator runs");
    });
    // It takes a moment until it leads; a client that finds nobody does not wait.
    simulation.run_for(Duration::from_secs(5));
    simulation.start(client, |runtime| async move {
        let config = ClientConfig::new(vec![address], Duration::from_secs(10));
        let (coordinator, _watches) = CoordinatorClient::start(&runtime, config);
        let data = vec![7; WRITE_BYTES];
        coordinator.create("/large", data.clone(), Acl::open(), CreateMode::Persistent).await.expect("created");
        for _ in 0..WRITES {
            coordinator.set_data("/large", data.clone(), None).await.expect("set");
        }
        coordinator.close().await.expect("closed");
    });
    simulation.run_for(Duration::from_secs(60));

    let view = simulation.view();
    let snapshots = view.files(server).into_iter().filter(|path| path.contains("snapshot-")).count();
    let (used, written) = (view.used_bytes(server), (WRITES * WRITE_BYTES) as u64);
    assert!(snapshots >= 1, "{:?}", view.files(server));
    assert!(used < written / 4, "{used} bytes are kept of {written} that were written");
}
