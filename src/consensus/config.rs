//! Who a server is, who its peers are, how long it waits, and the bounds of what it holds.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::ids::ServerId;
use crate::base::limits::JUTE_BYTES_MAX;
use crate::base::plants::Plants;

/// The servers whose votes and acknowledgements count. A type of its own, so that a change of
/// one server at a time (§4.1) can be added without touching who asks it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Voters(BTreeSet<ServerId>);

impl Voters {
    /// The most servers an ensemble may have.
    pub const MAX: usize = 5;

    /// The ensemble of `servers`: one to five, no id twice, no id 0.
    pub fn new(servers: impl IntoIterator<Item = ServerId>) -> Result<Voters, BadConfig> {
        let mut voters = BTreeSet::new();
        for server in servers {
            if server.0 == 0 || !voters.insert(server) {
                return Err(BadConfig::ServerId(server));
            }
        }
        if voters.is_empty() || voters.len() > Voters::MAX {
            return Err(BadConfig::EnsembleSize(voters.len()));
        }
        Ok(Voters(voters))
    }

    /// Whether `server` is one of them.
    #[must_use]
    pub fn contains(&self, server: ServerId) -> bool {
        self.0.contains(&server)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = ServerId> {
        self.0.iter().copied()
    }

    /// All but `own`, in order.
    pub fn others(&self, own: ServerId) -> impl Iterator<Item = ServerId> {
        self.iter().filter(move |server| *server != own)
    }

    /// How many make a majority. Any two majorities share a server.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.0.len() / 2 + 1
    }
}

/// How long a server waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// A leader's silence that a follower bears at least. Also how often a leader checks that a
    /// quorum still answers.
    pub election_shortest: Duration,
    /// A leader's silence that a follower bears at most.
    pub election_longest: Duration,
    /// How often a leader makes itself heard.
    pub heartbeat: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            election_shortest: Duration::from_millis(500),
            election_longest: Duration::from_millis(1000),
            heartbeat: Duration::from_millis(100),
        }
    }
}

/// The bounds of what a server holds and sends. The associated constants are the same everywhere;
/// the fields are knobs whose defaults suit an ensemble on one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Entries in one `Append`.
    pub append_entries_max: usize,
    /// Payload bytes in one `Append`, unless its only entry is larger.
    pub append_bytes_max: usize,
    /// `Append`s with entries on their way to one follower.
    pub in_flight_appends_max: usize,
    /// Payload bytes on their way to one follower, unless a single `Append` is larger.
    pub in_flight_bytes_max: usize,
    /// Entries of the leader's log that are not committed; further proposals are dropped.
    pub uncommitted_entries_max: u64,
    /// Reads that wait, on a leader or on a follower; further ones fail.
    pub pending_reads_max: usize,
    /// Bytes in one chunk of a snapshot.
    pub snapshot_chunk_bytes_max: usize,
    /// Entries kept below the last snapshot, for followers that are a little behind.
    pub trailing_entries: u64,
    /// Payload bytes that those entries have at most, together.
    pub trailing_bytes: usize,
    /// The zxid counter at which a leader steps down, so that a new term starts at 0 again.
    pub zxid_counter_max: u32,
}

impl Limits {
    /// Entries in one `Apply`.
    pub const APPLY_ENTRIES_MAX: usize = 1024;
    /// Payload bytes of one proposal. Frames of clients are checked at ingress; this leaves room
    /// for what the coordinator adds to them.
    pub const PROPOSAL_BYTES_MAX: usize = JUTE_BYTES_MAX + 64 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            append_entries_max: 1024,
            append_bytes_max: 1024 * 1024,
            in_flight_appends_max: 64,
            in_flight_bytes_max: 8 * 1024 * 1024,
            uncommitted_entries_max: 65_536,
            pending_reads_max: 16_384,
            snapshot_chunk_bytes_max: 256 * 1024,
            trailing_entries: 10_000,
            trailing_bytes: 16 * 1024 * 1024,
            zxid_counter_max: u32::MAX - 1_000_000,
        }
    }
}

/// What a server is told when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This server.
    pub id: ServerId,
    /// The ensemble, this server included.
    pub voters: Voters,
    /// Differs from every earlier start of this server (drawn at random, or counted on disk), so
    /// that an answer to an earlier life's read is not taken for an answer to this one's.
    pub incarnation: u64,
    /// How long it waits.
    pub timing: Timing,
    /// How much it holds.
    pub limits: Limits,
    /// Planted bugs.
    pub plants: Plants,
}

