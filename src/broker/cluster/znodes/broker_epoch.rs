//! `/brokers/epochs/N`: where broker N takes its incarnations. It sets the empty data; the zxid of that write
//! is the broker epoch, unique and growing, and the znode's version is checked by the registration.
//!
//! Kafka's broker epoch is the creation zxid of the registration (KIP-380), and so is known only once
//! everybody sees it. Ours is noted on the broker's disk before anybody can elect it.

use crate::base::ids::BrokerId;

/// The parent of all of them.
pub const PARENT: &str = "/brokers/epochs";

/// The path of broker `broker`.
#[must_use]
pub fn path(broker: BrokerId) -> String {
    format!("{PARENT}/{broker}")
}
