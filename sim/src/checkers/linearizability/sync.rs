//! The zxids of synchronised reads: a `sync` and what is read after it show a state at or above every zxid that
//! any client had been shown when the `sync` was asked for. All that was shown had been committed.
//!
//! That is linearizability of the tree as a whole, of which registers are a part: a leader that was deposed
//! without knowing it answers from its old state, whether or not a register has changed since.

use crate::history::OpId;
use crate::history::coordinator::{Call, CoordinatorHistory};
use crate::verdict::Findings;

use super::describe;

/// Compares each synchronised read with what had been shown before.
pub(super) fn check(history: &CoordinatorHistory, findings: &mut Findings) {
    let shown = shown(history);
    for (op, operation) in (0..).zip(&history.operations) {
        let (Call::SyncRead(_) | Call::SyncChildren(_), Some(reply)) = (&operation.call.call, operation.reply()) else {
            continue;
        };
        let before = shown.partition_point(|(at_ns, ..)| *at_ns < operation.invoked_ns);
        let Some((_, highest, earlier)) = before.checked_sub(1).map(|last| shown[last]) else { continue };
        findings.check(reply.zxid.0 >= highest, operation.ended_ns(), [u64::from(earlier), u64::from(op)], || {
            format!(
                "{} shows the state at zxid {:#x}, although {} had shown {highest:#x} before it was asked",
                describe(history, op),
                reply.zxid.0,
                describe(history, earlier),
            )
        });
    }
}

/// When each zxid that was the highest so far was shown, and by which operation, ascending.
fn shown(history: &CoordinatorHistory) -> Vec<(u64, i64, OpId)> {
    let answered = (0..).zip(&history.operations);
    let mut all: Vec<(u64, i64, OpId)> =
        answered.filter_map(|(op, one)| Some((one.completed_ns?, one.reply()?.zxid.0, op))).collect();
    all.sort_unstable();
    let mut highest = i64::MIN;
    all.retain(|(_, zxid, _)| {
        let is_new = *zxid > highest;
        highest = highest.max(*zxid);
        is_new
    });
    all
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Script, create, value};
    use super::*;
    use crate::history::coordinator::Answer;
    use crate::verdict::Property;

    fn judged(script: &Script) -> Findings {
        let mut findings = Findings::new(Property::Linearizability);
        check(&script.history, &mut findings);
        findings
    }

    #[test]
    fn a_synchronised_read_below_what_was_shown_before_it_is_rejected_although_its_register_is_the_same() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 5);
        script.ok(3, 4, create(1, 11), Answer::Done, 8);
        script.ok(5, 6, Call::SyncRead(0), value(0, 10), 7);
        assert_eq!(judged(&script).violated, 1);
    }

    #[test]
    fn what_is_shown_while_it_is_under_way_asks_nothing_of_it_and_plain_reads_may_lag() {
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 5);
        script.ok(3, 9, create(1, 11), Answer::Done, 8);
        script.ok(4, 10, Call::SyncRead(0), value(0, 10), 5);
        script.ok(11, 12, Call::Read(0), value(0, 10), 5);
        script.ok(13, 14, Call::SyncRead(0), value(0, 10), 8);
        let findings = judged(&script);
        assert!(findings.passed(), "{:?}", findings.violations);
        assert_eq!(findings.evaluations, 2);
    }
}
