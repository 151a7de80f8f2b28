//! What happens around a write: who is answered what when the office ends, which outcome belongs to which write,
//! and what is known after the tree was read anew.

use super::*;

const DONE: Outcome = Outcome::Committed { zxid: Zxid(1) };

/// A request that takes a write: the in-sync set is proposed as it is.
fn same_again(shell: &Shell) -> Request {
    Request::AlterPartition(shell.proposal(&shell.state().in_sync))
}

fn ask(shell: &mut Shell, id: u64, request: Request) -> Vec<Effect> {
    shell.step_only(Input::Request { id: RequestId(id), request })
}

fn refused(id: u64, refusal: Refusal) -> Effect {
    Effect::Reply { id: RequestId(id), result: Err(refusal) }
}

fn deposed(while_writing: bool) -> Effect {
    Effect::Observe(ControllerEvent::Deposed { controller_epoch: ControllerEpoch(1), while_writing })
}

fn tree(shell: &Shell, brokers: Vec<Registration>) -> Tree {
    let topics = shell.controller.metadata().expect("in office").topics.clone();
    Tree { brokers, topics, ..Tree::default() }
}

#[test]
fn a_controller_that_loses_its_session_while_it_writes_does_not_know_the_outcome() {
    let mut shell = Shell::page_cache();
    let request = same_again(&shell);
    ask(&mut shell, 1, request.clone());
    ask(&mut shell, 2, request);
    let effects = shell.step_only(Input::Deposed);
    assert_eq!(effects, [refused(1, Refusal::Unknown), refused(2, Refusal::NotController), deposed(true)]);
}

#[test]
fn a_controller_that_loses_its_session_with_nothing_under_way_says_so() {
    let mut shell = Shell::page_cache();
    assert_eq!(shell.step_only(Input::Deposed), [deposed(false)]);
}

#[test]
fn a_controller_that_is_elected_anew_does_not_know_the_outcome_of_what_it_wrote_before() {
    let mut shell = Shell::page_cache();
    let request = same_again(&shell);
    ask(&mut shell, 1, request);
    let tree = tree(&shell, vec![registration(1, 0, LastShutdown::Clean)]);
    let effects = shell.step_only(Input::Elected { controller_epoch: ControllerEpoch(2), tree });
    assert_eq!(effects[..2], [refused(1, Refusal::Unknown), deposed(true)]);
    assert_eq!(shell.controller.controller_epoch(), Some(ControllerEpoch(2)));
}

#[test]
fn the_outcome_of_an_earlier_write_is_not_taken_for_that_of_the_present_one() {
    let mut shell = Shell::page_cache();
    let request = same_again(&shell);
    let first = written(&ask(&mut shell, 1, request)).expect("written");
    shell.step_only(Input::Written { write: first, outcome: DONE });
    let request = same_again(&shell);
    let second = written(&ask(&mut shell, 2, request)).expect("written");
    assert_eq!(shell.step_only(Input::Written { write: first, outcome: DONE }), []);
    let effects = shell.step_only(Input::Written { write: second, outcome: DONE });
    assert!(matches!(reply(&effects), Some(Ok(Answer::AlterPartition(_)))));
}

#[test]
fn the_states_are_not_gone_through_again_while_nobody_comes_or_goes() {
    let mut shell = Shell::page_cache();
    let is_unsettled = |shell: &Shell| shell.controller.active.as_ref().expect("in office").unsettled;
    shell.end(3, 0);
    assert!(!is_unsettled(&shell));
    let request = same_again(&shell);
    shell.request(request).expect("accepted");
    assert!(!is_unsettled(&shell));
}

/// Broker 3 asked to leave, and was started anew while the tree was read.
#[test]
fn what_was_known_of_an_incarnation_does_not_concern_the_one_that_the_tree_shows() {
    let mut shell = Shell::page_cache();
    let leave = Request::ControlledShutdown { broker: BrokerId(3), broker_epoch: epoch(3, 0) };
    let write = written(&ask(&mut shell, 1, leave)).expect("it leaves the in-sync set");
    assert_eq!(shell.step_only(Input::Written { write, outcome: Outcome::Unknown })[0], Effect::ReadTree);
    let brokers = [(1, 0), (2, 0), (3, 1)].map(|(broker, start)| registration(broker, start, LastShutdown::Clean));
    let tree = tree(&shell, brokers.to_vec());
    let effects = shell.step(Input::TreeRead { tree });
    let first_pushed = |broker: i32| {
        effects.iter().find_map(|effect| match effect {
            Effect::Push { broker: to, update } if to.0 == broker => Some(update.sequence),
            _ => None,
        })
    };
    assert_eq!(first_pushed(3), Some(0), "to this incarnation nothing was pushed");
    assert_eq!(first_pushed(2), Some(1));
    shell.propose(&[member(1, 0), member(2, 0), member(3, 1)]).expect("it did not ask to leave");
}

#[test]
fn an_explicit_assignment_is_of_as_many_partitions_as_a_request_may_create() {
    let mut shell = Shell::page_cache();
    let mut add = |partitions: usize| {
        let assignment = Assignment::Explicit(vec![vec![BrokerId(1)]; partitions]);
        shell.request(Request::AddPartitions { topic: "t".into(), assignment })
    };
    let refused = Err(Refusal::InvalidPartitions(PARTITIONS_PER_REQUEST_MAX));
    assert_eq!([add(0), add(PARTITIONS_PER_REQUEST_MAX + 1)], [refused.clone(), refused]);
    assert_eq!(add(PARTITIONS_PER_REQUEST_MAX), Ok(Answer::Done));
}

#[test]
fn a_leader_that_has_seen_a_later_state_than_the_controller_is_not_answered_as_if_by_one() {
    let mut shell = Shell::page_cache();
    let proposal = shell.proposal(&[member(1, 0)]);
    let later = AlterPartition { partition_epoch: proposal.partition_epoch + 1, ..proposal };
    assert_eq!(shell.request(Request::AlterPartition(later)), Err(Refusal::NotController));
}
