//! Claims about the core: scripted on a small deterministic network, and under random schedules.

mod by_hand;
mod codec;
mod ensemble;
mod random;
mod scripted;
