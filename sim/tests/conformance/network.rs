//! `Network`, `Listener` and `Stream`: TCP as an application sees it. What a partition or a power
//! cut does can only be shown where there are some.

use std::io::{ErrorKind, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wyrdlog::runtime::{Clock, Listener, Network, Runtime, Stream, StreamWriter};

use super::{Node, World, poll_once, start};

type Half<R> = (
    <<R as Network>::Stream as Stream>::Reader, //
    <<R as Network>::Stream as Stream>::Writer,
);

/// A connection from the first node to the second: (reader, writer) of either end.
async fn connected<R: Runtime>(nodes: &[Node<R>]) -> (Half<R>, Half<R>) {
    let listener = listen(&nodes[1]).await;
    connected_to(&nodes[0], &listener).await
}

async fn listen<R: Runtime>(node: &Node<R>) -> R::Listener {
    node.runtime.listen(&node.at(0)).await.expect("a free port")
}

async fn connected_to<R: Runtime>(client: &Node<R>, listener: &R::Listener) -> (Half<R>, Half<R>) {
    let near = client.runtime.connect(listener.local_address()).await.expect("a connection");
    let (far, _) = listener.accept().await.expect("its other end");
    (near.split(), far.split())
}

/// Bytes whose order shows; the period is prime.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|position| u8::try_from(position % 251).expect("below 251")).collect()
}

async fn write_pattern(writer: &mut (impl AsyncWrite + Unpin), len: usize) {
    for from in (0..len).step_by(10_000) {
        writer.write_all(&pattern(from, 10_000.min(len - from))).await.expect("a write");
    }
}

/// Reads to the end of the stream and holds it against [`pattern`].
async fn expect_pattern_then_end(reader: &mut (impl AsyncRead + Unpin), len: usize) {
    let (mut buffer, mut position) = (vec![0; 50_000], 0);
    loop {
        let read = reader.read(&mut buffer).await.expect("a read");
        if read == 0 {
            assert_eq!(position, len, "the stream ended early");
            return;
        }
        assert!(buffer[..read] == pattern(position, read), "wrong bytes at {position}");
        position += read;
    }
}

pub fn port_zero_takes_a_free_port<W: World>() {
    W::run(1, async |nodes| {
        let (first, second) = (listen(&nodes[0]).await, listen(&nodes[0]).await);
        let (first, second) = (first.local_address(), second.local_address());
        assert!(first.port != 0 && second.port != 0 && first.port != second.port, "{first} and {second}");
        assert_eq!(first.host, nodes[0].host);
    });
}

