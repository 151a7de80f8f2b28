//! The ZooKeeper client protocol: jute records in length-prefixed frames.
//!
//! Both sides: a server decodes [`ConnectRequest`] and then [`Request`]s, a client decodes
//! [`ConnectResponse`] and then what [`ServerMessage`] distinguishes. Decoding never reserves
//! memory for more than was received and never panics. As in ZooKeeper, bytes after the last field
//! of a record are ignored, text that is not UTF-8 gets replacement characters, and an absent
//! vector reads as an empty one.
//!
//! What it leaves to others: what the records mean, and when a connection ends.

mod connect;
mod frame;
mod header;
mod jute;
mod multi;
mod records;
mod request;
mod response;
mod server_message;

#[cfg(test)]
mod goldens;
#[cfg(test)]
mod properties;

pub use connect::{ConnectRequest, ConnectResponse};
pub use frame::{BadFrame, LENGTH_BYTES, put_frame, take_frame};
pub use header::{OpCode, ReplyHeader, RequestHeader, Xid};
pub use jute::DecodeError;
pub use multi::{MultiOp, MultiResult};
pub use request::{AuthPacket, CreateRequest, Request, SetWatches};
pub use response::Response;
pub use server_message::{KeeperState, ServerMessage, WatchEvent};
