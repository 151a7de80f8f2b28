//! When operations of unknown outcome seem to have taken effect, by the state machine's own record of the registers.
//!
//! A value is written once, so that the record says when. A deletion writes none: of those that no answered operation
//! accounts for, each deletion without an answer gets the first one that came after all that had been answered
//! before it was asked for, in a version that it could have meant. All of it is a suggestion what to try first.

use std::collections::BTreeMap;

use wyrdlog::base::ids::Zxid;

use super::Hints;
use crate::history::coordinator::{Call, CoordinatorHistory, CoordinatorOp, PathIndex, Write};
use crate::history::{OpId, Outcome};

/// When an operation seems to have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub zxid: Zxid,
    /// It may as well be another one's.
    pub is_guessed: bool,
}

/// By operation; those that seem to have had no effect are missing.
pub(super) type Dates = BTreeMap<OpId, Date>;

/// The dates of what has no answer.
pub(super) fn dates(history: &CoordinatorHistory, hints: &Hints) -> Dates {
    let mut dates = Dates::new();
    let mut unaccounted = hints.removed.clone();
    // By the instant of the answer, the highest zxid that anybody was told by then.
    let mut told: Vec<(u64, Zxid)> = Vec::new();
    for operation in &history.operations {
        let Some(reply) = operation.reply() else { continue };
        told.extend(operation.completed_ns.map(|at_ns| (at_ns, reply.zxid)));
        forget(&mut unaccounted, writes(&operation.call.call), reply.zxid);
    }
    told.sort_unstable();
    let mut highest = Zxid(0);
    for (_, zxid) in &mut told {
        highest = highest.max(*zxid);
        *zxid = highest;
    }
    let unknown: Vec<(OpId, &CoordinatorOp)> =
        (0..).zip(&history.operations).filter(|(_, one)| matches!(one.outcome, Outcome::Unknown)).collect();
    for (op, operation) in &unknown {
        let writes = writes(&operation.call.call);
        if let Some(zxid) = writes.iter().filter_map(written).find_map(|value| hints.written.get(&value)) {
            dates.insert(*op, Date { zxid: *zxid, is_guessed: false });
            forget(&mut unaccounted, writes, *zxid);
        }
    }
    for (op, operation) in unknown {
        let writes = writes(&operation.call.call);
        if writes.iter().any(|write| written(write).is_some()) {
            continue;
        }
        let before = told.partition_point(|(at_ns, _)| *at_ns < operation.invoked_ns);
        let known = before.checked_sub(1).map_or(Zxid(0), |last| told[last].1);
        let after = |write: &Write| {
            let Write::Delete { path, version } = *write else { return None };
            let fits = |found: i32| version.is_none_or(|version| version == found);
            let mut later = unaccounted.get(&path)?.range(known..).filter(|(zxid, _)| **zxid > known);
            later.find(|(_, found)| fits(**found)).map(|(zxid, _)| *zxid)
        };
        if let Some(zxid) = writes.iter().find_map(after) {
            dates.insert(op, Date { zxid, is_guessed: true });
            forget(&mut unaccounted, writes, zxid);
        }
    }
    dates
}

fn forget(unaccounted: &mut BTreeMap<PathIndex, BTreeMap<Zxid, i32>>, writes: &[Write], zxid: Zxid) {
    for write in writes {
        if let Some(removed) = unaccounted.get_mut(&write.path()) {
            removed.remove(&zxid);
        }
    }
}

fn writes(call: &Call) -> &[Write] {
    match call {
        Call::Write(write) => std::slice::from_ref(write),
        Call::Multi(writes) => writes.as_slice(),
        Call::SyncRead(_) | Call::Read(_) | Call::SyncChildren(_) => &[],
    }
}

/// The value that a write leaves, if it leaves one.
fn written(write: &Write) -> Option<u64> {
    match *write {
        Write::Create { value, .. } | Write::Set { value, .. } => Some(value),
        Write::Delete { .. } | Write::Check { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Script, create, set};
    use super::*;
    use crate::history::coordinator::Answer;

    #[test]
    fn a_deletion_without_an_answer_gets_the_first_that_nobody_accounts_for_after_what_was_known() {
        let delete = || Call::Write(Write::Delete { path: 0, version: None });
        let mut script = Script::new();
        script.ok(1, 2, create(0, 10), Answer::Done, 1);
        script.ok(3, 4, delete(), Answer::Done, 2);
        let first = script.unknown(5, delete());
        script.ok(6, 7, create(0, 11), Answer::Done, 5);
        let second = script.unknown(8, delete());
        let third = script.unknown(9, delete());
        let of_version = script.unknown(9, Call::Write(Write::Delete { path: 0, version: Some(5) }));
        let set = script.unknown(9, set(0, 12, None));
        let removed = BTreeMap::from([(0, [(2, 0), (4, 0), (7, 0), (9, 5)].map(|(at, of)| (Zxid(at), of)).into())]);
        let hints = Hints { written: BTreeMap::from([(12, Zxid(6))]), removed };
        let date = |zxid, is_guessed| Date { zxid: Zxid(zxid), is_guessed };
        let expected = [(first, date(4, true)), (second, date(7, true)), (third, date(9, true)), (set, date(6, false))];
        assert_eq!(dates(&script.history, &hints), expected.into(), "nothing is left for {of_version}");
    }
}
