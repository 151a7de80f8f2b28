//! Reads and what is asked about offsets: who is woken, what is answered, what is told besides.

use std::pin::pin;
use std::sync::Arc;

use super::node::{ID, Node, batch, config, state};
use super::world::World;
use crate::base::event::{Event, ReplicaEvent};
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, ProducerEpoch, ProducerId};
use crate::base::plants::{Plant, Plants};
use crate::broker::config::Config;
use crate::broker::partition::Partition;
use crate::broker::reading::{ReadRequest, Reader, RefusedRead};
use crate::broker::server::{Answer, Pending};
use crate::broker::{epoch_ends, fetch, list_offsets};
use crate::log::LogError;
use crate::message;
use crate::replication::{Acks, EpochStart, FetchAnswer, FetchedBatches, FollowerFetch, Input};
use crate::wire::kafka::batch::{NewRecord, ProducerStamp, RecordBatchBuilder};
use crate::wire::kafka::fetch::FetchResponse;
use crate::wire::kafka::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::wire::kafka::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::wire::kafka::messages::list_offsets_response::ListOffsetsPartitionResponse;
use crate::wire::kafka::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use crate::wire::kafka::messages::{FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, StrBytes, uuid};
use crate::wire::kafka::{ErrorCode, Response};

const VERSION: i16 = 16;

/// A consumer's fetch at `offset` that waits for a minute.
fn poll(node: &Node, offset: i64) -> Pending {
    let partition = message!(FetchPartition {
        partition: 0,
        current_leader_epoch: -1,
        fetch_offset: offset,
        partition_max_bytes: 1000
    });
    let topic = message!(FetchTopic { topic_id: uuid(ID), partitions: vec![partition] });
    let request = message!(FetchRequest { max_wait_ms: 60_000, min_bytes: 1, max_bytes: 1000, topics: vec![topic] });
    match fetch::take(&node.shared, &node.partitions, VERSION, request) {
        Answer::LongPoll(pending, _) => pending,
        _ => panic!("a fetch is a long poll"),
    }
}

fn fetched(response: Option<Response>) -> FetchResponse {
    match response {
        Some(Response::Fetch(response)) => response,
        other => panic!("not an answer to a fetch: {other:?}"),
    }
}

fn offset_of(node: &Node, timestamp: i64, isolation_level: i8, claimed: i32) -> ListOffsetsPartitionResponse {
    let partition = message!(ListOffsetsPartition { partition_index: 0, current_leader_epoch: claimed, timestamp });
    let topic = message!(ListOffsetsTopic { name: StrBytes::from("t"), partitions: vec![partition] });
    let request = message!(ListOffsetsRequest { replica_id: -1, isolation_level, topics: vec![topic] });
    match node.world.wait(list_offsets::answer(node.partitions.clone(), 5, request)) {
        Response::ListOffsets(response) => response.topics[0].partitions[0].clone(),
        other => panic!("not an answer: {other:?}"),
    }
}

fn read(reader: Reader, leader_epoch: Option<LeaderEpoch>, offset: i64) -> ReadRequest {
    ReadRequest { reader, leader_epoch, offset, bytes_max: 1000 }
}

#[test]
fn a_consumer_is_woken_when_the_high_watermark_moves_and_what_it_gets_is_observed() {
    let node = Node::leading(&[1, 2]);
    let mut poll = pin!(poll(&node, 0));
    assert!(node.world.ready(poll.as_mut()).is_none());
    node.partition().produce(&batch(), 9, Acks::Leader);
    assert!(node.world.ready(poll.as_mut()).is_none(), "it is not committed");
    let (replica, broker_epoch, leader_epoch) = (BrokerId(2), BrokerEpoch(5), LeaderEpoch(1));
    let fetch = FollowerFetch { replica, broker_epoch, leader_epoch, offset: 1 };
    node.partition().follower_fetches(fetch).unwrap();
    node.world.observed();
    let response = fetched(node.world.ready(poll.as_mut()));
    assert!(response.topics[0].partitions[0].records_bytes() > 0);
    let served = ReplicaEvent::Served { end: 1, high_watermark: 1 };
    assert!(node.world.observed().iter().any(|event| matches!(event, Event::Replica(_, one) if *one == served)));
}

#[test]
fn a_consumer_of_a_leader_that_resigns_is_told_at_once_who_leads_and_where() {
    let node = Node::leading(&[1]);
    let mut poll = pin!(poll(&node, 0));
    assert!(node.world.ready(poll.as_mut()).is_none());
    node.learn_states(vec![state(2, 2, &[2])]);
    let response = fetched(node.world.ready(poll.as_mut()));
    assert_eq!(response.topics[0].partitions[0].error, Some(ErrorCode::NotLeaderOrFollower));
    let endpoints: Vec<_> = response.node_endpoints.iter().map(|one| (one.broker, one.port)).collect();
    assert_eq!(endpoints, [(BrokerId(2), 9002)]);
}

