//! The way to one peer: its connection of the moment, and what waits to be written to it.
//!
//! The server adds messages in a turn and has them written at its end, so that one write carries them all
//! and none waits for another task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWrite;

use super::{FRAME_BYTES_MAX, PeerMessage};
use crate::runtime::Outbox;
use crate::wire::frame::PREFIX_BYTES;

/// With so many bytes that wait for one peer, no message is added. Consensus repeats what is lost.
const QUEUE_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// The way to one peer.
#[derive(Default)]
pub struct Link {
    connection: Mutex<Option<Arc<Outbox<BytesMut>>>>,
}

impl Link {
    fn connection(&self) -> MutexGuard<'_, Option<Arc<Outbox<BytesMut>>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on messages go to `writer`, after `hello`.
    pub(super) fn connect(&self, writer: impl AsyncWrite + Send + 'static, hello: &[u8]) -> Arc<Outbox<BytesMut>> {
        let mut queue = BytesMut::new();
        put_frame(&mut queue, |frame| frame.put_slice(hello));
        let outbox = Arc::new(Outbox::new(writer, queue));
        outbox.write_now();
        *self.connection() = Some(outbox.clone());
        outbox
    }

    /// The connection has ended.
    pub(super) fn disconnect(&self) {
        *self.connection() = None;
    }

    /// Adds a message, to be written by [`Link::write_now`]. False if too many wait. Without a connection it is
    /// lost, of which the server is told once there is one again.
    pub fn add(&self, message: &PeerMessage) -> bool {
        let connection = self.connection();
        let Some(outbox) = &*connection else { return true };
        outbox.add(|queue| {
            let has_room = queue.len() < QUEUE_BYTES_MAX;
            if has_room {
                put_frame(queue, |frame| message.put(frame));
            }
            has_room
        })
    }

    /// Writes what was added, as far as the connection takes it.
    pub fn write_now(&self) {
        if let Some(outbox) = &*self.connection() {
            outbox.write_now();
        }
    }
}

/// Appends a frame whose content `put` appends.
fn put_frame(queue: &mut BytesMut, put: impl FnOnce(&mut BytesMut)) {
    let start = queue.len();
    queue.put_i32(0);
    put(queue);
    let len = i32::try_from(queue.len() - start - PREFIX_BYTES).expect("messages are far below 2 GiB");
    queue[start..start + PREFIX_BYTES].copy_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;
    use crate::runtime::tokio_runtime;
    use crate::wire::frame::FrameDecoder;

    #[test]
    fn messages_of_a_turn_follow_the_hello_in_order_and_those_without_a_connection_are_lost() {
        let link = Link::default();
        assert!(link.add(&PeerMessage::Refused { request: 1 }));
        link.write_now();
        let (writer, mut peer) = duplex(1024);
        drop(link.connect(writer, b"hello"));
        for request in [2, 3] {
            assert!(link.add(&PeerMessage::Refused { request }));
        }
        link.write_now();
        link.disconnect();
        let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
        tokio_runtime::run(async { while peer.read_buf(decoder.room()).await.expect("reads") > 0 {} })
            .expect("a runtime");
        assert_eq!(decoder.next_frame().expect("a frame").as_deref(), Some(&b"hello"[..]));
        for request in [2, 3] {
            let frame = decoder.next_frame().expect("a frame").expect("whole");
            assert_eq!(PeerMessage::decode(frame), Ok(PeerMessage::Refused { request }));
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_is_sent_no_more_than_the_bound() {
        let link = Link::default();
        let (writer, _peer) = duplex(1);
        let outbox = link.connect(writer, b"hello");
        let message = PeerMessage::Touched(vec![crate::base::ids::SessionId(1); 128 * 1024]);
        while link.add(&message) {
            link.write_now();
            assert!(outbox.len() <= QUEUE_BYTES_MAX + 2 * 1024 * 1024);
        }
        assert!(outbox.len() >= QUEUE_BYTES_MAX);
    }
}
