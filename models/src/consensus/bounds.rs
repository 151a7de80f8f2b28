//! How much of everything there may be: the bounds of a run without a name, and the named ones.

use super::claims::sight;

/// Bounds. All that is counted is counted over all servers together.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Servers in the ensemble.
    pub servers: u32,
    /// Whether server 1 leads in term 1 already, and its no-op is everywhere; else all just started.
    pub elected: bool,
    /// Election timers that elapse.
    pub elections: u8,
    /// Heartbeat timers that elapse.
    pub heartbeats: u8,
    /// Records that clients propose.
    pub records: u8,
    /// Servers that crash and restart.
    pub crashes: u8,
    /// Messages that are lost while those behind them arrive.
    pub losses: u8,
    /// Messages that arrive twice.
    pub repetitions: u8,
    /// Messages that overtake the one before them.
    pub overtakings: u8,
    /// Snapshots that are taken; each removes all that it covers from the log.
    pub snapshots: u8,
    /// The latest term.
    pub term_max: u32,
}

impl Bounds {
    /// What `cargo models run consensus` explores.
    pub const FULL: Bounds = Bounds {
        servers: 3,
        elected: true,
        elections: 2,
        heartbeats: 0,
        records: 2,
        crashes: 1,
        losses: 1,
        repetitions: 0,
        overtakings: 0,
        snapshots: 0,
        term_max: 3,
    };

    /// One election of a fresh ensemble, one record, and nothing that goes wrong.
    pub const LEAST: Bounds =
        Bounds { elected: false, elections: 1, records: 1, crashes: 0, losses: 0, term_max: 1, ..Bounds::FULL };
}

/// Bounds that have a name.
pub struct Profile {
    /// The name.
    pub name: &'static str,
    /// What is within them that others leave out.
    pub about: &'static str,
    /// The bounds.
    pub bounds: Bounds,
    /// The situations that must be reached.
    pub reaches: &'static [&'static str],
    /// Whether it is among the least, which are explored before a change lands.
    pub least: bool,
}

/// The situations that a run without a name must reach.
pub const FULL_REACHES: &[&str] =
    &[sight::ELECTION, sight::THIRD_TERM, sight::TRUNCATION, sight::COMMITTED, sight::LOST_ENTRIES];

/// All named bounds.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "append",
        about: "a first leader, a record, a crash and a change of leader, whatever the order",
        bounds: Bounds { elections: 2, records: 1, crashes: 1, term_max: 2, ..Bounds::LEAST },
        reaches: &[sight::ELECTION, sight::TRUNCATION, sight::COMMITTED, sight::LOST_ENTRIES],
        least: true,
    },
    Profile {
        name: "repetition",
        about: "messages arrive twice and overtake each other, heartbeats among them",
        bounds: Bounds {
            elected: true,
            elections: 2,
            heartbeats: 1,
            repetitions: 1,
            overtakings: 1,
            term_max: 2,
            ..Bounds::LEAST
        },
        reaches: &[sight::ELECTION, sight::COMMITTED],
        least: false,
    },
    Profile {
        name: "failover",
        about: "three leaders one after the other, each of whom may append",
        bounds: Bounds { elections: 3, term_max: 3, ..Bounds::LEAST },
        reaches: &[sight::THIRD_TERM, sight::TRUNCATION, sight::COMMITTED],
        least: false,
    },
    Profile {
        name: "snapshot",
        about: "logs are compacted; who needs what is gone is sent a snapshot, by one leader or the next",
        bounds: Bounds {
            elected: true,
            elections: 2,
            heartbeats: 1,
            losses: 1,
            snapshots: 1,
            term_max: 2,
            ..Bounds::LEAST
        },
        reaches: &[sight::ELECTION, sight::COMMITTED, sight::COMPACTED, sight::INSTALLED],
        least: false,
    },
];
