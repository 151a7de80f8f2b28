//! *snapshot-read*: each plain read of the coordinator equals the state at its reply's zxid.
//!
//! The state at a zxid comes from the state machine's own record of committed changes, which
//! `state_machine_safety` has shown to be the same on all servers.

use std::collections::BTreeMap;

use wyrdlog::base::ids::Zxid;

use super::linearizability::{Hints, describe};
use crate::history::coordinator::{Answer, Call, CoordinatorHistory, PathIndex, Register};
use crate::verdict::{Findings, Property};

/// What every register was, from each change on.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    changes: BTreeMap<(PathIndex, Zxid), Option<Register>>,
}

impl Committed {
    /// Records that `path` is `state` from `zxid` on. Recording a change twice is harmless.
    pub fn record(&mut self, path: PathIndex, zxid: Zxid, state: Option<Register>) {
        self.changes.insert((path, zxid), state);
    }

    /// Where each value came to be, and where registers were deleted, by the zxid of the change.
    #[must_use]
    pub fn hints(&self) -> Hints {
        let mut hints = Hints::default();
        let mut version = 0;
        for ((path, zxid), state) in &self.changes {
            if let Some(register) = state {
                version = register.version;
                hints.written.entry(register.value).or_insert(*zxid);
            } else {
                hints.removed.entry(*path).or_default().insert(*zxid, version);
            }
        }
        hints
    }

    /// The state of `path` at `zxid`.
    #[must_use]
    pub fn at(&self, path: PathIndex, zxid: Zxid) -> Option<Register> {
        let before = self.changes.range((path, Zxid(i64::MIN))..=(path, zxid));
        before.last().and_then(|(_, state)| *state)
    }
}

/// Compares every plain read with the record.
#[must_use]
pub fn check(history: &CoordinatorHistory, committed: &Committed) -> Findings {
    let mut findings = Findings::new(Property::SnapshotRead);
    for (op, operation) in (0..).zip(&history.operations) {
        let (Call::Read(path), Some(reply)) = (&operation.call.call, operation.reply()) else { continue };
        let expected = committed.at(*path, reply.zxid);
        findings.check(reply.answer == Answer::Value(expected), operation.ended_ns(), [u64::from(op)], || {
            let zxid = reply.zxid.0;
            format!("{}, but at zxid {zxid:#x} the register was {expected:?}", describe(history, op))
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::linearizability::examples::{Script, value};
    use super::*;

    fn committed() -> Committed {
        let mut committed = Committed::default();
        committed.record(0, Zxid(2), Some(Register { version: 0, value: 10 }));
        committed.record(0, Zxid(4), Some(Register { version: 1, value: 11 }));
        committed.record(0, Zxid(6), None);
        committed
    }

    #[test]
    fn a_stale_read_is_accepted_if_it_equals_the_state_at_its_zxid() {
        let mut script = Script::new();
        script.ok(10, 11, Call::Read(0), value(0, 10), 3);
        script.ok(10, 11, Call::Read(0), value(1, 11), 4);
        script.ok(10, 11, Call::Read(0), Answer::Value(None), 1);
        script.ok(10, 11, Call::Read(0), Answer::Value(None), 9);
        assert!(check(&script.history, &committed()).passed());
    }

    #[test]
    fn a_read_that_differs_from_the_state_at_its_zxid_is_rejected() {
        let mut script = Script::new();
        script.ok(10, 11, Call::Read(0), value(0, 10), 4);
        script.ok(10, 11, Call::Read(0), value(1, 11), 3);
        assert_eq!(check(&script.history, &committed()).violated, 2);
    }
}
