//! Leaving out a fault changes no draw of another: what a fault draws is keyed by its id, what a disk
//! draws by the file, and what a power cut leaves by the fault that cut it.

use std::path::Path;

use wyrdlog::runtime::{Disk, File, OpenMode};
use wyrdlog_sim::engine::{EngineConfig, NodeId, PowerLoss, SimRuntime, Simulation};
use wyrdlog_sim::faults::Fate;
use wyrdlog_sim::run::{Options, run_schedule};
use wyrdlog_sim::scenario::Scenario;
use wyrdlog_sim::schedule::Schedule;

fn standard() -> Scenario {
    Scenario::parse(include_str!("../scenarios/standard.toml")).expect("the scenario comes with the program")
}

#[test]
fn a_run_stays_the_same_without_the_faults_that_never_struck() {
    let mut left_out = 0;
    for seed in [0, 3, 12] {
        let whole = standard().draw(seed).schedule.with_ids();
        let run = |schedule: &Schedule| run_schedule(&standard(), schedule, &Options::default()).expect("runs").verdict;
        let before = run(&whole);
        let struck = |fate: Fate| matches!(fate, Fate::TookEffect | Fate::NoEffect);
        let mut rest = whole.clone();
        let mut at = 0..;
        rest.faults.retain(|_| at.next().is_some_and(|at| struck(before.faults[at].fate)));
        left_out += whole.faults.len() - rest.faults.len();
        assert_eq!(run(&rest).schedule_hash, before.schedule_hash, "seed {seed}");
    }
    assert!(left_out > 0, "every fault struck");
}

/// One node that writes to a log; before, if `disturbed`, another file is written and synced and the power
/// is cut once. Gives what the last cut left of the log.
fn left_of_the_log(disturbed: bool, key: u64) -> Option<Vec<u8>> {
    let mut simulation = Simulation::new(7, EngineConfig::default());
    let node = simulation.add_node("broker-1");
    if disturbed {
        run(&mut simulation, node, |runtime| async move { write(&runtime, "other", 3).await });
        simulation.power_off_drawn_by(node, key + 1);
    }
    run(&mut simulation, node, |runtime| async move { write(&runtime, "log", 12).await });
    let _: PowerLoss = simulation.power_off_drawn_by(node, key);
    simulation.view().visible_file(node, "log")
}

async fn write(runtime: &SimRuntime, name: &str, writes: u8) {
    let file = runtime.open(Path::new(name), OpenMode::Create).expect("opens");
    file.sync().await.expect("syncs");
    runtime.sync_directory(Path::new("")).await.expect("syncs");
    for at in 0..writes {
        file.write_at(u64::from(at) * 700, &[std::io::IoSlice::new(&[at + 1; 700])]).expect("writes");
    }
}

fn run<F>(simulation: &mut Simulation, node: NodeId, main: impl FnOnce(SimRuntime) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    simulation.start(node, main);
    simulation.run_for(std::time::Duration::from_secs(1));
}

#[test]
fn a_power_cut_leaves_the_same_of_a_file_whatever_was_written_and_cut_before() {
    let mut kinds = std::collections::BTreeSet::new();
    for key in 0..40 {
        let left = left_of_the_log(false, key).expect("its name was synced");
        assert_eq!(left_of_the_log(true, key), Some(left.clone()), "cut {key}");
        kinds.insert(left);
    }
    assert!(kinds.len() > 20, "{} different outcomes of 40", kinds.len());
}
