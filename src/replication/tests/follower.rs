//! Claims about followers.

use super::*;

fn following(epochs: &[(i32, i64)], log_end: i64, plants: Plants) -> Shell {
    let mut shell = Shell::recovered(1, Durability::PageCache, log(epochs, log_end), plants);
    shell.state(Some(2), 5, 1, &[2, 3]);
    shell
}

fn ask(requested: i32) -> Option<LeaderRequest> {
    let (leader, leader_epoch) = (BrokerId(2), LeaderEpoch(5));
    Some(LeaderRequest::EpochEnd { leader, leader_epoch, requested: LeaderEpoch(requested) })
}

fn fetch(offset: i64) -> Option<LeaderRequest> {
    Some(LeaderRequest::Fetch { leader: BrokerId(2), leader_epoch: LeaderEpoch(5), offset })
}

#[test]
fn an_empty_log_is_fetched_from_its_start() {
    assert_eq!(following(&[], 0, Plants::NONE).replica.next_request(), fetch(0));
}

#[test]
fn a_follower_truncates_to_the_end_of_its_last_epoch_before_it_fetches() {
    let mut shell = following(&[(3, 0)], 8, Plants::NONE);
    assert_eq!(shell.replica.next_request(), ask(3));
    assert_eq!(truncated_to(&shell.epoch_end(5, 3, (3, 6))), Some(6));
    assert_eq!(shell.replica.next_request(), fetch(6));
}

#[test]
fn a_follower_asks_again_when_the_leader_does_not_know_its_epoch() {
    // KIP-279: this log has epochs 1 and 3, the leader's has 1 and 2.
    let mut shell = following(&[(1, 0), (3, 5)], 8, Plants::NONE);
    assert_eq!(truncated_to(&shell.epoch_end(5, 3, (2, 7))), Some(5));
    assert_eq!(shell.replica.next_request(), ask(1));
    assert_eq!(truncated_to(&shell.epoch_end(5, 1, (1, 4))), Some(4));
    assert_eq!(shell.replica.next_request(), fetch(4));
}

/// Broker 1 led epoch 1 without ever having heard of epoch 0, in which the new leader had appended
/// at the same offset. It kept its own record, took the logs for equal, and was admitted to the
/// in-sync set. Found by the replication model (`models/`).
#[test]
fn a_follower_keeps_nothing_that_is_newer_than_the_epoch_that_the_leader_answers_with() {
    let mut shell = following(&[(1, 0)], 1, Plants::NONE);
    assert_eq!(truncated_to(&shell.epoch_end(5, 1, (0, 1))), Some(0));
    assert_eq!(shell.replica.next_request(), fetch(0));
}

#[test]
fn a_truncation_that_was_asked_for_in_an_older_epoch_is_fenced() {
    let mut shell = following(&[(3, 0)], 8, Plants::NONE);
    assert_eq!(shell.epoch_end(4, 3, (3, 2)), []);
    assert_eq!(shell.replica.log_end(), 8);
}

#[test]
fn kip_101_truncates_to_the_high_watermark_with_the_plant() {
    let mut shell = Shell::recovered(1, Durability::PageCache, log(&[(3, 0)], 8), Plants::only(Plant::Kip101));
    let effects = shell.state(Some(2), 5, 1, &[1, 2, 3]);
    assert!(took(&effects, Plant::Kip101));
    assert_eq!(truncated_to(&effects), Some(0));
    assert_eq!(shell.replica.next_request(), fetch(0));
}

#[test]
fn nothing_is_asked_while_a_truncation_or_an_append_is_outstanding() {
    let mut shell = following(&[(3, 0)], 8, Plants::NONE);
    let mut effects = Vec::new();
    let answer = EpochEnd { leader_epoch: Some(LeaderEpoch(3)), end_offset: 6 };
    let input = Input::EpochEndAnswer { leader_epoch: LeaderEpoch(5), requested: LeaderEpoch(3), answer };
    shell.replica.step(input, &mut effects);
    assert_eq!(shell.replica.next_request(), None);
    shell.step(Input::Truncated { generation: 0 });
    assert_eq!(shell.replica.next_request(), None, "an older truncation");
    shell.step(Input::Truncated { generation: 1 });
    assert_eq!(shell.replica.next_request(), fetch(6));
}

