//! The logs on the disk: found, adopted, removed; and the checkpoint beside them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::node::{ID, Node, config, settings, state};
use super::world::World;
use crate::base::event::Event;
use crate::base::ids::{TopicId, TopicPartition};
use crate::base::plants::{Plant, Plants};
use crate::broker::checkpoint;
use crate::broker::config::Config;
use crate::broker::disk_logs::DiskLogs;
use crate::broker::shared::Shared;
use crate::controller::metadata::TopicSettings;
use crate::replication::Input;
use crate::runtime::{Disk, File, OpenMode};

const METADATA: &str = "logs/t-0/partition.metadata";

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// A world that an earlier life left `t-0` in, with 5 as its high watermark.
fn left_behind() -> World {
    let node = Node::leading(&[1]);
    let high_watermarks = BTreeMap::from([(name(), 5)]);
    node.world.wait(checkpoint::write(&node.world, Path::new("logs"), &high_watermarks)).unwrap();
    node.world.observed();
    node.world
}

fn opened(world: &World, stopped_cleanly: bool) -> DiskLogs<World> {
    let (shared, ..) = Shared::new(world.clone(), config());
    world.wait(DiskLogs::open(shared, stopped_cleanly, false)).unwrap()
}

fn taken(world: &World, plant: Plant) -> bool {
    world.observed().contains(&Event::PlantTaken(plant))
}

#[test]
fn a_clean_shutdown_left_everything_there_whatever_the_boot() {
    assert!(opened(&left_behind(), true).is_clean());
    assert!(!opened(&left_behind(), false).is_clean());
}

#[test]
fn what_an_earlier_life_was_removing_is_gone_after_the_start() {
    let world = left_behind();
    world.disk_directory("logs/0-delete");
    opened(&world, true);
    assert!(!world.list(Path::new("logs")).unwrap().iter().any(|entry| entry.name == "0-delete"));
}

#[test]
fn a_replica_knows_its_topics_least_in_sync_set_from_the_start() {
    let world = left_behind();
    let settings = TopicSettings { min_in_sync: 2, ..settings() };
    let (mut replica, _log) = world.wait(opened(&world, true).adopt(&name(), ID, &settings)).unwrap();
    replica.step(Input::State(state(1, 2, &[1])), &mut Vec::new());
    assert_eq!(replica.effective_min_in_sync(), 2);
}

#[test]
fn a_log_is_durably_out_of_the_way_before_its_files_go() {
    let node = Node::leading(&[1]);
    let before = node.world.disk_operations().len();
    node.learn(Default::default());
    let operations = &node.world.disk_operations()[before..];
    assert_eq!(operations, ["rename logs/t-0", "sync logs", "remove a directory"]);
}

#[test]
fn a_deleted_topic_takes_its_own_log_along_and_not_its_successors() {
    let world = left_behind();
    let (logs, topic) = (opened(&world, true), Arc::from("t"));
    world.wait(logs.remove_unopened(&topic, TopicId([8; 16]))).unwrap();
    assert!(world.disk.exists(METADATA));
    assert_eq!(logs.unadopted_high_watermarks(), BTreeMap::from([(name(), 5)]));
    world.wait(logs.remove_unopened(&topic, ID)).unwrap();
    assert!(!world.disk.exists(METADATA));
    assert_eq!(logs.unadopted_high_watermarks(), BTreeMap::new(), "nobody is left to adopt it");
}

#[test]
fn a_plant_in_recovery_is_taken_where_there_is_something_to_recover() {
    for plant in [Plant::Kafka9892, Plant::UncheckedChecksums] {
        let config = || Config { plants: Plants::only(plant), ..config() };
        let node = Node::over(World::default(), config());
        node.learn_states(vec![state(1, 1, &[1])]);
        assert!(!taken(&node.world, plant), "a new log");
        assert!(taken(&Node::over(node.world, config()).world, plant), "an old one");
    }
}

#[test]
fn a_checkpoint_replaces_the_one_before_and_what_a_crash_left_of_another() {
    let world = left_behind();
    let stray = world.open(Path::new("logs/replication-offset-checkpoint.tmp"), OpenMode::Create).unwrap();
    stray.write_at(0, &[std::io::IoSlice::new(&[b'x'; 1000])]).unwrap();
    let high_watermarks = BTreeMap::from([(name(), 6)]);
    world.wait(checkpoint::write(&world, Path::new("logs"), &high_watermarks)).unwrap();
    assert_eq!(world.wait(checkpoint::read(&world, Path::new("logs"))).unwrap(), high_watermarks);
}

#[test]
fn a_checkpoint_that_cannot_be_opened_is_not_taken_for_none() {
    let world = left_behind();
    world.close_to_reads("logs/replication-offset-checkpoint");
    assert!(world.wait(checkpoint::read(&world, Path::new("logs"))).is_err());
    assert!(world.wait(checkpoint::read(&world, Path::new("elsewhere"))).is_ok());
}
