//! Topics whose znodes cannot be understood: their names are taken, and nothing is deleted.

use std::collections::BTreeSet;

use super::*;

fn creation(topic: &str) -> Request {
    let assignment = Assignment::Spread { partitions: 1, replication_factor: 1, start: 0 };
    let settings = settings(1, Durability::PageCache);
    Request::CreateTopic { topic: topic.into(), id: TopicId([1; 16]), assignment, settings }
}

/// What a read of the tree shows of it: all that is known, and one topic that cannot be understood.
fn tree_with_foreign(shell: &Shell) -> Tree {
    let topics = shell.controller.metadata().expect("in office").topics.clone();
    let brokers = (1..=3).map(|broker| registration(broker, 0, LastShutdown::Clean)).collect();
    Tree { brokers, topics, unreadable: BTreeSet::from(["foreign".into()]), ..Tree::default() }
}

fn elected() -> Shell {
    let mut shell = Shell::page_cache();
    let tree = tree_with_foreign(&shell);
    shell.step(Input::Elected { controller_epoch: ControllerEpoch(2), tree });
    shell
}

fn unreadable(shell: &Shell) -> usize {
    shell.controller.metadata().expect("in office").unreadable.len()
}

#[test]
fn a_topic_is_not_created_under_a_name_that_is_taken_and_others_are() {
    let mut shell = elected();
    assert_eq!(shell.request(creation("foreign")), Err(Refusal::TopicExists));
    assert_eq!(shell.request(creation("u")), Ok(Answer::Done));
    let deletion = Request::DeleteTopic { topic: "foreign".into() };
    assert_eq!(shell.request(deletion), Err(Refusal::UnknownTopicOrPartition), "it is left to who wrote it");
}

#[test]
fn a_name_that_was_taken_is_free_once_somebody_has_removed_what_stood_there() {
    let mut shell = elected();
    assert_eq!(shell.request(creation("foreign")), Err(Refusal::TopicExists));
    assert_eq!(shell.request(creation("foreign")), Ok(Answer::Done));
    assert_eq!(unreadable(&shell), 0);
    assert!(shell.controller.metadata().expect("in office").topics.contains_key("foreign"));
}

#[test]
fn a_name_that_is_taken_still_is_found_so_by_the_write_and_told_so_again() {
    let mut shell = elected();
    assert_eq!(shell.request(creation("foreign")), Err(Refusal::TopicExists));
    let effects = shell.step_only(Input::Request { id: RequestId(7), request: creation("foreign") });
    let write = written(&effects).expect("the tree is asked");
    let effects = shell.step_only(Input::Written { write, outcome: Outcome::Conflict });
    assert_eq!(reply(&effects), Some(Err(Refusal::TryAgain)));
    let tree = tree_with_foreign(&shell);
    shell.step(Input::TreeRead { tree });
    assert_eq!(shell.request(creation("foreign")), Err(Refusal::TopicExists));
    assert_eq!(unreadable(&shell), 1, "brokers are told to keep what they may have of it");
}

#[test]
fn brokers_are_told_what_cannot_be_understood() {
    let mut shell = Shell::page_cache();
    let tree = tree_with_foreign(&shell);
    let effects = shell.step(Input::Elected { controller_epoch: ControllerEpoch(2), tree });
    let told = effects.iter().filter(|effect| match effect {
        Effect::Push { update, .. } => match &update.content {
            MetadataContent::Snapshot(metadata) => metadata.unreadable.contains("foreign"),
            MetadataContent::Delta(_) => false,
        },
        _ => false,
    });
    assert_eq!(told.count(), 3);
}
