//! *stays-up*, for one replica: a node calls a log damaged only where a fault struck that very log: its
//! bytes at rest were damaged, or calls of its disk fail, or did since the log was opened.
//!
//! Otherwise the word would excuse whatever a node loses: what it says of its disk is a claim.

use wyrdlog::base::event::{Event, LogEvent};

use super::{Invariant, Seen, World};
use crate::verdict::{Findings, Property};

/// Holds claims of damage against the faults that struck.
#[derive(Debug)]
pub struct DamageExplained {
    findings: Findings,
}

impl DamageExplained {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        DamageExplained { findings: Findings::new(Property::StaysUp) }
    }
}

impl Default for DamageExplained {
    fn default() -> Self {
        Self::new()
    }
}

impl Invariant for DamageExplained {
    fn before(&mut self, world: &World<'_>, seen: &Seen<'_>) {
        let Event::Log(name, LogEvent::Damaged { offset }) = &seen.observed.event else { return };
        let (model, node) = (world.model, seen.node());
        let failed = model.replica(*seen).is_some_and(|replica| replica.suffered.calls_failed);
        let explained = failed || model.calls_fail(node) || model.has_rot_in(node, name);
        self.findings.check(explained, seen.time_ns(), [seen.ordinal], || {
            format!("{node} calls {name} damaged from offset {offset} on, but no fault struck it")
        });
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Cluster, N3, N4};
    use super::*;
    use crate::observed::FaultNote;

    fn rotted(path: &str) -> Cluster {
        let mut cluster = Cluster::page_cache();
        cluster.fault(FaultNote::Rotted { node: N3, path: path.to_owned() });
        cluster.log(N3, LogEvent::Damaged { offset: 0 });
        cluster
    }

    #[test]
    fn damage_without_a_fault_or_by_rot_in_another_log_is_rejected() {
        let mut cluster = Cluster::page_cache();
        cluster.log(N3, LogEvent::Damaged { offset: 0 });
        assert_eq!(cluster.violated(Property::StaysUp), 1);
        assert_eq!(rotted("logs/t-1/00000000000000000000.log").violated(Property::StaysUp), 1);
    }

    #[test]
    fn damage_by_rot_in_that_log_or_by_failing_calls_is_accepted() {
        rotted("logs/t-0/00000000000000000000.log").assert_clean(Property::StaysUp);
        let mut cluster = Cluster::page_cache();
        cluster.fault(FaultNote::CallsFail(N3));
        cluster.restart(N3, 0, 0);
        cluster.log(N3, LogEvent::Damaged { offset: 0 });
        cluster.assert_clean(Property::StaysUp);
        cluster.fault(FaultNote::CallsWork(N3));
        cluster.restart(N3, 0, 0);
        cluster.log(N3, LogEvent::Damaged { offset: 0 });
        assert_eq!(cluster.violated(Property::StaysUp), 1, "the fault was over before the log was opened");
    }

    #[test]
    fn a_fault_of_one_node_explains_nothing_on_another() {
        let mut cluster = Cluster::page_cache();
        cluster.fault(FaultNote::SyncFails(N3));
        cluster.log(N4, LogEvent::Damaged { offset: 0 });
        assert_eq!(cluster.violated(Property::StaysUp), 1);
    }
}
