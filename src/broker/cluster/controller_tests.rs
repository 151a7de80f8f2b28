//! The controller's task keeps a line for each incarnation that lives, and for no other.

use super::super::testing::{Node, broker_at};
use super::*;
use crate::base::ids::ControllerEpoch;
use crate::controller::LastShutdown;
use crate::controller::metadata::BrokerMetadata;
use crate::runtime::Tasks;

/// A broker that nobody can connect to.
fn registration(broker_epoch: i64) -> Registration {
    let BrokerMetadata { broker_epoch, endpoints, rack } = broker_at("b2", broker_epoch);
    Registration { broker: BrokerId(2), broker_epoch, previous: None, shutdown: LastShutdown::Clean, endpoints, rack }
}

/// A controller that was elected while broker 2 lived as incarnation 5.
fn elected(node: &Node) -> mpsc::Sender<Command> {
    let (commands, waiting) = mpsc::channel(8);
    node.world.spawn("controller", ControllerTask::new(node.plane.clone()).run(waiting)).detach();
    let office = Office { controller_epoch: ControllerEpoch(1), epoch_version: 1 };
    let tree = Tree { brokers: vec![registration(5)], ..Tree::default() };
    tell(node, &commands, Command::Elected { office, client: node.begin_session(), tree });
    commands
}

fn tell(node: &Node, controller: &mpsc::Sender<Command>, command: Command) {
    assert!(controller.try_send(command).is_ok());
    node.world.settle();
}

#[test]
fn a_broker_that_is_gone_is_not_written_to_any_more() {
    let node = Node::new();
    let controller = elected(&node);
    assert_eq!(node.world.running("metadata-push"), 1);
    tell(&node, &controller, Command::Brokers(Vec::new()));
    assert_eq!(node.world.running("metadata-push"), 0);
}

#[test]
fn a_broker_that_came_back_has_a_line_of_its_own() {
    let mut node = Node::new();
    let controller = elected(&node);
    tell(&node, &controller, Command::Brokers(vec![registration(6)]));
    // The first line has failed too, but whatever it would ask for is of no use.
    match node.world.run(node.commands.recv()) {
        Some(Command::SnapshotRequested { broker_epoch, .. }) => assert_eq!(broker_epoch, BrokerEpoch(6)),
        _ => panic!("a snapshot is asked for"),
    }
}
