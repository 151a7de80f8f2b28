//! What a coordinator server is told when it starts.

use std::time::Duration;

use crate::base::address::Address;
use crate::base::ids::ServerId;
use crate::base::plants::Plants;
use crate::consensus::{BadConfig, Limits, Timing, Voters};

/// One server of the ensemble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: ServerId,
    /// Where the other servers reach it.
    pub peer_address: Address,
    /// Where clients reach it.
    pub client_address: Address,
}

/// After entries of so many bytes a snapshot is taken, however few they are.
const SNAPSHOT_BYTES: u64 = 64 * 1024 * 1024;
/// See [`Config::log_roll_bytes`].
const LOG_ROLL_BYTES: u64 = 1024 * 1024;

/// The configuration of one server. Names in a properties file are ZooKeeper's (`tickTime`,
/// `minSessionTimeout`, `snapCount`).
#[derive(Clone, Debug)]
pub struct Config {
    /// This server.
    pub id: ServerId,
    /// The whole ensemble, this server included.
    pub ensemble: Vec<Member>,
    /// The shortest session time-out that is granted.
    pub session_timeout_min: Duration,
    /// The longest session time-out that is granted.
    pub session_timeout_max: Duration,
    /// A snapshot is taken after this many entries.
    pub snapshot_entries: u64,
    /// Or after entries of so many bytes: the log since the last snapshot is kept in memory.
    pub snapshot_bytes: u64,
    /// A write-ahead log that has grown by so many bytes is begun anew once a snapshot covers what it holds.
    pub log_roll_bytes: u64,
    /// How long consensus waits.
    pub timing: Timing,
    /// How much consensus holds.
    pub limits: Limits,
    /// Planted bugs; without effect on a real runtime.
    pub plants: Plants,
}

impl Config {
    /// Server `id` of `ensemble` with ZooKeeper's defaults: a tick of 2 s, sessions of 2 to 20
    /// ticks, a snapshot every 100,000 entries; and one every 64 MiB, which ZooKeeper has no need of,
    /// as it keeps the log on disk only.
    #[must_use]
    pub fn new(id: ServerId, ensemble: Vec<Member>) -> Self {
        Config {
            id,
            ensemble,
            session_timeout_min: Duration::from_secs(4),
            session_timeout_max: Duration::from_secs(40),
            snapshot_entries: 100_000,
            snapshot_bytes: SNAPSHOT_BYTES,
            log_roll_bytes: LOG_ROLL_BYTES,
            timing: Timing::default(),
            limits: Limits::default(),
            plants: Plants::NONE,
        }
    }

    /// This server's own entry of the ensemble.
    #[must_use]
    pub fn own(&self) -> Option<&Member> {
        self.ensemble.iter().find(|member| member.id == self.id)
    }

    /// Whether the ensemble is one that can be, with this server in it.
    pub fn check(&self) -> Result<(), BadConfig> {
        let voters = Voters::new(self.ensemble.iter().map(|member| member.id))?;
        if voters.contains(self.id) { Ok(()) } else { Err(BadConfig::NotAVoter(self.id)) }
    }

    /// The time-out that is granted where a client asks for `wanted`.
    #[must_use]
    pub fn negotiate(&self, wanted: Duration) -> Duration {
        wanted.max(self.session_timeout_min).min(self.session_timeout_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_member_of_its_own_ensemble() {
        let member = |id| {
            let (peer_address, client_address) = (Address::new("peer", id), Address::new("client", id));
            Member { id: ServerId(id.into()), peer_address, client_address }
        };
        let config = |id| Config::new(ServerId(id), vec![member(1), member(2), member(3)]);
        assert_eq!(config(3).check(), Ok(()));
        assert_eq!(config(4).check(), Err(BadConfig::NotAVoter(ServerId(4))));
    }
}
