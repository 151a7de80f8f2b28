//! Connections of clients: how many there are, and how long one may rest.

use super::node::{Node, Silent, ms};
use super::peer::Peer;
use crate::base::address::Address;
use crate::broker::connection;
use crate::broker::server::Server;
use crate::message;
use crate::runtime::{Network, Task, Tasks, watch};
use crate::wire::kafka::Request;
use crate::wire::kafka::messages::{ApiVersionsRequest, MetadataRequest};

const PORT: u16 = 9092;

/// A node that takes in so many clients, and what stops it.
fn serving(connections_max: usize) -> (Node, watch::Sender<bool>) {
    let node = Node::start();
    let (stop, stopped) = watch::channel(false);
    let listener = node.world.wait(node.world.listen(&Address::new("broker", PORT))).unwrap();
    let (shared, partitions) = (node.shared.clone(), node.partitions.clone());
    let server = Server { shared, partitions, cluster: Silent }.into();
    node.world.spawn("accept", connection::accept_all(server, listener, connections_max, stopped)).detach();
    (node, stop)
}

fn versions() -> Request {
    Request::ApiVersions(message!(ApiVersionsRequest { client_software_name: "t".into() }))
}

/// What is never answered here.
fn metadata() -> Request {
    Request::Metadata(message!(MetadataRequest {}))
}

#[test]
fn clients_beyond_the_limit_are_turned_away_until_one_has_gone() {
    let (node, _stop) = serving(1);
    let mut first = Peer::connect(&node.world, PORT);
    first.ask(0, &versions());
    assert!(first.is_answered());
    assert!(Peer::connect(&node.world, PORT).is_closed());
    drop(first);
    node.world.settle();
    assert!(!Peer::connect(&node.world, PORT).is_closed());
}

#[test]
fn a_broker_that_cannot_accept_takes_a_rest() {
    let (node, _stop) = serving(8);
    node.world.fail_accept(PORT);
    let mut client = Peer::connect(&node.world, PORT);
    client.ask(0, &versions());
    assert!(!client.is_answered());
    node.world.pass(ms(50));
    assert!(client.is_answered());
}

#[test]
fn a_connection_on_which_nothing_moves_is_dropped() {
    let (node, _stop) = serving(8);
    let mut client = Peer::connect(&node.world, PORT);
    node.world.pass(ms(300_000));
    client.ask(0, &versions());
    assert!(client.is_answered());
    node.world.pass(ms(599_000));
    assert!(!client.is_closed());
    node.world.pass(ms(1_000));
    assert!(client.is_closed());
}

#[test]
fn a_client_that_waits_for_its_answer_is_not_idle() {
    let (node, _stop) = serving(8);
    let mut client = Peer::connect(&node.world, PORT);
    client.ask(4, &metadata());
    node.world.pass(ms(1_300_000));
    assert!(!client.is_closed());
}

#[test]
fn a_client_that_takes_no_answers_is_idle_whatever_it_asked() {
    let (node, _stop) = serving(8);
    let mut client = Peer::connect(&node.world, PORT);
    (0..20).for_each(|_| client.ask(0, &versions()));
    client.ask(4, &metadata());
    node.world.pass(ms(600_000));
    assert!(client.is_closed());
}

#[test]
fn what_stands_behind_a_frame_that_ends_the_connection_is_read_and_dropped_for_a_moment() {
    let (node, _stop) = serving(8);
    let mut client = Peer::connect(&node.world, PORT);
    client.ask(0, &versions());
    let mut too_long = vec![0_u8; 512 * 1024];
    too_long[..4].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(client.takes(&too_long));
    assert!(client.is_answered());
    assert!(client.is_closed());
    assert!(client.takes(&too_long));
    node.world.pass(ms(1_000));
    assert!(!client.takes(&too_long), "its end is gone by now");
}

#[test]
fn a_client_that_never_stops_sending_is_left() {
    let (node, _stop) = serving(8);
    let mut client = Peer::connect(&node.world, PORT);
    let nonsense = vec![0xff_u8; 512 * 1024];
    assert!(client.takes(&nonsense));
    assert!(client.takes(&nonsense));
    assert!(!client.takes(&nonsense));
}
