//! Bounds that hold across modules. Bounds of one module live beside its code.

/// The largest frame that a server or client accepts, in bytes (Kafka's `socket.request.max.bytes`
/// is 100 MiB; frames are read in steps, so an announced length reserves nothing).
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// The largest request of the ZooKeeper protocol, in bytes (`jute.maxbuffer`).
pub const JUTE_BYTES_MAX: usize = 1024 * 1024;

/// The longest topic name, in bytes (Kafka's own bound: file names hold 255).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
