//! Claims about leaders.

use super::*;

#[test]
fn a_record_is_committed_when_the_whole_in_sync_set_has_it() {
    let mut shell = Shell::new(2, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1, 2, 3]);
    shell.produce(4);
    shell.fetch(2, 0, 4);
    assert_eq!(shell.high_watermark(), 0, "broker 3 has not fetched");
    shell.fetch(3, 0, 3);
    assert_eq!(shell.high_watermark(), 3);
    shell.fetch(3, 0, 4);
    assert_eq!(shell.high_watermark(), 4);
}

#[test]
fn an_append_is_not_counted_before_it_is_reported() {
    let mut shell = Shell::new(1, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1]);
    let mut effects = Vec::new();
    shell.replica.step(Input::Produce { records: 2, acks: Acks::All }, &mut effects);
    assert_eq!((shell.replica.log_end(), shell.high_watermark()), (2, 0));
    shell.step(Input::Appended { generation: 0, end: 2 });
    assert_eq!(shell.high_watermark(), 2);
}

#[test]
fn a_synced_topic_counts_only_what_is_synced() {
    let mut shell = Shell::recovered(1, Durability::Synced, Recovered::empty(), Plants::NONE);
    shell.state(Some(1), 0, 0, &[1]);
    shell.produce(2);
    assert_eq!(shell.high_watermark(), 0);
    shell.step(Input::Synced { generation: 0, end: 2 });
    assert_eq!(shell.high_watermark(), 2);
}

#[test]
fn nothing_is_committed_while_the_set_is_smaller_than_min_insync_replicas() {
    let mut shell = Shell::new(2, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1, 2]);
    shell.produce(1);
    let effects = shell.state(Some(1), 0, 1, &[1]);
    assert!(effects.contains(&Effect::UnderMinInSync));
    shell.fetch(2, 0, 1);
    assert_eq!(shell.high_watermark(), 0, "a proposed member makes the maximal set larger, not the committed one");
    assert_eq!(refused(&shell.produce(1)), Some(Refusal::NotEnoughReplicas));
    assert_eq!(refused(&shell.step(Input::Produce { records: 1, acks: Acks::Leader })), None);
}

#[test]
fn min_insync_replicas_is_no_larger_than_the_number_of_replicas() {
    let mut shell = Shell::new(5, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1, 2, 3]);
    assert_eq!(refused(&shell.produce(1)), None);
}

#[test]
fn an_acknowledgement_of_another_incarnation_does_not_count() {
    let mut shell = Shell::new(2, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1, 2]);
    shell.produce(1);
    shell.fetch_as(2, 21, 0, 1);
    assert_eq!(shell.high_watermark(), 0);
    assert_eq!(refused(&shell.fetch_as(2, 20, 0, 1)), Some(Refusal::StaleBrokerEpoch));
}

#[test]
fn a_follower_of_another_epoch_is_fenced_and_not_counted() {
    let mut shell = Shell::new(2, Plants::NONE);
    shell.state(Some(1), 3, 0, &[1, 2]);
    shell.produce(1);
    assert_eq!(refused(&shell.fetch(2, 2, 1)), Some(Refusal::FencedLeaderEpoch));
    assert_eq!(refused(&shell.fetch(2, 4, 1)), Some(Refusal::UnknownLeaderEpoch));
    assert_eq!(shell.high_watermark(), 0);
}

#[test]
fn kip_320_a_zombie_follower_counts_with_the_plant() {
    let mut shell = Shell::new(2, Plants::only(Plant::Kip320));
    shell.state(Some(1), 3, 0, &[1, 2]);
    shell.produce(1);
    assert!(took(&shell.fetch(2, 2, 1), Plant::Kip320));
    assert_eq!(shell.high_watermark(), 1);
}

#[test]
fn a_leader_leads_only_in_the_incarnation_that_was_elected() {
    let mut shell = Shell::new(1, Plants::NONE);
    let mut elected = state(Some(1), 0, 0, &[1]);
    elected.in_sync[0].broker_epoch = BrokerEpoch(9);
    shell.step(Input::State(elected));
    assert!(!shell.replica.leads());
    assert_eq!(refused(&shell.produce(1)), Some(Refusal::NotLeader));
}

#[test]
fn a_leader_that_registers_anew_resigns() {
    let mut shell = Shell::new(1, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1]);
    let effects = shell.step(Input::Registered { broker_epoch: BrokerEpoch(11) });
    assert!(effects.contains(&Effect::Resigned));
    assert!(!shell.replica.leads());
}

#[test]
fn a_leader_that_is_no_replica_any_longer_resigns() {
    let mut shell = Shell::new(1, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1]);
    let moved = PartitionState { replicas: vec![BrokerId(2), BrokerId(3)], ..state(Some(2), 1, 1, &[2, 3]) };
    assert_eq!(shell.step(Input::State(moved)), [Effect::Resigned, Effect::Observe(ReplicaEvent::Stopped)]);
}

