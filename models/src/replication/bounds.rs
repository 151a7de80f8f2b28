//! How far the model goes: the bounds of a run without a name, and the named ones.

use wyrdlog::base::partition_state::Durability;

use super::claims::sight;

/// How much of everything there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What counts as replicated.
    pub durability: Durability,
    /// Records that are produced.
    pub records: u8,
    /// The highest leader epoch, the first being 0.
    pub leader_epochs: i32,
    /// The highest partition epoch.
    pub partition_epochs: i32,
    /// Sessions that expire while their broker lives.
    pub expiries: u8,
    /// Power losses.
    pub crashes: u8,
    /// Processes that end while the operating system goes on.
    pub kills: u8,
    /// Disks that are lost.
    pub disk_losses: u8,
    /// Requests, answers or proposals that are lost.
    pub losses: u8,
    /// Proposals that reach the controller, and will again.
    pub repetitions: u8,
    /// Checks for members that lag.
    pub lag_checks: u8,
    /// Controllers that are elected while the one before lives on.
    pub failovers: u8,
    /// Writes of the controller whose outcome it is not told.
    pub unknown: u8,
    /// Requests, answers and proposals that are under way at one time.
    pub in_flight: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { records: 2, leader_epochs: 2, partition_epochs: 3, losses: 1, crashes: 1, ..Bounds::LEAST }
    }
}

impl Bounds {
    /// One record, one session that expires, and nothing else that goes wrong.
    pub const LEAST: Bounds = Bounds {
        durability: Durability::PageCache,
        records: 1,
        leader_epochs: 1,
        partition_epochs: 1,
        expiries: 1,
        crashes: 0,
        kills: 0,
        disk_losses: 0,
        losses: 0,
        repetitions: 0,
        lag_checks: 0,
        failovers: 0,
        unknown: 0,
        in_flight: 1,
    };

    /// Whether an eligible replica can be alive in the incarnation that is named: the in-sync set shrinks
    /// twice, once by a session that expires while its broker lives.
    pub fn lets_eligible_live(&self) -> bool {
        let shrinks = self.expiries + self.crashes + self.kills + self.disk_losses + self.lag_checks;
        self.expiries > 0 && shrinks > 1 && self.partition_epochs > 1
    }

    /// Whether a broker can lead again while a follower still follows its first leadership.
    pub fn lets_leaders_return(&self) -> bool {
        self.leader_epochs > 1 && self.partition_epochs > 2
    }

    /// Whether a write of the controller takes time. Where it never fails, that tells nothing.
    pub fn has_slow_writes(&self) -> bool {
        self.failovers > 0 || self.unknown > 0
    }
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

/// The bounds of a run that names none.
pub const DEFAULT_REACHES: &[&str] =
    &[sight::THIRD_EPOCH, sight::TRUNCATION, sight::SHRUNK_AND_GREW, sight::COMMITTED_AFTER_ELECTION, sight::RESTARTED];

/// All named bounds.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "lag",
        about: "members that lag are removed and admitted again, with proposals lost, refused and repeated",
        bounds: Bounds { partition_epochs: 2, lag_checks: 2, repetitions: 1, losses: 1, ..Bounds::LEAST },
        reaches: &[sight::SHRUNK_AND_GREW, sight::COMMITTED_BY_FEWER],
        least: true,
    },
    Profile {
        name: "two-in-flight",
        about: "two messages are under way at a time: requests, answers and proposals of several brokers overlap",
        bounds: Bounds { partition_epochs: 2, losses: 1, in_flight: 2, ..Bounds::LEAST },
        reaches: &[sight::TRUNCATION, sight::SHRUNK_AND_GREW, sight::COMMITTED_AFTER_ELECTION],
        least: true,
    },
    Profile {
        name: "divergence",
        about: "two leaders append, each without the other: tails that part, in epochs that the other does not know",
        bounds: Bounds { records: 2, partition_epochs: 2, ..Bounds::LEAST },
        reaches: &[sight::TRUNCATION, sight::SHRUNK_AND_GREW, sight::COMMITTED_AFTER_ELECTION],
        least: true,
    },
    Profile {
        name: "elections",
        about: "two sessions expire while their brokers live on: three leader epochs, zombies, followers far behind",
        bounds: Bounds { leader_epochs: 2, partition_epochs: 3, expiries: 2, ..Bounds::LEAST },
        reaches: &[sight::THIRD_EPOCH, sight::TRUNCATION, sight::COMMITTED_AFTER_ELECTION],
        least: false,
    },
    Profile {
        name: "power-loss",
        about: "one broker loses power and any tail of its log, while another's session expires",
        bounds: Bounds { partition_epochs: 2, crashes: 1, ..Bounds::LEAST },
        reaches: &[sight::RESTARTED, sight::SHRUNK_AND_GREW],
        least: false,
    },
    Profile {
        name: "unclean",
        about: "the last member of the in-sync set loses power: eligible leaders, a partition without a leader",
        bounds: Bounds { leader_epochs: 2, partition_epochs: 3, expiries: 2, crashes: 1, ..Bounds::LEAST },
        reaches: &[sight::LEADERLESS, sight::ELIGIBLE_LED, sight::RESTARTED],
        least: false,
    },
    Profile {
        name: "boot",
        about: "processes end and start again within one boot of their machine, with any checkpoint",
        bounds: Bounds { leader_epochs: 2, partition_epochs: 3, expiries: 0, kills: 2, ..Bounds::LEAST },
        reaches: &[sight::TRUNCATION, sight::RESTARTED, sight::THIRD_EPOCH],
        least: false,
    },
    Profile {
        name: "disk-loss",
        about: "one broker loses its disk and comes back blank, while another's session expires",
        bounds: Bounds { partition_epochs: 2, disk_losses: 1, ..Bounds::LEAST },
        reaches: &[sight::RESTARTED, sight::SHRUNK_AND_GREW],
        least: false,
    },
    Profile {
        name: "synced",
        about: "only what is synced counts: two brokers lose power, at once or one after the other",
        bounds: Bounds {
            durability: Durability::Synced,
            partition_epochs: 3,
            expiries: 0,
            crashes: 2,
            ..Bounds::LEAST
        },
        reaches: &[sight::RESTARTED, sight::TRUNCATION],
        least: false,
    },
    Profile {
        name: "failover",
        about: "the controller's writes are accepted, refused or of unknown outcome; a deposed controller's come late",
        bounds: Bounds { partition_epochs: 2, failovers: 1, unknown: 1, ..Bounds::LEAST },
        reaches: &[sight::LATE_WRITE, sight::REREAD, sight::SHRUNK_AND_GREW],
        least: true,
    },
];
