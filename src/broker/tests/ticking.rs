//! What a broker does from time to time.

use super::node::{Node, batch, ms};
use crate::base::stop_cause::StopCause;
use crate::broker::ticks;
use crate::replication::Acks;
use crate::runtime::Tasks;

fn checkpoints(node: &Node) -> usize {
    let operations = node.world.disk_operations();
    operations.iter().filter(|one| one.starts_with("rename logs/replication-offset-checkpoint")).count()
}

#[test]
fn high_watermarks_are_written_down_when_they_have_changed() {
    let node = Node::leading(&[1]);
    let ticks = ticks::checkpoint_high_watermarks(node.shared.clone(), node.partitions.clone());
    let _task = node.world.spawn("checkpoints", ticks);
    node.world.pass(ms(16_000));
    assert_eq!(checkpoints(&node), 1);
    node.partition().produce(&batch(), 9, Acks::Leader);
    node.world.pass(ms(16_000));
    assert_eq!(checkpoints(&node), 2);
}

#[test]
fn a_checkpoint_that_cannot_be_written_stops_the_broker() {
    let mut node = Node::leading(&[1]);
    node.world.disk.fail_writes(true);
    node.world.wait(ticks::checkpoint_high_watermarks(node.shared.clone(), node.partitions.clone()));
    assert_eq!(node.failed.try_recv().map(|failure| failure.cause), Ok(StopCause::Disk));
}

#[test]
fn a_broker_that_must_stop_is_told_why() {
    let mut node = Node::start();
    node.shared.fail("for itself".to_owned());
    let failure = node.failed.try_recv().unwrap();
    assert_eq!((failure.reason.as_str(), failure.cause), ("for itself", StopCause::Other));
    node.shared.fail_for_disk("for the disk".to_owned());
    let failure = node.failed.try_recv().unwrap();
    assert_eq!((failure.reason.as_str(), failure.cause), ("for the disk", StopCause::Disk));
}