#[test]
fn a_sync_that_began_before_a_truncation_does_not_count() {
    let mut shell = Shell::recovered(1, Durability::Synced, Recovered::empty(), Plants::NONE);
    shell.state(Some(2), 5, 1, &[2, 3]);
    shell.fetched(5, 4, 0);
    assert_eq!(shell.replica.next_request(), None, "a fetch would acknowledge what is not synced");
    shell.step(Input::Synced { generation: 0, end: 4 });
    shell.state(Some(3), 6, 2, &[2, 3]);
    shell.epoch_end(6, 5, (5, 2));
    shell.fetched(6, 2, 0);
    shell.step(Input::Synced { generation: 0, end: 4 });
    assert_eq!(shell.replica.counted_end(), 2);
    shell.step(Input::Synced { generation: 1, end: 4 });
    assert_eq!(shell.replica.counted_end(), 4);
}

#[test]
fn the_high_watermark_of_a_follower_never_passes_its_log_end() {
    let mut shell = following(&[], 0, Plants::NONE);
    shell.fetched(5, 3, 9);
    assert_eq!(shell.high_watermark(), 3);
    shell.fetched(5, 0, 2);
    assert_eq!(shell.high_watermark(), 3, "nor does it go back");
}

#[test]
fn an_answer_that_does_not_continue_the_log_is_dropped() {
    let mut shell = following(&[], 0, Plants::NONE);
    shell.fetched(5, 3, 0);
    let start = EpochStart { leader_epoch: LeaderEpoch(5), start_offset: 2 };
    let batches = Some(FetchedBatches { base_offset: 2, end: 6, epochs: vec![start] });
    let answer = FetchAnswer::Accepted { high_watermark: 0, log_start: 0, batches };
    shell.step(Input::FetchAnswer { leader_epoch: LeaderEpoch(5), offset: 3, answer: answer.clone() });
    shell.step(Input::FetchAnswer { leader_epoch: LeaderEpoch(5), offset: 2, answer });
    assert_eq!(shell.replica.log_end(), 3);
}

#[test]
fn a_log_behind_the_leaders_start_begins_anew_there_with_its_high_watermark() {
    let mut shell = following(&[], 0, Plants::NONE);
    let answer = FetchAnswer::OutOfRange { log_start: 40 };
    let effects = shell.step(Input::FetchAnswer { leader_epoch: LeaderEpoch(5), offset: 0, answer });
    assert!(effects.contains(&Effect::ResetLog { generation: 1, to: 40 }));
    assert_eq!((shell.replica.log_start(), shell.high_watermark()), (40, 40));
    assert_eq!(shell.replica.next_request(), fetch(40));
}

/// A deposed leader came back with records of its own epoch, after retention had removed at the new
/// leader all that had taken their place. It kept those below the new leader's log start, and was in
/// sync with them until it heard of that (`standard` seed 5198).
#[test]
fn a_log_that_knows_none_of_the_leaders_epochs_begins_anew_at_the_leaders_start() {
    let mut shell = following(&[(1, 0)], 94, Plants::NONE);
    let answer = EpochEnd { leader_epoch: None, end_offset: 90 };
    let (leader_epoch, requested) = (LeaderEpoch(5), LeaderEpoch(1));
    let effects = shell.step(Input::EpochEndAnswer { leader_epoch, requested, answer });
    assert!(effects.contains(&Effect::ResetLog { generation: 1, to: 90 }), "{effects:?}");
    assert_eq!((shell.replica.log_start(), shell.replica.log_end(), shell.high_watermark()), (90, 90, 90));
    assert_eq!(shell.replica.next_request(), fetch(90));
}

#[test]
fn a_follower_does_not_truncate_below_its_high_watermark() {
    let recovered = Recovered { high_watermark: 6, ..log(&[(3, 0)], 8) };
    let mut shell = Shell::recovered(1, Durability::PageCache, recovered, Plants::NONE);
    shell.state(Some(2), 5, 1, &[2, 3]);
    let fault = Fault::TruncationBelowHighWatermark { to: 4, high_watermark: 6 };
    assert_eq!(shell.epoch_end(5, 3, (3, 4)), [Effect::Fault(fault)]);
    assert_eq!(shell.replica.next_request(), None);
}

