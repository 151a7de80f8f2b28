//! What must hold in every state, and the rare situations that must be reached.

use wyrdlog::base::ids::Zxid;
use wyrdlog::consensus::{Consensus, Entry, Position};

use super::disk::Work;
use super::ensemble::Ensemble;
use super::healing::is_sampled;
use super::world::World;
use crate::claims::{Claim, Claims, Sight, Tally};

/// Names of sights.
pub mod sight {
    pub const ELECTION: &str = "another server is elected";
    pub const THIRD_TERM: &str = "a third term has a leader";
    pub const TRUNCATION: &str = "a log is truncated";
    pub const COMMITTED: &str = "a record is committed";
    pub const LOST_ENTRIES: &str = "a crash loses entries that were not durable";
    pub const COMPACTED: &str = "a log no longer begins at the first entry";
    pub const INSTALLED: &str = "a snapshot is installed";
}

impl Claims for Ensemble {
    const CLAIMS: &'static [Claim<Ensemble>] = &[
        Claim {
            name: "a term has one leader at most",
            applies: |_| true,
            premise: |_, world| !world.history.leaders.is_empty(),
            holds: |_, world| !world.history.two_leaders,
        },
        Claim {
            name: "logs that agree at an entry agree before it",
            applies: |_| true,
            premise: |_, world| world.cores().filter(|core| core.last_position().index > 1).count() > 1,
            holds: |_, world| logs_match(world),
        },
        Claim {
            name: "a leader holds what earlier terms committed",
            applies: |_| true,
            premise: |_, world| {
                let earlier = |core: &Consensus| world.history.committed.iter().any(|(_, term)| *term < core.term());
                world.cores().any(|core| core.is_leader() && earlier(core))
            },
            holds: |_, world| leaders_are_complete(world),
        },
        Claim {
            name: "servers apply the same entries in the same order",
            applies: |_| true,
            premise: |_, world| world.cores().filter(|core| core.applied_index() > 0).count() > 1,
            holds: |_, world| !world.history.two_histories,
        },
        Claim {
            name: "no server sees what must never happen",
            applies: |_| true,
            premise: |_, world| !world.history.committed.is_empty(),
            holds: |_, world| !world.history.faults,
        },
        Claim {
            name: "healing leads to a leader whose log is everywhere",
            applies: |_| true,
            premise: |_, world| is_sampled(world),
            holds: |_, world| !is_sampled(world) || world.heals(),
        },
    ];

    const SIGHTS: &'static [Sight<Ensemble>] = &[
        Sight { name: sight::ELECTION, seen: |_, world| world.history.leaders.len() > 1 },
        Sight { name: sight::THIRD_TERM, seen: |_, world| world.history.leaders.len() > 2 },
        Sight {
            name: sight::TRUNCATION,
            seen: |_, world| world.servers.iter().flat_map(|hashed| &hashed.server.persisting).any(Work::truncates),
        },
        Sight { name: sight::COMMITTED, seen: |_, world| world.history.committed.len() > 1 },
        Sight { name: sight::LOST_ENTRIES, seen: |_, world| world.history.lost_unpersisted },
        Sight { name: sight::COMPACTED, seen: |_, world| world.cores().any(|core| core.log_base() != Position::ZERO) },
        Sight { name: sight::INSTALLED, seen: |_, world| world.history.installed },
    ];

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn reaches(&self) -> &'static [&'static str] {
        self.reaches
    }
}

fn logs_match(world: &World) -> bool {
    let cores: Vec<&Consensus> = world.cores().collect();
    cores.iter().enumerate().all(|(at, one)| cores[at + 1..].iter().all(|other| match_before_agreement(one, other)))
}

/// Compares what both still have.
fn match_before_agreement(one: &Consensus, other: &Consensus) -> bool {
    let base = one.log_base().index.max(other.log_base().index);
    let kept = |core: &'_ Consensus| core.entries().filter(|entry| entry.index > base).cloned().collect::<Vec<Entry>>();
    let (one, other) = (kept(one), kept(other));
    let agreed = one.iter().zip(&other).rposition(|(one, other)| one.zxid == other.zxid);
    agreed.is_none_or(|agreed| one[..=agreed] == other[..=agreed])
}

fn leaders_are_complete(world: &World) -> bool {
    world.cores().filter(|core| core.is_leader()).all(|core| {
        let committed = (1..).zip(&world.history.committed);
        committed.filter(|(_, (_, term))| *term < core.term()).all(|(index, (zxid, _))| has(core, index, *zxid))
    })
}

/// Whether the log holds that entry, or did so when it was compacted.
fn has(core: &Consensus, index: u64, zxid: Zxid) -> bool {
    let base = core.log_base();
    let kept = || core.entries().find(|entry| entry.index == index).is_some_and(|entry| entry.zxid == zxid);
    index < base.index || (index == base.index && base.zxid == zxid) || kept()
}
