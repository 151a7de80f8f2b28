//! Codecs of what nodes and clients say to each other. Pure: bytes in, values out, and back.

pub mod zookeeper;
