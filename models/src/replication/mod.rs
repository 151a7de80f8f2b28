//! The replication and controller cores, explored exhaustively within bounds: three brokers and one
//! partition, from a fresh cluster on.
//!
//! **DRIVEN** (the code that ships, called as its shell calls it):
//! [`Replica::step`](wyrdlog::replication::Replica::step) of every broker, with `next_request` and
//! `proposal`; [`Controller::step`](wyrdlog::controller::Controller::step) of the controller in office
//! and of one deposed controller; lineages of incarnations. No rule of theirs is written down here a
//! second time: claims are about logs, about what clients were told, and about the tree.
//!
//! **MODELLED** (rewritten, simpler than what ships): the log is a list of records, whose appends,
//! truncations and syncs end in order and any time later; a power loss keeps any prefix that is not
//! shorter than what was synced; recovery opens what is left. A broker has one request or answer and
//! one proposal under way, in slots: they are delayed for ever, lost, or (proposals) repeated. Sessions
//! expire while their broker lives on as a zombie. The tree is one znode with a version; a write of the
//! controller is accepted, refused, or carried out or not without an answer; what a deposed controller
//! had sent arrives late. The controller's pushes to a broker arrive in order, and each newer state
//! alone counts: the metadata cache is left out.
//!
//! **NOT COVERED**: more than one partition, topics that change, other replica sets; retention, log
//! starts above 0 and the resets that follow; consumers, acks 0 and 1; producers' sequences and
//! transactions; failed disks and rot; a tail that had been truncated and comes back; a second copy of
//! one fetch; within bounds without a name, a fetch that repeats the last one; controlled shutdown; a
//! deposed controller that goes on after its write is answered; the coordinator behind the tree (a model
//! of its own); time, of which only the order of events is left.
//!
//! A state's hash leaves out what merely counts (writes, pushes), so that paths that lead to the same
//! situation meet.

mod bounds;
mod claims;
mod control;
mod healing;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod world;

use wyrdlog::base::plants::Plants;

pub use bounds::PROFILES;
use bounds::{Bounds, DEFAULT_REACHES};
use world::World;

use crate::report::{Options, Report};

/// Explores everything within the named bounds, or the default ones; with a plant, until it breaks
/// something.
pub fn run(profile: Option<&'static str>, options: &Options) -> Report {
    let named = profile.and_then(|name| PROFILES.iter().find(|profile| profile.name == name));
    let (bounds, reaches) = match named {
        Some(profile) => (profile.bounds, profile.reaches),
        None if options.plants == Plants::NONE => (Bounds::default(), DEFAULT_REACHES),
        // Without a name, a plant is looked for where it takes a second or not at all.
        None => (Bounds::LEAST, &[][..]),
    };
    let mut world = World::new(bounds, reaches, options.plants);
    world.named = profile.is_some();
    Report::explore("replication", profile, format!("{bounds:?}"), world, options)
}
