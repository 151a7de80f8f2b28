//! The two tasks of a connection over an in-memory pipe, and what the handle shares with them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;

use super::*;
use crate::runtime::tokio_runtime;
use crate::wire::kafka::messages::InitProducerIdResponse;
use crate::wire::kafka::response::encode;

type Answer = oneshot::Receiver<Result<Response, RequestFailed>>;

fn shared(in_flight: usize) -> (Arc<Shared>, DuplexStream) {
    let (writer, peer) = duplex(7);
    let outgoing = Some(Arc::new(Outbox::new(writer, FrameQueue::new())));
    let state = Mutex::new(State { outgoing, ..State::default() });
    (Arc::new(Shared { in_flight: Arc::new(Semaphore::new(in_flight)), state }), peer)
}

fn ask(shared: &Shared, correlation_id: i32) -> Answer {
    let permit = shared.in_flight.clone().try_acquire_owned().expect("below the limit");
    let (reply, answer) = oneshot::channel();
    let pending = Pending { correlation_id, api: ApiKey::InitProducerId, version: 4, reply, _permit: permit };
    shared.state().pending.push_back(pending);
    answer
}

fn response(correlation_id: i32, producer_id: i64) -> Bytes {
    let body = message!(InitProducerIdResponse { producer_id: producer_id });
    encode(correlation_id, 4, &body.into()).expect("encodes").into_bytes()
}

fn producer_id(answer: Answer) -> Option<i64> {
    match answer.blocking_recv().expect("answered") {
        Ok(Response::InitProducerId(body)) => Some(body.producer_id),
        _ => None,
    }
}

/// Feeds `bytes` in pieces of `step` to the reading task, then ends the stream.
fn read(shared: &Arc<Shared>, bytes: &[u8], step: usize) {
    let (mut peer, reader) = duplex(step);
    let feed = async move {
        for piece in bytes.chunks(step) {
            if peer.write_all(piece).await.is_err() {
                return;
            }
        }
    };
    let reading = async { tokio::join!(read_frames(reader, FrameDecoder::new(1_000), shared.clone()), feed) };
    tokio_runtime::run(reading).expect("a runtime");
}

#[test]
fn responses_go_to_their_requests_in_order_however_they_are_cut() {
    for step in [1, 3, 64, 1_000] {
        let (shared, _peer) = shared(2);
        let (first, second) = (ask(&shared, 1), ask(&shared, 2));
        read(&shared, &[response(1, 10), response(2, 20)].concat(), step);
        assert_eq!((producer_id(first), producer_id(second)), (Some(10), Some(20)));
    }
}

#[test]
fn a_response_out_of_turn_ends_the_connection_and_leaves_all_requests_unknown() {
    let (shared, _peer) = shared(2);
    let (first, second) = (ask(&shared, 1), ask(&shared, 2));
    read(&shared, &[response(2, 20), response(1, 10)].concat(), 1_000);
    for answer in [first, second] {
        let failed = answer.blocking_recv().expect("told").expect_err("lost");
        assert!(failed.is_unknown(), "{failed}");
    }
    assert!(shared.state().closed.is_some() && shared.in_flight.is_closed());
}

#[test]
fn the_end_of_the_stream_leaves_unanswered_requests_unknown_and_frees_their_places() {
    let (shared, _peer) = shared(2);
    let (first, second) = (ask(&shared, 1), ask(&shared, 2));
    let mut bytes = response(1, 10).to_vec();
    bytes.extend_from_slice(&response(2, 20)[..10]);
    read(&shared, &bytes, 1_000);
    assert_eq!(producer_id(first), Some(10));
    assert!(matches!(second.blocking_recv(), Ok(Err(RequestFailed::Lost(_)))));
    assert!(shared.state().outgoing.is_none(), "the writer ends too");
}

#[test]
fn an_oversized_and_a_garbled_frame_end_the_connection() {
    let garbled = [&12i32.to_be_bytes()[..], &1i32.to_be_bytes(), &[0xff; 8]].concat();
    for bytes in [i32::MAX.to_be_bytes().to_vec(), (-1i32).to_be_bytes().to_vec(), garbled] {
        let (shared, _peer) = shared(1);
        let answer = ask(&shared, 1);
        read(&shared, &bytes, 1_000);
        assert!(matches!(answer.blocking_recv(), Ok(Err(RequestFailed::Lost(_)))), "{bytes:?}");
    }
}

#[test]
fn frames_are_written_in_the_order_in_which_they_were_put_in_line() {
    let (shared, mut peer) = shared(1);
    let outgoing = shared.state().outgoing.take().expect("open");
    for text in ["one", "", "two", "three"] {
        outgoing.add(|queue| queue.push(Bytes::from_static(text.as_bytes())));
        outgoing.write_now();
    }
    outgoing.finish();
    let mut written = String::new();
    let writing = async { tokio::join!(write_frames(outgoing, shared.clone()), peer.read_to_string(&mut written)) };
    let (_, read) = tokio_runtime::run(writing).expect("a runtime");
    read.expect("ends");
    assert_eq!(written, "onetwothree");
}

/// Never called: that it compiles shows that every future of a client may be spawned.
#[allow(dead_code)]
fn every_client_runs_on_every_runtime<R: Runtime>(runtime: R) -> R::Task {
    use crate::base::ids::TopicPartition;
    use crate::client::*;
    let cluster = Cluster::new(runtime.clone(), Vec::new(), ClientConfig::default());
    runtime.spawn("clients", async move {
        let producer = Producer::new(cluster.clone(), ProducerConfig::default());
        producer.send(TopicPartition::new("t", 0), Default::default()).await.await;
        producer.flush().await;
        let mut consumer = Consumer::new(cluster.clone(), ConsumerConfig::default());
        consumer.poll().await;
        consumer.list_offsets(&[]).await;
        let admin = Admin::new(cluster);
        let _ = admin.create_topics(&[], std::time::Duration::ZERO).await;
        let _ = admin.delete_topics(&[], std::time::Duration::ZERO).await;
        let _ = admin.list_topics().await;
        let _ = admin.describe_topics(&[]).await;
        let _ = admin.describe_cluster().await;
    })
}
