//! From what a disk holds to a server that may vote.

use std::hash::Hash;

use crate::base::plants::Plant;

use super::durability::Durability;
use super::entry::{Entry, HardState, Position};
use super::log::Log;
use super::reads::Reads;
use super::{BadConfig, Config, Consensus, Role};

/// Whether a server may be relied on to remember what it promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Its disk holds all that it ever voted and acknowledged, since the ensemble was formatted.
    Member,
    /// Its disk was lost or replaced. It copies the log, and counts for nothing: it neither votes,
    /// nor campaigns, nor adds to a quorum. The shell keeps this durably for the disk's lifetime.
    Blank,
}

/// What the disk holds. All zero and empty on a formatted disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last term and vote that were persisted.
    pub hard_state: HardState,
    /// The last entry that the newest valid snapshot covers.
    pub snapshot: Position,
    /// The position before the first of `entries`.
    pub log_base: Position,
    /// The log, its torn tail cut. Damage anywhere else must stop the server before it gets here.
    pub entries: Vec<Entry>,
}

/// Why a server must not start from this. Each means damage, or a disk of another server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecovery {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// An entry does not follow on the one before.
    #[error("the log has a gap or disorder at index {index}")]
    Disorder {
        /// The entry's.
        index: u64,
    },
    /// The log starts after the snapshot ends.
    #[error("entries between the snapshot at {snapshot} and the log's start after {log_base} are missing")]
    Gap {
        /// The snapshot's last index.
        snapshot: u64,
        /// The index before the log's first.
        log_base: u64,
    },
    /// The term is lower than the log's: a term and vote were lost (ZOOKEEPER-4643).
    #[error("the persisted term {term} is lower than the log's last term {log_term}")]
    TermLost {
        /// The term that was persisted last.
        term: u32,
        /// The term of the last entry or of the snapshot.
        log_term: u32,
    },
}

impl Consensus {
    /// A follower that remembers what its disk holds. Give it [`super::Input::Start`] first. The
    /// state machine has been loaded from the snapshot; entries above it are applied once they
    /// are known to be committed.
    pub fn recover(config: Config, standing: Standing, recovered: Recovered) -> Result<Consensus, BadRecovery> {
        config.check()?;
        let Recovered { mut hard_state, snapshot, log_base, entries } = recovered;
        if config.plants.is(Plant::Keeper113654) {
            hard_state.voted_for = None;
        }
        if log_base.index > snapshot.index {
            return Err(BadRecovery::Gap { snapshot: snapshot.index, log_base: log_base.index });
        }
        let mut log = Log::new(log_base);
        for entry in entries {
            if !entry.may_follow(log.last()) {
                return Err(BadRecovery::Disorder { index: entry.index });
            }
            log.append(entry);
        }
        let log_term = log.last().term().max(snapshot.term());
        if hard_state.term < log_term {
            return Err(BadRecovery::TermLost { term: hard_state.term.0, log_term: log_term.0 });
        }
        let mut durability = Durability::new(log.last().index);
        if !log.holds(snapshot) {
            // A crash came between the installation of a snapshot and the reset of the log.
            log = Log::new(snapshot);
            durability.stage_reset(snapshot);
        }
        Ok(Consensus {
            reads: Reads::default(),
            config,
            standing,
            hard_state,
            leader: None,
            role: Role::Follower,
            commit_index: snapshot.index,
            applied_index: snapshot.index,
            snapshot,
            log,
            durability,
            incoming: None,
            halted: false,
        })
    }
}
