//! *replay_equals_live*, for the coordinator's tree: the state that the newest snapshot and the log
//! on a server's disk make, up to an entry that is applied, equals the live state at that entry.
//!
//! The files are read from the simulated disk while the server runs: at the first entry that an
//! incarnation applies, when a snapshot was installed, every so many entries, and at the end. The
//! product's codecs and its `apply` make the state from them; what it is compared with is the digest
//! of the state that servers told when they applied that entry, which *state_machine_safety* compares
//! among them. What is in memory alone (watches, leases, requests that wait) is no part of either.
//!
//! False positives avoided: a disk whose bytes rotted is not asked; entries of which the log on the
//! disk holds another version are not wanted, for a truncation may be on its way to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wyrdlog::base::ids::Zxid;

use crate::observed::Node;
use crate::verdict::{Findings, Property};

/// What a server's disk made of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// When, in virtual nanoseconds.
    pub time_ns: u64,
    /// On whose disk.
    pub node: Node,
    /// The last entry that was applied.
    pub applied: u64,
    /// The last entry that was rebuilt, its zxid and the digest of the state; or why there is none.
    pub state: Result<(u64, Zxid, u64), String>,
}

/// What servers' disks made of the tree, and what the tree was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replays {
    /// The zxid of each applied entry, and the digest of the state after it.
    pub live: BTreeMap<u64, (Zxid, u64)>,
    /// In order.
    pub rebuilt: Vec<Rebuilt>,
}

/// Compares every rebuilt state with the live one.
#[must_use]
pub fn check(replays: &Replays) -> Findings {
    let mut findings = Findings::new(Property::ReplayEqualsLive);
    for (ordinal, rebuilt) in (0..).zip(&replays.rebuilt) {
        let (node, applied) = (rebuilt.node, rebuilt.applied);
        let differs = match &rebuilt.state {
            Err(problem) => {
                Some(format!("the disk of {node}, which has applied entry {applied}, makes no state: {problem}"))
            }
            Ok((0, ..)) => continue,
            Ok((index, zxid, digest)) => match replays.live.get(index) {
                Some(live) if *live == (*zxid, *digest) => None,
                // A snapshot covers entries that nobody was seen to apply only before the run began.
                live => Some(format!(
                    "the disk of {node}, which has applied entry {applied}, makes digest {digest:#x} at entry {index} zxid {:#x}, where the live state was {live:x?}",
                    zxid.0
                )),
            },
        };
        findings.check(differs.is_none(), rebuilt.time_ns, [ordinal], || differs.unwrap_or_default());
    }
    findings
}

#[cfg(test)]
pub(crate) mod examples {
    //! A run whose disks hold what is live.

    use super::*;

    pub fn passing() -> Replays {
        let mut replays = Replays::default();
        for index in 1..=5 {
            replays.live.insert(index, (Zxid(index as i64), 100 + index));
        }
        for applied in [2, 5] {
            let state = Ok((applied - 1, Zxid(applied as i64 - 1), 99 + applied));
            replays.rebuilt.push(Rebuilt { time_ns: applied, node: Node(0), applied, state });
        }
        replays
    }
}

#[cfg(test)]
mod tests {
    use super::examples::passing;
    use super::*;

    #[test]
    fn a_disk_that_holds_what_is_live_is_accepted_even_if_it_is_behind() {
        let findings = check(&passing());
        assert!(findings.passed() && findings.evaluations == 2, "{:?}", findings.violations);
    }

    #[test]
    fn a_disk_that_makes_another_state_is_rejected() {
        let mut replays = passing();
        replays.rebuilt[1].state = Ok((4, Zxid(4), 0));
        assert_eq!(check(&replays).violated, 1);
        replays.rebuilt[0].state = Ok((1, Zxid(9), 101));
        assert_eq!(check(&replays).violated, 2);
    }

    #[test]
    fn a_disk_that_makes_no_state_is_rejected() {
        let mut replays = passing();
        replays.rebuilt[0].state = Err("the log begins after entry 9".to_owned());
        assert_eq!(check(&replays).violated, 1);
    }
}