/// What was fetched is an undecided transaction, and both committed records lie behind its start.
fn with_an_open_transaction() -> Node {
    let node = Node::start();
    node.learn_states(vec![state(2, 0, &[1, 2])]);
    let mut builder = RecordBatchBuilder::new().transactional(true).stored_at(0, LeaderEpoch(0));
    builder.push(NewRecord::default());
    builder.push(NewRecord::default());
    let stamp = ProducerStamp { id: ProducerId(3), epoch: ProducerEpoch(0), base_sequence: 0 };
    let records = builder.build(stamp).unwrap();
    let epochs = vec![EpochStart { leader_epoch: LeaderEpoch(0), start_offset: 0 }];
    let batches = Some(FetchedBatches { base_offset: 0, end: 2, epochs });
    let answer = FetchAnswer::Accepted { high_watermark: 2, log_start: 0, batches };
    let input = Input::FetchAnswer { leader_epoch: LeaderEpoch(0), offset: 0, answer };
    node.partition().section(|section| section.take_fetched(input, vec![records]));
    node.learn_states(vec![state(1, 1, &[1])]);
    node
}

#[test]
fn the_latest_offset_of_a_committed_reader_is_where_the_first_open_transaction_begins() {
    let node = with_an_open_transaction();
    assert_eq!(offset_of(&node, -1, 1, -1).offset, 0);
    assert_eq!(offset_of(&node, -1, 0, -1).offset, 2);
}

#[test]
fn who_asks_for_offsets_in_epoch_0_is_held_to_it() {
    let node = Node::leading(&[1]);
    assert_eq!(offset_of(&node, -1, 0, 0).error_code, ErrorCode::FencedLeaderEpoch.to_wire());
    assert_eq!(offset_of(&node, -1, 0, -1).error_code, 0);
}

#[test]
fn an_epoch_older_than_the_log_is_unknown_to_followers_and_itself_to_consumers() {
    let node = Node::start();
    node.learn_states(vec![state(1, 4, &[1])]);
    let asked = |replica_id: i32| {
        let partition = message!(OffsetForLeaderPartition { partition: 0, current_leader_epoch: -1, leader_epoch: 2 });
        let topic = message!(OffsetForLeaderTopic { topic: StrBytes::from("t"), partitions: vec![partition] });
        let request = message!(OffsetForLeaderEpochRequest { replica_id, topics: vec![topic] });
        epoch_ends::answer(&node.partitions, &request).topics[0].partitions[0].leader_epoch
    };
    assert_eq!((asked(0), asked(1), asked(-1)), (-1, -1, 2));
}

#[test]
fn a_read_beyond_the_log_is_told_where_the_log_begins() {
    let node = Node::leading(&[1]);
    let reader = Reader::Consumer { committed: false };
    let refused = node.world.wait(node.partition().read(read(reader, None, 100))).unwrap_err();
    assert_eq!(refused, RefusedRead { error: ErrorCode::OffsetOutOfRange, log_start: 0 });
}

#[test]
fn only_the_planted_bug_lets_a_follower_read_in_an_older_epoch() {
    for (plants, refused) in [(Plants::NONE, true), (Plants::only(Plant::Kip320), false)] {
        let node = Node::over(World::default(), Config { plants, ..config() });
        node.learn_states(vec![state(1, 4, &[1])]);
        let stale = read(Reader::Follower, Some(LeaderEpoch(2)), 0);
        assert_eq!(node.world.wait(node.partition().read(stale)).is_err(), refused);
    }
}

fn disk_error() -> LogError {
    LogError::Io { path: "t-0".into(), operation: "read", source: Arc::new(std::io::Error::other("rot")) }
}

fn said_of(partition: &Arc<Partition<World>>, error: &LogError) -> ErrorCode {
    partition.read_failed(error).error
}

#[test]
fn a_read_that_the_disk_fails_stops_the_broker() {
    let mut node = Node::leading(&[1]);
    assert_eq!(said_of(&node.partition(), &LogError::Raced), ErrorCode::NotLeaderOrFollower);
    assert!(node.failed.try_recv().is_err(), "nothing is wrong with the disk");
    assert_eq!(said_of(&node.partition(), &disk_error()), ErrorCode::KafkaStorageError);
    assert!(node.failed.try_recv().is_ok());
    assert!(node.partition().view(|core| core.has_failed()));
}

#[test]
fn a_read_of_a_closed_partition_fails_for_no_fault_of_the_disk() {
    let mut node = Node::leading(&[1]);
    let partition = node.partition();
    node.world.wait(partition.close(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(said_of(&partition, &disk_error()), ErrorCode::NotLeaderOrFollower);
    assert!(node.failed.try_recv().is_err());
}