#[test]
fn after_a_power_loss_the_checkpointed_high_watermark_is_not_trusted() {
    let recovered = Recovered { high_watermark: 6, complete: false, ..log(&[(3, 0)], 8) };
    let shell = Shell::recovered(1, Durability::PageCache, recovered, Plants::NONE);
    assert_eq!(shell.high_watermark(), 0);
}

#[test]
fn a_follower_takes_over_the_leaders_log_start() {
    let mut shell = following(&[], 0, Plants::NONE);
    shell.fetched(5, 5, 5);
    let answer = FetchAnswer::Accepted { high_watermark: 5, log_start: 3, batches: None };
    let effects = shell.step(Input::FetchAnswer { leader_epoch: LeaderEpoch(5), offset: 5, answer });
    assert!(effects.contains(&Effect::AdvanceLogStart { log_start: 3 }));
    assert_eq!(shell.replica.epochs().entries()[0].start_offset, 3);
}

#[test]
fn what_lies_below_the_leaders_log_start_need_not_be_written_or_synced() {
    for durability in [Durability::PageCache, Durability::Synced] {
        let mut shell = Shell::recovered(1, durability, Recovered::empty(), Plants::NONE);
        shell.state(Some(2), 5, 1, &[2, 3]);
        let epochs = vec![EpochStart { leader_epoch: LeaderEpoch(5), start_offset: 0 }];
        let batches = Some(FetchedBatches { base_offset: 0, end: 5, epochs });
        let answer = FetchAnswer::Accepted { high_watermark: 5, log_start: 3, batches };
        let unreported = Input::FetchAnswer { leader_epoch: LeaderEpoch(5), offset: 0, answer };
        shell.replica.step(unreported, &mut Vec::new());
        assert_eq!(shell.replica.counted_end(), 3, "{durability:?}");
    }
}

/// Bytes of a peer are not trusted.
#[test]
fn batches_whose_epochs_do_not_rise_or_lie_elsewhere_are_dropped() {
    let epoch = |leader_epoch, start_offset| EpochStart { leader_epoch: LeaderEpoch(leader_epoch), start_offset };
    let appends = |epochs: &[EpochStart]| {
        let mut shell = Shell::recovered(1, Durability::PageCache, Recovered::empty(), Plants::NONE);
        shell.state(Some(2), 5, 1, &[2, 3]);
        let batches = Some(FetchedBatches { base_offset: 0, end: 5, epochs: epochs.to_vec() });
        let answer = FetchAnswer::Accepted { high_watermark: 0, log_start: 0, batches };
        let mut effects = Vec::new();
        shell.replica.step(Input::FetchAnswer { leader_epoch: LeaderEpoch(5), offset: 0, answer }, &mut effects);
        effects.iter().any(|effect| matches!(effect, Effect::AppendFetched { .. }))
    };
    assert!(appends(&[epoch(4, 0), epoch(5, 3)]));
    let bad = [
        &[][..],
        &[epoch(4, 0), epoch(4, 3)],
        &[epoch(5, 0), epoch(4, 3)],
        &[epoch(4, 0), epoch(5, 0)],
        &[epoch(4, 3), epoch(5, 0)],
        &[epoch(4, 0), epoch(6, 3)],
        &[epoch(4, 0), epoch(5, 5)],
    ];
    for epochs in bad {
        assert!(!appends(epochs), "{epochs:?}");
    }
}

#[test]
fn a_change_of_the_in_sync_set_alone_does_not_interrupt_fetching() {
    let mut shell = following(&[(3, 0)], 8, Plants::NONE);
    shell.epoch_end(5, 3, (3, 8));
    assert_eq!(shell.state(Some(2), 5, 2, &[1, 2, 3]), []);
    assert_eq!(shell.replica.next_request(), fetch(8));
}

#[test]
fn a_follower_that_is_no_replica_any_longer_asks_nobody() {
    let mut shell = following(&[], 0, Plants::NONE);
    assert_eq!(shell.replica.next_request(), fetch(0));
    let moved = PartitionState { replicas: vec![BrokerId(2), BrokerId(3)], ..state(Some(2), 5, 2, &[2, 3]) };
    let effects = shell.step(Input::State(moved));
    assert!(effects.contains(&Effect::Observe(ReplicaEvent::Stopped)), "{effects:?}");
    assert_eq!(shell.replica.next_request(), None);
}
