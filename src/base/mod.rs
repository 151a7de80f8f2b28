//! Vocabulary that every layer shares: identifiers, epochs, time, the v2 batch header,
//! checksums, limits, planted bugs and the events that can happen.
//!
//! Nothing here performs I/O, reads a clock or draws randomness, and nothing here imports
//! another module of the crate.

pub mod address;
pub mod batch_header;
pub mod checksum;
pub mod event;
pub mod ids;
pub mod limits;
pub mod partition_state;
pub mod plants;
pub mod stop_cause;
pub mod time;
pub mod znode;
