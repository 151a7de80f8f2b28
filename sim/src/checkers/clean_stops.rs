//! *recovered_prefix* of the marker of a clean stop: who leaves it has left nothing that a power cut could take away,
//! in no file of its logs, in no index, snapshot or checkpoint. The next start believes it: it registers as a broker
//! that has everything which it wrote (KIP-966). And a broker that had registered and stops in good order leaves it,
//! or it would be taken for one that may have lost something.
//!
//! The marker and the files are read from the disk when the process has ended. False positives avoided: after a sync
//! that failed, or rot, what is read is not what lies on the device, whatever is synced later; a broker that stops
//! before it has registered says what it found.

use crate::history::cluster::ClusterHistory;
use crate::observed::{FaultNote, Node, seconds};
use crate::verdict::{Findings, Property};

/// A broker's process that ended without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanStop {
    /// When it was started.
    pub started_ns: u64,
    /// When it had ended.
    pub ended_ns: u64,
    /// On which machine it ran.
    pub node: Node,
    /// Whether the marker lies on the disk.
    pub has_marker: bool,
    /// The files of which a power cut could leave something else than what is read.
    pub unsynced: Vec<String>,
}

/// Judges what such processes left; `struck` are the faults that took effect, in the order of time.
#[must_use]
pub fn check(stops: &[CleanStop], met: &ClusterHistory, struck: &[(u64, FaultNote)]) -> Findings {
    let mut findings = Findings::new(Property::RecoveredPrefix);
    for stop in stops {
        let CleanStop { node, ended_ns, unsynced, .. } = stop;
        let was_here = |at_ns: u64, at: Node| at == *node && (stop.started_ns..=*ended_ns).contains(&at_ns);
        let registered = met.registered.iter().find(|one| was_here(one.time_ns, one.node));
        if let Some(registered) = registered {
            findings.check(stop.has_marker, *ended_ns, [], || {
                let (at, epoch) = (seconds(registered.time_ns), registered.broker_epoch);
                format!("{node} registered at {at} as {epoch}, stopped in good order, and left no marker of that")
            });
        }
        if stop.has_marker && !shows_what_is_gone(struck, *node, *ended_ns) {
            findings.check(unsynced.is_empty(), *ended_ns, [], || {
                format!("{node} left the marker of a clean stop, and has not synced {unsynced:?}")
            });
        }
    }
    findings
}

/// Whether bytes of the disk that `node` had at that time may differ between the cache and the device.
fn shows_what_is_gone(struck: &[(u64, FaultNote)], node: Node, at_ns: u64) -> bool {
    let here = struck.iter().filter(|(time_ns, note)| *time_ns <= at_ns && note.nodes().contains(&node));
    here.fold(false, |is_gone, (_, note)| match note {
        FaultNote::SyncFails(_) | FaultNote::SyncFailed(_) | FaultNote::Rotted { .. } => true,
        FaultNote::PowerLost(_)
        | FaultNote::ProcessCrashed(_)
        | FaultNote::DiskLost(_)
        | FaultNote::CallsFail(_)
        | FaultNote::CallsWork(_) => is_gone,
    })
}

#[cfg(test)]
mod tests {
    use wyrdlog::base::ids::BrokerEpoch;

    use super::*;
    use crate::history::cluster::Registered;

    const HERE: Node = Node(1);
    const OTHER: Node = Node(2);

    /// It ran from 10 to 20.
    fn stopped(has_marker: bool, unsynced: &[&str]) -> CleanStop {
        let unsynced = unsynced.iter().map(|file| (*file).to_owned()).collect();
        CleanStop { started_ns: 10, ended_ns: 20, node: HERE, has_marker, unsynced }
    }

    fn violated(stop: CleanStop, registered_ns: u64, struck: &[(u64, FaultNote)]) -> u64 {
        let epoch = BrokerEpoch(7);
        let one = Registered { time_ns: registered_ns, node: HERE, broker_epoch: epoch, written_since: epoch };
        check(&[stop], &ClusterHistory { registered: vec![one], ..ClusterHistory::default() }, struck).violated
    }

    #[test]
    fn who_leaves_the_marker_over_what_is_synced_is_accepted() {
        assert_eq!(violated(stopped(true, &[]), 15, &[]), 0);
    }

    #[test]
    fn who_leaves_the_marker_over_what_is_not_synced_is_rejected() {
        let stop = || stopped(true, &["logs/t-0/00000000000000000000.log"]);
        let elsewhere = [(5, FaultNote::SyncFails(OTHER)), (25, FaultNote::SyncFails(HERE))];
        assert_eq!(violated(stop(), 15, &[]), 1);
        assert_eq!(violated(stop(), 15, &elsewhere), 1, "what strikes others, or later, excuses nobody");
        assert_eq!(violated(stop(), 15, &[(5, FaultNote::CallsFail(HERE))]), 1, "a full disk loses nothing");
        let rotted = |node| FaultNote::Rotted { node, path: "logs/boot.id".to_owned() };
        assert_eq!(
            [violated(stop(), 15, &[(5, FaultNote::SyncFails(HERE))]), violated(stop(), 15, &[(5, rotted(HERE))])],
            [0; 2]
        );
    }

    #[test]
    fn who_had_registered_and_leaves_no_marker_is_rejected() {
        assert_eq!(
            [violated(stopped(false, &[]), 15, &[]), violated(stopped(false, &["logs/boot.id"]), 15, &[])],
            [1; 2]
        );
        let unregistered = [5, 25].map(|registered_ns| violated(stopped(false, &["x"]), registered_ns, &[]));
        assert_eq!(unregistered, [0; 2], "it stopped before it had registered");
    }
}