pub fn a_port_has_one_listener<W: World>() {
    W::run(1, async |nodes| {
        let listener = listen(&nodes[0]).await;
        let error = nodes[0].runtime.listen(listener.local_address()).await.err().expect("a busy port");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

pub fn a_port_is_free_again_after_its_listener_is_dropped<W: World>() {
    W::run(2, async |nodes| {
        let listener = listen(&nodes[1]).await;
        let address = listener.local_address().clone();
        // A connection of the old listener does not keep its port.
        let (_near, _far) = connected_to(&nodes[0], &listener).await;
        drop(listener);
        let again = nodes[1].runtime.listen(&address).await.expect("the port is free again");
        assert_eq!(again.local_address(), &address);
        let (_near, _far) = connected_to(&nodes[0], &again).await;
    });
}

pub fn listening_on_a_foreign_host_fails<W: World>() {
    W::run(1, async |nodes| {
        let foreign = wyrdlog::base::address::Address::new(W::FOREIGN_HOST, 0);
        let error = nodes[0].runtime.listen(&foreign).await.err().expect("another host");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

pub fn connecting_where_nobody_listens_is_refused<W: World>() {
    W::run(2, async |nodes| {
        let listener = listen(&nodes[1]).await;
        let address = listener.local_address().clone();
        drop(listener);
        let error = nodes[0].runtime.connect(&address).await.err().expect("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

/// The name breaks the rules (a label has 63 bytes at most), so that no resolver is asked.
pub fn an_unknown_host_is_neither_refused_nor_timed_out<W: World>() {
    W::run(1, async |nodes| {
        let unknown = wyrdlog::base::address::Address::new(format!("{}.invalid", "x".repeat(64)), 9092);
        let error = nodes[0].runtime.connect(&unknown).await.err().expect("no such host");
        assert!(!matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::TimedOut), "{error}");
    });
}

pub fn a_listener_sees_its_peers_host<W: World>() {
    W::run(2, async |nodes| {
        let listener = listen(&nodes[1]).await;
        let _near = nodes[0].runtime.connect(listener.local_address()).await.expect("a connection");
        let (_far, peer) = listener.accept().await.expect("its other end");
        assert_eq!(peer.host, nodes[0].host);
        assert_ne!(peer.port, 0);
    });
}

pub fn bytes_arrive_in_order_in_both_directions_at_once<W: World>() {
    W::run(2, async |nodes| {
        const LEN: usize = 3_000_000;
        let ((mut near_reader, mut near_writer), (mut far_reader, mut far_writer)) = connected(&nodes).await;
        let near_writing =
            start(&nodes[0].runtime, "near writer", async move { write_pattern(&mut near_writer, LEN).await });
        let far_writing =
            start(&nodes[1].runtime, "far writer", async move { write_pattern(&mut far_writer, LEN).await });
        let far_reading = start(&nodes[1].runtime, "far reader", async move {
            expect_pattern_then_end(&mut far_reader, LEN).await;
        });
        expect_pattern_then_end(&mut near_reader, LEN).await;
        far_reading.await;
        near_writing.await;
        far_writing.await;
    });
}

pub fn a_writer_waits_for_a_reader_that_does_not_read<W: World>() {
    W::run(2, async |nodes| {
        // More than any socket buffer holds.
        const LEN: usize = 64 * 1024 * 1024;
        let ((_, mut writer), (mut reader, _)) = connected(&nodes).await;
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        let task = start(&nodes[0].runtime, "writer", async move {
            let chunk = vec![7; 64 * 1024];
            while count.load(Ordering::SeqCst) < LEN {
                writer.write_all(&chunk).await.expect("a write");
                count.fetch_add(chunk.len(), Ordering::SeqCst);
            }
        });

        let mut before = usize::MAX;
        while before != written.load(Ordering::SeqCst) {
            before = written.load(Ordering::SeqCst);
            nodes[0].runtime.sleep(Duration::from_millis(300)).await;
        }
        assert!(before < LEN, "all was taken although nobody reads");

        let (mut buffer, mut received) = (vec![0; 256 * 1024], 0);
        loop {
            match reader.read(&mut buffer).await.expect("a read") {
                0 => break,
                read => received += read,
            }
        }
        assert_eq!(received, LEN);
        task.await;
    });
}

pub fn vectored_writes_keep_their_order<W: World>() {
    W::run(2, async |nodes| {
        let ((_near_reader, mut writer), (mut reader, _far_writer)) = connected(&nodes).await;
        assert!(writer.is_write_vectored());
        let (bytes, mut sent) = (pattern(0, 30_000), 0);
        while sent < bytes.len() {
            let left = &bytes[sent..];
            let (first, rest) = left.split_at(left.len().min(10));
            let (second, third) = rest.split_at(rest.len() / 2);
            sent += writer.write_vectored(&[first, second, &[], third].map(IoSlice::new)).await.expect("a write");
        }
        writer.flush().await.expect("a flush");
        drop(writer);
        expect_pattern_then_end(&mut reader, bytes.len()).await;
    });
}

pub fn shutdown_ends_one_direction_only<W: World>() {
    W::run(2, async |nodes| {
        let ((mut near_reader, mut near_writer), (mut far_reader, mut far_writer)) = connected(&nodes).await;
        write_pattern(&mut near_writer, 1000).await;
        near_writer.shutdown().await.expect("a shutdown");
        expect_pattern_then_end(&mut far_reader, 1000).await;
        assert_eq!(far_reader.read(&mut [0; 8]).await.expect("an end stays an end"), 0);
        assert!(near_writer.write_all(b"more").await.is_err(), "a write after the end");

        write_pattern(&mut far_writer, 2000).await;
        far_writer.shutdown().await.expect("a shutdown");
        expect_pattern_then_end(&mut near_reader, 2000).await;
    });
}

pub fn dropping_the_writer_ends_one_direction_only<W: World>() {
    W::run(2, async |nodes| {
        let ((mut near_reader, mut near_writer), (mut far_reader, mut far_writer)) = connected(&nodes).await;
        write_pattern(&mut near_writer, 1000).await;
        drop(near_writer);
        expect_pattern_then_end(&mut far_reader, 1000).await;
        write_pattern(&mut far_writer, 2000).await;
        drop(far_writer);
        expect_pattern_then_end(&mut near_reader, 2000).await;
    });
}

pub fn dropping_both_halves_delivers_what_was_written<W: World>() {
    W::run(2, async |nodes| {
        let ((reader, mut writer), (mut far_reader, _far_writer)) = connected(&nodes).await;
        write_pattern(&mut writer, 20_000).await;
        drop((reader, writer));
        expect_pattern_then_end(&mut far_reader, 20_000).await;
    });
}

pub fn a_reset_is_seen_by_the_peer<W: World>() {
    W::run(2, async |nodes| {
        let ((_reader, writer), (mut far_reader, mut far_writer)) = connected(&nodes).await;
        // The receiving half is still held: that does not delay the reset.
        writer.reset();
        let error = far_reader.read(&mut [0; 8]).await.expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(far_writer.write_all(b"into the void").await.is_err());
    });
}

pub fn a_reset_wakes_this_sides_reader<W: World>() {
    W::run(2, async |nodes| {
        let ((mut reader, writer), _far) = connected(&nodes).await;
        let waiting = start(&nodes[0].runtime, "reader", async move {
            let error = reader.read(&mut [0; 8]).await.expect_err("a reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let error = reader.read(&mut [0; 8]).await.expect_err("it stays reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        });
        nodes[0].runtime.sleep(Duration::from_millis(5)).await;
        writer.reset();
        waiting.await;
    });
}

pub fn connections_that_were_not_accepted_are_reset<W: World>() {
    W::run(2, async |nodes| {
        let listener = listen(&nodes[1]).await;
        let stream = nodes[0].runtime.connect(listener.local_address()).await.expect("a connection");
        drop(listener);
        let (mut reader, _writer) = stream.split();
        let error = reader.read(&mut [0; 8]).await.expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

pub fn a_dropped_accept_loses_no_connection<W: World>() {
    W::run(2, async |nodes| {
        let listener = listen(&nodes[1]).await;
        assert!(poll_once(pin!(listener.accept())).await.is_pending());
        let near = nodes[0].runtime.connect(listener.local_address()).await.expect("a connection");
        let (far, _) = listener.accept().await.expect("its other end");
        let ((_, mut writer), (mut reader, _)) = (near.split(), far.split());
        write_pattern(&mut writer, 10).await;
        drop(writer);
        expect_pattern_then_end(&mut reader, 10).await;
    });
}

pub fn a_dropped_read_loses_no_bytes<W: World>() {
    W::run(2, async |nodes| {
        let ((_near_reader, mut writer), (mut reader, _far_writer)) = connected(&nodes).await;
        let mut abandoned = [0; 4];
        assert!(poll_once(pin!(reader.read(&mut abandoned))).await.is_pending());
        write_pattern(&mut writer, 100).await;
        drop(writer);
        expect_pattern_then_end(&mut reader, 100).await;
    });
}

pub fn several_connections_do_not_mix<W: World>() {
    W::run(3, async |nodes| {
        let listener = listen(&nodes[0]).await;
        let mut ends = Vec::new();
        for client in [1, 2, 1, 2] {
            ends.push(connected_to(&nodes[client], &listener).await);
        }
        for (index, ((_, near), _)) in ends.iter_mut().enumerate() {
            write_pattern(near, 100 + index).await;
            near.shutdown().await.expect("a shutdown");
        }
        for (index, (_, (far, _))) in ends.iter_mut().enumerate().rev() {
            expect_pattern_then_end(far, 100 + index).await;
        }
    });
}
