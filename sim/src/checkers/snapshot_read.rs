//! *snapshot-read*: each plain read of the coordinator equals the state at its reply's zxid.
//!
//! The state at a zxid comes from the state machine's own record of committed changes.

use super::committed::Committed;
use super::linearizability::describe;
use crate::history::coordinator::{Answer, Call, CoordinatorHistory};
use crate::verdict::{Findings, Property};

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
    use wyrdlog::base::ids::Zxid;

    use super::super::linearizability::examples::{Script, value};
    use super::*;
    use crate::history::coordinator::Register;

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
