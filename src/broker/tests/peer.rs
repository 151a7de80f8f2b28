//! The other end of a connection, played by a test: a client of the broker, or a leader that it
//! follows.

use std::pin::pin;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::world::{TestListener, World};
use crate::base::address::Address;
use crate::base::limits::FRAME_BYTES_MAX;
use crate::runtime::{Listener, Network};
use crate::wire::frame::{FrameDecoder, FrameQueue};
use crate::wire::kafka::client::encode_request;
use crate::wire::kafka::header::RequestHeader;
use crate::wire::kafka::request::decode;
use crate::wire::kafka::response::{api_versions, encode};
use crate::wire::kafka::{ErrorCode, Request, Response};

/// One end of a connection.
pub struct Peer {
    world: World,
    stream: DuplexStream,
    decoder: FrameDecoder,
}

impl Peer {
    fn new(world: &World, stream: DuplexStream) -> Peer {
        Peer { world: world.clone(), stream, decoder: FrameDecoder::new(FRAME_BYTES_MAX) }
    }

    /// A client of who listens on `port`.
    pub fn connect(world: &World, port: u16) -> Peer {
        Peer::new(world, world.wait(world.connect(&Address::new("broker", port))).unwrap())
    }

    /// Who is followed: takes the next connection and tells what it speaks.
    pub fn accept(world: &World, listener: &TestListener) -> Peer {
        let (stream, _) = world.wait(listener.accept()).unwrap();
        let mut peer = Peer::new(world, stream);
        let (header, _) = peer.request().expect("the handshake");
        peer.answer(&header, &api_versions(ErrorCode::None).into());
        peer
    }

    /// The next frame that is there without time going on.
    fn frame(&mut self) -> Option<bytes::Bytes> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            let read = self.world.ready(pin!(self.stream.read_buf(self.decoder.room())))?;
            if read.unwrap() == 0 {
                return None;
            }
        }
    }

    /// The next request that is there without time going on.
    pub fn request(&mut self) -> Option<(RequestHeader, Request)> {
        self.frame().map(|frame| decode(frame).unwrap())
    }

    /// Whether an answer is there without time going on.
    pub fn is_answered(&mut self) -> bool {
        self.frame().is_some()
    }

    pub fn answer(&mut self, header: &RequestHeader, response: &Response) {
        self.write(encode(header.correlation_id, header.version, response).unwrap());
    }

    pub fn ask(&mut self, version: i16, request: &Request) {
        self.write(encode_request(1, version, None, request).unwrap());
    }

    /// Whether bytes that are no request are taken, so many of them, without time going on.
    pub fn takes(&mut self, bytes: &[u8]) -> bool {
        let world = self.world.clone();
        world.ready(pin!(self.stream.write_all(bytes))).is_some_and(|written| written.is_ok())
    }

    fn write(&mut self, frame: FrameQueue) {
        self.world.wait(self.stream.write_all(&frame.into_bytes())).unwrap();
        self.world.settle();
    }

    /// Whether the other end has closed the connection, whatever it sent before.
    pub fn is_closed(&mut self) -> bool {
        let mut bytes = Vec::new();
        self.world.ready(pin!(self.stream.read_to_end(&mut bytes))).is_some()
    }
}