#[test]
fn a_follower_is_served_what_is_written_beyond_the_high_watermark() {
    let mut shell = Shell::new(2, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1, 2]);
    shell.produce(4);
    let served = Effect::ServeFollower { offset: 1, end: 4, high_watermark: 1, log_start: 0 };
    assert_eq!(shell.fetch(2, 0, 1).last(), Some(&served));
}

#[test]
fn the_latest_offset_is_withheld_until_the_epoch_start_is_committed() {
    let mut shell = Shell::recovered(2, Durability::PageCache, log(&[(0, 0)], 5), Plants::NONE);
    shell.state(Some(1), 1, 1, &[1, 2]);
    assert_eq!(shell.replica.latest_offset(None), Err(Refusal::OffsetNotAvailable));
    assert_eq!(shell.replica.consumer_bound(None), Ok(0));
    shell.fetch(2, 1, 5);
    assert_eq!(shell.replica.latest_offset(None), Ok(5));
    assert_eq!(shell.replica.latest_offset(Some(LeaderEpoch(0))), Err(Refusal::FencedLeaderEpoch));
}

#[test]
fn an_unknown_epoch_ends_where_the_largest_known_one_below_it_does() {
    let query = |plants| {
        let mut shell = Shell::recovered(1, Durability::PageCache, log(&[(1, 0), (3, 4)], 9), plants);
        shell.state(Some(1), 5, 0, &[1, 2]);
        shell.step(Input::EpochEndQuery { leader_epoch: Some(LeaderEpoch(5)), requested: LeaderEpoch(2) })
    };
    let end = |epoch, end_offset| Effect::EpochEnd(EpochEnd { leader_epoch: Some(LeaderEpoch(epoch)), end_offset });
    assert_eq!(query(Plants::NONE), [end(1, 4)]);
    assert_eq!(query(Plants::only(Plant::Kip279)), [Effect::PlantTaken(Plant::Kip279), end(2, 9)]);
}

#[test]
fn an_epoch_older_than_the_log_is_unknown_and_the_answer_says_where_the_log_begins() {
    let recovered = Recovered { log_start: 4, ..log(&[(3, 4)], 9) };
    let mut shell = Shell::recovered(1, Durability::PageCache, recovered, Plants::NONE);
    shell.state(Some(1), 5, 0, &[1]);
    let effects = shell.step(Input::EpochEndQuery { leader_epoch: None, requested: LeaderEpoch(1) });
    assert_eq!(effects, [Effect::EpochEnd(EpochEnd { leader_epoch: None, end_offset: 4 })]);
}

#[test]
fn the_start_of_an_epoch_is_recorded_at_the_election() {
    let mut shell = Shell::recovered(1, Durability::PageCache, log(&[(0, 0)], 5), Plants::NONE);
    let effects = shell.state(Some(1), 2, 0, &[1]);
    let begun = EpochStart { leader_epoch: LeaderEpoch(2), start_offset: 5 };
    assert!(effects.contains(&Effect::RecordEpoch(begun)));
    assert_eq!(shell.replica.epochs().entries().last(), Some(&begun));
}

#[test]
fn the_canary_acknowledges_before_anything_is_replicated() {
    let acknowledge = |plants| {
        let mut shell = Shell::new(2, plants);
        shell.state(Some(1), 0, 0, &[1, 2]);
        shell.produce(1).into_iter().find_map(|effect| match effect {
            Effect::Append { acknowledge, .. } => Some(acknowledge),
            _ => None,
        })
    };
    assert_eq!(acknowledge(Plants::NONE), Some(Acknowledge::AtHighWatermark));
    assert_eq!(acknowledge(Plants::only(Plant::Canary)), Some(Acknowledge::AtAppend));
}

#[test]
fn a_fetch_beyond_the_log_is_out_of_range_and_forgets_the_follower() {
    let mut shell = Shell::new(2, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1, 2]);
    shell.produce(3);
    let refusal = refused(&shell.fetch(2, 0, 7));
    assert_eq!(refusal, Some(Refusal::OffsetOutOfRange { log_start: 0, log_end: 3 }));
    assert_eq!(refused(&shell.fetch(7, 0, 0)), Some(Refusal::NotAReplica));
}

#[test]
fn a_failed_log_takes_the_replica_out_of_service() {
    let mut shell = Shell::new(1, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1]);
    let effects = shell.step(Input::LogFailed);
    assert!(effects.contains(&Effect::Resigned) && effects.contains(&Effect::Fault(Fault::Log)));
    assert_eq!(refused(&shell.produce(1)), Some(Refusal::Faulted));
    shell.state(Some(1), 1, 1, &[1]);
    assert_eq!(shell.replica.fault(), Some(&Fault::Log), "only a recovery ends it");
}

#[test]
fn what_retention_removes_is_no_part_of_the_epochs_any_more() {
    let mut shell = Shell::new(1, Plants::NONE);
    shell.state(Some(1), 0, 0, &[1]);
    shell.produce(5);
    assert_eq!(shell.replica.epochs().entries()[0].start_offset, 0);
    shell.step(Input::LogStart { log_start: 3 });
    assert_eq!(shell.replica.epochs().entries()[0].start_offset, 3);
}