impl Config {
    /// Server `id` of the ensemble `voters`, with default timing and limits and no plants.
    #[must_use]
    pub fn new(id: ServerId, voters: Voters, incarnation: u64) -> Config {
        let (timing, limits) = (Timing::default(), Limits::default());
        Config { id, voters, incarnation, timing, limits, plants: Plants::NONE }
    }

    /// Whether it contradicts itself.
    pub fn check(&self) -> Result<(), BadConfig> {
        if !self.voters.contains(self.id) {
            return Err(BadConfig::NotAVoter(self.id));
        }
        let Timing { election_shortest, election_longest, heartbeat } = self.timing;
        if heartbeat.is_zero() || heartbeat >= election_shortest || election_shortest > election_longest {
            return Err(BadConfig::Timing);
        }
        self.limits.check()
    }
}

impl Limits {
    fn check(&self) -> Result<(), BadConfig> {
        let counts = [
            self.append_entries_max,
            self.append_bytes_max,
            self.in_flight_appends_max,
            self.in_flight_bytes_max,
            self.pending_reads_max,
            self.snapshot_chunk_bytes_max,
        ];
        if counts.contains(&0) || self.uncommitted_entries_max == 0 || self.zxid_counter_max == 0 {
            return Err(BadConfig::ZeroLimit);
        }
        Ok(())
    }
}

/// Within one ensemble, configurations differ by server and incarnation only; a model checker
/// hashes millions of them.
impl Hash for Config {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.id, self.incarnation).hash(state);
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// An id that is 0 or occurs twice.
    #[error("server id {0} is 0 or occurs twice: ids are unique and start at 1")]
    ServerId(ServerId),
    /// An ensemble of no servers, or of too many.
    #[error("an ensemble has 1 to 5 servers, not {0}")]
    EnsembleSize(usize),
    /// The server itself is not listed.
    #[error("server {0} is not a member of its own ensemble")]
    NotAVoter(ServerId),
    /// Heartbeats too slow for the election timer, or an empty span.
    #[error("timing must satisfy 0 < heartbeat < shortest election timeout <= longest")]
    Timing,
    /// A limit under which nothing could proceed.
    #[error("no limit may be 0")]
    ZeroLimit,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(ids: &[u32]) -> Result<Voters, BadConfig> {
        Voters::new(ids.iter().copied().map(ServerId))
    }

    #[test]
    fn two_quorums_always_share_a_server() {
        for size in 1..=5_u32 {
            let voters = voters(&(1..=size).collect::<Vec<_>>()).expect("a valid ensemble");
            assert!(2 * voters.quorum() > size as usize, "{size}");
            assert!(2 * (voters.quorum() - 1) <= size as usize, "{size}");
        }
    }

    /// Proposals that are under way when the limit is passed still have numbers of their own.
    #[test]
    fn the_counter_ends_long_before_it_would_begin_anew() {
        let Limits { zxid_counter_max, uncommitted_entries_max, .. } = Limits::default();
        assert_eq!(u32::MAX - zxid_counter_max, 1_000_000);
        assert!(uncommitted_entries_max < 1_000_000);
    }

    #[test]
    fn an_impossible_configuration_is_refused() {
        assert_eq!(voters(&[]), Err(BadConfig::EnsembleSize(0)));
        assert_eq!(voters(&[1, 2, 3, 4, 5, 6]), Err(BadConfig::EnsembleSize(6)));
        assert_eq!(voters(&[1, 1]), Err(BadConfig::ServerId(ServerId(1))));
        assert_eq!(voters(&[0]), Err(BadConfig::ServerId(ServerId(0))));
        let mut config = Config::new(ServerId(4), voters(&[1, 2, 3]).expect("valid"), 1);
        assert_eq!(config.check(), Err(BadConfig::NotAVoter(ServerId(4))));
        config.id = ServerId(1);
        assert_eq!(config.check(), Ok(()));
        config.timing.heartbeat = config.timing.election_shortest;
        assert_eq!(config.check(), Err(BadConfig::Timing));
        config.timing = Timing::default();
        let zeros: [fn(&mut Limits); 8] = [
            |limits| limits.append_entries_max = 0,
            |limits| limits.append_bytes_max = 0,
            |limits| limits.in_flight_appends_max = 0,
            |limits| limits.in_flight_bytes_max = 0,
            |limits| limits.pending_reads_max = 0,
            |limits| limits.snapshot_chunk_bytes_max = 0,
            |limits| limits.uncommitted_entries_max = 0,
            |limits| limits.zxid_counter_max = 0,
        ];
        for zero in zeros {
            config.limits = Limits::default();
            zero(&mut config.limits);
            assert_eq!(config.check(), Err(BadConfig::ZeroLimit), "{:?}", config.limits);
        }
    }
}
