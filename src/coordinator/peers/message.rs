//! What servers of the ensemble send each other, as frames.
//!
//! A connection carries messages one way, from the server that opened it. It begins with a hello:
//!
//! | bytes | field                                   |
//! |------:|-----------------------------------------|
//! |     8 | `WYRDPEER`                              |
//! |     2 | version of this protocol, 1             |
//! |     4 | the sender's server id                  |
//! |     4 | the server id that it means to talk to  |
//!
//! Each further frame is one message: a kind (1 byte) and a body.
//!
//! | kind | message  | body                                                  |
//! |-----:|----------|-------------------------------------------------------|
//! |    1 | consensus| a versioned message of the consensus codec            |
//! |    2 | forward  | request u64, then a versioned transaction of the tree |
//! |    3 | refused  | request u64                                           |
//! |    4 | touched  | session i64, repeated                                 |

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::base::ids::{ServerId, SessionId};
use crate::consensus::{self, Message};
use crate::coordinator::tree::Txn;

const MAGIC: &[u8; 8] = b"WYRDPEER";
const VERSION: u16 = 1;
const HELLO_BYTES: usize = 18;

const CONSENSUS: u8 = 1;
const FORWARD: u8 = 2;
const REFUSED: u8 = 3;
const TOUCHED: u8 = 4;

/// Why a frame of a peer was not understood. The connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPeer {
    /// The connection does not begin as a peer's does.
    #[error("the connection does not begin with this protocol's hello")]
    NotAPeer,
    /// Another version of this protocol.
    #[error("version {0} of the peer protocol is not supported, only {VERSION}: upgrade one server at a time")]
    Version(u16),
    /// The peer means to talk to another server.
    #[error("the peer expects server {expected} here: check the ensemble's addresses")]
    WrongServer {
        /// Whom it expects.
        expected: ServerId,
    },
    /// A body that does not decode.
    #[error("a message of kind {kind} is malformed: {problem}")]
    Malformed {
        /// Its kind.
        kind: u8,
        /// What is wrong with it.
        problem: String,
    },
}

/// The first frame's content.
pub fn hello(from: ServerId, to: ServerId) -> Bytes {
    let mut frame = BytesMut::with_capacity(HELLO_BYTES);
    frame.put_slice(MAGIC);
    frame.put_u16(VERSION);
    frame.put_u32(from.0);
    frame.put_u32(to.0);
    frame.freeze()
}

/// Reads the first frame; gives the sender.
pub fn read_hello(mut frame: Bytes, own: ServerId) -> Result<ServerId, BadPeer> {
    if frame.len() != HELLO_BYTES || !frame.starts_with(MAGIC) {
        return Err(BadPeer::NotAPeer);
    }
    frame.advance(MAGIC.len());
    let version = frame.get_u16();
    if version != VERSION {
        return Err(BadPeer::Version(version));
    }
    let (from, expected) = (ServerId(frame.get_u32()), ServerId(frame.get_u32()));
    if expected == own { Ok(from) } else { Err(BadPeer::WrongServer { expected }) }
}

/// A message between servers.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerMessage {
    /// For the consensus core.
    Consensus(Message),
    /// A client's write, for the leader to propose.
    Forward {
        /// The sender's number for it.
        request: u64,
        /// What to propose.
        txn: Txn,
    },
    /// The write with this number was not proposed and never will be.
    Refused {
        /// The receiver's number for it.
        request: u64,
    },
    /// The sender heard from these sessions.
    Touched(Vec<SessionId>),
}

impl PeerMessage {
    /// Appends the frame's content to `frame`.
    pub fn put(&self, frame: &mut BytesMut) {
        match self {
            PeerMessage::Consensus(message) => {
                frame.put_u8(CONSENSUS);
                consensus::codec::encode(message, frame);
            }
            PeerMessage::Forward { request, txn } => {
                frame.put_u8(FORWARD);
                frame.put_u64(*request);
                frame.put_slice(&txn.encode());
            }
            PeerMessage::Refused { request } => {
                frame.put_u8(REFUSED);
                frame.put_u64(*request);
            }
            PeerMessage::Touched(sessions) => {
                frame.put_u8(TOUCHED);
                sessions.iter().for_each(|session| frame.put_i64(session.0));
            }
        }
    }

    /// The message that a frame's content is.
    pub fn decode(mut frame: Bytes) -> Result<PeerMessage, BadPeer> {
        let kind = frame.try_get_u8().map_err(|_| malformed(0, "it is empty"))?;
        match kind {
            CONSENSUS => {
                consensus::codec::decode(frame).map(PeerMessage::Consensus).map_err(|error| malformed(kind, error))
            }
            FORWARD => {
                let request = frame.try_get_u64().map_err(|error| malformed(kind, error))?;
                let txn = Txn::decode(frame).map_err(|error| malformed(kind, error))?;
                Ok(PeerMessage::Forward { request, txn })
            }
            REFUSED => {
                let request = frame.try_get_u64().map_err(|error| malformed(kind, error))?;
                Ok(PeerMessage::Refused { request })
            }
            TOUCHED if frame.len().is_multiple_of(8) => {
                let sessions = frame.chunks_exact(8).map(|mut id| SessionId(id.get_i64())).collect();
                Ok(PeerMessage::Touched(sessions))
            }
            _ => Err(malformed(kind, "its kind or length is unknown")),
        }
    }
}

fn malformed(kind: u8, problem: impl ToString) -> BadPeer {
    BadPeer::Malformed { kind, problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::tree::{Op, Origin};

    #[test]
    fn a_hello_for_another_server_or_version_is_refused_by_name() {
        let good = hello(ServerId(1), ServerId(2));
        assert_eq!(read_hello(good.clone(), ServerId(2)), Ok(ServerId(1)));
        assert_eq!(read_hello(good.clone(), ServerId(3)), Err(BadPeer::WrongServer { expected: ServerId(2) }));
        let mut other = good.to_vec();
        other[9] = 2;
        assert_eq!(read_hello(Bytes::from(other), ServerId(2)), Err(BadPeer::Version(2)));
        for len in 0..good.len() {
            assert_eq!(read_hello(good.slice(..len), ServerId(2)), Err(BadPeer::NotAPeer));
        }
    }

    #[test]
    fn messages_survive_the_round_trip() {
        let origin = Origin { server: ServerId(1), request: 7 };
        for message in [
            PeerMessage::Forward { request: 9, txn: Txn::of_ensemble(origin, Op::Noop) },
            PeerMessage::Refused { request: u64::MAX },
            PeerMessage::Touched(vec![SessionId(-1), SessionId(3)]),
            PeerMessage::Touched(Vec::new()),
        ] {
            let mut frame = BytesMut::new();
            message.put(&mut frame);
            assert_eq!(PeerMessage::decode(frame.freeze()), Ok(message));
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        for bytes in [&b""[..], &[9], &[TOUCHED, 1], &[REFUSED], &[FORWARD, 0, 0, 0, 0, 0, 0, 0, 0], &[CONSENSUS, 99]] {
            assert!(PeerMessage::decode(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }
}
