//! What a session asks of the coordinators, in which order, and what it does when they refuse.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use super::super::testing::{Ensemble, Node, OWN, SESSION, Sink, World};
use super::*;
use crate::base::znode::EventKind;
use crate::controller::Lineage;
use crate::runtime::{Clock, Either};

/// Another broker's session.
const OTHER_SESSION: i64 = 99;

fn session(node: &Node) -> Session<'_, World> {
    session_of(&node.plane, node.begin_session())
}

fn session_of(plane: &Arc<Plane<World>>, client: CoordinatorClient) -> Session<'_, World> {
    Session {
        plane,
        client,
        registration_changed: Notify::new(),
        controller_changed: Notify::new(),
        brokers_changed: Notify::new(),
        registered: watch::Sender::new(false),
    }
}

fn blank() -> Past {
    Past { previous: None, shutdown: LastShutdown::Blank }
}

/// Coordinators that know brokers, and controllers up to epoch 3.
fn ensemble(node: &Node) -> Ensemble {
    let ensemble = node.ensemble();
    ensemble.put(&broker_epoch::path(OWN), "", 0);
    ensemble.put(controller::EPOCH_PATH, "3", 0);
    ensemble
}

#[test]
fn an_event_wakes_those_whom_it_concerns() {
    let node = Node::new();
    let woken = |path: &str| {
        let session = session(&node);
        let (events, waiting) = mpsc::unbounded_channel();
        assert!(events.send(WatchEvent { zxid: Zxid(1), kind: EventKind::NodeDeleted, path: path.into() }).is_ok());
        let pump = pin!(session.pump(waiting));
        assert!(pump.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        [&session.registration_changed, &session.brokers_changed, &session.controller_changed]
            .map(|changed| pin!(changed.notified()).poll(&mut Context::from_waker(Waker::noop())).is_ready())
    };
    assert_eq!(woken("/brokers/ids/1"), [true, true, false]);
    assert_eq!(woken("/brokers/ids/2"), [false, true, false]);
    assert_eq!(woken("/controller"), [false, false, true]);
}

#[test]
fn a_broker_looks_for_what_it_left_after_a_sync_and_registers_the_incarnation_that_it_took() {
    let node = Node::new();
    let ensemble = ensemble(&node);
    let (mut past, mut noted) = (blank(), None);
    let (_, attempt) = node.world.run(session(&node).register(&mut past, &mut noted)).expect("registers");
    let expected = ["sync /brokers/ids/1", "exists /brokers/ids/1", "set /brokers/epochs/1", "multi"];
    assert_eq!(ensemble.heard(), expected);
    assert_eq!(past, Past::alive(Lineage::of(attempt.broker_epoch)));
}

/// What becomes of a registration of this session as incarnation `left`, when `noted` was noted last.
fn registered_over(left: i64, noted: i64) -> (i64, bool) {
    let node = Node::new();
    let (ensemble, session) = (ensemble(&node), session(&node));
    let registration = session.registration(&blank(), BrokerEpoch(left));
    ensemble.put(&broker::path(OWN), broker::encode(&registration, 0), SESSION);
    let broker_epoch = BrokerEpoch(noted);
    let attempt = Attempt { broker_epoch, shutdown: LastShutdown::Blank, written_since: broker_epoch };
    let (_, now) = node.world.run(session.register(&mut blank(), &mut Some(attempt))).expect("registers");
    (now.broker_epoch.0, ensemble.has_heard("multi"))
}

#[test]
fn a_registration_whose_answer_was_lost_stands() {
    assert_eq!(registered_over(500, 500), (500, false));
}

#[test]
fn a_registration_as_another_incarnation_than_the_disk_names_is_replaced() {
    let (broker_epoch, is_replaced) = registered_over(400, 500);
    assert!(is_replaced && ![400, 500].contains(&broker_epoch), "{broker_epoch}");
}

#[test]
fn a_registration_that_failed_is_tried_again_after_a_pause() {
    let node = Node::new();
    let (ensemble, session, sink) = (ensemble(&node), session(&node), Sink::default());
    ensemble.refuse_once("multi", ErrorCode::BadVersion);
    let mut registered = session.registered.subscribe();
    let registering =
        async { select(session.keep_registered(&sink, &mut blank()), registered.wait_for(|is| *is)).await };
    assert!(matches!(node.world.run(registering), Either::Second(_)));
    assert_eq!((node.pauses(), sink.told().len()), (1, 1));
}

#[test]
fn nobody_stands_for_controller_who_is_not_registered() {
    let node = Node::new();
    let ensemble = ensemble(&node);
    ensemble.refuse_always("set /brokers/epochs/1", ErrorCode::SystemError);
    let keeping = keep(node.plane.clone(), Sink::default(), blank());
    node.world.run(select(keeping, node.world.sleep(Duration::from_secs(1))));
    assert!(ensemble.has_heard("set /brokers/epochs/1"), "it tries to register");
    assert!(!ensemble.has_heard("exists /controller watch"));
}

#[test]
fn an_election_that_could_not_be_held_is_tried_again_after_a_pause() {
    let mut node = Node::new();
    let ensemble = ensemble(&node);
    ensemble.refuse_once("exists /controller watch", ErrorCode::SystemError);
    let plane = node.plane.clone();
    let session = session_of(&plane, node.begin_session());
    session.registered.send_replace(true);
    let elected = node.world.clone().run(select(session.stand_for_controller(), node.commands.recv()));
    let Either::Second(Some(Command::Elected { office, .. })) = elected else { panic!("nobody is elected") };
    assert_eq!(office, Office { controller_epoch: ControllerEpoch(4), epoch_version: 1 });
    assert_eq!(node.pauses(), 1);
}

#[test]
fn whoever_was_too_slow_in_an_election_pauses_before_the_next_look() {
    let node = Node::new();
    ensemble(&node).refuse_once("multi", ErrorCode::NodeExists);
    assert!(node.world.run(session(&node).try_to_win()).is_err());
    assert_eq!(node.pauses(), 1);
}

#[test]
fn an_office_of_ones_own_that_nobody_holds_is_given_up_for_a_new_one() {
    let node = Node::new();
    ensemble(&node).put(controller::PATH, "", SESSION);
    let office = node.world.run(session(&node).try_to_win()).expect("an election");
    assert_eq!(office, Some(Office { controller_epoch: ControllerEpoch(4), epoch_version: 1 }));
}

#[test]
fn a_controller_whose_office_another_one_has_looks_for_no_brokers() {
    for (owner, is_controller) in [(SESSION, true), (OTHER_SESSION, false)] {
        let node = Node::new();
        ensemble(&node).put(controller::PATH, "", owner);
        assert_eq!(node.world.run(session(&node).live_brokers()).is_some(), is_controller);
    }
}
