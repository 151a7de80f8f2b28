//! How a broker starts, stops and fails, and what that leaves for its next start.

use std::future::pending;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use super::node::{Node, Silent, batch, cluster, config, learn, settings, state};
use super::world::World;
use crate::base::address::Address;
use crate::base::ids::BrokerEpoch;
use crate::broker::append::Produced;
use crate::broker::boot;
use crate::broker::partitions::TopicRef;
use crate::broker::start::{BrokerError, Foundation, run_with};
use crate::log::LogError;
use crate::replication::Acks;
use crate::runtime::{Network, watch};
use crate::wire::kafka::ErrorCode;

const BOOT: &str = "logs/boot.id";
const MARKER: &str = "logs/.kafka_cleanshutdown";

/// Runs a broker until it has ended or everything waits; none if it goes on.
fn run<J>(
    world: &World,
    stop: watch::Receiver<bool>,
    join: impl FnOnce(Foundation<World>) -> J + Send,
) -> Option<Result<(), BrokerError>>
where
    J: Future<Output = Result<Silent, String>> + Send,
{
    let listener = world.wait(world.listen(&Address::new("broker", 9092))).unwrap();
    world.ready(pin!(run_with(world.clone(), config(), listener, stop, join)))
}

/// A world in which this boot is noted, and a log is left of an earlier life.
fn noted() -> World {
    let node = Node::leading(&[1]);
    node.world.wait(boot::note(&node.world, Path::new("logs"))).unwrap();
    node.world
}

#[test]
fn a_start_that_may_have_lost_writes_forgets_the_boot() {
    let world = noted();
    world.disk.fail_syncs(true);
    let (_stop, stopped) = watch::channel(false);
    let ended = run(&world, stopped, |_| pending());
    assert!(matches!(ended, Some(Err(BrokerError::Log(_)))), "{ended:?}");
    assert!(!world.disk.exists(BOOT));
}

#[test]
fn a_failure_forgets_the_boot_if_it_may_have_lost_writes() {
    for (operation, kept) in [("sync", false), ("write", true)] {
        let world = noted();
        let (_stop, stopped) = watch::channel(false);
        let error = LogError::Io { path: "t".into(), operation, source: Arc::new(std::io::Error::other("no")) };
        let ended = run(&world, stopped, |foundation| {
            foundation.shared.fail_for_log(error.to_string(), &error);
            pending()
        });
        assert!(matches!(ended, Some(Err(BrokerError::Failed { .. }))), "{ended:?}");
        assert_eq!(world.disk.exists(BOOT), kept, "{operation}");
    }
}

#[test]
fn a_broker_that_nobody_can_stop_any_more_goes_on() {
    let world = World::default();
    let (stop, stopped) = watch::channel(false);
    drop(stop);
    assert!(run(&world, stopped.clone(), |_| pending()).is_none());
    assert!(run(&world, stopped, async |_| Ok(Silent)).is_none());
}

#[test]
fn a_broker_that_is_stopped_before_it_has_joined_appends_nothing_more() {
    let world = World::default();
    let (_stop, stopped) = watch::channel(true);
    let hosted = Mutex::new(None);
    let ended = run(&world, stopped, |foundation| {
        let Foundation { shared, partitions, .. } = foundation;
        shared.broker_epoch.send_replace(Some(BrokerEpoch(5)));
        learn(&world, &shared, &partitions, cluster(settings(), vec![state(1, 1, &[1])]));
        *hosted.lock().unwrap() = partitions.find(TopicRef::Name("t"), 0).ok();
        pending()
    });
    assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
    let produced = hosted.into_inner().unwrap().unwrap().produce(&batch(), 9, Acks::Leader);
    assert!(matches!(produced, Produced::Refused(ErrorCode::NotLeaderOrFollower, _)), "{produced:?}");
}

#[test]
fn a_stop_before_joining_is_clean_if_everybody_has_heard_how_the_broker_was_found() {
    for registered in [Some(BrokerEpoch(5)), None] {
        let world = World::default();
        let (_stop, stopped) = watch::channel(true);
        let ended = run(&world, stopped, |foundation| {
            assert!(!foundation.clean);
            foundation.shared.broker_epoch.send_replace(registered);
            pending()
        });
        assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
        assert_eq!(world.disk.exists(MARKER), registered.is_some());
    }
}
