//! Six processes as an operator starts them, and ordinary clients on them: kcat, librdkafka and kazoo,
//! while processes are killed with `kill -9`. Nothing that was acknowledged may be lost, doubled or
//! moved. `.ci/show 8` runs the same for longer, and holds it to its times.
//!
//! Skipped, and said so on the terminal, where confluent-kafka or kazoo are not installed.

mod processes;

use std::path::Path;
use std::process::Command;

use processes::{WYRD, directory, python_with};

#[test]
fn librdkafka_loses_nothing_when_processes_of_a_real_cluster_are_killed() {
    let (Some(python), Some(_)) = (python_with("confluent_kafka"), python_with("kazoo")) else { return };
    let home = directory("real_cluster");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_clients/cluster.py");
    let status = Command::new(python).arg(script).arg(WYRD).arg(&home).args(["40", "3"]).status().expect("Python runs");
    assert!(status.success(), "the script failed; the processes' logs are in {}", home.display());
}
