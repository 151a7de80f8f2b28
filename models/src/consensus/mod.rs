//! Servers of the coordinator's replicated log, explored exhaustively: the very `step` that ships.
//!
//! **DRIVEN** (the code that ships, called as its shell calls it): `Consensus::recover` and
//! `Consensus::step` of every server, through elections, replication, commitment, truncation,
//! compaction and the transfer of snapshots.
//!
//! **MODELLED** (rewritten, simpler than what ships): each server has a disk on which persists take
//! effect one at a time and in order, apart from sending; a crash loses all that is not there yet. A link
//! delivers in order, as a connection does, and its messages may wait for ever; a bounded number is lost,
//! repeated or overtaken, and a message to or from a server outlives that server's crash. Timers may elapse
//! at any time, a bounded number of times. A snapshot is its position and a fixed number of bytes, written
//! and read at once. A pre-vote binds nobody, so it is granted as soon as it is asked for, whatever the
//! others would say: that allows every election that the protocol does, and more.
//!
//! **NOT COVERED**: reads (read-index), transfer of leadership, check-quorum, blank servers, five
//! servers, torn or damaged files, snapshots that cannot be read or stored; what entries mean (the tree);
//! time, of which only the order of events is left.
//!
//! To keep the number of states within reach, three kinds of message are lost at once: those of a
//! term that is over for their receiver, those that the next on the link repeats and adds to, and
//! refusals that tell nothing new. And a server crashes only when that loses something.

mod bounds;
mod claims;
mod disk;
mod ensemble;
mod healing;
mod network;
#[cfg(test)]
mod tests;
mod world;

use bounds::Bounds;
pub use bounds::PROFILES;
use ensemble::Ensemble;

use crate::report::{Options, Report};

/// Explores everything within the named bounds, or the full ones; with a plant, until it breaks
/// something.
pub fn run(profile: Option<&'static str>, options: &Options) -> Report {
    let named = profile.and_then(|name| PROFILES.iter().find(|profile| profile.name == name));
    let (bounds, reaches) = named.map_or((Bounds::FULL, bounds::FULL_REACHES), |named| (named.bounds, named.reaches));
    Report::explore(
        "consensus",
        profile,
        format!("{bounds:?}"),
        Ensemble::new(bounds, reaches, options.plants),
        options,
    )
}
