//! A broker's data plane without a cluster: one node in a world in memory, whose peers are played
//! by the tests.

mod connections;
mod fetching;
mod following;
mod logs;
mod node;
mod partitions;
mod peer;
mod producing;
mod reading;
mod starting;
mod ticking;
mod world;
