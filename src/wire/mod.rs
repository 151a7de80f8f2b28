//! Bytes on the wire: Kafka's protocol, ZooKeeper's, and the framing they share.
//!
//! Pure codecs. Decoding works within a budget that follows from the bytes received, and answers
//! hostile bytes with a typed error. Who sends what to whom is the shells' business.

pub mod frame;
pub mod kafka;
pub mod private;
pub mod zookeeper;
