//! *recovered_prefix*: a log recovers all that was written after a process crash or a clean
//! restart, all that was synced after a power loss or after calls of the disk failed, and never
//! records that nobody had written.
//!
//! Source: the fault table (process crash: "written bytes kept by the operating system"; power
//! loss: "recovers the durable prefix").
//!
//! False positives avoided: a lost, swapped or damaged disk promises nothing here; records that
//! were truncated but not yet synced away may come back after a power cut; an empty log is
//! accounted for whatever was there (a replaced replica), unless nothing happened to its disk.

use wyrdlog::base::event::{Event, LogEvent};

use super::{Invariant, Seen, World};
use crate::observed::DiskLog;
use crate::verdict::{Findings, Property};

/// Compares each reopened log with what the model knows.
#[derive(Debug)]
pub struct RecoveredPrefix {
    findings: Findings,
}

impl RecoveredPrefix {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        RecoveredPrefix { findings: Findings::new(Property::RecoveredPrefix) }
    }
}

impl Default for RecoveredPrefix {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for RecoveredPrefix {
    fn before(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let (Event::Log(name, LogEvent::Opened { log_start, log_end, torn_bytes, .. }), Some(replica)) =
            (&seen.observed.event, world.model.replica(*seen))
        else {
            return;
        };
        let suffered = replica.suffered;
        let on_disk = world.model.on_disk(*seen);
        for bad in on_disk.into_iter().flat_map(DiskLog::bad) {
            let rotted = world.model.rotted.contains(&(seen.node(), bad.path.clone()));
            self.findings
                .check(rotted, seen.time_ns(), [seen.ordinal], || format!("{} opened {name}, but {bad}", seen.node()));
        }
        if suffered.disk_lost || suffered.damaged || replica.log.end == 0 {
            return;
        }
        let (kept, why) = if suffered.power_lost || suffered.calls_failed {
            (replica.synced_end, "was synced before the power was cut or the disk failed")
        } else {
            (replica.log.end, "was written before the process ended")
        };
        let node = seen.node();
        self.findings.check(*log_end >= kept, seen.time_ns(), [seen.ordinal], || {
            format!("{node} recovered {name} up to offset {log_end} (torn: {torn_bytes} bytes), but {kept} {why}")
        });
        if suffered.calls_failed {
            // What failed half way is there although nobody told of it.
            return;
        }
        let accounted = replica.log.clone().reopen(*log_start, *log_end, on_disk);
        self.findings.check(accounted, seen.time_ns(), [seen.ordinal], || {
            let end = replica.log.end;
            format!(
                "{node} recovered {name} up to offset {log_end} with records that it never had; its log end was {end}"
            )
        });
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Cluster, N3, batch};
    use super::*;
    use crate::observed::FaultNote;

    fn written() -> Cluster {
        let mut cluster = Cluster::page_cache();
        cluster.append(N3, batch(0, 1, 1));
        cluster.sync(N3, 2);
        cluster.append(N3, batch(2, 3, 1));
        cluster
    }

    #[test]
    fn a_process_crash_that_loses_written_records_is_rejected() {
        let mut cluster = written();
        cluster.fault(FaultNote::ProcessCrashed(N3));
        cluster.restart(N3, 0, 2);
        assert_eq!(cluster.violated(Property::RecoveredPrefix), 1);
    }

    #[test]
    fn a_power_cut_that_loses_synced_records_is_rejected() {
        let mut cluster = written();
        cluster.fault(FaultNote::PowerLost(vec![N3]));
        cluster.restart(N3, 0, 0);
        assert_eq!(cluster.violated(Property::RecoveredPrefix), 1);
    }

    #[test]
    fn a_failing_disk_that_loses_synced_records_is_rejected() {
        let mut cluster = written();
        cluster.fault(FaultNote::SyncFails(N3));
        cluster.restart(N3, 0, 2);
        cluster.assert_clean(Property::RecoveredPrefix);
        cluster.fault(FaultNote::CallsFail(N3));
        cluster.restart(N3, 0, 1);
        assert_eq!(cluster.violated(Property::RecoveredPrefix), 1);
    }

    #[test]
    fn records_that_nobody_wrote_are_rejected() {
        let mut cluster = written();
        cluster.restart(N3, 0, 9);
        assert_eq!(cluster.violated(Property::RecoveredPrefix), 1);
    }

    #[test]
    fn a_power_cut_may_lose_what_was_not_synced_and_a_lost_disk_everything() {
        let mut cluster = written();
        cluster.fault(FaultNote::PowerLost(vec![N3]));
        cluster.restart(N3, 0, 2);
        cluster.fault(FaultNote::DiskLost(N3));
        cluster.restart(N3, 0, 0);
        cluster.assert_clean(Property::RecoveredPrefix);
    }
}
